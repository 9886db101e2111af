"""RFC 4015, the Eifel response algorithm: the steps of section 3.1 after a spurious timeout, as dialogues.

Eifel detection (RFC 3522) finds it: the first ACK after the timeout echoes the original's timestamp.
"""
from __future__ import annotations

import pytest

from netstack.machine import MS
from netstack.tcp.congestion import Ca

from .link import ACK, SYN

ECE, CWR = 0x40, 0x80


def P(n):
    """The first sequence number of segment n."""
    return 1 + 1000 * n


def sent(link):
    """Which segments the stack has sent."""
    return [(seg.seq - 1) // 1000 for seg in link.drain() if seg.data]


@pytest.fixture
def expired(sending):
    """expired(more): ten segments of a path of 100 ms are out, the timer has gone off, segment 0 was sent again."""
    def begin(more=0, **settings):
        link, conn, t = sending(10, more, sack_ok=True, ts=True, tcp_early_retrans=0,
                                **{"tcp_frto": 0, **settings})
        original = link.talk().ts
        link.advance(0.31)
        assert sent(link) == [0]
        assert Ca(t.cc.ca_state) is Ca.LOSS

        def acks(n, echo=original, flags=ACK):
            link.peer_sends(flags, ack=P(n), ts=(50_100 + int(link.clock.time() * 1000), echo))
            return sent(link)
        return link, conn, t, acks
    return begin


def test_step_0_and_9_the_threshold_is_what_it_was(expired):
    """"pipe_prev <- max (FlightSize, ssthresh)", "ssthresh <- pipe_prev": here slow start, without a threshold."""
    _, _, t, acks = expired(20)
    assert t.cc.ssthresh == 5000
    acks(2)
    assert t.cc.ssthresh > 1 << 30


def test_step_8_nothing_else_goes_again(expired):
    """"Resume the transmission with previously unsent data"."""
    _, _, t, acks = expired(20)
    seen = acks(1)
    for n in range(2, 11):
        seen += acks(n)
    assert min(seen) == 10
    assert t.queue.retrans == 0


@pytest.mark.parametrize("frto", [0, 2])
def test_step_9_the_window_is_what_it_was(expired, frto):
    """Differs from "cwnd <- FlightSize + min (bytes_acked, IW)", as Linux: the whole window at once; an ACK lets out no
    more than what it acknowledges and what slow start adds."""
    _, _, t, acks = expired(30, tcp_frto=frto)
    assert t.cc.cwnd == 1000
    seen = acks(2)
    assert 10_000 <= t.cc.cwnd <= 12_000
    assert seen == list(range(10, 10 + len(seen)))
    assert len(seen) <= 4                                       # two left the network, and slow start's two


def test_step_9_marks_forbid_it(make_link):
    """"If the acceptable ACK has the ECN-Echo flag set, then proceed to step (DONE)": step 8 only."""
    link = make_link(4, tcp_congestion_control="reno", tcp_ecn=1, tcp_early_retrans=0, tcp_frto=0)
    link.listen()
    link.peer_sends(SYN | ECE | CWR, seq=100, mss=1012, sack_ok=True, ts=(50_000, 0), wnd=60_000)
    link.drain()
    link.advance(0.1)
    link.peer_sends(ACK, ack=1)
    conn = link.accept()
    t = link.tcb(conn)
    conn.send(bytes(30_000))
    assert sent(link) == list(range(10))
    original = link.talk().ts
    link.advance(0.31)
    assert sent(link) == [0]
    threshold = t.cc.ssthresh
    link.peer_sends(ACK | ECE, ack=P(2), ts=(50_500, original))
    assert 1 not in [n for n in sent(link) if n < 10]           # step 8: nothing goes again
    assert t.cc.ssthresh == threshold < 10_000
    assert t.cc.cwnd < 10_000


def test_step_10_the_delay_was_no_idleness(expired):
    """"T_last <- tcpnow": congestion window validation does not see a pause in it."""
    link, conn, t, acks = expired()
    link.advance(5)                                             # the timer goes on, and the ACKs are late
    link.drain()
    acks(9)
    acks(10)
    window = t.cc.cwnd
    assert window >= 10_000
    conn.send(bytes(10_000))
    assert len(sent(link)) == 10
    assert t.cc.cwnd == window


def test_step_11_the_timer_becomes_more_patient(expired):
    """"SRTT <- max (SRTT_prev, RTT-SAMPLE)" and so on.

    Differs: RFC 6298's samples alone do it.  The late ACK is a sample (RFC 7323 4.1), of the whole delay.
    """
    link, _, t, acks = expired(20)
    before = t.rto.rto
    assert before == 300 * MS
    link.advance(0.2)
    link.drain()
    acks(2)
    assert t.rto.rto > before + 100 * MS
    assert t.rto.backoffs == 0                                  # the timer is "restarted upon the acceptable ACK"
    assert t.clocks.retransmit == link.clock.now + t.rto.rto


def test_it_is_not_begun_again(expired):
    """"MUST NOT be reinitiated ... upon subsequent timeouts for the same segment": what was saved first is restored."""
    link, _, t, acks = expired(20)
    link.advance(0.6)
    assert sent(link) == [0]
    link.advance(1.2)
    assert sent(link) == [0]
    acks(2)
    assert t.cc.cwnd >= 10_000
    assert t.cc.ssthresh > 1 << 30
