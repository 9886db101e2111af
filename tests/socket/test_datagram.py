"""UDP and ICMP echo sockets."""
from __future__ import annotations

import errno
import struct

import pytest

import netstack.socket as ns

from .conftest import closed_port


@pytest.fixture
def two(stack, life):
    """Two UDP sockets, bound."""
    made = []
    for _ in range(2):
        s = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
        s.bind(("127.0.0.1", 0))
        s.settimeout(60)
        made.append(s)
    return made


def test_datagrams_keep_their_borders(two):
    a, b = two
    for size in (0, 1, 100, 1472, 8000, 60_000):
        assert a.sendto(bytes([size % 251]) * size, b.getsockname()) == size
    for size in (0, 1, 100, 1472, 8000, 60_000):
        data, sender = b.recvfrom(65535)
        assert data == bytes([size % 251]) * size
        assert sender == a.getsockname()


def test_recvfrom_of_every_size(two):
    a, b = two
    for room in (10, 3, 0, 70_000):
        a.sendto(b"0123456789", b.getsockname())
        assert b.recvfrom(room) == (b"0123456789"[:room], a.getsockname())


def test_what_does_not_fit_is_cut_off(two):
    a, b = two
    a.sendto(b"0123456789", b.getsockname())
    a.sendto(b"next", b.getsockname())
    assert b.recvmsg(4) == (b"0123", [], ns.MSG_TRUNC, a.getsockname())
    assert b.recvmsg(4) == (b"next", [], 0, a.getsockname())


def test_recvfrom_into_and_peek(two):
    a, b = two
    a.sendto(b"abc", b.getsockname())
    buffer = bytearray(2)
    assert b.recvfrom_into(buffer, 0, ns.MSG_PEEK) == (2, a.getsockname())
    assert b.recv(10, ns.MSG_PEEK) == b"abc"
    assert b.recv_into(buffer) == 2
    assert bytes(buffer) == b"ab"
    b.setblocking(False)
    with pytest.raises(BlockingIOError):
        b.recv(1)


def test_connected(two):
    a, b = two
    a.connect(b.getsockname())
    assert a.getpeername() == b.getsockname()
    assert a.send(b"x") == 1
    a.sendall(b"y")
    assert b.recvfrom(10) == (b"x", a.getsockname())
    assert b.recv(10) == b"y"
    with pytest.raises(OSError) as caught:
        b.send(b"to whom?")
    assert caught.value.errno == errno.EDESTADDRREQ


def test_a_connected_socket_hears_only_its_peer(two, stack):
    a, b = two
    a.connect(b.getsockname())
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as stranger:
        stranger.sendto(b"spam", a.getsockname())
        b.sendto(b"ham", a.getsockname())
        assert a.recv(10) == b"ham"


def test_refused_is_reported_to_a_connected_socket(stack):
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
        s.settimeout(60)
        s.connect(("127.0.0.1", closed_port(ns.socket)))
        s.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            s.recv(10)


def test_ipv6(stack):
    with stack.socket(ns.AF_INET6, ns.SOCK_DGRAM) as a, stack.socket(ns.AF_INET6, ns.SOCK_DGRAM) as b:
        b.bind(("::", 0))
        b.settimeout(60)
        a.sendto(b"six", ("::1", b.getsockname()[1]))
        data, sender = b.recvfrom(10)
        assert (data, sender[0], len(sender)) == (b"six", "::1", 4)
        a.sendto(b"four", ("::ffff:127.0.0.1", b.getsockname()[1]))
        data, sender = b.recvfrom(10)
        assert (data, sender[0]) == (b"four", "::ffff:127.0.0.1")


def test_broadcast_needs_permission(two):
    a, _ = two
    with pytest.raises(PermissionError):
        a.sendto(b"x", ("<broadcast>", 9))


def test_too_long(two):
    a, b = two
    with pytest.raises(OSError) as caught:
        a.sendto(bytes(65_508), b.getsockname())
    assert caught.value.errno == errno.EMSGSIZE


def test_sendto_wants_an_address(two):
    a, _ = two
    with pytest.raises(TypeError, match="takes 2 or 3 arguments"):
        a.sendto(b"x")
    with pytest.raises(TypeError, match="must be tuple"):
        a.sendto(b"x", "127.0.0.1")
    with pytest.raises(OverflowError, match="port must be 0-65535"):
        a.sendto(b"x", 0, ("127.0.0.1", 65536))


def test_reuse_port_shares(stack, life):
    first = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    second = life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM))
    first.setsockopt(ns.SOL_SOCKET, ns.SO_REUSEPORT, 1)
    first.bind(("127.0.0.1", 0))
    with pytest.raises(OSError) as caught:
        second.bind(first.getsockname())
    assert caught.value.errno == errno.EADDRINUSE
    second.setsockopt(ns.SOL_SOCKET, ns.SO_REUSEPORT, 1)
    second.bind(first.getsockname())


@pytest.mark.parametrize(("family", "protocol", "host", "request_type", "reply_type"), [
    (ns.AF_INET, ns.IPPROTO_ICMP, "127.0.0.1", 8, 0), (ns.AF_INET6, ns.IPPROTO_ICMPV6, "::1", 128, 129)])
def test_ping(stack, family, protocol, host, request_type, reply_type):
    with stack.socket(family, ns.SOCK_DGRAM, protocol) as s:
        s.settimeout(60)
        s.sendto(struct.pack("!BBHHH", request_type, 0, 0, 0, 77) + b"payload", (host, 0))
        answer, sender = s.recvfrom(100)
        assert sender[0] == host
        kind, code, _, _, sequence = struct.unpack("!BBHHH", answer[:8])
        assert (kind, code, sequence, answer[8:]) == (reply_type, 0, 77, b"payload")
