"""Units: pieces of the engine that are compiled once each and called by address.

numba compiles a callee again inside every caller, so a function with a large
body and many callers would be paid for many times.  A unit takes and returns
integers only and is reached through an address that stands in a record
(`World.units`, `Net.send`): 3 ns a call, one compilation, several units side by
side, and a unit can be exchanged between two turns.

    @unit
    def egress(world: int, now: int) -> int: ...

    w.units.egress = address_of(egress)         # Python, at set-up
    invoke2(w.units.egress, world, now)         # compiled or interpreted
"""
from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from . import loaded
from .compiled import cfunc_of, compiled_hook, is_compiled, python_hook
from .mode import IMAGE, JIT
from .primitive import primitive
from .record import at

F = TypeVar("F", bound=Callable[..., int])

log = logging.getLogger("netstack")

UNITS: list[Callable[..., int]] = []
"""Every unit of this process, in the order of definition."""

_table: dict[int, Callable[..., int]] = {0: lambda *arguments: 0}     # interpreted: what stands at an address
_addresses: dict[Callable[..., int], int] = {}


def unit(function: F) -> F:
    """Declare a unit: int64 parameters, int64 result."""
    UNITS.append(function)
    return function


def address_of(function: Callable[..., int]) -> int:
    """The address of a unit; compiles it, or loads it from the cache.  Interpreted: its place in a table."""
    if function not in _addresses:
        if JIT:
            _addresses[function] = cfunc_of(function).address
        elif loaded.is_there():
            _addresses[function] = loaded.address(loaded.name_of(function))
        else:
            _addresses[function] = _stand_in(function)
    return _addresses[function]


def forget_addresses() -> None:
    """The image has come: units are in it now.  Addresses that were given out stay good."""
    _addresses.clear()


_kept: list[object] = []        # what compiled code may call must not go away


def _stand_in(function: Callable[..., int]) -> int:
    """What `invoke` finds as an address: a real one where compiled code may come to call it."""
    place = len(_table)
    if IMAGE:
        count = function.__code__.co_argcount
        pointer = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * count)(function)
        place = int(ctypes.cast(pointer, ctypes.c_void_p).value or 0)
        _kept.append(pointer)
    _table[place] = function
    return place


def hook_address(function: Callable[..., object], record: Any, *, alone: bool = False) -> int:
    """The address of a user's function of a record and an integer, to be reached with `invoke2(address, record's, n)`,
    which is 1, or 0 when it has failed.  `alone`: a function of the record only.

    A @compiled one becomes machine code; any other is called through Python.  An error in it is logged, not raised:
    there is nobody to raise it to.
    """
    def call(address: int, n: int) -> int:
        try:
            if alone:
                function(at(record, address))
            else:
                function(at(record, address), n)
        except Exception:
            log.exception("%s failed", getattr(function, "__qualname__", function))
            return 0
        return 1

    if not JIT and not IMAGE:
        return _stand_in(call)
    pointer, address = compiled_hook(function, record, alone) if is_compiled(function) else python_hook(call)
    _kept.append(pointer)
    return address


@primitive
def invoke2(address: int, a: int, b: int) -> int:
    """Call the unit at an address with two integers."""
    return _code(address, 2)(a, b)


@primitive
def invoke3(address: int, a: int, b: int, c: int) -> int:
    """... with three."""
    return _code(address, 3)(a, b, c)


@primitive
def invoke6(address: int, a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """... with six."""
    return _code(address, 6)(a, b, c, d, e, f)


def _code(address: int, arguments: int) -> Callable[..., int]:
    """What stands at an address, as Python can call it."""
    if address not in _table:
        _table[address] = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arguments)(address)
    return _table[address]
