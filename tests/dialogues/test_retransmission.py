"""Loss: RFC 6298 (the timer), RFC 5681 (fast retransmit, slow start), RFC 6582 (NewReno); giving up."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.tcp.congestion import Ca

from .link import ACK, FIN, PSH, SYN, State

SO_ERROR = (real.SOL_SOCKET, real.SO_ERROR)


def opened(link, rtt=0.0, **keywords):
    """A connection whose handshake took `rtt`."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=keywords.pop("mss", 1000), wnd=65535, **keywords)
    link.expect(SYN | ACK)
    link.advance(rtt)
    link.peer_sends(ACK, ack=1)
    return link.accept()


# ---- the timer


def test_timeout_doubles(each_link):
    """(5.5)"""
    link = each_link
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, seq=1, data=b"abc")
    for wait in (0.2, 0.4, 0.8, 1.6, 3.2, 6.4):
        link.expect(ACK, seq=1, data=b"abc", after=wait)


def test_timeout_follows_from_the_round_trip(link):
    """(2.2) SRTT = 400 ms, RTTVAR = 200 ms: RTO = 1200 ms."""
    conn = opened(link, rtt=0.4)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.expect(ACK, data=b"abc", after=1.2)


def test_second_sample(link):
    """(2.3) 400 ms, then 800 ms: SRTT 450, RTTVAR 3/4 200 + 1/4 400 = 250, RTO 1450 ms."""
    conn = opened(link, rtt=0.4)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.advance(0.8)
    link.peer_sends(ACK)
    conn.send(b"def")
    link.expect(ACK, data=b"def")
    link.expect(ACK, data=b"def", after=1.45)


def test_no_sample_from_what_was_sent_twice(link):
    """(3) Karn."""
    conn = opened(link, rtt=0.4)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.expect(ACK, data=b"abc", after=1.2)
    link.advance(0.01)
    link.peer_sends(ACK)
    t = link.tcb(conn)
    assert (t.rto.srtt, t.rto.rttvar) == (400_000_000, 200_000_000)
    conn.send(b"def")
    link.expect(ACK, data=b"def")
    link.expect(ACK, data=b"def", after=1.2)            # new data was acknowledged: the backoff is over


def test_timestamps_give_a_sample_all_the_same(link):
    """RFC 7323 4: the echo tells which of the two arrived."""
    conn = link.established(ts=True)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.expect(ACK, data=b"abc", after=0.2)
    link.advance(0.1)
    link.peer_sends(ACK)                                # echoes the second
    assert link.tcb(conn).rto.srtt > 10_000_000


def test_ack_of_something_restarts_the_timer(link):
    """(5.3)"""
    conn = link.established(mss=1000)
    conn.send(bytes(2000))
    link.expect(ACK, size=1000)
    link.expect(ACK, size=1000)
    link.advance(0.15)
    link.peer_sends(ACK, ack=1001)
    rto = link.tcb(conn).rto.rto / 1e9
    link.expect(ACK, seq=1001, size=1000, after=rto)


def test_everything_acknowledged_stops_it(link):
    """(5.2)"""
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.peer_sends(ACK)
    link.expect_silence(600)


def test_timer_after_a_lost_syn(link):
    """(5.7) 3 s when the SYN was sent twice."""
    conn = link.connect()
    link.expect(SYN)
    link.expect(SYN, after=1)
    link.peer_sends(SYN | ACK, seq=300, ack=1, mss=1000)
    link.expect(ACK)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.expect(ACK, data=b"abc", after=3)


def test_go_back_after_a_timeout(link):
    """RFC 5681 3.1: one segment, then slow start over everything that was not acknowledged."""
    conn = link.established(mss=1000)
    conn.send(bytes(8000))
    assert len(link.drain()) == 8
    link.expect(ACK, seq=1, size=1000, after=0.2)
    link.expect_silence()
    link.peer_sends(ACK, ack=1001)
    link.expect(ACK, seq=1001, size=1000)
    link.expect(ACK, seq=2001, size=1000)
    link.expect_silence()
    link.peer_sends(ACK, ack=3001)                      # one segment more for each ACK (RFC 3465 2.3)
    assert [s.seq for s in link.drain()] == [3001, 4001, 5001]


def test_ack_after_a_timeout_jumps_over_what_arrived(link):
    conn = link.established(mss=1000)
    conn.send(bytes(8000))
    link.drain()
    link.expect(ACK, seq=1, size=1000, after=0.2)
    link.peer_sends(ACK, ack=8001)                      # only the first had been lost
    link.expect_silence(10)
    conn.send(b"next")
    link.expect(ACK, seq=8001, data=b"next")


def test_retransmission_may_be_cut_anew(link):
    """What was sent in small pieces is sent again in one."""
    conn = link.established()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
    for letter in (b"a", b"b", b"c"):
        conn.send(letter)
        link.expect(ACK, data=letter)
    link.expect(ACK | PSH, seq=1, data=b"abc", after=0.2)


# ---- giving up


def test_retries2(make_link):
    """net.ipv4.tcp_retries2; 3.8.3 R2."""
    link = make_link(tcp_retries2=3)
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    for wait in (0.2, 0.4, 0.8, 1.6):                   # since the first one 2.8 s: 0.2 + 0.4 + 0.8 + 1.6 are not over
        link.expect(ACK, data=b"abc", after=wait)
    link.advance(3.199)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.expect_silence(0.001)                          # no reset either (3.10.8)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT
    assert link.state() == State.CLOSED


def test_retries2_after_a_longer_round_trip(make_link):
    """As many as it says, since each timeout is longer than the 200 ms that it counts with."""
    link = make_link(tcp_retries2=3)
    conn = opened(link, rtt=0.1)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    for wait in (0.3, 0.6, 1.2):
        link.expect(ACK, data=b"abc", after=wait)
    link.expect_silence(2.4)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT


def test_progress_starts_the_count_anew(make_link):
    link = make_link(tcp_retries2=3)
    conn = link.established(mss=1000)
    conn.send(bytes(5000))
    for i in range(5):
        link.advance(1.0)
        link.drain()
        link.peer_sends(ACK, ack=1 + 1000 * (i + 1))
        assert link.state() == State.ESTABLISHED


def test_default_is_some_fifteen_minutes(link):
    """tcp_retries2 15: RFC 1122 wants at least 100 s, Linux's documentation says 924.6 s, and the first timeout
    after that."""
    conn = link.established()
    conn.send(b"abc")
    link.advance(1044.5)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.advance(0.2)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT
    assert len(link.drain()) == 17


def test_user_timeout(each_link):
    """RFC 9293 3.8.3; tcp(7)."""
    link = each_link
    conn = link.established(TCP_USER_TIMEOUT=5000)
    link.expect_silence(100)                            # nothing is unacknowledged
    conn.send(b"abc")
    link.advance(4.99)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.advance(0.01)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT


def test_user_timeout_starts_anew_with_progress(link):
    conn = link.established(mss=1000, TCP_USER_TIMEOUT=5000)
    conn.send(bytes(2000))
    link.advance(4)
    link.peer_sends(ACK, ack=1001)
    link.advance(4)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.peer_sends(ACK, ack=2001)
    link.advance(100)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.drain()


def test_orphan_is_given_up_sooner(make_link):
    """tcp_orphan_retries."""
    link = make_link(tcp_orphan_retries=2)
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    conn.close()
    link.expect(FIN | ACK, seq=4)
    link.advance(3.0)
    assert link.state() == State.CLOSED


# ---- fast retransmit and recovery


def lose_first(link, segments=8, **keywords):
    """A connection with `segments` segments of 1000 bytes in flight."""
    conn = link.established(mss=1000, **keywords)
    conn.send(bytes(1000 * segments))
    assert [s.seq for s in link.drain()] == [1 + 1000 * i for i in range(segments)]
    return conn


def test_third_duplicate_ack(each_link):
    """(5681 3.2)"""
    link = each_link
    lose_first(link)
    for _ in range(2):
        link.peer_sends(ACK, ack=1)
        link.expect_silence()
    link.peer_sends(ACK, ack=1)
    link.expect(ACK, seq=1, size=1000)
    link.expect_silence()
    link.peer_sends(ACK, ack=8001)
    link.expect_silence(10)
    assert link.counter("fast_retransmits") == 1
    assert link.counter("timeouts") == 0


@pytest.mark.parametrize("change", ["text", "window", "fin", "ack"])
def test_what_is_not_a_duplicate(link, change):
    """(5681 2) Text, another window, a FIN, another ACK; and nothing outstanding."""
    lose_first(link)
    for i in range(5):
        if change == "text":
            link.peer_sends(ACK, ack=1, data=b"x")
        elif change == "window":
            link.peer_sends(ACK, ack=1, wnd=60000 + i)
        elif change == "fin":
            link.peer_sends(FIN | ACK, seq=101, ack=1)
        else:
            link.peer_sends(ACK, ack=1 + i)
    assert all(not seg.data for seg in link.drain())


def test_duplicates_with_nothing_outstanding(link):
    conn = link.established()
    for _ in range(10):
        link.peer_sends(ACK)
    conn.send(b"x")
    link.expect(ACK, data=b"x")
    link.expect_silence()
    assert link.counter("fast_retransmits") == 0


def test_window_during_recovery(make_link):
    """(3042) Two duplicates let new segments out; (5681 3.2) ssthresh is half of the flight; (6937) the window goes
    down in proportion: one segment for two duplicates."""
    link = make_link(tcp_congestion_control="reno")
    conn = lose_first(link, segments=10)
    conn.send(bytes(10_000))
    link.expect_silence()                               # the initial window is full
    t = link.tcb(conn)
    for seq in (10_001, 11_001):
        link.peer_sends(ACK, ack=1)
        link.expect(ACK, seq=seq, size=1000)
    link.peer_sends(ACK, ack=1)
    link.expect(ACK, seq=1, size=1000)
    assert t.cc.ssthresh == 6000
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    sent = 0
    for _ in range(8):
        link.peer_sends(ACK, ack=1)
        sent += len(link.drain())
    assert 3 <= sent <= 5
    link.peer_sends(ACK, ack=12_001)                    # full acknowledgement of `recover`
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert t.cc.cwnd <= 6000


def test_partial_acknowledgment(link):
    """(6582 3.2 step 3) Two segments of one window are lost: the second is sent again without a timeout."""
    conn = lose_first(link, segments=10)
    t = link.tcb(conn)
    for _ in range(3):
        link.peer_sends(ACK, ack=1)
    link.expect(ACK, seq=1, size=1000)
    for _ in range(4):
        link.peer_sends(ACK, ack=1)
    link.peer_sends(ACK, ack=5001)                      # ... and 5001 is lost, too
    link.expect(ACK, seq=5001, size=1000)
    link.expect_silence()
    assert Ca(t.cc.ca_state) is Ca.RECOVERY
    link.peer_sends(ACK, ack=10_001)
    link.expect_silence(10)
    assert Ca(t.cc.ca_state) is Ca.OPEN
    assert link.counter("timeouts") == 0


def test_first_partial_ack_restarts_the_timer_only_once(link):
    """(6582 3.2 step 3) "the Impatient variant": a long series of losses ends in a timeout."""
    lose_first(link, segments=10)
    for _ in range(3):
        link.peer_sends(ACK, ack=1)
    link.expect(ACK, seq=1, size=1000)
    link.advance(0.15)
    link.peer_sends(ACK, ack=2001)
    link.expect(ACK, seq=2001, size=1000)


def test_duplicates_after_a_timeout_are_echoes(link):
    """(6582 4.1) No fast retransmit for what was sent before the timeout."""
    lose_first(link)
    link.expect(ACK, seq=1, size=1000, after=0.2)
    for _ in range(6):
        link.peer_sends(ACK, ack=1)
    link.expect_silence()
    assert link.counter("fast_retransmits") == 0


def test_fast_retransmit_works_again_after_a_timeout(link):
    conn = lose_first(link)
    link.expect(ACK, seq=1, size=1000, after=0.2)
    link.peer_sends(ACK, ack=8001)
    link.tcb(conn).cc.cwnd = 20_000
    conn.send(bytes(8000))
    link.drain()
    link.peer_sends(ACK, ack=9001)                      # beyond `recover`
    for _ in range(3):
        link.peer_sends(ACK, ack=9001)
    link.expect(ACK, seq=9001, size=1000)


def test_probe_answers_are_not_duplicates(link):
    """A closed window is no congestion."""
    conn = link.established(wnd=1000, mss=1000)
    conn.send(bytes(3000))
    link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=0)
    before = link.tcb(conn).cc.cwnd
    for _ in range(5):
        link.advance(7)
        link.drain()
        link.peer_sends(ACK, ack=1001, wnd=0)
    assert link.tcb(conn).cc.cwnd == before
    assert link.counter("fast_retransmits") == 0


# ---- slow start and congestion avoidance


def test_slow_start(make_link):
    """(5681 3.1) Each ACK lets the window grow by what it acknowledges, at most two segments (RFC 3465)."""
    link = make_link(tcp_congestion_control="reno")
    conn = link.established(mss=1000, wscale=7)
    conn.send(bytes(100_000))
    assert len(link.drain()) == 10
    link.peer_sends(ACK, ack=2001)
    assert len(link.drain()) == 4
    link.peer_sends(ACK, ack=3001)
    assert len(link.drain()) == 2
    link.peer_sends(ACK, ack=10_001)
    assert link.tcb(conn).cc.cwnd == 15_000


def test_congestion_avoidance(make_link):
    """(5681 3.1) One segment for each window."""
    link = make_link(tcp_congestion_control="reno")
    conn = link.established(mss=1000, wscale=7)
    t = link.tcb(conn)
    t.cc.ssthresh = 10_000
    conn.send(bytes(200_000))
    acked = 1
    for expected in (11_000, 12_000, 13_000):
        flight = t.cc.cwnd
        link.drain()
        for _ in range(flight // 1000):
            acked += 1000
            link.peer_sends(ACK, ack=acked)
        assert t.cc.cwnd == expected
    link.drain()


def test_timeout_halves_the_threshold_once(make_link):
    """(5681 3.1, eq. 4) A second expiration for the same segment leaves ssthresh."""
    link = make_link(tcp_congestion_control="reno")
    conn = lose_first(link, segments=8)
    t = link.tcb(conn)
    link.expect(ACK, seq=1, size=1000, after=0.2)
    assert (t.cc.cwnd, t.cc.ssthresh) == (1000, 4000)
    link.expect(ACK, seq=1, size=1000, after=0.4)
    assert (t.cc.cwnd, t.cc.ssthresh) == (1000, 4000)


def test_window_does_not_grow_unused(link):
    """RFC 7661: an application that sends little proves nothing."""
    conn = link.established(mss=1000)
    before = link.tcb(conn).cc.cwnd
    for _ in range(50):
        conn.send(b"x")
        link.expect(ACK, data=b"x")
        link.peer_sends(ACK)
    assert link.tcb(conn).cc.cwnd == before


def test_lost_data_and_fin(link):
    """Everything at the end is lost: the timer brings it, the FIN included."""
    conn = link.established(mss=1000)
    conn.send(bytes(1500))
    link.drain()
    conn.close()
    link.expect(FIN | ACK, seq=1501)
    link.expect(ACK, seq=1, size=1000, after=0.2)
    link.peer_sends(ACK, ack=1001)
    link.expect(FIN | ACK, seq=1001, size=500)
    link.peer_sends(ACK, ack=1502)
    assert link.state() == State.FIN_WAIT_2
