"""What the engine wants a person to know: address conflicts, devices that are gone.

Compiled code only counts and raises `Net.attention`; the background thread (or the
virtual clock) then comes by here, and Python's `logging` gets a warning on the
logger "netstack".
"""
from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping

from .world import World

log = logging.getLogger("netstack")
V4_MAPPED = 0xFFFF
LOW64 = (1 << 64) - 1


class Attention:
    """Remembers what was reported, so that each thing is said once.

    `names`: the interfaces' names by index; it is read when something is reported.
    """

    def __init__(self, world: World, names: Mapping[int, str]) -> None:
        self._world = world
        self._names = names
        self._conflicts: dict[int, int] = {}
        self._gone: set[int] = set()

    def look(self) -> None:
        """Report what is new."""
        net = self._world.net
        net.attention = 0
        for index in range(1, net.interface_count + 1):
            iface = net.interfaces[index]
            name = self._names.get(index, f"interface {index}")
            before = self._conflicts.get(index, 0)
            self._conflicts[index] = iface.conflicts
            if iface.conflicts > before:
                log.warning("%s: address conflict: %s is also used by %s (RFC 5227, RFC 4862), %d times so far", name,
                            _address(iface.conflict_hi, iface.conflict_lo),
                            iface.conflict_mac.to_bytes(6, "big").hex(":"), iface.conflicts)
            if iface.index != 0 and iface.up == 0 and index not in self._gone:
                self._gone.add(index)
                log.warning("%s: the device is gone; the interface is down", name)
            elif iface.up != 0:
                self._gone.discard(index)


def _address(hi: int, lo: int) -> str:
    if hi == 0 and lo >> 32 == V4_MAPPED:
        return str(ipaddress.IPv4Address(lo & 0xFFFF_FFFF))
    return str(ipaddress.IPv6Address((hi & LOW64) << 64 | (lo & LOW64)))
