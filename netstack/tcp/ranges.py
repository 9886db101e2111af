"""A small ordered set of ranges of sequence space.

The receiver's out-of-order data (RFC 9293 3.10.7.4, "segments with higher
beginning sequence numbers SHOULD be held") is this.  A few ranges stand in the
record itself; who needs more gives it a larger place (`move`), as a queue of the
path that overflows, or loss on a path with a large window, makes hundreds of
them.  What does not fit is refused, never forgotten half.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import Array, addressof, at, compiled, i32, i64, offsetof, record, sizeof, u32
from . import seq

FEW = 32                # ranges that the record has room for itself
SMALLEST_PLACE = 2048   # bytes, as much as the smallest block of the arena
LARGEST_PLACE = 16384   # ... 1,365 ranges: each segment out of order may have to be compared with all of them


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
    where: i64                          # distance of the place of all of them from this record; 0: they are in `items`
    size: i32                           # bytes of that place; 0: there is none
    items: Annotated[Array[Range], 32]


ITEMS = offsetof(Ranges, "items")
RANGE_SIZE = sizeof(Range)


@compiled
def item(r: Ranges, i: int) -> Range:
    """The range number i."""
    return at(Range, addressof(r) + (ITEMS if r.where == 0 else r.where) + RANGE_SIZE * i)


@compiled
def room(r: Ranges) -> int:
    """How many ranges there can be."""
    return FEW if r.where == 0 else r.size // RANGE_SIZE


@compiled
def next_size(r: Ranges) -> int:
    """Bytes of the next larger place; 0: there is none."""
    if r.where == 0:
        return SMALLEST_PLACE
    return 2 * r.size if r.size < LARGEST_PLACE else 0


@compiled
def move(r: Ranges, place: int, size: int) -> None:
    """All of them go to the `size` bytes at `place`."""
    for i in range(r.count):
        _put(at(Range, place + RANGE_SIZE * i), item(r, i))
    r.where = place - addressof(r)
    r.size = size


@compiled
def _put(to: Range, what: Range) -> None:
    to.left = what.left
    to.right = what.right
    to.changed = what.changed


@compiled
def insert(r: Ranges, left: int, right: int) -> bool:
    """Add left .. right - 1, merging what it touches.  False when there is no room for another range."""
    first = r.count                     # what comes stands behind most of what is here
    while first > 0 and seq.geq(item(r, first - 1).right, left):
        first -= 1
    last = first                        # first .. last - 1 touch the new one
    while last < r.count and seq.leq(item(r, last).left, right):
        last += 1
    if first == last:
        if r.count == room(r):
            return False
        i = r.count
        while i > first:
            _put(item(r, i), item(r, i - 1))
            i -= 1
        r.count += 1
    else:
        if seq.lt(item(r, first).left, left):
            left = item(r, first).left
        if seq.gt(item(r, last - 1).right, right):
            right = item(r, last - 1).right
        _close_gap(r, first + 1, last)
    r.changes = seq.add(r.changes, 1)
    new = item(r, first)
    new.left = left
    new.right = right
    new.changed = r.changes
    return True


@compiled
def _close_gap(r: Ranges, first: int, last: int) -> None:
    """Remove first .. last - 1."""
    gone = last - first
    if gone <= 0:
        return
    i = first
    while i + gone < r.count:
        _put(item(r, i), item(r, i + gone))
        i += 1
    r.count -= gone


@compiled
def advance(r: Ranges, nxt: int) -> int:
    """Everything before `nxt` is settled.  Returns `nxt`, moved over a range that now continues it."""
    done = 0
    while done < r.count and seq.leq(item(r, done).left, nxt):
        if seq.gt(item(r, done).right, nxt):
            nxt = item(r, done).right
        done += 1
    _close_gap(r, 0, done)
    return nxt


@compiled
def covers(r: Ranges, left: int, right: int) -> bool:
    """Whether left .. right - 1 is all there."""
    for i in range(r.count):
        if seq.leq(item(r, i).left, left) and seq.geq(item(r, i).right, right):
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
        if (after < 0 or seq.lt(item(r, i).changed, item(r, after).changed)) and (
                found < 0 or seq.gt(item(r, i).changed, item(r, found).changed)):
            found = i
    return found


@compiled
def end(r: Ranges) -> int:
    """Where the last range ends; there is one."""
    return item(r, r.count - 1).right
