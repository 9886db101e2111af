"""RFC 7661 (and 2861, which it replaces): a window that the application does not use.

What of it is here, and what is not, stands in docs/rfc.md.
"""
from __future__ import annotations

import pytest

from .link import ACK


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


@pytest.fixture
def large(sending):
    """large(**settings): a connection with a window of 40 segments that were all used; nothing is outstanding."""
    def begin(threshold=None, **settings):
        link, conn, t = sending(10, 30, sack_ok=True, tcp_early_retrans=0, **settings)
        for n in range(2, 41, 2):
            link.advance(0.01)
            link.peer_sends(ACK, ack=P(n))
        assert t.snd_una == t.snd_nxt
        t.cc.cwnd = 40_000
        if threshold is not None:
            t.cc.ssthresh = threshold
        link.drain()
        return link, conn, t, 40
    return begin


def exchange(link, conn, at, n):
    """The application sends n segments, and the peer acknowledges them 100 ms later."""
    conn.send(bytes(1000 * n))
    link.drain()
    link.advance(0.1)
    for i in range(n):
        link.peer_sends(ACK, ack=P(at + i + 1))
    return at + n


@pytest.mark.parametrize("threshold", [20_000, 1 << 40], ids=["congestion avoidance", "slow start"])
def test_4_4_not_limited_by_cwnd_no_growth(large, threshold):
    """"A sender that is not cwnd-limited MUST NOT increase the cwnd when ACK packets are received in this phase"."""
    link, conn, t, at = large(threshold)
    for _ in range(20):
        at = exchange(link, conn, at, 10)
    assert t.cc.cwnd == 40_000


def test_4_4_limited_by_cwnd_growth(large):
    """"A sender that is cwnd-limited MAY use the standard TCP method"."""
    link, conn, t, _ = large(20_000)
    conn.send(bytes(100_000))
    assert len(sent(link)) == 40
    for n in range(42, 92, 2):
        link.peer_sends(ACK, ack=P(n))
    assert t.cc.cwnd == 41_000                                  # one segment for each window
    for _ in range(3):
        link.drain()
        link.peer_sends(ACK)


def test_4_3_half_of_it_in_use_in_slow_start(large):
    """"This motivated the choice of a threshold value of 1/2": while more than that is out the window grows."""
    link, conn, t, at = large(1 << 40)
    at = exchange(link, conn, at, 19)
    assert t.cc.cwnd == 40_000
    exchange(link, conn, at, 24)
    assert 40_000 < t.cc.cwnd <= 48_000


def test_4_4_1_a_loss_reduces_what_was_used(large):
    """"cwnd = (Max(pipeACK,LossFlightSize))/2": Reno halves FlightSize, however large the window was."""
    link, conn, t, at = large(20_000)
    conn.send(bytes(10_000))
    assert len(sent(link)) == 10
    link.advance(0.1)
    link.peer_sends(ACK, ack=P(at), sack=[(P(at + 1), P(at + 10))])
    assert t.cc.ssthresh == 5000
    assert sent(link) == [at]
    link.peer_sends(ACK, ack=P(at + 10))
    assert t.cc.cwnd == 5000


def test_2861_idle(large):
    """RFC 2861 section 3: "cwnd is reduced by half for each RTO", ssthresh remembers three quarters of it."""
    link, conn, t, _ = large(20_000)
    link.advance(2.5 * t.rto.rto / 1e9)
    conn.send(bytes(40_000))
    assert len(sent(link)) == 10                                # two halves
    assert t.cc.ssthresh == 30_000
    link.peer_sends(ACK)
    link.drain()
    link.peer_sends(ACK)
    link.drain()
    link.peer_sends(ACK)


def test_idle_with_the_setting_off(large):
    """tcp_slow_start_after_idle 0: what 7661 4.3 asks for, "preserves the cwnd"."""
    link, conn, _t, _ = large(20_000, tcp_slow_start_after_idle=0)
    link.advance(60)
    conn.send(bytes(40_000))
    assert len(sent(link)) == 40
    link.peer_sends(ACK)
