"""What duplicate ACKs tell about a peer without SACK.

RFC 5681 section 3.2 and RFC 6582 (NewReno).  A duplicate ACK says that a segment
has arrived, not which one: it is counted, and the first segment is the lost one.
"""
from __future__ import annotations

from ..machine import compiled, record, u8, u32
from ..machine.table import Table
from . import runs, seq
from .runs import Queue

DUPTHRESH = 3


@record
class Recovery:
    """Where a recovery stands."""

    high: u32               # RecoveryPoint of RFC 6675, "recover" of RFC 6582: SND.NXT when it began
    dupacks: u32            # duplicate ACKs in a row
    held: u32               # without SACK: bytes that the duplicate ACKs stand for
    after_rto: u8           # `high` was set by a timeout: duplicate ACKs up to it are no sign of loss (RFC 6582 4.1)
    frto: u8                # frto.Step
    first: u8               # the fast retransmit is still to be sent


@compiled
def on_duplicate(r: Recovery, flight: int, mss: int) -> None:
    """A duplicate ACK (RFC 5681 section 2): a segment has left the network, so that a new one may enter (RFC 3042)."""
    r.dupacks += 1
    r.held = min(r.held + mss, max(flight - mss, 0))


@compiled
def on_new_data(r: Recovery, acked: int, mss: int) -> None:
    """`acked` bytes were acknowledged: one segment filled the hole, the others had been counted."""
    r.dupacks = 0
    r.held = max(r.held - max(acked - mss, 0), 0)


@compiled
def has_loss(r: Recovery, snd_una: int) -> bool:
    """Whether fast retransmit is due (RFC 6582 3.2, steps 1 and 2)."""
    return r.dupacks >= DUPTHRESH and not (r.after_rto == 1 and seq.leq(snd_una, r.high))


@compiled
def mark_first(pool: Table, q: Queue, mss: int) -> None:
    """The segment at SND.UNA is lost."""
    if q.head == 0:
        return
    r = runs.get(pool, q.head)
    if r.lost:
        return
    if runs.size(r) <= mss or runs.split(pool, q, q.head, seq.add(r.left, mss)):
        runs.set_lost(pool, q, q.head)
