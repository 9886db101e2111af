"""Giving a socket a handler, and taking it away."""
from __future__ import annotations

from .. import calling, datagram, drive, handles
from ..datagram import Sock
from ..endpoint import Endpoint, Kind
from ..errors import EBUSY, EINVAL, EOPNOTSUPP
from ..exchange import HANDLERS
from ..machine import addressof, compiled
from ..machine import lock as mutex
from ..tcp import tcb
from ..tcp.tcb import State, Tcb
from ..world import World
from .datagrams import SOCK_RCV_LOCK
from .door import held_call
from .streams import RCV_LOCK, SND_LOCK


@held_call
def set_handler(w: World, h: int, ep: Endpoint, slot: int) -> int:
    """Have the handler of World.handlers[slot] called for a socket, or for a listener's connections; 0: none.

    No thread is inside a call that reads or writes when this takes effect.
    """
    if not 0 <= slot < HANDLERS or (slot != 0 and w.handlers[slot].address == 0):
        return -EINVAL
    if ep.kind == Kind.TCP:
        return _of_stream(w, ep, handles.connection(w, ep.index), slot)
    if ep.kind == Kind.UDP:
        return _of_socket(w, ep, handles.socket(w, ep.index), slot)
    return -EOPNOTSUPP


@compiled
def _of_stream(w: World, ep: Endpoint, t: Tcb, slot: int) -> int:
    mutex.lock(addressof(t) + RCV_LOCK)
    mutex.lock(addressof(t) + SND_LOCK)
    if slot != 0 and (t.space.rcv_lent or t.space.snd_lent):
        mutex.unlock(addressof(t) + SND_LOCK)
        mutex.unlock(addressof(t) + RCV_LOCK)
        return -EBUSY                                   # the application is in the rings
    drive.lock(w)
    now = drive.time(w)
    w.tcp.now = now
    own = tcb.handled(w.tcp, t)
    calling.release(w, ep, own)
    if slot != 0:
        calling.take_up(w, ep, own, slot, 1)
        if t.state == State.LISTEN:
            calling.adopt(w, t)
    tcb.notify(w.tcp, t)
    drive.after_call(w, now)
    mutex.unlock(addressof(t) + SND_LOCK)
    mutex.unlock(addressof(t) + RCV_LOCK)
    return 0


@compiled
def _of_socket(w: World, ep: Endpoint, s: Sock, slot: int) -> int:
    mutex.lock(addressof(s) + SOCK_RCV_LOCK)
    drive.lock(w)
    now = drive.time(w)
    own = datagram.handled(w.datagrams, s)
    calling.release(w, ep, own)
    if slot != 0:
        calling.take_up(w, ep, own, slot, 1)
    datagram.notify(w.datagrams, s)
    drive.after_call(w, now)
    mutex.unlock(addressof(s) + SOCK_RCV_LOCK)
    return 0
