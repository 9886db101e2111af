"""TCP_USER_TIMEOUT: RFC 5482, RFC 9293 3.8.3, tcp(7), with Linux's rules (tcp_timer.c)."""
from __future__ import annotations

import errno
import socket as real

import pytest

from .link import ACK, FIN, SYN, State

SO_ERROR = (real.SOL_SOCKET, real.SO_ERROR)
TIMEOUT = (real.IPPROTO_TCP, 18)


def ends_after(link, conn, seconds):
    """The connection is there until then, and not a moment longer."""
    link.advance(seconds - 0.01)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.advance(0.02)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT
    link.drain()


def test_3_it_takes_the_place_of_the_number_of_retransmissions(make_link):
    """Longer than tcp_retries2 would allow: "the USER_TIMEOUT ... overrides"."""
    link = make_link(tcp_retries2=3)
    conn = link.established(TCP_USER_TIMEOUT=100_000)
    conn.send(b"abc")
    ends_after(link, conn, 100)


def test_3_and_is_as_good_as_it_gets_after_2000_seconds(link):
    conn = link.established(TCP_USER_TIMEOUT=2_000_000)
    conn.send(b"abc")
    ends_after(link, conn, 2000)


def test_retries_without_it(make_link):
    link = make_link(tcp_retries2=3)
    conn = link.established()
    conn.send(b"abc")
    ends_after(link, conn, 0.2 + 0.4 + 0.8 + 1.6 + 3.2)


@pytest.mark.parametrize("first", [1, 150])
def test_what_was_sent_once_is_sent_once_more(link, first):
    """A user timeout below the retransmission timeout does not end a connection for one lost segment."""
    conn = link.established(TCP_USER_TIMEOUT=first)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.expect(ACK, data=b"abc", after=0.2)
    link.peer_sends(ACK)
    link.expect_silence(100)
    assert link.state() == State.ESTABLISHED
    conn.send(b"def")
    link.drain()
    ends_after(link, conn, 0.2)


def test_syn_sent(link):
    """Shorter than the first timeout: one SYN more."""
    conn = link.connect(TCP_USER_TIMEOUT=300)
    link.expect(SYN)
    link.expect(SYN, after=1)
    ends_after(link, conn, 0.01)


def test_syn_sent_has_both_limits(link):
    """As Linux: TCP_SYNCNT ends it as well."""
    conn = link.connect(TCP_USER_TIMEOUT=60_000, TCP_SYNCNT=1)
    link.expect(SYN)
    link.expect(SYN, after=1)
    ends_after(link, conn, 2)


def test_its_time_does_not_go_on_after_the_handshake(link):
    conn = link.established(active=True, TCP_USER_TIMEOUT=2000)
    link.expect_silence(1000)
    conn.send(b"abc")
    ends_after(link, conn, 2)


# ---- set while something waits


def test_set_while_data_is_outstanding(link):
    """It counts from the beginning of the wait."""
    conn = link.established()
    conn.send(b"abc")
    link.advance(1)
    conn.setsockopt(*TIMEOUT, 3000)
    ends_after(link, conn, 2)


def test_set_when_its_time_is_over_already(link):
    """The next timeout of the retransmission timer ends it: 0.2, 0.6, 1.4, 3.0, 6.2 s."""
    conn = link.established()
    conn.send(b"abc")
    link.advance(4)
    conn.setsockopt(*TIMEOUT, 1000)
    ends_after(link, conn, 2.2)


def test_taken_away_while_data_is_outstanding(link):
    conn = link.established(TCP_USER_TIMEOUT=3000)
    conn.send(b"abc")
    link.advance(1)
    conn.setsockopt(*TIMEOUT, 0)
    link.advance(100)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.drain()


def test_progress_gives_all_the_time_again(link):
    conn = link.established(mss=1000, TCP_USER_TIMEOUT=5000)
    conn.send(bytes(2000))
    link.advance(4)
    link.peer_sends(ACK, ack=1001)
    ends_after(link, conn, 5)


def test_a_fin_is_waited_for_no_longer(link):
    conn = link.established(TCP_USER_TIMEOUT=3000)
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK)
    ends_after(link, conn, 3)


def test_an_orphan_has_it_too(make_link):
    """... instead of tcp_orphan_retries."""
    link = make_link(tcp_orphan_retries=1)
    link.established(TCP_USER_TIMEOUT=10_000).close()
    link.advance(9.9)
    assert link.state() == State.FIN_WAIT_1
    link.advance(0.2)
    assert link.state() == State.CLOSED
    link.drain()


# ---- windows that stay shut


def test_zero_window_though_the_peer_answers(link):
    """tcp(7): "or buffered data may remain untransmitted (due to zero window size)"; from the first probe on."""
    conn = link.established(wnd=0, TCP_USER_TIMEOUT=3000)
    conn.send(b"abc")
    link.expect(ACK, data=b"a", after=0.2)
    for _ in range(29):
        link.peer_sends(ACK, ack=1)
        link.advance(0.1)
    assert conn.getsockopt(*SO_ERROR) == 0
    link.peer_sends(ACK, ack=1)
    link.advance(0.11)
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT
    link.drain()


def test_a_window_that_opens_ends_the_wait(link):
    conn = link.established(wnd=0, TCP_USER_TIMEOUT=3000)
    conn.send(b"abc")
    link.expect(ACK, data=b"a", after=0.2)
    link.advance(2.5)
    link.drain()
    link.peer_sends(ACK, ack=1, wnd=1000)
    link.expect(ACK, seq=1, data=b"abc")
    link.peer_sends(ACK, ack=4)
    link.advance(100)
    assert conn.getsockopt(*SO_ERROR) == 0


# ---- keepalive


KEEPALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5}


def test_keepalive_counts_time_instead_of_probes(link):
    """tcp(7): "TCP_USER_TIMEOUT will override keepalive to determine when to close a connection"."""
    conn = link.established(TCP_USER_TIMEOUT=22_000, TCP_KEEPCNT=1, **KEEPALIVE)
    for after in (10, 5, 5):
        link.expect(ACK, seq=0, after=after)
    ends_after(link, conn, 5)


def test_keepalive_sends_one_probe_at_least(link):
    conn = link.established(TCP_USER_TIMEOUT=1000, TCP_KEEPCNT=9, **KEEPALIVE)
    link.expect(ACK, seq=0, after=10)
    ends_after(link, conn, 5)


def test_keepalive_that_is_answered(link):
    link.established(TCP_USER_TIMEOUT=12_000, TCP_KEEPCNT=1, **KEEPALIVE)
    for _ in range(10):
        link.expect(ACK, seq=0, after=10)
        link.peer_sends(ACK)
    assert link.state() == State.ESTABLISHED


def test_negative_is_refused(link):
    with pytest.raises(OSError, match="Invalid argument"):
        link.socket().setsockopt(*TIMEOUT, -1)
