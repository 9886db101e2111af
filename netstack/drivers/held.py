"""Held: frames that wait for their time of release, in memory of their own.

Most frames are to be released after those that came before them: they stand in a
line.  There are two, since those that are held back for the sake of disorder go
out in an order of their own.  What fits into neither line goes into a wheel
(`machine.timers`, slot = place of the frame); there, frames stored one after the
other for the same time share one slot as a chain, so that they come out in the
order they went in.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import Array, addressof, arena, at, compiled, copy, i32, i64, load64, record, sizeof, table, timers
from ..machine.arena import Arena
from ..machine.table import Table
from ..machine.timers import NEVER, Timers

CAPACITY = 1 << 16          # frames, place 0 is not used
MEMORY = 256 << 20          # bytes of address space for frames; only what is touched is committed
LINES = 2


@record
class Held:
    """One frame that waits."""

    where: i64          # its bytes, as the arena names them
    release: i64        # ns
    length: i32
    next: i32           # the next frame of the line or chain, or 0


@record
class Line:
    """Frames in the order of their release, which is that of their coming."""

    first: i32
    last: i32           # 0: the line is empty
    begins: i64         # time of release of the first, ns
    ends: i64           # ... and of the last


@record
class Store:
    """The frames that one direction of an interface holds."""

    slots: Table        # of Held
    lines: Annotated[Array[Line], 2]
    order: Timers       # of what is in no line, by time of release; slot = place in `slots`
    arena: Arena        # the frames' bytes
    ready: i32          # first of a chain whose time has come, or 0
    last: i32           # the frame put into the wheel last, or 0 once it is out
    last_release: i64   # its time of release
    next: i64           # when the next frame is due, ns, or NEVER


HELD = sizeof(Held)
STORE = sizeof(Store)
ORDER = timers.space(CAPACITY)
SPACE = STORE + CAPACITY * HELD + ORDER + MEMORY


@compiled
def init(s: Store) -> None:
    """Set up at the start of SPACE zeroed bytes."""
    where = addressof(s) + STORE
    table.init(s.slots, where, HELD, CAPACITY)
    where += CAPACITY * HELD
    timers.init(s.order, where, CAPACITY)
    arena.init(s.arena, where + ORDER, MEMORY)
    s.next = NEVER


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
    h.release = release
    h.length = total
    to = addressof(s.arena) + where
    for i in range(parts):
        n = load64(iov + 16 * i + 8)
        copy(to, load64(iov + 16 * i), n)
        to += n
    _queue(s, place, release)
    s.next = min(s.next, release)
    return place


@compiled
def _queue(s: Store, place: int, release: int) -> None:
    """Give a frame its place in the order: behind the line that ends latest before it, else in the wheel."""
    best = -1
    latest = -1
    for i in range(LINES):
        ends = s.lines[i].ends if s.lines[i].last != 0 else 0
        if latest < ends <= release:
            best = i
            latest = ends
    if best >= 0:
        line = s.lines[best]
        if line.last == 0:
            line.first = place
            line.begins = release
        else:
            _held(s, line.last).next = place
        line.last = place
        line.ends = release
        return
    if s.last != 0 and s.last_release == release:
        _held(s, s.last).next = place
    else:
        timers.arm(s.order, place, release)
    s.last = place
    s.last_release = release


@compiled
def is_due(s: Store, now: int) -> bool:
    """Whether a frame's time has come."""
    if s.next > now:
        return False
    if not timers.is_due(s.order, now):
        s.next = _first(s)                  # the wheel may have told a time that was too early
    return s.next <= now


@compiled
def take(s: Store, now: int) -> int:
    """The place of the next frame whose time has come, taken out of the order; 0 when none is due."""
    if s.next > now:
        return 0
    place = 0
    for i in range(LINES):
        line = s.lines[i]
        if place == 0 and line.last != 0 and line.begins == s.next:
            place = line.first
            line.first = _held(s, place).next
            if line.first == 0:
                line.last = 0
            else:
                line.begins = _held(s, line.first).release
    if place == 0:
        place = s.ready if s.ready != 0 else timers.expire(s.order, now)
        s.ready = _held(s, place).next
        if place == s.last:
            s.last = 0
    s.next = _first(s)
    return place


@compiled
def _first(s: Store) -> int:
    """When the next frame is due, or NEVER."""
    first = _held(s, s.ready).release if s.ready != 0 else timers.next_deadline(s.order)
    for i in range(LINES):
        if s.lines[i].last != 0:
            first = min(first, s.lines[i].begins)
    return first


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
    return s.next
