"""Sending and receiving datagrams."""
from __future__ import annotations

from .. import datagram, drive, engine
from ..endpoint import Endpoint
from ..errors import EAGAIN, EDESTADDRREQ, EOPNOTSUPP
from ..machine import addressof, compiled, invoke6, offsetof
from ..machine import lock as mutex
from ..world import World
from .streams import MSG_OOB, RECV_FLAGS, SEND_FLAGS

AF_INET = 2
ANY_V4 = 0xFFFF_0000_0000           # ::ffff:0.0.0.0, as Python writes the IPv4 wildcard
SOCK_RCV_LOCK = offsetof(datagram.Sock, "rcv_lock")


@compiled
def send(w: World, ep: Endpoint, address: int, n: int, flags: int, hi: int, lo: int, port: int, scope: int) -> int:
    """n, or -errno."""
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
        result = invoke6(w.units.datagram, addressof(w), ep.index, address, n, addressof(to), now)
    drive.after_call(w, now)
    return result


@compiled
def recv(w: World, ep: Endpoint, s: datagram.Sock, address: int, n: int, flags: int, out: int) -> int:
    """Bytes copied, or -errno; at `out` what `recvfrom` writes.  The caller is counted in `users`."""
    if flags & ~RECV_FLAGS or flags & MSG_OOB:
        return -EOPNOTSUPP
    mutex.lock(addressof(s) + SOCK_RCV_LOCK)
    result = datagram.recv(s, address, n, flags, out)
    mutex.unlock(addressof(s) + SOCK_RCV_LOCK)
    if ep.fd_engine >= 0 and result != -EAGAIN:
        drive.lock(w)
        if ep.generation != 0:
            datagram.notify(w.datagrams, s)
        engine.flush(w)
        drive.unlock(w)
    return result
