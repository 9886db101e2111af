"""RFC 6675, loss recovery by SACK, with RACK switched off: section 4's functions and section 5's steps."""
from __future__ import annotations

import pytest

from netstack.tcp import recovery
from netstack.tcp.congestion import Ca

from .link import ACK


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


def sacks(link, *segments, ack=0):
    """An ACK with a block for each of those runs of segments, newest first."""
    link.peer_sends(ACK, ack=P(ack), sack=[(P(a), P(b)) for a, b in segments])


@pytest.fixture
def start(sending):
    """start(segments, more): SACK, no RACK, no loss probe."""
    return lambda segments, more=0, **settings: sending(segments, more, sack_ok=True, tcp_recovery=0,
                                                        tcp_early_retrans=0, **settings)


def test_4_lost_by_three_sequences(start):
    """IsLost: "DupThresh discontiguous SACKed sequences have arrived above SeqNum"."""
    link, _, t = start(10)
    sacks(link, (2, 3))
    sacks(link, (4, 5), (2, 3))
    assert sent(link) == []
    sacks(link, (6, 7), (4, 5), (2, 3))
    assert sent(link)[0] == 0
    assert t.queue.lost == 2000                                 # 0 and 1 have three above them; 3 has two, 5 one


def test_4_lost_by_bytes(start):
    """IsLost: "more than (DupThresh - 1) * SMSS bytes with sequence numbers greater than SeqNum have been SACKed"."""
    link, _, t = start(10)
    sacks(link, (1, 3))
    assert t.queue.lost == 0                                    # 2 * SMSS, not more
    sacks(link, (1, 4))
    assert t.queue.lost == 1000
    assert sent(link) == [0]


def test_4_pipe(start):
    """SetPipe: what was neither SACKed nor lost, and what was sent again."""
    link, _, t = start(10)
    assert recovery.pipe(t) == 10_000
    sacks(link, (1, 4))
    assert (t.queue.sacked, t.queue.lost, t.queue.retrans) == (3000, 1000, 1000)
    assert recovery.pipe(t) == 10_000 - 3000 - 1000 + 1000


def test_5_limited_transmit(start):
    """Step 3: "Run SetPipe; if cwnd - pipe >= 1 SMSS ... transmit" new data before the third duplicate."""
    link, _, t = start(10, 10)
    sacks(link, (1, 2))
    assert sent(link) == [10]
    sacks(link, (1, 3))
    assert sent(link) == [11]
    assert Ca(t.cc.ca_state) is Ca.DISORDER


def test_5_recovery(start):
    """Steps 4.1 to 4.3 and A to C: RecoveryPoint, half of the flight, the first hole, then what cwnd - pipe allows."""
    link, _, t = start(10, 10)
    for block in ((1, 2), (1, 3), (1, 4)):
        sacks(link, block)
    assert sent(link) == [10, 11, 0]
    assert t.recovery.high == t.snd_nxt                         # 4.1
    assert t.cc.ssthresh == 6000                                # 4.2: half of the twelve that are outstanding
    sacks(link, (1, 4), (5, 9))                                 # 4 is lost as well
    assert 4 in sent(link)                                      # NextSeg (1): holes before new data
    sacks(link, (5, 12), ack=4)                                 # partial: what RecoveryPoint covers is not all here
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    sacks(link, ack=12)                                         # A: "Loss recovery phase terminates"
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert t.cc.cwnd == 6000
    assert link.counter("timeouts") == 0


def test_5_one_reduction_for_a_window(start):
    """However many of a window are lost, the window is halved once."""
    link, _, t = start(10)
    sacks(link, (7, 10))
    before = t.cc.ssthresh
    assert t.queue.lost == 7000
    while (lost := sent(link)):
        sacks(link, (7, 10), ack=lost[-1] + 1)
    sacks(link, ack=10)
    assert t.cc.ssthresh == before == 5000
    assert link.counter("fast_retransmits") == 1


def test_5_1_sacks_outlive_a_timeout(start):
    """ "an implementation SHOULD NOT clear this information on an RTO": what the peer holds is not sent again."""
    link, _, _t = start(10, tcp_frto=0)
    sacks(link, (8, 10))
    link.advance(0.4)
    assert sent(link) == [0]
    again = []
    for n in range(1, 8):
        link.peer_sends(ACK, ack=P(n), sack=[(P(8), P(10))])
        again += sent(link)
    assert sorted(again) == [1, 2, 3, 4, 5, 6, 7]
    link.peer_sends(ACK, ack=P(10))
    link.expect_silence(5)
