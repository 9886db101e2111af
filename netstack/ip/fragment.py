"""Fragmentation: a packet in pieces that fit the path.

RFC 791 3.2 and RFC 1122 3.3.3; RFC 8200 4.5.  Nothing is copied: each fragment is
a new header, and the ranges of the transport header and of the payload's pieces
that it covers.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import compiled, put16, put32, store8
from ..machine.random import siphash

if TYPE_CHECKING:
    from .net import Net, Packet

HEADER = 44             # Next Header of a fragment (RFC 8200 4.5)
HEADER_LEN = 8
BEHIND = 64             # bytes behind the IP header's beginning, where the scratch area has it
MORE = 1                # in the word with the offset, which counts in eights


@compiled
def size(left: int, room: int) -> int:
    """How many of the `left` bytes go into one fragment of at most `room`: all, or a multiple of eight."""
    return left if left <= room else room & -8


@compiled
def identification(net: Net, packet: Packet) -> int:
    """The Identification of an IPv6 packet in fragments: as good as random, so that nobody can foretell the next one,
    nor learn from it how much else is sent (RFC 7739 5.2; Linux has random ones, too)."""
    while True:
        net.cut_packets += 1
        id = siphash(net.key, packet.dst_hi, packet.dst_lo, packet.src_lo, net.cut_packets, HEADER) & 0xFFFF_FFFF
        if id != 0:
            return id


@compiled
def emit(p: int, protocol: int, offset: int, more: bool, id: int) -> None:
    """Write an IPv6 fragment header, of what begins with `protocol`."""
    store8(p, protocol)
    store8(p + 1, 0)
    put16(p + 2, offset | (MORE if more else 0))
    put32(p + 4, id)


@compiled
def gather(net: Net, packet: Packet, offset: int, n: int, parts: int) -> int:
    """Name n bytes of the datagram from `offset` on in `net.iov`, behind `parts` pieces: how many there are then.

    The datagram's bytes are those at packet.head, packet.a and packet.b, one after the other.
    """
    begin = 0
    for i in range(3):
        p = packet.head
        length = packet.head_len
        if i == 1:
            p = packet.a
            length = packet.a_len
        elif i == 2:
            p = packet.b
            length = packet.b_len
        first = max(offset, begin)
        last = min(offset + n, begin + length)
        if first < last:
            net.iov[2 * parts] = p + first - begin
            net.iov[2 * parts + 1] = last - first
            parts += 1
        begin += length
    return parts
