"""Messages: many datagrams in one call, as recvmmsg(2) and sendmmsg(2) have them.

    batch = Messages(64)
    while sock.recvmmsg(batch):
        sock.sendmmsg(batch)            # an echo: each goes back to where it came from

One range of memory with room for so many datagrams, each with its address.
"""
from __future__ import annotations

import ctypes
import mmap
from array import array
from collections.abc import Iterator
from socket import EAI_NONAME, gaierror
from typing import Any

from . import names
from .datagram import PREFIX

WORDS = PREFIX // 8             # of the i64 in front of a datagram: hi, lo, port, scope, length, ...
PORT, LENGTH = 2, 4


class Messages:
    """Room for `count` datagrams of up to `size` bytes each.

    `len()` is how many are in it; `batch[i]` is a memoryview of the i-th one's bytes, in place.
    """

    def __init__(self, count: int = 64, size: int = 2048) -> None:
        if count < 1 or size < 1:
            raise ValueError("room for one datagram of one byte at least")
        self.count = count
        self.size = size = (size + 7) & -8
        memory = mmap.mmap(-1, count * (PREFIX + self.size))            # the system gives pages as they are used
        self._view = memoryview(memory)
        self._words = self._view.cast("q")
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        self._step = WORDS + size // 8
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def _at(self, i: int) -> int:
        if i < 0:
            i += self._n
        if not 0 <= i < self._n:
            raise IndexError("no such datagram in this batch")
        return i * self._step

    def __getitem__(self, i: int) -> memoryview:
        at = self._at(i)
        start = 8 * at + PREFIX
        return self._view[start:start + min(self._words[at + LENGTH] & 0xFFFF_FFFF, self.size)]

    def __iter__(self) -> Iterator[memoryview]:
        return (self[i] for i in range(self._n))

    def address(self, i: int) -> tuple[Any, ...]:
        """(host, port) of the i-th one, or for IPv6 (host, port, 0, scope id): where it came from, or goes to."""
        at = self._at(i)
        hi, lo, port, scope = self._words[at:at + 4]
        scope &= 0xFF
        four = hi == 0 and lo >> 32 == 0xFFFF
        return names.unparse(names.AF_INET if four else names.AF_INET6, hi, lo, port, scope)

    def ports(self) -> list[int]:
        """The ports alone: the quick way to look at all of them."""
        return self._words[PORT:self._n * self._step:self._step].tolist()

    def is_cut(self, i: int) -> bool:
        """Whether the i-th datagram was longer than there was room (MSG_TRUNC)."""
        return (self._words[self._at(i) + LENGTH] & 0xFFFF_FFFF) > self.size

    def segment(self, i: int) -> int:
        """With UDP_GRO: how long each of the datagrams is that the i-th one stands for (the last may be shorter).

        0: it is one.
        """
        return (self._words[self._at(i) + LENGTH] >> 32) & 0xFFFF

    def clear(self) -> None:
        """Forget them all."""
        self._n = 0

    def remove(self, first: int, count: int = 1) -> None:
        """Take `count` out, from `first` on; those behind them move up."""
        end = min(first + count, self._n)
        if end <= first:
            return
        at, behind = self._at(first), end * self._step
        left = (self._n - end) * self._step
        self._words[at:at + left] = self._words[behind:behind + left]
        self._n -= end - first

    def append(self, data: Any, address: tuple[Any, ...] | None = None) -> None:
        """Add a datagram to be sent to a numeric address; None: to the socket's peer.

        IndexError: there is no room for one more; ValueError: it is longer than `size`.
        """
        data = memoryview(data).cast("B")
        if self._n == self.count:
            raise IndexError(f"room for {self.count} datagrams only")
        if len(data) > self.size:
            raise ValueError(f"{len(data)} bytes; room for {self.size} only")
        where = (0, 0, 0, 0)
        if address is not None:
            six = ":" in address[0]
            where = names.parse(_NO_ZONES, names.AF_INET6 if six else names.AF_INET, address, "append")
        self._n += 1
        at = self._at(self._n - 1)
        self._words[at:at + WORDS] = array("q", (*where[:3], min(where[3], 255), len(data), 0, 0, 0))
        self[self._n - 1][:] = data


class _NoZones:
    def if_nametoindex(self, name: str, /) -> int:
        raise OSError(f"no interface {name!r} here: give the scope id as a number")

    @property
    def resolver(self) -> Any:
        raise gaierror(EAI_NONAME, "Name or service not known: numeric addresses only")


_NO_ZONES = _NoZones()
