"""Which stack `netstack.socket` works on.

One for the whole process, so that every thread that a program starts uses it
(`use`); within a `with using(stack):` another one, for this thread or asyncio
task only.  When none was chosen, one with only a loopback interface is made.
"""
from __future__ import annotations

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
    """Make this the stack of `netstack.socket`; None: back to the default one."""
    from .stack import Stack

    global _chosen
    if stack is not None and not isinstance(stack, Stack):
        raise TypeError(f"use() takes a netstack.Stack or None, not {stack!r}")
    _chosen = stack


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
