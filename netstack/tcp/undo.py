"""Undo: a loss that was none gives back what it took.

Two witnesses: the timestamp that an ACK echoes is older than the first
retransmission (Eifel, RFC 3522 section 3.2), or every retransmission was
reported as a duplicate (D-SACK, RFC 3708 section 3).  RFC 4015 says what follows.
"""
from __future__ import annotations

from ..machine import compiled, i32, record, u8, u32
from . import seq


@record
class Undo:
    """Of the reduction in hand."""

    marker: u32         # SND.UNA when it began
    stamp: u32          # TSval of the first retransmission
    open: i32           # retransmitted segments not yet reported as duplicates
    active: u8          # a reduction may be undone
    sent: u8            # something was sent again since


@compiled
def begin(u: Undo, snd_una: int, in_flight: bool) -> None:
    """cwnd is being reduced.  `in_flight`: copies from before are on their way: then the first of them still counts."""
    u.marker = snd_una
    u.active = 1
    if not in_flight:
        u.open = 0
        u.sent = 0


@compiled
def on_sent_again(u: Undo, tsval: int) -> None:
    """A segment was sent again."""
    if u.sent == 0:
        u.stamp = tsval
        u.sent = 1
    u.open += 1


@compiled
def on_dsack(u: Undo, left: int, right: int, snd_una: int, mss: int) -> None:
    """The peer had left .. right - 1 twice."""
    if u.active and u.open > 0 and seq.geq(left, u.marker):
        u.open = max(u.open - max(seq.diff(right, left) // mss, 1), 0)


@compiled
def is_spurious(u: Undo, advanced: bool, echoed: bool, tsecr: int) -> bool:
    """Whether the reduction was for nothing.  `echoed`: the ACK carries a timestamp of ours, `tsecr`."""
    if u.active == 0 or u.sent == 0:
        return False
    if u.open == 0:
        return True                                     # each copy was one too many
    return advanced and echoed and seq.lt(tsecr, u.stamp)       # (RFC 3522 3.2, step 4) the original did it
