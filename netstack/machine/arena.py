"""Buffers: blocks of 2 KiB to 16 MiB, in powers of two, out of one range of memory.

The range is reserved address space; the system commits a page when it is first
touched.  A block goes back to the list of its size and is handed out again
first; when the range is used up, larger ones are cut in halves, and
halves grow together again.  Blocks are named by their distance from the Arena record; 0 is "none".
"""
from __future__ import annotations

from typing import Annotated

from .compiled import compiled
from .memory import load64, store64
from .record import Array, addressof, i64, record

SMALLEST = 2048
CLASSES = 14            # 2 KiB << 13 = 16 MiB
LARGEST = SMALLEST << (CLASSES - 1)
FAR = 64                # blocks of a free list that are looked at for the other half of one


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
    a.size = size & -SMALLEST
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
    elif ((a.used + block - 1) & -block) + block <= a.size:
        where = _fresh(a, block)
    else:
        where = _cut(a, k)
        if where == 0 and _join(a, k):
            where = _cut(a, k)
    if where == 0:
        a.exhausted += 1
        return 0
    a.live += block
    a.peak = max(a.peak, a.live)
    return where


@compiled
def _fresh(a: Arena, block: int) -> int:
    """A block that was never handed out, at a multiple of its size; what is left out before it is free."""
    while a.used & (block - 1):
        gap = a.used & -a.used
        _push(a, size_class(gap), a.start + a.used)
        a.used += gap
    where = a.start + a.used
    a.used += block
    return where


@compiled
def _push(a: Arena, k: int, where: int) -> None:
    store64(addressof(a) + where, a.free[k])
    a.free[k] = where


@compiled
def _take_out(a: Arena, k: int, where: int) -> bool:
    """Take a block out of the free list of its class.  Whether it was found there, not far from the beginning."""
    before = 0
    at = a.free[k]
    for _ in range(FAR):
        if at == 0:
            return False
        following = load64(addressof(a) + at)
        if at == where:
            if before == 0:
                a.free[k] = following
            else:
                store64(addressof(a) + before, following)
            return True
        before = at
        at = following
    return False


@compiled
def _join(a: Arena, k: int) -> bool:
    """Let halves that are both free grow together to blocks of class k or larger, as far as a little effort goes."""
    for j in range(CLASSES - 1):
        size = SMALLEST << j
        where = a.free[j]
        for _ in range(FAR):
            if where == 0:
                break
            following = load64(addressof(a) + where)
            other = a.start + ((where - a.start) ^ size)
            if _take_out(a, j, other):
                if following == other:
                    following = load64(addressof(a) + other)
                _take_out(a, j, where)
                _push(a, j + 1, min(where, other))
            where = following
    for j in range(k, CLASSES):
        if a.free[j] != 0:
            return True
    return False


@compiled
def _cut(a: Arena, k: int) -> int:
    """A block of class k out of the smallest larger one that is free; the rest of it is free in its halves.  Or 0."""
    larger = k
    while larger < CLASSES and a.free[larger] == 0:
        larger += 1
    if larger >= CLASSES:
        return 0
    where = a.free[larger]
    a.free[larger] = load64(addressof(a) + where)
    while larger > k:
        larger -= 1
        _push(a, larger, where + (SMALLEST << larger))
    return where


@compiled
def release(a: Arena, where: int, size: int) -> None:
    """Take back a block that `allot(a, size)` gave."""
    k = size_class(size)
    _push(a, k, where)
    a.live -= SMALLEST << k
    if a.live == 0:                         # all is back: the whole range again, in no pieces
        a.used = 0
        for i in range(CLASSES):
            a.free[i] = 0
