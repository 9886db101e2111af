"""Pairs of AF_UNIX sockets behind `fileno`: the engine shows a socket's readiness at one end, the other is watched.

An end that is connected to nothing says what a stream says that never was connected: writable, and hung up (tcp(7),
unix(7)).  It can be connected later, once: the descriptor stays the same file, also for who watches it by epoll.
"""
from __future__ import annotations

import os
import socket as real
import struct
from contextlib import suppress

from .endpoint import FILL

_credentials = struct.Struct("3i")      # struct ucred: of a peer's process


def pair() -> tuple[int, int]:
    """The engine's end and the user's."""
    engine, user = real.socketpair(real.AF_UNIX, real.SOCK_STREAM)
    return _small(engine), _small(user)


def lone() -> int:
    """A user's end that is connected to nothing."""
    return _small(real.socket(real.AF_UNIX, real.SOCK_STREAM))


def join(user: int) -> int:
    """Connect a lone end, full, so that becoming writable is news: the engine's end, or -1 where that cannot be done.

    To be connected it needs somebody who listens, for a moment and under a name that the kernel makes up (unix(7),
    "Autobind").  Others of this network namespace could see the name and connect, too: they are sent away by the
    number of their process.
    """
    blocks = os.get_blocking(user)
    sock = real.socket(real.AF_UNIX, real.SOCK_STREAM, 0, user)
    try:
        sock.setblocking(False)
        with real.socket(real.AF_UNIX, real.SOCK_STREAM) as listener:
            listener.bind("")
            listener.setblocking(False)
            listener.listen(8)
            sock.connect(listener.getsockname())
            while True:
                engine = listener.accept()[0]
                if _is_ours(engine):
                    break
                engine.close()
        for _ in range(FILL):
            sock.send(b"x")
        return _small(engine)
    except OSError:                     # a queue full of others, a sandbox that has no such names
        return -1
    finally:
        sock.detach()
        os.set_blocking(user, blocks)


def end(user: int) -> None:
    """Nothing will come any more at a lone end."""
    sock = real.socket(real.AF_UNIX, real.SOCK_STREAM, 0, user)
    with suppress(OSError):
        sock.shutdown(real.SHUT_RDWR)
    sock.detach()


def _small(end: real.socket) -> int:
    end.setblocking(False)
    end.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 0)          # the smallest: four bytes fill it
    return end.detach()


def _is_ours(end: real.socket) -> bool:
    pid = _credentials.unpack(end.getsockopt(real.SOL_SOCKET, real.SO_PEERCRED, _credentials.size))[0]
    return bool(pid == os.getpid())
