"""The socket object: opening, naming, connecting and closing.  `sockbase` and `sockdata` have the rest.

The methods and their exceptions are those of `socket.socket` of the standard
library.  Python does here what is not per byte; the engine does the rest, over
a handle.
"""
from __future__ import annotations

import contextlib
import io
import os
import socket as real
import struct
import sys
import warnings
from abc import ABCMeta
from builtins import type as _class
from errno import EAGAIN, EALREADY, EBADF, EDEADLK, EINPROGRESS, EINTR, EINVAL, EISCONN, EOPNOTSUPP, ESHUTDOWN
from typing import TYPE_CHECKING, Any, TypeVar

from . import entry, names, sockopt
from .buffers import BYTES
from .description import OURS, Description, ours
from .endpoint import POLLIN, POLLOUT
from .sockbase import AF_INET, AF_INET6, NEVER, c_int
from .sockdata import Transfer

if TYPE_CHECKING:
    from .stack import Stack

S = TypeVar("S", bound="socket")

SO_ERROR = int(real.SOL_SOCKET) << 16 | int(real.SO_ERROR)
BIND_TO_INDEX = int(real.SOL_SOCKET) << 16 | sockopt.SO_BINDTOIFINDEX

_four = struct.Struct("4q").unpack


class socket(Transfer, metaclass=ABCMeta):
    """A TCP, UDP, ICMP echo, raw or packet socket of a netstack.Stack; see `socket.socket` of the standard library.

    The system's sockets count as instances: `socket(AF_UNIX)` is one.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Families other than AF_INET, AF_INET6, AF_PACKET, and descriptors that are not ours, are the system's."""
        if cls is socket and (args or kwargs):
            arguments = dict(zip(("family", "type", "proto", "fileno"), args, strict=False), **kwargs)
            family, fileno = arguments.get("family", -1), arguments.get("fileno")
            if (ours(fileno) is None) if fileno is not None else family not in (
                    -1, AF_INET, AF_INET6, names.AF_PACKET):
                return real.socket(*args, **kwargs)
        return object.__new__(cls)

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        self._handle = 0
        self._closed = False
        if fileno is not None:
            description = ours(fileno)
            if description is None:
                raise OSError(EBADF, "not the descriptor of a netstack socket")
            self._stand_for(fileno, description, family, type, proto)
        else:
            from .choice import current
            stack = current()
            stack.start()
            self._open(stack, family, type, proto)

    @classmethod
    def _on(cls: _class[S], stack: Stack, family: int, type: int, proto: int) -> S:
        """A new socket on a given stack."""
        self: S = object.__new__(cls)
        self._handle = 0
        self._closed = False
        self._open(stack, family, type, proto)
        return self

    @classmethod
    def _of(cls: _class[S], description: Description) -> S:
        """Another object for an open socket, without its descriptor."""
        self: S = object.__new__(cls)
        self._share(description)
        return self

    # Naming and connecting

    def bind(self, address: Any, /) -> None:
        """Take a local address: (host, port), for AF_INET6 (host, port[, flowinfo[, scope id]])."""
        hi, lo, port, scope = names.parse(self._stack, self._af, address, "bind")
        sys.audit("socket.bind", self, address)
        if scope and entry.set_option(self._world, self._handle, BIND_TO_INDEX, scope) < 0:
            raise OSError(EINVAL, os.strerror(EINVAL))
        r = entry.bind(self._world, self._handle, hi, lo, port)
        if r < 0:
            raise self._error(r)

    def listen(self, backlog: int | None = None, /) -> None:
        """Accept connections from now on; so many may wait for `accept`."""
        backlog = min(int(real.SOMAXCONN), 128) if backlog is None else c_int(backlog)
        r = entry.listen(self._world, self._handle, max(0, backlog))
        if r < 0:
            raise self._error(r)
        self._description.follow()

    def accept(self) -> tuple[socket, Any]:
        """Wait for a connection: (a socket for it, the peer's address)."""
        deadline = self._until()
        out = bytes(32)
        while (handle := entry.accept(self._world, self._handle, id(out) + BYTES, deadline)) < 0:
            deadline = self._await(handle, POLLIN, deadline)
        mine = self._description
        description = Description(self._stack, handle, mine.family, mine.type, mine.protocol)
        description.linger = mine.linger
        description.receive_timeout = mine.receive_timeout
        description.send_timeout = mine.send_timeout
        description.tells_rest = mine.tells_rest
        if mine.kept:
            description.kept = dict(mine.kept)
        conn: socket = object.__new__(socket)
        conn._adopt(description)
        return conn, names.unparse(self._af, *_four(out))

    def _accept(self) -> tuple[int, Any]:
        """As `accept`, with a descriptor in place of the object, for classes that make their own of it."""
        conn, address = socket.accept(self)
        return conn.detach(), address

    def connect(self, address: Any, /) -> None:
        """Connect to an address; a datagram socket only notes it."""
        r = self._connect(address)
        if r == -EAGAIN:
            raise TimeoutError("timed out")
        if r < 0:
            raise self._error(r)

    def connect_ex(self, address: Any, /) -> int:
        """As `connect`, but an error of the network is returned: its errno, or 0."""
        r = self._connect(address)
        if r in (-EBADF, -ESHUTDOWN, -EDEADLK):
            return self._error(r).errno or EBADF
        return -r

    def disconnect(self) -> None:
        """Be connected to nothing again, as by connect(2) with AF_UNSPEC, for which Python has no words.

        A stream's connection ends at once, with a reset where the peer would miss something; a listener's too, and it
        listens no more.  Options stay, and what was bound.  Then the socket may connect or listen again.  OSError
        EBUSY while a view or a handler has the socket.
        """
        r = entry.disconnect(self._world, self._handle)
        if r < 0:
            raise self._error(r)
        self._description.follow()

    def set_handler(self, function: Any, /, *, text: bytes = b"") -> None:
        """Have a function of an Exchange (netstack.handlers) called in the engine; None: no more.

        A listener: for each of its connections, which then never reach accept(), those that wait for it included.
        A connected socket, or one that will be: for this connection.  A UDP socket: for each datagram.  While there
        is a handler, receiving here (and sending on a stream) is OSError EBUSY.  `text`: bytes that the handler can
        send.  Taken from a listener, its connections keep it to their end.  Raises TypeError for a @compiled function
        that touches more than its exchange, OSError EOPNOTSUPP for a ping socket.
        """
        self._stack._handlers.give(self, function, bytes(text))

    def _connect(self, address: Any) -> int:
        """0 or -errno; -EAGAIN: the timeout is over."""
        hi, lo, port, scope = names.parse(self._stack, self._af, address, "connect")
        sys.audit("socket.connect", self, address)
        r = int(entry.connect(self._world, self._handle, hi, lo, port, scope))
        if self._description.user_end >= 0:
            self._description.follow()
        patience = self._patience
        if patience == 0 or not (r == -EINPROGRESS or (r == -EALREADY and patience < 0)):
            return r
        limit = patience if patience > 0 else self._description.send_timeout
        deadline = self._stack._now() + limit if limit else NEVER
        wait = self._stack._wait
        while (r := wait(self._world, self._handle, POLLOUT, deadline)) == -EINTR:
            pass
        if r == 0:
            return -EAGAIN if patience > 0 else -EINPROGRESS
        if r < 0:
            return int(r)
        r = int(entry.get_option(self._world, self._handle, SO_ERROR))
        if r == EISCONN:
            return 0
        if r != 0 and patience < 0:
            self._forget_attempt()
        return -abs(r)

    def getsockname(self) -> Any:
        """Our address."""
        out = bytes(32)
        r = entry.local(self._world, self._handle, id(out) + BYTES)
        if r < 0:
            raise self._error(r)
        return names.unparse(self._af, *_four(out))

    def getpeername(self) -> Any:
        """The peer's address."""
        out = bytes(32)
        r = entry.peer(self._world, self._handle, id(out) + BYTES)
        if r < 0:
            raise self._error(r)
        return names.unparse(self._af, *_four(out))

    # Life

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll, kept in step with the socket; -1 once closed.

        Nothing can be read from it or written to it.
        """
        if self._handle == 0:
            return self._own_fd             # -1, unless another object has closed it
        if self._own_fd < 0:
            description = self._description
            fd = description.descriptor(self._timeout is None)
            if fd >= 0 and description.references > 1:
                fd = os.dup(fd)
                OURS[fd] = description
            self._own_fd = fd
        return self._own_fd

    def makefile(self, mode: str = "r", buffering: int | None = None, *, encoding: str | None = None,
                 errors: str | None = None, newline: str | None = None) -> Any:
        """A file object on the socket, which stays open until the file is closed too."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        writing = "w" in mode
        reading = "r" in mode or not writing
        rawmode: Any = ("r" if reading else "") + ("w" if writing else "")
        raw = real.SocketIO(self, rawmode)  # type: ignore[arg-type]
        self._io_refs += 1
        if buffering is None or buffering < 0:
            buffering = io.DEFAULT_BUFFER_SIZE
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        buffer: Any
        if reading and writing:
            buffer = io.BufferedRWPair(raw, raw, buffering)
        elif reading:
            buffer = io.BufferedReader(raw, buffering)
        else:
            buffer = io.BufferedWriter(raw, buffering)
        if "b" in mode:
            return buffer
        text: Any = io.TextIOWrapper(buffer, encoding, errors, newline)
        text.mode = mode
        return text

    def _decref_socketios(self) -> None:
        """A file on this socket was closed (SocketIO calls it)."""
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def shutdown(self, how: int, /) -> None:
        """Close one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR."""
        how = c_int(how)
        if how not in (0, 1, 2):
            raise OSError(EINVAL, os.strerror(EINVAL))
        r = entry.shutdown(self._world, self._handle, how)
        if r < 0:
            raise self._error(r)
        self._description.follow()

    def close(self) -> None:
        """Close; calls of other threads on this socket end with EBADF.  Files made from it keep it open."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _real_close(self) -> None:
        handle, self._handle = self._handle, 0
        fd, self._own_fd = self._own_fd, -1
        if handle:
            self._description.close_descriptor(fd)
        elif fd >= 0:
            raise OSError(EBADF, os.strerror(EBADF))        # another object has closed it (`socket(fileno=)`)

    def detach(self) -> int:
        """Close the object and leave the socket open behind its descriptor, which is returned.

        `socket(fileno=)` makes an object of it again, `close(fd)` of the module closes it.  Nothing can be read from
        it or written to it: ssl.SSLContext.wrap_socket of a program that is not patched, which would take it over,
        gets EOPNOTSUPP.
        """
        if sys._getframe(1).f_globals.get("__name__") == "ssl":
            fd, self._own_fd = self._own_fd, -1
            if fd >= 0:
                self._description.lose(fd)      # an SSLSocket has it already, and closes it
            raise OSError(EOPNOTSUPP, "a netstack socket has no descriptor that carries its bytes: ssl cannot take "
                                      "it over (use netstack.tls.wrap, or patch(); ssl.MemoryBIO or asyncio)")
        fd = self.fileno()
        handle, self._handle = self._handle, 0
        self._own_fd = -1
        self._closed = True
        if handle and fd >= 0:
            self._description.detach(fd)
        return fd

    def dup(self: S) -> S:
        """Another object for the same socket."""
        if self._handle == 0:
            raise self._error(-EBADF)
        made = self._of(self._description)
        made.settimeout(self._timeout)
        return made

    def get_inheritable(self) -> bool:
        """Whether the descriptor is passed on to programs that this one runs; a socket without one: False."""
        return self._own_fd >= 0 and os.get_inheritable(self._own_fd)

    def set_inheritable(self, inheritable: bool, /) -> None:
        """Pass the descriptor on to programs that this one runs, or not.  They cannot use the socket by it."""
        if inheritable or self._own_fd >= 0:
            os.set_inheritable(self.fileno(), bool(inheritable))

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._closed:
            self.close()

    def __repr__(self) -> str:
        cls = self.__class__
        closed = getattr(self, "_closed", True)
        fd = str(self._own_fd) if getattr(self, "_own_fd", -1) >= 0 else ("-1" if closed else "lazy")
        s = (f"<{cls.__module__}.{cls.__qualname__}{' [closed]' if closed else ''} fd={fd}, "
             f"family={getattr(self, 'family', '?')}, type={getattr(self, 'type', '?')}, "
             f"proto={getattr(self, 'proto', '?')}")
        if not closed:
            for label, ask in (("laddr", self.getsockname), ("raddr", self.getpeername)):
                with contextlib.suppress(OSError):
                    s += f", {label}={ask()}"
        return s + ">"

    def __getstate__(self) -> Any:
        raise TypeError(f"cannot pickle {self.__class__.__name__!r} object")

    def __del__(self) -> None:
        try:
            self._stack._sockets.pop(id(self), None)
        except AttributeError:                          # it never was one
            return
        if self._handle and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self._real_close()


socket.__module__ = "netstack.socket"
socket.register(real.socket)
