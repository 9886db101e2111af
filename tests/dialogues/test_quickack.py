"""When ACKs go at once (tcp/quickack.py), as Linux; RFC 9293 3.8.6.3, RFC 5681 4.2."""
from __future__ import annotations

import selectors
import socket as real

from .link import ACK, PSH, SYN

QUICKACK = real.IPPROTO_TCP, real.TCP_QUICKACK


def test_the_first_segments_are_acknowledged_at_once(each_link):
    link = each_link
    link.established(quick=True)
    for i in range(16):
        link.peer_sends(ACK | PSH, data=b"x" * 600)
        link.expect(ACK, ack=101 + 600 * (i + 1))
    link.peer_sends(ACK | PSH, data=b"x" * 600)
    link.expect_silence(0.039)
    link.advance(0.001)
    link.expect(ACK)


def test_after_a_pause_again(link):
    link.established()
    link.peer_sends(ACK | PSH, data=b"x")
    link.expect(ACK, after=0.04)
    link.advance(2)
    link.peer_sends(ACK | PSH, data=b"x")
    link.expect(ACK)


def test_one_way_traffic_does_not_wait(link):
    """Each small write is acknowledged when it has been read: a peer with Nagle's rule sends the next."""
    conn = link.established()
    for _ in range(30):
        link.peer_sends(ACK | PSH, data=b"tick")
        assert conn.recv(10) == b"tick"
        link.expect(ACK)


def test_the_answer_carries_the_ack(link):
    conn = link.established(quick=True)
    for i in range(10):
        link.peer_sends(ACK | PSH, data=b"question")
        assert conn.recv(100) == b"question"
        if i == 0:
            link.expect(ACK)                            # the first: nobody knows yet that it will be answered
        conn.send(b"answer")
        link.expect(ACK, data=b"answer", ack=101 + 8 * (i + 1))
    link.peer_sends(ACK)
    link.expect_silence(1)


def test_quickack_ends_ping_pong(link):
    conn = link.established()
    assert conn.getsockopt(*QUICKACK) == 1
    conn.setsockopt(*QUICKACK, 0)
    assert conn.getsockopt(*QUICKACK) == 0
    link.peer_sends(ACK | PSH, data=b"x")
    conn.recv(1)
    link.expect_silence()
    conn.setsockopt(*QUICKACK, 1)
    link.expect(ACK, ack=102)
    assert conn.getsockopt(*QUICKACK) == 1


def test_the_peers_segments_count_not_ours(link):
    """Every second segment of a peer that sends smaller ones than we would."""
    link.established()
    link.tcb(link.accepted).quick.mss = 536
    for i in range(4):
        link.peer_sends(ACK, data=bytes(700))
        link.expect_silence()
        link.peer_sends(ACK, data=bytes(700))
        link.expect(ACK, ack=101 + 1400 * (i + 1))


def test_empty_segment_at_the_right_edge(link):
    """A peer that has filled the window acknowledges from there (Linux: tcp_sequence)."""
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    t = link.tcb(conn)
    link.peer_sends(ACK, seq=t.rcv_adv, ack=4)
    link.expect_silence(5)
    assert t.snd_una == t.snd_max


def test_a_selectors_thread_gets_a_moment_for_the_answer(link):
    conn = link.established(quick=True)
    with link.stack.selector() as selector:
        selector.register(conn, selectors.EVENT_READ)
        link.peer_sends(ACK | PSH, data=b"question")
        link.expect_silence()
        assert selector.select(0)
        assert conn.recv(100) == b"question"
        link.expect_silence()
        conn.send(b"answer")
        link.expect(ACK | PSH, ack=109, data=b"answer")
        link.peer_sends(ACK, ack=7)
        link.expect_silence(0.1)


def test_so_it_does_when_the_listener_is_in_a_selector(link):
    """The question came before the connection was accepted."""
    server = link.listen()
    server.setblocking(False)
    with link.stack.selector() as selector:
        selector.register(server, selectors.EVENT_READ)
        link.peer_sends(SYN, seq=100, ack=None, mss=1460)
        link.expect(SYN | ACK, ack=101)
        link.peer_sends(ACK, seq=101, ack=1)
        link.peer_sends(ACK | PSH, seq=101, ack=1, data=b"question")
        link.expect_silence()
        conn = link.accept()
        selector.register(conn, selectors.EVENT_READ)
        assert conn.recv(100) == b"question"
        link.expect_silence()
        conn.send(b"answer")
        link.expect(ACK | PSH, ack=109, data=b"answer")


def test_nobody_accepts_within_a_millisecond(link):
    server = link.listen()
    with link.stack.selector() as selector:
        selector.register(server, selectors.EVENT_READ)
        link.peer_sends(SYN, seq=100, ack=None, mss=1460)
        link.expect(SYN | ACK, ack=101)
        link.peer_sends(ACK, seq=101, ack=1)
        link.peer_sends(ACK | PSH, seq=101, ack=1, data=b"question")
        link.expect_silence(0.0009)
        link.advance(0.0001)
        link.expect(ACK, ack=109)


def test_but_not_more_than_a_millisecond(link):
    conn = link.established(quick=True)
    with link.stack.selector() as selector:
        selector.register(conn, selectors.EVENT_READ)
        for i in range(3):                              # nor does it count as a delayed ACK, which grow
            link.peer_sends(ACK | PSH, data=b"x" * 600)
            link.expect_silence(0.0009)
            link.advance(0.0001)
            link.expect(ACK, ack=101 + 600 * (i + 1))
        for _ in range(2):                              # two segments: at once, as ever
            link.peer_sends(ACK, data=b"x" * 600)
        link.expect(ACK, ack=101 + 3000)
