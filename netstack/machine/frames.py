"""A queue of whole frames in memory: what a wire or a loopback interface is made of.

Each frame stands behind an 8-byte header (its length), padded to 8 bytes, never
split over the ring's end.  Any number of writers (they take `lock` for the time
of one copy), one reader.  A full queue drops, and counts.
"""
from __future__ import annotations

from .atomic import (
    compare_exchange,
    load_acquire,
    load_acquire64,
    relax,
    store_release,
    store_release64,
    store_seq,
)
from .compiled import compiled
from .libc import futex_wake, write
from .memory import copy, load64, store64
from .record import addressof, at, i32, i64, offsetof, record, sizeof, u32

WARM = 64 << 10     # bytes of the ring that are used again and again while the reader keeps up
SKIP = -1           # a length that means: the rest of the ring is unused, go to its start


@record
class Frames:
    """Header of a frame queue; its bytes follow directly."""

    size: i64       # bytes, a power of two
    head: i64       # position of the reader
    tail: i64       # position of the writers
    lock: u32       # 1 while a writer copies
    pushed: u32     # counts frames; readers in Python sleep on it
    sleepers: u32   # how many do
    asleep: u32     # 1 while the stack that reads sleeps in poll
    bell: i32       # the eventfd that wakes it, or -1
    closed: u32     # 1 once nothing reads any more
    frames: i64     # frames pushed
    bytes: i64      # their bytes
    dropped: i64    # frames that found no room


BYTES = sizeof(Frames)
HEAD = offsetof(Frames, "head")
TAIL = offsetof(Frames, "tail")
LOCK = offsetof(Frames, "lock")
PUSHED = offsetof(Frames, "pushed")
SLEEPERS = offsetof(Frames, "sleepers")
ASLEEP = offsetof(Frames, "asleep")
BELL_WORD = offsetof(Frames, "size")        # any eight bytes that are not 0


def space(size: int) -> int:
    """Bytes that a queue of `size` bytes needs, header included."""
    return BYTES + size


@compiled
def init(f: Frames, size: int) -> None:
    """Set up over `space(size)` zeroed bytes; `size` is a power of two."""
    f.size = size
    f.bell = -1


@compiled
def _reserve(f: Frames, n: int) -> int:
    """The position for a frame of n bytes, or -1.  Writers only, under the lock."""
    need = 8 + ((n + 7) & -8)
    mask = f.size - 1
    head = load_acquire64(addressof(f) + HEAD)
    if head == f.tail and f.tail & mask >= WARM:
        # An empty queue begins at its front again, so that what is used of it stays in the cache.  Who reads looks at
        # the tail first, and sees an empty queue until the new frame is there.
        head = (head | mask) + 1
        store_release64(addressof(f) + HEAD, head)
        f.tail = head
    rest = f.size - (f.tail & mask)
    skip = rest if need > rest else 0
    if f.tail + skip + need - head > f.size:
        return -1
    if skip:
        store64(addressof(f) + BYTES + (f.tail & mask), SKIP)
    return f.tail + skip


@compiled
def has_room(f: Frames, n: int) -> bool:
    """Whether a frame of n bytes fits now."""
    need = 8 + ((n + 7) & -8)
    rest = f.size - (f.tail & (f.size - 1))
    skip = rest if need > rest else 0
    return f.tail + skip + need - load_acquire64(addressof(f) + HEAD) <= f.size


@compiled
def push(f: Frames, iov: int, parts: int, total: int) -> int:
    """Append the frame whose parts (address, length: two i64 each) stand at `iov`.

    Returns total, or 0 when there was no room (counted).  Wakes whoever sleeps for it.
    """
    while compare_exchange(addressof(f) + LOCK, 0, 1) != 0:
        relax()
    position = _reserve(f, total)
    if position < 0:
        f.dropped += 1
        store_release(addressof(f) + LOCK, 0)
        return 0
    slot = addressof(f) + BYTES + (position & (f.size - 1))
    store64(slot, total)
    to = slot + 8
    for i in range(parts):
        n = load64(iov + 16 * i + 8)
        copy(to, load64(iov + 16 * i), n)
        to += n
    f.frames += 1
    f.bytes += total
    store_release64(addressof(f) + TAIL, position + 8 + ((total + 7) & -8))
    store_release(addressof(f) + PUSHED, f.pushed + 1)
    store_seq(addressof(f) + LOCK, 0)
    if load_acquire(addressof(f) + ASLEEP) != 0 and f.bell >= 0 and compare_exchange(addressof(f) + ASLEEP, 1, 0) == 1:
        write(f.bell, addressof(f) + BELL_WORD, 8)
    if load_acquire(addressof(f) + SLEEPERS) != 0:
        futex_wake(addressof(f) + PUSHED, 1)
    return total


@compiled
def peek(f: Frames) -> int:
    """The address of the first frame's bytes, its length eight bytes before it; 0 when the queue is empty."""
    mask = f.size - 1
    tail = load_acquire64(addressof(f) + TAIL)
    while f.head < tail:
        slot = addressof(f) + BYTES + (f.head & mask)
        if load64(slot) != SKIP:
            return slot + 8
        store_release64(addressof(f) + HEAD, (f.head + f.size) & -f.size)
    return 0


@compiled
def length(frame: int) -> int:
    """The length of the frame that `peek` gave."""
    return load64(frame - 8)


@compiled
def drop(f: Frames) -> None:
    """Done with the frame that `peek` gave: the reader moves on."""
    slot = addressof(f) + BYTES + (f.head & (f.size - 1))
    store_release64(addressof(f) + HEAD, f.head + 8 + ((load64(slot) + 7) & -8))


@compiled
def is_empty(f: Frames) -> bool:
    """Whether there is nothing to read."""
    return load_acquire64(addressof(f) + TAIL) <= f.head


def frames_at(address: int) -> Frames:
    """The queue at an address (Python side)."""
    return at(Frames, address)
