"""System calls.  Each returns the call's result, or -errno, in both modes.

Linux man pages, section 2.  Signals: a call interrupted by one returns -EINTR.
"""
from __future__ import annotations

import ctypes
import os
import threading
import time

from .primitive import primitive

_c = ctypes.CDLL(None, use_errno=True)
_c.syscall.restype = ctypes.c_long

_SYS = {  # numbers of the calls that libc has no wrapper for, by machine
    "x86_64": {"futex": 202},
    "aarch64": {"futex": 98},
    "riscv64": {"futex": 98},
    "ppc64le": {"futex": 221},
    "s390x": {"futex": 238},
}
SYS_FUTEX = _SYS.get(os.uname().machine, _SYS["x86_64"])["futex"]

EINTR = 4
EAGAIN = 11
ETIMEDOUT = 110

POLLIN = 0x001
POLLOUT = 0x004
POLLERR = 0x008
POLLHUP = 0x010

MSG_OOB = 0x1
MSG_DONTWAIT = 0x40
MSG_NOSIGNAL = 0x4000
O_CLOEXEC = os.O_CLOEXEC


def _result(r: int) -> int:
    return r if r >= 0 else -ctypes.get_errno()


@primitive
def read(fd: int, p: int, n: int) -> int:
    """read(2): bytes read, 0 at end of file."""
    return _result(_c.read(ctypes.c_int(fd), ctypes.c_void_p(p), ctypes.c_size_t(n)))


@primitive
def write(fd: int, p: int, n: int) -> int:
    """write(2): bytes written."""
    return _result(_c.write(ctypes.c_int(fd), ctypes.c_void_p(p), ctypes.c_size_t(n)))


@primitive
def writev(fd: int, iov: int, n: int) -> int:
    """writev(2): gather n iovecs (address, length: two i64 each) into one write."""
    return _result(_c.writev(ctypes.c_int(fd), ctypes.c_void_p(iov), ctypes.c_int(n)))


@primitive
def readv(fd: int, iov: int, n: int) -> int:
    """readv(2): one read, scattered over n iovecs (address, length: two i64 each)."""
    return _result(_c.readv(ctypes.c_int(fd), ctypes.c_void_p(iov), ctypes.c_int(n)))


@primitive
def send(fd: int, p: int, n: int, flags: int) -> int:
    """send(2)."""
    return _result(_c.send(ctypes.c_int(fd), ctypes.c_void_p(p), ctypes.c_size_t(n), ctypes.c_int(flags)))


@primitive
def recv(fd: int, p: int, n: int, flags: int) -> int:
    """recv(2)."""
    return _result(_c.recv(ctypes.c_int(fd), ctypes.c_void_p(p), ctypes.c_size_t(n), ctypes.c_int(flags)))


@primitive
def shutdown(fd: int, how: int) -> int:
    """shutdown(2)."""
    return _result(_c.shutdown(ctypes.c_int(fd), ctypes.c_int(how)))


@primitive
def dup3(old: int, new: int, flags: int) -> int:
    """dup3(2): `new` is another name for `old`; what it was is closed."""
    return _result(_c.dup3(ctypes.c_int(old), ctypes.c_int(new), ctypes.c_int(flags)))


@primitive
def getsockopt(fd: int, level: int, option: int, p: int, size: int) -> int:
    """getsockopt(2): the value to p, its size (an i32) at `size`."""
    return _result(_c.getsockopt(ctypes.c_int(fd), ctypes.c_int(level), ctypes.c_int(option), ctypes.c_void_p(p),
                                 ctypes.c_void_p(size)))


@primitive
def poll_ns(fds: int, n: int, timeout: int) -> int:
    """ppoll(2) on n struct pollfd at `fds`, for `timeout` ns (-1: no limit): how many are ready."""
    if timeout < 0:
        return _result(_c.ppoll(ctypes.c_void_p(fds), ctypes.c_ulong(n), None, None))
    ts = (ctypes.c_int64 * 2)(timeout // 1_000_000_000, timeout % 1_000_000_000)
    return _result(_c.ppoll(ctypes.c_void_p(fds), ctypes.c_ulong(n), ts, None))


@primitive
def futex_wait(p: int, expected: int, timeout: int) -> int:
    """Sleep while the 32-bit word at p is `expected`, `timeout` ns at most (-1: no limit).

    0 when woken; -EAGAIN when the word differed, -ETIMEDOUT, -EINTR (futex(2), FUTEX_WAIT_PRIVATE).
    """
    ts = None if timeout < 0 else (ctypes.c_int64 * 2)(timeout // 1_000_000_000, timeout % 1_000_000_000)
    return _result(_c.syscall(ctypes.c_long(SYS_FUTEX), ctypes.c_void_p(p), ctypes.c_long(128),
                              ctypes.c_long(expected), ts, None, ctypes.c_long(0)))


@primitive
def futex_wake(p: int, n: int) -> int:
    """Wake up to n threads that sleep on the word at p: how many (FUTEX_WAKE_PRIVATE)."""
    return _result(_c.syscall(ctypes.c_long(SYS_FUTEX), ctypes.c_void_p(p), ctypes.c_long(129),
                              ctypes.c_long(n), None, None, ctypes.c_long(0)))


@primitive
def pthread_self() -> int:
    """This thread: what `threading.get_ident` says."""
    return threading.get_ident()


@primitive
def monotonic() -> int:
    """CLOCK_MONOTONIC in nanoseconds."""
    return time.monotonic_ns()


@primitive
def realtime() -> int:
    """CLOCK_REALTIME in nanoseconds since 1970 (captures)."""
    return time.time_ns()
