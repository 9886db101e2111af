"""Urgent data: RFC 9293 3.8.5 and RFC 6093: it stays in the stream, the pointer follows the last urgent byte."""
from __future__ import annotations

import socket as real

import pytest

from .link import ACK, URG


def pri(conn):
    """Whether the socket shows POLLPRI."""
    return bool(conn._stack.select([], [], [conn], 0)[2])


def test_urgent_data_is_sent_with_a_pointer(each_link):
    link = each_link
    conn = link.established()
    conn.send(b"abc", real.MSG_OOB)
    link.expect(ACK | URG, seq=1, up=3, data=b"abc")
    link.peer_sends(ACK)
    conn.send(b"def")
    link.expect(ACK, seq=4, data=b"def")


def test_pointer_ahead_of_the_segment(link):
    """MUST-30, MUST-31: every segment up to the urgent byte says so; any length."""
    conn = link.established(mss=1000)
    conn.send(bytes(2500), real.MSG_OOB)
    for left in (2500, 1500, 500):
        link.expect(ACK | URG, size=min(left, 1000), up=left)


def test_pointer_is_repeated_with_a_retransmission(link):
    conn = link.established()
    conn.send(b"abc", real.MSG_OOB)
    link.expect(ACK | URG, up=3, data=b"abc")
    link.expect(ACK | URG, up=3, data=b"abc", after=0.2)


def test_far_pointer_is_cut(link):
    conn = link.established(mss=1000, wscale=4)
    conn.send(bytes(100_000), real.MSG_OOB)
    assert link.expect(ACK | URG, size=1000).up == 0xFFFF


def test_pointer_is_received(each_link):
    link = each_link
    conn = link.established()
    assert not pri(conn)
    link.peer_sends(ACK | URG, up=3, data=b"abc")
    assert pri(conn)
    assert conn.recv(2) == b"ab"
    assert pri(conn)
    assert conn.recv(2) == b"c"                         # in line (RFC 6093 section 4)
    assert not pri(conn)


def test_pointer_ahead_of_its_data(link):
    """MUST-32: the application is told as soon as the pointer comes."""
    conn = link.established()
    link.peer_sends(ACK | URG, up=10)
    assert pri(conn)
    link.peer_sends(ACK, data=b"0123456789")
    assert conn.recv(9) == b"012345678"
    assert pri(conn)
    conn.recv(1)
    assert not pri(conn)


def test_old_pointer_is_no_news(link):
    conn = link.established()
    link.peer_sends(ACK, data=b"abcdef")
    conn.recv(10)
    link.peer_sends(ACK | URG, seq=101, up=3, data=b"abcdef")
    link.peer_sends(ACK | URG, seq=107, up=0)
    assert not pri(conn)


def test_second_pointer_moves_the_first(link):
    conn = link.established()
    link.peer_sends(ACK | URG, up=3, data=b"abc")
    link.peer_sends(ACK | URG, up=2, data=b"de")
    assert conn.recv(4) == b"abcd"
    assert pri(conn)
    assert conn.recv(4) == b"e"
    assert not pri(conn)


def test_urgent_works_after_two_gigabytes(link):
    """RCV.UP and SND.UP stay behind when nothing is urgent: they must not seem to be ahead one day."""
    conn = link.established()
    for _ in range(2):
        link.leap(conn, 0x4800_0000)
        conn.send(b"x")
        link.expect(ACK, data=b"x")                     # no URG
        link.peer_sends(ACK)
    t = link.tcb(conn)
    t.rcv_up = (t.rcv_nxt - 0x9000_0000) & 0xFFFF_FFFF
    link.peer_sends(ACK | URG, up=1, data=b"!")
    assert pri(conn)


def test_msg_oob_cannot_be_received_apart(link):
    conn = link.established()
    link.peer_sends(ACK | URG, up=1, data=b"!")
    with pytest.raises(OSError, match="Invalid argument"):
        conn.recv(1, real.MSG_OOB)


def test_pointer_without_urgent_flag_means_nothing(link):
    conn = link.established()
    link.peer_sends(ACK, up=5, data=b"abc")
    assert not pri(conn)
