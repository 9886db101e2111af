"""Errors by kind: what went wrong, for programs that want one name for it and no numbers.

    except OSError as error:
        if netstack.kind_of(error) is ErrorKind.UNREACHABLE: ...

Python has classes for many (ConnectionRefusedError ...), the rest is in `errno`,
and the same thing may come as several of them.
"""
from __future__ import annotations

import errno as e
import socket as real
import ssl
from enum import Enum


class ErrorKind(Enum):
    """What happened, and what a program may do."""

    REFUSED = "nobody listens there"
    TIMED_OUT = "the peer, or the program's own timeout: too late"
    RESET = "the peer has ended the connection at once"
    BROKEN_PIPE = "sent after the end of the connection"
    UNREACHABLE = "no way to the host or its network"
    IN_USE = "another socket has the address"
    NOT_AVAILABLE = "the address is not ours"
    WOULD_BLOCK = "not now; try again when it is ready"
    INTERRUPTED = "a signal came"
    PERMISSION = "not allowed"
    NAME = "the name has no address"
    CERTIFICATE = "the peer's certificate is not good, or not the host's"
    TLS = "TLS could not be agreed on, or was broken"
    CLOSED = "the socket, or the stack, is closed"
    NOT_CONNECTED = "the socket is not connected, or is already"
    NO_ROOM = "out of memory, descriptors or ports; or too long a message"
    INVALID = "the call makes no sense for this socket"
    OTHER = "something else"


_BY_NUMBER = {
    ErrorKind.REFUSED: (e.ECONNREFUSED,),
    ErrorKind.TIMED_OUT: (e.ETIMEDOUT,),
    ErrorKind.RESET: (e.ECONNRESET, e.ECONNABORTED),
    ErrorKind.BROKEN_PIPE: (e.EPIPE,),
    ErrorKind.UNREACHABLE: (e.EHOSTUNREACH, e.ENETUNREACH, e.EHOSTDOWN, e.ENETDOWN),
    ErrorKind.IN_USE: (e.EADDRINUSE,),
    ErrorKind.NOT_AVAILABLE: (e.EADDRNOTAVAIL,),
    ErrorKind.WOULD_BLOCK: (e.EAGAIN, e.EINPROGRESS, e.EALREADY),
    ErrorKind.INTERRUPTED: (e.EINTR,),
    ErrorKind.PERMISSION: (e.EACCES, e.EPERM),
    ErrorKind.CLOSED: (e.EBADF, e.ESHUTDOWN),
    ErrorKind.NOT_CONNECTED: (e.ENOTCONN, e.EISCONN, e.EDESTADDRREQ),
    ErrorKind.NO_ROOM: (e.ENOMEM, e.ENOBUFS, e.EMFILE, e.ENFILE, e.EMSGSIZE),
    ErrorKind.INVALID: (e.EINVAL, e.EOPNOTSUPP, e.ENOPROTOOPT, e.EAFNOSUPPORT, e.EPROTONOSUPPORT, e.ESOCKTNOSUPPORT),
}
_KINDS = {number: kind for kind, numbers in _BY_NUMBER.items() for number in numbers}


def kind_of(error: BaseException) -> ErrorKind:
    """The kind of an exception of the socket module, `ssl` or asyncio."""
    if isinstance(error, (real.gaierror, real.herror)):
        return ErrorKind.NAME
    if isinstance(error, ssl.SSLCertVerificationError):
        return ErrorKind.CERTIFICATE
    if isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
        return ErrorKind.WOULD_BLOCK
    if isinstance(error, ssl.SSLError):
        return ErrorKind.TLS
    if isinstance(error, TimeoutError):
        return ErrorKind.TIMED_OUT
    if isinstance(error, OSError) and error.errno is not None:
        return _KINDS.get(error.errno, ErrorKind.OTHER)
    return ErrorKind.TIMED_OUT if type(error).__name__ == "TimeoutError" else ErrorKind.OTHER
