"""Loopback: a wire whose two ends are one queue.  `wire` does the work."""
from __future__ import annotations

from .base import Device, Driver, Kind
from .offload import HEADER, Feature
from .wire import SIZE, Queue


class Loopback(Driver):
    """The interface "lo" of a stack: what it sends it receives.

    No checksum is computed and nothing is cut on the way, as on Linux, unless somebody captures.
    """

    name = "lo"
    mtu = 65535
    ethernet = False

    def __init__(self, *, size: int = SIZE) -> None:
        self._queue = Queue(size)

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open.  Nobody else writes to the queue, so nobody needs the bell."""
        self._device = device
        device.fd = -1
        device.rx = device.tx = self._queue.address
        device.vnet = HEADER
        device.features = Feature.CSUM | Feature.TSO | Feature.USO
        device.kind = Kind.LOOPBACK

    def close(self) -> None:
        """See Driver.close."""
        super().close()
        self._queue.close_reader()
