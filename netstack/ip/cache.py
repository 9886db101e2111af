"""The table of neighbours: found by hash, the longest unused thrown out.

RFC 4861 5.1, "Conceptual Data Structures", with the bound that RFC 6583 4.1 asks for.
What the entries mean, and when they change, is `neighbour.py`'s.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import addressof, at, compiled, i32, i64, load32, record, sizeof, store32, table, timers, u8
from ..machine.random import below, hash2
from . import waiting
from .waiting import Queue

if TYPE_CHECKING:
    from .net import Net

MIN_RANDOM_FACTOR = 50                  # percent (RFC 4861 10)
MAX_RANDOM_FACTOR = 150
SPARE = 16                              # entries looked at for one that nobody waits for, when one must go


class State(IntEnum):
    """RFC 4861 7.3.2."""

    NONE = 0
    INCOMPLETE = 1      # asked; packets wait
    REACHABLE = 2       # confirmed not long ago
    STALE = 3           # known, not confirmed: used, and then probed
    DELAY = 4           # used; a probe follows unless somebody confirms it
    PROBE = 5           # being probed at the address we know
    FAILED = 6          # no answer; the next packet asks again


@record
class Neighbour:
    """One neighbour on one interface."""

    hi: i64
    lo: i64
    mac: i64                # its link address, unless INCOMPLETE or FAILED
    used: i64               # when a packet was last sent to it, ns
    reachable_until: i64    # how long the last confirmation counts, ns
    deadline: i64           # when to look at it again, ns
    queue: Queue            # packets that wait
    chain: i32              # next entry in its hash bucket, or 0
    older: i32              # neighbours in the list by last use
    newer: i32
    state: u8
    interface: u8           # index
    probes: u8              # requests sent without an answer
    router: u8              # IsRouter (RFC 4861 5.1)
    factor: u8              # of BaseReachableTime, percent (RFC 4861 6.3.2)


SIZE = sizeof(Neighbour)


@compiled
def entry(net: Net, index: int) -> Neighbour:
    """The neighbour at a place of the table."""
    t = net.neighbours
    return at(Neighbour, addressof(t) + t.data + index * SIZE)


@compiled
def bucket(net: Net, interface: int, hi: int, lo: int) -> int:
    """Where the first index of an address's hash chain stands."""
    h = hash2(net.key, hi, lo ^ (interface << 40)) & net.neighbour_mask
    return addressof(net) + net.neighbour_buckets + 4 * h


@compiled
def find(net: Net, interface: int, hi: int, lo: int) -> int:
    """The index of a neighbour, or 0."""
    index = load32(bucket(net, interface, hi, lo))
    while index != 0:
        n = entry(net, index)
        if n.lo == lo and n.hi == hi and n.interface == interface:
            return index
        index = n.chain
    return 0


@compiled
def _unlink(net: Net, index: int) -> None:
    """Out of the list by last use."""
    n = entry(net, index)
    if n.older != 0:
        entry(net, n.older).newer = n.newer
    else:
        net.neighbour_oldest = n.newer
    if n.newer != 0:
        entry(net, n.newer).older = n.older
    else:
        net.neighbour_newest = n.older


@compiled
def _append(net: Net, index: int) -> None:
    """To the end of the list: used now."""
    n = entry(net, index)
    n.newer = 0
    n.older = net.neighbour_newest
    if n.older != 0:
        entry(net, n.older).newer = index
    else:
        net.neighbour_oldest = index
    net.neighbour_newest = index


@compiled
def release(net: Net, index: int) -> None:
    """Forget a neighbour; packets that wait for it are dropped."""
    n = entry(net, index)
    waiting.clear(net, n.queue, Drop.NEIGHBOUR_QUEUE)
    p = bucket(net, n.interface, n.hi, n.lo)
    if load32(p) == index:
        store32(p, n.chain)
    else:
        before = entry(net, load32(p))
        while before.chain != index:
            before = entry(net, before.chain)
        before.chain = n.chain
    _unlink(net, index)
    timers.disarm(net.timers, index)
    n.state = State.NONE
    table.release(net.neighbours, index)


@compiled
def _victim(net: Net) -> int:
    """The entry that goes when the table is full: of the longest unused, one that nobody waits for."""
    index = net.neighbour_oldest
    for _ in range(SPARE):
        if index == 0:
            break
        if entry(net, index).queue.count == 0:
            return index
        index = entry(net, index).newer
    return net.neighbour_oldest


@compiled
def create(net: Net, interface: int, hi: int, lo: int, now: int) -> int:
    """A new entry, in no state yet; 0 when the table has no place at all (counted)."""
    t = net.neighbours
    if t.live + 1 >= t.capacity and net.neighbour_oldest != 0:
        t.exhausted += 1
        release(net, _victim(net))
    index = table.allot(t)
    if index == 0:
        net.drops[Drop.NEIGHBOUR_TABLE] += 1
        return 0
    n = entry(net, index)
    n.hi = hi
    n.lo = lo
    n.interface = interface
    n.used = now
    n.deadline = timers.NEVER
    n.factor = MIN_RANDOM_FACTOR + below(net.rng, MAX_RANDOM_FACTOR - MIN_RANDOM_FACTOR + 1)
    p = bucket(net, interface, hi, lo)
    n.chain = load32(p)
    store32(p, index)
    _append(net, index)
    return index


@compiled
def touch(net: Net, index: int, now: int) -> None:
    """A neighbour is used."""
    entry(net, index).used = now
    if net.neighbour_newest != index:
        _unlink(net, index)
        _append(net, index)
