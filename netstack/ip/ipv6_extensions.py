"""IPv6 extension headers of what we send, which a socket or one datagram has asked for.

RFC 8200 4.1 (their order) and 4.5 (which of them each fragment has); RFC 3542 6 to
9; RFC 8754 3 (segment routing header).  The bytes have been looked at by
`netstack/extensions.py`; what stands in them only now is written here.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import addressof, at, compiled, i64, put64, record, sizeof, store8, u8, u16
from . import fragment, ipv6
from .net import EXTENDED

if TYPE_CHECKING:
    from .net import Net, Packet


@record
class Extensions:
    """The headers of a socket's packets, or of one packet; their bytes follow, in the order that they are sent in."""

    each: u16           # bytes that each fragment has: hop-by-hop options, destination options for routers, routing
    last: u16           # bytes of destination options behind them, which are cut with the rest
    link: u16           # where the last header of `each` begins
    final: u16          # where in `each` the destination goes, if the packet goes elsewhere first; 0: it does not
    first: u8           # Next Header that means the first one of `each`
    via_hi: i64         # (final) where it goes first
    via_lo: i64


SIZE = sizeof(Extensions)


@compiled
def each(packet: Packet) -> int:
    """Bytes of headers that each fragment of a packet has."""
    return at(Extensions, packet.extensions).each if packet.manner & EXTENDED else 0


@compiled
def last(packet: Packet) -> int:
    """Bytes of headers that only the first one has."""
    return at(Extensions, packet.extensions).last if packet.manner & EXTENDED else 0


@compiled
def set_out(packet: Packet) -> None:
    """A packet with a routing header goes to the first address of its way; there its destination is named (4.4)."""
    x = at(Extensions, packet.extensions)
    if x.final != 0:
        p = addressof(x) + SIZE + x.final
        put64(p, packet.dst_hi)
        put64(p + 8, packet.dst_lo)
        packet.dst_hi = x.via_hi
        packet.dst_lo = x.via_lo


@compiled
def emit(net: Net, packet: Packet, h: int, n: int, ttl: int, whole: bool, offset: int, more: bool, id: int) -> int:
    """Write the header at h, and what follows it, of a packet or a fragment with n bytes from `offset` on: in how many
    pieces they stand, which `net.iov` names from the second on, the destination options of these bytes the last."""
    each_len = each(packet)
    last_len = last(packet)
    start = packet.extensions + SIZE
    ipv6.emit(h, packet, each_len + (0 if whole else fragment.HEADER_LEN) + n, ttl)
    following = ipv6.Next.DESTINATION_OPTIONS + 0 if last_len != 0 else packet.protocol
    parts = 1
    if not whole:
        fragment.emit(h + fragment.BEHIND, following, offset, more, id)
        following = fragment.HEADER
    if each_len != 0:
        x = at(Extensions, packet.extensions)
        store8(start + x.link, following)
        following = x.first
        net.iov[2] = start
        net.iov[3] = each_len
        parts = 2
    store8(h + ipv6.NEXT_HEADER, following)
    if not whole:
        net.iov[2 * parts] = h + fragment.BEHIND
        net.iov[2 * parts + 1] = fragment.HEADER_LEN
        parts += 1
    if offset < last_len:
        store8(start + each_len, packet.protocol)
        net.iov[2 * parts] = start + each_len + offset
        net.iov[2 * parts + 1] = min(n, last_len - offset)
        parts += 1
    return parts
