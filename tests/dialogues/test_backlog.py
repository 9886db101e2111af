"""The SYN queue and the accept queue: listen(2); RFC 9293 3.9.1.1."""
from __future__ import annotations

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, RST, SYN, State


def handshake(link, port):
    link.peer_sends(SYN, seq=100, mss=1460, port=port)
    link.expect(SYN | ACK, ack=101, port=port)
    link.peer_sends(ACK, ack=1, port=port)


def test_connections_come_in_order(link):
    link.listen()
    for port in (40001, 40002, 40003):
        handshake(link, port)
    assert [link.accept().getpeername()[1] for _ in range(3)] == [40001, 40002, 40003]
    with pytest.raises(BlockingIOError):
        link.server.accept()


def test_accept_queue_is_bounded(each_link):
    """As on Linux: backlog + 1 connections wait; the next SYN is dropped, and comes again."""
    link = each_link
    link.listen(backlog=1)
    for port in (40001, 40002):
        handshake(link, port)
    link.peer_sends(SYN, seq=100, mss=1460, port=40003)
    link.expect_silence()
    assert link.drops(Drop.TCP_ACCEPT_QUEUE) == 1
    assert link.counter("listen_drops") == 1
    link.accept()
    link.peer_sends(SYN, seq=100, mss=1460, port=40003)
    link.expect(SYN | ACK, port=40003)


def test_queue_fills_up_during_a_handshake(link):
    """The third segment finds no place: it is dropped, our SYN-ACK comes again, and then it fits."""
    link.listen(backlog=0)
    for port in (40001, 40002):
        link.peer_sends(SYN, seq=100, mss=1460, port=port)
        link.expect(SYN | ACK, port=port)
    link.peer_sends(ACK, ack=1, port=40001)
    link.peer_sends(ACK, ack=1, port=40002)
    assert link.states() == {40001: State.ESTABLISHED, 40002: State.SYN_RECEIVED}
    link.accept()
    link.expect(SYN | ACK, port=40002, after=1)
    link.peer_sends(ACK, ack=1, port=40002)
    assert link.state(40002) == State.ESTABLISHED
    link.accept()


def test_syn_queue_is_bounded(make_link):
    link = make_link(tcp_max_syn_backlog=3, tcp_syncookies=0)
    link.listen(backlog=100)
    for port in (40001, 40002, 40003):
        link.peer_sends(SYN, seq=100, port=port)
        link.expect(SYN | ACK, port=port)
    link.peer_sends(SYN, seq=100, port=40004)
    link.expect_silence()
    assert link.drops(Drop.TCP_SYN_QUEUE) == 1
    link.peer_sends(RST, seq=101, port=40001)
    link.peer_sends(SYN, seq=100, port=40004)
    link.expect(SYN | ACK, port=40004)


def test_half_open_connections_go_away(make_link):
    link = make_link(tcp_max_syn_backlog=3, tcp_synack_retries=1)
    link.listen()
    for port in (40001, 40002, 40003):
        link.peer_sends(SYN, seq=100, port=port)
    link.advance(3)
    assert link.states() == {}
    link.drain()
    link.peer_sends(SYN, seq=100, port=40004)
    link.expect(SYN | ACK, port=40004)


def test_connection_table_is_full(make_link):
    import netstack

    link = make_link(profile=netstack.Profile(connections=4, sockets=4, buffers=16 << 20, neighbours=4))
    link.listen()
    for port in (40001, 40002):
        handshake(link, port)
    link.peer_sends(SYN, seq=100, port=40003)
    link.expect_silence()
    assert link.drops(Drop.TCP_TABLE) == 1
    with pytest.raises(OSError, match="open files"):
        link.socket()


def test_no_memory_for_a_buffer(make_link):
    """Text that finds no buffer is not acknowledged; the connection lives, and goes on when there is memory again."""
    import netstack

    link = make_link(profile=netstack.Profile(connections=8, sockets=4, buffers=140 << 10, neighbours=4))
    a = link.established(port=40001)
    b = link.established(port=40002)
    c = link.established(port=40003)
    for port in (40001, 40002, 40003):
        link.peer_sends(ACK, ack=1, data=b"x" * 100, port=port)
        link.advance(0.05)
    acks = {seg.dport: seg.ack for seg in link.drain()}
    assert acks == {40001: 201, 40002: 201, 40003: 101}
    assert a.recv(1000) == b.recv(1000) == b"x" * 100
    a.close()
    link.peer_sends(RST, port=40001)
    link.peer_sends(ACK, seq=101, ack=1, data=b"x" * 100, port=40003)
    assert c.recv(1000) == b"x" * 100
    link.drain()


def test_reset_while_waiting_for_accept(link):
    """As on Linux: accept gives the connection, and the first call on it says so."""
    link.listen()
    handshake(link, 40001)
    link.peer_sends(RST, seq=101, port=40001)
    conn = link.accept()
    with pytest.raises(ConnectionResetError):
        conn.recv(10)


def test_close_while_waiting_for_accept(link):
    link.listen()
    handshake(link, 40001)
    link.peer_sends(FIN | ACK, data=b"bye", port=40001)
    link.drain()
    conn = link.accept()
    assert conn.recv(10) == b"bye"
    assert conn.recv(10) == b""


def test_listener_closes_with_a_dead_connection_in_the_queue(link):
    link.listen()
    handshake(link, 40001)
    link.peer_sends(RST, seq=101, port=40001)
    link.server.close()
    link.expect_silence()


def test_backlog_may_be_changed(link):
    link.listen(backlog=0)
    handshake(link, 40001)
    link.peer_sends(SYN, seq=100, port=40002)
    link.expect_silence()
    link.server.listen(5)
    link.peer_sends(SYN, seq=100, port=40002)
    link.expect(SYN | ACK, port=40002)


def test_somaxconn(make_link):
    link = make_link(somaxconn=1)
    link.listen(backlog=1000)
    for port in (40001, 40002):
        handshake(link, port)
    link.peer_sends(SYN, seq=100, port=40003)
    link.expect_silence()


def test_abort_on_overflow(make_link):
    """tcp_abort_on_overflow: the peer is told at once that there is no place."""
    link = make_link(tcp_abort_on_overflow=1)
    link.listen(backlog=0)
    for port in (40001, 40002):
        link.peer_sends(SYN, seq=100, mss=1460, port=port)
        link.expect(SYN | ACK, port=port)
    link.peer_sends(ACK, ack=1, port=40001)
    link.peer_sends(ACK, ack=1, port=40002)
    link.expect(RST, seq=1, port=40002)
    assert link.states() == {40001: State.ESTABLISHED}
    assert link.counter("embryonic_rsts") == link.counter("listen_overflows") == 1
    link.expect_silence(10)
