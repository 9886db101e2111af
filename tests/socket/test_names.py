"""Names and addresses: getaddrinfo and its relatives, what is accepted as an address and what is not."""
from __future__ import annotations

import socket as real

import pytest

import netstack
import netstack.socket as ns
from netstack.drivers import Wire

QUESTIONS = [
    ("127.0.0.1", 80), ("127.0.0.1", "http"), ("::1", 443, 0, real.SOCK_STREAM), ("10.1.2.3", None),
    ("127.1", 80), ("0x7f.1", 80, real.AF_INET), ("2130706433", 80), (None, 80), (None, 80, 0, 0, 0, real.AI_PASSIVE),
    (None, 80, real.AF_INET6, real.SOCK_STREAM, 0, real.AI_PASSIVE), (b"127.0.0.1", b"80"), ("::ffff:1.2.3.4", 1),
    ("1.2.3.4", 5, real.AF_INET, 0, real.IPPROTO_UDP), ("1.2.3.4", "5", 0, real.SOCK_DGRAM),
    ("1.2.3.4", 5, 0, 0, 0, real.AI_CANONNAME | real.AI_NUMERICHOST),
    ("1.2.3.4", 5, real.AF_INET6, 0, 0, real.AI_V4MAPPED),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_numbers_as_the_c_library(stack, question):
    assert sorted(ns.getaddrinfo(*question)) == sorted(real.getaddrinfo(*question))


@pytest.mark.parametrize("question", [
    ("127.0.0.1", "no-such-service"), ("::1", 80, real.AF_INET), ("127.0.0.1", 80, real.AF_INET6), (None, None),
    ("1.2.3.4", 5, 77), ("1.2.3.4", 5, 0, 77), ("not numeric", 5, 0, 0, 0, real.AI_NUMERICHOST),
    ("localhost", 5, 0, 0, 0, real.AI_NUMERICHOST), (5, 5), ("1.2.3.4", 5.0), ("1.2.3.4", "http", 0, 0, 0,
                                                                          real.AI_NUMERICSERV)])
def test_mistakes_as_the_c_library(stack, question):
    with pytest.raises((OSError, TypeError)) as theirs:
        real.getaddrinfo(*question)
    with pytest.raises(type(theirs.value)) as ours:
        ns.getaddrinfo(*question)
    assert getattr(ours.value, "errno", None) == getattr(theirs.value, "errno", None)


def test_localhost(stack):
    for name in ("localhost", "LOCALHOST", "localhost.", "www.localhost"):
        found = ns.getaddrinfo(name, 80, type=ns.SOCK_STREAM)
        assert [(f, a[0]) for f, _, _, _, a in found] == [(ns.AF_INET6, "::1"), (ns.AF_INET, "127.0.0.1")]
    assert [a[0] for *_, a in ns.getaddrinfo("localhost", 80, ns.AF_INET, ns.SOCK_STREAM)] == ["127.0.0.1"]
    assert ns.getaddrinfo("localhost", 80, flags=ns.AI_CANONNAME)[0][3] == "localhost"
    assert len(ns.getaddrinfo("localhost", 80)) == 6
    assert isinstance(ns.getaddrinfo("localhost", 80)[0][0], ns.AddressFamily)
    assert ns.gethostbyname("localhost") == "127.0.0.1"


def test_other_names_need_servers(stack):
    for ask in (lambda: ns.getaddrinfo("www.example.com", 80), lambda: ns.gethostbyname("www.example.com"),
                lambda: ns.create_connection(("www.example.com", 80)), lambda: ns.getaddrinfo("not-localhost-x", 0)):
        with pytest.raises(ns.gaierror, match="has no name servers") as caught:
            ask()
        assert caught.value.errno == ns.EAI_NONAME


def test_reverse(stack):
    assert ns.gethostbyaddr("127.0.0.1")[0] == "localhost"
    assert ns.gethostbyaddr("::1") == ("localhost", [], ["::1"])
    with pytest.raises(ns.herror):
        ns.gethostbyaddr("192.0.2.1")
    assert ns.getfqdn("192.0.2.1") == "192.0.2.1"
    assert ns.getfqdn("127.0.0.1") == "localhost"
    assert ns.getfqdn() == real.gethostname()
    assert ns.getnameinfo(("192.0.2.1", 80), 0) == ("192.0.2.1", "http")
    assert ns.getnameinfo(("127.0.0.1", 80), ns.NI_NUMERICSERV) == ("localhost", "80")
    assert ns.getnameinfo(("127.0.0.1", 80), ns.NI_NUMERICHOST | ns.NI_NUMERICSERV) == ("127.0.0.1", "80")
    with pytest.raises(ns.gaierror):
        ns.getnameinfo(("192.0.2.1", 80), ns.NI_NAMEREQD)


ADDRESSES = [
    "127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 1, 2), ["127.0.0.1", 0], (None, 1), (5, 1), ("127.0.0.1", "1"),
    ("127.0.0.1", 1.0), ("127.0.0.1", None), ("127.0.0.1", -1), ("127.0.0.1", 65536), ("127.0.0.1", 1 << 70),
    ("a\0b", 1), ("ä" * 70, 1), ("::1", 0), ("1.2.3.4", 0), None,
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("call", ["bind", "connect"])
def test_bad_addresses_are_refused_as_by_the_real_module(stack, address, call):
    if call == "connect" and address == ("1.2.3.4", 0):
        pytest.skip("the real module would use the real network")
    with stack.socket() as s, real.socket() as r:
        with pytest.raises((OSError, TypeError, OverflowError)) as theirs:
            getattr(r, call)(address)
        with pytest.raises(type(theirs.value)) as ours:
            getattr(s, call)(address)
        assert getattr(ours.value, "errno", None) == getattr(theirs.value, "errno", None)
        if isinstance(theirs.value, (TypeError, OverflowError)):
            assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("address", [
    ("::1",), ("::1", 0, 0, 0, 0), ("::1", 0, -1), ("::1", 0, 1 << 20), ("::1", 65536), ("127.0.0.1", 0),
    ("<broadcast>", 0), ("::1%nope", 0), ("fe80::1%nope", 0), ("2001:db8::77", 0)])
def test_bad_ipv6_addresses(stack, address):
    with stack.socket(ns.AF_INET6) as s, real.socket(real.AF_INET6) as r:
        with pytest.raises((OSError, TypeError, OverflowError)) as theirs:
            r.bind(address)
        with pytest.raises(type(theirs.value)) as ours:
            s.bind(address)
        assert getattr(ours.value, "errno", None) == getattr(theirs.value, "errno", None)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost", "127.1", b"127.0.0.1", bytearray(b"127.0.0.1"),
                                  "127.9.8.7"])
def test_good_addresses(stack, host):
    with stack.socket() as s:
        s.bind((host, 0))
        assert s.getsockname()[1] > 0


def test_port_in_use(stack):
    with stack.create_server(("127.0.0.1", 0)) as server:
        with stack.socket() as s, pytest.raises(OSError) as caught:
            s.bind(server.getsockname())
        assert caught.value.errno == ns.errno.EADDRINUSE
        with pytest.raises(OSError, match="while attempting to bind on address"):
            stack.create_server(server.getsockname())


def test_scopes(life, clock):
    left, right = Wire.pair()
    a, b = (life.enter_context(netstack.Stack(clock=clock)) for _ in range(2))
    near = a.attach(left, name="near", dad=False)
    far = b.attach(right, name="far", dad=False)
    with b.create_server(("::", 7), family=ns.AF_INET6) as server:
        there = str(far.addresses[0].ip)
        for address in ((f"{there}%near", 7), (f"{there}%{near.index}", 7), (there, 7, 0, near.index)):
            with a.socket(ns.AF_INET6) as s:
                s.connect(address)
                assert s.getpeername() == (there, 7, 0, near.index)
                conn, peer = server.accept()
                assert peer == (str(near.addresses[0].ip), s.getsockname()[1], 0, far.index)
                conn.close()
        with a.socket(ns.AF_INET6) as s, pytest.raises(ns.gaierror, match="no interface 'far'"):
            s.connect((f"{there}%far", 7))
        with a.socket(ns.AF_INET6, ns.SOCK_DGRAM) as s:
            s.bind((f"{near.addresses[0].ip}%near", 0))
            assert s.getsockname()[3] == near.index


def test_interfaces(stack):
    assert ns.if_nameindex() == [(1, "lo")]
    assert ns.if_nametoindex("lo") == 1
    assert ns.if_indextoname(1) == "lo"
    with pytest.raises(OSError):
        ns.if_nametoindex("eth0")
