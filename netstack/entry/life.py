"""From socket(2) to close(2): open, bind, listen, connect, accept, shutdown."""
from __future__ import annotations

from .. import datagram, drive, engine, handles, packet, raw, udp, watch
from ..endpoint import (
    BOUND_ADDRESS,
    BOUND_NUMBER,
    BOUND_PORT,
    DONTROUTE,
    FREEBIND,
    NO_PORT,
    Endpoint,
    Kind,
    handle,
    pass_on,
)
from ..errors import (
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EBADF,
    EBUSY,
    EINTR,
    EINVAL,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ESHUTDOWN,
)
from ..ip import address as addresses
from ..ip import membership, route, taps
from ..machine import addressof, at, compiled, entered, table
from ..machine import lock as mutex
from ..tcp import calls, demux, tcb
from ..tcp import disconnect as ending
from ..tcp import listen as listening
from ..tcp.tcb import State, Tcb, notify
from ..world import World
from .datagrams import ANY_V4
from .door import call, held_call
from .status import tell_peer
from .streams import RCV_LOCK, SND_LOCK

AF_INET, AF_INET6 = 2, 10


@entered
def open(world: int, kind: int, family: int, protocol: int) -> int:
    """A new endpoint of a Kind: its handle; -ENFILE when the table is full.  `protocol`: of a raw socket; of a packet
    socket its EtherType, and 65,536 for SOCK_DGRAM."""
    w = at(World, world)
    if family != AF_INET and family != AF_INET6 and kind != Kind.PACKET:
        return -EAFNOSUPPORT
    if kind not in (Kind.TCP, Kind.UDP, Kind.PING, Kind.SELECTOR, Kind.RAW, Kind.PACKET):
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
            s = handles.socket(w, index)
            if kind == Kind.RAW:
                raw.open(w.datagrams, w.net, s, protocol)
            result = handle(s.ep)
            if kind == Kind.PACKET:
                opened = packet.open(w.datagrams, w.net, s, protocol & 0xFFFF, protocol >> 16)
                if opened < 0:
                    table.release(w.datagrams.socks, index)
                    result = opened
    drive.unlock(w)
    return result


@call
def bind(w: World, h: int, ep: Endpoint, hi: int, lo: int, port: int) -> int:
    """bind(2): the local port, or -errno.  Port 0: a free one."""
    drive.lock(w)
    result = _bind(w, h, ep, hi, lo, port)
    drive.unlock(w)
    return result


@compiled
def _bind(w: World, h: int, ep: Endpoint, hi: int, lo: int, port: int) -> int:
    if ep.kind == Kind.PACKET:
        if port != 0:
            handles.socket(w, ep.index).ethertype = port
        return 0
    again = ep.remote_port != 0 if ep.kind == Kind.RAW else ep.local_port != 0
    if handles.is_tcp(h) and handles.connection(w, ep.index).state != State.CLOSED:
        again = True
    if again and (ep.family != AF_INET or ep.kind == Kind.RAW):
        return -EINVAL                                  # Linux looks at an IPv4 address first
    if hi == 0 and lo == ANY_V4:
        if ep.family == AF_INET6 and ep.v6only:
            return -EINVAL
        lo = 0
    if hi != 0 or lo != 0:
        if (ep.family == AF_INET) != addresses.is_v4(hi, lo) and (ep.family == AF_INET or ep.v6only):
            return -EINVAL
        if not ep.bound & FREEBIND and ep.transparent == 0 and not _may_bind(w, h, hi, lo):
            return -EADDRNOTAVAIL
        if addresses.is_link_local(hi, lo) and ep.interface == 0:
            ep.interface = _interface_with(w, hi, lo)
    if again:
        return -EINVAL
    ep.local_hi = hi
    ep.local_lo = lo
    asked = ep.bound
    ep.bound |= (BOUND_PORT | BOUND_NUMBER if port != 0 else 0) | (BOUND_ADDRESS if hi != 0 or lo != 0 else 0)
    if port == 0 and ep.bound & NO_PORT:
        return 0
    if handles.is_tcp(h):
        result = demux.bind(w.tcp, handles.connection(w, ep.index), port)
    else:
        s = handles.socket(w, ep.index)
        kind = route.classify(w.net, hi, lo, 0)
        s.no_source = 1 if kind == route.Kind.BROADCAST or kind == route.Kind.MULTICAST else 0
        result = datagram.bind(w.datagrams, s, port) if ep.kind != Kind.RAW else 0
    if result < 0:
        ep.local_hi = 0
        ep.local_lo = 0
        ep.bound = asked
    else:
        ep.bound |= BOUND_PORT
    return result


@compiled
def _may_bind(w: World, h: int, hi: int, lo: int) -> bool:
    """Whether an address is ours; datagrams may be bound to a group's or a broadcast address, too (ip(7))."""
    kind = route.classify(w.net, hi, lo, 0)
    return kind == route.Kind.LOCAL or (kind != route.Kind.OTHER and not handles.is_tcp(h))


@compiled
def _interface_with(w: World, hi: int, lo: int) -> int:
    """The index of the interface that has an address, or 0."""
    for i in range(w.net.interface_count):
        if addresses.on_interface(w.net.interfaces[i + 1], hi, lo) >= 0:
            return i + 1
    return 0


@call
def listen(w: World, h: int, ep: Endpoint, backlog: int) -> int:
    """listen(2)."""
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    drive.lock(w)
    t = handles.connection(w, ep.index)
    result = calls.start_listening(w.tcp, t, backlog)
    if result == 0 and ep.fd_engine >= 0:
        notify(w.tcp, t)
        engine.flush(w)
    drive.unlock(w)
    return result


@call
def connect(w: World, h: int, ep: Endpoint, hi: int, lo: int, port: int, scope: int) -> int:
    """connect(2) that does not block: 0 (datagrams), -EINPROGRESS, or -errno.

    A datagram socket is connected to nothing again by port 0 with the address 0, too.
    """
    if ep.kind == Kind.PACKET:
        return -EOPNOTSUPP
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    if scope != 0:
        ep.interface = scope
    if handles.is_tcp(h):
        result = connect_tcp(w, handles.connection(w, ep.index), hi, lo, port, now)
    else:
        result = _connect_datagram(w, handles.socket(w, ep.index), hi, lo, port, now)
    drive.after_call(w, now)
    return result


@call
def forget_attempt(w: World, h: int, ep: Endpoint) -> int:
    """A connect that waited has told of its failure: the stream is as it was before."""
    if handles.is_tcp(h):
        drive.lock(w)
        t = handles.connection(w, ep.index)
        if t.state == State.CLOSED and t.was_open == 0 and ep.remote_port != 0:
            calls.forget_attempt(w.tcp, t)
        drive.unlock(w)
    return 0


@held_call
def disconnect(w: World, h: int, ep: Endpoint) -> int:
    """connect(2) with AF_UNSPEC: 0, or -errno."""
    if handles.is_tcp(h):
        return _disconnect_stream(w, ep, handles.connection(w, ep.index))
    if ep.kind == Kind.SELECTOR:
        return -EOPNOTSUPP
    drive.lock(w)
    _dissolve(w, handles.socket(w, ep.index))
    drive.unlock(w)
    return 0


@compiled
def _disconnect_stream(w: World, ep: Endpoint, t: Tcb) -> int:
    mutex.lock(addressof(t) + RCV_LOCK)
    mutex.lock(addressof(t) + SND_LOCK)
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    result = 0
    if ep.handler != 0 or t.space.rcv_lent or t.space.snd_lent:
        result = -EBUSY
    else:
        fresh = listening.create(w.tcp)
        if fresh == 0:
            result = -ENOBUFS
        else:
            ending.end(w.tcp, t)
            while t.rst_due:                            # it is in the list of those that are due
                engine.egress(w, now)
            ending.renew(w.tcp, t, fresh)
    drive.after_call(w, now)
    mutex.unlock(addressof(t) + SND_LOCK)
    mutex.unlock(addressof(t) + RCV_LOCK)
    return result


@compiled
def connect_tcp(w: World, t: Tcb, hi: int, lo: int, port: int, now: int) -> int:
    """... of a stream."""
    v4 = addresses.is_v4(hi, lo)
    if t.ep.family == AF_INET and not v4:
        return -EAFNOSUPPORT
    if v4 and t.ep.v6only:
        return -ENETUNREACH
    if (hi == 0 and lo == 0) or (hi == 0 and lo == ANY_V4):         # as Linux: the wildcard means ourselves
        lo = 0xFFFF_7F00_0001 if v4 or t.ep.family == AF_INET else 1
    if t.ep.bound & DONTROUTE and route.choose(w.net, hi, lo, 0, 0, t.ep.interface, now) == 0 and (
            w.net.chosen.hop_lo != lo or w.net.chosen.hop_hi != hi):
        return -ENETUNREACH
    return calls.connect(w.tcp, w.net, t, hi, lo, port, now)


@compiled
def _connect_datagram(w: World, s: datagram.Sock, hi: int, lo: int, port: int, now: int) -> int:
    e = s.ep
    if port == 0 and hi == 0 and lo == 0:
        _dissolve(w, s)
        return 0
    if (hi == 0 and lo == 0) or (hi == 0 and lo == ANY_V4):
        lo = 0xFFFF_7F00_0001 if e.family == AF_INET or lo != 0 else 1
    result = udp.check_destination(w.net, s, hi, lo)
    if result == 0:
        src_hi = e.local_hi if e.bound & 2 else 0
        src_lo = e.local_lo if e.bound & 2 else 0
        if e.transparent:
            result = route.choose_from(w.net, hi, lo, src_hi, src_lo, e.interface, now)
        else:
            result = route.choose(w.net, hi, lo, src_hi, src_lo, e.interface, now)
            if result == -EADDRNOTAVAIL and src_lo != 0:
                result = -ENETUNREACH                           # (IP_FREEBIND) as Linux
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
    e.remote_port = port if e.kind == Kind.UDP else e.local_port if e.kind == Kind.RAW else max(port, 1)
    return 0


@compiled
def _dissolve(w: World, s: datagram.Sock) -> None:
    """A datagram socket's address of a peer goes, and its own as far as nobody has bound it (__udp_disconnect)."""
    e = s.ep
    e.remote_hi = 0
    e.remote_lo = 0
    e.remote_port = 0
    e.interface = 0
    if not e.bound & 2:
        e.local_hi = 0
        e.local_lo = 0
    if not e.bound & 4 and e.kind != Kind.RAW:
        datagram.unlink(w.datagrams, s)
        e.bound &= ~(BOUND_PORT | BOUND_NUMBER)


@held_call
def accept(w: World, h: int, ep: Endpoint, out: int, deadline: int) -> int:
    """accept(2): the handle of a new connection, or -errno; its peer goes to `out` if that is not 0
    (`tell_peer`).

    It waits until `deadline`, 0: not at all; see `drive.await_input`.
    """
    result = _accept(w, h, ep, out)
    if result == -EAGAIN and deadline != 0:
        result = drive.await_input(w, h, ep, deadline)
        if result == 0:
            result = _accept(w, h, ep, out)
            if result == -EAGAIN:
                return -EINTR                           # another thread was faster
    return result


@compiled
def _accept(w: World, h: int, ep: Endpoint, out: int) -> int:
    if not handles.is_tcp(h):
        return -EOPNOTSUPP
    t = handles.connection(w, ep.index)
    if t.state != State.LISTEN:
        return -EINVAL
    if tcb.listening(t).accept_head == 0:
        return -EAGAIN
    drive.lock(w)
    index = listening.take(w.tcp, t)
    result = -EAGAIN
    if index != 0:
        child = handles.connection(w, index).ep
        if out != 0:
            tell_peer(child, out)
        result = handle(child)
        if ep.fd_engine >= 0:
            notify(w.tcp, t)
            engine.flush(w)
        pass_on(ep, tcb.listening(t).accept_head != 0)
    drive.unlock(w)
    return result


@call
def shutdown(w: World, h: int, ep: Endpoint, how: int) -> int:
    """shutdown(2); with calls.LINGER instead: 1 if `close` must wait (SO_LINGER), else 0."""
    if not 0 <= how <= calls.LINGER:
        return -EINVAL
    if ep.kind == Kind.PACKET:
        return -EOPNOTSUPP
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    result = 0
    if handles.is_tcp(h) and how == 1 and handles.connection(w, ep.index).state == State.LISTEN:
        result = 0                                      # as Linux: nothing was to be sent
    elif handles.is_tcp(h):
        result = calls.shutdown(w.tcp, handles.connection(w, ep.index), how, now)
    elif how != calls.LINGER:
        result = datagram.shutdown(w.datagrams, handles.socket(w, ep.index), how)
    drive.after_call(w, now)
    return result


@entered
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
    watch.unwatch(w, ep)
    if handles.is_tcp(h):
        calls.close(w.tcp, handles.connection(w, ep.index), now)
    else:
        s = handles.socket(w, ep.index)
        ep.closed = 1
        watch.close(w, s)
        if ep.kind == Kind.RAW:
            w.net.raw -= 1
        elif ep.kind == Kind.PACKET:
            taps.close(w.net)
        datagram.unlink(w.datagrams, s)
        membership.leave_all(w.net, ep.index, now)
        datagram.notify(w.datagrams, s)
    drive.after_call(w, now)
    return 0
