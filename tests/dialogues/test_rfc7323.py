"""RFC 7323: its worked examples, for timestamps (4.1, 4.3), PAWS (5.3) and scaled windows (2.4, appendix F)."""
from __future__ import annotations

import pytest

from netstack.errors import Drop

from .link import ACK, PSH, State

SIZE = 100          # bytes of each of A, B, C ...
FIRST = 1001


def block(link, letter, tsval, **fields):
    """<A, TSval=1>: the letter is the place in the sequence."""
    n = ord(letter) - ord("A")
    link.peer_sends(ACK | PSH, seq=FIRST + n * SIZE, data=letter.encode() * SIZE, ts=(tsval, 0), **fields)


def acknowledges(link, letter, tsecr):
    """<ACK(A), TSecr=1>"""
    n = ord(letter) - ord("A") + 1
    got = link.expect(ACK, ack=FIRST + n * SIZE)
    assert got.ts[1] == tsecr


@pytest.fixture
def receiver(each_link):
    each_link._peer_clock = lambda: 0                   # the peer's clock is what the examples say
    each_link.established(iss=FIRST - 1, ts=True)
    return each_link


def test_4_1_only_new_acknowledgments_measure(link):
    """One-way data: the pauses of the application do not count.  RTTM only when SND.UNA advances."""
    conn = link.established(ts=True)
    conn.send(b"A")
    a = link.expect(ACK, data=b"A")
    link.advance(0.05)
    link.peer_sends(ACK, ts=(127, a.ts[0]))
    before = link.tcb(conn).rto.srtt
    link.advance(10)                                    # a pause; then the peer sends text, echoing A's stamp
    link.peer_sends(ACK, data=b"x", ts=(135, a.ts[0]))
    assert link.tcb(conn).rto.srtt == before
    assert before <= 50_000_000


def test_4_3_a_in_sequence_and_delayed(receiver):
    """By case (A), the timestamp from the oldest unacknowledged segment is echoed."""
    for letter, tsval in ("A", 1), ("B", 2), ("C", 3):
        block(receiver, letter, tsval)
        receiver.expect_silence()
    receiver.advance(0.04)
    acknowledges(receiver, "C", 1)


def test_4_3_b_and_c_out_of_order(receiver):
    """The last that advanced the left window edge; then the one that filled the hole."""
    link = receiver
    block(link, "A", 1)
    link.advance(0.04)
    acknowledges(link, "A", 1)
    block(link, "C", 3)
    acknowledges(link, "A", 1)
    block(link, "B", 2)
    acknowledges(link, "C", 2)
    block(link, "E", 5)
    acknowledges(link, "C", 2)
    block(link, "D", 4)
    acknowledges(link, "E", 4)
    assert link.accepted.recv(1000) == b"".join(letter.encode() * SIZE for letter in "ABCDE")


def test_5_3_a_loss_discards_nothing(receiver):
    """A.1, B.1 (lost), C.1 ... Z.1, then B.2: what is queued is not inspected again; TS.Recent is 2."""
    link = receiver
    conn = link.accepted
    block(link, "A", 1)
    for n in range(ord("C"), ord("Z") + 1):
        block(link, chr(n), 1)
    link.drain()
    block(link, "B", 2)
    acknowledges(link, "Z", 2)
    assert len(conn.recv(10_000)) == 26 * SIZE
    assert link.drops(Drop.TCP_PAWS) == 0


def test_5_3_what_is_delayed_past_the_retransmission_is_discarded(receiver):
    """... "since their timestamps are now out of date"."""
    link = receiver
    block(link, "A", 1)
    for letter in "DEF":
        block(link, letter, 1)
    link.drain()
    block(link, "B", 2)
    acknowledges(link, "B", 2)
    block(link, "C", 1)
    acknowledges(link, "B", 2)
    assert link.drops(Drop.TCP_PAWS) == 1
    block(link, "C", 3)                                 # sent again: it comes through
    acknowledges(link, "F", 3)


@pytest.mark.parametrize(("tsval", "taken"), [(99, False), (100, True), (101, True), (100 + 2**31 - 1, True),
                                              (100 - 2**31 + 1, False)])
def test_5_3_r1_compares_modulo(receiver, tsval, taken):
    """5.2: "s < t" if 0 < (t - s) < 2^31, computed in unsigned 32-bit arithmetic."""
    link = receiver
    block(link, "A", 100)
    link.advance(0.04)
    link.drain()
    block(link, "B", tsval & 0xFFFF_FFFF)
    link.advance(0.04)
    assert link.expect(ACK).ack == FIRST + (2 if taken else 1) * SIZE


def test_5_3_empty_segments_are_answered_rarely(receiver):
    """R1 asks for an ACK; two ends that find each other's old would answer for ever (RFC 5961 7)."""
    link = receiver
    block(link, "A", 100)
    link.advance(0.04)
    link.drain()
    for _ in range(10):
        link.peer_sends(ACK, ts=(50, 0))
    link.expect(ACK)
    link.expect_silence()
    assert link.drops(Drop.TCP_PAWS) == 10


def test_2_4_what_was_in_the_window_stays_in_it(each_link):
    """1) "MUST honor, as in window, any segment that would have been in window for any <ACK> sent": odd sizes."""
    link = each_link
    conn = link.established(wscale=7, mss=1460)
    shift = link.talk().wscale
    assert shift > 0
    edge = 0
    for i in range(200):
        link.peer_sends(ACK, data=bytes(1 + 37 * i % 101))
        link.advance(0.04)
        for seg in link.drain():
            new = seg.ack + link.window(seg)
            assert new > edge - (1 << shift)            # rounding down may hide a piece of it ...
            edge = max(edge, new)
    assert (link.tcb(conn).rcv_adv - edge) & 0xFFFF_FFFF == 0
    link.peer_sends(ACK, seq=edge - 1, data=b"z")       # ... but its last byte is taken
    assert link.tcb(conn).held != 0


def test_appendix_f_window_retraction_is_handled(link):
    """1045 with 1 << 7: the right edge goes from 1296 to 1173: nothing more is sent, nothing breaks."""
    conn = link.established(wnd=1000, mss=1000, wscale=7)
    link.peer_sends(ACK, ack=1, wnd=2)
    conn.send(bytes(40))
    link.expect(ACK, size=40)
    link.peer_sends(ACK, ack=41, wnd=2)
    conn.send(bytes(5))
    link.expect(ACK, size=5)
    link.peer_sends(ACK, ack=46, wnd=1)
    conn.send(bytes(400))
    sent = 0
    for _ in range(40):
        for seg in link.drain():
            assert seg.end <= max(46 + 128, sent + 128)
            sent = max(sent, seg.end)
            link.peer_sends(ACK, ack=seg.end, wnd=1)
        link.advance(0.5)
    assert sent == 446
    assert link.state() == State.ESTABLISHED
