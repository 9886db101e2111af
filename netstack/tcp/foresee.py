"""Where the next segment's text will belong: the device writes it right there.

A bulk transfer's next segment is no surprise (V. Jacobson's header prediction,
"4BSD TCP header prediction", ACM CCR 1990): same connection, next sequence number,
the same options.  So the frame is read in two parts, its headers into the
device's buffer and what follows into the connection's receive ring, behind the
text that is there.  If it was another one, it is put together again in the
buffer, and nothing has happened: what lies behind a ring's tail is not text yet.
"""
from __future__ import annotations

from ..drivers import tap
from ..drivers.base import Device
from ..ip import ethernet
from ..ip.address import is_v4
from ..ip.ethernet import EtherType
from ..machine import addressof, be16, be32, be64, compiled, load8, ring
from . import seq, timestamps
from .header import ACK, HEADER_LEN, PSH
from .tcb import State, Tcb, Tcp, get, rare
from .urgent import Mark

PROTOCOL = 6
LARGE = 1000                # bytes of text that make it worth while
LONGEST = 65536             # bytes that a frame of many segments may have
NOT_THE_SAME = 0x3FFF       # of an IPv4 header's word: more fragments, and the offset


@compiled
def note(tcp: Tcp, t: Tcb, n: int) -> None:
    """n bytes of text have come in order: twice in a row to one connection, and it will get more."""
    if n >= LARGE:
        if tcp.foreseen_before == t.ep.index:
            tcp.foreseen = t.ep.index
        tcp.foreseen_before = t.ep.index


@compiled
def aim(tcp: Tcp, dev: Device, longest: int) -> None:
    """Tell the device where the next frame's text goes, if that can be foreseen; no frame has over `longest` bytes."""
    dev.expect = 0
    if tcp.foreseen == 0:
        return
    t = get(tcp, tcp.foreseen)
    if t.state != State.ESTABLISHED or t.held != 0 or t.rcv.data == 0 or rare(t).urgent.mark != Mark.NONE:
        tcp.foreseen = 0
        return
    waits = 0                                           # text behind the tail that the next one follows (gro.py)
    if tcp.joining != 0:
        waits = tcp.seg.data_len
    else:
        ring.rewind(t.rcv)
    room = ring.room(t.rcv) - waits
    if room < longest:
        return
    first = ring.contiguous(t.rcv, t.rcv.tail + waits, room)
    dev.places[0] = ring.address(t.rcv, t.rcv.tail + waits)
    dev.places[1] = first
    dev.places[2] = addressof(t.rcv) + t.rcv.data
    dev.places[3] = room - first
    ip = 20 if is_v4(t.ep.remote_hi, t.ep.remote_lo) else 40
    dev.expect = ethernet.HEADER_LEN + ip + HEADER_LEN + timestamps.OPTION_LEN * t.ts.ok


@compiled
def check(tcp: Tcp, dev: Device, n: int) -> None:
    """A frame of n bytes has come, part of it where `aim` said.  If it is another one, put it together."""
    if dev.placed != 0 and not _is_right(get(tcp, tcp.foreseen), dev, n):
        tap.gather(dev)
        tcp.foreseen = 0
        tcp.foreseen_before = 0


@compiled
def _is_right(t: Tcb, dev: Device, n: int) -> bool:
    """Whether the headers are those of the connection's next text, and exactly as long as foreseen.

    Whether they are sound is for IP and TCP to say.
    """
    e = t.ep
    p = dev.frame + ethernet.HEADER_LEN
    if is_v4(e.remote_hi, e.remote_lo):
        if (ethernet.ethertype(dev.frame) != EtherType.IPV4 or load8(p) != 0x45 or be16(p + 6) & NOT_THE_SAME != 0
                or load8(p + 9) != PROTOCOL or be16(p + 2) != n - ethernet.HEADER_LEN
                or be32(p + 12) != e.remote_lo & 0xFFFF_FFFF or be32(p + 16) != e.local_lo & 0xFFFF_FFFF):
            return False
        p += 20
    else:
        if (ethernet.ethertype(dev.frame) != EtherType.IPV6 or load8(p + 6) != PROTOCOL
                or be16(p + 4) != n - ethernet.HEADER_LEN - 40
                or be64(p + 8) != e.remote_hi or be64(p + 16) != e.remote_lo
                or be64(p + 24) != e.local_hi or be64(p + 32) != e.local_lo):
            return False
        p += 40
    return (be16(p) == e.remote_port and be16(p + 2) == e.local_port and be32(p + 4) == t.rcv_nxt
            and (be16(p + 12) & 0x1FF) | PSH == ACK | PSH and p + (load8(p + 12) >> 4) * 4 == dev.frame + dev.expect
            and seq.leq(t.rcv_nxt, t.rcv_adv))
