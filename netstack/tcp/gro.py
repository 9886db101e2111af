"""Receive offload of our own: plain segments in a row go up as one, as if the device had joined them.

Linux: GRO (net/ipv4/tcp_offload.c, tcp_gro_receive), whose rules these are: same
flow, next sequence number, the same ACK, window, flags and options to the byte,
the same TOS (so no mark of ECN is mixed with others), none larger than the first;
PSH or a smaller one ends it, and 64 KiB, or what deserves an ACK of its own
(`quickack.share`).  Each one's checksums are looked at.

Nothing is copied: the text of what was foreseen stands in the receive ring
already, one behind the other (foresee.py), and the first one's headers are in
`Tcp.seg`.  What waits there does so until the end of the batch at most.
"""
from __future__ import annotations

from enum import IntEnum

from ..drivers import tap
from ..drivers.base import Device
from ..ip import checksum
from ..ip.ethernet import EtherType
from ..ip.net import Net, count_codepoint
from ..machine import addressof, be16, be32, be64, compiled, copy, load8, sum16
from . import quickack, seq
from .header import ACK, HEADER_LEN, PSH
from .tcb import Tcp, get

PROTOCOL = 6
LARGEST = 65535             # bytes of headers and text
IP = 14                     # where it begins in a frame
IPV4_LEN, IPV6_LEN = 20, 40
PSH_OF_WORD = PSH << 16     # in the word of offset, flags and window


class Joining(IntEnum):
    """What `Tcp.joining` says."""

    NONE = 0
    OPEN = 1                # a segment waits in `Tcp.seg` for the next
    ENDED = 2               # ... and takes no other


@compiled
def begins(tcp: Tcp, dev: Device) -> bool:
    """Whether the segment just parsed, whose text is in its place, waits for others; if so, it is kept."""
    seg = tcp.seg
    if seg.gso_size != 0 or seg.flags != ACK or seg.data_len != seg.placed or tcp.settings.tcp_gro == 0:
        return False
    t = get(tcp, tcp.foreseen)
    tcp.join_most = min(quickack.share(t.quick, t.drs.flight) - t.unacked, LARGEST - seg.data_len - dev.expect)
    if seg.data_len >= tcp.join_most:
        return False
    copy(addressof(tcp.joined), dev.frame, dev.expect)
    seg.gso_size = seg.data_len
    tcp.joining = Joining.OPEN
    return True


@compiled
def takes(tcp: Tcp, net: Net, dev: Device, n: int) -> bool:
    """Whether a frame of n bytes goes on where the one that waits ends.  If not, it is put together for others."""
    seg = tcp.seg
    size = dev.placed
    if size == 0:
        return False
    if (size > seg.gso_size or dev.rx_notes.size != 0 or not _is_next(tcp, dev, n)
            or (dev.rx_notes.checked == 0 and _sum(tcp, dev) != 0xFFFF)):
        tap.gather(dev)
        return False
    transport = dev.frame + dev.expect - _header_len(tcp)
    count_codepoint(net.counters, seg.tos)
    seg.flags |= load8(transport + 13) & PSH
    seg.data_len += size
    seg.len += size
    seg.placed += size
    seg.count += 1
    if seg.flags & PSH or size < seg.gso_size or seg.data_len >= tcp.join_most:
        tcp.joining = Joining.ENDED
    return True


@compiled
def finish(tcp: Tcp) -> None:
    """What has waited goes up now."""
    tcp.joining = Joining.NONE
    if tcp.seg.count == 1:
        tcp.seg.gso_size = 0
    else:
        tcp.counters.joined += tcp.seg.count


@compiled
def _header_len(tcp: Tcp) -> int:
    """Bytes of the TCP header of each."""
    p = addressof(tcp.joined) + IP
    p += IPV4_LEN if load8(p) >> 4 == 4 else IPV6_LEN
    return (load8(p + 12) >> 4) * 4


@compiled
def _is_next(tcp: Tcp, dev: Device, n: int) -> bool:
    """Whether the headers are those of the first one, but for what must differ."""
    h = addressof(tcp.joined)
    p = dev.frame
    if be64(p) != be64(h) or be32(p + 8) != be32(h + 8) or be16(p + 12) != be16(h + 12):
        return False
    h += IP
    p += IP
    n -= IP
    if be16(p - 2) == EtherType.IPV4:                       # not the identification, as RFC 6864 has it
        if (be16(p) != be16(h) or be16(p + 2) != n or be16(p + 6) != be16(h + 6)
                or be16(p + 8) != be16(h + 8) or be64(p + 12) != be64(h + 12) or sum16(p, IPV4_LEN, 0) != 0xFFFF):
            return False
        h += IPV4_LEN
        p += IPV4_LEN
    else:
        if (be32(p) != be32(h) or be16(p + 4) != n - IPV6_LEN or be16(p + 6) != be16(h + 6)
                or be64(p + 8) != be64(h + 8) or be64(p + 16) != be64(h + 16)
                or be64(p + 24) != be64(h + 24) or be64(p + 32) != be64(h + 32)):
            return False
        h += IPV6_LEN
        p += IPV6_LEN
    seg = tcp.seg
    if (be32(p) != be32(h) or be32(p + 4) != seq.add(seg.seq, seg.data_len) or be32(p + 8) != be32(h + 8)
            or (be32(p + 12) ^ be32(h + 12)) & ~PSH_OF_WORD != 0):
        return False
    for i in range(HEADER_LEN, dev.frame + dev.expect - p, 4):
        if be32(p + i) != be32(h + i):
            return False
    return True


@compiled
def _sum(tcp: Tcp, dev: Device) -> int:
    """The TCP checksum over all of it."""
    seg = tcp.seg
    length = _header_len(tcp)
    acc = checksum.pseudo(seg.src_hi, seg.src_lo, seg.dst_hi, seg.dst_lo, PROTOCOL, length + dev.placed)
    acc = sum16(dev.frame + dev.expect - length, length, acc)
    first = min(dev.placed, dev.places[1])
    acc = sum16(dev.places[0], first, acc)
    if dev.placed > first:
        acc = checksum.add(acc, dev.places[2], dev.placed - first, first & 1)
    return acc
