"""Put `netstack.socket` in the place of the standard library's `socket`, for programs that know nothing of us.

Who says `import socket` from now on gets ours.  Modules of the standard library
that are loaded already are switched over, whichever way they imported it; a few
functions of other modules learn what our sockets are (`_teach`).  `unpatch`
undoes all of it, for the standard library's modules that were loaded meanwhile
too; modules of others keep what they have imported.
"""
from __future__ import annotations

import os
import sys
from contextvars import copy_context
from functools import partial
from types import ModuleType
from typing import Any

from .description import ours

SYSTEM = frozenset({"_socket", "multiprocessing", "socket"})
"""Packages of the standard library that keep the system's sockets: they pass descriptors to other processes."""
PIECE = 1 << 18         # bytes that one os.sendfile takes at most

_saved: ModuleType | None = None
_undo: list[tuple[Any, str, Any]] = []


def patch() -> None:
    """From now on `import socket` gives `netstack.socket`.

    That holds for code imported later, and for the standard library.  Modules of
    others that are loaded already keep the system's sockets.
    """
    global _saved
    if _saved is not None:
        return
    import socket as real

    from . import socket as module
    from . import tls  # noqa: F401  - and `ssl`: now, so that its own SSLSocket is the system's for ever

    _saved = real
    sys.modules["socket"] = module
    _switch(real, module)
    _teach()


def unpatch() -> None:
    """Undo `patch`: code imported from now on gets the system's sockets again."""
    global _saved
    if _saved is None:
        return
    from . import socket as module

    while _undo:
        owner, name, value = _undo.pop()
        setattr(owner, name, value)
    _switch(module, _saved)
    sys.modules["socket"] = _saved
    _saved = None


def _switch(old: ModuleType, new: ModuleType) -> None:
    """In every module of the standard library: what is `old`'s (it, or a name from it) becomes `new`'s."""
    instead = {id(old): new}
    for name, value in vars(old).items():
        other = getattr(new, name, value)
        if other is not value and callable(value) and not name.startswith("_"):
            instead[id(value)] = other
    for name, module in list(sys.modules.items()):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names or top in SYSTEM or not isinstance(module, ModuleType):
            continue
        names = vars(module)
        for key in [key for key, value in names.items() if id(value) in instead]:
            names[key] = instead[id(names[key])]


def _put(owner: Any, name: str, value: Any) -> None:
    _undo.append((owner, name, getattr(owner, name)))
    setattr(owner, name, value)


def _teach() -> None:
    """What finds a socket by its descriptor, or leaves the task that has chosen a stack."""
    import ssl
    from asyncio.base_events import BaseEventLoop

    from .tls import SSLSocket

    _put(os, "sendfile", partial(_sendfile, os.sendfile))
    _put(ssl, "SSLSocket", SSLSocket)
    _put(ssl.SSLContext, "sslsocket_class", SSLSocket)
    _put(BaseEventLoop, "getaddrinfo", _getaddrinfo)
    _put(BaseEventLoop, "getnameinfo", _getnameinfo)


def _sendfile(real: Any, out_fd: int, in_fd: int, offset: int | None, count: int, *more: Any, **keywords: Any) -> int:
    """os.sendfile; to a socket of ours as to one that does not block (the event loop's `sock_sendfile` calls it)."""
    description = ours(out_fd)
    if description is None:
        return int(real(out_fd, in_fd, offset, count, *more, **keywords))
    from .sockobject import socket

    with socket._of(description) as sock:
        sock.settimeout(0.0)
        room = sock.send_view(max(1, min(count, PIECE)))
        with room as view:
            n = os.readv(in_fd, [view]) if offset is None else os.preadv(in_fd, [view], offset)
            room.commit(n)
    return n


async def _getaddrinfo(self: Any, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0,
                       flags: int = 0) -> Any:
    """As the event loop's own, in a thread that uses this task's stack."""
    events: Any = sys.modules["asyncio.base_events"]        # what stands there for `socket` may be a test's
    function = self._getaddrinfo_debug if self._debug else events.socket.getaddrinfo
    return await self.run_in_executor(None, copy_context().run, function, host, port, family, type, proto, flags)


async def _getnameinfo(self: Any, sockaddr: Any, flags: int = 0) -> Any:
    events: Any = sys.modules["asyncio.base_events"]
    return await self.run_in_executor(None, copy_context().run, events.socket.getnameinfo, sockaddr, flags)
