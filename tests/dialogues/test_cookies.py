"""SYN cookies: RFC 4987 section 3.6, net.ipv4.tcp_syncookies."""
from __future__ import annotations

import pytest

from netstack.errors import Drop

from .link import ACK, FIN, RST, SYN, State


def flooded(make_link, **settings):
    """A listener whose SYN queue is full: ports 40001 to 40003 never answer."""
    link = make_link(tcp_max_syn_backlog=3, **settings)
    link.listen(backlog=100)
    for port in (40001, 40002, 40003):
        link.peer_sends(SYN, seq=100, port=port)
        link.expect(SYN | ACK, port=port)
    return link


@pytest.mark.parametrize("version", [4, 6])
def test_connection_by_cookie(make_link, version):
    """The SYN leaves nothing behind; the ACK makes the connection, in ESTABLISHED at once."""
    link = flooded(make_link, version=version)
    live = link.tcp.tcbs.live
    link.peer_sends(SYN, seq=500, mss=1460, wscale=7, sack_ok=True)
    got = link.expect(SYN | ACK, ack=501, sack_ok=False, wscale=None, ts=None)
    assert got.mss == link.expect_mss()
    assert link.tcp.tcbs.live == live
    link.peer_sends(ACK, ack=1)
    assert link.state() == State.ESTABLISHED
    conn = link.accept()
    link.peer_sends(ACK, data=b"question")
    link.expect(ACK, ack=509)
    assert conn.recv(100) == b"question"
    conn.send(b"answer")
    link.expect(ACK, seq=1, ack=509, data=b"answer")
    assert [link.counter(f"syncookies_{x}") for x in ("sent", "recv", "failed")] == [1, 1, 0]
    assert link.counter("req_q_full_do_cookies") == 1
    assert link.counter("passive_opens") == 4


def test_options_come_back_with_the_timestamp(make_link):
    """Window scale and SACK-permitted stand in the low bits of our TSval, as on Linux."""
    link = flooded(make_link)
    link.advance(1)
    link.drain()
    link.peer_sends(SYN, seq=500, mss=1460, wscale=7, sack_ok=True, ts=(1000, 0))
    got = link.expect(SYN | ACK, sack_ok=True)
    assert got.wscale is not None and got.ts[1] == 1000
    link.peer_sends(ACK, ack=1, wnd=100, ts=(1001, got.ts[0]))
    conn = link.accept()
    t = link.tcb(conn)
    assert (t.ws_ok, t.snd_wscale, t.sack_ok, t.ts.ok, t.snd_wnd) == (1, 7, 1, 1, 12800)
    link.peer_sends(ACK, seq=600, data=b"x", ts=(1002, got.ts[0]))
    link.expect(ACK, ack=501, sack=[(600, 601)])


def test_no_scale_in_the_timestamp(make_link):
    link = flooded(make_link)
    link.peer_sends(SYN, seq=500, mss=1460, ts=(1000, 0))
    got = link.expect(SYN | ACK, sack_ok=False, wscale=None)
    link.peer_sends(ACK, ack=1, wnd=100, ts=(1001, got.ts[0]))
    t = link.tcb(link.accept())
    assert (t.ws_ok, t.sack_ok, t.ts.ok, t.snd_wnd) == (0, 0, 1, 100)


@pytest.mark.parametrize(("version", "mss", "kept"), [
    (4, None, 536), (4, 100, 536), (4, 536, 536), (4, 1299, 536), (4, 1300, 1300), (4, 1459, 1440), (4, 1460, 1460),
    (4, 8960, 1460), (6, None, 1220), (6, 1430, 1420), (6, 1440, 1440), (6, 8940, 8940)])
def test_segment_sizes(make_link, version, mss, kept):
    link = flooded(make_link, version=version)
    link.peer_sends(SYN, seq=500, mss=mss)
    link.expect(SYN | ACK)
    link.peer_sends(ACK, ack=1)
    assert link.tcb(link.accept()).snd_mss == kept


def test_first_text_may_bring_the_cookie(make_link):
    """The bare ACK was lost: the text behind it does as well."""
    link = flooded(make_link)
    link.peer_sends(SYN, seq=500, mss=1460)
    link.expect(SYN | ACK)
    link.peer_sends(FIN | ACK, ack=1, data=b"GET /")
    link.drain()
    conn = link.accept()
    assert conn.recv(100) == b"GET /" and conn.recv(100) == b""
    assert link.state() == State.CLOSE_WAIT


@pytest.mark.parametrize("wrong", [{"ack": 2}, {"ack": 0x1000001}, {"seq": 600, "ack": 1}, {"ack": 1, "port": 40009}])
def test_forged_ack_is_reset(make_link, wrong):
    link = flooded(make_link)
    link.peer_sends(SYN, seq=500, mss=1460)
    link.expect(SYN | ACK)
    if "port" in wrong:
        link.talk(40009).iss = link.talk().iss
        wrong["seq"] = 501
    link.peer_sends(ACK, **wrong)
    link.expect(RST)
    assert link.counter("syncookies_failed") == 1
    assert set(link.states()) == {40001, 40002, 40003}


@pytest.mark.parametrize(("wait", "good"), [(59, True), (61, True), (121, False)])
def test_cookies_grow_old(make_link, wait, good):
    link = make_link(tcp_syncookies=2)
    link.listen()
    link.peer_sends(SYN, seq=500, mss=1460)
    link.expect(SYN | ACK)
    link.expect_silence(wait)                           # and nothing is sent again: nobody remembers
    link.peer_sends(ACK, ack=1)
    if good:
        assert link.state() == State.ESTABLISHED
        link.accept()
    else:
        link.expect(RST)
        assert link.state() == State.CLOSED


def test_no_cookie_is_looked_for_without_a_flood(link):
    """A guess costs a reset and no hash: nothing has overflowed."""
    link.listen()
    link.peer_sends(ACK, seq=501, ack=12345)
    link.expect(RST)
    assert link.counter("syncookies_failed") == 0


def test_always_cookies(make_link):
    """tcp_syncookies 2."""
    link = make_link(tcp_syncookies=2)
    link.listen()
    link.peer_sends(SYN, seq=500, mss=1460)
    link.expect(SYN | ACK)
    assert link.states() == {}
    link.peer_sends(ACK, ack=1)
    link.accept()
    assert link.counter("syncookies_recv") == 1


def test_never_cookies(make_link):
    link = flooded(make_link, tcp_syncookies=0)
    link.peer_sends(SYN, seq=500, mss=1460)
    link.expect_silence()
    assert link.drops(Drop.TCP_SYN_QUEUE) == 1
    assert link.counter("req_q_full_drop") == link.counter("listen_drops") == 1


def test_cookie_and_a_full_accept_queue(make_link):
    """The ACK is dropped, and taken when it comes again with the next text."""
    link = make_link(tcp_syncookies=2)
    link.listen(backlog=0)
    for port in (40001, 40002):
        link.peer_sends(SYN, seq=500, mss=1460, port=port)
        link.expect(SYN | ACK, port=port)
    link.peer_sends(ACK, ack=1, port=40001)
    link.peer_sends(ACK, ack=1, port=40002)
    link.expect_silence()
    assert link.counter("listen_overflows") == 1
    link.accept()
    link.peer_sends(ACK, ack=1, data=b"again", port=40002)
    assert link.accept().recv(10) == b"again"
