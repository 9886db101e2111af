"""Routes: through which interface, to which neighbour, from which address.

RFC 1122 3.3.1 (IPv4), RFC 4861 5.2 (IPv6); RFC 6724, "Default Address Selection
for IPv6", whose source rules serve IPv4 too; RFC 1122 3.3.4.2: this is a host of
the weak model, an address is its own on every interface.

The table is kept sorted, longest prefix first, then lowest metric, so that the
first match is the best.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import EADDRNOTAVAIL, EINVAL, ENETUNREACH
from ..machine import compiled
from . import address, pmtu
from .address import State
from .link import LOOPBACK

if TYPE_CHECKING:
    from .net import Net

V4_PREFIX = 96          # of the v4-mapped addresses


class Kind(IntEnum):
    """What an address is to this host."""

    OTHER = 0           # somebody else's
    LOCAL = 1           # ours
    BROADCAST = 2       # everybody's on a link: limited, or of a subnet of ours
    MULTICAST = 3


@compiled
def classify(net: Net, hi: int, lo: int, interface: int) -> int:
    """What an address is to us (a Kind).  A link-local one is ours on `interface` only (0: anywhere)."""
    if address.is_multicast(hi, lo):
        return Kind.MULTICAST
    v4 = address.is_v4(hi, lo)
    if v4:
        if address.is_loopback(hi, lo):
            return Kind.LOCAL
        if address.v4(lo) == address.LIMITED_BROADCAST:
            return Kind.BROADCAST
    bound = interface > LOOPBACK and not v4 and address.is_link_local(hi, lo)
    kind = 0
    for index in range(1, net.interface_count + 1):
        iface = net.interfaces[index]
        if iface.index == 0:
            continue
        for i in range(iface.address_count):
            a = iface.addresses[i]
            if a.lo == lo and a.hi == hi:
                if address.is_usable(a) and (not bound or index == interface):
                    return Kind.LOCAL
            elif v4 and a.prefix < 127 and address.is_v4(a.hi, a.lo):       # (RFC 3021: a /31 has no broadcast)
                mask = address.mask_lo(a.prefix)
                if lo == a.lo | ~mask and a.state != State.DUPLICATE:       # {<network>, <subnet>, -1}
                    kind = 2
    if kind == 2:
        return Kind.BROADCAST
    return Kind.OTHER


@compiled
def is_local(net: Net, hi: int, lo: int) -> bool:
    """Whether packets to this address come to ourselves."""
    return classify(net, hi, lo, 0) == Kind.LOCAL


@compiled
def is_broadcast(net: Net, hi: int, lo: int) -> bool:
    """Whether it is the limited broadcast address or that of one of our subnets."""
    return classify(net, hi, lo, 0) == Kind.BROADCAST


@compiled
def find(net: Net, hi: int, lo: int, interface: int) -> int:
    """The place of the best route, only through `interface` if it is not 0; -1: there is none."""
    shortest = V4_PREFIX if address.is_v4(hi, lo) else 0        # ::/0 is no route for IPv4
    for i in range(net.route_count):
        r = net.routes[i]
        if (r.prefix >= shortest and address.matches(hi, lo, r.hi, r.lo, r.prefix)
                and (interface == 0 or interface == r.interface) and net.interfaces[r.interface].up != 0):
            return i
    return -1


@compiled
def _any_interface(net: Net, interface: int) -> int:
    """Where link-scope packets go when nothing says: the interface asked for, else the first that is up; 0: none."""
    for index in range(LOOPBACK + 1, net.interface_count + 1):
        if (interface == 0 or interface == index) and net.interfaces[index].up != 0:
            return index
    return interface if interface == LOOPBACK else 0


@compiled
def _score(net: Net, index: int, i: int, scope: int, hop_hi: int, hop_lo: int, interface: int) -> int:
    """How good an address is as a source, or -1: not at all.  RFC 6724 section 5, the rules that apply, in order."""
    a = net.interfaces[index].addresses[i]
    if not address.is_usable(a) or address.is_v4(a.hi, a.lo) != address.is_v4(hop_hi, hop_lo):
        return -1
    if index != interface and (address.is_loopback(a.hi, a.lo) or (a.hi != 0 and address.is_link_local(a.hi, a.lo))):
        return -1
    reach = address.scope(a.hi, a.lo)
    score = 128 - reach if reach >= scope else reach            # rule 2: the smallest that reaches, or the largest
    score = score * 2 + (1 if a.state == State.PREFERRED else 0)        # rule 3: avoid deprecated addresses
    score = score * 2 + (1 if index == interface else 0)                # rule 5: prefer the outgoing interface
    return score * 256 + min(address.common(a.hi, a.lo, hop_hi, hop_lo), a.prefix)      # rule 8: the longest match


@compiled
def select(net: Net, dst_hi: int, dst_lo: int, hop_hi: int, hop_lo: int, interface: int) -> bool:
    """Choose the source address, into `net.chosen`.  False: there is none."""
    scope = address.scope(dst_hi, dst_lo)
    v4 = address.is_v4(dst_hi, dst_lo)
    best = -1
    for index in range(1, net.interface_count + 1):
        for i in range(net.interfaces[index].address_count):
            # Rule 8 looks at the destination; for IPv4 at the next hop, which shares a subnet with the right one.
            score = _score(net, index, i, scope, hop_hi if v4 else dst_hi, hop_lo if v4 else dst_lo, interface)
            if score > best:
                best = score
                a = net.interfaces[index].addresses[i]
                net.chosen.src_hi = a.hi
                net.chosen.src_lo = a.lo
    return best >= 0


@compiled
def choose(net: Net, dst_hi: int, dst_lo: int, src_hi: int, src_lo: int, interface: int, now: int) -> int:
    """Fill `net.chosen` for packets to an address: 0, or -errno.

    A source that is given is kept, and must be ours; with none (all zero) the
    best is selected.  `interface`: only through this one, or 0.
    """
    if (not address.is_unspecified(src_hi, src_lo) and address.is_v4(src_hi, src_lo) == address.is_v4(dst_hi, dst_lo)
            and classify(net, src_hi, src_lo, 0) != Kind.LOCAL):
        return -EADDRNOTAVAIL
    return choose_from(net, dst_hi, dst_lo, src_hi, src_lo, interface, now)


@compiled
def choose_from(net: Net, dst_hi: int, dst_lo: int, src_hi: int, src_lo: int, interface: int, now: int) -> int:
    """... from whatever address (ip(7), IP_TRANSPARENT)."""
    c = net.chosen
    c.hop_hi = dst_hi
    c.hop_lo = dst_lo
    c.src_hi = src_hi
    c.src_lo = src_lo
    given = not address.is_unspecified(src_hi, src_lo)
    if given and address.is_v4(src_hi, src_lo) != address.is_v4(dst_hi, dst_lo):
        return -EINVAL
    if address.is_unspecified(dst_hi, dst_lo):
        return -ENETUNREACH
    kind = classify(net, dst_hi, dst_lo, interface)
    if kind == Kind.LOCAL:
        c.interface = LOOPBACK
        c.mtu = net.interfaces[LOOPBACK].mtu
        if not given:
            c.src_hi = dst_hi
            c.src_lo = dst_lo
            if address.is_v4(dst_hi, dst_lo) and address.is_loopback(dst_hi, dst_lo):
                select(net, dst_hi, dst_lo, dst_hi, dst_lo, LOOPBACK)       # 127.0.0.1 for all of 127.0.0.0/8
        return 0
    i = find(net, dst_hi, dst_lo, interface)
    link_scope = kind == Kind.MULTICAST or (kind == Kind.BROADCAST and address.v4(dst_lo) == address.LIMITED_BROADCAST)
    if link_scope:
        c.interface = net.routes[i].interface if i >= 0 else _any_interface(net, interface)
        if c.interface == 0:
            return -ENETUNREACH
    elif i < 0:
        return -ENETUNREACH
    else:
        r = net.routes[i]
        c.interface = r.interface
        if r.gateway_hi != 0 or r.gateway_lo != 0:
            c.hop_hi = r.gateway_hi
            c.hop_lo = r.gateway_lo
        if not given and (r.source_hi != 0 or r.source_lo != 0) and is_local(net, r.source_hi, r.source_lo):
            given = True
            c.src_hi = r.source_hi
            c.src_lo = r.source_lo
    if not given and not select(net, dst_hi, dst_lo, c.hop_hi, c.hop_lo, c.interface):
        if not (link_scope and address.is_v4(dst_hi, dst_lo)):
            return -EADDRNOTAVAIL
        c.src_lo = address.from_v4(0)           # a host that does not know its address yet (RFC 1122 3.2.1.3 (a))
    if address.is_loopback(c.src_hi, c.src_lo) and net.interfaces[c.interface].ethernet != 0:
        return -EINVAL                          # "MUST NOT appear outside a host" (RFC 1122 3.2.1.3 (g))
    c.mtu = net.interfaces[c.interface].mtu
    learned = pmtu.lookup(net, dst_hi, dst_lo, now)
    if learned != 0:
        c.mtu = min(c.mtu, learned)
    return 0
