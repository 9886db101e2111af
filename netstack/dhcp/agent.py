"""Agent: keeps an interface's lease, for as long as the stack is open.

RFC 2131.  It joins the client's states, the sockets and the stack: `poll` takes
what has come, does what is due, and never waits.  On the real clock a thread calls
it, which sleeps in poll(2) until a message is there, a deadline, or `close`; on a
VirtualClock the clock does, whenever the stacks on it have come to rest.

The thread does not keep the stack alive: who forgets to close a stack is told so.
"""
from __future__ import annotations

import errno
import ipaddress
import logging
import os
import random
import select
import signal
import threading
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, cast

from . import options
from .client import HEARING, Client, State
from .configure import Configuration, tell_resolver
from .lease import Lease
from .link import Link
from .message import Message

if TYPE_CHECKING:
    from ..interface import Interface
    from ..stack import Stack

log = logging.getLogger("netstack")
MS = 1_000_000
LONGEST_SLEEP = 3_600_000       # ms
LARGEST_MESSAGE = 1500
SMALLEST_MESSAGE = 576          # (2) that every client takes
SLICE = 0.1                     # s: as long as a call of the stack sleeps at once
FAREWELL = 1.0                  # s for the server's link address, so that a RELEASE gets away


class Agent:
    """The client of one interface; see `Interface.dhcp`."""

    def __init__(self, interface: Interface, *, host_name: str | None = None, client_id: bytes | None = None,
                 address: str | None = None, release: bool = False) -> None:
        """ValueError: not Ethernet, or what no message can say."""
        driver, stack = interface.driver, cast("Stack", interface.stack)
        if not driver.ethernet or driver.point_to_point:
            raise ValueError(f"{interface.name}: DHCP needs an Ethernet link")
        name = (host_name or "").encode("ascii", "replace")
        if host_name is not None:
            options.name(name)
        if client_id is not None and not 2 <= len(client_id) <= 255:
            raise ValueError("a client identifier has 2 to 255 bytes (RFC 2132 9.14)")
        self._interface = interface
        self._stack = stack
        self._release = release
        self._lock = threading.RLock()
        self._waiting: list[SimpleQueue[None]] = []     # a thread's own each: Ctrl-C cannot leave anything locked
        self._over = False
        self._why = errno.ECANCELED         # ... for who waits
        self._bell = -1
        self._thread: threading.Thread | None = None
        self._link = Link(interface)
        self._configuration = Configuration(interface)
        self._used: Lease | None = None     # what the interface has been given
        clock = stack.clock
        self._client = Client(
            self, driver.mac, random.SystemRandom() if clock is None else random.Random(clock.seed()),
            host_name=name, client_id=client_id or b"", largest=max(min(interface.mtu, LARGEST_MESSAGE),
                                                                    SMALLEST_MESSAGE),
            address=int(ipaddress.IPv4Address(address)) if address is not None else 0, keeper=self)

    def __repr__(self) -> str:
        return f"<Agent of {self._interface.name}: {self.state}>"

    @property
    def state(self) -> str:
        """The client's, in RFC 2131's word."""
        return self._client.state.value

    @property
    def lease(self) -> Lease | None:
        """What the interface has, all of it: address, routes, names; None: nothing yet, or no more."""
        return self._used if self._client.lease is not None else None

    @property
    def granted(self) -> Lease | None:
        """What is being made use of, perhaps a moment before `lease` says it."""
        return self._client.lease

    # Life

    def start(self) -> None:
        """Begin, and go on by itself."""
        clock = self._stack.clock
        if clock is not None:
            clock.attend(self)
            return
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        thread = threading.Thread(target=_run, args=(weakref.ref(self), self._bell), daemon=True,
                                  name=f"netstack dhcp {self._interface.name}")
        thread.netstack = True              # type: ignore[attr-defined]
        self._thread = thread
        thread.start()

    def close(self, release: bool | None = None, why: int = errno.ECANCELED) -> None:
        """End it; what the lease has set is taken back.  `release`: tell the server; None: as it was told.

        `why`: the errno for whoever waits.
        """
        with self._lock:
            if self._over:
                return
            self._over = True
            self._why = why
            released = (self._release if release is None else release) and self._client.lease is not None
            self._client.stop(released)
            self._link.close()
        self._wake()
        try:
            if released:                    # its datagram may wait for the server's link address
                with suppress(OSError):     # the stack is closed, or the interface is gone, meanwhile
                    self._stack.wait_for(self._knows_all, FAREWELL)
        finally:
            self._undo()

    def _undo(self) -> None:
        """What is left to do when the client has stopped."""
        with suppress(OSError):
            self._configuration.clear()
        self._forget()
        if self._stack.clock is not None:
            self._stack.clock.dismiss(self)
        thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._bell, 1)
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()               # one that Ctrl-C has overtaken on its way to life sees that it is over
            os.close(self._bell)

    def renew(self) -> None:
        """Do so now."""
        with self._lock:
            if not self._over:
                self._client.renew()
                if self._bell >= 0:
                    os.eventfd_write(self._bell, 1)

    def _knows_all(self) -> bool:
        return "incomplete" not in self._interface.neighbours.values()

    def _forget(self) -> None:
        agents = self._stack._agents
        if agents.get(self._interface.index) is self:
            del agents[self._interface.index]
        tell_resolver(self._stack)

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._over = True
        self._lock = threading.RLock()
        self._waiting.clear()
        self._thread = None
        if self._bell >= 0:
            os.close(self._bell)

    def wait(self, timeout: float | None) -> Lease:
        """The lease, when there is one.  TimeoutError; OSError if the stack, the interface or the lease goes."""
        clock = self._stack.clock
        if clock is not None:
            clock.wait_until(self._is_decided, timeout)
        else:
            self._sleep(timeout)
        lease = self.lease
        if lease is not None:
            return lease
        if self._over:
            raise OSError(self._why, f"{self._interface.name}: the DHCP client was ended")
        raise TimeoutError(f"{self._interface.name}: no lease from a DHCP server within {timeout:g} s ({self.state})")

    def _sleep(self, timeout: float | None) -> None:
        """Until there is a lease, or it is over, or the time is.  In slices, so that a signal is seen that came just
        before the sleep, or in another thread."""
        deadline = None if timeout is None else time.monotonic() + timeout
        woken: SimpleQueue[None] = SimpleQueue()
        self._waiting.append(woken)
        try:
            while not self._is_decided():
                left = SLICE if deadline is None else min(deadline - time.monotonic(), SLICE)
                if left <= 0:
                    return
                with suppress(Empty):
                    woken.get(timeout=left)
        finally:
            self._waiting.remove(woken)

    def _wake(self) -> None:
        for woken in list(self._waiting):
            woken.put(None)

    def _is_decided(self) -> bool:
        return self._over or self.lease is not None

    # Turns

    @property
    def deadline(self) -> int:
        """When `poll` has something to do, ns, if no message comes."""
        return self._client.deadline

    def poll(self, now: int) -> bool:
        """Do what can be done now: whether there was something.

        What this host refuses (no port, no room for an address) is logged, and tried again later.
        """
        with self._lock:
            if self._over:
                return False
            client, busy = self._client, False
            try:
                while (message := self._link.hear()) is not None:
                    busy |= client.hear(message, now)
                if now >= client.deadline:
                    client.step(now)
                    busy = True
                self._link.listen(client.state in HEARING)
            except OSError as error:
                if self._stack.closed or not self._interface.is_attached:
                    client.stop(False)
                else:
                    log.warning("%s: DHCP: %s", self._interface.name, error)
                    self._link.close()
                    client.fail(now)
            return busy

    def _turn(self) -> tuple[int, int] | None:
        """The thread's: the descriptor to look at (or -1) and how many ms to sleep; None: it is over."""
        with self._lock:
            if self._over:
                return None
            now = self._stack._now()
            self.poll(now)
            if self._client.state is State.STOPPED:
                return None
            left = self._client.deadline - self._stack._now()
            try:
                fd = self._link.fileno()
            except OSError:                 # the stack is being closed
                fd = -1
            return fd, max(0, min(-(-left // MS), LONGEST_SLEEP))

    # What the client decides (client.Host)

    def broadcast(self, message: Message) -> None:
        """See Host."""
        try:
            self._link.broadcast(message)
        except OSError as error:
            self._lost(error)

    def unicast(self, message: Message, server: str) -> None:
        """See Host."""
        try:
            self._link.unicast(message, server)
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        """What cannot be sent is lost, as if the link had lost it: it will be sent again."""
        log.debug("%s: DHCP: %s", self._interface.name, error)

    def claim(self, lease: Lease) -> None:
        """See Host."""
        self._configuration.claim(lease)

    def is_free(self, lease: Lease) -> bool | None:
        """See Host."""
        return self._configuration.is_free(lease)

    def use(self, lease: Lease) -> None:
        """See Host."""
        log.info("%s: %s from %s", self._interface.name, lease.ip, lease.server)
        self._configuration.use(lease)
        tell_resolver(self._stack)
        self._used = lease                  # who waits finds everything set
        self._wake()

    def give_up(self) -> None:
        """See Host.  "SHOULD notify the local users of the problem" (4.4.5)."""
        log.warning("%s: the address of the DHCP server is not ours any more", self._interface.name)
        self._used = None
        self._configuration.clear()
        tell_resolver(self._stack)


def _run(reference: weakref.ref[Agent], bell: int) -> None:
    """The thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())    # they are the application's threads'
    while True:
        agent = reference()
        sleep = None if agent is None else agent._turn()
        del agent
        if sleep is None:
            return
        poller = select.poll()
        poller.register(bell, select.POLLIN)
        if sleep[0] >= 0:
            poller.register(sleep[0], select.POLLIN)
        poller.poll(sleep[1])
        with suppress(BlockingIOError):
            os.eventfd_read(bell)
