"""The stack as a whole: turns on a virtual clock, the background thread, its end."""
from __future__ import annotations

from .. import datagram, drive, engine, handles
from ..machine import at, entered, store_release
from ..tcp.tcb import notify
from ..world import World


@entered
def turn(world: int, now: int) -> int:
    """One turn at `now` (virtual time, tests): 1 when more work waits."""
    w = at(World, world)
    drive.lock(w)
    if now > w.clock:
        w.clock = now
    more = engine.turn(w, w.clock if w.virtual else now)
    drive.unlock(w)
    return more


@entered
def next_deadline(world: int) -> int:
    """When the next turn is needed, ns; NEVER (1 << 62) if nothing is due."""
    w = at(World, world)
    return engine.next_deadline(w, drive.time(w))


@entered
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


@entered
def has_frames(world: int) -> int:
    """1 when a frame waits on a wire or the loopback."""
    return 1 if engine.has_frames(at(World, world)) else 0


@entered
def background(world: int) -> int:
    """The background thread's work: see drive.background."""
    return drive.background(at(World, world))


@entered
def stop(world: int) -> int:
    """Every blocked call, and every later one, returns -ESHUTDOWN; the background thread ends."""
    w = at(World, world)
    store_release(world + drive.STOPPED, 1)
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
    engine.ring(w)
    drive._rouse(w)
    return 0


@entered
def lock(world: int) -> int:
    """Own the world, to configure it."""
    drive.lock(at(World, world))
    return 0


@entered
def unlock(world: int) -> int:
    """... and let go: the poll set is made anew, what is due is sent, and whoever sleeps looks again."""
    w = at(World, world)
    drive.set_poll_fds(w)
    now = drive.time(w)
    w.tcp.now = now
    drive.after_call(w, now)
    engine.ring(w)
    return 0
