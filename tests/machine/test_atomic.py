"""Atomic words, alone and between two threads."""
from __future__ import annotations

import ctypes
import os
import platform
import re
import threading

import pytest

from netstack.machine import (
    atomic,
    compare_exchange,
    compiled,
    fence_seq,
    fetch_add,
    load_acquire,
    load_acquire64,
    relax,
    store_release,
    store_release64,
    store_seq,
)
from netstack.machine.mode import JIT

N = 200_000 if JIT else 2_000
CPUS = len(os.sched_getaffinity(0))


def words(*values, ctype=ctypes.c_uint32):
    """Words in memory, and the address of the first."""
    memory = (ctype * len(values))(*values)
    return memory, ctypes.addressof(memory)


def both(twin, function, arity):
    return function, twin(function, arity)


@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
def test_32_bits_are_unsigned(twin, value):
    for load in both(twin, load_acquire, 1):
        memory, p = words(0, value, 0)
        assert load(p + 4) == value
        for store in both(twin, store_release, 2):
            memory, p = words(7, 7, 7)
            store(p + 4, value)
            assert list(memory) == [7, value, 7]


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, -(2**63), 1 << 40])
def test_64_bits_are_signed(twin, value):
    for load in both(twin, load_acquire64, 1):
        memory, p = words(0, value, ctype=ctypes.c_int64)
        assert load(p + 8) == value
        for store in both(twin, store_release64, 2):
            memory, p = words(7, 7, 7, ctype=ctypes.c_int64)
            store(p + 8, value)
            assert list(memory) == [7, value, 7]


def test_compare_exchange(twin):
    for swap in both(twin, atomic.compare_exchange, 3):
        memory, p = words(5, 9)
        assert swap(p, 4, 6) == 5
        assert list(memory) == [5, 9]
        assert swap(p, 5, 0xFFFF_FFFF) == 5
        assert swap(p, 0xFFFF_FFFF, 1) == 0xFFFF_FFFF
        assert list(memory) == [1, 9]


def test_exchange(twin):
    for swap in both(twin, atomic.exchange, 2):
        memory, p = words(5, 9)
        assert (swap(p, 6), swap(p, 7)) == (5, 6)
        assert list(memory) == [7, 9]


def test_fetch_add_wraps(twin):
    for add in both(twin, atomic.fetch_add, 2):
        memory, p = words(0xFFFF_FFFF, 9)
        assert (add(p, 2), add(p, -1)) == (0xFFFF_FFFF, 1)
        assert list(memory) == [0, 9]


def test_fence_and_relax_do_nothing_else(twin):
    for function in (atomic.fence_seq, atomic.relax):
        for body in both(twin, function, 0):
            assert body() is None


@compiled
def count_up(p: int, n: int) -> None:
    """Add 1 n times."""
    for _ in range(n):
        fetch_add(p, 1)


@compiled
def count_up_locked(lock: int, p: int, n: int) -> None:
    """The same with a plain load and store inside a spin lock."""
    for _ in range(n):
        while compare_exchange(lock, 0, 1) != 0:
            relax()
        store_release(p, load_acquire(p) + 1)
        store_release(lock, 0)


@compiled
def count_up_if_same(p: int, n: int) -> None:
    """The same with compare and exchange."""
    for _ in range(n):
        old = load_acquire(p)
        while compare_exchange(p, old, old + 1) != old:
            old = load_acquire(p)


def in_two_threads(function, *args):
    threads = [threading.Thread(target=function, args=args, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
        assert not thread.is_alive()


def test_no_addition_is_lost():
    memory, p = words(0, 0)
    in_two_threads(count_up, p, N)
    assert memory[0] == 2 * N
    in_two_threads(count_up_if_same, p, N // 4)
    assert memory[0] == 2 * N + 2 * (N // 4)


def test_a_spin_lock_excludes():
    memory, p = words(0, 0)
    in_two_threads(count_up_locked, p, p + 4, N // 10)
    assert list(memory) == [0, 2 * (N // 10)]


@compiled
def post(data: int, flag: int, n: int) -> None:
    """Write n messages, one at a time: the data, then the flag."""
    for i in range(1, n + 1):
        while load_acquire64(flag) != 0:
            relax()
        store_release64(data, i * i)        # release orders it too, but the flag is what counts
        store_release64(flag, i)


@compiled
def collect(data: int, flag: int, n: int) -> int:
    """Read them; how many were not what they should be."""
    wrong = 0
    for i in range(1, n + 1):
        seen = load_acquire64(flag)
        while seen == 0:
            relax()
            seen = load_acquire64(flag)
        if seen != i or load_acquire64(data) != i * i:
            wrong += 1
        store_release64(flag, 0)
    return wrong


def test_what_was_written_before_a_release_is_seen_after_an_acquire():
    memory, p = words(0, 0, ctype=ctypes.c_int64)
    n = 20_000 if JIT and CPUS > 1 else 50      # on one CPU each message waits for the end of a time slice
    writer = threading.Thread(target=post, args=(p, p + 8, n), daemon=True)
    writer.start()
    assert collect(p, p + 8, n) == 0
    writer.join(200)
    assert not writer.is_alive()
    assert memory[0] == n * n


@compiled
def step_aside(mine: int, other: int, arrived: int, n: int, fenced: int) -> int:
    """Dekker's test: write mine, fence (or both at once), read the other's.  How often it was not there yet."""
    early = 0
    for i in range(1, n + 1):
        fetch_add(arrived, 1)
        while load_acquire(arrived) < 2 * i:
            relax()
        if fenced:
            store_release(mine, i)
            fence_seq()
        else:
            store_seq(mine, i)
        if load_acquire(other) < i:
            early += 1 << (i & 31)      # which rounds, as a sum: both must not be early in the same one
        store_release(mine + 8, i)      # done with this round
        while load_acquire(other + 8) < i:
            relax()
    return early


@pytest.mark.parametrize("fenced", [0, 1])
def test_full_fence(fenced):
    """Store, fence, load in two threads: at least one sees the other's store (frames.py sleeps by this rule)."""
    memory, p = words(0, 0, 0, 0, 0)
    results = {}

    def run(name, mine, other):
        results[name] = [step_aside(mine, other, p + 16, 1, fenced)]

    threads = [threading.Thread(target=run, args=("a", p, p + 4), daemon=True),
               threading.Thread(target=run, args=("b", p + 4, p), daemon=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
        assert not thread.is_alive()
    assert not (results["a"][0] and results["b"][0])
    assert list(memory)[:2] == [1, 1]


@pytest.mark.skipif(not JIT or platform.machine() != "x86_64", reason="the machine code of x86-64")
def test_barriers_are_in_the_machine_code():
    """An optimizer may drop one that it can prove to be of no use to a single thread."""
    import numba

    def barriers(p, q):
        fence_seq()
        first = load_acquire(p)
        store_seq(q, 1)
        return first + load_acquire(p)

    made = numba.njit("int64(int64, int64)")(barriers)
    text = next(iter(made.inspect_asm().values()))
    assert re.search(r"(lock\s+or|mfence).*?mov.*?xchg.*?mov", text.partition(":")[2], re.DOTALL)
