"""RFC 1337: TIME-WAIT assassination, its hazards (section 2) and the fix F1 (section 3)."""
from __future__ import annotations

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, RST, SYN, State


def time_wait(link, **keywords):
    """B of the examples: it has closed first, and waits.  The peer's FIN was 100, the next is 101."""
    conn = link.established(iss=99, **keywords)
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK, ack=2)
    link.peer_sends(FIN | ACK, ack=2)
    link.expect(ACK, seq=2, ack=101)
    assert link.state() == State.TIME_WAIT


def assassinate(link):
    """Figure 1, lines 5.1 to 5.3: an old duplicate, our ACK, and the reset of a peer that knows nothing any more."""
    link.peer_sends(ACK, seq=50, ack=2, data=b"old duplicate")
    got = link.expect(ACK, seq=2, ack=101)
    link.peer_sends(RST, seq=got.ack)
    link.expect_silence()


def test_2_1_figure_1_time_wait_survives(each_link):
    link = each_link
    time_wait(link)
    assassinate(link)
    assert link.state() == State.TIME_WAIT
    assert link.drops(Drop.TCP_TIME_WAIT) == 1


def test_2_1_figure_1_without_the_fix(make_link):
    """RFC 9293 3.10.7.4 by the letter: "TIME-WAIT ... enter the CLOSED state": premature."""
    link = make_link(tcp_rfc1337=0)
    time_wait(link)
    assassinate(link)
    assert link.state() == State.CLOSED


@pytest.mark.parametrize("fixed", [True, False])
def test_2_2_hazard_h1_old_duplicate_data(make_link, fixed):
    """A new connection with lower numbers, which an old segment fits: with F1 there is none before 2 MSL are over."""
    link = make_link(tcp_rfc1337=int(fixed))
    time_wait(link)
    assassinate(link)
    link.advance(0.1)
    link.peer_sends(SYN, seq=20, mss=1460)                      # its numbers will come by 50 once more
    if fixed:
        link.expect(ACK, seq=2, ack=101)                        # challenged, TIME-WAIT stays
        assert link.state() == State.TIME_WAIT
        return
    link.expect(SYN | ACK, ack=21)
    link.peer_sends(ACK, ack=1)
    conn = link.accept()
    link.peer_sends(ACK, data=b"x" * 29)
    link.peer_sends(ACK, seq=50, data=b"old duplicate")         # of the connection before
    assert conn.recv(100).endswith(b"old duplicate")            # H1
    link.drain()


def test_2_3_hazard_h2_desynchronized(link):
    """The peer acknowledges what the new connection never sent: it is told so, and nothing is accepted (F1)."""
    time_wait(link)
    assassinate(link)
    link.peer_sends(SYN, seq=500, mss=1460)                     # greater: a new connection may follow
    link.expect(SYN | ACK, ack=501)
    link.peer_sends(ACK, seq=501, ack=70_000)                   # an old duplicate's ACK
    link.expect(RST, seq=70_000)
    assert link.state() == State.SYN_RECEIVED


def test_2_4_hazard_h3_connection_failure(link):
    """The old ACK does not end a new connection that is being opened: only a SYN that is newer begins one."""
    time_wait(link)
    for _ in range(3):
        assassinate(link)
        link.advance(1)
    assert link.state() == State.TIME_WAIT
    link.advance(60)
    assert link.state() == State.CLOSED
    link.peer_sends(SYN, seq=20, mss=1460)                      # now any number will do
    link.expect(SYN | ACK, ack=21)


@pytest.mark.parametrize("seq", [100, 101, 102, 3000])
def test_3_f1_no_reset_of_any_kind(link, seq):
    time_wait(link)
    link.peer_sends(RST, seq=seq)
    link.advance(59)
    assert link.state() == State.TIME_WAIT


def test_3_f2_paws_tells_old_from_new(make_link):
    """With timestamps the old duplicate is old by its timestamp, in whichever connection it arrives."""
    link = make_link(tcp_rfc1337=0)
    conn = link.established(iss=20, ts=True)
    link.peer_sends(ACK, data=b"x" * 29)
    link.peer_sends(ACK, seq=50, data=b"old duplicate", ts=(5, link.talk().ts))
    assert conn.recv(100) == b"x" * 29
    assert link.drops(Drop.TCP_PAWS) == 1
    link.drain()
