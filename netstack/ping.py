"""ICMP echo sockets: `socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)`, as Linux has them.

icmp(7).  The application writes an echo request; identifier and checksum are
ours.  It gets the replies that carry its identifier.
"""
from __future__ import annotations

from . import datagram, udp
from .datagram import Datagrams, Destination, Sock
from .endpoint import RECVERR, RECVERR6, Kind
from .errors import EDESTADDRREQ, EINVAL, EMSGSIZE, Drop
from .ip import checksum, ipv6
from .ip import output as ip_output
from .ip.address import is_v4
from .ip.net import SCRATCH_TRANSPORT, IcmpError, Net
from .machine import addressof, be16, compiled, copy, load8, load32, put16, sum16

ICMP, ICMPV6 = 1, 58
ECHO_REQUEST, ECHO_REQUEST6 = 8, 128
HEADER_LEN = 8


@compiled
def receive(d: Datagrams, net: Net, now: int) -> int:
    """Deliver the echo reply in `net.rx` (checked by ip.icmp) to the socket with its identifier."""
    rx = net.rx
    if rx.length < HEADER_LEN:
        return Drop.ICMP_MALFORMED
    index = datagram.find(d, Kind.PING, be16(rx.payload + 4), rx, -1)
    if index == 0:
        return Drop.ICMP_UNKNOWN
    return datagram.enqueue(d, datagram.get(d, index), rx, rx.payload, rx.length, 0, 0, now)


@compiled
def send(d: Datagrams, net: Net, s: Sock, address: int, n: int, to: Destination, now: int) -> int:
    """Send the echo request at `address`.  n, or -errno."""
    hi = to.hi
    lo = to.lo
    if hi == 0 and lo == 0:
        return -EDESTADDRREQ
    if n < HEADER_LEN:
        return -EINVAL
    v4 = s.ep.family == datagram.AF_INET
    if n > (udp.MAX_DATAGRAM if v4 else ipv6.LARGEST):
        return -EMSGSIZE
    if load8(address) != (ECHO_REQUEST if v4 else ECHO_REQUEST6) or load8(address + 1) != 0:
        return -EINVAL
    protocol = ICMP if v4 else ICMPV6
    r = udp.set_packet(net, s, to, protocol, now)
    if r < 0:
        return r
    if s.ep.local_port == 0:
        r = datagram.bind(d, s, 0)
        if r < 0:
            return r
    out = net.out
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    copy(head, address, HEADER_LEN)
    put16(head + 2, 0)
    put16(head + 4, s.ep.local_port)
    acc = 0 if v4 else checksum.pseudo(out.src_hi, out.src_lo, hi, lo, protocol, n)
    acc = sum16(head, HEADER_LEN, acc)
    put16(head + 2, checksum.finish(sum16(address + HEADER_LEN, n - HEADER_LEN, acc)))
    out.head = head
    out.head_len = HEADER_LEN
    out.a = address + HEADER_LEN
    out.a_len = n - HEADER_LEN
    udp.complete(net, s, to)
    r = ip_output.submit(net, out, now)
    if r == -EMSGSIZE:
        udp.too_long(d, net, s, to, now)
    return r if r < 0 else n


@compiled
def error_arrives(d: Datagrams, net: Net, e: IcmpError, now: int) -> int:
    """An ICMP error about an echo request of ours: the socket's error."""
    if e.quoted_len < HEADER_LEN:
        return Drop.ICMP_MALFORMED
    index = load32(datagram.word(d, Kind.PING, be16(e.quoted + 4)))
    if index == 0:
        return Drop.ICMP_UNKNOWN
    s = datagram.get(d, index)
    if s.ep.bound & (RECVERR | RECVERR6):
        udp.tell(d, net, s, e, 0, 0, now)
    elif e.errno != 0 and (e.mtu == 0 or (is_v4(e.dst_hi, e.dst_lo) and s.ep.pmtudisc != udp.DONT)):
        s.ep.error = e.errno
        datagram.notify(d, s)
    return Drop.NONE
