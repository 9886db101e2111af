"""Every call that can block (`blocking.CALLS`), and all that may end it: the same as on Linux, where Linux ends it."""
from __future__ import annotations

import os
import signal
import socket as real
import threading
from contextlib import ExitStack, suppress
from types import SimpleNamespace

import pytest

import netstack
from netstack.drivers import Wire

from ..waiting import until
from .blocking import CALLS, DATAGRAMS, LINGERS_LONG, OURS, READS, RESET, WRITES, outcome, sleeps

QUICKLY = 60.0          # seconds: far more than it takes, on a loaded machine
WATCHERS = ("select", "poll", "epoll")
SECURE = ("TLS handshake", "TLS read", "TLS write")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """No thread comes back by itself: what ends a call wakes it."""
    monkeypatch.setattr("netstack.stack.PATIENCE", 1 << 60)


def each(names, value):
    """A part of a column of the table."""
    return dict.fromkeys(names, value)


# What becomes of the call; one that is not in a column is not ended so, neither here nor on Linux.
CLOSE = {
    **each(CALLS, "EBADF"),
    "poll": "ready",                    # POLLNVAL, or POLLHUP if it is still there when poll looks again
}
for _name in ("close",                  # the first one goes on
              "makefile",               # the file keeps the socket open
              "select", "epoll",        # if it is gone when they look again, they go on without it
              "Stack.selector",         # one that is closed is not watched any longer, as by epoll
              "getaddrinfo"):           # its socket is its own
    del CLOSE[_name]

SHUTDOWN = {
    "accept": "EINVAL",
    "connect": "ECONNRESET",
    **each((*READS, *DATAGRAMS), "end"),
    **each(WRITES, "EPIPE"),
    **each((*WATCHERS, "Stack.selector"), "ready"),
    "TLS handshake": "SSLEOFError",
    "TLS read": "end",
    "TLS write": "EPIPE",
}
TIMEOUT = {
    **each(CALLS, "TimeoutError"),
    **each((*WATCHERS, "Stack.selector"), "nothing"),
    "close": "returns",                 # SO_LINGER's seconds
    "getaddrinfo": "EAI_AGAIN",
}
END = {                                 # the peer has said all
    **each(READS, "end"),
    **each((*WATCHERS, "Stack.selector"), "ready"),
    "TLS handshake": "SSLEOFError",
    "TLS read": "end",
}
PEER_RESETS = {                         # ... or is gone, and says so
    "connect": "ECONNREFUSED",
    **each((*READS, *WRITES, *SECURE), "ECONNRESET"),
    **each(DATAGRAMS, "ECONNREFUSED"),
    **each((*WATCHERS, "Stack.selector"), "ready"),
    "close": "returns",
}
STACK_CLOSES = {
    **each(CALLS, "ESHUTDOWN"),
    **each(WATCHERS, "ready"),
    "close": "returns",
}
# Where Linux, or Python over it, says something else.
LINUX = {
    ("PEER_RESETS", "sendfile"): "EPIPE",           # sendfile(2) loses the error on its way through a pipe
    ("PEER_RESETS", "TLS read"): "end",             # CPython takes any failure of SSL_read_ex for a ragged end
    ("PEER_RESETS", "TLS write"): "SSLEOFError",    # ... of SSL_write_ex
    ("SHUTDOWN", "TLS write"): "SSLEOFError",
}


def shut(scene):
    with suppress(OSError):             # of datagrams ENOTCONN, as on Linux; it wakes who waits all the same
        scene.sock.shutdown(real.SHUT_RDWR)


def reset(scene):
    if scene.peer.type == real.SOCK_STREAM:
        scene.peer.setsockopt(real.SOL_SOCKET, real.SO_LINGER, RESET)
    scene.peer.close()
    if scene.touch is not None:
        scene.touch()


ENDINGS = {
    "CLOSE": (CLOSE, lambda scene: scene.sock.close()),
    "SHUTDOWN": (SHUTDOWN, shut),
    "END": (END, lambda scene: scene.peer.shutdown(real.SHUT_WR)),
    "PEER_RESETS": (PEER_RESETS, reset),
    "STACK_CLOSES": (STACK_CLOSES, lambda scene: scene.sock._stack.close()),
}
CELLS = [(ending, name) for ending, (column, _) in ENDINGS.items() for name in column]


def ended(net, name, end, spawn):
    """Have a thread block in the call, end it from this one, and say what became of it."""
    with ExitStack() as life:
        scene = CALLS[name](net, life)
        if name == "close":
            scene.sock.setsockopt(real.SOL_SOCKET, real.SO_LINGER, LINGERS_LONG)    # it is not to end by itself
        thread = []

        def run():
            thread.append(threading.get_native_id())
            return outcome(scene.call)

        task = spawn(run)
        until(lambda: thread and sleeps(scene, thread[0]), "the wait")
        end(scene)
        return task.result(QUICKLY)


@pytest.mark.parametrize(("ending", "name"), CELLS)
def test_ended_by(stack, spawn, ending, name):
    column, end = ENDINGS[ending]
    assert ended(stack, name, end, spawn) == column[name]


@pytest.mark.parametrize(("ending", "name"), [(e, n) for e, n in CELLS if e not in ("CLOSE", "STACK_CLOSES")
                                              and n not in OURS])
def test_linux_says_the_same(spawn, ending, name):
    """close() of a thread leaves the calls of others waiting there."""
    column, end = ENDINGS[ending]
    assert ended(real, name, end, spawn) == LINUX.get((ending, name), column[name])


def timed_out(net, name):
    with ExitStack() as life:
        scene = CALLS[name](net, life)
        if name == "getaddrinfo":
            net.resolver.config.timeout = 0.1
        elif not scene.timed:
            scene.sock.settimeout(0.1)
        scene.timed = True
        return outcome(scene.call)


@pytest.mark.parametrize("name", TIMEOUT)
def test_timed_out(stack, name):
    assert timed_out(stack, name) == TIMEOUT[name]
    if name not in OURS:
        assert timed_out(real, name) == TIMEOUT[name]


# -- the peer vanishes: nobody says anything any more

KEEPALIVE = ((real.SOL_SOCKET, real.SO_KEEPALIVE, 1), (real.IPPROTO_TCP, real.TCP_KEEPIDLE, 10),
             (real.IPPROTO_TCP, real.TCP_KEEPINTVL, 1), (real.IPPROTO_TCP, real.TCP_KEEPCNT, 3),
             (real.IPPROTO_TCP, real.TCP_USER_TIMEOUT, 20_000))
VANISHES = {
    **each((*READS, *WRITES, *SECURE), "ETIMEDOUT"),
    "Stack.selector": "ready",
    "connect": "ETIMEDOUT or EHOSTUNREACH",         # by then its neighbour may be missed
    "close": "returns",
}


@pytest.mark.parametrize("name", VANISHES)
def test_the_peer_vanishes(life, clock, name):
    """Keep-alive and the user timeout end what waits for it (tcp(7)); connect and close have times of their own."""
    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(clock)) for _ in range(2))
    a.attach(left, ip="192.0.2.1/24", dad=False)
    there = b.attach(right, ip="192.0.2.2/24", dad=False)
    net = SimpleNamespace(socket=a.socket, selector=a.selector, select=b.select,
                          create_server=lambda address, **more: b.create_server(("192.0.2.2", 0), **more))
    scene = CALLS[name](net, life)
    for option in KEEPALIVE:
        scene.sock.setsockopt(*option)
    there.detach()
    began = clock.time()
    assert outcome(scene.call) in VANISHES[name].split(" or ")
    assert clock.time() - began < {"connect": 130, "close": 2}.get(name, 30)


# -- Ctrl-C

CTRL_C = """
import signal, sys, threading
from contextlib import ExitStack
from socket import SO_LINGER, SOL_SOCKET
import netstack
from tests.socket.blocking import CALLS, LINGERS_LONG, outcome, sleeps
from tests.waiting import until

main = threading.main_thread()

def interrupt(scene):
    until(lambda: sleeps(scene, main.native_id))
    signal.pthread_kill(main.ident, signal.SIGINT)

for name, make in CALLS.items():
    with netstack.Stack() as stack, ExitStack() as life:
        scene = make(stack, life)
        if name == "close":
            scene.sock.setsockopt(SOL_SOCKET, SO_LINGER, LINGERS_LONG)
        helper = threading.Thread(target=interrupt, args=(scene,))
        helper.start()
        try:
            said = outcome(scene.call)
        except KeyboardInterrupt:
            said = "KeyboardInterrupt"
        helper.join()
        print(name, said, sep=": ")
        if name not in ("accept", "close", "getaddrinfo") and "TLS" not in name:
            assert scene.sock._handle != 0          # it goes on
        if name == "close":
            live = stack._tcp.tcbs.live
            scene.peer.close()
            until(lambda: stack._tcp.tcbs.live < live - 1, "the end of what was closed")
"""


@pytest.mark.timeout(300)
def test_ctrl_c(python):
    """KeyboardInterrupt out of every one; the socket is as it was, and one that was being closed is closed."""
    said = dict(line.split(": ") for line in python(CTRL_C, timeout=250).stdout.splitlines())
    assert said == each(CALLS, "KeyboardInterrupt")


def test_a_close_that_is_interrupted_closes(stack):
    """SO_LINGER waits in close(2); what interrupts it there does not leave the connection behind."""
    with ExitStack() as life:
        scene = CALLS["close"](stack, life)
        scene.sock.setsockopt(real.SOL_SOCKET, real.SO_LINGER, LINGERS_LONG)
        fd = scene.sock.fileno()

        def interrupt(*_):
            raise InterruptedError

        # To this thread: another one, of a test before, might take it in the midst of a call of the interpreted engine.
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
        before = signal.signal(signal.SIGUSR1, interrupt)
        try:
            timer.start()
            with pytest.raises(InterruptedError):
                scene.call()
        finally:
            timer.join()
            signal.signal(signal.SIGUSR1, before)
        with pytest.raises(OSError):
            os.fstat(fd)
    until(lambda: all(c.state == "TIME-WAIT" for c in stack.connections()), "the end of both")
