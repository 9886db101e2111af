"""Text: the data of a segment goes to its final place, in order or not.

RFC 9293 section 3.10.7.4, "Seventh, process the segment text"; delayed
acknowledgments of 3.8.6.3 and RFC 5681 section 4.2; SACK blocks of RFC 2018
section 4.  The receive ring has a place for every byte of the window, so
out-of-order data is copied once, like all other.
"""
from __future__ import annotations

from ..errors import Drop
from ..machine import addressof, arena, at, compiled, put16, put32, ring
from ..machine.arena import Arena
from . import dsack, ranges, seq, window
from .header import NOP, SACK, Segment
from .tcb import Tcb, Tcp, arm, notify


@compiled
def memory(tcp: Tcp) -> Arena:
    """The arena that buffers come from."""
    return at(Arena, addressof(tcp) + tcp.arena)


@compiled
def provide(tcp: Tcp, r: ring.Ring) -> bool:
    """Make sure that a ring has its memory.  False when there is none left."""
    if r.data != 0:
        return True
    a = memory(tcp)
    where = arena.allot(a, r.size)
    if where == 0:
        return False
    r.data = addressof(a) + where - addressof(r)
    return True


@compiled
def give_back(tcp: Tcp, r: ring.Ring) -> None:
    """Free a ring's memory."""
    if r.data != 0:
        a = memory(tcp)
        arena.release(a, addressof(r) + r.data - addressof(a), r.size)
        r.data = 0


@compiled
def place(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """Take the text of an acceptable segment, trimmed to the window by the caller.  Drop.NONE, or why not."""
    n = seg.data_len
    if not provide(tcp, t.rcv):
        tcp.counters.aborts_on_memory += 1
        t.ack_now = 1
        return Drop.TCP_MEMORY
    position = t.rcv.tail + seq.diff(seg.seq, t.rcv_nxt)
    if position + n - t.rcv.head > t.rcv.size:
        n = t.rcv.size - (position - t.rcv.head)        # beyond the buffer: the peer went over the window
        if n <= 0:
            t.ack_now = 1
            return Drop.TCP_UNACCEPTABLE
    if seg.seq != t.rcv_nxt:                                            # out of order
        _note_held(tcp, t, seg.seq, n)
        if not ranges.insert(t.reassembly, seg.seq, seq.add(seg.seq, n)):
            t.ack_now = 1
            return Drop.TCP_REASSEMBLY
        ring.place(t.rcv, position, seg.data, n)
        tcp.counters.out_of_order += 1
        t.ack_now = 1                                                   # (RFC 5681 4.2) at once: a duplicate ACK
        return Drop.NONE
    ring.place(t.rcv, position, seg.data, n)
    nxt = seq.add(t.rcv_nxt, n)
    if t.reassembly.count != 0:
        _note_held(tcp, t, seg.seq, n)
        nxt = advance(t, nxt)
        t.ack_now = 1                                                   # (RFC 5681 4.2) a hole was filled
    gained = seq.diff(nxt, t.rcv_nxt)
    t.rcv_nxt = nxt
    ring.set_tail(t.rcv, t.rcv.tail + gained)
    notify(tcp, t)
    _acknowledge(tcp, t, gained, now)
    return Drop.NONE


@compiled
def advance(t: Tcb, nxt: int) -> int:
    """Everything before `nxt` is here.  Returns `nxt`, moved over the text held behind it, at most to the FIN held."""
    nxt = ranges.advance(t.reassembly, nxt)
    if t.fin_held and seq.gt(nxt, t.fin_at):
        return t.fin_at
    return nxt


@compiled
def note_old(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """The segment's text before RCV.NXT came twice: the next ACK says so."""
    n = min(seg.data_len, seq.diff(t.rcv_nxt, seg.seq))
    if n > 0 and t.sack_ok and tcp.settings.tcp_dsack:
        left = seq.add(seg.seq, (seg.flags >> 1) & 1)               # behind a SYN
        dsack.note(t.dsack, left, seq.add(left, n))


@compiled
def _note_held(tcp: Tcp, t: Tcb, left: int, n: int) -> None:
    """... and what of n bytes from `left` on is held already."""
    if t.sack_ok and tcp.settings.tcp_dsack:
        dsack.note_held(t.dsack, t.reassembly, left, seq.add(left, n))


@compiled
def _acknowledge(tcp: Tcp, t: Tcb, n: int, now: int) -> None:
    """(RFC 9293 3.8.6.3) An ACK for at least every second full-sized segment, and within tcp_delack."""
    t.unacked += n
    if t.unacked > t.rcv_mss or window.deserves_update(t):      # or the peer is about to stop for want of a window
        t.ack_now = 1
    elif t.clocks.delayed_ack == 0:
        t.clocks.delayed_ack = now + tcp.settings.tcp_delack
        arm(tcp, t, t.clocks.delayed_ack)


@compiled
def sack_len(t: Tcb, room: int) -> int:
    """The length of the SACK option for a segment with `room` bytes left for options; 0: none."""
    blocks = t.reassembly.count + t.dsack.due
    if t.sack_ok == 0 or blocks == 0 or room < 12:
        return 0
    return 4 + 8 * min(blocks, (room - 4) // 8)


@compiled
def emit_sack(t: Tcb, p: int, length: int) -> None:
    """Write NOP, NOP, SACK at p: what came twice (RFC 2883 section 4), the block that changed last (RFC 2018
    section 4), then the others in order."""
    put16(p, (NOP << 8) | NOP)
    put16(p + 2, (SACK << 8) | (length - 2))
    end = p + length
    p += 4
    if t.dsack.due:
        t.dsack.due = 0                 # "Each duplicate ... is reported in at most one D-SACK block."
        p = _emit_block(p, t.dsack.left, t.dsack.right)
    r = t.reassembly
    newest = 0
    for i in range(r.count):
        if seq.leq(r.items[i].left, r.newest) and seq.gt(r.items[i].right, r.newest):
            newest = i
    if p < end:
        p = _emit_block(p, r.items[newest].left, r.items[newest].right)
    for i in range(r.count):
        if i != newest and p < end:
            p = _emit_block(p, r.items[i].left, r.items[i].right)


@compiled
def _emit_block(p: int, left: int, right: int) -> int:
    put32(p, left)
    put32(p + 4, right)
    return p + 8
