"""Sending and receiving datagrams."""
from __future__ import annotations

from .. import datagram, drive, endpoint, engine
from ..endpoint import Endpoint
from ..errors import EAGAIN, EBUSY, EDESTADDRREQ, EOPNOTSUPP
from ..machine import addressof, at, compiled, invoke6, offsetof, ring
from ..machine import lock as mutex
from ..world import World
from .streams import MSG_OOB, MSG_PEEK, RECV_FLAGS, SEND_FLAGS

AF_INET = 2
ANY_V4 = 0xFFFF_0000_0000           # ::ffff:0.0.0.0, as Python writes the IPv4 wildcard
SOCK_RCV_LOCK = offsetof(datagram.Sock, "rcv_lock")


@compiled
def send(w: World, ep: Endpoint, address: int, n: int, flags: int, hi: int, lo: int, port: int, scope: int) -> int:
    """n, or -errno.  Above the 32 bits of `flags`: UDP_SEGMENT of this one + 1, or 0: the socket's."""
    segment = (flags >> 32) - 1
    flags &= 0xFFFF_FFFF
    if flags & ~SEND_FLAGS or flags & MSG_OOB:
        return -EOPNOTSUPP
    if port == 0 and hi == 0 and lo == 0:
        return -EDESTADDRREQ
    if (hi == 0 and lo == 0) or (hi == 0 and lo == ANY_V4):
        lo = 0xFFFF_7F00_0001 if ep.family == AF_INET or lo != 0 else 1
    drive.lock(w)
    now = drive.time(w)
    if ep.error != 0:
        result = -ep.error
        ep.error = 0
    else:
        to = w.destination
        to.hi = hi
        to.lo = lo
        to.port = port
        to.scope = scope
        to.segment = segment
        result = invoke6(w.units.datagram, addressof(w), ep.index, address, n, addressof(to), now)
    drive.after_call(w, now)
    return result


@compiled
def recv(w: World, ep: Endpoint, s: datagram.Sock, address: int, n: int, flags: int, out: int) -> int:
    """Bytes copied, or -errno; at `out` what `recvfrom` writes.  The caller is counted in `users`."""
    if flags & ~RECV_FLAGS or flags & MSG_OOB:
        return -EOPNOTSUPP
    mutex.lock(addressof(s) + SOCK_RCV_LOCK)
    result = -EBUSY                                     # what comes is its handler's
    if ep.handler == 0:
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
    if flags & ~RECV_FLAGS or flags & (MSG_OOB | MSG_PEEK):
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
    if flags & ~SEND_FLAGS or flags & MSG_OOB:
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
    if m.port == 0:
        to.hi = ep.remote_hi
        to.lo = ep.remote_lo
        to.port = ep.remote_port
        to.scope = 0
        if ep.remote_port == 0:
            return -EDESTADDRREQ
    return invoke6(w.units.datagram, addressof(w), ep.index, addressof(m) + datagram.PREFIX, min(m.length, size),
                   addressof(to), now)
