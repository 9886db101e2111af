"""That a transfer brought what was sent: right behind the timed part, on the same connection or to the same stack.

A figure whose content is wrong is no figure: these raise MeasurementError.  None of it is timed.
"""
from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import time
from collections.abc import Iterator

from netstack.services.small import pattern

BLOCK = 1 << 17             # bytes of a send
MOST = 16 << 20             # bytes that are checked at most
LONGEST = 0.5               # seconds in which they are sent or come at most
PATIENCE = 30.0             # seconds that anything may take
PERIOD = pattern(95)        # RFC 864's text; it begins again behind it


class MeasurementError(Exception):
    """It could not be measured; says why."""


def taken(sock: socket.socket) -> int:
    """The service has read all of the connection's text, to its end: then, and only then, it closes.  0."""
    sock.settimeout(PATIENCE)
    try:
        sock.shutdown(socket.SHUT_WR)
        if sock.recv(1) == b"":
            return 0
    except OSError as error:
        raise MeasurementError(f"the end was not taken: {error}") from None
    raise MeasurementError("discard says something")


def generated(sock: socket.socket, total: int, seconds: float) -> int:
    """After `total` bytes the text goes on where it must: none was lost, doubled or moved.  How many were compared."""
    text = PERIOD * (MOST // len(PERIOD) // 8 + 2)
    buffer = memoryview(bytearray(BLOCK))
    until = time.monotonic() + min(LONGEST, seconds)
    checked = 0
    sock.settimeout(PATIENCE)
    while checked < MOST and time.monotonic() < until:
        n = sock.recv_into(buffer)
        at = (total + checked) % len(PERIOD)
        if n == 0 or buffer[:n] != memoryview(text)[at:at + n]:
            raise MeasurementError(f"chargen's text is wrong after {total + checked:,} bytes")
        checked += n
    return checked


def _blocks() -> Iterator[bytes]:
    """An endless text, no block of it like another."""
    rest = hashlib.shake_256(b"echo").digest(BLOCK - 8)
    number = 0
    while True:
        yield number.to_bytes(8, "big") + rest
        number += 1


def echoed(sock: socket.socket, seconds: float) -> int:
    """Large blocks go into an echo connection as fast as it takes them, and come back.  How many were compared."""
    with sock:
        there, back, sent, came = hashlib.blake2b(), hashlib.blake2b(), 0, 0
        source, waiting = _blocks(), memoryview(b"")
        until = time.monotonic() + min(LONGEST, seconds)
        buffer = memoryview(bytearray(2 * BLOCK))
        ending = False
        sock.setblocking(False)
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLOUT)
        while True:
            if not poll.poll(PATIENCE * 1000):
                raise MeasurementError(f"echo has stopped: {came:,} of {sent:,} bytes are back")
            if not ending:
                with contextlib.suppress(BlockingIOError):
                    if not waiting:
                        waiting = memoryview(next(source))
                        there.update(waiting)
                    n = sock.send(waiting)
                    sent += n
                    waiting = waiting[n:]
                if not waiting and (sent >= MOST or time.monotonic() >= until):
                    ending = True
                    sock.shutdown(socket.SHUT_WR)
                    poll.modify(sock, select.POLLIN)
            try:
                n = sock.recv_into(buffer)
            except BlockingIOError:
                continue
            except OSError as error:
                raise MeasurementError(f"echo: {error}") from None
            if n == 0:
                break
            back.update(buffer[:n])
            came += n
        if came != sent or there.digest() != back.digest():
            raise MeasurementError(f"echo: {came:,} of {sent:,} bytes came back, and their hash is "
                                   f"{'right' if there.digest() == back.digest() else 'wrong'}")
    return came
