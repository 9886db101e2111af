"""TCP with Linux, both ways, IPv4 and IPv6."""
from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

FAMILIES = {"ip": socket.AF_INET, "ip6": socket.AF_INET6}
PORT = 7777
ABORT = struct.pack("ii", 1, 0)     # struct linger: close with a reset


@pytest.fixture(params=["ip", "ip6"])
def ends(request: pytest.FixtureRequest, net: Any) -> Any:
    """The link, with the addresses of one family."""
    net.family = FAMILIES[request.param]
    net.here = getattr(net, request.param)
    net.there = net.linux if request.param == "ip" else net.linux6
    return net


@pytest.fixture(params=["stack listens", "linux listens"])
def joined(request: pytest.FixtureRequest, ends: Any, life: Any, spawn: Any) -> tuple[Any, Any]:
    """A connection: (the stack's socket, Linux's socket)."""
    if request.param == "stack listens":
        server = life.enter_context(ends.stack.create_server((ends.here, PORT), family=ends.family))
        theirs = life.enter_context(socket.create_connection((ends.here, PORT), timeout=60))
        ours = life.enter_context(server.accept()[0])
    else:
        server = life.enter_context(socket.create_server((ends.there, PORT), family=ends.family))
        server.settimeout(60)
        ours = life.enter_context(ends.stack.create_connection((ends.there, PORT), timeout=60))
        theirs = life.enter_context(server.accept()[0])
    for sock in (ours, theirs):
        sock.settimeout(60)
    return ours, theirs


def exactly(sock: Any, n: int) -> bytes:
    """n bytes."""
    got = bytearray()
    while len(got) < n:
        piece = sock.recv(n - len(got))
        assert piece, f"the end after {len(got)} of {n} bytes"
        got += piece
    return bytes(got)


def test_names(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined
    assert ours.getsockname()[:2] == theirs.getpeername()[:2]
    assert ours.getpeername()[:2] == theirs.getsockname()[:2]


@pytest.mark.parametrize("size", [1, 1460, 1461, 100_000])
def test_there_and_back(joined: tuple[Any, Any], spawn: Any, size: int) -> None:
    ours, theirs = joined
    data = bytes(i * 7 & 0xFF for i in range(size))
    task = spawn(exactly, ours, size)
    theirs.sendall(data)
    assert task.result() == data
    task = spawn(exactly, theirs, size)
    ours.sendall(data)
    assert task.result() == data


def test_both_directions_at_once(joined: tuple[Any, Any], spawn: Any, megabytes: Callable[[int], int]) -> None:
    size = megabytes(5)
    data = bytes(i * 13 & 0xFF for i in range(997)) * (size // 997)
    tasks = [spawn(exactly, sock, len(data)) for sock in joined]
    senders = [spawn(sock.sendall, data) for sock in joined]
    assert [task.result(100) for task in tasks] == [data, data]
    for sender in senders:
        sender.result()


def test_half_close_by_linux(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined
    theirs.sendall(b"question")
    theirs.shutdown(socket.SHUT_WR)
    assert exactly(ours, 8) == b"question"
    assert ours.recv(1) == b""
    ours.sendall(b"answer")
    ours.close()
    assert exactly(theirs, 6) == b"answer"
    assert theirs.recv(1) == b""


def test_half_close_by_the_stack(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined
    ours.sendall(b"question")
    ours.shutdown(socket.SHUT_WR)
    assert exactly(theirs, 8) == b"question"
    assert theirs.recv(1) == b""
    theirs.sendall(b"answer")
    theirs.close()
    assert exactly(ours, 6) == b"answer"
    assert ours.recv(1) == b""


def test_reset_by_linux(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.recv(1)


def test_reset_by_the_stack(joined: tuple[Any, Any]) -> None:
    ours, theirs = joined
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
    ours.close()
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


def test_the_port_of_a_reset_connection_connects_again(net: Any, life: Any) -> None:
    """The application still holds the dead connection; a new one between the same ports is another."""
    server = life.enter_context(net.stack.create_server((net.ip, PORT)))
    for _ in range(2):
        theirs = life.enter_context(socket.socket())
        theirs.settimeout(60)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        theirs.bind((net.linux, 40000))
        theirs.connect((net.ip, PORT))
        ours = life.enter_context(server.accept()[0])
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        theirs.close()
        with pytest.raises(ConnectionResetError):
            ours.recv(1)


def test_the_stack_is_refused(ends: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        ends.stack.create_connection((ends.there, 9), timeout=60)


def test_linux_is_refused(ends: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((ends.here, 9), timeout=60)


def test_nobody_there(net: Any) -> None:
    with pytest.raises(OSError, match="No route to host") as caught:
        net.stack.create_connection(("10.0.0.99", 9), timeout=60)
    assert caught.value.errno == errno.EHOSTUNREACH


def test_a_timeout_is_kept(net: Any) -> None:
    with net.stack.create_server((net.ip, PORT)), socket.create_connection((net.ip, PORT), timeout=60) as theirs:
        theirs.settimeout(0.1)
        with pytest.raises(TimeoutError):
            theirs.recv(1)


def test_three_hundred_connections(net: Any, life: Any, spawn: Any) -> None:
    server = life.enter_context(net.stack.create_server((net.ip, PORT), backlog=512))

    def serve() -> None:
        conns = [life.enter_context(server.accept()[0]) for _ in range(300)]
        for conn in conns:
            conn.sendall(exactly(conn, 6)[::-1])

    task = spawn(serve)
    theirs = [life.enter_context(socket.create_connection((net.ip, PORT), timeout=60)) for _ in range(300)]
    for number, sock in enumerate(theirs):
        sock.sendall(b"%06d" % number)
    for number, sock in enumerate(theirs):
        assert exactly(sock, 6) == (b"%06d" % number)[::-1]
    task.result()


def test_one_after_the_other(net: Any, life: Any, spawn: Any) -> None:
    server = life.enter_context(net.stack.create_server((net.ip, PORT)))

    def serve() -> None:
        for _ in range(200):
            conn, _ = server.accept()
            with conn:
                conn.sendall(exactly(conn, 1))

    task = spawn(serve)
    for _ in range(200):
        with socket.create_connection((net.ip, PORT), timeout=60) as sock:
            sock.sendall(b"x")
            assert exactly(sock, 1) == b"x"
            assert sock.recv(1) == b""
    task.result()


def test_a_slow_reader_stops_the_sender(net: Any, life: Any, spawn: Any, megabytes: Callable[[int], int]) -> None:
    """The window closes, is probed, opens again; nothing is lost."""
    server = life.enter_context(net.stack.create_server((net.ip, PORT)))
    theirs = life.enter_context(socket.create_connection((net.ip, PORT), timeout=60))
    ours = life.enter_context(server.accept()[0])
    ours.settimeout(60)
    data = bytes(i * 11 & 0xFF for i in range(991)) * (megabytes(20) // 991)
    sender = spawn(theirs.sendall, data)
    pause = threading.Event()
    got = bytearray()
    while len(got) < len(data):
        if len(got) < 100_000:
            pause.wait(0.05)
        got += ours.recv(50_000 if len(got) < 500_000 else 1 << 20)
    assert got == data
    sender.result()
