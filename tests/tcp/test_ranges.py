"""Ranges against a naive set of bytes."""
from __future__ import annotations

import ctypes

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp import ranges
from netstack.tcp.ranges import FEW as LIMIT
from netstack.tcp.ranges import Ranges

BASE = st.sampled_from([0, 1000, 0xFFFF_FFC0, 0x7FFF_FFE0])
SPAN = st.tuples(st.integers(0, 120), st.integers(1, 30))


def content(r, base):
    """The ranges as pairs counted from `base`; they must be in order and apart."""
    found = []
    for i in range(r.count):
        left, right = ((x - base) % 2**32 for x in (ranges.item(r, i).left, ranges.item(r, i).right))
        assert left < right
        assert not found or found[-1][1] < left
        found.append((left, right))
    return found


def runs(numbers):
    """A set of numbers as pairs."""
    found = []
    for n in sorted(numbers):
        if found and found[-1][1] == n:
            found[-1][1] = n + 1
        else:
            found.append([n, n + 1])
    return [tuple(x) for x in found]


def by_age(r, base):
    """What `newest` gives, one after the other."""
    found = []
    i = ranges.newest(r, -1)
    while i >= 0:
        found.append(((ranges.item(r, i).left - base) % 2**32, (ranges.item(r, i).right - base) % 2**32))
        i = ranges.newest(r, i)
    return found


def recent(blocks, added):
    """The blocks, those first that something was added to last."""
    return sorted(blocks, key=lambda b: min(i for i, a in enumerate(added) if b[0] <= a < b[1]))


@settings(deadline=None, max_examples=200)
@given(BASE, st.lists(st.tuples(st.sampled_from(["insert", "advance", "covers"]), SPAN), max_size=40))
def test_against_a_set(base, steps):
    r = Ranges.new()
    naive: set[int] = set()
    settled = 0
    added: list[int] = []
    for what, (a, n) in steps:
        left, right = (base + a) % 2**32, (base + a + n) % 2**32
        if what == "insert" and a >= settled:
            assert ranges.insert(r, left, right)
            naive |= set(range(a, a + n))
            added.insert(0, a)
        elif what == "advance" and a >= settled:
            settled = a
            while settled in naive:
                settled += 1
            assert (ranges.advance(r, left) - base) % 2**32 == settled
            naive = {x for x in naive if x >= settled}
        else:
            assert ranges.covers(r, left, right) == (set(range(a, a + n)) <= naive)
        assert content(r, base) == runs(naive)
        assert by_age(r, base) == recent(runs(naive), added)


def test_what_does_not_fit_is_refused():
    r = Ranges.new()
    for i in range(LIMIT):
        assert ranges.insert(r, 10 * i, 10 * i + 5)
    before = content(r, 0)
    assert not ranges.insert(r, 10 * LIMIT, 10 * LIMIT + 5)
    assert content(r, 0) == before
    assert ranges.insert(r, 5, 10)                  # what touches others needs no room
    assert r.count == LIMIT - 1
    assert ranges.insert(r, 10 * LIMIT, 10 * LIMIT + 5)


def test_a_larger_place():
    """Moved, there is room for more of them, and they are the same, their ages too."""
    r = Ranges.new()
    for i in range(LIMIT):
        assert ranges.insert(r, 10 * i, 10 * i + 5)
    before = content(r, 0), by_age(r, 0)
    places = []
    while (size := ranges.next_size(r)) != 0:
        places.append(bytearray(size))
        ranges.move(r, ctypes.addressof((ctypes.c_char * size).from_buffer(places[-1])), size)
        assert (content(r, 0), by_age(r, 0)) == before
    assert ranges.room(r) == 16384 // 12
    for i in range(LIMIT, ranges.room(r)):
        assert ranges.insert(r, 10 * i, 10 * i + 5)
    assert not ranges.insert(r, 10 * r.count, 10 * r.count + 5)
    assert content(r, 0) == [(10 * i, 10 * i + 5) for i in range(r.count)]
    assert ranges.insert(r, 5, 1000)
    assert ranges.advance(r, 0) == 1005
    assert content(r, 0)[0] == (1010, 1015)


def test_end():
    r = Ranges.new()
    ranges.insert(r, 1, 2)
    ranges.insert(r, 5, 9)
    assert ranges.end(r) == 9
