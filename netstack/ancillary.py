"""Ancillary data: what `recvmsg` tells beside the text, and what `sendmsg` may say of one datagram.

cmsg(3), ip(7), ipv6(7), udp(7), socket(7); RFC 3542 section 6.  Which messages a
socket wants it has said by options, which are kept in its Description (`asks`).
What to tell stands in front of each datagram (`datagram.Prefix`).
"""
from __future__ import annotations

import socket as real
import struct
import time
from collections.abc import Sequence
from errno import EDESTADDRREQ, EINVAL, ENODEV, EOPNOTSUPP
from typing import TYPE_CHECKING, Any

from . import entry, extensions, ipoptions, names
from .buffers import BYTES
from .datagram import FOUR, SIX
from .endpoint import Kind

if TYPE_CHECKING:
    from .sockbase import Base

Message = tuple[int, int, bytes]        # level, type, data

SOCKET, IP, UDP, IPV6 = int(real.SOL_SOCKET), int(real.IPPROTO_IP), int(real.IPPROTO_UDP), int(real.IPPROTO_IPV6)
AF_INET, AF_INET6 = int(real.AF_INET), int(real.AF_INET6)
MSG_TRUNC, MSG_CTRUNC, MSG_ERRQUEUE = int(real.MSG_TRUNC), int(real.MSG_CTRUNC), 0x2000
SECOND = 1_000_000_000

# Linux's numbers; Python has names for a few.  First what is asked for, behind it what the message is called.
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_RXQ_OVFL = 29, 35, 40
IP_PKTINFO, IP_RECVERR, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR = 8, 11, 12, 13, 20
IPV6_RECVERR, IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVORIGDSTADDR = 25, 49, 51, 66, 74
IP_TOS, IP_TTL, IP_OPTIONS, IP_RECVOPTS, IP_RETOPTS, IP_PROTOCOL = 1, 2, 4, 6, 7, 52
IPV6_2292PKTINFO, IPV6_2292HOPLIMIT, IPV6_FLOWINFO = 2, 8, 11
IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_PATHMTU, IPV6_DONTFRAG = 50, 52, 67, 61, 62
IPV6_EXTENSIONS = (extensions.HOPOPTS_2292, extensions.DSTOPTS_2292, extensions.RTHDR_2292, extensions.HOPOPTS,
                   extensions.RTHDRDSTOPTS, extensions.RTHDR, extensions.DSTOPTS)
UDP_SEGMENT, UDP_GRO = 103, 104
SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
LOCAL, BY_ICMP6 = 1, 3                          # SO_EE_ORIGIN_*

_int = struct.Struct("i")
_short = struct.Struct("H")
_two = struct.Struct("qq")
_halves = struct.Struct(">qq")
_pktinfo = struct.Struct("i4s4s")
_pktinfo6 = struct.Struct("16sI")
_sockaddr = struct.Struct("=H2s4s8x")           # family, port, address
_sockaddr6 = struct.Struct("=H2sI16sI")         # family, port, flow, address, scope
_extended = struct.Struct("=IBBBBII")           # struct sock_extended_err
_prefix = struct.Struct("qqqBBHIiHBBqqq")
_failure = struct.Struct("qqqqqiiiBBBBq")
_destination = struct.Struct("4qii3q4i56sq")
_mtuinfo = struct.Struct("=H2sI16sII")          # struct ip6_mtuinfo

PREFIX = _prefix.size


def length_of(prefix: bytes) -> int:
    """How long the datagram behind a prefix is."""
    return int(_prefix.unpack_from(prefix)[7])


def sender_of(sock: Base, prefix: bytes) -> Any:
    """Who sent it, as Python writes an address."""
    hi, lo, port, scope = _prefix.unpack_from(prefix)[:4]
    return names.unparse(sock._af, hi, lo, port, scope)


def _is_v4(hi: int, lo: int) -> bool:
    return hi == 0 and lo >> 32 == 0xFFFF


def _bytes4(lo: int) -> bytes:
    return struct.pack(">I", lo & 0xFFFF_FFFF)


# Receiving

def of_datagram(sock: Base, prefix: bytes) -> list[Message]:
    """What the socket wants to be told of a datagram, in Linux's order."""
    asks = sock._description.kept
    (hi, lo, _, scope, interface, options, drops, _, segment, ttl, tos, dst_hi, dst_lo, when) = (
        _prefix.unpack_from(prefix))
    told: list[Message] = []
    if not interface:                           # no datagram (datagram.NO_INTERFACE)
        return [(IPV6, IPV6_PATHMTU, _mtuinfo.pack(AF_INET6, b"\0\0", 0, _halves.pack(hi, lo), scope, drops))]
    if asks:
        _of_socket(sock, asks, when, drops, told)
    if segment:
        told.append((UDP, UDP_GRO, _int.pack(segment)))
    if asks:
        _of_packet(sock, asks, interface, ttl, tos, dst_hi, dst_lo, prefix[PREFIX:PREFIX + options], when, told)
    return told


def of_text(sock: Base) -> list[Message]:
    """... of the text that a stream has just given."""
    told: list[Message] = []
    asks = sock._description.kept
    if asks.get(SOCKET << 16 | SO_TIMESTAMP):
        when = entry.arrival(sock._world, sock._handle)
        if when > 0:
            _of_socket(sock, asks, when, 0, told)
    return told


def _of_socket(sock: Base, asks: dict[int, Any], when: int, drops: int, told: list[Message]) -> None:
    stamp = asks.get(SOCKET << 16 | SO_TIMESTAMP, 0)
    if stamp:
        clock = sock._stack.clock
        epoch = time.time_ns() - sock._stack._now() if clock is None else 0
        seconds, ns = divmod(when + epoch, SECOND)
        told.append((SOCKET, stamp, _two.pack(seconds, ns // 1000 if stamp == SO_TIMESTAMP else ns)))
    if drops and asks.get(SOCKET << 16 | SO_RXQ_OVFL):
        told.append((SOCKET, SO_RXQ_OVFL, _int.pack(drops)))


def _of_packet(sock: Base, asks: dict[int, Any], interface: int, ttl: int, tos: int, hi: int, lo: int,
               options: bytes, when: int, told: list[Message]) -> None:
    """The header's fields; an AF_INET6 socket is told of an IPv4 packet what it has asked for with level IP."""
    if sock._af == AF_INET6 and asks.get(IPV6 << 16 | IPV6_RECVPKTINFO):
        told.append((IPV6, IPV6_PKTINFO, _pktinfo6.pack(_halves.pack(hi, lo), interface)))
    if not _is_v4(hi, lo):
        if asks.get(IPV6 << 16 | IPV6_RECVHOPLIMIT):
            told.append((IPV6, IPV6_HOPLIMIT, _int.pack(ttl)))
        if asks.get(IPV6 << 16 | IPV6_RECVTCLASS):
            told.append((IPV6, IPV6_TCLASS, _int.pack(tos)))
        if options:
            _of_headers(asks, options, told)
        if asks.get(IPV6 << 16 | IPV6_RECVORIGDSTADDR):
            told.append((IPV6, IPV6_RECVORIGDSTADDR, _sockaddr6.pack(AF_INET6, _local_port(sock), 0,
                                                                     _halves.pack(hi, lo), 0)))
        return
    if asks.get(IP << 16 | IP_PKTINFO):
        told.append((IP, IP_PKTINFO, _pktinfo.pack(interface, _bytes4(_answer_from(sock, interface, lo)), _bytes4(lo))))
    if asks.get(IP << 16 | IP_RECVTTL):
        told.append((IP, IP_TTL, _int.pack(ttl)))
    if asks.get(IP << 16 | IP_RECVTOS):
        told.append((IP, IP_TOS, bytes([tos])))
    if options:
        _of_options(sock, asks, options, interface, lo, when, told)
    if asks.get(IP << 16 | IP_RECVORIGDSTADDR):
        told.append((IP, IP_RECVORIGDSTADDR, _sockaddr.pack(AF_INET, _local_port(sock), _bytes4(lo))))


def epoch(sock: Base) -> int:
    """What makes the stack's time the time of day, ns."""
    return time.time_ns() - sock._stack._now() if sock._stack.clock is None else 0


def hears_options(sock: Base) -> int:
    """Whether it wants to be told IPv4 options (FOUR), or IPv6 extension headers (SIX)."""
    asks = sock._description.kept
    if not asks:
        return 0
    return (FOUR if asks.get(IP << 16 | IP_RECVOPTS) or asks.get(IP << 16 | IP_RETOPTS) else 0) | (
        SIX if any(asks.get(IPV6 << 16 | name) for name in (
            extensions.RECVHOPOPTS, extensions.RECVRTHDR, extensions.RECVDSTOPTS)) else 0)


def _of_headers(asks: dict[int, Any], packet: bytes, told: list[Message]) -> None:
    """The extension headers as they came, in their order."""
    for kind, header in extensions.chain(packet):
        if kind == extensions.HOP_BY_HOP and asks.get(IPV6 << 16 | extensions.RECVHOPOPTS):
            told.append((IPV6, extensions.HOPOPTS, header))
        elif kind == extensions.DESTINATION and asks.get(IPV6 << 16 | extensions.RECVDSTOPTS):
            told.append((IPV6, extensions.DSTOPTS, header))
        elif kind == extensions.ROUTING and asks.get(IPV6 << 16 | extensions.RECVRTHDR):
            told.append((IPV6, extensions.RTHDR, header))


def _of_options(sock: Base, asks: dict[int, Any], options: bytes, interface: int, lo: int, when: int,
                told: list[Message]) -> None:
    net = sock._stack._net

    def is_other(address: bytes) -> bool:
        value = 0xFFFF_0000_0000 | int.from_bytes(address, "big")
        return value >> 24 & 0xFF != 127 and address[0] not in (0, *range(224, 256)) and not any(
            a.hi == 0 and a.lo == value for i in range(1, net.interface_count + 1)
            for a in (net.interfaces[i].addresses[k] for k in range(net.interfaces[i].address_count)))

    o = ipoptions.received(options, _bytes4(_answer_from(sock, interface, lo)),
                           (when + epoch(sock)) // 1_000_000 % 86_400_000, is_other)
    if o is None:
        return
    if asks.get(IP << 16 | IP_RECVOPTS):
        told.append((IP, IP_RECVOPTS, bytes(o.data)))
    if asks.get(IP << 16 | IP_RETOPTS):
        told.append((IP, IP_RETOPTS, ipoptions.echoed(o)))


def _answer_from(sock: Base, interface: int, lo: int) -> int:
    """ipi_spec_dst: where it was sent to, if that is ours alone; else the interface's first IPv4 address."""
    net = sock._stack._net
    if lo >> 24 & 0xFF == 127:
        return lo
    first = 0
    for i in range(1, net.interface_count + 1):
        there = net.interfaces[i]
        for k in range(there.address_count):
            a = there.addresses[k]
            if a.hi == 0 and a.lo == lo:
                return lo
            if i == interface and not first and _is_v4(a.hi, a.lo):
                first = a.lo
    return first


def _local_port(sock: Base) -> bytes:
    return struct.pack(">H", sock.getsockname()[1])     # type: ignore[attr-defined]


def of_failure(sock: Base, failure: bytes) -> tuple[int, list[Message], Any]:
    """(length of what is left of the datagram, sock_extended_err and who says so, where the datagram went)."""
    (hi, lo, port, from_hi, from_lo, errno, info, length, origin, type, code, _interface, _when) = (
        _failure.unpack(failure))
    error = _extended.pack(errno, origin, type, code, 0, info, 0)
    if sock._af == AF_INET:
        offender = _sockaddr.pack(AF_INET, b"\0\0", _bytes4(from_lo)) if origin != LOCAL else bytes(_sockaddr.size)
        message = (IP, IP_RECVERR, error + offender)
    else:
        offender = bytes(_sockaddr6.size)
        if origin != LOCAL:
            offender = _sockaddr6.pack(AF_INET6, b"\0\0", 0, _halves.pack(from_hi, from_lo), 0)
        message = (IPV6, IPV6_RECVERR, error + offender)
    return length, [message], names.unparse(sock._af, hi, lo, port, 0)


def fit(told: list[Message], room: int) -> tuple[list[Message], int]:
    """As much as there is room for, and MSG_CTRUNC if that is not all (put_cmsg of Linux)."""
    fitting: list[Message] = []
    flags = 0
    for level, kind, data in told:
        if room < real.CMSG_LEN(0):
            return fitting, flags | MSG_CTRUNC
        if room < real.CMSG_LEN(len(data)):
            data = data[:room - real.CMSG_LEN(0)]
            flags |= MSG_CTRUNC
        fitting.append((level, kind, data))
        room -= min(room, real.CMSG_SPACE(len(data)))
    return fitting, flags


# Sending

def listed(ancillary: Any) -> list[Message]:
    """The second argument of `sendmsg`."""
    try:
        items = list(ancillary)
    except TypeError:
        raise TypeError("sendmsg() argument 2 must be iterable") from None
    found: list[Message] = []
    for item in items:
        if not isinstance(item, Sequence) or isinstance(item, (str, bytes)) or len(item) != 3:
            raise TypeError("[sendmsg() ancillary data items] must be sequences of length 3")
        level, kind, data = item
        found.append((_c_int(level), _c_int(kind), bytes(memoryview(data))))
    return found


def _c_int(value: Any) -> int:
    from .sockbase import c_int
    return c_int(value)


def _invalid() -> OSError:
    return OSError(EINVAL, "Invalid argument")


def check_socket(messages: list[Message]) -> None:
    """Those of level SOL_SOCKET (__sock_cmsg_send): passing descriptors is AF_UNIX's and is ignored."""
    for level, kind, _ in messages:
        if level == SOCKET and kind not in (SCM_RIGHTS, SCM_CREDENTIALS):
            raise _invalid()


def _has_v4_peer(sock: Base) -> bool:
    out = bytes(32)
    if entry.peer(sock._world, sock._handle, id(out) + BYTES) < 0:
        raise OSError(EDESTADDRREQ, "Destination address required")
    return _is_v4(*struct.unpack("2q16x", out))


class _Saying:
    """What messages say of one datagram; values as in datagram.Destination."""

    def __init__(self, sock: Base) -> None:
        self.sock = sock
        self.segment = self.ttl = self.tos = self.dont_fragment = -1
        self.interface = self.src_hi = self.src_lo = 0
        self.options: bytes | None = None
        self.headers: dict[int, bytes] = {}

    def through(self, index: int) -> None:
        if index and index not in (i for i, _ in self.sock._stack.if_nameindex()):
            raise OSError(ENODEV, "No such device")
        self.interface = index

    def of_ip(self, kind: int, data: bytes) -> None:
        """ip_cmsg_send."""
        if kind == IP_PKTINFO and len(data) == _pktinfo.size:
            index, source, _ = _pktinfo.unpack(data)
            self.through(index)
            if any(source):
                self.src_hi, self.src_lo = 0, 0xFFFF_0000_0000 | int.from_bytes(source, "big")
        elif kind == IP_TTL and len(data) == _int.size and 1 <= _int.unpack(data)[0] <= 255:
            self.ttl = _int.unpack(data)[0]
        elif kind == IP_TOS and len(data) in (1, _int.size):
            value = data[0] if len(data) == 1 else _int.unpack(data)[0]
            if not 0 <= value <= 255:
                raise _invalid()
            self.tos = value
        elif kind == IP_RETOPTS:
            o = ipoptions.read(ipoptions.padded(data[:ipoptions.LONGEST]))
            self.options = ipoptions.packed(o, epoch(self.sock))
        elif not (kind == IP_PROTOCOL and len(data) == _int.size and 1 <= _int.unpack(data)[0] <= 255):
            raise _invalid()

    def of_ipv6(self, kind: int, data: bytes) -> None:
        """ip6_datagram_send_ctl."""
        if kind in (IPV6_PKTINFO, IPV6_2292PKTINFO) and len(data) >= _pktinfo6.size:
            source, index = _pktinfo6.unpack_from(data)
            hi, lo = _halves.unpack(source)
            self._from6(hi, lo, index)
        elif kind in (IPV6_HOPLIMIT, IPV6_2292HOPLIMIT) and len(data) == _int.size and (
                -1 <= _int.unpack(data)[0] <= 255):
            self.ttl = _int.unpack(data)[0]
        elif kind == IPV6_TCLASS and len(data) == _int.size and -1 <= _int.unpack(data)[0] <= 255:
            self.tos = _int.unpack(data)[0] & 0xFF
        elif kind == IPV6_DONTFRAG and len(data) == _int.size and _int.unpack(data)[0] in (0, 1):
            self.dont_fragment = _int.unpack(data)[0]
        elif kind in IPV6_EXTENSIONS:
            self._extend(kind, extensions.of_datagram(kind, data))
        elif kind == IPV6_FLOWINFO and len(data) >= 4 and any(data[:4]):
            raise OSError(EOPNOTSUPP, "flow labels cannot be sent")
        elif not (kind == IPV6_FLOWINFO and len(data) >= 4):
            raise _invalid()

    def _extend(self, kind: int, header: bytes) -> None:
        name = extensions.NEWER.get(kind, kind)
        if name in self.headers and kind not in (extensions.DSTOPTS, extensions.RTHDRDSTOPTS):
            raise _invalid()
        self.headers[name] = header

    def _from6(self, hi: int, lo: int, index: int) -> None:
        if not index and hi >> 54 & 0x3FF == 0x3FA:             # link-local: on which link?
            raise _invalid()
        self.through(index)
        self.src_hi, self.src_lo = hi, lo


def destination(sock: Base, messages: list[Message], where: tuple[int, int, int, int]) -> bytes | None:
    """A datagram.Destination for one datagram, or None when nothing is said.  OSError as Linux's sendmsg has it."""
    if not messages:
        return None
    hi, lo = where[:2]
    v4 = sock._af == AF_INET or _is_v4(hi, lo)
    if not v4 and where == (0, 0, 0, 0):
        v4 = _has_v4_peer(sock)
    saying = _Saying(sock)
    if sock._kind is Kind.UDP:                                  # first those of UDP (udp_cmsg_send)
        for level, kind, data in messages:
            if level == UDP:
                if kind != UDP_SEGMENT or len(data) != _short.size:
                    raise _invalid()
                saying.segment = _short.unpack(data)[0]
    for level, kind, data in messages:
        if level == SOCKET:
            check_socket([(level, kind, data)])
        elif level == IP and v4:
            saying.of_ip(kind, data)
        elif level == IPV6 and not v4:
            saying.of_ipv6(kind, data)
        elif level == IPV6 and sock._af == AF_INET6 and kind == IPV6_PKTINFO:
            if len(data) < _pktinfo6.size or not _is_v4(*_halves.unpack_from(data)):
                raise _invalid()
            source, index = _pktinfo6.unpack_from(data)
            saying.through(index)
            saying.src_hi, saying.src_lo = _halves.unpack(source)
    s = saying
    there = _destination.pack(*where, s.segment, 1, s.src_hi, s.src_lo, s.interface, s.ttl, s.tos, s.dont_fragment,
                              s.options is not None, s.options or ipoptions.NONE,
                              _destination.size if s.headers else 0)
    return there + extensions.packed(s.headers) if s.headers else there


def plain(where: tuple[int, int, int, int]) -> bytes:
    """A Destination that says nothing but where."""
    return _destination.pack(*where, -1, 0, 0, 0, 0, -1, -1, -1, 0, ipoptions.NONE, 0)
