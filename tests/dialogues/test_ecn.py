"""ECN (RFC 3168 section 6.1), at both ends."""
from __future__ import annotations

import socket

import pytest

from netstack.tcp.ecn import CE, ECT_0, ECT_1, NOT_ECT, Mode

from . import codec
from .codec import CWR, ECE
from .link import ACK, PSH, SYN

ISS = 100


@pytest.fixture
def ecn(make_link):
    """(link, connection) with ECN agreed on, opened by the peer; IPv4 or IPv6, and settings."""
    def make(version=4, **settings):
        link = make_link(version, **{"tcp_congestion_control": "reno", **settings})
        link.listen()
        link.peer_sends(SYN | ECE | CWR, seq=ISS, wnd=65535, mss=1460, sack_ok=True)
        link.expect(SYN | ACK | ECE, tos=NOT_ECT)
        link.peer_sends(ACK, ack=1)
        return link, link.accept()
    return make


def segments(link):
    """What the stack has sent: (first byte, flags but PSH, codepoint)."""
    return [(s.seq, s.flags & ~PSH, s.tos & 3) for s in link.drain()]


# ---- 6.1.1

@pytest.mark.parametrize(("setting", "flags", "codepoint", "mode"), [
    (0, ECE | CWR, NOT_ECT, Mode.OFF),
    (1, ECE | CWR, NOT_ECT, Mode.CLASSIC),
    (2, ECE | CWR, NOT_ECT, Mode.CLASSIC),
    (2, 0, NOT_ECT, Mode.OFF),
    (2, ECE, NOT_ECT, Mode.OFF),
    (2, CWR, NOT_ECT, Mode.OFF),
    (2, ECE | CWR, ECT_0, Mode.OFF),        # as Linux: an ECN-setup SYN is never ECT
    (2, ECE | CWR, CE, Mode.OFF),
])
def test_a_syn_that_asks(make_link, setting, flags, codepoint, mode):
    link = make_link(tcp_ecn=setting)
    link.listen()
    link.peer_sends(SYN | flags, seq=ISS, mss=1460, tos=codepoint)
    link.expect(SYN | ACK | (ECE if mode else 0), tos=NOT_ECT)
    link.peer_sends(ACK, ack=1)
    conn = link.accept()
    assert link.tcb(conn).ecn.mode == mode
    conn.send(b"data")
    link.expect(data=b"data", tos=ECT_0 if mode else NOT_ECT)


@pytest.mark.parametrize(("setting", "answer", "mode"), [
    (1, ECE, Mode.CLASSIC), (1, 0, Mode.OFF), (1, ECE | CWR, Mode.OFF), (1, CWR, Mode.OFF), (2, ECE, Mode.OFF),
    (0, ECE, Mode.OFF),
])
def test_our_syn_asks(make_link, setting, answer, mode):
    """A SYN-ACK with both flags is that of a host which copies what it does not know."""
    link = make_link(tcp_ecn=setting)
    conn = link.connect()
    link.expect(SYN | (ECE | CWR if setting == 1 else 0), tos=NOT_ECT)
    link.peer_sends(SYN | ACK | answer, seq=ISS, ack=1, mss=1460)
    link.expect(ACK, tos=NOT_ECT)
    assert link.tcb(conn).ecn.mode == mode
    conn.send(b"data")
    link.expect(data=b"data", tos=ECT_0 if mode else NOT_ECT)


def test_both_ask_at_once(make_link):
    link = make_link(tcp_ecn=1)
    conn = link.connect()
    link.expect(SYN | ECE | CWR)
    link.peer_sends(SYN | ECE | CWR, seq=ISS, mss=1460)
    link.expect(SYN | ACK | ECE)
    link.peer_sends(SYN | ACK | ECE, seq=ISS, ack=1)
    assert link.tcb(conn).ecn.mode == Mode.CLASSIC


@pytest.mark.parametrize("fallback", [1, 0])
def test_a_syn_without_an_answer_is_sent_again_without_ecn(make_link, fallback):
    """6.1.1.1; then an ECN-setup SYN-ACK means nothing."""
    link = make_link(tcp_ecn=1, tcp_ecn_fallback=fallback)
    conn = link.connect()
    link.expect(SYN | ECE | CWR)
    link.expect(SYN | (0 if fallback else ECE | CWR), after=1)
    link.peer_sends(SYN | ACK | ECE, seq=ISS, ack=1, mss=1460)
    link.expect(ACK)
    assert link.tcb(conn).ecn.mode == (Mode.OFF if fallback else Mode.CLASSIC)


def test_the_syn_ack_again_has_the_flag_again(make_link):
    link = make_link()
    link.listen()
    link.peer_sends(SYN | ECE | CWR, seq=ISS, mss=1460)
    link.expect(SYN | ACK | ECE)
    link.expect(SYN | ACK | ECE, after=1)


@pytest.mark.parametrize("version", [4, 6])
def test_the_application_does_not_set_the_codepoint(ecn, version):
    link, conn = ecn(version)
    level, name = (socket.IPPROTO_IP, socket.IP_TOS) if version == 4 else (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
    conn.setsockopt(level, name, 0x2B)
    assert conn.getsockopt(level, name) == 0x28
    conn.send(b"data")
    link.expect(data=b"data", tos=0x28 | ECT_0)
    link.peer_sends(data=b"text")
    link.expect(ACK, tos=0x28 | NOT_ECT)


# ---- 6.1.2 The sender

@pytest.mark.parametrize(("abe", "percent"), [(1, 80), (0, 50)])
def test_a_mark_reduces_the_window_once(ecn, abe, percent):
    link, conn = ecn(tcp_abe=abe)
    t = link.tcb(conn)
    conn.send(bytes(60 * 1460))
    assert [s[1:] for s in segments(link)] == [(ACK, ECT_0)] * 10
    link.peer_sends(ACK | ECE, ack=1 + 1460)                # an ACK with ECE ...
    assert (t.cc.ssthresh, t.queue.lost) == (10 * 1460 * percent // 100, 0)
    ssthresh = t.cc.ssthresh
    sent = segments(link)
    for i in range(2, 11):
        link.peer_sends(ACK | ECE, ack=1 + i * 1460)        # ... and all the others of that window
        sent += segments(link)
    assert t.cc.ssthresh == ssthresh
    assert [s[1] for s in sent] == [ACK | CWR] + [ACK] * (len(sent) - 1)        # told once, by the first
    assert sent[0] == (1 + 10 * 1460, ACK | CWR, ECT_0)
    assert t.cc.cwnd <= ssthresh + 1460
    assert t.ecn.delivered_ce == link.counter("delivered_ce") == 10
    link.peer_sends(ACK, ack=sent[-1][0] + 1460)
    for seq, flags, codepoint in segments(link):
        assert (flags, codepoint) == (ACK, ECT_0), seq
    assert t.cc.ssthresh == ssthresh
    link.drain()


def test_ece_is_old_news_until_the_cwr_is_acknowledged(ecn):
    """The whole window is acknowledged with ECE, by one ACK: the peer had no chance yet to see our CWR."""
    link, conn = ecn()
    t = link.tcb(conn)
    conn.send(bytes(40 * 1460))
    link.drain()
    link.peer_sends(ACK | ECE, ack=1 + 10 * 1460)
    ssthresh = t.cc.ssthresh
    sent = segments(link)
    assert sent[0][1] == ACK | CWR
    link.peer_sends(ACK | ECE, ack=sent[0][0])              # a window update: nothing new is acknowledged
    assert t.cc.ssthresh == ssthresh
    link.peer_sends(ACK | ECE, ack=sent[0][0] + 1460)       # ... with the CWR, and another mark
    assert t.cc.ssthresh < ssthresh
    link.peer_sends(ACK, ack=sent[-1][0] + 1460)
    assert [s[1] for s in segments(link)][:1] == [ACK | CWR]


def test_a_loss_is_told_as_well(ecn):
    """ "reduces its congestion window ... for any reason": the next new data has CWR; the copy has neither."""
    link, conn = ecn()
    conn.send(bytes(40 * 1460))
    link.drain()
    for i in range(2, 6):
        link.peer_sends(ACK, ack=1, sack=[(1 + 1460, 1 + i * 1460)])
    link.advance(0.01)
    sent = segments(link)
    assert sent[0] == (1, ACK, NOT_ECT)                     # 6.1.5: retransmissions are not ECT
    new = [s for s in sent if s[0] > 1]
    assert new == [] or new[0][1] == ACK | CWR
    link.peer_sends(ACK, ack=1 + 10 * 1460)
    sent = new + segments(link)
    assert sent[0][1:] == (ACK | CWR, ECT_0)
    assert all(s[1:] == (ACK, ECT_0) for s in sent[1:])


def test_a_timeout_is_told_as_well(ecn):
    link, conn = ecn(tcp_early_retrans=0)
    conn.send(b"1" * 1000)
    link.expect(data=b"1" * 1000, tos=ECT_0)
    link.advance(0.3)
    assert segments(link) == [(1, ACK, NOT_ECT)]
    link.peer_sends(ACK, ack=1001)
    conn.send(b"2")
    assert segments(link) == [(1001, ACK | CWR, ECT_0)]


def test_marks_without_ecn_mean_nothing(make_link):
    link = make_link(tcp_ecn=0)
    conn = link.established()
    conn.send(bytes(20 * 1460))
    link.drain()
    t = link.tcb(conn)
    ssthresh = t.cc.ssthresh
    link.peer_sends(ACK | ECE, ack=1 + 1460)
    assert t.cc.ssthresh == ssthresh
    assert t.ecn.delivered_ce == 0
    link.peer_sends(data=b"text", tos=CE)
    assert all(flags & ~PSH == ACK and codepoint == NOT_ECT for _, flags, codepoint in segments(link))


def test_window_probes_are_not_ect(ecn):
    """6.1.6"""
    link, conn = ecn()
    link.peer_sends(ACK, ack=1, wnd=0)
    conn.send(b"text")
    link.advance(0.3)
    assert segments(link) == [(1, ACK, NOT_ECT)]
    link.peer_sends(ACK, ack=1, wnd=65535)
    assert [s[2] for s in segments(link)] == [NOT_ECT]      # its first byte was sent before


def test_a_fin_without_text_is_not_ect(ecn):
    link, conn = ecn()
    conn.shutdown(socket.SHUT_WR)
    assert link.drain()[0].tos == NOT_ECT


# ---- 6.1.3 The receiver

@pytest.mark.parametrize("version", [4, 6])
def test_each_ack_echoes_until_cwr(ecn, version):
    link, conn = ecn(version)
    link.peer_sends(data=b"1", tos=ECT_0)
    link.expect(ACK)
    link.peer_sends(data=b"2", tos=CE)
    link.expect(ACK | ECE)                                  # at once
    link.peer_sends(data=b"3", tos=ECT_0)
    link.expect(ACK | ECE)
    conn.send(b"also on data")
    link.expect(ACK | ECE, data=b"also on data", tos=ECT_0)
    link.peer_sends(ACK | CWR, data=b"4", tos=ECT_0)
    link.expect(ACK)
    link.peer_sends(ACK | CWR, data=b"5", tos=CE)           # marked anew
    link.expect(ACK | ECE)
    t = link.tcb(conn)
    assert (t.ecn.received_ce, t.ecn.seen) == (2, 1)
    assert conn.recv(10) == b"12345"


def test_ect_1_is_not_a_mark(ecn):
    link, conn = ecn()
    link.peer_sends(data=b"1", tos=ECT_1)
    link.expect(ACK)
    assert (link.tcb(conn).ecn.received_ce, link.tcb(conn).ecn.seen) == (0, 1)


def test_a_mark_outside_the_window_is_ignored(ecn):
    """6.1.5: old and impossible segments: anybody could have sent them."""
    link, conn = ecn()
    link.peer_sends(data=b"text", tos=ECT_0)
    link.expect(ACK)
    link.peer_sends(data=b"text", seq=ISS + 1, tos=CE)
    link.expect(ACK)
    link.peer_sends(data=b"text", seq=ISS + (1 << 25), tos=CE)
    link.expect(ACK)
    assert link.tcb(conn).ecn.received_ce == 0


def test_a_mark_on_data_out_of_order_counts(ecn):
    link, _ = ecn()
    link.peer_sends(data=b"later", seq=ISS + 10, tos=CE)
    link.expect(ACK | ECE)


def test_a_mark_in_fragments_counts(ecn):
    """5.3: one fragment with CE marks the whole."""
    link, _ = ecn()
    seg = codec.Seg(link.peer_port, link.port, ISS + 1, link.talk().iss + 1, ACK, data=bytes(32))
    whole = codec.build(seg, codec.address(link.theirs), codec.address(link.ours))
    for i, tos in enumerate((ECT_0, CE, ECT_0)):
        part = whole[20 + 16 * i:20 + 16 * i + 16] if i < 2 else whole[52:]
        head = bytearray(whole[:10] + b"\0\0" + whole[12:20])
        head[1] = tos
        head[2:4] = (20 + len(part)).to_bytes(2, "big")
        head[6:8] = (2 * i | (0x2000 if i < 2 else 0)).to_bytes(2, "big")
        head[10:12] = codec.checksum(bytes(head)).to_bytes(2, "big")
        link.inject(bytes(head) + part)
    link.expect(ACK | ECE, ack=ISS + 33)


@pytest.mark.parametrize(("flags", "setting", "mode"), [(ECE | CWR, 2, Mode.CLASSIC), (ECE | CWR, 0, Mode.OFF),
                                                        (0, 2, Mode.OFF)])
def test_a_cookie_remembers_it(make_link, flags, setting, mode):
    """RFC 4987 3.6: without a Tcb; the echoed timestamp tells."""
    link = make_link(tcp_syncookies=2, tcp_ecn=setting)
    link.listen()
    link.peer_sends(SYN | flags, seq=ISS, mss=1460, ts=(5, 0))
    got = link.expect(SYN | ACK | (ECE if mode else 0), tos=NOT_ECT)
    link.peer_sends(ACK, ack=1, ts=(6, got.ts[0]))
    conn = link.accept()
    assert link.tcb(conn).ecn.mode == mode
    conn.send(b"data")
    link.expect(data=b"data", tos=ECT_0 if mode else NOT_ECT)
