"""What does not fit: RFC 9293 3.10.7.4 first to fifth, and RFC 5961 against blind attacks."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, PSH, RST, SYN, URG, State

# ---- resets (RFC 5961 section 3)


def test_exact_reset(each_link):
    link = each_link
    conn = link.established(iss=999)
    link.peer_sends(RST, seq=1000)
    link.expect_silence()
    assert link.state() == State.CLOSED
    with pytest.raises(ConnectionResetError):
        conn.recv(10)
    assert conn.recv(10) == b""                         # the error is told once
    with pytest.raises(BrokenPipeError):
        conn.send(b"x")


def test_reset_in_the_window_is_challenged(each_link):
    """(3.2) "If the RST bit is set and the sequence number does not exactly match ... send an acknowledgment"."""
    link = each_link
    conn = link.established(iss=999)
    link.peer_sends(RST, seq=1001)
    link.expect(ACK, seq=1, ack=1000)
    assert link.state() == State.ESTABLISHED
    assert link.counter("challenge_acks") == 1
    link.peer_sends(RST, seq=1000)                      # a real peer answers the challenge so
    with pytest.raises(ConnectionResetError):
        conn.recv(10)


@pytest.mark.parametrize("seq", [999, 1000 + 65535, 0x8000_0000, 1000 - 65535])
def test_reset_outside_window_is_ignored(link, seq):
    link.established(iss=999)
    link.peer_sends(RST, seq=seq)
    link.expect_silence()
    assert link.state() == State.ESTABLISHED
    assert link.drops(Drop.TCP_BAD_RST) == 1


def test_reset_at_a_closed_window(link):
    """3.10.7.4: "special allowance should be made to accept valid ACKs, URGs, and RSTs"."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    for _ in range(4):
        link.peer_sends(ACK, data=bytes(1024))
    link.advance(0.1)
    assert link.drain()[-1].wnd == 0
    link.peer_sends(RST)
    assert link.state() == State.CLOSED
    assert len(conn.recv(5000)) == 4096                 # what had come is read first
    with pytest.raises(ConnectionResetError):
        conn.recv(10)


def test_reset_with_text_is_a_reset(link):
    """RFC 1122 4.2.2.12."""
    link.established()
    link.peer_sends(RST, data=b"go away")
    assert link.state() == State.CLOSED


def test_reset_in_close_wait_is_a_broken_pipe(link):
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    link.peer_sends(RST)
    with pytest.raises(BrokenPipeError):
        conn.send(b"x")


def test_reset_of_last_words_is_told(each_link):
    """Differs: in LAST-ACK and CLOSING 3.10.7.4 tells nobody; text that was not acknowledged may be lost: as Linux."""
    link = each_link
    conn = link.established(iss=999)
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    conn.send(b"last words")
    conn.shutdown(real.SHUT_WR)
    link.expect(PSH | ACK, data=b"last words")
    link.expect(FIN | ACK)
    assert link.state() == State.LAST_ACK
    link.peer_sends(RST)
    assert link.state() == State.CLOSED
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNRESET


@pytest.mark.parametrize("state", [State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSING, State.LAST_ACK])
def test_reset_ends_every_state(link, state):
    conn = link.established()
    if state == State.LAST_ACK:
        link.peer_sends(FIN | ACK)
        link.expect(ACK)
    conn.close()
    link.expect(FIN | ACK)
    if state == State.FIN_WAIT_2:
        link.peer_sends(ACK)
    if state == State.CLOSING:
        link.peer_sends(FIN | ACK, ack=1)
        link.expect(ACK)
    assert link.state() == state
    link.peer_sends(RST)
    link.expect_silence()
    assert link.state() == State.CLOSED


# ---- SYN (RFC 5961 section 4)


@pytest.mark.parametrize("flags", [SYN, SYN | ACK])
@pytest.mark.parametrize("seq", [101, 150, 99, 100 + 70000])
def test_syn_in_a_synchronized_state_is_challenged(link, flags, seq):
    link.established()
    link.peer_sends(flags, seq=seq, ack=1)
    link.expect(ACK, seq=1, ack=101)
    assert link.state() == State.ESTABLISHED


def test_challenges_are_rare(link):
    """(RFC 5961 section 7) One in 500 ms for each connection."""
    link.established()
    for _ in range(10):
        link.peer_sends(SYN, seq=150)
    link.expect(ACK, ack=101)
    link.expect_silence()
    link.advance(0.499)
    link.peer_sends(RST, seq=150)
    link.expect_silence()
    link.advance(0.001)
    link.peer_sends(RST, seq=150)
    link.expect(ACK, ack=101)


def test_rate_of_answers_is_a_setting(make_link):
    link = make_link(tcp_invalid_ratelimit=0)
    link.established()
    for _ in range(10):
        link.peer_sends(SYN, seq=150)
        link.expect(ACK, ack=101)
    link.stack.settings["net.ipv4.tcp_invalid_ratelimit"] = 2000
    link.peer_sends(SYN, seq=150)
    link.expect_silence(1.9)
    assert link.counter("acks_skipped") == 1
    link.advance(0.1)
    link.peer_sends(RST, seq=150)
    link.expect(ACK, ack=101)


def test_challenges_of_all_connections_are_limited(make_link):
    """tcp_challenge_ack_limit: 1 a second for all; the ghosts of many connections share it."""
    link = make_link(tcp_challenge_ack_limit=1)
    for port in (40001, 40002, 40003):
        link.established(port=port)
    for port in (40001, 40002, 40003):
        link.peer_sends(SYN, seq=150, port=port)
    link.expect(ACK, port=40001)
    link.expect_silence()
    assert link.counter("challenge_acks") == 1
    link.advance(1)
    link.peer_sends(SYN, seq=150, port=40003)
    link.expect(ACK, port=40003)


def test_syn_outside_the_window_is_challenged_and_no_more(link):
    """RFC 5961 4.2: "irrespective of the sequence number"; the rate holds for it too."""
    link.established()
    link.peer_sends(SYN, seq=100_000)
    link.expect(ACK, ack=101)
    link.peer_sends(SYN, seq=100_000)
    link.expect_silence()
    assert link.drops(Drop.TCP_UNACCEPTABLE) == 2


def test_old_timestamps_do_not_start_an_ack_war(link):
    """RFC 7323 5.3 R1 asks for an ACK; RFC 5961 7 keeps empty ones rare."""
    link.established(ts=True)
    for _ in range(5):
        link.peer_sends(ACK, ts=(1, 0))
    link.expect(ACK)
    link.expect_silence()
    link.peer_sends(ACK, data=b"old", ts=(1, 0), seq=101)
    link.expect(ACK)
    assert link.drops(Drop.TCP_PAWS) == 6


def test_reset_behind_the_last_sack_block(link):
    """As Linux: the peer died with data before it lost; its reset has a number that it knows we hold."""
    conn = link.established(sack_ok=True)
    link.peer_sends(ACK, seq=201, data=b"x" * 100)
    link.expect(ACK, ack=101, sack=[(201, 301)])
    link.peer_sends(RST, seq=250)
    link.expect(ACK)
    link.peer_sends(RST, seq=301)
    with pytest.raises(ConnectionResetError):
        conn.recv(10)


# ---- ACKs (RFC 5961 section 5; RFC 9293 3.10.7.4, fifth)


def test_ack_of_the_future(link):
    """"If the ACK acks something not yet sent, then send an ACK, drop the segment, and return"."""
    conn = link.established()
    link.peer_sends(ACK, ack=5, data=b"injected")
    link.expect(ACK, seq=1, ack=101)
    with pytest.raises(BlockingIOError):
        conn.recv(10)
    assert link.drops(Drop.TCP_BAD_ACK) == 1


def test_old_ack_with_text_is_good(link):
    """An ACK that came late: its text is not."""
    conn = link.established(wnd=5000)
    conn.send(b"abcde")
    link.expect(ACK, data=b"abcde")
    link.peer_sends(ACK, ack=6)
    link.peer_sends(ACK, ack=3, data=b"late")
    assert conn.recv(10) == b"late"


def test_very_old_ack_is_challenged(link):
    """(RFC 5961 5.2) Older than SND.UNA - MAX.SND.WND."""
    conn = link.established(wnd=1000)
    for i in range(3):
        conn.send(bytes(500))
        link.expect(ACK, size=500)
        link.peer_sends(ACK, ack=1 + 500 * (i + 1))
    link.peer_sends(ACK, ack=400, data=b"injected")
    link.expect(ACK, ack=101)
    with pytest.raises(BlockingIOError):
        conn.recv(10)
    link.peer_sends(ACK, seq=101, ack=502, data=b"merely late")
    assert conn.recv(100) == b"merely late"


def test_segment_without_ack_is_dropped(link):
    conn = link.established()
    link.peer_sends(PSH, data=b"x")
    link.peer_sends(FIN)
    link.peer_sends(0, data=b"x")
    link.peer_sends(URG, up=1, data=b"x")
    link.expect_silence(1)
    assert link.state() == State.ESTABLISHED
    with pytest.raises(BlockingIOError):
        conn.recv(10)
    assert link.drops(Drop.TCP_NO_ACK) == 4


# ---- sequence numbers (3.10.7.4, first)


def test_old_duplicate_is_acknowledged_again(each_link):
    link = each_link
    conn = link.established()
    link.peer_sends(ACK, data=b"once")
    link.expect(ACK, ack=105, after=0.04)
    link.peer_sends(ACK, seq=101, data=b"once")
    link.expect(ACK, seq=1, ack=105)
    assert conn.recv(100) == b"once"
    assert link.drops(Drop.TCP_UNACCEPTABLE) == 1


def test_overlap_on_the_left(link):
    conn = link.established()
    link.peer_sends(ACK, data=b"abcdef")
    link.peer_sends(ACK, seq=104, data=b"defghi")
    link.expect(ACK, ack=110)
    assert conn.recv(100) == b"abcdefghi"


def test_beyond_the_window_is_cut(link):
    """"segments with a larger ... part outside the window are trimmed"."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    link.peer_sends(ACK, data=bytes(4000))
    link.expect(ACK, ack=4101)
    link.peer_sends(ACK, data=b"x" * 200)
    link.expect(ACK, ack=4197, wnd=0, after=0.04)
    assert conn.recv(10000) == bytes(4000) + b"x" * 96


def test_fin_beyond_the_window_is_not_seen(link):
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    link.peer_sends(ACK, data=bytes(4000))
    link.expect(ACK)
    link.peer_sends(FIN | ACK, data=bytes(97))
    link.expect(ACK, ack=4197, after=0.04)
    assert link.state() == State.ESTABLISHED
    conn.recv(10000)
    link.expect(ACK)
    link.peer_sends(FIN | ACK, seq=4101, data=bytes(97))
    link.expect(ACK, ack=4199)


def test_fin_at_the_edge_of_the_window(link):
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    link.peer_sends(ACK, data=bytes(4000))
    link.expect(ACK)
    link.peer_sends(FIN | ACK, data=bytes(96))
    link.expect(ACK, ack=4198)
    assert len(conn.recv(10000)) == 4096
    assert conn.recv(10) == b""


@pytest.mark.parametrize("seq", [101 + 65535, 101 + 70000, 101 - 70000, 0x8000_0100])
def test_text_outside_the_window(link, seq):
    conn = link.established()
    link.peer_sends(ACK, seq=seq, data=b"elsewhere")
    link.expect(ACK, seq=1, ack=101)
    with pytest.raises(BlockingIOError):
        conn.recv(10)


def test_empty_strays_are_answered_rarely(link):
    """(RFC 5961 7; Linux tcp_invalid_ratelimit) Else two confused ends answer each other for ever."""
    link.established()
    for _ in range(10):
        link.peer_sends(ACK, seq=50)
    link.expect(ACK, ack=101)
    link.expect_silence()


def test_a_lost_ack_is_replaced_by_the_next(link):
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    conn.send(b"def")
    link.peer_sends(ACK, ack=4)
    link.expect(ACK, data=b"def")
    link.peer_sends(ACK, ack=7)
    link.expect_silence(10)
