"""MSG_EOR: a record of the application ends, and no segment goes across its end.

As Linux (tcp(7) has no word on it): text written later is not put into the same
segment, neither at first nor in a retransmission; so that a timestamp, or a
reader of the wire, can tell the records apart.  A short segment that ends so does
not wait for Nagle's rule when there is text behind it.

Ends are kept as positions of the send ring, in 32 bits.  The application's thread
puts them in, the engine takes them out; when there are more than LIMIT that are not
acknowledged, the next ones are not noted: TCP has no records, and nothing relies on it.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import Array, compiled, record, u32
from . import seq

LIMIT = 16
FAR = 1 << 31


@record
class Ends:
    """The ends that were written and not acknowledged."""

    at: Annotated[Array[u32], LIMIT]    # positions just behind them
    first: u32                          # how many were taken out
    last: u32                           # ... and put in


@compiled
def put(e: Ends, position: int) -> None:
    """What was written up to `position` is a record."""
    if (e.last - e.first) & 0xFFFF_FFFF < LIMIT:
        e.at[e.last % LIMIT] = position & 0xFFFF_FFFF
        e.last = (e.last + 1) & 0xFFFF_FFFF


@compiled
def forget(e: Ends, position: int) -> None:
    """Everything before `position` is acknowledged."""
    while e.first != e.last and seq.leq(e.at[e.first % LIMIT], position & 0xFFFF_FFFF):
        e.first = (e.first + 1) & 0xFFFF_FFFF


@compiled
def until(e: Ends, position: int) -> int:
    """Bytes from `position` to the end of its record; FAR: none is known."""
    i = e.first
    while i != e.last:
        n = seq.diff(e.at[i % LIMIT], position & 0xFFFF_FFFF)
        if n > 0:
            return n
        i = (i + 1) & 0xFFFF_FFFF
    return FAR
