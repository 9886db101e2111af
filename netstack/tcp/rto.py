"""Retransmission timeout: how long to wait for an ACK before sending again.

RFC 6298, "Computing TCP's Retransmission Timer".  Times are int64 nanoseconds.
"""
from __future__ import annotations

from ..machine import MS, SECOND, compiled, i64, record, u8, u32

INITIAL_RTO = 1 * SECOND    # (2.1)
MIN_RTO = 200 * MS          # Differs: (2.4) asks for 1 s; like every current host stack we use less
MAX_RTO = 120 * SECOND      # (2.5) at least 60 s; as Linux
FALLBACK_RTO = 3 * SECOND   # (5.7)
GRANULARITY = 1 * MS        # G
MAX_BACKOFFS = 32           # the count stops here; the timeout has long reached MAX_RTO


@record
class Rto:
    """RTT estimator and backoff of one connection (RFC 6298 section 2)."""

    srtt: i64       # SRTT, smoothed round-trip time; 0 before the first sample
    rttvar: i64     # RTTVAR, round-trip time variation
    rto: i64        # RTO, before backoff
    min_rtt: i64    # smallest sample seen
    timed_at: i64   # when the segment being timed was sent; 0: none is
    timed_seq: u32  # its last sequence number + 1: the ACK that gives the sample
    measured: u8    # 1 once a sample has been taken
    backoffs: u8    # consecutive expirations without progress


@compiled
def init(r: Rto) -> None:
    """Before any measurement (2.1)."""
    r.rto = INITIAL_RTO
    r.measured = 0
    r.backoffs = 0
    r.timed_at = 0


@compiled
def on_rtt_sample(r: Rto, rtt: int) -> None:
    """Take one round-trip time measurement, R'."""
    rtt = max(rtt, 1)
    if r.measured == 0:
        r.srtt = rtt                                            # (2.2)
        r.rttvar = rtt // 2
        r.min_rtt = rtt
        r.measured = 1
    else:
        r.rttvar += (abs(r.srtt - rtt) - r.rttvar) // 4         # (2.3) beta = 1/4
        r.srtt += (rtt - r.srtt) // 8                           #       alpha = 1/8
        r.min_rtt = min(r.min_rtt, rtt)
    r.rto = min(max(r.srtt + max(GRANULARITY, 4 * r.rttvar), MIN_RTO), MAX_RTO)


@compiled
def timeout(r: Rto) -> int:
    """The timeout in force, backoff included (5.5)."""
    return min(r.rto << min(r.backoffs, 16), MAX_RTO)


@compiled
def on_expired(r: Rto) -> None:
    """The timer went off: back off (5.5), and time nothing that is sent twice (section 3, Karn)."""
    r.backoffs = min(r.backoffs + 1, MAX_BACKOFFS)
    r.timed_at = 0


@compiled
def on_progress(r: Rto) -> None:
    """New data was acknowledged: the backoff has done its work."""
    r.backoffs = 0


@compiled
def on_established(r: Rto, syn_retransmitted: bool) -> None:
    """The handshake is over; after a lost SYN a longer start is prudent (5.7)."""
    if syn_retransmitted and r.measured == 0:
        r.rto = FALLBACK_RTO
    r.backoffs = 0
