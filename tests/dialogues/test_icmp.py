"""ICMP errors: RFC 9293 3.9.2.2, RFC 5927 (checks), RFC 1191 and 8201 (smaller paths)."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.errors import Drop

from .link import ACK, SYN, State

SO_ERROR = (real.SOL_SOCKET, real.SO_ERROR)
NET, HOST, PORT, NEEDED = (3, 0), (3, 1), (3, 3), (3, 4)
SIX = {(3, 0): (1, 0), (3, 1): (1, 3), (3, 3): (1, 4)}


def unreachable(link, kind, about, **keywords):
    """The error in the link's own protocol."""
    link.icmp(*(kind if link.version == 4 else SIX[kind]), about, **keywords)


@pytest.mark.parametrize(("kind", "error"), [
    (NET, errno.ENETUNREACH), (HOST, errno.EHOSTUNREACH), (PORT, errno.ECONNREFUSED)])
def test_error_ends_an_attempt(each_link, kind, error):
    """Differs from RFC 1122 4.2.3.9, as Linux: soft errors too end a connection that is being opened."""
    link = each_link
    conn = link.connect()
    unreachable(link, kind, link.expect(SYN))
    assert conn.getsockopt(*SO_ERROR) == error
    link.expect_silence(60)


def test_error_ends_a_half_open_connection(link):
    link.listen()
    link.peer_sends(SYN, seq=100)
    unreachable(link, HOST, link.expect(SYN | ACK))
    assert link.states() == {}
    link.expect_silence(60)


@pytest.mark.parametrize("kind", [NET, HOST, PORT, (3, 2)])
def test_error_does_not_end_a_connection(link, kind):
    """RFC 5927 5.2: hard errors are soft in synchronised states."""
    conn = link.established()
    conn.send(b"abc")
    link.icmp(*kind, link.expect(ACK, data=b"abc"))
    assert link.state() == State.ESTABLISHED
    assert conn.getsockopt(*SO_ERROR) == 0
    link.expect(ACK, data=b"abc", after=0.2)
    link.peer_sends(ACK)


def test_soft_error_is_told_when_all_fails(make_link):
    """RFC 1122 4.2.3.9."""
    link = make_link(tcp_retries2=2)
    conn = link.established()
    conn.send(b"abc")
    link.icmp(*HOST, link.expect(ACK, data=b"abc"))
    link.advance(4)
    link.drain()
    assert conn.getsockopt(*SO_ERROR) == errno.EHOSTUNREACH


def test_progress_forgets_the_soft_error(make_link):
    link = make_link(tcp_retries2=2)
    conn = link.established()
    conn.send(b"abc")
    link.icmp(*HOST, link.expect(ACK, data=b"abc"))
    link.peer_sends(ACK)
    conn.send(b"def")
    link.advance(4)
    link.drain()
    assert conn.getsockopt(*SO_ERROR) == errno.ETIMEDOUT


@pytest.mark.parametrize("seq", [-1, 4, 70_000, -70_000])
def test_quoted_sequence_number_must_be_outstanding(each_link, seq):
    """RFC 5927 4.1."""
    link = each_link
    conn = link.connect()
    syn = link.expect(SYN)
    unreachable(link, PORT, syn, seq=seq)
    assert conn.getsockopt(*SO_ERROR) == 0
    assert link.state() == State.SYN_SENT


def test_error_about_nothing_of_ours(link):
    conn = link.established()
    conn.send(b"abc")
    about = link.expect(ACK, data=b"abc")
    packet = bytearray(about.packet)
    packet[22:24] = b"\x12\x34"                         # another port of the peer
    about.packet = bytes(packet)
    link.icmp(*PORT, about)
    link.icmp(*PORT, about, quote=4)
    assert link.state() == State.ESTABLISHED
    assert link.tcb(conn).ep.soft_error == 0


# ---- smaller paths


def test_fragmentation_needed(each_link):
    """RFC 1191 6.4, RFC 8201: smaller segments, and what was too large at once again."""
    link = each_link
    conn = link.established(mss=1400)
    conn.send(bytes(2800))
    big = link.expect(ACK, seq=1, size=1400)
    link.expect(ACK, seq=1401, size=1400)
    if link.version == 4:
        link.icmp(3, 4, big, mtu=1340)
    else:
        link.icmp(2, 0, big, mtu=1340)
    size = 1300 if link.version == 4 else 1280
    again = [(s.seq, len(s.data)) for s in link.drain()]
    assert again == [(1, size), (1 + size, size), (1 + 2 * size, 2800 - 2 * size)]
    link.peer_sends(ACK)
    conn.send(bytes(1400))
    link.expect(ACK, size=size)


def test_a_path_that_is_not_smaller_changes_nothing(link):
    conn = link.established(mss=1000)
    conn.send(bytes(1000))
    link.icmp(3, 4, link.expect(ACK, size=1000), mtu=1500)
    link.expect_silence()
    assert link.tcb(conn).pmtu_mss == 1460


@pytest.mark.parametrize("mtu", [1500, 1501, 9000])
def test_an_mtu_that_is_not_smaller_is_not_believed(each_link, mtu):
    """RFC 5927 7.2: no packet so large was sent, so none can have been too large; nothing is learned from it."""
    link = each_link
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    about = link.expect(ACK, size=1400)
    link.icmp(*((3, 4) if link.version == 4 else (2, 0)), about, mtu=mtu)
    link.expect_silence()
    assert link.world.net.path_mtus.live == 0
    assert link.drops(Drop.ICMP_IGNORED) == 1


def test_a_tiny_path_is_not_worth_a_tiny_segment(link):
    """As Linux (net.ipv4.route.min_pmtu): 552 bytes, and routers may fragment them."""
    conn = link.established(mss=1000)
    conn.send(bytes(1000))
    link.icmp(3, 4, link.expect(ACK, size=1000), mtu=68)
    got = link.drain()
    assert [len(s.data) for s in got] == [512, 488]
    assert not got[0].packet[6] & 0x40


def test_smaller_path_must_quote_something_outstanding(link):
    conn = link.established()
    conn.send(bytes(1000))
    link.icmp(3, 4, link.expect(ACK, size=1000), mtu=600, seq=90_000)
    link.expect_silence()
    assert link.tcb(conn).pmtu_mss == 1460


def test_new_connections_know_the_path(link):
    """The stack remembers the path's MTU, as RFC 1191 section 6.1 asks."""
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    link.icmp(3, 4, link.expect(ACK, size=1400), mtu=1000)
    link.drain()
    other = link.established(mss=1400, port=40001)
    other.send(bytes(1400))
    assert len(link.expect(ACK, size=960).data) == 960
    link.drain()


@pytest.mark.parametrize("recovery", [False, True])
def test_another_connection_was_told(link, recovery):
    """The path's MTU is the destination's: who finds it smaller than its segments cuts them anew."""
    conn = link.established(mss=1400)
    other = link.established(mss=1400, port=40001)
    if recovery:
        other.send(bytes(2800))
        link.drain()
    conn.send(bytes(1400))
    link.icmp(3, 4, next(s for s in link.drain() if s.dport == 40000), mtu=1000)
    link.drain()
    link.peer_sends(ACK, port=40000)
    if recovery:
        for _ in range(3):
            link.peer_sends(ACK, ack=1)
    else:
        other.send(bytes(2800))
    got = [(s.seq, len(s.data)) for s in link.drain() if s.dport == 40001]
    small = [(start, n) for start, n in got if n <= 960]
    assert small[:2] == [(1, 960), (961, 440 if recovery else 960)]       # what went down at once is cut anew at once
    link.peer_sends(ACK, port=40001)
    link.drain()
    link.peer_sends(ACK, port=40001)
    link.expect_silence(10)


def test_packets_must_not_be_fragmented(link):
    """RFC 1191 3."""
    conn = link.established()
    conn.send(b"x")
    assert link.expect(ACK, data=b"x").packet[6] & 0x40


def test_source_quench_means_nothing(link):
    """RFC 6633."""
    conn = link.established()
    conn.send(b"abc")
    before = link.tcb(conn).cc.cwnd
    link.icmp(4, 0, link.expect(ACK, data=b"abc"))
    assert link.tcb(conn).cc.cwnd == before


# ---- no neighbour


def test_neighbour_that_does_not_answer_ends_an_attempt(each_link):
    """EHOSTUNREACH after three requests, as on Linux."""
    link = each_link
    link.silent_neighbour = True
    conn = link.connect()
    link.advance(4)
    assert conn.getsockopt(*SO_ERROR) == errno.EHOSTUNREACH
    link.expect_silence()


def test_first_segment_to_a_new_neighbour_is_not_lost(each_link):
    link = each_link
    link.silent_neighbour = True
    link.connect()
    link.advance(0.5)
    link.silent_neighbour = False
    link.expect_silence()
    link.expect(SYN, after=0.5)
