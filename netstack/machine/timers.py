"""Deadlines: a binary heap with one slot for each owner.

An owner (a connection, a neighbour, ...) has one slot and keeps it; it arms the
slot with the earliest of its deadlines.  Moving a deadline later is free: the
heap keeps the earlier one, and when that expires the owner looks at its own
clocks and arms again.  So a retransmission timer that every ACK restarts costs
nothing per ACK, and 100,000 armed deadlines cost a turn one comparison.
"""
from __future__ import annotations

from .compiled import compiled
from .record import addressof, at, i32, i64, record, sizeof

NEVER = 1 << 62         # a deadline that does not come


@record
class Node:
    """One armed slot in the heap."""

    deadline: i64       # ns
    slot: i64


@record
class Timers:
    """The heap: nodes[0 .. count), and for each slot its place in it."""

    nodes: i64          # distance of the nodes from this record
    places: i64         # distance of the places from this record; place p stands as p + 1, 0: not armed
    count: i32
    capacity: i32       # slots


@record
class Place:
    """Where a slot's node is."""

    index: i32          # + 1; 0 when the slot is not armed


NODE = sizeof(Node)
PLACE = sizeof(Place)


def space(capacity: int) -> int:
    """Bytes that a heap of `capacity` slots needs."""
    return capacity * (NODE + PLACE)


@compiled
def init(t: Timers, where: int, capacity: int) -> None:
    """Set up over `space(capacity)` zeroed bytes at `where`."""
    t.nodes = where - addressof(t)
    t.places = t.nodes + capacity * NODE
    t.capacity = capacity


@compiled
def node(t: Timers, index: int) -> Node:
    """The node at a heap index."""
    return at(Node, addressof(t) + t.nodes + index * NODE)


@compiled
def place(t: Timers, slot: int) -> Place:
    """The place of a slot."""
    return at(Place, addressof(t) + t.places + slot * PLACE)


@compiled
def _put(t: Timers, index: int, deadline: int, slot: int) -> None:
    n = node(t, index)
    n.deadline = deadline
    n.slot = slot
    place(t, slot).index = index + 1


@compiled
def _up(t: Timers, index: int, deadline: int, slot: int) -> None:
    while index > 0:
        parent = (index - 1) >> 1
        p = node(t, parent)
        if p.deadline <= deadline:
            break
        _put(t, index, p.deadline, p.slot)
        index = parent
    _put(t, index, deadline, slot)


@compiled
def _down(t: Timers, index: int, deadline: int, slot: int) -> None:
    while True:
        child = 2 * index + 1
        if child >= t.count:
            break
        if child + 1 < t.count and node(t, child + 1).deadline < node(t, child).deadline:
            child += 1
        c = node(t, child)
        if c.deadline >= deadline:
            break
        _put(t, index, c.deadline, c.slot)
        index = child
    _put(t, index, deadline, slot)


@compiled
def arm(t: Timers, slot: int, deadline: int) -> None:
    """Make sure that `slot` expires at `deadline` or before.  A later deadline than the armed one changes nothing."""
    index = place(t, slot).index
    if index == 0:
        t.count += 1
        _up(t, t.count - 1, deadline, slot)
    elif deadline < node(t, index - 1).deadline:
        _up(t, index - 1, deadline, slot)


@compiled
def disarm(t: Timers, slot: int) -> None:
    """Take the slot out of the heap (its owner goes away)."""
    index = place(t, slot).index - 1
    if index < 0:
        return
    place(t, slot).index = 0
    t.count -= 1
    if index == t.count:
        return
    last = node(t, t.count)
    deadline = last.deadline
    moved = last.slot
    if index > 0 and node(t, (index - 1) >> 1).deadline > deadline:
        _up(t, index, deadline, moved)
    else:
        _down(t, index, deadline, moved)


@compiled
def next_deadline(t: Timers) -> int:
    """The earliest armed deadline, or NEVER."""
    if t.count == 0:
        return NEVER
    return node(t, 0).deadline


@compiled
def expire(t: Timers, now: int) -> int:
    """Take out one slot whose deadline has come and return it, or -1."""
    if t.count == 0:
        return -1
    first = node(t, 0)
    if first.deadline > now:
        return -1
    slot = first.slot
    disarm(t, slot)
    return slot
