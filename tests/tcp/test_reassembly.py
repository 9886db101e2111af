"""Reassembly against a naive reference: any segments in any order, with repetitions, overlaps, a FIN, a small buffer.

The reference is a set of positions.  It knows of the stack what a peer knows: the right edge of the window that it was
offered.  After every segment it says what the ACK must be, which SACK blocks (RFC 2018) and which D-SACK block (RFC
2883) stand in it; at the end the application has read the text, once and in order.
"""
from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netstack
from tests.dialogues.link import ACK, FIN, Link, State

LENGTH = 6000
TEXT = bytes((i * 31 + i // 256) & 0xFF for i in range(LENGTH))
BUFFER = 4096
BLOCKS = 4
PROFILE = netstack.Profile(connections=8, sockets=2, runs=64, buffers=1 << 20, neighbours=4)


class Reference:
    """What a receiver holds, byte by byte; the FIN is the byte after the last."""

    def __init__(self, edge: int) -> None:
        self.held: set[int] = set()
        self.nxt = 0
        self.edge = edge                # of the window

    def take(self, first: int, last: int, fin: bool) -> tuple[int, int] | None:
        """A segment with the bytes first .. last - 1.  The first piece of it that came twice, if there is one."""
        wnd = self.edge - self.nxt
        acceptable = wnd > 0 and (self.nxt <= first < self.edge or self.nxt <= last - 1 + fin < self.edge)
        bytes_ = range(first, min(last, self.edge if acceptable else self.nxt))
        twice = [p for p in bytes_ if p < self.nxt or p in self.held]
        piece = runs(twice)[0] if twice else None
        if acceptable:
            self.held |= {p for p in bytes_ if p >= self.nxt}
            if fin and last <= self.edge:
                self.held.add(last)
            while self.nxt in self.held:
                self.held.remove(self.nxt)
                self.nxt += 1
        return piece


def runs(numbers) -> list[tuple[int, int]]:
    """Numbers as ranges."""
    found: list[list[int]] = []
    for n in sorted(numbers):
        if found and found[-1][1] == n:
            found[-1][1] = n + 1
        else:
            found.append([n, n + 1])
    return [(a, b) for a, b in found]


@pytest.fixture(scope="module", params=[0, 0xFFFF_FFFF - 2500], ids=["from 0", "around 2**32"])
def start(request) -> Iterator[tuple]:
    """A connection whose text begins at a sequence number, and a picture of it."""
    link = Link(4, profile=PROFILE, tcp_rmem=(4096, 2 * BUFFER, 2 * BUFFER))
    conn = link.established(iss=(request.param - 1) & 0xFFFF_FFFF, sack_ok=True)
    edge = (link.tcb(conn).rcv_adv - request.param) & 0xFFFF_FFFF
    picture = link.picture()
    yield link, conn, request.param, edge, picture
    link.put_back(picture)
    link.close()


OFFSETS = st.integers(0, LENGTH) | st.integers(0, 60).map(lambda n: 100 * n)     # so that some of them touch
SEGMENTS = st.tuples(OFFSETS, st.sampled_from([1, 2, 10, 100, 400, 1460]), st.integers(0, 3))


@settings(deadline=None, max_examples=150)
@given(steps=st.lists(SEGMENTS, min_size=6, max_size=28), near=st.booleans())
def test_against_a_set_of_positions(start, steps, near):
    link, conn, base, edge, picture = start
    link.put_back(picture)
    naive = Reference(edge)
    got = bytearray()
    added: list[int] = []               # where the segments that came out of order began, the last one first

    def relative(n: int) -> int:
        return (n - base) & 0xFFFF_FFFF

    def sends(first: int, last: int) -> None:
        """One segment, and everything that must be true after it."""
        fin = last == LENGTH
        twice = naive.take(first, last, fin)
        if naive.nxt > LENGTH:                          # as Linux: the ACK of the FIN tells of no duplicate
            twice = None
        newest = runs(naive.held)
        link.peer_sends(ACK | (FIN if fin else 0), seq=base + first, data=TEXT[first:last])
        replies = link.drain()
        if not replies:
            link.advance(0.04)
            replies = link.drain()
        assert len(replies) == 1
        assert relative(replies[0].ack) == naive.nxt
        blocks = [(relative(a), relative(b)) for a, b in replies[0].sack]
        assert (blocks[0] if twice else None) == twice
        rest = blocks[1 if twice else 0:]
        assert set(rest) <= set(newest)
        assert len(rest) == len(set(rest)) == min(len(newest), BLOCKS - bool(twice))
        if first >= naive.nxt:
            added.insert(0, first)
        order = dict.fromkeys(b for a in added for b in newest if b[0] <= a < b[1])
        assert rest == list(order)[:len(rest)]          # (RFC 2018 4) "repeating the most recently reported"
        learn(replies)

    def learn(replies) -> None:
        for seg in replies:
            naive.edge = max(naive.edge, relative(seg.ack) + link.window(seg))

    def reads() -> None:
        got.extend(conn.recv(1000) if link.tcb(conn).rcv.tail > link.tcb(conn).rcv.head else b"")
        link.advance(0.04)
        learn(link.drain())

    for first, n, then in steps:
        if naive.nxt > LENGTH:
            break
        if near:                                        # most of them where they matter
            first = max(naive.nxt // 100 * 100 + first % 1500 - 400, 0)
        sends(min(first, LENGTH - 1), min(first + n, LENGTH))
        if then == 0:
            reads()
    while naive.nxt <= LENGTH:                          # the peer sends what is missing
        reads()
        sends(min(naive.nxt, LENGTH - 1), min(naive.nxt + 1000, LENGTH))
    while len(got) < LENGTH:
        reads()
    assert got == TEXT
    assert conn.recv(10) == b""
    assert link.state() == State.CLOSE_WAIT
    assert link.tcb(conn).held == 0
