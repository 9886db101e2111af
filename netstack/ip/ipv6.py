"""IPv6: its header, and the walk along its extension headers.

RFC 8200; RFC 4291 2.5 and 2.7 for addresses that no packet may have; RFC 5095
(routing header type 0).

What the sender must be told is left in net.rx: `problem` (the code of an ICMPv6
parameter problem, plus one) and `pointer`.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import be16, be32, be64, compiled, load8, put16, put32, put64, store8
from . import address, ethernet, multicast, route
from .route import Kind

if TYPE_CHECKING:
    from .net import Incoming, Interface, Net, Packet

HEADER_LEN = 40
LARGEST = 65535         # Payload Length; no jumbograms (RFC 2675)
NEXT_HEADER = 6         # offset of the field
WALK = 8                # extension headers of a packet that we look at, at most (RFC 8504 5.3)
OFFSET = 0xFFF8         # of a fragment, in the word with the flag
PAD1 = 0                # (4.2)
ROUTER_ALERT = 5        # RFC 2711: nothing for a host to do


class Next(IntEnum):
    """Values of Next Header that are not transports (4.1, 4.7)."""

    HOP_BY_HOP = 0
    ROUTING = 43
    FRAGMENT = 44
    NONE = 59
    DESTINATION_OPTIONS = 60


class Problem(IntEnum):
    """Codes of a parameter problem (RFC 4443 3.4), plus one."""

    FIELD = 1
    NEXT_HEADER = 2
    OPTION = 3


@compiled
def parse(net: Net, iface: Interface, p: int, n: int, link_dst: int) -> int:
    """Read the base header of a packet of at most n bytes at p into net.rx: 0, or the Drop that refuses it."""
    rx = net.rx
    if n < HEADER_LEN:
        return Drop.TRUNCATED
    if load8(p) >> 4 != 6:
        return Drop.IP_VERSION
    length = be16(p + 4)
    if HEADER_LEN + length > n:
        return Drop.TRUNCATED
    rx.src_hi = be64(p + 8)
    rx.src_lo = be64(p + 16)
    rx.dst_hi = be64(p + 24)
    rx.dst_lo = be64(p + 32)
    rx.protocol = load8(p + NEXT_HEADER)
    rx.ttl = load8(p + 7)
    rx.tos = be16(p) >> 4
    rx.header = p
    rx.payload = p + HEADER_LEN
    rx.length = length
    rx.pointer = NEXT_HEADER
    rx.broadcast = 1 if ethernet.is_group(link_dst) else 0
    if not _is_source(net, iface, rx):
        return Drop.IP_SOURCE
    return _destination(net, iface, rx)


@compiled
def _is_source(net: Net, iface: Interface, rx: Incoming) -> bool:
    """Whether somebody may send from this address."""
    if address.is_multicast(rx.src_hi, rx.src_lo) or address.is_v4(rx.src_hi, rx.src_lo):
        return False            # RFC 4291 2.7; and ours, which name IPv4 hosts, do not come from a link
    if iface.ethernet == 0:
        return route.classify(net, rx.src_hi, rx.src_lo, iface.index) == Kind.LOCAL
    # RFC 4291 2.5.3; and not we ourselves.  The unspecified address (2.5.2) is for input.receive to judge.
    return (not address.is_loopback(rx.src_hi, rx.src_lo)
            and route.classify(net, rx.src_hi, rx.src_lo, iface.index) == Kind.OTHER)


@compiled
def _destination(net: Net, iface: Interface, rx: Incoming) -> int:
    """Whether a packet to this address is for us: 0, or a Drop."""
    hi = rx.dst_hi
    lo = rx.dst_lo
    if address.is_multicast(hi, lo):
        rx.broadcast = 1
        scope = address.scope(hi, lo)
        if scope == 0 or (scope == address.Scope.INTERFACE and iface.ethernet != 0):
            return Drop.IP_DESTINATION                          # RFC 4291 2.7
        return 0 if is_member(iface, hi, lo) or multicast.is_heard(net, iface, hi, lo) else Drop.NOT_FOR_US
    if iface.ethernet != 0 and (address.is_loopback(hi, lo) or address.is_v4(hi, lo)):
        return Drop.IP_DESTINATION
    return 0 if route.classify(net, hi, lo, iface.index) == Kind.LOCAL else Drop.NOT_FOR_US


@compiled
def is_member(iface: Interface, hi: int, lo: int) -> bool:
    """Whether a multicast group is one that every node joins for itself and its addresses (RFC 4291 2.8)."""
    if lo == address.ALL_NODES_LO and hi == address.MULTICAST_HI:
        return True
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if address.is_solicited_node(hi, lo, a.lo) and not address.is_v4(a.hi, a.lo):
            return True
    return False


@compiled
def walk(net: Net) -> int:
    """Step over the extension headers in front of net.rx.payload, in the order that they stand in (4.1): 0, or a Drop.

    It stops at a fragment header; when the datagram has been put together, it goes on from there.
    """
    rx = net.rx
    for _ in range(WALK + 1):
        kind = rx.protocol
        p = rx.payload
        if kind == Next.HOP_BY_HOP and p != rx.header + HEADER_LEN:
            return _problem(rx, Problem.NEXT_HEADER, rx.pointer, Drop.IP6_HEADER)       # (4.1) only the first
        if not (kind == Next.HOP_BY_HOP or kind == Next.DESTINATION_OPTIONS or kind == Next.ROUTING
                or kind == Next.FRAGMENT):
            return 0
        if rx.length < 8:
            return Drop.TRUNCATED
        size = 8 if kind == Next.FRAGMENT else 8 + 8 * load8(p + 1)
        if size > rx.length:
            return Drop.TRUNCATED
        if kind == Next.FRAGMENT:
            if rx.reassembled != 0:
                return Drop.IP6_HEADER                          # a fragment of a fragment
            rx.frag_offset = be16(p + 2) & OFFSET
            rx.frag_more = be16(p + 2) & 1
            rx.frag_id = be32(p + 4)
            # RFC 6946: with no other part it is a whole datagram, whatever else has the same identification.
            rx.fragment = 1 if rx.frag_offset != 0 or rx.frag_more != 0 else 0
        elif kind == Next.ROUTING:
            if load8(p + 3) != 0:                               # (4.4) Segments Left; no type is known (RFC 5095 3)
                return _problem(rx, Problem.FIELD, p + 2 - rx.header, Drop.IP6_HEADER)
        else:
            reason = _options(rx, p + 2, p + size)
            if reason != 0:
                return reason
        rx.pointer = p - rx.header
        rx.protocol = load8(p)
        rx.payload = p + size
        rx.length -= size
        if rx.fragment != 0:
            return 0
    return Drop.IP6_HEADER


@compiled
def transport(p: int, n: int) -> int:
    """Of a packet of ours of which n bytes at p have come back: where its transport header is, times 256, plus the
    protocol.  -1: it is not there, or the fragment is a later one, which has none."""
    if n < HEADER_LEN:
        return -1
    kind = load8(p + NEXT_HEADER)
    at = HEADER_LEN
    for _ in range(WALK):
        if not (kind == Next.HOP_BY_HOP or kind == Next.DESTINATION_OPTIONS or kind == Next.ROUTING
                or kind == Next.FRAGMENT):
            break
        if n < at + 8 or (kind == Next.FRAGMENT and be16(p + at + 2) & OFFSET != 0):
            return -1
        size = 8 if kind == Next.FRAGMENT else 8 + 8 * load8(p + at + 1)
        kind = load8(p + at)
        at += size
    return at << 8 | kind


@compiled
def _options(rx: Incoming, p: int, end: int) -> int:
    """The options from p to `end` (4.2): 0, or a Drop."""
    while p < end:
        kind = load8(p)
        if kind == PAD1:
            p += 1
            continue
        if p + 2 > end or p + 2 + load8(p + 1) > end:
            return Drop.IP6_OPTION
        action = kind >> 6
        if action != 0 and kind != ROUTER_ALERT:
            if action == 2 or (action == 3 and not address.is_multicast(rx.dst_hi, rx.dst_lo)):
                return _problem(rx, Problem.OPTION, p - rx.header, Drop.IP6_OPTION)
            return Drop.IP6_OPTION
        p += 2 + load8(p + 1)
    return 0


@compiled
def _problem(rx: Incoming, code: int, pointer: int, reason: int) -> int:
    """Leave word for the sender."""
    rx.problem = code
    rx.pointer = pointer
    return reason


@compiled
def emit(h: int, packet: Packet, length: int, ttl: int) -> None:
    """Write a header at h for `length` bytes of payload."""
    put32(h, (6 << 28) | (packet.tos << 20))        # Differs: no flow label (RFC 6437 3: a host SHOULD choose one)
    put16(h + 4, length)
    store8(h + 6, packet.protocol)
    store8(h + 7, ttl)
    put64(h + 8, packet.src_hi)
    put64(h + 16, packet.src_lo)
    put64(h + 24, packet.dst_hi)
    put64(h + 32, packet.dst_lo)
