"""Timestamps, Reno, NewReno, challenges, sequence numbers and ports: each by itself."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netstack.machine import MS, SECOND
from netstack.machine.random import Key, Rng
from netstack.tcp import challenge, isn, space, timestamps
from netstack.tcp.challenge import Challenge, Challenges
from netstack.tcp.timestamps import Timestamps

U32 = st.integers(0, 2**32 - 1)

# ---- timestamps (RFC 7323)


@given(st.integers(0, 2**60), U32)
def test_clock_ticks_every_millisecond(now, offset):
    ts = Timestamps.new()
    ts.offset = offset
    assert (timestamps.clock(ts, now + MS) - timestamps.clock(ts, now)) % 2**32 == 1
    assert 0 <= timestamps.clock(ts, now) < 2**32


@given(U32, st.integers(-(2**31) + 1, 2**31 - 1), st.integers(0, 30 * 24 * 3600))
def test_paws(recent, n, seconds):
    """(5.3, 5.5)"""
    ts = Timestamps.new()
    ts.recent, ts.recent_at, ts.has_recent = recent, 7, 1
    old = timestamps.is_old(ts, (recent + n) % 2**32, 7 + seconds * SECOND)
    assert old == (n < 0 and seconds < 24 * 24 * 3600)


def test_nothing_is_old_before_the_first():
    assert not timestamps.is_old(Timestamps.new(), 5, 0)


@given(U32, st.integers(-100, 100), st.integers(-100, 100))
def test_what_is_remembered(start, ahead, newer):
    """(4.3, step 2) SEG.TSval >= TS.Recent and SEG.SEQ <= Last.ACK.sent."""
    ts = Timestamps.new()
    ts.has_recent, ts.recent, ts.last_ack_sent = 1, start, start
    timestamps.on_segment(ts, (start + ahead) % 2**32, (start + newer) % 2**32, 99)
    taken = ahead <= 0 and newer >= 0
    assert ts.recent == ((start + newer) % 2**32 if taken else start)


@given(st.integers(0, 2**40), U32, st.integers(0, 10**6))
def test_round_trip_by_echo(now, offset, ms):
    ts = Timestamps.new()
    ts.offset = offset
    echo = timestamps.clock(ts, now)
    assert timestamps.rtt(ts, echo, now + ms * MS) == ms * MS
    assert timestamps.rtt(ts, (echo + 1) % 2**32, now) == -1


# ---- challenges (RFC 5961 section 7)


def test_challenges_are_500_ms_apart():
    c = Challenge.new()
    allowed = [t for t in range(0, 3000, 50) if challenge.allowed(c, 500 * MS, 10**12 + t * MS)]
    assert allowed == [0, 500, 1000, 1500, 2000, 2500]
    assert c.sent == 6


def test_challenges_without_an_interval():
    """tcp_invalid_ratelimit 0, as Linux: no limit."""
    c = Challenge.new()
    assert all(challenge.allowed(c, 0, 10**12) for _ in range(5))


def test_challenges_of_all_connections():
    """tcp_challenge_ack_limit: about so many a second, how many exactly is drawn anew (RFC 5961 section 10)."""
    g, rng = Challenges.new(), Rng.new()
    rng.state = 7
    counts = [sum(challenge.allowed_to_all(g, rng, 100, second * SECOND + i) for i in range(300))
              for second in range(40)]
    assert all(50 <= n <= 150 for n in counts)
    assert len(set(counts)) > 10
    assert not any(challenge.allowed_to_all(g, rng, 0, 100 * SECOND + i) for i in range(10))
    assert all(challenge.allowed_to_all(g, rng, challenge.NO_LIMIT, 200 * SECOND) for _ in range(1000))


# ---- initial sequence numbers and ports (RFC 6528, RFC 6056)


def key(a=1, b=2):
    k = Key.new()
    k.k0, k.k1 = a, b
    return k


def test_isn_grows_with_time():
    """About every 4 microseconds by one (RFC 9293 3.4.1)."""
    k = key()
    a, b = (isn.isn(k, 0, 1, 0, 2, 3, t) for t in (10**12, 10**12 + SECOND))
    assert abs((b - a) % 2**32 - 250_000) < 10_000


def test_isn_depends_on_everything():
    places = ((0, 1, 0, 2, 3), (0, 1, 0, 2, 4), (0, 1, 0, 3, 3), (0, 1, 1, 2, 3), (0, 2, 0, 2, 3), (1, 1, 0, 2, 3))
    keys = ((1, 2), (1, 3), (2, 2))
    assert len({isn.isn(key(*k), *where, 10**12) for k in keys for where in places}) == 18


def test_ports_begin_elsewhere_for_every_destination():
    k = key()
    assert len({isn.port_offset(isn.destination(k, 0, 1, 0, i, 80)) % 28_232 for i in range(1000)}) > 900


def test_timestamp_offset_is_one_for_a_pair_of_hosts():
    k = key()
    assert isn.timestamp_offset(k, 1, 0, 2) == isn.timestamp_offset(k, 1, 0, 2)
    assert isn.timestamp_offset(k, 1, 0, 2) != isn.timestamp_offset(k, 1, 0, 3)


# ---- window scale (RFC 7323 2.2)


@given(st.integers(1, 1 << 31))
def test_scale_makes_it_fit(size):
    shift = space.scale_for(size)
    assert 0 <= shift <= 14
    assert 0xFFFF << shift >= size or shift == 14
    assert shift == 0 or 0xFFFF << (shift - 1) < size
