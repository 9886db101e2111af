"""RFC 2018, selective acknowledgments: the examples of section 7 with their numbers, the rules of 4, 5 and 8."""
from __future__ import annotations

import pytest

from .link import ACK, PSH, SYN

# ---- section 7: "Assume the left window edge is 5000 and that the data transmitter sends a burst of 8 segments, each
# containing 500 data bytes."


@pytest.fixture
def receiver(each_link):
    """... has the left window edge at 5000."""
    each_link.established(iss=4999, sack_ok=True)
    return each_link


def replay(link, *table):
    """Rows: triggering segment, ACK, blocks; None instead of what follows: lost."""
    for start, ack, *blocks in table:
        if ack is None:
            continue
        link.peer_sends(ACK, seq=start, data=bytes(500))
        link.advance(0.04)
        got = link.drain()
        assert [(seg.ack, seg.sack) for seg in got] == [(ack, blocks)], f"triggering segment {start}"


def test_7_case_1(receiver):
    """ "The first 4 segments are received but the last 4 are dropped." """
    replay(receiver, (5000, 5500), (5500, 6000), (6000, 6500), (6500, 7000))


def test_7_case_2(receiver):
    """ "The first segment is dropped but the remaining 7 are received." """
    replay(receiver,
           (5000, None),
           (5500, 5000, (5500, 6000)),
           (6000, 5000, (5500, 6500)),
           (6500, 5000, (5500, 7000)),
           (7000, 5000, (5500, 7500)),
           (7500, 5000, (5500, 8000)),
           (8000, 5000, (5500, 8500)),
           (8500, 5000, (5500, 9000)))


def test_7_case_3(receiver):
    """ "The 2nd, 4th, 6th, and 8th (last) segments are dropped." """
    replay(receiver,
           (5000, 5500),
           (5500, None),
           (6000, 5500, (6000, 6500)),
           (6500, None),
           (7000, 5500, (7000, 7500), (6000, 6500)),
           (7500, None),
           (8000, 5500, (8000, 8500), (7000, 7500), (6000, 6500)),
           (8500, None),
           # "Suppose at this point, the 4th packet is received out of order."
           (6500, 5500, (6000, 7500), (8000, 8500)),
           # "Suppose at this point, the 2nd segment is received."
           (5500, 7500, (8000, 8500)))


# ---- section 4: what the receiver reports

def test_4_the_most_recently_reported_blocks_are_repeated(receiver):
    """Six holes, four places: after the newest block those that stood first in the options before, not the lowest."""
    replay(receiver,
           (12000, 5000, (12000, 12500)),
           (6000, 5000, (6000, 6500), (12000, 12500)),
           (10000, 5000, (10000, 10500), (6000, 6500), (12000, 12500)),
           (8000, 5000, (8000, 8500), (10000, 10500), (6000, 6500), (12000, 12500)),
           (14000, 5000, (14000, 14500), (8000, 8500), (10000, 10500), (6000, 6500)),
           (12500, 5000, (12000, 13000), (14000, 14500), (8000, 8500), (10000, 10500)))


def test_4_each_block_is_reported_three_times(receiver):
    """ "any segment remaining part of a non-contiguous block of data held by the data receiver is reported in at least
    three successive SACK options": so the loss of two ACKs hides nothing."""
    link, reports = receiver, []
    for start in (9000, 7000, 11000, 6000, 12000, 8000, 10000):
        link.peer_sends(ACK, seq=start, data=bytes(500))
        reports.append([left for left, _ in link.drain()[-1].sack])
    for i in range(len(reports) - 2):
        assert all(reports[i][0] in report for report in reports[i:i + 3])
    kept = {left for report in reports[::3] for left in report}         # two of three are lost
    assert kept == {9000, 7000, 11000, 6000, 12000, 8000, 10000}


def test_4_an_advance_reports_what_is_left_most_recent_first(receiver):
    """The first block need not hold the segment that "advanced the Acknowledgment Number field"."""
    replay(receiver,
           (8000, 5000, (8000, 8500)),
           (6000, 5000, (6000, 6500), (8000, 8500)),
           (5000, 5500, (6000, 6500), (8000, 8500)),
           (8500, 5500, (8000, 9000), (6000, 6500)),
           (5500, 6500, (8000, 9000)))


def test_4_without_permission_no_options(link):
    """ "If the data receiver has not received a SACK-Permitted option ..., it MUST NOT send SACK options" """
    link.established(iss=4999)
    replay(link, (5500, 5000), (6000, 5000))


# ---- sections 5 and 8: what the sender does with it

MSS = 1000


@pytest.fixture
def sender(make_link):
    """Ten segments of 1000 bytes are out, 100 ms after the handshake."""
    link = make_link(4, tcp_early_retrans=0)
    link.listen()
    link.peer_sends(SYN, seq=100, mss=MSS, sack_ok=True, wnd=60000)
    link.drain()
    link.advance(0.1)
    link.peer_sends(ACK, ack=1)
    conn = link.accept()
    conn.send(bytes(10 * MSS))
    assert [seg.seq for seg in link.drain()] == [1 + MSS * i for i in range(10)]
    link.advance(0.1)
    return link, conn


def test_5_what_is_sacked_is_not_sent_again(sender):
    """ "After the SACKed bit is turned on ..., the data sender will skip that segment" """
    link, _ = sender
    link.peer_sends(ACK, ack=1, sack=[(1001, 3001), (4001, 10001)])
    link.advance(0.05)
    assert [(seg.seq, len(seg.data)) for seg in link.drain()] == [(1, MSS), (3001, MSS)]


def test_5_a_block_need_not_end_where_segments_do(sender):
    """ "the block boundaries in a SACK option that it receives may not fall on boundaries of segments" """
    link, _ = sender
    link.peer_sends(ACK, ack=1, sack=[(501, 9501)])
    link.advance(0.05)
    assert [(seg.seq, len(seg.data)) for seg in link.drain()] == [(1, 500)]


def test_5_1_one_block_does_not_begin_a_recovery(sender):
    """ "recovery is not triggered by a single ACK reporting out-of-order packets at the receiver" """
    link, _ = sender
    link.peer_sends(ACK, ack=1, sack=[(1001, 2001)])
    link.expect_silence(0.01)


def test_5_after_a_timeout_the_left_edge_is_sent(sender):
    """ "The data sender MUST retransmit the segment at the left edge of the window ..., whether or not the SACKed bit
    is on for that segment."  8: if it is on, the receiver has reneged, and no SACK is believed."""
    link, _ = sender
    link.peer_sends(ACK, ack=1001, sack=[(2001, 3001)])
    link.peer_sends(ACK, ack=2001)                      # it should be 3001: the block is forgotten
    link.expect_silence()
    link.advance(1)
    got = link.drain()
    assert (got[0].seq, len(got[0].data)) == (2001, MSS)
    assert link.counter("sack_reneging") == 1
    link.peer_sends(ACK, ack=3001)
    assert [seg.seq for seg in link.drain()] == [3001, 4001]        # slow start, everything again


def test_8_a_window_of_data_is_kept_until_it_is_acknowledged(sender):
    """ "the data sender MUST NOT discard data before being acknowledged by the Acknowledgment Number field" """
    link, conn = sender
    link.peer_sends(ACK, ack=1, sack=[(1001, 10001)])
    link.advance(0.05)
    link.drain()
    t = link.tcb(conn)
    assert t.snd.tail - t.snd.head == 10 * MSS
    link.peer_sends(ACK | PSH, ack=10001, data=b"x")
    assert t.snd.tail == t.snd.head
