"""The entry points: everything that Python calls of the engine, with integers only.

`world` is the address of a World, `h` a handle.  Each returns 0 or more, or a
negative errno, and never raises.  Crossing from Python costs 0.2 us this way; a
record argument costs ten times as much.  `Stack` and `socket` are built on these.
"""
from __future__ import annotations

from . import datagram, drive, engine, handles, options, udp
from .endpoint import Endpoint, Kind, enter_call, handle
from .errors import (
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    EDESTADDRREQ,
    EINPROGRESS,
    EINVAL,
    ENETUNREACH,
    ENFILE,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ESHUTDOWN,
)
from .ip import address as addresses
from .ip import route
from .machine import addressof, at, compiled, invoke6, offsetof, ring, store64, store_release
from .machine import lock as mutex
from .tcp import calls, demux, fastopen, info, receive
from .tcp import listen as listening
from .tcp.tcb import State, Tcb, notify
from .world import World

AF_INET, AF_INET6 = 2, 10
MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT = 0x1, 0x2, 0x20, 0x40
MSG_WAITALL, MSG_NOSIGNAL, MSG_MORE, MSG_FASTOPEN = 0x100, 0x4000, 0x8000, 0x2000_0000
SEND_FLAGS = MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE
RECV_FLAGS = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL
ANY_V4 = 0xFFFF_0000_0000           # ::ffff:0.0.0.0, as Python writes the IPv4 wildcard
RCV_LOCK = offsetof(Tcb, "rcv_lock")
SND_LOCK = offsetof(Tcb, "snd_lock")
SOCK_RCV_LOCK = offsetof(datagram.Sock, "rcv_lock")
STOPPED = drive.STOPPED
SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD = 0x541B, 0x5411, 0x8905, 0x894B


@compiled
def _checked(w: World, h: int, ep: Endpoint) -> int:
    """0 if a call on this handle may go on, or -errno."""
    if w.stopped:
        return -ESHUTDOWN
    return 0 if handles.is_open(ep, h) else -EBADF


# ---- opening -----------------------------------------------------------------------

@compiled
def open(world: int, kind: int, family: int) -> int:
    """A new endpoint of a Kind: its handle; -ENFILE when the table is full."""
    w = at(World, world)
    if family != AF_INET and family != AF_INET6:
        return -EAFNOSUPPORT
    if kind not in (Kind.TCP, Kind.UDP, Kind.PING):
        return -EPROTONOSUPPORT
    if w.stopped:
        return -ESHUTDOWN
    drive.lock(w)
    result = -ENFILE
    if kind == Kind.TCP:
        index = listening.create(w.tcp)
        if index != 0:
            t = handles.connection(w, index)
            t.ep.family = family
            result = handle(t.ep)
    else:
        index = datagram.create(w.datagrams, kind, family)
        if index != 0:
            result = handle(handles.socket(w, index).ep)
    drive.unlock(w)
    return result


@compiled
def bind(world: int, h: int, hi: int, lo: int, port: int) -> int:
    """bind(2): the local port, or -errno.  Port 0: a free one."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    drive.lock(w)
    result = _bind(w, h, ep, hi, lo, port)
    drive.unlock(w)
    return result


@compiled
def _bind(w: World, h: int, ep: Endpoint, hi: int, lo: int, port: int) -> int:
    if ep.local_port != 0 or (handles.is_tcp(h) and handles.connection(w, ep.index).state != State.CLOSED):
        return -EINVAL
    if hi == 0 and lo == ANY_V4:
        if ep.family == AF_INET6 and ep.v6only:
            return -EINVAL
        lo = 0
    if hi != 0 or lo != 0:
        if (ep.family == AF_INET) != addresses.is_v4(hi, lo) and (ep.family == AF_INET or ep.v6only):
            return -EINVAL
        if not route.is_local(w.net, hi, lo):
            return -EADDRNOTAVAIL
        if addresses.is_link_local(hi, lo) and ep.interface == 0:
            ep.interface = _interface_with(w, hi, lo)
    ep.local_hi = hi
    ep.local_lo = lo
    ep.bound = (1 if port != 0 else 0) | (2 if hi != 0 or lo != 0 else 0)
    if handles.is_tcp(h):
        result = demux.bind(w.tcp, handles.connection(w, ep.index), port)
    else:
        result = datagram.bind(w.datagrams, handles.socket(w, ep.index), port)
    if result < 0:
        ep.local_hi = 0
        ep.local_lo = 0
        ep.bound = 0
    else:
        ep.bound |= 1
    return result


@compiled
def _interface_with(w: World, hi: int, lo: int) -> int:
    """The index of the interface that has an address, or 0."""
    for i in range(w.net.interface_count):
        if addresses.on_interface(w.net.interfaces[i + 1], hi, lo) >= 0:
            return i + 1
    return 0


@compiled
def listen(world: int, h: int, backlog: int) -> int:
    """listen(2)."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    drive.lock(w)
    result = calls.start_listening(w.tcp, handles.connection(w, ep.index), backlog)
    drive.unlock(w)
    return result


@compiled
def connect(world: int, h: int, hi: int, lo: int, port: int, scope: int) -> int:
    """connect(2) that does not block: 0 (datagrams), -EINPROGRESS, or -errno.

    A datagram socket is connected to nothing again by port 0 with the address 0.
    """
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    if scope != 0:
        ep.interface = scope
    if handles.is_tcp(h):
        result = _connect_tcp(w, handles.connection(w, ep.index), hi, lo, port, now)
    else:
        result = _connect_datagram(w, handles.socket(w, ep.index), hi, lo, port, now)
    drive.after_call(w, now)
    return result


@compiled
def _connect_tcp(w: World, t: Tcb, hi: int, lo: int, port: int, now: int) -> int:
    v4 = addresses.is_v4(hi, lo)
    if t.ep.family == AF_INET and not v4:
        return -EAFNOSUPPORT
    if v4 and t.ep.v6only:
        return -ENETUNREACH
    if (hi == 0 and lo == 0) or (hi == 0 and lo == ANY_V4):         # as Linux: the wildcard means ourselves
        lo = 0xFFFF_7F00_0001 if v4 or t.ep.family == AF_INET else 1
    return calls.connect(w.tcp, w.net, t, hi, lo, port, now)


@compiled
def _connect_datagram(w: World, s: datagram.Sock, hi: int, lo: int, port: int, now: int) -> int:
    e = s.ep
    if port == 0 and hi == 0 and lo == 0:
        e.remote_hi = 0
        e.remote_lo = 0
        e.remote_port = 0
        if not e.bound & 2:
            e.local_hi = 0
            e.local_lo = 0
        return 0
    if (hi == 0 and lo == 0) or (hi == 0 and lo == ANY_V4):
        lo = 0xFFFF_7F00_0001 if e.family == AF_INET or lo != 0 else 1
    result = udp.check_destination(w.net, s, hi, lo)
    if result == 0:
        result = route.choose(w.net, hi, lo, e.local_hi if e.bound & 2 else 0, e.local_lo if e.bound & 2 else 0,
                              e.interface, now)
    if result < 0:
        return result
    if e.local_port == 0:
        result = datagram.bind(w.datagrams, s, 0)
        if result < 0:
            return result
    e.local_hi = w.net.chosen.src_hi
    e.local_lo = w.net.chosen.src_lo
    e.remote_hi = hi
    e.remote_lo = lo
    e.remote_port = port if e.kind == Kind.UDP else max(port, 1)
    return 0


@compiled
def accept(world: int, h: int) -> int:
    """accept(2) that does not block: the handle of a new connection, -EAGAIN, or -errno."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    t = handles.connection(w, ep.index)
    if t.state != State.LISTEN:
        return -EINVAL
    if t.accept_head == 0:
        return -EAGAIN
    drive.lock(w)
    index = listening.take(w.tcp, t)
    result = -EAGAIN
    if index != 0:
        result = handle(handles.connection(w, index).ep)
        if ep.fd_engine >= 0:
            notify(w.tcp, t)
            engine.flush(w)
    drive.unlock(w)
    return result


# ---- streams --------------------------------------------------------------------------

@compiled
def send(world: int, h: int, address: int, n: int, flags: int) -> int:
    """send(2) that does not block: bytes taken, -EAGAIN, or -errno.  Datagram sockets: to their peer."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    if handles.is_tcp(h):
        return _stream_send(w, h, ep, address, n, flags)
    return _datagram_send(w, h, ep, address, n, flags, ep.remote_hi, ep.remote_lo, ep.remote_port, 0)


@compiled
def _stream_send(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int) -> int:
    enter_call(ep)
    result = _checked(w, h, ep)
    if result == 0:
        result = _send(w, ep, handles.connection(w, ep.index), address, n, flags)
    drive.leave(w, h, ep)
    return result


@compiled
def _send(w: World, ep: Endpoint, t: Tcb, address: int, n: int, flags: int) -> int:
    if flags & ~SEND_FLAGS:
        return -EOPNOTSUPP
    if t.fast.deferred:
        return -EINPROGRESS                             # `open_with` is to be called
    mutex.lock(addressof(t) + SND_LOCK)
    if ring.room(t.snd) < n or t.snd.data == 0:
        _make_room(w, t, n)
    result = calls.send(w.tcp, t, address, n, flags)
    mutex.unlock(addressof(t) + SND_LOCK)
    if result > 0:
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and (result < 0 or not calls.is_writable(w.tcp, t)):
        _show(w, ep, t)
    return result


@compiled
def open_with(world: int, h: int, address: int, n: int, hi: int, lo: int, port: int, scope: int) -> int:
    """sendto(2) with MSG_FASTOPEN that does not block: bytes that the SYN carries, -EINPROGRESS: none, or -errno.

    RFC 7413 4.2.1.  Port 0: the first text after a connect with TCP_FASTOPEN_CONNECT; -EAGAIN when it is not the first.
    """
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    enter_call(ep)
    result = _checked(w, h, ep)
    if result == 0 and not handles.is_tcp(h):
        result = -EOPNOTSUPP
    if result == 0:
        t = handles.connection(w, ep.index)
        mutex.lock(addressof(t) + SND_LOCK)
        drive.lock(w)
        now = drive.time(w)
        w.tcp.now = now
        if port != 0:
            result = _connect_with(w, ep, t, hi, lo, port, scope, now)
        elif t.fast.deferred == 0:
            result = -EAGAIN
        if result == 0:
            room = n if receive.make_room_to_send(w.tcp, t, n) else 0
            result = calls.open_with(w.tcp, t, address, room, now)
        drive.after_call(w, now)
        mutex.unlock(addressof(t) + SND_LOCK)
    drive.leave(w, h, ep)
    return result


@compiled
def _connect_with(w: World, ep: Endpoint, t: Tcb, hi: int, lo: int, port: int, scope: int, now: int) -> int:
    """0 when text may follow in the SYN, else as `connect`."""
    if not w.tcp.settings.tcp_fastopen & fastopen.CLIENT:
        return -EOPNOTSUPP
    if scope != 0:
        ep.interface = scope
    asked = t.fast.connect
    t.fast.connect = 1
    result = _connect_tcp(w, t, hi, lo, port, now)
    t.fast.connect = asked
    return result


@compiled
def _make_room(w: World, t: Tcb, n: int) -> None:
    """Give the send ring the memory for n bytes more, as far as the buffer may be.  The caller has the sending side."""
    used = ring.used(t.snd)
    wanted = min(used + n, t.space.sndbuf)
    if not calls.can_send(t) or (t.snd.data != 0 and wanted <= t.snd.size):
        return
    drive.lock(w)                                       # the engine reads the ring, and frees it
    receive.make_room_to_send(w.tcp, t, n)
    drive.unlock(w)


@compiled
def _show(w: World, ep: Endpoint, t: Tcb) -> None:
    """The application's own call may have changed what its descriptor must show."""
    drive.lock(w)
    if ep.generation != 0:
        notify(w.tcp, t)
    engine.flush(w)
    drive.unlock(w)


@compiled
def send_all(world: int, h: int, address: int, n: int, flags: int, deadline: int) -> int:
    """Send until everything is taken: bytes taken; fewer than n when the deadline or a slice is over or an error came.

    A caller that gets fewer calls `send` next, to learn why.
    """
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    done = 0
    while done < n:
        result = _stream_send(w, h, ep, address + done, n - done, flags)
        if result > 0:
            done += result
        elif result != -EAGAIN or drive.wait(w, h, ep, 4, deadline) <= 0:
            break
    return done


@compiled
def recv(world: int, h: int, address: int, n: int, flags: int) -> int:
    """recv(2) that does not block: bytes, 0 at the end, -EAGAIN, or -errno."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    enter_call(ep)
    result = _checked(w, h, ep)
    if result == 0 and handles.is_tcp(h):
        result = _recv(w, ep, handles.connection(w, ep.index), address, n, flags)
    elif result == 0:
        result = _recvfrom(w, ep, handles.socket(w, ep.index), address, n, flags, 0)
    drive.leave(w, h, ep)
    return result


@compiled
def _recv(w: World, ep: Endpoint, t: Tcb, address: int, n: int, flags: int) -> int:
    if flags & ~RECV_FLAGS:
        return -EOPNOTSUPP
    mutex.lock(addressof(t) + RCV_LOCK)
    result = calls.recv(t, address, n, flags, False)
    if result == calls.NEEDS_WORLD:
        drive.lock(w)                                   # after the reading side's lock, never before it
        result = calls.recv(t, address, n, flags, True)
        drive.unlock(w)
    larger = result > 0 and not flags & (MSG_PEEK | MSG_OOB) and receive.on_read(w.tcp, t, w.tcp.now)
    if larger:
        drive.lock(w)
        receive.make_room(w.tcp, t)
        drive.unlock(w)
    if w.tcp.memory.pressure and result > 0 and t.rcv.data != 0 and ring.used(t.rcv) == 0:
        drive.lock(w)
        receive.relieve(w.tcp, t)
        drive.unlock(w)
    mutex.unlock(addressof(t) + RCV_LOCK)
    if result > 0 and not flags & MSG_PEEK and calls.after_recv(w.tcp, t):
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and result != -EAGAIN and not flags & MSG_PEEK and ring.used(t.rcv) == 0:
        _show(w, ep, t)
    return result


@compiled
def available(world: int, h: int) -> int:
    """Bytes that `recv` would give now; for datagrams the length of the next one (FIONREAD)."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if handles.is_tcp(h):
        return calls.available(handles.connection(w, ep.index))
    return datagram.available(handles.socket(w, ep.index))


@compiled
def ioctl(world: int, h: int, request: int) -> int:
    """ioctl(2) of a stream, tcp(7): SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK; -ENOTTY for any other."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
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


# ---- datagrams --------------------------------------------------------------------------

@compiled
def sendto(world: int, h: int, address: int, n: int, flags: int, hi: int, lo: int, port: int, scope: int) -> int:
    """sendto(2): n, or -errno."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    if handles.is_tcp(h):
        return _stream_send(w, h, ep, address, n, flags)    # as Linux: a connected stream ignores the address
    return _datagram_send(w, h, ep, address, n, flags, hi, lo, port, scope)


@compiled
def _datagram_send(w: World, h: int, ep: Endpoint, address: int, n: int, flags: int, hi: int, lo: int, port: int,
                   scope: int) -> int:
    result = _checked(w, h, ep)
    if result < 0:
        return result
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
def recvfrom(world: int, h: int, address: int, n: int, flags: int, out: int) -> int:
    """recvfrom(2) that does not block: bytes copied, -EAGAIN, or -errno.

    At `out` (if not 0) eight i64: hi, lo, port, scope, real length, TTL, interface, TOS.
    """
    if handles.is_tcp(h):
        if out != 0:
            peer(world, h, out)
        return recv(world, h, address, n, flags)
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    enter_call(ep)
    result = _checked(w, h, ep)
    if result == 0:
        result = _recvfrom(w, ep, handles.socket(w, ep.index), address, n, flags, out)
    drive.leave(w, h, ep)
    return result


@compiled
def _recvfrom(w: World, ep: Endpoint, s: datagram.Sock, address: int, n: int, flags: int, out: int) -> int:
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


# ---- readiness, ending --------------------------------------------------------------------

@compiled
def poll(world: int, h: int) -> int:
    """Readiness now, values of poll(2); POLLNVAL (0x20) for a closed handle."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    if _checked(w, h, ep) < 0:
        return 0x20
    return handles.poll(w, h)


@compiled
def wait(world: int, h: int, events: int, deadline: int) -> int:
    """Wait for readiness: see drive.wait.  Not for a stack on a virtual clock."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    return drive.wait(w, h, ep, events, deadline)


@compiled
def shutdown(world: int, h: int, how: int) -> int:
    """shutdown(2); with calls.LINGER instead: 1 if `close` must wait (SO_LINGER), else 0."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if not 0 <= how <= calls.LINGER:
        return -EINVAL
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    if handles.is_tcp(h):
        result = calls.shutdown(w.tcp, handles.connection(w, ep.index), how, now)
    elif how != calls.LINGER:
        result = datagram.shutdown(w.datagrams, handles.socket(w, ep.index), how)
    drive.after_call(w, now)
    return result


@compiled
def close(world: int, h: int) -> int:
    """close(2): the handle is no more; threads blocked on it return EBADF; the connection ends by itself."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    drive.lock(w)
    if not handles.is_open(ep, h):
        drive.unlock(w)
        return -EBADF
    now = drive.time(w)
    w.tcp.now = now
    ep.fd_engine = -1
    ep.fd_user = -1
    if handles.is_tcp(h):
        calls.close(w.tcp, handles.connection(w, ep.index), now)
    else:
        s = handles.socket(w, ep.index)
        ep.closed = 1
        datagram.unlink(w.datagrams, s)
        datagram.notify(w.datagrams, s)
    drive.after_call(w, now)
    return 0


# ---- status -------------------------------------------------------------------------------

@compiled
def get_option(world: int, h: int, option: int) -> int:
    """getsockopt(2) of an integer: see options.get."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    drive.lock(w)
    result = options.get(w, h, ep, option, drive.time(w))
    drive.unlock(w)
    return result


@compiled
def tcp_info(world: int, h: int, address: int, n: int) -> int:
    """TCP_INFO: write struct tcp_info (tcp/info.py) to `address`, where there is room for n bytes.  Its size."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n < info.SIZE:
        return -EINVAL
    drive.lock(w)
    info.fill(w.tcp, handles.connection(w, ep.index), address, drive.time(w))
    drive.unlock(w)
    return info.SIZE


@compiled
def bbr_info(world: int, h: int, address: int, n: int) -> int:
    """TCP_CC_INFO of a connection that has BBR: write struct tcp_bbr_info to `address`.  Its size."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    if n < info.BBR_SIZE:
        return -EINVAL
    drive.lock(w)
    info.fill_bbr(handles.connection(w, ep.index), address)
    drive.unlock(w)
    return info.BBR_SIZE


@compiled
def set_option(world: int, h: int, option: int, value: int) -> int:
    """setsockopt(2) of an integer: see options.put."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    drive.lock(w)
    now = drive.time(w)
    result = options.put(w, h, ep, option, value, now)
    drive.after_call(w, now)
    return result


@compiled
def local(world: int, h: int, out: int) -> int:
    """getsockname(2): at `out` four i64: hi, lo, port, scope."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    store64(out, ep.local_hi)
    store64(out + 8, ep.local_lo)
    store64(out + 16, ep.local_port)
    store64(out + 24, ep.interface if (ep.local_hi >> 54) & 0x3FF == 0x3FA else 0)
    return 0


@compiled
def peer(world: int, h: int, out: int) -> int:
    """getpeername(2): at `out` four i64; -ENOTCONN when there is none."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if ep.remote_port == 0:
        return -ENOTCONN
    if handles.is_tcp(h):
        t = handles.connection(w, ep.index)
        if t.state in (State.CLOSED, State.SYN_SENT, State.TIME_WAIT):
            return -ENOTCONN
    store64(out, ep.remote_hi)
    store64(out + 8, ep.remote_lo)
    store64(out + 16, ep.remote_port)
    store64(out + 24, ep.interface if (ep.remote_hi >> 54) & 0x3FF == 0x3FA else 0)
    return 0


@compiled
def state(world: int, h: int) -> int:
    """The connection's State; for datagram sockets ESTABLISHED when connected, else CLOSED (as `ss` has it)."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    if handles.is_tcp(h):
        return handles.connection(w, ep.index).state
    return State.ESTABLISHED if ep.remote_port != 0 else State.CLOSED


@compiled
def attach_fd(world: int, h: int, engine_end: int, user_end: int) -> int:
    """Keep a pair of descriptors in step with the endpoint's readiness (fileno); -1: no longer."""
    w = at(World, world)
    ep = handles.endpoint_of(w, h)
    result = _checked(w, h, ep)
    if result < 0:
        return result
    drive.lock(w)
    ep.fd_engine = engine_end
    ep.fd_user = user_end
    ep.fd_state = 0
    if handles.is_tcp(h):
        notify(w.tcp, handles.connection(w, ep.index))
    else:
        datagram.notify(w.datagrams, handles.socket(w, ep.index))
    engine.flush(w)
    drive.unlock(w)
    return 0


# ---- the stack -----------------------------------------------------------------------------

@compiled
def turn(world: int, now: int) -> int:
    """One turn at `now` (virtual time, tests): 1 when more work waits."""
    w = at(World, world)
    drive.lock(w)
    if now > w.clock:
        w.clock = now
    more = engine.turn(w, w.clock if w.virtual else now)
    drive.unlock(w)
    return more


@compiled
def next_deadline(world: int) -> int:
    """When the next turn is needed, ns; NEVER (1 << 62) if nothing is due."""
    w = at(World, world)
    return engine.next_deadline(w, drive.time(w))


@compiled
def run(world: int, now: int, until: int) -> int:
    """Virtual time: turns at every deadline from `now` up to `until`; returns the time reached, which is `until`."""
    w = at(World, world)
    drive.lock(w)
    w.clock = max(now, w.clock)
    while True:
        more = engine.turn(w, w.clock)
        if more:
            continue
        next = engine.next_deadline(w, w.clock)
        if next > until:
            break
        w.clock = max(next, w.clock)
    w.clock = max(until, w.clock)
    drive.unlock(w)
    return w.clock


@compiled
def has_frames(world: int) -> int:
    """1 when a frame waits on a wire or the loopback."""
    return 1 if engine.has_frames(at(World, world)) else 0


@compiled
def background(world: int) -> int:
    """The background thread's work: see drive.background."""
    return drive.background(at(World, world))


@compiled
def stop(world: int) -> int:
    """Every blocked call, and every later one, returns -ESHUTDOWN; the background thread ends."""
    w = at(World, world)
    store_release(world + STOPPED, 1)
    drive.lock(w)
    for i in range(w.tcp.tcbs.used):
        t = handles.connection(w, i + 1)
        if t.ep.generation != 0:
            notify(w.tcp, t)
    for i in range(w.datagrams.socks.used):
        s = handles.socket(w, i + 1)
        if s.ep.generation != 0:
            datagram.notify(w.datagrams, s)
    engine.flush(w)
    drive.unlock(w)
    drive.ring(w)
    drive._rouse(w)
    return 0


@compiled
def lock(world: int) -> int:
    """Own the world, to configure it."""
    drive.lock(at(World, world))
    return 0


@compiled
def unlock(world: int) -> int:
    """... and let go: the poll set is made anew, what is due is sent, and whoever sleeps looks again."""
    w = at(World, world)
    drive.set_poll_fds(w)
    now = drive.time(w)
    w.tcp.now = now
    drive.after_call(w, now)
    drive.ring(w)
    return 0


ENTRIES = {
    open: 3, bind: 5, listen: 3, connect: 6, accept: 2, send: 5, send_all: 6, recv: 5, available: 2, ioctl: 3,
    sendto: 9, recvfrom: 6, poll: 2, wait: 4, shutdown: 3, close: 2, get_option: 3, set_option: 4,
    tcp_info: 4, bbr_info: 4, local: 3, peer: 3, state: 2, attach_fd: 4, turn: 2, next_deadline: 1, run: 3,
    has_frames: 1, background: 1, stop: 1, lock: 1, unlock: 1,
}
"""Every entry point and how many integers it takes: what `netstack warm` compiles."""

