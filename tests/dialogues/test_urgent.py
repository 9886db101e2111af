"""Urgent data: RFC 9293 3.8.5 and RFC 6093: the pointer follows the last urgent byte; MSG_OOB and the mark as Linux."""
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
    conn = link.established(mss=1000, wscale=4, SO_SNDBUF=100_000)
    conn.send(bytes(100_000), real.MSG_OOB)
    assert link.expect(ACK | URG, size=1000).up == 0xFFFF


def test_pointer_is_received(each_link):
    link = each_link
    conn = link.established()
    assert not pri(conn)
    link.peer_sends(ACK | URG, up=3, data=b"abc")
    assert pri(conn)
    assert not conn.sockatmark()
    assert conn.recv(10) == b"ab"                       # a read stops before it
    assert conn.sockatmark()
    assert pri(conn)
    with pytest.raises(BlockingIOError):
        conn.recv(10)                                   # c is not part of the stream
    assert not pri(conn)


def test_pointer_ahead_of_its_data(link):
    """The mark stands as soon as the pointer comes; what is urgent can be had when its byte is here."""
    conn = link.established()
    link.peer_sends(ACK | URG, up=10)
    assert not pri(conn)
    with pytest.raises(BlockingIOError):
        conn.recv(1, real.MSG_OOB)
    link.peer_sends(ACK, data=b"01234")
    assert not pri(conn)
    link.peer_sends(ACK, data=b"56789ab")
    assert pri(conn)
    assert conn.recv(100) == b"012345678"
    assert conn.recv(1, real.MSG_OOB) == b"9"
    assert not pri(conn)
    assert conn.sockatmark()
    with pytest.raises(OSError, match="Invalid argument"):
        conn.recv(1, real.MSG_OOB)                      # once
    assert conn.recv(100) == b"ab"
    assert not conn.sockatmark()


def test_old_pointer_is_no_news(link):
    conn = link.established()
    link.peer_sends(ACK, data=b"abcdef")
    conn.recv(10)
    link.peer_sends(ACK | URG, seq=101, up=3, data=b"abcdef")
    link.peer_sends(ACK | URG, seq=107, up=0)
    assert not pri(conn)


def test_second_pointer_moves_the_first(link):
    """Linux: only the last one counts; one that the reader has not reached becomes part of the stream."""
    conn = link.established()
    link.peer_sends(ACK | URG, up=3, data=b"abc")
    link.peer_sends(ACK | URG, up=2, data=b"de")
    assert conn.recv(10) == b"abcd"
    assert conn.recv(1, real.MSG_OOB) == b"e"
    assert not pri(conn)


def test_second_pointer_while_the_reader_stands_at_the_first(link):
    """... and one that it stands before is gone."""
    conn = link.established()
    link.peer_sends(ACK | URG, up=3, data=b"abc")
    assert conn.recv(10) == b"ab"
    link.peer_sends(ACK | URG, up=3, data=b"def")
    assert not conn.sockatmark()
    assert conn.recv(10) == b"de"
    assert conn.sockatmark()
    assert conn.recv(10, real.MSG_OOB) == b"f"
    link.peer_sends(ACK, data=b"ghi")
    assert conn.recv(10) == b"ghi"


def test_in_line(link):
    """SO_OOBINLINE: the urgent byte stays in the stream; a read still stops before it."""
    conn = link.established()
    conn.setsockopt(real.SOL_SOCKET, real.SO_OOBINLINE, 1)
    link.peer_sends(ACK | URG, up=3, data=b"abcd")
    assert pri(conn)
    with pytest.raises(OSError, match="Invalid argument"):
        conn.recv(1, real.MSG_OOB)
    assert conn.recv(10) == b"ab"
    assert conn.sockatmark()
    assert conn.recv(10) == b"cd"
    assert not pri(conn)


def test_peek_takes_nothing(link):
    conn = link.established()
    link.peer_sends(ACK | URG, up=2, data=b"abc")
    assert conn.recv(10, real.MSG_PEEK) == b"a"
    assert conn.recv(1, real.MSG_OOB | real.MSG_PEEK) == b"b"
    assert conn.recv(1, real.MSG_OOB) == b"b"
    assert conn.recv(1) == b"a"
    assert conn.recv(10, real.MSG_PEEK) == b"c"
    assert conn.recv(10) == b"c"


def test_out_of_order(link):
    """The urgent byte is had before what is missing ahead of it."""
    conn = link.established()
    link.peer_sends(ACK | URG, seq=104, up=1, data=b"d")
    assert pri(conn)
    assert conn.recv(1, real.MSG_OOB) == b"d"
    link.peer_sends(ACK, seq=101, data=b"abc")
    link.peer_sends(ACK, seq=105, data=b"e")
    assert conn.recv(10) == b"abc"
    assert conn.recv(10) == b"e"


def test_urgent_works_after_two_gigabytes(link):
    """RCV.UP and SND.UP stay behind when nothing is urgent: they must not seem to be ahead one day."""
    conn = link.established()
    for _ in range(2):
        link.leap(conn, 0x4800_0000)
        conn.send(b"x")
        link.expect(ACK, data=b"x")                     # no URG
        link.peer_sends(ACK)
    link.peer_sends(ACK | URG, up=1, data=b"!")
    assert pri(conn)


def test_nothing_is_urgent(link):
    conn = link.established()
    link.peer_sends(ACK, data=b"!")
    with pytest.raises(OSError, match="Invalid argument"):
        conn.recv(1, real.MSG_OOB)


def test_pointer_without_urgent_flag_means_nothing(link):
    conn = link.established()
    link.peer_sends(ACK, up=5, data=b"abc")
    assert not pri(conn)
