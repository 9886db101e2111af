"""RFC 5681, congestion control: sections 3.1, 3.2 and 4.1 with their numbers; RFC 3042, limited transmit."""
from __future__ import annotations

import pytest

from netstack.tcp.congestion import Ca

from .link import ACK


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


def test_3_1_slow_start(sending):
    """ "cwnd += min (N, SMSS)" at least: one segment more for each that is acknowledged, so it doubles in a round."""
    link, _, t = sending(10, 40)
    for n in range(1, 11):
        link.peer_sends(ACK, ack=P(n))
    assert t.cc.cwnd == 20_000
    assert len(sent(link)) == 20


def test_3_1_congestion_avoidance(sending):
    """ "incremented by roughly 1 full-sized segment per round-trip time" (eq. 3)."""
    link, _, t = sending(10, 40)
    t.cc.ssthresh = 10_000
    for n in range(1, 11):
        link.peer_sends(ACK, ack=P(n))
    assert t.cc.cwnd == 11_000


@pytest.mark.parametrize(("flight", "ssthresh"), [(10, 5000), (4, 2000), (3, 2000), (1, 2000)])
def test_3_1_after_a_timeout(sending, flight, ssthresh):
    """ "ssthresh = max (FlightSize / 2, 2*SMSS)" (eq. 4); "cwnd MUST be set to no more than the loss window"."""
    link, _, t = sending(flight)
    link.advance(0.35)
    assert sent(link) == [0]
    assert (t.cc.ssthresh, t.cc.cwnd) == (ssthresh, 1000)
    link.advance(1)
    assert t.cc.ssthresh == ssthresh                            # not again for the same segment


def test_3_2_fast_retransmit(sending):
    """Steps 1 to 3 (and RFC 3042 2): two duplicates let two new segments out, the third the one that is missing."""
    link, _, t = sending(10, 10)
    out = []
    for _ in range(3):
        link.peer_sends(ACK, ack=1)
        out.append(sent(link))
    assert out == [[10], [11], [0]]
    assert t.cc.ssthresh == 6000                                # of the twelve outstanding; RFC 3042 has them in cwnd
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    assert link.counter("timeouts") == 0


def test_3042_needs_room_in_the_peers_window(sending):
    """RFC 3042 2: "the receiver's advertised window allows the transmission"."""
    link, _, _ = sending(10, 10)
    link.peer_sends(ACK, ack=1, wnd=10_000)
    link.drain()
    for _ in range(2):
        link.peer_sends(ACK, ack=1)
        assert sent(link) == []


def test_3_2_recovery_ends(sending):
    """Step 6: "When the next ACK arrives that acknowledges previously unacknowledged data, set cwnd to ssthresh"."""
    link, _, t = sending(10, 10)
    for _ in range(3):
        link.peer_sends(ACK, ack=1)
    link.drain()
    link.peer_sends(ACK, ack=P(12))
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert t.cc.cwnd <= t.cc.ssthresh == 6000


def test_4_1_restart(sending):
    """ "if it has not sent data in an interval exceeding the retransmission timeout": cwnd is at most RW."""
    link, conn, t = sending(10)
    link.peer_sends(ACK, ack=P(10))
    t.cc.cwnd = 40_000
    link.advance(60)
    conn.send(bytes(50_000))
    assert len(link.drain()) == 10                              # RW = IW
    assert t.cc.cwnd == 10_000


def test_4_2_an_ack_for_every_second_segment(link):
    """ "an ACK SHOULD be generated for at least every second full-sized segment"."""
    conn = link.established(mss=1000)
    del conn
    for n in range(10):
        link.peer_sends(ACK, data=bytes(1000))
        assert len(link.drain()) == n % 2
