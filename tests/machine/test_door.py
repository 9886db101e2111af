"""`door`: a function of integers in front of a function of a record."""
from __future__ import annotations

import traceback

from netstack.machine import addressof, at, compiled, i64, record
from netstack.machine.door import door

TEXT = """
def NAME(placeARGUMENTS):
    r = at(Pair, place)
    if r.closed:
        return -9
    return body(rARGUMENTS)
"""


@record
class Pair:
    """Something to work on."""

    total: i64
    closed: i64


@compiled
def twice(n: int) -> int:
    """Compiled functions call each other through a door as without."""
    return 2 * n


def front(function):
    """As entry/door.py does."""
    return door(function, 1, TEXT, at=at, Pair=Pair)


@front
def add(r: Pair, n: int, m: int) -> int:
    """Its text."""
    r.total += twice(n) + m
    return r.total


@front
def total(r: Pair) -> int:
    """No arguments of its own."""
    return r.total


@front
def wrong(r: Pair, n: int) -> int:
    """Divides."""
    return r.total // n


def test_what_stands_in_front_comes_first():
    pair = Pair.new()
    assert add(addressof(pair), 1, 2) == 4
    assert add(addressof(pair), 10, 0) == 24
    assert total(addressof(pair)) == 24
    pair.closed = 1
    assert (add(addressof(pair), 1, 2), total(addressof(pair)), pair.total) == (-9, -9, 24)


def test_its_name_and_text_stay():
    assert (add.__name__, add.__doc__) == ("add", "Its text.")


def test_a_door_may_be_called_by_compiled_code():
    @compiled
    def both(place: int) -> int:
        return total(place) + add(place, 1, 0)

    pair = Pair.new()
    assert both(addressof(pair)) == 2


def test_a_traceback_leads_through_the_decorator():
    from netstack.machine.mode import JIT

    if JIT:
        return
    pair = Pair.new()
    try:
        wrong(addressof(pair), 0)
    except ZeroDivisionError as error:
        lines = [frame.line for frame in traceback.extract_tb(error.__traceback__)]
        assert lines[-2:] == ["@front", "return r.total // n"]
