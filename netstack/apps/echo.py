"""Echo, server and client: the first program on a stack.

RFC 862 (Echo Protocol).  The server is asyncio, a task for each connection and one
protocol for all datagrams; the client is blocking sockets.  (`netstack serve` has a
server that is made for many connections: services/small.py.)
"""
from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..serving import Server
    from ..stack import Stack

PORT = 7
PIECE = 64 << 10        # bytes
DATAGRAM = 65_507       # the largest text of one, bytes


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: what comes goes back, until the other end is done."""
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):     # some of what has come, never "a message"; b"" is the end
            writer.write(data)
            await writer.drain()                    # who does not read is not buffered for
    writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """Every datagram goes back to where it came from."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """One has come."""
        if addr[1] != PORT:                         # two echo servers would go on for ever
            self._transport.sendto(data, addr)


@contextlib.asynccontextmanager
async def serving(stack: Stack, port: int = PORT, **settings: Any) -> AsyncIterator[Server]:
    """TCP and UDP, both families, on the port; `settings` are those of `stack.start_server`."""
    with stack.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=sock)    # type: ignore[arg-type]
        try:
            async with await stack.start_server(echo, None, port, **settings) as server:
                yield server
        finally:
            transport.close()


def ask(stack: Stack, host: str, port: int = PORT, *, count: int = 4, size: int = 64, udp: bool = False,
        timeout: float = 5.0) -> Iterator[int]:
    """Send bytes and read them back, so many times; yields the ns that each time has taken.

    OSError: TimeoutError if they do not come, ConnectionError if others come or the server hangs up.
    """
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    family, *_, address = stack.getaddrinfo(host, port, 0, kind)[0]
    with stack.socket(family, kind) as sock:
        sock.settimeout(timeout)
        sock.connect(address)
        for _ in range(count):
            data = os.urandom(size)
            began = stack._now()
            sock.sendall(data)
            if (sock.recv(DATAGRAM) if udp else _exactly(sock, size)) != data:
                raise ConnectionError(f"{host} is no echo server")
            yield stack._now() - began


def _exactly(sock: Any, size: int) -> bytes:
    """So many bytes of a stream, in however many pieces they come; fewer if it ends."""
    data = bytearray()
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return bytes(data)
