"""RFC 5927: ICMP attacks against TCP, sections 4 to 7, and what each can still do here."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.errors import Drop

from .link import ACK, SYN, State

SO_ERROR = (real.SOL_SOCKET, real.SO_ERROR)
NET, HOST, PROTOCOL, PORT = 0, 1, 2, 3
SIX = {NET: (1, 0), HOST: (1, 3), PROTOCOL: (4, 1), PORT: (1, 4)}


def unreachable(link, code, about, **keywords):
    link.icmp(*((3, code) if link.version == 4 else SIX[code]), about, **keywords)


def too_big(link, mtu, about, **keywords):
    link.icmp(*((3, 4) if link.version == 4 else (2, 0)), about, mtu=mtu, **keywords)


# ---- 4.1 SND.UNA =< SEG.SEQ < SND.NXT


@pytest.mark.parametrize(("seq", "accepted"), [(0, False), (1, True), (500, True), (1000, True), (1001, False),
                                               (70_000, False), (-70_000, False)])
def test_4_1_the_quoted_number_is_in_flight(each_link, seq, accepted):
    link = each_link
    conn = link.established()
    conn.send(bytes(1000))
    about = link.expect(ACK, size=1000)
    unreachable(link, HOST, about, seq=seq)
    assert (link.tcb(conn).ep.soft_error != 0) == accepted
    assert link.drops(Drop.TCP_UNACCEPTABLE) == (0 if accepted else 1)


def test_4_1_with_no_data_in_flight_there_is_no_chance(each_link):
    """"For a TCP endpoint with no data "in flight", this would completely eliminate the possibility"."""
    link = each_link
    conn = link.established()
    conn.send(b"abc")
    about = link.expect(ACK, data=b"abc")
    link.peer_sends(ACK)
    for seq in (3, 4, 5):
        unreachable(link, PORT, about, seq=seq)
        too_big(link, 1300, about, seq=seq)
    assert link.tcb(conn).ep.soft_error == 0
    assert link.world.net.path_mtus.live == 0
    assert link.drops(Drop.TCP_UNACCEPTABLE) == 6


@pytest.mark.parametrize(("seq", "ended"), [(0, True), (1, False), (-1, False)])
def test_4_1_in_syn_sent_one_number_of_2_to_the_32(each_link, seq, ended):
    link = each_link
    link.connect()
    unreachable(link, PORT, link.expect(SYN), seq=seq)
    assert link.state() == (State.CLOSED if ended else State.SYN_SENT)


def test_4_2_the_four_tuple_must_be_guessed_as_well(link):
    """Port randomization: RFC 6056."""
    conn = link.established(active=True)
    conn.send(b"abc")
    about = link.expect(ACK, data=b"abc")
    packet = bytearray(about.packet)
    packet[20:22] = ((about.sport + 1) & 0xFFFF).to_bytes(2, "big")
    about.packet = bytes(packet)
    unreachable(link, HOST, about)
    assert link.tcb(conn).ep.soft_error == 0


def test_4_3_the_payload_must_be_long_enough_to_tell(link):
    """Eight bytes of the TCP header: ports and sequence number."""
    conn = link.established()
    conn.send(b"abc")
    unreachable(link, HOST, link.expect(ACK, data=b"abc"), quote=7)
    assert link.tcb(conn).ep.soft_error == 0
    assert link.drops(Drop.ICMP_MALFORMED) == 1


# ---- 5 blind connection reset


@pytest.mark.parametrize("code", [NET, HOST, PROTOCOL, PORT])
def test_5_2_hard_errors_are_soft_in_synchronized_states(each_link, code):
    """"... TCP SHOULD treat ... as soft errors"."""
    link = each_link
    conn = link.established()
    conn.send(b"abc")
    unreachable(link, code, link.expect(ACK, data=b"abc"))
    assert link.state() == State.ESTABLISHED
    assert conn.getsockopt(*SO_ERROR) == 0
    link.expect(ACK, data=b"abc", after=0.2)
    link.peer_sends(ACK)
    conn.send(b"def")
    link.expect(ACK, data=b"def")
    link.peer_sends(ACK)


@pytest.mark.parametrize(("code", "error"), [(HOST, errno.EHOSTUNREACH), (PORT, errno.ECONNREFUSED)])
def test_5_2_and_hard_in_the_others(each_link, code, error):
    """"... non-synchronized": a connection that is being opened may be aborted."""
    link = each_link
    conn = link.connect()
    unreachable(link, code, link.expect(SYN))
    assert conn.getsockopt(*SO_ERROR) == error


def test_5_2_the_error_is_told_when_the_connection_times_out(make_link):
    link = make_link(tcp_retries2=1)
    conn = link.established()
    conn.send(b"abc")
    unreachable(link, HOST, link.expect(ACK, data=b"abc"))
    link.advance(2)
    assert conn.getsockopt(*SO_ERROR) == errno.EHOSTUNREACH
    link.drain()


# ---- 6 blind throughput reduction


def test_6_2_source_quench_is_ignored(link):
    """"TCP SHOULD silently ignore"; also RFC 6633."""
    conn = link.established()
    conn.send(bytes(5000))
    about = link.drain()[0]
    before = link.tcb(conn).cc.cwnd
    for _ in range(10):
        link.icmp(4, 0, about)
    assert link.tcb(conn).cc.cwnd == before
    assert link.tcb(conn).ep.soft_error == 0
    link.expect_silence()


# ---- 7 blind performance degradation


@pytest.mark.parametrize("mtu", [1500, 1501, 65535])
def test_7_2_what_claims_that_the_path_is_larger(each_link, mtu):
    """"... ICMP PTB messages claiming to be larger than or equal to the current Path-MTU"."""
    link = each_link
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    too_big(link, mtu, link.expect(ACK, size=1400))
    link.expect_silence()
    assert link.world.net.path_mtus.live == 0


@pytest.mark.parametrize("mtu", [0, 1, 67, 68])
def test_7_2_a_tiny_path_is_not_believed(link, mtu):
    """7.1: "... reduce the PMTU to 68 octets": as on Linux it stays at 552 (or the old routers' plateau for 0)."""
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    too_big(link, mtu, link.expect(ACK, size=1400))
    link.drain()
    assert link.tcb(conn).pmtu_mss >= 512


def test_7_3_1_normal_operation(each_link):
    """A router tells once, the segment is sent again in smaller ones, and so are all that follow."""
    link = each_link
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    too_big(link, 1300, link.expect(ACK, size=1400))
    sizes = [len(seg.data) for seg in link.drain()]
    assert sum(sizes) == 1400
    assert max(sizes) == (1260 if link.version == 4 else 1240)


def test_7_3_3_an_idle_connection_is_attacked(link):
    """Nothing is in flight: nothing is believed."""
    conn = link.established(mss=1400)
    conn.send(bytes(100))
    about = link.expect(ACK, size=100)
    link.peer_sends(ACK)
    too_big(link, 600, about)
    assert link.tcb(conn).pmtu_mss == 1460
