"""Windows: RFC 9293 section 3.8.6; zero windows and probes, silly windows on both sides, window scale."""
from __future__ import annotations

import errno
import random
from contextlib import suppress

import pytest

from .link import ACK, FIN, RST, SYN, State


def fill(link, n, size=1024):
    """The peer sends n bytes, which are acknowledged."""
    while n > 0:
        link.peer_sends(ACK, data=bytes(min(n, size)))
        n -= size
    link.advance(0.05)
    return link.drain()[-1]


# ---- the peer's window


def test_the_window_is_a_limit(each_link):
    link = each_link
    conn = link.established(wnd=2000, mss=1000)
    conn.send(bytes(5000))
    link.expect(ACK, seq=1, size=1000)
    link.expect(ACK, seq=1001, size=1000)
    link.expect_silence()
    link.peer_sends(ACK, ack=1001, wnd=2000)
    link.expect(ACK, seq=2001, size=1000)
    link.peer_sends(ACK, ack=3001, wnd=3000)
    link.expect(ACK, seq=3001, size=1000)
    link.expect(ACK, seq=4001, size=1000)


def test_old_segment_does_not_change_the_window(link):
    """SND.WL1 and SND.WL2 (3.10.7.4)."""
    conn = link.established(wnd=1000, mss=1000)
    conn.send(bytes(3000))
    link.expect(ACK, seq=1, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=0)
    link.expect_silence()
    link.peer_sends(ACK, ack=1, wnd=5000)               # it was sent before that one
    link.expect_silence()


def test_window_shrinks(link):
    """SHLD-14: a peer should not; we must live with it (MUST-34)."""
    conn = link.established(wnd=4000, mss=1000)
    conn.send(bytes(8000))
    for i in range(4):
        link.expect(ACK, seq=1 + 1000 * i, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=1000)            # SND.UNA + SND.WND goes left, from 4001 to 2001
    link.expect_silence()
    link.peer_sends(ACK, ack=4001, wnd=1000)
    link.expect(ACK, seq=4001, size=1000)


# ---- zero window


def test_zero_window_is_probed_and_reopens(each_link):
    link = each_link
    conn = link.established(wnd=1000, mss=1000)
    conn.send(bytes(1000) + b"abc")
    link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=0)
    wait = 0.2
    for _ in range(4):
        link.expect(ACK, seq=1001, data=b"a", after=wait)
        link.peer_sends(ACK, ack=1001)
        wait *= 2
    link.peer_sends(ACK, ack=1001, wnd=1000)
    link.expect(ACK, seq=1001, data=b"abc")
    link.peer_sends(ACK, ack=1004)
    link.expect_silence(10)


def test_probe_is_taken_by_the_peer(link):
    """The window opened, but the update was lost: the ACK of the probe opens it."""
    conn = link.established(wnd=1000, mss=1000)
    conn.send(bytes(1000) + b"abc")
    link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=0)
    link.expect(ACK, seq=1001, data=b"a", after=0.2)
    link.peer_sends(ACK, ack=1002, wnd=500)
    link.expect(ACK, seq=1002, data=b"bc")


def test_a_peer_that_answers_probes_is_waited_for(make_link):
    """3.8.6.1, MUST-37: as long as the receiving TCP peer continues to send acknowledgments ... stay open."""
    link = make_link(tcp_retries2=3)
    conn = link.established(wnd=0)
    conn.send(b"abc")
    for _ in range(40):                                 # for more than an hour
        link.clock.wait_until(lambda: link.drain() != [])
        link.peer_sends(ACK, ack=1, wnd=0)
    assert link.clock.time() > 3600
    assert link.state() == State.ESTABLISHED


def test_a_peer_that_does_not_is_given_up(make_link):
    link = make_link(tcp_retries2=3)
    conn = link.established(wnd=0)
    conn.send(b"abc")
    for wait in (0.2, 0.4, 0.8):
        link.expect(ACK, seq=1, data=b"a", after=wait)
    link.advance(1.6)
    assert conn.getsockopt(1, 4) == errno.ETIMEDOUT
    link.drain()


def test_fin_may_be_sent_into_a_closed_window(link):
    conn = link.established(wnd=1000, mss=1000)
    conn.send(bytes(1000))
    link.expect(ACK, size=1000)
    link.peer_sends(ACK, wnd=0)
    conn.close()
    link.expect(FIN | ACK, seq=1001)


def test_window_closes_with_data_in_flight_that_is_lost(link):
    """The retransmission timer finds a closed window: from there on it is a probe."""
    conn = link.established(wnd=4000, mss=1000)
    conn.send(bytes(4000))
    for _ in range(4):
        link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=1001, wnd=0)
    link.advance(5)
    probes = link.drain()
    assert probes
    assert all(p.seq == 1001 for p in probes)
    link.peer_sends(ACK, ack=1001, wnd=4000)
    assert link.expect(ACK, size=1000).seq == 1001
    link.drain()
    link.peer_sends(ACK, ack=4001)
    link.expect_silence(5)


# ---- our window


def test_we_close_the_window_and_reopen_it(each_link):
    link = each_link
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    assert fill(link, 4096).wnd == 0
    link.peer_sends(ACK, data=b"probe")
    link.expect(ACK, ack=4197, wnd=0)
    assert len(conn.recv(4096)) == 4096
    link.expect(ACK, ack=4197, wnd=3072)                # a segment stays in reserve, as on Linux
    link.peer_sends(ACK, data=b"probe", seq=4197)
    assert conn.recv(10) == b"probe"


def test_valid_ack_is_taken_at_a_closed_window(link):
    """"special allowance should be made to accept valid ACKs": also on a segment with text that has no place."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    assert fill(link, 4096).wnd == 0
    conn.send(b"def")
    link.expect(ACK, data=b"def")
    link.peer_sends(ACK, ack=7, data=b"no place")
    link.expect(ACK, ack=4197, wnd=0)
    link.expect_silence(10)                             # nothing is sent again: it was acknowledged


def test_fin_is_acknowledged_at_a_closed_window(link):
    """The same for our FIN."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    assert fill(link, 4096).wnd == 0
    conn.shutdown(1)
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2, data=b"no place")
    link.expect(ACK, seq=2, ack=4197, wnd=0)
    assert link.state() == State.FIN_WAIT_2


def test_a_fin_needs_no_room(each_link):
    """As on Linux: the peer's end is seen though our window is shut; its text beyond it is not taken."""
    link = each_link
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    assert fill(link, 4096).wnd == 0
    link.peer_sends(FIN | ACK, data=b"no place")
    link.expect(ACK, ack=4197, wnd=0)
    assert link.state() == State.ESTABLISHED
    link.peer_sends(FIN | ACK, seq=4197)
    link.expect(ACK, ack=4198, wnd=0)
    assert link.state() == State.CLOSE_WAIT
    assert len(conn.recv(5000)) == 4096
    assert conn.recv(1) == b""


def test_reading_a_little_is_no_news(link):
    """3.8.6.2.2: an update comes when a segment, or half of the buffer, has become free."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    assert fill(link, 4096).wnd == 0
    for _ in range(10):
        conn.recv(100)
        link.expect_silence()
    conn.recv(100)                                      # 1100: more than the segment of 1024
    assert link.expect(ACK, ack=4197).wnd >= 1024


def test_small_segments_do_not_move_the_edge(link):
    """... nor do ACKs in between offer crumbs."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024)
    assert fill(link, 4000).wnd == 96
    conn.recv(500)
    link.peer_sends(ACK, data=b"x")
    link.expect(ACK, ack=4102, wnd=95, after=0.04)


def test_right_edge_never_moves_left(make_link):
    """3.8.6: whatever is sent and read, RCV.NXT + RCV.WND does not shrink, and is never beyond the buffer."""
    for seed in range(12):
        chance = random.Random(seed)
        link = make_link(seed=seed)
        conn = link.established(SO_RCVBUF=chance.choice([4096, 8192, 65536, 1 << 20]),
                                wscale=chance.choice([None, 0, 7]))
        talk = link.talk()
        size = link.tcb(conn).rcv.size
        unit = 1 << talk.wscale
        edge = read = written = 0
        window = 65535
        for _ in range(150):
            if chance.random() < 0.6 and window > 0:
                n = min(chance.choice([1, 1, 2, 100, 1460]), window)
                written += n
                link.peer_sends(ACK, data=bytes(n))
            if chance.random() < 0.3:
                with suppress(BlockingIOError):
                    read += len(conn.recv(chance.choice([1, 50, 2000, 100_000])))
            if chance.random() < 0.3:
                link.advance(0.05)
            for seg in link.drain():
                window = link.window(seg)
                new = seg.ack + window - 101
                assert new > edge - unit, f"seed {seed}: the edge went from {edge} to {new}"
                edge = max(edge, new)
                assert new <= read + size, f"seed {seed}: {new - read} bytes offered, of {size}"
            window = max(edge - written, 0)


def test_one_byte_at_a_time_does_close_the_window(link):
    """A window in units of 128 bytes must not creep past the end of the buffer."""
    conn = link.established(SO_RCVBUF=4096, TCP_MAXSEG=1024, wscale=7)
    last = None
    for _ in range(4096):
        link.peer_sends(ACK, data=b"x")
        for seg in link.drain():
            last = seg
        if last is not None and last.ack + link.window(last) <= link.talk().nxt:
            break
    link.advance(0.05)
    last = (link.drain() or [last])[-1]
    assert last.ack + link.window(last) - 101 <= 4096
    assert len(conn.recv(10_000)) == link.talk().nxt - 101


# ---- silly windows of the peer (3.8.6.2.1)


def test_a_small_piece_of_window_is_not_used_at_once(link):
    """Less than a segment and less than half of the largest window: wait, and send after all when it stays so."""
    conn = link.established(wnd=4000, mss=1000)
    conn.send(bytes(9000))
    for _ in range(4):
        link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=4001, wnd=100)
    link.expect(ACK, seq=4001, size=100, after=0.2)     # the override timeout, 0.1 to 1 s


def test_an_ack_in_between_does_not_stop_the_override_timeout(link):
    conn = link.established(wnd=4000, mss=1000)
    conn.send(bytes(9000))
    for _ in range(4):
        link.expect(ACK, size=1000)
    link.peer_sends(ACK, ack=4001, wnd=100)
    link.advance(0.1)
    link.peer_sends(ACK, ack=4001, wnd=100)
    link.expect(ACK, seq=4001, size=100, after=0.1)
    link.peer_sends(ACK, wnd=150)
    link.advance(0.1)
    link.peer_sends(ACK, wnd=160)                       # larger, and still not worth a segment
    assert link.expect(ACK, seq=4101, size=160, after=0.2)


def test_half_of_the_largest_window_is_worth_a_segment(link):
    conn = link.established(wnd=400, mss=1000)
    conn.send(bytes(2000))
    link.expect(ACK, seq=1, size=400)
    link.peer_sends(ACK, ack=401, wnd=200)
    link.expect(ACK, seq=401, size=200)
    link.peer_sends(ACK, ack=601, wnd=199)
    link.expect_silence(0.1)


# ---- window scale (RFC 7323 section 2)


def test_windows_are_scaled(each_link):
    link = each_link
    conn = link.established(wscale=3, wnd=65535)
    conn.send(b"x")
    link.expect(ACK, data=b"x")
    link.peer_sends(ACK, wnd=1000)                      # 8000 bytes
    conn.send(bytes(20_000))
    sent = sum(len(seg.data) for seg in link.drain())
    assert sent > 8000 - 1460
    assert sent <= 8000


def test_window_of_a_syn_is_not_scaled(link):
    """(2.2)"""
    link.listen()
    link.peer_sends(SYN, seq=100, wnd=2000, mss=1000, wscale=8)
    link.expect(SYN | ACK, wnd=64240, wscale=7)
    link.peer_sends(ACK, ack=1, wnd=8)                  # 2048
    conn = link.accept()
    conn.send(bytes(5000))
    assert sum(len(seg.data) for seg in link.drain()) <= 2048


def test_a_shift_above_14_is_14(link):
    """(2.3)"""
    link.established(wscale=200)
    assert next(iter(link.tcp_tcbs())).snd_wscale == 14


def test_large_window_is_offered_with_scale(link):
    """It opens as text comes, twice as fast (Linux: rcv_ssthresh)."""
    conn = link.established(wscale=0, SO_RCVBUF=1 << 20)
    windows = []
    for _ in range(60):
        link.peer_sends(ACK, data=bytes(1460))
        conn.recv(1460)
        windows += [link.window(got) for got in link.drain()]
    assert windows == sorted(windows)
    assert windows[0] <= 65535 + 3 * 1460
    assert windows[-1] > 65535 + 50 * 1460


def test_no_scale_without_the_peers(link):
    """(2.2) Both must send the option."""
    link.established()
    link.peer_sends(ACK, data=b"x")
    got = link.expect(ACK, after=0.04)
    assert got.wnd == 64240 - 1


def test_no_scale_when_it_is_switched_off(make_link):
    link = make_link(tcp_window_scaling=0)
    link.listen()
    link.peer_sends(SYN, seq=1, mss=1000, wscale=5)
    assert link.expect(SYN | ACK).wscale is None


@pytest.mark.parametrize("wnd", [0, 1])
def test_peer_that_begins_with_a_tiny_window(link, wnd):
    conn = link.established(wnd=wnd)
    conn.send(b"abc")
    link.advance(2)
    got = link.drain()
    assert got
    assert {(s.seq, s.data) for s in got} == {(1, b"a")}
    link.peer_sends(ACK, ack=2, wnd=1000)
    assert b"bc" in [s.data for s in link.drain()]
    link.peer_sends(RST)
