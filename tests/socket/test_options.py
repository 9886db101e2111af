"""setsockopt and getsockopt, against the real module wherever it can be asked."""
from __future__ import annotations

import errno
import socket as real
import struct

import pytest

import netstack.socket as ns
from netstack.endpoint import Kind
from netstack.sockopt import OPTIONS, Form

TCP, UDP, SIX = (ns.AF_INET, ns.SOCK_STREAM), (ns.AF_INET, ns.SOCK_DGRAM), (ns.AF_INET6, ns.SOCK_STREAM)


@pytest.mark.parametrize(("kind", "level", "name", "value", "read"), [
    (TCP, ns.SOL_SOCKET, ns.SO_REUSEADDR, 1, 1),
    (TCP, ns.SOL_SOCKET, ns.SO_REUSEADDR, 77, 1),
    (TCP, ns.SOL_SOCKET, ns.SO_REUSEPORT, 1, 1),
    (TCP, ns.SOL_SOCKET, ns.SO_KEEPALIVE, 1, 1),
    (UDP, ns.SOL_SOCKET, ns.SO_BROADCAST, 1, 1),
    (TCP, ns.SOL_SOCKET, ns.SO_OOBINLINE, 1, 1),
    (TCP, ns.SOL_SOCKET, ns.SO_RCVLOWAT, 10, 10),
    (TCP, ns.SOL_SOCKET, ns.SO_RCVBUF, 20000, 40000),
    (TCP, ns.SOL_SOCKET, ns.SO_RCVBUF, 1, 2304),
    (TCP, ns.SOL_SOCKET, ns.SO_SNDBUF, 20000, 40000),
    (TCP, ns.SOL_SOCKET, ns.SO_SNDBUF, 1, 4608),
    (UDP, ns.SOL_SOCKET, ns.SO_RCVBUF, 20000, 40000),
    (TCP, ns.IPPROTO_TCP, ns.TCP_NODELAY, 1, 1),
    (TCP, ns.IPPROTO_TCP, ns.TCP_CORK, 1, 1),
    (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPIDLE, 30, 30),
    (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPINTVL, 5, 5),
    (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPCNT, 4, 4),
    (TCP, ns.IPPROTO_TCP, ns.TCP_USER_TIMEOUT, 1500, 1500),
    (TCP, ns.IPPROTO_TCP, ns.TCP_SYNCNT, 3, 3),
    (TCP, ns.IPPROTO_IP, ns.IP_TTL, 7, 7),
    (TCP, ns.IPPROTO_IP, ns.IP_TTL, b"\x09", 9),
    (TCP, ns.IPPROTO_IP, ns.IP_TOS, 0x10, 0x10),
    (SIX, ns.IPPROTO_IPV6, ns.IPV6_V6ONLY, 1, 1),
    (SIX, ns.IPPROTO_IPV6, ns.IPV6_UNICAST_HOPS, 5, 5),
    (SIX, ns.IPPROTO_IPV6, ns.IPV6_TCLASS, 0x20, 0x20),
])
def test_set_and_read(stack, kind, level, name, value, read):
    with stack.socket(*kind) as s, real.socket(*kind) as r:
        for one in (r, s):
            one.setsockopt(level, name, value)
            assert one.getsockopt(level, name) == read
            assert struct.unpack("i", one.getsockopt(level, name, 4))[0] == read
        s.setsockopt(level, name, struct.pack("i", value if isinstance(value, int) else value[0]))
        assert s.getsockopt(level, name) == read


@pytest.mark.parametrize(("kind", "level", "name"), [
    (TCP, ns.SOL_SOCKET, ns.SO_TYPE), (UDP, ns.SOL_SOCKET, ns.SO_TYPE), (TCP, ns.SOL_SOCKET, ns.SO_DOMAIN),
    (SIX, ns.SOL_SOCKET, ns.SO_DOMAIN), (TCP, ns.SOL_SOCKET, ns.SO_PROTOCOL), (UDP, ns.SOL_SOCKET, ns.SO_PROTOCOL),
    (TCP, ns.SOL_SOCKET, ns.SO_ACCEPTCONN), (TCP, ns.SOL_SOCKET, ns.SO_ERROR), (TCP, ns.SOL_SOCKET, ns.SO_LINGER),
    (TCP, ns.SOL_SOCKET, ns.SO_KEEPALIVE), (TCP, ns.SOL_SOCKET, ns.SO_RCVLOWAT), (TCP, ns.IPPROTO_TCP, ns.TCP_NODELAY),
    (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPIDLE), (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPINTVL),
    (TCP, ns.IPPROTO_TCP, ns.TCP_KEEPCNT), (TCP, ns.IPPROTO_TCP, ns.TCP_USER_TIMEOUT),
    (TCP, ns.IPPROTO_TCP, ns.TCP_SYNCNT), (TCP, ns.IPPROTO_TCP, ns.TCP_MAXSEG), (TCP, ns.IPPROTO_IP, ns.IP_TTL),
    (TCP, ns.IPPROTO_IP, ns.IP_TOS), (SIX, ns.IPPROTO_IPV6, ns.IPV6_V6ONLY),
    (SIX, ns.IPPROTO_IPV6, ns.IPV6_UNICAST_HOPS), (SIX, ns.IPPROTO_IPV6, ns.IPV6_TCLASS),
])
def test_defaults_are_linux_defaults(stack, kind, level, name):
    with stack.socket(*kind) as s, real.socket(*kind) as r:
        assert s.getsockopt(level, name) == r.getsockopt(level, name)


def test_acceptconn(stack):
    with stack.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockopt(ns.SOL_SOCKET, ns.SO_ACCEPTCONN) == 1


@pytest.mark.parametrize(("kind", "level", "name"), [
    (TCP, ns.SOL_SOCKET, 9999), (TCP, ns.IPPROTO_TCP, 200), (TCP, ns.IPPROTO_IP, 255), (TCP, 255, 1),
    (UDP, ns.IPPROTO_TCP, ns.TCP_NODELAY), (TCP, ns.IPPROTO_IPV6, ns.IPV6_V6ONLY),
    (TCP, ns.SOL_SOCKET, ns.SO_PEERSEC), (TCP, ns.IPPROTO_TCP, 14)])    # 14: TCP_MD5SIG
def test_unknown(stack, kind, level, name):
    """Linux says of a level that an AF_INET socket has not: EOPNOTSUPP, when it is read."""
    foreign = level not in (ns.SOL_SOCKET, ns.IPPROTO_IP) and not (kind == TCP and level == ns.IPPROTO_TCP)
    with stack.socket(*kind) as s:
        for call, reads in ((lambda: s.setsockopt(level, name, 1), False), (lambda: s.getsockopt(level, name), True),
                            (lambda: s.getsockopt(level, name, 4), True)):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == (errno.EOPNOTSUPP if foreign and reads else errno.ENOPROTOOPT)


@pytest.mark.parametrize("name", [ns.SO_TYPE, ns.SO_ERROR, ns.SO_ACCEPTCONN, ns.SO_DOMAIN, ns.SO_PROTOCOL])
def test_read_only(stack, name):
    with stack.socket() as s, real.socket() as r:
        for one in (r, s):
            with pytest.raises(OSError) as caught:
                one.setsockopt(ns.SOL_SOCKET, name, 1)
            assert caught.value.errno == errno.ENOPROTOOPT


@pytest.mark.parametrize(("level", "name", "value"), [
    (ns.SOL_SOCKET, ns.SO_LINGER, 1), (ns.SOL_SOCKET, ns.SO_LINGER, b"\1\0\0\0"), (ns.SOL_SOCKET, ns.SO_RCVTIMEO, 1),
    (ns.IPPROTO_TCP, ns.TCP_NODELAY, b"\1"), (ns.IPPROTO_IP, ns.IP_TTL, b""), (ns.IPPROTO_IP, ns.IP_TTL, 256),
    (ns.IPPROTO_IP, ns.IP_TTL, 0), (ns.IPPROTO_TCP, ns.TCP_KEEPIDLE, 0), (ns.IPPROTO_TCP, ns.TCP_KEEPCNT, 128),
    (ns.IPPROTO_TCP, ns.TCP_SYNCNT, 0), (ns.IPPROTO_TCP, ns.TCP_MAXSEG, 1),
    (ns.SOL_SOCKET, ns.SO_RCVTIMEO, struct.pack("qq", 0, 2_000_000)),
    (ns.SOL_SOCKET, ns.SO_REUSEADDR, "1"), (ns.SOL_SOCKET, ns.SO_REUSEADDR, 1.5),
    (ns.SOL_SOCKET, ns.SO_REUSEADDR, None),
    (ns.SOL_SOCKET, ns.SO_BINDTODEVICE, b"nope0\0"), (ns.SOL_SOCKET, ns.SO_REUSEADDR, 1 << 40),
])
def test_bad_values_are_refused_as_by_linux(stack, level, name, value):
    with stack.socket() as s, real.socket() as r:
        caught = []
        for one in (r, s):
            with pytest.raises((OSError, TypeError, OverflowError)) as error:
                one.setsockopt(level, name, value)
            caught.append((type(error.value), getattr(error.value, "errno", None)))
        assert caught[1] == caught[0]


def test_linger(stack):
    with stack.socket() as s:
        for on, seconds in ((1, 5), (1, 0), (0, 0)):
            s.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, struct.pack("ii", on, seconds))
            assert s.getsockopt(ns.SOL_SOCKET, ns.SO_LINGER, 8) == struct.pack("ii", on, seconds)


def test_buflen(stack):
    with stack.socket() as s:
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_TYPE, 2) == b"\1\0"
        for wrong in (-1, 1025):
            with pytest.raises(OSError, match="buflen out of range"):
                s.getsockopt(ns.SOL_SOCKET, ns.SO_TYPE, wrong)


def test_bind_to_device(stack):
    with stack.socket(ns.AF_INET, ns.SOCK_DGRAM) as s:
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_BINDTODEVICE, 16) == b""
        s.setsockopt(ns.SOL_SOCKET, ns.SO_BINDTODEVICE, b"lo\0")
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_BINDTODEVICE, 16) == b"lo\0"
        s.setsockopt(ns.SOL_SOCKET, ns.SO_BINDTODEVICE, b"")
        assert s.getsockopt(ns.SOL_SOCKET, ns.SO_BINDTODEVICE, 16) == b""


def test_congestion_control(stack):
    with stack.socket() as s:
        assert s.getsockopt(ns.IPPROTO_TCP, ns.TCP_CONGESTION, 16).rstrip(b"\0") == b"cubic"
        s.setsockopt(ns.IPPROTO_TCP, ns.TCP_CONGESTION, b"reno")
        with pytest.raises(OSError, match="there is reno, cubic, bbr") as caught:
            s.setsockopt(ns.IPPROTO_TCP, ns.TCP_CONGESTION, b"vegas")
        assert caught.value.errno == errno.ENOENT


def test_options_are_inherited_by_accepted_sockets(stack):
    with stack.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(ns.IPPROTO_TCP, ns.TCP_NODELAY, 1)
        server.setsockopt(ns.SOL_SOCKET, ns.SO_KEEPALIVE, 1)
        server.setsockopt(ns.IPPROTO_TCP, ns.TCP_KEEPIDLE, 33)
        server.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, struct.pack("ii", 1, 2))
        with stack.create_connection(server.getsockname()):
            conn, _ = server.accept()
            with conn:
                assert conn.getsockopt(ns.IPPROTO_TCP, ns.TCP_NODELAY) == 1
                assert conn.getsockopt(ns.SOL_SOCKET, ns.SO_KEEPALIVE) == 1
                assert conn.getsockopt(ns.IPPROTO_TCP, ns.TCP_KEEPIDLE) == 33
                assert conn.getsockopt(ns.SOL_SOCKET, ns.SO_LINGER, 8) == struct.pack("ii", 1, 2)


def test_ip_mtu(connected):
    client, _ = connected()
    assert client.getsockopt(ns.IPPROTO_IP, 14) == 65535


def test_every_option_of_the_table_can_be_read(stack, connected):
    client, _ = connected()
    client6, _ = connected("::1")
    with (stack.socket(type=ns.SOCK_DGRAM) as datagrams, stack.socket(ns.AF_INET, ns.SOCK_RAW, 1) as raw,
          stack.socket(ns.AF_INET6, ns.SOCK_RAW, 58) as raw6, stack.socket(ns.AF_PACKET, ns.SOCK_RAW) as packet,
          stack.socket(ns.AF_INET6, ns.SOCK_DGRAM) as datagrams6):
        for (level, name), option in OPTIONS.items():
            s = client if Kind.TCP in option.kinds else datagrams
            if option.six:
                s = client6 if Kind.TCP in option.kinds else datagrams6
            if option.kinds == {Kind.RAW}:
                s = raw6 if option.six else raw
            elif option.kinds == {Kind.PACKET}:
                s = packet
            if not option.readable:
                continue
            buflen = 16 if option.form in (Form.DEVICE, Form.ALGORITHM, Form.TIMEVAL, Form.LINGER) else 0
            if name == ns.IPV6_PATHMTU and option.six:
                buflen = 32
            s.getsockopt(level, name, buflen)
            assert option.meaning


def test_a_negative_linger_waits(stack, connected):
    """As on Linux: not for no time at all, which would reset the connection."""
    client, conn = connected()
    client.setsockopt(ns.SOL_SOCKET, ns.SO_LINGER, struct.pack("ii", 1, -1))
    client.sendall(b"x")
    client.close()
    assert (conn.recv(10), conn.recv(10)) == (b"x", b"")


def test_an_unsigned_value_as_bytes(stack):
    """What does not fit a C int reads as Linux writes it."""
    with stack.socket() as s, real.socket() as r:
        for one in (r, s):
            assert one.getsockopt(ns.SOL_SOCKET, 47, 4) == b"\xff\xff\xff\xff"      # SO_MAX_PACING_RATE
