"""Neighbour discovery: link addresses of IPv6 neighbours, and telling others ours.

RFC 4861 (solicitations and advertisements; routers are not listened to) and RFC
4862 5.4, duplicate address detection.  What is learned goes into the cache in
`neighbour.py`.  Section numbers without a name are RFC 4861's.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import addressof, be32, be64, compiled, load8, put16, put32, put64, store8, sum16
from . import address, checksum, ethernet, link, neighbour
from .address import ALL_NODES_LO, MULTICAST_HI, State
from .ethernet import EtherType
from .neighbour import Update
from .net import SCRATCH_NDP

if TYPE_CHECKING:
    from .net import Interface, Net

SOLICITATION = 135
ADVERTISEMENT = 136
SOURCE_LINK_ADDRESS = 1     # options (4.6.1)
TARGET_LINK_ADDRESS = 2
NO_OPTION = 0

ICMPV6 = 58
IP_HEADER = 40
MESSAGE_LEN = 24            # both messages without options (4.3, 4.4)
OPTION_LEN = 8              # a link-layer address of Ethernet (RFC 2464 6)
HOP_LIMIT = 255             # so that no router can have forwarded it (3.1)

ROUTER_FLAG = 0x8000_0000   # of an advertisement (4.4)
SOLICITED_FLAG = 0x4000_0000
OVERRIDE_FLAG = 0x2000_0000

LEARN = int(Update.OVERRIDE | Update.CREATE)    # what a solicitation says of its sender (7.2.3)
LEARN_ADVERTISEMENT = int(Update.ADVERTISEMENT)
LEARN_SOLICITED = int(Update.SOLICITED)
LEARN_OVERRIDE = int(Update.OVERRIDE)
LEARN_ROUTER = int(Update.ROUTER)
MALFORMED = -1


# ---- sending ---------------------------------------------------------------

@compiled
def _send(net: Net, iface: Interface, type: int, flags: int, target_hi: int, target_lo: int, dst_hi: int, dst_lo: int,
          src_hi: int, src_lo: int, mac: int, option: int, now: int) -> int:
    """Send a message about a target to the link address `mac`, with our own in `option` if that is not 0."""
    ip = addressof(net) + net.scratch + SCRATCH_NDP + ethernet.HEADER_LEN
    n = MESSAGE_LEN + (OPTION_LEN if option != NO_OPTION else 0)
    put32(ip, 6 << 28)
    put16(ip + 4, n)
    store8(ip + 6, ICMPV6)
    store8(ip + 7, HOP_LIMIT)
    put64(ip + 8, src_hi)
    put64(ip + 16, src_lo)
    put64(ip + 24, dst_hi)
    put64(ip + 32, dst_lo)
    p = ip + IP_HEADER
    store8(p, type)
    store8(p + 1, 0)
    put16(p + 2, 0)
    put32(p + 4, flags)
    put64(p + 8, target_hi)
    put64(p + 16, target_lo)
    if option != NO_OPTION:
        store8(p + 24, option)
        store8(p + 25, 1)                   # in units of 8 bytes
        ethernet.put48(p + 26, iface.mac)
    put16(p + 2, checksum.finish(sum16(p, n, checksum.pseudo(src_hi, src_lo, dst_hi, dst_lo, ICMPV6, n))))
    return link.transmit(net, iface, mac, EtherType.IPV6, ip, IP_HEADER + n, 1, IP_HEADER + n, now)


@compiled
def solicit(net: Net, iface: Interface, target_hi: int, target_lo: int, mac: int, src_hi: int, src_lo: int,
            now: int) -> int:
    """Who has the target?  Ask everybody who may, or the link address `mac` if it is not 0 (7.2.2, 7.3.3).

    With an unspecified source it is a probe of duplicate address detection (RFC 4862 5.4.2).
    """
    option = NO_OPTION if address.is_unspecified(src_hi, src_lo) else SOURCE_LINK_ADDRESS
    dst_hi = target_hi
    dst_lo = target_lo
    if mac == 0:
        dst_hi = MULTICAST_HI
        dst_lo = address.solicited_node_lo(target_lo)
        mac = ethernet.multicast(dst_hi, dst_lo)
    return _send(net, iface, SOLICITATION, 0, target_hi, target_lo, dst_hi, dst_lo, src_hi, src_lo, mac, option, now)


@compiled
def announce(net: Net, iface: Interface, hi: int, lo: int, now: int) -> int:
    """Tell everybody that an address is ours (7.2.6), or a prober that it is taken (7.2.4)."""
    return _send(net, iface, ADVERTISEMENT, OVERRIDE_FLAG, hi, lo, MULTICAST_HI, ALL_NODES_LO, hi, lo,
                 ethernet.multicast(MULTICAST_HI, ALL_NODES_LO), TARGET_LINK_ADDRESS, now)


# ---- receiving: each returns 0, or the Drop reason to be counted -----------

@compiled
def link_address(net: Net, option: int) -> int:
    """The link address in an option of the message in net.rx; 0: it has none; MALFORMED (4.6)."""
    rx = net.rx
    p = rx.payload + MESSAGE_LEN
    end = rx.payload + rx.length
    mac = 0
    while p < end:
        if end - p < 2 or load8(p + 1) == 0 or end - p < 8 * load8(p + 1):      # (7.1.1, 7.1.2) "greater than zero"
            return MALFORMED
        if load8(p) == option and mac == 0:
            if load8(p + 1) != 1:                                               # RFC 2464 6
                return MALFORMED
            mac = ethernet.be48(p + 2)
            if ethernet.is_group(mac):
                return MALFORMED
        p += 8 * load8(p + 1)
    return mac


@compiled
def is_valid(net: Net) -> bool:
    """The checks that both messages share (7.1.1, 7.1.2); RFC 6980 5: they never come in fragments."""
    rx = net.rx
    return (rx.ttl == HOP_LIMIT and rx.length >= MESSAGE_LEN and load8(rx.payload + 1) == 0 and rx.reassembled == 0
            and not address.is_multicast(be64(rx.payload + 8), be64(rx.payload + 16))
            and not address.is_v4(be64(rx.payload + 8), be64(rx.payload + 16)))


@compiled
def receive_ns(net: Net, iface: Interface, now: int) -> int:
    """A solicitation (7.2.3)."""
    rx = net.rx
    if not is_valid(net):
        return Drop.NDP_MALFORMED
    target_hi = be64(rx.payload + 8)
    target_lo = be64(rx.payload + 16)
    mac = link_address(net, SOURCE_LINK_ADDRESS)
    probe = address.is_unspecified(rx.src_hi, rx.src_lo)
    if mac == MALFORMED or (
            probe and (mac != 0 or not address.is_solicited_node(rx.dst_hi, rx.dst_lo, rx.dst_lo))):
        return Drop.NDP_MALFORMED
    if rx.mac == iface.mac:
        return 0                                                # our own, come back (RFC 4862 5.4.3)
    i = address.on_interface(iface, target_hi, target_lo)
    if i < 0:
        return Drop.NOT_FOR_US
    a = iface.addresses[i]
    if a.state == State.TENTATIVE:                              # RFC 4862 5.4.3: never answered
        return _conflict(net, iface, i) if probe else 0
    if not address.is_usable(a):
        return Drop.NOT_FOR_US
    if probe:                                                   # (7.2.4) somebody wants our address
        announce(net, iface, target_hi, target_lo, now)
        return 0
    if mac != 0:
        neighbour.update(net, iface, rx.src_hi, rx.src_lo, mac, LEARN, now)
    else:
        mac = rx.mac                                            # Differs: 7.2.4 would resolve it first
    _send(net, iface, ADVERTISEMENT, SOLICITED_FLAG | OVERRIDE_FLAG, target_hi, target_lo, rx.src_hi, rx.src_lo,
          target_hi, target_lo, mac, TARGET_LINK_ADDRESS, now)
    return 0


@compiled
def receive_na(net: Net, iface: Interface, now: int) -> int:
    """An advertisement (7.2.5)."""
    rx = net.rx
    if not is_valid(net):
        return Drop.NDP_MALFORMED
    flags = be32(rx.payload + 4)
    mac = link_address(net, TARGET_LINK_ADDRESS)
    if mac == MALFORMED or (flags & SOLICITED_FLAG != 0 and address.is_multicast(rx.dst_hi, rx.dst_lo)):
        return Drop.NDP_MALFORMED
    if rx.mac == iface.mac:
        return 0                                                # our own, come back
    target_hi = be64(rx.payload + 8)
    target_lo = be64(rx.payload + 16)
    i = address.on_interface(iface, target_hi, target_lo)
    if i >= 0:                                                  # RFC 4862 5.4.4
        return _conflict(net, iface, i)
    learned = LEARN_ADVERTISEMENT
    if flags & SOLICITED_FLAG != 0:
        learned |= LEARN_SOLICITED
    if flags & OVERRIDE_FLAG != 0:
        learned |= LEARN_OVERRIDE
    if flags & ROUTER_FLAG != 0:
        learned |= LEARN_ROUTER
    neighbour.update(net, iface, target_hi, target_lo, mac, learned, now)
    return 0


@compiled
def _conflict(net: Net, iface: Interface, i: int) -> int:
    """Somebody else has, or wants, an address of ours: it is a duplicate while tentative, and noted in any case."""
    a = iface.addresses[i]
    if a.state == State.DUPLICATE:
        return 0                                                # not ours any more
    iface.conflicts += 1
    net.attention = 1
    iface.conflict_mac = net.rx.mac
    iface.conflict_hi = a.hi
    iface.conflict_lo = a.lo
    if a.state == State.TENTATIVE:
        a.state = State.DUPLICATE                               # RFC 4862 5.4.5; an assigned one is kept
    return Drop.ARP_CONFLICT
