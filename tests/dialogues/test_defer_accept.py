"""TCP_DEFER_ACCEPT and TCP_SYNCNT: tcp(7), as Linux has them (inet_connection_sock.c, tcp_minisocks.c)."""
from __future__ import annotations

import socket as real

import pytest

from .link import ACK, FIN, SYN, State

DEFER = (real.IPPROTO_TCP, real.TCP_DEFER_ACCEPT)


def half_open(link, seconds, **options):
    """The peer's ACK of our SYN-ACK has come, and nothing else."""
    link.listen(TCP_DEFER_ACCEPT=seconds, **options)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(ACK, ack=1)
    link.expect_silence()


def nobody(link):
    with pytest.raises(BlockingIOError):
        link.server.accept()


@pytest.mark.parametrize(("told", "read"), [(0, 0), (-1, 0), (1, 1), (2, 3), (3, 3), (4, 7), (8, 15), (127, 127),
                                            (128, 247), (1000, 1087), (1 << 30, 29887)])
def test_seconds_become_timeouts(link, told, read):
    """1 + 2 + 4 + ... seconds, as far as 120 s each, rounded up; at most 255."""
    sock = link.socket()
    sock.setsockopt(*DEFER, told)
    assert sock.getsockopt(*DEFER) == read


def test_bare_ack_makes_no_connection(each_link):
    link = each_link
    half_open(link, 10)
    assert link.state() == State.SYN_RECEIVED
    assert link.counter("defer_accept_drops") == 1
    nobody(link)
    link.peer_sends(ACK, data=b"hello")
    conn = link.accept()
    assert conn.recv(10) == b"hello"
    link.expect(ACK, seq=1, ack=106)


def test_text_with_the_ack(link):
    link.listen(TCP_DEFER_ACCEPT=10)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.peer_sends(ACK, ack=1, data=b"at once")
    assert link.accept().recv(10) == b"at once"


def test_fin_is_as_good_as_text(link):
    half_open(link, 10)
    link.peer_sends(FIN | ACK)
    assert link.accept().recv(10) == b""


def test_syn_ack_is_not_sent_again_but_for_the_last_time(link):
    """Four timeouts (1, 2, 4 and 8 s): silence at the first three; after the fourth an ACK is enough."""
    half_open(link, 10)
    link.expect(SYN | ACK, seq=0, after=15)
    nobody(link)
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED
    link.accept()


def test_peer_that_says_nothing_more(link):
    """... and without that ACK it is given up as any other, after tcp_synack_retries timeouts."""
    half_open(link, 10)
    link.expect(SYN | ACK, seq=0, after=15)
    link.expect(SYN | ACK, seq=0, after=16)
    link.advance(32)
    assert link.states() == {}
    nobody(link)


def test_peer_that_did_not_acknowledge_gets_the_syn_ack_again(link):
    link.listen(TCP_DEFER_ACCEPT=10)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.expect(SYN | ACK, after=1)
    link.expect(SYN | ACK, after=2)
    link.peer_sends(ACK, ack=1)
    link.expect_silence(3.9)
    nobody(link)


def test_a_long_wait_outlasts_the_retries(make_link):
    """Who has acknowledged is waited for as long as the option says, be tcp_synack_retries ever so small."""
    link = make_link(tcp_synack_retries=1)
    half_open(link, 10)
    link.advance(10)
    assert link.state() == State.SYN_RECEIVED
    link.peer_sends(ACK, data=b"late")
    assert link.accept().recv(10) == b"late"


def test_who_connects_lets_text_carry_the_ack(each_link):
    link = each_link
    conn = link.connect(TCP_DEFER_ACCEPT=1)
    link.expect(SYN)
    link.peer_sends(SYN | ACK, seq=100, ack=1, mss=1460)
    link.expect_silence(0.1)
    conn.send(b"request")
    link.expect(ACK, seq=1, ack=101, data=b"request")


def test_who_connects_and_says_nothing(link):
    link.connect(TCP_DEFER_ACCEPT=1)
    link.expect(SYN)
    link.peer_sends(SYN | ACK, seq=100, ack=1, mss=1460)
    link.expect(ACK, seq=1, ack=101, after=0.2)


# ---- TCP_SYNCNT


@pytest.mark.parametrize("value", [0, 128, -1])
def test_syncnt_is_1_to_127(link, value):
    with pytest.raises(OSError, match="Invalid argument"):
        link.socket().setsockopt(real.IPPROTO_TCP, real.TCP_SYNCNT, value)


def test_syncnt_of_a_listener_counts_its_syn_acks(link):
    """As Linux: icsk_syn_retries, else tcp_synack_retries."""
    link.listen(TCP_SYNCNT=2)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.expect(SYN | ACK, after=1)
    link.expect(SYN | ACK, after=2)
    link.advance(3.999)
    assert link.state() == State.SYN_RECEIVED
    link.expect_silence(0.001)
    assert link.states() == {}


def test_syncnt_in_a_simultaneous_open(link):
    link.connect(TCP_SYNCNT=1)
    link.expect(SYN)
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.expect(SYN | ACK, after=1)
    link.expect_silence(2)
    assert link.state() == State.CLOSED
