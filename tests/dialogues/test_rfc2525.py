"""RFC 2525, "Known TCP Implementation Problems": one test for each of its entries."""
from __future__ import annotations

import itertools
import socket as real

import pytest

from .link import ACK, FIN, PSH, RST, SYN, State

INITIAL = 10            # segments, RFC 6928; RFC 2525 knew of one, or 4 (RFC 2414)
RTT = 0.1               # s


def connected(link, mss=1000, wnd=65535, **keywords):
    """An accepted connection whose handshake took RTT."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=mss, wnd=wnd, **keywords)
    link.expect(SYN | ACK)
    link.advance(RTT)
    link.peer_sends(ACK, ack=1)
    return link.accept()


def flight(link):
    """What is sent at once, without repetitions; it arrives RTT later."""
    found = link.drain()
    link.advance(RTT)
    return found


def ack_each(link, segments):
    """The peer acknowledges each segment."""
    for seg in segments:
        link.peer_sends(ACK, ack=seg.end)


def test_2_1_no_initial_slow_start(each_link):
    """cwnd begins small and opens by what is acknowledged: no flight is more than twice the one before."""
    link = each_link
    conn = connected(link)
    conn.send(bytes(65000))
    first = flight(link)
    assert len(first) <= INITIAL
    ack_each(link, first)
    second = flight(link)
    assert len(first) < len(second) <= 2 * len(first)
    ack_each(link, second)
    assert len(link.drain()) <= 2 * len(second)


def test_2_2_no_slow_start_after_retransmission_timeout(each_link):
    """After the timeout one segment; its ACK releases at most two."""
    link = each_link
    conn = connected(link)
    conn.send(bytes(60000))
    ack_each(link, flight(link))
    assert len(link.drain()) > 2
    link.advance(2)
    again = link.drain()[:1]
    link.drain()
    link.peer_sends(ACK, ack=again[0].end)
    assert 1 <= len(link.drain()) <= 2


def test_2_3_uninitialized_cwnd(each_link):
    """The SYN-ACK has no MSS option: cwnd is that of a small MSS, not a very large one."""
    link = each_link
    conn = link.connect()
    link.expect(SYN)
    link.advance(RTT)
    link.peer_sends(SYN | ACK, seq=300, ack=1, wnd=65535)
    link.expect(ACK)
    conn.send(bytes(60000))
    sent = flight(link)
    assert {len(seg.data) for seg in sent} == {536 if link.version == 4 else 1220}
    assert len(sent) <= INITIAL


@pytest.mark.parametrize("seed", range(6))
def test_2_4_inconsistent_retransmission(make_link, seed):
    """Every byte sent again is the byte sent before, whatever stalls: also a window that closes and reopens larger."""
    link = make_link(seed=seed)
    conn = connected(link, mss=700, wnd=2100)
    text = bytes((i * 7 + i // 251) & 0xFF for i in range(20000))
    offered, una, seen = 0, 1, {}
    for step in range(60):
        offered += conn.send(text[offered:offered + 1500]) if offered < len(text) else 0
        for seg in link.drain():
            for i, byte in enumerate(seg.data):
                assert seen.setdefault(seg.seq + i, byte) == byte == text[seg.seq + i - 1]
        sent = max(seen, default=0) + 1
        choice = (step * 5 + seed * 3) % 7
        if choice == 0:
            link.advance(3)                             # a timeout
        elif choice == 1:
            link.peer_sends(ACK, ack=una, wnd=0)        # stall
            link.advance(1)
        elif choice == 2:
            link.peer_sends(ACK, ack=una, wnd=2400)     # reopen, larger and not by whole segments
        elif choice == 3:
            for _ in range(4):
                link.peer_sends(ACK, ack=una)           # duplicates
        else:
            una = min(sent, una + 333 * choice)
            link.peer_sends(ACK, ack=una, wnd=1900)
    assert len(seen) > 10_000


def test_2_5_failure_to_retain_above_sequence_data(each_link):
    """Only what was lost has to be sent again."""
    link = each_link
    conn = link.established()
    for i in (1, 2, 4):
        link.peer_sends(ACK, seq=101 + 500 * i, data=bytes([i]) * 500)
        link.expect(ACK, ack=101)
    link.peer_sends(ACK, seq=101, data=bytes(500))
    link.expect(ACK, ack=1601)
    link.peer_sends(ACK, seq=1601, data=b"\3" * 500)
    link.expect(ACK, ack=2601)
    assert conn.recv(5000) == b"".join(bytes([i]) * 500 for i in range(5))


def test_2_6_extra_additive_constant_in_congestion_avoidance(link):
    """Above ssthresh a flight is at most one segment larger than the one before: MSS * MSS / cwnd for each ACK."""
    conn = connected(link)
    conn.setsockopt(real.SOL_SOCKET, real.SO_SNDBUF, 250_000)
    conn.send(bytes(500_000))
    ack_each(link, flight(link))
    sent = link.drain()
    link.advance(3)                                     # all of it is lost: ssthresh is half
    limit = len(sent) // 2
    sizes = []
    link.drain()
    link.peer_sends(ACK, ack=sent[-1].end)
    for _ in range(14):
        got = flight(link)
        sizes.append(len(got))
        ack_each(link, got)
    avoiding = [n for n in sizes if n > limit]
    assert len(avoiding) > 5
    assert all(b - a <= 1 for a, b in itertools.pairwise(avoiding))
    assert avoiding[-1] > avoiding[0]


def test_2_7_initial_rto_too_low(each_link):
    """RFC 6298 (2.1): 1 s; for text as well while there is no sample."""
    link = each_link
    link.connect()
    link.expect(SYN)
    link.expect(SYN, after=1)


def test_2_8_failure_of_window_deflation_after_loss_recovery(link):
    """What the duplicates inflated is taken back: after recovery the flight is half of what it was."""
    conn = connected(link)
    conn.send(bytes(200_000))
    ack_each(link, flight(link))
    sent = flight(link)
    una, before = sent[0].seq, len(sent)
    for _ in range(before - 1):                         # the first is lost
        link.peer_sends(ACK, ack=una)
    extra = link.drain()
    end = max(seg.end for seg in [*sent, *extra])
    link.peer_sends(ACK, ack=sent[-1].end)              # the retransmission has arrived
    link.drain()
    link.peer_sends(ACK, ack=end)
    assert len(link.drain()) <= max(before * 7 // 10, 2) + 1        # Reno: 5, CUBIC: 7 tenths


def test_2_9_excessively_short_keepalive_connection_timeout(link):
    """No single probe decides: 9 of them, 75 s apart."""
    link.established(SO_KEEPALIVE=1)
    link.advance(7200)
    for _ in range(9):
        link.expect(ACK)
        link.advance(74)
        assert link.state() == State.ESTABLISHED
        link.expect_silence()
        link.advance(1)
    assert link.state() == State.CLOSED


def test_2_10_failure_to_back_off_retransmission_timeout(each_link):
    """Each is twice the one before."""
    link = each_link
    conn = connected(link)
    conn.send(b"x")
    times = [link.expect(ACK, data=b"x").at]
    link.advance(100)
    times += [seg.at for seg in link.drain()]
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert len(waits) > 6
    assert all(b == pytest.approx(2 * a, rel=0.01) for a, b in itertools.pairwise(waits))


def test_2_11_insufficient_interval_between_keepalives(link):
    """At least two hours by default, and it can be set."""
    link.established(SO_KEEPALIVE=1)
    link.expect_silence(7199.9)
    link.advance(0.1)
    link.expect(ACK, seq=0)


def test_2_12_window_probe_deadlock(each_link):
    """The window is full, the application reads one byte, the peer's probe fills its place: ACKs still count."""
    link = each_link
    conn = link.established(SO_RCVBUF=4096)
    for _ in range(4):
        link.peer_sends(ACK, data=bytes(1024))
        link.advance(0.05)
    assert link.drain()[-1].wnd == 0
    conn.send(bytes(1000))
    sent = link.drain()
    assert sent
    assert len(conn.recv(1)) == 1
    link.expect_silence()                               # no silly window
    link.peer_sends(ACK, data=b"p", ack=1)              # the probe
    link.advance(0.1)
    link.drain()
    link.peer_sends(ACK, seq=4197, ack=sent[-1].end)
    t = link.tcb(conn)
    assert t.snd_una == t.snd_max
    assert len(conn.recv(5000)) >= 4095
    assert link.drain()[-1].wnd > 2000                  # and the window opens again


@pytest.mark.parametrize("ts", [False, True], ids=["plain", "timestamps"])
def test_2_13_stretch_ack_violation(each_link, ts):
    """No third full-sized segment before an ACK, also when options make them a little smaller."""
    link = each_link
    conn = link.established(ts=ts)
    size = link.expect_mss() - 12 * ts
    acked = 101
    for i in range(20):
        link.peer_sends(ACK, data=bytes(size))
        got = link.drain()
        acked = got[-1].ack if got else acked
        assert 101 + (i + 1) * size - acked <= size
        conn.recv(5000)


@pytest.mark.parametrize("ts", [False, True], ids=["plain", "timestamps"])
@pytest.mark.parametrize("why", ["timeout", "duplicates"])
def test_2_14_retransmission_sends_multiple_packets(each_link, why, ts):
    """A timeout sends one segment, and so do three duplicates; it has the size of the first, with its options."""
    link = each_link
    conn = link.established(mss=1460, ts=ts)
    conn.send(bytes(20000))
    sent = link.drain()
    if why == "duplicates":
        for _ in range(3):
            link.peer_sends(ACK, ack=1)
    link.advance(5 if why == "timeout" else 0)
    again = [seg for seg in link.drain() if seg.seq < sent[-1].end]
    at_once = [seg for seg in again if seg.at == again[0].at]
    assert [(seg.seq, len(seg.data)) for seg in at_once] == [(1, len(sent[0].data))]


def test_2_15_failure_to_send_fin_notification_promptly(each_link):
    """It does not wait for the ACK of what is on the way; PSH goes with it."""
    link = each_link
    conn = link.established()
    conn.send(b"abc")
    link.expect(ACK, data=b"abc")
    conn.send(b"def")                                   # held back by Nagle ...
    link.expect_silence()
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | PSH | ACK, seq=4, data=b"def")    # ... but not any more


def test_2_16_failure_to_send_a_rst_after_half_duplex_close(each_link):
    """Data for an application that is gone."""
    link = each_link
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(ACK)
    link.peer_sends(ACK, data=b"x")
    link.expect(RST, seq=2)
    assert link.state() == State.CLOSED


def test_2_17_failure_to_rst_on_close_with_data_pending(each_link):
    """The peer is told at once that the application did not read it."""
    link = each_link
    conn = link.established()
    link.peer_sends(ACK, data=b"unread")
    conn.close()
    link.expect(RST | ACK)
    assert link.state() == State.CLOSED


def test_2_18_options_missing_from_tcp_mss_calculation(each_link):
    """No packet is larger than the path, whatever options it carries: timestamps, SACK blocks, a D-SACK block."""
    link = each_link
    conn = link.established(sack_ok=True, ts=True, wscale=4)
    nxt = link.talk().nxt

    def largest():
        conn.send(bytes(5000))
        found = link.drain()
        link.advance(RTT)
        link.peer_sends(ACK, seq=nxt, ack=max(seg.end for seg in found))
        return max(len(seg.packet) for seg in found), any(seg.sack for seg in found if seg.data)

    assert largest() == (1500, False)
    for i in (1, 3, 5, 7):
        link.peer_sends(ACK, seq=nxt + 1000 * i, data=bytes(500))
        link.drain()
        size, with_blocks = largest()
        assert 1480 <= size <= 1500
        assert with_blocks


def test_2_18_with_a_d_sack_block_alone(each_link):
    """Nothing is held: the only block is for what came twice, with the segment whose ACK lets us send."""
    link = each_link
    conn = link.established(sack_ok=True, ts=True, wscale=0, wnd=1000)
    nxt = link.talk().nxt
    link.peer_sends(ACK, data=bytes(100))
    link.advance(RTT)
    conn.send(bytes(9000))
    link.drain()
    link.peer_sends(ACK, seq=nxt + 50, data=bytes(100), wnd=60000)
    first, *others = (seg for seg in link.drain() if seg.data)
    assert first.sack == [(nxt + 50, nxt + 100)]
    assert not any(seg.sack for seg in others)
    assert max(len(seg.packet) for seg in [first, *others]) <= 1500
