"""A mutex in one 32-bit word, for threads that hold no GIL.

0 free, 1 held, 2 held and somebody may be waiting (U. Drepper, "Futexes Are
Tricky", the third mutex).  Held for one turn of the engine at most.
"""
from __future__ import annotations

from .atomic import compare_exchange, exchange
from .compiled import compiled
from .libc import futex_wait, futex_wake


@compiled
def try_lock(p: int) -> bool:
    """Take the mutex at p if it is free."""
    return compare_exchange(p, 0, 1) == 0


@compiled
def lock(p: int) -> None:
    """Take the mutex at p; sleep while another thread holds it."""
    if compare_exchange(p, 0, 1) == 0:
        return
    while exchange(p, 2) != 0:
        futex_wait(p, 2, -1)


@compiled
def unlock(p: int) -> None:
    """Let go, and wake one thread that waits."""
    if exchange(p, 0) == 2:
        futex_wake(p, 1)
