"""Reassembly: putting the fragments of a datagram together.

RFC 791 3.2 and RFC 8200 4.5; overlaps are refused as RFC 5722 says, for IPv4 as
well.  The data and the list of what is missing are in `holes.py`.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import (
    at,
    compiled,
    copy,
    i32,
    i64,
    load8,
    put16,
    record,
    sizeof,
    store8,
    sum16,
    table,
    timers,
    u8,
    u16,
)
from . import checksum, holes, icmp, icmpv6
from .holes import ROOM, Holes

if TYPE_CHECKING:
    from .net import Net

CAPACITY = 1 + 128          # of the Table: datagrams collected at once
LARGEST = 65535             # of a datagram (RFC 791 3.1) and of a payload (RFC 8200 3)

V6_HEADER = 40
FRAGMENT_HEADER = 8         # (RFC 8200 4.5)
PAYLOAD_LENGTH = 4          # where the field stands in the IPv6 header
FRAGMENT_OFFSET = 2         # ... and this one in the fragment header
HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
DESTINATION_OPTIONS = 60
PARAMETER_PROBLEM = 4       # ICMPv6

NOT_ECT = 1 << 0            # bits of Reassembly.ecn: 1 << codepoint (RFC 3168 5)
CE = 1 << 3
CE_CODEPOINT = 3


class State(IntEnum):
    """Of an entry."""

    FREE = 0
    COLLECTING = 1
    WHOLE = 2           # lent to a transport through net.rx, until `release`
    REFUSED = 3         # fragments overlapped: those still to come are discarded too (RFC 5722 4)


@record
class Reassembly:
    """One datagram being collected."""

    link: i32           # of the table's free list
    state: u8
    protocol: u8        # of the first fragment (IPv6), or of all of them (IPv4)
    ttl: u8             # of the first fragment
    tos: u8
    ecn: u8             # codepoints seen, as bits
    broadcast: u8       # 1: one of them came by broadcast or multicast
    interface: u8       # index
    options_len: u8     # bytes of IPv4 options of the first fragment
    header_len: u16     # bytes from the first fragment's IP header to its data; 0: it has not come
    first_len: i32      # bytes of its data
    src_hi: i64
    src_lo: i64
    dst_hi: i64
    dst_lo: i64
    id: i64
    deadline: i64       # ns
    holes: Holes        # its data, and what is missing of it


SIZE = sizeof(Reassembly)


@compiled
def entry(net: Net, index: int) -> Reassembly:
    """The entry with an index."""
    return at(Reassembly, table.address(net.reassemblies, index))


@compiled
def is_v6(net: Net) -> bool:
    """Whether net.rx is an IPv6 packet."""
    return load8(net.rx.header) >> 4 == 6


@compiled
def add(net: Net, now: int) -> int:
    """Take the fragment in net.rx.  Returns 1 when net.rx has become the whole datagram, else 0.

    The caller calls `release` when the datagram has been delivered.
    """
    rx = net.rx
    if rx.frag_offset == 0 and rx.frag_more == 0:       # RFC 6946: a fragment alone is a datagram
        rx.fragment = 0
        return 1
    if not _is_sound(net, now):
        return 0
    index = _find(net)
    if index == 0:
        index = _begin(net, now)
        if index == 0:
            net.drops[Drop.FRAGMENT_LIMIT] += 1
            return 0
    e = entry(net, index)
    if e.state != State.COLLECTING:
        net.drops[Drop.FRAGMENT_OVERLAP] += 1
        return 0
    reason = _take(net, e)
    if reason != 0:
        net.drops[reason] += 1
        _refuse(net, e)
        return 0
    if holes.is_whole(e.holes):
        return _complete(net, e, index)
    return 0


@compiled
def _is_sound(net: Net, now: int) -> bool:
    """Checks that need only the fragment itself; an IPv6 sender is told what is wrong (RFC 8200 4.5)."""
    rx = net.rx
    v6 = is_v6(net)
    header_len = rx.payload - rx.header
    before = header_len - V6_HEADER - FRAGMENT_HEADER if v6 else header_len
    pointer = 0
    if rx.frag_more != 0 and rx.length & 7 != 0:
        pointer = PAYLOAD_LENGTH
    elif before + rx.frag_offset + rx.length > LARGEST:
        pointer = header_len - FRAGMENT_HEADER + FRAGMENT_OFFSET
    elif rx.length != 0 and header_len <= ROOM:
        return True
    net.drops[Drop.FRAGMENT_MALFORMED] += 1
    if v6 and pointer != 0:
        icmpv6.send_error(net, PARAMETER_PROBLEM, 0, pointer, now)
    return False


@compiled
def _find(net: Net) -> int:
    """The entry that the fragment in net.rx belongs to, or 0 (RFC 791 3.2; IPv6 does not look at the protocol)."""
    rx = net.rx
    v6 = is_v6(net)
    t = net.reassemblies
    if t.live == 0:
        return 0
    for index in range(1, t.used + 1):
        e = entry(net, index)
        if (e.id == rx.frag_id and e.src_lo == rx.src_lo and e.dst_lo == rx.dst_lo and e.src_hi == rx.src_hi
                and e.dst_hi == rx.dst_hi and (v6 or e.protocol == rx.protocol)
                and e.state in (State.COLLECTING, State.REFUSED)):
            return index
    return 0


@compiled
def _begin(net: Net, now: int) -> int:
    """A new entry, all of it one hole (RFC 815 3), or 0."""
    rx = net.rx
    index = table.allot(net.reassemblies)
    if index == 0:
        return 0
    e = entry(net, index)
    e.state = State.COLLECTING
    e.protocol = rx.protocol
    e.interface = rx.interface
    e.src_hi = rx.src_hi
    e.src_lo = rx.src_lo
    e.dst_hi = rx.dst_hi
    e.dst_lo = rx.dst_lo
    e.id = rx.frag_id
    if not holes.begin(net, e.holes, rx.frag_offset + rx.length):
        e.state = State.FREE
        table.release(net.reassemblies, index)
        return 0
    e.deadline = now + net.settings.ipfrag_time         # RFC 1122 3.3.2: from the first to arrive, never extended
    timers.arm(net.timers, net.reassembly_slot + index, e.deadline)
    return index


@compiled
def _take(net: Net, e: Reassembly) -> int:
    """Put the fragment in net.rx where it belongs.  Returns 0, or the Drop for which the whole datagram is refused."""
    rx = net.rx
    had = e.holes.received
    reason = holes.fill(net, e.holes, rx.frag_offset, rx.payload, rx.length, rx.frag_more)
    if reason != 0 or e.holes.received == had:          # refused, or a duplicate
        return reason
    e.ecn |= 1 << (rx.tos & 3)
    e.broadcast |= rx.broadcast
    if rx.frag_offset == 0:
        e.header_len = rx.payload - rx.header
        e.first_len = rx.length
        e.protocol = rx.protocol
        e.ttl = rx.ttl
        e.tos = rx.tos
        e.options_len = rx.options_len
        copy(holes.data(net, e.holes) - e.header_len, rx.header, e.header_len)
    return 0


@compiled
def _refuse(net: Net, e: Reassembly) -> None:
    """Forget what has come; the entry stays until its time is over, so that the rest is discarded too (RFC 5722 4)."""
    holes.release(net, e.holes)
    e.state = State.REFUSED


@compiled
def _complete(net: Net, e: Reassembly, index: int) -> int:
    """Make net.rx the whole datagram.  Returns 1, or 0 when its congestion marks contradict each other."""
    rx = net.rx
    if e.ecn & CE != 0:                                 # RFC 3168 5.3
        if e.ecn & NOT_ECT != 0:
            net.drops[Drop.FRAGMENT_MALFORMED] += 1
            _free(net, index)
            return 0
        e.tos |= CE_CODEPOINT
    e.state = State.WHOLE
    timers.disarm(net.timers, net.reassembly_slot + index)
    _describe_in_rx(net, e)
    rx.length = e.holes.total
    rx.reassembled = index
    rx.pseudo = checksum.pseudo(rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, rx.protocol, rx.length)
    if is_v6(net):
        rx.pointer = _join_v6(rx.header, e)
        rx.header += FRAGMENT_HEADER
    else:
        put16(rx.header + 2, e.header_len + e.holes.total)
        put16(rx.header + 6, 0)
        put16(rx.header + 10, 0)
        put16(rx.header + 10, checksum.finish(sum16(rx.header, e.header_len, 0)))
    return 1


@compiled
def _describe_in_rx(net: Net, e: Reassembly) -> None:
    """Make net.rx the first fragment, or what has become of it."""
    rx = net.rx
    rx.src_hi = e.src_hi
    rx.src_lo = e.src_lo
    rx.dst_hi = e.dst_hi
    rx.dst_lo = e.dst_lo
    rx.protocol = e.protocol
    rx.ttl = e.ttl
    rx.tos = e.tos
    rx.interface = e.interface
    rx.broadcast = e.broadcast
    rx.options_len = e.options_len
    rx.fragment = 0
    rx.frag_more = 0
    rx.frag_offset = 0
    rx.payload = holes.data(net, e.holes)
    rx.header = rx.payload - e.header_len
    rx.length = e.first_len


@compiled
def _join_v6(header: int, e: Reassembly) -> int:
    """Take the fragment header out of the headers at `header` (RFC 8200 4.5).  Returns where the protocol is named."""
    field = 6                                           # where the Next Header field of the base header stands
    following = V6_HEADER
    kind = load8(header + field)
    limit = e.header_len - FRAGMENT_HEADER
    while kind in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS) and following + 8 <= limit:
        field = following
        following += 8 + 8 * load8(header + field + 1)
        kind = load8(header + field)
    if kind == FRAGMENT:
        store8(header + field, e.protocol)
    put16(header + 4, limit - V6_HEADER + e.holes.total)
    copy(header + FRAGMENT_HEADER, header, limit)
    return field


@compiled
def _free(net: Net, index: int) -> None:
    """Give back an entry and what it holds."""
    _refuse(net, entry(net, index))
    entry(net, index).state = State.FREE
    timers.disarm(net.timers, net.reassembly_slot + index)
    table.release(net.reassemblies, index)


@compiled
def release(net: Net) -> None:
    """The datagram in net.rx has been delivered; nothing happens when it was never in fragments."""
    if net.rx.reassembled != 0:
        _free(net, net.rx.reassembled)
        net.rx.reassembled = 0


@compiled
def expire(net: Net, index: int, now: int) -> None:
    """The timer of an entry has expired: give up, and tell the sender if its first fragment came (RFC 1122 3.3.2)."""
    e = entry(net, index)
    if e.state not in (State.COLLECTING, State.REFUSED):
        return
    if e.deadline > now:
        timers.arm(net.timers, net.reassembly_slot + index, e.deadline)
        return
    if e.state == State.COLLECTING:
        net.drops[Drop.FRAGMENT_TIMEOUT] += 1
        if e.header_len != 0:
            _describe_in_rx(net, e)
            icmp.time_exceeded(net, now)
    _free(net, index)
