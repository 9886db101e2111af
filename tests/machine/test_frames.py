"""The queue of frames, against a deque; writers in threads; who is woken."""
from __future__ import annotations

import ctypes
import os
import threading
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.machine import addressof, compiled, frames, load8, relax
from netstack.machine.frames import Frames
from netstack.machine.mode import JIT

SIZE = 256


def new_queue(size=SIZE):
    memory = ctypes.create_string_buffer(frames.space(size) + 8)
    f = Frames.from_address((ctypes.addressof(memory) + 7) & -8)
    f.memory = memory
    frames.init(f, size)
    return f


def push(f, *parts):
    """Append a frame of several parts."""
    held = [ctypes.create_string_buffer(part, max(len(part), 1)) for part in parts]
    iov = (ctypes.c_int64 * (2 * len(parts)))(
        *(v for buffer, part in zip(held, parts, strict=True) for v in (ctypes.addressof(buffer), len(part))))
    return frames.push(f, ctypes.addressof(iov), len(parts), sum(map(len, parts)))


def pop(f):
    frame = frames.peek(f)
    if frame == 0:
        return None
    data = ctypes.string_at(frame, frames.length(frame))
    assert frame % 8 == 0
    assert addressof(f) + frames.BYTES <= frame
    assert frame + len(data) <= addressof(f) + frames.BYTES + f.size     # never split over the end
    frames.drop(f)
    return data


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.none(), st.lists(st.binary(max_size=60), min_size=1, max_size=3)), max_size=60))
def test_against_a_deque(steps):
    f = new_queue()
    naive: deque[bytes] = deque()
    pushed = dropped = 0
    for step in steps:
        if step is None:
            assert pop(f) == (naive.popleft() if naive else None)
        else:
            data = b"".join(step)
            room = frames.has_room(f, len(data))
            taken = push(f, *step)
            assert room == (f.dropped == dropped)
            if room:
                assert taken == len(data)
                naive.append(data)
                pushed += 1
            else:
                assert taken == 0
                dropped += 1
                assert f.tail - f.head + len(data) + 8 > SIZE // 2 - 8    # it is not refused while half is free
        assert (f.frames, f.dropped) == (pushed, dropped)
        assert frames.is_empty(f) == (not naive)
    while naive:
        assert pop(f) == naive.popleft()
    assert pop(f) is None
    assert f.lock == 0


def test_counters():
    f = new_queue()
    push(f, b"one")
    push(f, b"three")
    assert (f.frames, f.bytes, f.pushed) == (2, 8, 2)
    assert push(f, bytes(250)) == 0
    assert (f.dropped, f.frames) == (1, 2)


def test_a_frame_of_the_whole_queue():
    f = new_queue()
    data = bytes(range(SIZE - 8))
    for _ in range(3):
        assert push(f, data) == len(data)
        assert push(f, b"x") == 0
        assert pop(f) == data
    assert push(f, data + b"x") == 0


def test_the_end_is_skipped():
    """A frame that does not fit before the end goes to the start, and the reader follows."""
    f = new_queue()
    push(f, bytes(150))
    assert pop(f) == bytes(150)
    assert push(f, b"y" * 120) == 120
    assert frames.peek(f) == addressof(f) + frames.BYTES + 8
    assert pop(f) == b"y" * 120
    assert frames.is_empty(f)


def test_a_queue_that_empties_begins_anew():
    """While the reader keeps up, little more than WARM bytes of a large ring are ever touched."""
    f = new_queue(4 * frames.WARM)
    data = bytes(1500)
    places = set()
    for _ in range(1000):
        assert push(f, data) == len(data)
        assert push(f, b"another") == 7
        places.add(frames.peek(f) - addressof(f))
        assert pop(f) == data
        assert pop(f) == b"another"
    assert max(places) <= frames.BYTES + frames.WARM + 2 * len(data)
    assert len(places) > 10
    assert f.dropped == 0
    while push(f, data):                                    # and nothing of its room is lost by that
        pass
    assert f.frames - 2000 == f.size // (8 + 1504)


def test_a_copy_of_the_reader_sees_the_same():
    """The length stands eight bytes before the frame."""
    f = new_queue()
    push(f, b"abc", b"", b"de")
    frame = frames.peek(f)
    assert frames.length(frame) == 5
    assert frames.peek(f) == frame


def test_the_bell_rings_only_for_a_sleeper():
    f = new_queue()
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        f.bell = bell
        push(f, b"awake")
        with pytest.raises(BlockingIOError):
            os.eventfd_read(bell)
        f.asleep = 1
        push(f, b"asleep")
        assert os.eventfd_read(bell) > 0
    finally:
        os.close(bell)


@compiled
def send_many(f: Frames, iov: int, total: int, n: int) -> None:
    """Push the same frame n times, waiting for room."""
    for _ in range(n):
        while not frames.has_room(f, total) or frames.push(f, iov, 1, total) == 0:
            relax()


@compiled
def take_many(f: Frames, n: int) -> int:
    """Read n frames of two writers: how many came from the first, or -1 if one was damaged."""
    first = 0
    for _ in range(n):
        frame = frames.peek(f)
        while frame == 0:
            relax()
            frame = frames.peek(f)
        byte = load8(frame)
        for i in range(frames.length(frame)):
            if load8(frame + i) != byte:
                return -1
        if byte == 1:
            first += 1
        frames.drop(f)
    return first


def test_two_writers_and_a_reader():
    f = new_queue(1024)
    n = 50_000 if JIT and len(os.sched_getaffinity(0)) > 2 else 100     # else a full queue waits for a time slice
    held = []
    threads = []
    for byte, length in ((1, 20), (2, 77)):
        data = ctypes.create_string_buffer(bytes([byte]) * length, length)
        iov = (ctypes.c_int64 * 2)(ctypes.addressof(data), length)
        held.append((data, iov))
        threads.append(threading.Thread(target=send_many, args=(f, ctypes.addressof(iov), length, n), daemon=True))
    for thread in threads:
        thread.start()
    assert take_many(f, 2 * n) == n
    for thread in threads:
        thread.join(200)
        assert not thread.is_alive()
    assert frames.is_empty(f)
    assert f.frames == 2 * n
