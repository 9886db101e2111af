"""Keepalive: RFC 9293 section 3.8.4, with Linux's options."""
from __future__ import annotations

import errno
import socket as real

import pytest

from .link import ACK, RST, State

OPTIONS = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


def test_idle_connection_is_probed_and_given_up(each_link):
    """<SEQ=SND.NXT-1>, no text."""
    link = each_link
    conn = link.established(**OPTIONS)
    link.expect(ACK, seq=0, ack=101, after=10)
    link.expect(ACK, seq=0, ack=101, after=5)
    link.expect(ACK, seq=0, ack=101, after=5)
    link.advance(4.999)
    assert link.state() == State.ESTABLISHED
    link.advance(0.001)
    assert link.state() == State.CLOSED
    link.expect(RST | ACK)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ETIMEDOUT


def test_answer_starts_the_clock_anew(link):
    link.established(**OPTIONS)
    for _ in range(5):
        link.expect(ACK, seq=0, after=10)
        link.expect(ACK, seq=0, after=5)
        link.peer_sends(ACK)


def test_text_starts_the_clock_anew(link):
    conn = link.established(**OPTIONS)
    link.advance(8)
    link.peer_sends(ACK, data=b"x")
    conn.recv(1)
    link.expect(ACK, ack=102)
    link.expect(ACK, seq=0, ack=102, after=10)


def test_off_by_default(link):
    """MUST-25."""
    link.established()
    link.expect_silence(8000)


def test_two_hours_by_default(link):
    """MUST-28."""
    link.established(SO_KEEPALIVE=1)
    link.expect(ACK, seq=0, after=7200)
    link.expect(ACK, seq=0, after=75)


def test_may_be_switched_on_and_off_later(link):
    conn = link.established()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_KEEPIDLE, 10)
    conn.setsockopt(real.SOL_SOCKET, real.SO_KEEPALIVE, 1)
    link.expect(ACK, seq=0, after=10)
    conn.setsockopt(real.SOL_SOCKET, real.SO_KEEPALIVE, 0)
    link.expect_silence(1000)


@pytest.mark.parametrize("length", [0, 1])
def test_we_answer_the_peers(each_link, length):
    """<SEQ=RCV.NXT-1>, with or without the garbage byte."""
    link = each_link
    conn = link.established()
    link.peer_sends(ACK, data=b"hello")
    conn.recv(10)
    link.expect(ACK)
    for _ in range(5):
        link.peer_sends(ACK, seq=105, data=bytes(length))
        link.expect(ACK, seq=1, ack=106)
    with pytest.raises(BlockingIOError):
        conn.recv(10)


def test_retransmission_takes_its_place(link):
    """While text is unacknowledged the retransmission timer decides."""
    conn = link.established(**OPTIONS)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.advance(60)
    assert all(seg.data == b"abc" for seg in link.drain())
    assert link.state() == State.ESTABLISHED
    link.peer_sends(ACK)
    link.advance(9)
    link.expect_silence()
