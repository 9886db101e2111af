"""AccECN (RFC 9768), at both ends."""
from __future__ import annotations

import struct

import pytest

from netstack.tcp.ecn import AE, CE, CWR, ECE, ECT_0, ECT_1, NOT_ECT, Mode

from .link import ACK, PSH, SYN

ISS = 100
ALL = AE | CWR | ECE


def ace(n):
    """The ACE field as flags."""
    return n << 6


def option(*fields, kind=172):
    """As bytes."""
    body = b"".join(n.to_bytes(3, "big") for n in fields)
    return struct.pack("!BB", kind, 2 + len(body)) + body


@pytest.fixture
def server(make_link):
    """(link, connection) that the peer has opened."""
    def make(version=4, **settings):
        link = make_link(version, **{"tcp_congestion_control": "reno", "tcp_ecn": 3, **settings})
        link.listen()
        link.peer_sends(SYN | ALL, seq=ISS, wnd=65535, mss=1460, sack_ok=True)
        link.expect(SYN | ACK | ace(0b010), tos=NOT_ECT)
        link.peer_sends(ACK | ace(0b010), ack=1)
        return link, link.accept()
    return make


@pytest.fixture
def client(make_link):
    """... that we have opened; `answer`: flags of the SYN-ACK."""
    def make(answer=0b010, tos=NOT_ECT, **settings):
        link = make_link(**{"tcp_congestion_control": "reno", "tcp_ecn": 3, **settings})
        conn = link.connect()
        link.expect(SYN | ALL, tos=NOT_ECT)
        link.peer_sends(SYN | ACK | ace(answer), seq=ISS, ack=1, mss=1460, tos=tos)
        return link, conn
    return make


# ---- the handshake

@pytest.mark.parametrize(("codepoint", "bits"), [(NOT_ECT, 0b010), (ECT_1, 0b011), (ECT_0, 0b100), (CE, 0b110)])
def test_our_syn_ack_and_our_ack_tell_the_codepoint(make_link, client, codepoint, bits):
    link = make_link(tcp_ecn=3)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460, tos=codepoint)
    link.expect(SYN | ACK | ace(bits), tos=NOT_ECT, accecn=(172, 1, 0, 1))
    link, _ = client(tos=codepoint)
    link.expect(ACK | ace(bits), accecn=(172, 1, 0, 1))
    link.peer_sends(SYN | ACK | ace(0b010), seq=ISS, ack=1, mss=1460)       # again: our ACK was lost
    link.expect(ACK | ace(bits))
    link.peer_sends(data=b"text")
    link.expect(ACK | ace(6 if codepoint == CE else 5))     # now r.cep, with the SYN-ACK's mark (3.2.1)


@pytest.mark.parametrize(("answer", "mode"), [(0b001, Mode.CLASSIC), (0, Mode.OFF), (0b111, Mode.OFF)])
def test_a_peer_that_has_not_got_it(client, answer, mode):
    link, conn = client(answer)
    link.expect(ACK)
    assert link.tcb(conn).ecn.mode == mode
    conn.send(b"text")
    link.expect(data=b"text", tos=ECT_0 if mode else NOT_ECT)


@pytest.mark.parametrize("setting", [1, 2])
def test_a_server_without_it_answers_classic(make_link, setting):
    link = make_link(tcp_ecn=setting)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460)
    link.expect(SYN | ACK | ECE)


def test_a_syn_is_sent_twice_before_it_is_given_up(make_link):
    """3.1.4.1"""
    link = make_link(tcp_ecn=3)
    link.connect()
    link.expect(SYN | ALL)
    link.expect(SYN | ALL, after=1)
    link.expect(SYN, after=2)


def test_a_syn_ack_is_sent_twice_before_it_is_given_up(make_link):
    """3.1.4.2; the option only with the first."""
    link = make_link(tcp_ecn=3)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460)
    assert link.expect(SYN | ACK | ace(2)).accecn is not None
    assert link.expect(SYN | ACK | ace(2), after=1).accecn is None
    link.expect(SYN | ACK, after=2)


@pytest.mark.parametrize("answer", [0b011, 0b100, 0b110])
def test_a_mangled_codepoint(client, answer):
    """3.2.2.3: the SYN was not ECT, and arrived as something else: no ECT for us, but marks are still told."""
    link, conn = client(answer)
    link.expect(ACK | ace(2))
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT)
    link.peer_sends(data=b"1", tos=CE)
    assert link.drain()[-1].flags == ACK | ace(6)


def test_a_zeroed_field(make_link):
    """3.2.2.4: the last ACK of the handshake has 000."""
    link = make_link(tcp_ecn=3)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460)
    link.expect(SYN | ACK | ace(2))
    link.peer_sends(ACK, ack=1)
    link.accept().send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT)


# ---- the receiver

@pytest.mark.parametrize("version", [4, 6])
def test_every_mark_is_counted(server, version):
    link, conn = server(version)
    t = link.tcb(conn)
    total = 0
    for i in range(1, 20):
        link.peer_sends(ACK | ace(5), data=bytes(100), tos=CE)
        total += 100
        link.advance(0.3)
        got = link.drain()[-1]
        assert got.flags == ACK | ace((5 + i) & 7)
        assert got.accecn == (172, 1, total, 1)
        assert got.tos == NOT_ECT
    assert (t.ecn.received_ce, t.accecn.received_ce) == (19, total)
    conn.send(b"also with text")
    link.expect(ACK | ace((5 + 19) & 7), data=b"also with text", tos=ECT_0, accecn=(172, 1, total, 1))


def test_the_option_counts_bytes_by_codepoint(server):
    link, _ = server()
    link.peer_sends(ACK | ace(5), data=bytes(10), tos=ECT_0)
    link.peer_sends(ACK | ace(5), data=bytes(20), tos=NOT_ECT)
    link.peer_sends(ACK | ace(5), data=bytes(30), tos=CE)
    assert link.drain()[-1].accecn == (172, 11, 30, 1)
    link.peer_sends(ACK | ace(5), data=bytes(40), tos=ECT_1)
    assert link.drain()[-1].accecn == (174, 41, 30, 11)


def test_acks_that_a_mark_triggers(server):
    """3.2.2.5.1: at a change to CE, then each second mark; delayed ACKs otherwise."""
    link, conn = server()
    link.tcb(conn).quick.quick = 0
    link.tcb(conn).quick.ato = 40_000_000
    seen = []
    for tos in (ECT_0, CE, CE, CE, ECT_0):
        link.peer_sends(ACK | ace(5), data=b"1", tos=tos)
        seen.append(len(link.drain()))
    assert seen == [0, 1, 0, 1, 0]


def test_bare_acks_with_marks_do_not_answer_each_other(server):
    """n is 3 there: each third, and our own ACKs are not ECT."""
    link, _ = server()
    seen = []
    for _ in range(6):
        link.peer_sends(ACK | ace(5), tos=CE)
        seen.append([s.flags for s in link.drain()])
    assert seen == [[], [], [ACK | ace(0)], [], [], [ACK | ace(3)]]


@pytest.mark.parametrize("setting", [0, 1])
def test_the_option_can_be_rare(server, setting):
    link, _ = server(tcp_ecn_option=setting, tcp_ecn_option_beacon=0)
    seen = []
    for tos in (ECT_0, ECT_0, ECT_0, ECT_0, CE, ECT_0, ECT_0, ECT_0):
        link.peer_sends(ACK | ace(5), data=b"1", tos=tos)
        link.advance(0.3)
        seen.append([s.accecn is not None for s in link.drain()][-1])
    assert seen == ([False] * 8 if setting == 0 else [True, True, False, False, True, True, True, False])


def test_the_option_makes_room_for_sack(server):
    link, _ = server()
    for i in range(1, 6):
        link.peer_sends(ACK | ace(5), data=b"1", seq=ISS + 10 * i, tos=ECT_0)
    sizes = [(len(s.sack), len(s.accecn or ())) for s in link.drain()]
    assert sizes[:4] == [(1, 4), (2, 4), (3, 4), (4, 0)]


# ---- the sender

def test_marks_reduce_the_window_once_and_no_cwr_is_sent(server):
    link, conn = server(tcp_abe=0)
    t = link.tcb(conn)
    conn.send(bytes(60 * 1460))
    sent = link.drain()
    assert {(s.flags & ~PSH, s.tos) for s in sent} == {(ACK | ace(5), ECT_0)}
    for i in range(1, 11):
        link.peer_sends(ACK | ace((5 + i) & 7), ack=1 + i * 1460)
    assert t.cc.ssthresh == 5 * 1460
    assert t.ecn.delivered_ce == link.counter("delivered_ce") == 10
    assert {s.flags & ~PSH for s in link.drain()} == {ACK | ace(5)}
    link.peer_sends(ACK | ace((5 + 11) & 7), ack=1 + 11 * 1460)     # a mark of the next window
    assert t.cc.ssthresh < 5 * 1460


def test_the_option_resolves_a_wrap(server):
    link, conn = server()
    t = link.tcb(conn)
    conn.send(bytes(60 * 1460))
    link.drain()
    link.peer_sends(ACK | ace(5), ack=1 + 10 * 1460, options=option(1, 8 * 1460, 1))
    assert t.ecn.delivered_ce == 8
    assert (t.accecn.delivered, t.accecn.delivered_ce) == (0, 8 * 1460)


def test_a_copy_is_not_ect(server):
    link, conn = server(tcp_early_retrans=0)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=ECT_0)
    link.advance(0.3)
    link.expect(ACK | ace(5), data=b"text", tos=NOT_ECT)
