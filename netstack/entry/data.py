"""send(2), recv(2) and their kin, of streams and of datagram sockets."""
from __future__ import annotations

from .. import datagram, drive, handles
from ..endpoint import POLLOUT, Endpoint
from ..errors import EAGAIN, EINPROGRESS, EINTR, EINVAL, ENOTTY, EOPNOTSUPP
from ..machine import addressof, at, compiled
from ..machine import lock as mutex
from ..tcp import calls, fastopen, receive, tcb
from ..tcp.tcb import State, Tcb
from ..world import World
from . import datagrams, streams
from .door import call, held_call
from .life import connect_tcp
from .status import write_peer
from .streams import SND_LOCK

MSG_FASTOPEN = 0x2000_0000
SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD = 0x541B, 0x5411, 0x8905, 0x894B


@held_call
def send(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int) -> int:
    """send(2) that does not block: bytes taken, -EAGAIN, or -errno.  Datagram sockets: to their peer."""
    if handles.is_tcp(h):
        return streams.send(w, ep, handles.connection(w, ep.index), address, n, flags)
    return datagrams.send(w, ep, address, n, flags, ep.remote_hi, ep.remote_lo, ep.remote_port, 0)


@held_call
def sendto(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, hi: int, lo: int, port: int,
           scope: int) -> int:
    """sendto(2): n, or -errno; see `datagrams.send`."""
    if handles.is_tcp(h):                               # as Linux: a connected stream ignores the address
        return streams.send(w, ep, handles.connection(w, ep.index), address, n, flags)
    return datagrams.send(w, ep, address, n, flags, hi, lo, port, scope)


@held_call
def send_with(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, destination: int) -> int:
    """sendmsg(2) of a datagram: at `destination` a datagram.Destination says where to and how; n, or -errno."""
    if handles.is_tcp(h):
        return -EOPNOTSUPP
    return datagrams.send_with(w, ep, address, n, flags, at(datagram.Destination, destination))


@held_call
def send_all(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, deadline: int) -> int:
    """Send until everything is taken: bytes taken; fewer than n when the deadline or a slice is over or an error came.

    A caller that gets fewer calls `send` next, to learn why.
    """
    t = handles.connection(w, ep.index)
    done = 0
    while done < n:
        result = streams.send(w, ep, t, address + done, n - done, flags)
        if result > 0:
            done += result
        elif result != -EAGAIN or drive.wait(w, h, ep, POLLOUT, deadline) <= 0:
            break
    return done


@held_call
def open_with(w: World, h: int, ep: Endpoint, address: int, n: int, waits: int, hi: int, lo: int, port: int,
              scope: int) -> int:
    """sendto(2) with MSG_FASTOPEN that does not block: bytes that the SYN carries, -EINPROGRESS: none, or -errno.

    RFC 7413 4.2.1.  Port 0: the first text after a connect with TCP_FASTOPEN_CONNECT; -EAGAIN when it is not the first,
    or the connection is open.  `waits`: the caller sends the rest as soon as it is.
    """
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    t = handles.connection(w, ep.index)
    mutex.lock(addressof(t) + SND_LOCK)
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    result = 0
    if port != 0:
        result = _connect_with(w, ep, t, hi, lo, port, scope, now)
    elif t.fast.deferred == 0:
        result = -EAGAIN
    if result == 0:
        room = n if receive.make_room_to_send(w.tcp, t, n) else 0
        result = calls.open_with(w.tcp, t, address, room, waits, now)
    elif result == -EINPROGRESS and waits and n > 0:
        t.fast.more = 1
    drive.after_call(w, now)
    mutex.unlock(addressof(t) + SND_LOCK)
    return result


@compiled
def _connect_with(w: World, ep: Endpoint, t: Tcb, hi: int, lo: int, port: int, scope: int, now: int) -> int:
    """0 when text may follow in the SYN, else as `connect`."""
    if not w.tcp.settings.tcp_fastopen & fastopen.CLIENT:
        return -EOPNOTSUPP
    if t.fast.deferred:
        return 0                                        # as Linux: `connect` has said where
    if tcb.is_synchronized(t):
        return -EAGAIN                                  # as Linux: it is open, and the flag means nothing any more
    if scope != 0:
        ep.interface = scope
    asked = t.fast.connect
    t.fast.connect = 1
    result = connect_tcp(w, t, hi, lo, port, now)
    t.fast.connect = asked
    return result


@held_call
def recv(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, deadline: int) -> int:
    """recv(2): bytes, 0 at the end, or -errno.  It waits until `deadline`, 0: not at all; see `drive.await_input`."""
    result = _recv(w, h, ep, address, n, flags, 0)
    if result == -EAGAIN and deadline != 0:
        result = drive.await_input(w, h, ep, deadline)
        if result == 0:
            result = _recv(w, h, ep, address, n, flags, 0)
            if result == -EAGAIN:
                return -EINTR                           # another thread was faster
    return result


@compiled
def _recv(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, out: int) -> int:
    if handles.is_tcp(h):
        return streams.recv(w, ep, handles.connection(w, ep.index), address, n, flags)
    return datagrams.recv(w, ep, handles.socket(w, ep.index), address, n, flags, out)


@held_call
def recvfrom(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, out: int, deadline: int) -> int:
    """recvfrom(2): bytes copied, or -errno.  It waits until `deadline`, 0: not at all; see `drive.await_input`.

    At `out` (if not 0) a datagram.Prefix, with MSG_ERRQUEUE a datagram.Failure; of a stream four i64: hi, lo, port,
    scope.
    """
    if handles.is_tcp(h) and out != 0:
        write_peer(w, h, ep, out)
    result = _recv(w, h, ep, address, n, flags, out)
    if result == -EAGAIN and deadline != 0:
        result = drive.await_input(w, h, ep, deadline)
        if result == 0:
            result = _recv(w, h, ep, address, n, flags, out)
            if result == -EAGAIN:
                return -EINTR
    return result


@held_call
def recv_many(w: World, h: int, ep: Endpoint, address: int, size: int, count: int, flags: int) -> int:
    """recvmmsg(2) that does not block: datagrams taken, -EAGAIN, or -errno; 0: shut down.

    From `address` on so many times a datagram.Prefix and `size` bytes.
    """
    if handles.is_tcp(h):
        return -EOPNOTSUPP
    return datagrams.recv_many(w, ep, handles.socket(w, ep.index), address, size, count, flags)


@held_call
def send_many(w: World, h: int, ep: Endpoint, address: int, size: int, count: int, flags: int) -> int:
    """sendmmsg(2): send the datagrams that stand as `recv_many` leaves them: how many, or -errno of the first."""
    if handles.is_tcp(h):
        return -EOPNOTSUPP
    return datagrams.send_many(w, ep, address, size, count, flags)


@call
def available(w: World, h: int, ep: Endpoint) -> int:
    """Bytes that `recv` would give now; for datagrams the length of the next one (FIONREAD)."""
    if handles.is_tcp(h):
        return calls.available(handles.connection(w, ep.index))
    return datagram.available(handles.socket(w, ep.index))


@held_call
def await_available(w: World, h: int, ep: Endpoint, deadline: int) -> int:
    """`available` of a stream; when there is nothing, it waits until `deadline` for something, for the end or an error,
    which are 0, if it is to wait at all.  Or -errno, see `drive.await_input`."""
    t = handles.connection(w, ep.index)
    result = calls.available(t)
    if result == 0 and deadline != 0 and w.virtual == 0:        # else `recv` tells what there is
        result = drive.await_input(w, h, ep, deadline)
        if result == 0:
            result = calls.available(t)
    return result


@call
def ioctl(w: World, h: int, ep: Endpoint, request: int) -> int:
    """ioctl(2) of a stream, tcp(7): SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK; -ENOTTY for any other."""
    if request == SIOCINQ and not handles.is_tcp(h):
        return datagram.available(handles.socket(w, ep.index))
    if not handles.is_tcp(h):
        return -ENOTTY
    t = handles.connection(w, ep.index)
    if t.state == State.LISTEN and request != SIOCATMARK:
        return -EINVAL
    drive.lock(w)
    result = -ENOTTY
    if request == SIOCINQ:
        result = calls.available(t)
    elif request == SIOCATMARK:
        result = 1 if calls.at_mark(t) else 0
    elif request == SIOCOUTQ:
        result = calls.not_acknowledged(t)
    elif request == SIOCOUTQNSD:
        result = calls.not_sent(t)
    drive.unlock(w)
    return result
