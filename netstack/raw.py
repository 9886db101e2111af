"""Raw sockets: packets of one protocol, as IP has them.

raw(7), and ipv6(7) with RFC 3542 section 3.  An AF_INET socket receives packets
with their IP header, an AF_INET6 socket without.  What it sends gets a header,
or with IP_HDRINCL brings its own.
"""
from __future__ import annotations

from . import datagram, udp
from .datagram import Datagrams, Destination, Sock
from .endpoint import RECVERR, RECVERR6, Kind
from .errors import EDESTADDRREQ, EINVAL, EMSGSIZE
from .ip import checksum, ipv4, ipv6, multicast
from .ip import output as ip_output
from .ip.address import is_multicast, is_v4
from .ip.link import LOOPBACK
from .ip.net import SCRATCH_TRANSPORT, IcmpError, Net
from .machine import addressof, be16, be32, compiled, copy, load8, load32, put16, put32, sum16

ICMP, ICMPV6, RAW = 1, 58, 255
IP_CHECKSUM, IP_SOURCE, IP_ID, IP_TOTAL = 10, 12, 4, 2      # where they stand in an IPv4 header
LARGEST_HEADER = 60
CHECKED_HEAD = 256          # bytes in which a checksum may stand (IPV6_CHECKSUM)
NO_CHECKSUM = -1


@compiled
def open(d: Datagrams, net: Net, s: Sock, protocol: int) -> None:
    """A new socket, for a protocol."""
    s.protocol = protocol
    s.checksum = 2 if protocol == ICMPV6 and s.ep.family != datagram.AF_INET else NO_CHECKSUM
    s.hdrincl = 1 if protocol == RAW else 0
    s.ep.local_port = protocol
    datagram.link(d, s)
    net.raw += 1


@compiled
def receive(d: Datagrams, net: Net, now: int) -> bool:
    """Give the packet in `net.rx` to each socket that it fits.  Whether there was one."""
    rx = net.rx
    v4 = is_v4(rx.src_hi, rx.src_lo)
    found = False
    index = load32(datagram.word(d, Kind.RAW, rx.protocol))
    while index != 0:
        s = datagram.get(d, index)
        if (s.ep.family == datagram.AF_INET) == v4 and _fits(net, s, index):
            found = True
            if _passes(s, net, v4):
                start = rx.header if v4 else rx.payload
                datagram.enqueue(d, s, rx, start, rx.payload - start + rx.length, 0, 0, now)
        index = s.ep.port_next
    return found


@compiled
def _fits(net: Net, s: Sock, index: int) -> bool:
    """Whether addresses and interface are the socket's."""
    rx = net.rx
    e = s.ep
    if e.interface != 0 and e.interface != rx.interface:
        return False
    if e.remote_port != 0 and (e.remote_lo != rx.src_lo or e.remote_hi != rx.src_hi):
        return False
    if (e.local_hi != 0 or e.local_lo != 0) and (e.local_lo != rx.dst_lo or e.local_hi != rx.dst_hi):
        return False
    if not is_multicast(rx.dst_hi, rx.dst_lo):
        return True
    return multicast.takes(net, index, s.hears_all, rx.interface, rx.dst_hi, rx.dst_lo, rx.src_hi, rx.src_lo)


@compiled
def _passes(s: Sock, net: Net, v4: bool) -> bool:
    """Whether its filter (ICMP_FILTER, ICMP6_FILTER) lets it through, and the checksum it asks for is right."""
    rx = net.rx
    if rx.length > 0 and (s.protocol == ICMP or s.protocol == ICMPV6):
        type = load8(rx.payload)
        if v4 and type < 32 and s.filter[0] >> type & 1:
            return False
        if not v4 and s.filter[type >> 5] >> (type & 31) & 1:
            return False
    if v4 or s.checksum == NO_CHECKSUM:
        return True
    return rx.length >= s.checksum + 2 and sum16(rx.payload, rx.length, checksum.pseudo(
        rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, rx.protocol, rx.length)) == 0xFFFF


@compiled
def send(d: Datagrams, net: Net, s: Sock, address: int, n: int, to: Destination, now: int) -> int:
    """Send n bytes behind a header of ours, or with one of their own.  n, or -errno."""
    if to.hi == 0 and to.lo == 0:
        return -EDESTADDRREQ
    v4 = s.ep.family == datagram.AF_INET
    if not v4 and to.port != 0 and to.port != s.protocol and s.protocol != RAW:
        return -EINVAL                                          # the port is the protocol, if it is anything
    if n > (ipv4.LARGEST if v4 else ipv6.LARGEST):
        return -EMSGSIZE
    r = udp.set_packet(net, s, to, s.protocol, now)
    if r < 0:
        return r
    if s.hdrincl:
        r = _with_header(net, s, address, n, v4, now)
    else:
        r = _without_header(net, s, to, address, n, now)
    if r == -EMSGSIZE:
        udp.too_long(d, net, s, to, now)
    return r if r < 0 else n


@compiled
def _without_header(net: Net, s: Sock, to: Destination, address: int, n: int, now: int) -> int:
    """The bytes are what IP carries; for IPV6_CHECKSUM one is put into them."""
    out = net.out
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    k = 0
    if s.checksum != NO_CHECKSUM:
        if s.checksum + 2 > n or s.checksum + 2 > CHECKED_HEAD:
            return -EINVAL
        k = min(n, CHECKED_HEAD)
        copy(head, address, k)
        put16(head + s.checksum, 0)
        acc = checksum.pseudo(out.src_hi, out.src_lo, out.dst_hi, out.dst_lo, s.protocol, n)
        acc = sum16(address + k, n - k, sum16(head, k, acc))
        put16(head + s.checksum, checksum.finish(acc))
    out.head = head
    out.head_len = k
    out.a = address + k
    out.a_len = n - k
    return _submit(net, s, to, now)


@compiled
def _submit(net: Net, s: Sock, to: Destination, now: int) -> int:
    """Send `net.out`; of what goes to a group that this host is in, a copy comes back."""
    out = net.out
    there = net.chosen.interface
    back = (is_multicast(out.dst_hi, out.dst_lo) and there != LOOPBACK and s.loop != 0
            and multicast.is_member(net, there, out.dst_hi, out.dst_lo))
    udp.complete(net, s, to)
    r = ip_output.submit(net, out, now)
    if r == 0 and back:
        out.interface = LOOPBACK
        udp.complete(net, s, to)
        ip_output.submit(net, out, now)
    return r


@compiled
def _with_header(net: Net, s: Sock, address: int, n: int, v4: bool, now: int) -> int:
    """(raw(7), IP_HDRINCL) Total length and checksum are filled in, source and identification where they are 0."""
    out = net.out
    k = ipv6.HEADER_LEN
    if v4:
        if n < ipv4.HEADER_LEN:
            return -EINVAL
        k = (load8(address) & 0xF) * 4
        if k > n:
            return -EINVAL
        k = max(k, ipv4.HEADER_LEN)
    elif n < k:
        return -EINVAL
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    copy(head, address, k)
    if v4:
        put16(head + IP_TOTAL, n)
        if be32(head + IP_SOURCE) == 0:
            put32(head + IP_SOURCE, out.src_lo)
        if be16(head + IP_ID) == 0:
            put16(head + IP_ID, ipv4.identification(net, out))
        put16(head + IP_CHECKSUM, 0)
        put16(head + IP_CHECKSUM, checksum.finish(sum16(head, k, 0)))
    out.head = head
    out.head_len = k
    out.a = address + k
    out.a_len = n - k
    return ip_output.send_whole(net, out, now)


@compiled
def error_arrives(d: Datagrams, net: Net, e: IcmpError, now: int) -> bool:
    """An ICMP error about a packet of this protocol: to the sockets that may have sent it.  Whether there was one."""
    found = False
    index = load32(datagram.word(d, Kind.RAW, e.protocol))
    while index != 0:
        s = datagram.get(d, index)
        same = s.ep.remote_lo == e.dst_lo and s.ep.remote_hi == e.dst_hi
        if (s.ep.family == datagram.AF_INET) == is_v4(e.dst_hi, e.dst_lo) and (s.ep.remote_port == 0 or same):
            found = True
            if s.ep.bound & (RECVERR | RECVERR6):
                udp.tell(d, net, s, e, 0, 0, now)
            elif s.ep.remote_port != 0 and (e.hard or (e.mtu != 0 and s.ep.pmtudisc == udp.DO)) and e.errno != 0:
                s.ep.error = e.errno
                datagram.notify(d, s)
        index = s.ep.port_next
    return found
