"""Sharded: one world's queue of an interface that several worlds share (steer.py); `netstack.Shards` makes them."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..machine import addressof, load8, store8
from . import steer
from .base import Device, Driver
from .impair import Impair
from .memory import Pages, zeroed
from .steer import MOST, PORTS, Steer
from .wire import Queue

RING = 4 << 20          # bytes of a world's ring
MAPPED = 0xFFFF         # above an IPv4 address in 128 bits
_flow: Callable[..., int] = getattr(steer.flow, "py_func", steer.flow)     # as Python: it need not be quick here


class Owners:
    """Which world a local port belongs to, for every interface of `count` worlds."""

    def __init__(self, count: int, secret: int) -> None:
        if not 1 <= count <= MOST:
            raise ValueError(f"1 to {MOST} worlds, not {count!r}")
        self.count = count
        self.secret = secret
        self._pages = Pages(2 * PORTS)
        self.address = self._pages.address
        self._steer = self.record(0)            # for `of_flow`

    def give(self, port: int, world: int | None, *, udp: bool) -> None:
        """From now on the port is that world's; None: shared, each flow's hash says whose it is."""
        store8(self.address + udp * PORTS + port, 0 if world is None else world + 1)

    def of_port(self, port: int, *, udp: bool) -> int | None:
        """The world that has the port, or None: it is shared."""
        found = load8(self.address + udp * PORTS + port)
        return None if found == 0 else found - 1

    def of_flow(self, port: int, hi: int, lo: int, remote: int, *, udp: bool = False) -> int:
        """The world that has the flow between our port and an address (its halves; IPv4 is mapped) and port."""
        if hi == 0 and lo >> 32 == MAPPED:
            lo &= 0xFFFF_FFFF
        return _flow(self._steer, int(udp), port, hi, lo, remote)

    def record(self, index: int) -> Steer:
        """A new Steer of world `index`, without rings."""
        made = zeroed(Steer)
        made.index, made.count = index, self.count
        made.owners, made.secret = self.address, self.secret
        return made


class Sharded(Driver):
    """`driver`, one queue of an interface, as one world has it.  What is not found here is the wrapped driver's."""

    def __init__(self, driver: Driver, owners: Owners, index: int, rings: Sequence[Queue]) -> None:
        self.driver = driver
        self._owners = owners                   # the records have addresses in them, so they live as long as we do
        self._rings = rings
        self._index = index
        self.steer = owners.record(index)
        for i, ring in enumerate(rings):
            self.steer.rings[i] = ring.address

    @staticmethod
    def share(drivers: Sequence[Driver], owners: Owners, ring: int = RING) -> list[Sharded]:
        """One for each world's queue; `ring`: bytes of what waits to be handed to each."""
        rings = [Queue(ring) for _ in drivers]
        return [Sharded(driver, owners, i, rings) for i, driver in enumerate(drivers)]

    @property
    def counters(self) -> dict[str, int]:
        """Frames handed to other worlds, taken from them, given to all, lost on the way to us, and fragments astray."""
        found = {name: int(getattr(self.steer, name)) for name in ("handed_on", "taken", "copied", "astray")}
        return {**found, "hand_on_drops": int(self._rings[self._index].frames.dropped)}

    def open(self, device: Device, bell: int = -1) -> None:
        """See Driver.open."""
        self.driver.open(device, bell)
        self._rings[self._index].set_bell(bell)
        self._device = device
        device.steer = addressof(self.steer)

    def impair(self, inbound: Impair, outbound: Impair) -> None:
        """See Driver.impair."""
        self.driver.impair(inbound, outbound)

    def set_offload(self, on: bool) -> None:
        """See Driver.set_offload."""
        self.driver.set_offload(on)

    def close(self) -> None:
        """See Driver.close.  What the others hand us from now on is lost."""
        device, self._device = self._device, None
        self.driver.close()
        if device is not None:
            device.steer = 0
        self._rings[self._index].close_reader()
        # The ring's memory, and a copy of the bell, stay for those who are about to write.
        if all(ring.frames.closed for ring in self._rings):
            for ring in self._rings:
                ring.close_writer()

    def __getattr__(self, name: str) -> Any:
        if name == "driver":
            raise AttributeError(name)
        return getattr(self.driver, name)

    def __repr__(self) -> str:
        return f"Sharded({self.driver!r})"


def _forwarded(name: str) -> Any:
    """An attribute that the wrapped driver has."""
    return property(lambda self: getattr(self.driver, name), lambda self, value: setattr(self.driver, name, value))


for _name in ("name", "mac", "mtu", "ethernet", "point_to_point", "offload", "stack", "wait_hook", "guard"):
    setattr(Sharded, _name, _forwarded(_name))
