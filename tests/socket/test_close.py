"""What ends a blocked call: closing the socket, closing the stack, a signal."""
from __future__ import annotations

import errno
import select
import time

import pytest

import netstack
import netstack.socket as ns

from ..waiting import is_blocked, until

QUICKLY = 30.0      # seconds: far more than it takes, on a loaded machine


def blocked(spawn, sock, function):
    """A thread that sits in `function(sock)`; its result is the exception."""
    def run():
        with pytest.raises(OSError) as caught:
            function(sock)
        return caught.value

    task = spawn(run)
    until(lambda: is_blocked(sock))
    return task


CALLS = {
    "recv": lambda s: s.recv(1),
    "recv_into": lambda s: s.recv_into(bytearray(1)),
    "sendall": lambda s: s.sendall(bytes(100_000_000)),
    "accept": lambda s: s.accept(),
    "recvfrom": lambda s: s.recvfrom(1),
    "connect": lambda s: s.connect(("192.0.2.9", 80)),
}


@pytest.fixture
def victim(stack, connected, life):
    """victim(call): a socket on which the call blocks."""
    from netstack.drivers import Wire

    def make(call: str):
        if call == "accept":
            return life.enter_context(stack.create_server(("127.0.0.1", 0)))
        if call == "recvfrom":
            s = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
            s.bind(("127.0.0.1", 0))
            return s
        if call == "connect":
            stack.attach(Wire(), ip="192.0.2.1/24")
            return life.enter_context(stack.socket())
        return connected()[0]
    return make


@pytest.mark.parametrize("call", CALLS)
def test_close_in_another_thread(victim, spawn, call):
    s = victim(call)
    task = blocked(spawn, s, CALLS[call])
    start = time.monotonic()
    s.close()
    error = task.result(QUICKLY)
    assert error.errno == errno.EBADF
    assert time.monotonic() - start < QUICKLY


@pytest.mark.parametrize("call", CALLS)
def test_close_of_the_stack(victim, spawn, stack, call):
    s = victim(call)
    task = blocked(spawn, s, CALLS[call])
    stack.close()
    error = task.result(QUICKLY)
    assert error.errno == errno.ESHUTDOWN
    assert "the stack is closed" in str(error)


def test_devices_stay_until_nobody_looks_at_them(spawn, monkeypatch):
    """Who has slept in poll(2) says to the devices that it is awake: their memory is there until then."""
    monkeypatch.setattr("netstack.stack.AWAKE", QUICKLY)
    stack = netstack.Stack()
    stack._record.sleeping = 1                          # as if somebody did
    loopback = stack._interfaces[1].driver
    task = spawn(stack.close)
    try:
        until(lambda: stack._closed)
        bell = stack._bell
        until(lambda: select.select([bell], [], [], 0)[0], "the bell")
        assert loopback._device is not None
    finally:
        stack._record.sleeping = 0
    task.result(QUICKLY)
    assert loopback._device is None


def test_after_the_stack_is_closed(stack, connected):
    client, _ = connected()
    watched = client.fileno()
    stack.close()
    stack.close()
    for call in (lambda: client.send(b"x"), lambda: client.recv(1), lambda: client.getsockname(),
                 lambda: client.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR), lambda: stack.socket(),
                 lambda: stack.attach(None), lambda: stack.__enter__()):
        with pytest.raises(OSError, match="closed") as caught:
            call()
        assert caught.value.errno == errno.ESHUTDOWN
    assert select.select([watched], [], [], 60)[0] == [watched]
    client.close()


def test_closed_socket(connected):
    client, conn = connected()
    client.close()
    client.close()
    assert client.fileno() == -1
    assert conn.recv(1) == b""
    for call in (lambda: client.send(b"x"), lambda: client.recv(1), lambda: client.accept(),
                 lambda: client.getpeername(), lambda: client.bind(("", 0)), lambda: client.listen(),
                 lambda: client.shutdown(ns.SHUT_WR), lambda: client.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR),
                 lambda: client.connect(("127.0.0.1", 1)), lambda: client.dup()):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF
    assert client.connect_ex(("127.0.0.1", 1)) == errno.EBADF
    assert "[closed]" in repr(client)
    assert "fd=-1" in repr(client)


def test_shutdown_wakes_a_blocked_recv(connected, spawn):
    client, _ = connected()
    task = spawn(lambda: client.recv(1))
    until(lambda: is_blocked(client))
    client.shutdown(ns.SHUT_RD)
    assert task.result(QUICKLY) == b""


def test_linger_waits_for_the_acknowledgement(connected):
    client, conn = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0\5\0\0\0")
    client.sendall(b"last words")
    client.close()
    assert conn.recv(100) == b"last words"
    assert conn.recv(100) == b""


def test_linger_gives_up(life):
    import struct

    from netstack.drivers import Wire

    a = life.enter_context(netstack.Stack())
    b = life.enter_context(netstack.Stack())
    left, right = Wire.pair()
    a.attach(left, ip="192.0.2.1/24")
    there = b.attach(right, ip="192.0.2.2/24")
    server = life.enter_context(b.create_server(("", 7)))
    s = a.create_connection(("192.0.2.2", 7), timeout=10)
    conn = life.enter_context(server.accept()[0])
    s.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, struct.pack("ii", 1, 1))
    there.detach()
    s.sendall(b"into the void")
    start = time.monotonic()
    s.close()
    assert 0.9 < time.monotonic() - start < 30          # and not for the minutes of all retransmissions
    conn.close()


CTRL_C = """
import signal, sys, time, threading, os
import netstack, netstack.socket as ns
stack = netstack.Stack()
with stack:
    server = stack.create_server(("127.0.0.1", 0))
    client = stack.create_connection(server.getsockname())
    conn, _ = server.accept()
    start = time.monotonic()
    try:
        {setup}
        {call}
    except KeyboardInterrupt:
        waited = time.monotonic() - start
        assert 0.25 < waited < 60, waited
        client.sendall(b"goes on"); assert conn.recv(100) == b"goes on"
        print("interrupted")
    finally:
        for s in (server, client, conn): s.close()
"""


@pytest.mark.parametrize("call", ["client.recv(1)", "server.accept()", "client.settimeout(100); client.recv(1)"])
@pytest.mark.parametrize("setup", [
    "signal.signal(signal.SIGALRM, signal.default_int_handler); signal.setitimer(signal.ITIMER_REAL, 0.3)",
    ("main = threading.get_ident(); "
     "threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT)).start()"),
    "threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()"])
def test_ctrl_c_interrupts_a_blocked_call(python, call, setup):
    assert python(CTRL_C.format(call=call, setup=setup)).stdout == "interrupted\n"


def test_a_handler_that_returns_does_not_end_the_call(python):
    program = """
import signal, threading
import netstack
from tests.waiting import until
ticks = []
signal.signal(signal.SIGALRM, lambda *_: ticks.append(1))
with netstack.Stack() as stack, stack.create_server(("127.0.0.1", 0)) as server:
    with stack.create_connection(server.getsockname()) as client:
        conn, _ = server.accept()
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        def send():
            until(lambda: len(ticks) >= 4)
            conn.sendall(b"x")
        threading.Thread(target=send).start()
        client.settimeout(100)
        assert client.recv(1) == b"x"
        signal.setitimer(signal.ITIMER_REAL, 0)
        conn.close()
print("done")
"""
    assert python(program).stdout == "done\n"


def test_a_reset_behind_the_end_is_not_the_reader_s(stack):
    """As on Linux (SOCK_DONE): who has been told of the end reads it again, and who sends hears of the reset."""
    import socket as real

    def what_happens(m):
        with m.create_server(("127.0.0.1", 0)) as server:
            client = m.create_connection(server.getsockname())
            conn, _ = server.accept()
        with client:
            conn.sendall(b"left")
            conn.close()
            assert client.recv(100) == b"left"
            assert client.recv(100) == b""
            client.send(b"x")               # there is nobody: a reset
            poller = select.poll()
            poller.register(client, 0)
            assert poller.poll(10_000)
            found = [client.recv(100)]
            with pytest.raises(BrokenPipeError):
                client.send(b"y")
            return [*found, client.recv(100)]

    assert what_happens(ns) == what_happens(real) == [b"", b""]
