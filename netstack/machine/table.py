"""A table of records, sized once; entries are handed out and taken back in O(1).

Entry 0 is never handed out, so 0 means "none" wherever an index is kept.  The
entries stand anywhere in the arena; `data` says how far from this record, so
a copy of the whole arena is a working copy of the table.
"""
from __future__ import annotations

from .compiled import compiled
from .memory import load32, store32, zero
from .record import addressof, i32, i64, record


@record
class Table:
    """Header of a table."""

    data: i64           # bytes from this record to entry 0
    stride: i64         # bytes of one entry
    capacity: i32       # entries, entry 0 included
    used: i32           # entries 1 .. used have been handed out at some time
    free: i32           # first entry of the free list (linked through its first word), or 0
    live: i32           # entries handed out now
    peak: i32           # most that were live at once
    reserved: i32
    exhausted: i64      # how often an entry was wanted and none was left


@compiled
def init(t: Table, where: int, stride: int, capacity: int) -> None:
    """Set up over zeroed memory at `where` for `capacity` entries of `stride` bytes."""
    t.data = where - addressof(t)
    t.stride = stride
    t.capacity = capacity


@compiled
def address(t: Table, index: int) -> int:
    """The address of an entry."""
    return addressof(t) + t.data + index * t.stride


@compiled
def has_room(t: Table) -> bool:
    """Whether `allot` would give an entry."""
    return t.free != 0 or t.used + 1 < t.capacity


@compiled
def allot(t: Table) -> int:
    """The index of a zeroed entry, or 0 when the table is full (counted)."""
    return allot_but(t, 0, 0)


@compiled
def allot_but(t: Table, first: int, end: int) -> int:
    """As `allot`; the bytes first .. end - 1 of the entry keep what they hold: they are the entry's, not its user's."""
    index = t.free
    if index != 0:
        t.free = load32(address(t, index))
    elif t.used + 1 < t.capacity:
        t.used += 1
        index = t.used
    else:
        t.exhausted += 1
        return 0
    t.live += 1
    t.peak = max(t.peak, t.live)
    where = address(t, index)
    zero(where, first)
    zero(where + end, t.stride - end)
    return index


@compiled
def release(t: Table, index: int) -> None:
    """Take an entry back."""
    store32(address(t, index), t.free)
    t.free = index
    t.live -= 1
