"""What poll says of a socket, step by step beside Linux's own."""
from __future__ import annotations

import errno
import select
import socket as real
import struct
from collections.abc import Iterator
from typing import Any

import pytest

import netstack.socket as ns

from ..waiting import until
from .conftest import closed_port

ALL = select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLRDHUP
NAMES = ("POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLRDHUP", "POLLNVAL")
RESET = struct.pack("ii", 1, 0)         # SO_LINGER that closes with a reset

Steps = Iterator[tuple[str, Any]]       # what has just been done, the socket to ask


def poll(s: Any) -> str:
    """The events of a socket by name."""
    poller = select.poll()
    poller.register(s, ALL)
    bits = dict(poller.poll(0)).get(s.fileno(), 0)
    return " ".join(name for name in NAMES if bits & getattr(select, name))


def pair(m: Any) -> tuple[Any, Any]:
    with m.create_server(("127.0.0.1", 0)) as server:
        client = m.create_connection(server.getsockname())
        return client, server.accept()[0]


def closed(m: Any) -> Any:
    return "127.0.0.1", closed_port(m.socket)


def listener(m: Any) -> Steps:
    with m.socket() as s:
        s.fileno()
        s.bind(("127.0.0.1", 0))
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


@pytest.mark.parametrize("steps", [listener, ends, reset, again, low_water, datagrams])
def test_as_on_linux(stack, steps):
    for (what, ours), (_, theirs) in zip(steps(ns), steps(real), strict=True):
        try:
            until(lambda: poll(ours) == poll(theirs))       # noqa: B023
        except AssertionError:
            pytest.fail(f"{what}: {poll(ours)!r}, of Linux's socket {poll(theirs)!r}")
