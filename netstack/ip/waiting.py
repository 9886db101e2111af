"""Packets that wait until their neighbour's link address is known.

RFC 1122 2.3.2.2, "ARP Packet Queue"; RFC 4861 7.2.2.

Each is a copy, in an arena block of its own, of a whole IP packet: its sender's
buffers are free at once.  A queue holds `settings.unres_qlen` of them and then
loses its oldest, since newer packets matter more (RFC 4861 7.2.2).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..drivers import offload
from ..drivers.offload import Offload
from ..errors import EHOSTUNREACH, Drop
from ..machine import addressof, arena, at, be16, be32, be64, compiled, copy, i64, load8, record, sizeof
from . import address, ipv6
from .ethernet import EtherType

if TYPE_CHECKING:
    from .net import Net

HEADROOM = 16           # bytes before the packet: an Ethernet header goes there


@record
class Queue:
    """The packets that wait for one neighbour."""

    first: i64          # arena block of the first, or 0
    last: i64           # ... and of the last
    count: i64


@record
class Waiting:
    """One of them, at the beginning of its block; the packet follows after HEADROOM bytes."""

    next: i64           # arena block of the following one, or 0
    length: i64         # bytes of the packet
    ethertype: i64
    notes: Offload      # what it lacks


BEFORE = sizeof(Waiting) + HEADROOM


@compiled
def entry(net: Net, block: int) -> Waiting:
    """The packet in a block."""
    return at(Waiting, addressof(net.arena) + block)


@compiled
def packet(net: Net, block: int) -> int:
    """The address of its IP header."""
    return addressof(net.arena) + block + BEFORE


@compiled
def release(net: Net, block: int) -> None:
    """Forget a packet that `take` gave."""
    arena.release(net.arena, block, BEFORE + entry(net, block).length)


@compiled
def take(net: Net, q: Queue) -> int:
    """The block of the first packet, out of the queue now; 0 when none waits."""
    block = q.first
    if block != 0:
        q.first = entry(net, block).next
        q.count -= 1
        if q.first == 0:
            q.last = 0
    return block


@compiled
def append(net: Net, q: Queue, ethertype: int, p: int, n: int, parts: int, total: int) -> bool:
    """Copy a packet (as `link.transmit` is given it) to the queue's end.  False: no memory (counted)."""
    while q.count > 0 and q.count >= net.settings.unres_qlen:
        release(net, take(net, q))
        net.drops[Drop.NEIGHBOUR_QUEUE] += 1
    block = arena.allot(net.arena, BEFORE + total)
    if block == 0:
        offload.clear(net.notes)
        net.drops[Drop.NO_MEMORY] += 1
        return False
    w = entry(net, block)
    w.next = 0
    w.length = total
    w.ethertype = ethertype
    offload.move(w.notes, net.notes)
    to = packet(net, block)
    copy(to, p, n)
    to += n
    for i in range(1, parts):
        copy(to, net.iov[2 * i], net.iov[2 * i + 1])
        to += net.iov[2 * i + 1]
    if q.last == 0:
        q.first = block
    else:
        entry(net, q.last).next = block
    q.last = block
    q.count += 1
    return True


@compiled
def clear(net: Net, q: Queue, reason: int) -> None:
    """Drop all of them, counted."""
    while q.first != 0:
        release(net, take(net, q))
        net.drops[reason] += 1


@compiled
def describe(net: Net, block: int) -> bool:
    """Fill `net.error`: this packet found no neighbour.  False: it is a later fragment, which no socket knows.

    To its socket it is what a router would have said (RFC 792: host unreachable;
    RFC 4443 3.1: address unreachable): EHOSTUNREACH, but maybe not for ever.
    """
    e = net.error
    h = packet(net, block)
    length = entry(net, block).length
    e.code = 1
    if entry(net, block).ethertype == EtherType.IPV4:
        if be16(h + 6) & 0x1FFF != 0:
            return False
        header_len = (load8(h) & 0xF) * 4
        e.src_hi = 0
        e.src_lo = address.from_v4(be32(h + 12))
        e.dst_hi = 0
        e.dst_lo = address.from_v4(be32(h + 16))
        e.protocol = load8(h + 9)
        e.type = 3
    else:
        found = ipv6.transport(h, length)
        if found < 0:
            return False
        header_len = found >> 8
        e.src_hi = be64(h + 8)
        e.src_lo = be64(h + 16)
        e.dst_hi = be64(h + 24)
        e.dst_lo = be64(h + 32)
        e.protocol = found & 0xFF
        e.type = 1
        e.code = 3
    e.from_hi = e.src_hi
    e.from_lo = e.src_lo
    e.hard = 0
    e.errno = EHOSTUNREACH
    e.mtu = 0
    e.quoted = h + header_len
    e.quoted_len = length - header_len
    return e.quoted_len >= 8
