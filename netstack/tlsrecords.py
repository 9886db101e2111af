"""TLS records between a socket of a stack and OpenSSL, which knows only memory (ssl.MemoryBIO).

OpenSSL reads from a system's socket a record at a time, so what is behind the
record stays with the socket: select tells of it, and after `unwrap` it is plain
text.  Here it is the same: never more is taken than the record that has begun
(its header, 5 bytes, says how long it is; RFC 8446 5.1).

One thread may read while another writes.  `lock` is held for what OpenSSL
computes, never while a thread waits; `reading` and `sending` keep the bytes of
either direction in order.
"""
from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from . import entry
from .buffers import BYTES, new_bytes
from .endpoint import POLLIN, POLLOUT
from .sockdata import Transfer

T = TypeVar("T")

HEADER = 5              # bytes of a record's header; the last two are the length of what follows
KINDS = range(20, 25)   # of records (RFC 8446 5.1, RFC 6520)
MAJOR = 3               # version of every record: 3.1, 3.3
LONGEST = (1 << 14) + 2048      # bytes behind the header (RFC 5246 6.2.3)
RECORD = 1 << 14        # bytes of text in a record
PIECE = 1 << 16         # bytes of text that are encrypted together: four records
NS = 1_000_000_000

_recv = entry.recv
_send = entry.send


class Records:
    """Both directions of a TLS connection over one socket."""

    __slots__ = ("_dry", "_header", "_missing", "_sent", "_unsent", "incoming", "lock", "outgoing", "owed", "reading",
                 "sending", "turns")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.lock = threading.Lock()
        self.reading = threading.Lock()
        self.sending = threading.Lock()
        self.turns = 0          # how often something came in
        self.owed = 0           # bytes of text that are encrypted, but a call has said WANT_WRITE, or timed out
        self._dry = False       # OpenSSL has nothing that a read could give, and would only say WANT_READ
        self._header = b""      # of the record that comes in
        self._missing = 0       # bytes of its body
        self._unsent = b""      # records on their way out
        self._sent = 0          # bytes of them that are gone

    def run(self, sock: Transfer, what: str, call: Callable[..., T], *arguments: Any, deadline: int = 0) -> T:
        """What OpenSSL says to `call`, with bytes moved in and out for it.  The socket's timeout is for all of it.

        Raises what `call` raises; SSLWantReadError, SSLWantWriteError if the socket does not block; TimeoutError.
        """
        while True:
            turns = self.turns
            try:
                with self.lock:
                    result = call(*arguments)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                self._dry = False
                self._say_why(sock)
                raise
            else:
                if self.outgoing.pending or self._unsent:
                    try:
                        self.flush(sock, what, deadline)
                    except (ssl.SSLWantWriteError, TimeoutError):
                        if what == "write":
                            self.owed = cast(int, result)
                        raise
                return result
            if self.outgoing.pending or self._unsent:
                deadline = self.flush(sock, what, deadline)
            deadline = self._fill(sock, what, deadline, turns)

    def read(self, sock: Transfer, sslobj: Any, n: int, *buffer: Any) -> Any:
        """`sslobj.read(n, *buffer)`, there being room for something."""
        deadline = 0
        if self._dry:
            turns = self.turns
            if self.outgoing.pending or self._unsent:
                deadline = self.flush(sock, "read")
            deadline = self._fill(sock, "read", deadline, turns)
        return self.run(sock, "read", self._read, sslobj, n, *buffer, deadline=deadline)

    def _read(self, sslobj: Any, n: int, *buffer: Any) -> Any:
        """... under the lock."""
        result = sslobj.read(n, *buffer)
        self._dry = bool(result) and not self.incoming.pending and not sslobj.pending()
        return result

    def _say_why(self, sock: Transfer) -> None:
        """An alert for the peer, if it can be sent at once."""
        with suppress(OSError):
            self._flush(sock, 0, False)

    def flush(self, sock: Transfer, what: str, deadline: int = 0) -> int:
        """Send all that is ready to be: the deadline for the next wait.  SSLWantWriteError if it cannot be now."""
        wait = sock._patience != 0
        try:
            done, deadline = self._flush(sock, deadline, wait)
        except TimeoutError as error:
            raise _timed_out(error, what) from None
        if not done and what != "read":         # who reads may go on; the rest goes with the next call
            raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")
        return deadline

    def _flush(self, sock: Transfer, deadline: int, wait: bool) -> tuple[bool, int]:
        while self._unsent or self.outgoing.pending:
            if not self.sending.acquire(wait):
                return False, deadline          # another thread sends, and looks again when it is done
            try:
                while True:
                    if not self._unsent:
                        if not self.outgoing.pending:
                            break
                        with self.lock:
                            self._unsent = self.outgoing.read()
                    data, start = self._unsent, self._sent
                    sent = _send(sock._world, sock._handle, id(data) + BYTES + start, len(data) - start, 0)
                    if sent >= 0:
                        if start + sent < len(data):
                            self._sent += sent
                        else:
                            self._unsent, self._sent = b"", 0
                        continue
                    try:
                        deadline = sock._await(sent, POLLOUT, deadline)
                    except BlockingIOError:
                        return False, deadline
            finally:
                self.sending.release()
        return True, deadline

    def _fill(self, sock: Transfer, what: str, deadline: int, turns: int) -> int:
        """Wait for more of a record, and take what is there of it: the deadline for the next wait."""
        patience = sock._patience
        if not self.reading.acquire(patience != 0, -1 if patience <= 0 else min(patience / NS, threading.TIMEOUT_MAX)):
            raise _want_read() if patience == 0 else TimeoutError(f"The {what} operation timed out")
        try:
            if self.turns != turns:             # another thread has read meanwhile
                return deadline
            while True:
                try:
                    data, deadline = self._take(sock, self._missing or HEADER - len(self._header), deadline)
                except BlockingIOError:
                    raise _want_read() from None
                except TimeoutError as error:
                    raise _timed_out(error, what) from None
                self.turns += 1
                if self._put(data):
                    return deadline
        finally:
            self.reading.release()

    def _take(self, sock: Transfer, n: int, deadline: int) -> tuple[bytes, int]:
        data = new_bytes(n)
        if deadline == 0:
            deadline = sock._until()
        while (got := _recv(sock._world, sock._handle, id(data) + BYTES, n, 0, deadline)) < 0:
            deadline = sock._await(got, POLLIN, deadline)
        return data if got == n else data[:got], deadline

    def _put(self, data: bytes) -> bool:
        """Hand it to OpenSSL: whether it can do something with it (a whole record, or the end)."""
        with self.lock:
            self._dry = False
            if not data:
                self.incoming.write_eof()
                return True
            self.incoming.write(data)
        if self._missing:
            self._missing -= len(data)
            return self._missing == 0
        self._header += data
        if len(self._header) < HEADER:
            return True                         # it may be no TLS at all, which OpenSSL finds out early
        kind, version, self._missing = self._header[0], self._header[1], int.from_bytes(self._header[3:], "big")
        self._header = b""
        if kind not in KINDS or version != MAJOR or self._missing > LONGEST:
            return True                         # it is none: OpenSSL says so
        return self._missing == 0

    def write(self, sock: Transfer, call: Callable[[Any], int], data: Any) -> int:
        """Encrypt and send: how many bytes; all of them if the socket blocks."""
        if data.__class__ is bytes and 0 < len(data) <= RECORD and not self.owed and sock._patience < 0:
            return self.run(sock, "write", call, data)
        with memoryview(data) as given, given.cast("B") as view:
            total = self.owed
            if total:                           # this is the same text once more (SSL_write(3))
                if len(view) < total:
                    raise ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: BAD_WRITE_RETRY] bad write retry")
                self.flush(sock, "write")
                self.owed = 0
            elif sock._patience == 0:
                self.flush(sock, "write")       # what waits goes first
            deadline = time.monotonic_ns() + sock._patience if sock._patience > 0 else 0
            while total < len(view) or not view:
                with view[total:total + PIECE] as piece:
                    try:
                        total += self.run(sock, "write", call, piece)
                    except (ssl.SSLWantWriteError, TimeoutError):
                        self.owed += total
                        raise
                if sock._patience == 0 or not view:
                    break
                if deadline and time.monotonic_ns() >= deadline and total < len(view):
                    self.owed = total
                    raise TimeoutError("The write operation timed out")
            return total


def _want_read() -> ssl.SSLWantReadError:
    return ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")


def _timed_out(error: TimeoutError, what: str) -> TimeoutError:
    """The socket's own timeout says which operation it was; ETIMEDOUT of the network stays as it is."""
    return error if error.errno is not None else TimeoutError(f"The {what} operation timed out")
