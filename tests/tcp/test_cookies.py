"""SYN cookies by themselves: RFC 4987 section 3.6."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netstack.machine import SECOND
from netstack.machine.random import Key
from netstack.tcp import cookies

U32 = st.integers(0, 2**32 - 1)
WHEN = st.integers(0, 2**60)
PAIR = (1, 2, 3, 4, 80 << 16 | 40000)


def key(a=1, b=2):
    made = Key.new()
    made.k0, made.k1 = a, b
    return made


@given(U32, st.integers(0, 3), WHEN, st.integers(0, 300))
def test_cookie_comes_back(irs, size, now, later):
    """For the rest of this minute and all of the next; never after two."""
    made = cookies.make(key(), *PAIR, irs, size, now)
    assert 0 <= made < 2**32
    then = now + later * SECOND
    age = then // cookies.MINUTE - now // cookies.MINUTE
    assert cookies.check(key(), *PAIR, irs, made, then) == (size if age < cookies.VALID else -1)


@given(U32, U32)
def test_a_guess_seldom_hits(irs, guess):
    """2 of 256 minutes and 4 of 2**24 sizes: eight cookies of 2**32 are good."""
    good = {cookies.make(key(), *PAIR, irs, size, minute * cookies.MINUTE) for size in range(4) for minute in (9, 10)}
    assert (cookies.check(key(), *PAIR, irs, guess, 10 * cookies.MINUTE) >= 0) == (guess in good)


def test_every_part_counts():
    made = cookies.make(key(), *PAIR, 77, 2, 0)
    for i in range(5):
        other = [*PAIR]
        other[i] += 1
        assert cookies.check(key(), *other, 77, made, 0) < 0
    assert cookies.check(key(), *PAIR, 1077, made, 0) < 0
    assert cookies.check(key(3), *PAIR, 77, made, 0) < 0


@given(st.integers(64, 2**40), st.integers(-1, 14), st.integers(0, 1), st.integers(0, 1))
def test_timestamp_carries_the_options(clock, wscale, sack, ecn):
    """Not ahead of the clock, and at most 64 ms behind it (63 for what stands in it, 64 to stay behind)."""
    value = cookies.mark(clock, wscale, sack, ecn)
    assert clock - 64 < value <= clock
    assert (cookies.wscale_in(value), cookies.sack_in(value), value >> 5 & 1) == (wscale, sack, ecn)


def test_sizes():
    def kept(mss, v4):
        return cookies.size_of(cookies.size_number(mss, v4), v4)

    assert [kept(m, True) for m in (1, 1300, 1459, 9000)] == [536, 1300, 1440, 1460]
    assert [kept(m, False) for m in (1, 1420, 9000)] == [1220, 1420, 8940]
