"""D-SACK: telling the sender what came twice.

RFC 2883, "An Extension to the Selective Acknowledgement (SACK) Option for TCP":
the first block of the next SACK option is the duplicate; only the first one that
a segment brings (4.2), and only once (4, rule 2).  The blocks of what is held
follow it (`receive.emit_sack`).
"""
from __future__ import annotations

from ..machine import compiled, record, u32
from . import seq
from .ranges import Ranges, item


@record
class Dsack:
    """The duplicate to be reported."""

    left: u32
    right: u32
    due: u32        # 1 until it is


@compiled
def note(d: Dsack, left: int, right: int) -> None:
    """left .. right - 1 came again, and is below RCV.NXT."""
    d.left = left
    d.right = right
    d.due = 1


@compiled
def note_held(d: Dsack, held: Ranges, left: int, right: int) -> None:
    """left .. right - 1 came, of which some may be held already: the first such piece (4.2)."""
    if d.due:
        return                          # the same segment began below RCV.NXT: that came first
    for i in range(held.count):
        first = item(held, i).left
        last = item(held, i).right
        if seq.lt(first, right) and seq.lt(left, last):
            note(d, left if seq.gt(left, first) else first, right if seq.lt(right, last) else last)
            return
