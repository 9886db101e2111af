"""Buffers that grow (tcp/drs.py, tcp/space.py), limits on them, and small ones that never block a connection."""
from __future__ import annotations

import random
import socket as real
from contextlib import suppress

import pytest

from netstack.machine import addressof, ring
from netstack.tcp import space

from ..sim.net import network
from .link import ACK, PSH

TCP, SOL = real.IPPROTO_TCP, real.SOL_SOCKET
WINDOW_CLAMP, NOTSENT_LOWAT = 10, 25
INQ, OUTQ, OUTQNSD = 0x541B, 0x5411, 0x894B


def stream(link, conn, rounds, rtt=0.05):
    """A peer in slow start: it sends what the window and its own (doubling) allow, and we read it."""
    text = random.Random(1).randbytes(1 << 20)
    cwnd, sent = 10, 0
    window = 60_000
    for _ in range(rounds):
        end = min(sent + cwnd * 1448, sent + window, len(text))
        while sent < end:
            n = min(1448, end - sent)
            link.peer_sends(ACK | (PSH if sent + n == end else 0), data=text[sent:sent + n])
            sent += n
        link.advance(rtt)
        yield text[:sent]
        for seg in link.drain():
            window = (seg.ack + link.window(seg)) - (101 + sent)
        cwnd *= 2


def test_the_receive_buffer_grows_while_it_is_read(link):
    conn = link.established(ts=True, wscale=7)
    t = link.tcb(conn)
    got = b""
    for sent in stream(link, conn, 7):
        while len(got) < len(sent):
            got += conn.recv(100_000)
        assert got == sent
        assert t.rcv.size >= (t.rcv_adv - t.rcv_nxt) & 0xFFFF_FFFF
    assert conn.getsockopt(SOL, real.SO_RCVBUF) > 262_144
    assert t.rcv.size > 131_072


def test_what_is_read_at_once_takes_no_more_than_the_front_of_the_buffer(link):
    """So a large buffer costs memory, and the processor's cache, only for what stood in it at once."""
    conn = link.established()
    t = link.tcb(conn)
    for _ in range(3):
        link.peer_sends(ACK | PSH, data=b"x" * 1000)
        assert ring.address(t.rcv, t.rcv.head) == addressof(t.rcv) + t.rcv.data
        assert conn.recv(2000) == b"x" * 1000
        link.drain()
    link.peer_sends(ACK | PSH, seq=3102, data=b"z" * 10)            # what came out of order stays where it is ...
    link.peer_sends(ACK | PSH, seq=3101, data=b"y")
    assert conn.recv(2000) == b"y" + b"z" * 10
    link.drain()
    link.peer_sends(ACK | PSH, seq=3112 + 1, data=b"w")
    link.drain()
    assert t.held != 0
    link.peer_sends(ACK | PSH, seq=3112, data=b"v")                 # ... when what is missing comes into an empty ring
    assert conn.recv(2000) == b"vw"


@pytest.mark.parametrize("how", ["SO_RCVBUF", "tcp_moderate_rcvbuf", "tcp_rmem"])
def test_and_stops_growing(make_link, how):
    settings = {"tcp_moderate_rcvbuf": {"tcp_moderate_rcvbuf": 0}, "tcp_rmem": {"tcp_rmem": (4096, 131072, 131072)}}
    link = make_link(**settings.get(how, {}))
    conn = link.established(ts=True, wscale=7, **({"SO_RCVBUF": 65536} if how == "SO_RCVBUF" else {}))
    got = b""
    for sent in stream(link, conn, 7):
        with suppress(BlockingIOError):
            while len(got) < len(sent):
                got += conn.recv(100_000)
    assert conn.getsockopt(SOL, real.SO_RCVBUF) == 131_072


def test_out_of_order_text_survives_the_growth(link):
    conn = link.established(sack_ok=True)
    t = link.tcb(conn)
    text = random.Random(2).randbytes(60_000)
    for at in range(0, 60_000, 1000):
        if at != 30_000:
            link.peer_sends(ACK, seq=101 + at, data=text[at:at + 1000])
    before = t.rcv.size
    space.set_rcvbuf(t.space, 600_000, 1)               # as right-sizing would
    assert conn.recv(10) == text[:10]
    assert t.rcv.size > before
    link.peer_sends(ACK, seq=101 + 30_000, data=text[30_000:31_000])
    assert conn.recv(100_000) == text[10:]


def test_window_clamp(link):
    conn = link.established(wscale=7)
    conn.setsockopt(TCP, WINDOW_CLAMP, 5000)
    assert conn.getsockopt(TCP, WINDOW_CLAMP) == 5000
    for _ in range(45):
        link.peer_sends(ACK, data=bytes(1460))
        conn.recv(2000)
    assert link.window(link.drain()[-1]) <= 5000 + 128
    with pytest.raises(OSError, match="Invalid argument"):
        conn.setsockopt(TCP, WINDOW_CLAMP, 0)


def test_notsent_lowat(link):
    conn = link.established(wnd=1000, mss=1000)
    conn.setsockopt(TCP, NOTSENT_LOWAT, 4000)
    assert conn.send(bytes(100_000)) == 4000
    assert conn.ioctl(OUTQ) == 4000
    assert conn.ioctl(OUTQNSD) == 3000
    assert not conn._stack.select([], [conn], [], 0)[1]
    link.expect(ACK, size=1000)
    link.peer_sends(ACK, wnd=2000)                      # 1000 are left
    assert conn._stack.select([], [conn], [], 0)[1]
    link.drain()


def test_low_water_makes_room(link):
    """SO_RCVLOWAT: a buffer that could never hold so much would block for ever."""
    conn = link.established(wscale=7)
    conn.setsockopt(SOL, real.SO_RCVLOWAT, 500_000)
    assert conn.getsockopt(SOL, real.SO_RCVBUF) >= 1_000_000
    link.peer_sends(ACK, data=b"x" * 1000)
    assert not conn._stack.select([conn], [], [], 0)[0]


def test_ioctl(link):
    conn = link.established()
    link.peer_sends(ACK, data=b"abc")
    assert (conn.ioctl(INQ), conn.ioctl(OUTQ)) == (3, 0)
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        conn.ioctl(1)
    link.drain()


@pytest.mark.parametrize("mtu", [576, 1280, 1500, 9000, 65535])
@pytest.mark.parametrize(("rcvbuf", "sndbuf"), [(1, 1), (1, 100_000), (3000, 1), (20_000, 4096), (65536, 65536)])
def test_small_buffers_never_block(mtu, rcvbuf, sndbuf):
    """Both ends obey every rule against silly windows; no rule may wait for the other's.  A deadlock would take the
    persist timer to end, 200 ms each time."""
    with network(1, None, mtu) as net:
        server = net.socket(net.b)
        server.setsockopt(SOL, real.SO_RCVBUF, rcvbuf)
        server.bind(("", 7))
        server.listen(1)
        client = net.socket(net.a)
        client.setsockopt(SOL, real.SO_SNDBUF, sndbuf)
        client.connect_ex(("192.0.2.2", 7))
        net.clock.advance(0.1)
        conn = net.life.enter_context(server.accept()[0])
        conn.setblocking(False)
        text = random.Random(mtu).randbytes(40_000)
        sent, got = 0, b""
        chance = random.Random(rcvbuf)
        began = net.clock.time()
        while len(got) < len(text):
            with suppress(BlockingIOError):
                sent += client.send(text[sent:sent + chance.choice([1, 100, 5000])])
            net.clock.advance(0.001)
            with suppress(BlockingIOError):
                got += conn.recv(chance.choice([1, 500, 4000]))
            assert net.clock.time() - began < 60, f"{len(got)} bytes have come"
        assert got == text
        client.close()
        conn.close()
