"""Who runs the engine, and who waits.

Ownership is by turn: whoever holds `World.lock` runs one.  A thread that has to
wait *drives*, if nobody does: it polls the devices itself and runs turns until its
own socket is ready, so a request and its answer cost one wake-up.  Others that
wait meanwhile sleep, and the driver's turns wake them.  A driver whose turn had
work for another thread steps down: that one is the one to drive next.  When no
application thread drives, the background thread does, so that timers, ACKs and
pings never depend on the application; while application threads come and go, it
stays out of their way and only looks every millisecond whether anyone still turns.

A selector's thread that is busy with what was ready will be back for a turn.  Until
then nobody drives in its place, for whom each frame would be a wake-up and a fight
for the world; the background thread runs a turn every millisecond, and drives as
ever when that thread has been away for long.

This is the only file of the data path that reads a clock.
"""
from __future__ import annotations

from enum import IntEnum

from . import calling, datagram, engine, handles
from .drivers import device
from .endpoint import EVENT, POLLERR, POLLHUP, POLLIN, QUEUED, WAITERS, Endpoint, Kind, enter_call, in_use, leave_call
from .errors import EAGAIN, EBADF, EINTR, ESHUTDOWN
from .machine import (
    MS,
    addressof,
    compare_exchange,
    compiled,
    fence_seq,
    fetch_add,
    libc,
    load32,
    load_acquire,
    offsetof,
    store32,
    store_release,
)
from .machine import lock as mutex
from .machine.timers import NEVER
from .tcp import tcb
from .world import World


class Background(IntEnum):
    """What the background thread does."""

    GONE = 0
    TURNING = 1         # awake
    SLEEPING = 2        # in poll(2), driving
    NAPPING = 3         # a short nap: application threads drive
    PARKED = 4          # a long one: an application thread has been asleep in poll(2) for a while


SLICE = 100 * MS        # a blocked call comes back to Python this often, for the sake of signals: in the main thread
PATIENCE = 5000 * MS    # ... in the others, for exceptions that another thread has sent (PyThreadState_SetAsyncExc)
NAP = 1 * MS
LONG_NAP = 64 * MS
SERVING = 32            # naps for which a selector's thread is expected back from what was ready
MICROSECOND = 1000
SPIN_RARELY = 10        # after so many spins in vain one wait of 2**SPIN_RARELY spins
STEPPED_DOWN = -(1 << 30)   # not an errno
BURSTS = 16             # bursts that a call sends on in the caller's thread, before it leaves the rest to the next turn
LOCK = offsetof(World, "lock")
STOPPED = offsetof(World, "stopped")
DRIVERS = engine.DRIVERS
BACKGROUND = offsetof(World, "background")
BACKGROUND_WORD = offsetof(World, "background_word")
DRIVING = offsetof(Endpoint, "driving")


@compiled
def time(w: World) -> int:
    """Now, ns: of the system, or the virtual one."""
    if w.virtual:
        return w.clock
    return libc.monotonic()


@compiled
def lock(w: World) -> None:
    """Own the world; waits for the end of the turn under way."""
    mutex.lock(addressof(w) + LOCK)


@compiled
def unlock(w: World) -> None:
    """Let go.  Notes that came meanwhile are seen by whoever can take the world again first: maybe us."""
    _let_go(w)
    while engine.has_notes(w) or calling.is_waiting(w):
        if not mutex.try_lock(addressof(w) + LOCK):
            return                                      # its new owner will see them
        engine.take_notes(w)
        more = engine.settle(w, time(w))
        _let_go(w)
        if more:
            engine.ring(w)


@compiled
def _let_go(w: World) -> None:
    """Others may own the world; wake the driver for what was announced meanwhile (`engine.announce`)."""
    rings = w.promised
    w.promised = 0
    mutex.unlock(addressof(w) + LOCK)
    if rings:
        engine.ring(w)


@compiled
def after_call(w: World, now: int) -> None:
    """A call has changed something (the caller owns the world): send what is due, let go, see that someone goes on."""
    more = engine.settle(w, now)
    for _ in range(BURSTS):
        if not more:
            break
        more = engine.settle(w, now)
    deadline = engine.next_deadline(w, now)
    unlock(w)
    if w.virtual == 0 and (more or deadline < w.sleep_until):
        engine.ring(w)


@compiled
def kick(w: World, index: int, ep: Endpoint) -> None:
    """A connection's application has written or read: transmit in this thread, or leave a note for the owner."""
    if mutex.try_lock(addressof(w) + LOCK):
        if ep.generation != 0:
            engine.touched(w, handles.connection(w, index))
        after_call(w, time(w))
        return
    if handles.claim_note(ep):
        engine.leave_note(w, index)
    if mutex.try_lock(addressof(w) + LOCK):             # the owner may have looked before our note was there
        unlock_with_notes(w)


@compiled
def leave_to_driver(w: World, ep: Endpoint) -> bool:
    """Leave a note, for whom the bell has been rung and who has not come yet: whether there is somebody.

    It takes the world as soon as it runs, perhaps on this CPU: to send now would cost more, and delay it.
    """
    if load_acquire(addressof(w) + engine.RUNG) == 0 or load_acquire(addressof(w) + engine.SLEEPING) == 0:
        return False
    if handles.claim_note(ep):
        engine.leave_note(w, ep.index)
    fence_seq()                                         # it may have taken the notes before
    return load_acquire(addressof(w) + engine.RUNG) != 0 and load_acquire(addressof(w) + engine.SLEEPING) != 0


@compiled
def unlock_with_notes(w: World) -> None:
    """Take the notes, and let go."""
    engine.take_notes(w)
    after_call(w, time(w))


@compiled
def leave(w: World, h: int, ep: Endpoint) -> None:
    """A thread goes out of a call; if the socket was closed meanwhile, it could not be freed before."""
    leave_call(ep)
    if ep.closed and not in_use(ep):
        lock(w)
        if ep.closed and ep.generation != 0:            # ours, or one that has the entry now and closed meanwhile
            if handles.is_tcp(h):
                tcb.mark_due(w.tcp, handles.connection(w, ep.index))
            else:
                datagram.notify(w.datagrams, handles.socket(w, ep.index))
        after_call(w, time(w))


# ---- waiting -------------------------------------------------------------------

@compiled
def wait(w: World, h: int, ep: Endpoint, events: int, deadline: int) -> int:
    """Wait until `ep` has one of `events` (or an error): its readiness; 0 at the deadline; -EINTR after a slice."""
    until = min(deadline, time(w) + _slice(w))
    enter_call(ep)
    result = STEPPED_DOWN
    if _is_to_drive(w, ep):
        result = _drive(w, h, ep, events, until)
    if result == STEPPED_DOWN:
        result = _sleep(w, h, ep, events, until)
    leave(w, h, ep)
    if result == 0 and until < deadline:
        return -EINTR
    return result


@compiled
def _slice(w: World) -> int:
    """How long this thread may stay away from Python, ns."""
    return SLICE if w.patience == 0 or libc.pthread_self() == w.main_thread else w.patience


@compiled
def await_input(w: World, h: int, ep: Endpoint, deadline: int) -> int:
    """Wait, as a call that found nothing: 0 when it is to try again, -EAGAIN when the time is over, or -errno.

    The caller is counted in `users`.  -EINTR: Python is to look after its signals, and to call again.  On a virtual
    clock it is Python that waits.
    """
    if w.virtual:
        return -EAGAIN
    ready = wait(w, h, ep, POLLIN, deadline)
    if ready > 0:
        return 0
    return ready if ready < 0 else -EAGAIN


@compiled
def _is_to_drive(w: World, ep: Endpoint) -> bool:
    """Whether this thread drives from now on: nobody does, and no selector's thread is expected back."""
    if w.serving != 0 and ep.kind != Kind.SELECTOR:
        return False
    return load_acquire(addressof(w) + DRIVERS) == 0 and compare_exchange(addressof(w) + DRIVERS, 0, 1) == 0


@compiled
def _result(w: World, h: int, ep: Endpoint, events: int) -> int:
    """What `wait` returns now, or 0: go on waiting."""
    if load_acquire(addressof(w) + STOPPED):
        return -ESHUTDOWN
    if not handles.is_open(ep, h):
        return -EBADF
    ready = handles.poll(w, h)
    if ready & QUEUED:
        ready &= ~POLLERR
    return ready & (events | POLLERR | POLLHUP)


@compiled
def _sleep(w: World, h: int, ep: Endpoint, events: int, until: int) -> int:
    """Somebody else drives: sleep until woken."""
    fetch_add(addressof(ep) + WAITERS, 1)
    result = 0
    while True:
        event = load_acquire(addressof(ep) + EVENT)
        result = _result(w, h, ep, events)
        left = until - libc.monotonic()
        if result != 0 or left <= 0:
            break
        fence_seq()
        if libc.futex_wait(addressof(ep) + EVENT, event, left) == -EINTR:
            result = -EINTR
            break
    fetch_add(addressof(ep) + WAITERS, 0xFFFF_FFFF)
    return result


@compiled
def _rouse(w: World) -> None:
    """The background thread is to drive now."""
    state = load_acquire(addressof(w) + BACKGROUND)
    if state == Background.NAPPING or state == Background.PARKED:
        fetch_add(addressof(w) + BACKGROUND_WORD, 1)
        libc.futex_wake(addressof(w) + BACKGROUND_WORD, 1)


@compiled
def _drive(w: World, h: int, ep: Endpoint, events: int, until: int) -> int:
    """Run the engine until the socket is ready, or until another thread has got work: STEPPED_DOWN."""
    fetch_add(addressof(ep) + DRIVING, 1)               # a count: one that has given the role away may still be here
    if load_acquire(addressof(w) + BACKGROUND) == Background.SLEEPING:
        engine.ring(w)
    result = _result(w, h, ep, events)
    spin_until = 0                                      # decided at the first idle moment
    spun = 0
    driving = 1                                         # until a turn gives the role away (engine.step_down)
    while result == 0:
        lock(w)
        now = libc.monotonic()                          # owned first: time must not go back between two owners
        w.turning = 1
        more = engine.turn(w, now)
        next = engine.next_deadline(w, now)
        if w.serving and ep.kind != Kind.SELECTOR:      # its thread runs the next one
            engine.give_away(w)
        driving = w.turning
        w.turning = 0
        w.driven += 1
        unlock(w)
        result = _result(w, h, ep, events)
        if result != 0 or now >= until:
            break
        if not driving:
            result = STEPPED_DOWN
        elif more == 0:
            if spin_until == 0:
                spin_until = now + _allowance(w, ep)
            if now < spin_until:
                spun = 1
                continue
            if spun:
                _learn(w, 1)
                spun = 0
            found = _poll(w, min(next, until), now)
            if found == -EINTR:
                result = -EINTR
            elif found == 0 and not engine.has_notes(w):    # the bell: perhaps another thread has done it all
                result = _result(w, h, ep, events)
    if spun and result != 0:
        _learn(w, 0)
    fetch_add(addressof(ep) + DRIVING, 0xFFFF_FFFF)
    if driving:
        store_release(addressof(w) + DRIVERS, 0)
    fence_seq()
    if result == 0:                                     # nobody was woken for what came at the last moment: it is ours
        result = _result(w, h, ep, events)
    if load_acquire(addressof(w) + BACKGROUND) == Background.PARKED:
        _rouse(w)                                       # it was not looking; now it must
    return result


@compiled
def _allowance(w: World, ep: Endpoint) -> int:
    """How long this wait may look for frames before it sleeps, ns (SO_BUSY_POLL, socket(7)).

    Differs: adaptive.  Where spinning does not pay (the peer needs this CPU, or takes longer), fewer and fewer waits
    try it again; a stream that answers nothing does not, unless its socket has the option.
    """
    us = ep.busy_poll - 1
    if us < 0:
        if _only_receives(w, ep):
            return 0
        us = w.datagrams.busy_poll if ep.kind == Kind.SELECTOR else w.datagrams.busy_read
    if us != 0 and w.spin_skip > 0:
        w.spin_skip -= 1
        return 0
    return us * MICROSECOND


@compiled
def _only_receives(w: World, ep: Endpoint) -> bool:
    """Whether a stream's text comes without being answered: nobody waits for us, and to sleep costs less."""
    if ep.kind != Kind.TCP:
        return False
    q = handles.connection(w, ep.index).quick
    return q.ato != 0 and q.pingpong == 0


@compiled
def _learn(w: World, missed: int) -> None:
    """A wait has spun: in vain, or not.  Only the thread that drives comes here."""
    if not missed:
        w.spin_misses = max(w.spin_misses - 1, 0)
        return
    w.spin_misses = min(w.spin_misses + 1, SPIN_RARELY)
    w.spin_skip = (1 << w.spin_misses) - 2      # the first miss may be chance


@compiled
def _poll(w: World, until: int, now: int) -> int:
    """Sleep in poll(2) until a device or the bell has something, or `until`: how many devices have, or -EINTR."""
    if until <= now:
        return 0
    w.sleep_until = until
    fetch_add(addressof(w) + engine.SLEEPING, 1)
    # Whoever changes something now rings.  What changed before we said that we sleep must be looked at here.
    quiet = not load_acquire(addressof(w) + STOPPED)
    until = min(until, engine.next_deadline(w, now))        # notes and frames that wait count as "now"
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1 and not device.sleep(iface.device):
            quiet = False
    result = 0
    if quiet:
        fds = addressof(w.poll_fds)
        result = libc.poll_ns(fds, 1 + w.net.interface_count, -1 if until == NEVER else max(until - now, 0))
        if result > 0 and load32(fds + 4) >> 16 != 0:
            engine.answer_bell(w)
            result -= 1
    for i in range(w.net.interface_count):
        device.wake(w.net.interfaces[i + 1].device)
    fetch_add(addressof(w) + engine.SLEEPING, 0xFFFF_FFFF)
    return result


@compiled
def set_poll_fds(w: World) -> None:
    """Fill in the poll set after an interface has come or gone.  The caller owns the world."""
    fds = addressof(w.poll_fds)
    store32(fds, w.bell)
    store32(fds + 4, libc.POLLIN)
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        store32(fds + 8 * (i + 1), iface.device.fd if iface.up == 1 else -1)
        store32(fds + 8 * (i + 1) + 4, libc.POLLIN)


@compiled
def turn_here(w: World) -> None:
    """One turn in a thread that does not wait, but is about to use what has come."""
    lock(w)
    now = time(w)
    more = engine.turn(w, now)
    next = engine.next_deadline(w, now)
    w.driven += 1
    unlock(w)
    asleep = load_acquire(addressof(w) + BACKGROUND) == Background.SLEEPING      # it need not wake for what we take in
    if w.virtual == 0 and (more or asleep or next < w.sleep_until):
        engine.ring(w)


# ---- the background thread ---------------------------------------------------------

@compiled
def background(w: World) -> int:
    """Drive whenever no application thread does.

    Returns -ESHUTDOWN when the stack stops, -EINTR when Python should have a look (`Net.attention`).
    """
    nap = NAP
    missed = 0                                          # naps since an application thread has run a turn
    seen = w.driven
    state = addressof(w) + BACKGROUND
    while not load_acquire(addressof(w) + STOPPED):
        word = load_acquire(addressof(w) + BACKGROUND_WORD)
        recent = w.driven != seen
        seen = w.driven
        missed = 0 if recent else missed + 1
        if missed >= SERVING:
            w.serving = 0
        if w.net.attention:
            return -EINTR
        if load_acquire(addressof(w) + DRIVERS) != 0:
            nap = NAP if recent else min(nap * 2, LONG_NAP)
            _nap(w, state, word, nap)
            continue
        store_release(state, Background.TURNING)
        lock(w)
        now = libc.monotonic()                          # owned first: time must not go back between two owners
        more = engine.turn(w, now)
        next = engine.next_deadline(w, now)
        unlock(w)
        if more:
            continue
        if recent or w.serving:                         # somebody drove a moment ago, and will probably be back
            _nap(w, state, word, NAP)
            continue
        store_release(state, Background.SLEEPING)
        fence_seq()
        if load_acquire(addressof(w) + DRIVERS) == 0 and not load_acquire(addressof(w) + STOPPED):
            _poll(w, next, libc.monotonic())
    store_release(state, Background.GONE)
    return -ESHUTDOWN


@compiled
def _nap(w: World, state: int, word: int, nap: int) -> None:
    """Sleep for a while, unless somebody calls."""
    store_release(state, Background.PARKED if nap > NAP else Background.NAPPING)
    libc.futex_wait(addressof(w) + BACKGROUND_WORD, word, nap)
