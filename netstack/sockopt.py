"""Socket options: one table of what `setsockopt` and `getsockopt` know, and what each does.

socket(7), tcp(7), ip(7), ipv6(7).  Numbers and meanings are Linux's.  What is
not in the table is ENOPROTOOPT: nothing is accepted and then ignored.
"""
from __future__ import annotations

import ctypes
import os
import socket as real
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from errno import EBADF, EINVAL, ENODEV, ENOENT, ENOPROTOOPT, EOPNOTSUPP
from operator import index as to_int
from typing import TYPE_CHECKING, Any

from . import ancillary, entry, extensions, groups, ipoptions
from .ancillary import (
    IP_OPTIONS,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVOPTS,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_RETOPTS,
    IPV6_PATHMTU,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVORIGDSTADDR,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    SO_RXQ_OVFL,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
)
from .endpoint import Kind
from .tcp import algorithms, info
from .tcpinfo import TCP_INFO

if TYPE_CHECKING:
    from .sockbase import Base

SECOND = 1_000_000_000
LARGEST_RESULT = 1024       # bytes: CPython's limit on buflen
LONGEST_LINGER = (1 << 31) - 1   # seconds: as good as for ever

# Options that Python's socket module has no name for, or only newer ones have
SO_BINDTOIFINDEX = 62
SO_BUSY_POLL = 46
SO_MAX_PACING_RATE = 47
TCP_CONGESTION = 13
IP_MTU = 14
IP_MTU_DISCOVER = 10
TCP_WINDOW_CLAMP = 10
TCP_CC_INFO = 26
TCP_USER_TIMEOUT = 18
TCP_NOTSENT_LOWAT = 25
TCP_FASTOPEN = 23
TCP_FASTOPEN_CONNECT = 30
TCP_FASTOPEN_KEY = 33
TCP_FASTOPEN_NO_COOKIE = 34
TCP_INQ = 36
TCP_RTO_MAX_MS = 44
IPV6_MTU_DISCOVER = 23
IPV6_MTU = 24
IP_FREEBIND = 15
IP_BIND_ADDRESS_NO_PORT = 24
IPV6_FREEBIND = 78
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
SO_INCOMING_CPU = 49
IPV6_HDRINCL = 36
ICMP_FILTER = 1             # level SOL_RAW, 255
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP, PACKET_STATISTICS = 263, 1, 2, 6
ICMP6_FILTER = 1            # level IPPROTO_ICMPV6
UDP_CORK = 1
UDP_SEGMENT = 103
UDP_GRO = 104


class Form(Enum):
    """How a value is written, and who keeps it."""

    INT = "an int, kept by the engine"
    FLAG = "0 or 1, kept by the engine"
    SIZE = "bytes; twice the number that was set is read (socket(7)), kept by the engine"
    LINGER = "struct linger: on or off, seconds"
    TIMEVAL = "struct timeval; kept here, for calls that block"
    SWITCH = "0 or 1; kept here, for calls that receive"
    BIT = "0 or 1, which has no effect here; kept here"
    ASK = "0 or 1; kept here: what recvmsg is to tell"
    STAMP = "0 or 1, only one of them; kept here: recvmsg is to tell the time"
    KEPT = "an int that has no effect here; kept here"
    MEMBER = "a struct packet_mreq, which has no effect here"
    FILTER = "bits of ICMP types that are not wanted"
    GROUP = "a struct of a multicast group (RFC 3678)"
    CORK = "0 or 1; kept here: 0 sends what has gathered"
    FIXED = "an int that is always the same"
    OPTIONS = "bytes of IPv4 options"
    HEADER = "bytes of an IPv6 extension header; none: no such header"
    PKTINFO = "a struct in6_pktinfo"
    DEVICE = "the name of an interface"
    ALGORITHM = "the name of a congestion control"
    STRUCT = "a struct that describes the connection"
    KEY = "a key of 16 bytes, or two"
    FAMILY = "the socket's family"
    TYPE = "the socket's type"
    PROTOCOL = "the socket's protocol"


ALL = frozenset((Kind.TCP, Kind.UDP, Kind.PING, Kind.RAW))


@dataclass(frozen=True)
class Option:
    """One option."""

    form: Form
    meaning: str
    writable: bool = True
    readable: bool = True
    kinds: frozenset[Kind] = ALL
    six: bool = False           # for AF_INET6 sockets only
    narrow: bool = False        # one byte is enough (ip(7))
    default: int = 0            # KEPT, FIXED
    kept_for: frozenset[Kind] = frozenset()     # for these it has no effect, and is kept here
    least: int = -1 << 31       # ... if it is in this range
    most: int = (1 << 31) - 1
    refused_for: int = 0        # errno of setting it for those, if it cannot be
    lax: bool = False           # too few bytes for an int are 0 (ipv6(7))


_TCP = frozenset((Kind.TCP,))
_UDP = frozenset((Kind.UDP,))
_RAW = frozenset((Kind.RAW,))
_PACKET = frozenset((Kind.PACKET,))
_DATAGRAMS = frozenset((Kind.UDP, Kind.PING, Kind.RAW))
_DATAGRAM = int(real.IPPROTO_UDP)
_SOL_RAW, _ICMP6 = 255, int(real.IPPROTO_ICMPV6)
_ENGINE_SEEN = 263 << 16 | 0x100                # options.PACKET_SEEN
_ENGINE_FILTER = _SOL_RAW << 16 | 0x100         # options.ICMP_FILTER
_SOCKET, _STREAM, _IP, _IP6 = int(real.SOL_SOCKET), int(real.IPPROTO_TCP), int(real.IPPROTO_IP), int(real.IPPROTO_IPV6)



def _set_only(meaning: str, six: bool = False) -> Option:
    return Option(Form.GROUP, meaning, readable=False, six=six)


OPTIONS: dict[tuple[int, int], Option] = {
    (_SOCKET, real.SO_REUSEADDR): Option(Form.FLAG, "a port whose connections are in TIME-WAIT may be bound"),
    (_SOCKET, real.SO_REUSEPORT): Option(Form.FLAG, "several sockets that all ask for it may bind one port"),
    (_SOCKET, real.SO_KEEPALIVE): Option(Form.FLAG, "probe an idle connection (RFC 9293 3.8.4)"),
    (_SOCKET, real.SO_BROADCAST): Option(Form.FLAG, "may send to broadcast addresses"),
    (_SOCKET, real.SO_OOBINLINE): Option(Form.FLAG, "urgent data stays in the stream; without it, it is for MSG_OOB",
                                         kept_for=_DATAGRAMS),
    (_SOCKET, real.SO_LINGER): Option(Form.LINGER, "how long close waits for data to be acknowledged; 0 s resets"),
    (_SOCKET, real.SO_RCVBUF): Option(Form.SIZE, "receive buffer"),
    (_SOCKET, real.SO_SNDBUF): Option(Form.SIZE, "send buffer"),
    (_SOCKET, real.SO_RCVLOWAT): Option(Form.INT, "bytes that make a stream readable"),
    (_SOCKET, SO_BUSY_POLL): Option(Form.INT, "microseconds that a blocking call looks for frames before it sleeps"),
    (_SOCKET, real.SO_RCVTIMEO): Option(Form.TIMEVAL, "how long a blocking receive or accept waits"),
    (_SOCKET, real.SO_SNDTIMEO): Option(Form.TIMEVAL, "how long a blocking send or connect waits"),
    (_SOCKET, real.SO_ERROR): Option(Form.INT, "the pending error, which reading clears", writable=False),
    (_SOCKET, real.SO_ACCEPTCONN): Option(Form.FLAG, "whether it listens", writable=False),
    (_SOCKET, real.SO_TYPE): Option(Form.TYPE, "SOCK_STREAM or SOCK_DGRAM", writable=False),
    (_SOCKET, real.SO_DOMAIN): Option(Form.FAMILY, "AF_INET or AF_INET6", writable=False),
    (_SOCKET, real.SO_PROTOCOL): Option(Form.PROTOCOL, "IPPROTO_TCP ...", writable=False),
    (_SOCKET, real.SO_BINDTODEVICE): Option(Form.DEVICE, "only through this interface"),
    (_SOCKET, SO_BINDTOIFINDEX): Option(Form.INT, "the same, by its index"),
    (_SOCKET, SO_MAX_PACING_RATE): Option(Form.INT, "bytes per second that a connection sends at most", kinds=_TCP),
    (_SOCKET, real.SO_DEBUG): Option(Form.BIT, "kept and given back"),
    (_SOCKET, real.SO_DONTROUTE): Option(Form.FLAG, "only to hosts on the link: no gateway"),
    (_SOCKET, real.SO_PRIORITY): Option(Form.KEPT, "kept and given back"),
    (_SOCKET, real.SO_SNDLOWAT): Option(Form.FIXED, "1", writable=False, default=1),
    (_SOCKET, SO_TIMESTAMP): Option(Form.STAMP, "recvmsg tells when a datagram or text came, a struct timeval"),
    (_SOCKET, SO_TIMESTAMPNS): Option(Form.STAMP, "the same, a struct timespec"),
    (_SOCKET, real.SO_MARK): Option(Form.KEPT, "kept and given back"),
    (_SOCKET, SO_RXQ_OVFL): Option(Form.ASK, "recvmsg tells how many datagrams found the queue full, if any did"),
    (_SOCKET, SO_INCOMING_CPU): Option(Form.KEPT, "kept and given back", default=-1),
    (_STREAM, real.TCP_NODELAY): Option(Form.FLAG, "small segments go at once: no Nagle (RFC 9293 3.7.4)", kinds=_TCP),
    (_STREAM, real.TCP_CORK): Option(Form.FLAG, "send full segments only, for 200 ms at most", kinds=_TCP),
    (_STREAM, real.TCP_MAXSEG): Option(Form.INT, "largest segment, bytes", kinds=_TCP),
    (_STREAM, real.TCP_KEEPIDLE): Option(Form.INT, "seconds of silence before the first probe", kinds=_TCP),
    (_STREAM, real.TCP_KEEPINTVL): Option(Form.INT, "seconds between probes", kinds=_TCP),
    (_STREAM, real.TCP_KEEPCNT): Option(Form.INT, "probes without an answer that end the connection", kinds=_TCP),
    (_STREAM, TCP_USER_TIMEOUT): Option(Form.INT, "milliseconds that data may stay unacknowledged (RFC 5482)",
                                        kinds=_TCP),
    (_STREAM, real.TCP_SYNCNT): Option(Form.INT, "SYNs sent again before connect gives up", kinds=_TCP),
    (_STREAM, TCP_RTO_MAX_MS): Option(Form.INT, "milliseconds that a retransmission waits at most (RFC 6298 2.5)",
                                      kinds=_TCP),
    (_STREAM, real.TCP_LINGER2): Option(Form.INT, "seconds in FIN-WAIT-2 once closed; -1: none, the peer is reset",
                                        kinds=_TCP),
    (_STREAM, real.TCP_DEFER_ACCEPT): Option(Form.INT, "seconds that a new connection may wait for its first text",
                                             kinds=_TCP),
    (_STREAM, real.TCP_QUICKACK): Option(Form.INT, "acknowledge at once, rather than wait for an answer to carry it",
                                         kinds=_TCP),
    (_STREAM, TCP_WINDOW_CLAMP): Option(Form.INT, "the largest window to offer, bytes", kinds=_TCP),
    (_STREAM, TCP_NOTSENT_LOWAT): Option(Form.INT, "bytes not yet sent that make it unwritable; 0: the stack's",
                                         kinds=_TCP),
    (_STREAM, TCP_FASTOPEN): Option(Form.INT, "a listener takes text from SYNs (RFC 7413): so many may be pending; "
                                    "0: none", kinds=_TCP),
    (_STREAM, TCP_FASTOPEN_CONNECT): Option(Form.INT, "1: connect returns at once, and what is written first goes with "
                                            "the SYN, if there is a cookie", kinds=_TCP),
    (_STREAM, TCP_FASTOPEN_NO_COOKIE): Option(Form.INT, "1: Fast Open without cookies, where the network is trusted",
                                              kinds=_TCP),
    (_STREAM, TCP_FASTOPEN_KEY): Option(Form.KEY, "a listener's own key for cookies; the one before it may follow, "
                                        "whose cookies are good too", kinds=_TCP),
    (_STREAM, TCP_INQ): Option(Form.SWITCH, "recvmsg tells what is left to read (TCP_CM_INQ)", kinds=_TCP),
    (_STREAM, TCP_CONGESTION): Option(Form.ALGORITHM, "congestion control: cubic, reno or bbr", kinds=_TCP),
    (_STREAM, TCP_INFO): Option(Form.STRUCT, "struct tcp_info: what the connection is doing", writable=False,
                                kinds=_TCP),
    (_STREAM, TCP_CC_INFO): Option(Form.STRUCT, "struct tcp_bbr_info; nothing for other algorithms", writable=False,
                                   kinds=_TCP),
    (_DATAGRAM, UDP_CORK): Option(Form.CORK, "1: what is sent gathers, as with MSG_MORE; 0: and goes as one datagram",
                                  kinds=_UDP),
    (_DATAGRAM, UDP_SEGMENT): Option(Form.INT, "what one call sends is cut into datagrams of so many bytes; 0: it is "
                                     "not", kinds=_UDP),
    (_DATAGRAM, UDP_GRO): Option(Form.FLAG, "datagrams that came as one packet are read as one; recvmsg tells their "
                                 "size", kinds=_UDP),
    (_IP, real.IP_TTL): Option(Form.INT, "time to live; -1: the stack's default", narrow=True),
    (_IP, real.IP_TOS): Option(Form.INT, "type of service", narrow=True),
    (_IP, IP_MTU): Option(Form.INT, "MTU of the path, once connected", writable=False, narrow=True),
    (_IP, IP_MTU_DISCOVER): Option(Form.INT, "IP_PMTUDISC_*: whether packets carry DF", narrow=True),
    (_IP, IP_PKTINFO): Option(Form.ASK, "recvmsg tells interface and destination, a struct in_pktinfo", narrow=True),
    (_IP, IP_RECVERR): Option(Form.FLAG, "errors go into a queue, for MSG_ERRQUEUE; of a stream: are told at once",
                              narrow=True),
    (_IP, IP_RECVTTL): Option(Form.ASK, "recvmsg tells the time to live (IP_TTL), an int", narrow=True),
    (_IP, IP_RECVTOS): Option(Form.ASK, "recvmsg tells the type of service (IP_TOS), a byte", narrow=True),
    (_IP, IP_OPTIONS): Option(Form.OPTIONS, "IPv4 options of what is sent: 40 bytes at most (RFC 791 3.1)"),
    (_IP, IP_RECVOPTS): Option(Form.ASK, "recvmsg tells the IPv4 options that came", narrow=True),
    (_IP, IP_RETOPTS): Option(Form.ASK, "... those that an answer would have: record route and timestamps",
                               narrow=True),
    (_IP, IP_RECVORIGDSTADDR): Option(Form.ASK, "recvmsg tells where it was sent to, a struct sockaddr_in",
                                      narrow=True),
    (_IP, IP_FREEBIND): Option(Form.FLAG, "bind takes an address that is not ours, yet", narrow=True),
    (_IP, IP_TRANSPARENT): Option(Form.FLAG, "the same, and what is sent comes from it", narrow=True),
    (_IP, IP_BIND_ADDRESS_NO_PORT): Option(Form.FLAG, "bind to port 0 leaves the choice of a port to connect",
                                           narrow=True),
    (_IP, real.IP_HDRINCL): Option(Form.FLAG, "of a raw socket: what is sent brings its own IP header",
                                   kept_for=ALL - _RAW, refused_for=ENOPROTOOPT),
    (_IP6, IPV6_HDRINCL): Option(Form.FLAG, "the same", kinds=_RAW, six=True),
    (_IP6, real.IPV6_CHECKSUM): Option(Form.INT, "where a checksum is to be put, and checked (RFC 3542 3.1); -1: "
                                       "nowhere",
                                       kinds=_RAW, six=True),
    (_SOL_RAW, ICMP_FILTER): Option(Form.FILTER, "types of ICMP that are not wanted, 32 bits", kinds=_RAW),
    (_ICMP6, ICMP6_FILTER): Option(Form.FILTER, "types of ICMPv6 that are not wanted, 256 bits (RFC 3542 3.2)",
                                   kinds=_RAW, six=True),
    (SOL_PACKET, PACKET_ADD_MEMBERSHIP): Option(Form.MEMBER, "what the interface is to take in: it takes in all",
                                                kinds=_PACKET, readable=False),
    (SOL_PACKET, PACKET_DROP_MEMBERSHIP): Option(Form.MEMBER, "... and no longer", kinds=_PACKET, readable=False),
    (SOL_PACKET, PACKET_STATISTICS): Option(Form.STRUCT, "struct tpacket_stats: frames for it, and of those dropped, "
                                            "since it was read last", kinds=_PACKET, writable=False),
    (_IP, groups.IP_MULTICAST_IF): Option(Form.GROUP, "where datagrams to groups go: struct in_addr, ip_mreq or "
                                          "ip_mreqn"),
    (_IP, groups.IP_MULTICAST_TTL): Option(Form.INT, "time to live of datagrams to groups; -1: 1", narrow=True,
                                           kept_for=_TCP, default=1, refused_for=EINVAL),
    (_IP, groups.IP_MULTICAST_LOOP): Option(Form.FLAG, "what is sent to a group that this host is in comes back",
                                            narrow=True, kept_for=_TCP, default=1),
    (_IP, groups.IP_MULTICAST_ALL): Option(Form.INT, "1: what is for groups that other sockets have joined comes, too",
                                           narrow=True, kept_for=_TCP, least=0, most=1, default=1),
    (_IP, groups.IP_ADD_MEMBERSHIP): _set_only( "join a group: struct ip_mreq or ip_mreqn"),
    (_IP, groups.IP_DROP_MEMBERSHIP): _set_only( "leave it"),
    (_IP, groups.IP_ADD_SOURCE_MEMBERSHIP): _set_only( "... for one source only, or for one more: struct "
                                                   "ip_mreq_source"),
    (_IP, groups.IP_DROP_SOURCE_MEMBERSHIP): _set_only( "... for one less"),
    (_IP, groups.IP_BLOCK_SOURCE): _set_only( "hear no more from a source: struct ip_mreq_source"),
    (_IP, groups.IP_UNBLOCK_SOURCE): _set_only( "hear from it again"),
    (_IP6, groups.IPV6_MULTICAST_IF): Option(Form.INT, "index of the interface that datagrams to groups go through",
                                             six=True, kept_for=_TCP, refused_for=ENOPROTOOPT),
    (_IP6, groups.IPV6_MULTICAST_HOPS): Option(Form.INT, "hop limit of datagrams to groups; -1: 1", six=True,
                                               kept_for=_TCP, default=1, refused_for=ENOPROTOOPT),
    (_IP6, groups.IPV6_MULTICAST_LOOP): Option(Form.INT, "what is sent to a group that this host is in comes back",
                                               six=True, kept_for=_TCP, least=0, most=1, default=1),
    (_IP6, groups.IPV6_MULTICAST_ALL): Option(Form.FLAG, "1: what is for groups that other sockets have joined comes, "
                                              "too", six=True, kept_for=_TCP, default=1),
    (_IP6, groups.IPV6_JOIN_GROUP): _set_only( "join a group: struct ipv6_mreq", six=True),
    (_IP6, groups.IPV6_LEAVE_GROUP): _set_only( "leave it", six=True),
    **{(level, number): _set_only( meaning, six=level == _IP6) for level in (_IP, _IP6) for number, meaning in (
        (groups.MCAST_JOIN_GROUP, "join a group: struct group_req"),
        (groups.MCAST_LEAVE_GROUP, "leave it"),
        (groups.MCAST_JOIN_SOURCE_GROUP, "... for one source only, or for one more: struct group_source_req"),
        (groups.MCAST_LEAVE_SOURCE_GROUP, "... for one less"),
        (groups.MCAST_BLOCK_SOURCE, "hear no more from a source: struct group_source_req"),
        (groups.MCAST_UNBLOCK_SOURCE, "hear from it again"))},
    (_IP6, real.IPV6_V6ONLY): Option(Form.FLAG, "no IPv4 through v4-mapped addresses (RFC 3493 5.3)", six=True),
    (_IP6, real.IPV6_UNICAST_HOPS): Option(Form.INT, "hop limit; -1: the stack's default", six=True),
    (_IP6, real.IPV6_TCLASS): Option(Form.INT, "traffic class", six=True),
    (_IP6, IPV6_MTU_DISCOVER): Option(Form.INT, "IPV6_PMTUDISC_*", six=True),
    (_IP6, IPV6_MTU): Option(Form.INT, "MTU of the path, once connected; set: bytes of a fragment at most, 1,280 at "
                             "least; 0: what the path takes", six=True),
    (_IP6, IPV6_RECVERR): Option(Form.FLAG, "errors go into a queue, for MSG_ERRQUEUE", six=True),
    (_IP6, IPV6_RECVPKTINFO): Option(Form.ASK, "recvmsg tells interface and destination (IPV6_PKTINFO), a struct "
                                     "in6_pktinfo", six=True),
    (_IP6, IPV6_RECVHOPLIMIT): Option(Form.ASK, "recvmsg tells the hop limit (IPV6_HOPLIMIT), an int", six=True),
    (_IP6, IPV6_RECVTCLASS): Option(Form.ASK, "recvmsg tells the traffic class (IPV6_TCLASS), an int", six=True),
    (_IP6, IPV6_RECVORIGDSTADDR): Option(Form.ASK, "recvmsg tells where it was sent to, a struct sockaddr_in6",
                                         six=True),
    (_IP6, real.IPV6_DONTFRAG): Option(Form.FLAG, "what the path does not take is EMSGSIZE, and not fragmented",
                                       six=True, kept_for=_TCP, lax=True),
    (_IP6, extensions.RECVHOPOPTS): Option(Form.ASK, "recvmsg tells the hop-by-hop options header (IPV6_HOPOPTS)",
                                           six=True),
    (_IP6, extensions.RECVDSTOPTS): Option(Form.ASK, "recvmsg tells destination options headers (IPV6_DSTOPTS)",
                                           six=True),
    (_IP6, extensions.RECVRTHDR): Option(Form.ASK, "recvmsg tells routing headers (IPV6_RTHDR)", six=True),
    (_IP6, real.IPV6_RECVPATHMTU): Option(Form.FLAG, "recvmsg tells, with no text, the MTU that a datagram with "
                                          "IPV6_DONTFRAG was too long for (IPV6_PATHMTU), a struct ip6_mtuinfo",
                                          six=True, kept_for=_TCP),
    (_IP6, IPV6_PATHMTU): Option(Form.STRUCT, "struct ip6_mtuinfo: MTU of the path, once connected", six=True,
                                 writable=False),
    (_IP6, extensions.HOPOPTS): Option(Form.HEADER, "hop-by-hop options header of what is sent (RFC 8200 4.3)",
                                       six=True, kinds=_DATAGRAMS),
    (_IP6, extensions.RTHDRDSTOPTS): Option(Form.HEADER, "destination options in front of the routing header, if there "
                                            "is one (RFC 3542 9.2)", six=True, kinds=_DATAGRAMS),
    (_IP6, extensions.RTHDR): Option(Form.HEADER, "routing header of what is sent: type 4 (RFC 8754)", six=True,
                                     kinds=_DATAGRAMS),
    (_IP6, extensions.DSTOPTS): Option(Form.HEADER, "destination options header of what is sent (RFC 8200 4.6)",
                                       six=True, kinds=_DATAGRAMS),
    (_IP6, IPV6_PKTINFO): Option(Form.PKTINFO, "through which interface it is sent, a struct in6_pktinfo; the address "
                                 "in it says nothing", six=True, readable=False),
    (_IP6, IPV6_FREEBIND): Option(Form.FLAG, "bind takes an address that is not ours, yet", six=True),
    (_IP6, IPV6_TRANSPARENT): Option(Form.FLAG, "the same, and what is sent comes from it", six=True),
}

_A_BYTE_AT_LEAST = frozenset((int(real.IP_TTL), IP_FREEBIND, IP_TRANSPARENT, groups.IP_MULTICAST_TTL,
                              groups.IP_MULTICAST_LOOP,
                              groups.IP_MULTICAST_ALL))
_KEPT_HERE = frozenset((Form.BIT, Form.ASK, Form.STAMP, Form.KEPT, Form.CORK, Form.FIXED))
_int = struct.Struct("i")
_linger = struct.Struct("ii")
_timeval = struct.Struct("qq")
_pktinfo6 = struct.Struct("16si")
_mtuinfo = struct.Struct("28xI")
_HEADERS = (extensions.HOPOPTS, extensions.RTHDRDSTOPTS, extensions.RTHDR, extensions.DSTOPTS)
_HEARD = {(_IP, IP_RECVOPTS), (_IP, IP_RETOPTS), (_IP6, extensions.RECVHOPOPTS), (_IP6, extensions.RECVDSTOPTS),
          (_IP6, extensions.RECVRTHDR)}      # what the engine keeps more of each datagram for
_NO_INDEX = 255                 # no interface has it
_MREQ = 16                      # bytes of struct packet_mreq
_NAME = 16                      # bytes of an interface's or algorithm's name, as Linux pads it


def _find(sock: Base, level: int, name: int, writing: bool) -> Option:
    option = OPTIONS.get((level, name))
    if sock._kind is Kind.PACKET:
        if option is None or not (option.writable if writing else option.readable) or level not in (
                _SOCKET, SOL_PACKET):
            raise OSError(ENOPROTOOPT, "Protocol not available")
        return option
    if not writing and sock._af == real.AF_INET and level not in (_SOCKET, _IP, sock._protocol) and not (
            sock._kind is Kind.RAW and level == _SOL_RAW):
        raise OSError(EOPNOTSUPP, "Operation not supported")
    if sock._kind is Kind.RAW and sock._af == real.AF_INET6 and level == _IP:
        option = None                                                           # as Linux
    if option is None or not (option.writable if writing else option.readable) or sock._kind not in option.kinds or (
            option.six and sock._af != real.AF_INET6):
        raise OSError(ENOPROTOOPT, "Protocol not available")
    return option


def _check_open(sock: Base) -> None:
    if sock._handle == 0:
        raise sock._error(-EBADF)


def _invalid() -> OSError:
    return OSError(EINVAL, "Invalid argument")


# Setting

def set_option(sock: Base, level: Any, name: Any, value: Any) -> None:
    """`setsockopt` with three arguments: value is an int, or the bytes of the C type."""
    level, name = int(to_int(level)), int(to_int(name))
    _check_open(sock)
    if not isinstance(value, int):
        try:
            value = bytes(memoryview(value))
        except TypeError:
            raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'") from None
    elif not -1 << 31 <= value < 1 << 32:
        raise TypeError("a bytes-like object is required, not 'int'")       # what CPython says of too large a number
    if level == _SOCKET and name != real.SO_BINDTODEVICE and isinstance(value, bytes) and len(value) < _int.size:
        raise _invalid()
    option = _find(sock, level, name, True)
    if option.refused_for and sock._kind in option.kept_for:
        raise OSError(option.refused_for, os.strerror(option.refused_for))
    if level == _IP and name in _A_BYTE_AT_LEAST and value == b"":
        raise _invalid()
    if option.form is Form.LINGER:
        on, seconds = _unpack(_linger, value)
        if seconds < 0:
            seconds = LONGEST_LINGER
        if sock._kind is Kind.TCP:
            _engine_set(sock, level, name, seconds if on else -1)
        sock._description.linger = seconds if on else -1
    elif option.form is Form.TIMEVAL:
        _set_timeout(sock, name, value)
    elif option.form is Form.MEMBER:
        if not isinstance(value, bytes) or len(value) < _MREQ:
            raise _invalid()
    elif option.form is Form.OPTIONS:
        _set_options(sock, value)
    elif option.form is Form.HEADER:
        _set_header(sock, name, value)
    elif option.form is Form.PKTINFO:
        _set_pktinfo(sock, value)
    elif option.form is Form.FILTER:
        _set_filter(sock, level, value)
    elif option.form is Form.GROUP:
        groups.set_group(sock, level, name, value)
    elif option.form is Form.SWITCH:
        number = _number(value, option.narrow)
        if number not in (0, 1):
            raise _invalid()
        sock._description.tells_rest = number == 1
    elif option.form in _KEPT_HERE or sock._kind in option.kept_for:
        _keep(sock, option, level, name, _number(value, option.narrow, option.lax))
    elif option.form is Form.DEVICE:
        _engine_set(sock, _SOCKET, SO_BINDTOIFINDEX, _interface(sock, value))
    elif option.form is Form.ALGORITHM:
        if not isinstance(value, bytes):
            raise _invalid()
        try:
            index = algorithms.index_of(value.partition(b"\0")[0].decode("latin-1"))
        except KeyError as error:
            raise OSError(ENOENT, error.args[0]) from None
        sock._stack._know(index)
        _engine_set(sock, level, name, index)
    elif option.form is Form.KEY:
        if not isinstance(value, bytes):
            raise _invalid()
        buffer = ctypes.create_string_buffer(value, max(len(value), 1))
        r = entry.set_fastopen_key(sock._world, sock._handle, ctypes.addressof(buffer), len(value))
        if r < 0:
            raise sock._error(r)
    else:
        number = _number(value, option.narrow, option.lax)
        if option.form is Form.FLAG:
            number = 1 if number else 0
        elif option.form is Form.SIZE:
            number = min(number & 0xFFFF_FFFF, (1 << 30) - 1)       # less than nothing is much, as on Linux
        _engine_set(sock, level, name, number)


def _keep(sock: Base, option: Option, level: int, name: int, number: int) -> None:
    """What the engine need not know."""
    kept = sock._description.kept
    if option.form is Form.STAMP:
        kept[_SOCKET << 16 | SO_TIMESTAMP] = name if number else 0      # whichever it is, the other one is off
        if sock._kind is Kind.TCP:
            _engine_set(sock, _SOCKET, SO_TIMESTAMP, 1 if number else 0)
        return
    if not option.least <= number <= option.most:
        raise _invalid()
    if option.form is not Form.KEPT:
        number = 1 if number else 0
    kept[level << 16 | name] = number
    if option.form is Form.CORK:
        sock._corked_by_option(number)
    if (level, name) in _HEARD and sock._kind is not Kind.TCP:
        _engine_set(sock, _IP, IP_RECVOPTS, ancillary.hears_options(sock))


def _set_options(sock: Base, value: int | bytes) -> None:
    """IP_OPTIONS: they are looked at here, and written by the engine."""
    o = ipoptions.read(ipoptions.padded(value if isinstance(value, bytes) else struct.pack("=I", value & 0xFFFF_FFFF)))
    record = bytearray(ipoptions.packed(o, ancillary.epoch(sock)))
    r = entry.set_ip_options(sock._world, sock._handle, ctypes.addressof(ctypes.c_char.from_buffer(record)))
    if r < 0:
        raise sock._error(r)
    sock._description.kept[_IP << 16 | IP_OPTIONS] = ipoptions.shown(o)


def _set_header(sock: Base, name: int, value: int | bytes) -> None:
    """IPV6_HOPOPTS and others: all headers that are set go to the engine as they are to be sent."""
    header = extensions.sticky(name, value if isinstance(value, bytes) else _int.pack(0))
    kept = sock._description.kept
    headers = {n: kept.get(_IP6 << 16 | n, b"") for n in _HEADERS} | {name: header}
    record = bytearray(extensions.packed(headers) if any(headers.values()) else b"")
    where = ctypes.addressof((ctypes.c_char * len(record)).from_buffer(record)) if record else 0
    r = entry.set_extensions(sock._world, sock._handle, where, len(record))
    if r < 0:
        raise sock._error(r)
    kept[_IP6 << 16 | name] = header


def _set_pktinfo(sock: Base, value: int | bytes) -> None:
    """IPV6_PKTINFO.  As on Linux: an interface that is not there is met when something is sent."""
    _, index = _unpack(_pktinfo6, value)
    bound = _engine_get(sock, _SOCKET, SO_BINDTOIFINDEX)
    if bound and index != bound:
        raise _invalid()
    if sock._kind is not Kind.TCP:
        _engine_set(sock, _IP6, IPV6_PKTINFO, index & 0xFF if index < _NO_INDEX else _NO_INDEX)


def _path_mtu(sock: Base, buflen: int) -> bytes:
    """IPV6_PATHMTU: of the struct only the MTU says anything, as on Linux."""
    if buflen < _mtuinfo.size:
        raise _invalid()
    return _mtuinfo.pack(_engine_get(sock, _IP6, IPV6_MTU))


def _filter(sock: Base, level: int) -> bytes:
    """ICMP_FILTER, ICMP6_FILTER: the bits."""
    if sock._protocol != (int(real.IPPROTO_ICMP) if level == _SOL_RAW else _ICMP6):
        raise OSError(EOPNOTSUPP, "Operation not supported")
    return b"".join(struct.pack("=I", entry.get_option(sock._world, sock._handle, _ENGINE_FILTER + i) & 0xFFFF_FFFF)
                    for i in range(1 if level == _SOL_RAW else 8))


def _set_filter(sock: Base, level: int, value: int | bytes) -> None:
    kept = _filter(sock, level)
    if not isinstance(value, bytes):
        value = struct.pack("=I", value & 0xFFFF_FFFF)
    value = value[:len(kept)] + kept[len(value):]
    for i, bits in enumerate(struct.unpack(f"={len(kept) // 4}I", value)):
        entry.set_option(sock._world, sock._handle, _ENGINE_FILTER + i, bits)


def _statistics(sock: Base) -> bytes:
    """PACKET_STATISTICS: reading begins anew."""
    now = [entry.get_option(sock._world, sock._handle, _ENGINE_SEEN + i) for i in (0, 1)]
    kept = sock._description.kept
    before = kept.get(_ENGINE_SEEN, (0, 0))
    kept[_ENGINE_SEEN] = tuple(now)
    return struct.pack("=II", now[0] - before[0], now[1] - before[1])


def _unpack(form: struct.Struct, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, bytes) or len(value) < form.size:
        raise _invalid()
    return form.unpack_from(value)


def _number(value: int | bytes, narrow: bool, lax: bool = False) -> int:
    if isinstance(value, bytes):
        if lax and len(value) < _int.size:
            return 0
        if len(value) >= _int.size:
            return int(_int.unpack_from(value)[0])
        if narrow:
            return value[0] if value else 0
        raise _invalid()
    return int(value)


def _set_timeout(sock: Base, name: int, value: Any) -> None:
    seconds, microseconds = _unpack(_timeval, value)
    if not 0 <= microseconds < 1_000_000:
        raise OSError(33, "Numerical argument out of domain")       # EDOM
    duration = max(0, seconds * SECOND + microseconds * 1000)       # 0: no limit; Linux takes < 0 for "at once"
    if name == real.SO_RCVTIMEO:
        sock._description.receive_timeout = duration
    else:
        sock._description.send_timeout = duration


def _interface(sock: Base, value: Any) -> int:
    if not isinstance(value, bytes):
        raise _invalid()
    name = value.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    if not name:
        return 0
    try:
        return sock._stack.if_nametoindex(name)
    except OSError:
        raise OSError(ENODEV, f"no interface {name!r}") from None


def _engine_set(sock: Base, level: int, name: int, value: int) -> None:
    r = entry.set_option(sock._world, sock._handle, level << 16 | name, value)
    if r < 0:
        raise sock._error(r)


# Reading

def get_option(sock: Base, level: Any, name: Any, buflen: Any = 0) -> int | bytes:
    """`getsockopt`: an int, or with buflen the first bytes of the C type."""
    level, name, buflen = int(to_int(level)), int(to_int(name)), int(to_int(buflen))
    if not 0 <= buflen <= LARGEST_RESULT:
        raise OSError("getsockopt buflen out of range")
    _check_open(sock)
    option = _find(sock, level, name, False)
    form = option.form
    if form is Form.LINGER:
        seconds = sock._description.linger
        return _result(_linger.pack(seconds >= 0, max(0, seconds)), buflen)
    if form is Form.TIMEVAL:
        d = sock._description
        duration = d.receive_timeout if name == real.SO_RCVTIMEO else d.send_timeout
        return _result(_timeval.pack(duration // SECOND, duration % SECOND // 1000), buflen)
    if form is Form.FILTER:
        return _result(_filter(sock, level), buflen)
    if form is Form.HEADER:
        return _result(sock._description.kept.get(_IP6 << 16 | name, b""), buflen)
    if form is Form.STRUCT and level == _IP6:
        return _result(_path_mtu(sock, buflen), buflen)
    if form is Form.OPTIONS:
        return _result(sock._description.kept.get(_IP << 16 | IP_OPTIONS, b""), buflen)
    if form is Form.GROUP:
        return _result(groups.get_group(sock, level, name), buflen)
    if form is Form.DEVICE:
        index = _engine_get(sock, _SOCKET, SO_BINDTOIFINDEX)
        return _result(sock._stack.if_indextoname(index).encode() + b"\0" if index else b"", buflen)
    if form is Form.ALGORITHM:
        return _result(algorithms.names()[_engine_get(sock, level, name)].encode().ljust(_NAME, b"\0"), buflen)
    if form is Form.KEY:
        buffer = ctypes.create_string_buffer(2 * entry.KEY_LEN)
        r = entry.fastopen_key(sock._world, sock._handle, ctypes.addressof(buffer), len(buffer))
        if r < 0:
            raise sock._error(r)
        return _result(buffer.raw[:r], buflen)
    if form is Form.STRUCT and level == SOL_PACKET:
        return _result(_statistics(sock), buflen)
    if form is Form.STRUCT and name == TCP_INFO:
        return _result(_structure(sock, entry.tcp_info, info.SIZE), buflen)
    if form is Form.STRUCT:
        bbr = algorithms.names()[_engine_get(sock, level, TCP_CONGESTION)] == "bbr"
        return _result(_structure(sock, entry.bbr_info, info.BBR_SIZE) if bbr else b"", buflen)
    if form is Form.TYPE:
        value = int(sock.type)
    elif form is Form.FAMILY:
        value = int(sock.family)
    elif form is Form.PROTOCOL:
        value = sock._protocol
    elif form is Form.SWITCH:
        value = int(sock._description.tells_rest)
    elif form is Form.STAMP:
        value = int(sock._description.kept.get(_SOCKET << 16 | SO_TIMESTAMP, 0) == name)
    elif form in _KEPT_HERE or sock._kind in option.kept_for:
        default = option.default
        if name == groups.IP_MULTICAST_ALL and level == _IP and sock._af == real.AF_INET6:
            default = 0                                                         # as Linux
        value = sock._description.kept.get(level << 16 | name, default)
    else:
        value = (_engine_get(sock, level, name) + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)      # an int of C
    return value if buflen == 0 else _int.pack(value)[:buflen]


def _structure(sock: Base, read: Callable[..., int], size: int) -> bytes:
    buffer = ctypes.create_string_buffer(size)
    r = read(sock._world, sock._handle, ctypes.addressof(buffer), size)
    if r < 0:
        raise sock._error(r)
    return buffer.raw


def _result(value: bytes, buflen: int) -> int | bytes:
    if buflen:
        return value[:buflen]
    return int(_int.unpack_from(value.ljust(_int.size, b"\0"))[0])


def _engine_get(sock: Base, level: int, name: int) -> int:
    r = entry.get_option(sock._world, sock._handle, level << 16 | name)
    if r < -1:                  # -1 is a value (TCP_LINGER2)
        raise sock._error(r)
    return int(r)
