"""A byte ring with one writer and one reader, and its positions.

Positions are counts of bytes since the beginning (int64, they never wrap); the
byte at position p stands at p - `base` modulo the ring's size, a power of two.  Who
writes into an empty ring begins at the front of its memory again (`rewind`): so of a
large ring only as much is ever touched, and kept in the cache, as was in it at once.  The
writer owns `tail`, the reader owns `head`: each publishes its own with a release
store and reads the other's with an acquire load, so a Python thread can copy in
or out while the engine runs.
"""
from __future__ import annotations

from .atomic import load_acquire64, store_release64
from .compiled import compiled
from .memory import copy, sum16
from .record import addressof, i64, offsetof, record


@record
class Ring:
    """One direction of a stream, or a queue of datagrams."""

    data: i64       # distance of the bytes from this record; 0: no memory yet
    size: i64       # bytes, a power of two
    head: i64       # position of the first byte not yet consumed
    tail: i64       # position after the last byte written
    base: i64       # position that stands at the beginning of the bytes; the writer's


HEAD = offsetof(Ring, "head")
TAIL = offsetof(Ring, "tail")


@compiled
def head(r: Ring) -> int:
    """The reader's position, as the writer may see it."""
    return load_acquire64(addressof(r) + HEAD)


@compiled
def tail(r: Ring) -> int:
    """The writer's position, as the reader may see it."""
    return load_acquire64(addressof(r) + TAIL)


@compiled
def set_head(r: Ring, position: int) -> None:
    """The reader: everything before `position` is consumed."""
    store_release64(addressof(r) + HEAD, position)


@compiled
def set_tail(r: Ring, position: int) -> None:
    """The writer: everything before `position` is there."""
    store_release64(addressof(r) + TAIL, position)


@compiled
def used(r: Ring) -> int:
    """Bytes written and not consumed."""
    return tail(r) - head(r)


@compiled
def room(r: Ring) -> int:
    """Bytes that can be written now."""
    return r.size - used(r)


@compiled
def rewind(r: Ring) -> None:
    """The writer, if nothing stands in the ring, not behind the tail either: what is next stands at the front."""
    if head(r) == r.tail:
        r.base = r.tail


@compiled
def address(r: Ring, position: int) -> int:
    """Where the byte at `position` stands."""
    return addressof(r) + r.data + ((position - r.base) & (r.size - 1))


@compiled
def contiguous(r: Ring, position: int, n: int) -> int:
    """How many of the n bytes from `position` on stand before the ring's end."""
    return min(n, r.size - ((position - r.base) & (r.size - 1)))


@compiled
def place(r: Ring, position: int, src: int, n: int) -> None:
    """Copy n bytes from `src` to `position`."""
    first = contiguous(r, position, n)
    copy(address(r, position), src, first)
    if n > first:
        copy(addressof(r) + r.data, src + first, n - first)


@compiled
def fetch(r: Ring, position: int, dst: int, n: int) -> None:
    """Copy n bytes at `position` to `dst`."""
    first = contiguous(r, position, n)
    copy(dst, address(r, position), first)
    if n > first:
        copy(dst + first, addressof(r) + r.data, n - first)


@compiled
def copy_out(r: Ring, position: int, end: int, data: int, size: int) -> None:
    """Copy the bytes from `position` up to `end` into another ring's bytes at `data`, of a larger `size`."""
    while position < end:
        n = contiguous(r, position, min(end - position, r.size))
        to = (position - r.base) & (size - 1)               # contiguous there, too: twice a power of two is one
        copy(data + to, address(r, position), n)
        position += n


@compiled
def checksum(r: Ring, position: int, n: int, acc: int) -> int:
    """Add n bytes at `position` to a checksum accumulator (RFC 1071; an odd first part swaps the second)."""
    first = contiguous(r, position, n)
    acc = sum16(address(r, position), first, acc)
    if n > first:
        rest = sum16(addressof(r) + r.data, n - first, 0)
        if first & 1:
            rest = ((rest & 0xFF) << 8) | (rest >> 8)
        acc += rest
        acc = (acc & 0xFFFF) + (acc >> 16)
    return acc
