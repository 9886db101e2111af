"""Multicast groups: which socket has joined which group on which interface, and from whom it takes datagrams.

RFC 1112 6.1 and 7.1 (a host joins and leaves groups), RFC 3376 3 and RFC 3810 4
(source filters).  What the link is told of it is in `membership.py`.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

from ..errors import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENOBUFS
from ..machine import Array, at, compiled, i64, record, table, u8, u16, u32
from . import address

if TYPE_CHECKING:
    from .net import Interface, Net

CAPACITY = 1025             # memberships of all sockets together, and entry 0
PER_SOCKET = 20             # net.ipv4.igmp_max_memberships
SOURCES = 64                # of one membership (net.ipv6.mld_max_msf)
SOURCES_V4 = 10             # net.ipv4.igmp_max_msf


class Mode(IntEnum):
    """What a membership's list of sources means (RFC 3376 2)."""

    EXCLUDE = 0             # all but these
    INCLUDE = 1             # only these


@record
class Membership:
    """One socket in one group on one interface."""

    link: u32               # of the table's free list
    socket: u32             # index of the datagram socket; 0: not in use
    hi: i64                 # the group
    lo: i64
    interface: u8
    mode: u8                # Mode
    count: u16              # sources
    reserved: u32
    sources: Annotated[Array[i64], 128]     # hi, lo of each


@compiled
def get(net: Net, index: int) -> Membership:
    """The membership with an index."""
    return at(Membership, table.address(net.memberships, index))


@compiled
def find(net: Net, socket: int, interface: int, hi: int, lo: int) -> int:
    """The index of a socket's membership (interface 0: on any), or 0."""
    for i in range(1, net.memberships.used + 1):
        m = get(net, i)
        if (m.socket == socket and m.lo == lo and m.hi == hi
                and (interface == 0 or m.interface == interface)):
            return i
    return 0


@compiled
def is_member(net: Net, interface: int, hi: int, lo: int) -> bool:
    """Whether any socket is in the group on the interface."""
    if net.memberships.live == 0:
        return False
    for i in range(1, net.memberships.used + 1):
        m = get(net, i)
        if m.socket != 0 and m.lo == lo and m.hi == hi and m.interface == interface:
            return True
    return False


@compiled
def is_heard(net: Net, iface: Interface, hi: int, lo: int) -> bool:
    """Whether net.rx, which is to a group, is for us.

    A copy of what we have sent ourselves comes through the loopback interface; it counts as come through the one that
    has its source address.
    """
    if net.memberships.live == 0:
        return False
    if is_member(net, iface.index, hi, lo):
        return True
    rx = net.rx
    if iface.ethernet != 0:
        return False
    for i in range(2, net.interface_count + 1):
        if address.on_interface(net.interfaces[i], rx.src_hi, rx.src_lo) >= 0 and is_member(net, i, hi, lo):
            rx.interface = i
            return True
    return False


@compiled
def join(net: Net, socket: int, interface: int, hi: int, lo: int, mode: int) -> int:
    """A socket joins a group: 0, or -errno as Linux (ip_mc_join_group)."""
    if find(net, socket, interface, hi, lo) != 0:
        return -EADDRINUSE
    if hi == 0 and _count(net, socket) >= PER_SOCKET:
        return -ENOBUFS
    index = table.allot(net.memberships)
    if index == 0:
        return -ENOBUFS
    m = get(net, index)
    m.socket = socket
    m.hi = hi
    m.lo = lo
    m.interface = interface
    m.mode = mode
    return 0


@compiled
def _count(net: Net, socket: int) -> int:
    n = 0
    for i in range(1, net.memberships.used + 1):
        if get(net, i).socket == socket:
            n += 1
    return n


@compiled
def leave(net: Net, socket: int, interface: int, hi: int, lo: int) -> int:
    """... and leaves it: 0, or -EADDRNOTAVAIL."""
    index = find(net, socket, interface, hi, lo)
    if index == 0:
        return -EADDRNOTAVAIL
    remove(net, index)
    return 0


@compiled
def remove(net: Net, index: int) -> None:
    """A membership is over."""
    get(net, index).socket = 0
    table.release(net.memberships, index)


@compiled
def filter_source(net: Net, socket: int, interface: int, hi: int, lo: int, mode: int, add: int, src_hi: int,
                  src_lo: int) -> int:
    """Add a source to a membership's list, or take it out: 0, or -errno as Linux (ip_mc_source)."""
    index = find(net, socket, interface, hi, lo)
    if index == 0:
        return -EINVAL
    m = get(net, index)
    if m.mode != mode:
        if m.count != 0:
            return -EINVAL
        m.mode = mode
    there = place(m, src_hi, src_lo)
    if add != 0:
        if there >= 0:
            return -EADDRNOTAVAIL
        if m.count >= (SOURCES_V4 if hi == 0 else SOURCES):
            return -ENOBUFS
        m.sources[2 * m.count] = src_hi
        m.sources[2 * m.count + 1] = src_lo
        m.count += 1
        return 0
    if there < 0:
        return -EADDRNOTAVAIL
    m.count -= 1
    m.sources[2 * there] = m.sources[2 * m.count]
    m.sources[2 * there + 1] = m.sources[2 * m.count + 1]
    if m.count == 0 and mode == Mode.INCLUDE:                       # nobody is left to hear
        remove(net, index)
    return 0


@compiled
def place(m: Membership, hi: int, lo: int) -> int:
    """Where a source stands in the list; -1: not there."""
    for i in range(m.count):
        if m.sources[2 * i + 1] == lo and m.sources[2 * i] == hi:
            return i
    return -1


@compiled
def takes(net: Net, socket: int, everything: int, interface: int, hi: int, lo: int, src_hi: int, src_lo: int) -> bool:
    """Whether a socket takes what a source sent to a group.  `everything`: also of groups that others have joined."""
    index = find(net, socket, interface, hi, lo)
    if index == 0:
        return everything != 0
    m = get(net, index)
    listed = place(m, src_hi, src_lo) >= 0
    return listed if m.mode == Mode.INCLUDE else not listed
