"""Plain segments that go up as one: a stack that joins them gives the bytes and the ACKs of one that does not."""
from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from netstack.drivers import Wire
from netstack.tcp import tcb
from netstack.tcp.tcb import State, Tcb

from .test_foresee import MAC, MSS, OTHERS, End, Pair

JOINED, PLAIN, WIRE = 0, 1, 2
FAST = 1 << 20          # bytes that come in a round trip: no ACK before the end of a batch (quickack.share)


@pytest.fixture(params=[4, 6])
def ends(request: pytest.FixtureRequest) -> Any:
    made = make(request.param)
    yield made
    for end in made:
        end.close()


def make(version: int, flight: int = FAST) -> list[End]:
    """One that joins, one that may not, and one whose device foresees nothing.  All have got three segments, and
    believe that `flight` bytes come in a round trip."""
    ends = [End(Pair(), version), End(Pair(), version), End(Wire(mac=MAC), version)]
    ends[PLAIN].stack.settings["netstack.tcp_gro"] = 0
    for _ in range(3):
        batch(ends, [{}])
    same(ends)
    for end in ends:
        connection(end).drs.flight = flight
    return ends


def connection(end: End) -> Tcb:
    return next(t for t in (tcb.get(end.tcp, i + 1) for i in range(end.tcp.tcbs.used)) if t.state == State.ESTABLISHED)


def batch(ends: list[End], frames: list[dict[str, Any]]) -> None:
    """These segments come in one turn; `size`, `damage`, `padded`, `raw` are ours, `seq` counts from the expected."""
    for end in ends:
        for wanted in frames:
            changes = dict(wanted)
            size, damage, padded = changes.pop("size", MSS), changes.pop("damage", 0), changes.pop("padded", 0)
            edit: Callable[[bytearray], None] | None = changes.pop("raw", None)
            moves = "seq" not in changes and not damage and changes.get("flags", "A") in ("A", "PA", "FA", "EA")
            text = random.Random(end.seq).randbytes(size)
            for name in ("seq", "ack"):
                if name in changes:
                    changes[name] += getattr(end, name)
            frame = bytearray(bytes(end.segment(text, **changes)))
            if damage:
                frame[-damage] ^= 0x10
            if edit is not None:
                edit(frame)
            end.driver.inject(bytes(frame) + bytes(padded))
            end.seq += size if moves else 0
        end.turn()


def same(ends: list[End], n: int = 1 << 20) -> bytes:
    """All have the same to read, have acknowledged the same, and have dropped for the same reasons.

    How often they have is not compared: a row that is dropped counts once.
    """
    got = [end.read(n) for end in ends]
    assert got[0] == got[1] == got[2]
    acks = [[Ether(frame)[TCP].ack for frame in end.log if TCP in Ether(frame)] for end in ends]
    assert acks[0] == acks[1] == acks[2]
    drops = [set(end.stack.drops()) for end in ends]
    assert drops[0] == drops[1] == drops[2]
    return got[0]


def joined(ends: list[End]) -> int:
    """Segments that have gone up as parts of larger ones."""
    assert ends[PLAIN].tcp.counters.joined == ends[WIRE].tcp.counters.joined == 0
    return int(ends[JOINED].tcp.counters.joined)


def counts(end: End) -> tuple[int, int, int]:
    c = end.stack._record.net.counters
    return int(end.tcp.counters.in_segs), int(c.in_no_ect_pkts), int(c.in_ect0_pkts)


def test_bulk(ends: list[End]) -> None:
    for n in (2, 7, 20, 12):
        before = joined(ends)
        batch(ends, [{}] * n)
        assert len(same(ends)) == n * MSS
        assert joined(ends) - before == n
    assert counts(ends[JOINED]) == counts(ends[PLAIN])
    assert ends[JOINED].conn.info()["bytes_received"] == ends[PLAIN].conn.info()["bytes_received"] == 44 * MSS
    assert ends[JOINED].conn.info()["data_segs_in"] == ends[PLAIN].conn.info()["data_segs_in"] == 44


@pytest.mark.parametrize(("flight", "size"), [(0, 2), (16, 2), (32, 4), (320, 40)])
def test_an_ack_in_between(ends: list[End], flight: int, size: int) -> None:
    """As many go up as one as one ACK may stand for: two, an eighth of what comes in a round trip, or any number."""
    for end in ends:
        connection(end).drs.flight = flight * MSS
    batch(ends, [{}])                                           # now nothing waits for its ACK
    same(ends)
    before, seq = len(ends[JOINED].log), ends[JOINED].seq
    batch(ends, [{}] * 40)
    assert ends[JOINED].tcp.seg.count == size
    assert len(same(ends)) == 40 * MSS
    acks = sorted({Ether(frame)[TCP].ack for frame in ends[JOINED].log[before:]})
    assert acks == [seq + n * size * MSS for n in range(1, 40 // size + 1)]


def test_one_alone_is_one(ends: list[End]) -> None:
    batch(ends, [{}])
    assert len(same(ends)) == MSS
    assert joined(ends) == 0


def test_around_the_ring_and_past_what_is_not_read(ends: list[End]) -> None:
    for i in range(60):
        batch(ends, [{}] * 9)
        if i % 3:
            same(ends, 17 * MSS)
    while same(ends) != b"(nothing)":
        pass
    assert joined(ends) > 300


def test_64_KiB_at_most(ends: list[End]) -> None:
    for end in ends:
        end.conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for _ in range(3):
        batch(ends, [{}] * 20)
        same(ends)
    before = joined(ends)
    batch(ends, [{}] * 50)
    assert ends[JOINED].tcp.seg.count == 5                  # the latest; 45 were in the one before: 65,160 bytes
    assert len(same(ends)) == 50 * MSS
    assert joined(ends) - before == 50


@pytest.mark.parametrize(("frames", "expected"), [
    ([{}, {"flags": "PA"}, {}, {}], 4), ([{"flags": "PA"}, {}, {}], 2), ([{}, {"size": 1200}, {}, {}], 4),
    ([{"size": 1200}, {}, {}, {}], 2), ([{}, {}, {"flags": "FA"}], 2), ([{}, {"window": 501}, {}], 0),
    ([{}, {"tos": 2}, {}], 0), ([{}, {}, {"tos": 3}, {"tos": 3}, {"tos": 3}], 4), ([{}, {"ttl": 63}, {}], 0),
    ([{}, {}, {"ts": 7}, {"ts": 7}, {"ts": 7}], 4), ([{}, {"damage": 1}, {}, {}], 2), ([{}, {"damage": MSS}, {}], 0),
    ([{}, {"padded": 4}, {}], 0), ([{}, {}, {"seq": MSS}, {}], 2), ([{}, {}, {"seq": -MSS}, {}], 2),
    ([{}, {"flags": "EA"}, {}, {}], 2), ([{}, {}, {"flags": "R"}], 2), ([{}, {"ack": -1}], 0),
    ([{}, {"flags": "PA"}, {}], 2), ([{"flags": "PA"}, {}], 0), ([{}, {"size": 1200}, {}], 2),
])
def test_what_ends_a_row(ends: list[End], frames: list[dict[str, Any]], expected: int) -> None:
    """How many of these go up joined.  One that ends a row by being another goes up by itself."""
    v4 = ends[0].version == 4

    def set_tos(tos: int) -> Callable[[bytearray], None]:
        return lambda frame: put_ip(frame, 1 if v4 else None, tos)

    def set_ttl(ttl: int) -> Callable[[bytearray], None]:
        return lambda frame: put_ip(frame, 8 if v4 else 7, ttl)

    out = []
    for changes in frames:
        frame = dict(changes)
        if "tos" in frame:
            frame["raw"] = set_tos(frame.pop("tos"))
        if "ttl" in frame:
            frame["raw"] = set_ttl(frame.pop("ttl"))
        if "ts" in frame:
            frame["options"] = [("NOP", None), ("NOP", None), ("Timestamp", (frame.pop("ts"), 0))]
        out.append(frame)
    before = joined(ends)
    batch(ends, out)
    same(ends)
    assert joined(ends) - before == expected
    assert counts(ends[JOINED]) == counts(ends[PLAIN])
    batch(ends, [{}] * 4)
    same(ends)


def put_ip(frame: bytearray, at: int | None, value: int) -> None:
    """Change a byte of the IP header, or of IPv6 the traffic class, and the header's checksum with it."""
    if at is None:
        frame[15] = (frame[15] & 0x0F) | (value & 0xF) << 4
        return
    frame[14 + at] = value
    if frame[14] >> 4 == 4:
        frame[24:26] = b"\0\0"
        total = sum(int.from_bytes(frame[i:i + 2], "big") for i in range(14, 34, 2))
        total = (total & 0xFFFF) + (total >> 16)
        frame[24:26] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")


def test_a_damaged_ip_header(ends: list[End]) -> None:
    if ends[0].version == 4:
        batch(ends, [{}, {"raw": lambda frame: frame.__setitem__(24, frame[24] ^ 1), "seq": 0}, {}])
        assert len(same(ends)) == 2 * MSS
        assert sum(ends[JOINED].stack.drops().values()) == 1


def test_the_application_is_gone(ends: list[End]) -> None:
    """What waits is answered by a reset, once, and the frame after it too."""
    for end in ends:
        end.conn.close()
    batch(ends, [{}, {}, {"options": [("NOP", None)] * 12}])
    flags = [[str(Ether(f)[TCP].flags) for f in end.log if TCP in Ether(f)][-1] for end in ends]
    assert flags[0] == flags[1] == flags[2]
    assert "R" in flags[0]


def test_two_connections_take_turns(ends: list[End]) -> None:
    """A frame of another connection in between is that one's."""
    batch(ends, [{}, {}, {"sport": 40001, "seq": 0}, {}, {}])
    assert len(same(ends)) == 4 * MSS


KINDS = ["next", "next", "next", "next", "turn", "read", "damage", "short", *OTHERS]


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([4, 6]), st.sampled_from([0, 32 * MSS, FAST]),
       st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, MSS)), max_size=60))
def test_whatever_comes(version: int, flight: int, steps: list[tuple[str, int]]) -> None:
    ends = make(version, flight)
    try:
        run(ends, steps)
    finally:
        for end in ends:
            end.close()


def run(ends: list[End], steps: list[tuple[str, int]]) -> None:
    waiting: list[dict[str, Any]] = []
    for what, n in steps:
        if what in ("turn", "read"):
            batch(ends, waiting)
            waiting = []
            if what == "read":
                same(ends, 3 * n)
        elif what == "damage":
            waiting.append({"damage": n})
        elif what != "reset":
            waiting.append({"size": n if what == "short" else MSS, **OTHERS.get(what, {})})
    batch(ends, waiting)
    same(ends)
