"""Selectors: which of many endpoints are ready, without a look at each (epoll(7), level-triggered).

A selector is an entry of the datagram table with a list of the endpoints that are
worth a look: one joins when its readiness may have changed, and leaves when a look
finds it not ready.  So a look costs what is ready, whatever the number watched,
and a thread waits for a selector as for any endpoint: it drives the engine.
"""
from __future__ import annotations

from . import datagram
from .datagram import Sock
from .endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, Endpoint, Kind, handle
from .machine import at, compiled, store64, table
from .tcp import calls, tcb
from .world import World

READ, WRITE = 1, 2              # values of selectors.EVENT_READ, EVENT_WRITE
FAILED = POLLERR | POLLHUP
DATAGRAM = 1 << 31              # in a reference: the datagram table's, not the connections'
STEP = 16                       # bytes of an answer: handle, events


@compiled
def _reference(ep: Endpoint) -> int:
    """How the list names an endpoint."""
    return ep.index if ep.kind == Kind.TCP else ep.index | DATAGRAM


@compiled
def _endpoint(w: World, reference: int) -> Endpoint:
    if reference & DATAGRAM:
        return at(Endpoint, table.address(w.datagrams.socks, reference & ~DATAGRAM))
    return at(Endpoint, table.address(w.tcp.tcbs, reference))


@compiled
def _list(w: World, s: Sock, ep: Endpoint) -> None:
    """To the end of the selector's list."""
    me = _reference(ep)
    ep.ready = 1
    ep.ready_next = 0
    ep.ready_prev = s.ready_tail
    if s.ready_tail != 0:
        _endpoint(w, s.ready_tail).ready_next = me
    else:
        s.ready_head = me
    s.ready_tail = me


@compiled
def _unlist(w: World, s: Sock, ep: Endpoint) -> None:
    if ep.ready_prev != 0:
        _endpoint(w, ep.ready_prev).ready_next = ep.ready_next
    else:
        s.ready_head = ep.ready_next
    if ep.ready_next != 0:
        _endpoint(w, ep.ready_next).ready_prev = ep.ready_prev
    else:
        s.ready_tail = ep.ready_prev
    ep.ready = 0


@compiled
def watch(w: World, s: Sock, ep: Endpoint, events: int) -> None:
    """The selector tells of `events` (READ, WRITE) of an endpoint from now on."""
    ep.watcher = s.ep.index
    ep.interest = events
    on_change(w, ep)


@compiled
def unwatch(w: World, ep: Endpoint) -> None:
    """... and no longer.  Nothing to do for one that nobody watches."""
    if ep.watcher == 0:
        return
    if ep.ready:
        _unlist(w, datagram.get(w.datagrams, ep.watcher), ep)
    ep.watcher = 0


@compiled
def on_change(w: World, ep: Endpoint) -> None:
    """Readiness may have changed: the selector is to look, and who waits for it wakes."""
    if ep.watcher != 0 and ep.ready == 0:
        s = datagram.get(w.datagrams, ep.watcher)
        _list(w, s, ep)
        datagram.notify(w.datagrams, s)


@compiled
def _events(w: World, ep: Endpoint) -> int:
    """READ | WRITE: what would not block, to be told an error among it (as selectors.EpollSelector has it)."""
    if ep.kind == Kind.TCP:
        bits = calls.poll(w.tcp, tcb.get(w.tcp, ep.index))
    else:
        bits = datagram.poll(datagram.get(w.datagrams, ep.index))
    return (READ if bits & (POLLIN | FAILED) else 0) | (WRITE if bits & (POLLOUT | FAILED) else 0)


@compiled
def harvest(w: World, s: Sock, out: int, room: int) -> int:
    """Write who is ready to `out`, two i64 each: handle and events; how many, `room` at most.

    Each endpoint is looked at once: one that is ready goes to the end of the list, so that all have their turn.
    """
    count = 0
    last = s.ready_tail
    while s.ready_head != 0 and count < room:
        here = s.ready_head
        ep = _endpoint(w, here)
        _unlist(w, s, ep)
        events = _events(w, ep) & ep.interest
        if events != 0:
            _list(w, s, ep)
            store64(out + STEP * count, handle(ep))
            store64(out + STEP * count + 8, events)
            count += 1
        if here == last:
            break
    return count


@compiled
def close(w: World, s: Sock) -> None:
    """Let go of what is in the list; who else was watched, the caller has unwatched."""
    while s.ready_head != 0:
        unwatch(w, _endpoint(w, s.ready_head))


