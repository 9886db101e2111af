"""Units: called by address, in both modes, and replaceable."""
from __future__ import annotations

import ctypes

import pytest

from netstack.machine import address_of, compiled, invoke2, invoke3, invoke6, load64, store64, unit


@unit
def add(a: int, b: int) -> int:
    """Two integers."""
    return a + b


@unit
def subtract(a: int, b: int) -> int:
    """Another one with the same parameters."""
    return a - b


@unit
def weigh(a: int, b: int, c: int) -> int:
    """Three."""
    return a + 10 * b + 100 * c


@unit
def digits(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Six, in their order."""
    return ((((a * 10 + b) * 10 + c) * 10 + d) * 10 + e) * 10 + f


@unit
def write(p: int, v: int) -> int:
    """It may write to memory."""
    store64(p, v)
    return load64(p)


@compiled
def through(address: int, a: int, b: int) -> int:
    """A compiled caller that does not know whom it calls."""
    return invoke2(address, a, b) + 1


def test_invoke(twin):
    for two, three, six in ((invoke2, invoke3, invoke6), (twin(invoke2, 3), twin(invoke3, 4), twin(invoke6, 7))):
        if two is invoke2 and twin(invoke2, 3) is not invoke2:
            continue        # compiled, an address is a function's: the Python body has no use for it
        assert two(address_of(add), 2, -5) == -3
        assert three(address_of(weigh), 1, 2, 3) == 321
        assert six(address_of(digits), 1, 2, 3, 4, 5, 6) == 123456
        assert two(address_of(subtract), -(2**62), 2**61) == -(2**62) - 2**61


def test_a_unit_can_be_exchanged():
    assert [through(address_of(f), 9, 4) for f in (add, subtract)] == [14, 6]


def test_an_address_is_for_good():
    assert address_of(add) == address_of(add) != address_of(subtract)
    assert address_of(add) != 0


@pytest.mark.parametrize("v", [0, -1, 2**63 - 1])
def test_it_writes_to_memory(v):
    word = ctypes.c_int64(5)
    assert through(address_of(write), ctypes.addressof(word), v if v < 2**62 else v - 1) in (v + 1, v)
    assert word.value == (v if v < 2**62 else v - 1)
