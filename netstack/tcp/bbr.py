"""BBR: send at the rate at which data arrives, and keep little in the queue.

draft-cardwell-iccrg-bbr-congestion-control-00 (version 1), the algorithm that
Linux has as "bbr".  Not version 3: that one takes more than 2 % of loss for
congestion, and this stack is to hold its rate on paths that lose 3 %.
Section numbers are the draft's; names are its names in lower case.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..machine import MS, SECOND, Array, at, compiled, i64, record, u8, u32, unit
from . import congestion, pacing, rate
from .congestion import UNLIMITED, Congestion, initial_window

HIGH_GAIN = 289                 # percent: 2 / ln 2 (4.3.2.1)
DRAIN_GAIN = 35                 # percent: its reciprocal (4.3.3)
CWND_GAIN = 200                 # percent in ProbeBW (4.2.3.2)
GAIN_CYCLE = 8                  # phases, of one min_rtt each: 125 %, 75 %, then 100 % (4.3.4.1)
BTLBW_FILTER = 10               # rounds that the bandwidth filter remembers (4.1.1.3)
RTPROP_FILTER = 10 * SECOND     # (4.1.2.3)
PROBE_RTT_TIME = 200 * MS       # (4.3.5)
MIN_PIPE = 4                    # segments (4.2.3.4)
FULL_GROWTH = 125               # percent (4.3.2.2)
FULL_ROUNDS = 3
MARGIN = 99                     # percent of the estimate that is paced, so that a queue drains
MICRO = 1000                    # ns


class Mode(IntEnum):
    """States (4.3.1)."""

    STARTUP = 0
    DRAIN = 1
    PROBE_BW = 2
    PROBE_RTT = 3


@record
class Bbr:
    """BBR's variables (3.2 ff.); bytes, bytes per second, ns, percent."""

    bw: Annotated[Array[i64], 3]            # best, second and third best of the bandwidth filter
    bw_round: Annotated[Array[u32], 3]      # ... and the rounds they are from
    round_count: u32
    rtprop: i64             # BBR.RTprop
    rtprop_stamp: i64
    probe_rtt_done_at: i64  # 0: not set
    next_round_delivered: i64
    full_bw: i64
    cycle_stamp: i64
    prior_cwnd: i64
    extra_at: i64           # since when ACKs are compared with the estimate
    extra_acked: i64        # delivered since
    extra: u32              # most that ACKs ran ahead of the estimate of late
    mode: u8
    full_rounds: u8
    filled_pipe: u8
    cycle_index: u8
    round_start: u8
    conserve: u8            # packet conservation, in the first round of a recovery
    in_recovery: u8
    probe_rtt_round_done: u8


@compiled
def bandwidth(s: Bbr) -> int:
    """BBR.BtlBw."""
    return s.bw[0]


@compiled
def _update_filter(s: Bbr, value: int) -> None:
    """A maximum over the last BTLBW_FILTER rounds, kept as the three best."""
    n = s.round_count
    if value >= s.bw[0] or n - s.bw_round[2] > BTLBW_FILTER:
        for i in range(3):
            s.bw[i] = value
            s.bw_round[i] = n
        return
    if value >= s.bw[1]:
        s.bw[1] = value
        s.bw_round[1] = n
        s.bw[2] = value
        s.bw_round[2] = n
    elif value >= s.bw[2]:
        s.bw[2] = value
        s.bw_round[2] = n
    if n - s.bw_round[0] > BTLBW_FILTER:                        # the best is too old: the next ones move up
        s.bw[0] = s.bw[1]
        s.bw_round[0] = s.bw_round[1]
        s.bw[1] = s.bw[2]
        s.bw_round[1] = s.bw_round[2]
        s.bw[2] = value
        s.bw_round[2] = n
    elif s.bw_round[1] == s.bw_round[0] and n - s.bw_round[1] > BTLBW_FILTER // 4:
        s.bw[1] = value
        s.bw_round[1] = n
        s.bw[2] = value
        s.bw_round[2] = n
    elif s.bw_round[2] == s.bw_round[1] and n - s.bw_round[2] > BTLBW_FILTER // 2:
        s.bw[2] = value
        s.bw_round[2] = n


@compiled
def bdp(s: Bbr, gain: int) -> int:
    """BBRInflight without quanta (4.2.3.2): gain * BtlBw * RTprop."""
    return bandwidth(s) * (s.rtprop // MICRO) // 1_000_000 * gain // 100


@compiled
def _update_round(s: Bbr, c: Congestion) -> None:
    """(4.1.1.3) A round ends when data that was sent at its start is acknowledged."""
    s.round_start = 0
    if c.sample.prior_delivered >= 0 and c.sample.prior_delivered >= s.next_round_delivered:
        s.next_round_delivered = c.delivered
        s.round_count += 1
        s.round_start = 1
        s.conserve = 0


@compiled
def _update_bandwidth(s: Bbr, c: Congestion) -> None:
    """(4.1.1.5) A sample counts if it is larger, or if the application was not what limited it."""
    value = rate.per_second(c.sample)
    if value > 0 and (value >= bandwidth(s) or c.sample.app_limited == 0):
        _update_filter(s, value)


@compiled
def _update_aggregation(s: Bbr, c: Congestion, now: int) -> None:
    """How far bunched ACKs run ahead of the estimate: cwnd must cover it (Linux; draft version 2, 4.5.5)."""
    expected = bandwidth(s) * min((now - s.extra_at) // MICRO, 1_000_000) // 1_000_000
    if s.extra_acked <= expected or (s.round_start and s.round_count % BTLBW_FILTER == 0):
        s.extra_at = now
        s.extra_acked = 0
        expected = 0
    if s.round_start and s.round_count % BTLBW_FILTER == 0:
        s.extra = s.extra // 2
    s.extra_acked += c.acked
    ahead = min(s.extra_acked - expected, c.cwnd)
    if s.filled_pipe and ahead > s.extra:
        s.extra = ahead


@compiled
def _enter_probe_bw(s: Bbr, now: int) -> None:
    """(4.3.4.3) in any phase but the one that drains."""
    s.mode = Mode.PROBE_BW
    s.cycle_index = 2 + (now // MICRO) % (GAIN_CYCLE - 2)
    s.cycle_stamp = now


@compiled
def pacing_gain(s: Bbr) -> int:
    """BBR.pacing_gain, percent."""
    if s.mode == Mode.STARTUP:
        return HIGH_GAIN
    if s.mode == Mode.DRAIN:
        return DRAIN_GAIN
    if s.mode == Mode.PROBE_BW and s.cycle_index == 0:
        return 125
    if s.mode == Mode.PROBE_BW and s.cycle_index == 1:
        return 75
    return 100


@compiled
def cwnd_gain(s: Bbr) -> int:
    """BBR.cwnd_gain, percent."""
    return HIGH_GAIN if s.mode == Mode.STARTUP or s.mode == Mode.DRAIN else CWND_GAIN


@compiled
def _update_cycle(s: Bbr, c: Congestion, now: int) -> None:
    """BBRCheckCyclePhase (4.3.4.3)."""
    if s.mode != Mode.PROBE_BW:
        return
    full = now - s.cycle_stamp > s.rtprop
    gain = pacing_gain(s)
    if gain > 100:
        full = full and (c.sample.lost > 0 or c.pipe >= bdp(s, gain))
    elif gain < 100:
        full = full or c.pipe <= bdp(s, 100)
    if full:
        s.cycle_index = (s.cycle_index + 1) % GAIN_CYCLE
        s.cycle_stamp = now


@compiled
def _check_full_pipe(s: Bbr, c: Congestion) -> None:
    """BBRCheckFullPipe (4.3.2.2): three rounds without a quarter more."""
    if s.filled_pipe or s.round_start == 0 or c.sample.app_limited:
        return
    if bandwidth(s) >= s.full_bw * FULL_GROWTH // 100:
        s.full_bw = bandwidth(s)
        s.full_rounds = 0
        return
    s.full_rounds += 1
    if s.full_rounds >= FULL_ROUNDS:
        s.filled_pipe = 1


@compiled
def _check_drain(s: Bbr, c: Congestion, now: int) -> None:
    """BBRCheckDrain (4.3.3)."""
    if s.mode == Mode.STARTUP and s.filled_pipe:
        s.mode = Mode.DRAIN
    if s.mode == Mode.DRAIN and c.pipe <= bdp(s, 100):
        _enter_probe_bw(s, now)


@compiled
def _save_cwnd(s: Bbr, c: Congestion) -> None:
    """BBRSaveCwnd (4.2.3.5): what it was before a recovery, or before ProbeRTT."""
    if s.in_recovery or s.mode == Mode.PROBE_RTT:
        s.prior_cwnd = max(s.prior_cwnd, c.cwnd)
    else:
        s.prior_cwnd = c.cwnd


@compiled
def _update_rtprop(s: Bbr, c: Congestion, now: int) -> None:
    """BBRUpdateRTprop and BBRCheckProbeRTT (4.1.2.3, 4.3.5)."""
    expired = now > s.rtprop_stamp + RTPROP_FILTER
    if c.rtt >= 0 and (s.rtprop == 0 or c.rtt <= s.rtprop or expired):
        s.rtprop = max(c.rtt, 1)
        s.rtprop_stamp = now
    if expired and s.mode != Mode.PROBE_RTT:
        _save_cwnd(s, c)
        s.mode = Mode.PROBE_RTT
        s.probe_rtt_done_at = 0
    if s.mode == Mode.PROBE_RTT:
        if s.probe_rtt_done_at == 0 and c.pipe <= MIN_PIPE * c.mss:
            s.probe_rtt_done_at = now + PROBE_RTT_TIME
            s.probe_rtt_round_done = 0
            s.next_round_delivered = c.delivered
        elif s.probe_rtt_done_at != 0:
            if s.round_start:
                s.probe_rtt_round_done = 1
            if s.probe_rtt_round_done and now > s.probe_rtt_done_at:
                s.rtprop_stamp = now
                c.cwnd = max(c.cwnd, s.prior_cwnd)
                if s.filled_pipe:
                    _enter_probe_bw(s, now)
                else:
                    s.mode = Mode.STARTUP


@compiled
def _set_pacing_rate(s: Bbr, c: Congestion) -> None:
    """BBRSetPacingRate (4.2.1)."""
    wanted = bandwidth(s) * pacing_gain(s) // 100 * MARGIN // 100
    if wanted > 0 and (s.filled_pipe or wanted > c.pacing_rate):
        c.pacing_rate = wanted


@compiled
def _set_cwnd(s: Bbr, c: Congestion) -> None:
    """BBRSetCwnd (4.2.3.6)."""
    if s.in_recovery and c.sample.lost > 0:
        c.cwnd = max(c.cwnd - c.sample.lost, c.mss)
    gain = cwnd_gain(s)
    quantum = pacing.burst(c.pacing_rate, c.mss, s.rtprop)
    target = bdp(s, gain) + 3 * quantum + (s.extra if s.filled_pipe else 0)
    if s.rtprop == 0 or bandwidth(s) == 0:
        target = initial_window(c.mss)
    if s.conserve:
        c.cwnd = max(c.cwnd, c.pipe + c.acked)
    elif s.filled_pipe:
        c.cwnd = min(c.cwnd + c.acked, target)
    elif c.cwnd < target or c.delivered < initial_window(c.mss):
        c.cwnd += c.acked
    c.cwnd = max(c.cwnd, MIN_PIPE * c.mss)
    c.holds_back = 1 if s.mode == Mode.PROBE_RTT else 0
    if s.mode == Mode.PROBE_RTT:
        c.cwnd = min(c.cwnd, MIN_PIPE * c.mss)


@unit
def init(address: int, now: int) -> int:
    """(4.3.2 and 4.2.1) Startup, paced by the initial window and what is known of the round-trip time."""
    c = at(Congestion, address)
    s = at(Bbr, congestion.own(c))
    if c.cwnd == 0:
        c.cwnd = initial_window(c.mss)
    c.ssthresh = UNLIMITED
    s.rtprop = c.min_rtt
    s.rtprop_stamp = now
    s.extra_at = now
    s.mode = Mode.STARTUP
    s.next_round_delivered = c.delivered
    c.pacing_rate = c.cwnd * SECOND // max(c.srtt, MS) * HIGH_GAIN // 100
    return 0


@unit
def on_ack(address: int, now: int) -> int:
    """BBRUpdateOnACK (3.5.3)."""
    c = at(Congestion, address)
    s = at(Bbr, congestion.own(c))
    _update_round(s, c)
    _update_bandwidth(s, c)
    _update_aggregation(s, c, now)
    _update_cycle(s, c, now)
    _check_full_pipe(s, c)
    _check_drain(s, c, now)
    _update_rtprop(s, c, now)
    _set_pacing_rate(s, c)
    _set_cwnd(s, c)
    return 0


@unit
def on_loss(address: int, now: int) -> int:
    """A loss is no sign of congestion; the first round of a recovery only sends as much as arrives (4.2.3.5)."""
    c = at(Congestion, address)
    s = at(Bbr, congestion.own(c))
    _save_cwnd(s, c)
    s.in_recovery = 1
    s.conserve = 1
    s.next_round_delivered = c.delivered
    c.cwnd = max(c.pipe + max(c.acked, c.mss), c.mss)
    return 0


@unit
def on_rto(address: int, now: int) -> int:
    """A timeout: begin with one segment (4.2.3.5)."""
    c = at(Congestion, address)
    s = at(Bbr, congestion.own(c))
    _save_cwnd(s, c)
    s.in_recovery = 1
    s.full_bw = 0
    s.next_round_delivered = c.delivered
    c.cwnd = c.mss
    return 0


@unit
def on_recovered(address: int, now: int) -> int:
    """The window is what it was before (4.2.3.5)."""
    c = at(Congestion, address)
    s = at(Bbr, congestion.own(c))
    s.in_recovery = 0
    s.conserve = 0
    c.cwnd = max(c.cwnd, s.prior_cwnd)
    return 0
