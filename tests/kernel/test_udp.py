"""UDP with Linux."""
from __future__ import annotations

import socket
from typing import Any

import pytest

PORT = 7779
DGRAM = socket.SOCK_DGRAM


@pytest.fixture(params=["ip", "ip6"])
def ends(request: pytest.FixtureRequest, net: Any) -> Any:
    """The link, with the addresses of one family."""
    net.family = socket.AF_INET if request.param == "ip" else socket.AF_INET6
    net.here = getattr(net, request.param)
    net.there = net.linux if request.param == "ip" else net.linux6
    return net


@pytest.fixture
def ours(ends: Any, life: Any) -> Any:
    """The stack's socket, bound."""
    sock = life.enter_context(ends.stack.socket(ends.family, DGRAM))
    sock.bind((ends.here, PORT))
    sock.settimeout(60)
    return sock


@pytest.fixture
def theirs(ends: Any, life: Any) -> Any:
    """Linux's socket, bound."""
    sock = life.enter_context(socket.socket(ends.family, DGRAM))
    sock.bind((ends.there, PORT))
    sock.settimeout(60)
    return sock


@pytest.mark.parametrize("size", [0, 1, 1000, 1452])
def test_there_and_back(ends: Any, ours: Any, theirs: Any, size: int) -> None:
    data = bytes(i * 3 & 0xFF for i in range(size))
    theirs.sendto(data, (ends.here, PORT))
    got, peer = ours.recvfrom(65535)
    assert (got, peer[:2]) == (data, (ends.there, PORT))
    ours.sendto(data, peer)
    got, peer = theirs.recvfrom(65535)
    assert (got, peer[:2]) == (data, (ends.here, PORT))


@pytest.mark.parametrize("size", [1473, 8000, 65507])
def test_in_fragments(net: Any, size: int) -> None:
    data = bytes(i * 3 & 0xFF for i in range(251)) * (size // 251 + 1)
    with net.stack.socket(socket.AF_INET, DGRAM) as ours, socket.socket(socket.AF_INET, DGRAM) as theirs:
        ours.bind((net.ip, PORT))
        ours.settimeout(60)
        theirs.settimeout(60)
        theirs.sendto(data[:size], (net.ip, PORT))
        got, peer = ours.recvfrom(65535)
        assert got == data[:size]
        ours.sendto(got, peer)
        assert theirs.recv(65535) == data[:size]


def test_many(ends: Any, ours: Any, theirs: Any) -> None:
    theirs.sendto(b"", (ends.here, PORT))       # Linux reorders what it sends while it resolves an address
    assert ours.recv(100) == b""
    for first in range(0, 500, 50):
        for number in range(first, first + 50):
            theirs.sendto(b"%d" % number, (ends.here, PORT))
        assert [ours.recv(100) for _ in range(50)] == [b"%d" % n for n in range(first, first + 50)]


def test_linux_is_told_of_a_closed_port(ends: Any) -> None:
    with socket.socket(ends.family, DGRAM) as theirs:
        theirs.settimeout(60)
        theirs.connect((ends.here, 9))
        theirs.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            theirs.recv(1)


def test_the_stack_is_told_of_a_closed_port(ends: Any) -> None:
    with ends.stack.socket(ends.family, DGRAM) as ours:
        ours.settimeout(60)
        ours.connect((ends.there, 9))
        ours.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            ours.recv(1)
