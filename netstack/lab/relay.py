"""Relay: two devices joined by a bad network, in real time.

What comes from one port goes out of the other, behind what `drivers.impair` does
to it: a rate with a queue, delay, loss, reordering, duplication.  A port is any
descriptor that gives and takes one frame a call: a TAP, a packet socket, one end
of a SOCK_SEQPACKET pair.  The loop is compiled and holds no GIL; a process of its
own (`start`) has it apart from who is measured.

How exact it is can be read afterwards: a frame is late by what lies between its
time of release and the moment when it was written.
"""
from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from ..drivers import Driver, Impaired, impair
from ..drivers.base import BUFFER, Device, Kind
from ..drivers.impair import Impair
from ..drivers.memory import Pages
from ..drivers.units import duration
from ..errors import EAGAIN, EINTR
from ..machine import (
    Array,
    addressof,
    at,
    compiled,
    entered,
    i64,
    libc,
    load32,
    load_acquire,
    offsetof,
    record,
    store32,
    store_release,
    u32,
)
from ..machine import lock as mutex
from ..machine.libc import POLLERR, POLLHUP, POLLIN
from ..machine.timers import NEVER

PROGRAM = "from netstack.lab.relay import main; main()"     # not -m: compiled functions have their module's name
BATCH = 16              # frames that are taken from one port before the other is looked at
SPIN = 30_000           # ns before a frame's time from which on the relay does not sleep: a wake-up takes so long
LATE = 200_000          # ns; frames later than this are counted
PR_SET_TIMERSLACK = 29
NICE = -15              # what is measured shares the CPUs with the relay; a cable does not wait for a CPU
STOP = 10.0             # seconds that its process may take to end
ENDS = {signal.SIGTERM, signal.SIGINT}


@record
class Way:
    """One direction."""

    imp: Impair
    to: Device          # where its frames go
    refused: i64        # frames that the device did not take (besides those that had waited: `imp.refused`)
    released: i64       # times that frames which had waited were let go
    late: i64           # ns that they were late, all together
    latest: i64         # ... at most
    over: i64           # times that it was more than LATE


@record
class Ports:
    """A relay."""

    lock: u32                               # held for a turn; whoever changes a setting takes it
    stopped: u32
    spin: i64                               # ns
    buffer: i64                             # address of BUFFER bytes for the frame at hand
    iov: Annotated[Array[i64], 2]           # its address and length
    ways: Annotated[Array[Way], 2]          # from the first port to the second, and back
    poll_fds: Annotated[Array[i64], 3]      # struct pollfd: both ports and the bell


LOCK = offsetof(Ports, "lock")
STOPPED = offsetof(Ports, "stopped")


@compiled
def _release(way: Way, now: int) -> None:
    """Let go what is due, and note how late that is."""
    due = impair.next_deadline(way.imp, now)
    if due > now:
        return
    way.released += 1
    way.late += now - due
    way.latest = max(way.latest, now - due)
    if now - due > LATE:
        way.over += 1
    impair.release(way.imp, way.to, now)


@compiled
def _forward(p: Ports, way: Way, fd: int) -> int:
    """Take some frames from a port and let them go their way.  1: there may be more; -errno."""
    for _ in range(BATCH):
        n = libc.read(fd, p.buffer, BUFFER)
        now = libc.monotonic()
        _release(way, now)
        if n == -EAGAIN or n == -EINTR:
            return 0
        if n <= 0:
            return n
        p.iov[0] = p.buffer
        p.iov[1] = n
        if impair.transmit(way.imp, way.to, addressof(p.iov), 1, n, now) <= 0:
            way.refused += 1
    return 1


@compiled
def _turn(p: Ports) -> int:
    """Both directions once.  1: there is more to do now."""
    more = 0
    for i in range(2):
        result = _forward(p, p.ways[i], p.ways[1 - i].to.fd)
        if result < 0:
            return result
        more |= result
    return more


@compiled
def _sleep(p: Ports, until: int) -> bool:
    """Until a frame comes, or shortly before `until`.  False: a port is gone, or somebody rang."""
    left = until - libc.monotonic() - p.spin
    if left <= 0:
        return True
    fds = addressof(p.poll_fds)
    n = libc.poll_ns(fds, 3, left)
    if n < 0:
        return n == -EINTR
    gone = (load32(fds + 4) | load32(fds + 12)) >> 16 & (POLLERR | POLLHUP)
    return gone == 0 and load32(fds + 20) >> 16 == 0


@entered
def run(ports: int, until: int) -> int:
    """Relay until that time, until a port is gone or until told to stop.  0, or -errno of a port."""
    p = at(Ports, ports)
    while load_acquire(addressof(p) + STOPPED) == 0:
        mutex.lock(addressof(p) + LOCK)
        more = _turn(p)
        now = libc.monotonic()
        due = min(impair.next_deadline(p.ways[0].imp, now), impair.next_deadline(p.ways[1].imp, now))
        mutex.unlock(addressof(p) + LOCK)
        if more < 0:
            return more
        if now >= until:
            return 0
        if more == 0 and not _sleep(p, min(due, until)):
            return 0
    return 0


class Relay:
    """Two descriptors, joined: `Relay(a, b, rate="100mbit", delay="25ms", loss="1%", seed=1)`.

    The settings are those of `netstack.drivers.Impaired`; `a_to_b` and `b_to_a`
    override them for one direction.  The descriptors stay the caller's; they are
    made non-blocking.  `spin`: so long before a frame is due the relay stops
    sleeping and looks (seconds, or "30us"): more is more exact and takes more CPU.
    """

    def __init__(self, a: int, b: int, *, a_to_b: Mapping[str, Any] | None = None,
                 b_to_a: Mapping[str, Any] | None = None, spin: float | str = "30us", **both: Any) -> None:
        self._ports = Ports.new()           # type: ignore[attr-defined]
        self._line = Impaired(_Nothing(), inbound=b_to_a, outbound=a_to_b, **both)
        self._line.guard = self._locked
        self._line.impair(self._ports.ways[1].imp, self._ports.ways[0].imp)
        self._pages = Pages(BUFFER)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ports.buffer = self._pages.address
        self._ports.spin = duration(spin)
        for way, fd in zip(self._ports.ways, (b, a), strict=True):
            os.set_blocking(fd, False)
            way.to.kind, way.to.fd = Kind.TAP, fd
        for i, fd in enumerate((a, b, self._bell)):
            store32(addressof(self._ports.poll_fds) + 8 * i, fd)
            store32(addressof(self._ports.poll_fds) + 8 * i + 4, POLLIN)

    def run(self, until: int = NEVER) -> None:
        """Relay until `stop`, until a port is gone, or until CLOCK_MONOTONIC says `until` (ns).

        OSError: a port cannot be read.
        """
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)         # of this thread: 50 us otherwise
        result = run(addressof(self._ports), until)
        if result < 0:
            raise OSError(-result, os.strerror(-result))

    def stop(self) -> None:
        """`run` returns, in whatever thread it is."""
        store_release(addressof(self._ports) + STOPPED, 1)
        os.eventfd_write(self._bell, 1)

    def set(self, direction: str = "both", /, **changes: Any) -> None:
        """Change settings ("a_to_b", "b_to_a" or "both") while frames flow; see `Impaired.set`."""
        self._line.set(_SIDES[direction], **changes)

    def counters(self) -> dict[str, dict[str, int]]:
        """By direction: `Impaired.counters`, and how late frames were.

        `released`: how often frames that had waited were let go; `late_mean` and
        `late_most`: by how many ns after their time; `late`: how often that was
        more than 200 us.  `refused`: frames that the device at the end did not take.
        """
        found = {}
        for name, way in zip(("a_to_b", "b_to_a"), self._ports.ways, strict=True):
            counters = self._line.counters(_SIDES[name])
            found[name] = {**counters, "refused": counters["refused"] + way.refused, "released": way.released,
                           "late_mean": way.late // max(way.released, 1), "late_most": way.latest, "late": way.over}
        return found

    def close(self) -> None:
        """Give the memory back.  Not while it runs."""
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        mutex.lock(addressof(self._ports) + LOCK)
        try:
            yield
        finally:
            mutex.unlock(addressof(self._ports) + LOCK)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_SIDES = {"a_to_b": "outbound", "b_to_a": "inbound", "both": "both"}


class _Nothing(Driver):
    """The device that the impairments are wrapped around: the ports have their own."""


# ---- in a process of its own

class Process:
    """A relay in another process; made by `start`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def stop(self) -> dict[str, dict[str, int]]:
        """End it: its counters, as `Relay.counters` gives them.  RuntimeError if it had failed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            said = self._process.communicate(timeout=STOP)[0]
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError("the relay did not end") from None
        if self._process.returncode != 0:
            raise RuntimeError(f"the relay ended with status {self._process.returncode}")
        counters: dict[str, dict[str, int]] = json.loads(said)
        return counters


@contextlib.contextmanager
def start(a: int, b: int, **settings: Any) -> Iterator[Process]:
    """`Relay(a, b, **settings)` in a process of its own, which is running when the block begins and ends with it.

    The descriptors may be of different network namespaces, and the caller may close them then.
    """
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(a), str(b), json.dumps(settings)],
                               pass_fds=(a, b), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"RELAYING\n":
            raise RuntimeError(f"the relay did not start (status {process.wait()})")
        yield Process(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """relay.py FD FD SETTINGS: until SIGTERM, then print the counters."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with Relay(int(sys.argv[1]), int(sys.argv[2]), **json.loads(sys.argv[3])) as relay:
        relay.run(0)                                    # what there is to compile is compiled here
        thread = threading.Thread(target=relay.run, name="relay")
        thread.start()
        print("RELAYING", flush=True)
        signal.sigwait(ENDS)
        relay.stop()
        thread.join()
        print(json.dumps(relay.counters()))

