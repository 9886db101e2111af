"""Pacing: segments leave at a rate instead of in bursts.

Each connection has a time before which it sends nothing more; every segment
moves that time by what it takes at the pacing rate.  Small bursts of up to 1 ms,
or an eighth of the round-trip time, are let through together: waking up costs
more than they disturb.
"""
from __future__ import annotations

from ..machine import MS, SECOND, compiled, i64, record

QUANTUM = 1 * MS
LARGEST_BURST = 65536   # bytes
LATEST = 10 * MS        # a delay beyond it is not made good


@record
class Pacing:
    """Of one connection."""

    next_at: i64        # ns: nothing leaves before
    most: i64           # SO_MAX_PACING_RATE, bytes/s; 0: unlimited


@compiled
def rate(p: Pacing, wanted: int) -> int:
    """The rate in force, bytes/s: what congestion control wants, and the application allows; 0: unlimited."""
    if p.most == 0:
        return wanted
    return p.most if wanted == 0 else min(wanted, p.most)


@compiled
def burst(bytes_per_second: int, mss: int, srtt: int) -> int:
    """How much may leave together, bytes."""
    time = min(QUANTUM, srtt // 8) if srtt != 0 else QUANTUM
    return max(2 * mss, min(bytes_per_second * (time // 1000) // 1_000_000, LARGEST_BURST))


@compiled
def on_sent(p: Pacing, n: int, bytes_per_second: int, srtt: int, now: int) -> None:
    """n bytes have left.  Who was woken late may catch up a part of a round trip: the rate holds on average."""
    p.next_at = max(p.next_at, now - max(QUANTUM, min(srtt // 4, LATEST))) + n * SECOND // bytes_per_second
