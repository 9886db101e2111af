"""Handles: from the integer that Python keeps to the record it stands for."""
from __future__ import annotations

from . import datagram
from .datagram import Sock
from .endpoint import PENDING, Endpoint, Kind
from .machine import addressof, at, compare_exchange, compiled, table
from .tcp import calls, tcb
from .tcp.tcb import Tcb
from .world import World

INDEX = 0xFFFF_FFFF
GENERATION = 0xFF_FFFF


@compiled
def index_of(h: int) -> int:
    """The index in a handle."""
    return h & INDEX


@compiled
def is_tcp(h: int) -> bool:
    """Whether a handle is of a TCP endpoint."""
    return h >> 56 == Kind.TCP


@compiled
def endpoint_of(w: World, h: int) -> Endpoint:
    """The endpoint of a handle; one that no handle fits when the handle makes no sense (entry 0 is never used)."""
    kind = h >> 56
    index = h & INDEX
    if kind == Kind.TCP:
        if index > w.tcp.tcbs.used:
            index = 0
        return at(Endpoint, table.address(w.tcp.tcbs, index))
    if index > w.datagrams.socks.used or kind <= 0:
        index = 0
    return at(Endpoint, table.address(w.datagrams.socks, index))


@compiled
def is_open(ep: Endpoint, h: int) -> bool:
    """Whether the handle still stands for this endpoint, and the application has not closed it."""
    return ep.generation == (h >> 32) & GENERATION and ep.generation != 0 and ep.closed == 0 and ep.kind == h >> 56


@compiled
def connection(w: World, index: int) -> Tcb:
    """The connection with an index."""
    return tcb.get(w.tcp, index)


@compiled
def socket(w: World, index: int) -> Sock:
    """The datagram socket with an index."""
    return datagram.get(w.datagrams, index)


@compiled
def poll(w: World, h: int) -> int:
    """Readiness, values of poll(2)."""
    if is_tcp(h):
        return calls.poll(w.tcp, connection(w, h & INDEX))
    return datagram.poll(socket(w, h & INDEX))


@compiled
def claim_note(ep: Endpoint) -> bool:
    """Whether this thread is to leave the note (one for each connection at a time)."""
    return compare_exchange(addressof(ep) + PENDING, 0, 1) == 0
