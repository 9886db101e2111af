"""Atomic words, for what threads share without owning the world.

Every word is 32 bits at a 4-byte-aligned address (a futex can wait on it) or,
for the `64` forms, 64 bits.  Interpreted, one lock stands in for the hardware;
beside compiled code in the same process, it is the hardware (`use`).
"""
from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Callable

from .primitive import primitive

COMPARE_EXCHANGE, EXCHANGE, FETCH_ADD, FENCE, LOAD, STORE, LOAD64, STORE64 = range(8)
ORDERED = platform.machine() in ("x86_64", "AMD64")     # loads and stores are acquire and release there by themselves

_lock = threading.Lock()
_hardware: Callable[[int, int, int, int], int] | None = None


def use(operate: Callable[[int, int, int, int], int]) -> None:
    """From now on this does it: `hardware.operate`, as machine code."""
    global _hardware
    with _lock:                 # nobody is in the middle of an operation
        _hardware = operate


@primitive
def load_acquire(p: int) -> int:
    """The 32-bit word at p; what its writer did before it is seen after it."""
    if _hardware is not None and not ORDERED:
        return _hardware(LOAD, p, 0, 0)
    return ctypes.c_uint32.from_address(p).value


@primitive
def store_release(p: int, v: int) -> None:
    """Write the 32-bit word at p; what was done before is seen by who reads it."""
    if _hardware is not None and not ORDERED:
        _hardware(STORE, p, v, 0)
        return
    ctypes.c_uint32.from_address(p).value = v


@primitive
def store_seq(p: int, v: int) -> None:
    """Write the 32-bit word at p; a full memory barrier, too: what is read after it is read after it is seen."""
    if _hardware is not None:
        _hardware(EXCHANGE, p, v, 0)
        fence_seq()
        return
    ctypes.c_uint32.from_address(p).value = v


@primitive
def load_acquire64(p: int) -> int:
    """The 64-bit word at p, acquire."""
    if _hardware is not None and not ORDERED:
        return _hardware(LOAD64, p, 0, 0)
    return ctypes.c_int64.from_address(p).value


@primitive
def store_release64(p: int, v: int) -> None:
    """Write the 64-bit word at p, release."""
    if _hardware is not None and not ORDERED:
        _hardware(STORE64, p, v, 0)
        return
    ctypes.c_int64.from_address(p).value = v


@primitive
def compare_exchange(p: int, expected: int, new: int) -> int:
    """If the word at p is `expected`, make it `new`.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        if _hardware is not None:
            return _hardware(COMPARE_EXCHANGE, p, expected, new)
        old = word.value
        if old == expected:
            word.value = new
    return old


@primitive
def exchange(p: int, new: int) -> int:
    """Make the word at p `new`.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        if _hardware is not None:
            return _hardware(EXCHANGE, p, new, 0)
        old = word.value
        word.value = new
    return old


@primitive
def fetch_add(p: int, n: int) -> int:
    """Add n to the word at p, modulo 2**32.  Returns what it was."""
    word = ctypes.c_uint32.from_address(p)
    with _lock:
        if _hardware is not None:
            return _hardware(FETCH_ADD, p, n, 0)
        old = word.value
        word.value = (old + n) & 0xFFFF_FFFF
    return old


@primitive
def fence_seq() -> None:
    """A full memory barrier (sequentially consistent fence)."""
    if _hardware is not None:
        _hardware(FENCE, 0, 0, 0)


@primitive
def relax() -> None:
    """Tell the processor that this is a spin loop."""
