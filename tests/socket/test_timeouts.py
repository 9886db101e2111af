"""Timeouts and non-blocking mode, as CPython has them."""
from __future__ import annotations

import errno
import select
import struct
import threading
import time

import pytest

import netstack.socket as ns

from ..waiting import is_blocked, until
from .conftest import closed_port


def took(least: float, most: float, start: float) -> bool:
    return least <= time.monotonic() - start <= most


def test_the_value(stack):
    with stack.socket() as s:
        assert s.gettimeout() is None
        assert s.getblocking()
        s.settimeout(2)
        assert s.gettimeout() == s.timeout == 2.0
        assert s.getblocking()
        s.setblocking(False)
        assert s.gettimeout() == 0.0
        assert not s.getblocking()
        s.setblocking(True)
        assert s.gettimeout() is None
    with pytest.raises(OSError):
        s.settimeout(1)


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), "1", [], 1e300, float("inf"), 10 ** 12])
def test_bad_values_are_refused_as_by_the_real_module(stack, value):
    import socket as real

    with stack.socket() as s, real.socket() as r:
        with pytest.raises(Exception) as theirs:
            r.settimeout(value)
        with pytest.raises(type(theirs.value)):
            s.settimeout(value)
        assert s.gettimeout() is None


def test_default_timeout(stack):
    assert ns.getdefaulttimeout() is None
    try:
        ns.setdefaulttimeout(3.5)
        with stack.socket() as s:
            assert s.gettimeout() == 3.5
        with pytest.raises(ValueError):
            ns.setdefaulttimeout(-1)
        assert ns.getdefaulttimeout() == 3.5
    finally:
        ns.setdefaulttimeout(None)


def test_accepted_sockets_block_though_the_listener_has_a_timeout(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.create_connection(server.getsockname()):
        server.settimeout(60)
        conn, _ = server.accept()
        with conn:
            assert conn.gettimeout() is None


@pytest.mark.parametrize("call", ["recv", "recv_into", "recvfrom", "accept", "sendall"])
def test_timed_out(stack, connected, call):
    client, _ = connected()
    with stack.create_server(("127.0.0.1", 0)) as server:
        s = server if call == "accept" else client
        s.settimeout(0.1)
        arguments = {"recv": (1,), "recv_into": (bytearray(1),), "recvfrom": (1,), "accept": (),
                     "sendall": (bytes(50_000_000),)}[call]
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out") as caught:
            getattr(s, call)(*arguments)
        assert caught.value.errno is None
        assert took(0.09, 30.0, start)


def test_a_timeout_is_for_the_whole_of_sendall(stack, connected, spawn):
    client, conn = connected()
    client.settimeout(0.4)

    over = threading.Event()

    def trickle() -> None:
        while conn.recv(20_000):
            over.wait(0.05)                             # a slow reader: what the test is about

    reader = spawn(trickle)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        client.sendall(bytes(1 << 24))
    assert took(0.35, 30.0, start)                      # 40 s would pass until everything is sent
    over.set()
    client.close()
    conn.shutdown(ns.SHUT_RDWR)
    reader.result()


def test_no_timeout_when_data_comes(connected, spawn):
    client, conn = connected()
    client.settimeout(10)
    later = spawn(lambda: (until(lambda: is_blocked(client)), conn.sendall(b"x")))
    assert client.recv(1) == b"x"
    later.result()


def test_nonblocking(stack, connected):
    client, conn = connected()
    client.setblocking(False)
    with pytest.raises(BlockingIOError) as caught:
        client.recv(1)
    assert caught.value.errno == errno.EAGAIN
    with pytest.raises(BlockingIOError):
        while True:
            client.send(bytes(100_000))
    with pytest.raises(BlockingIOError):
        client.sendall(bytes(50_000_000))
    with pytest.raises(BlockingIOError):
        conn.recv(0x7FFF_FFFF, ns.MSG_DONTWAIT | ns.MSG_PEEK) and conn.sendall(bytes(50_000_000), ns.MSG_DONTWAIT)
    with stack.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_dontwait_on_a_blocking_socket(connected):
    client, _ = connected()
    with pytest.raises(BlockingIOError):
        client.recv(1, ns.MSG_DONTWAIT)
    assert client.getblocking()


def test_nonblocking_connect(stack):
    with stack.create_server(("127.0.0.1", 0)) as server, stack.socket() as s:
        s.setblocking(False)
        with pytest.raises(BlockingIOError) as caught:
            s.connect(server.getsockname())
        assert caught.value.errno == errno.EINPROGRESS
        assert select.select([], [s], [], 60)[1] == [s]
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR) == 0
        assert s.connect_ex(server.getsockname()) in (0, errno.EISCONN)
        conn, _ = server.accept()
        conn.close()


def test_nonblocking_connect_that_fails(stack):
    with stack.socket() as s:
        s.setblocking(False)
        assert s.connect_ex(("127.0.0.1", closed_port(ns.socket))) == errno.EINPROGRESS
        assert select.select([], [s], [], 60)[1] == [s]
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR) == errno.ECONNREFUSED
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR) == 0


def test_refused(stack):
    port = closed_port(ns.socket)
    for timeout in (None, 5):
        with stack.socket() as s:
            s.settimeout(timeout)
            with pytest.raises(ConnectionRefusedError):
                s.connect(("127.0.0.1", port))
        with stack.socket() as s:
            s.settimeout(timeout)
            assert s.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_connect_times_out(life):
    """Nobody answers on this wire: the neighbour is never resolved."""
    import netstack
    from netstack.drivers import Wire

    stack = life.enter_context(netstack.Stack())
    stack.attach(Wire(), ip="192.0.2.1/24", dad=False)
    with stack.socket() as s:
        s.settimeout(0.1)
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out"):
            s.connect(("192.0.2.2", 80))
        assert took(0.09, 30.0, start)
    with stack.socket() as s:
        s.settimeout(0.1)
        assert s.connect_ex(("192.0.2.2", 80)) == errno.EAGAIN
    with stack.socket() as s, pytest.raises(OSError) as caught:
        s.connect(("192.0.2.2", 80))                # three requests a second apart, then EHOSTUNREACH
    assert caught.value.errno == errno.EHOSTUNREACH


def test_rcvtimeo_and_sndtimeo(connected):
    client, _ = connected()
    timeval = struct.pack("qq", 0, 100_000)
    client.setsockopt(ns.SOL_SOCKET, ns.SO_RCVTIMEO, timeval)
    client.setsockopt(ns.SOL_SOCKET, ns.SO_SNDTIMEO, timeval)
    assert client.getsockopt(ns.SOL_SOCKET, ns.SO_RCVTIMEO, 16) == timeval
    assert client.getblocking()
    start = time.monotonic()
    with pytest.raises(BlockingIOError):
        client.recv(1)
    assert took(0.09, 30.0, start)
    with pytest.raises(BlockingIOError):
        client.sendall(bytes(50_000_000))
