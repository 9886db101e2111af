"""ICMP for IPv4: echo, and errors in both directions.

RFC 792; RFC 1122 3.2.2 (what a host does with them, and when it must not send
one); RFC 1191 4 for the MTU in "fragmentation needed".
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..errors import (
    ECONNREFUSED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EMSGSIZE,
    ENETUNREACH,
    ENONET,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPROTO,
    Drop,
)
from ..machine import be16, be32, compiled, load8, sum16
from . import address, icmp_limit, icmpv6, pmtu, route
from .icmp_answer import HEADER_LEN, ICMP, answer
from .net import Verdict

if TYPE_CHECKING:
    from .net import Interface, Net

TCP = 6
IP_HEADER = 20
QUOTED = 8              # bytes of the transport header that every error carries (RFC 792)
MAX_ERROR = 576         # bytes of an error's packet (RFC 1812 4.3.2.3)
PRECEDENCE = 0xC0       # Internetwork Control, for errors (RFC 1812 4.3.2.5)
TOS = 0x1E              # the bits of the offending packet's TOS that an error keeps
OFFSET = 0x1FFF         # fragment offset, in the word with the flags


class Type(IntEnum):
    """IANA "ICMP Type Numbers"."""

    ECHO_REPLY = 0
    UNREACHABLE = 3
    SOURCE_QUENCH = 4
    REDIRECT = 5
    ECHO = 8
    ROUTER_ADVERTISEMENT = 9
    ROUTER_SOLICITATION = 10
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12
    TIMESTAMP = 13
    TIMESTAMP_REPLY = 14
    LAST_QUERY = 18     # address mask reply; what lies above may be an error for all we know


class Unreachable(IntEnum):
    """Codes of `Type.UNREACHABLE` (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1)."""

    NET = 0
    HOST = 1
    PROTOCOL = 2
    PORT = 3
    FRAGMENTATION_NEEDED = 4
    SOURCE_ROUTE = 5
    NET_UNKNOWN = 6
    HOST_UNKNOWN = 7
    HOST_ISOLATED = 8
    NET_PROHIBITED = 9
    HOST_PROHIBITED = 10
    NET_TOS = 11
    HOST_TOS = 12
    PROHIBITED = 13
    PRECEDENCE_VIOLATION = 14
    PRECEDENCE_CUTOFF = 15


REASSEMBLY = 1          # code of `Type.TIME_EXCEEDED`


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """A message for us stands in net.rx."""
    rx = net.rx
    if rx.length < HEADER_LEN:
        net.drops[Drop.ICMP_MALFORMED] += 1
        return Verdict.DONE
    if sum16(rx.payload, rx.length, 0) != 0xFFFF:
        net.drops[Drop.ICMP_CHECKSUM] += 1
        return Verdict.DONE
    type = load8(rx.payload)
    if type == Type.ECHO:                                       # RFC 1122 3.2.2.6
        if net.settings.icmp_echo_ignore_all or (rx.broadcast and net.settings.icmp_echo_ignore_broadcasts):
            net.drops[Drop.ICMP_IGNORED] += 1
            return Verdict.DONE
        # Differs: IP options of the request (record route, timestamp) are not reflected.
        answer(net, Type.ECHO_REPLY, 0, be32(rx.payload + 4), rx.payload + HEADER_LEN, rx.length - HEADER_LEN, rx.tos,
               now)
        return Verdict.DONE
    if type == Type.ECHO_REPLY:
        return ICMP                                             # for the socket that asked
    if type in (Type.UNREACHABLE, Type.TIME_EXCEEDED, Type.PARAMETER_PROBLEM):
        return _error(net, iface, type, load8(rx.payload + 1), now)
    if type in (Type.SOURCE_QUENCH, Type.REDIRECT) or Type.ROUTER_ADVERTISEMENT <= type <= Type.LAST_QUERY:
        # RFC 6633 3: a source quench is ignored.  Differs from RFC 1122 3.2.2.2: so is a redirect, which is an
        # invitation to take over a route.  Nobody needs an answer to the rest.
        net.drops[Drop.ICMP_IGNORED] += 1
        return Verdict.DONE
    net.drops[Drop.ICMP_UNKNOWN] += 1                           # RFC 1122 3.2.2: silently discarded
    return Verdict.DONE


@compiled
def _error(net: Net, iface: Interface, type: int, code: int, now: int) -> int:
    """An error about a packet of ours: fill net.error for the socket that sent it."""
    e = net.error
    if not _quotation(net):
        net.drops[Drop.ICMP_MALFORMED] += 1
        return Verdict.DONE
    if not route.is_local(net, e.src_hi, e.src_lo):             # not a packet of ours
        net.drops[Drop.NOT_FOR_US] += 1
        return Verdict.DONE
    e.type = type
    e.code = code
    e.mtu = 0
    e.hard = 0
    e.errno = EHOSTUNREACH
    if type == Type.UNREACHABLE:
        if code > Unreachable.PRECEDENCE_CUTOFF:
            net.drops[Drop.ICMP_UNKNOWN] += 1
            return Verdict.DONE
        e.errno = errno_of(code)
        e.hard = is_hard(code)
        if code == Unreachable.FRAGMENTATION_NEEDED:
            e.mtu = _next_hop_mtu(net, iface, now)
            if e.protocol != TCP:                               # TCP looks at the quoted segment first (RFC 5927 7)
                pmtu.learn(net, e.dst_hi, e.dst_lo, e.mtu, now)
    elif type == Type.PARAMETER_PROBLEM:
        e.errno = EPROTO
        e.hard = 1
    return Verdict.ERROR


@compiled
def _quotation(net: Net) -> bool:
    """Read the packet in error into net.error; False when too little is there to find its socket."""
    rx = net.rx
    e = net.error
    q = rx.payload + HEADER_LEN
    n = rx.length - HEADER_LEN
    if n < IP_HEADER + QUOTED:
        return False
    header_len = (load8(q) & 0xF) * 4
    if load8(q) >> 4 != 4 or header_len < IP_HEADER or n < header_len + QUOTED:
        return False
    if be16(q + 6) & OFFSET != 0:                               # a later fragment has no ports
        return False
    e.src_hi = 0
    e.src_lo = address.from_v4(be32(q + 12))
    e.dst_hi = 0
    e.dst_lo = address.from_v4(be32(q + 16))
    e.from_hi = rx.src_hi
    e.from_lo = rx.src_lo
    e.protocol = load8(q + 9)
    e.quoted = q + header_len
    e.quoted_len = n - header_len
    return True


@compiled
def _next_hop_mtu(net: Net, iface: Interface, now: int) -> int:
    """The MTU that "fragmentation needed" reports (RFC 1191 4), or a guess for a router that does not say (5)."""
    rx = net.rx
    e = net.error
    mtu = be16(rx.payload + 6)
    if mtu == 0:
        q = rx.payload + HEADER_LEN
        length = be16(q + 2)
        known = pmtu.lookup(net, e.dst_hi, e.dst_lo, now)
        if length > (known if known != 0 else iface.mtu):       # a 4.2BSD router has added the header length
            length -= (load8(q) & 0xF) * 4
        mtu = pmtu.plateau(length)
    return max(mtu, pmtu.LEAST)


@compiled
def errno_of(code: int) -> int:
    """What Linux tells a socket of a destination unreachable (icmp_err_convert)."""
    if code in (Unreachable.NET, Unreachable.NET_UNKNOWN, Unreachable.NET_PROHIBITED, Unreachable.NET_TOS):
        return ENETUNREACH
    if code == Unreachable.PROTOCOL:
        return ENOPROTOOPT
    if code == Unreachable.PORT:
        return ECONNREFUSED
    if code == Unreachable.FRAGMENTATION_NEEDED:
        return EMSGSIZE
    if code == Unreachable.SOURCE_ROUTE:
        return EOPNOTSUPP
    if code == Unreachable.HOST_UNKNOWN:
        return EHOSTDOWN
    if code == Unreachable.HOST_ISOLATED:
        return ENONET
    return EHOSTUNREACH


@compiled
def is_hard(code: int) -> int:
    """1 when trying again is no use (RFC 1122 4.2.3.9; Linux's "fatal", which counts the later codes too)."""
    if code in (Unreachable.NET, Unreachable.HOST, Unreachable.FRAGMENTATION_NEEDED, Unreachable.SOURCE_ROUTE,
                Unreachable.NET_TOS, Unreachable.HOST_TOS):
        return 0
    return 1


# ---- errors that we send ---------------------------------------------------

@compiled
def send_error(net: Net, type: int, code: int, rest: int, now: int) -> None:
    """Tell the source of net.rx, an IPv4 packet, what is wrong; `rest` is the second word of the message's header."""
    rx = net.rx
    if rx.frag_offset != 0 or rx.broadcast != 0:                # RFC 1122 3.2.2: the cases where a host must not
        return
    if rx.protocol == ICMP and not _is_query(rx.payload, rx.length):
        return
    if (address.is_unspecified(rx.src_hi, rx.src_lo) or (rx.src_lo >> 28) & 0xF >= 0xE      # multicast, class E
            or route.is_broadcast(net, rx.src_hi, rx.src_lo)):
        return
    if net.interfaces[rx.interface].ethernet and not icmp_limit.allow(net, rx.src_hi, rx.src_lo, now):
        net.drops[Drop.ICMP_LIMITED] += 1
        return
    n = min(rx.payload - rx.header + rx.length, MAX_ERROR - IP_HEADER - HEADER_LEN)
    answer(net, type, code, rest, rx.header, n, rx.tos & TOS | PRECEDENCE, now)


@compiled
def _is_query(p: int, n: int) -> bool:
    """Whether an ICMP message is a question or an answer to one, so that an error about it is allowed."""
    if n == 0:
        return False
    type = load8(p)
    return type <= Type.LAST_QUERY and type not in (Type.UNREACHABLE, Type.SOURCE_QUENCH, Type.REDIRECT,
                                                    Type.TIME_EXCEEDED, Type.PARAMETER_PROBLEM)


@compiled
def unreachable(net: Net, now: int) -> None:
    """Nobody listens on the port that net.rx is for: say so (RFC 1122 4.1.3.1, RFC 4443 3.1)."""
    if address.is_v4(net.rx.src_hi, net.rx.src_lo):
        send_error(net, Type.UNREACHABLE, Unreachable.PORT, 0, now)
    else:
        icmpv6.send_error(net, icmpv6.Type.UNREACHABLE, icmpv6.Unreachable.PORT, 0, now)


@compiled
def time_exceeded(net: Net, now: int) -> None:
    """The datagram whose first fragment is net.rx was never complete: say so (RFC 1122 3.3.2, RFC 8200 4.5)."""
    if address.is_v4(net.rx.src_hi, net.rx.src_lo):
        send_error(net, Type.TIME_EXCEEDED, REASSEMBLY, 0, now)
    else:
        icmpv6.send_error(net, icmpv6.Type.TIME_EXCEEDED, REASSEMBLY, 0, now)
