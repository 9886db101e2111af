"""Waiting for many endpoints at once: selectors (watch.py)."""
from __future__ import annotations

from .. import datagram, drive, engine, handles, watch
from ..endpoint import POLLIN, Endpoint
from ..errors import EBUSY
from ..machine import compiled
from ..world import World
from .door import call, checked


@call
def watch_for(w: World, h: int, ep: Endpoint, target: int, events: int) -> int:
    """Have selector `h` tell of events (watch.READ, WRITE) of the socket `target`; 0: no longer.

    -EBUSY: another selector does.
    """
    it = handles.endpoint_of(w, target)
    result = checked(w, target, it)
    if result < 0:
        return result
    drive.lock(w)
    if not handles.is_open(it, target):                 # closed before the world was ours
        result = 0
    elif it.watcher != 0 and it.watcher != ep.index:
        result = -EBUSY
    elif events == 0:
        watch.unwatch(w, it)
    else:
        watch.watch(w, handles.socket(w, ep.index), it, events)
        engine.flush(w)
    drive.unlock(w)
    return result


@call
def select(w: World, h: int, ep: Endpoint, out: int, room: int, deadline: int) -> int:
    """Wait until endpoints of a selector are ready, and write them to `out` (watch.harvest): how many.

    0 at the deadline, or after `wakeup`; -EINTR after a slice.  Deadline 0: only look, run no turn.
    """
    s = handles.socket(w, ep.index)
    count = _harvest(w, s, out, room)
    if deadline == 0:
        if count == 0:
            s.poked = 0
        return count
    if count > 0:
        drive.turn_here(w)              # else a selector that always has something ready would leave the devices alone
        count = _harvest(w, s, out, room)
    w.serving = 1 if count > 0 else 0
    while count == 0:
        result = drive.wait(w, h, ep, POLLIN, deadline)
        if result <= 0:
            return result
        count = _harvest(w, s, out, room)
        w.serving = 1 if count > 0 else 0
        if count == 0 and s.poked:      # else the next call says so
            s.poked = 0
            break
    return count


@compiled
def _harvest(w: World, s: datagram.Sock, out: int, room: int) -> int:
    drive.lock(w)
    count = watch.harvest(w, s, out, room)
    drive.unlock(w)
    return count


@call
def wakeup(w: World, h: int, ep: Endpoint) -> int:
    """Have a `select` that waits (or else the next one) return at once."""
    drive.lock(w)
    s = handles.socket(w, ep.index)
    s.poked = 1
    datagram.notify(w.datagrams, s)
    engine.flush(w)
    drive.unlock(w)
    return 0
