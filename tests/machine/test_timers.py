"""The wheel of deadlines, against a naive list."""
from __future__ import annotations

import ctypes
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.machine import timers
from netstack.machine.timers import NEVER, Timers

SLOTS = 12


def new_timers(capacity=SLOTS):
    t = Timers.new()
    memory = ctypes.create_string_buffer(timers.space(capacity))
    timers.init(t, ctypes.addressof(memory), capacity)
    return t, memory


def check_wheel(t):
    """Every list is linked both ways, its deadlines belong there, those of a tick in order; each slot stands once."""
    found = []
    for index in range(timers.LEVELS * timers.LISTS):
        level, digit = divmod(index, timers.LISTS)
        q = timers.queue(t, index)
        assert bool(t.filled[level] >> digit & 1) == (q.first != 0)
        before, here = 0, q.first
        while here:
            n = timers.node(t, here - 1)
            assert timers.list_of(t, n.deadline) == index
            assert n.prev == (before or timers.FIRST)
            tick = max(n.deadline >> timers.TICK, t.tick)
            shift = level * timers.DIGIT
            assert tick >> shift + timers.DIGIT == t.tick >> shift + timers.DIGIT
            assert tick >> shift & timers.LISTS - 1 == digit
            assert level == 0 or digit > t.tick >> shift & timers.LISTS - 1
            if level == 0 and before:
                assert timers.node(t, before - 1).deadline <= n.deadline
            found.append(here - 1)
            before, here = here, n.next
        assert q.last == before
    assert len(set(found)) == len(found) == t.count
    assert set(found) == {slot for slot in range(t.capacity) if timers.node(t, slot).prev}


SLOT = st.integers(0, SLOTS - 1)
TIME = st.one_of(st.integers(0, 50), st.integers(0, 1 << 17), st.integers(0, 1 << 36), st.integers(0, 1 << 61))
STEP = st.one_of(st.tuples(st.just("arm"), SLOT, TIME), st.tuples(st.just("disarm"), SLOT, TIME),
                 st.tuples(st.just("expire"), SLOT, TIME))


@settings(deadline=None, max_examples=200)
@given(st.lists(STEP, max_size=60))
def test_against_a_list(steps):
    t, _memory = new_timers()
    naive: dict[int, int] = {}
    for what, slot, time in steps:
        if what == "arm":
            timers.arm(t, slot, time)
            naive[slot] = min(naive.get(slot, time), time)
        elif what == "disarm":
            timers.disarm(t, slot)
            naive.pop(slot, None)
        else:
            expired = timers.expire(t, time)
            due = {s for s, deadline in naive.items() if deadline == min(naive.values()) and deadline <= time}
            if not due:
                assert expired == -1
            else:
                assert expired in due
                del naive[expired]
        check_wheel(t)
        assert t.count == len(naive)
        assert timers.next_deadline(t) == min(naive.values(), default=NEVER)


def test_all_come_out_in_order():
    n = 2000
    t, _memory = new_timers(n)
    order = random.Random(7)
    deadlines = [order.randrange(10**9) for _ in range(n)]
    for slot, deadline in enumerate(deadlines):
        timers.arm(t, slot, deadline)
    for slot in range(0, n, 3):
        timers.disarm(t, slot)
    out = []
    while (slot := timers.expire(t, NEVER)) >= 0:
        out.append(deadlines[slot])
    assert out == sorted(d for i, d in enumerate(deadlines) if i % 3)
    assert timers.next_deadline(t) == NEVER


def test_later_is_free():
    """An ACK moves the retransmission deadline: the wheel keeps the earlier one and does nothing."""
    t, _memory = new_timers()
    timers.arm(t, 3, 100)
    before = t.snapshot()
    timers.arm(t, 3, 500)
    assert t.snapshot() == before
    assert timers.next_deadline(t) == 100


def test_disarming_what_is_not_armed():
    t, _memory = new_timers()
    timers.disarm(t, 5)
    assert t.count == 0
    timers.arm(t, 5, 1)
    timers.disarm(t, 4)
    assert (t.count, timers.expire(t, 0), timers.expire(t, 1), timers.expire(t, 1)) == (1, -1, 5, -1)


def test_a_time_that_was_told_too_early_passes():
    """Of many deadlines far away the beginning of their list is told; also after they are gone time goes on."""
    n = 2 * timers.NEAR
    far = 100_000_000_000
    t, _memory = new_timers(n)
    for slot in range(n):
        timers.arm(t, slot, far + slot)
    told = timers.next_deadline(t)
    assert 0 < told < far
    assert timers.expire(t, told) == -1
    assert told < timers.next_deadline(t) <= far
    told = timers.next_deadline(t)
    for slot in range(n):
        timers.disarm(t, slot)
    assert timers.expire(t, told) == -1
    assert timers.next_deadline(t) == NEVER
