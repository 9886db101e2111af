"""Output: a packet's whole way down, from a transport to the device.

RFC 1122 3.3.1 (routing outbound datagrams), 3.3.3 (fragmentation), 3.3.6
(broadcasts); RFC 8200 3, 4.5.

Headers are written backwards in front of the transport header, the payload is
sent from where it stands.  A packet whose neighbour is not known yet is copied.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..drivers import device, offload
from ..drivers.offload import Gso, put_checksum
from ..errors import EACCES, EADDRNOTAVAIL, EMSGSIZE, ENOBUFS, Drop
from ..machine import addressof, at, compiled, invoke3, unit
from . import (
    address,
    checksum,
    ethernet,
    fragment,
    ipv4,
    ipv6,
    ipv6_extensions,
    link,
    neighbour,
    pmtu,
    route,
    solicit,
    waiting,
)
from .ethernet import EtherType
from .net import CUT, EXTENDED, OF_LINK, SCRATCH_FRAGMENT, Medium, Net, Packet
from .route import Kind

if TYPE_CHECKING:
    from .net import Interface

IPV4 = int(EtherType.IPV4)
IPV6 = int(EtherType.IPV6)
MULTICAST_TTL = 1           # RFC 1112 6.1, RFC 3493 5.2
HEADROOM = 64               # of SCRATCH_FRAGMENT, in front of a fragment's IP header


@compiled
def send(net: Net, packet: Packet, now: int) -> int:
    """Send a packet, in fragments if it must be: 0, or -errno (counted).  To wait for a neighbour is to be sent."""
    manner = packet.manner + 0
    if manner & EXTENDED:
        ipv6_extensions.set_out(packet)
    if packet.foreign == 0:
        error = route.choose(net, packet.dst_hi, packet.dst_lo, packet.src_hi, packet.src_lo, packet.interface, now)
    else:
        error = route.choose_from(net, packet.dst_hi, packet.dst_lo, packet.src_hi, packet.src_lo, packet.interface,
                                  now)
    if error < 0:
        _forget(packet)
        net.drops[Drop.NO_SOURCE if error == -EADDRNOTAVAIL else Drop.NO_ROUTE] += 1
        return error
    c = net.chosen
    packet.src_hi = c.src_hi
    packet.src_lo = c.src_lo
    iface = net.interfaces[c.interface]
    v4 = address.is_v4(packet.dst_hi, packet.dst_lo)
    mac = _group(net, iface, packet)
    if mac == ethernet.BROADCAST and packet.broadcast == 0:
        _forget(packet)
        return -EACCES                                          # as Linux does without SO_BROADCAST
    ttl = packet.ttl
    if ttl == 0:
        multicast = mac != 0 and mac != ethernet.BROADCAST
        ttl = MULTICAST_TTL if multicast else net.settings.ip_default_ttl
    if manner & OF_LINK:
        c.mtu = iface.mtu
    options = packet.options_len if v4 else 0
    header_len = ipv4.HEADER_LEN + options if v4 else ipv6.HEADER_LEN
    if manner & EXTENDED:
        header_len += ipv6_extensions.each(packet) + ipv6_extensions.last(packet)
    length = packet.head_len + packet.a_len + packet.b_len
    largest = length if packet.gso_size == 0 else packet.head_len + min(packet.gso_size, length - packet.head_len)
    whole = header_len + largest <= c.mtu
    flags = 0
    id = 0                                  # RFC 6864 4.1: an atomic datagram needs none
    if v4:
        if packet.dont_fragment == 1 and not _must_fragment(net, packet, now):
            flags = ipv4.DF
        else:
            id = ipv4.identification(net, packet)
        refused = length > ipv4.LARGEST - header_len or (not whole and (flags != 0 or packet.dont_fragment == 2))
    else:
        refused = _is_refused(net, packet, header_len, largest, length, whole)
    if refused:
        net.drops[Drop.FRAGMENT_NEEDED] += 1
        _forget(packet)
        return -EMSGSIZE
    if not whole or manner & EXTENDED:
        error = _send_pieces(net, iface, packet, mac, ttl, id, whole, now)
        _forget(packet)
        return error
    if packet.csum_offset != 0:
        _note(net, packet, header_len, v4)
    _forget(packet)
    h = packet.head - header_len
    if v4:
        ipv4.emit(h, packet, length, ttl, id, flags)
        if options != 0:
            ipv4.add_options(h, packet, options, now)
    else:
        ipv6.emit(h, packet, length, ttl)
    parts = fragment.gather(net, packet, packet.head_len, length - packet.head_len, 1)
    return _deliver(net, iface, packet, mac, IPV4 if v4 else IPV6, h, header_len + packet.head_len, parts,
                    header_len + length, now)


@compiled
def _is_refused(net: Net, packet: Packet, header_len: int, largest: int, length: int, whole: bool) -> bool:
    """Whether an IPv6 packet is too long; if so `net.chosen.mtu` is what the sender is to be told.

    Linux's answers (__ip6_append_data): IPV6_MTU makes the path smaller for who does not want fragments, but what the
    path takes is not cut for its sake.
    """
    c = net.chosen
    if packet.manner & CUT == 0:
        return not whole or length > ipv6.LARGEST
    extended = header_len - ipv6.HEADER_LEN
    fits = whole
    if packet.most != 0:
        c.mtu = min(c.mtu, packet.most)
        fits = header_len + largest <= c.mtu
    # The first fragment has all headers (RFC 7112 5).
    first = ipv6_extensions.last(packet) + max(packet.head_len, 8)
    room = c.mtu - ipv6.HEADER_LEN - ipv6_extensions.each(packet) - fragment.HEADER_LEN & -8
    if extended + length > ipv6.LARGEST or (not fits and packet.dont_fragment != 0) or (not whole and first > room):
        c.mtu -= extended
        return True
    return False


@compiled
def _send_pieces(net: Net, iface: Interface, packet: Packet, mac: int, ttl: int, id: int, whole: bool,
                 now: int) -> int:
    """Send a packet in fragments, or whole behind extension headers: 0, or -errno, which ends it.

    `id`: the Identification, of IPv4.
    """
    v4 = address.is_v4(packet.dst_hi, packet.dst_lo)
    options = packet.options_len if v4 else 0
    header_len = ipv4.HEADER_LEN + options if v4 else ipv6.HEADER_LEN
    length = packet.head_len + packet.a_len + packet.b_len
    before = header_len                     # bytes of headers that each piece has
    last = 0                                # bytes in front of the transport header that are cut, too
    h = addressof(net) + net.scratch + SCRATCH_FRAGMENT + HEADROOM
    if packet.csum_offset != 0:
        _complete(packet)
    if not v4:
        last = ipv6_extensions.last(packet)
        before += ipv6_extensions.each(packet)
        if not whole:
            before += fragment.HEADER_LEN
            id = fragment.identification(net, packet)
    length += last
    offset = 0
    while True:
        n = length if whole else fragment.size(length - offset, net.chosen.mtu - before)
        more = offset + n < length
        parts = 1
        if v4:
            ipv4.emit(h, packet, n, ttl, id, (ipv4.MF if more else 0) | (offset >> 3))
            if options != 0:
                ipv4.add_options(h, packet, options, now)
        else:
            parts = ipv6_extensions.emit(net, packet, h, n, ttl, whole, offset, more, id)
        parts = fragment.gather(net, packet, offset - last, n, parts)
        error = _deliver(net, iface, packet, mac, IPV4 if v4 else IPV6, h, header_len, parts, before + n, now)
        offset += n
        if error < 0 or not more:
            return error


@compiled
def _forget(packet: Packet) -> None:
    """What is said of one packet only."""
    packet.csum_offset = 0
    packet.gso_size = 0
    packet.options_len = 0
    packet.foreign = 0
    packet.manner = 0


@compiled
def _note(net: Net, packet: Packet, header_len: int, v4: bool) -> None:
    """Leave the transport checksum, and the cutting into segments, to the link."""
    o = net.notes
    o.start = ethernet.HEADER_LEN + header_len
    o.field = packet.csum_offset
    o.headers = o.start + packet.head_len
    o.size = 0
    o.gso = Gso.NONE
    if packet.gso_size != 0 and packet.a_len + packet.b_len > packet.gso_size:
        o.size = packet.gso_size
        o.gso = packet.gso
        if o.gso == Gso.TCPV4 and not v4:
            o.gso = Gso.TCPV6


@compiled
def _complete(packet: Packet) -> None:
    """The transport checksum, before the packet is cut into fragments."""
    acc = checksum.add(0, packet.head, packet.head_len, 0)
    acc = checksum.add(acc, packet.a, packet.a_len, packet.head_len & 1)
    acc = checksum.add(acc, packet.b, packet.b_len, (packet.head_len + packet.a_len) & 1)
    put_checksum(packet.head, packet.csum_offset, acc)


@unit
def send_unit(net: int, packet: int, now: int) -> int:
    """`send` as a unit: every transport ends here, and it is compiled once."""
    return send(at(Net, net), at(Packet, packet), now)


@compiled
def submit(net: Net, packet: Packet, now: int) -> int:
    """`send`, called by its address (`machine/unit.py`): what transports use."""
    return invoke3(net.send, addressof(net), addressof(packet), now)


@unit
def send_whole_unit(net_at: int, packet_at: int, now: int) -> int:
    """Send a packet that has its IP header already, at `packet.head` (raw(7), IP_HDRINCL): 0, or -errno."""
    net = at(Net, net_at)
    packet = at(Packet, packet_at)
    error = route.choose(net, packet.dst_hi, packet.dst_lo, packet.src_hi, packet.src_lo, packet.interface, now)
    if error < 0:
        net.drops[Drop.NO_ROUTE] += 1
        return error
    c = net.chosen
    iface = net.interfaces[c.interface]
    mac = _group(net, iface, packet)
    if mac == ethernet.BROADCAST and packet.broadcast == 0:
        return -EACCES
    total = packet.head_len + packet.a_len
    if total > c.mtu:
        return -EMSGSIZE
    parts = fragment.gather(net, packet, packet.head_len, packet.a_len, 1)
    kind = IPV4 if address.is_v4(packet.dst_hi, packet.dst_lo) else IPV6
    return _deliver(net, iface, packet, mac, kind, packet.head, packet.head_len, parts, total, now)


@compiled
def send_whole(net: Net, packet: Packet, now: int) -> int:
    """... called by its address."""
    return invoke3(net.send_whole, addressof(net), addressof(packet), now)


@compiled
def _group(net: Net, iface: Interface, packet: Packet) -> int:
    """The link address of everybody, or of a group, if the packet is for them; 0: it is for one host."""
    kind = route.classify(net, packet.dst_hi, packet.dst_lo, iface.index)
    if kind == Kind.BROADCAST:
        return ethernet.BROADCAST
    if kind == Kind.MULTICAST:
        return ethernet.multicast(packet.dst_hi, packet.dst_lo)
    return 0


@compiled
def _must_fragment(net: Net, packet: Packet, now: int) -> bool:
    """Whether DF has to stay clear, since the path takes almost nothing."""
    return net.chosen.mtu <= pmtu.LEAST_DF and pmtu.must_fragment(net, packet.dst_hi, packet.dst_lo, now)


@compiled
def _deliver(net: Net, iface: Interface, packet: Packet, mac: int, ethertype: int, h: int, n: int, parts: int,
             total: int, now: int) -> int:
    """Hand an IP packet to the link, as `link.transmit` takes it, or keep it until its neighbour is known."""
    if mac == 0 and iface.ethernet == Medium.ETHERNET:
        c = net.chosen
        index = neighbour.find(net, iface.index, c.hop_hi, c.hop_lo)
        if index == 0:
            index = neighbour.create(net, iface.index, c.hop_hi, c.hop_lo, now)
            if index == 0:
                offload.clear(net.notes)
                return -ENOBUFS
        entry = neighbour.entry(net, index)
        if not neighbour.use(net, index, now):
            if not waiting.append(net, entry.queue, ethertype, h, n, parts, total):
                return -ENOBUFS
            if entry.state != neighbour.State.INCOMPLETE:
                neighbour.begin(net, index, now)
                solicit.send(net, index, False, now)
            return 0
        mac = entry.mac
        if packet.confirm != 0:
            neighbour.confirm_entry(net, index, now)
    return link.transmit(net, iface, mac, ethertype, h, n, parts, total, now)


@compiled
def has_room(net: Net, dst_hi: int, dst_lo: int, n: int) -> bool:
    """Whether the device towards an address would take an IP packet of n bytes now."""
    index = link.LOOPBACK
    if route.classify(net, dst_hi, dst_lo, 0) != Kind.LOCAL:
        i = route.find(net, dst_hi, dst_lo, 0)
        if i < 0:
            return True                     # `send` will say why not
        index = net.routes[i].interface
    return device.has_room(net.interfaces[index].device, n + ethernet.HEADER_LEN)
