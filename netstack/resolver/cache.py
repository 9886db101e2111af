"""What was found, and what was not there, for as long as the servers said.

RFC 1035 7.4 (positive), RFC 2308 (negative: NXDOMAIN is of the name, NODATA of
name and type).  Failures of servers are not kept.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

SECOND = 1_000_000_000
SIZE = 1024                     # entries; the one that was not used for longest goes
LONGEST = 24 * 3600             # seconds; a longer TTL is cut (RFC 8767 4)
LONGEST_NEGATIVE = 3 * 3600     # ... of what is not there (RFC 2308 5)
ANY_TYPE = 0                    # of an NXDOMAIN

Key = tuple[str, int]           # name in small letters, type


class Cache:
    """Entries with an end; any thread may use it."""

    def __init__(self, now: Callable[[], int], size: int = SIZE) -> None:
        """`now`: the clock, ns."""
        self._now = now
        self._entries: dict[Key, tuple[int, Any]] = {}
        self._lock = threading.Lock()
        self.size = size
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, type: int) -> Any:
        """What is known, or None."""
        name = name.lower()
        with self._lock:
            for key in ((name, type), (name, ANY_TYPE)):
                entry = self._entries.pop(key, None)
                if entry is not None and entry[0] > self._now():
                    self._entries[key] = entry      # the last one used is the last one to go
                    self.hits += 1
                    return entry[1]
            self.misses += 1
            return None

    def put(self, name: str, type: int, value: Any, ttl: int, *, negative: bool = False) -> None:
        """Keep it for `ttl` seconds; 0: not at all."""
        ttl = min(ttl, LONGEST_NEGATIVE if negative else LONGEST)
        if ttl <= 0 or self.size <= 0:
            return
        with self._lock:
            self._entries.pop((name.lower(), type), None)
            while len(self._entries) >= self.size:
                del self._entries[next(iter(self._entries))]
            self._entries[name.lower(), type] = self._now() + ttl * SECOND, value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
