"""Path MTU without help from routers: RFC 4821, RFC 8899; and what a router told is forgotten (RFC 1191 6.3)."""
from __future__ import annotations

import socket as real

import pytest

from netstack.tcp import mtu_probe
from netstack.tcp.congestion import Ca
from netstack.tcp.mtu_probe import MtuProbe

from .link import ACK

BLOCK = 1000


def searching(make_link, *, cwnd=20, sack_ok=True, **settings):
    """A connection whose segments have 1000 bytes, and whose congestion window has grown."""
    link = make_link(tcp_mtu_probing=2, tcp_base_mss=BLOCK, tcp_early_retrans=0, **settings)
    conn = link.established(sack_ok=sack_ok)
    conn.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 200_000)
    link.tcb(conn).cc.cwnd = cwnd * BLOCK
    return link, conn


def sizes(link):
    return [len(seg.data) for seg in link.drain()]


def test_a_probe_that_gets_through(make_link):
    """(7.6.1) Half way between 1000 and 1460, and the ACK makes all segments as large; then half way again."""
    link, conn = searching(make_link)
    conn.send(bytes(10_000))
    assert sizes(link) == [1230] + 8 * [1000] + [770]
    cwnd = link.tcb(conn).cc.cwnd
    link.advance(0.1)
    link.peer_sends()
    assert link.tcb(conn).cc.cwnd >= cwnd
    assert conn.info()["snd_mss"] == 1230
    conn.send(bytes(10_000))
    assert sizes(link)[:3] == [1345, 1230, 1230]
    assert link.counter("mtu_probes") == 2


def test_the_search_ends(make_link):
    """(7.3) Within 8 bytes of the largest; after tcp_probe_interval it begins anew, from there."""
    link, conn = searching(make_link)
    found = []
    for _ in range(8):
        conn.send(bytes(12_000))
        found.append(sizes(link)[0])
        link.peer_sends()
    assert found == [1230, 1345, 1402, 1431, 1445, 1452, 1456, 1456]
    assert (conn.info()["snd_mss"], link.counter("mtu_probes")) == (1456, 7)
    link.advance(600)
    link.tcb(conn).cc.cwnd = 20_000
    conn.send(bytes(12_000))
    assert max(sizes(link)) == 1456                     # so close to 1460, there is nothing to search for


@pytest.mark.parametrize("sack_ok", [True, False])
def test_a_probe_that_is_lost(make_link, sack_ok):
    """(7.6.2) Its loss is no sign of congestion: the text goes again in pieces, the window stays, and the search
    goes on below."""
    link, conn = searching(make_link, sack_ok=sack_ok)
    conn.send(bytes(10_000))
    assert sizes(link)[0] == 1230
    before = conn.info()
    link.advance(0.1)
    for n in range(1, 6):
        link.peer_sends(ack=1, **({"sack": [(1231, 1231 + n * 1000)]} if sack_ok else {}))
    again = link.drain()
    assert [(s.seq, len(s.data)) for s in again[:2]] == [(1, 1000), (1001, 230)]
    link.advance(0.1)
    link.peer_sends(ack=10_001)
    after = conn.info()
    assert after["snd_ssthresh"] == before["snd_ssthresh"]
    assert after["snd_cwnd"] >= before["snd_cwnd"]
    assert (after["ca_state"], after["snd_mss"]) == (Ca.OPEN, 1000)
    assert (link.counter("mtu_probes_lost"), link.counter("fast_retransmits")) == (1, 0)
    conn.send(bytes(10_000))
    assert sizes(link)[0] == 1114                       # between 1000 and 1229


def test_a_probe_that_is_lost_with_others(make_link):
    """(7.6.3) That is congestion, and says nothing of the probe."""
    link, conn = searching(make_link)
    conn.send(bytes(10_000))
    link.drain()
    link.advance(0.1)
    link.peer_sends(ack=1, sack=[(2231, 6231)])
    assert conn.info()["ca_state"] == Ca.RECOVERY
    assert link.counter("mtu_probes_lost") == 0
    link.drain()
    link.peer_sends(ack=10_001)
    assert conn.info()["snd_mss"] == 1000               # nor that it got through
    link.tcb(conn).cc.cwnd = 20 * BLOCK
    conn.send(bytes(10_000))
    assert sizes(link)[0] == 1230


def test_a_timeout_says_nothing_of_a_probe(make_link):
    """(7.6.4)"""
    link, conn = searching(make_link)
    conn.send(bytes(10_000))
    link.drain()
    link.advance(0.3)
    link.drain()
    link.peer_sends(ack=10_001)
    assert (conn.info()["snd_mss"], link.tcb(conn).mtu.size) == (1000, 0)


@pytest.mark.parametrize(("cwnd", "text", "wnd"), [(10, 10_000, 65535), (20, 5000, 65535), (20, 10_000, 5000)])
def test_too_little_for_a_probe(make_link, cwnd, text, wnd):
    """(7.4) A window of 11 segments, and enough behind the probe, or its loss would cost a timeout."""
    link, conn = searching(make_link, cwnd=cwnd)
    link.peer_sends(wnd=wnd)
    conn.send(bytes(text))
    assert max(sizes(link)) == 1000
    assert link.counter("mtu_probes") == 0


@pytest.mark.parametrize("version", [4, 6])
def test_black_hole(make_link, version):
    """(7.7) By default: after three timeouts in a row segments get small, then half of that; later they grow."""
    link = make_link(version, tcp_early_retrans=0)
    conn = link.established(sack_ok=True)
    conn.send(bytes(3000))
    link.drain()
    seen = []
    while len(seen) < 5:
        link.advance(0.1)
        seen += sizes(link)
    full = 1460 if version == 4 else 1440
    assert seen == [full, full, full, 1024, 512]
    assert link.counter("mtu_black_holes") >= 2
    link.peer_sends(ack=3001)
    mss = conn.info()["snd_mss"]
    assert mss < 1024
    conn.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 200_000)
    link.tcb(conn).cc.cwnd = 30_000
    conn.send(bytes(20_000))
    assert sizes(link)[0] == (mss + full) // 2          # and up again


def test_no_black_hole_for_small_segments(link):
    """Differs from Linux: their size is not why they are lost."""
    conn = link.established()
    conn.send(bytes(500))
    link.advance(10)
    link.drain()
    assert (conn.info()["snd_mss"], link.counter("mtu_black_holes")) == (1460, 0)


def test_off(make_link):
    """Linux's default."""
    link = make_link(tcp_mtu_probing=0)
    conn = link.established()
    conn.send(bytes(3000))
    link.advance(10)
    assert {n for n in sizes(link) if n > 200} >= {1460}
    assert conn.info()["snd_mss"] == 1460


def test_probes_end_where_a_router_says(make_link):
    """An ICMP error about a probe ends it; what is smaller goes on."""
    link, conn = searching(make_link)
    conn.send(bytes(10_000))
    first = link.drain()[0]
    assert len(first.data) == 1230
    link.icmp(3, 4, first, mtu=1140)
    assert sizes(link) == []
    assert (conn.info()["pmtu"], conn.info()["snd_mss"]) == (1140, 1000)
    link.peer_sends(ack=1, sack=[(1231, 5231)])
    assert sizes(link)[:2] == [1000, 230]
    link.peer_sends(ack=10_001)
    conn.send(bytes(10_000))
    assert sizes(link)[0] == 1050


@pytest.mark.parametrize("version", [4, 6])
def test_what_a_router_told_is_forgotten(make_link, version):
    """RFC 1191 6.3, RFC 8201 5.3: after ten minutes an open connection tries the interface's MTU again."""
    link = make_link(version)
    conn = link.established(mss=1400)
    conn.send(bytes(1400))
    about = link.expect(ACK, size=1400)
    link.icmp(*((3, 4) if version == 4 else (2, 0)), about, mtu=1300)
    small = 1260 if version == 4 else 1240
    assert sizes(link) == [small, 1400 - small]
    link.peer_sends()
    link.advance(590)
    conn.send(bytes(1400))
    assert sizes(link) == [small, 1400 - small]
    link.peer_sends()
    link.advance(11)
    conn.send(bytes(1400))
    assert sizes(link) == [1400]
    assert conn.info()["pmtu"] == 1500


def test_segments_fit_the_interface(make_link):
    """The peer's MSS may be larger than what our interface takes, or smaller than what is sensible."""
    link = make_link(mtu=900)
    conn = link.established(mss=9000)
    assert conn.info()["snd_mss"] == conn.info()["advmss"] == 860
    other = make_link(tcp_min_snd_mss=200)
    assert other.established(mss=20).info()["snd_mss"] == 200
    least = make_link()
    assert least.established(mss=20).info()["snd_mss"] == 48


def test_maxseg_limits_the_search(make_link):
    link = make_link(tcp_mtu_probing=2, tcp_base_mss=600)
    conn = link.established(TCP_MAXSEG=700)
    assert (link.tcb(conn).mtu.low, link.tcb(conn).mtu.high, conn.info()["snd_mss"]) == (600, 700, 600)


def listen_through(link, most, left, done=0):
    """A peer behind a hole that swallows segments of more than `most` bytes: until `left` bytes are acknowledged."""
    got: list[tuple[int, int]] = []
    nxt, began = 1, link.clock.time()
    nxt += done
    while nxt <= left and link.clock.time() - began < 60:
        link.advance(0.02)
        for seg in link.drain():
            if not 0 < len(seg.data) <= most:
                continue
            got = sorted([*got, (seg.seq, seg.end)])
            joined: list[tuple[int, int]] = []
            for a, b in got:
                if joined and a <= joined[-1][1]:
                    joined[-1] = joined[-1][0], max(joined[-1][1], b)
                else:
                    joined.append((a, b))
            got = joined
            if got[0][0] <= nxt:
                nxt = max(nxt, got[0][1])
            link.peer_sends(ack=nxt, sack=[r for r in got if r[0] > nxt][:3])
    return link.clock.time() - began


@pytest.mark.parametrize("mode", [1, 2])
def test_a_transfer_through_a_black_hole(make_link, mode):
    """Nobody tells, and yet it arrives, in segments that are nearly as large as the hole lets through."""
    link = make_link(tcp_mtu_probing=mode)
    conn = link.established(sack_ok=True)
    conn.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 200_000)
    n = conn.send(bytes(400_000))
    took = listen_through(link, 1200, n)
    for _ in range(3):
        conn.send(bytes(400_000))
        listen_through(link, 1200, n + 400_000, done=n)
        n += 400_000
    assert conn.info()["bytes_acked"] == n
    assert 1200 - 8 < conn.info()["snd_mss"] <= 1200
    assert took < (5 if mode == 1 else 2)


def test_without_probes_it_hangs(make_link):
    """What Linux does by default."""
    link = make_link(tcp_mtu_probing=0)
    conn = link.established(sack_ok=True)
    conn.send(bytes(50_000))
    assert listen_through(link, 1200, 50_000) >= 60
    assert conn.info()["bytes_acked"] == 0


# ---- the record


def test_record():
    m = MtuProbe.new()
    mtu_probe.begin(m, mtu_probe.ALWAYS, 1024, 1460, 5)
    assert (m.enabled, m.low, m.high, mtu_probe.next_size(m, 8)) == (1, 1024, 1460, 1242)
    mtu_probe.on_sent(m, 1242, 0xFFFF_FF00, 986)
    assert mtu_probe.next_size(m, 8) == 0
    assert not mtu_probe.on_ack(m, 0xFFFF_FF10, 6)
    assert mtu_probe.is_lost_alone(m, 0xFFFF_FF00, 1242)
    assert not mtu_probe.is_lost_alone(m, 0xFFFF_FF00, 1243)
    assert not mtu_probe.is_lost_alone(m, 0xFFFF_FEFF, 1242)
    assert mtu_probe.on_ack(m, 986, 7)
    assert (m.low, m.high, m.size) == (1242, 1460, 0)
    mtu_probe.limit(m, 1245)
    assert mtu_probe.next_size(m, 8) == 0
    assert not mtu_probe.is_over(m, 8, 100, 50)
    assert mtu_probe.is_over(m, 8, 100, 107)
    mtu_probe.restart(m, 1460, 107)
    assert mtu_probe.next_size(m, 8) == 1351


def test_black_holes_of_the_record():
    """tcp_base_mss, then half of what it is each time, down to the floor; never when off."""
    m = MtuProbe.new()
    mtu_probe.begin(m, mtu_probe.AFTER_BLACK_HOLE, 1024, 1460, 0)
    assert not mtu_probe.on_black_hole(m, mtu_probe.OFF, 1024, 300, 9000, 0)
    found = []
    while mtu_probe.on_black_hole(m, mtu_probe.AFTER_BLACK_HOLE, 1024, 300, 9000, 0):
        found.append(m.low)
    assert found == [1024, 512, 300]
