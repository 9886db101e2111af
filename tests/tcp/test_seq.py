"""Sequence numbers (RFC 9293 3.4), against plain arithmetic."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netstack.tcp import seq

U32 = st.integers(0, 2**32 - 1)
NEAR = st.integers(-(2**31) + 1, 2**31 - 1)


@given(U32, NEAR)
def test_difference_of_near_numbers_is_exact(a, n):
    b = seq.add(a, n)
    assert b == (a + n) % 2**32
    assert seq.diff(b, a) == n
    assert (seq.lt(a, b), seq.leq(a, b), seq.gt(a, b), seq.geq(a, b)) == (n > 0, n >= 0, n < 0, n <= 0)


@given(U32, U32)
def test_order_is_total_but_for_the_antipode(a, b):
    assert seq.leq(a, b) == (seq.lt(a, b) or a == b)
    assert seq.lt(a, b) == seq.gt(b, a) or seq.diff(a, b) == -(2**31)
    assert seq.diff(a, b) == -seq.diff(b, a) or seq.diff(a, b) == -(2**31)


@given(U32, st.integers(0, 2**31 - 1), NEAR)
def test_between(low, n, k):
    assert seq.between(low, seq.add(low, k), seq.add(low, n)) == (0 <= k <= n)


def test_examples_at_the_wrap():
    assert seq.lt(0xFFFF_FFFF, 0)
    assert seq.add(0xFFFF_FFFF, 1) == 0
    assert seq.add(0, -1) == 0xFFFF_FFFF
    assert seq.diff(5, 0xFFFF_FFFB) == 10
