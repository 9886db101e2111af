"""Echo, discard and chargen as handlers, which run inside the engine; a responder; a load generator.

RFC 862 (Echo), RFC 863 (Discard), RFC 864 (Character Generator).

`netstack serve --handlers` has them in place of `small.py`'s threads; what a
handler is says docs/handlers.md.
"""
from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from ..handlers import Event, Exchange, close, compiled, consume, find, mix64, send_back, send_datagram, send_text

if TYPE_CHECKING:
    from ..stack import Stack

ECHO, DISCARD, DAYTIME, CHARGEN = 7, 9, 13, 19
BACKLOG = 4096              # half-open connections, before SYN cookies
NEWLINE = 10
LINE = 74                   # bytes of a line of RFC 864's pattern
PERIOD = 95                 # lines, then it begins again
OUTSTANDING = 64            # datagrams that `ping` has under way
PATTERN = b"".join(bytes(0x20 + (i + j) % 95 for j in range(72)) + b"\r\n" for i in range(PERIOD)) * 8


@compiled
def loops(port: int) -> bool:
    """Whether a datagram from this port would be answered for ever: another host's echo, daytime, chargen."""
    return port == ECHO or port == DAYTIME or port == CHARGEN


@compiled
def echo(x: Exchange) -> None:
    """What comes goes back.  What there is no room for is not consumed, and comes again when there is."""
    if not x.datagrams:
        consume(x, send_back(x, 0, x.length))
    elif x.event == Event.DATAGRAM and not loops(x.peer_port):
        send_back(x, 0, x.length)
        send_datagram(x)                        # an empty one, too


@compiled
def discard(x: Exchange) -> None:
    """What comes is thrown away."""
    consume(x, x.length)


@compiled
def chargen(x: Exchange) -> None:
    """The text, again and again, until the peer ends; a datagram is answered by some of it."""
    consume(x, x.length)
    if x.datagrams:
        if x.event == Event.DATAGRAM and not loops(x.peer_port):
            chance = mix64(x.now, x.peer_port)
            send_text(x, chance % PERIOD * LINE, (chance >> 20) % 513)      # RFC 864: 0 to 512 characters
            send_datagram(x)
    elif x.event == Event.ENDED:
        close(x)
    else:
        n = 1
        while n > 0:                            # the last one is not taken: so it is called when there is room
            n = send_text(x, x.a, x.text_length - x.a)
            x.a += n
            if x.a == x.text_length:
                x.a = 0


@compiled
def respond(x: Exchange) -> None:
    """Each line that comes is answered by the text.  x.a: how much of an answer is sent; x.b: one is under way."""
    done = 0
    while True:
        if x.b == 0:
            at = find(x, NEWLINE, done)
            if at < 0:
                return
            consume(x, at + 1 - done)
            done = at + 1
            x.b = 1
        x.a += send_text(x, x.a, x.text_length - x.a)
        if x.a < x.text_length:
            return                              # no room: it is called again
        x.a = 0
        x.b = 0


@compiled
def ping(x: Exchange) -> None:
    """Load, over a connection: send the text, wait until as much has come back, again; x.c: how often.

    x.a: bytes of the text that are sent; x.b: bytes that are still to come back.
    """
    x.b -= consume(x, x.length)
    if x.a == x.text_length and x.b <= 0:
        x.a = 0
        x.c += 1 if x.event == Event.DATA else 0
    if x.a == 0:
        x.b = x.text_length
    x.a += send_text(x, x.a, x.text_length - x.a)


@compiled
def ping_datagrams(x: Exchange) -> None:
    """Load, over a connected UDP socket: send the text 64 times, and once more for each datagram that comes back."""
    n = 0
    if x.event == Event.OPENED:
        n = OUTSTANDING
    elif x.event == Event.DATAGRAM:
        n = 1
    for _ in range(n):
        send_text(x, 0, x.text_length)
        send_datagram(x)


class Servers:
    """Echo, discard and chargen over TCP and UDP, on every address of a stack; ended by `close` (or `with`)."""

    def __init__(self, stack: Stack) -> None:
        self._sockets: list[Any] = []
        try:
            for port, handler, text in ((ECHO, echo, b""), (DISCARD, discard, b""), (CHARGEN, chargen, PATTERN)):
                self._serve(stack, port, handler, text)
        except BaseException:
            self.close()
            raise

    def _serve(self, stack: Stack, port: int, handler: Any, text: bytes) -> None:
        server = stack.socket(socket.AF_INET6, socket.SOCK_STREAM)
        self._sockets.append(server)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("", port))
        server.set_handler(handler, text=text)
        server.listen(BACKLOG)
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = stack.socket(family, socket.SOCK_DGRAM)
            self._sockets.append(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", port))
            sock.set_handler(handler, text=text)

    def close(self) -> None:
        """Close the listeners with their connections, and the UDP sockets."""
        for sock in self._sockets:
            sock.close()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
