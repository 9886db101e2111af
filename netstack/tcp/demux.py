"""Which connection a segment belongs to, and who may have which port.

RFC 9293 section 3.1: a connection is the pair of its sockets.  Established and
half-open connections stand in a hash table by all four parts; listeners in a
list for each port; everybody with a local port in another, for bind's sake.
"""
from __future__ import annotations

from ..errors import EADDRINUSE, EADDRNOTAVAIL
from ..ip.address import is_v4
from ..machine import SECOND, addressof, compiled, load32, mix64, store32
from ..machine.random import below, hash2
from . import isn
from .header import Segment
from .tcb import State, Tcb, Tcp, fail, get, link_port, port_word, unlink_port

AF_INET = 2
NOISE = 16              # as Linux: of so many free ports one is followed by a gap, so that counting them tells less


@compiled
def bucket(tcp: Tcp, local_lo: int, remote_hi: int, remote_lo: int, ports: int) -> int:
    """The address of the head of the chain for a pair of sockets; `ports` is local << 16 | remote."""
    h = mix64(mix64(remote_lo ^ tcp.key.k0, remote_hi ^ tcp.key.k1), mix64(local_lo, ports))
    return addressof(tcp) + tcp.buckets + 4 * (h & tcp.bucket_mask)


@compiled
def _bucket_of(tcp: Tcp, t: Tcb) -> int:
    return bucket(tcp, t.ep.local_lo, t.ep.remote_hi, t.ep.remote_lo, (t.ep.local_port << 16) | t.ep.remote_port)


@compiled
def _is_pair(t: Tcb, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, local: int, remote: int) -> bool:
    e = t.ep
    return (e.remote_lo == remote_lo and e.local_port == local and e.remote_port == remote
            and e.local_lo == local_lo and e.remote_hi == remote_hi and e.local_hi == local_hi)


@compiled
def find(tcp: Tcp, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, local: int, remote: int) -> int:
    """The index of the connection between two sockets, or 0."""
    index = load32(bucket(tcp, local_lo, remote_hi, remote_lo, (local << 16) | remote))
    while index != 0:
        t = get(tcp, index)
        if _is_pair(t, local_hi, local_lo, remote_hi, remote_lo, local, remote):
            return index
        index = t.hash_next
    return 0


@compiled
def insert(tcp: Tcp, t: Tcb) -> None:
    """Make the connection findable."""
    word = _bucket_of(tcp, t)
    t.hash_next = load32(word)
    store32(word, t.ep.index)


@compiled
def remove(tcp: Tcp, t: Tcb) -> None:
    """The connection is no more."""
    _unlink(tcp, _bucket_of(tcp, t), t)


@compiled
def _unlink(tcp: Tcp, word: int, t: Tcb) -> None:
    """Take an entry out of the chain whose head stands at `word`."""
    index = load32(word)
    if index == t.ep.index:
        store32(word, t.hash_next)
        return
    while index != 0:
        before = get(tcp, index)
        if before.hash_next == t.ep.index:
            before.hash_next = t.hash_next
            return
        index = before.hash_next


@compiled
def _takes(t: Tcb, hi: int, lo: int, interface: int) -> int:
    """How well a listener fits a segment to (hi, lo): 0 not at all, 2 by any address, 3 by this one."""
    e = t.ep
    if e.interface != 0 and e.interface != interface:
        return 0
    if e.local_hi == 0 and e.local_lo == 0:
        if is_v4(hi, lo):
            return 2 if e.family == AF_INET or e.v6only == 0 else 0
        return 0 if e.family == AF_INET else 2
    return 3 if e.local_hi == hi and e.local_lo == lo else 0


@compiled
def find_listener(tcp: Tcp, seg: Segment) -> int:
    """The index of the listener for a segment, the most specific one, or 0.

    Several equal ones (SO_REUSEPORT) share by a hash of the peer.
    """
    best = 0
    found = 0
    equals = 0
    index = load32(addressof(tcp) + tcp.listeners + 4 * seg.dst_port)
    while index != 0:
        t = get(tcp, index)
        fit = _takes(t, seg.dst_hi, seg.dst_lo, seg.interface)
        if fit > best:
            best = fit
            found = index
            equals = 1
        elif fit == best and fit > 0:
            equals += 1
            if hash2(tcp.key, seg.src_lo, (seg.src_port << 32) | index) % equals == 0:
                found = index
        index = t.hash_next
    return found


@compiled
def add_listener(tcp: Tcp, t: Tcb) -> None:
    """The endpoint listens on its port."""
    word = addressof(tcp) + tcp.listeners + 4 * t.ep.local_port
    t.hash_next = load32(word)
    store32(word, t.ep.index)


@compiled
def remove_listener(tcp: Tcp, t: Tcb) -> None:
    """... and no longer."""
    _unlink(tcp, addressof(tcp) + tcp.listeners + 4 * t.ep.local_port, t)


@compiled
def _overlap(a: Tcb, b: Tcb) -> bool:
    """Whether the local addresses of two endpoints on one port have one in common."""
    if a.ep.interface != 0 and b.ep.interface != 0 and a.ep.interface != b.ep.interface:
        return False
    any_a = a.ep.local_hi == 0 and a.ep.local_lo == 0
    any_b = b.ep.local_hi == 0 and b.ep.local_lo == 0
    if not any_a and not any_b:
        return a.ep.local_hi == b.ep.local_hi and a.ep.local_lo == b.ep.local_lo
    if any_a and any_b:
        if a.ep.family == b.ep.family:
            return True
        six = b if a.ep.family == AF_INET else a
        return six.ep.v6only == 0
    anyone = a if any_a else b
    exact = b if any_a else a
    if is_v4(exact.ep.local_hi, exact.ep.local_lo):
        return anyone.ep.family == AF_INET or anyone.ep.v6only == 0
    return anyone.ep.family != AF_INET


@compiled
def conflicts(tcp: Tcp, t: Tcb, port: int) -> bool:
    """Whether `t` may not bind to `port` (Linux: inet_csk_bind_conflict).

    Two may share a port when their addresses do not overlap, when both have
    SO_REUSEADDR and neither listens, or when both have SO_REUSEPORT.
    """
    index = load32(port_word(tcp, port))
    while index != 0:
        other = get(tcp, index)
        if index != t.ep.index and _overlap(t, other):
            both_reuse = t.ep.reuse_addr == 1 and other.ep.reuse_addr == 1 and other.state != State.LISTEN
            both_share = t.ep.reuse_port == 1 and other.ep.reuse_port == 1
            waiting = other.state == State.TIME_WAIT and t.ep.reuse_addr == 1
            if not (both_reuse or both_share or waiting):
                return True
        index = other.ep.port_next
    return False


@compiled
def bind(tcp: Tcp, t: Tcb, port: int) -> int:
    """Give the endpoint a local port; 0: any free one.  Returns the port, or -EADDRINUSE."""
    if port == 0:
        first = tcp.settings.ip_local_port_first
        count = tcp.settings.ip_local_port_last - first + 1
        start = isn.port_offset(isn.destination(tcp.key, t.ep.local_hi, t.ep.local_lo, tcp.port_step, 0, 0))
        tcp.port_step += 1
        for i in range(count):
            candidate = first + (start + i) % count
            if load32(port_word(tcp, candidate)) == 0:
                port = candidate
                break
        if port == 0:
            return -EADDRINUSE
    elif conflicts(tcp, t, port):
        return -EADDRINUSE
    t.ep.local_port = port
    link_port(tcp, t)
    return port


@compiled
def _is_reserved(tcp: Tcp, port: int) -> bool:
    """Whether somebody chose this port, so that it is not given to an outgoing connection."""
    index = load32(port_word(tcp, port))
    while index != 0:
        other = get(tcp, index)
        if other.ep.bound & 1 and other.ep.remote_port == 0:
            return True
        index = other.ep.port_next
    return False


@compiled
def _may_follow(tcp: Tcp, old: Tcb) -> bool:
    """Whether a new connection of ours may take the place of one in TIME-WAIT: timestamps tell their segments apart
    once the clock has moved on (RFC 6191; Linux: tcp_tw_reuse, where 2 means: only to ourselves)."""
    if old.state == State.CLOSED:
        return True                                     # it is over; the application only has not closed it yet
    reuse = tcp.settings.tcp_tw_reuse
    return ((reuse == 1 or (reuse == 2 and old.loopback == 1)) and old.state == State.TIME_WAIT and old.ts.ok == 1
            and tcp.now - old.ts.recent_at > SECOND)


@compiled
def retire(tcp: Tcp, old: Tcb) -> None:
    """End a connection in TIME-WAIT at once, and forget its pair of sockets: another takes it."""
    if old.state != State.CLOSED:
        fail(tcp, old, 0)
    remove(tcp, old)
    old.hash_next = 0
    old.ep.remote_port = 0                              # no longer in the table: `calls.free` must not look for it


@compiled
def is_taken(tcp: Tcp, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, local: int, remote: int) -> bool:
    """Whether a connection that is not over has this pair of sockets."""
    index = find(tcp, local_hi, local_lo, remote_hi, remote_lo, local, remote)
    return index != 0 and get(tcp, index).state != State.CLOSED


@compiled
def choose_port(tcp: Tcp, t: Tcb) -> int:
    """Give a connection that is being opened its local port (RFC 6056 3.3.4).

    0, the index of the connection in TIME-WAIT whose place it takes, or -EADDRNOTAVAIL: all are taken.
    """
    e = t.ep
    first = tcp.settings.ip_local_port_first
    count = tcp.settings.ip_local_port_last - first + 1
    hash = isn.destination(tcp.key, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo, e.remote_port)
    entry = addressof(tcp) + tcp.port_table + 4 * isn.port_index(hash)
    passed = load32(entry)
    start = isn.port_offset(hash) + passed
    for i in range(count):
        old = 0
        port = first + (start + i) % count
        if load32(port_word(tcp, port)) != 0:
            if _is_reserved(tcp, port):
                continue
            old = find(tcp, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo, port, e.remote_port)
            if old != 0:
                if not _may_follow(tcp, get(tcp, old)):
                    continue
                retire(tcp, get(tcp, old))
        if i == 0 and below(tcp.rng, NOISE) == 0:
            passed += 1
        store32(entry, (passed + i + 1) & 0xFFFF_FFFF)
        e.local_port = port
        link_port(tcp, t)
        return old
    return -EADDRNOTAVAIL


@compiled
def unbind(tcp: Tcp, t: Tcb) -> None:
    """Give the local port back."""
    if t.ep.local_port != 0:
        unlink_port(tcp, t)
        t.ep.local_port = 0
