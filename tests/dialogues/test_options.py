"""Options: RFC 9293 3.1, 3.2 and 3.7.1 (MSS), RFC 7323 (timestamps, PAWS)."""
from __future__ import annotations

import errno
import socket as real

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, SYN, State


def sizes(link):
    """Lengths of the text in the segments that were sent."""
    return [len(seg.data) for seg in link.drain()]


# ---- MSS


def test_default_mss(each_link):
    """3.7.1: without the option 536 for IPv4, 1220 for IPv6."""
    link = each_link
    conn = link.established(mss=None)
    conn.send(bytes(3000))
    assert sizes(link)[0] == (536 if link.version == 4 else 1220)


def test_our_mss_follows_from_the_mtu(each_link):
    link = each_link
    link.listen()
    link.peer_sends(SYN, seq=100)
    assert link.expect(SYN | ACK).mss == (1460 if link.version == 4 else 1440)


@pytest.mark.parametrize("mtu", [576, 9000])
def test_mss_of_other_links(make_link, mtu):
    link = make_link(mtu=mtu)
    link.listen()
    link.peer_sends(SYN, seq=100)
    assert link.expect(SYN | ACK).mss == mtu - 40


def test_we_send_no_more_than_our_own_link_takes(each_link):
    link = each_link
    conn = link.established(mss=9000)
    conn.send(bytes(5000))
    assert sizes(link)[0] == link.expect_mss()


def test_options_count(link):
    """3.7.1: Eff.snd.MSS = min(SendMSS, MMS_S) - TCPhdrsize - IPoptionsize."""
    conn = link.established(mss=1000, ts=True)
    conn.send(bytes(3000))
    assert sizes(link)[0] == 988


def test_tiny_mss_is_not_believed(link):
    conn = link.established(mss=1)
    conn.send(bytes(100))
    assert sizes(link)[0] == 48


def test_maxseg(link):
    conn = link.established(TCP_MAXSEG=500)
    conn.send(bytes(1000))
    assert sizes(link) == [500, 500]
    assert conn.getsockopt(real.IPPROTO_TCP, real.TCP_MAXSEG) == 500


# ---- what may stand in a header


@pytest.mark.parametrize("options", [
    b"\2\4\3", b"\2", b"\2\0", b"\2\1", b"\2\xff\5\xb4", b"\0\2\4\1", b"\1\1\1\2", b"\x1e\2\x1e\2", b"\3\3\2\0",
    b"\x08\x0a\0\0", b"\5\2\1\1", b"\5\x0a\0\0", b"\xff\x04\0\0", b"\2\3\5\1", b"\4\3\1\1", b"\1" * 40,
], ids=lambda o: o.hex())
def test_strange_options_are_no_reason_to_refuse(link, options):
    """3.1, MUST-7: "prepared to handle an illegal option length ... without crashing"."""
    link.listen()
    link.peer_sends(SYN, seq=100, options=options)
    link.expect(SYN | ACK, ack=101)
    link.peer_sends(ACK, ack=1, options=options, data=b"x")
    assert link.accept().recv(10) == b"x"


def test_mss_and_scale_count_in_a_syn_only(link):
    """RFC 9293 3.7.1; RFC 7323 2.2."""
    conn = link.established()
    link.peer_sends(ACK, options=b"\2\4\0\x64\1\3\3\7\4\2\1\1", wnd=1000)
    conn.send(bytes(3000))
    assert sum(sizes(link)) <= 1000
    assert link.tcb(conn).snd_mss == 1460
    assert not link.tcb(conn).sack_ok


# ---- timestamps (RFC 7323 section 3)


def test_timestamps_are_on_every_segment(each_link):
    link = each_link
    conn = link.established(ts=True)
    conn.send(b"x")
    assert link.expect(ACK, data=b"x").ts is not None
    link.peer_sends(ACK, data=b"y")
    assert link.expect(ACK, after=0.04).ts is not None
    conn.recv(10)
    conn.close()
    assert link.expect(FIN | ACK).ts is not None


def test_no_timestamps_without_the_peers(link):
    link.listen()
    link.peer_sends(SYN, seq=100)
    assert link.expect(SYN | ACK).ts is None


def test_no_timestamps_when_switched_off(make_link):
    link = make_link(tcp_timestamps=0)
    link.listen()
    link.peer_sends(SYN, seq=100, ts=(1, 0))
    assert link.expect(SYN | ACK).ts is None
    link.server.close()
    link.drain()
    link.connect()
    assert link.expect(SYN).ts is None


def test_syn_ack_echoes(each_link):
    link = each_link
    link.listen()
    link.peer_sends(SYN, seq=100, ts=(7777, 0))
    assert link.expect(SYN | ACK).ts[1] == 7777


def test_clock_runs_in_milliseconds(link):
    conn = link.established(ts=True)
    conn.send(b"x")
    first = link.expect(ACK, data=b"x").ts[0]
    link.peer_sends(ACK)
    link.advance(5)
    conn.send(b"x")
    assert link.expect(ACK, data=b"x").ts[0] - first == 5000


def test_clocks_of_connections_of_one_pair_of_hosts_agree(link):
    """RFC 7323 7.1 and RFC 6191: the offset is the hosts', so that TIME-WAIT can compare."""
    stamps = []
    for port in (40001, 40002):
        link.listen() if link.server is None else None
        link.peer_sends(SYN, seq=100, ts=(1, 0), port=port)
        stamps.append(link.expect(SYN | ACK).ts[0])
    assert stamps[0] == stamps[1]


def test_ts_recent_is_that_of_the_oldest_unacknowledged(link):
    """(4.3) With a delayed ACK: the first segment's."""
    link.established(ts=True)
    link.peer_sends(ACK, data=b"a", ts=(60_000, 0))
    link.peer_sends(ACK, data=b"b", ts=(60_005, 0))
    assert link.expect(ACK, ack=103, after=0.04).ts[1] == 60_000


def test_ts_recent_with_a_hole(link):
    """(4.3, B and C) Out of order: the last in order; the hole filled: the filling segment's."""
    link.established(ts=True)
    link.peer_sends(ACK, data=b"a", ts=(60_000, 0))
    link.expect(ACK, after=0.04)
    link.peer_sends(ACK, seq=103, data=b"c", ts=(60_010, 0))
    assert link.expect(ACK, ack=102).ts[1] == 60_000
    link.peer_sends(ACK, seq=102, data=b"b", ts=(60_020, 0))
    assert link.expect(ACK, ack=104).ts[1] == 60_020


# ---- PAWS (RFC 7323 section 5)


def test_old_timestamp_is_dropped_and_acknowledged(each_link):
    link = each_link
    conn = link.established(ts=True)
    link.peer_sends(ACK, data=b"new", ts=(60_000, 0))
    link.expect(ACK, ack=104, after=0.04)
    link.peer_sends(ACK, data=b"old", ts=(59_999, 0))
    link.expect(ACK, seq=1, ack=104)
    assert conn.recv(100) == b"new"
    assert link.drops(Drop.TCP_PAWS) == 1


def test_timestamps_wrap(link):
    conn = link.established(ts=True)
    for i, stamp in enumerate((0x7000_0000, 0xE000_0000, 0x3000_0000)):
        link.peer_sends(ACK, data=b"x", ts=(stamp, 0))
        link.expect(ACK, ack=102 + i, after=0.04)
    assert conn.recv(10) == b"xxx"


def test_paws_does_not_stop_a_reset(link):
    """(5.2) "RST segments ... are not subjected to PAWS"."""
    conn = link.established(ts=True)
    link.peer_sends(0x04, ts=(1, 0))
    assert link.state() == State.CLOSED
    with pytest.raises(ConnectionResetError):
        conn.recv(1)


def test_paws_forgets_after_24_days(link):
    """(5.5)"""
    conn = link.established(ts=True)
    link.peer_sends(ACK, data=b"a", ts=(60_000, 0))
    link.expect(ACK, after=0.04)
    t = link.tcb(conn)
    t.ts.recent_at -= 25 * 24 * 3600 * 10**9
    link.peer_sends(ACK, data=b"b", ts=(59_000, 0))
    assert conn.recv(10) == b"ab"


def test_segment_without_timestamp_is_taken(link):
    """(3.2) SHOULD drop it; as Linux we take it: middleboxes eat options."""
    conn = link.established(ts=True)
    link.peer_sends(ACK, data=b"x", ts=None)
    assert conn.recv(10) == b"x"


# ---- addresses that a connection cannot have


def test_unknown_option_of_the_application(link):
    with pytest.raises(OSError, match="not available") as e:
        link.socket().setsockopt(real.IPPROTO_TCP, 4711, 1)
    assert e.value.errno == errno.ENOPROTOOPT


def test_ts_recent_moves_with_the_third_segment(each_link):
    """(RFC 7323 4.3) The SYN-ACK acknowledges the SYN: Last.ACK.sent is what follows it."""
    link = each_link
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460, ts=(50_000, 0))
    stamp = link.expect(SYN | ACK).ts[0]
    link.peer_sends(ACK, ts=(50_100, stamp))
    link.accept().send(b"x")
    assert link.expect(ACK, data=b"x").ts[1] == 50_100
