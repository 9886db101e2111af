"""Congestion control: slow start and congestion avoidance.

RFC 5681, with the byte counting of RFC 3465 (L = 2) because peers acknowledge
many segments at once.  All windows are bytes.
"""
from __future__ import annotations

from ..machine import compiled, i64, record, u8

INITIAL_WINDOW = 10         # segments (RFC 6928)
LOSS_WINDOW = 1             # segments (3.1)
UNLIMITED = 1 << 40         # ssthresh "arbitrarily high"


@record
class Reno:
    """Congestion state of one connection."""

    cwnd: i64           # congestion window
    ssthresh: i64       # slow start threshold
    counted: i64        # bytes acknowledged since cwnd last grew (congestion avoidance)
    limited: u8         # 1: cwnd, not the peer or the application, held us back


@compiled
def initial_window(smss: int) -> int:
    """IW (RFC 6928): min(10 * SMSS, max(2 * SMSS, 14600))."""
    return min(INITIAL_WINDOW * smss, max(2 * smss, 14600))


@compiled
def init(c: Reno, smss: int) -> None:
    """At the end of the handshake."""
    c.cwnd = initial_window(smss)
    c.ssthresh = UNLIMITED
    c.counted = 0


@compiled
def on_ack(c: Reno, acked: int, smss: int) -> None:
    """New data was acknowledged, outside of recovery."""
    if c.limited == 0:
        return                                          # what was not used proves nothing (RFC 7661)
    if c.cwnd < c.ssthresh:
        c.cwnd += min(acked, 2 * smss)                  # (3.1, eq. 2), L = 2
        return
    c.counted += acked
    if c.counted >= c.cwnd:                             # (3.1) one SMSS for each window acknowledged
        c.counted -= c.cwnd
        c.cwnd += smss


@compiled
def on_loss(c: Reno, flight: int, smss: int) -> None:
    """A segment was lost and others arrived: half of what was in flight (3.1, eq. 4)."""
    c.ssthresh = max(flight // 2, 2 * smss)
    c.counted = 0


@compiled
def on_rto(c: Reno, flight: int, smss: int, first: bool) -> None:
    """The retransmission timer went off: begin again (3.1).  A repeated expiration keeps ssthresh."""
    if first:
        c.ssthresh = max(flight // 2, 2 * smss)
    c.cwnd = LOSS_WINDOW * smss
    c.counted = 0


@compiled
def on_recovered(c: Reno, flight: int, smss: int) -> None:
    """Recovery is over: deflate (RFC 6582 3.2, step 3, option 1)."""
    c.cwnd = min(c.ssthresh, max(flight, smss) + smss)
