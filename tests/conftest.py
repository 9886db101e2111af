"""What every test has: the mode in the header, a pair of stacks on a link, a check that nothing is left behind."""
from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from netstack.machine.mode import BOUNDSCHECK, IMAGE, JIT

PATIENCE = 20.0         # seconds that a thread may take to end after its test, on a loaded machine
# Hypothesis: how long an example takes is the machine's business.  Where a landing is decided (.ci/run), each run tries
# the same examples: what a lucky draw finds is a find for whoever draws, and no word about the change.
settings.register_profile("netstack", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("landing", settings.get_profile("netstack"), derandomize=True)
settings.load_profile("landing" if os.environ.get("NETSTACK_REQUIRE_KERNEL") == "1" else "netstack")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:       # a shell's background job; its children would have that
    signal.signal(signal.SIGINT, signal.default_int_handler)
MODE = ("with the image" if IMAGE else "interpreted" if not JIT else
        "compiled, every index checked" if BOUNDSCHECK else "compiled")


def pytest_report_header() -> str:
    """At what speed this run is."""
    return f"netstack: {MODE}"


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:       # the directory itself
            continue
    return found


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """After each test: Python's own handlers of signals; a command that ran in this process had others."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: no open descriptor and no running thread that was not there before."""
    descriptors, threads = _descriptors(), set(threading.enumerate())
    yield
    deadline = time.monotonic() + PATIENCE
    while True:
        left = {fd: what for fd, what in _descriptors().items() if descriptors.get(fd) != what}
        running = [t for t in threading.enumerate() if t not in threads]
        if not left and not running:
            return
        if time.monotonic() > deadline:
            break
        gc.collect()
        time.sleep(0.01)
    pytest.fail(f"left behind: descriptors {left}, threads {running}")


@pytest.fixture
def life() -> Iterator[ExitStack]:
    """An ExitStack that is closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def clock() -> Any:
    """A virtual clock: time passes only when `advance` is called."""
    import netstack

    return netstack.VirtualClock()


def _pair(life: ExitStack, **keywords: Any) -> Any:
    import netstack
    from netstack.drivers import Wire

    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(**keywords)) for _ in range(2))
    a.attach(left, ip="192.0.2.1/24", ip6="2001:db8::1/64", dad=False)
    b.attach(right, ip="192.0.2.2/24", ip6="2001:db8::2/64", dad=False)
    return SimpleNamespace(a=a, b=b, a4="192.0.2.1", b4="192.0.2.2", a6="2001:db8::1", b6="2001:db8::2",
                           left=left, right=right)


@pytest.fixture
def pair(life: ExitStack) -> Any:
    """Two stacks, a and b, on a link in memory, in real time; a4, a6, b4, b6 are their addresses."""
    return _pair(life)


@pytest.fixture
def virtual_pair(life: ExitStack, clock: Any) -> Any:
    """The same on one virtual clock."""
    made = _pair(life, clock=clock)
    made.clock = clock
    return made


@pytest.fixture
def spawn() -> Iterator[Callable[..., Any]]:
    """spawn(function, *args): run it in a thread; the test fails if it raises or does not end.  `.result()` waits."""
    tasks: list[_Task] = []

    def start(function: Callable[..., Any], *args: Any) -> _Task:
        tasks.append(_Task(function, args))
        return tasks[-1]

    yield start
    for task in tasks:
        task.result()


class _Task:
    """A function in a thread."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._call = (function, args)
        self._thread = threading.Thread(target=self._run, name=getattr(function, "__name__", "task"), daemon=True)
        self._thread.start()

    def _run(self) -> None:
        function, args = self._call
        try:
            self._value = function(*args)
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = 100.0) -> Any:
        """What the function returned; its exception if it raised."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._thread.name} did not end in {timeout} s")
        error, self._error = self._error, None
        if error is not None:
            raise error
        return self._value
