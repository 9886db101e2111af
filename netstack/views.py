"""What a stack shows of itself: connections, routes, counters, dropped packets.  Reads the records; changes nothing."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import names
from .datagram import Sock
from .endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, Endpoint, Kind
from .errors import Drop
from .ip.cache import Neighbour
from .ip.cache import State as Known
from .ip.net import Net
from .machine import addressof, at
from .machine.record import REGISTRY
from .tcp.tcb import State, Tcb, listening

READABLE = POLLIN | POLLERR | POLLHUP       # as select(2) counts
WRITABLE = POLLOUT | POLLERR
_NAMES = {Kind.UDP: "udp", Kind.PING: "ping", Kind.RAW: "raw", Kind.PACKET: "packet"}


@dataclass(frozen=True)
class Route:
    """One route."""

    network: str
    gateway: str | None         # None: on the link
    interface: str
    metric: int
    source: str | None


@dataclass(frozen=True)
class Connection:
    """One socket, or one connection without one."""

    protocol: str               # "tcp", "udp", "ping"
    state: str                  # TCP's, with RFC 9293's names; "" otherwise
    local: tuple[str, int]
    remote: tuple[str, int] | None
    recv_queue: int             # bytes not yet read (a listener: connections not yet accepted)
    send_queue: int             # bytes not yet acknowledged (a listener: its backlog)
    handle: int = field(default=0, repr=False, compare=False)      # what the engine knows it by (handles.py)


def matches(a: tuple[int, int], b: tuple[int, int], prefix: int) -> bool:
    """Whether the first `prefix` bits agree."""
    x = ((a[0] ^ b[0]) & 0xFFFF_FFFF_FFFF_FFFF) << 64 | ((a[1] ^ b[1]) & 0xFFFF_FFFF_FFFF_FFFF)
    return x >> (128 - prefix) == 0


def routes(net: Net, interfaces: dict[int, str]) -> list[Route]:
    """Every route, most specific first."""
    found = []
    for i in range(net.route_count):
        r = net.routes[i]
        v4 = r.hi == 0 and r.lo >> 32 == 0xFFFF
        gateway = None if r.gateway_hi == 0 and r.gateway_lo == 0 else names.text(r.gateway_hi, r.gateway_lo)
        source = None if r.source_hi == 0 and r.source_lo == 0 else names.text(r.source_hi, r.source_lo)
        found.append(Route(f"{names.text(r.hi, r.lo)}/{r.prefix - 96 if v4 else r.prefix}", gateway,
                           interfaces.get(r.interface, str(r.interface)), r.metric, source))
    return found


def neighbours(net: Net, interface: int) -> dict[str, str]:
    """The addresses in the neighbour table of an interface, with their states."""
    table = net.neighbours
    base = addressof(table) + table.data
    every = (at(Neighbour, base + index * table.stride) for index in range(1, table.used + 1))
    return {names.text(n.hi, n.lo): Known(n.state).name.lower() for n in every
            if n.state != Known.NONE and n.interface == interface}


def drops(net: Net) -> dict[str, int]:
    """Counts of dropped packets by reason."""
    return {reason.name: net.drops[reason] for reason in Drop if reason and net.drops[reason]}


def counters(record: Any) -> dict[str, int]:
    """Every record named `counters`, wherever it stands in the world, with its owner's name before each counter."""
    found: dict[str, int] = {}
    for name, part in record._layout_.items():
        if part.kind in REGISTRY.values() and not part.count:
            inner = getattr(record, name)
            if "counters" in inner._layout_:
                found.update({f"{name}.{c}": getattr(inner.counters, c) for c in inner.counters._layout_})
    return found


def connections(world: Any) -> list[Connection]:
    """Every endpoint in use."""
    found = [_tcp(t) for t in _entries(world.tcp.tcbs, Tcb) if t.ep.local_port]     # as ss: not those without a name
    found += [_datagram(s) for s in _entries(world.datagrams.socks, Sock) if s.ep.kind != Kind.SELECTOR]
    return found


def _entries(table: Any, kind: Any) -> list[Any]:
    base = addressof(table) + table.data
    every = (at(kind, base + index * table.stride) for index in range(1, table.used + 1))
    return [entry for entry in every if entry.ep.generation]


def _tcp(t: Any) -> Connection:
    queue = listening(t) if t.state == State.LISTEN else None
    return Connection("tcp", State(t.state).name.replace("_", "-"), *_names(t.ep),
                      queue.accept_count if queue else t.rcv.tail - t.rcv.head,
                      queue.backlog if queue else t.snd.tail - t.snd.head, _handle(t.ep))


def _datagram(s: Any) -> Connection:
    return Connection(_NAMES[Kind(s.ep.kind)], "", *_names(s.ep), s.rcv.tail - s.rcv.head, 0, _handle(s.ep))


def _handle(ep: Endpoint) -> int:
    return ep.kind << 56 | ep.generation << 32 | ep.index       # endpoint.handle, which is not compiled for this


def _names(ep: Endpoint) -> tuple[tuple[str, int], tuple[str, int] | None]:
    six = ep.family == names.AF_INET6
    local = (names.text6(ep.local_hi, ep.local_lo) if six else names.text4(ep.local_lo)), ep.local_port
    if not ep.remote_port:
        return local, None
    return local, ((names.text6 if six else lambda _, lo: names.text4(lo))(ep.remote_hi, ep.remote_lo), ep.remote_port)
