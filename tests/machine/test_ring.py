"""The byte ring, against a bytearray."""
from __future__ import annotations

import ctypes
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.machine import addressof, compiled, load8, relax, ring, store8
from netstack.machine.mode import JIT
from netstack.machine.ring import Ring


def new_ring(size):
    r = Ring.new()
    memory = ctypes.create_string_buffer(size)
    r.data = ctypes.addressof(memory) - addressof(r)
    r.size = size
    return r, memory


def naive_sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@settings(deadline=None, max_examples=60)
@given(start=st.integers(0, 2**62), steps=st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 40)), max_size=20))
def test_stream(start, steps):
    """What comes out is what went in, wherever the ring's end is; positions only grow."""
    r, _memory = new_ring(64)
    ring.set_head(r, start)
    ring.set_tail(r, start)
    held = bytearray()
    out = ctypes.create_string_buffer(64)
    p = ctypes.addressof(out)
    for data, take in steps:
        data = data[:ring.room(r)]
        ring.rewind(r)
        assert held or ring.address(r, ring.tail(r)) == ctypes.addressof(_memory), "an empty ring begins at its front"
        src = ctypes.create_string_buffer(data, len(data) + 1)
        ring.place(r, ring.tail(r), ctypes.addressof(src), len(data))
        ring.set_tail(r, ring.tail(r) + len(data))
        held += data
        assert ring.used(r) == len(held)
        assert ring.room(r) == 64 - len(held)
        assert ring.checksum(r, ring.head(r), len(held), 0) == naive_sum(bytes(held))
        take = min(take, len(held))
        ring.fetch(r, ring.head(r), p, take)
        assert out.raw[:take] == held[:take]
        ring.set_head(r, ring.head(r) + take)
        del held[:take]


def test_contiguous():
    r, memory = new_ring(16)
    assert [ring.contiguous(r, 14, n) for n in (1, 2, 3)] == [1, 2, 2]
    assert ring.address(r, 14 + 32) == ctypes.addressof(memory) + 14


@compiled
def produce(r: Ring, n: int) -> None:
    """Write the bytes 0, 1, 2 ... modulo 251, as room appears."""
    position = 0
    while position < n:
        room = ring.room(r)
        if room == 0:
            relax()
        for _ in range(min(room, n - position)):
            store8(ring.address(r, position), position % 251)
            position += 1
        ring.set_tail(r, position)


@compiled
def consume(r: Ring, n: int) -> int:
    """Read them; returns how many were wrong."""
    position = 0
    wrong = 0
    while position < n:
        tail = ring.tail(r)
        if tail == position:
            relax()
        while position < tail:
            if load8(ring.address(r, position)) != position % 251:
                wrong += 1
            position += 1
        ring.set_head(r, position)
    return wrong


def test_two_threads():
    """One writer and one reader without a lock."""
    r, _memory = new_ring(256)
    n = 500_000 if JIT and len(os.sched_getaffinity(0)) > 1 else 3_000      # else a full ring waits for a time slice
    writer = threading.Thread(target=produce, args=(r, n), daemon=True)
    writer.start()
    assert consume(r, n) == 0
    writer.join(200)
    assert not writer.is_alive()


@pytest.mark.parametrize("first", [0, 1, 7, 8])
def test_checksum_over_an_odd_end(first):
    """RFC 1071 2(B): the part behind the ring's end counts with its bytes swapped when the first part is odd."""
    r, memory = new_ring(8)
    data = bytes(range(1, 9))
    memory.raw = data
    position = 8 - first if first else 0
    expected = (data + data)[position:position + 8]
    assert ring.checksum(r, position, 8, 0) == naive_sum(expected)
