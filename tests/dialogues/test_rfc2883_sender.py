"""RFC 2883 section 5, what the sender learns from a D-SACK; a needless reduction is undone (RFC 3708)."""
from __future__ import annotations

from netstack.tcp.congestion import Ca

from .link import ACK


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


def test_5_1_replication_by_the_network(sending):
    """ "In this case ... the sender did not retransmit": a duplicate that nobody sent changes no window."""
    link, _, t = sending(10, sack_ok=True)
    before = t.cc.cwnd, t.cc.ssthresh
    link.peer_sends(ACK, ack=P(2), sack=[(P(1), P(2))])
    assert (t.cc.cwnd, t.cc.ssthresh) >= before
    assert t.stats.dsacks == 1
    assert link.counter("undos") == 0
    link.peer_sends(ACK, ack=P(10))


def test_5_2_false_retransmit_due_to_reordering(sending):
    """The segment was late: its copy is reported, and the window is what it was; later reordering waits longer."""
    link, _, t = sending(10, sack_ok=True, tcp_early_retrans=0)
    before = t.cc.cwnd
    link.peer_sends(ACK, ack=P(0), sack=[(P(1), P(4))])
    assert sent(link) == [0]
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    assert t.cc.ssthresh == 5000
    link.peer_sends(ACK, ack=P(4))                              # the original fills the hole
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    link.peer_sends(ACK, ack=P(4), sack=[(P(0), P(1))])         # "the receipt of a duplicate"
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert t.cc.cwnd >= before
    assert t.cc.ssthresh > 1 << 30
    assert t.rack.reo_wnd_mult == 2                             # RFC 8985 6.2 step 4
    assert link.counter("undos") == 1
    link.peer_sends(ACK, ack=P(10))


def test_5_3_timeout_due_to_ack_loss(sending):
    """All of a window's ACKs are lost: the copy is reported together with everything."""
    link, _, t = sending(4, sack_ok=True, tcp_early_retrans=0, tcp_frto=0)
    link.advance(0.31)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(4), sack=[(P(0), P(1))])
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert t.cc.cwnd >= 10_000                                  # no segment was lost
    assert link.counter("undos") == 1


def test_5_4_early_timeout(sending):
    """The timer was too quick: each copy is reported, one by one; only then is the reduction undone."""
    link, _, t = sending(3, sack_ok=True, tcp_early_retrans=0, tcp_frto=0)
    link.advance(0.31)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(1))                              # of the original
    assert sent(link) == [1, 2]
    link.peer_sends(ACK, ack=P(2))
    link.peer_sends(ACK, ack=P(2), sack=[(P(0), P(1))])
    assert link.counter("undos") == 0                           # two more copies are out
    link.peer_sends(ACK, ack=P(2), sack=[(P(1), P(2))])
    link.peer_sends(ACK, ack=P(3), sack=[(P(2), P(3))])
    assert link.counter("undos") == 1
    assert t.cc.cwnd >= 10_000
