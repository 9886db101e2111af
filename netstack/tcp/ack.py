"""The ACK field: what the peer has, what it lets us send, what the path tells.

RFC 9293 section 3.10.7.4, "Fifth, check the ACK field"; the duplicate ACKs of
RFC 5681 section 2; SACK blocks (RFC 2018 section 5); RTT samples of RFC 6298
section 3 and RFC 7323 section 4.  What follows from it for the window is
decided in `recovery.py`.
"""
from __future__ import annotations

from ..machine import compiled, ring, timers
from . import (
    accecn,
    accecn_option,
    acked,
    congestion,
    ecn,
    eor,
    mtu_probe,
    path,
    rack,
    rate,
    recovery,
    rto,
    runs,
    sack,
    seq,
    stats,
    timestamps,
    tlp,
    undo,
    usertimeout,
)
from .congestion import Ca
from .header import FIN, SYN, Segment
from .tcb import State, Tcb, Tcp, arm, mark_due, notify, rare


@compiled
def take(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """An acceptable ACK in a synchronised state: SND.UNA =< SEG.ACK =< SND.MAX."""
    _take(tcp, t, seg, now)
    _update_window(tcp, t, seg)
    if t.more:                                          # as on Linux, MSG_MORE holds text until the next ACK at most
        t.more = 0
        mark_due(tcp, t)


@compiled
def _take(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """... all but its window."""
    t.keepalive.heard = now
    t.keepalive.probes = 0
    t.stats.last_ack_received = now
    a = tcp.acked
    una = t.snd_una
    acked.begin(a, t.recovery.high if t.cc.ca_state != Ca.OPEN else t.snd_nxt,
                seg.tsecr if t.ts.ok and seg.has_ts and seg.tsecr != 0 else -1)
    rate.begin(t.cc.sample)
    rack.on_ack(t.rack)
    a.duplicate = 1 if _is_duplicate(t, seg) else 0
    if seg.sack_count != 0 and t.sack_ok:
        _take_blocks(tcp, t, seg, now)
    if seq.gt(seg.ack, una):
        _new_data(tcp, t, seg, now)
    if ecn.on_ack(t.ecn, seg.ack, seg.flags) and not seg.flags & SYN and (a.advanced or t.queue.head != 0):
        recovery.on_mark(tcp, t, now)
        t.prr.recover_fs += a.delivered                         # which was in flight until now (RFC 9937 6.2)
    if t.ecn.mode == ecn.Mode.CLASSIC and seg.flags & (ecn.ECE | SYN) == ecn.ECE:
        _count_marked(tcp, t, a.delivered)
    elif t.ecn.mode == ecn.Mode.ACCURATE and not seg.flags & SYN and _take_marks(tcp, t, seg):
        recovery.on_mark(tcp, t, now)
        t.prr.recover_fs += a.delivered
    if a.advanced or a.sacked or a.dsack or (a.duplicate and t.sack_ok == 0):
        rate.finish(t.rate, t.cc.sample, t.rto.min_rtt)
        _measure(t, a, now)
        if t.tlp.active and tlp.on_ack(t.tlp, seg.ack, una, a.dsack == 1, _is_plain_echo(t, seg, una)):
            recovery.on_probe_repair(tcp, t, now)
        recovery.on_ack(tcp, t, now)
        if t.cc.ca_state != Ca.LOSS:
            stats.on_rto_over(t.stats, now)
        if a.advanced:
            _restart_timer(tcp, t, now)
        mark_due(tcp, t)
    elif t.tlp.active:
        tlp.on_ack(t.tlp, seg.ack, una, False, _is_plain_echo(t, seg, una))


@compiled
def take_old(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """SEG.ACK < SND.UNA: a later ACK has overtaken it.  As on Linux, what its blocks say still counts, nothing else."""
    if seg.sack_count == 0 or t.sack_ok == 0 or t.queue.head == 0:
        return
    a = tcp.acked
    acked.begin(a, t.recovery.high if t.cc.ca_state != Ca.OPEN else t.snd_nxt,
                seg.tsecr if t.ts.ok and seg.has_ts and seg.tsecr != 0 else -1)
    rate.begin(t.cc.sample)
    _take_blocks(tcp, t, seg, now)
    if a.sacked or a.dsack:
        rate.finish(t.rate, t.cc.sample, t.rto.min_rtt)
        _measure(t, a, now)
        recovery.on_ack(tcp, t, now)
        mark_due(tcp, t)


@compiled
def _count_marked(tcp: Tcp, t: Tcb, delivered: int) -> None:
    """An ACK with ECE: as on Linux, all that it delivers is taken for marked."""
    congestion.keep_reduced(t.cc)
    n = -(-delivered // recovery.segment_size(t))
    t.ecn.delivered_ce += n
    tcp.counters.delivered_ce += n


@compiled
def _take_marks(tcp: Tcp, t: Tcb, seg: Segment) -> bool:
    """What AccECN tells (RFC 9768 3.2).  True: something was marked."""
    a = rare(t).accecn
    delivered = tcp.acked.delivered
    if a.deaf or t.state == State.SYN_RECEIVED:                     # (3.2.2.1) the field is not a counter yet
        return False
    if delivered == 0 and (a.fresh == 0 or _is_last_ack_again(t, seg)):
        return False                                                # (A.1) "superseded", as far as anybody can tell
    size = recovery.segment_size(t)
    marked = -1
    if seg.accecn:
        marked = accecn_option.take(a, seg.accecn, seg.accecn_count, seg.accecn_1, seg.accecn_2, seg.accecn_3)
    else:
        accecn_option.on_none(a, t.stats.bytes_sent)
    n = accecn.on_feedback(a, t.ecn, seg.flags >> 6 & 7, -(-delivered // size), marked, size)
    if tcp.acked.advanced:
        accecn.on_round(a, t.ecn, seg.ack, t.snd_nxt, t.stats.data_segs_out)
    accecn.reconcile(a, marked, n, t.stats.segs_out, t.snd_una == t.snd_max)
    tcp.counters.delivered_ce += n
    return n > 0


@compiled
def _is_last_ack_again(t: Tcb, seg: Segment) -> bool:
    """Our SYN-ACK went twice, so its ACK may come twice, and the second one's field is no counter either (3.2.2.2)."""
    return t.passive != 0 and t.rto.syn_again != 0 and t.snd_una == seq.add(t.iss, 1) and seg.len == 0


@compiled
def _is_duplicate(t: Tcb, seg: Segment) -> bool:
    """RFC 5681 section 2: (a) data outstanding, (b) no data, (c) no SYN or FIN, (d) same ACK, (e) same window.

    A window probe is not outstanding data: its answers say nothing of loss.
    """
    return (seg.ack == t.snd_una and seg.len == 0 and not seg.flags & (SYN | FIN) and t.clocks.persist == 0
            and t.snd_max != t.snd_una and (seg.wnd << t.snd_wscale) == t.snd_wnd)


@compiled
def _is_plain_echo(t: Tcb, seg: Segment, una: int) -> bool:
    """The answer to a loss probe that came twice, of a peer without D-SACK (RFC 8985 7.4.2, case 2): a duplicate ACK
    without blocks.  Nothing need be outstanding any more."""
    return (seg.ack == una and seg.len == 0 and seg.sack_count == 0 and not seg.flags & (SYN | FIN)
            and (seg.wnd << t.snd_wscale) == t.snd_wnd)


@compiled
def _take_blocks(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """Mark what the peer holds beyond SND.UNA (RFC 2018 section 5); blocks that make no sense are ignored."""
    first = 0
    one = seg.sack[0]
    two = seg.sack[1]
    if sack.is_dsack(one.left, one.right, seg.ack) or (
            seg.sack_count > 1 and sack.is_inside(one.left, one.right, two.left, two.right)):
        first = 1
        tcp.acked.dsack = 1
        t.stats.dsacks += 1
        tcp.counters.dsacks_received += 1
        rack.on_dsack(t.rack, t.snd_una, t.snd_nxt)
        undo.on_dsack(t.undo, one.left, one.right, t.snd_una, recovery.segment_size(t))
    for i in range(first, seg.sack_count):
        block = seg.sack[i]
        if sack.is_plausible(block.left, block.right, t.snd_una, t.snd_nxt):
            _take_block(tcp, t, block.left, block.right, now)


@compiled
def _take_block(tcp: Tcp, t: Tcb, left: int, right: int, now: int) -> None:
    a = tcp.acked
    q = t.queue
    q.block_at = runs.near(tcp.runs, q, left)
    index = sack.next_part(tcp.runs, q, q.block_at, left, right)
    while index != 0:
        r = runs.get(tcp.runs, index)
        acked.on_delivered(a, t.rate, t.cc.sample, t.rack, r, r.right, _echoes_original(t, a.tsecr, r.again, r.sent_at),
                           t.rto.min_rtt, now)
        a.sacked = 1
        t.stats.delivered += stats.segments(runs.size(r), t.cc.mss)
        runs.set_sacked(tcp.runs, q, index)
        index = runs.join_sacked(tcp.runs, q, index)
        index = sack.next_part(tcp.runs, q, runs.get(tcp.runs, index).next, left, right)


@compiled
def _echoes_original(t: Tcb, tsecr: int, again: int, sent_at: int) -> bool:
    """Whether the timestamp shows that the ACK answers an earlier copy than the last (RFC 8985 6.2, step 2)."""
    return again == 1 and tsecr >= 0 and seq.lt(tsecr, timestamps.clock(t.ts, sent_at))


@compiled
def _new_data(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """SND.UNA < SEG.ACK: bytes leave the send ring and the queue."""
    a = tcp.acked
    data = seq.diff(seg.ack, t.snd_una)
    a.data = data
    a.advanced = 1
    if t.fin_sent and seg.ack == t.snd_max:
        data = min(data, ring.used(t.snd))                      # the rest is our FIN
    _leave_queue(tcp, t, seg.ack, now)
    t.snd_una = seg.ack
    if seq.lt(t.snd_nxt, seg.ack):
        t.snd_nxt = seg.ack                                     # a window probe was taken
    if seq.lt(t.snd_sml, seg.ack):
        t.snd_sml = seg.ack                                     # else in 2 GiB it would seem to lie ahead
    if seq.lt(t.snd_up, seg.ack):
        t.snd_up = seg.ack
    if data > 0:
        ring.set_head(t.snd, t.snd.head + data)
        eor.forget(rare(t).ends, t.snd.head)
        t.stats.bytes_acked += data
        notify(tcp, t)
    if t.mtu.size != 0 and mtu_probe.on_ack(t.mtu, seg.ack, now):
        path.set_mss(t)
    t.retransmits = 0
    t.progress = 1
    t.ep.soft_error = 0
    rto.on_progress(t.rto)


@compiled
def _leave_queue(tcp: Tcp, t: Tcb, upto: int, now: int) -> None:
    """Everything before `upto` is acknowledged."""
    a = tcp.acked
    q = t.queue
    while q.head != 0:
        r = runs.get(tcp.runs, q.head)
        if seq.geq(r.left, upto):
            break
        whole = seq.leq(r.right, upto)
        end = r.right if whole else upto
        if r.sacked == 0:
            t.stats.delivered += stats.segments(seq.diff(end, r.left), t.cc.mss)
            acked.on_delivered(a, t.rate, t.cc.sample, t.rack, r, end, _echoes_original(t, a.tsecr, r.again, r.sent_at),
                               t.rto.min_rtt, now)
        if not whole:
            runs.trim(q, r, upto)
            break
        runs.remove(tcp.runs, q, q.head)


@compiled
def _measure(t: Tcb, a: acked.Acked, now: int) -> None:
    """RTT samples, if this ACK can give them (RFC 6298 section 3)."""
    t.cc.rtt = -1
    if a.sent_at >= 0 and a.copied == 0:                        # else a copy filled a hole, and the rest had waited
        t.cc.rtt = now - a.sent_at
        rto.on_rtt(t.rto, t.cc.rtt, a.sent_at, now)
    elif a.copy_at >= 0 and a.advanced and a.tsecr >= 0:        # (RFC 7323 4.1) sent again: only the echo tells
        if seq.geq(a.tsecr, timestamps.clock(t.ts, a.copy_at)):
            rto.on_rtt(t.rto, now - a.copy_at, a.copy_at, now)  # it answers the last copy
            return
        # An earlier copy was late; or its ACK was lost, and the time between says nothing of the path: then the answer
        # to the last copy tells of a duplicate, if the peer knows D-SACK.  If not, the doubt is taken in by and by.
        sample = timestamps.rtt(t.ts, a.tsecr, now)
        if sample >= 0 and a.dsack == 0:
            rto.on_rtt_sample(t.rto, min(sample, 2 * t.rto.rto))


@compiled
def _restart_timer(tcp: Tcp, t: Tcb, now: int) -> None:
    """(RFC 6298 5.2, 5.3) The retransmission timer, after new data was acknowledged; and the loss probe's."""
    c = t.clocks
    c.probe = 0
    if t.snd_una == t.snd_max:
        c.retransmit = 0
        usertimeout.end(t.user)
        c.user = 0
        c.reorder = 0
        if ring.used(t.snd) == 0:
            stats.set_busy(t.stats, False, now)
            stats.set_sndbuf_limited(t.stats, False, now)
        return
    c.retransmit = now + rto.timeout(t.rto)
    arm(tcp, t, c.retransmit)
    usertimeout.on_progress(t.user, now)
    c.user = usertimeout.deadline(t.user)
    if c.user != 0:
        arm(tcp, t, c.user)
    arm_probe(tcp, t, now)


@compiled
def arm_probe(tcp: Tcp, t: Tcb, now: int) -> None:
    """Schedule a loss probe (RFC 8985 7.2), if nothing unusual is under way."""
    c = t.clocks
    if (t.sack_ok == 0 or tcp.settings.tcp_early_retrans < 3 or t.cc.ca_state != Ca.OPEN or t.queue.sacked != 0
            or t.tlp.active or t.queue.head == 0 or c.retransmit == 0):
        return
    c.probe = min(now + tlp.timeout(t.rto.srtt, seq.diff(t.snd_nxt, t.snd_una), recovery.segment_size(t)), c.retransmit)
    arm(tcp, t, c.probe)


@compiled
def _update_window(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """SND.WND, if the segment is newer than the one that set it last (3.10.7.4)."""
    if not (seq.lt(t.snd_wl1, seg.seq) or (t.snd_wl1 == seg.seq and seq.leq(t.snd_wl2, seg.ack))):
        return
    wnd = seg.wnd << t.snd_wscale
    opened = wnd != t.snd_wnd
    if t.snd_wnd == 0 and wnd > 0 and t.cc.ca_state == Ca.LOSS:
        runs.all_lost(tcp.runs, t.queue, 0, timers.NEVER)       # what was sent into the closed window was thrown away
    t.snd_wnd = wnd
    t.snd_wl1 = seg.seq
    t.snd_wl2 = seg.ack
    t.max_window = max(t.max_window, wnd)
    if opened and ring.used(t.snd) > 0:
        mark_due(tcp, t)
    if t.clocks.persist != 0:
        if wnd > 0 and opened:                                  # else it is the override clock, which goes on
            t.clocks.persist = 0
            t.clocks.user = 0
            usertimeout.end(t.user)
            rto.on_progress(t.rto)
        t.retransmits = 0                                       # (3.8.6.1) it answers: the connection stays open


@compiled
def establish(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """Our SYN is acknowledged: the connection can send."""
    if t.rto.syn_at != 0 and not t.rto.syn_again:
        rto.on_rtt(t.rto, now - t.rto.syn_at, t.rto.syn_at, now)
    rto.on_established(t.rto, t.rto.syn_again == 1)
    stats.on_rto_over(t.stats, now)
    t.retransmits = 0
    t.syn_due = 0
    t.clocks.retransmit = 0
    t.clocks.user = 0
    usertimeout.end(t.user)
    t.ep.soft_error = 0
    t.snd_wnd = seg.wnd if seg.flags & SYN else seg.wnd << t.snd_wscale
    t.snd_wl1 = seg.seq
    t.snd_wl2 = seg.ack
    t.max_window = max(t.max_window, t.snd_wnd)
    if t.fast.pending == 0:
        begin(tcp, t, now)
    t.stats.delivered = 1                                       # the SYN
    if t.rto.syn_again:
        t.cc.cwnd = recovery.segment_size(t)                    # (RFC 5681 3.1) IW is one segment after a lost SYN
    t.ts.last_ack_sent = t.rcv_nxt
    t.keepalive.heard = now
    if t.keepalive.on:
        t.clocks.keepalive = now + t.keepalive.idle
        arm(tcp, t, t.clocks.keepalive)
    if t.fast.pending or t.fast.text != 0:
        _take_early(tcp, t, seg, now)
    mark_due(tcp, t)
    notify(tcp, t)


@compiled
def begin(tcp: Tcp, t: Tcb, now: int) -> None:
    """Sending begins behind our SYN: with the handshake, or before it is over (RFC 7413 4.2.2)."""
    first = seq.add(t.iss, 1)
    t.snd_una = first
    t.snd_nxt = first
    t.snd_sml = first
    t.recovery.high = first
    if t.fast.text == 0:
        t.snd_max = first
    path.begin(tcp, t, now)
    t.stats.begun = now
    rack.init(t.rack, first)
    t.was_open = 1
    recovery.describe(tcp, t)
    congestion.begin(recovery.algorithm(tcp, t), t.cc, now)


@compiled
def _take_early(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """What became of the text that was sent with our SYN, or behind our SYN-ACK (RFC 7413 4.2)."""
    f = t.fast
    if f.text != 0:
        index = runs.append(tcp.runs, t.queue, t.snd_una, t.snd_max, t.rto.syn_at if t.rto.syn_at != 0 else now)
        if index != 0:
            r = runs.get(tcp.runs, index)
            rate.on_sent(t.rate, r, True, now)
            r.again = t.rto.syn_again
        stats.set_busy(t.stats, True, now)
        t.snd_nxt = t.snd_max
    _take(tcp, t, seg, now)
    if f.text != 0:
        t.stats.delivered = 1                                   # the SYN and its text: one segment, as Linux counts
    if t.queue.head == 0:
        return
    usertimeout.begin(t.user, now)
    t.clocks.user = usertimeout.deadline(t.user)
    if t.clocks.user != 0:
        arm(tcp, t, t.clocks.user)
    if f.text != 0 or t.rto.syn_again:                      # as Linux: sent again at once, no sign of congestion
        recovery.resend(tcp, t)
    elif t.clocks.retransmit == 0:
        t.clocks.retransmit = now + rto.timeout(t.rto)
        arm(tcp, t, t.clocks.retransmit)
