"""Interface: one interface of a stack, as Python sees it.  `Stack.attach` makes them."""
from __future__ import annotations

import errno
import ipaddress
import os
from typing import TYPE_CHECKING, Any

from . import names, views
from .ip import setup
from .ip.address import State
from .ip.net import Interface as Record

if TYPE_CHECKING:
    from .dhcp import Lease
    from .dhcp.agent import Agent
    from .drivers import Driver
    from .links import Links

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface

MAPPED_BITS = 96        # an IPv4 prefix length counts from here


def address_of(hi: int, lo: int, prefix: int) -> Address:
    """The address object for halves and a prefix length of 128."""
    if hi == 0 and lo >> 32 == 0xFFFF:
        return ipaddress.IPv4Interface(f"{names.text4(lo)}/{prefix - MAPPED_BITS}")
    return ipaddress.IPv6Interface(f"{names.text6(hi, lo)}/{prefix}")


def prefix_of(address: Address) -> int:
    """Its prefix length of 128."""
    return address.network.prefixlen + (MAPPED_BITS if address.version == 4 else 0)


class Interface:
    """One interface."""

    def __init__(self, stack: Links, index: int, name: str, driver: Driver) -> None:
        self.stack = stack
        self.index = index
        self.name = name
        self.driver = driver

    def __repr__(self) -> str:
        if not self.is_attached:
            return f"<Interface {self.name} detached>"
        return f"<Interface {self.index} {self.name} {' '.join(map(str, self.addresses))} mtu {self.mtu}>"

    @property
    def _record(self) -> Record:
        if not self.is_attached:
            raise OSError(errno.ENODEV, f"interface {self.name} is detached")
        return self.stack._net.interfaces[self.index]

    @property
    def is_attached(self) -> bool:
        """Whether it is part of its stack (still)."""
        return self.stack._interfaces.get(self.index) is self

    @property
    def mac(self) -> str:
        """Our end's Ethernet address."""
        return int(self._record.mac).to_bytes(6, "big").hex(":")

    @property
    def mtu(self) -> int:
        """Largest IP packet, bytes."""
        return self._record.mtu

    @property
    def addresses(self) -> list[Address]:
        """Its addresses, in the order in which they were added."""
        record = self._record
        return [address_of(a.hi, a.lo, a.prefix)
                for a in (record.addresses[i] for i in range(record.address_count))]

    @property
    def states(self) -> dict[str, str]:
        """The state of each address: "preferred", "tentative" (still being probed), "duplicate" ..."""
        record = self._record
        return {names.text(a.hi, a.lo): State(a.state).name.lower()
                for a in (record.addresses[i] for i in range(record.address_count))}

    @property
    def is_ready(self) -> bool:
        """Whether every address may be used: none is being probed any more."""
        return "tentative" not in self.states.values()

    @property
    def counters(self) -> dict[str, int]:
        """Packets and bytes each way."""
        record = self._record
        return {name: int(getattr(record, name)) for name in (
            "rx_packets", "rx_bytes", "tx_packets", "tx_bytes", "tx_errors", "conflicts")}

    def add_address(self, address: str, *, dad: bool = True) -> None:
        """Give it another address, such as 10.0.0.3/24.  `dad`: probe first whether somebody has it."""
        made = names.parse_interface(address)
        hi, lo = names.halves(made.ip)
        stack = self.stack
        with stack._guard():
            record, settings = self._record, stack._net.settings
            probes = settings.dad_transmits, settings.arp_probes
            if not dad:
                settings.dad_transmits = settings.arp_probes = 0
            try:
                r = setup.add_address(stack._net, record.index, hi, lo, prefix_of(made), stack._now())
            finally:
                settings.dad_transmits, settings.arp_probes = probes
        if r == -errno.EEXIST:
            raise OSError(errno.EEXIST, f"{self.name} has {made.ip} already")
        if r == -errno.EINVAL and made.version == 6 and self.mtu < setup.MIN_MTU_V6:
            raise ValueError(f"{self.name}: IPv6 needs an MTU of at least {setup.MIN_MTU_V6}, not {self.mtu}")
        if r < 0:
            raise OSError(-r, f"{self.name}: cannot add {made}: {os.strerror(-r)}")

    def remove_address(self, address: str) -> None:
        """Take an address away (a prefix length is not needed).  Its connections end by their timeouts."""
        hi, lo = names.parse_host(str(address).partition("/")[0])
        with self.stack._guard():
            r = setup.remove_address(self.stack._net, self._record.index, hi, lo, self.stack._now())
        if r < 0:
            raise OSError(-r, f"{self.name}: no address {address}")

    def dhcp(self, timeout: float | None = 30.0, **options: Any) -> Lease:
        """The lease of a DHCP server (RFC 2131), when there is one: at once, if this interface has one already.

        It is renewed for as long as the stack is open; `lease.close()` ends it.  Without a client in the background
        (`Stack.attach`, ip="dhcp") one is started, which ends with a TimeoutError.  `timeout`: seconds, None: no limit.
        `options`: `host_name` that the server is told, `address` that we would like, `client_id` (bytes; by default
        1 and the MAC address), `release`: tell the server at the end that the address is free.

        Raises TimeoutError; ValueError for an interface without Ethernet, or wrong options; OSError EBUSY for options
        when a client is there, ESHUTDOWN when the stack is closed meanwhile, ECANCELED when the client is ended.
        """
        agent = self.stack._agents.get(self.index)
        if agent is not None and options:
            raise OSError(errno.EBUSY, f"{self.name}: there is a DHCP client already")
        if agent is not None:
            return agent.wait(timeout)
        agent = self._ask_dhcp(options)
        try:
            return agent.wait(timeout)
        except BaseException:
            agent.close()
            raise

    def _ask_dhcp(self, options: dict[str, Any]) -> Agent:
        """Start a DHCP client."""
        from .dhcp.agent import Agent

        self.stack._check()
        _ = self._record                # ENODEV
        agent = Agent(self, **options)
        if self.stack._agents.setdefault(self.index, agent) is not agent:
            raise OSError(errno.EBUSY, f"{self.name}: there is a DHCP client already")
        try:
            agent.start()
        except BaseException:
            agent.close()
            raise
        return agent

    @property
    def lease(self) -> Lease | None:
        """What a DHCP server has granted it; None: nothing."""
        agent = self.stack._agents.get(self.index)
        return None if agent is None else agent.lease

    @property
    def neighbours(self) -> dict[str, str]:
        """Addresses on the link, and what is known of each: "incomplete" (asked for), "reachable", "stale" ..."""
        with self.stack._guard():
            return views.neighbours(self.stack._net, self._record.index)

    def detach(self) -> None:
        """Take the interface out of the stack and close its device."""
        self.stack._detach(self)
