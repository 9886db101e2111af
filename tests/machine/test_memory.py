"""Bytes at addresses: each primitive's Python body against its compiled one."""
from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.machine import memory
from netstack.machine.mode import JIT
from netstack.machine.primitive import PRIMITIVES

I64 = st.integers(-(2**63), 2**63 - 1)
EDGES = [0, 1, -1, 2**63 - 1, -(2**63), 0x7FFF_FFFF, 0xFFFF_FFFF, -0x8000_0000, 0x0123_4567_89AB_CDEF]


@pytest.fixture(autouse=True)
def _unfenced():
    yield
    memory.unfence()


def block(data: bytes):
    """A buffer, and its address."""
    buffer = ctypes.create_string_buffer(data, len(data))
    return buffer, ctypes.addressof(buffer)


LOADS = [(memory.load8, "B"), (memory.be16, ">H"), (memory.be32, ">I"), (memory.be64, ">q"), (memory.load32, "=I"),
         (memory.load64, "=q")]
STORES = [(memory.store8, "B"), (memory.put16, ">H"), (memory.put32, ">I"), (memory.put64, ">Q"),
          (memory.store32, "=I"), (memory.store64, "=Q")]


@pytest.mark.parametrize(("load", "layout"), LOADS, ids=lambda v: getattr(v, "__name__", None))
def test_loads(twin, load, layout):
    n = struct.calcsize(layout)
    for start in (0, 1, 3):                 # unaligned too
        for data in (bytes(n), b"\xff" * n, bytes(range(1, n + 1)), b"\x80" + bytes(n - 1), bytes(n - 1) + b"\x80"):
            buffer, p = block(bytes(start) + data)
            expected = struct.unpack(layout, data)[0]
            assert load(p + start) == expected
            assert twin(load, 1)(p + start) == expected
            del buffer


@pytest.mark.parametrize(("store", "layout"), STORES, ids=lambda v: getattr(v, "__name__", None))
def test_stores_keep_the_low_bits_and_nothing_else(twin, store, layout):
    n = struct.calcsize(layout)
    for value in EDGES:
        expected = b"\x55" + struct.pack(layout, value & ((1 << 8 * n) - 1)) + b"\x55"
        for body in (store, twin(store, 2)):
            buffer, p = block(b"\x55" * (n + 2))
            body(p + 1, value)
            assert buffer.raw == expected


@pytest.mark.parametrize(("dst", "src", "n"), [(0, 8, 8), (8, 0, 8), (0, 3, 9), (3, 0, 9), (5, 5, 4), (0, 1, 0)])
def test_copy_may_overlap(twin, dst, src, n):
    for body in (memory.copy, twin(memory.copy, 3)):
        buffer, p = block(bytes(range(16)))
        expected = bytearray(range(16))
        expected[dst:dst + n] = bytes(range(16))[src:src + n]
        body(p + dst, p + src, n)
        assert buffer.raw == bytes(expected)


@pytest.mark.parametrize("n", [0, 1, 7, 14])
def test_zero(twin, n):
    for body in (memory.zero, twin(memory.zero, 2)):
        buffer, p = block(b"\xee" * 16)
        body(p + 1, n)
        assert buffer.raw == b"\xee" + bytes(n) + b"\xee" * (15 - n)


@pytest.mark.parametrize(("a", "b", "n", "expected"), [
    (b"", b"", 0, 1), (b"abcdefghi", b"abcdefghi", 9, 1), (b"abcdefghi", b"abcdefghj", 9, 0),
    (b"abcdefghi", b"abcdefghj", 8, 1), (b"\x00b", b"\x80b", 2, 0), (b"\0\0x", b"\0\0y", 3, 0)])
def test_equal(twin, a, b, n, expected):
    for body in (memory.equal, twin(memory.equal, 3)):
        (one, p), (other, q) = block(a), block(b)
        assert body(p, q, n) == expected
        del one, other


def naive_sum(data: bytes, acc: int) -> int:
    """RFC 1071 section 1, as it is written: words, end-around carry."""
    if len(data) % 2:
        data += b"\0"
    for i in range(0, len(data), 2):
        acc += int.from_bytes(data[i:i + 2], "big")
    while acc >> 16:
        acc = (acc & 0xFFFF) + (acc >> 16)
    return acc


def test_sum16_of_rfc_1071_section_3(twin):
    buffer, p = block(bytes.fromhex("0001f203f4f5f6f7"))
    for body in (memory.sum16, twin(memory.sum16, 3)):
        assert body(p, 8, 0) == 0xDDF2
    del buffer


@settings(deadline=None, max_examples=200)
@given(data=st.one_of(st.binary(max_size=70), st.integers(0, 40).map(bytes), st.binary(max_size=500),
                      st.integers(0, 500).map(lambda n: b"\xff" * n)),
       acc=st.integers(0, 0x1_FFFF), start=st.integers(0, 3))
def test_sum16_is_the_sum_of_words(twin, data, acc, start):
    buffer, p = block(bytes(start) + data + b"\xa5")
    expected = naive_sum(data, acc)
    assert memory.sum16(p + start, len(data), acc) == expected
    assert twin(memory.sum16, 3)(p + start, len(data), acc) == expected
    del buffer


def test_sum16_of_64_kib(twin):
    data = b"\xff\xfe\xfd" * 21846
    buffer, p = block(data)
    for n in (65535, 65536, 65538):
        expected = naive_sum(data[:n], 0xFFFF)
        assert memory.sum16(p, n, 0xFFFF) == twin(memory.sum16, 3)(p, n, 0xFFFF) == expected
    del buffer


@settings(deadline=None)
@given(a=st.one_of(I64, st.sampled_from(EDGES)), b=st.one_of(I64, st.sampled_from(EDGES)), n=st.integers(1, 63))
def test_arithmetic_wraps_alike(twin, a, b, n):
    signed = lambda v: (v + 2**63) % 2**64 - 2**63      # noqa: E731
    assert memory.add64(a, b) == twin(memory.add64, 2)(a, b) == signed(a + b)
    assert memory.mul64(a, b) == twin(memory.mul64, 2)(a, b) == signed(a * b)
    u = a % 2**64
    assert memory.rotl64(a, n) == twin(memory.rotl64, 2)(a, n) == signed((u << n | u >> (64 - n)) % 2**64)
    mixed = memory.mix64(a, b)
    assert mixed == twin(memory.mix64, 2)(a, b)
    assert 0 <= mixed < 2**63


def test_mix64_spreads():
    """Neighbouring keys end in different buckets: 4,096 addresses of one subnet in 4,096 buckets, about e**-1 empty."""
    used = {memory.mix64(0, 0xFFFF_0A00_0000 + i) & 4095 for i in range(4096)}
    assert len(used) > 2400


CHECKED = """
import ctypes, sys
from netstack.machine import memory
from netstack.machine.mode import BOUNDSCHECK, JIT
assert BOUNDSCHECK
buffer = ctypes.create_string_buffer(64)
p = ctypes.addressof(buffer)
calls = [(memory.load8, 1, 1), (memory.be16, 1, 2), (memory.be32, 1, 4), (memory.be64, 1, 8), (memory.store8, 2, 1),
         (memory.put16, 2, 2), (memory.put32, 2, 4), (memory.put64, 2, 8)]
def compiled(f, arity):
    if not JIT:
        return f
    import numba
    names = ", ".join("abc"[:arity])
    scope = {"f": f}
    exec(f"def call({names}): return f({names})", scope)
    return numba.njit(scope["call"])
def refused(f, *args):
    try:
        f(*args)
    except IndexError:
        return True
    return False
memory.fence(p + 8, p + 24)
for f, arity, n in calls:
    body = compiled(f, arity)
    for offset in range(0, 34 - n):
        inside = 8 <= offset and offset + n <= 24
        assert refused(body, *(p + offset, 0)[:arity]) == (not inside), (f, offset)
copy, zero, sum16 = compiled(memory.copy, 3), compiled(memory.zero, 2), compiled(memory.sum16, 3)
assert refused(copy, p + 8, p + 20, 5) and refused(copy, p + 20, p + 8, 5) and not refused(copy, p + 8, p + 20, 4)
assert refused(zero, p + 8, 17) and not refused(zero, p + 8, 16) and not refused(zero, p + 60, 0)
assert refused(sum16, p + 7, 2, 0) and not refused(sum16, p + 8, 16, 0)
memory.unfence()
assert not refused(copy, p, p + 32, 32)
print("checked")
"""


@pytest.mark.parametrize("jit", ["0", "1"])
def test_fence_with_boundscheck(jit):
    """With NUMBA_BOUNDSCHECK=1 an access that leaves the fence raises IndexError, in both modes."""
    env = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NETSTACK_JIT": jit}
    done = subprocess.run([sys.executable, "-c", CHECKED], env=env, capture_output=True, text=True, timeout=250,
                          check=False)
    assert done.stdout.strip() == "checked", done.stderr


def test_every_primitive_has_a_compiled_body():
    if not JIT:
        pytest.skip("nothing is compiled")
    from netstack.machine import _lowering
    assert set(PRIMITIVES) == _lowering.LOWERED
