"""Datagram sockets: the table, the ports and the queue that UDP and ICMP echo sockets share.

A received datagram stands in the socket's ring behind 64 bytes that say where it
came from; the queue is bounded by the ring, and what does not fit is dropped and
counted, as on every system.
"""
from __future__ import annotations

from typing import Annotated

from .endpoint import (
    KEPT,
    KEPT_END,
    OWN_SIZE,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    QUEUED,
    WAITS,
    Endpoint,
    Kind,
    Own,
    in_use,
)
from .errors import EADDRINUSE, EAGAIN, ENOTCONN, Drop
from .ip import ipv4
from .ip.address import is_v4
from .ip.ipv4_options import IpOptions
from .ip.ipv6 import HEADER_LEN as V6_HEADER
from .ip.net import IcmpError, Incoming
from .machine import (
    Array,
    addressof,
    arena,
    at,
    compiled,
    copy,
    i16,
    i32,
    i64,
    load32,
    record,
    ring,
    sizeof,
    store32,
    table,
    u8,
    u16,
    u32,
    zero,
)
from .machine.arena import Arena
from .machine.random import Key, hash2
from .machine.ring import Ring
from .machine.table import Table
from .tcp import isn

PREFIX = 64                 # bytes before each datagram; also the alignment, so that a prefix never wraps
AF_INET = 2
GENERATIONS = 0xFF_FFFF
PING_HEADS = 0x10000        # where the heads of echo sockets begin,
RAW_HEADS = 0x20000         # where the heads of raw sockets begin
HEADS = RAW_HEADS + 512
MSG_PEEK, MSG_TRUNC = 0x2, 0x20
MSG_OPTIONS = 1 << 24       # ours: `recv` tells IPv4 options or the IPv6 header and those that follow it, too
NO_INTERFACE = 0            # in a Prefix: it is not about a datagram, but says the MTU of a path
FOUR, SIX = 1, 2            # bits of Sock.loop and hears_all
ERRORS = 16384              # bytes of an error queue
LARGEST_FAILURE = 1024      # bytes of a datagram that are kept in it
LOCAL, BY_ICMP, BY_ICMP6 = 1, 2, 3      # SO_EE_ORIGIN_*


@record
class Prefix:
    """What stands before a datagram in the ring, and what `recvfrom` gives to Python."""

    hi: i64
    lo: i64
    port: i64
    scope: u8           # interface index for a link-local source, else 0
    interface: u8       # index of the one that it came through; NO_INTERFACE: see Sock.path_mtu
    options: u16        # bytes of IPv4 options, or of IPv6 headers, which stand behind it
    drops: u32          # datagrams that had found the queue full before it (SO_RXQ_OVFL); NO_INTERFACE: the MTU
    length: i32
    segment: u16        # it stands for several of so many bytes each, the last may be shorter (UDP_GRO); 0: it is one
    ttl: u8
    tos: u8             # IPv6: traffic class
    dst_hi: i64         # where it was sent to
    dst_lo: i64
    time: i64           # when it came, ns


@record
class Failure:
    """What stands before what is left of a datagram that failed, in the error queue (ip(7), IP_RECVERR)."""

    hi: i64             # where it was sent to
    lo: i64
    port: i64
    from_hi: i64        # who reports it; all zero: ourselves
    from_lo: i64
    errno: i32
    info: i32           # the MTU, for EMSGSIZE
    length: i32         # bytes of the datagram that are left
    origin: u8          # SO_EE_ORIGIN_*
    type: u8            # of the ICMP message
    code: u8
    interface: u8       # index of the one that the message came through, if it did
    time: i64           # when it came, ns


@record
class Destination:
    """Where a datagram goes, and how."""

    hi: i64
    lo: i64
    port: i64
    scope: i64
    segment: i32        # UDP_SEGMENT of this one; -1: the socket's
    control: i32        # 1: what follows holds for it; 0: the socket's
    src_hi: i64         # from this address; all zero: the socket's
    src_lo: i64
    interface: i64      # through this one; 0: the socket's
    ttl: i32            # -1: the socket's
    tos: i32            # -1: the socket's
    dont_fragment: i32  # (IPv6) -1: the socket's
    own_options: i32    # 1: these IPv4 options; 0: the socket's
    options: IpOptions
    extensions: i64     # distance from here of its ip.ipv6_extensions.Extensions; 0: the socket's


@record
class Sock:
    """One datagram socket."""

    ep: Endpoint
    rcv: Ring
    rcv_lock: u32       # one reader at a time
    read_closed: u8
    write_closed: u8
    keepalive: u8       # SO_KEEPALIVE: kept and given back, as Linux does
    poked: u8           # (selector) `wakeup` was called
    gro: u8             # UDP_GRO: several that came as one packet stay one
    gro_reserved: u8
    segment: u16        # UDP_SEGMENT: what is sent is cut into datagrams of so many bytes; 0: it is not
    corked: u8          # a datagram is being put together (MSG_MORE, UDP_CORK), by Python
    no_source: u8       # it is bound to a group's or a broadcast address, from which nothing is sent
    loop: u8            # IP_MULTICAST_LOOP: FOUR, IPV6_MULTICAST_LOOP: SIX
    hears_all: u8       # IP_MULTICAST_ALL, IPV6_MULTICAST_ALL: the same bits
    multicast_ttl: i16  # IP_MULTICAST_TTL
    multicast_hops: i16     # IPV6_MULTICAST_HOPS
    through: u8         # IP_MULTICAST_IF: index of the interface; 0: as routed
    through6: u8        # IPV6_MULTICAST_IF
    protocol: u8        # (raw) IP's number
    hdrincl: u8         # (raw) IP_HDRINCL: what is sent has its own header
    multicast_from: i64     # the address that IP_MULTICAST_IF has said, low half; 0: none
    ready_head: u32     # (selector) the endpoints to look at: see watch.py
    ready_tail: u32
    checksum: i32       # (raw) IPV6_CHECKSUM: where it stands; -1: nowhere
    ethertype: u16      # (packet) of frames that it hears; 3: all
    cooked: u8          # (packet) SOCK_DGRAM: without the link header
    hears_options: u8   # IP_RECVOPTS, IP_RETOPTS: FOUR, IPV6_RECVHOPOPTS ...: SIX: options of what comes are kept
    most: i32           # IPV6_MTU: bytes of a fragment at most; 0: what the path takes
    dont_fragment: u8   # IPV6_DONTFRAG
    hears_path: u8      # IPV6_RECVPATHMTU
    path_scope: u8      # of what follows, the interface that was asked for
    through_any: u8     # IPV6_PKTINFO: index of the interface for what is sent; 0: as routed
    path_mtu: i32       # what one datagram was too long for, to be told by the next receive; 0: nothing
    path_hi: i64        # ... and where it was to go
    path_lo: i64
    extensions: i64     # distance from here of its ip.ipv6_extensions.Extensions; 0: none
    extensions_size: i64    # bytes of it
    filter: Annotated[Array[u32], 8]    # (raw) ICMP_FILTER, ICMP6_FILTER: types that are not wanted
    seen: i64           # (packet) frames that were for it, dropped ones too
    drops: i64          # datagrams that found the queue full
    failed: Ring        # the error queue: Failures
    options: IpOptions  # IP_OPTIONS


@record
class DatagramCounters:
    """Counters by the names that `nstat` has."""

    in_datagrams: i64
    out_datagrams: i64
    in_errors: i64
    no_ports: i64
    rcvbuf_errors: i64
    sndbuf_errors: i64
    in_csum_errors: i64


@record
class Datagrams:
    """All datagram sockets of one stack."""

    socks: Table
    ports: i64              # distance of HEADS u32 heads: UDP by port, ICMP by identifier, raw by protocol
    notify_head: u32
    generation: u32
    called: u32             # list of those whose handler is to be called (Own.next)
    called_reserved: u32
    own: i64                # distance of the Own of each socket
    arena: i64              # distance of the Arena from this record
    step: i64
    key: Key
    port_first: i32
    port_last: i32
    rmem: i64               # net.core.rmem_default
    wmem: i64
    rmem_max: i64
    wmem_max: i64
    busy_read: i64          # net.core.busy_read, us: SO_BUSY_POLL of a socket that has not set it
    busy_poll: i64          # net.core.busy_poll, us: the same for selectors
    counters: DatagramCounters


SOCK_SIZE = sizeof(Sock)


@compiled
def get(d: Datagrams, index: int) -> Sock:
    """The socket with an index."""
    return at(Sock, table.address(d.socks, index))


@compiled
def memory(d: Datagrams) -> Arena:
    """The arena that buffers come from."""
    return at(Arena, addressof(d) + d.arena)


@compiled
def create(d: Datagrams, kind: int, family: int) -> int:
    """A new socket; its index, or 0 when the table is full."""
    index = table.allot_but(d.socks, KEPT, KEPT_END)
    if index == 0:
        return 0
    s = get(d, index)
    d.generation = d.generation % GENERATIONS + 1
    s.ep.kind = kind
    s.ep.family = family
    s.ep.index = index
    s.ep.generation = d.generation
    s.ep.fd_engine = -1
    s.ep.fd_user = -1
    s.ep.pmtudisc = 1
    s.ep.recv_limit = d.rmem
    s.ep.send_limit = d.wmem
    s.rcv.size = ring_size(d.rmem)
    s.ep.reuse_addr = 1 if kind == Kind.PING or kind == Kind.RAW else 0     # as Linux (INET_PROTOSW_REUSE)
    s.loop = FOUR | SIX
    s.hears_all = FOUR if family == AF_INET else SIX            # as Linux
    s.multicast_ttl = 1
    s.multicast_hops = 1
    return index


@compiled
def ring_size(limit: int) -> int:
    """The ring for a buffer limit: the next power of two."""
    size = 4096
    while size < limit:
        size *= 2
    return size


@compiled
def notify(d: Datagrams, s: Sock) -> None:
    """Readiness may have changed: at the end of the turn, wake who waits."""
    if s.ep.handler != 0 and s.ep.handler & WAITS == 0:
        s.ep.handler |= WAITS
        handled(d, s).next = d.called
        d.called = s.ep.index
    if s.ep.notified == 0:
        s.ep.notified = 1
        s.ep.notify_next = d.notify_head
        d.notify_head = s.ep.index


@compiled
def handled(d: Datagrams, s: Sock) -> Own:
    """What its handler keeps of a socket."""
    return at(Own, addressof(d) + d.own + s.ep.index * OWN_SIZE)


# ---- ports -----------------------------------------------------------------------

@compiled
def word(d: Datagrams, kind: int, port: int) -> int:
    """The address of the head of the list of sockets on a port (or identifier, or protocol)."""
    if kind != Kind.UDP:
        port += PING_HEADS if kind == Kind.PING else RAW_HEADS
    return addressof(d) + d.ports + 4 * port


@compiled
def _overlap(a: Sock, b: Sock) -> bool:
    """Whether two sockets on one port could take the same datagram."""
    if a.ep.interface != 0 and b.ep.interface != 0 and a.ep.interface != b.ep.interface:
        return False
    any_a = a.ep.local_hi == 0 and a.ep.local_lo == 0
    any_b = b.ep.local_hi == 0 and b.ep.local_lo == 0
    if not any_a and not any_b:
        return a.ep.local_hi == b.ep.local_hi and a.ep.local_lo == b.ep.local_lo
    return _takes_family(a, b) and _takes_family(b, a)


@compiled
def _takes_family(a: Sock, b: Sock) -> bool:
    """Whether `a`, if it takes any address, takes those that `b` is open for."""
    if a.ep.local_hi != 0 or a.ep.local_lo != 0 or a.ep.family == b.ep.family:
        return True
    if a.ep.family == AF_INET:
        return b.ep.v6only == 0 and (is_v4(b.ep.local_hi, b.ep.local_lo) or (b.ep.local_hi == 0 and b.ep.local_lo == 0))
    return a.ep.v6only == 0


@compiled
def bind(d: Datagrams, s: Sock, port: int) -> int:
    """Give the socket a local port; 0: any free one.  Returns it, or -EADDRINUSE."""
    if port == 0:
        count = d.port_last - d.port_first + 1
        start = isn.port_offset(isn.destination(d.key, d.step, s.ep.kind, 0, 0, 0))
        d.step += 1
        for i in range(count):
            candidate = d.port_first + (start + i) % count
            if load32(word(d, s.ep.kind, candidate)) == 0:
                port = candidate
                break
        if port == 0:
            return -EADDRINUSE
    else:
        index = load32(word(d, s.ep.kind, port))
        while index != 0:
            other = get(d, index)
            shared = (s.ep.reuse_addr == 1 and other.ep.reuse_addr == 1) or (
                s.ep.reuse_port == 1 and other.ep.reuse_port == 1)
            if not shared and _overlap(s, other):
                return -EADDRINUSE
            index = other.ep.port_next
    s.ep.local_port = port
    link(d, s)
    return port


@compiled
def link(d: Datagrams, s: Sock) -> None:
    """Join the list of those on its port."""
    head = word(d, s.ep.kind, s.ep.local_port)
    s.ep.port_next = load32(head)
    s.ep.port_prev = 0
    if s.ep.port_next != 0:
        get(d, s.ep.port_next).ep.port_prev = s.ep.index
    store32(head, s.ep.index)


@compiled
def unlink(d: Datagrams, s: Sock) -> None:
    """Give the port back."""
    if s.ep.local_port == 0:
        return
    if s.ep.port_prev != 0:
        get(d, s.ep.port_prev).ep.port_next = s.ep.port_next
    else:
        store32(word(d, s.ep.kind, s.ep.local_port), s.ep.port_next)
    if s.ep.port_next != 0:
        get(d, s.ep.port_next).ep.port_prev = s.ep.port_prev
    s.ep.local_port = 0


@compiled
def fits(s: Sock, rx: Incoming, src_port: int) -> int:
    """How well a socket fits a datagram: 0 not at all; a connected socket best, then the exact address, then any."""
    e = s.ep
    if e.interface != 0 and e.interface != rx.interface:
        return 0
    score = 1
    if e.remote_port != 0:
        if e.remote_lo != rx.src_lo or e.remote_hi != rx.src_hi or (src_port >= 0 and e.remote_port != src_port):
            return 0
        score += 4
    if e.local_hi == 0 and e.local_lo == 0:
        if is_v4(rx.dst_hi, rx.dst_lo):
            return score if e.family == AF_INET or e.v6only == 0 else 0
        return 0 if e.family == AF_INET else score
    if e.local_lo == rx.dst_lo and e.local_hi == rx.dst_hi:
        return score + 2
    return 0


@compiled
def find(d: Datagrams, kind: int, port: int, rx: Incoming, src_port: int) -> int:
    """The index of the socket for a datagram to `port`, or 0.  Equal ones (SO_REUSEPORT) share by the peer."""
    best = 0
    found = 0
    equals = 0
    index = load32(word(d, kind, port))
    while index != 0:
        s = get(d, index)
        score = fits(s, rx, src_port)
        if score > best:
            best = score
            found = index
            equals = 1
        elif score == best and score > 0 and s.ep.reuse_port:
            equals += 1
            if hash2(d.key, rx.src_lo, (src_port << 32) | index) % equals == 0:
                found = index
        index = s.ep.port_next
    return found


# ---- the queue ---------------------------------------------------------------------

@compiled
def enqueue(d: Datagrams, s: Sock, rx: Incoming, data: int, n: int, src_port: int, segment: int, now: int) -> int:
    """Append a datagram to the socket's queue; `segment`: see Prefix.  Drop.NONE, or why not."""
    options = _options_len(s, rx) if s.hears_options != 0 else 0
    need = PREFIX + ((n + options + PREFIX - 1) & -PREFIX)
    if s.read_closed or s.ep.closed:
        return Drop.UDP_QUEUE
    if s.rcv.data == 0:
        a = memory(d)
        where = arena.allot(a, s.rcv.size)
        if where == 0:
            return Drop.NO_MEMORY
        s.rcv.data = addressof(a) + where - addressof(s.rcv)
    if need > ring.room(s.rcv):
        s.drops += 1
        d.counters.rcvbuf_errors += 1
        return Drop.UDP_QUEUE
    tail = s.rcv.tail
    p = at(Prefix, ring.address(s.rcv, tail))
    p.hi = rx.src_hi
    p.lo = rx.src_lo
    p.port = src_port
    p.scope = rx.interface if (rx.src_hi >> 54) & 0x3FF == 0x3FA else 0     # fe80::/10
    p.length = n
    p.options = options
    p.drops = s.drops
    p.ttl = rx.ttl
    p.interface = rx.interface
    p.tos = rx.tos
    p.segment = segment
    p.dst_hi = rx.dst_hi
    p.dst_lo = rx.dst_lo
    p.time = now
    ring.place(s.rcv, tail + PREFIX, data, n)
    if options != 0:
        v4 = is_v4(rx.src_hi, rx.src_lo)
        ring.place(s.rcv, tail + PREFIX + n, rx.header + (ipv4.HEADER_LEN if v4 else 0), options)
    ring.set_tail(s.rcv, tail + need)
    notify(d, s)
    return Drop.NONE


@compiled
def _options_len(s: Sock, rx: Incoming) -> int:
    """Bytes to keep of IPv4 options, or of the IPv6 header and its extension headers."""
    if is_v4(rx.src_hi, rx.src_lo):
        return rx.options_len if s.hears_options & FOUR else 0
    n = rx.payload - rx.header
    return n if s.hears_options & SIX and n > V6_HEADER else 0


@compiled
def drop_first(s: Sock) -> None:
    """The first datagram has been taken."""
    p = at(Prefix, ring.address(s.rcv, s.rcv.head))
    n = p.length + p.options
    ring.set_head(s.rcv, s.rcv.head + PREFIX + ((n + PREFIX - 1) & -PREFIX))


@compiled
def recv(s: Sock, address: int, n: int, flags: int, out: int) -> int:
    """Take the first datagram: bytes copied (with MSG_TRUNC its real length), or -EAGAIN.  `out` (64 bytes, or 0) gets
    its Prefix; with MSG_OPTIONS the options follow there.  What does not fit into n is lost, as always with
    datagrams."""
    if s.path_mtu != 0:
        return _tell_path(s, out)
    if s.ep.error != 0:
        error = s.ep.error
        s.ep.error = 0
        return -error
    if ring.used(s.rcv) == 0:
        return 0 if s.read_closed else -EAGAIN
    head = s.rcv.head
    where = ring.address(s.rcv, head)
    length = at(Prefix, where).length
    options = at(Prefix, where).options
    count = min(n, length)
    ring.fetch(s.rcv, head + PREFIX, address, count)
    if out != 0:
        copy(out, where, PREFIX)
        if flags & MSG_OPTIONS:
            ring.fetch(s.rcv, head + PREFIX + length, out + PREFIX, options)
    if not flags & MSG_PEEK:
        drop_first(s)
    return length if flags & MSG_TRUNC else count


@compiled
def _tell_path(s: Sock, out: int) -> int:
    """(RFC 3542 11.3, IPV6_RECVPATHMTU) Nothing received, and what the path takes; what came comes next."""
    if out != 0:
        p = at(Prefix, out)
        zero(out, PREFIX)
        p.hi = s.path_hi
        p.lo = s.path_lo
        p.scope = s.path_scope
        p.interface = NO_INTERFACE
        p.drops = s.path_mtu
    s.path_mtu = 0
    return 0


@compiled
def fail(d: Datagrams, s: Sock, e: IcmpError, data: int, n: int, origin: int, info: int, port: int, interface: int,
         now: int) -> None:
    """Append an error to the socket's error queue, with the first of the n bytes at `data`."""
    n = min(n, LARGEST_FAILURE)
    need = PREFIX + ((n + PREFIX - 1) & -PREFIX)
    if s.failed.data == 0:
        a = memory(d)
        where = arena.allot(a, ERRORS)
        if where == 0:
            return
        s.failed.size = ERRORS
        s.failed.data = addressof(a) + where - addressof(s.failed)
    if need > ring.room(s.failed):
        s.drops += 1
        return
    tail = s.failed.tail
    f = at(Failure, ring.address(s.failed, tail))
    f.hi = e.dst_hi
    f.lo = e.dst_lo
    f.port = port
    f.from_hi = e.from_hi
    f.from_lo = e.from_lo
    f.errno = e.errno
    f.info = info
    f.length = n
    f.origin = origin
    f.type = e.type
    f.code = e.code
    f.interface = interface
    f.time = now
    ring.place(s.failed, tail + PREFIX, data, n)
    ring.set_tail(s.failed, tail + need)
    notify(d, s)


@compiled
def recv_failure(s: Sock, address: int, n: int, out: int) -> int:
    """Take the first error (MSG_ERRQUEUE): bytes of its datagram copied, or -EAGAIN.  `out` (64 bytes) gets its
    Failure.  What is behind it becomes SO_ERROR, and MSG_PEEK means nothing, as on Linux (sock_dequeue_err_skb)."""
    if ring.used(s.failed) == 0:
        return -EAGAIN
    head = s.failed.head
    where = ring.address(s.failed, head)
    f = at(Failure, where)
    length = f.length
    count = min(n, length)
    ring.fetch(s.failed, head + PREFIX, address, count)
    if out != 0:
        copy(out, where, PREFIX)
    sent = f.origin != LOCAL
    head += PREFIX + ((length + PREFIX - 1) & -PREFIX)
    ring.set_head(s.failed, head)
    following = 0
    if ring.used(s.failed) != 0:
        f = at(Failure, ring.address(s.failed, head))
        following = f.errno if f.origin != LOCAL else 0
    if following != 0 or sent:
        s.ep.error = following
    return count


@compiled
def recv_many(s: Sock, address: int, size: int, count: int, flags: int) -> int:
    """Take up to `count` datagrams: how many, or -EAGAIN; 0: no more will come.  Each goes to PREFIX +
    `size` bytes (see `Prefix`) from `address` on."""
    done = 0
    while done < count:
        empty = ring.used(s.rcv) == 0
        if done > 0 and (empty or s.ep.error != 0):
            break
        here = address + done * (PREFIX + size)
        result = recv(s, here + PREFIX, size, flags & ~MSG_OPTIONS, here)
        if result < 0:
            return result
        if empty:                                               # nothing more will come
            break
        done += 1
    return done


@compiled
def available(s: Sock) -> int:
    """The length of the first datagram, 0 when there is none."""
    if ring.used(s.rcv) == 0:
        return 0
    return at(Prefix, ring.address(s.rcv, s.rcv.head)).length


@compiled
def poll(s: Sock) -> int:
    """Readiness, values of poll(2), as Linux's datagram_poll."""
    if s.ep.kind == Kind.SELECTOR:
        return POLLIN if s.ready_head != 0 or s.poked else 0
    bits = POLLOUT
    if s.ep.error != 0:
        bits |= POLLERR
    elif ring.used(s.failed) != 0:
        bits |= POLLERR | QUEUED
    if ring.used(s.rcv) > 0:
        bits |= POLLIN
    if s.read_closed:
        bits |= POLLIN | POLLRDHUP
        if s.write_closed:
            bits |= POLLHUP
    return bits


@compiled
def shutdown(d: Datagrams, s: Sock, how: int) -> int:
    """shutdown(2): ENOTCONN unless connected, but it takes effect all the same (Linux)."""
    if how != 1:
        s.read_closed = 1
    if how != 0:
        s.write_closed = 1
    notify(d, s)
    return 0 if s.ep.remote_port != 0 else -ENOTCONN


@compiled
def forget_extensions(d: Datagrams, s: Sock) -> None:
    """Its packets have no extension headers any more."""
    if s.extensions != 0:
        a = memory(d)
        arena.release(a, addressof(s) + s.extensions - addressof(a), s.extensions_size)
        s.extensions = 0


@compiled
def keep_extensions(d: Datagrams, s: Sock, address: int, n: int) -> bool:
    """Its packets have those that the Extensions, of n bytes with what follows, at `address` say.  False: no memory."""
    a = memory(d)
    where = arena.allot(a, n)
    if where == 0:
        return False
    forget_extensions(d, s)
    copy(addressof(a) + where, address, n)
    s.extensions = addressof(a) + where - addressof(s)
    s.extensions_size = n
    return True


@compiled
def free(d: Datagrams, s: Sock) -> bool:
    """Give everything back, if the application has closed it and no thread is inside."""
    if s.ep.closed == 0 or in_use(s.ep) or s.ep.notified or s.ep.handler != 0:
        return False
    if s.rcv.data != 0:
        a = memory(d)
        arena.release(a, addressof(s.rcv) + s.rcv.data - addressof(a), s.rcv.size)
        s.rcv.data = 0
    if s.failed.data != 0:
        a = memory(d)
        arena.release(a, addressof(s.failed) + s.failed.data - addressof(a), s.failed.size)
        s.failed.data = 0
    forget_extensions(d, s)
    unlink(d, s)
    s.ep.generation = 0
    table.release(d.socks, s.ep.index)
    return True


