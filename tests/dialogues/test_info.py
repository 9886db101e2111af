"""TCP_INFO: each field, where the dialogue makes its value known."""
from __future__ import annotations

import socket as real
import struct

import pytest

from netstack import tcpinfo
from netstack.tcp.congestion import Ca
from netstack.tcp.info import SIZE

from .link import ACK, FIN, SYN, State

UNKNOWN = 0xFFFF_FFFF


def shows(sock, **expected):
    """The fields, which must be like this."""
    found = sock.info()
    got = {name: found[name] for name in expected}
    assert got == expected
    return found


def round_trip(link, conn, n=100, seconds=0.1):
    """n bytes, acknowledged after so long."""
    conn.send(bytes(n))
    link.expect(ACK, data=bytes(n))
    link.advance(seconds)
    link.peer_sends()


def test_before_anything(link):
    conn = link.socket()
    shows(conn, state=State.CLOSED, snd_cwnd=0, unacked=0, min_rtt=UNKNOWN, bytes_acked=0, last_data_recv=0)


def test_a_listener(link):
    """Its two numbers: how many wait, how many may."""
    server = link.listen(backlog=7)
    link.peer_sends(SYN, seq=100)
    link.expect(SYN | ACK)
    link.peer_sends(ACK, ack=1)
    shows(server, state=State.LISTEN, unacked=1, sacked=7, rto=0)


def test_opening(link):
    conn = link.connect()
    link.expect(SYN)
    shows(conn, state=State.SYN_SENT, unacked=1, segs_out=1, segs_in=0, rto=1_000_000, retransmits=0, total_rto=0)
    link.expect(SYN, after=1.0)
    shows(conn, unacked=1, segs_out=2, retransmits=1, backoff=1, rto=2_000_000, total_rto=1, total_rto_recoveries=1)
    link.advance(0.5)
    link.peer_sends(SYN | ACK, seq=0, ack=1, mss=1000)
    link.expect(ACK)
    shows(conn, state=State.ESTABLISHED, segs_in=1, segs_out=3, delivered=1, unacked=0, total_rto_time=500, backoff=0,
          snd_mss=1000, snd_cwnd=1, retransmits=0)


@pytest.mark.parametrize("version", [4, 6])
def test_options(make_link, version):
    link = make_link(version)
    conn = link.established(ts=True, sack_ok=True, wscale=3, wnd=1000, mss=1400)
    found = shows(conn, state=State.ESTABLISHED, ca_state=Ca.OPEN, options=7, snd_wscale=3, snd_wnd=8000,
                  snd_mss=1388, advmss=link.expect_mss() - 12, pmtu=1500, reordering=3, snd_ssthresh=0x7FFF_FFFF,
                  snd_cwnd=10, pacing_rate=(1 << 64) - 1, max_pacing_rate=(1 << 64) - 1, fackets=0, rehash=0)
    assert found["rcv_wscale"] == link.talk().wscale
    assert found["rcv_wnd"] == link.tcb(conn).rcv_adv - link.tcb(conn).rcv_nxt == {4: 65160, 6: 64260}[version]
    assert found["rcv_ssthresh"] <= found["rcv_wnd"]
    plain = make_link(version)
    shows(plain.established(), options=0, snd_wscale=0, rcv_wscale=0)


def test_round_trip_times(link):
    conn = link.established()
    shows(conn, rtt=1, min_rtt=1)           # the handshake took no time here; a sample is never 0
    round_trip(link, conn, seconds=0.08)
    shows(conn, rtt=10_000, min_rtt=1)      # (RFC 6298 2.3) 7/8 * 0 + 1/8 * 80 ms


def test_first_round_trip(link):
    link.listen()
    link.peer_sends(SYN, seq=100)
    link.expect(SYN | ACK)
    link.advance(0.1)
    link.peer_sends(ACK, ack=1)
    shows(link.accept(), rtt=100_000, rttvar=50_000, min_rtt=100_000, rto=300_000, backoff=0)


def test_bytes_and_segments(link):
    conn = link.established(mss=1000, quick=True)
    shows(conn, rcv_mss=536, ato=0)
    conn.send(bytes(2500))
    link.drain()
    shows(conn, unacked=3, bytes_sent=2500, data_segs_out=3, segs_out=4, segs_in=1, data_segs_in=0, bytes_acked=0,
          notsent_bytes=0, delivered=1, total_retrans=0)
    link.peer_sends(ack=2001)
    shows(conn, unacked=1, bytes_acked=2000, segs_in=2, delivered=3)
    link.peer_sends(data=b"x" * 300)
    link.peer_sends(data=b"y" * 200)
    shows(conn, unacked=0, bytes_acked=2500, bytes_received=500, segs_in=4, data_segs_in=2, delivered=4, rcv_ooopack=0,
          ato=40_000)
    link.peer_sends(seq=link.talk().nxt + 100, data=b"z")
    shows(conn, bytes_received=500, rcv_ooopack=1, data_segs_in=3)


def test_times_since(link):
    """Milliseconds; before anything happened, since the connection was established."""
    conn = link.established()
    link.advance(0.05)
    shows(conn, last_data_sent=50, last_data_recv=50, last_ack_recv=50, last_ack_sent=0)
    conn.send(b"x")
    link.expect(ACK, data=b"x")
    link.advance(0.01)
    link.peer_sends()
    link.advance(0.02)
    link.peer_sends(data=b"y")
    link.advance(0.03)
    shows(conn, last_data_sent=60, last_data_recv=30, last_ack_recv=30)


def test_recovery_by_sack(make_link):
    link = make_link(tcp_early_retrans=0)
    conn = link.established(mss=1000, sack_ok=True)
    conn.send(bytes(10_000))
    link.drain()
    link.advance(0.05)
    link.peer_sends(ack=1, sack=[(2001, 5001)])
    link.expect(ACK, seq=1, size=1000)
    link.expect(ACK, seq=1001, size=1000)
    shows(conn, ca_state=Ca.RECOVERY, unacked=10, sacked=3, lost=2, retrans=2, total_retrans=2, bytes_retrans=2000,
          bytes_sent=12_000, data_segs_out=12, snd_ssthresh=7, delivered=4)
    link.drain()
    link.advance(0.05)
    link.peer_sends(ack=10_001)
    shows(conn, ca_state=Ca.OPEN, sacked=0, lost=0, retrans=0, unacked=0, delivered=11, snd_cwnd=7, reord_seen=0)


def test_what_came_twice(link):
    conn = link.established(sack_ok=True)
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    link.peer_sends(ack=4, sack=[(1, 4)])
    shows(conn, dsack_dups=1)


def test_timeouts(link):
    conn = link.established(mss=1000)
    round_trip(link, conn, 1000, 0.1)
    conn.send(bytes(3000))
    link.drain()
    link.advance(0.25)
    link.drain()
    shows(conn, ca_state=Ca.LOSS, retransmits=1, backoff=1, snd_cwnd=1, total_rto=1, total_rto_recoveries=1,
          lost=3, retrans=1, total_retrans=1)
    link.advance(0.6)
    link.drain()
    found = shows(conn, ca_state=Ca.LOSS, retransmits=2, backoff=2, total_rto=2, total_rto_recoveries=1)
    assert 600 < found["total_rto_time"] < 700
    link.peer_sends(ack=4001)
    shows(conn, ca_state=Ca.OPEN, retransmits=0, backoff=0, total_rto=2)
    kept = conn.info()["total_rto_time"]
    link.advance(1)
    shows(conn, total_rto_time=kept)


def test_window_probes_and_limits(link):
    """busy_time: there was something to send; rwnd_limited: and the peer's window was full."""
    conn = link.established(wnd=1000)
    link.advance(1)
    conn.send(bytes(3000))
    link.drain()
    shows(conn, notsent_bytes=2000, busy_time=0, rwnd_limited=0, unacked=1)
    link.advance(0.1)
    link.peer_sends(wnd=0)
    link.advance(0.3)
    link.drain()
    shows(conn, probes=1, retransmits=0, busy_time=400_000, rwnd_limited=400_000, snd_wnd=0)
    link.peer_sends(ack=1001, wnd=5000)
    link.drain()
    link.advance(0.1)
    link.peer_sends()
    shows(conn, probes=0, busy_time=500_000, rwnd_limited=400_000, notsent_bytes=0, bytes_acked=3000)
    link.advance(1)
    shows(conn, busy_time=500_000, rwnd_limited=400_000, sndbuf_limited=0)


def test_send_buffer_limits(link):
    conn = link.established(mss=1000, SO_SNDBUF=4000)
    size = conn.getsockopt(real.SOL_SOCKET, real.SO_SNDBUF)
    assert size == 8000
    assert conn.send(bytes(size)) == size
    link.drain()
    link.advance(0.1)
    shows(conn, sndbuf_limited=100_000, busy_time=100_000, rwnd_limited=0)
    link.peer_sends()
    link.advance(1)
    shows(conn, sndbuf_limited=100_000, busy_time=100_000)


def test_delivery_rate(link):
    """Ten segments in a round trip of 100 ms: 100,000 bytes per second; then the application has no more to send."""
    conn = link.established(mss=1000)
    conn.send(bytes(20_000))
    link.drain()
    link.advance(0.1)
    link.peer_sends()
    shows(conn, delivery_rate=100_000, delivery_rate_app_limited=0)
    link.drain()
    conn.send(b"x")
    link.drain()
    link.advance(0.1)
    link.peer_sends()
    found = shows(conn, delivery_rate_app_limited=0)
    assert found["delivery_rate"] >= 100_000


def test_a_smaller_path(link):
    conn = link.established()
    conn.send(bytes(1400))
    link.icmp(3, 4, link.expect(ACK, size=1400), mtu=1300)
    link.drain()
    shows(conn, pmtu=1300, snd_mss=1260)


def test_after_the_end(link):
    conn = link.established()
    conn.send(bytes(1000))
    link.drain()
    link.peer_sends(FIN | ACK, ack=1)
    link.drain()
    shows(conn, state=State.CLOSE_WAIT)
    link.peer_sends(4, seq=link.talk().nxt)             # RST
    link.advance(5)
    shows(conn, state=State.CLOSED, busy_time=0, unacked=0)


def test_length(link):
    """As many bytes as were asked for, no more than there are; without a length an int (Linux: its first bytes)."""
    conn = link.established()
    whole = conn.getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, 1000)
    assert len(whole) == SIZE == 280
    for n in (1, 4, 104, 232, 248):
        assert conn.getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, n) == whole[:n]
    assert conn.getsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO) == struct.unpack("i", whole[:4])[0]
    with pytest.raises(OSError, match="not available"):
        conn.setsockopt(real.IPPROTO_TCP, tcpinfo.TCP_INFO, whole)
    assert list(tcpinfo.unpack(whole[:104]))[-1] == "total_retrans"


def test_bbr_tells_of_itself(link):
    """struct tcp_bbr_info; other algorithms have nothing to tell."""
    conn = link.established(mss=1000)
    assert conn.getsockopt(real.IPPROTO_TCP, 26, 64) == b""
    conn.setsockopt(real.IPPROTO_TCP, 13, b"bbr")
    conn.send(bytes(20_000))
    link.advance(0.1)
    link.drain()
    link.peer_sends()
    low, high, min_rtt, pacing_gain, cwnd_gain = struct.unpack("5I", conn.getsockopt(real.IPPROTO_TCP, 26, 64))
    assert (high, pacing_gain, cwnd_gain) == (0, 739, 739)
    assert low > 0
    assert min_rtt <= conn.info()["min_rtt"]
    assert 0 < conn.info()["pacing_rate"] < 1 << 40


def test_datagram_sockets_have_none(link):
    with link.stack.socket(real.AF_INET, real.SOCK_DGRAM) as sock, pytest.raises(OSError, match="not supported"):
        sock.info()
