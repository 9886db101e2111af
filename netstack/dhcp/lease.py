"""Lease: what a DHCP server has granted, and until when.

RFC 2131 4.4.1 (from when it counts), 4.4.5 (T1 and T2); RFC 3442 (classless
routes go before the routers).
"""
from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Protocol

from .. import names
from . import options
from .message import Code, Malformed, Message

SECOND = 1_000_000_000
NEVER = 1 << 62
T1, T2 = 0.5, 0.875             # of the lease, if the server does not say (4.4.5)


class Keeper(Protocol):
    """Who keeps a lease: the agent."""

    def close(self, release: bool | None = None) -> None:
        """See Lease."""

    def renew(self) -> None:
        """See Lease."""


@dataclass(frozen=True)
class Lease:
    """What was granted.  `interface.lease` is the newest one: it is another object after each renewal."""

    address: str                            # "10.0.0.5"
    prefix: int                             # length, such as 24
    server: str                             # whose lease it is
    routes: tuple[options.Route, ...]       # (network, gateway or None), as they are set
    routers: tuple[str, ...]                # option 3, whether used or not
    name_servers: tuple[str, ...]
    domain: str | None
    search: tuple[str, ...]
    time_servers: tuple[str, ...]           # NTP
    host_name: str | None                   # that the server calls us by
    mtu: int | None                         # that the server gives the link
    lease_time: int | None                  # s; None: without end
    renewal_time: int | None                # s: T1
    rebinding_time: int | None              # s: T2
    began: int = field(repr=False)          # ns of the stack's clock, when it was asked for
    _keeper: Keeper | None = field(default=None, repr=False, compare=False)

    @property
    def ip(self) -> str:
        """With prefix length, such as "10.0.0.5/24"."""
        return f"{self.address}/{self.prefix}"

    @property
    def netmask(self) -> str:
        """Such as "255.255.255.0"."""
        return str(ipaddress.ip_interface(self.ip).netmask)

    @property
    def router(self) -> str | None:
        """The default router that is used."""
        return next((gateway for network, gateway in self.routes if network == "0.0.0.0/0"), None)

    @property
    def renews_at(self) -> int:
        """T1, ns of the stack's clock."""
        return self._at(self.renewal_time)

    @property
    def rebinds_at(self) -> int:
        """T2."""
        return self._at(self.rebinding_time)

    @property
    def expires_at(self) -> int:
        """From then on the address is not ours."""
        return self._at(self.lease_time)

    def _at(self, seconds: int | None) -> int:
        return NEVER if seconds is None else self.began + seconds * SECOND

    def close(self, *, release: bool | None = None) -> None:
        """Give it up: no more renewals; address, routes and name servers go.

        `release`: tell the server, too (DHCPRELEASE); None: as `dhcp` was told.
        """
        if self._keeper is not None:
            self._keeper.close(release)

    def renew(self) -> None:
        """Ask the server now, not only at T1; waits for nothing: `interface.lease` will be the new one."""
        if self._keeper is not None:
            self._keeper.renew()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def lease_of(message: Message, began: int, keeper: Keeper | None = None) -> Lease:
    """What an OFFER or an ACK grants.  Malformed: nothing that can be used.

    An option that only adds something (routers, names, MTU) is passed over if it is not of its form.
    """
    found = message.options
    address = options.text_of(message.yiaddr)
    server = options.read(found, Code.SERVER)
    if server is None:
        raise Malformed("no server identifier")
    if Code.LEASE_TIME not in found:
        raise Malformed("no lease time")
    prefix = options.read_if_good(found, Code.MASK)
    if prefix is None:
        prefix = _class_prefix(message.yiaddr)
    try:
        ip = names.parse_interface(f"{address}/{prefix}").ip
    except ValueError as error:
        raise Malformed(str(error)) from None
    if ip.is_loopback or ip.is_reserved or message.yiaddr >> 24 == 0:
        raise Malformed(f"{address}: nobody's address")
    lease, t1, t2 = _times(found)
    routers = options.read_if_good(found, Code.ROUTER) or ()
    routes = options.read_if_good(found, Code.ROUTES)           # (RFC 3442) who has these ignores the routers
    if routes is None:
        routes = tuple(("0.0.0.0/0", router) for router in routers[:1])
    domains = options.read_if_good(found, Code.DOMAIN_NAME) or ()
    return Lease(
        address=address, prefix=prefix, server=server,
        routes=tuple((network, gateway) for network, gateway in routes if _is_gateway(gateway, address)),
        routers=routers, name_servers=tuple(s for s in options.read_if_good(found, Code.NAME_SERVER) or ()
                                            if not ipaddress.ip_address(s).is_unspecified),
        domain=domains[0] if domains else None,
        search=options.read_if_good(found, Code.SEARCH) or domains,
        time_servers=options.read_if_good(found, Code.TIME_SERVER) or (),
        host_name=options.read_if_good(found, Code.HOST_NAME), mtu=options.read_if_good(found, Code.MTU),
        lease_time=lease, renewal_time=t1, rebinding_time=t2, began=began, _keeper=keeper)


def _times(found: dict[int, bytes]) -> tuple[int | None, int | None, int | None]:
    """The lease's length, T1 and T2; T1 < T2 < lease, or they are what they are by default (4.4.5)."""
    lease = options.read(found, Code.LEASE_TIME)
    if lease is None:
        return None, None, None
    if lease == 0:
        raise Malformed("a lease of no time")
    t1 = options.read_if_good(found, Code.RENEWAL_TIME)
    t2 = options.read_if_good(found, Code.REBINDING_TIME)
    if t2 is None or not 0 < t2 < lease:
        t2 = int(lease * T2)
    if t1 is None or not 0 < t1 < t2:
        t1 = min(int(lease * T1), t2)
    return lease, t1, t2


def _is_gateway(gateway: str | None, own: str) -> bool:
    """Whether a host can be sent to there."""
    if gateway is None:
        return True
    ip = ipaddress.IPv4Address(gateway)
    return gateway != own and not (ip.is_multicast or ip.is_loopback or ip.is_reserved or ip.is_unspecified)


def _class_prefix(address: int) -> int:
    """The prefix length that an address's class gives it (RFC 791 3.2), for a server that sends no mask."""
    return 8 if address >> 31 == 0 else 16 if address >> 30 == 2 else 24
