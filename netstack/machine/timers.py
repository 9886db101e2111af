"""Deadlines: a hierarchical timing wheel with one slot for each owner.

An owner (a connection, a neighbour, ...) has one slot and keeps it; it arms the
slot with the earliest of its deadlines.  Moving a deadline later is free: the
wheel keeps the earlier one, and when that expires the owner looks at its own
clocks and arms again.  So a retransmission timer that every ACK restarts costs
nothing per ACK.

Time is counted in ticks of 16 us.  A deadline stands at the level of the highest
digit (of 5 bits) in which its tick differs from the present one, in the list of that
digit's value; when time comes to a list of a higher level its deadlines go down to
lower ones.  So arming, disarming and expiring take the same time however many are
armed (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987).  Within
a tick they are in order: what expires first is told first, to the nanosecond.
"""
from __future__ import annotations

from typing import Annotated

from .compiled import compiled
from .record import Array, addressof, at, i32, i64, record, sizeof, u32

NEVER = 1 << 62         # a deadline that does not come
TICK = 14               # bits of a deadline below a tick: 16.4 us
DIGIT = 5               # bits of a digit
LISTS = 1 << DIGIT      # of a level
LEVELS = 10             # 50 bits: up to NEVER
FIRST = 0xFFFF_FFFF
NEAR = 16               # deadlines of a long list are looked at one by one as far as this


@record
class Node:
    """One slot.  Armed, it stands in a list."""

    deadline: i64       # ns
    next: u32           # the slot behind it + 1; 0: none
    prev: u32           # the slot before it + 1; FIRST: none; 0: not armed


@record
class Queue:
    """A list of slots."""

    first: u32          # + 1; 0: empty
    last: u32


@record
class Timers:
    """The wheel."""

    nodes: i64          # distance of the nodes from this record
    lists: i64          # distance of the lists, level by level
    tick: i64           # the present; no list before it has anything
    next: i64           # what `next_deadline` tells, or 0: it has to look
    count: i32          # slots armed
    capacity: i32       # slots
    filled: Annotated[Array[u32], 10]       # for each level one bit for each list that is not empty


NODE = sizeof(Node)
QUEUE = sizeof(Queue)


def space(capacity: int) -> int:
    """Bytes that a wheel of `capacity` slots needs."""
    return LEVELS * LISTS * QUEUE + capacity * NODE


@compiled
def init(t: Timers, where: int, capacity: int) -> None:
    """Set up over `space(capacity)` zeroed bytes at `where`."""
    t.lists = where - addressof(t)
    t.nodes = t.lists + LEVELS * LISTS * QUEUE
    t.capacity = capacity


@compiled
def node(t: Timers, slot: int) -> Node:
    """The node of a slot."""
    return at(Node, addressof(t) + t.nodes + slot * NODE)


@compiled
def queue(t: Timers, index: int) -> Queue:
    """A list: level * LISTS + digit."""
    return at(Queue, addressof(t) + t.lists + index * QUEUE)


@compiled
def _lowest_bit(bits: int) -> int:
    """The number of the lowest bit that is set (there is one, of 32)."""
    n = 0
    if bits & 0xFFFF == 0:
        n = 16
    if bits >> n & 0xFF == 0:
        n += 8
    if bits >> n & 0xF == 0:
        n += 4
    if bits >> n & 3 == 0:
        n += 2
    if bits >> n & 1 == 0:
        n += 1
    return n


@compiled
def _first_list(t: Timers) -> int:
    """The list that comes first.  There is one."""
    level = 0
    while t.filled[level] == 0:
        level += 1
    return level * LISTS + _lowest_bit(t.filled[level])


@compiled
def _start(t: Timers, index: int) -> int:
    """The tick at which a list begins."""
    shift = index // LISTS * DIGIT
    return (t.tick >> (shift + DIGIT) << (shift + DIGIT)) + (index % LISTS << shift)


@compiled
def list_of(t: Timers, deadline: int) -> int:
    """The list in which a deadline stands: it stays the same until time comes to it."""
    tick = max(deadline >> TICK, t.tick)            # what is overdue is due now
    level = 0
    while (tick ^ t.tick) >> (level + 1) * DIGIT != 0:
        level += 1
    return level * LISTS + (tick >> level * DIGIT & (LISTS - 1))


@compiled
def _link(t: Timers, slot: int, n: Node) -> None:
    """Put a node into the list of its deadline."""
    index = list_of(t, n.deadline)
    level = index // LISTS
    q = queue(t, index)
    before = q.last
    if level == 0:
        while before != 0 and node(t, before - 1).deadline > n.deadline:
            before = node(t, before - 1).prev
            before = 0 if before == FIRST else before
    n.prev = FIRST if before == 0 else before
    if before != 0:
        b = node(t, before - 1)
        n.next = b.next
        b.next = slot + 1
    else:
        n.next = q.first
        q.first = slot + 1
    if n.next != 0:
        node(t, n.next - 1).prev = slot + 1
    else:
        q.last = slot + 1
    t.filled[level] = t.filled[level] | 1 << index % LISTS


@compiled
def _unlink(t: Timers, n: Node) -> None:
    """Take a node out of its list."""
    if n.deadline <= t.next:
        t.next = 0
    index = list_of(t, n.deadline)
    q = queue(t, index)
    if n.prev != FIRST:
        node(t, n.prev - 1).next = n.next
    else:
        q.first = n.next
    if n.next != 0:
        node(t, n.next - 1).prev = n.prev
    else:
        q.last = 0 if n.prev == FIRST else n.prev
    n.prev = 0
    if q.first == 0:
        level = index // LISTS
        t.filled[level] = t.filled[level] & ~(1 << index % LISTS)


@compiled
def arm(t: Timers, slot: int, deadline: int) -> None:
    """Make sure that `slot` expires at `deadline` or before.  A later deadline than the armed one changes nothing."""
    n = node(t, slot)
    if n.prev == 0:
        t.count += 1
    elif deadline < n.deadline:
        _unlink(t, n)
    else:
        return
    n.deadline = deadline
    t.next = min(deadline, t.next)
    _link(t, slot, n)


@compiled
def disarm(t: Timers, slot: int) -> None:
    """The slot is not armed any more (its owner goes away)."""
    n = node(t, slot)
    if n.prev != 0:
        _unlink(t, n)
        t.count -= 1


@compiled
def next_deadline(t: Timers) -> int:
    """The earliest armed deadline, or NEVER.  One that is far away, among many, may be told earlier than it is."""
    if t.next == 0:
        t.next = _look(t)
    return t.next


@compiled
def _look(t: Timers) -> int:
    """... as the lists have it."""
    if t.count == 0:
        return NEVER
    index = _first_list(t)
    slot = queue(t, index).first
    first = node(t, slot - 1).deadline
    if index < LISTS:
        return first                                # in order
    for _ in range(NEAR):
        if slot == 0:
            return first
        n = node(t, slot - 1)
        first = min(first, n.deadline)
        slot = n.next
    return _start(t, index) << TICK


@compiled
def _go_down(t: Timers, index: int) -> None:
    """The present has come to a list of a higher level: its deadlines go to lower ones."""
    q = queue(t, index)
    slot = q.first
    q.first = 0
    q.last = 0
    level = index // LISTS
    t.filled[level] = t.filled[level] & ~(1 << index % LISTS)
    while slot != 0:
        n = node(t, slot - 1)
        following = n.next
        _link(t, slot - 1, n)
        slot = following


@compiled
def is_due(t: Timers, now: int) -> bool:
    """Whether a deadline has come: then it is the first of the first list."""
    present = max(now >> TICK, t.tick)
    while t.count != 0:
        index = _first_list(t)
        start = _start(t, index)
        if start > present:
            break
        t.tick = max(start, t.tick)
        t.next = 0
        if index < LISTS:
            return node(t, queue(t, index).first - 1).deadline <= now
        _go_down(t, index)
    t.tick = present
    t.next = 0
    return False


@compiled
def expire(t: Timers, now: int) -> int:
    """Take out one slot whose deadline has come, the earliest, and return it, or -1."""
    if not is_due(t, now):
        return -1
    slot = queue(t, _first_list(t)).first - 1
    _unlink(t, node(t, slot))
    t.count -= 1
    return slot
