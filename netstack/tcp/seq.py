"""Sequence numbers: 32 bits that wrap.

RFC 9293 section 3.4.  Every comparison in the stack goes through here: a number
is "less" than another when it comes before it within half the space.
"""
from __future__ import annotations

from ..machine import compiled

MASK = 0xFFFF_FFFF


@compiled
def add(a: int, n: int) -> int:
    """a + n, modulo 2**32; n may be negative."""
    return (a + n) & MASK


@compiled
def diff(a: int, b: int) -> int:
    """How far a is ahead of b: -2**31 .. 2**31-1."""
    d = (a - b) & MASK
    return d - ((d & 0x8000_0000) << 1)


@compiled
def lt(a: int, b: int) -> bool:
    """a < b"""
    return diff(a, b) < 0


@compiled
def leq(a: int, b: int) -> bool:
    """a =< b"""
    return diff(a, b) <= 0


@compiled
def gt(a: int, b: int) -> bool:
    """a > b"""
    return diff(a, b) > 0


@compiled
def geq(a: int, b: int) -> bool:
    """a >= b"""
    return diff(a, b) >= 0


@compiled
def between(low: int, x: int, high: int) -> bool:
    """low =< x =< high"""
    return diff(x, low) >= 0 and diff(high, x) >= 0
