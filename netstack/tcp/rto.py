"""Retransmission timeout: how long to wait for an ACK before sending again.

RFC 6298, "Computing TCP's Retransmission Timer".  Times are int64 nanoseconds.
"""
from __future__ import annotations

from ..machine import MS, SECOND, compiled, i64, record, u8, u32

INITIAL_RTO = 1 * SECOND    # (2.1)
MIN_VARIATION = 200 * MS    # Differs: (2.4) asks for an RTO of 1 s at least; as Linux, SRTT and this are the least
MAX_RTO = 120 * SECOND      # (2.5) at least 60 s; as Linux
LEAST_MAX_RTO = 1 * SECOND  # Differs: TCP_RTO_MAX_MS may ask for so little, as on Linux
FALLBACK_RTO = 3 * SECOND   # (5.7)
GRANULARITY = 1 * MS        # G
MIN_RTT_WINDOW = 300 * SECOND       # how long a smallest sample is believed (Linux: tcp_min_rtt_wlen)
MAX_BACKOFFS = 32           # the count stops here; the timeout has long reached MAX_RTO


@record
class Rto:
    """RTT estimator and backoff of one connection (RFC 6298 section 2)."""

    srtt: i64       # SRTT, smoothed round-trip time; 0 before the first sample
    rttvar: i64     # RTTVAR, round-trip time variation
    rto: i64        # RTO, before backoff
    min_rtt: i64    # smallest sample seen
    min_rtt_at: i64 # when it was seen
    sampled_at: i64 # when the last sample was taken: the next comes from what was sent since (one for each round trip)
    syn_at: i64     # when our SYN was sent; 0: more than once, or not yet
    most: u32       # TCP_RTO_MAX_MS, ms; 0: MAX_RTO
    measured: u8    # 1 once a sample has been taken
    backoffs: u8    # consecutive expirations without progress
    syn_again: u8   # our SYN was sent again


@compiled
def init(r: Rto) -> None:
    """Before any measurement (2.1)."""
    r.rto = INITIAL_RTO
    r.measured = 0
    r.backoffs = 0
    r.syn_at = 0


@compiled
def longest(r: Rto) -> int:
    """The largest timeout (2.5)."""
    return r.most * MS if r.most != 0 else MAX_RTO


@compiled
def on_rtt_sample(r: Rto, rtt: int) -> None:
    """Take one round-trip time measurement, R'."""
    rtt = max(rtt, 1)
    if r.measured == 0:
        r.srtt = rtt                                            # (2.2)
        r.rttvar = rtt // 2
        r.measured = 1
    else:
        r.rttvar += (abs(r.srtt - rtt) - r.rttvar) // 4         # (2.3) beta = 1/4
        r.srtt += (rtt - r.srtt) // 8                           #       alpha = 1/8
    srtt = r.srtt - r.srtt % GRANULARITY
    r.rto = min(srtt + max(MIN_VARIATION, 4 * r.rttvar), longest(r))


@compiled
def on_rtt(r: Rto, rtt: int, sent_at: int, now: int) -> None:
    """A segment that was sent once, at `sent_at`, was acknowledged: the smallest of late, and perhaps a sample.

    One sample for each round trip, as the gains of (2.3) want it (RFC 7323 appendix G).
    """
    if r.min_rtt == 0 or rtt <= r.min_rtt or now - r.min_rtt_at > MIN_RTT_WINDOW:
        r.min_rtt = max(rtt, 1)
        r.min_rtt_at = now
    if r.measured == 0 or sent_at >= r.sampled_at:
        on_rtt_sample(r, rtt)
        r.sampled_at = now


@compiled
def timeout(r: Rto) -> int:
    """The timeout in force, backoff included (5.5)."""
    return min(r.rto << min(r.backoffs, 16), longest(r))


@compiled
def waited(r: Rto, n: int) -> int:
    """How long ago the first of n expirations in a row was, when the next one comes."""
    total = 0
    for i in range(n):
        total += min(r.rto << min(i + 1, 16), longest(r))
    return total


@compiled
def patience(n: int, most: int) -> int:
    """R2 (RFC 9293 3.8.3) for n retransmissions: a time, by a timeout that begins at 200 ms (tcp_model_timeout)."""
    doublings = 0
    while MIN_VARIATION << (doublings + 1) <= most:
        doublings += 1
    total = ((2 << min(n, doublings)) - 1) * MIN_VARIATION
    return total + max(n - doublings, 0) * most


@compiled
def on_expired(r: Rto) -> None:
    """The timer went off: back off (5.5)."""
    r.backoffs = min(r.backoffs + 1, MAX_BACKOFFS)


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
