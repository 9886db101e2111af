"""Challenge ACKs: the answer to a segment that only an attacker or a ghost sends.

RFC 5961 sections 3 to 5 say when; section 7 limits their rate.  As Linux: one
for each connection every tcp_invalid_ratelimit, and, when it is set,
tcp_challenge_ack_limit in a second of all connections together.  A global limit
can be counted from outside (RFC 5961 section 10; Cao et al., USENIX Security
2016), so how many a second allows is drawn anew around the setting.
"""
from __future__ import annotations

from ..machine import SECOND, compiled, i64, record
from ..machine.random import Rng, below

NO_LIMIT = 0x7FFF_FFFF      # of tcp_challenge_ack_limit: none for all together


@record
class Challenge:
    """When one connection last answered so."""

    last: i64       # ns
    sent: i64       # how many


@record
class Challenges:
    """What all connections may still send in this second."""

    second: i64     # since the clock's start, plus 1; 0: none yet
    left: i64       # how many


@compiled
def allowed(c: Challenge, interval: int, now: int) -> bool:
    """Whether this connection may answer a ghost now (interval in ns; 0: always); counts it if so."""
    if c.sent != 0 and now - c.last < interval:
        return False
    c.last = now
    c.sent += 1
    return True


@compiled
def allowed_to_all(g: Challenges, rng: Rng, limit: int, now: int) -> bool:
    """Whether `limit` a second leaves room for one more (7); counts it if so."""
    if limit == NO_LIMIT:
        return True
    second = now // SECOND + 1
    if second != g.second:
        half = (limit + 1) // 2
        g.second = second
        g.left = half + below(rng, limit) if limit > 0 else 0
    if g.left <= 0:
        return False
    g.left -= 1
    return True
