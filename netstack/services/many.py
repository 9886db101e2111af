"""Any number of connections, served by one thread with a selector."""
from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

ACCEPTS = 64                # connections that a listener takes in one turn at most
BUFFER = 1 << 18            # bytes that one receive takes at most

Socket = Any                # socket.socket, or netstack's


class Shared:
    """A connection that the selector serves.  `turn` is called when it is ready for what `events` says."""

    events = selectors.EVENT_READ

    def __init__(self, conn: Socket) -> None:
        self.conn = conn
        conn.setblocking(False)

    def turn(self, buffer: memoryview, ready: int) -> bool:
        """Do what can be done without waiting.  False: close."""
        raise AssertionError("a service says what its turn does")


class Listening(Shared):
    """A listener that the selector serves: what it accepts, too."""

    def __init__(self, listener: Socket, add: Callable[[Shared], None], make: Callable[[Socket], Shared]) -> None:
        super().__init__(listener)
        self._add = add
        self._make = make

    def turn(self, buffer: memoryview, ready: int) -> bool:
        """Many at once, if they are there: one in each turn would wait for all who are ready besides."""
        for _ in range(ACCEPTS):
            try:
                conn, _ = self.conn.accept()
            except ConnectionAbortedError:
                continue
            self._add(self._make(conn))
        return True


class Many:
    """One thread, one selector, any number of connections.

    On a stack of ours the selector is the stack's own, and the thread in it runs the engine.
    """

    def __init__(self, net: Any) -> None:
        self.native = hasattr(net, "selector")
        self._selector: Any = net.selector() if self.native else selectors.DefaultSelector()
        self._arrivals: deque[Shared] = deque()
        self._bell = self._ring = -1
        if not self.native:
            self._bell, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._selector.register(self._bell, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="small servers: many", daemon=True)
        self._thread.start()

    def add(self, shared: Shared) -> None:
        """Serve a connection from now on.  From any thread."""
        self._arrivals.append(shared)
        self._wake()

    def listen(self, listener: Socket, make: Callable[[Socket], Shared]) -> None:
        """Serve a listener, and each connection that it accepts as `make` says."""
        self.add(Listening(listener, self._watch, make))

    def close(self) -> None:
        """End, and close what is served.  Listeners stay open."""
        self._closing = True
        self._wake()
        self._thread.join()
        served = [key.data for key in self._selector.get_map().values() if key.data is not None]
        for shared in (*served, *self._arrivals):
            if not isinstance(shared, Listening):
                shared.conn.close()
        self._arrivals.clear()
        self._selector.close()
        if not self.native:
            os.close(self._bell)
            os.close(self._ring)
            self._bell = self._ring = -1

    def _wake(self) -> None:
        with contextlib.suppress(OSError):      # a full pipe wakes it too; or the stack was closed, or this is
            if self.native:
                self._selector.wakeup()
            else:
                os.write(self._ring, b"!")

    def _run(self) -> None:
        buffer = memoryview(bytearray(BUFFER))
        select = self._selector.select
        with contextlib.suppress(OSError):      # the stack was closed
            while not self._closing:
                for key, ready in select():
                    if key.data is not None:
                        self._turn(key.data, buffer, ready)
                if self._arrivals:
                    self._welcome()

    def _welcome(self) -> None:
        if not self.native:
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, 4096)
        while self._arrivals:
            self._watch(self._arrivals.popleft())

    def _watch(self, shared: Shared) -> None:
        with contextlib.suppress(ValueError):           # closed by another thread meanwhile
            self._selector.register(shared.conn, shared.events, shared)

    def _turn(self, shared: Shared, buffer: memoryview, ready: int) -> None:
        events = shared.events
        try:
            stays = shared.turn(buffer, ready)
        except BlockingIOError:
            return
        except OSError:                 # reset by the peer, or timed out: its end either way
            stays = False
        if not stays:
            self._selector.unregister(shared.conn)
            shared.conn.close()
        elif shared.events != events:
            self._selector.modify(shared.conn, shared.events, shared)
