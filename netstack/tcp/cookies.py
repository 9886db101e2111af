"""SYN cookies: a SYN is answered without remembering it; the ACK brings back what is needed.

RFC 4987 section 3.6, in the form that Linux has.  The sequence number of our
SYN-ACK is the cookie:

    F(sockets) + SEG.SEQ + (minute << 24) + ((F(sockets, minute) + m) mod 2**24)

where F is SipHash-2-4 under the stack's key, `minute` counts minutes (8 bits of
it come back) and m says which of four segment sizes the peer has.  What else the
SYN has offered stands in the low bits of our timestamp, which the ACK echoes;
without timestamps it is forgone.
"""
from __future__ import annotations

from ..machine import SECOND, compiled, i64, record
from ..machine.random import Key, siphash
from .seq import MASK

MINUTE = 60 * SECOND
VALID = 2                   # minutes that a cookie counts: the current one and the one before
RECENT = VALID * MINUTE     # ... and so long after the last overflow cookies are looked for
BITS = 24
LOW = (1 << BITS) - 1
MSS4 = (536, 1300, 1440, 1460)          # an attacker gets 2 bits to guess, the peer the largest that it can take
MSS6 = (1220, 1420, 1440, 8940)
OUTER = 1 << 62             # tells our hashes from each other, and from those of isn.py
INNER = 1 << 61

TS_BITS = 6                 # of our timestamp
WSCALE = 0xF                # the peer's window scale; all ones: it did not offer any
SACK = 0x10
ECN = 0x20


@record
class Overflow:
    """When a listener last answered with a cookie."""

    at: i64         # ns; 0: never
    sent: i64       # how many


@compiled
def note(o: Overflow, now: int) -> None:
    """A cookie goes out."""
    o.at = now
    o.sent += 1


@compiled
def is_recent(o: Overflow, now: int) -> bool:
    """Whether an ACK that nobody expects may bring a cookie."""
    return o.sent != 0 and now - o.at <= RECENT


@compiled
def _outer(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, ports: int) -> int:
    return siphash(key, local_hi, local_lo, remote_hi, remote_lo, ports | OUTER)


@compiled
def _inner(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, ports: int, minute: int) -> int:
    return siphash(key, local_hi, local_lo, remote_hi, remote_lo, ports | INNER | ((minute & 0xFFF_FFFF) << 32))


@compiled
def make(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, ports: int, irs: int, size: int,
         now: int) -> int:
    """The cookie for a SYN with sequence number `irs` and the number of a size; `ports`: local << 16 | remote."""
    minute = now // MINUTE
    value = _outer(key, local_hi, local_lo, remote_hi, remote_lo, ports) + irs + (minute << BITS)
    return (value + ((_inner(key, local_hi, local_lo, remote_hi, remote_lo, ports, minute) + size) & LOW)) & MASK


@compiled
def check(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, ports: int, irs: int, cookie: int,
          now: int) -> int:
    """The number of the segment size in a cookie that came back, or -1: it is none of ours, or too old."""
    minute = now // MINUTE
    value = (cookie - irs - _outer(key, local_hi, local_lo, remote_hi, remote_lo, ports)) & MASK
    age = (minute - (value >> BITS)) & (MASK >> BITS)
    if age >= VALID:
        return -1
    size = (value - _inner(key, local_hi, local_lo, remote_hi, remote_lo, ports, minute - age)) & LOW
    return size if size < 4 else -1


@compiled
def size_number(mss: int, v4: bool) -> int:
    """The number of the largest size in the table that is not above `mss` (or of the smallest)."""
    number = 0
    for i in range(4):
        if mss >= (MSS4[i] if v4 else MSS6[i]):
            number = i
    return number


@compiled
def size_of(number: int, v4: bool) -> int:
    """The size with a number."""
    return MSS4[number] if v4 else MSS6[number]


@compiled
def mark(clock: int, wscale: int, sack: int, ecn: int) -> int:
    """Our timestamp, not later than `clock`, with what the SYN has offered in its low bits; wscale -1: none."""
    bits = (wscale if wscale >= 0 else WSCALE) | (SACK if sack else 0) | (ECN if ecn else 0)
    value = (clock >> TS_BITS << TS_BITS) | bits
    if value > clock:
        value -= 1 << TS_BITS
    return value


@compiled
def wscale_in(clock: int) -> int:
    """The window scale in a timestamp that came back, or -1."""
    bits = clock & WSCALE
    return bits if bits != WSCALE else -1


@compiled
def sack_in(clock: int) -> int:
    """Whether the SYN permitted SACK."""
    return 1 if clock & SACK else 0


@compiled
def ecn_in(clock: int) -> int:
    """Whether the SYN-ACK has agreed to ECN."""
    return 1 if clock & ECN else 0
