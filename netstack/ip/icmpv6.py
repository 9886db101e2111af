"""ICMP for IPv6: echo, errors in both directions, and the door to neighbour discovery.

RFC 4443; RFC 8201 for "packet too big".
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import EACCES, ECONNREFUSED, EHOSTUNREACH, EMSGSIZE, ENETUNREACH, EPROTO, Drop
from ..machine import be32, be64, compiled, load8, sum16
from . import address, icmp_limit, ipv6, mld, ndp, pmtu, route
from .icmp_answer import HEADER_LEN, ICMPV6, answer
from .net import Verdict

if TYPE_CHECKING:
    from .net import Interface, Net

TCP = 6
IP_HEADER = 40
QUOTED = 8              # bytes of the transport header that an error must carry to be of use
MAX_ERROR = 1280        # bytes of an error's packet (2.4 (c)): the minimum IPv6 MTU
INFORMATIONAL = 128     # types from here on are not errors (2.1)


class Type(IntEnum):
    """IANA "ICMPv6 type Numbers"."""

    UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    TIME_EXCEEDED = 3
    PARAMETER_PROBLEM = 4
    ECHO = 128
    ECHO_REPLY = 129
    MLD_QUERY = 130
    MLD_DONE = 132
    ROUTER_SOLICITATION = 133
    ROUTER_ADVERTISEMENT = 134
    NEIGHBOUR_SOLICITATION = 135
    NEIGHBOUR_ADVERTISEMENT = 136
    REDIRECT = 137
    MLDV2_REPORT = 143


class Unreachable(IntEnum):
    """Codes of `Type.UNREACHABLE` (3.1)."""

    NO_ROUTE = 0
    PROHIBITED = 1
    SCOPE = 2
    ADDRESS = 3
    PORT = 4
    POLICY = 5
    REJECT = 6


class Problem(IntEnum):
    """Codes of `Type.PARAMETER_PROBLEM` (3.4)."""

    HEADER = 0          # a field is wrong
    NEXT_HEADER = 1     # unknown
    OPTION = 2          # unknown


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """A message for us stands in net.rx."""
    rx = net.rx
    if rx.length < HEADER_LEN:
        net.drops[Drop.ICMP_MALFORMED] += 1
        return Verdict.DONE
    if sum16(rx.payload, rx.length, rx.pseudo) != 0xFFFF:       # (2.3)
        net.drops[Drop.ICMP_CHECKSUM] += 1
        return Verdict.DONE
    type = load8(rx.payload)
    if type == Type.ECHO:                                       # (4.2) multicast too
        if net.settings.icmp_echo_ignore_all:
            net.drops[Drop.ICMP_IGNORED] += 1
            return Verdict.DONE
        answer(net, Type.ECHO_REPLY, 0, be32(rx.payload + 4), rx.payload + HEADER_LEN, rx.length - HEADER_LEN, rx.tos,
               now)
        return Verdict.DONE
    if type == Type.ECHO_REPLY:
        return ICMPV6                                           # for the socket that asked
    if type < INFORMATIONAL:
        return _error(net, type, load8(rx.payload + 1), now)
    if type in (Type.NEIGHBOUR_SOLICITATION, Type.NEIGHBOUR_ADVERTISEMENT):
        if type == Type.NEIGHBOUR_SOLICITATION:
            reason = ndp.receive_ns(net, iface, now)
        else:
            reason = ndp.receive_na(net, iface, now)
        if reason != 0:
            net.drops[reason] += 1
        return Verdict.DONE
    if Type.MLD_QUERY <= type <= Type.MLD_DONE:
        reason = mld.receive(net, iface, now)
        if reason != 0:
            net.drops[reason] += 1
        return Verdict.DONE
    if type <= Type.MLDV2_REPORT:
        # Differs: addresses are configured, not learned from routers; the lists of groups have no reader here; a
        # redirect is an invitation to take over a route.
        net.drops[Drop.ICMP_IGNORED] += 1
        return Verdict.DONE
    net.drops[Drop.ICMP_UNKNOWN] += 1                           # (2.4 (b))
    return Verdict.DONE


@compiled
def _error(net: Net, type: int, code: int, now: int) -> int:
    """An error about a packet of ours, of a type we know or not (2.4 (a)): fill net.error."""
    e = net.error
    if not _quotation(net):                                     # (2.4 (d))
        net.drops[Drop.ICMP_MALFORMED] += 1
        return Verdict.DONE
    if not route.is_local(net, e.src_hi, e.src_lo):             # not a packet of ours
        net.drops[Drop.NOT_FOR_US] += 1
        return Verdict.DONE
    e.type = type
    e.code = code
    e.mtu = 0
    e.errno = errno_of(type, code)
    e.hard = is_hard(type, code)
    if type == Type.PACKET_TOO_BIG:
        mtu = be32(net.rx.payload + 4)
        if mtu < pmtu.LEAST_V6:                                 # RFC 8201 4: discarded
            net.drops[Drop.ICMP_MALFORMED] += 1
            return Verdict.DONE
        e.mtu = min(mtu, 0xFFFF)
        if e.protocol != TCP:                                   # TCP looks at the quoted segment first (RFC 5927 7)
            pmtu.learn(net, e.dst_hi, e.dst_lo, e.mtu, now)
    return Verdict.ERROR


@compiled
def _quotation(net: Net) -> bool:
    """Read the packet in error into net.error; False when too little is there to find its socket."""
    rx = net.rx
    e = net.error
    q = rx.payload + HEADER_LEN
    n = rx.length - HEADER_LEN
    if n < IP_HEADER + QUOTED or load8(q) >> 4 != 6:
        return False
    found = ipv6.transport(q, n)
    at = found >> 8
    if found < 0 or n < at + QUOTED:
        return False
    e.src_hi = be64(q + 8)
    e.src_lo = be64(q + 16)
    e.dst_hi = be64(q + 24)
    e.dst_lo = be64(q + 32)
    if address.is_v4(e.src_hi, e.src_lo) or address.is_v4(e.dst_hi, e.dst_lo):
        return False                                                    # mapped addresses are not for the wire
    e.from_hi = rx.src_hi
    e.from_lo = rx.src_lo
    e.protocol = found & 0xFF
    e.quoted = q + at
    e.quoted_len = n - at
    return True


@compiled
def errno_of(type: int, code: int) -> int:
    """What Linux tells a socket (icmpv6_err_convert)."""
    if type == Type.UNREACHABLE:
        if code == Unreachable.NO_ROUTE:
            return ENETUNREACH
        if code in (Unreachable.SCOPE, Unreachable.ADDRESS):
            return EHOSTUNREACH
        if code == Unreachable.PORT:
            return ECONNREFUSED
        if code in (Unreachable.PROHIBITED, Unreachable.POLICY, Unreachable.REJECT):
            return EACCES
        return EPROTO
    if type == Type.PACKET_TOO_BIG:
        return EMSGSIZE
    if type == Type.TIME_EXCEEDED:
        return EHOSTUNREACH
    return EPROTO


@compiled
def is_hard(type: int, code: int) -> int:
    """1 when trying again is no use (Linux's "fatal")."""
    if type == Type.PARAMETER_PROBLEM:
        return 1
    if type == Type.UNREACHABLE and code not in (Unreachable.NO_ROUTE, Unreachable.SCOPE, Unreachable.ADDRESS):
        return 1
    return 0


# ---- errors that we send ---------------------------------------------------

@compiled
def send_error(net: Net, type: int, code: int, rest: int, now: int) -> None:
    """Tell the source of net.rx, an IPv6 packet, what is wrong; `rest` is the second word of the message's header."""
    rx = net.rx
    if rx.protocol == ICMPV6 and rx.frag_offset == 0 and (
            rx.length == 0 or load8(rx.payload) < INFORMATIONAL or load8(rx.payload) == Type.REDIRECT):
        return                                                  # (2.4 (e.1), (e.2))
    if rx.broadcast != 0 and type != Type.PACKET_TOO_BIG and not (
            type == Type.PARAMETER_PROBLEM and code == Problem.OPTION):
        return                                                  # (e.3 to e.5)
    if address.is_unspecified(rx.src_hi, rx.src_lo) or address.is_multicast(rx.src_hi, rx.src_lo):
        return                                                  # (e.6)
    if net.interfaces[rx.interface].ethernet and not icmp_limit.allow(net, rx.src_hi, rx.src_lo, now):
        net.drops[Drop.ICMP_LIMITED] += 1                       # (f)
        return
    n = min(rx.payload - rx.header + rx.length, MAX_ERROR - IP_HEADER - HEADER_LEN)
    answer(net, type, code, rest, rx.header, n, 0, now)
