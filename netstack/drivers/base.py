"""What every kind of device has: the record that compiled code sees, and the class that Python sees.

The record lives inside an interface of the stack; a driver's `open` fills it in.
Frames are Ethernet frames without the checksum, as on a Linux TAP.
"""
from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

from ..machine import Array, i32, i64, record, u8
from .offload import Offload

if TYPE_CHECKING:
    from .impair import Impair


class Kind(IntEnum):
    """What a device is."""

    NONE = 0
    LOOPBACK = 1
    TAP = 2         # and whatever else is a descriptor that gives and takes one frame in each system call
    WIRE = 3


HEADROOM = 64           # bytes free before a received frame (a virtio-net header goes there)
BUFFER = 65536 + 512    # bytes that a device's receive buffer takes
SHORTEST = 14           # bytes of a frame that is all header
LONGEST = 65550         # ... and of one that carries the largest IP packet


@record
class Device:
    """One device of one interface."""

    kind: u8
    vnet: u8        # bytes of the virtio-net header before each frame, or 0
    features: u8    # offload.Feature: what it does for us when we send
    bare: u8        # bytes of Ethernet header that frames lack outside, and get here: 14 (TUN) or 0
    fd: i32         # what poll(2) watches, or -1
    frame: i64      # address of the frame that `receive` lent
    buffer: i64     # address of a buffer of BUFFER bytes, where the system writes frames (TAP, TUN, AF_PACKET)
    rx: i64         # address of the Frames queue we read (wire, loopback), or 0
    tx: i64         # address of the Frames queue we write, or 0
    steer: i64      # address of the Steer record, if several worlds share the interface, or 0
    rx_notes: Offload   # of the frame that `receive` lent
    tx_notes: Offload   # of the frame that `transmit` is given; cleared by it
    expect: i32     # bytes of headers before text that goes to `places`; 0: nothing is foreseen
    placed: i32     # bytes of the lent frame that stand there; the others are at `frame`
    places: Annotated[Array[i64], 4]    # address, length, address, length: one place, and where it goes on
    iov: Annotated[Array[i64], 16]      # pieces for the system: the virtio-net header, then the frame's


class Driver:
    """The Python side of a device: opens it, knows its name and address, closes it."""

    name: str = ""
    mac: bytes = bytes(6)       # our end's address
    mtu: int = 1500             # largest IP packet, bytes
    ethernet: bool = True       # False: no addresses to resolve (loopback)
    point_to_point: bool = False        # ... but another host at the far end (TUN)
    stack: Any = None           # the stack it is attached to
    offload: bool = False       # whether checksums and the cutting of segments are left to the device

    wait_hook: Callable[[float | None, Callable[[], bool]], bool] | None = None
    """Set by a stack on a virtual clock: run until `ready()`, at most `timeout` virtual seconds (0: a turn now)."""

    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    """Set by a stack: a context in which no turn runs."""

    _device: Device | None = None

    def open(self, device: Device, bell: int = -1) -> None:
        """Fill in the record.  `bell`: the eventfd that wakes the stack when it sleeps in poll(2)."""
        raise NotImplementedError

    def impair(self, inbound: Impair, outbound: Impair) -> None:
        """Fill in the interface's impairments; called after `open`.  A plain driver has none."""

    def set_offload(self, on: bool) -> None:
        """Leave checksums and the cutting of segments to the device, or not (`ethtool -K`).

        OSError EOPNOTSUPP if it cannot.
        """
        if on:
            raise OSError(errno.EOPNOTSUPP, f"{self!r} has no offloads")

    def close(self) -> None:
        """Give everything back; the record says then that there is no device.  Twice does no harm.

        The stack calls this within `guard`, or when no turn runs any more.
        """
        device, self._device = self._device, None
        if device is not None:
            device.kind = Kind.NONE
            device.features = 0
            device.fd = -1

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def mac_text(mac: bytes) -> str:
    """aa:bb:cc:dd:ee:ff"""
    return mac.hex(":")


def mac_bytes(mac: bytes | str) -> bytes:
    """Six bytes from six bytes, or from text with : or - between them.  ValueError if it is no station's address."""
    if isinstance(mac, str):
        digits = mac.replace("-", ":").split(":")
        if len(digits) != 6 or not all(0 < len(d) <= 2 for d in digits):
            raise ValueError(f"not an Ethernet address: {mac!r}")
        mac = bytes(int(d, 16) for d in digits)
    mac = bytes(mac)
    if len(mac) != 6:
        raise ValueError(f"an Ethernet address has 6 bytes, not {len(mac)}")
    if mac[0] & 1 or not any(mac):
        raise ValueError(f"{mac_text(mac)} is not the address of one station")
    return mac
