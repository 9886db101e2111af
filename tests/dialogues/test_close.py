"""Closing: RFC 9293 section 3.6, 3.10.4 and the states from FIN-WAIT-1 to TIME-WAIT; RFC 1337, RFC 6191."""
from __future__ import annotations

import socket as real
import struct

import pytest

from .link import ACK, FIN, RST, SYN, State


def time_wait(link, **keywords):
    """A connection in TIME-WAIT, which the application has closed."""
    conn = link.established(**keywords)
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2)
    link.peer_sends(FIN | ACK, ack=2)
    link.expect(ACK, seq=2)
    assert link.state() == State.TIME_WAIT


def abort(conn):
    """SO_LINGER with 0 s, and close."""
    conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


# ---- one after the other


def test_peer_closes_first(each_link):
    """Figure 12 from the right."""
    link = each_link
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK, seq=1, ack=102)
    assert link.state() == State.CLOSE_WAIT
    assert conn.recv(10) == b""
    conn.close()
    link.expect(FIN | ACK, seq=1, ack=102)
    assert link.state() == State.LAST_ACK
    link.peer_sends(ACK, ack=2)
    assert link.state() == State.CLOSED
    link.expect_silence(10)


def test_we_close_first(each_link):
    """Figure 12 from the left."""
    link = each_link
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1, ack=101)
    assert link.state() == State.FIN_WAIT_1
    link.peer_sends(ACK, ack=2)
    assert link.state() == State.FIN_WAIT_2
    link.peer_sends(FIN | ACK, ack=2)
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.TIME_WAIT


def test_fin_with_the_ack_of_ours(link):
    """FIN-WAIT-1 straight to TIME-WAIT."""
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(FIN | ACK, ack=2)
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.TIME_WAIT


def test_both_close_at_once(each_link):
    """Figure 13."""
    link = each_link
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1, ack=101)
    link.peer_sends(FIN | ACK, ack=1)
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.CLOSING
    link.peer_sends(ACK, ack=2)
    assert link.state() == State.TIME_WAIT
    link.expect_silence(1)


def test_fin_follows_the_last_byte(link):
    conn = link.established()
    conn.send(b"last words")
    link.expect(ACK, seq=1, data=b"last words")
    conn.send(b"and more")
    conn.close()
    link.expect(FIN | ACK, seq=11, data=b"and more")
    link.peer_sends(ACK)
    assert link.state() == State.FIN_WAIT_2


# ---- half close


def test_we_close_our_half_and_go_on_reading(link):
    conn = link.established()
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2)
    assert link.state() == State.FIN_WAIT_2
    link.peer_sends(ACK, data=b"still here")
    assert conn.recv(100) == b"still here"
    with pytest.raises(BrokenPipeError):
        conn.send(b"no")
    link.expect(ACK, seq=2, ack=111)                # at once: nothing will carry it
    link.expect_silence(3600)                       # an application that reads may wait as long as it likes
    link.peer_sends(FIN | ACK)
    link.expect(ACK, seq=2, ack=112)
    assert link.state() == State.TIME_WAIT
    assert conn.recv(100) == b""


def test_peer_closes_its_half_and_we_go_on_writing(link):
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK, ack=102)
    conn.send(b"still here")
    link.expect(ACK, seq=1, ack=102, data=b"still here")
    link.peer_sends(ACK)
    assert link.state() == State.CLOSE_WAIT
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK, seq=11)
    link.peer_sends(ACK)
    assert link.state() == State.CLOSED


def test_shutdown_of_reading_is_not_told_to_the_peer(link):
    conn = link.established()
    conn.shutdown(real.SHUT_RD)
    link.expect_silence()
    assert conn.recv(10) == b""
    link.peer_sends(ACK, data=b"nevertheless")
    assert conn.recv(100) == b"nevertheless"            # as Linux: what comes can be read; it only does not wait
    link.expect(ACK, ack=113)
    assert conn.recv(10) == b""
    assert link.state() == State.ESTABLISHED


def test_close_after_shutdown_of_reading_resets_if_something_is_unread(link):
    conn = link.established()
    conn.shutdown(real.SHUT_RD)
    link.peer_sends(ACK, data=b"unread")
    conn.close()
    link.expect(RST | ACK, seq=1)


def test_shutdown_of_reading_with_a_hole_in_the_data(link):
    """What stands beyond the hole is not waited for in vain: everything is acknowledged."""
    conn = link.established()
    link.peer_sends(ACK, seq=111, data=b"beyond....")
    link.expect(ACK, ack=101)
    conn.shutdown(real.SHUT_RD)
    link.peer_sends(ACK, seq=101, data=b"the hole..")
    link.expect(ACK, ack=121)
    link.peer_sends(FIN | ACK, seq=121)
    link.expect(ACK, ack=122)


# ---- FIN, lost and repeated


def test_our_fin_is_sent_again(link):
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.expect(FIN | ACK, seq=1, after=0.2)
    link.expect(FIN | ACK, seq=1, after=0.4)
    link.peer_sends(ACK)
    assert link.state() == State.FIN_WAIT_2


@pytest.mark.parametrize("state", [State.CLOSE_WAIT, State.LAST_ACK, State.CLOSING, State.TIME_WAIT])
def test_peers_fin_again_is_acknowledged_again(link, state):
    conn = link.established()
    if state in (State.CLOSING, State.TIME_WAIT):
        conn.close()
        link.expect(FIN | ACK)
    link.peer_sends(FIN | ACK, seq=101, ack=2 if state == State.TIME_WAIT else 1)
    link.expect(ACK, ack=102)
    if state == State.LAST_ACK:
        conn.close()
        link.expect(FIN | ACK, seq=1, ack=102)
    assert link.state() == state
    link.peer_sends(FIN | ACK, seq=101, ack=2 if state == State.TIME_WAIT else 1)
    link.expect(ACK, ack=102)
    assert link.state() == state


def test_last_ack_sends_its_fin_again_and_gives_up(make_link):
    link = make_link(tcp_orphan_retries=2)
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    conn.close()
    link.expect(FIN | ACK, seq=1, ack=102)
    link.expect(FIN | ACK, seq=1, ack=102, after=0.2)
    link.expect(FIN | ACK, seq=1, ack=102, after=0.4)
    link.expect(FIN | ACK, seq=1, ack=102, after=0.8)
    link.expect_silence(1.6)
    assert link.state() == State.CLOSED


def test_fin_out_of_order_waits_for_the_data_before_it(link):
    conn = link.established()
    link.peer_sends(FIN | ACK, seq=106, data=b"later")
    link.expect(ACK, ack=101)
    assert link.state() == State.ESTABLISHED
    link.peer_sends(ACK, seq=101, data=b"first")
    link.expect(ACK, ack=112)                           # the FIN need not come again
    assert link.state() == State.CLOSE_WAIT
    assert conn.recv(100) == b"firstlater"
    assert conn.recv(100) == b""
    link.peer_sends(FIN | ACK, seq=106, data=b"later")
    link.expect(ACK, ack=112)


def test_bare_fin_beyond_a_hole(each_link):
    link = each_link
    conn = link.established()
    link.peer_sends(FIN | ACK, seq=111)
    link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=106, data=b"later")
    link.expect(ACK, ack=101)
    with pytest.raises(BlockingIOError):
        conn.recv(10)
    link.peer_sends(ACK, seq=101, data=b"first")
    link.expect(ACK, ack=112)
    assert conn.recv(100) == b"firstlater"
    assert conn.recv(100) == b""


def test_fin_beyond_a_hole_in_fin_wait_2(link):
    conn = link.established()
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK)
    link.peer_sends(ACK, ack=2)
    link.peer_sends(FIN | ACK, seq=106, data=b"later")
    link.expect(ACK, ack=101)
    assert link.state() == State.FIN_WAIT_2
    link.peer_sends(ACK, seq=101, data=b"first")
    link.expect(ACK, ack=112)
    assert link.state() == State.TIME_WAIT
    assert conn.recv(100) == b"firstlater"


def test_text_beyond_a_fin_that_waits(link):
    conn = link.established()
    link.peer_sends(FIN | ACK, seq=111)
    link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=106, data=b"laterghost")
    link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=101, data=b"first")
    link.expect(ACK, ack=112)
    assert conn.recv(100) == b"firstlater"
    assert conn.recv(100) == b""


def test_text_after_a_fin_is_ignored(link):
    """3.10.7.4, seventh: "this should not occur"."""
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK, ack=102)
    link.peer_sends(ACK, seq=102, data=b"ghost")
    link.expect(ACK, ack=102)
    assert conn.recv(10) == b""


# ---- nobody to read


def test_text_after_close_is_reset(each_link):
    """3.6.1 and RFC 2525 2.16: nobody is left to read it."""
    link = each_link
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2)
    link.peer_sends(ACK, data=b"anybody?")
    link.expect(RST, seq=2)
    assert link.state() == State.CLOSED


def test_text_with_the_ack_of_our_fin_is_reset(link):
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2, data=b"anybody?")
    link.expect(RST, seq=2)
    assert link.state() == State.CLOSED


def test_close_with_unread_text_resets(each_link):
    """RFC 2525 2.17."""
    link = each_link
    conn = link.established()
    link.peer_sends(ACK, data=b"unread")
    conn.close()
    link.expect(RST | ACK, seq=1, ack=107)
    assert link.state() == State.CLOSED


def test_linger_of_zero_resets(each_link):
    link = each_link
    conn = link.established()
    conn.send(bytes(100))
    link.expect(ACK, size=100)
    abort(conn)
    link.expect(RST | ACK, seq=101, ack=101)
    assert link.state() == State.CLOSED


@pytest.mark.parametrize("state", [State.SYN_SENT, State.CLOSE_WAIT, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING,
                                   State.LAST_ACK, State.TIME_WAIT])
def test_abort_in_every_state(link, state):
    """3.10.5."""
    if state == State.SYN_SENT:
        conn = link.connect()
        link.expect(SYN)
    else:
        conn = link.established()
    if state in (State.CLOSE_WAIT, State.LAST_ACK):
        link.peer_sends(FIN | ACK)
        link.expect(ACK)
    if state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK, State.TIME_WAIT):
        conn.shutdown(real.SHUT_WR)
        link.expect(FIN | ACK)
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        link.peer_sends(ACK)
    if state in (State.CLOSING, State.TIME_WAIT):
        link.peer_sends(FIN | ACK, ack=2 if state == State.TIME_WAIT else 1)
        link.expect(ACK)
    assert link.state() == state
    abort(conn)
    if state == State.SYN_SENT:
        link.expect_silence()
    elif state == State.TIME_WAIT:
        link.expect_silence()
        assert link.state() == State.TIME_WAIT
        return
    elif state in (State.CLOSING, State.LAST_ACK):      # "Respond with "ok" and delete the TCB"
        link.expect_silence()
    else:
        link.expect(RST | ACK)
    assert link.state() == State.CLOSED


# ---- FIN-WAIT-2


def test_orphan_in_fin_wait_2_does_not_wait_for_ever(link):
    """tcp_fin_timeout."""
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(ACK)
    link.expect_silence(59.9)
    assert link.state() == State.FIN_WAIT_2
    link.expect_silence(0.1)
    assert link.state() == State.CLOSED
    link.peer_sends(FIN | ACK)
    link.expect(RST)


def test_fin_wait_2_becomes_an_orphan(link):
    conn = link.established()
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK)
    link.peer_sends(ACK)
    link.expect_silence(500)
    conn.close()
    link.expect_silence(59.9)
    assert link.state() == State.FIN_WAIT_2
    link.advance(0.1)
    assert link.state() == State.CLOSED


# ---- TIME-WAIT


def test_two_msl(link):
    time_wait(link)
    link.expect_silence(59.9)
    assert link.state() == State.TIME_WAIT
    link.expect_silence(0.1)
    assert link.state() == State.CLOSED


def test_time_wait_is_a_setting(make_link):
    link = make_link(tcp_time_wait=1)
    time_wait(link)
    link.advance(1)
    assert link.state() == State.CLOSED


def test_fin_restarts_two_msl(link):
    """3.10.7.4, eighth: "Restart the 2 MSL time-wait timeout"."""
    time_wait(link)
    link.advance(50)
    link.peer_sends(FIN | ACK, seq=101)
    link.expect(ACK, seq=2, ack=102)
    link.advance(59)
    assert link.state() == State.TIME_WAIT
    link.advance(1)
    assert link.state() == State.CLOSED


def test_time_wait_is_not_assassinated(link):
    """RFC 1337: an old duplicate provokes an ACK, the peer answers it with a RST, and TIME-WAIT stays."""
    time_wait(link)
    link.peer_sends(ACK, seq=50, data=b"old")
    got = link.expect(ACK, seq=2, ack=102)
    link.peer_sends(RST, seq=got.ack)
    link.expect_silence()
    assert link.state() == State.TIME_WAIT


def test_new_syn_reopens(each_link):
    """3.10.7.4, fourth, MAY-2: a SYN beyond the old connection's sequence numbers."""
    link = each_link
    time_wait(link)
    old = link.talk()
    last = (old.iss + old.sent) & 0xFFFF_FFFF
    link.peer_sends(SYN, seq=10_000, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=10_001)
    # "it assigns its initial sequence number for the new connection to be larger than the largest it used before"
    assert 0 < (link.talk().iss - last) & 0xFFFF_FFFF < 1 << 31
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED
    link.accept()


def test_new_isn_is_beyond_the_old_connections(make_link):
    """The same after more data than the clock of RFC 6528 counts in that time."""
    link = make_link(tcp_wmem=(4096, 1 << 20, 1 << 20))
    conn = link.established(wscale=14, wnd=65535)
    for _ in range(4):
        link.tcb(conn).cc.cwnd = 1 << 30
        assert conn.send(bytes(1 << 20)) == 1 << 20
        link.drain()
        link.peer_sends(ACK)
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    last = (link.talk().iss + link.talk().sent) & 0xFFFF_FFFF
    link.peer_sends(SYN, seq=10_000, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=10_001)
    assert 0 < (link.talk().iss - last) & 0xFFFF_FFFF < 1 << 31


def test_old_syn_does_not_reopen(link):
    """It is an old duplicate: an ACK tells the peer where we are."""
    time_wait(link)
    link.peer_sends(SYN, seq=50, mss=1460)
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.TIME_WAIT


def test_new_timestamp_reopens(link):
    """RFC 6191: the timestamp decides where there is one, whatever the sequence number."""
    time_wait(link, ts=True)
    link.advance(1)
    link.peer_sends(SYN, seq=7, mss=1460, ts=(link._peer_clock(), 0))
    link.expect(SYN | ACK, seq=0, ack=8)


def test_old_timestamp_does_not_reopen(link):
    time_wait(link, ts=True)
    link.peer_sends(SYN, seq=100_000, mss=1460, ts=(5, 0))
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.TIME_WAIT


def test_syn_without_a_listener_does_not_reopen(link):
    conn = link.established(active=True)
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    link.peer_sends(SYN, seq=10_000)
    link.expect(ACK, seq=2, ack=102)
    assert link.state() == State.TIME_WAIT


def test_time_wait_is_bounded_in_number(make_link):
    link = make_link(tcp_max_tw_buckets=2)
    for port in (40001, 40002, 40003):
        conn = link.established(port=port)
        conn.close()
        link.expect(FIN | ACK)
        link.peer_sends(FIN | ACK)
        link.expect(ACK) if port != 40003 else link.drain()
    assert list(link.states().values()) == [State.TIME_WAIT] * 2
    assert link.counter("time_wait_overflow") == 1


def test_time_wait_needs_no_buffers(link):
    time_wait(link)
    assert link.world.net.arena.live == 0


# ---- the listener goes


def test_listener_closes_and_its_children_are_reset(each_link):
    """Those that wait for accept; of half-open ones nothing is said until their ACK comes (as Linux)."""
    link = each_link
    link.listen()
    for port in (40001, 40002):
        link.peer_sends(SYN, seq=100, mss=1460, port=port)
        link.expect(SYN | ACK, port=port)
    link.peer_sends(ACK, ack=1, port=40002)
    assert set(link.states().values()) == {State.SYN_RECEIVED, State.ESTABLISHED}
    link.server.close()
    link.expect(RST | ACK, seq=1, ack=101, port=40002)
    link.expect_silence()
    assert link.states() == {}
    link.peer_sends(ACK, ack=1, port=40001)
    link.expect(RST, port=40001)
    link.peer_sends(SYN, seq=100, port=40003)
    link.expect(RST | ACK)


def test_accepted_connection_outlives_its_listener(link):
    conn = link.established()
    link.server.close()
    link.expect_silence()
    link.peer_sends(ACK, data=b"hello")
    assert conn.recv(10) == b"hello"


# ---- TIME-WAIT and a connection that we open (RFC 6191; net.ipv4.tcp_tw_reuse)


def our_time_wait(link):
    """A connection to the peer's port 40000 in TIME-WAIT; there is one local port."""
    conn = link.established(active=True, ts=True)
    link.leap(conn, 1 << 28)                            # more than the clock of RFC 6528 counts in that time
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    assert link.state() == State.TIME_WAIT


def test_new_connection_may_follow_one_in_time_wait(make_link):
    link = make_link(ip_local_port_range=(50_000, 50_000))
    our_time_wait(link)
    old = (link.talk().iss + link.talk().sent) & 0xFFFF_FFFF
    link.advance(1.5)
    link.connect()
    link.expect(SYN, seq=0, sport=50_000)
    assert 0 < (link.talk().iss - old) & 0xFFFF_FFFF < 1 << 31
    link.peer_sends(SYN | ACK, seq=300, ack=1, ts=(link._peer_clock(), link.talk().ts))
    link.expect(ACK)
    assert link.state() == State.ESTABLISHED


@pytest.mark.parametrize(("reuse", "wait"), [(1, 0.5), (0, 5), (2, 5)])
def test_it_must_not_follow_too_soon_or_when_switched_off(make_link, reuse, wait):
    link = make_link(ip_local_port_range=(50_000, 50_000), tcp_tw_reuse=reuse)
    our_time_wait(link)
    link.advance(wait)
    sock = link.socket()
    assert sock.connect_ex((link.theirs, link.peer_port)) == 99      # EADDRNOTAVAIL
    link.advance(60)
    link.connect()
    link.expect(SYN, sport=50_000)


def test_reset_ends_time_wait_when_asked_to(make_link):
    """RFC 9293 3.10.7.4 by the letter, with tcp_rfc1337 0."""
    link = make_link(tcp_rfc1337=0)
    time_wait(link)
    link.peer_sends(RST)
    assert link.state() == State.CLOSED
    link.expect_silence(60)


def test_new_connection_brings_timestamps(link):
    """RFC 6191 2: the old one had none, the new one would have: honoured, whatever its sequence number."""
    time_wait(link)
    link.peer_sends(SYN, seq=50, mss=1460, ts=(1, 0))
    link.expect(SYN | ACK, ack=51)


def test_new_connection_offers_timestamps_that_we_do_not_want(make_link):
    """... "enabled" means that we would send them too."""
    link = make_link(tcp_timestamps=0)
    time_wait(link)
    link.peer_sends(SYN, seq=50, mss=1460, ts=(1, 0))
    link.expect(ACK, ack=102)
    assert link.state() == State.TIME_WAIT


@pytest.mark.parametrize("size", [10, 65536])
@pytest.mark.parametrize("blocks", [False, True])
def test_the_end_is_told_to_who_asks_for_much_or_little(link, size, blocks):
    conn = link.established()
    conn.setblocking(blocks)
    link.peer_sends(ACK | FIN, data=b"last")
    assert conn.recv(size) == b"last"
    assert conn.recv(size) == b""
