"""VirtualClock: time that passes only when something is due, the same for every stack that shares it.

A simulation is exact on it: the same inputs give the same events at the same
nanoseconds, whatever else the machine does.  `advance` runs every stack's turns
in the order of their deadlines.  A blocking call advances the clock itself,
event by event, until its socket is ready; nobody ever sleeps.

It is made for one thread.  With several, a thread that blocks gives the others
that use the clock some real time to block too before it lets virtual time pass;
nothing is lost, but the order of events is the threads'.
"""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from errno import EBADF, EDEADLK
from typing import Any, Protocol

from . import entry
from .attention import Attention
from .endpoint import POLLERR, QUEUED
from .ip.net import Net

NEVER = 1 << 62
SECOND = 1_000_000_000
START = 1000 * SECOND           # where time begins: 0 means "not running" to a timer
POLLERR_HUP = 0x008 | 0x010
POLLNVAL = 0x020
ROUNDS = 1_000_000              # turns without time passing, before somebody is told that the stacks never rest
PATIENCE = 0.05                 # real seconds that a running thread gets before time passes without it
FAREWELL = 1.0                  # ... and before a thread that nothing can wake is told so


class Member(Protocol):
    """A stack, as its clock sees it."""

    _world: int
    _net: Net
    _attention: Attention


class Task(Protocol):
    """What Python does beside the stacks, such as a DHCP client (`VirtualClock.attend`)."""

    @property
    def deadline(self) -> int:
        """When it has something to do next, ns; NEVER."""

    def poll(self, now: int) -> bool:
        """Do what there is to do now, without waiting: whether there was anything."""


class VirtualClock:
    """A clock for `Stack(clock=...)`; several stacks on one clock live in the same time."""

    def __init__(self, seed: int = 0) -> None:
        """`seed`: what everything random in the stacks on this clock comes from."""
        self.now = START                        # ns
        self._random = random.Random(seed)
        self._members: list[Member] = []
        self._tasks: list[Task] = []
        self._lock = threading.RLock()
        self._running: dict[int, bool] = {}     # threads that have blocked here: whether they are outside now

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.time():.9f} s, {len(self._members)} stacks>"

    def time(self) -> float:
        """Seconds since the clock was made."""
        return (self.now - START) / SECOND

    def seed(self) -> int:
        """The seed for another stack."""
        return self._random.getrandbits(448)

    def join(self, member: Member) -> None:
        """A stack lives on this clock from now on."""
        with self._lock:
            self._members.append(member)

    def leave(self, member: Member) -> None:
        """... and no longer."""
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def attend(self, task: Task) -> None:
        """From now on `task.poll` is called at its deadline, and when the stacks have come to rest.

        In the thread that lets time pass.
        """
        with self._lock:
            self._tasks.append(task)

    def dismiss(self, task: Task) -> None:
        """... and no longer."""
        with self._lock:
            if task in self._tasks:
                self._tasks.remove(task)

    def next_event(self) -> int:
        """When something is due next, ns; NEVER if nothing is."""
        return min(min((entry.next_deadline(m._world) for m in self._members), default=NEVER),
                   min((task.deadline for task in self._tasks), default=NEVER))

    def settle(self) -> None:
        """Do what there is to do now, in every stack, until no frame is under way."""
        with self._lock:
            for _ in range(ROUNDS):
                busy = False
                for member in list(self._members):
                    if entry.turn(member._world, self.now) == 1:
                        busy = True
                if busy or any(entry.has_frames(m._world) for m in self._members):
                    continue
                for task in list(self._tasks):
                    busy |= task.poll(self.now)
                if not busy:
                    self._look()
                    return
        raise RuntimeError(f"the stacks did not come to rest at {self.time()} s: frames in a circle?")

    def _look(self) -> None:
        for member in self._members:
            if member._net.attention:
                member._attention.look()

    def advance(self, seconds: float | None = None, *, until: float | None = None) -> None:
        """Let time pass: so many seconds, or until so many seconds after the clock was made."""
        if (seconds is None) == (until is None):
            raise TypeError("advance() takes a number of seconds, or until=")
        if seconds is not None:
            target = self.now + round(seconds * SECOND)
        else:
            assert until is not None
            target = START + round(until * SECOND)
        if target < self.now:
            raise ValueError("time cannot go back")
        self.run_until(target)

    def run_until(self, target: int) -> None:
        """Let time pass until `target`, ns."""
        with self._lock:
            self.settle()
            if len(self._members) == 1 and not self._tasks:
                entry.run(self._members[0]._world, self.now, target)
            else:
                while (due := self.next_event()) <= target:
                    self.now = max(self.now, due)
                    self.settle()
            self.now = max(self.now, target)
            self.settle()

    def wait_until(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Let time pass until `ready()`, at most `timeout` virtual seconds.  False: it did not happen.

        Without a timeout OSError (EDEADLK) is raised when nothing can happen any more.
        """
        deadline = NEVER if timeout is None else self.now + round(timeout * SECOND)
        r = self._drive(lambda: 1 if ready() else 0, deadline)
        if r < 0:
            raise deadlock()
        return r > 0

    def wait(self, world: int, handle: int, events: int, deadline: int) -> int:
        """`entry.wait` on this clock; -EDEADLK when the socket can never become ready."""
        events |= POLLERR_HUP

        def readiness() -> int:
            ready = entry.poll(world, handle)
            if ready & QUEUED:
                ready &= ~POLLERR
            return -EBADF if ready & POLLNVAL else int(ready) & events

        return self._drive(readiness, deadline)

    def _drive(self, readiness: Callable[[], int], deadline: int) -> int:
        """Step until `readiness()` is not 0, which is the answer; 0: the deadline has come; -EDEADLK: never."""
        me = threading.get_ident()
        self._running[me] = False
        waited = 0.0
        try:
            while True:
                with self._lock:
                    self.settle()
                    r = readiness()
                    if r != 0:
                        return r
                    if self.now >= deadline:
                        return 0
                    due = self.next_event()
                    nothing = due > deadline or due >= NEVER
                    if waited >= self._patience(me, nothing and deadline >= NEVER):
                        waited = 0.0
                        if nothing:
                            if deadline >= NEVER:
                                return -EDEADLK
                            self.now = deadline
                        else:
                            self.now = max(self.now, due)
                        continue
                time.sleep(0.001)
                waited += 0.001
        finally:
            self._running[me] = True

    def _patience(self, me: int, hopeless: bool) -> float:
        """How long, in real seconds, other threads may still do something about it."""
        others = {t.ident for t in threading.enumerate() if not getattr(t, "netstack", False)} - {me}
        if not others:
            return 0.0
        if hopeless:
            return FAREWELL
        return PATIENCE if any(self._running.get(ident or 0, False) for ident in others) else 0.0


def deadlock() -> OSError:
    """What a call gets that could only return if something happened, when nothing will."""
    return OSError(EDEADLK, "this call would wait forever: nothing is due on the virtual clock, "
                            "and nobody else can act (give the socket a timeout, or act before you wait)")


def check(clock: Any) -> VirtualClock | None:
    """The argument `clock` of a Stack."""
    if clock is not None and not isinstance(clock, VirtualClock):
        raise TypeError(f"clock must be a VirtualClock, or None for the real one, not {clock!r}")
    return clock
