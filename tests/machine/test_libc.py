"""System calls: each from both bodies, results and errnos alike."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from netstack.machine import libc
from netstack.machine.primitive import PRIMITIVES

BODIES = ["python", "compiled"]


@pytest.fixture(params=BODIES)
def call(request, twin):
    """call(function, *args) through one of the two bodies."""
    if request.param == "python":
        return lambda function, *args: function(*args)
    return lambda function, *args: twin(function, len(args))(*args)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def at(data, n=None):
    buffer = ctypes.create_string_buffer(data, n or len(data))
    return buffer, ctypes.addressof(buffer)


def test_read_and_write(call, pipe):
    buffer, p = at(b"hello, world")
    assert call(libc.write, pipe[1], p, 5) == 5
    out, q = at(b"", 32)
    assert call(libc.read, pipe[0], q, 32) == 5
    assert out.raw[:6] == b"hello\0"
    os.close(pipe[1])
    assert call(libc.read, pipe[0], q, 32) == 0
    assert buffer.raw == b"hello, world"


def test_errno(call, pipe):
    _buffer, p = at(b"x")
    assert call(libc.read, -1, p, 1) == -errno.EBADF
    assert call(libc.write, -1, p, 1) == -errno.EBADF
    assert call(libc.writev, -1, p, 1) == -errno.EBADF
    assert call(libc.shutdown, pipe[0], 2) == -errno.ENOTSOCK
    os.set_blocking(pipe[0], False)
    assert call(libc.read, pipe[0], p, 1) == -errno.EAGAIN
    os.close(pipe[0])
    assert call(libc.write, pipe[1], p, 1) == -errno.EPIPE


def test_writev_gathers(call, pipe):
    held = [at(part) for part in (b"head", b"first", b"second")]
    iov = (ctypes.c_int64 * 6)(*(v for buffer, p in held for v in (p, len(buffer.raw))))
    assert call(libc.writev, pipe[1], ctypes.addressof(iov), 3) == 15
    assert os.read(pipe[0], 100) == b"headfirstsecond"


def test_readv_scatters(call, pipe):
    held = [at(bytes(4)), at(bytes(5)), at(bytes(10))]
    iov = (ctypes.c_int64 * 6)(*(v for buffer, p in held for v in (p, len(buffer.raw))))
    os.write(pipe[1], b"headfirstsecond")
    assert call(libc.readv, pipe[0], ctypes.addressof(iov), 3) == 15
    assert [buffer.raw for buffer, _ in held] == [b"head", b"first", b"second" + bytes(4)]


def test_send_recv_shutdown(call):
    a, b = socket.socketpair()
    with a, b:
        _buffer, p = at(b"data")
        out, q = at(b"", 8)
        assert call(libc.recv, b.fileno(), q, 8, libc.MSG_DONTWAIT) == -libc.EAGAIN
        assert call(libc.send, a.fileno(), p, 4, libc.MSG_NOSIGNAL) == 4
        assert call(libc.recv, b.fileno(), q, 8, libc.MSG_DONTWAIT) == 4
        assert out.raw[:4] == b"data"
        assert call(libc.shutdown, a.fileno(), 1) == 0
        assert call(libc.recv, b.fileno(), q, 8, 0) == 0
        b.close()
        assert call(libc.send, a.fileno(), p, 4, libc.MSG_NOSIGNAL) == -errno.EPIPE


def test_dup3_getsockopt(call):
    a, b = socket.socketpair()
    with a, b:
        b.send(b"x")
        value, p = at(b"", 4)
        size, q = at((4).to_bytes(4, sys.byteorder))
        assert call(libc.dup3, b.fileno(), a.fileno(), libc.O_CLOEXEC) == a.fileno()     # closed with text unread
        assert not os.get_inheritable(a.fileno())
        for expected in (errno.ECONNRESET, 0):
            assert call(libc.getsockopt, b.fileno(), socket.SOL_SOCKET, socket.SO_ERROR, p, q) == 0
            assert int.from_bytes(value.raw[:4], sys.byteorder) == expected
            assert int.from_bytes(size.raw[:4], sys.byteorder) == 4
    assert call(libc.dup3, -1, 0, 0) == -errno.EBADF


def pollfds(*fds):
    """struct pollfd: int fd; short events; short revents."""
    memory = (ctypes.c_int32 * (2 * len(fds)))()
    for i, (fd, events) in enumerate(fds):
        memory[2 * i] = fd
        memory[2 * i + 1] = events
    return memory, ctypes.addressof(memory)


def test_poll(call, pipe):
    memory, p = pollfds((pipe[0], libc.POLLIN), (pipe[1], libc.POLLOUT))
    assert call(libc.poll_ns, p, 1, 0) == 0
    assert call(libc.poll_ns, p, 1, 1_000_000) == 0
    assert call(libc.poll_ns, p, 2, -1) == 1
    assert memory[3] >> 16 == libc.POLLOUT
    os.write(pipe[1], b"x")
    assert call(libc.poll_ns, p, 2, -1) == 2
    assert memory[1] >> 16 == libc.POLLIN
    assert call(libc.poll_ns, 0, -1, 0) == -errno.EINVAL


def test_poll_takes_a_long_timeout(call, pipe):
    """More than 2**31 ns, and more than 2**32."""
    os.write(pipe[1], b"x")
    _memory, p = pollfds((pipe[0], libc.POLLIN))
    for timeout in (1 << 31, 1 << 33, (1 << 62)):
        assert call(libc.poll_ns, p, 1, timeout) == 1


def test_clocks(call):
    before = time.monotonic_ns()
    now = call(libc.monotonic)
    assert before <= now <= time.monotonic_ns()
    before = time.time_ns()
    now = call(libc.realtime)
    assert before <= now <= time.time_ns()


def test_this_thread(call):
    seen = [call(libc.pthread_self)]
    thread = threading.Thread(target=lambda: seen.append(call(libc.pthread_self)))
    thread.start()
    thread.join()
    assert seen == [threading.get_ident(), thread.ident]


def test_every_system_call_is_tested():
    files = [Path(__file__), Path(__file__).with_name("test_lock.py")]
    here = "".join(file.read_text(encoding="utf-8") for file in files)
    names = {name for name, function in PRIMITIVES.items() if function.__module__ == libc.__name__}
    assert {name for name in names if f"libc.{name}" not in here} == set()
