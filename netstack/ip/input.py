"""Input: a frame's way up, from the device to the transport that it is for.

RFC 1122 2.3 (link), 3.1 and 3.2 (IP); RFC 8200 4.

Nothing here calls a transport: the protocol number is returned, and net.rx says
where the packet stands.  What is not a whole TCP or UDP packet takes the longer
way, `other`, which is compiled by itself.
"""
from __future__ import annotations

from ..errors import Drop
from ..machine import addressof, at, compiled, invoke6, sizeof, unit, zero
from . import address, arp, checksum, ethernet, icmp, icmpv6, igmp, ipv4, ipv6, reassembly
from .ethernet import EtherType
from .net import Incoming, Interface, Net, Verdict, count_codepoint

INCOMING = sizeof(Incoming)
ICMP = 1                    # IANA "Assigned Internet Protocol Numbers"
IGMP = 2
TCP = 6
UDP = 17
ICMPV6 = 58


@compiled
def receive(net: Net, iface: Interface, frame: int, n: int, now: int) -> int:
    """Take a frame of n bytes: a protocol number (deliver net.rx), Verdict.ERROR (deliver net.error) or DONE.

    Whatever it returns, the caller then calls `reassembly.release(net)`.
    """
    if n < ethernet.HEADER_LEN:
        net.drops[Drop.TRUNCATED] += 1
        return Verdict.DONE
    link_dst = ethernet.destination(frame)
    if iface.ethernet != 0 and link_dst != iface.mac and not ethernet.is_group(link_dst):
        net.drops[Drop.NOT_FOR_US] += 1
        return Verdict.DONE
    p = frame + ethernet.HEADER_LEN
    n -= ethernet.HEADER_LEN
    kind = ethernet.ethertype(frame)
    rx = net.rx
    zero(addressof(rx), INCOMING)
    rx.interface = iface.index
    rx.checked = iface.device.rx_notes.checked
    rx.gso_size = iface.device.rx_notes.size
    rx.mac = ethernet.source(frame)
    reason = 0
    if kind == EtherType.IPV4:
        reason = ipv4.parse(net, iface, p, n, link_dst)
    elif kind == EtherType.IPV6:
        reason = ipv6.parse(net, iface, p, n, link_dst)
    elif kind != EtherType.ARP or iface.ethernet == 0:
        reason = Drop.ETHERTYPE
    if reason != 0:
        net.drops[reason] += 1
        return Verdict.DONE
    if kind != EtherType.ARP:
        count_codepoint(net.counters, rx.tos)
    common = rx.protocol == TCP or rx.protocol == UDP
    if common and rx.fragment == 0 and not address.is_unspecified(rx.src_hi, rx.src_lo):
        rx.pseudo = checksum.pseudo(rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, rx.protocol, rx.length)
        return rx.protocol
    return invoke6(net.other, addressof(net), addressof(iface), kind, p, n, now)


@unit
def other_unit(net_at: int, iface_at: int, kind: int, p: int, n: int, now: int) -> int:
    """What `receive` does not know at once: ARP, ICMP, fragments, extension headers, unknown protocols."""
    net = at(Net, net_at)
    iface = at(Interface, iface_at)
    if kind == EtherType.ARP:
        arp.receive(net, iface, p, n, now)
        return Verdict.DONE
    return _datagram(net, iface, kind == EtherType.IPV6, now)


@compiled
def _datagram(net: Net, iface: Interface, v6: bool, now: int) -> int:
    """An IP packet for us stands in net.rx: put it together if it is a fragment, and see whom it is for."""
    rx = net.rx
    reason = 0
    again = True
    while again:
        again = False
        if v6:
            reason = ipv6.walk(net)
        if reason == 0 and rx.fragment != 0:
            rx.checked = 0                      # nobody vouches for the whole
            if reassembly.add(net, now) == 0:
                return Verdict.DONE
            again = v6                          # more headers may stand behind the fragment header
    if reason == 0 and v6:
        if rx.protocol == ipv6.Next.NONE:
            return Verdict.DONE                                 # RFC 8200 4.7
        if rx.protocol != ICMPV6 and address.is_unspecified(rx.src_hi, rx.src_lo):
            reason = Drop.IP_SOURCE                             # RFC 4291 2.5.2: no answer could reach it
    if reason == 0 and net.raw != 0:
        return Verdict.RAW
    return _hand_up(net, iface, v6, reason, now)


@unit
def go_on_unit(net_at: int, found: int, now: int) -> int:
    """After raw sockets have seen net.rx (`found`: one did): as `receive`."""
    net = at(Net, net_at)
    v6 = not address.is_v4(net.rx.src_hi, net.rx.src_lo)
    rx = net.rx
    ours = rx.protocol == (ICMPV6 if v6 else ICMP) or (rx.protocol == IGMP and not v6)
    if found != 0 and rx.protocol != TCP and rx.protocol != UDP and not ours:
        return Verdict.DONE                                     # it was for somebody
    return _hand_up(net, net.interfaces[rx.interface], v6, 0, now)


@compiled
def _hand_up(net: Net, iface: Interface, v6: bool, reason: int, now: int) -> int:
    """Whom it is for, or why nobody takes it."""
    rx = net.rx
    known = ICMPV6 if v6 else ICMP
    if reason == 0 and rx.protocol == IGMP and not v6:
        reason = igmp.receive(net, iface, now)
        if reason != 0:
            net.drops[reason] += 1
        return Verdict.DONE
    if reason == 0 and rx.protocol != TCP and rx.protocol != UDP and rx.protocol != known:
        reason = Drop.IP_PROTOCOL
        rx.problem = ipv6.Problem.NEXT_HEADER                   # RFC 8200 4
    if reason != 0:
        net.drops[reason] += 1
        if v6 and rx.problem != 0:
            icmpv6.send_error(net, icmpv6.Type.PARAMETER_PROBLEM, rx.problem - 1, rx.pointer, now)
        elif rx.problem != 0:                                   # RFC 1122 3.2.2.1
            icmp.send_error(net, icmp.Type.UNREACHABLE, icmp.Unreachable.PROTOCOL, 0, now)
        return Verdict.DONE
    rx.pseudo = checksum.pseudo(rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, rx.protocol, rx.length)
    if rx.protocol == ICMP:
        return icmp.receive(net, iface, now)
    if rx.protocol == ICMPV6:
        return icmpv6.receive(net, iface, now)
    return rx.protocol
