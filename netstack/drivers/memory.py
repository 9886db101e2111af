"""Memory of a driver's own: zeroed pages at an address that stays, committed as they are touched."""
from __future__ import annotations

import ctypes
import mmap
from typing import TypeVar

T = TypeVar("T")

MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


class Pages:
    """`size` bytes at `address`, for as long as this object lives."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._map = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self._pin = ctypes.c_char.from_buffer(self._map)        # nobody can unmap it under us
        self.address = ctypes.addressof(self._pin)


def zeroed(record: type[T]) -> T:
    """A zeroed record of its own memory."""
    return record.new()         # type: ignore[attr-defined,no-any-return]
