"""Sending and receiving on a stream: memory for the rings, their locks, what the descriptor shows."""
from __future__ import annotations

from .. import drive, engine
from ..endpoint import URGENT, Endpoint, enter_call, on_nothing_read
from ..errors import EAGAIN, EBUSY, EINPROGRESS, EISCONN, ENOTCONN, EOPNOTSUPP
from ..machine import addressof, compiled, offsetof, ring, store64
from ..machine import lock as mutex
from ..tcp import arrivals, calls, inplace, memory, receive, tcb
from ..tcp.tcb import Tcb, has_rare, notify, own_rare
from ..world import World

MSG_OOB, MSG_PEEK, MSG_PROBE, MSG_TRUNC, MSG_DONTWAIT = 0x1, 0x2, 0x10, 0x20, 0x40
MSG_EOR, MSG_WAITALL, MSG_ERRQUEUE, MSG_NOSIGNAL, MSG_MORE = 0x80, 0x100, 0x2000, 0x4000, 0x8000
MSG_FASTOPEN = 0x2000_0000
SEND_FLAGS = MSG_OOB | MSG_DONTWAIT | MSG_EOR | MSG_NOSIGNAL | MSG_MORE
RCV_LOCK = offsetof(Tcb, "rcv_lock")
SND_LOCK = offsetof(Tcb, "snd_lock")


@compiled
def send(w: World, ep: Endpoint, t: Tcb, address: int, n: int, flags: int) -> int:
    """Bytes taken, or -errno; the caller is counted in `users`.  Flags that mean nothing are ignored, as on Linux."""
    if t.fast.deferred:
        return -EINPROGRESS                             # `open_with` is to be called
    if flags & MSG_FASTOPEN:
        return -EISCONN if tcb.is_synchronized(t) else -EOPNOTSUPP
    mutex.lock(addressof(t) + SND_LOCK)
    result = -EBUSY
    if t.space.snd_lent == 0 and ep.handler == 0:           # else this side is lent, or its handler's
        _prepare(w, t, n, flags)
        result = calls.send(w.tcp, t, address, n, flags)
    mutex.unlock(addressof(t) + SND_LOCK)
    _after_send(w, ep, t, result)
    return result


@compiled
def _after_send(w: World, ep: Endpoint, t: Tcb, result: int) -> None:
    if result > 0 and not (calls.may_cork(w.tcp, t) and drive.leave_to_driver(w, ep)):
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and (result < 0 or not calls.is_writable(w.tcp, t)):
        show(w, ep, t)


@compiled
def begin_write(w: World, ep: Endpoint, t: Tcb, n: int, flags: int, out: int) -> int:
    """Lend room in the send ring, up to n bytes: how many, at `out` their address; or -errno."""
    if flags & ~SEND_FLAGS:
        return -EOPNOTSUPP
    if t.fast.deferred:
        return -EINPROGRESS
    mutex.lock(addressof(t) + SND_LOCK)
    result = -EBUSY
    if t.space.snd_lent == 0 and ep.handler == 0:
        _prepare(w, t, n, flags)
        result = inplace.begin_write(w.tcp, t, n)
        if result > 0:
            store64(out, ring.address(t.snd, t.snd.tail))
            enter_call(ep)
    mutex.unlock(addressof(t) + SND_LOCK)
    if result <= 0:
        _after_send(w, ep, t, result)
    return result


@compiled
def end_write(w: World, ep: Endpoint, t: Tcb, n: int, flags: int) -> int:
    """Of the room that was lent n bytes are to be sent: n, or -errno."""
    mutex.lock(addressof(t) + SND_LOCK)
    result = inplace.end_write(w.tcp, t, n, flags)
    mutex.unlock(addressof(t) + SND_LOCK)
    if not calls.can_send(t):
        drive.lock(w)
        inplace.forget_place(w.tcp, t)
        drive.unlock(w)
    _after_send(w, ep, t, result)
    return result


@compiled
def _prepare(w: World, t: Tcb, n: int, flags: int) -> None:
    """Have what is needed to send n bytes.  The caller has the sending side."""
    if ring.room(t.snd) < n or t.snd.data == 0:
        _make_room(w, t, n)
    if flags & MSG_EOR and not has_rare(w.tcp, t):
        drive.lock(w)
        own_rare(w.tcp, t)
        drive.unlock(w)


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
def show(w: World, ep: Endpoint, t: Tcb) -> None:
    """The application's own call may have changed what its descriptor must show."""
    drive.lock(w)
    if ep.generation != 0:
        notify(w.tcp, t)
    engine.flush(w)
    drive.unlock(w)


@compiled
def _own(w: World) -> bool:
    """Own the world: at once or not at all, but under pressure wait for it."""
    if w.tcp.memory.pressure == 0:
        return mutex.try_lock(addressof(w) + drive.LOCK)
    drive.lock(w)
    return True


@compiled
def recv(w: World, ep: Endpoint, t: Tcb, address: int, n: int, flags: int) -> int:
    """Bytes, 0 at the end, or -errno; the caller is counted in `users`."""
    if flags & MSG_ERRQUEUE:
        return -EAGAIN                                  # a stream has no such queue
    if flags & MSG_OOB and t.state == tcb.State.LISTEN:
        return -ENOTCONN
    mutex.lock(addressof(t) + RCV_LOCK)
    if ep.handler != 0 or (t.space.rcv_lent and not flags & (MSG_PEEK | MSG_OOB)):
        mutex.unlock(addressof(t) + RCV_LOCK)
        return -EBUSY
    result = calls.NEEDS_WORLD if ep.stamped else calls.recv(t, address, n, flags, False)
    if result == calls.NEEDS_WORLD:
        drive.lock(w)                                   # after the reading side's lock, never before it
        result = calls.recv(t, address, n, flags, True)
        if ep.stamped:
            _stamp(t, result, flags)
        drive.unlock(w)
    if result > 0 and not flags & (MSG_PEEK | MSG_OOB):
        _fit(w, t)
    mutex.unlock(addressof(t) + RCV_LOCK)
    _after_recv(w, ep, t, result, flags)
    return result


@compiled
def _stamp(t: Tcb, result: int, flags: int) -> None:
    """SO_TIMESTAMP: of what was read, and not of urgent data.  The caller owns the world."""
    a = tcb.rare(t).arrivals
    a.told = 0
    if result > 0 and not flags & MSG_OOB:
        arrivals.on_read(a, t.rcv.head + (result if flags & MSG_PEEK else 0))


@compiled
def _fit(w: World, t: Tcb) -> None:
    """Text has been read: the receive ring may have to grow, or go.  The caller has the reading side."""
    if receive.on_read(w.tcp, t, w.tcp.now):
        drive.lock(w)
        receive.make_room(w.tcp, t)
        drive.unlock(w)
    if t.rcv.data != 0 and ring.used(t.rcv) == 0 and memory.is_shared(w.tcp.memory) and _own(w):
        receive.relieve(w.tcp, t)
        drive.unlock(w)


@compiled
def _after_recv(w: World, ep: Endpoint, t: Tcb, result: int, flags: int) -> None:
    if result > 0 and not flags & MSG_PEEK and calls.after_recv(w.tcp, t):
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and not flags & MSG_PEEK:
        if ep.fd_state & URGENT:
            if result == -EAGAIN and not flags & MSG_OOB:
                on_nothing_read(ep)
            show(w, ep, t)
        elif result != -EAGAIN and ring.used(t.rcv) < max(1, ep.low_water):
            show(w, ep, t)


@compiled
def begin_read(w: World, ep: Endpoint, t: Tcb, n: int, out: int) -> int:
    """Lend the text at the head of the receive ring, up to n bytes: how many, at `out` their address; 0 at the end, or
    -errno."""
    mutex.lock(addressof(t) + RCV_LOCK)
    result = -EBUSY
    if t.space.rcv_lent == 0 and ep.handler == 0:
        result = inplace.begin_read(t, n, False)
        if result == calls.NEEDS_WORLD:
            drive.lock(w)                               # after the reading side's lock, never before it
            result = inplace.begin_read(t, n, True)
            drive.unlock(w)
        if result > 0:
            store64(out, ring.address(t.rcv, t.rcv.head))
            enter_call(ep)
    mutex.unlock(addressof(t) + RCV_LOCK)
    if result <= 0:
        _after_recv(w, ep, t, result, 0)
    return result


@compiled
def end_read(w: World, ep: Endpoint, t: Tcb, n: int) -> int:
    """Of the text that was lent n bytes are consumed: n."""
    mutex.lock(addressof(t) + RCV_LOCK)
    if inplace.end_read(t, n, False) == calls.NEEDS_WORLD:
        drive.lock(w)
        inplace.end_read(t, n, True)
        drive.unlock(w)
    if n > 0:
        _fit(w, t)
    mutex.unlock(addressof(t) + RCV_LOCK)
    if n > 0:
        _after_recv(w, ep, t, n, 0)
    return n
