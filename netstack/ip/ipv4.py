"""IPv4: reading and writing its header.

RFC 791 3.1, with the checks of RFC 1122 3.2.1.  Fragments are put together in
`reassembly.py` and made in `fragment.py`.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import at, be16, be32, compiled, load8, put16, put32, store8, sum16
from ..machine.random import siphash
from . import address, checksum, ethernet, ipv4_options, multicast, route
from .ipv4_options import IpOptions
from .route import Kind

if TYPE_CHECKING:
    from .net import Interface, Net, Packet

HEADER_LEN = 20
LARGEST = 65535             # Total Length
DF = 0x4000                 # in the word with the fragment offset
MF = 0x2000
OFFSET = 0x1FFF             # in units of eight bytes

IGMP = 2
END_OF_OPTIONS = 0
NO_OPERATION = 1
LOOSE_SOURCE_ROUTE = 131
STRICT_SOURCE_ROUTE = 137


@compiled
def parse(net: Net, iface: Interface, p: int, n: int, link_dst: int) -> int:
    """Read the header of a packet of at most n bytes at p into net.rx: 0, or the Drop that refuses it."""
    rx = net.rx
    if n < HEADER_LEN:
        return Drop.TRUNCATED
    if load8(p) >> 4 != 4:
        return Drop.IP_VERSION                                  # RFC 1122 3.2.1.1
    header_len = (load8(p) & 0xF) * 4
    total = be16(p + 2)
    if header_len < HEADER_LEN or total < header_len:
        return Drop.IP_HEADER
    if total > n:                                               # a frame may be longer: it was padded
        return Drop.TRUNCATED
    if sum16(p, header_len, 0) != 0xFFFF:
        return Drop.IP_CHECKSUM                                 # RFC 1122 3.2.1.2
    src = address.from_v4(be32(p + 12))
    dst = address.from_v4(be32(p + 16))
    fragment = be16(p + 6)
    rx.src_hi = 0
    rx.src_lo = src
    rx.dst_hi = 0
    rx.dst_lo = dst
    rx.protocol = load8(p + 9)
    rx.ttl = load8(p + 8)       # RFC 1122 3.2.1.7: one that comes with 0 or 1 is not discarded for that
    rx.tos = load8(p + 1)
    rx.options_len = header_len - HEADER_LEN
    rx.header = p
    rx.payload = p + header_len
    rx.length = total - header_len
    rx.frag_offset = (fragment & OFFSET) * 8
    rx.frag_more = 1 if fragment & MF != 0 else 0
    rx.fragment = 1 if fragment & (OFFSET | MF) != 0 else 0
    rx.frag_id = be16(p + 4)
    group = ethernet.is_group(link_dst)
    rx.broadcast = 1 if group else 0
    reason = _destination(net, iface, dst, group)
    if reason != 0:
        return reason
    if not _is_source(net, iface, src, dst):
        return Drop.IP_SOURCE
    if header_len > HEADER_LEN and not _are_options(p + HEADER_LEN, header_len - HEADER_LEN):
        return Drop.IP_OPTIONS
    return 0


@compiled
def _destination(net: Net, iface: Interface, dst: int, group: bool) -> int:
    """Whether a packet to this address is for us (RFC 1122 3.2.1.3): 0, or a Drop."""
    if iface.ethernet != 0 and address.is_loopback(0, dst):
        return Drop.IP_DESTINATION                              # (g) "MUST NOT appear outside a host"
    kind = route.classify(net, 0, dst, iface.index)
    if kind == Kind.LOCAL:
        # RFC 1122 3.3.6: a link broadcast must be one of IP too.
        return Drop.IP_DESTINATION if group else 0
    net.rx.broadcast = 1
    if kind == Kind.BROADCAST:
        return 0
    if kind == Kind.MULTICAST:
        if address.v4(dst) == address.ALL_HOSTS:                # RFC 1112 4: every host's
            return 0
        return 0 if multicast.is_heard(net, iface, 0, dst) else Drop.NOT_FOR_US
    return Drop.NOT_FOR_US


@compiled
def _is_source(net: Net, iface: Interface, src: int, dst: int) -> bool:
    """Whether somebody may send from this address (RFC 1122 3.2.1.3, at its end)."""
    if src >> 24 & 0xFF == 0:
        # (a, b) A host that does not know its address yet says 0.0.0.0, to everybody.
        if address.v4(src) != 0:
            return False
        # ... and a switch that asks for groups may have none (RFC 4541 2.1.1).
        return (address.v4(dst) == address.LIMITED_BROADCAST
                or (net.rx.protocol == IGMP and address.is_multicast(0, dst)))
    if iface.ethernet == 0:
        return route.classify(net, 0, src, iface.index) == Kind.LOCAL
    if address.is_loopback(0, src):
        return False
    return route.classify(net, 0, src, iface.index) == Kind.OTHER       # ... nor a broadcast, nor we ourselves


@compiled
def _are_options(p: int, n: int) -> bool:
    """Whether n bytes of options at p are sound, and ask for nothing that we refuse (RFC 791 3.1, RFC 1122 3.2.1.8)."""
    i = 0
    while i < n:
        kind = load8(p + i)
        if kind == END_OF_OPTIONS:
            return True
        if kind == NO_OPERATION:
            i += 1
            continue
        if i + 2 > n:
            return False
        length = load8(p + i + 1)
        if length < 2 or i + length > n:
            return False
        if kind == LOOSE_SOURCE_ROUTE or kind == STRICT_SOURCE_ROUTE:
            return False                    # Differs: RFC 1122 has them delivered.  As Linux does, since RFC 7126 4.3.
        i += length
    return True


@compiled
def identification(net: Net, packet: Packet) -> int:
    """The Identification of a packet that may be fragmented (RFC 6864 4.2: not used twice soon for the same triple).

    A counter, moved by a secret amount for each triple, so that it tells one
    host nothing of what goes to another (RFC 7739 5.3).
    """
    net.ip_id = (net.ip_id + 1) & 0xFFFF
    return (net.ip_id + siphash(net.key, packet.src_lo, packet.dst_lo, packet.protocol, 0, 0)) & 0xFFFF


@compiled
def emit(h: int, packet: Packet, length: int, ttl: int, id: int, fragment: int) -> None:
    """Write a header at h for `length` bytes of payload; `fragment` is the word of flags and offset."""
    store8(h, 0x45)
    store8(h + 1, packet.tos)
    put16(h + 2, HEADER_LEN + length)
    put16(h + 4, id)
    put16(h + 6, fragment)
    store8(h + 8, ttl)
    store8(h + 9, packet.protocol)
    put16(h + 10, 0)
    put32(h + 12, address.v4(packet.src_lo))
    put32(h + 16, address.v4(packet.dst_lo))
    put16(h + 10, checksum.finish(sum16(h, HEADER_LEN, 0)))


@compiled
def add_options(h: int, packet: Packet, n: int, now: int) -> None:
    """Behind the header that `emit` has written at h come n bytes of options."""
    o = at(IpOptions, packet.options)
    store8(h, 0x40 | (HEADER_LEN + n) >> 2)
    put16(h + 2, be16(h + 2) + n)
    ipv4_options.emit(o, h + HEADER_LEN, packet.src_lo, be16(h + 6) & OFFSET != 0, now)
    put16(h + 10, 0)
    put16(h + 10, checksum.finish(sum16(h, HEADER_LEN + n, 0)))
