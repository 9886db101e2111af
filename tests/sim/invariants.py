"""What must hold between two turns, whatever has happened."""
from __future__ import annotations

from typing import Any

from netstack.machine import ring
from netstack.tcp import seq, tcb
from netstack.tcp.ranges import item
from netstack.tcp.tcb import State, Tcb, held, listening
from netstack.tcp.window import current

SENDING = (State.ESTABLISHED, State.FIN_WAIT_1, State.CLOSE_WAIT, State.CLOSING, State.LAST_ACK)


def check(stack: Any) -> None:
    """Every connection of a stack, and its lists."""
    tcp = stack._tcp
    live = [t for t in (tcb.get(tcp, i) for i in range(1, tcp.tcbs.used + 1)) if t.ep.generation]
    assert len(live) == tcp.tcbs.live
    for t in live:
        if t.state == State.LISTEN:
            _listener(tcp, t)
        elif t.state != State.CLOSED:
            _connection(tcp, t)
    assert tcp.counters.time_wait == sum(t.state == State.TIME_WAIT for t in live)


def _listener(tcp: Any, t: Tcb) -> None:
    q = listening(t)
    assert _length(tcp, q.accept_head) == q.accept_count
    assert _length(tcp, q.half_head) == q.half_open


def _length(tcp: Any, index: int) -> int:
    n = 0
    while index:
        n += 1
        index = tcb.get(tcp, index).accept_next
    return n


def _connection(tcp: Any, t: Tcb) -> None:
    held = ring.used(t.snd)
    assert seq.leq(t.snd_una, t.snd_nxt)
    assert seq.leq(t.snd_nxt, t.snd_max)
    assert 0 <= held <= t.snd.size
    assert 0 <= ring.used(t.rcv) <= t.rcv.size
    if t.state in SENDING:
        assert seq.diff(t.snd_max, t.snd_una) <= held + t.fin_sent
    if t.state not in (State.SYN_SENT, State.SYN_RECEIVED) and not t.read_closed:
        assert current(t) <= ring.room(t.rcv), "more window than buffer"
    _ranges(tcp, t)
    if t.due == 0:
        _clocks(tcp, t, held)


def _ranges(tcp: Any, t: Tcb) -> None:
    """What came out of order lies beyond RCV.NXT, in order, apart, and inside the buffer."""
    edge = t.rcv_nxt
    ranges = held(tcp, t)
    assert (t.held != 0) == (ranges.count != 0)
    for i in range(ranges.count):
        r = item(ranges, i)
        assert seq.gt(r.left, edge)
        assert seq.gt(r.right, r.left)
        edge = r.right
    assert seq.diff(edge, t.rcv_nxt) <= ring.room(t.rcv)


def _clocks(tcp: Any, t: Tcb, held: int) -> None:
    """Whatever is waited for, a clock runs that ends it; and what runs is armed."""
    c = t.clocks
    if t.state in (State.SYN_SENT, State.SYN_RECEIVED):
        assert c.retransmit
    elif t.state == State.TIME_WAIT:
        assert c.linger
    elif t.state in SENDING and (held or (t.fin and t.snd_una != t.snd_max)):
        assert c.retransmit or c.persist, f"{held} bytes wait in {State(t.state).name} and no clock runs"
    elif t.state == State.FIN_WAIT_2 and t.ep.closed:
        assert c.linger
    running = [x for x in (c.retransmit, c.persist, c.delayed_ack, c.keepalive, c.linger, c.user) if x]
    if running:
        armed = _armed(tcp, t.ep.index)
        assert armed is not None
        assert armed <= min(running)


def _armed(tcp: Any, slot: int) -> int | None:
    from netstack.machine import timers

    n = timers.node(tcp.timers, slot)
    return n.deadline if n.prev else None
