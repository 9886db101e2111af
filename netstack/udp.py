"""UDP: eight bytes of header, ports and a checksum.

RFC 768; RFC 1122 section 4.1; RFC 8200 section 8.1 (over IPv6 the checksum is
required).
"""
from __future__ import annotations

from . import datagram
from .datagram import Datagrams, Destination, Sock
from .drivers.offload import Gso
from .endpoint import DONTROUTE, RECVERR, RECVERR6, Kind
from .errors import EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EDESTADDRREQ, EINVAL, EMSGSIZE, ENETUNREACH, EPIPE, Drop
from .ip import checksum, ipv4, ipv6, multicast, route
from .ip import output as ip_output
from .ip.address import is_multicast, is_v4
from .ip.ipv4_options import IpOptions
from .ip.ipv6_extensions import Extensions
from .ip.link import LOOPBACK
from .ip.net import CUT, EXTENDED, OF_LINK, SCRATCH_TRANSPORT, IcmpError, Incoming, Net, Packet
from .machine import addressof, at, be16, compiled, load32, put16, sum16

PROTOCOL = 17
HEADER_LEN = 8
CHECKSUM = 6                    # where it stands in the header
MAX_DATAGRAM = 65507            # that fits into an IPv4 packet,
MAX_DATAGRAM6 = 65527           # ... and an IPv6 packet
MAX_SEGMENTS = 128              # of one call (Linux: UDP_MAX_SEGMENTS)
ICMPV6, RAW = 58, 255           # protocols
DONT, DO, PROBE, INTERFACE = 0, 2, 3, 4     # IP_PMTUDISC_*


@compiled
def receive(d: Datagrams, net: Net, now: int) -> int:
    """Deliver the datagram in `net.rx`.  Drop.NONE or a reason; UDP_NO_PORT asks for an ICMP error."""
    rx = net.rx
    p = rx.payload
    if rx.length < HEADER_LEN:
        return Drop.UDP_MALFORMED
    length = be16(p + 4)
    if length < HEADER_LEN or length > rx.length:
        return Drop.UDP_MALFORMED
    field = be16(p + 6)
    if field != 0 and rx.checked == 0:
        acc = rx.pseudo
        if length != rx.length:                                 # the pseudo header counts UDP's own length
            acc = checksum.pseudo(rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, PROTOCOL, length)
        if sum16(p, length, acc) != 0xFFFF:
            d.counters.in_csum_errors += 1
            return Drop.UDP_CHECKSUM
    elif field == 0 and rx.checked == 0 and not is_v4(rx.dst_hi, rx.dst_lo):
        return Drop.UDP_CHECKSUM                                # (RFC 8200 8.1)
    port = be16(p + 2)
    src_port = be16(p)
    if port == 0:
        return Drop.UDP_MALFORMED
    n = length - HEADER_LEN
    if rx.broadcast:
        return _to_all(d, net, port, src_port, n, now)
    index = datagram.find(d, Kind.UDP, port, rx, src_port)
    if index == 0:
        d.counters.no_ports += 1
        return Drop.UDP_NO_PORT
    return _give(d, datagram.get(d, index), rx, p, n, src_port, now)


@compiled
def _give(d: Datagrams, s: Sock, rx: Incoming, p: int, n: int, src_port: int, now: int) -> int:
    """Put it into one socket's queue, in the pieces that it was sent in unless the socket takes them together."""
    several = 0 < rx.gso_size < n                               # of one size, as one packet
    if several and s.gro != 0:
        d.counters.in_datagrams += 1
        return datagram.enqueue(d, s, rx, p + HEADER_LEN, n, src_port, rx.gso_size, now)
    size = rx.gso_size if several else max(n, 1)
    at = 0
    reason = 0
    while at == 0 or at < n:
        d.counters.in_datagrams += 1
        reason |= datagram.enqueue(d, s, rx, p + HEADER_LEN + at, min(size, n - at), src_port, 0, now)
        at += size
    return reason


@compiled
def _to_all(d: Datagrams, net: Net, port: int, src_port: int, n: int, now: int) -> int:
    """A broadcast or multicast is for each socket that it fits (RFC 1122 4.1.3.5), and of groups for their members."""
    rx = net.rx
    group = is_multicast(rx.dst_hi, rx.dst_lo)
    bit = datagram.FOUR if is_v4(rx.dst_hi, rx.dst_lo) else datagram.SIX
    reason = Drop.UDP_NO_PORT + 0
    index = load32(datagram.word(d, Kind.UDP, port))
    while index != 0:
        s = datagram.get(d, index)
        if datagram.fits(s, rx, src_port) > 0 and (not group or multicast.takes(
                net, index, s.hears_all & bit, rx.interface, rx.dst_hi, rx.dst_lo, rx.src_hi, rx.src_lo)):
            given = _give(d, s, rx, rx.payload, n, src_port, now)
            reason = given if reason == Drop.UDP_NO_PORT else reason | given
        index = s.ep.port_next
    if reason == Drop.UDP_NO_PORT:
        d.counters.no_ports += 1
    return reason


@compiled
def check_destination(net: Net, s: Sock, hi: int, lo: int) -> int:
    """Whether a socket may send to an address: family, broadcast permission.  0, or -errno."""
    v4 = is_v4(hi, lo)
    if s.ep.family == datagram.AF_INET and not v4:
        return -EAFNOSUPPORT
    if v4 and s.ep.family != datagram.AF_INET and s.ep.v6only:
        return -ENETUNREACH
    if s.ep.broadcast == 0 and route.is_broadcast(net, hi, lo):
        return -EACCES
    return 0


@compiled
def set_packet(net: Net, s: Sock, to: Destination, protocol: int, now: int) -> int:
    """Fill `net.out` for a datagram of this socket: route and source address are chosen.  0, or -errno."""
    e = s.ep
    hi = to.hi
    lo = to.lo
    r = check_destination(net, s, hi, lo)
    if r < 0:
        return r
    interface = e.interface if e.interface != 0 else to.scope
    if interface == 0 and s.through_any != 0 and not is_v4(hi, lo):
        interface = s.through_any + 0
        if interface > net.interface_count:
            return -ENETUNREACH
    src_hi = e.local_hi
    src_lo = e.local_lo
    ttl = e.ttl + 0
    if s.no_source:
        src_hi = 0
        src_lo = 0
    group = is_multicast(hi, lo)
    if group:
        v4 = is_v4(hi, lo)
        ttl = s.multicast_ttl if v4 else s.multicast_hops
        if interface == 0:
            interface = s.through if v4 else s.through6
        if v4 and src_lo == 0 and s.multicast_from != 0:
            src_lo = s.multicast_from + 0
    there_hi = hi                                               # where the packet goes first
    there_lo = lo
    x = extensions(s, to)
    if x != 0 and at(Extensions, x).final != 0:
        there_hi = at(Extensions, x).via_hi
        there_lo = at(Extensions, x).via_lo
    if to.control != 0:
        if to.interface != 0:
            interface = to.interface
        if to.src_hi != 0 or to.src_lo != 0:
            src_hi = to.src_hi
            src_lo = to.src_lo
            if e.transparent == 0 and not route.is_local(net, src_hi, src_lo):
                return -ENETUNREACH if is_v4(src_hi, src_lo) else -EINVAL
    if e.transparent == 0:
        r = route.choose(net, there_hi, there_lo, src_hi, src_lo, interface, now)
        if r == -EADDRNOTAVAIL and src_lo != 0:
            r = -ENETUNREACH                                    # (IP_FREEBIND) as Linux
    else:
        r = route.choose_from(net, there_hi, there_lo, src_hi, src_lo, interface, now)
    if r < 0:
        return r
    if e.bound & DONTROUTE and (net.chosen.hop_lo != there_lo or net.chosen.hop_hi != there_hi):
        return -ENETUNREACH
    out = net.out
    out.src_hi = net.chosen.src_hi
    out.src_lo = net.chosen.src_lo
    out.dst_hi = hi
    out.dst_lo = lo
    out.protocol = protocol
    out.ttl = ttl
    out.tos = e.tos
    out.dont_fragment = dont_fragment(s, to)
    out.interface = interface
    out.broadcast = e.broadcast
    out.b_len = 0
    out.confirm = 0
    if to.control != 0:
        _as_told(out, to)
    return 0


@compiled
def dont_fragment(s: Sock, to: Destination) -> int:
    """Packet.dont_fragment for one datagram (ip_sk_ignore_df of Linux, and __ip6_append_data)."""
    discover = s.ep.pmtudisc
    if discover == DO or discover == PROBE:
        return 1
    return 2 if discover == INTERFACE or no_fragments(s, to) else 0


@compiled
def no_fragments(s: Sock, to: Destination) -> bool:
    """IPV6_DONTFRAG.  As on Linux raw sockets of most protocols do not know it."""
    if is_v4(to.hi, to.lo) or (s.ep.kind == Kind.RAW and s.protocol not in (PROTOCOL, ICMPV6, RAW)):
        return False
    if to.control != 0 and to.dont_fragment >= 0:
        return to.dont_fragment != 0
    return s.dont_fragment != 0


@compiled
def extensions(s: Sock, to: Destination) -> int:
    """The address of the Extensions that one datagram has, 0: none.  As on Linux, echo requests have none."""
    if is_v4(to.hi, to.lo) or s.ep.kind == Kind.PING:
        return 0
    if to.control != 0 and to.extensions != 0:
        return addressof(to) + to.extensions
    return addressof(s) + s.extensions if s.extensions != 0 else 0


@compiled
def complete(net: Net, s: Sock, to: Destination) -> None:
    """`net.out`, which is to be submitted now, gets what holds for one packet only: the IPv4 options that the socket
    has, or this datagram, whether its source need be ours, and how it is cut."""
    o = addressof(to.options) if to.control != 0 and to.own_options != 0 else addressof(s.options)
    net.out.options = o
    net.out.foreign = s.ep.transparent
    net.out.options_len = at(IpOptions, o).length
    net.out.manner = CUT | (OF_LINK if s.ep.pmtudisc >= PROBE else 0)
    net.out.most = s.most
    x = extensions(s, to)
    if x != 0:
        net.out.extensions = x
        net.out.manner |= EXTENDED


@compiled
def _as_told(out: Packet, to: Destination) -> None:
    """What ancillary data says of one datagram goes before what options say of all."""
    if to.ttl >= 0:
        out.ttl = to.ttl
    if to.tos >= 0:
        out.tos = to.tos


@compiled
def send(d: Datagrams, net: Net, s: Sock, address: int, n: int, to: Destination, now: int) -> int:
    """Send one datagram from the application's memory, or several (UDP_SEGMENT).  n, or -errno."""
    hi = to.hi
    lo = to.lo
    port = to.port
    segment = to.segment if to.segment >= 0 else s.segment
    if port == 0:
        return -EINVAL if hi != 0 or lo != 0 else -EDESTADDRREQ
    v4 = is_v4(hi, lo)
    if n > MAX_DATAGRAM and v4:
        return -EMSGSIZE
    r = set_packet(net, s, to, PROTOCOL, now)
    if r < 0:
        return r
    if n > MAX_DATAGRAM6:
        too_long(d, net, s, to, now)
        return -EMSGSIZE
    if s.write_closed:
        return -EPIPE
    if s.ep.local_port == 0:
        r = datagram.bind(d, s, 0)
        if r < 0:
            return r
    if segment != 0:                                            # (udp(7), UDP_SEGMENT) each must fit, and so many
        headers = HEADER_LEN + (ipv4.HEADER_LEN + s.options.length if v4 else ipv6.HEADER_LEN)
        x = extensions(s, to)
        if x != 0:
            headers += at(Extensions, x).each + at(Extensions, x).last
        if headers + min(n, segment) > net.chosen.mtu or (s.most != 0 and headers + min(n, segment) > s.most):
            return -EMSGSIZE
        if n > segment * MAX_SEGMENTS:
            return -EINVAL
    d.counters.out_datagrams += 1
    if segment == 0 or n <= segment or extensions(s, to) == 0:
        return _send_one(d, net, s, address, n, to, segment, now)
    done = 0                                                    # links do not cut what has extension headers
    while done < n:
        r = _send_one(d, net, s, address + done, min(segment, n - done), to, segment, now)
        if r < 0:
            return r
        done += r
    return n


@compiled
def _send_one(d: Datagrams, net: Net, s: Sock, address: int, n: int, to: Destination, segment: int, now: int) -> int:
    """Send n bytes with the header of `net.out`, which gets UDP's.  n, or -errno."""
    hi = to.hi
    lo = to.lo
    out = net.out
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    length = HEADER_LEN + n
    put16(head, s.ep.local_port)
    put16(head + 2, to.port)
    put16(head + 4, length)
    put16(head + CHECKSUM, checksum.pseudo(out.src_hi, out.src_lo, hi, lo, PROTOCOL, length))
    out.dst_hi = hi
    out.dst_lo = lo
    out.csum_offset = CHECKSUM                                  # the rest of it is the link's
    out.head = head
    out.head_len = HEADER_LEN
    out.a = address
    out.a_len = n
    if segment != 0 and n > segment:
        out.gso = Gso.UDP_L4
        out.gso_size = segment
    if is_multicast(hi, lo):
        r = _send_to_group(net, s, to, n, now)
    else:
        complete(net, s, to)
        r = ip_output.submit(net, out, now)
    if r == -EMSGSIZE:
        too_long(d, net, s, to, now)
    return r if r < 0 else n


@compiled
def _send_to_group(net: Net, s: Sock, to: Destination, n: int, now: int) -> int:
    """Send `net.out` to a group; if we are members ourselves, a copy comes back (RFC 1112 6.1, 7.1).  n, or -errno."""
    out = net.out
    r = 0
    there = net.chosen.interface
    bit = datagram.FOUR if is_v4(out.dst_hi, out.dst_lo) else datagram.SIX
    back = there != LOOPBACK and s.loop & bit and multicast.is_member(net, there, out.dst_hi, out.dst_lo)
    ours = out.ttl == 0                                         # it does not leave the host
    if ours:
        out.ttl = 1
    gso = out.gso_size
    if not ours or there == LOOPBACK:
        complete(net, s, to)
        r = ip_output.submit(net, out, now)
    if r == 0 and back:
        put16(out.head + CHECKSUM, checksum.pseudo(out.src_hi, out.src_lo, out.dst_hi, out.dst_lo, PROTOCOL,
                                                   HEADER_LEN + n))
        out.csum_offset = CHECKSUM
        out.gso_size = gso
        out.interface = LOOPBACK
        complete(net, s, to)
        ip_output.submit(net, out, now)
    return r if r < 0 else n


@compiled
def too_long(d: Datagrams, net: Net, s: Sock, to: Destination, now: int) -> None:
    """A datagram that is to stay whole does not fit the path: the error queue tells the MTU (IP_RECVERR,
    ip_local_error), the next receive, too (IPV6_RECVPATHMTU, ipv6_local_rxpmtu)."""
    hi = to.hi
    lo = to.lo
    if s.hears_path != 0 and s.ep.kind != Kind.PING and no_fragments(s, to):
        s.path_mtu = net.chosen.mtu
        s.path_hi = hi
        s.path_lo = lo
        s.path_scope = net.out.interface
    if not s.ep.bound & _recverr(hi, lo):
        return
    e = net.error
    e.dst_hi = hi
    e.dst_lo = lo
    e.from_hi = 0
    e.from_lo = 0
    e.errno = EMSGSIZE
    e.type = 0
    e.code = 0
    port = to.port if s.ep.kind == Kind.UDP and not is_v4(hi, lo) else s.ep.remote_port       # as Linux
    datagram.fail(d, s, e, 0, 0, datagram.LOCAL, net.chosen.mtu, port, 0, now)


@compiled
def _recverr(hi: int, lo: int) -> int:
    """Which of IP_RECVERR and IPV6_RECVERR is about a peer."""
    return RECVERR if is_v4(hi, lo) else RECVERR6


@compiled
def error_arrives(d: Datagrams, net: Net, e: IcmpError, now: int) -> int:
    """Tell the socket of an ICMP error about its datagram: one with IP_RECVERR of any, by its error queue; another
    one if it is connected and the error is hard (RFC 1122 4.1.3.3, Linux)."""
    if e.quoted_len < HEADER_LEN:
        return Drop.ICMP_MALFORMED
    port = be16(e.quoted + 2)
    index = _sender(d, e, port)
    if index == 0:
        return Drop.UDP_NO_PORT
    s = datagram.get(d, index)
    if e.mtu != 0 and s.ep.pmtudisc >= INTERFACE and not is_v4(e.dst_hi, e.dst_lo):
        return Drop.NONE                                        # as Linux (ip6_sk_accept_pmtu)
    hard = e.hard != 0 or (e.mtu != 0 and s.ep.pmtudisc != DONT)
    if s.ep.bound & _recverr(e.dst_hi, e.dst_lo):
        tell(d, net, s, e, HEADER_LEN, port, now)
    elif s.ep.remote_port != 0 and hard and e.errno != 0:
        s.ep.error = e.errno
        datagram.notify(d, s)
    return Drop.NONE


@compiled
def _sender(d: Datagrams, e: IcmpError, port: int) -> int:
    """The index of the socket that has sent the datagram in error to `port`, or 0."""
    found = 0
    index = load32(datagram.word(d, Kind.UDP, be16(e.quoted)))
    while index != 0:
        s = datagram.get(d, index)
        if s.ep.remote_port == port and s.ep.remote_lo == e.dst_lo and s.ep.remote_hi == e.dst_hi:
            return index
        any_address = s.ep.local_hi == 0 and s.ep.local_lo == 0
        if s.ep.remote_port == 0 and (any_address or (s.ep.local_lo == e.src_lo and s.ep.local_hi == e.src_hi)):
            found = index
        index = s.ep.port_next
    return found


@compiled
def tell(d: Datagrams, net: Net, s: Sock, e: IcmpError, skip: int, port: int, now: int) -> None:
    """Put an ICMP error into a socket's error queue, with what is quoted behind `skip` bytes of header."""
    origin = datagram.BY_ICMP if is_v4(e.dst_hi, e.dst_lo) else datagram.BY_ICMP6
    datagram.fail(d, s, e, e.quoted + skip, e.quoted_len - skip, origin, e.mtu, port, net.rx.interface, now)
    s.ep.error = e.errno
    datagram.notify(d, s)
