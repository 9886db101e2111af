"""A TCP load balancer: each connection goes to the backend that has the fewest, if it is well.

Least connections, with backends in turn among equals.  A backend that fails so
often in a row, a check or a client's connection, gets no more connections until
its checks succeed again; the client is given to the next one.

    async with Balancer(stack, [("10.0.0.11", 80), ("10.0.0.12", 80)]) as balancer:
        server = await balancer.serve(None, 80)
"""
from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..serving import RESET

if TYPE_CHECKING:
    from ..serving import Server
    from ..stack import Stack

PIECE = 64 << 10            # bytes
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False)
class Backend:
    """One of the servers behind."""

    host: str
    port: int
    connections: int = 0        # open now
    served: int = 0             # ... and in all
    is_well: bool = True
    in_a_row: int = 0           # results that speak against `is_well`
    last: int = 0               # number of the connection that it got last

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The simplest health check: that it accepts connections is enough.  Another one raises OSError if it is not."""


class Balancer:
    """Backends, the checks of their health, and the choice among them.  Times in seconds."""

    def __init__(self, stack: Stack, backends: Iterable[tuple[str, int]], *, every: float = 2.0, timeout: float = 1.0,
                 fall: int = 2, rise: int = 2,
                 check: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = greets) -> None:
        self.backends = [Backend(*address) for address in backends]
        self.refused = 0            # clients for whom there was no backend
        self._stack = stack
        self._every, self._timeout = every, timeout
        self._fall, self._rise = fall, rise
        self._check = check
        self._count = itertools.count(1)
        self._watching: list[asyncio.Task[None]] = []
        self._servers: list[Server] = []

    async def __aenter__(self) -> Balancer:
        self._watching = [asyncio.create_task(self._watch(backend)) for backend in self.backends]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        for server in self._servers:
            await server.__aexit__()

    async def serve(self, host: str | None, port: int, **settings: Any) -> Server:
        """Accept clients at an address; `settings` are those of `stack.start_server`."""
        server = await self._stack.start_server(self._client, host, port, **settings)
        self._servers.append(server)
        return server

    def choose(self, but: Iterable[Backend] = ()) -> Backend | None:
        """The one that is well and has the fewest connections; of equals the one that has waited longest."""
        able = [b for b in self.backends if b.is_well and b not in but]
        return min(able, key=lambda b: (b.connections, b.last), default=None)

    def report(self, backend: Backend, good: bool) -> None:
        """A check, or a client's connection, has succeeded or failed."""
        backend.in_a_row = 0 if good == backend.is_well else backend.in_a_row + 1
        if backend.in_a_row >= (self._fall if backend.is_well else self._rise):
            backend.is_well, backend.in_a_row = not backend.is_well, 0

    async def _watch(self, backend: Backend) -> None:
        while True:
            good = False
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.wait_for(self._look(backend), self._timeout)
                good = True
            self.report(backend, good)
            await asyncio.sleep(self._every)

    async def _look(self, backend: Backend) -> None:
        reader, writer = await self._stack.open_connection(backend.host, backend.port)
        try:
            await self._check(reader, writer)
        finally:
            writer.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from the choice of its backend to the end of both directions."""
        tried: list[Backend] = []
        while (backend := self.choose(tried)) is not None:
            tried.append(backend)
            backend.last = next(self._count)
            backend.connections += 1                # before it is open: others choose meanwhile
            try:
                try:
                    there = await self._stack.open_connection(backend.host, backend.port, timeout=self._timeout)
                except (OSError, TimeoutError):
                    self.report(backend, good=False)
                    continue
                backend.served += 1
                await join((reader, writer), there)
                return
            finally:
                backend.connections -= 1
        self.refused += 1
        reset(writer)                               # no backend, no answer


async def join(a: Streams, b: Streams) -> None:
    """Two connections as one: each direction ends by itself (a half-close goes through), an error ends both."""
    try:
        await asyncio.gather(_copy(a[0], b[1]), _copy(b[0], a[1]))
    except OSError:
        for _, writer in (a, b):
            reset(writer)
    finally:
        for _, writer in (a, b):
            writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset: its peer shall not take what it has for all there is."""
    with contextlib.suppress(OSError):              # it has gone
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()                        # who reads slowly is not buffered for
    writer.write_eof()
