"""Small segments: Nagle's rule (RFC 9293 3.7.4) in Minshall's form, TCP_NODELAY, TCP_CORK; PSH."""
from __future__ import annotations

import socket as real

import pytest

from .link import ACK, FIN, PSH


def test_first_small_segment_goes_at_once(each_link):
    link = each_link
    conn = link.established()
    conn.send(b"a")
    link.expect(ACK, seq=1, data=b"a")


def test_second_waits_for_the_ack_of_the_first(link):
    conn = link.established()
    conn.send(b"a")
    link.expect(ACK, data=b"a")
    conn.send(b"b")
    conn.send(b"c")
    link.expect_silence(0.1)
    link.peer_sends(ACK, ack=2)
    link.expect(ACK, seq=2, data=b"bc")


def test_full_segments_do_not_wait(link):
    conn = link.established(mss=1000)
    conn.send(b"a")
    link.expect(ACK, data=b"a")
    conn.send(bytes(1500))
    link.expect(ACK, seq=2, size=1000)
    link.expect_silence(0.1)
    link.peer_sends(ACK, ack=2)
    link.expect(ACK, seq=1002, size=500)


def test_small_segment_behind_full_ones_goes_at_once(link):
    """Minshall: only a small segment that is not acknowledged makes the next one wait."""
    conn = link.established(mss=1000)
    conn.send(bytes(2500))
    link.expect(ACK, size=1000)
    link.expect(ACK, size=1000)
    link.expect(ACK, size=500)
    link.expect_silence()


def test_nodelay(link):
    conn = link.established()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
    for i, letter in enumerate(b"abc"):
        conn.send(bytes([letter]))
        link.expect(ACK, seq=1 + i, data=bytes([letter]))


def test_nodelay_sends_what_waits(link):
    conn = link.established()
    conn.send(b"a")
    link.expect(ACK, data=b"a")
    conn.send(b"b")
    link.expect_silence()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
    link.expect(ACK, data=b"b")


def test_cork_keeps_small_segments(link):
    conn = link.established(mss=1000)
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_CORK, 1)
    conn.send(bytes(600))
    link.expect_silence(0.1)
    conn.send(bytes(600))
    link.expect(ACK, seq=1, size=1000)
    link.expect_silence(0.1)
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_CORK, 0)
    link.expect(ACK, seq=1001, size=200)


def test_cork_has_a_ceiling(link):
    """tcp(7): "there is a 200 millisecond ceiling on the time for which output is corked"."""
    conn = link.established()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_CORK, 1)
    conn.send(b"corked")
    link.expect(ACK, data=b"corked", after=0.2)


def test_cork_has_a_ceiling_whatever_the_peer_sends(link):
    conn = link.established()
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_CORK, 1)
    conn.send(b"corked")
    link.advance(0.1)
    link.peer_sends(ACK)
    link.peer_sends(ACK)
    link.expect(ACK, data=b"corked", after=0.1)


def test_fin_is_not_held_back(link):
    conn = link.established()
    conn.send(b"a")
    link.expect(ACK, data=b"a")
    conn.send(b"b")
    link.expect_silence()
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK, seq=2, data=b"b")


def test_push_on_the_last_segment(link):
    """3.9.1.2: PSH where the application's data ends (MUST-61)."""
    conn = link.established(mss=1000)
    conn.send(bytes(2500))
    assert [bool(s.flags & PSH) for s in link.drain()] == [False, False, True]


def test_nagle_works_again_after_two_gigabytes(link):
    """SND.SML stays behind for ever when only full segments follow: it must not seem to be ahead."""
    conn = link.established()
    conn.send(b"a")
    link.expect(ACK, data=b"a")
    link.peer_sends(ACK)
    for _ in range(2):
        link.leap(conn, 0x4800_0000)
        conn.send(bytes(1460))
        link.expect(ACK, size=1460)
        link.peer_sends(ACK)
    conn.send(b"b")
    link.expect(ACK, data=b"b")


# ---- tcp(7): TCP_NODELAY "... forces an explicit flush of pending output, even if TCP_CORK is currently set"


@pytest.mark.parametrize("cork", ["TCP_CORK", "MSG_MORE"])
def test_nodelay_flushes_through_a_cork(link, cork):
    conn = link.established(**({"TCP_CORK": 1} if cork == "TCP_CORK" else {}))
    conn.send(b"corked", real.MSG_MORE if cork == "MSG_MORE" else 0)
    link.expect_silence(0.1)
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
    link.expect(ACK, seq=1, data=b"corked")


def test_and_what_follows_is_corked_again(link):
    conn = link.established(TCP_CORK=1)
    conn.send(b"corked")
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 1)
    link.expect(ACK, seq=1, data=b"corked")
    link.peer_sends(ACK)
    conn.send(b"again")
    link.expect_silence(0.1)
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_CORK, 0)
    link.expect(ACK, seq=7, data=b"again")


def test_switching_nodelay_off_flushes_nothing(link):
    conn = link.established(TCP_CORK=1)
    conn.send(b"corked")
    conn.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, 0)
    link.expect_silence(0.1)


# Writes that wait for a thread that has been woken (tcp_autocorking).

@pytest.fixture
def woken(link):
    """A connection without Nagle's rule, and a call: somebody sleeps in poll(2), and the bell has been rung, or not."""
    def ring(rung: int) -> None:
        link.stack._record.rung = link.stack._record.sleeping = rung

    yield link.established(TCP_NODELAY=1), ring
    ring(0)


def sent(link, conn) -> int:
    t = link.tcb(conn)
    return int(t.snd_nxt - t.snd_una)


def test_what_is_written_behind_others_waits_for_who_was_woken(link, woken):
    conn, ring = woken
    ring(1)
    conn.send(b"first")
    assert sent(link, conn) == 5                        # nothing is in flight: it goes at once
    conn.send(b"second")
    conn.send(b"third")
    assert sent(link, conn) == 5
    ring(0)                                             # it has come, and takes the notes
    link.expect(ACK, seq=1, data=b"first")
    link.expect(ACK | PSH, seq=6, data=b"secondthird")
    conn.send(b"fourth")
    assert sent(link, conn) == 22


def test_a_full_segment_does_not_wait(link, woken):
    conn, ring = woken
    ring(1)
    conn.send(b"first")
    conn.send(bytes(1000))
    assert sent(link, conn) == 5
    conn.send(bytes(500))
    assert sent(link, conn) == 1505


@pytest.mark.parametrize("member", ["rung", "sleeping"])
def test_it_does_not_wait_for_nobody(link, woken, member):
    conn, ring = woken
    ring(1)
    setattr(link.stack._record, member, 0)
    conn.send(b"first")
    conn.send(b"second")
    assert sent(link, conn) == 11


def test_without_autocorking_nothing_waits(link, woken):
    conn, ring = woken
    link.stack.settings["net.ipv4.tcp_autocorking"] = 0
    ring(1)
    conn.send(b"first")
    conn.send(b"second")
    assert sent(link, conn) == 11
