"""Path MTUs: learned downwards, forgotten in time, bounded."""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.ip import pmtu
from netstack.machine import SECOND

from .host import START, Host, halves

TEN_MINUTES = 600 * SECOND
V4 = halves("198.51.100.7")
V6 = halves("2001:db8:1::7")


@pytest.fixture
def net():
    host = Host()
    host.net.host = host
    return host.net


def test_nothing_is_known_at_first(net):
    assert pmtu.lookup(net, *V4, START) == 0
    assert not pmtu.must_fragment(net, *V4, START)


def test_learned_and_forgotten(net):
    """RFC 1191 6.3: ten minutes after the report a larger packet is tried again."""
    assert pmtu.learn(net, *V4, 1400, START) == 1400
    assert pmtu.lookup(net, *V4, START + TEN_MINUTES - 1) == 1400
    assert pmtu.lookup(net, *halves("198.51.100.8"), START) == 0
    assert pmtu.lookup(net, *V4, START + TEN_MINUTES) == 0
    assert net.path_mtus.live == 0
    assert pmtu.learn(net, *V4, 1450, START + TEN_MINUTES) == 1450


def test_never_upwards(net):
    """RFC 1191 3, RFC 8201 4."""
    pmtu.learn(net, *V4, 1000, START)
    assert pmtu.learn(net, *V4, 1400, START) == 0
    assert pmtu.learn(net, *V4, 1000, START + 1) == 0
    assert pmtu.lookup(net, *V4, START) == 1000
    assert pmtu.learn(net, *V4, 900, START) == 900


def test_below_552_df_is_given_up(net):
    """A path of 400 bytes: we send 552 and let routers fragment; below 68 nothing is believed (RFC 1191 3)."""
    assert pmtu.learn(net, *V4, 67, START) == 0
    assert pmtu.learn(net, *V4, 552, START) == 552
    assert not pmtu.must_fragment(net, *V4, START)
    assert pmtu.learn(net, *V4, 400, START) == 552
    assert pmtu.must_fragment(net, *V4, START)
    assert not pmtu.must_fragment(net, *V4, START + TEN_MINUTES)


def test_ipv6_below_1280_is_discarded(net):
    """RFC 8201 4."""
    assert pmtu.learn(net, *V6, 1279, START) == 0
    assert pmtu.lookup(net, *V6, START) == 0
    assert pmtu.learn(net, *V6, 1280, START) == 1280
    assert not pmtu.must_fragment(net, *V6, START)


def test_a_forger_fills_only_the_table(net):
    """Reports about 5,000 destinations: the table keeps its size, and what it knows is right."""
    for i in range(5000):
        pmtu.learn(net, 0, V4[1] + i, 600 + i % 800, START + i)
    t = net.path_mtus
    assert t.live == t.peak == pmtu.CAPACITY - 1
    assert t.exhausted == 5000 - t.live
    known = [i for i in range(5000) if pmtu.lookup(net, 0, V4[1] + i, START + 5000)]
    assert len(known) == t.live
    assert all(pmtu.lookup(net, 0, V4[1] + i, START + 5000) == 600 + i % 800 for i in known)
    assert all(pmtu.lookup(net, 0, V4[1] + i, START + TEN_MINUTES + 5000) == 0 for i in range(5000))
    assert t.live == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(60, 1600), st.integers(0, 300)), max_size=60))
def test_against_a_dictionary(steps):
    """As long as no set is full, it is a dictionary with expiry."""
    host = Host()
    net, now = host.net, START
    naive: dict[int, tuple[int, int]] = {}
    for which, mtu, seconds in steps:
        now += seconds * SECOND
        naive = {k: v for k, v in naive.items() if v[1] > now}
        pmtu.learn(net, V6[0], which, mtu, now)
        if mtu >= 1280 and mtu < naive.get(which, (9999, 0))[0]:
            naive[which] = (mtu, now + TEN_MINUTES)
        if net.path_mtus.exhausted:
            return
        assert {k: pmtu.lookup(net, V6[0], k, now) for k in range(41) if pmtu.lookup(net, V6[0], k, now)} \
            == {k: v[0] for k, v in naive.items()}


def test_plateaus():
    """RFC 1191 7.1: the greatest plateau that is less."""
    table = [68, 296, 508, 1006, 1492, 2002, 4352, 8166, 17914, 32000]
    for length in (69, 100, 296, 297, 508, 509, 1006, 1492, 1500, 2002, 4352, 8166, 17914, 32000, 65535):
        assert pmtu.plateau(length) == max(p for p in table if p < length)
    assert pmtu.plateau(68) == pmtu.plateau(0) == 68


