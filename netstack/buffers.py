"""Where bytes stand: the addresses that the engine reads from and writes to, without a copy.

CPython's buffer protocol, by the shortest way for each kind of object.  A call
keeps the object it gets from `locate` until the engine has returned.
"""
from __future__ import annotations

import ctypes
from typing import Any

# Where a bytes object keeps its bytes: the header's last byte is the terminating zero of an empty one.
BYTES = bytes.__basicsize__ - 1
CLEARED = 65536         # bytes up to which a cleared object is as quick as an uncleared one

_from_buffer = ctypes.c_char.from_buffer
_addressof = ctypes.addressof
_uninitialised = ctypes.pythonapi.PyBytes_FromStringAndSize
_uninitialised.restype = ctypes.py_object
_uninitialised.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t]


def new_bytes(n: int) -> bytes:
    """A bytes object of n bytes whose contents do not matter: the engine fills it before anybody sees it."""
    if n <= CLEARED:
        return bytes(n)
    made: bytes = _uninitialised(None, n)
    return made


class _Buffer(ctypes.Structure):
    """Py_buffer (C API), for buffers that may not be written."""

    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t),
                ("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int),
                ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_Buffer)]


class _Held:
    """Keeps a buffer in place while its address is in use."""

    __slots__ = ("view",)

    def __init__(self, data: Any) -> None:
        self.view = _Buffer()
        _get_buffer(data, ctypes.byref(self.view), 0)       # PyBUF_SIMPLE: contiguous, or BufferError

    def __del__(self) -> None:
        _release_buffer(ctypes.byref(self.view))


def locate(data: Any) -> tuple[Any, int, int]:
    """(what keeps it in place, address, bytes) of anything that `send` takes."""
    if data.__class__ is bytes:
        return data, id(data) + BYTES, len(data)
    try:
        view = memoryview(data)
    except TypeError:
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None
    n = view.nbytes
    if not n:
        return view, 0, 0
    if not view.readonly and view.c_contiguous:
        pin = _from_buffer(view)
        return pin, _addressof(pin), n
    held = _Held(data)
    return held, held.view.buf, held.view.len


def locate_writable(buffer: Any, caller: str) -> tuple[Any, int, int]:
    """(what keeps it in place, address, bytes) of a buffer to receive into."""
    if buffer.__class__ is bytearray and buffer:        # by far the most frequent
        pin = _from_buffer(buffer)
        return pin, _addressof(pin), len(buffer)
    try:
        view = memoryview(buffer)
    except TypeError:
        view = None
    if view is None or view.readonly:
        raise TypeError(f"{caller}() argument 1 must be read-write bytes-like object, not {type(buffer).__name__}")
    n = view.nbytes
    if not n:
        return view, 0, 0
    pin = _from_buffer(buffer)
    return pin, _addressof(pin), n
