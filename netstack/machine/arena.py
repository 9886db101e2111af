"""Buffers: blocks of 2 KiB to 16 MiB, in powers of two, out of one range of memory.

The range is reserved address space; the system commits a page when it is first
touched.  A block goes back to the list of its size and is handed out again
first.  Blocks are named by their distance from the Arena record; 0 is "none".
"""
from __future__ import annotations

from typing import Annotated

from .compiled import compiled
from .memory import load64, store64
from .record import Array, addressof, i64, record

SMALLEST = 2048
CLASSES = 14            # 2 KiB << 13 = 16 MiB
LARGEST = SMALLEST << (CLASSES - 1)


@record
class Arena:
    """Header of the range."""

    start: i64                              # distance of the first byte from this record
    size: i64                               # bytes in the range
    used: i64                               # bytes ever handed out
    live: i64                               # bytes handed out now
    peak: i64                               # most that were live at once
    limit: i64                              # most that may be live at once
    exhausted: i64                          # how often a block was wanted and none was left
    free: Annotated[Array[i64], 14]         # first free block of each size, or 0


@compiled
def init(a: Arena, where: int, size: int) -> None:
    """Set up over `size` bytes at `where`."""
    a.start = where - addressof(a)
    a.size = size
    a.limit = size


@compiled
def size_class(size: int) -> int:
    """The class of the smallest block that holds `size` bytes (1 .. LARGEST)."""
    k = 0
    while (SMALLEST << k) < size:
        k += 1
    return k


@compiled
def allot(a: Arena, size: int) -> int:
    """A block of at least `size` bytes (at most LARGEST), contents arbitrary; 0 when there is none."""
    if size > LARGEST:
        a.exhausted += 1
        return 0
    k = size_class(size)
    block = SMALLEST << k
    if a.live + block > a.limit:
        a.exhausted += 1
        return 0
    where = a.free[k]
    if where != 0:
        a.free[k] = load64(addressof(a) + where)
    elif a.used + block <= a.size:
        where = a.start + a.used
        a.used += block
    else:
        a.exhausted += 1
        return 0
    a.live += block
    a.peak = max(a.peak, a.live)
    return where


@compiled
def release(a: Arena, where: int, size: int) -> None:
    """Take back a block that `allot(a, size)` gave."""
    k = size_class(size)
    store64(addressof(a) + where, a.free[k])
    a.free[k] = where
    a.live -= SMALLEST << k
