"""Put `netstack.socket` in the place of the standard library's `socket`, for programs that know nothing of us."""
from __future__ import annotations

import sys
from types import ModuleType

NETWORK_MODULES = (
    "asyncio.base_events", "asyncio.selector_events", "asyncio.streams", "asyncio.trsock", "asyncio.unix_events",
    "ftplib", "http.client", "http.server", "imaplib", "logging.handlers", "nntplib", "poplib", "smtplib",
    "socketserver", "telnetlib", "urllib.request", "wsgiref.simple_server", "xmlrpc.client", "xmlrpc.server",
)
"""Modules of the standard library that say `socket.something` at run time: those loaded already are switched over."""

_saved: ModuleType | None = None
_switched: list[ModuleType] = []


def patch() -> None:
    """From now on `import socket` gives `netstack.socket`.

    That holds for code imported later, and for the network modules of the
    standard library.  Other modules that are loaded already keep the system's
    sockets; so does `ssl`, whose `wrap_socket` needs them (a stack's socket
    speaks TLS through asyncio or `ssl.MemoryBIO`).
    """
    global _saved
    if _saved is not None:
        return
    import socket as real
    import ssl  # noqa: F401  - loaded now, so that its SSLSocket is a real socket for ever

    from . import socket as ours

    _saved = real
    sys.modules["socket"] = ours
    for name in NETWORK_MODULES:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "socket", None) is real:
            module.socket = ours  # type: ignore[attr-defined]
            _switched.append(module)


def unpatch() -> None:
    """Undo `patch`: code imported from now on gets the system's sockets again."""
    global _saved
    if _saved is None:
        return
    for module in _switched:
        module.socket = _saved  # type: ignore[attr-defined]
    _switched.clear()
    sys.modules["socket"] = _saved
    _saved = None
