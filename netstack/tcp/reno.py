"""Reno: slow start and congestion avoidance.

RFC 5681 section 3.1, with the byte counting of RFC 3465 (L = 2) because peers
acknowledge many segments at once, and the gentler reduction of RFC 8511 (ABE)
for a mark of congestion.  All windows are bytes.
"""
from __future__ import annotations

from ..machine import at, compiled, unit
from .congestion import UNLIMITED, Ca, Cause, Congestion, initial_window

BETA_ECN = 80               # percent (RFC 8511 3.1)


@compiled
def grow(c: Congestion) -> None:
    """New data was delivered."""
    if c.limited == 0:
        return                                          # what was not used proves nothing (RFC 7661)
    if c.cwnd < c.ssthresh:
        most = c.mss if c.ca_state == Ca.LOSS else 2 * c.mss       # (RFC 3465 2.3) L = 1 after a timeout
        c.cwnd += min(c.acked, most)                    # (3.1, eq. 2)
        return
    c.counted += c.acked
    if c.counted >= c.cwnd:                             # (3.1) one SMSS for each window acknowledged
        c.counted -= c.cwnd
        c.cwnd += c.mss


@unit
def init(address: int, now: int) -> int:
    """At the end of the handshake; or later: then cwnd stays."""
    c = at(Congestion, address)
    if c.cwnd == 0:
        c.cwnd = initial_window(c.mss)
        c.ssthresh = UNLIMITED
    return 0


@unit
def on_ack(address: int, now: int) -> int:
    """..."""
    grow(at(Congestion, address))
    return 0


@unit
def on_loss(address: int, now: int) -> int:
    """Half of what was in flight (3.1, eq. 4); four fifths of cwnd for a mark (RFC 8511)."""
    c = at(Congestion, address)
    c.ssthresh = max(c.flight // 2, 2 * c.mss)
    if c.cause == Cause.ECN:
        c.ssthresh = max(c.cwnd * BETA_ECN // 100 if c.abe else c.cwnd // 2, 2 * c.mss)
    c.counted = 0
    return 0


@unit
def on_rto(address: int, now: int) -> int:
    """The same; the engine sets cwnd to the loss window."""
    c = at(Congestion, address)
    c.ssthresh = max(c.flight // 2, 2 * c.mss)
    c.counted = 0
    return 0


@unit
def on_recovered(address: int, now: int) -> int:
    """Nothing to remember."""
    return 0
