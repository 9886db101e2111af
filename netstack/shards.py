"""Shards: several worlds, one host.  Each has an engine of its own; they share interfaces, by flow.

    with netstack.Shards(2) as shards:
        shards.attach(Tap.queues("tap0", 2), ip="10.0.0.2/24")
        with shards.create_server(("", 7)) as server:
            conn, peer = server.accept()

A world is a Stack (`shards.stacks`), with its tables, timers, thread and lock,
so that two run on two CPUs.  A connection lives in one of them, and each frame
finds its world (`drivers/steer.py`).  docs/multi-queue.md says who gets what.
"""
from __future__ import annotations

import errno
import itertools
import os
import secrets
import select
import socket as real
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from . import dialing, names, views
from .clock import VirtualClock
from .drivers import Driver
from .drivers.sharded import Owners, Sharded
from .interface import Interface
from .links import DHCP
from .stack import Stack
from .world import Profile

if TYPE_CHECKING:
    from .sockobject import socket as Socket

PORT_RANGE = "net.ipv4.ip_local_port_range"
FASTOPEN_KEY = "net.ipv4.tcp_fastopen_key"
SHARED_PART = 16        # 1/16 of that range is for listeners that may have any port
SLICE = 0.1             # s: so long a sleep does not see that the server was closed
# A new address is probed and announced by the first world only.
SILENT = {"net.ipv6.conf.all.dad_transmits": 0, "netstack.arp_probes": 0, "netstack.arp_announcements": 0}


class Shards:
    """`count` stacks that are one host to everybody else."""

    def __init__(self, count: int, clock: VirtualClock | None = None, *, profile: Profile | None = None,
                 settings: Mapping[str, Any] | None = None, name: str | None = None) -> None:
        """`profile`, `settings`: of each of the worlds, but that each has its share of ip_local_port_range.

        ValueError: a count below 1 or above 16, or a port range that is too small.
        """
        self.clock = clock
        self._owners = Owners(count, secrets.randbits(62) if clock is None else clock.seed() >> 2)
        self._turn = itertools.count()
        self._life = ExitStack()
        with ExitStack() as life:
            self.stacks: tuple[Stack, ...] = tuple(
                life.enter_context(Stack(clock, profile=profile, settings=settings, name=f"{name or 'shard'}/{i}"))
                for i in range(count))
            self._share_ports()
            for stack in self.stacks[1:]:
                # A client that comes with another port may find another world.
                stack.settings[FASTOPEN_KEY] = self.stacks[0].settings[FASTOPEN_KEY]
                for setting, value in SILENT.items():
                    stack.settings[setting] = value
            self._life = life.pop_all()

    def _share_ports(self) -> None:
        """A part of the local ports for each world, and one for listeners of all."""
        first, last = self.stacks[0].settings[PORT_RANGE]
        shared = max((last - first + 1) // SHARED_PART, 1)
        each = (last - first + 1 - shared) // len(self.stacks)
        if each < 1:
            raise ValueError(f"{PORT_RANGE} {first} {last} is too small for {len(self.stacks)} worlds")
        for i, stack in enumerate(self.stacks):
            start = first + i * each
            stack.settings[PORT_RANGE] = start, start + each - 1
            for port in range(start, start + each):
                for udp in (False, True):
                    self._owners.give(port, i, udp=udp)
        self._shared_ports = range(first + len(self.stacks) * each, last + 1)

    def __repr__(self) -> str:
        return f"<netstack.Shards of {', '.join(map(repr, self.stacks))}>"

    # Life

    def close(self) -> None:
        """Close every world.  Twice does no harm."""
        self._life.close()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def advance(self, seconds: float | None = None, *, until: float | None = None) -> None:
        """See Stack.advance: the worlds have one clock."""
        self.stacks[0].advance(seconds, until=until)

    # Interfaces

    def attach(self, drivers: Sequence[Driver], ip: str | Iterable[str] | None = None,
               ip6: str | Iterable[str] | None = None, *, dad: bool = True, **settings: Any) -> tuple[Interface, ...]:
        """Add one interface; `drivers`: a queue of it for each world (`Tap.queues`), all with one MAC address.

        The rest as for `Stack.attach`.  Returns each world's Interface.  Only the first world probes and announces
        addresses; the others use them at once.
        """
        if len(drivers) != len(self.stacks):
            raise ValueError(f"{len(drivers)} queues for {len(self.stacks)} worlds")
        if len({driver.mac for driver in drivers}) != 1:
            raise ValueError("the queues of an interface have one MAC address")
        if ip == DHCP:
            raise ValueError("DHCP is for one Stack: the address of an interface of several worlds is configured")
        ip = ip if ip is None or isinstance(ip, str) else list(ip)
        ip6 = ip6 if ip6 is None or isinstance(ip6, str) else list(ip6)
        made: list[Interface] = []
        try:
            for stack, driver in zip(self.stacks, Sharded.share(drivers, self._owners), strict=True):
                made.append(stack.attach(driver, ip, ip6, dad=dad, **settings))
        except BaseException:
            for interface in made:
                interface.detach()
            raise
        return tuple(made)

    def add_route(self, network: str, **settings: Any) -> None:
        """In each world; see Stack.add_route."""
        for stack in self.stacks:
            stack.add_route(network, **settings)

    # Sockets

    def _next(self) -> int:
        return next(self._turn) % len(self.stacks)

    def create_server(self, address: Any, *, family: int = real.AF_INET, backlog: int | None = None,
                      reuse_port: bool = False, dualstack_ipv6: bool = False) -> ShardServer:
        """A TCP listener in each world; a client's address and port say which one has its connection.

        On a port out of ip_local_port_range it is the one world's that draws this port for outgoing connections.
        Port 0: a free one that all share.
        """
        host, port, *rest = address
        ports: Iterable[int] = (int(port),) if port else self._shared_ports
        for candidate in ports:
            only = self._owners.of_port(candidate, udp=False)
            with ExitStack() as life:
                try:
                    listeners = tuple(
                        life.enter_context(stack.create_server(
                            (host, candidate, *rest), family=family, backlog=backlog, reuse_port=reuse_port,
                            dualstack_ipv6=dualstack_ipv6))
                        for stack in (self.stacks if only is None else self.stacks[only:only + 1]))
                except OSError as error:
                    if error.errno == errno.EADDRINUSE and not port:
                        continue
                    raise
                server = ShardServer(listeners, self.clock)
                life.pop_all()
                return server
        raise OSError(errno.EADDRINUSE, "no port is free for a listener of all worlds")

    def create_connection(self, address: tuple[Any, Any], timeout: Any = dialing.DEFAULT_TIMEOUT,
                          source_address: Any = None, *, all_errors: bool = False) -> Socket:
        """A TCP connection, in one world after the other; see `socket.create_connection`.

        With a port in `source_address` it is in the world that this flow belongs to, and only the first address of
        the host is tried.
        """
        world = self._next()
        if source_address and source_address[1]:
            found = self.stacks[0].getaddrinfo(*address, 0, real.SOCK_STREAM)[0][4]
            address = found[:2]
            hi, lo = names.parse_host(found[0].partition("%")[0])
            world = self._owners.of_flow(source_address[1], hi, lo, found[1])
        return self.stacks[world].create_connection(address, timeout, source_address, all_errors=all_errors)

    def udp_socket(self, address: Any = ("", 0), *, family: int = real.AF_INET) -> Socket:
        """A UDP socket bound to an address, in one world: the port is that world's from now on, for good."""
        port = int(address[1])
        owner = self._owners.of_port(port, udp=True) if port else None
        world = self._next() if owner is None else owner
        sock = self.stacks[world].socket(family, real.SOCK_DGRAM)
        try:
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
        self._owners.give(sock.getsockname()[1], world, udp=True)
        return sock

    # What happened

    def stats(self) -> dict[str, int]:
        """Every counter, the sum over the worlds; of a shared interface also what was handed on ("tap0.handed_on")."""
        found: Counter[str] = Counter()
        for stack in self.stacks:
            found.update(stack.stats())
            for interface in stack.interfaces:
                if isinstance(interface.driver, Sharded):
                    found.update({f"{interface.name}.{name}": n for name, n in interface.driver.counters.items()})
        return dict(found)

    def drops(self) -> dict[str, int]:
        """See Stack.drops; the sum over the worlds.  What all worlds got most of them drop."""
        found: Counter[str] = Counter()
        for stack in self.stacks:
            found.update(stack.drops())
        return dict(found)

    def connections(self) -> list[views.Connection]:
        """Every socket of every world."""
        return [c for stack in self.stacks for c in stack.connections()]


class ShardServer:
    """A TCP listener in each world (or the one that has the port).

    `accept` takes from any.  A thread for each of `listeners`, which are ordinary sockets, is quicker: it drives its
    world itself.
    """

    def __init__(self, listeners: tuple[Socket, ...], clock: VirtualClock | None = None) -> None:
        self.listeners = listeners
        self._clock = clock
        self._looks = tuple(listener.dup() for listener in listeners)       # the same ones, which do not wait
        for look in self._looks:
            look.settimeout(0)
        self._timeout = listeners[0].gettimeout()
        self._first = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<netstack.ShardServer {'closed' if self._closed else self.getsockname()}>"

    def accept(self) -> tuple[Socket, Any]:
        """The next connection of any world: (a socket for it, the peer's address)."""
        deadline = None if self._timeout is None else self._now() + self._timeout
        while True:
            found = self._take()
            if found is not None:
                return found
            if self._timeout == 0:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = None if deadline is None else deadline - self._now()
            if left is not None and left <= 0:
                raise TimeoutError("timed out")
            self._wait(left)

    def _now(self) -> float:
        return time.monotonic() if self._clock is None else self._clock.now / 1e9

    def _take(self) -> tuple[Socket, Any] | None:
        count = len(self._looks)
        for i in range(count):
            at = (self._first + i) % count
            try:
                found = self._looks[at].accept()
            except BlockingIOError:
                continue
            self._first = at + 1                # the others first, the next time
            return found
        return None

    def _wait(self, timeout: float | None) -> None:
        """Until one of the listeners may have a connection; a while at most."""
        if self._clock is not None:
            self.listeners[0]._stack.select(self._looks, (), (), timeout)
            return
        poll = select.poll()
        for look in self._looks:
            fd = look.fileno()
            if fd < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            poll.register(fd, select.POLLIN)
        poll.poll(1000 * (SLICE if timeout is None else min(timeout, SLICE)))

    def settimeout(self, timeout: float | None) -> None:
        """How long `accept` waits, in seconds; 0: not at all; None: for ever."""
        for listener in self.listeners:
            listener.settimeout(timeout)
        self._timeout = timeout

    def getsockname(self) -> Any:
        """Our address."""
        return self.listeners[0].getsockname()

    def set_handler(self, function: Any, /, *, text: bytes = b"") -> None:
        """See `socket.set_handler`: in each world."""
        for listener in self.listeners:
            listener.set_handler(function, text=text)

    def close(self) -> None:
        """Close the listeners; an `accept` of another thread ends with EBADF.  Twice does no harm."""
        self._closed = True
        for sock in (*self._looks, *self.listeners):
            sock.close()

    def __enter__(self) -> ShardServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
