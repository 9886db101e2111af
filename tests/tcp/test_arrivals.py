"""When text came (SO_TIMESTAMP of streams)."""
from __future__ import annotations

from netstack.tcp import arrivals
from netstack.tcp.arrivals import ROOM, Arrivals


def told(a: Arrivals, end: int) -> int:
    arrivals.on_read(a, end)
    return int(a.told)


def test_a_byte_came_with_its_segment():
    a = Arrivals.new()
    arrivals.begin(a, 100)
    arrivals.note(a, 110, 0, 1)
    arrivals.note(a, 120, 0, 2)
    assert [told(a, end) for end in (1, 100, 101, 110, 111, 120)] == [0, 0, 1, 1, 2, 2]
    assert told(a, 121) == 0


def test_what_comes_in_one_turn_is_one():
    a = Arrivals.new()
    arrivals.note(a, 10, 0, 5)
    arrivals.note(a, 20, 0, 5)
    assert a.count == 1
    assert told(a, 20) == 5


def test_what_was_read_is_forgotten_for_what_comes():
    a = Arrivals.new()
    for i in range(1, 3 * ROOM):
        arrivals.note(a, 10 * i, 10 * (i - 1), i)
        assert told(a, 10 * i) == i


def test_with_no_room_what_comes_is_joined():
    a = Arrivals.new()
    for i in range(1, ROOM + 6):
        arrivals.note(a, 10 * i, 0, i)
    assert [told(a, 10 * i) for i in range(1, ROOM + 6)] == [*range(1, ROOM), *[ROOM + 5] * 6]
    arrivals.note(a, 10 * (ROOM + 6), 25, ROOM + 6)                 # two of them were read
    assert a.count == ROOM - 1
    assert told(a, 30) == 3
    assert told(a, 10 * (ROOM + 6)) == ROOM + 6
