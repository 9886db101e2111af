"""CaptureFile: Python's side of a capture.  `pcap` writes the frames.

draft-ietf-opsawg-pcapng: the section header (4.1) and the interface descriptions (4.2).
"""
from __future__ import annotations

import ctypes
import errno
import os
import platform
import stat
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..machine import addressof, copy, sizeof, zero
from . import pcap
from .memory import Pages, zeroed
from .pcap import Capture

CAPTURE = sizeof(Capture)

SECTION_HEADER = 0x0A0D0D0A
BYTE_ORDER = 0x1A2B3C4D
INTERFACE_DESCRIPTION = 1
LINKTYPE_ETHERNET = 1

SHB_HARDWARE, SHB_OS, SHB_USERAPPL = 2, 3, 4                    # option codes (4.1)
IF_NAME, IF_DESCRIPTION, IF_MACADDR, IF_SPEED, IF_TSRESOL = 2, 3, 6, 8, 9       # (4.2)
END_OF_OPTIONS = 0
NANOSECONDS = 9
WHOLE = 1 << 18         # a snaplen that keeps all of every frame; libpcap refuses larger ones


def block(kind: int, body: bytes) -> bytes:
    """A block: type, length, body, length again (3.1)."""
    length = 12 + len(body)
    return struct.pack(">II", kind, length) + body + struct.pack(">I", length)


def option(code: int, value: bytes) -> bytes:
    """An option, padded to 32 bits (3.5)."""
    return struct.pack(">HH", code, len(value)) + value + bytes(-len(value) % 4)


def section_header() -> bytes:
    """The block that opens a file (4.1); the section's length is not given."""
    options = (option(SHB_HARDWARE, platform.machine().encode()) + option(SHB_OS, platform.platform().encode())
               + option(SHB_USERAPPL, b"netstack") + option(END_OF_OPTIONS, b""))
    return block(SECTION_HEADER, struct.pack(">IHHq", BYTE_ORDER, 1, 0, -1) + options)


def interface_description(name: str, snaplen: int, *, mac: bytes = b"", description: str = "") -> bytes:
    """The block that stands before an interface's first frame (4.2)."""
    options = option(IF_NAME, name.encode())
    if description:
        options += option(IF_DESCRIPTION, description.encode())
    if any(mac):
        options += option(IF_MACADDR, mac)
    options += option(IF_TSRESOL, bytes([NANOSECONDS])) + option(END_OF_OPTIONS, b"")
    return block(INTERFACE_DESCRIPTION, struct.pack(">HHI", LINKTYPE_ETHERNET, 0, snaplen) + options)


class CaptureFile:
    """A pcapng file that a stack's frames go to.

    `file`: a path, or an open descriptor that we may write to (a pipe to Wireshark)
    and that stays open.  `snaplen`: bytes kept of each frame (0: all).  `epoch`:
    what to add to the stack's clock for nanoseconds since 1970; by default that of
    CLOCK_MONOTONIC, for a stack on a virtual clock pass the time of its beginning.
    """

    guard: Callable[[], AbstractContextManager[Any]] = nullcontext      # set by a stack: no turn runs inside

    def __init__(self, file: str | os.PathLike[str] | int, *, snaplen: int = 0, epoch: int | None = None) -> None:
        if snaplen < 0:
            raise ValueError(f"snaplen must be 0 (all) or more, not {snaplen}")
        self._fd = -1
        self._own = not isinstance(file, int)
        self.name = str(file) if isinstance(file, int) else os.fspath(file)
        self._fd = file if isinstance(file, int) else os.open(
            file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._pages = Pages(pcap.BUFFER)
        self._capture = zeroed(Capture)      # ours until attached
        self._capture.fd = self._fd
        self._capture.buffer = self._pages.address
        self._capture.snaplen = min(snaplen, WHOLE) or WHOLE
        self._capture.epoch = time.time_ns() - time.monotonic_ns() if epoch is None else epoch
        self._capture.on = 1
        self._described = 0
        try:
            self._append(section_header())
            self.flush()
        except BaseException:
            self._close_fd()
            raise

    def open(self, capture: Capture) -> None:
        """Start capturing through a stack's record."""
        if self._fd < 0:
            raise OSError(errno.EBADF, f"{self.name}: this capture is closed")
        self._move(capture)

    def add_interface(self, index: int, name: str, *, mac: bytes = b"", description: str = "") -> None:
        """Describe the stack's interface `index`; its frames are captured from now on."""
        if not 0 <= index < pcap.INTERFACES:
            raise ValueError(f"an interface's number is below {pcap.INTERFACES}, not {index}")
        with self.guard():
            self._append(interface_description(name, self._capture.snaplen, mac=mac, description=description))
            self._described += 1
            self._capture.blocks[index] = self._described

    def flush(self) -> None:
        """Write what has been captured so far.  OSError when the file could not be written, now or before."""
        with self.guard():
            if self._capture.on:
                pcap.flush(self._capture)
        self._check()

    def close(self) -> None:
        """Stop, and write the rest.  OSError when the file could not be written whole; it ends with a whole block."""
        if self._fd < 0:
            return
        with self.guard():
            self._move(zeroed(Capture))
            if self._capture.on:
                pcap.flush(self._capture)
            self._capture.on = 0
        try:
            self._trim()
        finally:
            self._close_fd()
        self._check()

    @property
    def counters(self) -> dict[str, int]:
        """Frames and bytes captured, frames dropped, and the errno that ended the capture, or 0."""
        return {name: int(getattr(self._capture, name)) for name in ("frames", "bytes", "dropped", "error")}

    def _move(self, to: Capture) -> None:
        old, self._capture = self._capture, to
        copy(addressof(to), addressof(old), CAPTURE)
        zero(addressof(old), CAPTURE)

    def _append(self, data: bytes) -> None:
        raw = ctypes.create_string_buffer(data, len(data))
        if not pcap.append(self._capture, ctypes.addressof(raw), len(data)):
            self._check()
            raise OSError(errno.EAGAIN, f"{self.name}: the reader of the capture does not keep up")

    def _check(self) -> None:
        if self._capture.error:
            code = self._capture.error
            raise OSError(code, f"{self.name}: the capture ended: {os.strerror(code)}")

    def _trim(self) -> None:
        """Cut off a block that was written in part."""
        if self._own and self._capture.boundary < self._capture.written and stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, self._capture.boundary)

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if self._own and fd >= 0:
            os.close(fd)

    def __enter__(self) -> CaptureFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
