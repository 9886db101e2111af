"""Waiting in real time for something to be so: never longer than it takes, and not for ever."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 60.0            # seconds: far more than anything takes, on a loaded machine
STEP = 0.001


def until(is_so: Callable[[], Any], what: str = "it", limit: float = LIMIT) -> None:
    """Wait until `is_so()`; an AssertionError when it does not become so."""
    deadline = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come in {limit:.0f} s"
        time.sleep(STEP)


def blocked(sock: Any) -> int:
    """How many threads wait in a call on this socket of a stack: they sleep, or one drives the engine."""
    from netstack import datagram
    from netstack.endpoint import Kind
    from netstack.tcp import tcb

    w, index = sock._stack._record, sock._handle & 0xFFFF_FFFF
    ep = tcb.get(w.tcp, index).ep if sock._handle >> 56 == Kind.TCP else datagram.get(w.datagrams, index).ep
    return int(ep.waiters) + bool(ep.driving)


def is_blocked(sock: Any) -> bool:
    """Whether any does."""
    return blocked(sock) > 0


def is_asleep(thread: int) -> bool:
    """Whether a thread of this process (`threading.get_native_id`) sleeps in the kernel."""
    return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] == "S"
