"""Routes and source addresses."""
from __future__ import annotations

import ipaddress
import random

import pytest

from netstack.errors import EADDRNOTAVAIL, EINVAL, ENETUNREACH
from netstack.ip import pmtu, route
from netstack.ip.address import State

from .host import PEER_V4, V4, V6, Host, halves, text
from .sending import add_address, add_interface, add_route


@pytest.fixture
def host() -> Host:
    return Host()


def choose(host: Host, dst: str, src: str = "", interface: int = 0) -> tuple[str, str, int, int] | int:
    """(next hop, source, interface, mtu), or -errno."""
    source = halves(src) if src else (0, 0)
    error = route.choose(host.net, *halves(dst), *source, interface, host.now)
    c = host.net.chosen
    return error or (text(c.hop_hi, c.hop_lo), text(c.src_hi, c.src_lo), c.interface, c.mtu)


def source(host: Host, dst: str, interface: int = 0) -> str:
    chosen = choose(host, dst, "", interface)
    assert isinstance(chosen, tuple), chosen
    return chosen[1]


def set_state(host: Host, index: int, name: str, state: int) -> None:
    iface = host.net.interfaces[index]
    for i in range(iface.address_count):
        if text(iface.addresses[i].hi, iface.addresses[i].lo) == name:
            iface.addresses[i].state = state


# ---- where to ----------------------------------------------------------------

def test_on_the_link(host):
    assert choose(host, PEER_V4) == (PEER_V4, V4, host.index, 1500)
    assert choose(host, "2001:db8::9") == ("2001:db8::9", V6, host.index, 1500)


def test_nowhere(host):
    assert choose(host, "198.51.100.1") == -ENETUNREACH
    assert choose(host, "2001:db9::1") == -ENETUNREACH
    assert choose(host, "0.0.0.0") == -ENETUNREACH
    assert choose(host, "::") == -ENETUNREACH


def test_default_gateway(host):
    assert add_route(host, "0.0.0.0/0", "192.0.2.254") == 0
    assert add_route(host, "::/0", "2001:db8::ffff") == 0
    assert choose(host, "8.8.8.8") == ("192.0.2.254", V4, host.index, 1500)
    assert choose(host, "2600::1") == ("2001:db8::ffff", V6, host.index, 1500)
    assert choose(host, PEER_V4) == (PEER_V4, V4, host.index, 1500)
    assert choose(host, "::ffff:8.8.8.8") == ("192.0.2.254", V4, host.index, 1500)     # the same address


def test_longest_prefix_then_metric(host):
    add_route(host, "0.0.0.0/0", "192.0.2.100", metric=5)
    add_route(host, "0.0.0.0/0", "192.0.2.101", metric=1)
    add_route(host, "10.0.0.0/8", "192.0.2.102", metric=100)
    add_route(host, "10.1.0.0/16", "192.0.2.103", metric=200)
    add_route(host, "10.1.2.3/32", "192.0.2.104", metric=300)
    assert [choose(host, d)[0] for d in ("9.9.9.9", "10.9.9.9", "10.1.9.9", "10.1.2.3")] == [
        "192.0.2.101", "192.0.2.102", "192.0.2.103", "192.0.2.104"]


def test_against_a_naive_table(host):
    rng = random.Random(3)
    table = []
    for i in range(150):
        length = rng.choice([0, 8, 9, 15, 16, 17, 23, 24, 31, 32])
        network = ipaddress.ip_network((rng.choice([10, 11]) << 24 | rng.getrandbits(24), length), strict=False)
        metric, via = rng.randrange(3), f"192.0.2.{10 + i}"
        if add_route(host, str(network), via, metric=metric) == 0:
            table.append((-length, metric, i, network, via))
    for _ in range(300):
        dst = ipaddress.ip_address(rng.choice([10, 11]) << 24 | rng.getrandbits(24))
        best = min((r for r in table if dst in r[3]), default=None)
        chosen = choose(host, str(dst))
        assert chosen == -ENETUNREACH if best is None else chosen[0] == best[4]


def test_only_through_one_interface(host):
    other = add_interface(host, "198.51.100.1/24")
    add_route(host, "0.0.0.0/0", "192.0.2.254")
    assert choose(host, "8.8.8.8", interface=other) == -ENETUNREACH
    add_route(host, "0.0.0.0/0", "198.51.100.254", metric=9)
    assert choose(host, "8.8.8.8", interface=other) == ("198.51.100.254", "198.51.100.1", other, 1500)
    assert choose(host, "8.8.8.8")[2] == host.index
    host.iface.up = 0
    assert choose(host, "8.8.8.8")[2] == other


def test_path_mtu(host):
    add_route(host, "0.0.0.0/0", "192.0.2.254")
    pmtu.learn(host.net, *halves("8.8.8.8"), 1400, host.now)
    assert choose(host, "8.8.8.8")[3] == 1400
    assert choose(host, "8.8.4.4")[3] == 1500


def test_ourselves(host):
    assert choose(host, V4) == (V4, V4, 1, 65535)
    assert choose(host, V6) == (V6, V6, 1, 65535)
    assert choose(host, "127.0.0.1") == ("127.0.0.1", "127.0.0.1", 1, 65535)
    assert choose(host, "127.9.9.9") == ("127.9.9.9", "127.0.0.1", 1, 65535)
    assert choose(host, "::1") == ("::1", "::1", 1, 65535)
    assert choose(host, V4, src="127.0.0.1") == (V4, "127.0.0.1", 1, 65535)
    assert choose(host, V4, interface=host.index) == (V4, V4, 1, 65535)


def test_what_is_local(host):
    def local(a: str) -> bool:
        return bool(route.is_local(host.net, *halves(a)))

    def broadcast(a: str) -> bool:
        return bool(route.is_broadcast(host.net, *halves(a)))
    assert all(map(local, (V4, V6, "127.0.0.1", "127.255.255.255", "::1")))
    assert not any(map(local, (PEER_V4, "2001:db8::2", "192.0.2.255", "255.255.255.255", "224.0.0.1", "0.0.0.0", "::")))
    assert broadcast("192.0.2.255")
    assert broadcast("255.255.255.255")
    assert not any(map(broadcast, (V4, "192.0.2.254", "198.51.100.255", "127.255.255.255", V6)))
    add_address(host, "198.51.100.1/31", host.index)        # RFC 3021: no broadcast
    add_address(host, "203.0.113.7/32", host.index)
    assert not broadcast("198.51.100.1")
    assert local("198.51.100.1")
    assert not broadcast("198.51.100.0")
    assert local("203.0.113.7")


def test_tentative_and_duplicate_addresses_are_not_local(host):
    for state in (State.TENTATIVE, State.DUPLICATE):
        set_state(host, host.index, V6, state)
        assert not route.is_local(host.net, *halves(V6))
    set_state(host, host.index, V6, State.DEPRECATED)
    assert route.is_local(host.net, *halves(V6))


# ---- from where ---------------------------------------------------------------

def test_a_given_source_is_kept(host):
    add_address(host, "192.0.2.7/24", host.index)
    assert choose(host, PEER_V4, src="192.0.2.7")[1] == "192.0.2.7"
    assert choose(host, PEER_V4, src="192.0.2.8") == -EADDRNOTAVAIL
    assert choose(host, PEER_V4, src="192.0.2.255") == -EADDRNOTAVAIL
    assert choose(host, PEER_V4, src=V6) == -EINVAL
    assert choose(host, PEER_V4, src="127.0.0.1") == -EINVAL        # "MUST NOT appear outside a host"
    assert choose(host, PEER_V4, src="0.0.0.0")[1] == V4


def test_a_route_may_say_the_source(host):
    add_address(host, "192.0.2.7/24", host.index)
    add_route(host, "0.0.0.0/0", "192.0.2.254", source="192.0.2.7")
    assert source(host, "8.8.8.8") == "192.0.2.7"
    assert source(host, PEER_V4) == V4


def test_ipv4_source_shares_the_subnet_of_the_next_hop(host):
    add_address(host, "198.51.100.1/24", host.index)
    add_route(host, "0.0.0.0/0", "198.51.100.254")
    assert source(host, "198.51.100.9") == "198.51.100.1"
    assert source(host, "192.0.0.1") == "198.51.100.1"      # though 192.0.2.1 is the closer match
    assert source(host, PEER_V4) == V4


def test_an_interface_without_an_address_borrows_one(host):
    other = add_interface(host)
    add_route(host, "10.0.0.0/8", index=other)
    assert choose(host, "10.1.1.1") == ("10.1.1.1", V4, other, 1500)


def test_no_source(host):
    host.iface.address_count = 0
    add_route(host, "10.0.0.0/8", index=host.index)
    assert choose(host, "10.1.1.1") == -EADDRNOTAVAIL
    assert choose(host, "255.255.255.255", interface=host.index) == (
        "255.255.255.255", "0.0.0.0", host.index, 1500)     # a host that asks for its address
    assert choose(host, "ff02::1", interface=host.index) == -EADDRNOTAVAIL


# RFC 6724 10.1, the examples whose rules we have.
@pytest.mark.parametrize(("dst", "candidates", "wanted"), [
    ("2001:db8:1::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),               # prefer appropriate scope
    ("ff05::1", ["2001:db8:3::1", "fe80::1"], "2001:db8:3::1"),
    ("ff02::1", ["2001:db8:3::1", "fe80::1"], "fe80::1"),
    ("fe80::9", ["2001:db8:3::1", "fe80::1"], "fe80::1"),
    ("2001:db8:1::1", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::2"),         # prefer matching prefix
    ("2001:db8:1::1", ["2001:db8:3::2", "2001:db8:1::2"], "2001:db8:1::2"),
    ("2001:db8:3::9", ["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:3::2"),
])
def test_ipv6_source(host, dst, candidates, wanted):
    host.iface.address_count = 0
    for name in candidates:
        assert add_address(host, name + "/64", host.index) == 0
    add_route(host, "::/0", index=host.index)
    assert source(host, dst, host.index) == wanted


def test_deprecated_addresses_are_avoided(host):
    add_address(host, "2001:db8::7/64", host.index)
    set_state(host, host.index, V6, State.DEPRECATED)
    assert source(host, "2001:db8::2") == "2001:db8::7"
    set_state(host, host.index, "2001:db8::7", State.TENTATIVE)
    assert source(host, "2001:db8::2") == V6


def test_the_outgoing_interface_is_preferred(host):
    other = add_interface(host, "2001:db8:ffff::1/64")
    add_route(host, "2001:db8::8/128", index=other)
    assert source(host, "2001:db8::8") == "2001:db8:ffff::1"        # not 2001:db8::1, though it matches better


def test_a_link_local_source_is_of_the_same_link(host):
    other = add_interface(host, "fe80::77/64")
    add_route(host, "2001:db8:5::/64", index=host.index)
    host.iface.address_count = 1                                    # only IPv4 left
    assert choose(host, "2001:db8:5::1") == -EADDRNOTAVAIL
    assert choose(host, "fe80::1", interface=other) == ("fe80::1", "fe80::77", other, 1500)


# ---- link scope ---------------------------------------------------------------

def test_multicast_and_broadcast(host):
    other = add_interface(host, "198.51.100.1/24", "fe80::77/64")
    assert choose(host, "224.0.0.1") == ("224.0.0.1", V4, host.index, 1500)
    assert choose(host, "224.0.0.1", interface=other) == ("224.0.0.1", "198.51.100.1", other, 1500)
    assert choose(host, "255.255.255.255", interface=other)[1:3] == ("198.51.100.1", other)
    assert choose(host, "ff02::1", interface=other) == ("ff02::1", "fe80::77", other, 1500)
    assert choose(host, "192.0.2.255") == ("192.0.2.255", V4, host.index, 1500)
    add_route(host, "0.0.0.0/0", "198.51.100.254")
    assert choose(host, "239.1.2.3")[2] == other


def test_own_link_local_addresses_are_local_on_their_link_only(host):
    other = add_interface(host, "fe80::77/64")
    assert choose(host, "fe80::77", interface=other)[2] == 1
    add_address(host, "fe80::66/64", host.index)
    assert choose(host, "fe80::77", interface=host.index) == ("fe80::77", "fe80::66", host.index, 1500)
