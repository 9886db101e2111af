"""Addresses: the standard library's ipaddress says the same."""
from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from netstack.ip import address
from netstack.ip.address import Scope

from .host import halves, text

V6 = st.ip_addresses(v=6)
V4 = st.ip_addresses(v=4)
ANY = st.one_of(V4, V6, st.ip_addresses(network="ff00::/8"), st.ip_addresses(network="fe80::/9"),
                st.ip_addresses(network="224.0.0.0/3"), st.ip_addresses(network="169.254.0.0/15"))


def bits(a: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return int(a) if a.version == 6 else 0xFFFF << 32 | int(a)


@given(ANY)
def test_questions(a):
    hi, lo = halves(str(a))
    mapped = a.version == 6 and a.ipv4_mapped
    if mapped:
        a = mapped
    assert bool(address.is_v4(hi, lo)) == (a.version == 4)
    assert bool(address.is_multicast(hi, lo)) == a.is_multicast
    assert bool(address.is_loopback(hi, lo)) == a.is_loopback
    assert bool(address.is_link_local(hi, lo)) == a.is_link_local
    assert bool(address.is_unspecified(hi, lo)) == a.is_unspecified
    if a.version == 4:
        assert address.v4(lo) == int(a)
        assert (hi, lo) == (0, address.from_v4(int(a)))


@given(ANY, ANY, st.integers(0, 128))
def test_prefixes(a, b, n):
    same = bits(a) >> (128 - n) == bits(b) >> (128 - n)
    assert bool(address.matches(*halves(str(a)), *halves(str(b)), n)) == same
    mask = (1 << 128) - (1 << (128 - n))
    assert (address.mask_hi(n) % 2**64) << 64 | address.mask_lo(n) % 2**64 == mask


@given(V6, st.integers(0, 127), st.integers(0))
def test_common_prefix(a, n, noise):
    flipped = bits(a) ^ (1 << (127 - n)) ^ noise % (1 << (127 - n))
    assert address.common(*halves(str(a)), *halves(str(ipaddress.IPv6Address(flipped)))) == n
    assert address.common(*halves(str(a)), *halves(str(a))) == 128


def test_solicited_node():
    # RFC 4291 2.7.1, its example
    lo = halves("4037::01:800:200e:8c6c")[1]
    assert text(address.MULTICAST_HI, address.solicited_node_lo(lo)) == "ff02::1:ff0e:8c6c"
    assert address.is_solicited_node(*halves("ff02::1:ff0e:8c6c"), lo)
    assert not address.is_solicited_node(*halves("ff02::1:ff0e:8c6d"), lo)
    assert not address.is_solicited_node(*halves("ff05::1:ff0e:8c6c"), lo)


def test_scopes():
    for name, scope in (
            ("127.0.0.1", Scope.LINK), ("169.254.1.1", Scope.LINK), ("10.1.2.3", Scope.GLOBAL),
            ("::1", Scope.LINK), ("fe80::1", Scope.LINK), ("fd00::1", Scope.GLOBAL),
            ("2001:db8::1", Scope.GLOBAL), ("8.8.8.8", Scope.GLOBAL),
            ("ff01::1", Scope.INTERFACE), ("ff02::1", Scope.LINK),
            ("ff05::2", Scope.SITE), ("ff0e::101", Scope.GLOBAL)):
        assert address.scope(*halves(name)) == scope, name
