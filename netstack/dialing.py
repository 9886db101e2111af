"""create_connection and create_server, as the standard library has them, over whatever makes sockets."""
from __future__ import annotations

import builtins
import socket as real
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sockobject import socket

Maker = Callable[[int, int, int], "socket"]
DEFAULT_TIMEOUT: Any = real._GLOBAL_DEFAULT_TIMEOUT     # type: ignore[attr-defined]


def create_connection(make: Maker, getaddrinfo: Callable[..., list[Any]], address: tuple[Any, Any], timeout: Any,
                      source_address: Any, all_errors: bool) -> socket:
    """A TCP connection to (host, port): each of the host's addresses is tried in turn."""
    host, port = address
    errors: list[OSError] = []
    for family, type, proto, _, sockaddr in getaddrinfo(host, port, 0, real.SOCK_STREAM):
        sock = None
        try:
            sock = make(family, type, proto)
            if timeout is not DEFAULT_TIMEOUT:
                sock.settimeout(timeout)
            if source_address:
                sock.bind(source_address)
            sock.connect(sockaddr)
        except OSError as error:
            errors.append(error)
            if sock is not None:
                sock.close()
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        else:
            errors.clear()
            return sock
    try:
        if not errors:
            raise OSError("getaddrinfo returns an empty list")
        if not all_errors:
            raise errors[-1]
        group: Any = getattr(builtins, "ExceptionGroup", None)
        if group is None:
            raise ValueError("all_errors needs Python 3.11")
        raise group("create_connection failed", errors)
    finally:
        errors.clear()      # they refer to this frame


def create_server(make: Maker, address: Any, family: int, backlog: int | None, reuse_port: bool,
                  dualstack_ipv6: bool) -> socket:
    """A TCP socket that listens on an address."""
    if dualstack_ipv6 and family != real.AF_INET6:
        raise ValueError("dualstack_ipv6 requires AF_INET6 family")
    sock = make(family, real.SOCK_STREAM, 0)
    try:
        sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEPORT, 1)
        if family == real.AF_INET6:
            sock.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, 0 if dualstack_ipv6 else 1)
        try:
            sock.bind(address)
        except OSError as error:
            if error.errno is None or isinstance(error, real.gaierror):
                raise
            raise OSError(error.errno, f"{error.strerror} (while attempting to bind on address "
                                       f"{address!r})") from None
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock
