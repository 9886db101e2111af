"""Fragmentation: an IPv4 packet in pieces that fit the path.

RFC 791 3.2; RFC 1122 3.3.3.  Nothing is copied: each fragment is a new header,
and the ranges of the transport header and of the payload's pieces that it covers.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import compiled

if TYPE_CHECKING:
    from .net import Net, Packet


@compiled
def size(left: int, room: int) -> int:
    """How many of the `left` bytes go into one fragment of at most `room`: all, or a multiple of eight."""
    return left if left <= room else room & -8


@compiled
def gather(net: Net, packet: Packet, offset: int, n: int) -> int:
    """Name n bytes of the datagram from `offset` on in `net.iov[2]` and the following: how many pieces there are.

    The datagram's bytes are those at packet.head, packet.a and packet.b, one after the other.
    """
    parts = 0
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
            parts += 1
            net.iov[2 * parts] = p + first - begin
            net.iov[2 * parts + 1] = last - first
        begin += length
    return parts
