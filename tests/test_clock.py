"""VirtualClock: exact, shared, and never waiting in real time."""
from __future__ import annotations

import errno
import time

import pytest

import netstack
import netstack.socket as ns
from netstack.drivers import Impaired, Wire

SECOND = netstack.clock.SECOND


def delayed_pair(life, clock, **impairments):
    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(clock=clock)) for _ in range(2))
    a.attach(Impaired(left, **impairments), ip="192.0.2.1/24", dad=False)
    b.attach(right, ip="192.0.2.2/24", dad=False)
    return a, b


def test_advance(clock):
    assert clock.time() == 0
    clock.advance(1.5)
    assert clock.time() == 1.5
    clock.advance(until=2)
    assert clock.time() == 2
    for wrong in (lambda: clock.advance(-1), lambda: clock.advance(until=1)):
        with pytest.raises(ValueError, match="time cannot go back"):
            wrong()
    for wrong in (lambda: clock.advance(), lambda: clock.advance(1, until=2)):
        with pytest.raises(TypeError):
            wrong()


def test_tasks(life, clock):
    """Python that the clock calls: at its deadline, and when the stacks have come to rest."""
    class Task:
        deadline = clock.now + 3 * SECOND

        def __init__(self):
            self.calls = []

        def poll(self, now):
            if now < self.deadline:
                return False
            self.calls.append(clock.time())
            self.deadline = netstack.clock.NEVER if len(self.calls) == 2 else self.deadline + SECOND
            return True

    task = Task()
    delayed_pair(life, clock)
    clock.attend(task)
    clock.advance(2)
    assert task.calls == []
    clock.advance(10)
    assert task.calls == [3, 4]
    task.deadline = clock.now + SECOND
    assert clock.wait_until(lambda: len(task.calls) > 2, 5)         # a call that waits lets it come to that, too
    assert clock.time() == 13
    task.deadline = clock.now + SECOND
    clock.dismiss(task)
    clock.dismiss(task)
    clock.advance(10)
    assert len(task.calls) == 3


def test_no_thread(life, clock):
    import threading

    before = threading.active_count()
    stack = life.enter_context(netstack.Stack(clock=clock))
    stack.start()
    with stack.socket():
        assert threading.active_count() == before


def test_a_conversation_takes_exactly_its_delays(life, clock):
    a, b = delayed_pair(life, clock, delay="50ms")
    with b.create_server(("", 7)) as server:
        clock.advance(10)       # announcements are over
        start = clock.time()
        client = a.create_connection(("192.0.2.2", 7))
        assert clock.time() - start == pytest.approx(0.2, abs=1e-6)     # ARP there and back, SYN there and back
        with client:
            conn, _ = server.accept()
            assert clock.time() - start == pytest.approx(0.25, abs=1e-6)
            with conn:
                start = clock.time()
                client.sendall(b"ping")
                assert conn.recv(100) == b"ping"
                conn.sendall(b"pong")
                assert client.recv(100) == b"pong"
                assert clock.time() - start == pytest.approx(0.1, abs=1e-6)


def test_nothing_happens_until_time_passes(virtual_pair):
    with virtual_pair.b.create_server(("", 7)), virtual_pair.a.socket() as s:
        s.setblocking(False)
        assert s.connect_ex((virtual_pair.b4, 7)) == errno.EINPROGRESS
        assert [c.state for c in virtual_pair.a.connections()] == ["SYN-SENT"]
        virtual_pair.clock.advance(0.001)
        assert [c.state for c in virtual_pair.a.connections()] == ["ESTABLISHED"]


def test_timeouts_are_virtual(virtual_pair):
    real = time.monotonic()
    start = virtual_pair.clock.time()
    with virtual_pair.b.create_server(("", 7)) as server:
        server.settimeout(3600)
        with pytest.raises(TimeoutError, match="timed out"):
            server.accept()
    assert virtual_pair.clock.time() - start == pytest.approx(3600, abs=1e-6)
    assert time.monotonic() - real < 30


def test_connect_to_nobody_fails_after_the_retries(life, clock):
    stack = life.enter_context(netstack.Stack(clock=clock))
    stack.attach(Wire(), ip="192.0.2.1/24", dad=False)
    with stack.socket() as s, pytest.raises(OSError) as caught:
        s.connect(("192.0.2.2", 80))
    assert caught.value.errno == errno.EHOSTUNREACH
    assert 2.9 < clock.time() < 4


def test_what_can_never_happen_is_said(virtual_pair):
    real = time.monotonic()
    with virtual_pair.b.create_server(("", 7)) as server:
        for call in (server.accept, lambda: virtual_pair.b.select([server], [], []),
                     lambda: virtual_pair.b.wait_for(lambda: False, timeout=None)):
            with pytest.raises(OSError, match="would wait forever") as caught:
                call()
            assert caught.value.errno == errno.EDEADLK
    assert time.monotonic() - real < 30


def test_close_is_seen(virtual_pair):
    with virtual_pair.a.socket() as s:
        with pytest.raises(OSError):
            s.recv(1)
        s.close()
        with pytest.raises(OSError) as caught:
            s.recv(1)
        assert caught.value.errno == errno.EBADF


def test_select(virtual_pair):
    a, b, clock = virtual_pair.a, virtual_pair.b, virtual_pair.clock
    with b.create_server(("", 7)) as server, a.create_connection((virtual_pair.b4, 7)) as client:
        assert b.select([server], [], [], 1) == ([server], [], [])
        conn, _ = server.accept()
        with conn:
            start = clock.time()
            assert a.select([client], [], [], 2.5) == ([], [], [])
            assert clock.time() - start == pytest.approx(2.5)
            assert a.select([client], [client], []) == ([], [client], [])
            conn.sendall(b"x")
            assert a.select([client], [], []) == ([client], [], [])


def test_a_wire_is_sniffed_in_virtual_time(life, clock):
    stack = life.enter_context(netstack.Stack(clock=clock))
    wire = Wire()
    stack.attach(wire, ip="192.0.2.1/24", link_local=False)
    while wire.sniff(timeout=10) is not None:
        pass
    start = clock.time()
    assert wire.sniff(timeout=5) is None
    assert clock.time() - start == pytest.approx(5)
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
        s.sendto(b"x", ("192.0.2.2", 9))
    request = wire.sniff(timeout=0)
    assert request is not None
    assert request[12:14] == b"\x08\x06"


def test_several_threads(virtual_pair, spawn, monkeypatch):
    """An echo server in a thread, written as for the real clock."""
    monkeypatch.setattr("netstack.clock.FAREWELL", 60.0)        # the other thread may be slow

    def serve(server):
        conn, _ = server.accept()
        with conn:
            while data := conn.recv(1000):
                conn.sendall(data.upper())

    with virtual_pair.b.create_server(("", 7)) as server:
        task = spawn(serve, server)
        with virtual_pair.a.create_connection((virtual_pair.b4, 7)) as client:
            for word in (b"one", b"two", b"three"):
                client.sendall(word)
                assert client.recv(100) == word.upper()
        task.result()


def history(seed: int) -> tuple[list[bytes], float, dict[str, int]]:
    clock = netstack.VirtualClock(seed)
    left, right = Wire("02:00:00:00:00:01", name="left"), Wire("02:00:00:00:00:02", name="right")
    Wire.join(left, right)
    with netstack.Stack(clock=clock) as a, netstack.Stack(clock=clock) as b:
        a.attach(Impaired(left, loss=0.1, delay="20ms", jitter="5ms", seed=3), ip="192.0.2.1/24", dad=False)
        b.attach(right, ip="192.0.2.2/24", dad=False)
        with b.create_server(("", 7)) as server, a.create_connection(("192.0.2.2", 7)) as client:
            conn, peer = server.accept()
            pieces = [repr(peer).encode()]
            with conn:
                client.sendall(bytes(200_000))
                client.shutdown(ns.SHUT_WR)
                while piece := conn.recv(3000):
                    pieces.append(piece)
        return pieces, clock.time(), a.stats()


def test_the_same_every_time():
    once = history(1)
    assert once == history(1)
    assert once[1] != history(2)[1] or once[0][0] != history(2)[0][0]
