"""AccECN (RFC 9768), what is told and what follows from it: sections 3.2.2.2, 3.2.2.3, 3.2.2.5, 3.2.3.3, A.1, A.2."""
from __future__ import annotations

from contextlib import suppress

import pytest

from netstack.tcp.accecn import Fail
from netstack.tcp.ecn import CE, ECT_0, ECT_1, NOT_ECT
from netstack.tcp.tcb import rare

from .accecn import ALL, FIRST, ISS, ORDER_0, ORDER_1, ace, client, option, server
from .link import ACK, FIN, PSH, SYN

SIZE = 1460 - 12        # text of a segment with the option
NEVER = {"tcp_ecn_option": 0}


# ---- 3.2, 3.2.2.5.1: the receiver of data

@pytest.mark.parametrize("version", [4, 6])
def test_every_mark_is_counted(make_link, version):
    """3.2, 3.2.2.2"""
    link, conn = server(make_link, version)
    t = link.tcb(conn)
    total = 0
    for i in range(1, 20):
        link.peer_sends(ACK | ace(5), data=bytes(100), tos=CE)
        total += 100
        link.advance(0.3)
        got = link.drain()[-1]
        assert got.flags == ACK | ace((5 + i) & 7)
        assert got.accecn == (ORDER_1, 1, total, 1)
    assert (t.ecn.received_ce, rare(t).accecn.received_ce) == (19, total)
    conn.send(b"also with text")
    link.expect(ACK | ace((5 + 19) & 7), data=b"also with text", tos=ECT_0, accecn=(ORDER_1, 1, total, 1))


def test_control_packets_count_too(make_link):
    """3.2: "CE marked control packets and retransmissions", text on them, but not what is out of the window."""
    link, conn = server(make_link)
    link.peer_sends(ACK | ace(5), tos=CE)
    link.peer_sends(ACK | ace(5), data=b"1", tos=CE, seq=ISS - 100)
    link.peer_sends(ACK | ace(5), data=b"1", tos=CE, seq=ISS + (1 << 30))
    link.peer_sends(ACK | ace(5) | FIN, data=b"text", tos=CE, seq=ISS + 1)
    link.advance(0.3)
    got = link.drain()[-1]
    assert (got.flags, got.accecn) == (ACK | ace(7), (ORDER_1, 1, 4, 1))
    assert link.tcb(conn).ecn.received_ce == 2


def test_the_option_counts_bytes_by_codepoint(make_link):
    """3.2.3, figure 4"""
    link, _ = server(make_link)
    for n, tos in ((10, ECT_0), (20, NOT_ECT), (30, CE), (40, ECT_1)):
        link.peer_sends(ACK | ace(5), data=bytes(n), tos=tos)
    assert link.drain()[-1].accecn == (ORDER_1, 41, 30, 11)


def test_acks_that_a_mark_triggers(make_link):
    """3.2.2.5.1: at a change to CE, then each second mark; delayed ACKs otherwise."""
    link, conn = server(make_link)
    link.tcb(conn).quick.quick = 0
    link.tcb(conn).quick.ato = 40_000_000
    seen = []
    for tos in (ECT_0, CE, CE, CE, ECT_0):
        link.peer_sends(ACK | ace(5), data=b"1", tos=tos)
        seen.append(len(link.drain()))
    assert seen == [0, 1, 0, 1, 0]


def test_a_mark_on_a_bare_ack_is_the_previous_packet(make_link):
    """3.2.2.5.1: "the comparison with the previous packet includes any packet, not just data packets"."""
    link, conn = server(make_link)
    link.tcb(conn).quick.quick = 0
    link.tcb(conn).quick.ato = 40_000_000
    link.peer_sends(ACK | ace(5), tos=ECT_0)
    link.peer_sends(ACK | ace(5), tos=CE)
    link.expect_silence()
    link.peer_sends(ACK | ace(5), data=b"1", tos=CE)                # no change, but the second mark
    link.expect(ACK | ace(7))


def test_bare_acks_with_marks_do_not_answer_each_other(make_link):
    """3.2.2.5.1: n is 3 there, so that two ends soon fall silent."""
    link, _ = server(make_link)
    seen = []
    for _ in range(6):
        link.peer_sends(ACK | ace(5), tos=CE)
        seen.append([s.flags for s in link.drain()])
    assert seen == [[], [], [ACK | ace(0)], [], [], [ACK | ace(3)]]


def test_an_ack_of_acks_has_no_sack_blocks(make_link):
    """3.2.2.5.1: "these ACKs of ACKs MUST NOT contain any SACK blocks"."""
    link, _ = server(make_link)
    link.peer_sends(ACK | ace(5), data=b"late", seq=ISS + 100, tos=ECT_0)
    assert len(link.drain()[-1].sack) == 1
    for _ in range(3):
        link.peer_sends(ACK | ace(5), seq=ISS + 1, tos=CE)
    assert [len(s.sack) for s in link.drain()] == [0]


@pytest.mark.parametrize("sack_ok", [True, False])
def test_acks_are_ect_where_sack_tells_them_apart(make_link, sack_ok):
    """3.2.2.5.1: "conditional on measures to distinguish ACKs of ACKs from DupACKs"."""
    link = make_link(tcp_ecn=3)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460, sack_ok=sack_ok)
    link.expect(SYN | ACK | ace(0b010))
    link.peer_sends(ACK | ace(0b010), ack=1, more=FIRST)
    link.peer_sends(ACK | ace(5), data=b"text", tos=ECT_0)
    assert link.drain()[-1].tos == (ECT_0 if sack_ok else NOT_ECT)


def test_copies_are_ect(make_link):
    """As on Linux (RFC 8311 4.3)."""
    link, conn = server(make_link, tcp_early_retrans=0)
    conn.send(b"text")
    link.expect(ACK | ace(5), data=b"text", tos=ECT_0)
    link.advance(0.3)
    link.expect(ACK | ace(5), data=b"text", tos=ECT_0)


# ---- 3.2.3.3: when the option is sent

@pytest.mark.parametrize("setting", [0, 1])
def test_the_option_can_be_rare(make_link, setting):
    link, _ = server(make_link, tcp_ecn_option=setting, tcp_ecn_option_beacon=0)
    seen = []
    for tos in (ECT_0, ECT_0, ECT_0, ECT_0, CE, ECT_0, ECT_0, ECT_0):
        link.peer_sends(ACK | ace(5), data=b"1", tos=tos)
        link.advance(0.3)
        seen.append([s.accecn is not None for s in link.drain()][-1])
    assert seen == ([False] * 8 if setting == 0 else [True, True, False, False, True, True, True, False])


def test_the_option_and_sack(make_link):
    """Two blocks go first, then the option, then more blocks."""
    link, _ = server(make_link)
    for i in range(1, 6):
        link.peer_sends(ACK | ace(5), data=b"1", seq=ISS + 10 * i, tos=ECT_0)
    assert [(len(s.sack), len(s.accecn or ())) for s in link.drain()] == [(1, 4), (2, 4), (3, 4), (3, 4), (3, 4)]


def test_the_option_and_sack_and_timestamps(make_link):
    """... of which the short one, in the order that this connection needs; none when that is not enough."""
    link, _ = server(make_link, ts=1, more=option(1, 0, 1))
    seen = []
    for i, tos in enumerate((ECT_0, ECT_0, CE, ECT_0, ECT_1, ECT_0)):
        link.peer_sends(ACK | ace(5), data=b"1", seq=ISS + 10 + 10 * i, tos=tos)
        got = link.drain()[-1]
        seen.append((len(got.sack), got.accecn))
    assert seen == [(1, (ORDER_1, 1, 0, 2)), (2, (ORDER_0, 3, 0)), (2, (ORDER_0, 3, 1)), (2, (ORDER_0, 4, 1)),
                    (2, (ORDER_1, 2, 1)), (3, None)]


def test_full_segments_leave_room(make_link):
    """A sender that also receives: each segment tells its counters."""
    link, conn = server(make_link)
    conn.send(bytes(20 * 1460))
    sent = link.drain()
    assert [len(s.data) for s in sent] == [SIZE] * 10
    assert {s.accecn for s in sent} == {(ORDER_1, 1, 0, 1)}
    assert {len(s.packet) for s in sent} == {1500}


@pytest.mark.parametrize(("peer", "size"), [(FIRST, 1460), (b"", 1460)])
def test_full_segments_without_the_option(make_link, peer, size):
    link, conn = server(make_link, more=peer, **NEVER)
    conn.send(bytes(5 * 1460))
    assert {len(s.data) for s in link.drain()} == {size}


def test_full_segments_with_sack_blocks(make_link):
    link, conn = server(make_link, ts=1)
    link.peer_sends(ACK | ace(5), data=b"1", seq=ISS + 100, tos=ECT_0)
    link.drain()
    conn.send(bytes(20 * 1460))
    sent = link.drain()[:-1]
    assert {(len(s.sack), s.accecn is not None, len(s.packet)) for s in sent} == {(1, True, 1500)}


# ---- 3.2.2.2, 3.2.2.5.2: the sender of data

def test_marks_reduce_the_window_once_and_no_cwr_is_sent(make_link):
    """3.1.5: "MUST NOT set CWR"."""
    link, conn = server(make_link, tcp_abe=0, **NEVER)
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


def test_the_option_resolves_a_wrap(make_link):
    """A.2.2"""
    link, conn = server(make_link)
    t = link.tcb(conn)
    conn.send(bytes(60 * 1460))
    link.drain()
    link.peer_sends(ACK | ace(5), ack=1 + 10 * SIZE, more=option(1, 8 * SIZE, 1))
    assert t.ecn.delivered_ce == 8
    assert (rare(t).accecn.delivered, rare(t).accecn.delivered_ce) == (0, 8 * SIZE)


@pytest.mark.parametrize("ts", [None, 7])
def test_an_ack_that_tells_nothing_new(make_link, ts):
    """A.1: superseded, unless a newer timestamp shows that it is not."""
    link, conn = server(make_link, ts=ts)
    link.advance(0.1)
    conn.send(b"text")
    link.drain()
    link.peer_sends(ACK | ace(6), ack=1, more=option(1, 4, 1), ts=None if ts is None else (ts, 0))
    t = link.tcb(conn)
    assert (t.ecn.delivered_ce, rare(t).accecn.delivered_ce) == (0, 0)
    if ts is not None:
        link.peer_sends(ACK | ace(6), ack=1)
        assert t.ecn.delivered_ce == 1


def test_the_ack_of_our_syn_ack_twice(make_link):
    """3.2.2.2: "A Server MAY implement a test for such a case"."""
    link = make_link(tcp_ecn=3)
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, mss=1460, sack_ok=True, ts=(1, 0))
    link.expect(SYN | ACK | ace(0b010))
    link.expect(SYN | ACK | ace(0b010), after=1)
    link.peer_sends(ACK | ace(0b010), ack=1)
    link.advance(0.1)
    link.peer_sends(ACK | ace(0b010), ack=1)
    assert link.tcb(link.accept()).ecn.delivered_ce == 0


def test_a_path_that_marks_everything(make_link):
    """3.2.2.3: four rounds of marks only: they are no congestion.  No ECT, no reaction."""
    link, conn = client(make_link, **NEVER)
    link.drain()
    t = link.tcb(conn)
    total = marks = 0
    for _ in range(8):
        with suppress(BlockingIOError):
            conn.send(bytes(20 * 1460))
        link.advance(0.01)
        for got in link.drain():
            if not got.data or rare(t).accecn.no_ect:
                continue
            total += len(got.data)
            marks += 1
            link.peer_sends(ACK | ace((5 + marks) & 7), ack=1 + total)
    assert (rare(t).accecn.no_ect, rare(t).accecn.fail) == (1, Fail.ACE_RECV)
    counted = t.ecn.delivered_ce
    link.advance(1)
    sent = [s for s in link.drain() if s.data]
    assert {s.tos for s in sent} == {NOT_ECT}
    link.peer_sends(ACK | ace(marks & 7), ack=1 + total + len(sent[0].data))
    assert t.ecn.delivered_ce == counted


def test_tcp_info(make_link):
    """struct tcp_info of Linux 7."""
    link, conn = server(make_link)
    conn.send(bytes(300))
    link.drain()
    link.peer_sends(ACK | ace(6), more=option(101, 150, 51))
    for n, tos in ((10, ECT_0), (20, CE), (40, ECT_1)):
        link.peer_sends(ACK | ace(6), data=bytes(n), tos=tos)
    wanted = {"delivered_ce": 1, "received_ce": 1, "delivered_e0_bytes": 100, "delivered_ce_bytes": 150,
              "delivered_e1_bytes": 50, "received_e0_bytes": 10, "received_ce_bytes": 20, "received_e1_bytes": 40,
              "ecn_mode": 2, "accecn_opt_seen": 2, "accecn_fail_mode": 0}
    info = conn.info()
    assert {name: info[name] for name in wanted} == wanted
