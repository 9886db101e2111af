"""RFC 3522, the Eifel detection algorithm: the steps of section 3.2 as dialogues, and the corner case of 3.3.

The peer echoes what a receiver would echo (RFC 7323 4.3): the timestamp of the segment that filled the hole.
"""
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


class Peer:
    """Its acknowledgments, each with the echo that is asked for."""

    def __init__(self, link, original):
        self.link, self.original = link, original
        self.stamp = 50_100

    def acks(self, n, echo, *blocks):
        self.stamp += 1
        self.link.peer_sends(ACK, ack=P(n), ts=(self.stamp, echo), sack=[(P(a), P(b)) for a, b in blocks])
        return sent(self.link)


@pytest.fixture
def start(sending):
    """start(segments, more): timestamps; no loss probe, no F-RTO, which would find out in its own way."""
    def begin(segments, more=0, *, sack_ok=False, **settings):
        link, _conn, t = sending(segments, more, sack_ok=sack_ok, ts=True,
                                 **{"tcp_early_retrans": 0, "tcp_frto": 0, **settings})
        return link, t, Peer(link, link.talk().ts)
    return begin


@pytest.fixture
def expired(start):
    """expired(more): ten segments are out, the timer has gone off, segment 0 was sent again."""
    def begin(more=0, **settings):
        link, t, peer = start(10, more, **settings)
        link.advance(0.31)
        again = [seg for seg in link.drain() if seg.data]
        assert [seg.seq for seg in again] == [P(0)]
        return link, t, peer, again[0].ts[0]
    return begin


@pytest.mark.parametrize("sack_ok", [False, True], ids=["plain", "SACK"])
def test_spurious_timeout(expired, sack_ok):
    """Steps 1 to 6: the ACK of the original echoes what is smaller than RetransmitTS; nothing else goes again."""
    link, t, peer, retransmit_ts = expired(20, sack_ok=sack_ok)
    assert peer.original < retransmit_ts
    assert (Ca(t.cc.ca_state), t.cc.ssthresh) == (Ca.LOSS, 5000)
    assert min(peer.acks(2, peer.original), default=10) >= 10   # (RFC 4015, step 8) previously unsent data
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.OPEN, 1)
    assert t.queue.lost == 0
    for n in range(4, 12, 2):
        assert min(peer.acks(n, peer.original), default=10) >= 10
    assert link.counter("timeouts") == 1


@pytest.mark.parametrize("sack_ok", [False, True], ids=["plain", "SACK"])
def test_timeout_that_was_right(expired, sack_ok):
    """Step 4: "else proceed to step (DONE)": the echo is the retransmit's."""
    link, t, peer, retransmit_ts = expired(20, sack_ok=sack_ok)
    assert peer.acks(1, retransmit_ts)[:1] == [1]
    assert (Ca(t.cc.ca_state), t.cc.ssthresh, link.counter("undos")) == (Ca.LOSS, 5000, 0)


def test_spurious_fast_retransmit(start):
    """Step 6, dupacks+1: segment 0 was late, not lost."""
    link, t, peer = start(10, 10, sack_ok=True)
    link.advance(0.1)
    again = [n for block in ((1, 2), (1, 3), (1, 4)) for n in peer.acks(0, peer.original, block)]
    assert again.count(0) == 1
    assert (Ca(t.cc.ca_state), t.cc.ssthresh) == (Ca.RECOVERY, 6000)      # half of twelve: two by limited transmit
    link.advance(0.01)
    assert 0 not in peer.acks(4, peer.original)
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.OPEN, 1)
    assert t.cc.ssthresh > 1 << 30
    assert t.cc.cwnd >= 10_000


def test_the_first_retransmit_counts(start):
    """Step 2: RetransmitTS is not "overwritten as loss recovery progresses": the second timeout's stamp is later."""
    link, t, peer = start(10)
    link.advance(0.31)
    first = link.drain()[0].ts[0]
    link.advance(0.7)
    second = link.drain()[0].ts[0]
    assert first < second
    peer.acks(1, first)                                         # the first copy has arrived: the timeout was right
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.LOSS, 0)


def test_it_is_not_begun_again_within_a_recovery(start):
    """"MUST NOT be reinitiated ... upon retransmitting segments other than the oldest outstanding segment"."""
    link, t, peer = start(10, sack_ok=True)
    peer.acks(0, peer.original, (1, 4), (6, 10))
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    stamp = t.undo.stamp
    link.advance(0.05)
    peer.acks(0, peer.original, (5, 10), (1, 4))                # segment 4 goes too, later
    assert t.undo.stamp == stamp


def test_a_late_segment_that_fills_the_hole_partly(start):
    """Step 4 for an ACK in the midst of outstanding data: it ends the recovery there and then."""
    link, t, peer = start(10, 10, sack_ok=True)
    link.advance(0.1)
    peer.acks(0, peer.original, (1, 5))
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    link.advance(0.02)
    peer.acks(6, peer.original)
    assert (Ca(t.cc.ca_state), t.cc.cwnd >= 10_000) == (Ca.OPEN, True)


def test_without_timestamps_nothing_is_known(sending):
    """"Given that the TCP Timestamps option is enabled": the ACK alone does not tell which copy it answers."""
    link, _, t = sending(10, 10, tcp_early_retrans=0, tcp_frto=0)
    link.advance(0.31)
    assert sent(link) == [0]
    link.peer_sends(ACK, ack=P(2))
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.LOSS, 0)


def test_3_3_all_acks_lost_with_dsack(expired):
    """The peer had everything; its answer to the copy tells so.

    Differs from step 5, as Linux: the duplicate is a witness of its own (RFC 3708), so the window comes back.
    """
    link, t, peer, _ = expired(sack_ok=True)
    peer.acks(10, peer.original, (0, 1))
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.OPEN, 1)
    link.expect_silence(2)


def test_3_3_all_acks_lost_without_dsack(expired):
    """... and without D-SACK nobody can tell whether the ACKs were lost or late.

    Differs from step 5 ("the acceptable ACK does not acknowledge all outstanding data"), as Linux: late, or else each
    spurious timeout of a short exchange, of which one ACK answers all, would halve the window.
    """
    link, t, peer, _ = expired()
    peer.acks(10, peer.original)
    assert (Ca(t.cc.ca_state), link.counter("undos")) == (Ca.OPEN, 1)
