"""The congestion window after the application was idle.

RFC 5681 section 4.1 and RFC 2861 section 3: what was learned of the path fades,
half for each retransmission timeout without a segment, down to the restart
window.  What was not used does not grow either (RFC 7661): see `Congestion.limited`.
"""
from __future__ import annotations

from ..machine import compiled
from . import seq
from .congestion import Congestion, initial_window


@compiled
def on_sent(c: Congestion, out: int, full: bool, una: int, nxt: int) -> None:
    """`out` bytes are outstanding, and cwnd is `full`: how far is it used, at most, in a round? (tcp_cwnd_validate)"""
    if full or seq.geq(una, c.round_end) or (c.filled == 0 and out > c.most_out):
        c.filled = 1 if full else 0
        c.most_out = out
        c.round_end = nxt


@compiled
def is_limited(c: Congestion) -> bool:
    """Whether cwnd may grow (RFC 7661 4.4.1): it was full; in slow start, up to twice what was outstanding."""
    return c.filled == 1 or (c.cwnd < c.ssthresh and c.cwnd < 2 * c.most_out)


@compiled
def after_idle(c: Congestion, idle: int, rto: int) -> None:
    """New data is to be sent after `idle` ns of silence."""
    if idle < rto:
        return
    restart = min(initial_window(c.mss), c.cwnd)                # RW (RFC 5681 4.1)
    c.ssthresh = max(c.ssthresh, 3 * c.cwnd // 4)               # (RFC 2861 3) what was once reached
    cwnd = c.cwnd
    while idle >= rto and cwnd > restart:
        cwnd //= 2
        idle -= rto
    c.cwnd = max(cwnd, restart)
    c.counted = 0
