"""What a lease changes on the stack, and how it is undone: address, routes, MTU, name servers.

RFC 2131 4.4.1, 4.4.5; RFC 3442 (routes).  What the program has set itself stays.
"""
from __future__ import annotations

import errno
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from ..resolver.config import server as name_server
from .lease import Lease
from .options import Route

if TYPE_CHECKING:
    from ..interface import Interface
    from ..links import Links

log = logging.getLogger("netstack")
_telling = threading.Lock()
LEAST_MTU = 576                 # below that it is a mistake, or an attack (RFC 791 3.1: every host takes 576 bytes)
LEAST_MTU_V6 = 1280             # RFC 8200 5


class Configuration:
    """What leases have changed on one interface."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._mtu = interface.mtu       # the program's
        self._ip: str | None = None     # the address that was added
        self._routes: list[Route] = []  # that were added

    def claim(self, lease: Lease) -> None:
        """Give the interface the address, if it has it not.  OSError: there is no room for it."""
        if self._ip == lease.ip:
            return
        if self._ip is not None:
            self.clear()                # another prefix length
        try:
            self._interface.add_address(lease.ip)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
        else:
            self._ip = lease.ip

    def is_free(self, lease: Lease) -> bool | None:
        """What the probes have found (RFC 5227 2.1, `netstack.arp_probes`); None: they are under way."""
        state = self._interface.states.get(lease.address)
        return None if state == "tentative" else state != "duplicate"

    def use(self, lease: Lease) -> None:
        """Routes and MTU as the lease has them."""
        self.claim(lease)
        for route in [route for route in self._routes if route not in lease.routes]:
            self._remove(route)
        for network, gateway in lease.routes:
            if (network, gateway) not in self._routes:
                try:
                    self._interface.stack.add_route(network, gateway=gateway, interface=self._interface)
                except OSError as error:
                    if error.errno != errno.EEXIST:     # that one is the program's
                        log.warning("%s: %s", self._interface.name, error)
                else:
                    self._routes.append((network, gateway))
        self._set_mtu(self._mtu if lease.mtu is None else min(lease.mtu, self._mtu))

    def _set_mtu(self, mtu: int) -> None:
        interface = self._interface
        if mtu != self._mtu:
            least = LEAST_MTU_V6 if any(a.version == 6 for a in interface.addresses) else LEAST_MTU
            if mtu < least:
                log.warning("%s: the DHCP server's MTU of %d is less than %d: not used", interface.name, mtu, least)
                mtu = self._mtu
        with interface.stack._guard():
            interface._record.mtu = mtu

    def _remove(self, route: Route) -> None:
        self._routes.remove(route)
        with suppress(OSError):         # the program has removed it
            self._interface.stack.del_route(route[0], gateway=route[1], interface=self._interface)

    def clear(self) -> None:
        """Everything as it was."""
        if not self._interface.is_attached:
            return
        for route in list(self._routes):
            self._remove(route)
        if self._ip is not None:
            with suppress(OSError):
                self._interface.remove_address(self._ip)
            self._ip = None
        self._set_mtu(self._mtu)


def tell_resolver(stack: Links) -> None:
    """The name servers and the search list of all leases are the stack's, unless the program has set its own."""
    with _telling:
        leases = [lease for agent in stack._agents.values() if (lease := agent.granted) is not None]
        servers = list(dict.fromkeys(name_server(one) for lease in leases for one in lease.name_servers))
        search = list(dict.fromkeys(domain for lease in leases for domain in lease.search))
        config = stack.resolver.config
        told_servers, told_search = stack._told
        if config.nameservers == told_servers:
            config.nameservers = list(servers)
            told_servers = servers
        if config.search == told_search:
            config.search = list(search)
            told_search = search
        stack._told = told_servers, told_search
