"""How many ICMP errors we send: a token bucket for all, and one for each destination.

RFC 1812 4.3.2.8 and RFC 4443 2.4(f); the figures and the two levels are Linux's
(icmp(7): icmp_msgs_per_sec, icmp_msgs_burst, icmp_ratelimit).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import SECOND, compiled
from ..machine.random import hash2

if TYPE_CHECKING:
    from .net import Net

BURST = 6           # errors that one destination may have at once (Linux: XRLIM_BURST_FACTOR)
DESTINATIONS = 64   # remembered: net.icmp_limits, by hash, the newer replaces the older


@compiled
def allow(net: Net, hi: int, lo: int, now: int) -> bool:
    """Whether an error may be sent to (hi, lo) now; if so, it counts as sent."""
    s = net.settings
    cost = SECOND // max(s.icmp_msgs_per_sec, 1)
    full = cost * max(s.icmp_msgs_burst, 1)
    if net.icmp_refill == 0:
        net.icmp_tokens = full
    else:
        net.icmp_tokens = min(full, net.icmp_tokens + max(0, min(now + 1 - net.icmp_refill, full)))
    net.icmp_refill = now + 1
    if net.icmp_tokens < cost:
        return False
    d = net.icmp_limits[hash2(net.key, hi, lo) % DESTINATIONS]
    rate = s.icmp_ratelimit
    if d.last == 0 or d.hi != hi or d.lo != lo:
        d.hi = hi
        d.lo = lo
        d.credit = BURST * rate
    else:
        d.credit = min(BURST * rate, d.credit + max(0, now + 1 - d.last))
    d.last = now + 1
    if d.credit < rate:
        return False
    d.credit -= rate
    net.icmp_tokens -= cost
    return True
