"""The mutex in a word, and the futex under it."""
from __future__ import annotations

import ctypes
import threading

from netstack.machine import compiled, libc, load_acquire, store_release
from netstack.machine.lock import lock, try_lock, unlock
from netstack.machine.mode import JIT


def word(value=0):
    memory = (ctypes.c_uint32 * 2)(value, 0)
    return memory, ctypes.addressof(memory)


def test_taken_once():
    memory, p = word()
    assert try_lock(p)
    assert memory[0] == 1
    assert not try_lock(p)
    unlock(p)
    assert memory[0] == 0
    lock(p)
    assert not try_lock(p)
    unlock(p)
    assert try_lock(p)


@compiled
def add_under_lock(p: int, n: int) -> None:
    """Add 1 to the word behind the mutex, n times, by a load and a store."""
    for _ in range(n):
        lock(p)
        store_release(p + 4, load_acquire(p + 4) + 1)
        unlock(p)


def test_it_excludes():
    memory, p = word()
    n = 50_000 if JIT else 500
    threads = [threading.Thread(target=add_under_lock, args=(p, n), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
        assert not thread.is_alive()
    assert list(memory) == [0, 3 * n]


def test_a_waiter_sleeps_and_is_woken():
    """It says so in the word (2), so that `unlock` knows."""
    memory, p = word()
    lock(p)
    entered = threading.Event()

    def wait():
        entered.set()
        lock(p)
        unlock(p)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    entered.wait(60)
    while memory[0] != 2:
        assert thread.is_alive()
    unlock(p)
    thread.join(200)
    assert not thread.is_alive()
    assert memory[0] == 0


def test_futex(twin):
    """-EAGAIN when the word differs, -ETIMEDOUT, and nobody there to wake; the same in both bodies."""
    memory, p = word(5)
    for wait in (libc.futex_wait, twin(libc.futex_wait, 3)):
        assert wait(p, 4, -1) == -libc.EAGAIN
        assert wait(p, 5, 0) == -libc.ETIMEDOUT
        assert wait(p, 5, 1000) == -libc.ETIMEDOUT
    for wake in (libc.futex_wake, twin(libc.futex_wake, 2)):
        assert wake(p, 1) == 0
    assert memory[0] == 5
