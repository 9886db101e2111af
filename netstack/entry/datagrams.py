"""Sending and receiving datagrams."""
from __future__ import annotations

from .. import datagram, drive, endpoint, engine, handles
from ..endpoint import Endpoint, Kind
from ..errors import EAGAIN, EBUSY, EDESTADDRREQ, EINPROGRESS, EMSGSIZE, EOPNOTSUPP
from ..machine import addressof, at, compiled, invoke6, offsetof, ring
from ..machine import lock as mutex
from ..world import World
from .streams import MSG_ERRQUEUE, MSG_MORE, MSG_OOB, MSG_PEEK, MSG_PROBE

AF_INET = 2
LARGEST = 0xFFFF                    # bytes of a datagram that Linux looks at any further
ANY_V4 = 0xFFFF_0000_0000           # ::ffff:0.0.0.0, as Python writes the IPv4 wildcard
SOCK_RCV_LOCK = offsetof(datagram.Sock, "rcv_lock")


@compiled
def send(w: World, ep: Endpoint, address: int, n: int, flags: int, hi: int, lo: int, port: int, scope: int) -> int:
    """n, or -errno; -EINPROGRESS when it is for `sockdata` to put together (MSG_MORE)."""
    if flags & (MSG_OOB | MSG_PROBE):
        if flags & MSG_OOB and (ep.family == AF_INET or ep.kind != Kind.UDP):
            return -EOPNOTSUPP
        if flags & MSG_PROBE:                           # nothing is sent
            return n
    if n > LARGEST and ep.family == AF_INET:
        return -EMSGSIZE
    if ep.kind == Kind.UDP and (flags & MSG_MORE or handles.socket(w, ep.index).corked != 0):
        return -EINPROGRESS
    if port == 0 and hi == 0 and lo == 0 and ep.kind != Kind.PACKET:
        return -EDESTADDRREQ
    drive.lock(w)
    to = w.destination
    to.hi = hi
    to.lo = meant(ep, hi, lo) if ep.kind != Kind.PACKET else lo
    to.port = port
    to.scope = scope
    to.segment = -1
    to.control = 0
    return _send_there(w, ep, address, n, to)


@compiled
def meant(ep: Endpoint, hi: int, lo: int) -> int:
    """The low half of an address: the wildcard as a destination means ourselves, as on Linux."""
    if hi != 0 or (lo != 0 and lo != ANY_V4):
        return lo
    return 0xFFFF_7F00_0001 if ep.family == AF_INET or lo != 0 else 1


@compiled
def _send_there(w: World, ep: Endpoint, address: int, n: int, to: datagram.Destination) -> int:
    """The caller has locked the world; `drive.after_call` unlocks it."""
    now = drive.time(w)
    if ep.error != 0:
        result = -ep.error
        ep.error = 0
    else:
        result = invoke6(w.units.datagram, addressof(w), ep.index, address, n, addressof(to), now)
    drive.after_call(w, now)
    return result


@compiled
def send_with(w: World, ep: Endpoint, address: int, n: int, flags: int, to: datagram.Destination) -> int:
    """`send` to where, and in the way that, a Destination of the caller's says; port 0 with no address: to the peer."""
    if flags & (MSG_OOB | MSG_PROBE):
        if flags & MSG_OOB and (ep.family == AF_INET or ep.kind != Kind.UDP):
            return -EOPNOTSUPP
        if flags & MSG_PROBE:
            return n
    if to.port == 0 and to.hi == 0 and to.lo == 0:
        to.hi = ep.remote_hi
        to.lo = ep.remote_lo
        to.port = ep.remote_port
        if to.port == 0:
            return -EDESTADDRREQ
    to.lo = meant(ep, to.hi, to.lo)
    drive.lock(w)
    return _send_there(w, ep, address, n, to)


@compiled
def recv(w: World, ep: Endpoint, s: datagram.Sock, address: int, n: int, flags: int, out: int) -> int:
    """Bytes copied, or -errno; at `out` what `recvfrom` writes.  The caller is counted in `users`."""
    if flags & MSG_OOB and ep.kind != Kind.UDP:
        return -EOPNOTSUPP
    mutex.lock(addressof(s) + SOCK_RCV_LOCK)
    result = -EBUSY                                     # what comes is its handler's
    if flags & MSG_ERRQUEUE:
        result = datagram.recv_failure(s, address, n, out)
    elif ep.handler == 0:
        result = datagram.recv(s, address, n, flags, out)
    mutex.unlock(addressof(s) + SOCK_RCV_LOCK)
    after_recv(w, ep, s, result)
    return result


@compiled
def after_recv(w: World, ep: Endpoint, s: datagram.Sock, result: int) -> None:
    """Somebody else may be to take what is left; the descriptor behind fileno() is brought in step."""
    endpoint.pass_on(ep, ring.used(s.rcv) != 0)
    if ep.fd_engine >= 0 and result != -EAGAIN:
        drive.lock(w)
        if ep.generation != 0:
            datagram.notify(w.datagrams, s)
        engine.flush(w)
        drive.unlock(w)


@compiled
def recv_many(w: World, ep: Endpoint, s: datagram.Sock, address: int, size: int, count: int, flags: int) -> int:
    """Datagrams taken, or -errno; see `datagram.recv_many`.  The caller is counted in `users`."""
    if flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE):
        return -EOPNOTSUPP
    mutex.lock(addressof(s) + SOCK_RCV_LOCK)
    result = -EBUSY                                     # what comes is its handler's
    if ep.handler == 0:
        result = datagram.recv_many(s, address, size, count, flags)
    mutex.unlock(addressof(s) + SOCK_RCV_LOCK)
    after_recv(w, ep, s, result)
    return result


@compiled
def send_many(w: World, ep: Endpoint, address: int, size: int, count: int, flags: int) -> int:
    """How many of the datagrams that stand as `recv_many` leaves them were sent, or -errno of the first."""
    if flags & (MSG_OOB | MSG_MORE):
        return -EOPNOTSUPP
    drive.lock(w)
    now = drive.time(w)
    done = 0
    result = 0
    while done < count:
        m = at(datagram.Prefix, address + done * (datagram.PREFIX + size))
        result = _one_of_many(w, ep, m, size, now)
        if result < 0:
            break
        done += 1
    drive.after_call(w, now)
    return done if done > 0 else min(result, 0)


@compiled
def _one_of_many(w: World, ep: Endpoint, m: datagram.Prefix, size: int, now: int) -> int:
    """Send one datagram: to the address in front of it, or (port 0) to the socket's peer."""
    error = ep.error
    if error != 0:
        ep.error = 0
        return -error
    to = w.destination
    to.hi = m.hi
    to.lo = m.lo
    to.port = m.port
    to.scope = m.scope
    to.segment = -1
    to.control = 0
    if m.port == 0:
        to.hi = ep.remote_hi
        to.lo = ep.remote_lo
        to.port = ep.remote_port
        to.scope = 0
        if ep.remote_port == 0:
            return -EDESTADDRREQ
    return invoke6(w.units.datagram, addressof(w), ep.index, addressof(m) + datagram.PREFIX, min(m.length, size),
                   addressof(to), now)
