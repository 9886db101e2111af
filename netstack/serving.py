"""Servers and connections on asyncio, on a stack and without `patch`: `stack.start_server`, `stack.open_connection`.

asyncio's own streams and protocols, with what servers ask for besides: a limit
of connections, an end for idle ones, keep-alive.  The event loop is unmodified.
"""
from __future__ import annotations

import asyncio
import contextlib
import socket as real
import struct
from collections.abc import Awaitable, Callable, Iterable
from ssl import SSLContext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sockobject import socket as Socket
    from .stack import Stack

RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with a reset
WAIT, REFUSE = "wait", "reset"          # what becomes of connections past the limit

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
KeepAlive = bool | tuple[int, int, int] | None


def set_keepalive(sock: Socket, keepalive: KeepAlive) -> None:
    """True, or (seconds of silence before the first probe, between probes, probes without an answer): SO_KEEPALIVE."""
    if not keepalive:
        return
    sock.setsockopt(real.SOL_SOCKET, real.SO_KEEPALIVE, 1)
    if not isinstance(keepalive, bool):
        for option, value in zip((real.TCP_KEEPIDLE, real.TCP_KEEPINTVL, real.TCP_KEEPCNT), keepalive, strict=True):
            sock.setsockopt(real.IPPROTO_TCP, option, value)


class Server:
    """What `stack.start_server` returns; used as asyncio's Server: `async with`, `close`, `wait_closed`, `sockets`."""

    def __init__(self, listeners: Iterable[Socket], factory: Callable[[], Any], max_connections: int | None,
                 when_full: str, idle_timeout: float | None, keepalive: KeepAlive, tls: dict[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = list(listeners)
        self._factory = factory
        self._most = max_connections
        self._when_full = when_full
        self._idle = idle_timeout
        self._keepalive = keepalive
        self._tls = tls
        self._transports: set[asyncio.Transport] = set()
        self._opening: set[asyncio.Task[asyncio.Transport]] = set()
        self._serving: asyncio.Future[None] | None = None       # done when it serves no more
        self._waits = False         # full: those who come stay with the listeners
        self._fewer = asyncio.Event()
        self.connections = 0        # open now
        self.refused = 0            # reset because there were too many
        self.idled = 0              # ended because they were idle

    @property
    def sockets(self) -> tuple[Socket, ...]:
        """The listening sockets; none once closed."""
        return tuple(self._listeners)

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return self._serving is not None

    async def start_serving(self) -> None:
        """Begin, if `start_server` was told not to."""
        if self._serving is None:
            self._serving = self._loop.create_future()
            self._listen()

    async def serve_forever(self) -> None:
        """Until it is closed or this task is cancelled.  Raises OSError if the listener fails: the stack is closed."""
        await self.start_serving()
        assert self._serving is not None
        try:
            await self._serving
        finally:
            self.close()

    def close(self) -> None:
        """Accept no more; connections that are open go on."""
        self._end(None)

    def _end(self, error: OSError | None) -> None:
        serving, self._serving = self._serving, None
        listeners, self._listeners = self._listeners, []
        for sock in listeners:
            self._loop.remove_reader(sock)
            sock.close()
        if serving is None or serving.done():
            return
        if error is None:
            serving.cancel()
        else:
            serving.set_exception(error)
            serving.exception()     # nobody need be waiting for it

    def close_clients(self) -> None:
        """Close the connections, too, once what was written is sent; one that is not open yet, at once."""
        for task in self._opening:
            task.cancel()
        for transport in list(self._transports):
            transport.close()

    async def wait_closed(self) -> None:
        """Until no connection is open any more."""
        while self.connections:
            self._fewer.clear()
            await self._fewer.wait()

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.close()
        self.close_clients()
        await self.wait_closed()

    def _is_full(self) -> bool:
        return self._most is not None and self.connections >= self._most

    def _listen(self) -> None:
        """Accept whoever comes; not while there are too many, if they are to wait."""
        self._waits = self._when_full == WAIT and self._is_full()
        for sock in self._listeners:
            if self._waits:
                self._loop.remove_reader(sock)
            else:
                self._loop.add_reader(sock, self._accept, sock)

    def _accept(self, listener: Socket) -> None:
        """Take one connection.  Nothing is awaited between accept() and `_open`, which sees to its end."""
        try:
            conn, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):       # it has gone already
            return
        except OSError as error:
            self._end(error)
            return
        if self._is_full():
            self.refused += 1
            conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, RESET)
            conn.close()
            return
        self.connections += 1
        self._open(conn)
        if self._when_full == WAIT and self._is_full():
            self._listen()

    def _open(self, conn: Socket) -> None:
        """Give a connection a protocol.  It is counted until that has lost it, or it could not be given."""
        made: list[asyncio.Transport] = []
        lost = False

        def on_lost() -> None:
            nonlocal lost
            if not lost:
                lost = True
                self._transports.difference_update(made)
                self.connections -= 1
                self._fewer.set()
                if self._waits and self._serving is not None:
                    self._listen()

        def make() -> Any:
            protocol = self._factory()
            _call_after(protocol, "connection_lost", on_lost)
            return protocol

        async def connect() -> asyncio.Transport:
            set_keepalive(conn, self._keepalive)
            conn.setblocking(False)
            return (await self._loop.connect_accepted_socket(make, conn, **self._tls))[0]   # type: ignore[arg-type]

        def opened(task: asyncio.Task[asyncio.Transport]) -> None:
            self._opening.discard(task)
            error = None if task.cancelled() else task.exception()
            if task.cancelled() or error is not None:   # perhaps before it had begun
                conn.close()
                on_lost()
                if error is not None and not isinstance(error, OSError):    # a failed handshake is the client's affair
                    self._loop.call_exception_handler({"message": "a connection could not be opened",
                                                       "exception": error, "task": task})
            elif not lost:
                made.append(task.result())
                self._transports.add(task.result())
                if self._idle is not None:
                    self._look(task.result(), conn, self._idle)

        task = self._loop.create_task(connect())
        self._opening.add(task)
        task.add_done_callback(opened)

    def _look(self, transport: asyncio.Transport, conn: Socket, idle: float) -> None:
        """Has anything come or gone lately?  The stack knows (TCP_INFO)."""
        if transport not in self._transports:
            return
        try:
            info = conn.info()
        except OSError:
            return
        quiet = min(info["last_data_recv"], info["last_data_sent"]) / 1000
        if quiet >= idle:
            self.idled += 1
            transport.abort()
            return
        self._loop.call_later(idle - quiet, self._look, transport, conn, idle)


def _call_after(protocol: Any, name: str, then: Callable[[], None]) -> None:
    method = getattr(protocol, name)

    def both(*arguments: Any) -> None:
        try:
            method(*arguments)
        finally:
            then()

    setattr(protocol, name, both)


async def start_server(stack: Stack, handler: Handler | None, host: str | None, port: int, *,
                       protocol: Callable[[], Any] | None = None, max_connections: int | None = None,
                       when_full: str = WAIT, idle_timeout: float | None = None, keepalive: KeepAlive = None,
                       ssl: SSLContext | None = None, ssl_handshake_timeout: float | None = None,
                       backlog: int = 100, reuse_port: bool = False, limit: int = 1 << 16,
                       start_serving: bool = True) -> Server:
    """See `Stack.start_server`."""
    if (handler is None) == (protocol is None):
        raise TypeError("start_server takes a handler of streams, or protocol=, a factory of protocols")
    if when_full not in (WAIT, REFUSE):
        raise ValueError(f"when_full is {WAIT!r} or {REFUSE!r}, not {when_full!r}")
    loop = asyncio.get_running_loop()

    def streams() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit, loop), handler, loop)

    with contextlib.ExitStack() as until_made:
        listeners = []
        if host is None:
            made = stack.create_server(("::", port), family=real.AF_INET6, backlog=backlog, reuse_port=reuse_port,
                                       dualstack_ipv6=True)
            listeners.append(until_made.enter_context(made))
        else:
            for family, address in await _addresses(stack, host, port):
                made = stack.create_server(address, family=family, backlog=backlog, reuse_port=reuse_port)
                listeners.append(until_made.enter_context(made))
        for sock in listeners:
            sock.setblocking(False)
        tls: dict[str, Any] = {} if ssl is None else {"ssl": ssl, "ssl_handshake_timeout": ssl_handshake_timeout}
        server = Server(listeners, protocol or streams, max_connections, when_full, idle_timeout, keepalive, tls)
        until_made.pop_all()
    if start_serving:
        await server.start_serving()
    return server


async def _addresses(stack: Stack, host: str, port: int) -> list[tuple[int, Any]]:
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(None, stack.getaddrinfo, host, port, 0, real.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


async def open_connection(stack: Stack, host: str, port: int, *, timeout: float | None = None,
                          keepalive: KeepAlive = None, ssl: SSLContext | bool | None = None,
                          server_hostname: str | None = None, limit: int = 1 << 16
                          ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """See `Stack.open_connection`."""
    async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        errors: list[OSError] = []
        for family, address in await _addresses(stack, host, port):
            sock = stack.socket(family)
            try:
                sock.setblocking(False)
                set_keepalive(sock, keepalive)
                await loop.sock_connect(sock, address)      # type: ignore[arg-type]
                tls: dict[str, Any] = {"ssl": ssl, "server_hostname": server_hostname or host} if ssl else {}
                return await asyncio.open_connection(sock=sock, limit=limit, **tls)
            except OSError as error:
                sock.close()
                errors.append(error)
            except BaseException:
                sock.close()
                raise
        raise errors[0]

    return await asyncio.wait_for(connect(), timeout)
