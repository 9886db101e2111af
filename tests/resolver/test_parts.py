"""The parts by themselves: configuration, hosts, cache, order."""
from __future__ import annotations

import ipaddress
import os
import socket as real

import pytest

import netstack
from netstack.drivers import Wire
from netstack.resolver import Config, Hosts, cache, config, hosts, order

V4, V6 = int(real.AF_INET), int(real.AF_INET6)
BOTH = (V6, V4)


def test_resolv_conf(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# made by hand\nnameserver 10.0.0.1\nnameserver fd00::1\nnameserver nonsense\n"
                    "search one.test two.test\noptions ndots:2 timeout:99 attempts:3 rotate use-vc nonsense:1\n;x\n")
    read = config.from_file(path)
    assert read.nameservers == [("10.0.0.1", 53), ("fd00::1", 53)]
    assert read.search == ["one.test", "two.test"]
    assert (read.ndots, read.timeout, read.attempts, read.rotate, read.tcp) == (2, 30, 3, True, True)
    read.read("domain three.test\n")
    assert read.search == ["three.test"]
    assert len(read.nameservers) == 2           # nothing was said about them


@pytest.mark.parametrize(("given", "expected"), [
    ("10.0.0.1", ("10.0.0.1", 53)), ("10.0.0.1#5353", ("10.0.0.1", 5353)), ("fe80::1%eth0", ("fe80::1%eth0", 53)),
    (("::1", 9), ("::1", 9))])
def test_servers(given, expected):
    assert config.server(given) == expected


@pytest.mark.parametrize("wrong", ["here", "10.0.0.1#x", "10.0.0.1#0", "10.0.0.256", ("10.0.0.1", 70000)])
def test_wrong_servers(wrong):
    with pytest.raises(ValueError):
        config.server(wrong)
    with pytest.raises(ValueError):
        netstack.Stack(nameservers=[wrong])


@pytest.mark.parametrize(("name", "ndots", "expected"), [
    ("www", 1, ["www.a.test.", "www.b.test.", "www."]), ("www.x", 1, ["www.x.", "www.x.a.test.", "www.x.b.test."]),
    ("www.x", 2, ["www.x.a.test.", "www.x.b.test.", "www.x."]), ("www.", 1, ["www."]),
    ("www", 0, ["www.", "www.a.test.", "www.b.test."])])
def test_candidates(name, ndots, expected):
    assert Config(search=["a.test", ".b.test.", "."], ndots=ndots).candidates(name) == expected


def test_hosts_file(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost\n10.0.0.5 db.test db  # the database\nfd00::5 db\nnonsense\n10.0.0.300 x\n")
    table = Hosts(path)
    found = table.find("DB.", BOTH)
    assert found.canonical == "db.test"
    assert found.aliases == ["db"]
    assert found.addresses == [(V4, "10.0.0.5"), (V6, "fd00::5")]
    assert table.find("db", (V6,)).addresses == [(V6, "fd00::5")]
    assert table.find("x", BOTH) is None
    assert table.reverse("10.0.0.5").canonical == "db.test"
    assert table.reverse("10.0.0.6") is None
    path.write_text("10.0.0.6 other\n")
    os.utime(path, ns=(1, 1))
    assert table.find("db", BOTH) is None
    assert table.find("other", BOTH).addresses == [(V4, "10.0.0.6")]
    path.unlink()
    assert table.find("other", BOTH) is None


def test_hosts_of_its_own():
    table = Hosts({"a": "10.0.0.1", "b": ["10.0.0.2", "fd00::2"]})
    table.add("10.0.0.3", "c", "d")
    assert table.find("b", BOTH).addresses == [(V4, "10.0.0.2"), (V6, "fd00::2")]
    assert table.find("d", BOTH).canonical == "c"
    for wrong in (("10.0.0.4",), ("nonsense", "x")):
        with pytest.raises(ValueError):
            table.add(*wrong)
    assert hosts.read("#\n\n::1\n") == []


def test_cache():
    now = [0]
    kept = cache.Cache(lambda: now[0], size=3)
    kept.put("A.test.", 1, "one", 10)
    assert kept.get("a.TEST.", 1) == "one"
    assert kept.get("a.test.", 28) is None
    now[0] = 10 * cache.SECOND
    assert kept.get("a.test.", 1) is None
    assert len(kept) == 0
    kept.put("none.test.", cache.ANY_TYPE, "no", 10, negative=True)
    assert kept.get("none.test.", 1) == kept.get("none.test.", 28) == "no"      # NXDOMAIN is the name's
    kept.put("zero.test.", 1, "x", 0)
    assert kept.get("zero.test.", 1) is None
    for name in "bcd":
        kept.put(name, 1, name, 1 << 31)
    assert len(kept) == 3
    assert kept.get("none.test.", 1) is None        # the one that was not used for longest
    assert kept.get("b", 1) == "b"
    now[0] += cache.LONGEST * cache.SECOND
    assert kept.get("b", 1) is None
    kept.put("n", 1, "x", 1 << 31, negative=True)
    now[0] += cache.LONGEST_NEGATIVE * cache.SECOND
    assert kept.get("n", 1) is None
    kept.put("e", 1, "e", 5)
    kept.clear()
    assert len(kept) == 0


@pytest.mark.parametrize(("text", "expected"), [
    ("::1", (50, 0)), ("10.0.0.1", (35, 4)), ("2002::1", (30, 2)), ("fd00::1", (3, 13)), ("2001:db8::1", (40, 1)),
    ("2001::1", (5, 5))])
def test_policy(text, expected):
    assert order.policy(order.mapped(text)) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("127.0.0.1", 2), ("169.254.1.1", 2), ("10.0.0.1", 14), ("fe80::1", 2), ("fec0::1", 5), ("2001:db8::1", 14),
    ("ff02::1", 2), ("ff0e::1", 14), ("::1", 2)])
def test_scope(text, expected):
    assert order.scope(order.mapped(text)) == expected


@pytest.mark.parametrize(("sources", "destinations", "expected"), [
    # RFC 6724 10.2: the first line's candidates, and the order that it gives
    ({"2001:db8:1::1": "2001:db8:1::2", "198.51.100.121": "198.51.100.117"},
     ["198.51.100.121", "2001:db8:1::1"], ["2001:db8:1::1", "198.51.100.121"]),
    ({"2001:db8:1::1": "fe80::1", "198.51.100.121": "198.51.100.117"},
     ["2001:db8:1::1", "198.51.100.121"], ["198.51.100.121", "2001:db8:1::1"]),         # prefer matching scope
    ({"2001:db8:1::1": "2001:db8:1::2", "fe80::1": "fe80::2"},
     ["2001:db8:1::1", "fe80::1"], ["fe80::1", "2001:db8:1::1"]),                       # prefer smaller scope
    ({"2001:db8:1::1": "2001:db8:1::2", "2001:db8:3ffe::1": "2001:db8:3f44::2"},
     ["2001:db8:3ffe::1", "2001:db8:1::1"], ["2001:db8:1::1", "2001:db8:3ffe::1"]),     # longest matching prefix
    ({"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2002:c633:6401::2"},
     ["2001:db8:1::1", "2002:c633:6401::1"], ["2002:c633:6401::1", "2001:db8:1::1"]),   # prefer matching label
    ({"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2001:db8:1::2"},
     ["2002:c633:6401::1", "2001:db8:1::1"], ["2001:db8:1::1", "2002:c633:6401::1"]),   # prefer higher precedence
    ({"10.0.0.1": None, "10.0.0.2": "10.9.9.9"}, ["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "10.0.0.1"]),   # unusable
    ({"10.1.1.1": "10.9.9.9", "10.9.9.8": "10.9.9.9", "10.9.1.1": "10.9.9.9"},          # IPv4: its own network first,
     ["10.9.1.1", "10.1.1.1", "10.9.9.8"], ["10.9.9.8", "10.9.1.1", "10.1.1.1"]),       # ... the others as they came
])
def test_order(monkeypatch, sources, destinations, expected):
    monkeypatch.setattr(order, "source", lambda stack, family, text: sources[text])
    monkeypatch.setattr(order, "_prefix", lambda stack, address: 120 if address.ipv4_mapped else 64)
    items = [(V6 if ":" in text else V4, text) for text in destinations]
    assert [text for _, text in order.in_order(None, items)] == expected


def test_order_by_the_stacks_own_addresses(life, clock):
    left, _ = Wire.pair()
    stack = life.enter_context(netstack.Stack(clock=clock))
    stack.attach(left, ip="10.0.0.1/24", dad=False)
    items = [(V6, "2001:db8::1"), (V4, "192.0.2.1"), (V4, "10.0.0.9"), (V4, "10.0.0.9")]
    assert order.in_order(stack, items) == [(V4, "10.0.0.9"), (V6, "2001:db8::1"), (V4, "192.0.2.1")]
    assert order.source(stack, V4, "10.0.0.9") == "10.0.0.1"
    assert order._prefix(stack, order.mapped("10.0.0.1")) == 120
    assert order._prefix(stack, ipaddress.IPv6Address("2001:db8::7")) == 64
