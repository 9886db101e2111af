"""A small ordered set of ranges of sequence space.

The receiver's out-of-order data (RFC 9293 3.10.7.4, "segments with higher
beginning sequence numbers SHOULD be held") is this.  At most LIMIT ranges; what
does not fit is refused, never forgotten half.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import Array, compiled, record, u32
from . import seq

LIMIT = 32


@record
class Range:
    """left .. right - 1."""

    left: u32
    right: u32
    changed: u32                        # Ranges.changes when it changed last


@record
class Ranges:
    """Disjoint ranges, not touching, in order."""

    count: u32
    changes: u32                        # how often something was added
    items: Annotated[Array[Range], 32]


@compiled
def insert(r: Ranges, left: int, right: int) -> bool:
    """Add left .. right - 1, merging what it touches.  False when there is no room for another range."""
    first = 0
    while first < r.count and seq.lt(r.items[first].right, left):
        first += 1
    last = first                        # items[first .. last) touch the new one
    while last < r.count and seq.leq(r.items[last].left, right):
        last += 1
    if first == last:
        if r.count == LIMIT:
            return False
        i = r.count
        while i > first:
            r.items[i].left = r.items[i - 1].left
            r.items[i].right = r.items[i - 1].right
            r.items[i].changed = r.items[i - 1].changed
            i -= 1
        r.count += 1
    else:
        if seq.lt(r.items[first].left, left):
            left = r.items[first].left
        if seq.gt(r.items[last - 1].right, right):
            right = r.items[last - 1].right
        _close_gap(r, first + 1, last)
    r.items[first].left = left
    r.items[first].right = right
    r.changes = seq.add(r.changes, 1)
    r.items[first].changed = r.changes
    return True


@compiled
def _close_gap(r: Ranges, first: int, last: int) -> None:
    """Remove items[first .. last)."""
    gone = last - first
    if gone <= 0:
        return
    i = first
    while i + gone < r.count:
        r.items[i].left = r.items[i + gone].left
        r.items[i].right = r.items[i + gone].right
        r.items[i].changed = r.items[i + gone].changed
        i += 1
    r.count -= gone


@compiled
def advance(r: Ranges, nxt: int) -> int:
    """Everything before `nxt` is settled.  Returns `nxt`, moved over a range that now continues it."""
    done = 0
    while done < r.count and seq.leq(r.items[done].left, nxt):
        if seq.gt(r.items[done].right, nxt):
            nxt = r.items[done].right
        done += 1
    _close_gap(r, 0, done)
    return nxt


@compiled
def covers(r: Ranges, left: int, right: int) -> bool:
    """Whether left .. right - 1 is all there."""
    for i in range(r.count):
        if seq.leq(r.items[i].left, left) and seq.geq(r.items[i].right, right):
            return True
    return False


@compiled
def newest(r: Ranges, after: int) -> int:
    """The range that changed last, or last before the range `after` (-1: any) did; -1: there is none.

    So a receiver repeats "the most recently reported SACK blocks" (RFC 2018 section 4): a block stands first when it
    changes.
    """
    found = -1
    for i in range(r.count):
        if (after < 0 or seq.lt(r.items[i].changed, r.items[after].changed)) and (
                found < 0 or seq.gt(r.items[i].changed, r.items[found].changed)):
            found = i
    return found


@compiled
def end(r: Ranges) -> int:
    """Where the last range ends; there is one."""
    return r.items[r.count - 1].right
