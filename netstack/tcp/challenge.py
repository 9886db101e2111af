"""Challenge ACKs: the answer to a segment that only an attacker or a ghost sends.

RFC 5961 section 7 limits their rate: for each connection (RFC 5961 section 10
explains why a global limit alone leaks) one every 500 ms, as Linux's
tcp_invalid_ratelimit.
"""
from __future__ import annotations

from ..machine import MS, compiled, i64, record

RATE = 500 * MS


@record
class Challenge:
    """When the connection last answered so."""

    last: i64       # ns
    sent: i64       # how many


@compiled
def allowed(c: Challenge, now: int) -> bool:
    """Whether a challenge ACK may be sent now; counts it if so."""
    if c.sent != 0 and now - c.last < RATE:
        return False
    c.last = now
    c.sent += 1
    return True
