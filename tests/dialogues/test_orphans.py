"""After close: SO_LINGER (socket(7)), TCP_LINGER2, orphans and their bounds (tcp(7), ip-sysctl), as Linux has them."""
from __future__ import annotations

import socket as real
import struct

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, RST, SYN, State

LINGER2 = (real.IPPROTO_TCP, real.TCP_LINGER2)


def linger(conn, seconds):
    conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, seconds))


def orphan(link, port=40000, *, text=b""):
    """A connection in FIN-WAIT-1 that the application has closed."""
    conn = link.established(port=port)
    if text:
        conn.send(text)
        link.drain()
    conn.close()
    link.expect(FIN | ACK, seq=1 + len(text))
    return conn


@pytest.fixture
def meanwhile(link, monkeypatch):
    """meanwhile(f, g, ...): while the application waits in close, the first look calls f, the next g ..."""
    def make(*steps):
        left = list(steps)

        def wait(world, handle, events, deadline):
            if left:
                left.pop(0)()
            link.advance(max(deadline - link.clock.now, 0) / 1e9)
            return 0

        monkeypatch.setattr(link.stack, "_wait", wait)
        return left
    return make


# ---- SO_LINGER


def test_linger_waits_until_text_and_fin_are_acknowledged(link, meanwhile):
    conn = link.established()
    linger(conn, 5)
    conn.send(b"last words")
    link.expect(ACK, seq=1, data=b"last words")
    left = meanwhile(lambda: link.peer_sends(ACK, ack=11), lambda: link.peer_sends(ACK, ack=12), None)
    conn.close()
    assert left == [None]                               # it did not look a third time
    link.expect(FIN | ACK, seq=11)
    assert link.clock.time() < 1
    assert link.state() == State.FIN_WAIT_2


def test_linger_gives_up_waiting_but_not_the_connection(link):
    """The time is over: close returns, and the text goes on being sent."""
    conn = link.established()
    linger(conn, 2)
    conn.send(b"last words")
    link.expect(ACK, seq=1, data=b"last words")
    start = link.clock.time()
    conn.close()                                        # the socket does not block; this waits all the same
    assert link.clock.time() - start == pytest.approx(2, abs=0.01)
    assert link.state() == State.FIN_WAIT_1
    assert link.tcp.orphans.count == 1
    link.drain()
    link.advance(2)
    assert any(seg.data == b"last words" for seg in link.drain())
    link.peer_sends(ACK, ack=12)
    assert link.state() == State.FIN_WAIT_2


def test_unread_text_is_a_reset_at_once(link):
    """RFC 2525 2.17; there is nothing to wait for."""
    conn = link.established()
    linger(conn, 5)
    link.peer_sends(ACK, data=b"unread")
    conn.close()
    assert link.clock.time() < 1
    link.expect(RST | ACK, seq=1)
    assert link.counter("aborts_on_close") == 1


def test_text_that_comes_while_close_waits_is_a_reset(link, meanwhile):
    """As Linux: nobody is left to read it (RFC 9293 3.6.1)."""
    conn = link.established()
    linger(conn, 5)
    left = meanwhile(lambda: link.peer_sends(ACK, ack=1, data=b"too late"), None)
    conn.close()
    assert left == [None]
    link.expect(FIN | ACK, seq=1)
    link.expect(RST, seq=1)
    assert link.state() == State.CLOSED
    assert link.counter("aborts_on_data") == 1


def test_linger_0_is_a_reset(each_link):
    link = each_link
    conn = link.established()
    linger(conn, 0)
    conn.send(b"never mind")
    link.expect(ACK, data=b"never mind")
    conn.close()
    link.expect(RST | ACK, seq=11)
    assert link.counter("aborts_on_data") == 1
    link.expect_silence(60)


def test_linger_0_with_unsent_text_in_last_ack(link):
    """Both have closed: only text that is lost needs a reset."""
    conn = link.established(wnd=0)
    conn.send(b"no window for this")
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    conn.shutdown(real.SHUT_WR)
    assert link.state() == State.LAST_ACK
    linger(conn, 0)
    conn.close()
    link.expect(RST | ACK, seq=1)


# ---- TCP_LINGER2 and FIN-WAIT-2


@pytest.mark.parametrize(("told", "read"), [(0, 60), (10, 10), (120, 120), (121, 120), (-1, -1), (-9, -1)])
def test_linger2_is_at_most_two_minutes(link, told, read):
    sock = link.socket()
    assert sock.getsockopt(*LINGER2) == 60              # tcp_fin_timeout
    sock.setsockopt(*LINGER2, told)
    assert sock.getsockopt(*LINGER2) == read
    assert struct.unpack("i", sock.getsockopt(*LINGER2, 4)) == (read,)


@pytest.mark.parametrize("acknowledged_first", [False, True])
def test_linger2_bounds_fin_wait_2(link, acknowledged_first):
    conn = link.established(TCP_LINGER2=10)             # inherited
    if acknowledged_first:
        conn.shutdown(real.SHUT_WR)
    else:
        conn.close()
    link.expect(FIN | ACK)
    link.peer_sends(ACK)
    if acknowledged_first:
        link.expect_silence(100)
        conn.close()
    link.expect_silence(9.9)
    assert link.state() == State.FIN_WAIT_2
    link.expect_silence(0.1)
    assert link.state() == State.CLOSED


def test_fin_wait_2_is_at_least_three_and_a_half_timeouts(link):
    """tcp_fin_time: the peer's FIN may have to come again."""
    conn = link.established(TCP_LINGER2=1)
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK)
    link.peer_sends(ACK)
    link.tcb(conn).rto.rto = 2_000_000_000
    conn.close()
    link.advance(6.9)
    assert link.state() == State.FIN_WAIT_2
    link.advance(0.1)
    assert link.state() == State.CLOSED


def test_no_fin_wait_2_when_the_fin_is_acknowledged(link):
    """TCP_LINGER2 -1: the ACK of our FIN is answered with a reset."""
    conn = link.established(TCP_LINGER2=-1)
    conn.close()
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK)
    link.expect(RST, seq=2)
    assert link.state() == State.CLOSED


def test_no_fin_wait_2_when_it_was_reached_before(link):
    conn = link.established(TCP_LINGER2=-1)
    conn.shutdown(real.SHUT_WR)
    link.expect(FIN | ACK, seq=1)
    link.peer_sends(ACK)
    link.expect_silence(100)                            # no orphan yet
    conn.close()
    link.expect(RST | ACK, seq=2)
    assert link.counter("aborts_on_linger") == 1


def test_fin_wait_2_counts_with_time_wait(make_link):
    """tcp_max_tw_buckets, as on Linux, where both are the same small record."""
    link = make_link(tcp_max_tw_buckets=2)
    for port in (40001, 40002, 40003):
        orphan(link, port)
        link.peer_sends(ACK, port=port)
    assert link.states() == {40001: State.FIN_WAIT_2, 40002: State.FIN_WAIT_2}
    assert link.counter("time_wait_overflow") == 1
    link.peer_sends(FIN | ACK, port=40001)
    assert link.state(40001) == State.TIME_WAIT         # one less there, one more here


# ---- how many, how long


def test_one_orphan_too_many_is_reset(make_link):
    link = make_link(tcp_max_orphans=2)
    for port in (40001, 40002):
        orphan(link, port)
    conn = link.established(port=40003)
    conn.close()
    link.expect(RST | ACK, seq=1, port=40003)
    assert link.state(40003) == State.CLOSED
    assert link.counter("aborts_on_memory") == 1
    link.peer_sends(ACK, ack=2, port=40001)
    assert link.state(40001) == State.FIN_WAIT_2        # no longer counted
    orphan(link, 40004)
    assert link.counter("aborts_on_memory") == 1


def test_orphans_of_a_listener_that_closes_are_none(link):
    """Children that nobody accepted are reset: nothing is left to count."""
    link.listen()
    link.peer_sends(SYN, seq=100, mss=1460)
    link.expect(SYN | ACK)
    link.peer_sends(ACK, ack=1)
    link.server.close()
    link.expect(RST | ACK)
    assert link.tcp.orphans.count == link.tcp.orphans.fin_waits == 0


@pytest.mark.parametrize(("setting", "times"), [(0, 9), (1, 2), (3, 4)])
def test_orphan_retries(make_link, setting, times):
    """0 means 8, as long as the timeout has not reached its limit; as on Linux one more after a short round trip."""
    link = make_link(tcp_orphan_retries=setting)
    orphan(link)
    link.advance(600)
    assert [seg.flags & FIN for seg in link.drain()] == [FIN] * times
    assert link.state() == State.CLOSED


def test_orphan_whose_timeout_is_at_its_limit_has_no_retries(link):
    conn = link.established()
    link.tcb(conn).rto.rto = 100_000_000_000
    conn.close()
    link.expect(FIN | ACK)
    link.expect(FIN | ACK, after=100)
    assert link.state() == State.FIN_WAIT_1
    link.advance(120)
    assert link.state() == State.CLOSED


def test_orphan_does_not_wait_for_ever_for_a_window(link):
    """The peer answers every probe; RFC 1122 4.2.2.17 keeps the connection, Linux not one that nobody holds."""
    conn = link.established(wnd=0)
    conn.send(b"nobody wants it")
    link.advance(0.2)
    conn.close()
    for _ in range(40):
        link.advance(20)
        if link.drain() and link.state() != State.CLOSED:
            link.peer_sends(ACK, ack=1)
    assert link.state() == State.CLOSED


def test_an_application_may_wait_for_ever_for_a_window(link):
    conn = link.established(wnd=0)
    conn.send(b"somebody may want it")
    for _ in range(60):
        link.advance(20)
        if link.drain():
            link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED
    assert link.drops(Drop.TCP_UNACCEPTABLE) == 0


@pytest.mark.parametrize(("soft", "left"), [(False, State.FIN_WAIT_1), (True, State.CLOSED)])
def test_doubtful_orphans_count_for_more(make_link, soft, left):
    """tcp_out_of_resources: after an ICMP error an orphan weighs twice, when its timer goes off."""
    link = make_link(tcp_max_orphans=3)
    conns = [link.established(port=port) for port in (40001, 40002)]
    for conn in conns:
        conn.close()
    fin = link.expect(FIN | ACK, port=40001)
    link.expect(FIN | ACK, port=40002)
    if soft:
        link.peer_port = 40001
        link.icmp(3, 1, fin)
    link.advance(0.25)
    assert link.state(40001) == left
    assert link.state(40002) == State.FIN_WAIT_1
