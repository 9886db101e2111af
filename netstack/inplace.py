"""Views: an application's hands in the socket's own buffers.  What `recv_view` and `send_view` return.

A view is lent: the engine keeps the memory where it is until the block is left, and
refuses other reads (writes) of that socket.  What is left of it then would show
text of somebody else.  So the memoryview is released at the end of the block, and
parts of it that the application has cut off and keeps are an error.

All memoryviews of one text or room have one exporter, a ctypes array that only they
and the view know: it goes with the last of them, and so tells when there is none.
"""
from __future__ import annotations

import ctypes
import weakref
from contextlib import suppress
from errno import EINPROGRESS, ESHUTDOWN
from operator import index as to_int
from typing import TYPE_CHECKING, Any

from . import entry
from .buffers import BYTES
from .endpoint import POLLIN, POLLOUT
from .tcp.space import LARGEST_RING

if TYPE_CHECKING:
    from .sockdata import Transfer

_begin_read = entry.begin_read
_begin_write = entry.begin_write


class _Memory(ctypes.Array):        # type: ignore[type-arg]
    """The memory from an address on, as far as a ring may reach."""

    _type_ = ctypes.c_ubyte
    _length_ = LARGEST_RING

    world: Any                      # keeps the stack's memory mapped


class _View:
    """Lend, keep, give back.  The object can be used for one block after the other."""

    __slots__ = ("_done", "_flags", "_handle", "_length", "_limit", "_memory", "_sock", "_view")

    def __init__(self, sock: Transfer, limit: int, flags: int = 0) -> None:
        self._sock = sock
        self._limit = limit
        self._flags = flags
        self._handle = 0            # of the socket, while something is lent
        self._length = 0
        self._done = -1             # what the application has said
        self._memory: _Memory | None = None
        self._view: memoryview | None = None

    def _lend(self, address: int, length: int) -> memoryview:
        sock = self._sock
        self._handle = sock._handle
        self._memory = _Memory.from_address(address)
        self._memory.world = sock._stack._memory
        return memoryview(self._memory).cast("B")[:length]

    def _hold(self, view: memoryview) -> memoryview:
        """This is what the block gets."""
        self._view = view
        self._length = len(view)
        self._done = -1
        return view

    def _say(self, count: int) -> None:
        if self._view is None:
            raise ValueError("there is no open view")
        count = to_int(count)
        if not 0 <= count <= self._length:
            raise ValueError(f"{count} bytes of a view of {self._length}")
        self._done = count

    def _release(self, exception: BaseException | None) -> bool:
        """End the memoryview.  Whether nothing is left of it; otherwise the ring is given back when nothing is.

        Raises BufferError for what is left, unless an exception is on its way already, whose traceback may have it.
        """
        view, self._view = self._view, None
        if view is not None:
            with suppress(BufferError):
                view.release()
            del view
        memory, self._memory = self._memory, None
        if memory is None:
            return True
        left = weakref.ref(memory)
        del memory
        memory = left()
        if memory is None:
            return True
        handle, self._handle = self._handle, 0
        weakref.finalize(memory, self._give_back, self._sock, handle, self._least(),
                         self._flags).atexit = False
        del memory
        if exception is None:
            raise BufferError("a part of the view is still in use: release what was cut off it before the block ends")
        return False

    def _end(self, count: int) -> int:
        handle, self._handle = self._handle, 0
        return self._give_back(self._sock, handle, count, self._flags) if handle else 0

    def _least(self) -> int:
        """What counts as done if the block does not end well."""
        raise NotImplementedError

    @staticmethod
    def _give_back(sock: Transfer, handle: int, count: int, flags: int) -> int:
        raise NotImplementedError

    def __del__(self) -> None:
        if self._handle:                # the block was never left
            with suppress(BufferError):
                if self._release(None):
                    self._end(self._least())


class RecvView(_View):
    """`with` gives a read-only memoryview of the text that waits to be read: see `socket.recv_view`."""

    __slots__ = ()

    def consume(self, count: int, /) -> None:
        """Only the first `count` bytes are read; the others wait for the next read.  The last word counts.

        Raises ValueError outside of the block, and when there are not so many.
        """
        self._say(count)

    def __enter__(self) -> memoryview:
        sock = self._sock
        out = bytes(8)
        got = _begin_read(sock._world, sock._handle, self._limit, id(out) + BYTES)
        deadline = 0
        while got < 0:
            deadline = sock._await(got, POLLIN, deadline)
            got = _begin_read(sock._world, sock._handle, self._limit, id(out) + BYTES)
        if got == 0:
            return self._hold(memoryview(b""))
        return self._hold(self._lend(int.from_bytes(out, "little"), got).toreadonly())

    def __exit__(self, kind: object, exception: BaseException | None, trace: object) -> None:
        if self._release(exception):
            self._end(self._length if exception is None and self._done < 0 else self._least())

    def _least(self) -> int:
        return max(self._done, 0)

    @staticmethod
    def _give_back(sock: Transfer, handle: int, count: int, flags: int) -> int:
        return 0 if sock._stack.closed else entry.end_read(sock._world, handle, count)


class SendView(_View):
    """`with` gives a writable memoryview of room for text to be sent: see `socket.send_view`."""

    __slots__ = ()

    def commit(self, count: int, /) -> None:
        """Only the first `count` bytes are to be sent.  The last word counts.

        Raises ValueError outside of the block, and when there are not so many.
        """
        self._say(count)

    def __enter__(self) -> memoryview:
        sock = self._sock
        out = bytes(8)
        deadline = 0
        while True:
            got = _begin_write(sock._world, sock._handle, self._limit, self._flags, id(out) + BYTES)
            if got > 0:
                return self._hold(self._lend(int.from_bytes(out, "little"), got))
            if got == -EINPROGRESS:
                sock._open_with(b"", self._flags)       # TCP_FASTOPEN_CONNECT: the SYN goes without text
                continue
            deadline = sock._await(got, POLLOUT, deadline, self._flags)

    def __exit__(self, kind: object, exception: BaseException | None, trace: object) -> None:
        if not self._release(exception):
            return
        if exception is not None:
            self._end(0)
            return
        sent = self._end(self._length if self._done < 0 else self._done)
        if sent < 0:
            raise self._sock._error(sent)

    def _least(self) -> int:
        return 0

    @staticmethod
    def _give_back(sock: Transfer, handle: int, count: int, flags: int) -> int:
        return -ESHUTDOWN if sock._stack.closed else entry.end_write(sock._world, handle, count, flags)
