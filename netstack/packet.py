"""Packet sockets: frames as the link has them, of one EtherType or of all, on one interface or on all.

packet(7).  SOCK_RAW has the Ethernet header, SOCK_DGRAM has not.  Interfaces
without one (TUN) have none here either.
"""
from __future__ import annotations

from . import datagram
from .datagram import Datagrams, Destination, Prefix, Sock
from .endpoint import Kind
from .errors import EINVAL, EMSGSIZE, ENETDOWN, ENOBUFS, ENXIO
from .ip import ethernet, link, taps
from .ip.net import SCRATCH_TRANSPORT, Interface, Medium, Net
from .ip.taps import Tapped
from .machine import addressof, arena, at, compiled, invoke6, load32, ring

ALL = 3                     # ETH_P_ALL
LIST = 256                  # the "protocol" under which all packet sockets are listed
HOST, BROADCAST, MULTICAST, OTHER_HOST, OUTGOING = 0, 1, 2, 3, 4
HEADER = ethernet.HEADER_LEN


@compiled
def open(d: Datagrams, net: Net, s: Sock, ethertype: int, cooked: int) -> int:
    """A new socket: 0, or -errno.  EtherType 0: it hears nothing before `bind`."""
    if not taps.open(net):
        return -ENOBUFS
    s.ethertype = ethertype
    s.cooked = cooked
    s.ep.local_port = LIST
    datagram.link(d, s)
    return 0


@compiled
def distribute(d: Datagrams, net: Net) -> None:
    """Give what the link has kept to the sockets it is for."""
    r = net.taps
    while ring.used(r) != 0:
        t = at(Tapped, ring.address(r, r.head))
        start = r.head + taps.HEADER
        index = load32(datagram.word(d, Kind.PACKET, LIST))
        while index != 0:
            s = datagram.get(d, index)
            if net.tap_drops != 0:
                s.drops += net.tap_drops
            _offer(d, net, s, t, start)
            index = s.ep.port_next
        net.tap_drops = 0
        ring.set_head(r, start + ((t.length + taps.HEADER - 1) & -taps.HEADER))


@compiled
def _offer(d: Datagrams, net: Net, s: Sock, t: Tapped, start: int) -> None:
    """One frame, one socket."""
    head = ring.address(net.taps, start)                # the header is in one piece: frames begin at 64 bytes
    kind = ethernet.ethertype(head)
    if s.ep.interface != 0 and s.ep.interface != t.interface:
        return
    if s.ethertype != ALL and (s.ethertype != kind or t.direction == taps.OUTBOUND):
        return
    iface = net.interfaces[t.interface]
    skip = HEADER if s.cooked or iface.ethernet == Medium.POINT_TO_POINT else 0
    n = t.length - skip
    need = datagram.PREFIX + ((n + datagram.PREFIX - 1) & -datagram.PREFIX)
    if s.read_closed or s.ep.closed:
        return
    if s.rcv.data == 0:
        a = datagram.memory(d)
        where = arena.allot(a, s.rcv.size)
        if where == 0:
            return
        s.rcv.data = addressof(a) + where - addressof(s.rcv)
    s.seen += 1
    if need > ring.room(s.rcv):
        s.drops += 1
        return
    tail = s.rcv.tail
    p = at(Prefix, ring.address(s.rcv, tail))
    p.hi = t.interface | _type(iface, head, t.direction) << 8 | hardware(iface) << 16
    p.lo = ethernet.source(head)
    p.port = kind
    p.scope = 0
    p.interface = t.interface
    p.drops = s.drops
    p.length = n
    p.options = 0
    p.segment = 0
    p.ttl = 0
    p.tos = 0
    p.dst_hi = 0
    p.dst_lo = 0
    p.time = t.time
    _copy(net, s, start + skip, tail + datagram.PREFIX, n)
    ring.set_tail(s.rcv, tail + need)
    datagram.notify(d, s)


@compiled
def _copy(net: Net, s: Sock, position: int, to: int, n: int) -> None:
    """From one ring into another."""
    while n > 0:
        count = ring.contiguous(net.taps, position, n)
        ring.place(s.rcv, to, ring.address(net.taps, position), count)
        position += count
        to += count
        n -= count


@compiled
def _type(iface: Interface, head: int, direction: int) -> int:
    """sll_pkttype."""
    dst = ethernet.destination(head)
    if direction == taps.OUTBOUND:
        return OUTGOING
    if dst == iface.mac or iface.ethernet == Medium.POINT_TO_POINT:
        return HOST
    if dst == ethernet.BROADCAST:
        return BROADCAST
    return MULTICAST if ethernet.is_group(dst) else OTHER_HOST


@compiled
def hardware(iface: Interface) -> int:
    """sll_hatype: ARPHRD_LOOPBACK, ARPHRD_ETHER, ARPHRD_NONE."""
    if iface.ethernet == Medium.LOOPBACK:
        return 772
    return 1 if iface.ethernet == Medium.ETHERNET else 65534


@compiled
def send(net: Net, s: Sock, address: int, n: int, to: Destination, now: int) -> int:
    """Send a frame: as it is (SOCK_RAW), or behind a header for `to` (its port is the EtherType).  n, or -errno."""
    index = to.scope if to.scope != 0 else s.ep.interface
    if not 1 <= index <= net.interface_count:
        return -ENXIO
    iface = net.interfaces[index]
    if iface.up == 0:
        return -ENETDOWN
    bare = iface.ethernet == Medium.POINT_TO_POINT
    if n > iface.mtu + (0 if s.cooked or bare else HEADER):
        return -EMSGSIZE
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    if s.cooked or bare:
        net.iov[2] = address
        net.iov[3] = n
        r = link.transmit(net, iface, to.lo, to.port if to.port != 0 else s.ethertype, head, 0, 2, n, now)
        return r if r < 0 else n
    if n < HEADER:
        return -EINVAL
    net.iov[0] = address
    net.iov[1] = n
    r = invoke6(net.transmit, addressof(net), addressof(iface), 1, n, now, 0)
    return r if r < 0 else n
