"""The congestion window after the application was idle.

RFC 5681 section 4.1 and RFC 2861 section 3: what was learned of the path fades,
half for each retransmission timeout without a segment, down to the restart
window.  What was not used does not grow either (RFC 7661): see `Congestion.limited`.
"""
from __future__ import annotations

from ..machine import compiled
from .congestion import Congestion, initial_window


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
