"""The small servers, over the loopback interface of a stack."""
from __future__ import annotations

import re
import socket
from typing import Any

import pytest

import netstack
from netstack.services.many import Listening, Many, Shared
from netstack.services.small import CHARGEN, DAYTIME, DISCARD, ECHO, PATTERN, SmallServers

from ..waiting import until

HOSTS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


@pytest.fixture
def stack(life: Any) -> Any:
    """A stack with the servers on it."""
    made = life.enter_context(netstack.Stack())
    life.enter_context(SmallServers(made, workers=2))
    return made


@pytest.fixture(params=HOSTS)
def connect(request: pytest.FixtureRequest, stack: Any, life: Any) -> Any:
    """connect(port): a connection."""
    def make(port: int) -> Any:
        return life.enter_context(stack.create_connection((request.param, port), timeout=60))
    return make


def exactly(sock: Any, n: int) -> bytes:
    """n bytes."""
    got = bytearray()
    while len(got) < n and (piece := sock.recv(n - len(got))):
        got += piece
    return bytes(got)


def test_pattern_is_that_of_rfc_864() -> None:
    lines = PATTERN.split(b"\r\n")
    assert lines[0] == bytes(range(0x20, 0x20 + 72))
    assert lines[1] == bytes(range(0x21, 0x21 + 72))
    assert lines[95] == lines[0]
    assert {len(line) for line in lines[:-1]} == {72}


def test_echo_by_threads_and_by_the_selector(connect: Any) -> None:
    """With two workers, the second connection on is the selector's."""
    socks = [connect(ECHO) for _ in range(5)]
    for turn in range(3):
        for number, sock in enumerate(socks):
            sock.sendall(b"%d,%d" % (turn, number))
        for number, sock in enumerate(socks):
            assert exactly(sock, 3) == b"%d,%d" % (turn, number)
    for sock in socks:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""


@pytest.mark.parametrize("others", [0, 3])
def test_echo_of_more_than_a_buffer(connect: Any, spawn: Any, others: int) -> None:
    kept = [connect(ECHO) for _ in range(others)]
    sock = connect(ECHO)
    data = bytes(i * 7 & 0xFF for i in range(1009)) * (1_000 if netstack.machine.mode.JIT else 100)

    def write() -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    spawn(write)
    assert exactly(sock, len(data) + 1) == data
    assert len(kept) == others


@pytest.mark.parametrize("others", [0, 3])
def test_discard(connect: Any, others: int) -> None:
    kept = [connect(DISCARD) for _ in range(others)]
    sock = connect(DISCARD)
    sock.sendall(bytes(50_000))
    sock.shutdown(socket.SHUT_WR)
    assert sock.recv(1) == b""
    assert len(kept) == others


def test_daytime(connect: Any) -> None:
    sock = connect(DAYTIME)
    assert re.fullmatch(rb"[A-Z][a-z]+day, [A-Z][a-z]+ \d\d, \d{4} \d\d:\d\d:\d\d-.*\r\n", exactly(sock, 200))


@pytest.mark.parametrize("others", [0, 3])
def test_chargen(connect: Any, others: int) -> None:
    kept = [connect(CHARGEN) for _ in range(others)]
    sock = connect(CHARGEN)
    sock.sendall(b"thrown away")
    assert exactly(sock, 20_000) == PATTERN[:20_000]
    assert len(kept) == others


@pytest.mark.parametrize("host", HOSTS)
def test_datagrams(stack: Any, host: str) -> None:
    with stack.socket(HOSTS[host], socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(b"hello", (host, DISCARD))
        sock.sendto(b"hello", (host, ECHO))
        assert sock.recv(100) == b"hello"
        sock.sendto(b"", (host, DAYTIME))
        assert sock.recv(100).endswith(b"\r\n")
        for _ in range(10):
            sock.sendto(b"", (host, CHARGEN))
            assert len(sock.recv(1000)) <= 512


def test_no_endless_conversation(pair: Any) -> None:
    """A request from another host's echo port is not answered."""
    with SmallServers(pair.a), pair.b.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.bind(("", ECHO))
        sock.sendto(b"hello", (pair.a4, ECHO))
        with pytest.raises(TimeoutError):
            sock.recv(100)


def test_closing_while_the_thread_is_on_its_way_out(life: Any) -> None:
    """The thread that serves may see that it is over before it is woken; what it served is closed either way."""
    stack = life.enter_context(netstack.Stack())
    listener = life.enter_context(stack.create_server(("127.0.0.1", ECHO)))
    many = Many(stack)
    ours = life.enter_context(stack.create_connection(("127.0.0.1", ECHO), timeout=60))
    many.add(Shared(listener.accept()[0]))
    many._closing = True
    many._wake()
    many._thread.join()
    many.close()
    many._wake()
    assert ours.recv(1) == b""


def test_closing_after_the_stack(life: Any) -> None:
    stack = life.enter_context(netstack.Stack())
    servers = life.enter_context(SmallServers(stack))
    stack.close()
    servers.close()


def test_one_turn_accepts_all_who_wait(life: Any) -> None:
    """One for each turn would have them wait for everybody who is ready besides."""
    stack = life.enter_context(netstack.Stack())
    listener = life.enter_context(stack.create_server(("127.0.0.1", ECHO), backlog=20))
    for _ in range(10):
        life.enter_context(stack.create_connection(("127.0.0.1", ECHO), timeout=60))
    until(lambda: any((c.state, c.recv_queue) == ("LISTEN", 10) for c in stack.connections()))
    taken: list[Shared] = []
    with pytest.raises(BlockingIOError):
        Listening(listener, taken.append, Shared).turn(memoryview(b""), 1)
    assert len(taken) == 10
    for shared in taken:
        shared.conn.close()
