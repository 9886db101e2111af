"""The relay between two sockets that keep frames apart, in real time."""
from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from netstack.lab import relay
from netstack.lab.relay import Relay

from ..waiting import until

MS = 1_000_000


def pair() -> tuple[socket.socket, socket.socket]:
    """A cable: what one end sends the other receives, whole."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(60)
    return ours, theirs


@pytest.fixture
def relayed(life: Any) -> Iterator[Callable[..., Any]]:
    """relayed(**settings): .a and .b are the hosts' ends, .relay is between them and runs."""
    threads = []

    def make(**settings: Any) -> Any:
        a, port_a = map(life.enter_context, pair())
        b, port_b = map(life.enter_context, pair())
        made = life.enter_context(Relay(port_a.fileno(), port_b.fileno(), **settings))
        made.run(0)                     # compiled, if need be, before anybody looks at the clock
        thread = threading.Thread(target=made.run)
        thread.start()
        threads.append((made, thread))
        return SimpleNamespace(a=a, b=b, relay=made, thread=thread, ports=(port_a, port_b))

    yield make
    for made, thread in threads:
        made.stop()
        thread.join(60)
        assert not thread.is_alive()


def frame(number: int, size: int = 100) -> bytes:
    """One that can be told from others."""
    return number.to_bytes(4, "big").ljust(size, b".")


def test_both_ways(relayed: Any) -> None:
    net = relayed()
    for number in range(50):
        net.a.send(frame(number, 1514))
        assert net.b.recv(2000) == frame(number, 1514)
        net.b.send(frame(number, 60))
        assert net.a.recv(2000) == frame(number, 60)
    assert {way: c["seen"] for way, c in net.relay.counters().items()} == {"a_to_b": 0, "b_to_a": 0}    # not impaired


def test_delay_and_its_exactness(relayed: Any) -> None:
    net = relayed(delay="20ms")
    for number in range(20):
        sent = time.monotonic_ns()
        net.a.send(frame(number))
        assert net.b.recv(2000) == frame(number)
        assert time.monotonic_ns() - sent >= 20 * MS
    counters = net.relay.counters()["a_to_b"]
    assert (counters["seen"], counters["delayed"], counters["released"]) == (20, 20, 20)
    assert 0 < counters["late_mean"] <= counters["late_most"]


def test_each_way_its_own_settings(relayed: Any) -> None:
    net = relayed(a_to_b={"drop": [2]}, b_to_a={"script": {1: "duplicate"}}, limit=100)
    for number in range(3):
        net.a.send(frame(number))
    net.b.send(frame(7))
    assert [net.b.recv(2000) for _ in range(2)] == [frame(0), frame(2)]
    assert [net.a.recv(2000) for _ in range(2)] == [frame(7)] * 2
    assert net.relay.counters()["a_to_b"]["scripted"] == net.relay.counters()["b_to_a"]["duplicated"] == 1


def test_rate_and_queue(relayed: Any) -> None:
    net = relayed(rate="1mbit", queue=10_000)
    began = time.monotonic_ns()
    for number in range(40):
        net.a.send(frame(number, 1000))         # 8 ms each; ten fit, and what has gone meanwhile
    until(lambda: net.relay.counters()["a_to_b"]["seen"] == 40)
    got = []
    while len(got) < 40 - net.relay.counters()["a_to_b"]["overflowed"]:
        got.append((net.b.recv(2000), time.monotonic_ns()))
    assert 10 <= len(got) < 40
    assert got[-1][1] - began >= len(got) * 8 * MS
    net.b.settimeout(0.05)
    with pytest.raises(TimeoutError):
        net.b.recv(2000)
    assert [f for f, _ in got] == sorted(f for f, _ in got)


def test_the_same_seed_loses_the_same_frames(relayed: Any) -> None:
    def lost() -> list[bytes]:
        net = relayed(loss="20%", seed=5)
        for number in range(100):
            net.a.send(frame(number))
        until(lambda: net.relay.counters()["a_to_b"]["seen"] == 100)
        net.relay.set("a_to_b", loss=0)
        net.a.send(b"the last one")
        return list(iter(lambda: net.b.recv(2000), b"the last one"))

    first = lost()
    assert 50 < len(first) < 100
    assert lost() == first


def test_settings_change_while_frames_flow(relayed: Any) -> None:
    net = relayed(loss=1)
    net.a.send(b"lost")
    until(lambda: net.relay.counters()["a_to_b"]["lost"] == 1)
    net.relay.set(loss=0, delay="1ms")
    net.a.send(b"not lost")
    assert net.b.recv(100) == b"not lost"


def test_it_ends_when_a_port_is_gone(relayed: Any) -> None:
    net = relayed(delay="1ms")
    net.a.send(b"before")
    assert net.b.recv(100) == b"before"
    net.a.close()
    net.thread.join(60)
    assert not net.thread.is_alive()


def test_what_the_other_side_does_not_take_is_counted(relayed: Any) -> None:
    net = relayed()
    for number in range(2000):                      # nobody reads: the port's own buffer fills
        net.a.send(frame(number, 1514))
    until(lambda: net.relay.counters()["a_to_b"]["refused"] > 0)
    assert net.b.recv(2000) == frame(0, 1514)


def test_a_process_of_its_own(life: Any) -> None:
    a, port_a = map(life.enter_context, pair())
    b, port_b = map(life.enter_context, pair())
    with relay.start(port_a.fileno(), port_b.fileno(), delay="5ms", a_to_b={"drop": [1]}) as process:
        for number in range(3):
            a.send(frame(number))
        assert [b.recv(2000) for _ in range(2)] == [frame(1), frame(2)]
        b.send(b"back")
        assert a.recv(100) == b"back"
        counters = process.stop()
    assert counters["a_to_b"]["seen"] == 3
    assert counters["a_to_b"]["scripted"] == counters["b_to_a"]["released"] == 1


def test_a_setting_that_does_not_exist() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TypeError, match="no such impairment"):
        Relay(0, 1, lose=0.1)
    assert len(os.listdir("/proc/self/fd")) == len(before)
