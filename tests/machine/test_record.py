"""Records: one layout, the same values in both modes."""
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from typing import Annotated

import pytest

from netstack.machine import (
    Array,
    addressof,
    at,
    compiled,
    f64,
    i8,
    i16,
    i32,
    i64,
    offsetof,
    record,
    sizeof,
    u8,
    u16,
    u32,
)
from netstack.machine.mode import JIT


@record
class Inner:
    """A record inside another."""

    a: u8
    b: i64


@record
class Outer:
    """One field of every type."""

    i8: i8
    u8: u8
    i16: i16
    u16: u16
    i32: i32
    u32: u32
    i64: i64
    f64: f64
    inner: Inner
    words: Annotated[Array[u16], 5]
    inners: Annotated[Array[Inner], 3]


INNER = sizeof(Inner)
INNERS = offsetof(Outer, "inners")


@compiled
def store_everywhere(r: Outer, v: int) -> None:
    """Write v into every field."""
    r.i8 = v
    r.u8 = v
    r.i16 = v
    r.u16 = v
    r.i32 = v
    r.u32 = v
    r.i64 = v
    r.f64 = v / 2
    r.inner.a = v
    r.inner.b = v
    for i in range(len(r.words)):
        r.words[i] = v + i
    for i in range(len(r.inners)):
        r.inners[i].b = v - i


@compiled
def total(r: Outer) -> int:
    """Read every integer field."""
    t = r.i8 + r.u8 + r.i16 + r.u16 + r.i32 + r.u32 + r.inner.a + r.inner.b
    for i in range(5):
        t += r.words[i] * (i + 1)
    for i in range(3):
        t += r.inners[i].b * (i + 1)
    return t


@compiled
def bump(r: Inner, n: int) -> int:
    """A nested record is passed by reference."""
    r.b += n
    r.a += n
    return r.b


@compiled
def through_addresses(p: int) -> int:
    """`at` and `addressof` are inverse, and count from the record's start."""
    r = at(Outer, p)
    bump(r.inner, 1)
    bump(r.inners[2], 5)
    bump(at(Inner, p + INNERS + INNER), 7)
    return addressof(r) - p + addressof(r.inners[1]) - p - INNERS - INNER + addressof(r.inners) - p - INNERS


VALUES = [0, 1, -1, 127, 128, 255, 256, -128, -129, 2**31 - 1, 2**31, 2**32, -(2**31) - 1, 2**62, -(2**63)]


@pytest.mark.parametrize("v", VALUES)
def test_a_store_truncates_as_c_does(v):
    r = Outer.new()
    store_everywhere(r, v)
    for name in ("i8", "u8", "i16", "u16", "i32", "u32", "i64"):
        bits = int(name[1:])
        expected = v % 2**bits
        if name[0] == "i" and expected >> (bits - 1):
            expected -= 2**bits
        assert getattr(r, name) == expected, name
    assert r.f64 == v / 2
    assert (r.inner.a, r.inner.b) == (v % 256, v)
    assert [r.words[i] for i in range(5)] == [(v + i) % 65536 for i in range(5)]


@pytest.mark.parametrize("v", VALUES[:-2])
def test_a_load_widens_to_64_bits(v):
    r = Outer.new()
    store_everywhere(r, v)
    expected = r.i8 + r.u8 + r.i16 + r.u16 + r.i32 + r.u32 + r.inner.a + r.inner.b
    expected += sum(r.words[i] * (i + 1) for i in range(5)) + sum(r.inners[i].b * (i + 1) for i in range(3))
    assert total(r) == expected


def test_nested_records_are_references():
    r = Outer.new()
    r.inner.a = 255
    assert bump(r.inner, 2) == 2
    assert (r.inner.a, r.inner.b) == (1, 2)
    assert through_addresses(addressof(r)) == 0
    assert (r.inner.b, r.inners[2].b, r.inners[1].b, r.inners[0].b) == (3, 5, 7, 0)


def test_layout_is_that_of_c():
    assert (sizeof(Inner), offsetof(Inner, "b")) == (16, 8)
    assert offsetof(Outer, "i16") == 2
    assert offsetof(Outer, "i64") == 16
    assert sizeof(Outer) % 8 == 0
    assert Outer.new().snapshot() == bytes(sizeof(Outer))


def test_snapshot_is_the_state():
    a, b = Outer.new(), Outer.new()
    store_everywhere(a, 77)
    assert a.snapshot() != b.snapshot()
    store_everywhere(b, 77)
    assert a.snapshot() == b.snapshot()


def test_describe_names_every_field():
    r = Outer.new()
    r.u16 = 513
    text = r.describe()
    assert "u16: 513" in text
    assert "inner:\n  a: 0\n  b: 0" in text
    assert "words: [0, 0, 0, 0, 0]" in text
    assert "inners: 3 x Inner" in text
    assert "Outer at 0x" in repr(r)


def test_what_cannot_be_a_field():
    with pytest.raises(TypeError, match=r"Wrong\.name: a record field cannot be"):
        @record
        class Wrong:
            name: str


def test_a_misspelt_field_is_refused():
    """Compiled it is a typing error; interpreted a new attribute must not appear silently on reading."""
    @compiled
    def misspelt(r: Inner) -> int:
        """Read a field that is not there."""
        return r.nonsense

    expected: type[Exception] = AttributeError
    if JIT:
        import numba
        expected = numba.core.errors.TypingError
    with pytest.raises(expected):
        misspelt(Inner.new())


def test_a_record_array_is_bounded_with_boundscheck():
    """NUMBA_BOUNDSCHECK=1 finds an index beyond an array inside a record (interpreted, ctypes always does)."""
    program = """
from typing import Annotated
import numba
from netstack.machine import Array, i64, record
@record
class R:
    before: i64
    words: Annotated[Array[i64], 4]
@numba.njit
def get(r, i): return r.words[i]
@numba.njit
def put(r, i): r.words[i] = 1
r = R.new()
put(r, 3)
assert get(r, 3) == 1
for f in (get, put):
    try:
        f(r, 4)
    except IndexError:
        pass
    else:
        raise AssertionError(f)
print("checked")
"""
    if not JIT:
        with pytest.raises(IndexError):
            Outer.new().words[5]
        return
    env = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=250,
                          check=False)
    assert done.stdout.strip() == "checked", done.stderr


def test_two_layouts_of_one_name_are_two_types():
    """Code compiled for the old layout of a record must not be found for the new one."""
    def make(second):
        return record(type("Same", (), {"__annotations__": {"a": i64, "b": second}, "__module__": __name__}))

    one, two, three = make(i64), make(i32), make(i64)
    assert one._digest_ != two._digest_
    assert one._digest_ == three._digest_


def test_a_record_can_stand_anywhere():
    memory = ctypes.create_string_buffer(3 + sizeof(Outer))
    r = at(Outer, ctypes.addressof(memory) + 3)
    store_everywhere(r, -2)
    assert total(r) == total(at(Outer, addressof(r)))
    assert memory.raw[:3] == bytes(3)
