"""RFC 2883, D-SACK, at the receiver: the examples of sections 4 and 5 with their numbers."""
from __future__ import annotations

import pytest

from .link import ACK, FIN, State

ISS = 2 ** 32 - 1       # "assuming the first sequence number is zero"


def arrive(link, first, last):
    """A segment with the bytes first .. last; the ACK that it brings: (ACK, blocks)."""
    link.peer_sends(ACK, seq=first, data=bytes(i & 0xFF for i in range(first, last + 1)))
    link.advance(0.05)
    got = link.drain()
    assert len(got) == 1
    return got[0].ack, got[0].sack


@pytest.fixture
def receiver(each_link):
    """... has received everything up to 500, and acknowledged it."""
    link = each_link
    link.established(iss=ISS, sack_ok=True)
    assert arrive(link, 0, 499) == (500, [])
    return link


def replay(link, *table):
    """Rows (first, last, ACK, blocks...)."""
    for first, last, ack, *blocks in table:
        assert arrive(link, first, last) == (ack, blocks), f"{first}-{last}"


def text(link):
    """All that the application can read is what was sent."""
    got = link.accepted.recv(1 << 16)
    assert got == bytes(i & 0xFF for i in range(len(got)))
    return len(got)


def eight(link):
    """ "the data receiver has first received eight segments of 500 bytes each" """
    for i in range(1, 8):
        arrive(link, 500 * i, 500 * i + 499)


def test_4_1_1_a_duplicate_segment(receiver):
    eight(receiver)
    replay(receiver, (3000, 3499, 4000, (3000, 3500)))


def test_4_1_2_an_out_of_order_segment_and_a_duplicate_segment(receiver):
    eight(receiver)
    replay(receiver,
           (4500, 4999, 4000, (4500, 5000)),
           (3000, 3499, 4000, (3000, 3500), (4500, 5000)))


def test_4_1_3_a_duplicate_of_an_out_of_order_segment(receiver):
    eight(receiver)
    replay(receiver,
           (4500, 4999, 4000, (4500, 5000)),
           (5000, 5499, 4000, (4500, 5500)),
           (5000, 5499, 4000, (5000, 5500), (4500, 5500)))


def test_4_2_1_a_single_duplicate_subsegment(receiver):
    replay(receiver,
           (500, 999, 1000),
           (2000, 2499, 1000, (2000, 2500)),
           (1000, 1499, 1500, (2000, 2500)),
           (1000, 1999, 2500, (1000, 1500)))
    assert text(receiver) == 2500


def test_4_2_2_two_subsegments_covered_by_the_acknowledgement(receiver):
    replay(receiver,
           (500, 999, 1000),
           (3000, 3499, 1000, (3000, 3500)),
           (1000, 1499, 1500, (3000, 3500)),
           (2000, 2499, 1500, (2000, 2500), (3000, 3500)),
           (1000, 2499, 2500, (1000, 1500), (3000, 3500)))
    assert text(receiver) == 2500


def test_4_2_3_two_subsegments_not_covered_by_the_acknowledgement(receiver):
    replay(receiver,
           (500, 999, 1000),
           (3500, 3999, 1000, (3500, 4000)),
           (1500, 1999, 1000, (1500, 2000), (3500, 4000)),
           (2500, 2999, 1000, (2500, 3000), (1500, 2000), (3500, 4000)),
           (1500, 2999, 1000, (1500, 2000), (1500, 3000), (3500, 4000)))


def test_5_1_replication_by_the_network(receiver):
    replay(receiver,
           (500, 999, 1000),
           (1000, 1499, 1500),
           (1000, 1499, 1500, (1000, 1500)))


def test_5_2_false_retransmit_due_to_reordering(receiver):
    replay(receiver,
           (500, 999, 1000),
           (1500, 1999, 1000, (1500, 2000)),
           (2000, 2499, 1000, (1500, 2500)),
           (2500, 2999, 1000, (1500, 3000)),
           (1000, 1499, 3000),
           (1000, 1499, 3000, (1000, 1500)))


def test_5_3_retransmit_timeout_due_to_ack_loss(receiver):
    eight(receiver)
    replay(receiver, (500, 999, 4000, (500, 1000)))


def test_a_duplicate_that_fills_a_hole_and_more(receiver):
    """In order, and what is behind it is here: that is the duplicate, now below the acknowledgement."""
    replay(receiver,
           (1000, 1499, 500, (1000, 1500)),
           (500, 1999, 2000, (1000, 1500)))
    assert text(receiver) == 2000


def test_each_duplicate_is_reported_once(receiver):
    """(4, rule 2) Two duplicates, two reports; the next ACK has none."""
    link = receiver
    replay(link,
           (0, 499, 500, (0, 500)),
           (0, 499, 500, (0, 500)),
           (500, 999, 1000))


def test_four_blocks_at_most(receiver):
    """With timestamps three."""
    for i in (1, 3, 5, 7):
        arrive(receiver, 500 + 1000 * i, 999 + 1000 * i)
    ack, blocks = arrive(receiver, 0, 499)
    assert (ack, blocks[0], blocks[1], len(blocks)) == (500, (0, 500), (7500, 8000), 4)


def test_4_3_paws(each_link):
    """A segment that PAWS refuses is reported all the same."""
    link = each_link
    link.established(iss=ISS, sack_ok=True, ts=True)
    link.peer_sends(ACK, data=bytes(500), ts=(60_000, 0))
    link.expect(ACK, ack=500, after=0.04)
    link.peer_sends(ACK, seq=0, data=bytes(500), ts=(59_000, 0))
    link.expect(ACK, ack=500, sack=[(0, 500)])


def test_a_duplicate_with_text_on_the_way_back(receiver):
    """The block goes with text, which is so much shorter."""
    link = receiver
    link.accepted.send(b"answer")
    link.expect(ACK, data=b"answer", sack=[])
    link.peer_sends(ACK, seq=0, ack=1, data=bytes(500))
    link.expect(ACK, ack=500, sack=[(0, 500)])


@pytest.mark.parametrize("settings", [{"tcp_dsack": 0}, {"tcp_sack": 0}])
def test_switched_off(make_link, settings):
    link = make_link(**settings)
    link.established(iss=ISS, sack_ok=True)
    replay(link, (0, 499, 500), (0, 499, 500))
    link.accepted.recv(500)


def test_not_agreed_on(link):
    link.established(iss=ISS)
    replay(link, (0, 499, 500), (0, 499, 500))


def test_empty_old_segments_report_nothing(receiver):
    """A keepalive brings no data twice."""
    receiver.peer_sends(ACK, seq=499)
    receiver.expect(ACK, ack=500, sack=[])


def test_fin_out_of_order(each_link):
    """A FIN counts one number, and is held like text: nothing but what is missing is sent again."""
    link = each_link
    conn = link.established(iss=ISS, sack_ok=True)
    link.peer_sends(FIN | ACK, seq=500, data=b"z" * 500)
    link.expect(ACK, ack=0, sack=[(500, 1001)])
    assert link.state() == State.ESTABLISHED
    link.peer_sends(ACK, seq=0, data=b"a" * 500)
    link.expect(ACK, ack=1001, sack=[])
    assert link.state() == State.CLOSE_WAIT
    assert conn.recv(2000) == b"a" * 500 + b"z" * 500
    assert conn.recv(2000) == b""
