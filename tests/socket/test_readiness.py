"""fileno(): select, poll, epoll and selectors tell the truth."""
from __future__ import annotations

import errno
import select
import selectors
import threading
from collections.abc import Callable

import pytest

import netstack
import netstack.socket as ns

from ..waiting import is_asleep, until
from .conftest import closed_port


def by_select(s, timeout: float) -> str:
    r, w, _ = select.select([s], [s], [], timeout)
    return ("r" if r else "") + ("w" if w else "")


def by_poll(s, timeout: float) -> str:
    poller = select.poll()
    poller.register(s, select.POLLIN | select.POLLOUT)
    events = dict(poller.poll(timeout * 1000)).get(s.fileno(), 0)
    return ("r" if events & (select.POLLIN | select.POLLHUP) else "") + ("w" if events & select.POLLOUT else "")


def by_epoll(s, timeout: float) -> str:
    with select.epoll() as poller:
        poller.register(s, select.EPOLLIN | select.EPOLLOUT)
        events = dict(poller.poll(timeout)).get(s.fileno(), 0)
    return ("r" if events & (select.EPOLLIN | select.EPOLLHUP) else "") + ("w" if events & select.EPOLLOUT else "")


def becomes(way: Callable[..., str], s, wanted: str) -> bool:
    until(lambda: way(s, 0) == wanted, repr(wanted))
    return True


WAYS = [by_select, by_poll, by_epoll]


@pytest.mark.parametrize("way", WAYS)
def test_every_state_of_a_stream(connected, way):
    client, conn = connected()
    assert becomes(way, client, "w")
    conn.sendall(b"ab")
    assert becomes(way, client, "rw")
    client.recv(1)
    assert becomes(way, client, "rw")
    client.recv(1)
    assert becomes(way, client, "w")
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            client.send(bytes(65536))
    assert becomes(way, client, "")
    conn.setblocking(False)

    def read_all() -> None:
        with pytest.raises(BlockingIOError):
            while True:
                conn.recv(65536)

    until(lambda: read_all() or way(client, 0) == "w")
    conn.close()
    assert becomes(way, client, "rw")
    assert client.recv(1) == b""
    assert becomes(way, client, "rw")


@pytest.mark.parametrize("way", WAYS)
def test_listener(stack, way):
    with stack.create_server(("127.0.0.1", 0)) as server:
        assert becomes(way, server, "")
        with stack.create_connection(server.getsockname()), stack.create_connection(server.getsockname()):
            assert becomes(way, server, "r")
            server.accept()[0].close()
            assert becomes(way, server, "r")
            server.accept()[0].close()
            assert becomes(way, server, "")


@pytest.mark.parametrize("way", WAYS)
def test_datagrams(stack, way):
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        assert becomes(way, s, "w")
        s.sendto(b"x", s.getsockname())
        assert becomes(way, s, "rw")
        s.recv(1)
        assert becomes(way, s, "w")
        s.connect(("127.0.0.1", closed_port(ns.socket)))
        s.send(b"x")
        assert becomes(way, s, "rw")
        with pytest.raises(ConnectionRefusedError):
            s.recv(1)
        assert becomes(way, s, "w")


@pytest.mark.parametrize("way", WAYS)
def test_asked_for_late(connected, way):
    """A descriptor made when there is something to read already."""
    client, conn = connected()
    conn.sendall(b"x")
    assert client.recv(1, ns.MSG_PEEK) == b"x"
    assert way(client, 0) == "rw"


@pytest.mark.parametrize("way", WAYS)
def test_it_wakes(connected, spawn, way):
    client, conn = connected()
    client.fileno()
    me = threading.get_native_id()
    later = spawn(lambda: (until(lambda: is_asleep(me)), conn.sendall(b"x")))
    if way is by_select:
        assert select.select([client], [], [], 10)[0] == [client]
    else:
        with selectors.DefaultSelector() if way is by_epoll else selectors.PollSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            assert [key.fileobj for key, _ in selector.select(10)] == [client]
    later.result()


def test_connect_in_progress_is_neither(life):
    from netstack.drivers import Wire

    stack = life.enter_context(netstack.Stack())
    stack.attach(Wire(), ip="192.0.2.1/24")
    with stack.socket() as s:
        s.setblocking(False)
        assert s.connect_ex(("192.0.2.2", 80)) == errno.EINPROGRESS
        assert by_select(s, 0.1) == ""
        assert select.select([], [s], [], 10)[1] == [s]         # the neighbour does not answer
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_ERROR) == errno.EHOSTUNREACH


def test_edge_triggered_epoll(connected):
    client, conn = connected()
    with select.epoll() as poller:
        poller.register(client, select.EPOLLIN | select.EPOLLET)
        assert poller.poll(0) == []
        conn.sendall(b"one")
        assert len(poller.poll(60)) == 1
        assert poller.poll(0) == []
        client.recv(100)
        conn.sendall(b"two")
        assert len(poller.poll(60)) == 1


def test_peer_closed_is_rdhup(connected):
    client, conn = connected()
    poller = select.poll()
    poller.register(client, select.POLLRDHUP)
    assert poller.poll(0) == []
    conn.shutdown(ns.SHUT_WR)
    assert poller.poll(60_000)[0][1] & select.POLLRDHUP


def test_stack_select(stack, connected):
    client, conn = connected()
    assert stack.select([client], [client], [], 0) == ([], [client], [])
    conn.sendall(b"x")
    assert stack.select([client, conn], [], [], 60) == ([client], [], [])


def test_the_descriptor_goes_with_the_socket(connected):
    client, _ = connected()
    fd = client.fileno()
    assert client.fileno() == fd
    client.close()
    with pytest.raises(OSError):
        select.select([fd], [], [], 0)


def test_a_stream_that_was_never_connected_hears_of_the_stack_s_end(life):
    """It is hung up already; an epoll that tells news says so again."""
    stack = life.enter_context(netstack.Stack())
    with stack.socket() as s, select.epoll() as poller:
        poller.register(s, select.EPOLLIN | select.EPOLLET)
        assert poller.poll(0) == [(s.fileno(), select.EPOLLHUP)]
        assert poller.poll(0) == []
        stack.close()
        assert poller.poll(60) == [(s.fileno(), select.EPOLLIN | select.EPOLLHUP)]


def test_objects_that_share_a_stream_before_it_is_connected(stack, life):
    """Each has its number, of one file; and of another one, when the socket begins anew."""
    server = life.enter_context(stack.create_server(("127.0.0.1", 0)))
    with stack.socket() as s, s.dup() as twin, select.epoll() as poller:
        assert len({s.fileno(), twin.fileno()}) == 2
        for each in (s, twin):
            poller.register(each, select.EPOLLOUT)
        both = {s.fileno(), twin.fileno()}
        for _ in range(2):
            assert {fd for fd, bits in poller.poll(0) if bits == select.EPOLLOUT | select.EPOLLHUP} == both
            twin.connect(server.getsockname())
            conn = life.enter_context(server.accept()[0])
            until(lambda: {fd for fd, bits in poller.poll(0) if bits == select.EPOLLOUT} == both)
            conn.close()
            s.disconnect()


PRI = select.POLLIN | select.POLLPRI


def events(s, wanted=PRI) -> int:
    poller = select.poll()
    poller.register(s, wanted)
    return dict(poller.poll(0)).get(s.fileno(), 0)


def come(s, wanted: int) -> bool:
    until(lambda: events(s) == wanted, str(wanted))
    return True


@pytest.fixture
def urgent_unix():
    """Whether this kernel has urgent data on AF_UNIX (5.15, CONFIG_AF_UNIX_OOB)."""
    import socket as real

    a, b = real.socketpair()
    with a, b:
        try:
            a.send(b"x", real.MSG_OOB)
        except OSError:
            pytest.skip("a kernel without urgent data on AF_UNIX sockets")


def test_urgent_data_is_exceptional(connected, urgent_unix):
    """select's third set, POLLPRI and EPOLLPRI; MSG_OOB takes it away."""
    client, conn = connected()
    assert events(client) == 0
    conn.send(b"!", ns.MSG_OOB)
    assert select.select([], [], [client], 60)[2] == [client]
    with select.epoll() as poller:
        poller.register(client, select.EPOLLPRI)
        assert poller.poll(60) == [(client.fileno(), select.EPOLLPRI)]
    assert client.recv(1, ns.MSG_OOB) == b"!"
    assert come(client, 0)
    conn.sendall(b"text")
    assert come(client, select.POLLIN)
    assert client.recv(10) == b"text"
    assert come(client, 0)
    conn.send(b"?", ns.MSG_OOB)                                 # and again
    assert select.select([], [], [client], 60)[2] == [client]
    assert client.recv(1, ns.MSG_OOB) == b"?"
    assert come(client, 0)


def test_urgent_data_with_text(connected, urgent_unix):
    """Text before the mark, and after it: as of the kernel's sockets."""
    client, conn = connected()
    client.setblocking(False)
    conn.send(b"ab!", ns.MSG_OOB)
    assert come(client, PRI)
    assert client.recv(10) == b"ab"
    conn.sendall(b"cd")
    assert come(client, PRI)
    assert client.recv(1, ns.MSG_OOB) == b"!"
    assert come(client, select.POLLIN)
    assert client.recv(10) == b"cd"
    assert come(client, 0)


def test_urgent_data_in_line(connected, urgent_unix):
    client, conn = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_OOBINLINE, 1)
    conn.send(b"!", ns.MSG_OOB)
    assert come(client, PRI)
    assert client.recv(10) == b"!"
    assert come(client, 0)


def test_urgent_data_alone_is_readable_until_a_read(connected, urgent_unix):
    """What the descriptor cannot say: urgent, and not readable.  Who reads is told so once, and may go on waiting."""
    client, conn = connected()
    client.setblocking(False)
    conn.send(b"!", ns.MSG_OOB)
    assert come(client, PRI)
    with pytest.raises(BlockingIOError):
        client.recv(10)
    assert come(client, 0)
    conn.send(b"?", ns.MSG_OOB)                                 # news
    assert come(client, PRI)
    assert client.recv(1, ns.MSG_OOB) == b"?"
    assert come(client, 0)


def test_urgent_data_before_fileno(connected, urgent_unix):
    client, conn = connected()
    conn.send(b"!", ns.MSG_OOB)
    conn.sendall(b"x")
    assert client.recv(1, ns.MSG_PEEK) == b"x"                  # it is here
    assert events(client) == PRI


def test_urgent_data_is_a_signal_for_who_asks(connected, urgent_unix):
    """F_SETOWN: SIGURG."""
    import fcntl
    import os
    import signal

    client, conn = connected()
    heard = []
    before = signal.signal(signal.SIGURG, lambda number, frame: heard.append(number))
    try:
        fcntl.fcntl(client.fileno(), fcntl.F_SETOWN, os.getpid())
        conn.send(b"!", ns.MSG_OOB)
        assert come(client, PRI)
        assert client.recv(1, ns.MSG_OOB) == b"!"
    finally:
        signal.signal(signal.SIGURG, before)
    assert heard == [signal.SIGURG]


def test_urgent_data_and_the_end(connected, urgent_unix):
    client, conn = connected()
    conn.send(b"!", ns.MSG_OOB)
    assert come(client, PRI)
    conn.shutdown(ns.SHUT_WR)
    until(lambda: events(client, select.POLLRDHUP))
    assert client.recv(1, ns.MSG_OOB) == b"!"
    assert come(client, select.POLLIN)
    assert client.recv(1) == b""
