"""A pool of connections: those that were given back are used again, if they are still good.

    with ConnectionPool(stack, size=10, idle=60) as pool:
        with pool.connection(("10.0.0.1", 6379)) as sock:
            ...             # closed if the block ends with an exception, else kept

Good is what is established, has nothing unread (nobody asked for it, so it
belongs to no answer) and was not idle for too long.  Whoever waits for a
connection to be made holds up nobody else.
"""
from __future__ import annotations

import contextlib
import socket as real
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .sockdata import Transfer
from .tcp.tcb import State

if TYPE_CHECKING:
    from .sockobject import socket as Socket
    from .stack import Stack

ESTABLISHED = 1         # tcp_info's number
assert State.ESTABLISHED


def is_alive(sock: Socket) -> bool:
    """Whether the connection is good for another request: established, and nothing has come that nobody asked for.

    For TLS what has come may be a ticket or another record of TLS itself, so there only the end counts.
    """
    from .tls import SSLSocket

    try:
        if sock.info()["state"] != ESTABLISHED:
            return False
        came = Transfer.recv(sock, 1, real.MSG_PEEK | real.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return bool(came) and isinstance(sock, SSLSocket) and not sock.pending()


class ConnectionPool:
    """Connections to any number of servers, `size` at most to each; `get` waits when they are all in use.

    `idle`: seconds after which one that was not used is closed.  `connect`: a function that makes one to an address,
    instead of stack.create_connection (for TLS: `lambda a: stack.secure_connect(a, ca=...)`).
    """

    def __init__(self, stack: Stack, *, size: int = 10, idle: float = 60.0,
                 connect: Callable[[Any], Socket] | None = None) -> None:
        if size < 1:
            raise ValueError("a pool has room for one connection at least")
        self._connect = connect or stack.create_connection
        self._size = size
        self._idle = idle
        self._changed = threading.Condition()
        self._free: dict[Any, list[tuple[float, Socket]]] = {}      # (when it was given back, socket), oldest first
        self._used: dict[Any, int] = {}                             # in use, or being made
        self._closed = False

    def get(self, address: Any, timeout: float | None = None) -> Socket:
        """A connection to the address; TimeoutError if all are in use for so many seconds.  `put` gives it back."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._used.get(address, 0) < self._size, timeout):
                raise TimeoutError(f"all {self._size} connections to {address!r} are in use")
            if self._closed:
                raise ValueError("the pool is closed")
            self._used[address] = self._used.get(address, 0) + 1
        try:
            while (sock := self._take(address)) is not None:
                if is_alive(sock):
                    return sock
                sock.close()
            return self._connect(address)
        except BaseException:
            self._leave(address)
            raise

    def _take(self, address: Any) -> Socket | None:
        """The one that was used last: the others may grow old."""
        now = time.monotonic()
        with self._changed:
            free = self._free.get(address, [])
            old = [sock for since, sock in free if now - since >= self._idle]
            del free[:len(old)]
            found = free.pop()[1] if free else None
        for sock in old:
            sock.close()
        return found

    def put(self, address: Any, sock: Socket) -> None:
        """Give it back; one that was closed, or is not to be used again (close it before), is forgotten."""
        with self._changed:
            keep = not self._closed and sock._handle != 0
            if keep:
                self._free.setdefault(address, []).append((time.monotonic(), sock))
        if not keep:
            sock.close()
        self._leave(address)

    def _leave(self, address: Any) -> None:
        with self._changed:
            self._used[address] -= 1
            if not self._used[address]:
                del self._used[address]
            self._changed.notify_all()

    @contextlib.contextmanager
    def connection(self, address: Any, timeout: float | None = None) -> Iterator[Socket]:
        """`get`, and `put` at the end of the block; after an exception it is closed."""
        sock = self.get(address, timeout)
        try:
            yield sock
        except BaseException:
            sock.close()
            raise
        finally:
            self.put(address, sock)

    @property
    def free(self) -> int:
        """Connections that nobody uses now."""
        with self._changed:
            return sum(map(len, self._free.values()))

    @property
    def used(self) -> int:
        """Connections in use."""
        with self._changed:
            return sum(self._used.values())

    def close(self) -> None:
        """Close those that nobody uses, and the others when they are given back.  `get` is a ValueError then."""
        with self._changed:
            self._closed = True
            free = [sock for sockets in self._free.values() for _, sock in sockets]
            self._free.clear()
            self._changed.notify_all()
        for sock in free:
            sock.close()

    def __enter__(self) -> ConnectionPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
