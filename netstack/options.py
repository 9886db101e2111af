"""Socket options that the engine acts upon: integers in, integers out.

socket(7), tcp(7), ip(7), ipv6(7).  An option is `level << 16 | name` with Linux's
numbers; one that is not here is -ENOPROTOOPT.
"""
from __future__ import annotations

from . import handles
from .datagram import FOUR, SIX, Sock, ring_size
from .endpoint import DONTROUTE, FREEBIND, NO_PORT, RECVERR, RECVERR6, Endpoint, Kind
from .errors import EINVAL, ENODEV, ENOPROTOOPT, ENOTCONN, EOPNOTSUPP
from .ip import route
from .ip.pmtu import LEAST_V6
from .machine import MS, SECOND, compiled, ring
from .tcp import (
    arrivals,
    congestion,
    defer,
    fastopen,
    orphan,
    path,
    receive,
    recovery,
    rto,
    space,
    tcb,
    usertimeout,
    window,
)
from .tcp.ecn import CODEPOINT
from .tcp.space import MIN_RCVBUF, MIN_SNDBUF
from .tcp.tcb import State, Tcb
from .world import World

SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6 = 1 << 16, 0 << 16, 6 << 16, 41 << 16
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_BROADCAST = SOL_SOCKET | 2, SOL_SOCKET | 3, SOL_SOCKET | 4, SOL_SOCKET | 6
SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE = SOL_SOCKET | 7, SOL_SOCKET | 8, SOL_SOCKET | 9, SOL_SOCKET | 10
SO_LINGER, SO_REUSEPORT, SO_RCVLOWAT, SO_BINDTODEVICE = (SOL_SOCKET | 13, SOL_SOCKET | 15, SOL_SOCKET | 18,
                                                         SOL_SOCKET | 25)
LONGEST_POLL = 0xFFFE       # us that SO_BUSY_POLL can say; a longer one is as long
SO_TIMESTAMP = SOL_SOCKET | 29
SO_ACCEPTCONN, SO_BUSY_POLL, SO_BINDTOIFINDEX = SOL_SOCKET | 30, SOL_SOCKET | 46, SOL_SOCKET | 62
TCP_NODELAY, TCP_MAXSEG, TCP_CORK = IPPROTO_TCP | 1, IPPROTO_TCP | 2, IPPROTO_TCP | 3
TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT = IPPROTO_TCP | 4, IPPROTO_TCP | 5, IPPROTO_TCP | 6
TCP_SYNCNT, TCP_QUICKACK, TCP_USER_TIMEOUT = IPPROTO_TCP | 7, IPPROTO_TCP | 12, IPPROTO_TCP | 18
TCP_LINGER2, TCP_DEFER_ACCEPT = IPPROTO_TCP | 8, IPPROTO_TCP | 9
TCP_CONGESTION, SO_MAX_PACING_RATE = IPPROTO_TCP | 13, SOL_SOCKET | 47
TCP_WINDOW_CLAMP, TCP_NOTSENT_LOWAT, TCP_RTO_MAX_MS = IPPROTO_TCP | 10, IPPROTO_TCP | 25, IPPROTO_TCP | 44
TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE = IPPROTO_TCP | 23, IPPROTO_TCP | 30, IPPROTO_TCP | 34
UDP_CORK, UDP_SEGMENT, UDP_GRO = 17 << 16 | 1, 17 << 16 | 103, 17 << 16 | 104
SO_DONTROUTE, IP_FREEBIND, IPV6_FREEBIND, IP_BIND_ADDRESS_NO_PORT = (SOL_SOCKET | 5, IPPROTO_IP | 15, IPPROTO_IPV6 | 78,
                                                                     IPPROTO_IP | 24)
IP_TRANSPARENT, IPV6_TRANSPARENT = IPPROTO_IP | 19, IPPROTO_IPV6 | 75
IP_RECVERR, IPV6_RECVERR, IP_RECVOPTS = IPPROTO_IP | 11, IPPROTO_IPV6 | 25, IPPROTO_IP | 6
IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MULTICAST_ALL = (IPPROTO_IP | 32, IPPROTO_IP | 33,
                                                                          IPPROTO_IP | 34, IPPROTO_IP | 49)
IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_MULTICAST_ALL = (
    IPPROTO_IPV6 | 17, IPPROTO_IPV6 | 18, IPPROTO_IPV6 | 19, IPPROTO_IPV6 | 29)
IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_MTU = IPPROTO_IP | 1, IPPROTO_IP | 2, IPPROTO_IP | 10, IPPROTO_IP | 14
IPV6_UNICAST_HOPS, IPV6_MTU_DISCOVER, IPV6_MTU = IPPROTO_IPV6 | 16, IPPROTO_IPV6 | 23, IPPROTO_IPV6 | 24
IPV6_V6ONLY, IPV6_TCLASS, IPV6_DONTFRAG = IPPROTO_IPV6 | 26, IPPROTO_IPV6 | 67, IPPROTO_IPV6 | 62
IPV6_PKTINFO, IPV6_RECVPATHMTU = IPPROTO_IPV6 | 50, IPPROTO_IPV6 | 60
IP_HDRINCL, IPV6_HDRINCL, IPV6_CHECKSUM = IPPROTO_IP | 3, IPPROTO_IPV6 | 36, IPPROTO_IPV6 | 7
ICMP_FILTER = 255 << 16 | 0x100     # ... and seven more: 32 bits each (Linux has them as one struct)
ICMPV6 = 58
PACKET_SEEN = 263 << 16 | 0x100     # frames for a packet socket; + 1: ... that it had no room for
AF_INET6 = 10
MAX_KEEP = 32767                # seconds; and 127 probes (tcp(7))
NO_LINGER = -1
UNLIMITED_RATE = 0xFFFF_FFFF     # SO_MAX_PACING_RATE that means none
LARGEST_INT = (1 << 31) - 1
LARGEST_SEGMENT = 0xFFFF


@compiled
def get(w: World, h: int, ep: Endpoint, option: int, now: int) -> int:
    """getsockopt: the value (SO_LINGER, TCP_LINGER2: seconds, or -1 for off), or -errno below -1.

    The caller owns the world.
    """
    if option == SO_ERROR:
        error = ep.error
        ep.error = 0
        return error
    if option == SO_REUSEADDR:
        return ep.reuse_addr
    if option == SO_REUSEPORT:
        return ep.reuse_port
    if option == SO_BROADCAST:
        return ep.broadcast
    if option == SO_RCVLOWAT:
        return max(ep.low_water, 1)
    if option == SO_BUSY_POLL:
        return ep.busy_poll - 1 if ep.busy_poll != 0 else w.datagrams.busy_read
    if option == SO_BINDTODEVICE or option == SO_BINDTOIFINDEX:
        return ep.interface
    if option == IP_TTL:
        return ep.ttl if ep.ttl != 0 else w.net.settings.ip_default_ttl
    if option == IPV6_UNICAST_HOPS:
        return ep.ttl if ep.ttl != 0 else w.net.settings.ip_default_ttl
    if option == IP_TOS or option == IPV6_TCLASS:
        return ep.tos
    if option == IP_MTU_DISCOVER or option == IPV6_MTU_DISCOVER:
        return ep.pmtudisc
    if option == IPV6_V6ONLY and ep.family == AF_INET6:
        return ep.v6only
    if option == IP_TRANSPARENT or option == IPV6_TRANSPARENT:
        return ep.transparent
    if _bit(option) != 0:
        return 1 if ep.bound & _bit(option) else 0
    if (option == IP_MTU or option == IPV6_MTU) and ep.remote_port == 0:
        return -ENOTCONN
    if option == IP_MTU or option == IPV6_MTU:
        error = route.choose(w.net, ep.remote_hi, ep.remote_lo, ep.local_hi, ep.local_lo, ep.interface, now)
        return w.net.chosen.mtu if error == 0 else error
    if not handles.is_tcp(h):
        if option == SO_RCVBUF:
            return 2 * ep.recv_limit if ep.recv_limit != w.datagrams.rmem else w.datagrams.rmem
        if option == SO_SNDBUF:
            return 2 * ep.send_limit if ep.send_limit != w.datagrams.wmem else w.datagrams.wmem
        if option == SO_ACCEPTCONN:
            return 0
        s = handles.socket(w, handles.index_of(h))
        if option == SO_KEEPALIVE:
            return s.keepalive
        if option == UDP_SEGMENT:
            return s.segment
        if option == UDP_GRO:
            return s.gro
        if option == IPV6_DONTFRAG:
            return s.dont_fragment
        if option == IPV6_RECVPATHMTU:
            return s.hears_path
        if ep.kind == Kind.RAW and (option == IP_HDRINCL or option == IPV6_HDRINCL):
            return s.hdrincl
        if ep.kind == Kind.RAW and option == IPV6_CHECKSUM:
            return s.checksum
        if ep.kind == Kind.RAW and ICMP_FILTER <= option < ICMP_FILTER + 8:
            return s.filter[option - ICMP_FILTER]
        if option == PACKET_SEEN:
            return s.seen
        if option == PACKET_SEEN + 1:
            return s.drops
        return _get_multicast(s, option)
    return _get_tcp(w, handles.connection(w, handles.index_of(h)), option)


@compiled
def _get_multicast(s: Sock, option: int) -> int:
    if option == IP_MULTICAST_TTL:
        return s.multicast_ttl
    if option == IPV6_MULTICAST_HOPS:
        return s.multicast_hops
    if option == IP_MULTICAST_LOOP:
        return 1 if s.loop & FOUR else 0
    if option == IPV6_MULTICAST_LOOP:
        return 1 if s.loop & SIX else 0
    if option == IP_MULTICAST_ALL:
        return 1 if s.hears_all & FOUR else 0
    if option == IPV6_MULTICAST_ALL:
        return 1 if s.hears_all & SIX else 0
    if option == IP_MULTICAST_IF:
        return s.multicast_from & 0xFFFF_FFFF
    if option == IPV6_MULTICAST_IF:
        return s.through6
    return -ENOPROTOOPT


@compiled
def _bit(option: int) -> int:
    """The bit of `Endpoint.bound` that an option is, or 0."""
    if option == SO_DONTROUTE:
        return DONTROUTE
    if option == IP_FREEBIND or option == IPV6_FREEBIND:
        return FREEBIND
    if option == IP_BIND_ADDRESS_NO_PORT:
        return NO_PORT
    if option == IP_RECVERR:
        return RECVERR
    if option == IPV6_RECVERR:
        return RECVERR6
    return 0


@compiled
def _get_tcp(w: World, t: Tcb, option: int) -> int:
    if option == SO_RCVBUF:
        return t.space.rcvbuf
    if option == SO_SNDBUF:
        return t.space.sndbuf
    if option == SO_KEEPALIVE:
        return t.keepalive.on
    if option == SO_OOBINLINE:
        return tcb.rare(t).urgent.inline
    if option == SO_LINGER:
        return 0 if t.reset_on_close else NO_LINGER
    if option == SO_ACCEPTCONN:
        return 1 if t.state == State.LISTEN else 0
    if option == TCP_NODELAY:
        return t.nodelay
    if option == TCP_CORK:
        return t.cork
    if option == TCP_MAXSEG:
        if tcb.is_synchronized(t):
            return recovery.segment_size(t)
        return t.user_mss if t.user_mss != 0 else 536
    if option == TCP_KEEPIDLE:
        return t.keepalive.idle // SECOND
    if option == TCP_KEEPINTVL:
        return t.keepalive.interval // SECOND
    if option == TCP_KEEPCNT:
        return t.keepalive.count
    if option == TCP_USER_TIMEOUT:
        return t.user.limit // MS
    if option == TCP_CONGESTION:
        return t.cc.algorithm
    if option == SO_MAX_PACING_RATE:
        return t.pacing.most if t.pacing.most != 0 else UNLIMITED_RATE
    if option == TCP_SYNCNT:
        return t.syn_retries if t.syn_retries != 0 else w.tcp.settings.tcp_syn_retries
    if option == TCP_RTO_MAX_MS:
        return rto.longest(t.rto) // MS
    if option == TCP_LINGER2:
        if t.linger2 < 0:
            return NO_LINGER
        return (t.linger2 if t.linger2 != 0 else w.tcp.settings.tcp_fin_timeout) // SECOND
    if option == TCP_DEFER_ACCEPT:
        return defer.seconds_of(t.defer.limit)
    if option == TCP_QUICKACK:
        return 1 - t.quick.pingpong
    if option == TCP_WINDOW_CLAMP:
        return t.space.user_clamp if t.space.user_clamp != 0 else t.space.clamp
    if option == TCP_NOTSENT_LOWAT:
        return t.space.notsent_lowat
    if option == TCP_FASTOPEN:
        return t.fast.limit
    if option == TCP_FASTOPEN_CONNECT:
        return t.fast.connect
    if option == TCP_FASTOPEN_NO_COOKIE:
        return t.fast.no_cookie
    return -ENOPROTOOPT


@compiled
def put(w: World, h: int, ep: Endpoint, option: int, value: int, now: int) -> int:
    """setsockopt: 0, or -errno.  The caller owns the world."""
    flag = 1 if value != 0 else 0
    if option == SO_REUSEADDR:
        ep.reuse_addr = flag
    elif option == SO_REUSEPORT:
        ep.reuse_port = flag
    elif option == SO_BROADCAST:
        ep.broadcast = flag
    elif option == SO_RCVLOWAT:
        ep.low_water = max(value, 1) if value >= 0 else LARGEST_INT
        if handles.is_tcp(h):
            ep.low_water = min(ep.low_water, 1 << 30)
            _room_for_low_water(w, handles.connection(w, handles.index_of(h)))
    elif option == SO_BUSY_POLL:
        if value < 0:
            return -EINVAL
        ep.busy_poll = min(value, LONGEST_POLL) + 1
    elif option == SO_BINDTODEVICE or option == SO_BINDTOIFINDEX:
        if value < 0 or value > w.net.interface_count:
            return -ENODEV
        ep.interface = value
    elif option == IP_TTL or option == IPV6_UNICAST_HOPS:
        if value != -1 and not 1 <= value <= 255:
            return -EINVAL
        ep.ttl = max(value, 0)
    elif option == IP_TOS or option == IPV6_TCLASS:
        if option == IPV6_TCLASS and not -1 <= value <= 255:
            return -EINVAL
        ep.tos = value & 0xFF if option == IP_TOS else max(value, 0)
        if handles.is_tcp(h):
            ep.tos &= ~CODEPOINT                            # they are TCP's own (RFC 3168; ip(7))
    elif option == IP_MTU_DISCOVER or option == IPV6_MTU_DISCOVER:
        if not 0 <= value <= 5:
            return -EINVAL
        ep.pmtudisc = value
    elif option == IP_TRANSPARENT or option == IPV6_TRANSPARENT:
        ep.transparent = flag
    elif _bit(option) != 0:
        ep.bound = (ep.bound | _bit(option)) if flag else (ep.bound & ~_bit(option))
        if not handles.is_tcp(h) and (option == IP_RECVERR or option == IPV6_RECVERR) and not flag:
            s = handles.socket(w, handles.index_of(h))
            ring.set_head(s.failed, s.failed.tail)          # as Linux: the queue is emptied
    elif option == IPV6_MTU and value != 0 and value < LEAST_V6:
        return -EINVAL
    elif option == IPV6_MTU and handles.is_tcp(h):
        return 0                                            # as on Linux: nothing of a stream is cut
    elif option == IPV6_V6ONLY and ep.family == AF_INET6:
        if ep.local_port != 0:
            return -EINVAL
        ep.v6only = flag
    elif not handles.is_tcp(h):
        return _put_datagram(w, h, ep, option, value)
    else:
        return _put_tcp(w, handles.connection(w, handles.index_of(h)), option, value, now)
    return 0


@compiled
def _put_datagram(w: World, h: int, ep: Endpoint, option: int, value: int) -> int:
    s = handles.socket(w, handles.index_of(h))
    if option == SO_RCVBUF:
        ep.recv_limit = min(max(value, MIN_RCVBUF // 2), w.datagrams.rmem_max)
        if s.rcv.data == 0:
            s.rcv.size = ring_size(2 * ep.recv_limit)       # once data is there the queue keeps its size
        return 0
    if option == SO_SNDBUF:
        ep.send_limit = min(max(value, MIN_SNDBUF // 2), w.datagrams.wmem_max)
        return 0
    if option == SO_KEEPALIVE:
        s.keepalive = 1 if value != 0 else 0
        return 0
    if option == UDP_SEGMENT:
        if not 0 <= value <= LARGEST_SEGMENT:
            return -EINVAL
        s.segment = value
        return 0
    if option == UDP_GRO:
        s.gro = 1 if value != 0 else 0
        return 0
    if option == IP_RECVOPTS:
        s.hears_options = value & (FOUR | SIX)
        return 0
    if option == IPV6_DONTFRAG:
        s.dont_fragment = 1 if value != 0 else 0
        return 0
    if option == IPV6_RECVPATHMTU:
        s.hears_path = 1 if value != 0 else 0
        return 0
    if option == IPV6_PKTINFO:
        s.through_any = value
        return 0
    if option == IPV6_MTU:
        s.most = value
        return 0
    if option == UDP_CORK:
        s.corked = 1 if value != 0 else 0
        return 0
    if ep.kind == Kind.RAW and (option == IP_HDRINCL or option == IPV6_HDRINCL):
        s.hdrincl = 1 if value != 0 else 0
        return 0
    if ep.kind == Kind.RAW and option == IPV6_CHECKSUM:
        if s.protocol == ICMPV6 or (value > 0 and value & 1):
            return -EINVAL
        s.checksum = max(value, -1)
        return 0
    if ep.kind == Kind.RAW and ICMP_FILTER <= option < ICMP_FILTER + 8:
        s.filter[option - ICMP_FILTER] = value
        return 0
    return _put_multicast(w, s, option, value)


@compiled
def _put_multicast(w: World, s: Sock, option: int, value: int) -> int:
    """What becomes of the socket's own datagrams to groups, and of those to groups that others have joined."""
    flag = 1 if value != 0 else 0
    if option == IP_MULTICAST_TTL or option == IPV6_MULTICAST_HOPS:
        if not -1 <= value <= 255:
            return -EINVAL
        if option == IP_MULTICAST_TTL:
            s.multicast_ttl = value if value >= 0 else 1
        else:
            s.multicast_hops = value if value >= 0 else 1
        return 0
    if option == IP_MULTICAST_LOOP or option == IPV6_MULTICAST_LOOP:
        if option == IPV6_MULTICAST_LOOP and value != flag:
            return -EINVAL
        bit = FOUR if option == IP_MULTICAST_LOOP else SIX
        s.loop = (s.loop & ~bit) | bit * flag
        return 0
    if option == IP_MULTICAST_ALL or option == IPV6_MULTICAST_ALL:
        if option == IP_MULTICAST_ALL and value != flag:
            return -EINVAL
        bit = FOUR if option == IP_MULTICAST_ALL else SIX
        s.hears_all = (s.hears_all & ~bit) | bit * flag
        return 0
    if option == IP_MULTICAST_IF:
        s.through = value >> 32
        s.multicast_from = (0xFFFF << 32 | (value & 0xFFFF_FFFF)) if value & 0xFFFF_FFFF else 0
        return 0
    if option == IPV6_MULTICAST_IF:
        if value < 0 or value > w.net.interface_count:
            return -ENODEV
        s.through6 = value
        return 0
    return -ENOPROTOOPT


@compiled
def _put_tcp(w: World, t: Tcb, option: int, value: int, now: int) -> int:
    flag = 1 if value != 0 else 0
    s = w.tcp.settings
    if option == SO_RCVBUF:
        space.set_rcvbuf(t.space, max(2 * min(value, s.rmem_max), MIN_RCVBUF), s.tcp_adv_win_scale)
        t.space.locked |= space.RCVBUF
        if tcb.is_synchronized(t):
            receive.open_clamp(t)
        return 0
    if option == SO_SNDBUF:
        t.space.sndbuf = max(2 * min(value, s.wmem_max), MIN_SNDBUF)
        t.space.locked |= space.SNDBUF
        tcb.notify(w.tcp, t)
        return 0
    if option == SO_KEEPALIVE:
        t.keepalive.on = flag
        _restart_keepalive(w, t, now)
    elif option == SO_OOBINLINE:
        tcb.own_rare(w.tcp, t).urgent.inline = flag
    elif option == SO_TIMESTAMP:
        if flag > t.ep.stamped:
            arrivals.begin(tcb.own_rare(w.tcp, t).arrivals, t.rcv.tail)
        t.ep.stamped = flag
    elif option == SO_LINGER:
        t.reset_on_close = 1 if value == 0 else 0
    elif option == TCP_NODELAY:
        t.nodelay = flag
        t.push |= flag                                  # (tcp(7)) what waits goes out, even if TCP_CORK holds it
        tcb.mark_due(w.tcp, t)
    elif option == TCP_CORK:
        t.cork = flag
        tcb.mark_due(w.tcp, t)
    elif option == TCP_MAXSEG:
        if value != 0 and not 88 <= value <= 32767:
            return -EINVAL
        t.user_mss = value
        if t.pmtu_mss != 0:
            path.resize(t)
    elif option == TCP_KEEPIDLE or option == TCP_KEEPINTVL:
        if not 1 <= value <= MAX_KEEP:
            return -EINVAL
        if option == TCP_KEEPIDLE:
            t.keepalive.idle = value * SECOND
        else:
            t.keepalive.interval = value * SECOND
        _restart_keepalive(w, t, now)
    elif option == TCP_KEEPCNT:
        if not 1 <= value <= 127:
            return -EINVAL
        t.keepalive.count = value
    elif option == TCP_USER_TIMEOUT:
        if value < 0:
            return -EINVAL
        t.user.limit = value * MS
        _restart_user_timeout(w, t)
    elif option == TCP_CONGESTION:
        t.cc.algorithm = value
        if tcb.is_synchronized(t):
            recovery.describe(w.tcp, t)
            congestion.begin(recovery.algorithm(w.tcp, t), t.cc, now)
    elif option == SO_MAX_PACING_RATE:
        t.pacing.most = value & 0xFFFF_FFFF if value & 0xFFFF_FFFF != UNLIMITED_RATE else 0
    elif option == TCP_SYNCNT:
        if not 1 <= value <= 127:
            return -EINVAL
        t.syn_retries = value
    elif option == TCP_RTO_MAX_MS:
        if not rto.LEAST_MAX_RTO <= value * MS <= rto.MAX_RTO:
            return -EINVAL
        t.rto.most = value
    elif option == TCP_LINGER2:
        t.linger2 = min(value * SECOND, orphan.LONGEST_FIN_WAIT) if value >= 0 else orphan.NO_FIN_WAIT
    elif option == TCP_DEFER_ACCEPT:
        t.defer.limit = defer.retries_of(value)
    elif option == TCP_QUICKACK:
        _put_quickack(w, t, value)
    elif option == TCP_WINDOW_CLAMP:
        return _put_window_clamp(t, value)
    elif option == TCP_NOTSENT_LOWAT:
        t.space.notsent_lowat = value & 0xFFFF_FFFF
        tcb.notify(w.tcp, t)
    elif option in (TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE):
        return _put_fastopen(w, t, option, value)
    else:
        return -ENOPROTOOPT
    return 0


@compiled
def _put_fastopen(w: World, t: Tcb, option: int, value: int) -> int:
    """TCP_FASTOPEN: so many may be pending; TCP_FASTOPEN_CONNECT, TCP_FASTOPEN_NO_COOKIE: flags."""
    s = w.tcp.settings
    if value < 0 or (option != TCP_FASTOPEN and value > 1):
        return -EINVAL
    if option == TCP_FASTOPEN_CONNECT and not s.tcp_fastopen & fastopen.CLIENT:
        return -EOPNOTSUPP
    if t.state != State.CLOSED and (t.state != State.LISTEN or option == TCP_FASTOPEN_CONNECT):
        return -EINVAL
    if option == TCP_FASTOPEN:
        t.fast.limit = min(value, s.somaxconn)
    elif option == TCP_FASTOPEN_CONNECT:
        t.fast.connect = value
    else:
        t.fast.no_cookie = value
    return 0


@compiled
def _put_quickack(w: World, t: Tcb, value: int) -> None:
    """TCP_QUICKACK: leave ping-pong, and send the ACK that is owed; 0, or an even number after that: enter it."""
    if value == 0:
        t.quick.pingpong = 1
        return
    t.quick.pingpong = 0
    if t.state in (State.ESTABLISHED, State.CLOSE_WAIT) and t.unacked > 0:
        t.ack_now = 1
        tcb.mark_due(w.tcp, t)
        if not value & 1:
            t.quick.pingpong = 1


@compiled
def _put_window_clamp(t: Tcb, value: int) -> int:
    """TCP_WINDOW_CLAMP: offer no more than that; 0, only before the connection: no limit."""
    s = t.space
    if value == 0:
        if t.state != State.CLOSED:
            return -EINVAL
        s.user_clamp = 0
        return 0
    s.user_clamp = max(value, MIN_RCVBUF // 2)
    if tcb.is_synchronized(t):
        s.clamp = min(s.user_clamp, s.window, space.MAX_UNSCALED << t.rcv_wscale)
        s.ssthresh = min(max(s.ssthresh, window.current(t)), s.clamp)
    return 0


@compiled
def _room_for_low_water(w: World, t: Tcb) -> None:
    """SO_RCVLOWAT: at most half of the buffer, which grows for it unless SO_RCVBUF has set it (tcp_set_rcvlowat)."""
    s = w.tcp.settings
    p = t.space
    t.ep.low_water = min(t.ep.low_water, (p.rcvbuf if p.locked & space.RCVBUF else s.tcp_rmem_max) // 2)
    tcb.notify(w.tcp, t)
    if p.locked & space.RCVBUF:
        return
    rcvbuf = space.rcvbuf_for(t.ep.low_water, s.tcp_adv_win_scale)
    if rcvbuf > p.rcvbuf:
        space.set_rcvbuf(p, rcvbuf, s.tcp_adv_win_scale)
        if tcb.is_synchronized(t):
            receive.open_clamp(t)


@compiled
def _restart_user_timeout(w: World, t: Tcb) -> None:
    """TCP_USER_TIMEOUT holds for what waits already, too; as on Linux not before its timer goes off next."""
    c = t.clocks
    c.user = usertimeout.deadline(t.user)
    if c.user != 0:
        c.user = max(c.user, c.retransmit, c.persist)
        tcb.arm(w.tcp, t, c.user)


@compiled
def _restart_keepalive(w: World, t: Tcb, now: int) -> None:
    t.keepalive.probes = 0
    t.clocks.keepalive = 0
    if t.keepalive.on and tcb.is_synchronized(t) and t.state != State.TIME_WAIT:
        t.clocks.keepalive = now + t.keepalive.idle
        tcb.arm(w.tcp, t, t.clocks.keepalive)
