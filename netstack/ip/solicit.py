"""Asking a neighbour for its link address: ARP for IPv4, a neighbour solicitation for IPv6.

RFC 826, RFC 4861 7.2.2.  `neighbour.py` says when; the answers come to `arp` and `ndp`.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import compiled
from . import address, arp, ndp, neighbour

if TYPE_CHECKING:
    from .net import Net


@compiled
def send(net: Net, index: int, unicast: bool, now: int) -> None:
    """Ask the neighbour itself, at the link address we know, or everybody."""
    n = neighbour.entry(net, index)
    iface = net.interfaces[n.interface]
    dst = n.mac if unicast else 0
    i = address.source_on(iface, n.hi, n.lo)
    if address.is_v4(n.hi, n.lo):
        source = 0                      # no address yet: the answer comes to our link address all the same
        if i >= 0:
            source = address.v4(iface.addresses[i].lo)
        arp.request(net, iface, address.v4(n.lo), dst, source, now)
    elif i >= 0:                        # an unspecified source would mean that we want the address for ourselves
        a = iface.addresses[i]
        ndp.solicit(net, iface, n.hi, n.lo, dst, a.hi, a.lo, now)
