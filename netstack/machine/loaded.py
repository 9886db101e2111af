"""What of an image is in this process: machine code by name (`netstack/image.py` says what that is).

An entry function is called through the wrapper for Python that numba has put around
it, as a built-in function: the same call as numba's own, without the search for
types.  A unit is called by its C function.
"""
from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

from . import atomic
from .mode import IMAGE

METH_VARARGS, METH_KEYWORDS = 1, 2      # Python's methodobject.h
OPERATE = "netstack.machine.hardware.operate"

_addresses: dict[str, list[int]] = {}   # name: its code, and where its environment is named (entry functions)
_functions: dict[str, Any] = {}
_kept: list[object] = []
_looked = False


class _MethodDef(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = [("name", ctypes.c_char_p), ("method", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("doc", ctypes.c_char_p)]


def name_of(function: Callable[..., Any]) -> str:
    """How the image calls it."""
    return f"{function.__module__}.{function.__qualname__}"


def is_there() -> bool:
    """Whether there is an image in this process; it looks for one the first time."""
    global _looked
    if IMAGE and not _looked:
        _looked = True
        importlib.import_module("netstack.image").load()
    return bool(_addresses)


def put(addresses: dict[str, list[int]], keep: object) -> None:
    """An image has been loaded; its memory is `keep`'s."""
    _kept.append(keep)
    _addresses.update(addresses)
    atomic.use(code(OPERATE, 4))


def address(name: str) -> int:
    """Where the C function of a unit is."""
    return _addresses[name][0]


def code(name: str, arguments: int) -> Callable[..., int]:
    """A unit, to be called from Python."""
    return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * arguments)(address(name))


def function(plain: Callable[..., Any]) -> Any:
    """What Python is to call instead of an entry function."""
    name = name_of(plain)
    if name not in _functions:
        wrapper, environment = _addresses[name]
        # Only constants that are objects are looked up in numba's environment, and there are none: any object will do.
        ctypes.c_void_p.from_address(environment).value = id(_kept)
        define = _MethodDef(plain.__name__.encode(), wrapper, METH_VARARGS | METH_KEYWORDS,
                            (plain.__doc__ or "").encode())
        make = ctypes.pythonapi.PyCFunction_NewEx
        make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
        _kept.append(define)
        _functions[name] = make(ctypes.addressof(define), None, None)
    return _functions[name]
