"""Loss recovery: what is lost, what it means for the window, and when it is over.

The states are those of RFC 6675 section 5 and RFC 5681 section 3.2, named as Linux
names them (`Ca`).  Each ACK goes through `on_ack`; the retransmission timer through
`on_rto`.  What is to be sent again stands in the queue of runs as lost, and
`output.transmit` sends it as far as cwnd allows.
"""
from __future__ import annotations

from ..machine import compiled, ring, timers
from . import congestion, cwv, ecn, frto, mtu_probe, newreno, pacing, prr, rack, runs, sack, seq, timestamps, undo
from .congestion import Algorithm, Ca, Cause
from .frto import Step, Verdict
from .tcb import Tcb, Tcp, arm, mark_due, rare


@compiled
def algorithm(tcp: Tcp, t: Tcb) -> Algorithm:
    """The connection's congestion control."""
    return tcp.algorithms[t.cc.algorithm]


@compiled
def segment_size(t: Tcb) -> int:
    """Eff.snd.MSS (RFC 9293 3.7.1): data bytes that a full segment carries."""
    size = min(t.snd_mss, t.pmtu_mss) - rare(t).accecn.room
    if t.ts.ok:
        size -= timestamps.OPTION_LEN
    return max(size, 1)


@compiled
def pipe(t: Tcb) -> int:
    """What is thought to be in the network, bytes (RFC 6675 section 4)."""
    return max(runs.pipe(t.queue, seq.diff(t.snd_nxt, t.snd_una)) - t.recovery.held, 0)


@compiled
def describe(tcp: Tcp, t: Tcb) -> None:
    """Fill in what hooks may read."""
    c = t.cc
    c.mss = segment_size(t)
    c.flight = max(seq.diff(t.snd_nxt, t.snd_una), 0)
    c.pipe = pipe(t)
    c.srtt = t.rto.srtt
    c.min_rtt = t.rto.min_rtt
    c.next = t.snd_nxt
    c.una = t.snd_una
    c.delivered = t.rate.delivered
    c.abe = tcp.settings.tcp_abe
    c.hystart = tcp.settings.tcp_hystart
    c.paced = 1 if pacing.rate(t.pacing, c.pacing_rate) != 0 else 0
    c.limited = 1 if cwv.is_limited(c) else 0


# ---- each ACK ------------------------------------------------------------------------

@compiled
def on_ack(tcp: Tcp, t: Tcb, now: int) -> None:
    """`tcp.acked` says what the ACK told; the queue is up to date."""
    a = tcp.acked
    c = t.cc
    r = t.recovery
    describe(tcp, t)
    c.acked = a.delivered
    began = c.ca_state
    if c.ca_state >= Ca.CWR and undo.is_spurious(t.undo, a.advanced == 1, a.tsecr >= 0, a.tsecr):
        _undo(tcp, t, now)
    if c.ca_state == Ca.LOSS:
        _in_loss(tcp, t, now)
    elif c.ca_state >= Ca.CWR and seq.geq(t.snd_una, r.high):
        _complete(tcp, t, now)
    if t.sack_ok == 0:
        _count_duplicates(tcp, t)
    lost_before = t.queue.waiting
    _detect(tcp, t, now)
    lost = t.queue.waiting
    if lost > lost_before:
        t.rate.lost += lost - lost_before
        c.sample.lost = lost - lost_before
    if lost > 0 and c.ca_state < Ca.RECOVERY and not _is_probe(tcp, t, lost, now):
        _begin(tcp, t, now)
    if c.ca_state <= Ca.DISORDER:
        c.ca_state = Ca.DISORDER if t.queue.sacked != 0 or r.held != 0 else Ca.OPEN
    c.pipe = pipe(t)
    _set_window(tcp, t, began, lost > lost_before, now)


@compiled
def _set_window(tcp: Tcp, t: Tcb, began: int, new_loss: bool, now: int) -> None:
    """cwnd, after an ACK: the algorithm's, or on its way down to ssthresh (RFC 9937)."""
    a = tcp.acked
    c = t.cc
    how = algorithm(tcp, t)
    if how.full:
        if a.delivered > 0:
            congestion.on_ack(how, c, now)
    elif c.ca_state == Ca.CWR or c.ca_state == Ca.RECOVERY:
        delivered = a.delivered
        if t.sack_ok == 0 and a.duplicate:
            delivered += c.mss
        count = prr.allowance(t.prr, delivered, c.pipe, c.ssthresh, c.mss, a.advanced == 1 and not new_loss,
                              t.recovery.first == 1)
        c.cwnd = max(c.pipe + count, c.mss)
    elif (a.advanced and (began < Ca.CWR or began == Ca.LOSS)) or (a.delivered > 0 and c.ca_state == Ca.LOSS):
        congestion.on_ack(how, c, now)


@compiled
def _count_duplicates(tcp: Tcp, t: Tcb) -> None:
    """A peer without SACK (newreno.py)."""
    a = tcp.acked
    r = t.recovery
    mss = t.cc.mss
    if a.advanced:
        if r.held > 0:                                              # the duplicates have told of the rest: as Linux,
            t.cc.acked = max(a.delivered - r.held, min(a.delivered, mss))       # cwnd grows for what is news
        newreno.on_new_data(r, a.data, mss)
        if t.cc.ca_state == Ca.RECOVERY:
            newreno.mark_first(tcp.runs, t.queue, mss)              # (RFC 6582 3.2 step 3) partial: the next hole
    elif a.duplicate and t.cc.ca_state != Ca.LOSS:                  # after a timeout they are echoes of ours
        newreno.on_duplicate(r, t.cc.flight, mss)
        if t.cc.ca_state < Ca.RECOVERY and newreno.has_loss(r, t.snd_una):
            newreno.mark_first(tcp.runs, t.queue, mss)


@compiled
def _detect(tcp: Tcp, t: Tcb, now: int) -> None:
    """What the SACKs show to be lost: RACK (RFC 8985), or RFC 6675 when it is switched off."""
    if t.sack_ok == 0:
        return
    if tcp.settings.tcp_recovery & 1 == 0:
        sack.detect(tcp.runs, t.queue, t.cc.mss)
        return
    if t.rack.xmit_ts == 0:
        return
    t.clocks.reorder = 0
    wnd = rack.reordering_window(t.rack, t.cc.ca_state >= Ca.RECOVERY, t.queue.sacked, t.cc.mss, t.rto.min_rtt,
                                 t.rto.srtt)
    wait = rack.detect(t.rack, tcp.runs, t.queue, wnd, now)
    if wait > 0:
        t.clocks.reorder = now + wait
        arm(tcp, t, t.clocks.reorder)


@compiled
def on_reorder_timer(tcp: Tcp, t: Tcb, now: int) -> None:
    """The reordering window is over (RFC 8985 6.3)."""
    describe(tcp, t)
    lost_before = t.queue.waiting
    _detect(tcp, t, now)
    lost = t.queue.waiting
    if lost > lost_before:
        t.rate.lost += lost - lost_before
        if t.cc.ca_state < Ca.RECOVERY and not _is_probe(tcp, t, lost, now):
            _begin(tcp, t, now)
            if not algorithm(tcp, t).full:
                t.cc.pipe = pipe(t)
                t.cc.cwnd = max(t.cc.pipe + prr.allowance(t.prr, 0, t.cc.pipe, t.cc.ssthresh, t.cc.mss, False, True),
                                t.cc.mss)
        mark_due(tcp, t)


# ---- recoveries ------------------------------------------------------------------------

@compiled
def _begin(tcp: Tcp, t: Tcb, now: int) -> None:
    """Fast recovery (RFC 5681 3.2 step 2, RFC 6675 5 step 4)."""
    c = t.cc
    tcp.counters.fast_retransmits += 1
    if c.ca_state < Ca.CWR:
        _reduce(tcp, t, Cause.LOSS, now)
    c.ca_state = Ca.RECOVERY
    t.recovery.high = t.snd_nxt
    t.recovery.after_rto = 0
    t.recovery.first = 1
    t.tlp.active = 0


@compiled
def _is_probe(tcp: Tcp, t: Tcb, lost: int, now: int) -> bool:
    """Whether what is lost is a probe of the path's MTU: then it goes again in pieces, and the window stays
    (RFC 4821 7.6.2)."""
    if not mtu_probe.is_lost_alone(t.mtu, t.snd_una, lost):
        mtu_probe.give_up(t.mtu)
        return False
    index = t.queue.head
    while index != 0:                                           # all of it: duplicate ACKs told of one segment's worth
        r = runs.get(tcp.runs, index)
        if seq.geq(r.left, t.mtu.right) or (
                seq.gt(r.right, t.mtu.right) and not runs.split(tcp.runs, t.queue, index, t.mtu.right)):
            break
        if r.lost == 0:
            runs.set_lost(tcp.runs, t.queue, index)
        index = r.next
    mtu_probe.on_lost(t.mtu, now)
    tcp.counters.mtu_probes_lost += 1
    _repair(t)
    return True


@compiled
def _repair(t: Tcb) -> None:
    """What is lost goes again, for another reason than congestion."""
    t.cc.ca_state = Ca.LOSS
    t.recovery.high = t.snd_nxt
    t.recovery.frto = Step.NONE
    t.recovery.held = 0
    t.undo.active = 0


@compiled
def _reduce(tcp: Tcp, t: Tcb, cause: int, now: int) -> None:
    c = t.cc
    congestion.on_loss(algorithm(tcp, t), c, cause, now)
    prr.begin(t.prr, c.flight)
    undo.begin(t.undo, t.snd_una, t.queue.retrans > 0)
    ecn.on_reduced(t.ecn)


@compiled
def on_mark(tcp: Tcp, t: Tcb, now: int) -> None:
    """Congestion was signalled without a loss (RFC 3168 6.1.2): once a window of data at most."""
    if t.cc.ca_state >= Ca.CWR:
        congestion.keep_reduced(t.cc)
        return
    describe(tcp, t)
    _reduce(tcp, t, Cause.ECN, now)
    t.undo.active = 0
    t.cc.ca_state = Ca.CWR
    t.recovery.high = t.snd_nxt


@compiled
def on_probe_repair(tcp: Tcp, t: Tcb, now: int) -> None:
    """A loss probe has repaired the only loss: the window is reduced all the same (RFC 8985 7.4.2)."""
    if t.cc.ca_state >= Ca.CWR:
        return
    describe(tcp, t)
    _reduce(tcp, t, Cause.LOSS, now)
    t.undo.active = 0
    t.cc.ca_state = Ca.CWR
    t.recovery.high = t.snd_nxt


@compiled
def _complete(tcp: Tcp, t: Tcb, now: int) -> None:
    """Everything that was outstanding when it began is acknowledged."""
    c = t.cc
    if c.ca_state == Ca.RECOVERY:
        rack.on_recovered(t.rack)
    if not algorithm(tcp, t).full and c.ca_state != Ca.LOSS and c.ssthresh < congestion.UNLIMITED:
        c.cwnd = max(c.ssthresh, c.mss)                         # (RFC 9937) as PRR has brought it
        if t.sack_ok == 0:
            c.cwnd = max(min(c.cwnd, max(c.flight, c.mss) + c.mss), c.mss)      # (RFC 6582 3.2 step 3, option 1)
    c.ca_state = Ca.OPEN
    t.recovery.first = 0
    t.recovery.dupacks = 0
    t.recovery.held = 0
    t.undo.active = 0
    congestion.on_recovered(algorithm(tcp, t), c, 0, now)


@compiled
def _undo(tcp: Tcp, t: Tcb, now: int) -> None:
    """It was late, not lost (RFC 4015 3.1, steps 8 and 9): what was marked lost is on its way, the window is what it
    was, unless a mark has come meanwhile."""
    c = t.cc
    reverse = congestion.may_reverse(c)
    runs.all_found(tcp.runs, t.queue)
    c.ca_state = Ca.DISORDER if t.queue.sacked != 0 else Ca.OPEN
    t.recovery.frto = Step.NONE
    t.recovery.first = 0
    t.undo.active = 0
    if reverse:
        t.ecn.cwr_due = 0
    if t.rack.reordering_seen == 0:
        t.rack.reordering_seen = 1
    c.pipe = pipe(t)
    congestion.on_recovered(algorithm(tcp, t), c, 1 if reverse else 0, now)
    tcp.counters.undos += 1


# ---- timeouts ----------------------------------------------------------------------------

@compiled
def on_rto(tcp: Tcp, t: Tcb, now: int) -> None:
    """The retransmission timer has gone off (RFC 6298 5.4; RFC 5681 3.1; RFC 5682 2.1)."""
    c = t.cc
    r = t.recovery
    describe(tcp, t)
    how = algorithm(tcp, t)
    fresh = c.ca_state < Ca.RECOVERY
    renege = t.queue.head != 0 and runs.get(tcp.runs, t.queue.head).sacked == 1      # (RFC 2018 8) it took it back
    if renege:
        tcp.counters.sack_reneging += 1
    if t.retransmits == 1 and (c.ca_state <= Ca.DISORDER or seq.geq(t.snd_una, r.high) or c.ca_state == Ca.LOSS):
        congestion.on_rto(how, c, now)
        undo.begin(t.undo, t.snd_una, t.queue.retrans > 0)
        ecn.on_reduced(t.ecn)
    elif c.ca_state < Ca.LOSS:
        undo.begin(t.undo, t.snd_una, t.queue.retrans > 0)
    until = now
    if tcp.settings.tcp_recovery & 1 and t.sack_ok:                 # (RFC 8985 6.3) RACK_mark_losses_on_RTO
        until -= t.rack.rtt
    t.rate.lost += runs.all_lost(tcp.runs, t.queue, 1 if renege else 0, until)
    r.frto = Step.FIRST if tcp.settings.tcp_frto and fresh and not renege and t.retransmits == 1 else Step.NONE
    mtu_probe.give_up(t.mtu)
    r.high = t.snd_nxt
    r.after_rto = 1
    r.dupacks = 0
    r.held = 0
    r.first = 0
    t.tlp.active = 0
    t.clocks.reorder = 0
    c.ca_state = Ca.LOSS
    c.pipe = pipe(t)
    if not how.full:
        c.cwnd = c.pipe + congestion.LOSS_WINDOW * c.mss            # beside what may still be on its way, as Linux


@compiled
def _in_loss(tcp: Tcp, t: Tcb, now: int) -> None:
    """An ACK after a timeout: F-RTO (RFC 5682), then go on from the first segment that is missing."""
    a = tcp.acked
    r = t.recovery
    complete = seq.geq(t.snd_una, r.high)
    if r.frto != Step.NONE and (a.advanced or a.duplicate or a.sacked):
        original = a.original == 1 and (t.sack_ok == 1 or a.copied == 0)
        verdict = frto.on_ack(r.frto, a.advanced == 1, original, a.duplicate == 1 or a.sacked == 1, complete,
                              _has_new_data(t))
        if verdict == Verdict.SPURIOUS:
            tcp.counters.spurious_rtos += 1
            _undo(tcp, t, now)
            return
        if verdict == Verdict.REAL:
            if r.frto == Step.NEW_DATA and t.sack_ok == 0 and not algorithm(tcp, t).full:
                t.cc.cwnd = 3 * t.cc.mss                        # (2.1 step 3a) two are on their way, or have arrived
            r.frto = Step.NONE
        elif r.frto == Step.FIRST:
            r.frto = Step.NEW_DATA                              # (2.1 step 2b)
    if complete:
        r.frto = Step.NONE
        _complete(tcp, t, now)


@compiled
def _has_new_data(t: Tcb) -> bool:
    """Whether there is text that was never sent, and room for it in the peer's window."""
    sent = seq.diff(t.snd_nxt, t.snd_una)
    return ring.used(t.snd) > sent and t.snd_wnd > sent


@compiled
def resend(tcp: Tcp, t: Tcb) -> None:
    """Everything again, in smaller segments, for the path has shrunk: no sign of congestion (RFC 1191 6.4)."""
    if t.queue.head == 0:
        return
    runs.all_lost(tcp.runs, t.queue, 0, timers.NEVER)
    mtu_probe.give_up(t.mtu)
    _repair(t)
