"""The atomic operations as one unit: what interpreted code uses beside compiled code (`atomic.use`)."""
from __future__ import annotations

from . import atomic
from .atomic import (
    compare_exchange,
    exchange,
    fence_seq,
    fetch_add,
    load_acquire,
    load_acquire64,
    store_release,
    store_release64,
)
from .unit import unit


@unit
def operate(operation: int, p: int, a: int, b: int) -> int:
    """Do one of `atomic`'s operations at p."""
    if operation == atomic.COMPARE_EXCHANGE:
        return compare_exchange(p, a, b)
    if operation == atomic.EXCHANGE:
        return exchange(p, a)
    if operation == atomic.FETCH_ADD:
        return fetch_add(p, a)
    if operation == atomic.LOAD:
        return load_acquire(p)
    if operation == atomic.LOAD64:
        return load_acquire64(p)
    if operation == atomic.STORE:
        store_release(p, a)
    elif operation == atomic.STORE64:
        store_release64(p, a)
    else:
        fence_seq()
    return 0
