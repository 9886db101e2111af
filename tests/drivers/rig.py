"""A device under test: no stack, no clock; the test says what time it is."""
from __future__ import annotations

import ctypes
from collections.abc import Callable

from netstack.drivers import Driver, device, impair
from netstack.drivers.device import Device
from netstack.drivers.impair import Impair
from netstack.machine.timers import NEVER

MS = 1_000_000


class Parts:
    """A frame as the stack hands it over: pieces at addresses."""

    def __init__(self, *pieces: bytes) -> None:
        self.buffers = [ctypes.create_string_buffer(p, max(1, len(p))) for p in pieces]
        words = [w for b, p in zip(self.buffers, pieces, strict=True) for w in (ctypes.addressof(b), len(p))]
        self.iov = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self.iov)
        self.count = len(pieces)
        self.total = sum(map(len, pieces))


class Rig:
    """A driver opened as a stack opens it, and a clock."""

    def __init__(self, driver: Driver, bell: int = -1) -> None:
        self.driver = driver
        self.device = Device.new()
        self.inbound = Impair.new()
        self.outbound = Impair.new()
        self.now = 1_000 * MS
        driver.open(self.device, bell)
        driver.impair(self.inbound, self.outbound)

    def receive(self) -> bytes | None:
        """What the stack would receive now."""
        n = impair.receive(self.inbound, self.device, self.now)
        assert n >= 0
        if n == 0:
            return None
        frame = ctypes.string_at(self.device.frame, n)
        impair.done(self.inbound, self.device)
        return frame

    def send(self, *pieces: bytes) -> int:
        """The stack sends."""
        parts = Parts(*pieces)
        return impair.transmit(self.outbound, self.device, parts.address, parts.count, parts.total, self.now)

    def transmit(self, *pieces: bytes) -> int:
        """The stack sends, past the impairments."""
        parts = Parts(*pieces)
        return device.transmit(self.device, parts.address, parts.count, parts.total)

    def receive_all(self) -> list[bytes]:
        """Everything that is there now."""
        return list(iter(self.receive, None))

    def sniff_all(self) -> list[bytes]:
        """Everything that was sent."""
        return list(iter(lambda: self.driver.sniff(0), None))       # type: ignore[attr-defined]

    def arrivals(self, until: int) -> list[tuple[int, bytes]]:
        """Let time pass; (time, frame) of all that is received."""
        return self._pass(until, self.inbound, self.receive_all)

    def departures(self, until: int) -> list[tuple[int, bytes]]:
        """Let time pass; (time, frame) of all that leaves."""
        def look() -> list[bytes]:
            impair.release(self.outbound, self.device, self.now)
            return self.sniff_all()
        return self._pass(until, self.outbound, look)

    def _pass(self, until: int, imp: Impair, look: Callable[[], list[bytes]]) -> list[tuple[int, bytes]]:
        seen = [(self.now, f) for f in look()]
        while (due := impair.next_deadline(imp, self.now)) <= until:
            assert due > self.now
            self.now = due
            seen += [(self.now, f) for f in look()]
        self.now = until
        assert due == NEVER or due > until
        return seen


def frame(number: int, size: int = 60) -> bytes:
    """A frame that says which one it is."""
    return number.to_bytes(14, "big") + bytes((number + i) & 0xFF for i in range(size - 14))


def number(data: bytes) -> int:
    """Which one it is."""
    return int.from_bytes(data[:14], "big")
