"""RFC 6298: the arithmetic of its equations, in numbers."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.machine import MS, SECOND
from netstack.tcp import rto
from netstack.tcp.rto import Rto


def fresh():
    r = Rto.new()
    rto.init(r)
    return r


def test_before_any_measurement():
    """(2.1)"""
    assert rto.timeout(fresh()) == SECOND


def test_first_measurement():
    """(2.2) SRTT <- R, RTTVAR <- R/2, RTO <- SRTT + max(G, K*RTTVAR)."""
    r = fresh()
    rto.on_rtt_sample(r, 300 * MS)
    assert (r.srtt, r.rttvar, r.rto) == (300 * MS, 150 * MS, 900 * MS)


def test_later_measurements():
    """(2.3) RTTVAR <- 3/4 RTTVAR + 1/4 |SRTT - R'|, then SRTT <- 7/8 SRTT + 1/8 R'."""
    r = fresh()
    rto.on_rtt_sample(r, 800 * MS)
    rto.on_rtt_sample(r, 400 * MS)
    assert (r.srtt, r.rttvar) == (750 * MS, 400 * MS)
    assert r.rto == 2350 * MS
    rto.on_rtt_sample(r, 750 * MS)
    assert (r.srtt, r.rttvar) == (750 * MS, 300 * MS)


@pytest.mark.parametrize(("rtt", "expected"), [(1 * MS, 201 * MS), (1000 * SECOND, 120 * SECOND), (0, 200 * MS)])
def test_limits(rtt, expected):
    """(2.4), (2.5)"""
    r = fresh()
    rto.on_rtt_sample(r, rtt)
    assert rto.timeout(r) == expected


def test_backoff():
    """(5.5) doubled each time, up to the limit; progress ends it."""
    r = fresh()
    seen = []
    for _ in range(50):
        seen.append(rto.timeout(r) // SECOND)
        rto.on_expired(r)
    assert seen[:9] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert set(seen[9:]) == {120}
    rto.on_progress(r)
    assert rto.timeout(r) == SECOND


def test_backoff_up_to_a_limit_of_its_own():
    """TCP_RTO_MAX_MS"""
    r = fresh()
    r.most = 5000
    seen = []
    for _ in range(6):
        seen.append(rto.timeout(r) // SECOND)
        rto.on_expired(r)
    assert seen == [1, 2, 4, 5, 5, 5]
    rto.on_rtt_sample(r, 100 * SECOND)
    assert r.rto == rto.longest(r) == 5 * SECOND


@pytest.mark.parametrize(("retries", "most", "seconds"), [
    (0, 120, 0.2), (3, 120, 3.0), (8, 120, 102.2), (9, 120, 204.6), (15, 120, 924.6), (4, 1, 3.4)])
def test_patience(retries, most, seconds):
    """tcp_model_timeout, as ip-sysctl says it of tcp_retries2."""
    assert rto.patience(retries, most * SECOND) == round(seconds * 10) * 100 * MS


def test_waited():
    r = fresh()
    r.rto = 200 * MS
    assert [rto.waited(r, n) // MS for n in (0, 1, 2, 3)] == [0, 400, 1200, 2800]
    assert rto.waited(r, 11) == 204_400 * MS + 2 * 120 * SECOND      # from the tenth on it is at its limit


def test_fallback_after_a_lost_syn():
    """(5.7)"""
    r = fresh()
    rto.on_expired(r)
    rto.on_established(r, True)
    assert rto.timeout(r) == 3 * SECOND
    r = fresh()
    rto.on_established(r, False)
    assert rto.timeout(r) == SECOND


def test_one_sample_for_each_round_trip():
    """RFC 7323 appendix G: the gains are for one sample a round trip; the next comes from what was sent since."""
    r = fresh()
    rto.on_rtt(r, 100 * MS, 0, 100 * MS)
    rto.on_rtt(r, 300 * MS, 10 * MS, 310 * MS)
    assert r.srtt == 100 * MS
    rto.on_rtt(r, 300 * MS, 100 * MS, 400 * MS)
    assert r.srtt == 125 * MS
    assert r.min_rtt == 100 * MS


def test_smallest_sample_is_forgotten_after_a_while():
    r = fresh()
    rto.on_rtt(r, 10 * MS, 0, 10 * MS)
    rto.on_rtt(r, 50 * MS, 299 * SECOND, 300 * SECOND)
    assert r.min_rtt == 10 * MS
    rto.on_rtt(r, 50 * MS, 300 * SECOND, 301 * SECOND)
    assert r.min_rtt == 50 * MS


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50))
def test_against_the_equations(samples):
    r = fresh()
    srtt = rttvar = None
    for rtt in samples:
        rto.on_rtt_sample(r, rtt)
        rtt = max(rtt, 1)
        if srtt is None:
            srtt, rttvar = rtt, rtt / 2
        else:
            rttvar = 0.75 * rttvar + 0.25 * abs(srtt - rtt)
            srtt = 0.875 * srtt + 0.125 * rtt
        assert abs(r.srtt - srtt) <= 1000
        assert abs(r.rttvar - rttvar) <= 1000
        assert 200 * MS <= r.rto <= 120 * SECOND
        assert abs(r.rto - min(srtt - MS / 2 + max(200 * MS, 4 * rttvar), 120 * SECOND)) <= MS / 2 + 5000


def test_variation_has_a_least_value():
    """As on Linux: round trips that are all alike leave 200 ms for one that is not."""
    r = fresh()
    for _ in range(50):
        rto.on_rtt_sample(r, 100 * MS)
    assert r.rto == 300 * MS
