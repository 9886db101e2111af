"""Sending and receiving on a stream: memory for the rings, their locks, what the descriptor shows."""
from __future__ import annotations

from .. import drive, engine
from ..endpoint import URGENT, Endpoint, on_nothing_read
from ..errors import EAGAIN, EINPROGRESS, EOPNOTSUPP
from ..machine import addressof, compiled, offsetof, ring
from ..machine import lock as mutex
from ..tcp import calls, memory, receive
from ..tcp.tcb import Tcb, has_rare, notify, own_rare
from ..world import World

MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_DONTWAIT = 0x1, 0x2, 0x20, 0x40
MSG_EOR, MSG_WAITALL, MSG_NOSIGNAL, MSG_MORE = 0x80, 0x100, 0x4000, 0x8000
SEND_FLAGS = MSG_OOB | MSG_DONTWAIT | MSG_EOR | MSG_NOSIGNAL | MSG_MORE
RECV_FLAGS = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL
RCV_LOCK = offsetof(Tcb, "rcv_lock")
SND_LOCK = offsetof(Tcb, "snd_lock")


@compiled
def send(w: World, ep: Endpoint, t: Tcb, address: int, n: int, flags: int) -> int:
    """Bytes taken, or -errno; the caller is counted in `users`."""
    if flags & ~SEND_FLAGS:
        return -EOPNOTSUPP
    if t.fast.deferred:
        return -EINPROGRESS                             # `open_with` is to be called
    mutex.lock(addressof(t) + SND_LOCK)
    if ring.room(t.snd) < n or t.snd.data == 0:
        _make_room(w, t, n)
    if flags & MSG_EOR and not has_rare(w.tcp, t):
        drive.lock(w)
        own_rare(w.tcp, t)
        drive.unlock(w)
    result = calls.send(w.tcp, t, address, n, flags)
    mutex.unlock(addressof(t) + SND_LOCK)
    if result > 0:
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and (result < 0 or not calls.is_writable(w.tcp, t)):
        show(w, ep, t)
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
    if result > 0 and t.rcv.data != 0 and ring.used(t.rcv) == 0 and memory.is_shared(w.tcp.memory) and _own(w):
        receive.relieve(w.tcp, t)
        drive.unlock(w)
    mutex.unlock(addressof(t) + RCV_LOCK)
    if result > 0 and not flags & MSG_PEEK and calls.after_recv(w.tcp, t):
        drive.kick(w, ep.index, ep)
    if ep.fd_engine >= 0 and not flags & MSG_PEEK:
        if ep.fd_state & URGENT:
            if result == -EAGAIN and not flags & MSG_OOB:
                on_nothing_read(ep)
            show(w, ep, t)
        elif result != -EAGAIN and ring.used(t.rcv) == 0:
            show(w, ep, t)
    return result
