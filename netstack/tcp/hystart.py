"""HyStart++: leave slow start when the round-trip time begins to rise, before packets are lost.

RFC 9406 section 4.2, with the constants of 4.3.  A round ends when what was sent
at its beginning is acknowledged.  Only the first slow start is watched.

Delay alone is seen a round late: the window has doubled once more.  So, as Linux
does, the length of a train of ACKs is watched too (Ha and Rhee, "Hybrid Slow
Start for High-Bandwidth and Long-Distance Networks", 2008): a round whose ACKs
follow each other for half of the round-trip time fills the path when it has doubled.
"""
from __future__ import annotations

from ..machine import MS, compiled, i64, record, u8, u32
from . import seq

MIN_RTT_THRESH = 4 * MS
MAX_RTT_THRESH = 16 * MS
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5
L = 8                       # segments: growth for one ACK; with pacing there is no limit
DELAY, TRAIN = 1, 2         # what is watched
TRAIN_GAP = 2 * MS          # ACKs further apart are no train (Linux: hystart_ack_delta_us)
TRAIN_LEAST = 2 * MS        # round trips below it are too short for trains to tell anything
NEVER = 1 << 62


@record
class Hystart:
    """Of one connection; ns."""

    last_min: i64       # lastRoundMinRTT
    current_min: i64    # currentRoundMinRTT
    baseline: i64       # cssBaselineMinRtt
    began_at: i64       # when the round began
    last_at: i64        # when the last ACK of its train came
    window_end: u32     # windowEnd: the round ends when this is acknowledged
    samples: u8         # rttSampleCount
    css: u8             # in conservative slow start
    rounds: u8          # of it
    done: u8            # slow start is over


@compiled
def init(h: Hystart, snd_nxt: int) -> None:
    """Slow start begins."""
    h.last_min = NEVER
    h.current_min = NEVER
    h.baseline = NEVER
    h.window_end = snd_nxt
    h.samples = 0
    h.css = 0
    h.rounds = 0
    h.done = 0


@compiled
def on_ack(h: Hystart, what: int, rtt: int, min_rtt: int, snd_una: int, snd_nxt: int, now: int) -> bool:
    """An ACK in slow start, with its round-trip time (-1: none).  True when slow start is to end."""
    if h.done:
        return False
    if what & TRAIN and _is_long_train(h, min_rtt, now):
        h.done = 1
        return True
    if what & DELAY:
        _look_at_delay(h, rtt)
    if seq.geq(snd_una, h.window_end):
        return _end_round(h, snd_nxt, now)
    return False


@compiled
def _is_long_train(h: Hystart, min_rtt: int, now: int) -> bool:
    if min_rtt < TRAIN_LEAST or now - h.last_at > TRAIN_GAP:
        return False
    h.last_at = now
    return now - h.began_at > min_rtt // 2


@compiled
def _look_at_delay(h: Hystart, rtt: int) -> None:
    """(4.2) For each ACK: enter conservative slow start, or leave it again."""
    if rtt >= 0:
        h.current_min = min(h.current_min, rtt)
        h.samples = min(h.samples + 1, 255)
    if h.css:
        if h.current_min < h.baseline and h.samples >= N_RTT_SAMPLE:
            h.baseline = NEVER                                  # it was a mistake: slow start again
            h.css = 0
    elif h.samples >= N_RTT_SAMPLE and h.current_min != NEVER and h.last_min != NEVER:
        thresh = max(MIN_RTT_THRESH, min(h.last_min // MIN_RTT_DIVISOR, MAX_RTT_THRESH))
        if h.current_min >= h.last_min + thresh:
            h.baseline = h.current_min
            h.css = 1
            h.rounds = 0


@compiled
def _end_round(h: Hystart, snd_nxt: int, now: int) -> bool:
    """True when it was the last one of conservative slow start."""
    h.last_min = h.current_min
    h.current_min = NEVER
    h.samples = 0
    h.window_end = snd_nxt
    h.began_at = now
    h.last_at = now
    if h.css:
        h.rounds += 1
        if h.rounds >= CSS_ROUNDS:
            h.done = 1
            return True
    return False


@compiled
def limit(acked: int, mss: int, paced: int) -> int:
    """min(N, L * SMSS): a burst as long as one ACK allows does no harm if it is spread."""
    return acked if paced else min(acked, L * mss)


@compiled
def growth(h: Hystart, acked: int, mss: int, paced: int) -> int:
    """How much cwnd grows for an ACK of `acked` bytes."""
    n = limit(acked, mss, paced)
    return n // CSS_GROWTH_DIVISOR if h.css else n
