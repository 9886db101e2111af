"""netstack/tcp/eor.py: where records end."""
from __future__ import annotations

from netstack.tcp import eor
from netstack.tcp.eor import FAR, LIMIT, Ends


def test_until_the_end_of_a_record():
    e = Ends.new()
    assert eor.until(e, 5) == FAR
    eor.put(e, 10)
    eor.put(e, 30)
    assert [eor.until(e, p) for p in (0, 9, 10, 29, 30)] == [10, 1, 20, 1, FAR]


def test_what_is_acknowledged_is_forgotten():
    e = Ends.new()
    for position in (10, 20, 30):
        eor.put(e, position)
    eor.forget(e, 20)
    assert (e.first, e.last) == (2, 3)
    assert eor.until(e, 20) == 10
    eor.forget(e, 1000)
    assert eor.until(e, 20) == FAR


def test_more_than_fit_are_not_noted():
    e = Ends.new()
    for i in range(LIMIT + 5):
        eor.put(e, 10 * (i + 1))
    assert eor.until(e, 10 * LIMIT) == FAR
    eor.forget(e, 10)
    eor.put(e, 1000)
    assert eor.until(e, 10 * LIMIT) == 1000 - 10 * LIMIT


def test_positions_wrap():
    e = Ends.new()
    start = (1 << 32) - 10
    eor.put(e, start + 30)
    assert eor.until(e, start) == 30
    eor.forget(e, start + 29)
    assert eor.until(e, start + 29) == 1
    eor.forget(e, start + 30)
    assert e.first == e.last
