"""Atomic words, for what threads share without owning the world.

Every word is 32 bits at a 4-byte-aligned address (a futex can wait on it) or,
for the `64` forms, 64 bits.  Interpreted, one lock stands in for the hardware.
"""
from __future__ import annotations

import ctypes
import threading

from .primitive import primitive

_lock = threading.Lock()


@primitive
def load_acquire(p: int) -> int:
    """The 32-bit word at p; what its writer did before it is seen after it."""
    return ctypes.c_uint32.from_address(p).value


@primitive
def store_release(p: int, v: int) -> None:
    """Write the 32-bit word at p; what was done before is seen by who reads it."""
    ctypes.c_uint32.from_address(p).value = v


@primitive
def store_seq(p: int, v: int) -> None:
    """Write the 32-bit word at p; a full memory barrier, too: what is read after it is read after it is seen."""
    ctypes.c_uint32.from_address(p).value = v


@primitive
def load_acquire64(p: int) -> int:
    """The 64-bit word at p, acquire."""
    return ctypes.c_int64.from_address(p).value


@primitive
def store_release64(p: int, v: int) -> None:
    """Write the 64-bit word at p, release."""
    ctypes.c_int64.from_address(p).value = v


@primitive
def compare_exchange(p: int, expected: int, new: int) -> int:
    """If the word at p is `expected`, make it `new`.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        old = word.value
        if old == expected:
            word.value = new
    return old


@primitive
def exchange(p: int, new: int) -> int:
    """Make the word at p `new`.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        old = word.value
        word.value = new
    return old


@primitive
def fetch_add(p: int, n: int) -> int:
    """Add n to the word at p, modulo 2**32.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        old = word.value
        word.value = (old + n) & 0xFFFF_FFFF
    return old


@primitive
def fence_seq() -> None:
    """A full memory barrier (sequentially consistent fence)."""


@primitive
def relax() -> None:
    """Tell the processor that this is a spin loop."""
