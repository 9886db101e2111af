"""The data of a datagram that comes in fragments, and the list of holes in it.

RFC 815, "IP Datagram Reassembly Algorithms"; RFC 5722 and RFC 8200 4.5 for
fragments that overlap.

The data stands in one block of the arena, behind ROOM bytes for the headers of
the first fragment.  A hole needs no memory of its own: its first eight bytes
say where it ends and where the next one begins (RFC 815 5).  The block starts
as large as the first fragment to arrive wants, and is replaced by a larger one
when another lies beyond its end.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import addressof, arena, be32, compiled, copy, i64, load8, put32, record

if TYPE_CHECKING:
    from .net import Net

ROOM = 256              # bytes before the data
NONE = 0xFFFF_FFFF      # no further hole; an end that is not known yet
HOLE = 8                # bytes of a hole's description; fragments count in eights, so every hole has them


@record
class Holes:
    """The data of one datagram."""

    first: i64          # where the first hole begins, or NONE; the others follow in order
    end: i64            # where the data received so far ends
    total: i64          # bytes of the datagram's data; 0: the last fragment has not come
    received: i64       # bytes that are there
    block: i64          # arena block, or 0
    size: i64           # its bytes


@compiled
def begin(net: Net, h: Holes, end: int) -> bool:
    """All of it is one hole (RFC 815 3); a fragment up to `end` is to come.  False: no memory."""
    if not grow(net, h, end):
        return False
    h.first = 0
    describe(net, h, 0, NONE, NONE)
    return True


@compiled
def is_whole(h: Holes) -> bool:
    """Whether nothing is missing."""
    return h.first == NONE and h.block != 0


@compiled
def fill(net: Net, h: Holes, first: int, p: int, n: int, more: int) -> int:
    """Put n bytes at p, which belong at `first`, into their hole (RFC 815 3); `more`: others follow.

    Returns 0, also for an exact duplicate; or the Drop for which the whole datagram is to be refused.
    """
    end = first + n
    if (h.total != 0 and end > h.total) or (more == 0 and end < h.end):
        return Drop.FRAGMENT_MALFORMED                  # two ends
    previous = NONE
    hole = h.first
    hole_end = 0
    following = NONE
    while hole != NONE:                                 # (steps 1 to 3) the first hole that ends behind our beginning
        hole_end = be32(data(net, h) + hole)
        following = be32(data(net, h) + hole + 4)
        if first < hole_end:
            break
        previous = hole
        hole = following
    if hole == NONE or end <= hole:                     # all of it is here already
        return 0 if is_same(data(net, h) + first, p, n) else Drop.FRAGMENT_OVERLAP
    if first < hole or end > hole_end:                  # RFC 5722 4
        return Drop.FRAGMENT_OVERLAP
    if not grow(net, h, end):
        return Drop.FRAGMENT_LIMIT
    if end < hole_end and more != 0:                    # (step 6) a hole is left behind it
        describe(net, h, end, hole_end, following)
        following = end
    if first > hole:                                    # (step 5) ... and one before it
        describe(net, h, hole, first, following)
        following = hole
    if previous == NONE:                                # (step 4)
        h.first = following
    else:
        put32(data(net, h) + previous + 4, following)
    copy(data(net, h) + first, p, n)
    h.received += n
    h.end = max(h.end, end)
    if more == 0:
        h.total = end
    return 0


@compiled
def data(net: Net, h: Holes) -> int:
    """The address of the datagram's first byte of data."""
    return addressof(net.arena) + h.block + ROOM


@compiled
def describe(net: Net, h: Holes, hole: int, end: int, following: int) -> None:
    """Write a hole's description where it begins."""
    p = data(net, h) + hole
    put32(p, end)
    put32(p + 4, following)


@compiled
def grow(net: Net, h: Holes, end: int) -> bool:
    """Make sure that the block holds data up to `end`, and a hole's description behind it.  False: no memory."""
    need = ROOM + end + HOLE
    if need <= h.size:
        return True
    size = arena.SMALLEST << arena.size_class(need)
    if net.fragment_bytes + size - h.size > net.settings.ipfrag_high_thresh:
        return False
    block = arena.allot(net.arena, size)
    if block == 0:
        return False
    if h.block != 0:
        copy(addressof(net.arena) + block, addressof(net.arena) + h.block, h.size)
        arena.release(net.arena, h.block, h.size)
    net.fragment_bytes += size - h.size
    h.block = block
    h.size = size
    return True


@compiled
def release(net: Net, h: Holes) -> None:
    """Give the memory back."""
    if h.block != 0:
        arena.release(net.arena, h.block, h.size)
        net.fragment_bytes -= h.size
    h.block = 0
    h.size = 0


@compiled
def is_same(p: int, q: int, n: int) -> bool:
    """Whether n bytes at p and q are equal: an exact duplicate is not an overlap (RFC 8200 4.5)."""
    i = 0
    while i < n and load8(p + i) == load8(q + i):
        i += 1
    return i == n
