"""Primitives: what compiled code can do beyond arithmetic and records.

A primitive is an ordinary Python function, which is its interpreted twin, plus a
few lines of LLVM that replace the call when the caller is compiled
(`_lowering.py`).  So a protocol file calls it the same way in both modes.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PRIMITIVES: dict[str, Callable[..., Any]] = {}
"""Every primitive by name; a test checks that each has a compiled body."""


def primitive(function: F) -> F:
    """Mark a function as having a compiled body of its own in `_lowering.py`."""
    PRIMITIVES[function.__name__] = function
    return function
