"""Steer: several worlds share one interface, and each frame goes to the world that its flow belongs to.

Each world reads one queue of the device.  Which queue a frame comes to is the
system's choice (Linux's tun driver: the one that last sent on this flow, else a
hash), and it knows nothing of our sockets.  So whoever receives a frame looks
who it is for: the owner of the local port if it has one, else the world that a
hash of the flow names.  Another's frame is handed on through that world's ring;
what all must know (ARP and ND answers, ICMP errors, multicast) is copied to
each; what one must answer (ARP, neighbour solicitations) goes to the first.
docs/multi-queue.md has the table.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..machine import (
    Array,
    addressof,
    at,
    be16,
    be32,
    be64,
    compiled,
    copy,
    fence_seq,
    frames,
    i32,
    i64,
    load8,
    mix64,
    record,
    sizeof,
    store_release,
)
from ..machine.frames import ASLEEP, Frames
from . import tap
from .base import Device
from .offload import Offload

MOST = 16               # worlds
FIRST = 0               # the world that answers for all
EVERYONE = -1           # instead of a world: each of them
SHORT = -2              # ...: not enough of the frame can be seen
PORTS = 1 << 16
FRAGMENTS = 32          # datagrams in fragments whose world is remembered
NOTES = sizeof(Offload)
EXTENSIONS = 8          # IPv6 extension headers that are looked past
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ETHERNET, IPV4_HEADER, IPV6_HEADER, ARP_LENGTH = 14, 20, 40, 28
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
ARP_REQUEST = 1


class Query(IntEnum):
    """Types of ICMP messages (v4, then v6) that any world can answer, and so whoever receives them does."""

    ECHO = 8
    TIMESTAMP = 13
    INFORMATION = 15
    ADDRESS_MASK = 17
    ECHO6 = 128
    ROUTER_SOLICITATION = 133
    NEIGHBOUR_SOLICITATION = 135        # the first world's


@record
class Steer:
    """What one world knows of the others behind the same interface."""

    index: i32                                  # our number
    count: i32                                  # worlds
    owners: i64                                 # address of a byte for each local port, TCP's then UDP's: 0: the flow's
                                                # hash says whose it is; k: world k - 1
    secret: i64                                 # of the hash; the same in each world
    rings: Annotated[Array[i64], MOST]          # address of each world's Frames: what others have handed it
    lent: i32                                   # 1: the frame that `receive` lent stands in our ring
    handed_on: i64                              # frames of our queue that went to another world
    taken: i64                                  # frames that others have handed us
    copied: i64                                 # frames of our queue that each world got
    astray: i64                                 # fragments whose first one was not seen: they stayed here
    keys: Annotated[Array[i64], FRAGMENTS]      # of datagrams in fragments, each known by its first
    worlds: Annotated[Array[i32], FRAGMENTS]    # ... whose they are, or EVERYONE
    iov: Annotated[Array[i64], 4]               # pieces of a frame to hand on: its notes, itself


# ---- whose is it? ------------------------------------------------------------------

@compiled
def owner(s: Steer, frame: int, n: int) -> int:
    """The world that a frame is for, of which n bytes can be seen: its number, EVERYONE, or SHORT."""
    if n < ETHERNET:
        return SHORT
    ethertype = be16(frame + 12)
    if ethertype == IPV4:
        return _owner4(s, frame, n)
    if ethertype == IPV6:
        return _owner6(s, frame, n)
    if ethertype == ARP:
        return _owner_arp(frame + ETHERNET, n - ETHERNET)
    return s.index


@compiled
def _owner_arp(p: int, n: int) -> int:
    """A request is answered once; everybody may be waiting for a reply, or hear that an address has moved."""
    if n < ARP_LENGTH:
        return SHORT
    announcement = be32(p + 14) == be32(p + 24)         # RFC 5227 3: sender and target are the same
    return FIRST if be16(p + 6) == ARP_REQUEST and not announcement else EVERYONE


@compiled
def _owner4(s: Steer, frame: int, n: int) -> int:
    if n < ETHERNET + IPV4_HEADER:
        return SHORT
    p = frame + ETHERNET
    head = (load8(p) & 15) * 4
    source = be32(p + 12)
    protocol = load8(p + 9)
    fragment = be16(p + 6) & 0x3FFF                     # more fragments, and the offset
    if fragment == 0:
        return _by_protocol(s, frame, p + head, n - ETHERNET - head, protocol, 0, source)
    key = mix64(mix64(s.secret, source), mix64(s.secret, protocol << 16 | be16(p + 4)))
    if fragment & 0x1FFF:
        return _later(s, key)
    to = _by_protocol(s, frame, p + head, n - ETHERNET - head, protocol, 0, source)
    _remember(s, key, to)
    return to


@compiled
def _owner6(s: Steer, frame: int, n: int) -> int:
    if n < ETHERNET + IPV6_HEADER:
        return SHORT
    p = frame + ETHERNET
    hi = be64(p + 8)
    lo = be64(p + 16)
    end = frame + n
    following = load8(p + 6)
    p += IPV6_HEADER
    key = 0
    for _ in range(EXTENSIONS):
        if following != HOP_BY_HOP and following != ROUTING and following != DESTINATION_OPTIONS \
                and following != FRAGMENT:
            break
        if end - p < 8:
            return SHORT
        length = 8 + 8 * load8(p + 1)
        if following == FRAGMENT:
            length = 8
            key = mix64(mix64(mix64(s.secret, hi), lo), mix64(s.secret, be32(p + 4)))
            if be16(p + 2) & 0xFFF8:
                return _later(s, key)
        following = load8(p)
        p += length
    to = _by_protocol(s, frame, p, end - p, following, hi, lo)
    if key != 0:
        _remember(s, key, to)
    return to


@compiled
def _by_protocol(s: Steer, frame: int, p: int, n: int, protocol: int, hi: int, lo: int) -> int:
    """... by the header behind IP's, of which n bytes can be seen; hi, lo: the source."""
    group = load8(frame) & 1                            # Ethernet multicast, or broadcast
    if protocol == TCP or protocol == UDP:
        if group:
            return EVERYONE if protocol == UDP else s.index
        if n < 4:
            return SHORT
        return flow(s, 1 if protocol == UDP else 0, be16(p + 2), hi, lo, be16(p))
    if protocol == ICMP or protocol == ICMPV6:
        return SHORT if n < 1 else _by_type(s, load8(p), protocol)
    return EVERYONE if protocol == IGMP else s.index


@compiled
def _by_type(s: Steer, type: int, protocol: int) -> int:
    if protocol == ICMPV6:
        if type == Query.NEIGHBOUR_SOLICITATION:
            return FIRST
        return s.index if type == Query.ECHO6 or type == Query.ROUTER_SOLICITATION else EVERYONE
    if type == Query.ECHO or type == Query.TIMESTAMP or type == Query.INFORMATION or type == Query.ADDRESS_MASK:
        return s.index
    return EVERYONE


@compiled
def flow(s: Steer, udp: int, port: int, hi: int, lo: int, remote: int) -> int:
    """The world of a flow between our port and somebody's address and port."""
    to = load8(s.owners + udp * PORTS + port)
    if to != 0:
        return to - 1
    return mix64(mix64(mix64(s.secret, hi), lo), mix64(s.secret, remote << 16 | port)) % s.count


@compiled
def _remember(s: Steer, key: int, to: int) -> None:
    """The first fragment tells whose the others are: these have no ports.  They come to one queue, in order."""
    s.keys[key % FRAGMENTS] = key
    s.worlds[key % FRAGMENTS] = to


@compiled
def _later(s: Steer, key: int) -> int:
    if s.keys[key % FRAGMENTS] == key and s.worlds[key % FRAGMENTS] != SHORT:
        return s.worlds[key % FRAGMENTS]
    s.astray += 1
    return s.index


# ---- handing on --------------------------------------------------------------------

@compiled
def is_ours(dev: Device, n: int) -> bool:
    """Whether the frame of n bytes that our queue has given stays here.  If others are to have it, they get it now."""
    s = at(Steer, dev.steer)
    to = SHORT
    for _ in range(2):
        to = owner(s, dev.frame, n - dev.placed)
        if to == s.index:
            return True
        if dev.placed == 0:
            break
        tap.gather(dev)                                 # its text went where another flow's was foreseen
        if to != SHORT:
            break
    if to == SHORT:
        return True                                     # whoever it was for would only drop it
    if to == EVERYONE:
        s.copied += 1
        for i in range(s.count):
            if i != s.index:
                _hand(s, dev, n, i)
        return True
    s.handed_on += 1
    _hand(s, dev, n, to)
    return False


@compiled
def _hand(s: Steer, dev: Device, n: int, to: int) -> None:
    """A copy into another world's ring; full, or that world is gone: lost, as in a device's queue."""
    queue = at(Frames, s.rings[to])
    if queue.closed == 0:
        s.iov[0] = addressof(dev.rx_notes)
        s.iov[1] = NOTES
        s.iov[2] = dev.frame
        s.iov[3] = n
        frames.push(queue, addressof(s.iov), 2, NOTES + n)


@compiled
def take(dev: Device) -> int:
    """Lend the first frame that others have handed us: its length; 0: there is none."""
    s = at(Steer, dev.steer)
    frame = frames.peek(at(Frames, s.rings[s.index]))
    if frame == 0:
        return 0
    if s.lent == 0:
        s.taken += 1
        s.lent = 1
    copy(addressof(dev.rx_notes), frame, NOTES)
    dev.placed = 0
    dev.frame = frame + NOTES
    return frames.length(frame) - NOTES


@compiled
def give_back(dev: Device) -> bool:
    """Done with the lent frame.  False: it was not from the ring."""
    s = at(Steer, dev.steer)
    if s.lent == 0:
        return False
    s.lent = 0
    frames.drop(at(Frames, s.rings[s.index]))
    return True


@compiled
def is_pending(dev: Device) -> bool:
    """Whether others have handed us a frame."""
    s = at(Steer, dev.steer)
    return not frames.is_empty(at(Frames, s.rings[s.index]))


@compiled
def sleep(dev: Device) -> bool:
    """Ask for the bell, then look once more, as `wire.sleep`."""
    s = at(Steer, dev.steer)
    queue = at(Frames, s.rings[s.index])
    store_release(addressof(queue) + ASLEEP, 1)
    fence_seq()
    return frames.is_empty(queue)


@compiled
def wake(dev: Device) -> None:
    """No bell needed."""
    s = at(Steer, dev.steer)
    store_release(addressof(at(Frames, s.rings[s.index])) + ASLEEP, 0)
