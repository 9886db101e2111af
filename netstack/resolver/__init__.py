"""Names to addresses and back, for one stack, over its own sockets.

`lookup.Resolver` is `stack.resolver`; `functions` are what the socket API has
(getaddrinfo and its relatives).  docs/names.md has the picture.  Messages are
dnspython's, which is imported when a server is asked for the first time.

A stub resolver in the sense of RFC 1034 section 5.3.1; RFC 1035.
"""
from __future__ import annotations

from .config import Config
from .failure import Failure
from .hosts import Hosts
from .lookup import Resolver

__all__ = ["Config", "Failure", "Hosts", "Resolver"]
