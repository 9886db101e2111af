"""The ACK field: what the peer has, what it lets us send, what the path tells.

RFC 9293 section 3.10.7.4, "Fifth, check the ACK field"; the duplicate ACKs of
RFC 5681 section 2; RTT samples of RFC 6298 section 3 and RFC 7323 section 4.
"""
from __future__ import annotations

from ..machine import compiled, ring
from . import newreno, ranges, reno, rto, seq, timestamps
from .header import FIN, SYN, Segment
from .tcb import Tcb, Tcp, arm, mark_due, notify


@compiled
def take(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """An acceptable ACK in a synchronised state: SND.UNA =< SEG.ACK =< SND.MAX."""
    t.keepalive.heard = now
    t.keepalive.probes = 0
    if seq.gt(seg.ack, t.snd_una):
        _new_data(tcp, t, seg, now)
    elif _is_duplicate(t, seg):
        mss = segment_size(t)
        before = t.recovery.active
        newreno.on_duplicate(t.recovery, t.cc, t.snd_una, t.snd_max, mss)
        if t.recovery.active != before:
            tcp.counters.fast_retransmits += 1
        if t.recovery.active:
            mark_due(tcp, t)
    _update_window(tcp, t, seg)
    if seg.sack_count != 0 and t.sack_ok:
        _update_scoreboard(t, seg)


@compiled
def segment_size(t: Tcb) -> int:
    """Eff.snd.MSS (RFC 9293 3.7.1): data bytes that a full segment carries."""
    size = min(t.snd_mss, t.pmtu_mss)
    if t.ts.ok:
        size -= timestamps.OPTION_LEN
    return max(size, 1)


@compiled
def _is_duplicate(t: Tcb, seg: Segment) -> bool:
    """RFC 5681 section 2: (a) data outstanding, (b) no data, (c) no SYN or FIN, (d) same ACK, (e) same window.

    A window probe is not outstanding data: its answers say nothing of loss.
    """
    return (seg.ack == t.snd_una and seg.len == 0 and not seg.flags & (SYN | FIN) and t.clocks.persist == 0
            and t.snd_max != t.snd_una and (seg.wnd << t.snd_wscale) == t.snd_wnd)


@compiled
def _new_data(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """SND.UNA < SEG.ACK: bytes leave the send ring, time is measured, windows grow."""
    acked = seq.diff(seg.ack, t.snd_una)
    data = acked
    if t.fin_sent and seg.ack == t.snd_max:
        held = ring.used(t.snd)
        if data > held:
            data = held                                         # the rest is our FIN
    _measure(t, seg, now)
    t.snd_una = seg.ack
    if seq.lt(t.snd_nxt, seg.ack):
        t.snd_nxt = seg.ack                                     # it had gone back after a timeout
    if seq.lt(t.snd_sml, seg.ack):
        t.snd_sml = seg.ack                                     # else in 2 GiB it would seem to lie ahead
    if seq.lt(t.snd_up, seg.ack):
        t.snd_up = seg.ack
    ranges.advance(t.scoreboard, seg.ack)
    if data > 0:
        ring.set_head(t.snd, t.snd.head + data)
        notify(tcp, t)
    t.retransmits = 0
    t.progress = 1
    t.ep.soft_error = 0
    rto.on_progress(t.rto)
    partial = newreno.on_ack(t.recovery, t.cc, acked, t.snd_una, t.snd_max, segment_size(t))
    if t.snd_una == t.snd_max:
        t.clocks.retransmit = 0                                 # (RFC 6298 5.2) everything is acknowledged
        t.clocks.user = 0
    elif not partial:
        t.clocks.retransmit = now + rto.timeout(t.rto)          # (5.3)
        arm(tcp, t, t.clocks.retransmit)
        if t.clocks.user != 0:
            t.clocks.user = now + t.user_timeout
    mark_due(tcp, t)


@compiled
def _measure(t: Tcb, seg: Segment, now: int) -> None:
    """An RTT sample, if this ACK can give one (RFC 6298 section 3)."""
    if t.rto.timed_at != 0:
        if seq.geq(seg.ack, t.rto.timed_seq):
            rto.on_rtt_sample(t.rto, now - t.rto.timed_at)
            t.rto.timed_at = 0
    elif t.ts.ok and seg.has_ts and seg.tsecr != 0:             # (RFC 7323 4.1) after a retransmission only the echo
        sample = timestamps.rtt(t.ts, seg.tsecr, now)
        if sample >= 0 and t.retransmits != 0:
            rto.on_rtt_sample(t.rto, sample)


@compiled
def _update_window(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """SND.WND, if the segment is newer than the one that set it last (3.10.7.4)."""
    if not (seq.lt(t.snd_wl1, seg.seq) or (t.snd_wl1 == seg.seq and seq.leq(t.snd_wl2, seg.ack))):
        return
    wnd = seg.wnd << t.snd_wscale
    opened = wnd != t.snd_wnd
    t.snd_wnd = wnd
    t.snd_wl1 = seg.seq
    t.snd_wl2 = seg.ack
    t.max_window = max(t.max_window, wnd)
    if opened and ring.used(t.snd) > 0:
        mark_due(tcp, t)
    if t.clocks.persist != 0:
        if wnd > 0 and opened:                                  # else it is the override clock, which goes on
            t.clocks.persist = 0
            rto.on_progress(t.rto)
        t.retransmits = 0                                       # (3.8.6.1) it answers: the connection stays open


@compiled
def _update_scoreboard(t: Tcb, seg: Segment) -> None:
    """Note what the peer holds beyond SND.UNA (RFC 2018 section 5); blocks that make no sense are ignored."""
    for i in range(seg.sack_count):
        left = seg.sack[i].left
        right = seg.sack[i].right
        if seq.geq(left, t.snd_una) and seq.lt(left, right) and seq.leq(right, t.snd_max):
            ranges.insert(t.scoreboard, left, right)


@compiled
def establish(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """Our SYN is acknowledged: the connection can send."""
    if t.rto.timed_at != 0 and not t.syn_retransmitted:
        rto.on_rtt_sample(t.rto, now - t.rto.timed_at)
    t.rto.timed_at = 0
    rto.on_established(t.rto, t.syn_retransmitted == 1)
    t.snd_una = seg.ack
    t.snd_nxt = seg.ack
    t.snd_max = seg.ack
    t.snd_sml = seg.ack
    t.recovery.recover = seg.ack
    t.retransmits = 0
    t.was_open = 1
    t.syn_due = 0
    t.clocks.retransmit = 0
    t.clocks.user = 0
    t.ep.soft_error = 0
    t.snd_wnd = seg.wnd if seg.flags & SYN else seg.wnd << t.snd_wscale
    t.snd_wl1 = seg.seq
    t.snd_wl2 = seg.ack
    t.max_window = max(t.max_window, t.snd_wnd)
    reno.init(t.cc, segment_size(t))
    if t.syn_retransmitted:
        t.cc.cwnd = segment_size(t)                             # (RFC 5681 3.1) IW is one segment after a lost SYN
    t.ts.last_ack_sent = t.rcv_nxt
    t.keepalive.heard = now
    if t.keepalive.on:
        t.clocks.keepalive = now + t.keepalive.idle
        arm(tcp, t, t.clocks.keepalive)
    mark_due(tcp, t)
    notify(tcp, t)
