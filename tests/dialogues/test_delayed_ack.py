"""Acknowledgments: RFC 9293 3.8.6.3, RFC 5681 section 4.2; SACK blocks of RFC 2018."""
from __future__ import annotations

import pytest

from .link import ACK, FIN


def talk(link, conn):
    """A question and an answer: from now on this is ping-pong."""
    link.peer_sends(ACK, data=b"?")
    conn.recv(1)
    link.expect(ACK)
    conn.send(b"!!")
    link.expect(ACK, data=b"!!")
    link.peer_sends(ACK)


def test_forty_milliseconds(each_link):
    link = each_link
    link.established()
    link.peer_sends(ACK, data=b"x")
    link.expect(ACK, seq=1, ack=102, after=0.040)
    link.expect_silence(1)
    assert link.counter("delayed_acks") == 1


def test_the_delay_is_a_setting(make_link):
    link = make_link(tcp_delack=10)
    link.established()
    link.peer_sends(ACK, data=b"x")
    link.expect(ACK, ack=102, after=0.010)


def test_the_clock_starts_with_the_first_byte(link):
    link.established()
    link.peer_sends(ACK, data=b"x")
    link.advance(0.025)
    link.peer_sends(ACK, data=b"y")
    link.expect(ACK, ack=103, after=0.015)


def test_every_second_full_segment(each_link):
    link = each_link
    link.established()
    mss = link.expect_mss()
    for i in range(3):
        link.peer_sends(ACK, data=bytes(mss))
        link.expect_silence()
        link.peer_sends(ACK, data=bytes(mss))
        link.expect(ACK, ack=101 + 2 * mss * (i + 1))


def test_text_carries_the_ack(link):
    conn = link.established()
    talk(link, conn)
    link.peer_sends(ACK, data=b"request")
    conn.recv(100)
    conn.send(b"answer")
    link.expect(ACK, seq=3, ack=109, data=b"answer")
    link.expect_silence(0.1)


def test_ack_of_a_fin_waits_for_an_answer(link):
    """As on Linux: our own FIN, or the last words, as a rule come at once and carry it."""
    link.established()
    link.peer_sends(FIN | ACK, data=b"x")
    link.expect(ACK, ack=103, after=0.04)


def test_our_fin_carries_the_ack_of_the_peers(link):
    conn = link.established()
    link.peer_sends(FIN | ACK, data=b"x")
    assert conn.recv(10) == b"x"
    conn.close()
    link.expect(FIN | ACK, seq=1, ack=103)
    link.expect_silence(0.1)


def test_ack_of_a_fin_behind_a_full_segment_goes_at_once(link):
    link.established()
    link.peer_sends(FIN | ACK, data=bytes(1460))
    link.expect(ACK, ack=101 + 1461)


def test_first_fin_is_acknowledged_at_once(link):
    """No text has come: there is no pace of the peer's that the delay could follow."""
    link.established(quick=True)
    link.peer_sends(FIN | ACK)
    link.expect(ACK, ack=102)
    link.expect_silence(0.1)


def test_fin_ends_the_duplicate_reports(link):
    """As Linux (tcp_sack_reset): behind a FIN nothing that a SACK option could tell matters any more."""
    link.established(sack_ok=True)
    link.peer_sends(ACK, data=bytes(100))
    link.expect(ACK, ack=201, after=0.04)
    link.peer_sends(FIN | ACK, seq=101, data=bytes(100))
    link.expect(ACK, ack=202, sack=[])


def test_out_of_order_is_acknowledged_at_once(each_link):
    link = each_link
    link.established()
    for i in range(3):
        link.peer_sends(ACK, seq=201 + 100 * i, data=bytes(100))
        link.expect(ACK, seq=1, ack=101)


def test_filled_hole_is_acknowledged_at_once(link):
    conn = link.established()
    link.peer_sends(ACK, seq=201, data=b"2" * 100)
    link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=401, data=b"4" * 100)
    link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=101, data=b"1" * 100)
    link.expect(ACK, ack=301)
    link.peer_sends(ACK, seq=301, data=b"3" * 100)
    link.expect(ACK, ack=501)
    assert conn.recv(1000) == b"1" * 100 + b"2" * 100 + b"3" * 100 + b"4" * 100


def test_pure_acks_are_not_acknowledged(link):
    link.established()
    for _ in range(5):
        link.peer_sends(ACK)
    link.expect_silence(1)


# ---- SACK blocks (RFC 2018)


def segments(link, *numbers):
    """RFC 2018 section 4: "a data stream is sent in 8 segments of 500 bytes, the first one is 5000"; these arrive."""
    acks = []
    for n in numbers:
        link.peer_sends(ACK, seq=5000 + 500 * n, data=bytes(500))
        link.advance(0.05)
        acks.append(link.drain()[-1])
    return [(seg.ack, seg.sack) for seg in acks]


@pytest.fixture
def sack_link(each_link):
    each_link.established(iss=4999, sack_ok=True)
    return each_link


def test_most_recent_block_stands_first(sack_link):
    """Section 4: "the first SACK block MUST specify the contiguous block containing the segment which triggered"."""
    numbers = [2, 8, 4, 6, 10]
    for n, (_, sack) in zip(numbers, segments(sack_link, *numbers), strict=True):
        left, right = sack[0]
        assert left <= 5000 + 500 * n < right
        assert len(sack) <= 4


def test_timestamps_leave_room_for_three_blocks(each_link):
    link = each_link
    link.established(iss=4999, sack_ok=True, ts=True)
    got = segments(link, 2, 4, 6, 8)
    assert [len(sack) for _, sack in got] == [1, 2, 3, 3]


def test_no_blocks_without_permission(link):
    """Section 2."""
    link.established(iss=4999)
    assert segments(link, 2, 4) == [(5000, []), (5000, [])]


def test_no_permission_when_sack_is_off(make_link):
    link = make_link(tcp_sack=0)
    link.established(iss=4999, sack_ok=True)
    assert segments(link, 2) == [(5000, [])]


def test_blocks_with_text(sack_link):
    """A segment with text carries them, too, and is so much shorter."""
    link = sack_link
    conn = link.accepted
    segments(link, 2)
    conn.send(bytes(1460))
    got = link.expect(ACK, size=link.expect_mss() - 12, sack=[(6000, 6500)])
    assert len(got.packet) <= 1500


def test_too_many_holes(link):
    """The 33rd range is refused; the peer sends it again, and no byte is wrong."""
    conn = link.established(sack_ok=True)
    text = bytes(range(200))
    for i in range(1, 80, 2):
        link.peer_sends(ACK, seq=101 + i, data=text[i:i + 1])
    link.drain()
    link.peer_sends(ACK, seq=101, data=text)
    assert link.expect(ACK).ack == 301
    assert conn.recv(1000) == text
