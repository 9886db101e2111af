"""RFC 5961: each attack that it describes, and each exchange that shows an honest peer still gets through.

One paragraph each is in test_resets.py, all combinations are in tests/tcp/test_every_segment.py.
"""
from __future__ import annotations

import pytest

from .link import ACK, RST, SYN, State

WINDOW = 65535


def test_3_1_a_blind_reset_needs_one_number_not_one_window(each_link):
    """A reset every RCV.WND numbers used to be enough; now only the exact one counts."""
    link = each_link
    conn = link.established(iss=0)
    for seq in range(2, 1 << 32, WINDOW * 1009):
        link.peer_sends(RST, seq=seq)
    assert link.state() == State.ESTABLISHED
    link.peer_sends(ACK, data=b"alive")
    assert conn.recv(10) == b"alive"


def test_3_2_a_genuine_reset_out_of_order(each_link):
    """ "the other end would send an RST with an exact sequence number match" """
    link = each_link
    conn = link.established()
    link.peer_sends(RST, seq=101 + 500)                 # text before it was lost
    challenge = link.expect(ACK, seq=1, ack=101)
    link.peer_sends(RST, seq=challenge.ack)             # nobody there: <SEQ=SEG.ACK><CTL=RST>
    link.expect_silence()
    assert link.state() == State.CLOSED
    with pytest.raises(ConnectionResetError):
        conn.recv(1)


@pytest.mark.parametrize("ack", [0, 2, 77])
def test_3_2_in_syn_sent_the_ack_decides(each_link, ack):
    """ "acceptable if the ACK field acknowledges the SYN. In all other cases ... silently discard" """
    link = each_link
    link.connect()
    link.expect(SYN)
    link.peer_sends(RST | ACK, seq=0, ack=ack)
    link.peer_sends(RST, seq=0)
    link.expect_silence()
    assert link.state() == State.SYN_SENT
    link.peer_sends(RST | ACK, seq=0, ack=1)
    assert link.state() == State.CLOSED


@pytest.mark.parametrize("seq", [50, 100, 101, 102, 5000, 1 << 31])
def test_4_2_a_peer_that_has_restarted(each_link, seq):
    """Its SYN is challenged, its TCP answers with a reset that fits, its next SYN gets a connection."""
    link = each_link
    link.established()
    link.peer_sends(SYN, seq=seq, mss=1460)
    challenge = link.expect(ACK, seq=1, ack=101)
    link.peer_sends(RST, seq=challenge.ack)
    assert link.state() == State.CLOSED
    link.advance(1)
    link.peer_sends(SYN, seq=seq, mss=1460)
    link.expect(SYN | ACK, ack=seq + 1)


def test_4_1_a_blind_syn_does_not_reset(each_link):
    link = each_link
    conn = link.established()
    for seq in range(0, 1 << 32, 1 << 26):
        link.peer_sends(SYN, seq=seq)
    link.peer_sends(ACK, seq=101, data=b"alive")
    assert conn.recv(10) == b"alive"


def test_5_1_blind_data_injection(each_link):
    """Text in the window with a guessed ACK: half of all numbers used to do, now MAX.SND.WND and what is on the way."""
    link = each_link
    conn = link.established(wnd=1000)
    conn.send(bytes(1000))
    link.drain()
    link.peer_sends(ACK, ack=1001)
    taken = 0
    for ack in range(1001 - (1 << 31), 1001 + (1 << 31), 1 << 22):
        link.peer_sends(ACK, seq=101, ack=ack + 7, data=b"evil")
        taken += link.tcb(conn).rcv_nxt != 101
    assert taken == 0
    for ack, good in ((1001 - 1001, False), (1002, False), (1001 - 1000, True)):
        link.peer_sends(ACK, seq=101, ack=ack, data=b"text")
        assert (link.tcb(conn).rcv_nxt == 105) == good


@pytest.mark.parametrize(("what", "segment"), [
    ("resets in the window", {"flags": RST, "seq": 150}),
    ("SYNs in the window", {"flags": SYN, "seq": 150}),
    ("SYNs outside the window", {"flags": SYN, "seq": 101 - 5000}),
    ("ACKs outside the window", {"flags": ACK, "seq": 101 - 5000}),
    ("ACKs of the future", {"flags": ACK, "seq": 101, "ack": 1000}),
    ("text with ACKs of the future", {"flags": ACK, "seq": 101, "ack": 1000, "data": b"evil"}),
    ("ACKs of the far past", {"flags": ACK, "seq": 101, "ack": -100_000}),
])
def test_7_throttling(each_link, what, segment):
    """A flood of anything that asks for an ACK is answered twice a second, and the connection goes on."""
    link = each_link
    conn = link.established()
    for _ in range(100):
        link.peer_sends(**segment)
        link.advance(0.01)
    assert 1 <= len(link.drain()) <= 3
    link.peer_sends(ACK, seq=101, ack=1, data=b"alive")
    assert conn.recv(10) == b"alive"
    link.expect(ACK, ack=106)


def test_7_two_ends_that_disagree_come_to_rest(each_link):
    """Each finds the other's ACK wrong: an answer to every answer would never end."""
    link = each_link
    link.established()
    answers = 0
    link.peer_sends(ACK, seq=101, ack=5000)
    while got := link.drain():
        answers += len(got)
        assert answers < 5
        link.peer_sends(ACK, seq=101, ack=5000)         # the peer's answer to our challenge
    assert answers == 1
