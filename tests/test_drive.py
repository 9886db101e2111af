"""Who drives and who is woken: one thread for one arrival, roles given away in time, waits that spin where it pays."""
from __future__ import annotations

import errno
import os
import selectors
import threading
import time
from collections import Counter

import pytest

import netstack
import netstack.socket as ns
from netstack import drive, engine, handles, sockopt
from netstack import world as worlds
from netstack.endpoint import EVERYBODY, POLLIN, Kind, pass_on
from netstack.entry import life
from netstack.machine.mode import IMAGE, JIT

from .waiting import blocked, is_asleep, until

SMALL = worlds.Profile(connections=64, sockets=64, runs=64, buffers=1 << 20)
US = 1000
THREADS = 12            # that wait for one socket
TRIES = 50              # of what must be done before a blocked call looks for signals


@pytest.fixture
def stack():
    with netstack.Stack() as made:
        yield made


def counted(monkeypatch, where: str) -> Counter[int]:
    """How often a function of the engine was called, by what it returned: an error, or 0 for success.

    Not where it came back because a slice was over, for the sake of signals.
    """
    module, _, name = where.rpartition(".")
    plain = getattr(__import__(module, fromlist=[name]), name)
    results: Counter[int] = Counter()

    def call(*arguments: int) -> int:
        began = time.monotonic_ns()
        result = int(plain(*arguments))
        if result != -errno.EINTR or time.monotonic_ns() - began < drive.SLICE:
            results[min(result, 0)] += 1
        return result

    monkeypatch.setattr(where, call)
    return results


def workers(count: int, work) -> list[threading.Thread]:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def all_asleep(sock, threads: list[threading.Thread]) -> bool:
    """Whether they all wait for this socket, and none is still on its way into the wait."""
    return blocked(sock) == len(threads) and all(is_asleep(thread.native_id) for thread in threads)


def no_herd(calls: Counter[int], threads: int, arrivals: int) -> None:
    """Only threads that got something came back, and at the end all of them once more.

    On a busy machine others may come in vain for the same arrival: who drove, and was late, and who was only about to
    sleep.  A herd comes with all its threads each time: half of them is far from both.
    """
    assert calls[0] == arrivals
    assert calls.total() <= (1 + threads // 2) * arrivals + threads < threads * arrivals


def test_one_connection_wakes_one_thread(stack, monkeypatch):
    """Threads accept; each connection is one thread's, and the others do not even try."""
    calls = counted(monkeypatch, "netstack.entry.accept")
    taken = []

    def work() -> None:
        try:
            while True:
                taken.append(server.accept()[0])
        except OSError:
            pass

    with stack.create_server(("127.0.0.1", 0)) as server:
        threads = workers(THREADS, work)
        until(lambda: all_asleep(server, threads))
        for i in range(1, 6):
            with stack.create_connection(server.getsockname()):
                until(lambda i=i: len(taken) == i and all_asleep(server, threads))
        no_herd(calls, THREADS, 5)
        server.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()        # a closed listener wakes them all
    for conn in taken:
        conn.close()


def test_one_datagram_wakes_one_thread(stack, monkeypatch):
    calls = counted(monkeypatch, "netstack.sockdata._recv")
    got = []

    def work() -> None:
        try:
            while data := sock.recv(10):
                got.append(data)
        except OSError:
            pass

    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as sock, stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as far:
        sock.bind(("127.0.0.1", 0))
        threads = workers(THREADS, work)
        until(lambda: all_asleep(sock, threads))
        for i in range(1, 6):
            far.sendto(b"x", sock.getsockname())
            until(lambda i=i: len(got) == i and all_asleep(sock, threads))
        no_herd(calls, THREADS, 5)
        for _ in threads:
            far.sendto(b"", sock.getsockname())     # whoever takes one wakes the next
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def test_a_burst_is_for_all(stack):
    """What one turn has brought for several threads reaches them all, though it wakes one."""
    met = threading.Barrier(4)

    def work() -> None:
        with server.accept()[0]:
            met.wait(60)

    with stack.create_server(("127.0.0.1", 0)) as server:
        threads = workers(3, work)
        until(lambda: blocked(server) == 3)
        ends = [stack.socket() for _ in threads]
        for end in ends:
            end.setblocking(False)
            with pytest.raises(BlockingIOError):
                end.connect(server.getsockname())
        met.wait(60)
        for thread in threads:
            thread.join()
        for end in ends:
            end.close()


# -- units

@pytest.fixture
def world():
    record, memory = worlds.create(SMALL, seed=1)
    yield record
    del memory


def socket_of(w) -> tuple[int, object]:
    h = life.open(engine.addressof(w), int(Kind.UDP), 2, 0)
    return h, handles.endpoint_of(w, h)


@pytest.mark.skipif(JIT or IMAGE, reason="compiled code calls the system, not what stands in for it")
def test_how_many_are_woken(world, monkeypatch):
    woken: list[int] = []
    monkeypatch.setattr("netstack.endpoint.libc.futex_wake", lambda p, n: woken.append(n) or 1)
    _, ep = socket_of(world)

    def announced(one: bool) -> list[int]:
        woken.clear()
        engine.announce(world, ep, one)
        return list(woken)

    assert announced(True) == announced(False) == []        # nobody sleeps: no system call
    ep.waiters = 3
    assert announced(True) == [1]
    assert announced(False) == [EVERYBODY]
    ep.driving = 1
    assert announced(True) == []                            # it is the driver's own
    assert announced(False) == [EVERYBODY]
    ep.closed = 1
    assert announced(True) == [EVERYBODY]
    ep.closed = ep.driving = 0
    world.stopped = 1
    assert announced(True) == [EVERYBODY]
    woken.clear()
    pass_on(ep, False)
    assert woken == []
    pass_on(ep, True)
    assert woken == [1]


@pytest.fixture
def bell(world):
    """How often the bell has been rung since the last time one asked; who sleeps is asleep in poll(2)."""
    world.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def rung() -> int:
        try:
            return os.eventfd_read(world.bell)
        except BlockingIOError:
            return 0

    yield rung
    os.close(world.bell)
    world.bell = -1


def test_the_bell_is_rung_once_for_each_sleep(world, bell):
    engine.ring(world)
    assert bell() == 0                                  # nobody sleeps
    world.sleeping = 1
    for _ in range(3):
        engine.ring(world)
    assert world.rung == 1
    assert bell() == 1
    engine.ring(world)
    engine.answer_bell(world)
    assert (world.rung, bell()) == (0, 0)
    engine.ring(world)
    assert bell() == 1


def test_who_hears_the_bell_tells_the_other_sleeper(world, bell):
    """Somebody may have trusted in the first ring while it was being answered."""
    world.sleeping = 2
    engine.ring(world)
    engine.answer_bell(world)
    assert (world.rung, bell()) == (1, 1)


def test_the_driver_is_woken_when_it_can_have_the_world(world, bell):
    _, ep = socket_of(world)
    ep.driving = world.sleeping = 1
    drive.lock(world)
    engine.announce(world, ep, True)
    assert bell() == 0                                  # it would wait for us
    drive.unlock(world)
    assert bell() == 1
    drive.lock(world)
    drive.unlock(world)
    assert bell() == 0


@pytest.mark.parametrize("note", [False, True])
def test_what_came_with_the_bell_needs_no_turn(world, bell, note):
    """Another thread has done it all: the driver goes with what it got, but not past a note."""
    h, ep = socket_of(world)
    connection = life.open(engine.addressof(world), int(Kind.TCP), 2, 0) & 0xFFFF_FFFF
    world.net.interfaces[1].up = 0                      # it has no device here
    engine.set_units(world)
    drive.set_poll_fds(world)
    for _ in range(TRIES):
        ep.error = 0
        began = time.monotonic_ns()
        thread, = workers(1, lambda: drive.wait(world, h, ep, POLLIN, drive.time(world) + 30_000 * drive.MS))
        until(lambda: world.sleeping == 1 or not thread.is_alive())         # noqa: B023
        before = world.driven
        if note:
            engine.leave_note(world, connection)
        ep.error = errno.ECONNREFUSED
        engine.ring(world)
        in_time = time.monotonic_ns() - began < drive.SLICE                 # else it may have come back by itself
        thread.join(60)
        assert not thread.is_alive()
        if in_time:
            break
        engine.take_notes(world)
    assert in_time
    assert world.driven - before == note
    assert not engine.has_notes(world)


def test_nobody_drives_while_a_selector_serves(world):
    """Its thread is busy with what was ready, and runs the next turn: others sleep meanwhile."""
    h, _ = socket_of(world)
    selector = life.open(engine.addressof(world), int(Kind.SELECTOR), 2, 0)

    def turns(handle: int) -> int:
        before = world.driven
        it = handles.endpoint_of(world, handle)
        assert drive.wait(world, handle, it, POLLIN, drive.time(world) + 100 * US) == 0
        return world.driven - before

    world.serving = 1
    assert turns(h) == 0 and turns(selector) > 0
    world.serving = 0
    assert turns(h) > 0 and turns(selector) > 0


def test_a_driver_makes_way_for_a_selector(world):
    h, ep = socket_of(world)
    world.serving = 1
    world.drivers = 1
    assert drive._drive(world, h, ep, POLLIN, drive.time(world) + 30_000 * drive.MS) == drive.STEPPED_DOWN
    assert (world.drivers, world.driven) == (0, 1)


def test_a_selector_that_is_long_away_is_not_waited_for(stack):
    """The background thread drives again, and so may others."""
    with (stack.selector() as selector, stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as sock,
          stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as far):
        sock.bind(("127.0.0.1", 0))
        selector.register(sock, selectors.EVENT_READ)
        far.sendto(b"x", sock.getsockname())
        assert selector.select()
        until(lambda: stack._record.serving == 0)


def test_the_role_is_free_before_the_other_wakes(world):
    _, ep = socket_of(world)
    for kind, waiters, driving, free in ((Kind.UDP, 1, 0, True), (Kind.SELECTOR, 1, 0, True),
                                         (Kind.SELECTOR, 0, 0, True),       # busy, and will run a turn
                                         (Kind.SELECTOR, 0, 1, False),      # it is the driver
                                         (Kind.UDP, 0, 0, False)):          # nobody knows when, if ever
        world.drivers = world.turning = 1
        ep.kind, ep.waiters, ep.driving = kind, waiters, driving
        engine.step_down(world, ep)
        assert (world.drivers, world.turning) == ((0, 0) if free else (1, 1)), (kind, waiters, driving)


def test_another_threads_turn_takes_no_role(world):
    _, ep = socket_of(world)
    world.drivers, world.turning = 1, 0         # the driver sleeps; a call of another thread runs
    ep.waiters = 1
    engine.step_down(world, ep)
    assert world.drivers == 1


def test_how_long_a_wait_spins(world):
    _, ep = socket_of(world)
    assert drive._allowance(world, ep) == 50 * US       # net.core.busy_read
    world.datagrams.busy_read = 20
    assert drive._allowance(world, ep) == 20 * US
    ep.busy_poll = 1 + 7                                # SO_BUSY_POLL 7
    assert drive._allowance(world, ep) == 7 * US
    ep.busy_poll = 1
    assert drive._allowance(world, ep) == 0
    ep.busy_poll, ep.kind = 0, Kind.SELECTOR
    world.datagrams.busy_poll = 3
    assert drive._allowance(world, ep) == 3 * US


def test_a_stream_that_answers_nothing_does_not_spin(world):
    h = life.open(engine.addressof(world), int(Kind.TCP), 2, 0)
    ep = handles.endpoint_of(world, h)
    quick = handles.connection(world, ep.index).quick
    assert drive._allowance(world, ep) == 50 * US       # nothing has come yet
    quick.ato = 40 * drive.MS
    assert drive._allowance(world, ep) == 0
    quick.pingpong = 1
    assert drive._allowance(world, ep) == 50 * US
    quick.pingpong, ep.busy_poll = 0, 1 + 7             # SO_BUSY_POLL
    assert drive._allowance(world, ep) == 7 * US


def test_spinning_in_vain_gets_rare(world):
    _, ep = socket_of(world)

    def spins(waits: int, hit: bool) -> int:
        done = 0
        for _ in range(waits):
            if drive._allowance(world, ep):
                done += 1
                drive._learn(world, 0 if hit else 1)
        return done

    assert spins(10_000, hit=False) < 25
    assert spins(5_000, hit=True) > 2_000               # it comes back when it pays
    assert spins(100, hit=True) == 100
    assert spins(2, hit=False) == 2                     # one miss may be chance


# -- the option

def test_the_option(stack):
    option = (ns.SOL_SOCKET, sockopt.SO_BUSY_POLL)
    with stack.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockopt(*option) == 50
        stack.settings["net.core.busy_read"] = 30
        assert server.getsockopt(*option) == 30
        server.setsockopt(*option, 10)
        with pytest.raises(OSError):
            server.setsockopt(*option, -1)
        with stack.create_connection(server.getsockname()) as client, server.accept()[0] as conn:
            assert conn.getsockopt(*option) == 10       # a listener's is its children's
            assert client.getsockopt(*option) == 30


def test_a_wait_spins_before_it_sleeps(stack):
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.02)
        sock.setsockopt(ns.SOL_SOCKET, sockopt.SO_BUSY_POLL, 0)

        def misses() -> int:
            with pytest.raises(TimeoutError):
                sock.recv(1)
            return int(stack._record.spin_misses)

        assert misses() == 0
        sock.setsockopt(ns.SOL_SOCKET, sockopt.SO_BUSY_POLL, 1000)
        until(lambda: misses() == 1)        # unless the thread was away until the timeout
