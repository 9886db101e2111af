"""Tables of entries, and the arena of blocks, against naive bookkeeping."""
from __future__ import annotations

import ctypes

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.machine import addressof, arena, sizeof, table
from netstack.machine.arena import Arena
from netstack.machine.table import Table

STRIDE = 24
CAPACITY = 6


def new_table():
    t = Table.new()
    memory = ctypes.create_string_buffer(STRIDE * CAPACITY)
    table.init(t, ctypes.addressof(memory), STRIDE, CAPACITY)
    return t, memory


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_table_hands_out_each_entry_once(steps):
    t, memory = new_table()
    live: list[int] = []
    exhausted = peak = 0
    for want, which in steps:
        if want:
            index = table.allot(t)
            if len(live) == CAPACITY - 1:
                assert index == 0
                exhausted += 1
                continue
            assert 1 <= index < CAPACITY
            assert index not in live
            p = table.address(t, index)
            assert p == ctypes.addressof(memory) + index * STRIDE
            assert ctypes.string_at(p, STRIDE) == bytes(STRIDE)        # zeroed, whatever it held
            ctypes.memset(p, 0xEE, STRIDE)
            live.append(index)
            peak = max(peak, len(live))
        elif live:
            index = live.pop(which % len(live))
            table.release(t, index)
    assert (t.live, t.exhausted, t.peak) == (len(live), exhausted, peak)
    for index in live:
        assert ctypes.string_at(table.address(t, index), STRIDE) == b"\xee" * STRIDE
    assert memory.raw[:STRIDE] == bytes(STRIDE)                        # entry 0 is nobody's


def test_table_moves_with_its_memory():
    """A copy of table and entries at another address is a working copy."""
    n = sizeof(Table) + STRIDE * CAPACITY
    first = ctypes.create_string_buffer(n)
    t = Table.from_address(ctypes.addressof(first))
    table.init(t, addressof(t) + sizeof(Table), STRIDE, CAPACITY)
    assert [table.allot(t) for _ in range(3)] == [1, 2, 3]
    table.release(t, 2)
    second = ctypes.create_string_buffer(first.raw, n)
    u = Table.from_address(ctypes.addressof(second))
    assert [table.allot(u), table.allot(u)] == [2, 4]
    assert table.address(u, 4) == ctypes.addressof(second) + sizeof(Table) + 4 * STRIDE


def test_part_of_an_entry_may_outlive_its_user():
    t, _memory = new_table()
    index = table.allot(t)
    ctypes.memset(table.address(t, index), 0xEE, STRIDE)
    table.release(t, index)
    assert table.allot_but(t, 8, 12) == index
    assert ctypes.string_at(table.address(t, index), STRIDE) == bytes(8) + b"\xee" * 4 + bytes(12)


def new_arena(size):
    a = Arena.new()
    memory = ctypes.create_string_buffer(size)
    arena.init(a, ctypes.addressof(memory), size)
    return a, memory


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(1, 40_000), st.integers(-9, -1)), max_size=40))
def test_blocks_never_overlap(steps):
    size = 256 << 10
    a, memory = new_arena(size)
    base = ctypes.addressof(memory)
    live: dict[int, int] = {}
    for step in steps:
        if step < 0:
            if live:
                where = list(live)[-step % len(live)]
                arena.release(a, where, live.pop(where))
            continue
        where = arena.allot(a, step)
        if where == 0:
            continue
        start = addressof(a) + where
        assert base <= start
        assert start + step <= base + size
        for other, n in live.items():
            assert start + step <= addressof(a) + other or addressof(a) + other + n <= start
        ctypes.memset(start, 0xCC, step)
        live[where] = step
    assert a.live == sum(block(n) for n in live.values())
    assert a.live <= a.used <= size
    assert a.live <= a.peak <= size


def block(n):
    size = arena.SMALLEST
    while size < n:
        size *= 2
    return size


def test_size_classes():
    assert [arena.size_class(n) for n in (1, 2048, 2049, 4096, 65536, arena.LARGEST)] == [0, 0, 1, 1, 5, 13]


def test_larger_blocks_are_cut_and_all_grow_together_again():
    a, _memory = new_arena(16384)
    whole = arena.allot(a, 16384)
    arena.release(a, whole, 16384)
    assert a.used == 0
    halves = [arena.allot(a, 8192), arena.allot(a, 8192)]
    arena.release(a, halves[0], 8192)
    small = [arena.allot(a, 2048) for _ in range(4)]
    assert sorted(small) == [halves[0] + 2048 * i for i in range(4)]
    assert arena.allot(a, 1) == 0
    assert a.exhausted == 1
    order = sorted(small)
    for where in (order[1], order[3], order[0], order[2]):
        arena.release(a, where, 2048)
    assert arena.allot(a, 8192) == halves[0]
    assert arena.allot(a, 2048) == 0


def test_a_block_is_used_again():
    a, _memory = new_arena(8192)
    first = arena.allot(a, 4000)
    second = arena.allot(a, 3000)
    assert arena.allot(a, 1) == 0
    assert a.exhausted == 1
    arena.release(a, first, 4000)
    assert arena.allot(a, 4096) == first
    arena.release(a, second, 3000)
    arena.release(a, first, 4096)
    assert [arena.allot(a, 2500), arena.allot(a, 2500)] == [first, second]     # last in, first out
    assert a.peak == 8192


def test_limits():
    a, _memory = new_arena(1 << 20)
    a.limit = 4096
    assert arena.allot(a, arena.LARGEST + 1) == 0
    first = arena.allot(a, 2048)
    assert first != 0
    assert arena.allot(a, 4096) == 0           # over the limit, though the range has room
    assert arena.allot(a, 2048) != 0
    assert a.exhausted == 2
