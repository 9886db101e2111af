"""The monitor: rows, rates, the table."""
from __future__ import annotations

import io
import os
import threading
from contextlib import ExitStack
from dataclasses import replace

import pytest
from rich.console import Console

import netstack
from netstack.apps.monitor import Monitor, Processes, Row, short, table, watch
from netstack.observe.offer import Offer


def test_rows_and_rates(life: ExitStack, clock):
    stack = life.enter_context(netstack.Stack(clock))
    monitor = Monitor(stack)
    assert monitor.look() == []
    with stack.create_server(("127.0.0.1", 7)) as server, stack.socket(type=2) as udp:
        udp.bind(("127.0.0.1", 9))
        client = life.enter_context(stack.create_connection(("127.0.0.1", 7)))
        conn = life.enter_context(server.accept()[0])
        *busy, listener = monitor.look()
        assert listener == Row("tcp", "LISTEN", "127.0.0.1:7", "*", 0, 128)
        assert [(r.protocol, r.state) for r in busy] == [("tcp", "ESTABLISHED")] * 2 + [("udp", "")]
        assert all(r.send_rate == r.receive_rate == 0 for r in busy)
        client.sendall(bytes(30_000))
        clock.advance(2)
        first, second, *_ = monitor.look()
        assert {first.local, first.remote} == {second.local, second.remote}
        sender, receiver = (first, second) if first.local.endswith(f":{client.getsockname()[1]}") else (second, first)
        assert (sender.sent, receiver.received, receiver.recv_queue) == (30_000, 30_000, 30_000)
        assert sender.send_rate == receiver.receive_rate == 15_000
        assert sender.receive_rate == receiver.send_rate == 0
        assert sender.cwnd == client.info()["snd_cwnd"]
        assert sender.rtt > 0
        clock.advance(1)
        assert all(r.send_rate == 0 for r in monitor.look())
        client.close()
        conn.recv(30_000)
        conn.close()
        left = [r for r in monitor.look() if r.state == "TIME-WAIT"]
        assert [(r.cwnd, r.send_rate) for r in left] == [(None, 0.0)]       # nobody's: no TCP_INFO
        assert len(monitor._seen) == 0


def test_several_stacks(life):
    stacks = [life.enter_context(netstack.Stack()) for _ in range(2)]
    for stack in stacks:
        life.enter_context(stack.create_server(("127.0.0.1", 7)))
    assert [r.local for r in Monitor(*stacks).look()] == ["127.0.0.1:7"] * 2


ROWS = [Row("tcp", "ESTABLISHED", "10.0.0.2:80", "10.0.0.1:5000", 1, 2, 3_000_000, 400, 1500.0, 0.0, 10, 1.25),
        Row("tcp", "LISTEN", "[::]:80", "*", 0, 128)]


def drawn(rows, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table(rows, width))
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_table():
    title, first, second, sums = drawn(ROWS, 160)
    assert " ".join(title) == "state local remote recv-q send-q out B/s in B/s sent received rtt ms cwnd retrans"
    assert first == ["tcp", "ESTABLISHED", "10.0.0.2:80", "10.0.0.1:5000", "1", "2", "1.5k", "0", "3.0M", "400",
                     "1.25", "10"]
    assert second == ["tcp", "LISTEN", "[::]:80", "*", "0", "128"]
    assert " ".join(sums) == "2 sockets, out 1.5kB/s, in 0B/s"


def test_a_narrow_table_has_fewer_columns():
    title, first, *_ = drawn(ROWS, 80)
    assert " ".join(title) == "state local remote recv-q send-q out B/s in B/s"
    assert first == ["tcp", "ESTABLISHED", "10.0.0.2:80", "10.0.0.1:5000", "1", "2", "1.5k", "0"]
    assert drawn([], 80)[-1] == ["0", "sockets,", "out", "0B/s,", "in", "0B/s"]


def test_processes_have_a_column():
    rows = [replace(row, process="4711 serve --tap tap0") for row in ROWS]
    title, first, *_ = drawn(rows, 180)
    assert title[:2] == ["process", "state"]
    assert first[:5] == ["4711", "serve", "--tap", "tap0", "tcp"]
    assert drawn(rows, 90)[0][0] == "state"


def test_other_processes(life, clock, place):
    """The rates are those of the other side's clock."""
    stack = life.enter_context(netstack.Stack(clock))
    server = life.enter_context(stack.create_server(("127.0.0.1", 7)))
    client = life.enter_context(stack.create_connection(("127.0.0.1", 7)))
    life.enter_context(server.accept()[0])
    seen = Processes()
    monitor = Monitor(seen)
    assert monitor.look() == []
    with Offer(stack) as offer:
        assert len(monitor.look()) == 3
        assert seen.found == {os.getpid()}
        client.sendall(bytes(30_000))
        clock.advance(2)
        first, second, listener = monitor.look()
        assert {first.sent, second.sent} == {30_000, 0}
        assert {first.send_rate, second.send_rate} == {15_000, 0}
        assert listener.state == "LISTEN"
        assert all(r.process.startswith(f"{os.getpid()} ") for r in (first, second, listener))
        assert Monitor(Processes([os.getpid()])).look()
        assert Monitor(Processes([os.getpid() + 1])).look() == []
        (place / "1.1").touch()                         # no socket at all
        (place / "README").touch()
        assert len(monitor.look()) == 3
        assert offer.path.parent == place
    assert monitor.look() == []
    assert seen.found == set()


@pytest.mark.parametrize(("number", "written"), [(0, "0"), (999, "999"), (999.6, "1.0k"), (1000, "1.0k"),
                                                 (2.5e6, "2.5M"), (7e9, "7.0G"), (8e12, "8.0T"), (8e15, "8000.0T")])
def test_short(number, written):
    assert short(number) == written


def test_watch_goes_on_until_it_is_stopped(stack):
    class Stopping(threading.Event):
        looks = 0

        def wait(self, timeout=None):
            self.looks += 1
            return self.looks > 3

    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    stopping = Stopping()
    with stack.create_server(("127.0.0.1", 7)):
        watch([stack], stopping, console=console)
    assert stopping.looks == 4
    assert console.file.getvalue().count("127.0.0.1:7") >= 3
