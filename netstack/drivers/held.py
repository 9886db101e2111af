"""Held: frames that wait for their time of release, in memory of their own.

A heap orders them by time (`machine.timers`, slot = place of the frame).  Frames
stored one after the other for the same time share one slot of the heap, as a
chain, so that they come out in the order they went in.
"""
from __future__ import annotations

from ..machine import addressof, arena, at, compiled, copy, i32, i64, load64, record, sizeof, table, timers
from ..machine.arena import Arena
from ..machine.table import Table
from ..machine.timers import Timers

CAPACITY = 1 << 16          # frames, place 0 is not used
MEMORY = 256 << 20          # bytes of address space for frames; only what is touched is committed


@record
class Held:
    """One frame that waits."""

    where: i64          # its bytes, as the arena names them
    length: i32
    next: i32           # the next frame of the chain, or 0


@record
class Store:
    """The frames that one direction of an interface holds."""

    slots: Table        # of Held
    order: Timers       # by time of release; slot = place in `slots`
    arena: Arena        # the frames' bytes
    ready: i32          # first of a chain whose time has come, or 0
    last: i32           # the frame stored last, or 0 once it is out
    last_release: i64   # its time of release


HELD = sizeof(Held)
STORE = sizeof(Store)
SPACE = STORE + CAPACITY * HELD + timers.space(CAPACITY) + MEMORY


@compiled
def init(s: Store) -> None:
    """Set up at the start of SPACE zeroed bytes."""
    where = addressof(s) + STORE
    table.init(s.slots, where, HELD, CAPACITY)
    where += CAPACITY * HELD
    timers.init(s.order, where, CAPACITY)
    arena.init(s.arena, where + CAPACITY * (timers.NODE + timers.PLACE), MEMORY)


@compiled
def _held(s: Store, place: int) -> Held:
    return at(Held, table.address(s.slots, place))


@compiled
def put(s: Store, iov: int, parts: int, total: int, release: int) -> int:
    """Copy a frame (parts as in `device.transmit`) in: its place, or 0 when the store is full."""
    place = table.allot(s.slots)
    if place == 0:
        return 0
    where = arena.allot(s.arena, total)
    if where == 0:
        table.release(s.slots, place)
        return 0
    h = _held(s, place)
    h.where = where
    h.length = total
    to = addressof(s.arena) + where
    for i in range(parts):
        n = load64(iov + 16 * i + 8)
        copy(to, load64(iov + 16 * i), n)
        to += n
    if s.last != 0 and s.last_release == release:
        _held(s, s.last).next = place
    else:
        timers.arm(s.order, place, release)
    s.last = place
    s.last_release = release
    return place


@compiled
def is_due(s: Store, now: int) -> bool:
    """Whether a frame's time has come."""
    return s.ready != 0 or timers.next_deadline(s.order) <= now


@compiled
def take(s: Store, now: int) -> int:
    """The place of the next frame whose time has come, taken out of the order; 0 when none is due."""
    place = s.ready
    if place == 0:
        place = timers.expire(s.order, now)
        if place < 0:
            return 0
    s.ready = _held(s, place).next
    if place == s.last:
        s.last = 0
    return place


@compiled
def free(s: Store, place: int) -> None:
    """Done with a frame that was taken."""
    h = _held(s, place)
    arena.release(s.arena, h.where, h.length)
    table.release(s.slots, place)


@compiled
def address(s: Store, place: int) -> int:
    """Where a frame's bytes are."""
    return addressof(s.arena) + _held(s, place).where


@compiled
def length(s: Store, place: int) -> int:
    """How many there are."""
    return _held(s, place).length


@compiled
def next_deadline(s: Store, now: int) -> int:
    """When the next frame is due, or NEVER."""
    if s.ready != 0:
        return now
    return timers.next_deadline(s.order)
