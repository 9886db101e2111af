"""fileno(): select, poll, epoll and selectors tell the truth."""
from __future__ import annotations

import errno
import select
import selectors
import time
from collections.abc import Callable

import pytest

import netstack
import netstack.socket as ns

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
    deadline = time.monotonic() + 5
    while (now := way(s, 0)) != wanted:
        if time.monotonic() > deadline:
            pytest.fail(f"is {now!r}, not {wanted!r}")
        time.sleep(0.002)
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
    while way(client, 0) != "w":
        with pytest.raises(BlockingIOError):
            while True:
                conn.recv(65536)
        time.sleep(0.001)
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
        s.connect(("127.0.0.1", closed_port(ns)))
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
    time.sleep(0.05)
    assert way(client, 1) == "rw"


@pytest.mark.parametrize("way", WAYS)
def test_it_wakes(connected, spawn, way):
    client, conn = connected()
    client.fileno()
    start = time.monotonic()
    later = spawn(lambda: (time.sleep(0.2), conn.sendall(b"x")))
    if way is by_select:
        assert select.select([client], [], [], 10)[0] == [client]
    else:
        with selectors.DefaultSelector() if way is by_epoll else selectors.PollSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            assert [key.fileobj for key, _ in selector.select(10)] == [client]
    assert 0.15 < time.monotonic() - start < 5
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
        assert len(poller.poll(5)) == 1
        assert poller.poll(0) == []
        client.recv(100)
        conn.sendall(b"two")
        assert len(poller.poll(5)) == 1


def test_peer_closed_is_rdhup(connected):
    client, conn = connected()
    poller = select.poll()
    poller.register(client, select.POLLRDHUP)
    assert poller.poll(0) == []
    conn.shutdown(ns.SHUT_WR)
    assert poller.poll(5000)[0][1] & select.POLLRDHUP


def test_stack_select(stack, connected):
    client, conn = connected()
    assert stack.select([client], [client], [], 0) == ([], [client], [])
    conn.sendall(b"x")
    assert stack.select([client, conn], [], [], 5) == ([client], [], [])


def test_the_descriptor_goes_with_the_socket(connected):
    client, _ = connected()
    fd = client.fileno()
    assert client.fileno() == fd
    client.close()
    with pytest.raises(OSError):
        select.select([fd], [], [], 0)
