"""The same question to the kernel's socket and to ours."""
from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any


def ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """A result, or the name of an errno."""
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def same(both: tuple[Any, Any], look: Callable[[Any], Any]) -> Any:
    """What `look` says of the kernel's and of ours, which must be equal.  `both` is the fixture."""
    there, here = (look(make) for make in both)
    assert here == there
    return here
