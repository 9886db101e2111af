"""The same question to the kernel's socket and to ours."""
from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

AGAIN = 5           # times that the kernel is asked again


def ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """A result, or the name of an errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def same(both: tuple[Any, Any], look: Callable[[Any], Any]) -> Any:
    """What `look` says of the kernel's and of ours, which must be equal.  `both` is the fixture.

    The kernel is asked again where they differ: it may leave what has been sent on its loopback interface to a thread
    of its own, and others on the machine use that interface, too.
    """
    there, here = (look(make) for make in both)
    for _ in range(AGAIN):
        if here == there:
            break
        there = look(both[0])
    assert here == there
    return here
