"""What every socket object has: a stack and a handle; how it waits; how errors become exceptions; options.

A call tries the engine first.  Only when that says EAGAIN, and the socket
blocks, does it wait (`_await`), which drives the engine meanwhile.
"""
from __future__ import annotations

import os
import socket as real
import sys
from errno import EAFNOSUPPORT, EAGAIN, EBADF, EDEADLK, EINTR, EINVAL, EPROTONOSUPPORT, ESHUTDOWN, ESOCKTNOSUPPORT
from operator import index as to_int
from typing import TYPE_CHECKING, Any
from weakref import ref

from . import clock as virtual
from . import entry, names, sockopt, tcpinfo
from .description import Description
from .endpoint import POLLIN, Kind

if TYPE_CHECKING:
    from .aliases import Options
    from .stack import Stack

AF_INET = int(real.AF_INET)
AF_INET6 = int(real.AF_INET6)
MSG_DONTWAIT = int(real.MSG_DONTWAIT)
MSG_OOB = int(real.MSG_OOB)
MSG_ERRQUEUE = 0x2000
NEVER = virtual.NEVER
SECOND = 1_000_000_000
FOREVER = -1                            # values of `_patience`: ns, 0 for a socket that does not block, or this
LONGEST_TIMEOUT = (1 << 63) / SECOND    # seconds that CPython can hold

_default_timeout: float | None = None


def getdefaulttimeout() -> float | None:
    """The timeout of new sockets, in seconds; None: they block."""
    return _default_timeout


def setdefaulttimeout(timeout: float | None) -> None:
    """Set the timeout of new sockets, in seconds; None: they block."""
    global _default_timeout
    _default_timeout = _seconds(timeout)


def c_int(value: Any) -> int:
    """An argument that is a C int: any integer (an enum too) as a plain int."""
    if value.__class__ is not int:
        value = int(to_int(value))
    if not -1 << 31 <= value < 1 << 31:
        raise OverflowError("Python int too large to convert to C int")
    return value  # type: ignore[no-any-return]


def _seconds(value: Any) -> float | None:
    """A timeout as `settimeout` takes it, checked as CPython does."""
    if value is None:
        return None
    if not isinstance(value, float):
        value = to_int(value)
    elif value != value:
        raise ValueError("Invalid value NaN (not a number)")
    if abs(value) >= LONGEST_TIMEOUT:
        raise OverflowError("timestamp out of range for platform time_t")
    if value < 0:
        raise ValueError("Timeout value out of range")
    return float(value)


class Base:
    """The state of a socket object, and what the other parts of it build on."""

    __slots__ = ("__weakref__", "_af", "_closed", "_description", "_handle", "_io_refs", "_kind", "_own_fd",
                 "_patience", "_protocol", "_stack", "_timeout", "_world", "family", "proto", "type")

    _stack: Stack
    _description: Description
    _world: int
    _handle: int                # 0 once closed
    _af: int
    _kind: Kind
    _patience: int              # ns that a call may wait; 0: not at all; FOREVER
    _timeout: float | None      # the same, as the application said it
    family: int
    type: int
    proto: int
    _own_fd: int                # the descriptor that `fileno` gave, or -1

    def _open(self, stack: Stack, family: int, type: int, proto: int) -> None:
        sys.audit("socket.__new__", self, family, type, proto)
        family = AF_INET if family == -1 else int(to_int(family))
        type = int(real.SOCK_STREAM) if type == -1 else int(to_int(type))
        proto = 0 if proto == -1 else int(to_int(proto))
        if family not in (AF_INET, AF_INET6, names.AF_PACKET):
            raise OSError(EAFNOSUPPORT, "Address family not supported by protocol")
        nonblocking = type & real.SOCK_NONBLOCK
        type &= ~(real.SOCK_NONBLOCK | real.SOCK_CLOEXEC)
        kind = _kind(family, type, proto)
        stack.start()                   # its thread: timers run also while nobody is in a call
        of_kind = proto if kind is not Kind.PACKET else real.ntohs(proto & 0xFFFF) | (type == real.SOCK_DGRAM) << 16
        handle = entry.open(stack._world, int(kind), family, of_kind)
        if handle < 0:
            raise OSError(-handle, os.strerror(-handle))
        self._adopt(Description(stack, handle, family, type, proto))
        if nonblocking:
            self.settimeout(0.0)

    def _adopt(self, description: Description) -> None:
        """Be an object for an open socket, counted already."""
        self._description = description
        self._stack = stack = description.stack
        self._world = stack._world
        self._handle = description.handle
        self._af = description.family if description.family != names.AF_PACKET else names.LinkFamily.of(stack)
        self._kind = _KIND[description.handle >> 56]
        self.family = _FAMILIES[description.family]
        self.type = _TYPES[description.type]
        self.proto = description.protocol
        self._protocol = description.protocol or _PROTOCOLS[self._kind]
        self._own_fd = -1
        self._io_refs = 0
        self._closed = False
        timeout = self._timeout = _default_timeout
        self._patience = FOREVER if timeout is None else round(timeout * SECOND)
        stack._sockets[id(self)] = ref(self)        # until __del__

    def _share(self, description: Description) -> None:
        with description.lock:
            if description.references == 0:
                raise OSError(EBADF, os.strerror(EBADF))
            description.references += 1
        self._adopt(description)

    def _stand_for(self, fd: int, description: Description, family: int, type: int, proto: int) -> None:
        """Be another object for a descriptor.  Family, type and protocol are believed, but for -1."""
        description.stack._check()
        self._adopt(description)
        self._own_fd = fd
        description.share(fd)
        if family != -1:
            self.family = _FAMILIES.get(family, family)
        if type != -1:
            self.type = _TYPES.get(type, type)
        if proto != -1:
            self.proto = proto

    # Errors and waiting

    def _error(self, code: int) -> OSError:
        """The exception for -errno."""
        if code == -EDEADLK:
            return virtual.deadlock()
        if code in (-EBADF, -ESHUTDOWN):
            why = self._stack._why_not()
            if why is not None:
                return why
        return OSError(-code, os.strerror(-code))

    def _until(self, flags: int = 0) -> int:
        """Until when a call that receives is to wait without Python, ns of the stack's clock; 0: it is not to wait."""
        patience = self._patience
        if patience == 0 or flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE):
            return 0
        if patience < 0:
            patience = self._description.receive_timeout
            if patience == 0:
                return NEVER
        return self._stack._now() + patience

    def _await(self, code: int, events: int, deadline: int, flags: int = 0) -> int:
        """After a call said `code`: wait until it is worth another try.  Returns the deadline for the next time.

        `deadline` 0: this is the first time.  Raises what the call must raise.
        """
        if code != -EAGAIN:
            if code == -EINTR:              # it has waited by itself; Python runs its signal handlers now
                return deadline
            raise self._error(code)
        patience = self._patience
        if deadline == 0:
            if patience == 0 or (patience < 0 and flags & MSG_DONTWAIT) or (
                    flags & (MSG_OOB | MSG_ERRQUEUE) and events == POLLIN):
                raise BlockingIOError(EAGAIN, "Resource temporarily unavailable")
            if patience < 0:
                d = self._description
                limit = d.receive_timeout if events == POLLIN else d.send_timeout
                deadline = self._stack._now() + limit if limit else NEVER
            else:
                deadline = self._stack._now() + patience
        wait = self._stack._wait
        while True:
            r = wait(self._world, self._handle, events, deadline)
            if r > 0:
                return deadline
            if r == 0:
                if patience < 0:        # SO_RCVTIMEO, SO_SNDTIMEO (socket(7))
                    raise BlockingIOError(EAGAIN, "Resource temporarily unavailable")
                raise TimeoutError("timed out")
            if r != -EINTR:             # between two waits Python runs its signal handlers
                raise self._error(r)

    def _forget_attempt(self) -> None:
        """A call that waited has told that connecting failed: the stream is as it was before (inet_stream_connect)."""
        entry.forget_attempt(self._world, self._handle)
        self._description.follow()

    # Modes and options

    def settimeout(self, timeout: float | None, /) -> None:
        """How long calls wait, in seconds; 0: not at all; None: for ever."""
        seconds = _seconds(timeout)
        if self._handle == 0:
            raise self._error(-EBADF)
        self._timeout = seconds
        self._patience = FOREVER if seconds is None else -int(-seconds * SECOND // 1)
        if self._description.user_end >= 0:
            os.set_blocking(self._description.user_end, seconds is None)        # who asks fcntl sees it

    def gettimeout(self) -> float | None:
        """The timeout in seconds, or None."""
        return self._timeout

    @property
    def timeout(self) -> float | None:
        """The timeout in seconds, or None."""
        return self._timeout

    def setblocking(self, flag: bool, /) -> None:
        """settimeout(None) if true, settimeout(0.0) if false."""
        if self._handle == 0:
            raise self._error(-EBADF)
        self._timeout = None if flag else 0.0
        self._patience = FOREVER if flag else 0
        if self._description.user_end >= 0:
            os.set_blocking(self._description.user_end, bool(flag))

    def getblocking(self) -> bool:
        """Whether calls wait at all."""
        return self._patience != 0

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None, /) -> None:
        """Set an option: an int, or bytes laid out as the C type (`netstack.sockopt` lists them)."""
        if value is None:
            if optlen is None:
                raise TypeError("a bytes-like object is required, not 'NoneType'")
            value = bytes(optlen)
        elif optlen is not None:
            raise TypeError("setsockopt() argument 3 must be None when there are four")
        sockopt.set_option(self, level, optname, value)

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Read an option: an int, or with buflen so many bytes of the C type."""
        return sockopt.get_option(self, level, optname, buflen)

    @property
    def options(self) -> Options:
        """The options by readable names (`netstack.aliases`): `sock.options.nodelay = True`."""
        from .aliases import Options

        return Options(self)

    def _corked_by_option(self, on: int) -> None:
        """UDP_CORK was set."""
        raise NotImplementedError

    def info(self) -> dict[str, int]:
        """TCP_INFO by Linux's names without "tcpi_" (tcp/info.py says what each means): info()["rtt"] is in us.

        Raises OSError (ENOPROTOOPT) for sockets that are not TCP's.
        """
        raw = sockopt.get_option(self, real.IPPROTO_TCP, tcpinfo.TCP_INFO, tcpinfo.SIZE)
        assert isinstance(raw, bytes)
        return tcpinfo.unpack(raw)


_KIND = tuple(Kind)             # by value
_FAMILIES = {family: real.AddressFamily(family) for family in (AF_INET, AF_INET6, names.AF_PACKET)}
_TYPES = {int(t): real.SocketKind(t) for t in (real.SOCK_STREAM, real.SOCK_DGRAM, real.SOCK_RAW)}
_PROTOCOLS = {Kind.TCP: int(real.IPPROTO_TCP), Kind.UDP: int(real.IPPROTO_UDP), Kind.PING: int(real.IPPROTO_ICMP),
              Kind.PACKET: 0}
_KINDS = {
    (int(real.SOCK_STREAM), 0): Kind.TCP,
    (int(real.SOCK_STREAM), int(real.IPPROTO_TCP)): Kind.TCP,
    (int(real.SOCK_DGRAM), 0): Kind.UDP,
    (int(real.SOCK_DGRAM), int(real.IPPROTO_UDP)): Kind.UDP,
}


def _kind(family: int, type: int, proto: int) -> Kind:
    if family == names.AF_PACKET:
        if type in (real.SOCK_RAW, real.SOCK_DGRAM):
            return Kind.PACKET
        raise OSError(ESOCKTNOSUPPORT, "Socket type not supported")
    kind = _KINDS.get((type, proto))
    if kind is not None:
        return kind
    echo = int(real.IPPROTO_ICMP) if family == AF_INET else int(real.IPPROTO_ICMPV6)
    if (type, proto) == (int(real.SOCK_DGRAM), echo):
        return Kind.PING
    if not 0 <= proto <= int(real.IPPROTO_MPTCP):
        raise OSError(EINVAL, "Invalid argument")
    if type == real.SOCK_RAW and 0 < proto <= 255:
        return Kind.RAW
    if type in (real.SOCK_STREAM, real.SOCK_DGRAM, real.SOCK_RAW):
        raise OSError(EPROTONOSUPPORT, "Protocol not supported")
    if 0 <= type <= 10:
        raise OSError(ESOCKTNOSUPPORT, "Socket type not supported")
    raise OSError(EINVAL, "Invalid argument")
