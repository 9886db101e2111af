"""TIMEOUTS.

RFC 9293 section 3.10.8: user timeout, retransmission timeout, time-wait timeout;
and the persist (3.8.6.1), delayed ACK (3.8.6.3) and keepalive (3.8.4) clocks.
Every state has a way out through one of them.
"""
from __future__ import annotations

from ..errors import ETIMEDOUT
from ..machine import MS, compiled, timers
from . import defer, fastopen_client, listen, orphan, path, quickack, receive, recovery, rto, stats, tcb, usertimeout
from .calls import starve
from .congestion import Ca
from .tcb import State, Tcb, Tcp, fail, mark_due

MOST = 255          # timeouts in a row that are counted


@compiled
def expire(tcp: Tcp, t: Tcb, now: int) -> None:
    """The connection's slot has come up: do what is due, arm what is next."""
    c = t.clocks
    if c.linger != 0 and c.linger <= now:
        c.linger = 0
        fail(tcp, t, 0)                                     # 2 MSL are over, or the orphan's FIN-WAIT-2
    if c.user != 0 and c.user <= now:
        _user_timeout(tcp, t, now)
    if c.probe != 0 and c.probe <= now:
        _probe(tcp, t, now)
    if c.retransmit != 0 and c.retransmit <= now:
        _retransmit(tcp, t, now)
    if c.reorder != 0 and c.reorder <= now:
        c.reorder = 0
        recovery.on_reorder_timer(tcp, t, now)
    if c.pace != 0 and c.pace <= now:
        c.pace = 0
        mark_due(tcp, t)
    if c.persist != 0 and c.persist <= now:
        _persist(tcp, t, now)
    if c.delayed_ack != 0 and c.delayed_ack <= now:
        c.delayed_ack = 0
        t.ack_now = 1
        if not quickack.is_quick(t.quick):                  # else it was to wait for a selector's thread only
            quickack.on_delayed(t.quick, rto.timeout(t.rto), tcp.settings.tcp_delack)
        tcp.counters.delayed_acks += 1
        mark_due(tcp, t)
    if c.keepalive != 0 and c.keepalive <= now:
        _keepalive(tcp, t, now)
    if t.ep.handler != 0:
        tcb.notify(tcp, t)                                  # perhaps it wants to be called now
    receive.relieve_idle(tcp, t)
    rearm(tcp, t)


@compiled
def _probe(tcp: Tcp, t: Tcb, now: int) -> None:
    """The loss probe's time (RFC 8985 7.3); it comes first when it is the retransmission timer's too (7.2)."""
    c = t.clocks
    c.probe = 0
    if t.cc.ca_state != Ca.OPEN or t.tlp.active or t.queue.head == 0:
        return
    t.tlp.due = 1
    if c.retransmit <= now:
        c.retransmit = now + rto.timeout(t.rto)
    mark_due(tcp, t)


@compiled
def rearm(tcp: Tcp, t: Tcb) -> None:
    """Arm the slot with the earliest of the clocks."""
    c = t.clocks
    first = timers.NEVER
    if c.retransmit != 0:
        first = min(first, c.retransmit)
    if c.probe != 0:
        first = min(first, c.probe)
    if c.reorder != 0:
        first = min(first, c.reorder)
    if c.pace != 0:
        first = min(first, c.pace)
    if c.persist != 0:
        first = min(first, c.persist)
    if c.delayed_ack != 0:
        first = min(first, c.delayed_ack)
    if c.keepalive != 0:
        first = min(first, c.keepalive)
    if c.linger != 0:
        first = min(first, c.linger)
    if c.user != 0:
        first = min(first, c.user)
    if t.ep.handler != 0 and tcb.handled(tcp, t).wake_at > tcp.now:
        first = min(first, tcb.handled(tcp, t).wake_at)
    if first != timers.NEVER:
        timers.arm(tcp.timers, t.ep.index, first)


@compiled
def _give_up(tcp: Tcp, t: Tcb) -> None:
    """Too long without an answer: the application gets the last soft error, else ETIMEDOUT (RFC 1122 4.2.3.9).

    No reset is sent (3.10.8; as Linux): who would hear it is not there.
    """
    error = t.ep.soft_error if t.ep.soft_error != 0 else ETIMEDOUT
    tcp.counters.aborts_on_timeout += 1
    if t.state == State.SYN_SENT or t.state == State.SYN_RECEIVED:
        tcp.counters.attempt_fails += 1
        listen.leave(tcp, t)
    fail(tcp, t, error)


@compiled
def _user_timeout(tcp: Tcp, t: Tcb, now: int) -> None:
    """For any state if the user timeout expires (3.10.8); but what was sent once is sent once more before (Linux)."""
    c = t.clocks
    if t.retransmits == 0 and c.retransmit > now:
        c.user = c.retransmit + MS
        return
    c.user = 0
    _give_up(tcp, t)


@compiled
def _limit(tcp: Tcp, t: Tcb) -> int:
    """How many timeouts in a row are too many."""
    s = tcp.settings
    if t.state == State.SYN_SENT or t.state == State.SYN_RECEIVED:
        linear = s.tcp_syn_linear_timeouts if t.state == State.SYN_SENT else 0
        if t.syn_retries != 0:                              # TCP_SYNCNT; a child has its listener's
            return t.syn_retries + linear
        # as Linux: one more where text was taken
        return s.tcp_synack_retries + t.fast.pending if t.passive else s.tcp_syn_retries + linear
    if t.user.limit != 0 and t.clocks.user != 0 and t.snd_una != t.snd_nxt:
        return MOST + 1                                      # the user timeout takes its place (RFC 5482 3)
    if t.ep.closed:
        return orphan.retries(s.tcp_orphan_retries, _is_alive(t), t.ep.soft_error)
    return s.tcp_retries2


@compiled
def _has_tried_enough(tcp: Tcp, t: Tcb) -> bool:
    """Whether the retransmission timer has gone off often enough.  For SYNs that is a number; then a time (as Linux:
    retransmits_timed_out), so that a short round trip means no shorter patience."""
    limit = _limit(tcp, t)
    if limit > MOST or not tcb.is_synchronized(t):
        return t.retransmits >= limit
    return t.retransmits > 0 and rto.waited(t.rto, t.retransmits) >= rto.patience(limit, rto.longest(t.rto))


@compiled
def _is_alive(t: Tcb) -> bool:
    """Whether the timeout has not reached its limit yet."""
    return rto.timeout(t.rto) < rto.longest(t.rto)


@compiled
def _is_starved(tcp: Tcp, t: Tcb, now: int) -> bool:
    """Whether an orphan that gets no answer was ended, because there are too many; doubtful ones go first."""
    last = max(t.stats.last_data_sent, t.keepalive.heard)
    shift = orphan.weight(now - last > 2 * rto.longest(t.rto), _is_alive(t), t.ep.soft_error)
    if t.ep.closed == 0 or not orphan.is_too_many(tcp.orphans, shift, tcp.settings.tcp_max_orphans):
        return False
    starve(tcp, t)
    return True


@compiled
def _retransmit(tcp: Tcp, t: Tcb, now: int) -> None:
    """Retransmission timeout: "send the segment at the front of the retransmission queue again" (RFC 6298 5.4 ff.)."""
    c = t.clocks
    c.retransmit = 0
    c.probe = 0
    if t.state == State.SYN_RECEIVED and t.parent != 0 and t.fast.pending == 0:
        _retransmit_syn_ack(tcp, t, now)
        return
    gives_up = _has_tried_enough(tcp, t)
    if fastopen_client.is_swallowed(t.fast, t.retransmits, gives_up) and tcp.settings.tcp_fastopen_pause != 0:
        fastopen_client.disable(tcp.fast, now)
        tcp.counters.fast_open_blackhole += 1
        tcp.counters.fast_open_active_fail += 1
    if gives_up:
        _give_up(tcp, t)
        return
    if t.retransmits >= tcp.settings.tcp_retries1 and tcb.is_synchronized(t):
        path.on_black_hole(tcp, t, now)
    if _is_starved(tcp, t, now):
        return
    t.retransmits = min(t.retransmits + 1, MOST)
    tcp.counters.timeouts += 1
    stats.on_rto(t.stats, t.retransmits == 1, now)
    if t.state != State.SYN_SENT or t.retransmits > tcp.settings.tcp_syn_linear_timeouts:
        rto.on_expired(t.rto)                               # (5.5)
    mark_due(tcp, t)
    if t.state == State.SYN_SENT or t.state == State.SYN_RECEIVED:
        t.syn_due = 1
        return
    recovery.on_rto(tcp, t, now)


@compiled
def _retransmit_syn_ack(tcp: Tcp, t: Tcb, now: int) -> None:
    """... of a child that is half open: its SYN-ACK, unless the ACK is here and text is waited for (defer.py)."""
    if defer.expires(t.defer, t.retransmits, _limit(tcp, t)):
        _give_up(tcp, t)
        return
    again = defer.sends_again(t.defer, t.retransmits)
    t.retransmits += 1
    rto.on_expired(t.rto)
    if again:
        tcp.counters.timeouts += 1
        t.syn_due = 1
        mark_due(tcp, t)
    else:
        t.clocks.retransmit = now + rto.timeout(t.rto)


@compiled
def _persist(tcp: Tcp, t: Tcb, now: int) -> None:
    """Probe the window (RFC 9293 3.8.6.1), at growing intervals; or send a small segment after all (3.8.6.2.1)."""
    c = t.clocks
    c.persist = 0
    if t.retransmits >= _limit(tcp, t) or _has_waited_enough(tcp, t):
        _give_up(tcp, t)
        return
    if _is_starved(tcp, t, now):
        return
    t.probe = 1
    mark_due(tcp, t)
    if t.snd_wnd == 0:
        usertimeout.begin(t.user, now)                      # answered or not (tcp_probe_timer)
        c.user = usertimeout.deadline(t.user)
        t.retransmits = min(t.retransmits + 1, MOST)    # every answer sets it back: an open peer is waited for
        rto.on_expired(t.rto)
        c.persist = now + rto.timeout(t.rto)


@compiled
def _has_waited_enough(tcp: Tcp, t: Tcb) -> bool:
    """An orphan does not wait for ever for a window, whatever the peer answers (tcp_probe_timer)."""
    if t.ep.closed == 0 or _is_alive(t):
        return False
    return t.rto.backoffs >= orphan.retries(tcp.settings.tcp_orphan_retries, False, t.ep.soft_error)


@compiled
def _keepalive(tcp: Tcp, t: Tcb, now: int) -> None:
    """Probe a connection that has been idle (3.8.4); give it up after `count` probes without an answer,
    or when the user timeout is over."""
    k = t.keepalive
    c = t.clocks
    c.keepalive = 0
    if k.on == 0 or t.state in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.TIME_WAIT):
        return
    quiet = now - k.heard
    if quiet < k.idle or t.snd_una != t.snd_max:
        c.keepalive = max(k.heard + k.idle, now + 1) if quiet < k.idle else now + k.interval
        return
    if usertimeout.ends_keepalive(t.user, k.probes, k.count, quiet):
        t.rst_due = 1                                       # as Linux: perhaps it has only forgotten us
        _give_up(tcp, t)
        return
    k.probes = min(k.probes + 1, MOST)
    t.probe = 1
    mark_due(tcp, t)
    c.keepalive = now + k.interval
