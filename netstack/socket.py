"""The standard library's `socket` module, on a netstack.Stack.

    import netstack.socket as socket

Every name of the standard module is here.  Those that touch the network work on
the current stack (`netstack.use`); constants, conversions and what belongs to
the machine (`gethostname`, AF_UNIX sockets, `socketpair`) are the system's.
"""
from __future__ import annotations

import os as _os
import socket as _real
from typing import Any as _Any

from . import dialing as _dialing
from .choice import current as _current
from .description import ours as _ours
from .resolver import functions as _functions
from .sockbase import getdefaulttimeout as getdefaulttimeout
from .sockbase import setdefaulttimeout as setdefaulttimeout
from .sockobject import socket

__all__ = [name for name in _real.__all__ if name not in ("CAPI", "sethostname")]

globals().update({name: getattr(_real, name) for name in dir(_real)       # every constant that this Python has
                  if name not in globals() and not name.startswith("__") and name not in ("CAPI", "sethostname")})

for _name, _value in (("MSG_FASTOPEN", 0x2000_0000), ("TCP_FASTOPEN", 23), ("TCP_FASTOPEN_CONNECT", 30),
                      ("TCP_FASTOPEN_KEY", 33), ("TCP_FASTOPEN_NO_COOKIE", 34), ("TCP_INQ", 36), ("TCP_CM_INQ", 36),
                      ("TCP_RTO_MAX_MS", 44)):
    globals().setdefault(_name, _value)                                  # not every Python has a name for them

SocketType = socket


def create_connection(address: tuple[str | None, int | str], timeout: _Any = _dialing.DEFAULT_TIMEOUT,
                      source_address: _Any = None, *, all_errors: bool = False) -> socket:
    """Connect to (host, port), trying each of the host's addresses; see `socket.create_connection`."""
    return _dialing.create_connection(socket, getaddrinfo, address, timeout, source_address, all_errors)


def create_server(address: _Any, *, family: int = _real.AF_INET, backlog: int | None = None,
                  reuse_port: bool = False, dualstack_ipv6: bool = False) -> socket:
    """A TCP socket that listens on an address; see `socket.create_server`."""
    return _dialing.create_server(socket, address, family, backlog, reuse_port, dualstack_ipv6)


def has_dualstack_ipv6() -> bool:
    """True: an AF_INET6 socket without IPV6_V6ONLY serves IPv4 too."""
    return True


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> _Any:
    """Another object for the socket whose `fileno` this is; a descriptor that is not ours is the system's."""
    return _real.fromfd(fd, family, type, proto) if _ours(fd) is None else socket(family, type, proto, dup(fd))


def dup(fd: int, /) -> int:
    """Another descriptor for the same socket."""
    description = _ours(fd)
    return _real.dup(fd) if description is None else description.dup()


def close(fd: int, /) -> None:
    """Close a socket by its descriptor, for all objects that stand for it."""
    description = _ours(fd)
    if description is None:
        _os.close(fd)
    else:
        description.shared |= {fd}
        description.close_descriptor(fd)


# Names and addresses

def getaddrinfo(host: _Any, port: _Any, family: int = 0, type: int = 0, proto: int = 0,
                flags: int = 0) -> list[_Any]:
    """(family, type, protocol, canonical name, address) of a host and a service; see `socket.getaddrinfo`."""
    return _functions.getaddrinfo(_current(), host, port, family, type, proto, flags)


def getnameinfo(sockaddr: _Any, flags: int, /) -> tuple[str, str]:
    """(host, service) of a socket address."""
    if not isinstance(sockaddr, tuple):
        del sockaddr                # the traceback keeps this frame, but not what it was given
        raise TypeError("getnameinfo() argument 1 must be a tuple")
    return _functions.getnameinfo(_current(), sockaddr, flags)


def gethostbyname(hostname: _Any, /) -> str:
    """The IPv4 address of a host."""
    return _functions.gethostbyname(_current(), hostname)


def gethostbyname_ex(hostname: _Any, /) -> tuple[str, list[str], list[str]]:
    """(name, aliases, addresses) of a host, IPv4."""
    return _functions.gethostbyname_ex(_current(), hostname)


def gethostbyaddr(ip_address: _Any, /) -> tuple[str, list[str], list[str]]:
    """(name, aliases, addresses) of an address; herror if it has no name."""
    return _functions.gethostbyaddr(_current(), ip_address)


def getfqdn(name: str = "") -> str:
    """The full name of a host; empty or 0.0.0.0: of this one."""
    return _functions.getfqdn(_current(), name)


# Interfaces: the stack's, not the machine's

def if_nameindex() -> list[tuple[int, str]]:
    """(index, name) of every interface of the stack."""
    return _current().if_nameindex()


def if_nametoindex(if_name: str, /) -> int:
    """The index of an interface of the stack."""
    return _current().if_nametoindex(if_name)


def if_indextoname(if_index: int, /) -> str:
    """The name of an interface of the stack."""
    return _current().if_indextoname(if_index)


def __getattr__(name: str) -> _Any:
    """For type checkers: the names that the standard module has, and a Python version may add."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
