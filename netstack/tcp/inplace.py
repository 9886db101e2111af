"""Text where it stands: an application reads the receive ring, or writes the send ring, without a copy.

SEND and RECEIVE of RFC 9293 section 3.10 in two steps each.  `begin_read` says where the
next text stands, and it stays there until `end_read` tells how much of it is consumed;
`begin_write` says where text may be written, and `end_write` queues it.  In between
the ring is lent (`rcv_lent`, `snd_lent`): no other call reads (writes), and nobody frees or
replaces the ring's memory.  Who has it is counted in `users` all that time, so that
the connection is not freed either.  The engine goes on meanwhile: what it receives it
puts behind the text that is lent, and it sends what stands before the place that is.
"""
from __future__ import annotations

from ..machine import compiled, fence_seq, ring
from . import calls, receive, urgent
from .tcb import State, Tcb, Tcp, rare


@compiled
def begin_read(t: Tcb, n: int, owner: bool) -> int:
    """The text at the ring's head, up to n bytes and not across the ring's end: how many, or as `calls.recv`.

    The caller has the reading side.
    """
    if rare(t).urgent.mark != urgent.Mark.NONE:
        if not owner:
            return calls.NEEDS_WORLD
        while ring.used(t.rcv) > 0 and urgent.is_skipped(rare(t).urgent, t.rcv.head):
            ring.set_head(t.rcv, t.rcv.head + 1)                # as Linux, even if nothing follows
            urgent.on_read(rare(t).urgent, t.rcv.head)
    count = calls.recv(t, 0, n, calls.MSG_PEEK | calls.MSG_TRUNC, owner)
    if count > 0:
        count = ring.contiguous(t.rcv, t.rcv.head, count)
        t.space.rcv_lent = 1
    return count


@compiled
def end_read(t: Tcb, count: int, owner: bool) -> int:
    """The first `count` bytes are consumed: 0, or NEEDS_WORLD.  The caller has the reading side."""
    if rare(t).urgent.mark != urgent.Mark.NONE:
        if not owner:
            return calls.NEEDS_WORLD
        urgent.on_read(rare(t).urgent, t.rcv.head + count)
    ring.set_head(t.rcv, t.rcv.head + count)
    t.space.rcv_lent = 0
    return 0


@compiled
def begin_write(tcp: Tcp, t: Tcb, n: int) -> int:
    """Room at the send ring's tail, up to n bytes and not across the ring's end: how many, or as `calls.send`.

    The caller has the sending side, and the ring its memory.
    """
    t.space.snd_lent = 1
    fence_seq()                         # either `give_back_sent` sees that, or we that there is nothing more to send
    count = calls.room_for(tcp, t, n)
    if count <= 0:
        t.space.snd_lent = 0
        return count
    ring.rewind(t.snd)
    return ring.contiguous(t.snd, t.snd.tail, count)


@compiled
def end_write(tcp: Tcp, t: Tcb, count: int, flags: int) -> int:
    """`count` bytes have been written: they are queued, or what SEND says now.  The caller has the sending side."""
    result = 0
    if count > 0:
        result = calls.may_send(t)
        if result == 0:
            calls.queue(tcp, t, count, count, flags)
            result = count
    t.space.snd_lent = 0
    return result


@compiled
def forget_place(tcp: Tcp, t: Tcb) -> None:
    """After the last `end_write`: TIME-WAIT has left the ring to us.  The caller owns the world."""
    if t.state == State.TIME_WAIT and t.space.snd_lent == 0:
        receive.give_back(tcp, t.snd)
