"""HyStart++: leave slow start when the round-trip time begins to rise, before packets are lost.

RFC 9406 section 4.2, with the constants of 4.3.  A round ends when what was sent
at its beginning is acknowledged.  Only the first slow start is watched.
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
L = 8                       # segments: growth for one ACK, without pacing
NEVER = 1 << 62


@record
class Hystart:
    """Of one connection; ns."""

    last_min: i64       # lastRoundMinRTT
    current_min: i64    # currentRoundMinRTT
    baseline: i64       # cssBaselineMinRtt
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
def on_ack(h: Hystart, rtt: int, snd_una: int, snd_nxt: int) -> bool:
    """An ACK in slow start, with its round-trip time (-1: none).  True when slow start is to end."""
    if h.done:
        return False
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
    if seq.gt(snd_una, h.window_end) or snd_una == h.window_end:
        h.last_min = h.current_min
        h.current_min = NEVER
        h.samples = 0
        h.window_end = snd_nxt
        if h.css:
            h.rounds += 1
            if h.rounds >= CSS_ROUNDS:
                h.done = 1
                return True
    return False


@compiled
def growth(h: Hystart, acked: int, mss: int) -> int:
    """How much cwnd grows for an ACK of `acked` bytes."""
    n = min(acked, L * mss)
    return n // CSS_GROWTH_DIVISOR if h.css else n
