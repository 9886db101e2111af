"""Which stack `netstack.socket` works on.

`use` in the main thread chooses for the whole program: every thread uses that
stack which has not chosen one of its own.  `use` in another thread or in an
asyncio task, and `with using(stack):` anywhere, choose for this thread or task
only (and for tasks that it starts: it is a context variable, PEP 567).  When
none was chosen, one with only a loopback interface is made.
"""
from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stack import Stack

_chosen: Stack | None = None
_default: Stack | None = None
_here: ContextVar[Stack | None] = ContextVar("netstack", default=None)
_lock = threading.Lock()


def use(stack: Stack | None) -> None:
    """Make this the stack of `netstack.socket`; None: no choice of its own any more.

    In the main thread for the whole program; in another thread, or in an asyncio task, only there.
    """
    from .stack import Stack

    global _chosen
    if stack is not None and not isinstance(stack, Stack):
        raise TypeError(f"use() takes a netstack.Stack or None, not {stack!r}")
    if threading.current_thread() is threading.main_thread() and not _in_a_task():
        _chosen = stack
    else:
        _here.set(stack)


def _in_a_task() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


@contextmanager
def using(stack: Stack) -> Iterator[Stack]:
    """Within the block `netstack.socket` works on this stack, in this thread or task only."""
    token = _here.set(stack)
    try:
        yield stack
    finally:
        _here.reset(token)


def current() -> Stack:
    """The stack that `netstack.socket` works on now."""
    return _here.get() or _chosen or _default_stack()


def _default_stack() -> Stack:
    from .stack import Stack

    global _default
    with _lock:
        if _default is None or _default.closed:
            _default = Stack(name="default")
        return _default


def _forget_after_fork() -> None:
    """In a forked child the default stack is the parent's: the child gets one of its own when it asks."""
    global _default, _lock
    _lock = threading.Lock()
    _default = None
