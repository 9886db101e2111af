"""An endpoint: what TCP, UDP and ICMP sockets have in common.

It stands first in each connection's or socket's record.  A handle is what
Python keeps of it: kind, generation and index in one integer.  The generation
makes a stale handle harmless: it is EBADF, never somebody else's socket.

Who waits: a thread in a blocking call counts itself in `users` (the entry is not
freed under its feet) and, while asleep, in `waiters`; it sleeps on `event`,
which `wake` counts up.  Where one thread is enough (a connection to accept, a
datagram), one is woken, and it wakes the next one if there is more.
"""
from __future__ import annotations

from enum import IntEnum

from .machine import (
    addressof,
    compiled,
    fence_seq,
    fetch_add,
    i16,
    i32,
    i64,
    libc,
    load_acquire,
    offsetof,
    record,
    sizeof,
    u8,
    u16,
    u32,
)


class Kind(IntEnum):
    """What an endpoint is."""

    NONE = 0
    TCP = 1
    UDP = 2
    PING = 3        # an ICMP echo socket: the "port" is the identifier
    SELECTOR = 4    # of other endpoints (watch.py)
    RAW = 5         # the "port" is the protocol
    PACKET = 6      # frames of an interface


# Readiness, values of poll(2)
POLLIN = 0x001
POLLPRI = 0x002
POLLOUT = 0x004
POLLERR = 0x008
POLLHUP = 0x010
POLLRDHUP = 0x2000
QUEUED = 0x1_0000            # POLLERR is for the error queue only, for which no call but MSG_ERRQUEUE waits

EVERYBODY = 1 << 30

# What the descriptor behind fileno() shows (`show`)
READABLE = 1
FULL = 2            # not writable
PEER_CLOSED = 4
HUNG_UP = 8
URGENT = 16
SOL_SOCKET, SO_ERROR = 1, 4
BROKEN = 32         # hung up by an error that nobody has read yet
FILL = 4            # one-byte messages; each counts as some 750 bytes, and a quarter of the buffer (4.5 KiB) is "full"


@record
class Endpoint:
    """The common part."""

    link: u32               # of the table's free list
    generation: u32         # 0 while the entry is free
    index: u32              # of the entry in its table
    kind: u8
    family: u8              # AF_INET or AF_INET6, as the application opened it
    closed: u8              # the application has closed it
    v6only: u8
    local_hi: i64           # all zero: any address
    local_lo: i64
    remote_hi: i64
    remote_lo: i64
    local_port: u16         # 0: not bound
    remote_port: u16        # 0: not connected
    interface: u8           # only through this one (SO_BINDTODEVICE, a link-local scope); 0: any
    reuse_addr: u8
    reuse_port: u8
    broadcast: u8
    ttl: u8                 # 0: the stack's default
    tos: u8
    bound: u8               # what the application chose, and other bits: BOUND_PORT ... RECVERR6
    pmtudisc: u8            # IP_MTU_DISCOVER
    error: i16              # SO_ERROR
    soft_error: i16         # reported instead of a timeout (RFC 1122 4.2.3.9)
    port_next: u32          # others on the same local port
    port_prev: u32
    notify_next: u32        # list of those whose readiness may have changed
    notified: u8
    fd_state: u8            # what the descriptor shows now: READABLE | FULL | ...
    looked: u8              # the application has found nothing but urgent data, and knows
    interest: u8            # what the selector is to tell of it: READ | WRITE (watch.py)
    users: u32              # threads inside a call
    waiters: u32            # of those, asleep
    event: u32              # they sleep on this word
    pending: u32            # 1: the application left a note for the engine
    driving: u32            # threads that wait for this endpoint and run the engine: one, but for a moment
    fd_engine: i32          # our end of the pair behind fileno(), or -1
    fd_user: i32            # the application's end
    low_water: i32          # SO_RCVLOWAT
    spare: i32
    watcher: u32            # the selector that watches it; 0: none
    ready_next: u32         # list of those that the selector is to look at
    ready_prev: u32
    ready: u8               # 1: it is in that list
    handler: u8             # number of the handler (calling.py), 0: none; WAITS: it is to be called
    busy_poll: u16          # SO_BUSY_POLL, us, and one; 0: the stack's
    recv_limit: u32         # SO_RCVBUF as set, bytes; 0: the default
    send_limit: u32
    transparent: u8         # 1: IP_TRANSPARENT: its address need not be ours, and it sends from it
    stamped: u8             # 1: a stream that knows when text came (SO_TIMESTAMP; arrivals.py)


# Bits of `bound`
BOUND_PORT = 1              # it chose the port,
BOUND_ADDRESS = 2           # the address,
BOUND_NUMBER = 4            # ... the port by its number
FREEBIND = 8                # IP_FREEBIND: an address need not be ours
NO_PORT = 16                # IP_BIND_ADDRESS_NO_PORT: the port is chosen by connect
DONTROUTE = 32              # SO_DONTROUTE: only to who is on the link
RECVERR = 64                # IP_RECVERR
RECVERR6 = 128              # IPV6_RECVERR

HANDLER = 0x7F              # bits of `handler`
WAITS = 0x80


@record
class Own:
    """What the stack keeps of an endpoint for its handler; in a table beside, touched by those that have one."""

    generation: u32         # of the endpoint that it is about
    next: u32               # list of those whose handler is to be called
    opened: u8              # the handler has heard of it
    ended: u8               # ... and that the peer will send no more
    blocked: u8             # it wanted to send more than there was room for
    held: u8                # an application has the socket, too
    listener: u32           # ... or only its listener,
    listener_generation: u32
    reserved: u32
    seen: i64               # position behind what it was shown last
    wake_at: i64            # when it wants to be called, ns; 0: never
    a: i64                  # what it remembers
    b: i64
    c: i64
    d: i64
    e: i64
    f: i64
    g: i64
    h: i64


OWN_SIZE = sizeof(Own)
USERS = offsetof(Endpoint, "users")
WAITERS = offsetof(Endpoint, "waiters")
EVENT = offsetof(Endpoint, "event")
PENDING = offsetof(Endpoint, "pending")
SPARE = offsetof(Endpoint, "spare")

# users, waiters, event, pending and driving outlive the socket: a thread with a stale handle may count itself in and
# out while the entry goes from one socket to the next, and what it has added it takes off again.
KEPT = USERS
KEPT_END = offsetof(Endpoint, "driving") + 4


@compiled
def handle(ep: Endpoint) -> int:
    """What Python keeps: kind, generation (24 bits), index (32 bits)."""
    return (ep.kind << 56) | (ep.generation << 32) | ep.index


@compiled
def enter_call(ep: Endpoint) -> None:
    """A thread comes in."""
    fetch_add(addressof(ep) + USERS, 1)


@compiled
def leave_call(ep: Endpoint) -> None:
    """... and goes out."""
    fetch_add(addressof(ep) + USERS, 0xFFFF_FFFF)


@compiled
def in_use(ep: Endpoint) -> bool:
    """Whether a thread is inside a call on it.

    A thread counts itself in and then looks whether the socket is closed; who frees it has closed it and then looks
    here.  With the fence between, one of the two sees the other.
    """
    fence_seq()
    return load_acquire(addressof(ep) + USERS) != 0


@compiled
def wake(ep: Endpoint, count: int) -> int:
    """Wake up to `count` threads that sleep on this endpoint; how many.  No system call when there is none.

    A thread that goes to sleep counts itself in and then looks once more.  Between what is to wake it and this there
    is a fence of the caller's.
    """
    if load_acquire(addressof(ep) + WAITERS) == 0:
        return 0
    fetch_add(addressof(ep) + EVENT, 1)
    return libc.futex_wake(addressof(ep) + EVENT, count)


@compiled
def pass_on(ep: Endpoint, more: bool) -> None:
    """One thread was woken for what had come (`engine.announce`), and has taken it: another one, if there is more."""
    if more and ep.waiters != 0:
        fence_seq()
        wake(ep, 1)


@compiled
def show(ep: Endpoint, ready: int) -> None:
    """Bring the descriptor behind fileno() in step with `ready` (POLL bits).

    The pair is a stream of AF_UNIX: the application's end is readable while a byte is in it, and not
    writable while what it sent to us fills its buffer.  So select, poll and epoll all tell the truth.

    While a byte is in it that was sent with MSG_OOB it has POLLPRI (Linux 5.15), but POLLIN too: not the truth
    when nothing but urgent data waits.  So that stays only until a read has found nothing (`on_nothing_read`).
    """
    if ep.fd_engine < 0:
        return
    want = 0
    if ready & (POLLIN | POLLERR | POLLHUP):
        want |= READABLE
    if not ready & POLLPRI:
        ep.looked = 0
    elif want & READABLE or ep.looked == 0:
        want |= URGENT
    if not ready & (POLLOUT | POLLERR | POLLHUP):
        want |= FULL
    if ready & POLLRDHUP:
        want |= PEER_CLOSED
    if ready & POLLHUP:
        want |= HUNG_UP
        if ready & POLLERR:
            want |= BROKEN
    change = want ^ ep.fd_state
    if change == 0:
        return
    spare = addressof(ep) + SPARE
    if (want | ep.fd_state) & URGENT:
        if change & (READABLE | URGENT):                # a read may swallow an urgent byte before it: both anew
            libc.recv(ep.fd_user, spare, 1, libc.MSG_DONTWAIT | libc.MSG_OOB)
            while libc.recv(ep.fd_user, spare, 4, libc.MSG_DONTWAIT) > 0:
                pass
            if want & READABLE:
                libc.send(ep.fd_engine, spare, 1, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL)
            if want & URGENT:
                libc.send(ep.fd_engine, spare, 1, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL | libc.MSG_OOB)
    elif change & READABLE:
        if want & READABLE:
            libc.send(ep.fd_engine, spare, 1, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL)
        else:
            libc.recv(ep.fd_user, spare, 1, libc.MSG_DONTWAIT)
    if change & FULL:
        if want & FULL:
            for _ in range(FILL):
                libc.send(ep.fd_user, spare, 1, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL)
        else:
            while libc.recv(ep.fd_engine, spare, 4, libc.MSG_DONTWAIT) > 0:
                pass
    if change & want & PEER_CLOSED:
        libc.shutdown(ep.fd_engine, 1)
    if change & BROKEN:
        _break(ep, want & BROKEN != 0)
    if change & want & HUNG_UP:
        libc.shutdown(ep.fd_engine, 2)
    ep.fd_state = want


@compiled
def _break(ep: Endpoint, broken: bool) -> None:
    """POLLERR: an AF_UNIX socket has an error once its peer is closed with text unread, until SO_ERROR is read.

    Our end is closed by being made another name for the other one: its number stays the application's to close.
    """
    spare = addressof(ep) + SPARE
    if broken:
        libc.send(ep.fd_user, spare, 1, libc.MSG_DONTWAIT | libc.MSG_NOSIGNAL)      # if it is full, some is unread
        libc.dup3(ep.fd_user, ep.fd_engine, libc.O_CLOEXEC)
        return
    ep.spare = 4                                # sizeof(int)
    libc.getsockopt(ep.fd_user, SOL_SOCKET, SO_ERROR, spare, spare)


@compiled
def on_nothing_read(ep: Endpoint) -> None:
    """A read has found nothing while the descriptor showed urgent data: it need not be readable for that again."""
    if ep.fd_state & URGENT:
        ep.looked = 1
