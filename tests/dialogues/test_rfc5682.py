"""RFC 5682, F-RTO: the steps of section 2.1, and of 3.1 for peers with SACK."""
from __future__ import annotations

import pytest

from netstack.tcp.congestion import Ca
from netstack.tcp.frto import Step

from .link import ACK


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


@pytest.fixture(params=[False, True], ids=["basic", "SACK"])
def expired(request, sending):
    """expired(more): ten segments were sent and the timer has gone off; `more` are waiting.  Step 1."""
    def begin(more=0):
        link, conn, t = sending(10, more, sack_ok=request.param, tcp_early_retrans=0)
        link.advance(0.31)
        assert sent(link) == [0]
        assert (Ca(t.cc.ca_state), Step(t.recovery.frto)) == (Ca.LOSS, Step.FIRST)
        return link, conn, t
    return begin


def test_the_first_segment_only(sending):
    """Step 1: "retransmit the first unacknowledged segment"."""
    link, _, t = sending(10, 10, tcp_early_retrans=0)
    link.advance(0.31)
    assert sent(link) == [0]
    assert t.cc.cwnd == 1000


def test_spurious(expired):
    """Steps 2b and 3b: "transmit up to two new segments"; the next ACK advances too: nothing more is sent again."""
    link, _, t = expired(10)
    link.peer_sends(ACK, ack=P(1))
    assert sent(link) == [10, 11]
    assert t.recovery.frto == Step.NEW_DATA
    link.peer_sends(ACK, ack=P(2))
    assert t.recovery.frto == Step.NONE
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert link.counter("spurious_rtos") == 1
    assert min(sent(link), default=12) >= 12
    assert t.cc.cwnd >= 10_000                                  # RFC 4015: the window is what it was


def test_duplicate_first(expired):
    """Step 2a: "If the acknowledgment is a duplicate ACK ... revert to the conventional RTO recovery"."""
    link, _, t = expired(10)
    sack = [(P(5), P(6))] if t.sack_ok else []
    link.peer_sends(ACK, ack=1, sack=sack)
    assert t.recovery.frto == Step.NONE
    again = sent(link)
    link.peer_sends(ACK, ack=P(1), sack=sack)
    assert 1 in again + sent(link)
    assert link.counter("spurious_rtos") == 0


def test_everything_acknowledged_at_once(sending):
    """Step 2a: "the Acknowledgment field covers "recover" but not more": only the first had been lost (no SACK)."""
    link, _, t = sending(10, 10, tcp_early_retrans=0)
    link.advance(0.31)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(10))
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert link.counter("spurious_rtos") == 0
    assert t.cc.ssthresh == 5000


def test_duplicate_after_new_data(expired):
    """Step 3a: "set the congestion window to no more than 3 * MSS, and continue with the slow start algorithm"."""
    link, _, t = expired(10)
    link.peer_sends(ACK, ack=P(1))
    assert sent(link) == [10, 11]
    link.peer_sends(ACK, ack=P(1), sack=[(P(10), P(11))] if t.sack_ok else [])
    assert t.recovery.frto == Step.NONE
    assert 1 in sent(link)
    assert t.cc.cwnd <= 3000
    assert link.counter("spurious_rtos") == 0


def test_no_new_data(expired):
    """Step 2b: "skip step 3 of this algorithm and continue with slow-start retransmissions"."""
    link, _, t = expired()
    link.peer_sends(ACK, ack=P(1))
    assert sent(link) == [1, 2]
    assert t.recovery.frto == Step.NONE


def test_second_expiration(expired):
    """Step 1: already in RTO recovery, "do not enter step 2"."""
    link, _, t = expired(10)
    link.advance(2)
    link.drain()
    assert t.recovery.frto == Step.NONE
    link.peer_sends(ACK, ack=P(1))
    assert min(sent(link)) == 1


def test_it_can_be_switched_off(sending):
    link, _, _t = sending(10, 10, tcp_early_retrans=0, tcp_frto=0)
    link.advance(0.31)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(1))
    assert sent(link) == [1, 2]
