"""What poll and epoll say of a socket, step by step beside Linux's own."""
from __future__ import annotations

import errno
import os
import select
import socket as real
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import netstack.socket as ns
from netstack import epolls, pairs

from ..waiting import until
from .conftest import closed_port
from .test_disconnect import disconnect

ALL = select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLRDHUP
NAMES = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLRDHUP", "POLLNVAL")
RESET = struct.pack("ii", 1, 0)         # SO_LINGER that closes with a reset

Steps = Iterator[tuple[str, Any]]       # what has just been done, the socket to ask


def named(bits: int) -> str:
    return " ".join(name for name in NAMES if bits & getattr(select, name))


def poll(s: Any) -> str:
    """The events of a socket by name."""
    poller = select.poll()
    poller.register(s, ALL)
    return named(dict(poller.poll(0)).get(s.fileno(), 0))


def pair(m: Any) -> tuple[Any, Any]:
    with m.create_server(("127.0.0.1", 0)) as server:
        client = m.create_connection(server.getsockname())
        return client, server.accept()[0]


def closed(m: Any) -> Any:
    return "127.0.0.1", closed_port(m.socket)


def listener(m: Any) -> Steps:
    with m.socket() as s:
        yield "new", s
        s.bind(("127.0.0.1", 0))
        yield "bound", s
        s.listen()
        yield "listens", s
        with m.create_connection(s.getsockname()):
            yield "one waits", s
            s.accept()[0].close()
            yield "accepted", s


def ends(m: Any) -> Steps:
    a, b = pair(m)
    with a, b:
        yield "connected", a
        a.shutdown(real.SHUT_WR)
        yield "our end", a
        yield "its end", b
        b.shutdown(real.SHUT_WR)
        yield "both ended, first", a
        yield "both ended, second", b
    for how in (real.SHUT_RD, real.SHUT_RDWR):
        a, b = pair(m)
        with a, b:
            a.shutdown(how)
            yield f"shutdown {how!r}", a
            yield f"shutdown {how!r} of the peer", b


def reset(m: Any) -> Steps:
    a, b = pair(m)
    with a:
        b.setsockopt(real.SOL_SOCKET, real.SO_LINGER, RESET)
        b.close()
        yield "reset", a
        assert a.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
        yield "error read", a
    a, b = pair(m)
    with a:
        a.setblocking(False)
        try:
            while True:
                a.send(bytes(65536))
        except BlockingIOError:
            yield "full", a
        b.close()
        yield "full, then reset", a


def again(m: Any) -> Steps:
    """A socket that was refused connects again."""
    with m.socket() as s, m.create_server(("127.0.0.1", 0)) as server:
        s.setblocking(False)
        s.connect_ex(closed(m))
        until(lambda: "POLLIN" in poll(s))
        assert s.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
        while s.connect_ex(server.getsockname()) == errno.ECONNABORTED:     # Linux says so once
            pass
        yield "connected", s


def refused(m: Any) -> Steps:
    """A socket that does not block: it is at its end until the next connect has said so."""
    with m.socket() as s, m.create_server(("127.0.0.1", 0)) as server:
        s.setblocking(False)
        yield "new", s
        assert s.connect_ex(closed(m)) == errno.EINPROGRESS
        yield "refused", s
        assert s.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNREFUSED
        yield "error read", s
        assert s.recv(1) == b""
        assert s.connect_ex(server.getsockname()) == errno.ECONNABORTED
        yield "told once more", s
        with pytest.raises(OSError) as caught:
            s.recv(1)
        assert caught.value.errno == errno.ENOTCONN
        assert s.connect_ex(closed(m)) == errno.EINPROGRESS
        yield "refused again", s
        assert s.connect_ex(server.getsockname()) == errno.ECONNREFUSED
        yield "told by connect", s
        assert s.connect_ex(server.getsockname()) == errno.EINPROGRESS
        yield "connected at last", s
        server.accept()[0].close()
        yield "left", s


def refused_at_once(m: Any) -> Steps:
    for timeout in (None, 60):
        with m.socket() as s, m.create_server(("127.0.0.1", 0)) as server:
            s.settimeout(timeout)
            yield "new", s
            assert s.connect_ex(closed(m)) == errno.ECONNREFUSED
            yield "refused", s
            assert s.connect_ex(server.getsockname()) == (0 if timeout is None else errno.ECONNABORTED)
            yield "connect again", s


def unreachable(m: Any) -> Steps:
    with m.socket(real.AF_INET6) as s:
        yield "new", s
        s.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, 1)
        assert s.connect_ex(("::ffff:127.0.0.1", 9)) == errno.ENETUNREACH
        yield "unreachable", s


def connecting(m: Any) -> Steps:
    """A listener that has no room does not answer."""
    for end in ("shutdown", "disconnect", "accept"):
        with m.socket() as server, m.socket() as first, m.socket() as s:
            server.bind(("127.0.0.1", 0))
            server.listen(0)
            first.connect(server.getsockname())
            until(lambda: "POLLIN" in poll(server))
            yield "new", s
            s.setblocking(False)
            assert s.connect_ex(server.getsockname()) == errno.EINPROGRESS
            yield "connecting", s
            if end == "accept":
                continue
            if end == "shutdown":
                s.shutdown(real.SHUT_RDWR)
            else:
                disconnect(s)
            assert s.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNRESET
            yield f"{end}, error read", s


def disconnected(m: Any) -> Steps:
    with m.create_server(("127.0.0.1", 0)) as server, m.socket() as s:
        yield "new", s
        for what in ("by us", "by the peer"):
            s.connect(server.getsockname())
            with server.accept()[0] as conn:
                yield f"connected, to be left {what}", s
                if what == "by the peer":
                    conn.close()
                    yield "left by the peer", s
                disconnect(s)
                assert s.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNRESET
                yield f"disconnected after it was left {what}", s
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield "listens", s
        disconnect(s)
        yield "listens no more", s
        s.listen()
        yield "listens again", s
        s.shutdown(real.SHUT_WR)
        yield "shut for writing", s
        s.shutdown(real.SHUT_RD)
        yield "shut for reading", s


def low_water(m: Any) -> Steps:
    a, b = pair(m)
    with a, b:
        b.setsockopt(real.SOL_SOCKET, real.SO_RCVLOWAT, 4)
        a.sendall(b"abc")
        yield "3 of 4", b
        a.sendall(b"d")
        yield "4 of 4", b
        b.recv(2)
        yield "2 are left", b
        b.setsockopt(real.SOL_SOCKET, real.SO_RCVLOWAT, 1)
        yield "lowered", b
        b.setsockopt(real.SOL_SOCKET, real.SO_RCVLOWAT, 9)
        yield "raised", b
        a.shutdown(real.SHUT_WR)
        yield "the end", b


def datagrams(m: Any) -> Steps:
    with m.socket(type=real.SOCK_DGRAM) as s:
        yield "new", s
        s.bind(("127.0.0.1", 0))
        s.sendto(b"", s.getsockname())
        yield "an empty one", s
        s.recv(1)
        yield "read", s
        s.connect(closed(m))
        s.send(b"x")
        until(lambda: "POLLERR" in poll(s) or (m is ns and "POLLIN" in poll(s)))
        assert s.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
        yield "refused, error read", s
        s.shutdown(real.SHUT_RD)
        yield "reads no more", s
        s.shutdown(real.SHUT_RDWR)
        yield "over", s


class Watch:
    """A socket, and what epolls have told of it, which were told to watch it once."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.level, self.edge = select.epoll(), select.epoll()
        self.level.register(sock, ALL)
        self.edge.register(sock, ALL | select.EPOLLET)
        self.news = self.before = ""

    def ask(self) -> tuple[str, str, str]:
        """By poll; by epoll; by epoll with EPOLLET: the last news since there was another state."""
        asked = poll(self.sock)
        fd = self.sock.fileno()
        level = named(dict(self.level.poll(0)).get(fd, 0))
        self.news = named(dict(self.edge.poll(0)).get(fd, 0)) or self.news
        return asked, level, self.news

    def close(self) -> None:
        self.level.close()
        self.edge.close()


STEPS = [listener, ends, reset, again, refused, refused_at_once, unreachable, connecting, disconnected, low_water,
         datagrams]


@pytest.mark.parametrize("steps", STEPS)
def test_as_on_linux(stack, steps):
    """What is news without being another state is not compared: Linux says some of it twice."""
    watches: dict[int, Watch] = {}
    with ExitStack() as life:
        for (what, ours), (_, theirs) in zip(steps(ns), steps(real), strict=True):
            for sock in (ours, theirs):
                if id(sock) not in watches:
                    watches[id(sock)] = Watch(sock)
                    life.callback(watches[id(sock)].close)
            here, there = watches[id(ours)], watches[id(theirs)]
            try:
                until(lambda: here.ask()[:2] == there.ask()[:2], limit=10)              # noqa: B023
                if there.before != there.ask()[0]:
                    until(lambda: here.ask() == there.ask(), limit=10)                  # noqa: B023
            except AssertionError:
                pytest.fail(f"{what}: {here.ask()!r}, of Linux's socket {there.ask()!r}")
            for watch in (here, there):
                watch.before, watch.news = poll(watch.sock), ""


def test_an_end_that_nobody_can_join(stack, monkeypatch):
    """Where the kernel makes up no names: another file, and the epolls know."""
    monkeypatch.setattr(pairs, "join", lambda user: -1)
    test_as_on_linux(stack, refused)
    test_as_on_linux(stack, disconnected)


def test_others_that_connect_to_the_name(stack, monkeypatch):
    """They are sent away: a process is known by its number."""
    answers = [False, True]
    others = []

    class Crowded(real.socket):
        def listen(self, *arguments):
            super().listen(*arguments)
            others.append(real.socket(real.AF_UNIX))
            others[-1].connect(self.getsockname())

    monkeypatch.setattr(pairs, "_is_ours", lambda end: answers.pop(0))
    monkeypatch.setattr(real, "socket", Crowded)
    with ns.create_server(("127.0.0.1", 0)) as server, ns.socket() as s:
        fd = s.fileno()
        s.connect(server.getsockname())
        assert answers == []
        assert others[0].recv(1) == b""
        others.pop().close()
        until(lambda: poll(s) == "POLLOUT")
        assert s.fileno() == fd


def test_other_processes_are_not_ours():
    with real.socket(real.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        with real.socket(real.AF_UNIX) as mine:
            mine.connect(listener.getsockname())
            with listener.accept()[0] as end:
                assert pairs._is_ours(end)
        child = os.fork()
        if child == 0:
            try:
                real.socket(real.AF_UNIX).connect(listener.getsockname())
            finally:
                os._exit(0)
        with listener.accept()[0] as end:
            assert not pairs._is_ours(end)
        os.waitpid(child, 0)


def test_an_epoll_is_told_all_again():
    """Events, data of any kind, and each epoll that watches; what nobody watches costs nothing."""
    a, b = real.socketpair()
    c, d = real.socketpair()
    e, f = real.socketpair()
    with a, b, c, d, e, f, select.epoll() as one, select.epoll() as two, select.epoll() as other:
        one.register(a, select.EPOLLIN | select.EPOLLET)
        two.register(a, select.EPOLLOUT)
        other.register(d, select.EPOLLIN)
        events = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP
        data = epolls.Registration(one.fileno(), e.fileno(), events, 0xFEDC_BA98_7654_3210)
        assert epolls._control(data, epolls.EPOLL_CTL_ADD)
        assert one.poll(0) == []
        told = epolls.forget({a.fileno(), e.fileno()})
        assert {(t.epoll, t.fd) for t in told} == {(one.fileno(), a.fileno()), (two.fileno(), a.fileno()),
                                                   (one.fileno(), e.fileno())}
        assert data in told
        assert two.poll(0) == []
        os.dup2(c.fileno(), a.fileno(), inheritable=False)
        epolls.restore(told)
        d.sendall(b"x")
        assert one.poll(0) == [(a.fileno(), select.EPOLLIN)]
        assert one.poll(0) == []
        assert two.poll(0) == [(a.fileno(), select.EPOLLOUT)]
        assert epolls.forget({c.fileno()}) == []
