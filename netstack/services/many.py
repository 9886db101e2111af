"""Any number of connections, served by one thread with a selector."""
from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections import deque
from typing import Any

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


class Many:
    """One thread, one selector, any number of connections."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._arrivals: deque[Shared] = deque()
        self._bell, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="small servers: many", daemon=True)
        self._thread.start()

    def add(self, shared: Shared) -> None:
        self._arrivals.append(shared)
        self._wake()

    def close(self) -> None:
        self._closing = True
        self._wake()
        self._thread.join()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):      # a full pipe wakes it too
            os.write(self._ring, b"!")

    def _run(self) -> None:
        buffer = memoryview(bytearray(BUFFER))
        select = self._selector.select
        while not self._closing:
            for key, ready in select():
                if key.data is None:
                    self._welcome()
                else:
                    self._turn(key.data, buffer, ready)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.conn.close()
        self._selector.close()
        os.close(self._bell)
        os.close(self._ring)

    def _welcome(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, 4096)
        while self._arrivals:
            shared = self._arrivals.popleft()
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
