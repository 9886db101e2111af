"""RFC 8985, RACK-TLP: the examples of sections 3.4 and 3.5, and the cases of 7.4.2."""
from __future__ import annotations

import pytest

from netstack.machine import SECOND
from netstack.tcp.congestion import Ca

from .link import ACK, SYN

MSS = 1000
RTT = 0.1


def P(n):
    """The first sequence number of the RFC's segment Pn."""
    return 1 + n * MSS


def sent(link):
    """What the stack has sent: (segment, ...)."""
    return [seg.seq // MSS for seg in link.drain()]


@pytest.fixture
def start(make_link):
    """start(data, setting=...): a connection whose round trip is 100 ms, and that has just sent `data` bytes."""
    def begin(data, **settings):
        link = make_link(4, tcp_congestion_control="reno", **settings)
        link.listen()
        link.peer_sends(SYN, seq=100, mss=MSS, sack_ok=True, wnd=60000)
        link.drain()
        link.advance(RTT)
        link.peer_sends(ACK, ack=1)
        conn = link.accept()
        conn.send(bytes(data))
        return link, conn, link.tcb(conn)
    return begin


def test_3_4_fast_recovery(start):
    """Figure 1, by its events."""
    link, _, t = start(4 * MSS)
    assert sent(link) == [0, 1, 2, 3]                           # 1: P1, P2, P3 dropped by network
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(1))                              # 2
    link.expect_silence(2 * RTT - 0.001)
    link.advance(0.001)
    assert sent(link) == [3]                                    # 3: 2 RTTs after (2) the TLP timer fires
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(1), sack=[(P(3), P(4))])         # 4
    assert sent(link) == [1]                                    # 5: P1, P2 are lost; PRR lets one out for each
    assert t.queue.lost == 2 * MSS                              #    that arrives
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(2), sack=[(P(3), P(4))])
    assert sent(link) == [2]
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(4))                              # 8 (6 and 7: rack_lost_retransmission.pkt)
    assert t.queue.count == 0
    assert link.counter("timeouts") == 0


def test_3_5_a_timeout_leaves_alone_what_was_sent_less_than_a_round_trip_ago(start):
    """ "the only segment automatically marked as lost is the first segment" """
    link, conn, t = start(MSS, tcp_early_retrans=0)
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(1))                              # it knows the round trip
    conn.send(bytes(MSS))
    assert sent(link) == [0, 1]
    due = (t.clocks.retransmit - link.clock.now) / SECOND
    link.advance(due - 0.05)
    conn.send(bytes(2 * MSS))                                   # "right before the RTO of the first segment expires"
    assert sent(link) == [2, 3]
    link.advance(0.05)
    assert sent(link) == [1]
    link.advance(0.02)
    link.peer_sends(ACK, ack=P(2))                              # the others are not sent: there is no sign of loss
    link.expect_silence(RTT)
    assert link.counter("timeouts") == 1


def test_3_5_what_is_older_than_a_round_trip_is_lost(start):
    """6.3: RACK_mark_losses_on_RTO."""
    link, _, t = start(3 * MSS, tcp_early_retrans=0, tcp_frto=0)
    assert sent(link) == [0, 1, 2]
    link.advance((t.clocks.retransmit - link.clock.now) / SECOND)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(1))
    assert sent(link) == [1, 2]                                 # slow start


@pytest.fixture
def probe(start):
    """Ten segments, all but two acknowledged: a probe has sent the last one again."""
    link, conn, t = start(10 * MSS)
    assert sent(link) == list(range(10))
    link.advance(RTT)
    link.peer_sends(ACK, ack=P(8))
    link.advance(2 * RTT)
    assert sent(link) == [9]
    assert t.tlp.active == t.tlp.is_retrans == 1
    link.advance(RTT / 2)
    return link, conn, t


def test_7_4_2_case_1_a_dsack_shows_that_both_copies_arrived(probe):
    link, _, t = probe
    cwnd = t.cc.cwnd
    link.peer_sends(ACK, ack=P(10), sack=[(P(9), P(10))])
    assert (t.tlp.active, t.cc.ca_state) == (0, Ca.OPEN)
    assert t.cc.cwnd >= cwnd


@pytest.mark.parametrize("more", [False, True])
def test_7_4_2_case_2_a_duplicate_ack_without_sack(probe, more):
    link, conn, t = probe
    cwnd = t.cc.cwnd
    link.peer_sends(ACK, ack=P(10))                             # equal to TLP.end_seq: it may be the original's
    assert t.tlp.active == 1
    if more:
        conn.send(bytes(MSS))
        link.drain()
    link.peer_sends(ACK, ack=P(10))
    assert (t.tlp.active, t.cc.ca_state) == (0, Ca.OPEN)
    assert t.cc.cwnd >= cwnd


def test_7_4_2_the_probe_repaired_the_single_loss(probe):
    """ "the sender SHOULD invoke a congestion control response equivalent to a fast recovery" """
    link, conn, t = probe
    link.peer_sends(ACK, ack=P(10))
    conn.send(bytes(MSS))
    link.drain()
    link.peer_sends(ACK, ack=P(11))                             # "some sequence number after TLP.end_seq"
    assert t.tlp.active == 0
    assert t.cc.ssthresh < 10 * MSS


def test_7_4_1_a_probe_on_its_way_does_not_hide_a_loss(start):
    """An ACK of before the probe: P0 is lost, and as many bytes have just been sent again by the probe."""
    link, _, t = start(5 * MSS)
    assert sent(link) == [0, 1, 2, 3, 4]
    link.advance(2 * RTT)
    assert sent(link) == [4]
    link.peer_sends(ACK, ack=P(0), sack=[(P(1), P(4))])
    assert t.cc.ca_state == Ca.RECOVERY
    assert sent(link) == [0]
