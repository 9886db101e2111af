"""Interfaces and routes: the part of a Stack that configures its IP layer."""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import index as to_int
from typing import TYPE_CHECKING, Any

from . import entry, names, views
from .clock import VirtualClock
from .drivers import CaptureFile, Driver, Loopback
from .interface import Interface
from .ip import setup
from .ip.address import LINK_LOCAL_HI
from .ip.link import LOOPBACK
from .ip.net import Medium, Net

if TYPE_CHECKING:
    from .dhcp import Lease
    from .dhcp.agent import Agent
    from .resolver import Resolver
    from .resolver.config import Server

LINK_LOCAL_PREFIX = 64
DHCP = "dhcp"               # in the place of an address


class Links:
    """What `Stack` says about interfaces, addresses and routes."""

    clock: VirtualClock | None
    _world: int
    _record: Any
    _net: Net
    _now: Callable[[], int]
    _interfaces: dict[int, Interface]
    _names: dict[int, str]
    _capture: CaptureFile | None
    _agents: dict[int, Agent]       # DHCP clients, by interface
    _told: tuple[list[Server], list[str]]   # what DHCP servers have told the resolver last
    resolver: Resolver

    def start(self) -> None:
        """See Stack.start."""
        raise NotImplementedError

    def _check(self) -> None:
        raise NotImplementedError

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Within it no turn runs: configuration may change."""
        entry.lock(self._world)
        try:
            yield
        finally:
            entry.unlock(self._world)

    # Interfaces

    def _open_loopback(self) -> None:
        driver = Loopback()
        interface = Interface(self, LOOPBACK, driver.name, driver)
        with self._guard():
            self._connect(interface)

    def _connect(self, interface: Interface) -> None:
        """Join a driver to its record.  The caller holds the world."""
        driver, record = interface.driver, self._net.interfaces[interface.index]
        driver.open(record.device, self._record.bell)
        driver.impair(record.impair_in, record.impair_out)
        driver.stack = self
        driver.guard = self._guard
        if self.clock is not None:
            driver.wait_hook = self._wait_for_frame
        self._interfaces[interface.index] = interface
        self._names[interface.index] = interface.name

    def _wait_for_frame(self, timeout: float | None, ready: Callable[[], bool]) -> bool:
        """A driver's `wait_hook`: virtual time passes until a frame is there."""
        assert self.clock is not None
        return self.clock.wait_until(ready, timeout)

    def attach(self, driver: Driver, ip: str | Iterable[str] | None = None, ip6: str | Iterable[str] | None = None,
               gateway: str | None = None, gateway6: str | None = None, mtu: int | None = None,
               name: str | None = None, *, dad: bool = True, link_local: bool = True) -> Interface:
        """Add an interface on a device.

        `ip`, `ip6`: its addresses with prefix length, one or several.  `ip="dhcp"`: a
        DHCP server is asked, in the background (`Interface.dhcp` waits for it).  `gateway`,
        `gateway6`: the default routers.  `mtu`: by default the device's.
        `dad=False`: use IPv6 addresses at once, without asking first whether
        somebody has them (which takes a second, Interface.is_ready).
        `link_local=False`: no fe80:: address of our own making.
        """
        self._check()
        if not isinstance(driver, Driver):
            raise TypeError(f"a driver (netstack.drivers), not {driver!r}")
        if driver.stack is not None:
            raise OSError(errno.EBUSY, f"{driver!r} is attached already")
        asks = ip == DHCP
        addresses = [_checked(a, 4) for a in _several(None if asks else ip)] + [_checked(a, 6) for a in _several(ip6)]
        gateways = [g for g in (gateway, gateway6) if g is not None]
        hops = [names.parse_host(g, "gateway") for g in gateways]
        mtu = driver.mtu if mtu is None else mtu
        if not isinstance(mtu, int) or not setup.MIN_MTU <= mtu <= setup.LOOPBACK_MTU:
            raise ValueError(f"mtu must be {setup.MIN_MTU} to {setup.LOOPBACK_MTU}, not {mtu!r}")
        if any(a.version == 6 for a in addresses) and mtu < setup.MIN_MTU_V6:
            raise ValueError(f"IPv6 needs an mtu of at least {setup.MIN_MTU_V6}, not {mtu} (RFC 8200 5)")
        for text, (hi, lo) in zip(gateways, hops, strict=True):
            if hi != LINK_LOCAL_HI and not any(_contains(a, hi, lo) for a in addresses):
                raise ValueError(f"gateway {text} is in none of the interface's networks "
                                 f"({', '.join(str(a.network) for a in addresses) or 'it has none'})")
        interface = self._add(driver, mtu, name or driver.name)
        try:
            if link_local and driver.ethernet and mtu >= setup.MIN_MTU_V6:
                own = setup.link_local(int.from_bytes(driver.mac, "big"))
                interface.add_address(f"{names.text6(LINK_LOCAL_HI, own)}/{LINK_LOCAL_PREFIX}", dad=dad)
            for address in addresses:
                interface.add_address(str(address), dad=dad)
            for text in gateways:
                self.add_route("default6" if ":" in text else "default", gateway=text, interface=interface)
            self.start()
            if asks:
                interface._ask_dhcp({})
        except BaseException:
            self._detach(interface)
            raise
        return interface

    def _add(self, driver: Driver, mtu: int, name: str) -> Interface:
        if any(i.name == name for i in self._interfaces.values()):
            raise ValueError(f"there is an interface {name!r} already: give this one another name")
        medium = Medium.POINT_TO_POINT if driver.point_to_point else Medium(driver.ethernet)
        with self._guard():
            index = setup.add_interface(self._net, mtu, int.from_bytes(driver.mac, "big"), medium)
            if index < 0:
                raise OSError(-index, f"cannot add interface {name}: {os.strerror(-index)}")
            interface = Interface(self, index, name, driver)
            try:
                self._connect(interface)
            except BaseException:
                setup.remove_interface(self._net, index)
                raise
        if self._capture is not None:
            self._capture.add_interface(index, name, mac=driver.mac)
        return interface

    def _detach(self, interface: Interface) -> None:
        if not interface.is_attached:
            return
        if interface.index == LOOPBACK:
            raise ValueError("the loopback interface stays")
        agent = self._agents.get(interface.index)
        if agent is not None:
            agent.close()
        with self._guard():
            interface.driver.close()
            setup.remove_interface(self._net, interface.index)
            del self._interfaces[interface.index]
            del self._names[interface.index]
        interface.driver.stack = None

    def dhcp(self, interface: str | int | Interface, timeout: float | None = 30.0, **options: Any) -> Lease:
        """An address from a DHCP server for an interface; see Interface.dhcp."""
        return self.interface(interface).dhcp(timeout, **options)

    @property
    def interfaces(self) -> list[Interface]:
        """Every interface, the loopback interface first."""
        return [self._interfaces[index] for index in sorted(self._interfaces)]

    def interface(self, which: str | int | Interface) -> Interface:
        """The interface with a name or an index; OSError ENODEV if there is none."""
        for candidate in self._interfaces.values():
            if which in (candidate, candidate.name, candidate.index):
                return candidate
        raise OSError(errno.ENODEV, f"no interface {which!r} (there are "
                                    f"{', '.join(i.name for i in self.interfaces)})")

    def if_nameindex(self) -> list[tuple[int, str]]:
        """(index, name) of each."""
        return [(i.index, i.name) for i in self.interfaces]

    def if_nametoindex(self, name: str, /) -> int:
        """The index of an interface; OSError if there is none."""
        if not isinstance(name, (str, bytes)):
            raise TypeError(f"expected str, bytes or os.PathLike object, not {type(name).__name__}")
        return self.interface(os.fsdecode(name)).index

    def if_indextoname(self, index: int, /) -> str:
        """The name of an interface; OSError if there is none."""
        return self.interface(to_int(index)).name

    # Routes

    def add_route(self, network: str, *, gateway: str | None = None, interface: str | int | Interface | None = None,
                  metric: int = 0, source: str | None = None) -> None:
        """A route: `network` is a prefix, "default" or "default6"; through a gateway, or on an interface's link."""
        self._check()
        hi, lo, prefix = names.parse_network(network)
        hop = names.parse_host(gateway, "gateway") if gateway is not None else (0, 0)
        own = names.parse_host(source, "source") if source is not None else (0, 0)
        if gateway is None and interface is None:
            raise ValueError("a route needs a gateway or an interface")
        if gateway is not None and (":" in gateway) != (":" in network or network == "default6"):
            raise ValueError(f"{network} and gateway {gateway} are of different families")
        index = self.interface(interface).index if interface is not None else 0
        with self._guard():
            r = setup.add_route(self._net, hi, lo, prefix, *hop, index, metric, *own)
        if r == -errno.EINVAL and gateway is not None and index == 0:
            raise ValueError(f"gateway {gateway} is on no interface's link: say which interface")
        if r == -errno.EEXIST:
            raise OSError(errno.EEXIST, f"there is a route to {network} like that already")
        if r < 0:
            raise OSError(-r, f"cannot add a route to {network}: {os.strerror(-r)}")

    def del_route(self, network: str, *, gateway: str | None = None,
                  interface: str | int | Interface | None = None) -> None:
        """Remove a route; OSError ESRCH if there is none like that."""
        self._check()
        hi, lo, prefix = names.parse_network(network)
        hop = names.parse_host(gateway, "gateway") if gateway is not None else (0, 0)
        index = self.interface(interface).index if interface is not None else 0
        with self._guard():
            r = setup.remove_route(self._net, hi, lo, prefix, *hop, index)
        if r < 0:
            raise OSError(-r, f"no such route: {network}" + (f" through {gateway}" if gateway else ""))

    @property
    def routes(self) -> list[views.Route]:
        """Every route, in the order in which they are tried."""
        with self._guard():
            return views.routes(self._net, dict(self.if_nameindex()))


def _several(value: str | Iterable[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _checked(value: str, version: int) -> Any:
    address = names.parse_interface(value)
    if address.version != version:
        raise ValueError(f"{value} is an IPv{address.version} address: give it as "
                         f"{'ip' if address.version == 4 else 'ip6'}=")
    return address


def _contains(address: Any, hi: int, lo: int) -> bool:
    mine = names.halves(address.network.network_address)
    prefix = address.network.prefixlen + (96 if address.version == 4 else 0)
    return views.matches(mine, (hi, lo), prefix)
