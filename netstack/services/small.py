"""The small servers: echo, discard, daytime and chargen, over TCP and UDP.

RFC 862 (Echo), RFC 863 (Discard), RFC 867 (Daytime), RFC 864 (Character Generator).

Ordinary Python over sockets: `net` is a `netstack.Stack` or the standard
library's `socket` module, which have the same names.

A few threads per TCP service each accept a connection and serve it themselves,
blocking.  A thread that finds itself the last one accepting gives its connection
to the one thread that serves any number with a selector, and goes on accepting;
so thousands of connections need no thousands of threads, and none ever waits for
another to end.  On a stack of ours that thread has the whole of echo to itself:
the stack's own selector costs no system call, and no other thread is woken.
Datagrams are taken and answered in batches there.
"""
from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from .many import BUFFER, Many, Shared, Socket

ECHO, DISCARD, DAYTIME, CHARGEN = 7, 9, 13, 19
WORKERS = 4                 # threads per TCP service that serve by blocking
BACKLOG = 4096              # connections that may wait to be accepted
PIECE = 8192                # bytes that one of many connections gets echoed in its turn
DATAGRAM = 65535            # largest datagram
BATCH = 64                  # datagrams in one call
LINE = 72                   # characters per chargen line (RFC 864)
LOOPING = frozenset((ECHO, DAYTIME, CHARGEN))     # a datagram from one of these ports would be answered for ever


def pattern(lines: int) -> bytes:
    """The first lines of RFC 864's popular pattern: 72 of the 95 printing characters, each line one further."""
    ring = bytes(range(0x20, 0x7F)) * 2
    return b"".join(ring[i % 95:i % 95 + LINE] + b"\r\n" for i in range(lines))


PATTERN = pattern(95 * 64)  # whole periods: sent again and again it is one endless text


def daytime() -> bytes:
    """The time as RFC 867 suggests: Weekday, Month Day, Year Time-Zone."""
    return time.strftime("%A, %B %d, %Y %H:%M:%S-%Z\r\n").encode()


# -- one connection, blocking

def _echo(conn: Socket, buffer: memoryview) -> None:
    while n := conn.recv_into(buffer):
        conn.sendall(buffer[:n])


def _discard(conn: Socket, buffer: memoryview) -> None:
    while conn.recv_into(buffer):
        pass


def _daytime(conn: Socket, buffer: memoryview) -> None:
    conn.sendall(daytime())


def _chargen(conn: Socket, buffer: memoryview) -> None:
    text = memoryview(PATTERN)
    while True:
        conn.sendall(text)
        try:
            if not conn.recv_into(buffer, 0, socket.MSG_DONTWAIT):      # what is received is thrown away
                return
        except BlockingIOError:
            pass


# -- one connection of many, from the selector's thread

class _SharedEcho(Shared):
    _pending: memoryview = memoryview(b"")

    def turn(self, buffer: memoryview, ready: int) -> bool:
        if self._pending:
            self._pending = self._pending[self._send(self._pending):]
        else:
            data = self.conn.recv(PIECE)
            if not data:
                return False
            sent = self._send(data)
            if sent == len(data):
                return True
            self._pending = memoryview(data)[sent:]
        self.events = selectors.EVENT_WRITE if self._pending else selectors.EVENT_READ
        return True

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return int(self.conn.send(data))
        except BlockingIOError:
            return 0


class _SharedDiscard(Shared):
    def turn(self, buffer: memoryview, ready: int) -> bool:
        return bool(self.conn.recv_into(buffer))


class _SharedChargen(Shared):
    events = selectors.EVENT_READ | selectors.EVENT_WRITE
    _at = 0

    def turn(self, buffer: memoryview, ready: int) -> bool:
        if ready & selectors.EVENT_WRITE:
            self._at = (self._at + int(self.conn.send(memoryview(PATTERN)[self._at:]))) % len(PATTERN)
        return not ready & selectors.EVENT_READ or bool(self.conn.recv_into(buffer))


class _Acceptors:
    """The threads of one TCP service."""

    def __init__(self, listener: Socket, serve: Callable[[Socket, memoryview], None],
                 share: Callable[[Socket], None] | None, workers: int, name: str) -> None:
        self._listener = listener
        self._serve = serve
        self._share = share
        self._accepting = workers
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, name=f"{name} {i}", daemon=True) for i in range(workers)]

    def _run(self) -> None:
        buffer = memoryview(bytearray(BUFFER))
        while True:
            try:
                conn, _ = self._listener.accept()
            except ConnectionAbortedError:
                continue
            except OSError:             # the listener was closed
                return
            if self._share is not None and not self._leave():
                self._share(conn)
                continue
            with conn, contextlib.suppress(OSError):
                self._serve(conn, buffer)
            self._return()

    def _leave(self) -> bool:
        """Stop accepting for a while; refused to the last one."""
        with self._lock:
            if self._accepting == 1:
                return False
            self._accepting -= 1
            return True

    def _return(self) -> None:
        if self._share is not None:
            with self._lock:
                self._accepting += 1


# -- datagrams

def _echo_batches(sock: Socket, closing: threading.Event) -> None:
    """Echo on a socket of our own, many datagrams at a time, until it is closed."""
    from ..messages import Messages

    batch = Messages(BATCH, DATAGRAM)
    while not closing.is_set():
        with contextlib.suppress(OSError):      # an error that came back, or closed, and the loop ends
            while sock.recvmmsg(batch):
                ports = batch.ports()
                if not LOOPING.isdisjoint(ports):
                    for i in reversed(range(len(ports))):
                        if ports[i] in LOOPING:
                            batch.remove(i)
                while batch:
                    try:
                        sent = sock.sendmmsg(batch)
                    except OSError:             # no way back to this peer
                        sent = 1
                    batch.remove(0, sent)


def _udp_answer(datagram: memoryview) -> bytes | memoryview:
    return datagram


def _udp_daytime(datagram: memoryview) -> bytes | memoryview:
    return daytime()


def _udp_chargen(datagram: memoryview) -> bytes | memoryview:
    start = time.monotonic_ns() % 95 * (LINE + 2)
    return PATTERN[start:start + time.monotonic_ns() % 513]     # a random number of characters, 0 to 512


def _datagrams(sock: Socket, answer: Callable[[memoryview], bytes | memoryview] | None,
               closing: threading.Event) -> None:
    """Serve one UDP socket until it is closed."""
    buffer = memoryview(bytearray(DATAGRAM))
    while not closing.is_set():
        with contextlib.suppress(OSError):      # no way back to this peer; or closed, and the loop ends
            while True:
                n, peer = sock.recvfrom_into(buffer)
                if answer is not None and peer[1] not in LOOPING:
                    sock.sendto(answer(buffer[:n]), peer)


class SmallServers:
    """All of them, on every address of `net`; started by the constructor, ended by `close` (or `with`)."""

    def __init__(self, net: Any, *, workers: int = WORKERS) -> None:
        self._sockets: list[Socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._many = Many(net)
        add = self._many.add
        try:
            self._tcp(net, ECHO, "echo", _echo, lambda c: add(_SharedEcho(c)), workers)
            self._tcp(net, DISCARD, "discard", _discard, lambda c: add(_SharedDiscard(c)), workers)
            self._tcp(net, DAYTIME, "daytime", _daytime, None, 1)
            self._tcp(net, CHARGEN, "chargen", _chargen, lambda c: add(_SharedChargen(c)), workers)
            for family in (socket.AF_INET, socket.AF_INET6):
                self._udp(net, family, ECHO, "echo", _udp_answer)
                self._udp(net, family, DISCARD, "discard", None)
                self._udp(net, family, DAYTIME, "daytime", _udp_daytime)
                self._udp(net, family, CHARGEN, "chargen", _udp_chargen)
        except BaseException:
            self.close()
            raise
        for thread in self._threads:
            thread.start()

    def _tcp(self, net: Any, port: int, name: str, serve: Callable[[Socket, memoryview], None],
             share: Callable[[Socket], None] | None, workers: int) -> None:
        listener = net.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        self._sockets.append(listener)
        if self._many.native and port == ECHO:
            self._many.listen(listener, _SharedEcho)
            return
        self._threads += _Acceptors(listener, serve, share, workers, f"{name} tcp").threads

    def _udp(self, net: Any, family: int, port: int, name: str,
             answer: Callable[[memoryview], bytes | memoryview] | None) -> None:
        sock = net.socket(family, socket.SOCK_DGRAM)
        self._sockets.append(sock)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("", port))
        batches = self._many.native and answer is _udp_answer
        self._threads.append(threading.Thread(
            target=_echo_batches if batches else _datagrams,
            args=(sock, self._closing) if batches else (sock, answer, self._closing), name=f"{name} udp", daemon=True))

    def close(self) -> None:
        """Close the listeners and every connection that the selector serves."""
        self._closing.set()
        self._many.close()
        for sock in self._sockets:
            sock.close()

    def __enter__(self) -> SmallServers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
