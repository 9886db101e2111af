"""SEGMENT ARRIVES.

RFC 9293 section 3.10.7, state by state and check by check; read it beside the
RFC.  Nothing is sent here: what is owed to the peer is noted in the Tcb
(`ack_now`, `syn_due`, ...) and sent by `output.transmit`; only a reset, for which
there may be no Tcb, is returned to the engine as RESET.
"""
from __future__ import annotations

from ..endpoint import in_use
from ..errors import ECONNREFUSED, ECONNRESET, EPIPE, Drop
from ..ip.net import Net
from ..machine import compiled, ring
from . import (
    accecn,
    accecn_option,
    ack,
    challenge,
    defer,
    demux,
    ecn,
    fastopen,
    fastopen_client,
    listen,
    orphan,
    quickack,
    ranges,
    receive,
    recovery,
    rto,
    seq,
    space,
    stats,
    timestamps,
    urgent,
    window,
)
from .header import ACK, FIN, RST, SYN, URG, Segment
from .tcb import State, Tcb, Tcp, arm, enter, fail, get, held, hold, mark_due, notify, own_rare, rare, release_held
from .window import current

DONE = 0
RESET = 256         # besides a Drop reason: answer the segment with a reset (3.10.7.1)


@compiled
def segment_arrives(tcp: Tcp, net: Net, seg: Segment, now: int) -> int:
    """Process one segment.  Returns DONE, RESET, listen.COOKIE, or a Drop reason to be counted."""
    tcp.counters.in_segs += seg.count
    index = demux.find(tcp, seg.dst_hi, seg.dst_lo, seg.src_hi, seg.src_lo, seg.dst_port, seg.src_port)
    if index == 0 or get(tcp, index).state == State.CLOSED:     # one that is over, and that the application still holds
        index = demux.find_listener(tcp, seg)
        if index == 0:
            return _closed(seg)
        return _listen(tcp, net, get(tcp, index), seg, now)
    t = get(tcp, index)
    stats.on_segment(t.stats, seg.data_len, seg.count)
    if t.state == State.SYN_SENT:
        return _syn_sent(tcp, t, seg, now)
    if t.state == State.TIME_WAIT and _is_new_connection(tcp, t, seg):
        return _reopen(tcp, net, t, seg, now)
    return _others(tcp, t, seg, now)


# ---- 3.10.7.1 CLOSED ---------------------------------------------------------

@compiled
def _closed(seg: Segment) -> int:
    """No such connection: everything but a reset is answered with a reset."""
    if seg.flags & RST:
        return Drop.TCP_NO_PORT
    return RESET


# ---- 3.10.7.2 LISTEN ---------------------------------------------------------

@compiled
def _listen(tcp: Tcp, net: Net, t: Tcb, seg: Segment, now: int) -> int:
    if seg.flags & RST:                                     # first, check for a RST
        return Drop.TCP_BAD_RST
    if seg.flags & ACK:                                     # second, check for an ACK
        if seg.flags & SYN:
            return RESET
        index = listen.on_cookie(tcp, net, t, seg, now)
        if index <= 0:
            return -index if index < 0 else RESET
        return _acknowledges(tcp, get(tcp, index), seg, now)
    if not seg.flags & SYN:                                 # third, check for a SYN; fourth, anything else
        return Drop.TCP_NO_ACK
    if seg.flags & FIN:                                     # SYN and FIN: nothing honest sends it (as Linux)
        return Drop.TCP_BAD_SYN
    result = listen.on_syn(tcp, net, t, seg, now)
    if result == listen.TEXT:
        index = demux.find(tcp, seg.dst_hi, seg.dst_lo, seg.src_hi, seg.src_lo, seg.dst_port, seg.src_port)
        return _take_early(tcp, get(tcp, index), seg, now)
    return result


@compiled
def _take_early(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """The text of a SYN with a good cookie, before the handshake is over (RFC 7413 4.2.2)."""
    window.syn_field(t)
    ack.begin(tcp, t, now)
    t.snd_max = t.iss                                       # our SYN-ACK is yet to be sent
    receive.begin(tcp, t, now)
    _expand(tcp, t)
    _trim(tcp, t, seg)
    reason = DONE
    if seg.data_len > 0:
        reason = receive.place(tcp, t, seg, now)
        quickack.forget(t.quick)                            # as Linux: the first text is what comes behind the SYN
    t.ts.last_ack_sent = t.rcv_nxt
    t.fast.text_acked = 1 if t.rcv_nxt != seq.add(t.irs, 1) else 0
    notify(tcp, t)
    return reason


# ---- 3.10.7.3 SYN-SENT -------------------------------------------------------

@compiled
def _syn_sent(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    acceptable = False
    if seg.flags & ACK:                                                 # first, check the ACK bit
        if seq.leq(seg.ack, t.iss) or seq.gt(seg.ack, t.snd_max):
            return Drop.TCP_BAD_ACK if seg.flags & RST else RESET
        if tcp.settings.tcp_timestamps and _echoes_another(t, seg, now):
            return Drop.TCP_PAWS if seg.flags & RST else RESET
        acceptable = True
    if seg.flags & RST:                                                 # second, check the RST bit
        if not acceptable:
            return Drop.TCP_BAD_RST
        tcp.counters.attempt_fails += 1
        tcp.counters.in_rsts += 1
        fail(tcp, t, ECONNREFUSED)
        return DONE
    if not seg.flags & SYN:                                             # fifth, if neither SYN nor RST
        return Drop.TCP_NO_ACK
    t.irs = seg.seq                                                     # fourth, check the SYN bit
    t.rcv_nxt = seq.add(seg.seq, 1)
    t.rcv_adv = t.rcv_nxt
    window.syn_field(t)                                                 # what our SYN offered
    listen.set_peer_options(tcp, t, seg)
    if acceptable:
        _learn_fastopen(tcp, t, seg, now)
        _establish(tcp, t, seg, now)
        enter(tcp, t, State.ESTABLISHED)
        accurate = t.ecn.mode == ecn.Mode.ACCURATE
        if accurate and seg.flags >> 6 & 7 == ecn.reflection(ecn.CE):
            recovery.on_mark(tcp, t, now)               # (RFC 9768 3.2.2.2) our SYN met a queue; not counted in s.cep
        later = t.defer.limit != 0 or t.fast.more
        if later and seg.len == 1 and t.fin == 0 and not accurate:              # (tcp(7)) our text will carry it
            quickack.enter(t.quick, quickack.MOST_QUICK, current(t), tcp.settings.tcp_delack)
            t.clocks.delayed_ack = now + defer.LONGEST_DELAY
            arm(tcp, t, t.clocks.delayed_ack)
            return DONE
        t.ack_now = 1
        return _text_and_fin(tcp, t, seg, now)
    enter(tcp, t, State.SYN_RECEIVED)                                   # simultaneous open
    t.snd_wnd = seg.wnd
    t.max_window = seg.wnd
    t.snd_wl1 = seg.seq
    t.snd_wl2 = t.iss
    t.snd_nxt = t.iss
    t.syn_due = 1
    mark_due(tcp, t)
    return DONE


@compiled
def _echoes_another(t: Tcb, seg: Segment, now: int) -> bool:
    """Whether a SYN-ACK's TSecr is none that we have sent: it answers another SYN (as Linux: PAWSActive)."""
    first = timestamps.clock(t.ts, t.keepalive.heard)       # when connect was called
    return (seg.has_ts != 0 and seg.tsecr != 0
            and (seq.lt(seg.tsecr, first) or seq.gt(seg.tsecr, timestamps.clock(t.ts, now))))


@compiled
def _learn_fastopen(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """Whether the text of our SYN was taken, and what the server has given for the next time (RFC 7413 4.2.1)."""
    f = t.fast
    e = t.ep
    taken = f.text != 0 and seg.ack == t.snd_max
    fastopen_client.on_answer(tcp.fast, f, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo, t.snd_mss, seg.fo,
                              seg.fo_len, seg.fo_exp, t.rto.syn_again, 1 if taken else 0, now)
    if taken:
        f.text_acked = 1
        tcp.fast.disabled = 0
        tcp.counters.fast_open_active += 1
    elif f.text != 0:
        f.failed = 1
        f.failure = fastopen.Failure.REPEATED if t.rto.syn_again else fastopen.Failure.NOT_ACKED
        tcp.counters.fast_open_active_fail += 1


# ---- 3.10.7.4 Other states ---------------------------------------------------

@compiled
def _others(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    if t.ecn.mode == ecn.Mode.ACCURATE:
        rare(t).accecn.fresh = 0
    if _ends_simultaneous_open(t, seg):
        _learn_fastopen(tcp, t, seg, now)
        return _acknowledges(tcp, t, seg, now)
    if t.state == State.SYN_RECEIVED and seg.flags & (SYN | ACK | RST) == SYN and seg.seq == t.irs:
        if ecn.is_contradicted(t.ecn, tcp.settings.tcp_ecn, seg.flags):
            return _give_up(tcp, t)
        if t.ecn.mode == ecn.Mode.ACCURATE:
            accecn.on_syn_again(rare(t).accecn, seg.tos & ecn.CODEPOINT, seg.flags >> 6 & 7)
        t.syn_due = 1                                       # the peer's SYN again, text or not: our SYN-ACK was lost
        mark_due(tcp, t)
        return Drop.TCP_UNACCEPTABLE
    if not _is_acceptable(t, seg):                                      # first, check sequence number
        return _unacceptable(tcp, t, seg, now)
    if t.ts.ok and seg.has_ts and not seg.flags & RST and timestamps.is_old(t.ts, seg.tsval, now):
        if seg.len != 0 or _is_allowed(tcp, t, now):                    # (RFC 7323 5.3 R1) else rarely
            _owe_ack(tcp, t)
        receive.note_old(tcp, t, seg)                                   # (RFC 2883 4.3)
        return Drop.TCP_PAWS
    if seg.flags & RST:                                                 # second, check the RST bit
        return _reset(tcp, t, seg, now)
    if seg.flags & SYN:                                                 # fourth, check the SYN bit
        return _unexpected_syn(tcp, t, seg, now)
    if not seg.flags & ACK:                                             # fifth, check the ACK field
        return Drop.TCP_NO_ACK
    return _acknowledges(tcp, t, seg, now)


@compiled
def _ends_simultaneous_open(t: Tcb, seg: Segment) -> bool:
    """Line 6 of figure 7 (3.5): the peer's SYN again, with the ACK of ours.

    Differs: by the letter of "first, check sequence number" it is an old duplicate; as on Linux it is taken.
    """
    return (t.state == State.SYN_RECEIVED and t.passive == 0 and seg.flags & (SYN | ACK | RST) == SYN | ACK
            and seg.seq == t.irs and seq.gt(seg.ack, t.iss) and seq.leq(seg.ack, t.snd_max))


@compiled
def _is_acceptable(t: Tcb, seg: Segment) -> bool:
    """The four cases of the table in 3.4 (and 3.10.7.4, first).

    Differs: an empty segment may stand at the right edge, as on Linux.  A peer that has filled the window sends its
    ACKs from there, and by the letter of the table none of them would count.  And, as on Linux, a FIN without text is
    taken when the window is shut: it needs no room, and the peer has no more to say.
    """
    wnd = current(t)
    if seg.len == 0:
        if wnd == 0:
            return seg.seq == t.rcv_nxt
        return _in_window(t, seg.seq, wnd if seg.flags & RST else wnd + 1)
    if wnd == 0:
        return seg.seq == t.rcv_nxt and seg.data_len == 0 and seg.flags & (FIN | SYN) == FIN
    return _in_window(t, seg.seq, wnd) or _in_window(t, seq.add(seg.seq, seg.len - 1), wnd)


@compiled
def _in_window(t: Tcb, s: int, wnd: int) -> bool:
    """RCV.NXT =< s < RCV.NXT + RCV.WND"""
    d = seq.diff(s, t.rcv_nxt)
    return 0 <= d < wnd


@compiled
def _owe_ack(tcp: Tcp, t: Tcb) -> None:
    t.ack_now = 1
    mark_due(tcp, t)


@compiled
def _is_allowed(tcp: Tcp, t: Tcb, now: int) -> bool:
    """Whether a segment that moves nothing may be answered, or an ACK war could begin (RFC 5961 7)."""
    if challenge.allowed(own_rare(tcp, t).challenge, tcp.settings.tcp_invalid_ratelimit, now):
        return True
    tcp.counters.acks_skipped += 1
    return False


@compiled
def _challenge(tcp: Tcp, t: Tcb, now: int) -> None:
    """A challenge ACK, if the rate allows one (RFC 5961 3 to 5, 7)."""
    if _may_challenge(tcp, t, now):
        _owe_ack(tcp, t)


@compiled
def _may_challenge(tcp: Tcp, t: Tcb, now: int) -> bool:
    """Whether it does; counts the challenge ACK if so."""
    if not _is_allowed(tcp, t, now) or not challenge.allowed_to_all(tcp.challenges, tcp.rng,
                                                                    tcp.settings.tcp_challenge_ack_limit, now):
        return False
    tcp.counters.challenge_acks += 1
    return True


@compiled
def _unacceptable(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """If an incoming segment is not acceptable, an acknowledgment should be sent in reply (unless RST)."""
    # "If the RCV.WND is zero, special allowance should be made to accept valid ACKs, URGs, and RSTs."
    closed = current(t) == 0 and seg.seq == t.rcv_nxt
    # Two peers that probe each other's window: each has taken the other's byte and does not know that its own was
    # taken, so both go on from before it.  What such a segment acknowledges is true; else they would answer for ever.
    behind = seg.len == 0 and _is_probe(t, seg) and t.clocks.persist != 0
    if seg.flags & RST:
        return _reset(tcp, t, seg, now) if closed else Drop.TCP_BAD_RST
    if t.state == State.TIME_WAIT and seg.flags & FIN:
        set_linger(tcp, t, now, tcp.settings.tcp_time_wait)     # "Restart the 2 MSL time-wait timeout."
    if seg.flags & SYN and not _may_challenge(tcp, t, now):
        return Drop.TCP_UNACCEPTABLE                    # (RFC 5961 4.2) "irrespective of the sequence number"
    if behind and seg.flags & ACK and _is_valid_ack(t, seg):
        ack.take(tcp, t, seg, now)
        if _our_fin_acknowledged(tcp, t, now):
            return RESET
    if seg.len == 0 and not _is_probe(t, seg) and not _is_allowed(tcp, t, now):
        return Drop.TCP_UNACCEPTABLE                    # (RFC 5961 7) an empty stray: an ACK war ends here
    if t.ecn.mode == ecn.Mode.ACCURATE:
        _count_old(tcp, t, seg)
    if seg.len > 0:                                     # sent again, for want of our ACK: be quick with the next ones
        quickack.enter(t.quick, quickack.MOST_QUICK, current(t), tcp.settings.tcp_delack)
    if closed and seg.flags & ACK and _is_valid_ack(t, seg):
        ack.take(tcp, t, seg, now)
        if _our_fin_acknowledged(tcp, t, now):
            return RESET
        if seg.flags & URG and t.fin_received == 0:
            _urgent(tcp, t, seg)
    receive.note_old(tcp, t, seg)
    _owe_ack(tcp, t)
    return Drop.TCP_UNACCEPTABLE


@compiled
def _count_old(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """What AccECN makes of a segment that is not acceptable.

    Differs: by the letter of RFC 9768 3.2 no such segment counts; as on Linux the latest one does, if it comes again.
    """
    if seg.flags & SYN and t.passive == 0:
        accecn.on_synack_again(rare(t).accecn, seg.tos & ecn.CODEPOINT)
    elif seg.data_len > 0 and seq.lt(seg.seq, t.rcv_nxt):
        if seq.geq(seq.add(seg.seq, seg.len), t.ts.last_ack_sent):
            accecn.on_segment(rare(t).accecn, t.ecn, seg.tos & ecn.CODEPOINT, seg.data_len, t.unacked != 0)
        accecn_option.on_repeated(rare(t).accecn, seg.seq)


@compiled
def _is_probe(t: Tcb, seg: Segment) -> bool:
    """A keepalive or window probe: the byte before RCV.NXT."""
    return seg.seq == seq.add(t.rcv_nxt, -1)


@compiled
def _is_valid_ack(t: Tcb, seg: Segment) -> bool:
    """SND.UNA =< SEG.ACK =< SND.MAX"""
    return seq.between(t.snd_una, seg.ack, t.snd_max)


@compiled
def _reset(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """Second, check the RST bit: only one that fits exactly resets (RFC 5961 3.2)."""
    if seg.seq != t.rcv_nxt and not _fits_last_block(tcp, t, seg):
        if _in_window(t, seg.seq, current(t)):
            _challenge(tcp, t, now)
        return Drop.TCP_BAD_RST
    tcp.counters.in_rsts += 1
    if t.state == State.TIME_WAIT:
        if tcp.settings.tcp_rfc1337 == 0:
            fail(tcp, t, 0)                             # 3.10.7.4, second: "enter the CLOSED state"
            return DONE
        return Drop.TCP_TIME_WAIT                       # RFC 1337 4 (F1): TIME-WAIT is not cut short
    if t.state == State.SYN_RECEIVED:
        tcp.counters.attempt_fails += 1
        if t.fast.pending:
            listen.on_reset(tcp, t)
            fail(tcp, t, ECONNRESET)
            return DONE
        listen.leave(tcp, t)                            # came from LISTEN: "return this connection to the LISTEN state"
        fail(tcp, t, ECONNREFUSED)
        return DONE
    tcp.counters.estab_resets += 1
    error = ECONNRESET
    if t.state == State.CLOSE_WAIT:
        error = EPIPE                                   # as Linux (tcp_reset)
    elif t.state in (State.LAST_ACK, State.CLOSING) and ring.used(t.snd) == 0:
        error = 0                                       # text that was not acknowledged may be lost: as Linux
    fail(tcp, t, error)
    return DONE


@compiled
def _fits_last_block(tcp: Tcp, t: Tcb, seg: Segment) -> bool:
    """A reset right behind what the peer knows that we hold: data before it was lost (as Linux)."""
    return t.sack_ok != 0 and t.held != 0 and seg.seq == ranges.end(held(tcp, t))


@compiled
def _unexpected_syn(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """Fourth, check the SYN bit: in the window it is answered with a challenge ACK (RFC 5961 4.2)."""
    if t.state == State.SYN_RECEIVED and t.parent != 0 and t.fast.pending == 0:
        tcp.counters.attempt_fails += 1
        listen.drop_half_open(tcp, t)                   # "return this connection to the LISTEN state"
        t.parent = 0
        fail(tcp, t, 0)
        return Drop.TCP_BAD_SYN
    _challenge(tcp, t, now)
    return Drop.TCP_BAD_SYN


@compiled
def _acknowledges(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """Fifth, check the ACK field, and what follows it."""
    if t.state == State.SYN_RECEIVED:
        if not (seq.gt(seg.ack, t.iss) and seq.leq(seg.ack, t.snd_max)):
            return RESET
        _note_timestamp(t, seg, now)
        early = t.fast.pending == 1
        bare = seg.data_len == 0 and not seg.flags & FIN
        if t.parent != 0 and not early and defer.drops(t.defer, t.retransmits, bare):
            tcp.counters.defer_accept_drops += 1
            return DONE                                 # as Linux: it is established when text comes
        if t.parent != 0 and not early and listen.is_full(tcp, t):
            if tcp.settings.tcp_abort_on_overflow == 0:
                return Drop.TCP_ACCEPT_QUEUE            # as Linux: the peer or our SYN-ACK timer tries again
            return _give_up(tcp, t)
        if t.ecn.mode == ecn.Mode.ACCURATE and not seg.flags & SYN:
            listen.take_first_option(t, seg)
        _establish(tcp, t, seg, now)
        if t.ecn.mode == ecn.Mode.ACCURATE and not seg.flags & SYN and accecn.on_last_ack(
                rare(t).accecn, t.ecn, seg.flags >> 6 & 7, seg.len == 0 and seg.sack_count == 0,
                tcp.settings.tcp_ecn_fallback != 0):
            tcp.counters.delivered_ce += 1
            recovery.on_mark(tcp, t, now)
        enter(tcp, t, State.ESTABLISHED)
        if t.parent != 0 and not early:
            listen.on_established(tcp, t)
        if t.fin:                                       # CLOSE was called meanwhile (3.10.4)
            enter(tcp, t, State.FIN_WAIT_1)
            _our_fin_acknowledged(tcp, t, now)
    elif seq.gt(seg.ack, t.snd_max) or seq.lt(seg.ack, seq.add(t.snd_una, -max(t.max_window, 1))):
        # something not yet sent, or (RFC 5961 5.2) too old to be true: answered, but rarely, or two ends that
        # disagree would answer each other for ever
        _challenge(tcp, t, now)
        return Drop.TCP_BAD_ACK
    else:
        _note_timestamp(t, seg, now)
        if seq.geq(seg.ack, t.snd_una):
            ack.take(tcp, t, seg, now)
            _expand(tcp, t)
            if _our_fin_acknowledged(tcp, t, now):
                return RESET
            if t.state == State.CLOSED:
                return DONE
        else:
            ack.take_old(tcp, t, seg, now)
    return _text_and_fin(tcp, t, seg, now)


@compiled
def _note_timestamp(t: Tcb, seg: Segment, now: int) -> None:
    """TS.Recent (RFC 7323 4.3 step 2); not of a segment whose ACK cannot be true, as on Linux: it is not the peer's."""
    recent = t.ts.recent
    if t.ts.ok and seg.has_ts:
        timestamps.on_segment(t.ts, seg.seq, seg.tsval, now)
    if t.ecn.mode == ecn.Mode.ACCURATE:
        rare(t).accecn.fresh = 1 if t.ts.recent != recent else 0


@compiled
def _give_up(tcp: Tcp, t: Tcb) -> int:
    """A handshake that is refused after all."""
    tcp.counters.embryonic_rsts += 1
    tcp.counters.attempt_fails += 1
    if t.parent != 0:
        listen.drop_half_open(tcp, t)
        t.parent = 0
    fail(tcp, t, 0)
    return RESET


@compiled
def _establish(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> None:
    """The handshake is over for us: sending begins (ack.py), receiving begins, and the buffers have their sizes."""
    if t.fast.pending == 0:                             # else it has begun
        receive.begin(tcp, t, now)
    ack.establish(tcp, t, seg, now)
    _expand(tcp, t)


@compiled
def _expand(tcp: Tcp, t: Tcb) -> None:
    """The congestion window may have grown: the send buffer follows it."""
    receive.relieve_sender(tcp, t)
    most = tcp.settings.tcp_wmem_max
    if tcp.memory.pressure == 0 and space.expand(t.space, t.cc.cwnd, recovery.segment_size(t), most):
        notify(tcp, t)


@compiled
def _our_fin_acknowledged(tcp: Tcp, t: Tcb, now: int) -> bool:
    """The further checks of FIN-WAIT-1, CLOSING and LAST-ACK.  Whether the segment is to be answered with a reset."""
    if t.fin_sent == 0 or t.snd_una != t.snd_max or ring.used(t.snd) != 0:
        return False
    if t.state == State.FIN_WAIT_1:
        enter(tcp, t, State.FIN_WAIT_2)
        if t.ep.closed and t.linger2 < 0:                               # TCP_LINGER2
            tcp.counters.aborts_on_data += 1
            fail(tcp, t, 0)
            return True
        if t.ep.closed:
            fin_wait(tcp, t, now)
    elif t.state == State.CLOSING:
        time_wait(tcp, t, now)
    elif t.state == State.LAST_ACK:
        fail(tcp, t, 0)
    return False


@compiled
def fin_wait(tcp: Tcp, t: Tcb, now: int) -> None:
    """An orphan in FIN-WAIT-2 does not wait for ever."""
    if not _one_more_wait(tcp, t):
        return
    set_linger(tcp, t, now, orphan.fin_wait(t.linger2, tcp.settings.tcp_fin_timeout, rto.timeout(t.rto)))


@compiled
def _one_more_wait(tcp: Tcp, t: Tcb) -> bool:
    """Whether one more connection may wait without an application; beyond tcp_max_tw_buckets it ends, as on Linux."""
    if tcp.counters.time_wait + tcp.orphans.fin_waits <= tcp.settings.tcp_max_tw_buckets:
        return True
    tcp.counters.time_wait_overflow += 1
    fail(tcp, t, 0)
    return False


@compiled
def set_linger(tcp: Tcp, t: Tcb, now: int, wait: int) -> None:
    """Start the clock of FIN-WAIT-2 or TIME-WAIT."""
    t.clocks.linger = now + wait
    arm(tcp, t, t.clocks.linger)


@compiled
def time_wait(tcp: Tcp, t: Tcb, now: int) -> None:
    """Enter TIME-WAIT: turn off the other timers, wait 2 MSL.  Beyond tcp_max_tw_buckets it is skipped, as on Linux."""
    c = t.clocks
    c.retransmit = 0
    c.probe = 0
    c.reorder = 0
    c.pace = 0
    c.persist = 0
    c.delayed_ack = 0
    c.keepalive = 0
    c.user = 0
    enter(tcp, t, State.TIME_WAIT)
    receive.give_back_sent(tcp, t)
    if t.ep.closed and not in_use(t.ep):
        receive.give_back(tcp, t.rcv)                   # nobody can read it any more
    if _one_more_wait(tcp, t):
        set_linger(tcp, t, now, tcp.settings.tcp_time_wait)


# ---- sixth, seventh, eighth: URG, text, FIN -----------------------------------

@compiled
def _text_and_fin(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """What the segment brings besides its ACK.  DONE, or why the text was not taken."""
    reason = DONE
    if seg.flags & URG and t.state in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2):
        _urgent(tcp, t, seg)
    if t.ecn.mode == ecn.Mode.ACCURATE and not seg.flags & SYN and accecn.on_segment(
            rare(t).accecn, t.ecn, seg.tos & ecn.CODEPOINT, seg.data_len, t.unacked != 0):
        _owe_ack(tcp, t)
    fin = _trim(tcp, t, seg)
    if seg.data_len > 0:
        if ecn.on_data(t.ecn, seg.flags, seg.tos & ecn.CODEPOINT):
            t.ack_now = 1
        if t.state not in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2):
            _owe_ack(tcp, t)                            # "should not occur, since a FIN has been received"
            reason = Drop.TCP_UNACCEPTABLE
        elif t.ep.closed or t.lingering:                # (3.6.1) nobody is left to read it: say so
            tcp.counters.aborts_on_data += 1
            fail(tcp, t, ECONNRESET)
            return RESET                                # at its ACK, as Linux
        else:                                           # also after shutdown(SHUT_RD), as on Linux
            position = t.rcv.tail + seq.diff(seg.seq, t.rcv_nxt)
            if urgent.on_text(rare(t).urgent, position, seg.data_len, seg.data):
                t.ep.looked = 0
                notify(tcp, t)
            if fin and t.state == State.ESTABLISHED and seg.seq == t.rcv_nxt:
                quickack.on_fin(t.quick)
            reason = receive.place(tcp, t, seg, now)
        mark_due(tcp, t)
    if fin and t.fin_received:                          # again: our ACK was lost
        _owe_ack(tcp, t)
        if t.state == State.TIME_WAIT:
            set_linger(tcp, t, now, tcp.settings.tcp_time_wait)
    elif fin:
        _hold_fin(tcp, t, seg)
    if t.fin_held and t.fin_at == t.rcv_nxt:
        _fin(tcp, t, now)
    return reason


@compiled
def _trim(tcp: Tcp, t: Tcb, seg: Segment) -> bool:
    """Cut the text to the window (3.10.7.4, "segments ... can be tailored").  True if a FIN stands within it."""
    if seg.flags & SYN:
        seg.seq = seq.add(seg.seq, 1)
    fin = (seg.flags & FIN) != 0
    before = seq.diff(t.rcv_nxt, seg.seq)
    if before > 0:                                      # the beginning is old
        cut = min(before, seg.data_len)
        if before > seg.data_len:
            fin = False                                 # the FIN as well
        if cut > 0:
            t.ack_now = 1
            receive.note_old(tcp, t, seg)
        seg.data += cut
        seg.data_len -= cut
        seg.seq = seq.add(seg.seq, cut)
    beyond = seq.diff(seq.add(seg.seq, seg.data_len), t.rcv_adv)
    if beyond > 0:                                      # the end is past the window
        seg.data_len = max(seg.data_len - beyond, 0)
        fin = False
    return fin


@compiled
def _urgent(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """Sixth, check the URG bit: RCV.UP <- max(RCV.UP, SEG.UP); it points behind the urgent byte (RFC 6093 3.1)."""
    position = t.rcv.tail + seq.diff(seq.add(seg.seq, 1 if seg.flags & SYN else 0), t.rcv_nxt)
    at = position + seg.up - (1 if seg.up != 0 else 0)
    if urgent.on_pointer(own_rare(tcp, t).urgent, at, ring.head(t.rcv), t.rcv.tail):
        notify(tcp, t)


@compiled
def _hold_fin(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """Note where the FIN stands: text before it may be missing (SHLD-31), and what is out of order gets its ACK now."""
    if t.state == State.CLOSED:
        return
    end = seq.add(seg.seq, seg.data_len)
    if seq.lt(end, t.rcv_nxt):                          # there was text beyond it: the peer contradicts itself
        _owe_ack(tcp, t)
        return
    if end == t.rcv_nxt:                                # `_fin` follows, and says when
        t.fin_held = 1
        t.fin_at = end
        return
    if hold(tcp, t, end, seq.add(end, 1)):
        t.fin_held = 1
        t.fin_at = end
    _owe_ack(tcp, t)


@compiled
def _fin(tcp: Tcp, t: Tcb, now: int) -> None:
    """Eighth, check the FIN bit: all before it has come."""
    t.fin_held = 0
    t.fin_received = 1
    t.rcv_nxt = seq.add(t.rcv_nxt, 1)
    release_held(tcp, t)                                # nothing stands beyond a FIN, whatever was sent
    t.dsack.due = 0                                     # and it is told of no duplicate (Linux: tcp_sack_reset)
    notify(tcp, t)
    if t.state in (State.SYN_RECEIVED, State.ESTABLISHED):
        enter(tcp, t, State.CLOSE_WAIT)
        quickack.on_fin(t.quick)
        receive.acknowledge(tcp, t, 1, now)
        if current(t) == 0:
            t.ack_now = 1                               # it may be probing our window
        mark_due(tcp, t)
        return
    _owe_ack(tcp, t)
    if t.state == State.FIN_WAIT_1:
        enter(tcp, t, State.CLOSING)
    elif t.state == State.FIN_WAIT_2:
        time_wait(tcp, t, now)


# ---- TIME-WAIT and a new SYN ---------------------------------------------------

@compiled
def _is_new_connection(tcp: Tcp, t: Tcb, seg: Segment) -> bool:
    """3.10.7.4, fourth, TIME-WAIT: a SYN that cannot be an old duplicate may reopen (MAY-2; RFC 6191 section 2)."""
    if seg.flags & (SYN | RST | ACK | FIN) != SYN:
        return False
    stamped = seg.has_ts and tcp.settings.tcp_timestamps != 0      # "would be enabled for the new incarnation"
    if stamped and not t.ts.ok:
        return True
    if stamped and t.ts.has_recent:
        if seq.gt(seg.tsval, t.ts.recent):
            return True
        return seg.tsval == t.ts.recent and seq.gt(seg.seq, t.rcv_nxt)
    return seq.gt(seg.seq, t.rcv_nxt)


@compiled
def _reopen(tcp: Tcp, net: Net, t: Tcb, seg: Segment, now: int) -> int:
    """End the old connection and give the SYN to the listener, if there is one."""
    index = demux.find_listener(tcp, seg)
    if index == 0:
        return _others(tcp, t, seg, now)
    demux.retire(tcp, t)
    result = _listen(tcp, net, get(tcp, index), seg, now)
    index = demux.find(tcp, seg.dst_hi, seg.dst_lo, seg.src_hi, seg.src_lo, seg.dst_port, seg.src_port)
    if index != 0:
        listen.start_beyond(get(tcp, index), t.snd_max)
    return result
