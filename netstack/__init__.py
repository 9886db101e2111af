"""A complete TCP/IP stack in Python.

    import netstack
    from netstack.drivers import Tap

    with netstack.Stack() as stack:
        stack.attach(Tap("tap0"), ip="10.0.0.2/24", gateway="10.0.0.1")
        with stack.create_server(("", 7)) as server:
            conn, peer = server.accept()

Everything else is imported when it is asked for: `netstack.socket`, the standard
library's module on a stack, `netstack.drivers`, `netstack.services`.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choice import current, use, using
    from .clock import VirtualClock
    from .interface import Interface
    from .kinds import ErrorKind, kind_of
    from .patching import patch, unpatch
    from .pool import ConnectionPool
    from .shards import Shards
    from .stack import Stack
    from .world import Profile

__all__ = ["ConnectionPool", "ErrorKind", "Interface", "Profile", "Shards", "Stack", "VirtualClock", "current",
           "kind_of", "patch", "unpatch", "use", "using"]

__version__ = "0.1.0"

_HOMES = {"ConnectionPool": "pool", "ErrorKind": "kinds", "kind_of": "kinds",
          "Interface": "interface", "Profile": "world", "Shards": "shards", "Stack": "stack", "VirtualClock": "clock",
          "current": "choice", "patch": "patching", "unpatch": "patching", "use": "choice", "using": "choice"}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: `import netstack` costs nothing."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
