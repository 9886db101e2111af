"""Opening: RFC 9293 section 3.5 and its figures, 3.10.7.1 to 3.10.7.3; what Linux does where the RFC leaves it open."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.errors import Drop

from . import codec
from .link import ACK, FIN, PSH, RST, SYN, State

# ---- the handshake


def test_passive_open(each_link):
    """Figure 6."""
    link = each_link
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1400)
    link.expect(SYN | ACK, seq=0, ack=101)
    assert link.state() == State.SYN_RECEIVED
    link.peer_sends(ACK, seq=101, ack=1)
    assert link.state() == State.ESTABLISHED
    conn = link.accept()
    assert conn.getpeername()[:2] == (link.theirs, link.peer_port)
    link.expect_silence(10)
    link.peer_sends(ACK, seq=101, ack=1, data=b"hello")
    assert conn.recv(100) == b"hello"
    link.expect(ACK, seq=1, ack=106)                    # the first text is acknowledged at once


def test_active_open(each_link):
    """Figure 6, the other side."""
    link = each_link
    conn = link.connect()
    assert link.state() == State.SYN_SENT
    link.expect(SYN, seq=0, ack=0)
    link.peer_sends(SYN | ACK, seq=300, ack=1, mss=1460)
    link.expect(ACK, seq=1, ack=301)
    assert link.state() == State.ESTABLISHED
    conn.send(b"hi")
    link.expect(ACK, seq=1, ack=301, data=b"hi")


def test_simultaneous_open(each_link):
    """Figure 7: both sides send a SYN, then both answer with SYN-ACK."""
    link = each_link
    conn = link.connect()
    link.expect(SYN, seq=0)
    link.peer_sends(SYN, seq=300, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=301)
    assert link.state() == State.SYN_RECEIVED
    link.peer_sends(SYN | ACK, seq=300, ack=1, mss=1460)
    assert link.state() == State.ESTABLISHED
    link.expect_silence()
    conn.send(b"hi")
    link.expect(ACK, seq=1, ack=301, data=b"hi")


def test_simultaneous_open_ends_with_an_ack_as_well(link):
    link.connect()
    link.expect(SYN)
    link.peer_sends(SYN, seq=300, mss=1460)
    link.expect(SYN | ACK, ack=301)
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED


def test_our_syn_ack_is_lost_in_a_simultaneous_open(link):
    link.connect()
    link.expect(SYN)
    link.peer_sends(SYN, seq=300, mss=1460)
    link.expect(SYN | ACK, ack=301)
    link.expect(SYN | ACK, seq=0, ack=301, after=1.0)
    link.peer_sends(SYN, seq=300, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=301)


def test_close_before_a_simultaneous_open_is_complete(link):
    """3.10.4, SYN-RECEIVED: queue for processing after entering ESTABLISHED state."""
    conn = link.connect()
    link.expect(SYN)
    link.peer_sends(SYN, seq=300, mss=1460)
    link.expect(SYN | ACK, ack=301)
    conn.close()
    link.expect_silence()
    link.peer_sends(ACK, ack=1)
    link.expect(FIN | ACK, seq=1, ack=301)
    assert link.state() == State.FIN_WAIT_1


def test_third_segment_may_carry_text(link):
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(ACK, ack=1, data=b"request")
    assert link.accept().recv(100) == b"request"


def test_third_segment_may_carry_a_fin(link):
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(FIN | ACK, ack=1, data=b"all")
    link.expect(ACK, ack=105)
    assert link.state() == State.CLOSE_WAIT
    conn = link.accept()
    assert conn.recv(100) == b"all"
    assert conn.recv(100) == b""


def test_syn_ack_may_carry_text(link):
    """3.10.7.3: "if there are other controls or text in the segment, then continue processing"."""
    conn = link.connect()
    link.expect(SYN)
    link.peer_sends(SYN | ACK, seq=300, ack=1, data=b"banner", mss=1460)
    link.expect(ACK, seq=1, ack=307)
    assert conn.recv(100) == b"banner"


def test_text_in_a_syn_comes_again(link):
    """We do not keep what comes with a SYN; the peer sends it again."""
    link.listen()
    link.peer_sends(SYN, seq=100, data=b"early", mss=1460)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(ACK, seq=101, ack=1, data=b"early")
    assert link.accept().recv(100) == b"early"


def test_text_may_be_queued_behind_the_handshake(link):
    """A socket that is connecting is not writable: as on Linux send says EAGAIN."""
    conn = link.connect()
    link.expect(SYN)
    with pytest.raises(BlockingIOError):
        conn.send(b"early")
    link.peer_sends(SYN | ACK, seq=300, ack=1, mss=1460)
    link.expect(ACK)
    assert conn.send(b"now") == 3
    link.expect(ACK, data=b"now")


# ---- sequence numbers at the edge of their space


@pytest.mark.parametrize("iss", [0xFFFF_FFFF, 0xFFFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, 0])
def test_peer_sequence_numbers_wrap(link, iss):
    conn = link.established(iss=iss)
    for i in range(4):
        link.peer_sends(ACK, data=b"abc")
        assert conn.recv(10) == b"abc"
        link.advance(0.05)
        assert link.expect(ACK).ack == (iss + 1 + 3 * (i + 1)) & 0xFFFF_FFFF


# ---- nobody there


def test_syn_to_a_closed_port(each_link):
    """3.10.7.1: <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>."""
    link = each_link
    link.peer_sends(SYN, seq=100, to=81)
    link.expect(RST | ACK, seq=0, ack=101, wnd=0)


def test_ack_to_a_closed_port(each_link):
    """3.10.7.1: <SEQ=SEG.ACK><CTL=RST>."""
    link = each_link
    link.peer_sends(ACK, seq=100, ack=7777, to=81, data=b"x")
    link.expect(RST, seq=7777, ack=0)


def test_text_without_ack_to_a_closed_port(link):
    link.peer_sends(PSH, seq=100, data=b"12345", to=81)
    link.expect(RST | ACK, seq=0, ack=105)


def test_reset_to_a_closed_port_has_no_answer(link):
    link.peer_sends(RST, seq=100, to=81)
    link.peer_sends(RST | ACK, seq=100, ack=5, to=81)
    link.expect_silence()
    assert link.drops(Drop.TCP_NO_PORT) == 2


def test_syn_to_a_broadcast_address_has_no_answer(link):
    """RFC 9293 3.9.2.3, MUST-57."""
    link.listen()
    for address in ("192.0.2.255", "255.255.255.255", "224.0.0.1"):
        seg = codec.Seg(40000, 80, seq=1, flags=SYN, mss=1460)
        link.inject(codec.build(seg, codec.address(link.theirs), codec.address(address)))
    link.expect_silence(1)


# ---- LISTEN


def test_listener_ignores_a_reset(link):
    link.listen()
    link.peer_sends(RST, seq=100)
    link.expect_silence()


def test_listener_resets_an_ack(link):
    """3.10.7.2, second."""
    link.listen()
    link.peer_sends(ACK, seq=100, ack=4711)
    link.expect(RST, seq=4711)
    link.peer_sends(SYN | ACK, seq=100, ack=4711)
    link.expect(RST, seq=4711)


def test_listener_ignores_what_is_neither_syn_nor_ack(link):
    link.listen()
    link.peer_sends(0, seq=100, data=b"x")
    link.peer_sends(FIN, seq=100)
    link.peer_sends(SYN | FIN, seq=100)
    link.expect_silence(1)
    assert link.states() == {}


# ---- SYN-RECEIVED


def test_syn_ack_is_sent_again(link):
    """tcp_synack_retries 5: at 1, 3, 7, 15, 31 s, and the end at 63 s, as on Linux."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=101)
    for wait in (1, 2, 4, 8, 16):
        link.expect(SYN | ACK, seq=0, ack=101, after=wait)
    link.expect_silence(31.9)
    assert link.state() == State.SYN_RECEIVED
    link.advance(0.1)
    assert link.state() == State.CLOSED
    link.expect_silence(60)


def test_syn_again_has_the_same_answer(link):
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    first = link.expect(SYN | ACK, seq=0, ack=101)
    link.peer_sends(SYN, seq=100, mss=1460)
    again = link.expect(SYN | ACK, seq=0, ack=101)
    assert first.seq == again.seq
    assert len(link.states()) == 1


def test_syn_received_and_a_wrong_ack(link):
    """3.10.7.4, fifth: <SEQ=SEG.ACK><CTL=RST>; the connection stays."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    for wrong in (0, 2, 5000):
        link.peer_sends(ACK, ack=wrong)
        link.expect(RST, seq=wrong)
    assert link.state() == State.SYN_RECEIVED
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED


def test_syn_received_and_a_reset(link):
    """3.10.7.4, second: back to LISTEN; the application never hears of it."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.peer_sends(RST, seq=101)
    link.expect_silence()
    assert link.state() == State.CLOSED
    with pytest.raises(BlockingIOError):
        link.server.accept()
    link.peer_sends(SYN, seq=900, mss=1460)
    link.expect(SYN | ACK, ack=901)


def test_recovery_from_an_old_duplicate_syn(link):
    """Figure 8: the old SYN is answered, the peer resets, and the real SYN works."""
    link.listen()
    link.peer_sends(SYN, seq=90, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=91)
    link.peer_sends(RST, seq=91)
    assert link.state() == State.CLOSED
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK, seq=0, ack=101)
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED


def test_another_syn_in_the_window_returns_to_listen(each_link):
    """3.10.7.4, fourth: "If the connection was initiated with a passive OPEN, then return this connection to the LISTEN
    state": a peer that has started anew gets its connection with the next SYN."""
    link = each_link
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.peer_sends(SYN, seq=200, mss=1460)
    link.expect_silence()
    assert link.state() == State.CLOSED
    link.peer_sends(SYN, seq=200, mss=1460)
    link.expect(SYN | ACK, ack=201)


# ---- SYN-SENT


def test_syn_is_sent_again_and_given_up(link):
    """tcp_syn_retries 6: at 1, 3, 7, 15, 31, 63 s, ETIMEDOUT at 127 s."""
    conn = link.connect()
    first = link.expect(SYN, seq=0)
    for wait in (1, 2, 4, 8, 16, 32):
        again = link.expect(SYN, seq=0, after=wait)
        assert (again.mss, again.wscale) == (first.mss, first.wscale)
    link.expect_silence(63.9)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == 0
    link.expect_silence(0.1)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ETIMEDOUT
    assert link.state() == State.CLOSED


def test_syncnt(link):
    conn = link.connect(TCP_SYNCNT=1)
    link.expect(SYN)
    link.expect(SYN, after=1)
    link.expect_silence(2)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ETIMEDOUT


def test_user_timeout_ends_an_open(link):
    conn = link.connect(TCP_USER_TIMEOUT=2500)
    link.expect(SYN)
    link.expect(SYN, after=1)
    link.advance(1.6)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ETIMEDOUT


def test_refused(each_link):
    """3.10.7.3, second: "connection reset"; Linux says ECONNREFUSED."""
    link = each_link
    conn = link.connect()
    link.expect(SYN)
    link.peer_sends(RST | ACK, seq=0, ack=1)
    assert conn.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.ECONNREFUSED
    link.expect_silence(10)
    assert link.state() == State.CLOSED


def test_reset_that_acknowledges_nothing_of_ours_is_ignored(link):
    link.connect()
    link.expect(SYN)
    link.peer_sends(RST, seq=0)
    link.peer_sends(RST | ACK, seq=0, ack=0)
    link.peer_sends(RST | ACK, seq=0, ack=2)
    link.expect_silence()
    assert link.state() == State.SYN_SENT


def test_half_open_connection_is_found(link):
    """Figure 9: the peer still has an old connection; its ACK is wrong, we reset it, and our SYN comes again."""
    link.connect()
    link.expect(SYN, seq=0)
    link.peer_sends(ACK, seq=300, ack=5000)
    link.expect(RST, seq=5000)
    assert link.state() == State.SYN_SENT
    link.expect(SYN, seq=0, after=1)


def test_syn_sent_ignores_a_mere_ack(link):
    """3.10.7.3, fifth."""
    link.connect()
    link.expect(SYN)
    link.peer_sends(ACK, seq=300, ack=1)
    link.peer_sends(FIN, seq=300)
    link.expect_silence()
    assert link.state() == State.SYN_SENT


def test_close_while_connecting(link):
    """3.10.4, SYN-SENT: delete the TCB; nothing is sent."""
    conn = link.connect()
    link.expect(SYN)
    conn.close()
    link.expect_silence(10)
    assert link.state() == State.CLOSED
    link.peer_sends(SYN | ACK, seq=300, ack=1)
    link.expect(RST)


def test_reset_when_nobody_was_home_is_our_figure_10(link):
    """Figure 10: we have crashed and the peer sends: it is reset."""
    link.peer_sends(ACK, seq=300, ack=100, data=b"are you there")
    link.expect(RST, seq=100)


def test_lost_syn_means_a_small_start(link):
    """RFC 5681 3.1: after a lost SYN the initial window is one segment."""
    conn = link.connect()
    link.expect(SYN)
    link.expect(SYN, after=1)
    link.peer_sends(SYN | ACK, seq=300, ack=1, mss=1460)
    link.expect(ACK)
    conn.send(bytes(10000))
    link.expect(ACK, seq=1, size=1460)
    link.expect_silence()


def test_initial_window_of_ten(link):
    """RFC 6928."""
    conn = link.established()
    conn.send(bytes(20000))
    for i in range(10):
        link.expect(ACK, seq=1 + 1460 * i, size=1460)
    link.expect_silence()
