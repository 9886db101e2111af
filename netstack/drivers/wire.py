"""Wire: an Ethernet link in memory, between a stack and Python, or between two stacks."""
from __future__ import annotations

import ctypes
import errno
import itertools
import os
import threading
import time
from collections.abc import Callable

from ..errors import EINVAL
from ..machine import (
    MS,
    addressof,
    at,
    compiled,
    entered,
    fence_seq,
    fetch_add,
    frames,
    load64,
    offsetof,
    store_release,
)
from ..machine.frames import ASLEEP, PUSHED, SLEEPERS, Frames
from ..machine.libc import futex_wait
from . import offload
from .base import LONGEST, SHORTEST, Device, Driver, Kind, mac_bytes
from .memory import Pages

SIZE = 4 << 20              # bytes of a queue
SMALLEST = 256 << 10        # one that, when empty, takes the longest frame wherever the ring's end is
SLICE = 100 * MS            # so long a sleep does not see a signal
CLOSED = offsetof(Frames, "closed")
PIECES = 6                  # of a frame that has a header in front
NOTES = 112                 # where that is put together: the last two words of Device.iov


@compiled
def receive(dev: Device) -> int:
    """Lend the first frame of the queue, where it stands."""
    frame = frames.peek(at(Frames, dev.rx))
    if frame == 0:
        return 0
    n = frames.length(frame)
    if dev.vnet != 0:
        n -= offload.HEADER
        offload.parse(dev.rx_notes, frame, n, 0)
        frame += offload.HEADER
    dev.frame = frame
    return n


@compiled
def done(dev: Device) -> None:
    """Move past the lent frame."""
    frames.drop(at(Frames, dev.rx))


@compiled
def transmit(dev: Device, iov: int, parts: int, total: int) -> int:
    """Append a frame to the other end's queue; nobody there: it is gone, as on a cable pulled out."""
    queue = at(Frames, dev.tx)
    if queue.closed != 0:
        return total
    if dev.vnet != 0:
        return _transmit_noted(dev, queue, iov, parts, total)
    return frames.push(queue, iov, parts, total)


@compiled
def _transmit_noted(dev: Device, queue: Frames, iov: int, parts: int, total: int) -> int:
    """... with a virtio-net header in front of it that says what is left to the reader (the loopback interface)."""
    if parts > PIECES:
        return -EINVAL
    header = addressof(dev.iov) + NOTES
    offload.emit(dev.tx_notes, header, 0)
    offload.clear(dev.tx_notes)
    dev.iov[0] = header
    dev.iov[1] = offload.HEADER
    for i in range(2 * parts):
        dev.iov[2 + i] = load64(iov + 8 * i)
    sent = frames.push(queue, addressof(dev.iov), parts + 1, total + offload.HEADER)
    return total if sent > 0 else sent


@compiled
def has_room(dev: Device, n: int) -> bool:
    """Whether the other end's queue takes a frame of n bytes."""
    queue = at(Frames, dev.tx)
    return queue.closed != 0 or frames.has_room(queue, n)


@compiled
def is_pending(dev: Device) -> bool:
    """Whether a frame waits."""
    return not frames.is_empty(at(Frames, dev.rx))


@compiled
def sleep(dev: Device) -> bool:
    """Ask for the bell, then look once more: a writer does these in the other order."""
    queue = at(Frames, dev.rx)
    store_release(addressof(queue) + ASLEEP, 1)
    fence_seq()
    return frames.is_empty(queue)


@compiled
def wake(dev: Device) -> None:
    """No bell needed."""
    store_release(addressof(at(Frames, dev.rx)) + ASLEEP, 0)


# ---- the Python side -------------------------------------------------------------

@entered
def push(queue: int, iov: int, total: int) -> int:
    """`frames.push` of a frame in one piece."""
    return frames.push(at(Frames, queue), iov, 1, total)


@entered
def peek(queue: int) -> int:
    """`frames.peek`."""
    return frames.peek(at(Frames, queue))


@entered
def drop(queue: int) -> int:
    """`frames.drop`."""
    frames.drop(at(Frames, queue))
    return 0


class Queue:
    """A frame queue's memory; it lives until both who write and who read have let go."""

    def __init__(self, size: int) -> None:
        self._pages = Pages(frames.space(size))
        self.address = self._pages.address
        self.frames: Frames = at(Frames, self.address)
        self._bell = -1
        self._has_reader = self._has_writer = True
        frames.init(self.frames, size)

    def set_bell(self, fd: int) -> None:
        """Who reads sleeps on eventfd `fd`.  Ours is a copy: a writer may ring it after the reader closed its own."""
        if self._bell < 0 and fd >= 0:
            self._bell = os.dup(fd)
            self.frames.bell = self._bell

    def close_reader(self) -> None:
        """Nobody reads any more."""
        store_release(self.address + CLOSED, 1)
        store_release(self.address + ASLEEP, 0)
        self._has_reader = False
        self._close_bell()

    def close_writer(self) -> None:
        """Nobody writes any more."""
        self._has_writer = False
        self._close_bell()

    def _close_bell(self) -> None:
        if self._bell >= 0 and not self._has_reader and not self._has_writer:
            self.frames.bell = -1
            os.close(self._bell)
            self._bell = -1

    def push(self, frame: bytes) -> bool:
        """Append a frame.  False: no room."""
        data = ctypes.create_string_buffer(frame, len(frame))
        iov = (ctypes.c_int64 * 2)(ctypes.addressof(data), len(frame))
        return push(self.address, ctypes.addressof(iov), len(frame)) > 0

    def pop(self) -> bytes | None:
        """Take the first frame, if there is one."""
        frame = peek(self.address)
        if frame == 0:
            return None
        data = ctypes.string_at(frame, frames.length(frame))
        drop(self.address)
        return data

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return bool(frames.is_empty(self.frames))

    def wait(self, deadline: int | None, is_over: Callable[[], bool]) -> bool:
        """Sleep until a frame is there (True), or CLOCK_MONOTONIC says `deadline` (ns), or nothing can come any more.

        In slices, so that a signal is seen.
        """
        fetch_add(self.address + SLEEPERS, 1)
        try:
            while True:
                pushed = self.frames.pushed
                if not self.is_empty():
                    return True
                left = SLICE if deadline is None else min(deadline - time.monotonic_ns(), SLICE)
                if left <= 0 or is_over():
                    return False
                futex_wait(self.address + PUSHED, pushed, left)
        finally:
            fetch_add(self.address + SLEEPERS, -1)

    def __del__(self) -> None:
        if getattr(self, "_bell", -1) >= 0:
            os.close(self._bell)


class Wire(Driver):
    """One end of a link in memory, to be attached to a stack.

    Python is at the other end (`inject`, `sniff`) unless the wire is joined to
    another one.  `size`: bytes of the queue each way, a power of two; a frame that
    finds it full is dropped, and counted in `dropped`.
    """

    _numbers = itertools.count(1)

    def __init__(self, mac: bytes | str | None = None, *, size: int = SIZE, mtu: int = 1500, name: str = "") -> None:
        if size < SMALLEST or size & (size - 1):
            raise ValueError(f"size must be a power of two from {SMALLEST} on, not {size}")
        if not 68 <= mtu <= 65535:                      # RFC 791 3.2: every host forwards 68 bytes
            raise ValueError(f"mtu must be 68 to 65535, not {mtu}")
        number = next(Wire._numbers)
        self.name = name or f"wire{number}"
        self.mac = mac_bytes(mac) if mac is not None else b"\x02\x4e\x53" + (number & 0xFF_FFFF).to_bytes(3, "big")
        self.mtu = mtu
        self._rx = Queue(size)                          # what the stack receives
        self._tx = Queue(size)                          # what it sends
        self._peer: Wire | None = None
        self._state = "new"
        self._reader = threading.Lock()
        self._writer = threading.Lock()

    # ---- the stack's side

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open."""
        if self._state != "new":
            raise OSError(errno.EBUSY, f"{self!r} cannot be attached: it is {self._state}")
        self._rx.set_bell(bell)
        self._device = device
        device.fd = -1
        device.rx = self._rx.address
        device.tx = self._tx.address
        device.kind = Kind.WIRE
        self._state = "attached"

    def close(self) -> None:
        """See Driver.close.  The other end's frames are lost from now on; what was sent can still be sniffed."""
        super().close()
        self._state = "closed"
        self._rx.close_reader()
        self._tx.close_writer()
        if self._peer is None:
            with self._writer:
                self._rx.close_writer()

    # ---- the other side

    def inject(self, frame: bytes) -> None:
        """Give the stack a frame (Ethernet header first, no checksum) as if it came over the link.

        ValueError for one of less than 14 or more than 65550 bytes; OSError
        ENOBUFS when the queue is full, ENETDOWN when the wire is closed.
        """
        if not SHORTEST <= len(frame) <= LONGEST:
            raise ValueError(f"a frame has {SHORTEST} to {LONGEST} bytes, not {len(frame)}")
        with self._writer:
            if self._state == "closed":
                raise OSError(errno.ENETDOWN, f"{self!r} is closed")
            if not self._rx.push(bytes(frame)):
                raise OSError(errno.ENOBUFS, f"{self!r}: the queue is full; the stack does not keep up or does not run")

    def sniff(self, timeout: float | None = None) -> bytes | None:
        """The next frame that the stack sent, as bytes.

        None after `timeout` seconds (0: only look; None: no limit), or when the
        stack has closed.  With a stack on a virtual clock these are virtual
        seconds, and the stack runs meanwhile.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be None or at least 0, not {timeout!r}")
        if self._peer is not None:
            raise OSError(errno.EBUSY, f"{self!r} is joined to {self._peer.name}, which receives its frames")
        with self._reader:
            frame = self._tx.pop()
            if frame is None and self._wait(timeout, lambda: not self._tx.is_empty()):
                frame = self._tx.pop()
            return frame

    def _wait(self, timeout: float | None, ready: Callable[[], bool]) -> bool:
        if self.wait_hook is not None:
            return self.wait_hook(timeout, ready)
        if timeout == 0:
            return False
        deadline = None if timeout is None else time.monotonic_ns() + int(timeout * 1e9)
        return self._tx.wait(deadline, lambda: self._state == "closed")

    @property
    def dropped(self) -> tuple[int, int]:
        """Frames that found the queue full: towards the stack, and from it."""
        return self._rx.frames.dropped, self._tx.frames.dropped

    # ---- two stacks

    @staticmethod
    def join(a: Wire, b: Wire) -> None:
        """Connect two wires back to back: what one sends the other receives.  Before they are attached."""
        for wire in (a, b):
            if wire._state != "new" or wire._peer is not None or a is b:
                raise OSError(errno.EBUSY, f"{wire!r} cannot be joined: it is joined or in use already")
        a._tx, b._tx = b._rx, a._rx
        a._peer, b._peer = b, a

    @staticmethod
    def pair(*, size: int = SIZE, mtu: int = 1500) -> tuple[Wire, Wire]:
        """Two wires, joined."""
        a, b = Wire(size=size, mtu=mtu), Wire(size=size, mtu=mtu)
        Wire.join(a, b)
        return a, b

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._state}>"
