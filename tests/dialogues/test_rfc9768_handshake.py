"""AccECN (RFC 9768), what the handshake agrees on and finds out: sections 3.1, 3.2.2.1 to 3.2.2.4, 3.2.3.2, 5.1."""
from __future__ import annotations

import pytest

from netstack.tcp.accecn import Fail
from netstack.tcp.accecn_option import Seen
from netstack.tcp.ecn import CE, CWR, ECE, ECT_0, ECT_1, NOT_ECT, Mode
from netstack.tcp.tcb import rare

from .accecn import ALL, FIRST, ISS, ORDER_1, SETTINGS, ace, client, option, server
from .link import ACK, RST, SYN, State

TOLD = [(NOT_ECT, 0b010), (ECT_1, 0b011), (ECT_0, 0b100), (CE, 0b110)]      # tables 2 and 3
START = (ORDER_1, 1, 0, 1)


def listening(make_link, **settings):
    link = make_link(**{**SETTINGS, **settings})
    link.listen()
    return link


def asks(link, flags=ALL, **more):
    """The peer's SYN."""
    link.peer_sends(SYN | flags, seq=ISS, mss=1460, sack_ok=True, **more)


# ---- 3.1.1 to 3.1.3

@pytest.mark.parametrize(("codepoint", "bits"), TOLD)
def test_our_syn_ack_tells_the_codepoint(make_link, codepoint, bits):
    """3.1.1, table 2; the option: 3.2.3.2.1."""
    link = listening(make_link)
    asks(link, tos=codepoint)
    link.expect(SYN | ACK | ace(bits), tos=NOT_ECT, accecn=START)


@pytest.mark.parametrize(("answer", "mode"), [(0b001, Mode.CLASSIC), (0, Mode.OFF), (0b111, Mode.OFF)])
def test_a_peer_that_has_not_got_it(make_link, answer, mode):
    """3.1.2, table 2"""
    link, conn = client(make_link, answer)
    link.expect(ACK, tos=NOT_ECT)
    assert link.tcb(conn).ecn.mode == mode
    conn.send(b"text")
    link.expect(data=b"text", tos=ECT_0 if mode else NOT_ECT, accecn=None)


@pytest.mark.parametrize("setting", [1, 2])
def test_a_server_without_it_answers_classic(make_link, setting):
    link = listening(make_link, tcp_ecn=setting)
    asks(link)
    link.expect(SYN | ACK | ECE)


@pytest.mark.parametrize("setting", range(6))
def test_settings(make_link, setting):
    """tcp_ecn, as Linux: what we ask for, and what an AccECN SYN gets."""
    link = make_link(**{**SETTINGS, "tcp_ecn": setting})
    link.connect()
    link.expect(SYN | (0, ECE | CWR, 0, ALL, ECE | CWR, 0)[setting])
    link = listening(make_link, tcp_ecn=setting)
    asks(link)
    link.expect(SYN | ACK | (0, ECE, ECE, ace(2), ace(2), ace(2))[setting])


def test_simultaneous_open(make_link):
    """3.1.2: the mode, and the SYN-ACK, of a host that was asked."""
    link = make_link(**SETTINGS)
    conn = link.connect()
    link.expect(SYN | ALL)
    asks(link, tos=ECT_0)
    link.expect(SYN | ACK | ace(0b100))
    assert link.tcb(conn).ecn.mode == Mode.ACCURATE


@pytest.mark.parametrize("flags", [0b001, 0b010, 0b100, 0b101, 0b110])
def test_a_syn_of_the_future(make_link, flags):
    """3.1.3: "as if the three flags had been set to (1,1,1)"."""
    link = listening(make_link)
    asks(link, ace(flags))
    link.expect(SYN | ACK | ace(0b010))


def test_a_syn_ack_of_the_future(make_link):
    """3.1.3: 101 confirms AccECN, and says that the field arrived unchanged."""
    link, conn = client(make_link, 0b101)
    link.expect(ACK | ace(0b010), tos=ECT_0)
    assert rare(link.tcb(conn)).accecn.fail == 0


# ---- 3.1.4, 3.1.5

def test_a_syn_is_sent_twice_before_it_is_given_up(make_link):
    """3.1.4.1; and no classic one in between (3.1.5)."""
    link = make_link(**SETTINGS)
    link.connect()
    link.expect(SYN | ALL)
    link.expect(SYN | ALL, after=1)
    link.expect(SYN, after=2)


def test_an_answer_to_one_of_the_first_syns(make_link):
    """3.1.4.1: the mode of the first SYN-ACK, whatever was sent meanwhile; a client may still set ECT."""
    link = make_link(**SETTINGS)
    conn = link.connect()
    link.advance(3.5)
    assert [s.flags for s in link.drain()] == [SYN | ALL, SYN | ALL, SYN]
    link.peer_sends(SYN | ACK | ace(0b010), seq=ISS, ack=1, mss=1460, sack_ok=True, more=FIRST)
    link.expect(ACK | ace(0b010), tos=ECT_0)
    assert rare(link.tcb(conn)).accecn.fail == 0


def test_a_syn_ack_is_sent_twice_before_it_is_given_up(make_link):
    """3.2.3.2.2: without the option, then without flags; and no ECT any more (3.1.5)."""
    link = listening(make_link)
    asks(link)
    assert link.expect(SYN | ACK | ace(2)).accecn == START
    assert link.expect(SYN | ACK | ace(2), after=1).accecn is None
    link.expect(SYN | ACK, after=2)
    link.peer_sends(ACK | ace(0b010), ack=1, more=FIRST)
    conn = link.accept()
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT, accecn=START)
    assert rare(link.tcb(conn)).accecn.fail == Fail.ACE_SEND


def test_the_latest_syn_counts(make_link):
    """3.1.5: "MUST feed back the IP-ECN field on the latest valid SYN"; no option, lest it be what is dropped."""
    link = listening(make_link)
    asks(link)
    link.expect(SYN | ACK | ace(0b010), accecn=START)
    asks(link, tos=CE)
    link.expect(SYN | ACK | ace(0b110), accecn=None)
    link.peer_sends(ACK | ace(0b010), ack=1, more=FIRST)
    link.accept().send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=ECT_0)              # (3.2.2.2) a SYN is not counted


def test_a_syn_without_flags_behind_one_with(make_link):
    """3.1.5: an AccECN SYN-ACK, its feedback, but no ECT; marks on what we send still count."""
    link = listening(make_link)
    asks(link)
    link.expect(SYN | ACK | ace(0b010))
    asks(link, 0, tos=ECT_0)
    link.expect(SYN | ACK | ace(0b100))
    link.peer_sends(ACK | ace(0b010), ack=1, more=FIRST)
    conn = link.accept()
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT)
    link.peer_sends(ACK | ace(6), data=b"1", tos=CE)
    assert link.drain()[-1].flags == ACK | ace(6)
    t = link.tcb(conn)
    assert (t.ecn.delivered_ce, rare(t).accecn.fail) == (1, Fail.ACE_RECV)


def test_a_syn_with_flags_behind_one_without(make_link):
    """3.1.5: Not ECN it remains."""
    link = listening(make_link)
    asks(link, 0)
    link.expect(SYN | ACK)
    asks(link)
    link.expect(SYN | ACK)


@pytest.mark.parametrize(("first", "second"), [(ALL, ECE | CWR), (ECE | CWR, ALL)])
def test_a_classic_and_an_accecn_syn(make_link, first, second):
    """3.1.5: "MUST reset the connection with a RST packet"."""
    link = listening(make_link)
    live = link.tcp.tcbs.live
    asks(link, first)
    link.expect(SYN | ACK | (ace(2) if first == ALL else ECE))
    asks(link, second)
    link.expect(RST | ACK, ack=ISS + 1)
    assert link.tcp.tcbs.live == live
    assert link.counter("embryonic_rsts") == 1


# ---- 3.2.2.1 to 3.2.2.4

@pytest.mark.parametrize(("codepoint", "bits"), TOLD)
def test_our_ack_tells_the_codepoint(make_link, codepoint, bits):
    """3.2.2.1, table 3: a pure ACK, before text; once more when the SYN-ACK comes again, for the latest one."""
    link, conn = client(make_link, tos=codepoint)
    link.expect(ACK | ace(bits), accecn=START)
    link.peer_sends(SYN | ACK | ace(0b010), seq=ISS, ack=1, mss=1460, tos=ECT_1)
    conn.send(b"text")
    link.expect(ACK | ace(0b011))
    link.expect(ACK | ace(6 if codepoint == CE else 5), data=b"text", accecn=START)     # (3.2.2.2) r.cep


def test_no_text_carries_the_ack_of_a_syn_ack(make_link):
    """3.2.2.1: "it SHOULD first send a pure ACK", also where the ACK would wait for text."""
    link = make_link(**SETTINGS)
    conn = link.connect(TCP_DEFER_ACCEPT=1)
    link.expect(SYN | ALL)
    link.peer_sends(SYN | ACK | ace(0b010), seq=ISS, ack=1, mss=1460)
    link.expect(ACK | ace(0b010))
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text")


def test_a_mark_on_our_syn_ack(make_link):
    """3.2.2.2: s.cep becomes 6, and the window is reduced."""
    link, conn = server(make_link, last=0b110, tcp_ecn_fallback=0)
    t = link.tcb(conn)
    assert (t.ecn.delivered_ce, link.counter("delivered_ce")) == (1, 1)
    assert t.cc.ssthresh == 8 * 1460                                # (RFC 8511)
    conn.send(b"text")
    link.expect(data=b"text", flags=ACK | ace(5), tos=ECT_0)
    link.peer_sends(ACK | ace(6))
    assert t.ecn.delivered_ce == 1


def test_a_mark_on_our_syn(make_link):
    """3.2.2.2: s.cep remains 5, and the window is reduced."""
    link, conn = client(make_link, 0b110)
    link.expect(ACK | ace(2))
    t = link.tcb(conn)
    assert t.ecn.delivered_ce == 0
    assert t.cc.ssthresh == 8 * 1460                                # (RFC 8511)


@pytest.mark.parametrize(("fallback", "tos"), [(1, NOT_ECT), (0, ECT_0)])
@pytest.mark.parametrize("bits", [0b011, 0b100])
def test_a_mangled_codepoint(make_link, bits, fallback, tos):
    """3.2.2.3: our SYN was not ECT, and arrived as something else: no ECT, but marks are told and heeded."""
    link, conn = client(make_link, bits, tcp_ecn_fallback=fallback)
    link.expect(ACK | ace(2), tos=tos)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=tos)
    link.peer_sends(ACK | ace(6), data=b"1", tos=CE)
    assert link.drain()[-1].flags == ACK | ace(6)
    assert link.tcb(conn).ecn.delivered_ce == 1


@pytest.mark.parametrize(("bits", "tos"), [(0b011, NOT_ECT), (0b100, NOT_ECT), (0b110, NOT_ECT), (0b001, ECT_0),
                                           (0b101, ECT_0), (0b111, ECT_0)])
def test_a_mangled_codepoint_of_our_syn_ack(make_link, bits, tos):
    """3.2.2.3 and table 4 of 3.2.2.1: what is not used yet is as good as 010."""
    link, conn = server(make_link, last=bits)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=tos)


def test_a_zeroed_last_ack(make_link):
    """3.2.2.1, note 1: no ECT and no reaction, but feedback."""
    link, conn = server(make_link, last=0)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT)
    link.peer_sends(ACK | ace(7), data=b"1", tos=CE)
    assert link.drain()[-1].flags == ACK | ace(6)
    t = link.tcb(conn)
    assert (t.ecn.delivered_ce, t.cc.ca_state, rare(t).accecn.fail) == (0, 0, Fail.ACE_RECV)


def test_a_zeroed_field(make_link):
    """3.2.2.4: in the first feedback."""
    link, conn = client(make_link)
    link.expect(ACK | ace(2), tos=ECT_0)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=ECT_0)
    link.peer_sends(ACK)
    conn.send(b"more")
    link.expect(ACK | ace(5), data=b"more", tos=NOT_ECT)


# ---- 3.2.3.2: whether the option gets through

def test_an_option_on_a_syn_is_ignored(make_link):
    """3.2.3.2.1"""
    link = listening(make_link)
    asks(link, more=option(1, 0, 1))
    link.expect(SYN | ACK | ace(2))
    link.peer_sends(ACK | ace(2), ack=1)
    assert rare(link.tcb(link.accept())).accecn.option_seen == Seen.NONE


@pytest.mark.parametrize("setting", [2, 3])
def test_acks_with_the_option_are_lost(make_link, setting):
    """3.2.3.2.2: the same text again and again, and each ACK of it had the option."""
    link, conn = server(make_link, tcp_ecn_option=setting)
    link.peer_sends(ACK | ace(5), data=b"text", tos=ECT_0)
    assert link.drain()[-1].accecn == (ORDER_1, 1, 0, 5)
    seen = []
    for _ in range(3):
        link.peer_sends(ACK | ace(5), seq=ISS + 1, data=b"text", tos=ECT_0)
        seen.append(link.drain()[-1].accecn is not None)
    assert seen == ([True, False, False] if setting == 2 else [True] * 3)
    assert rare(link.tcb(conn)).accecn.fail == Fail.OPTION_SEND


def test_the_first_text_with_the_option_is_lost(make_link):
    """3.2.3.2.2: "SHOULD fall back to no AccECN Option on the retransmission"."""
    link, conn = client(make_link, tcp_early_retrans=0)
    link.expect(ACK | ace(2), accecn=START)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", accecn=START)
    link.advance(1.1)
    link.expect(ACK | ace(5), data=b"text", accecn=None)
    link.peer_sends(ACK | ace(5), more=option(5, 0, 1))             # ... and takes those of the peer
    assert rare(link.tcb(conn)).accecn.delivered == 4


def test_text_behind_it_is_lost(make_link):
    link, conn = client(make_link, tcp_early_retrans=0)
    link.expect(ACK | ace(2))
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text")
    link.peer_sends(ACK | ace(5), more=option(5, 0, 1))
    conn.send(b"more")
    link.expect(ACK | ace(5), data=b"more")
    link.advance(1.1)
    link.expect(ACK | ace(5), data=b"more", accecn=START)


def test_a_peer_without_the_option(make_link):
    """3.2.3.2.3, as on Linux: none for it either, until one comes."""
    link, conn = client(make_link, more=b"")
    link.expect(ACK | ace(2), accecn=None)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", accecn=None)
    link.peer_sends(ACK | ace(5), more=option(5, 0, 1))
    conn.send(b"more")
    link.expect(ACK | ace(5), data=b"more", accecn=START)


@pytest.mark.parametrize("fields", [(0, 0, 0), (0, 0, 1), (1, 0, 0)])
def test_a_zeroed_option(make_link, fields):
    """3.2.3.2.4: ignored from then on."""
    link, conn = client(make_link, more=option(*fields))
    link.expect(ACK | ace(2))
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text")
    link.peer_sends(ACK | ace(5), more=option(5, 7, 1))
    a = rare(link.tcb(conn)).accecn
    assert (a.delivered, a.delivered_ce, a.option_seen, a.fail) == (0, 0, Seen.ZEROED, Fail.OPTION_RECV)


# ---- 5.1: SYN cookies

@pytest.mark.parametrize(("bits", "mode"), [(0, Mode.OFF), (1, Mode.OFF), *[(n, Mode.ACCURATE) for n in range(2, 8)]])
def test_syn_cookies(make_link, bits, mode):
    """The field of a pure ACK says what the SYN had asked for."""
    link = listening(make_link, tcp_syncookies=2)
    asks(link, tos=ECT_1)
    link.expect(SYN | ACK | ace(0b011), accecn=None)
    link.peer_sends(ACK | ace(bits), ack=1, more=FIRST)
    assert link.state() == State.ESTABLISHED
    t = link.tcb(link.accept())
    assert (t.ecn.mode, rare(t).accecn.no_ect) == (mode, 1 if bits in (0b011, 0b100, 0b110) else 0)


@pytest.mark.parametrize(("bits", "mode"), [(2, Mode.OFF), (5, Mode.ACCURATE)])
def test_text_with_a_syn_cookie(make_link, bits, mode):
    """Our SYN-ACK's ACK was lost: AE is what a classic peer never sets, CWR it may."""
    link = listening(make_link, tcp_syncookies=2)
    asks(link)
    link.expect(SYN | ACK | ace(0b010))
    link.peer_sends(ACK | ace(bits), ack=1, data=b"text")
    assert link.tcb(link.accept()).ecn.mode == mode
