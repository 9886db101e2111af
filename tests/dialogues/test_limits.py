"""What happens at each bound, segment by segment: docs/limits.md."""
from __future__ import annotations

import errno

import pytest

import netstack
from netstack.errors import Drop

from .link import ACK, RST, SYN, State

SMALL = {"tcp_rmem": (4096, 16384, 65536), "tcp_wmem": (4096, 4096, 65536)}      # rings of 8 and 4 KiB


def small(make_link, buffers, **settings):
    profile = netstack.Profile(connections=16, sockets=4, runs=64, buffers=buffers, neighbours=4)
    return make_link(profile=profile, **{**SMALL, **settings})


def full(make_link, **settings):
    """Two connections have all the memory of 16 KiB: what they received is not read.  And a third one."""
    link = small(make_link, 16 << 10, **settings)
    conns = [link.established(port=port) for port in (40001, 40002, 40003)]
    for port in (40001, 40002):
        link.peer_sends(ACK, ack=1, data=bytes(100), port=port)
    link.advance(0.2)
    link.drain()
    assert link.tcp.memory.used == 16 << 10
    link.peer_port = 40003
    return link, conns


def test_text_without_a_buffer_is_acknowledged_again(make_link):
    link, conns = full(make_link)
    for n in range(1, 4):
        link.peer_sends(ACK, seq=101, ack=1, data=b"wanted")
        got = link.expect(ACK, seq=1, ack=101)
        assert link.window(got) >= 8192 - 8192 % 1460           # what was offered stays offered
        assert link.counter("rcv_q_drops") == n
    assert link.drops(Drop.TCP_MEMORY) == 3
    assert conns[0].recv(1000) == bytes(100)                    # read: it goes back at once
    link.drain()
    assert link.tcp.memory.used == 8 << 10
    link.peer_sends(ACK, seq=101, ack=1, data=b"wanted")
    assert conns[2].recv(100) == b"wanted"


def test_out_of_order_needs_a_buffer_least(make_link):
    """Under pressure text that is out of order is dropped though there is memory: what is in order needs it."""
    link = small(make_link, 64 << 10, tcp_mem=(1, 2, 16))
    a, b = (link.established(port=port) for port in (40001, 40002))
    link.peer_sends(ACK, ack=1, data=bytes(100), port=40001)
    assert link.tcp.memory.pressure == 0                        # 8 KiB are not above 2 pages
    c = link.established(port=40003)
    link.peer_sends(ACK, ack=1, data=bytes(100), port=40003)
    assert link.tcp.memory.pressure == 1
    link.peer_port = 40002
    link.advance(0.2)
    link.drain()
    link.peer_sends(ACK, seq=111, ack=1, data=b"second")
    link.expect(ACK, ack=101)
    assert link.counter("ofo_drops") == 1
    link.peer_sends(ACK, seq=101, ack=1, data=b"first tent")
    assert b.recv(100) == b"first tent"
    assert a.recv(1000) == c.recv(1000) == bytes(100)
    assert link.tcp.memory.pressure == 0                        # all is read, and has gone back
    assert link.tcp.memory.used == 0
    link.drain()


def test_pressure_ends_below_the_first_number(make_link):
    link = small(make_link, 64 << 10, tcp_mem=(2, 3, 16))
    conns = [link.established(port=port) for port in (40001, 40002)]
    for port in (40001, 40002):
        link.peer_sends(ACK, ack=1, data=bytes(100), port=port)
    assert (link.tcp.memory.used, link.tcp.memory.pressure) == (16 << 10, 1)
    conns[0].recv(1000)
    assert (link.tcp.memory.used, link.tcp.memory.pressure) == (8 << 10, 0)
    conns[1].recv(1000)
    assert link.tcp.memory.used == 8 << 10                      # without pressure a ring is kept
    assert link.tcp.memory.pressures == 1
    link.advance(0.2)
    link.drain()


def test_send_has_a_little_under_pressure_and_then_nothing(make_link):
    """4 KiB would be above the second number, 2 KiB are not; and then there is nothing: ENOBUFS."""
    link = small(make_link, 64 << 10, tcp_mem=(0, 1, 1), tcp_wmem=(2304, 8192, 65536))
    a, b, c = (link.established(port=port) for port in (40001, 40002, 40003))
    assert a.send(bytes(5000)) == 2048
    assert b.send(bytes(5000)) == 2048
    with pytest.raises(OSError, match="buffer space") as caught:
        c.send(b"x")
    assert caught.value.errno == errno.ENOBUFS
    link.drain()
    link.peer_sends(ACK, port=40001)
    link.peer_sends(ACK, port=40002)
    assert link.tcp.memory.used == 0                            # acknowledged: both went back
    assert c.send(bytes(3000)) == 3000
    link.drain()
    link.peer_sends(ACK, port=40003)


@pytest.mark.parametrize(("least", "taken"), [(2304, 2048), (4096, 4096), (10_000, 8192)])
def test_pressure_leaves_tcp_wmem_0_to_each(make_link, least, taken):
    """Above the second number each connection has tcp_wmem[0] bytes to send from, up to the third."""
    link = small(make_link, 64 << 10, tcp_mem=(0, 0, 6), tcp_wmem=(least, 16384, 65536))
    conns = [link.established(port=40001 + i) for i in range((24 << 10) // taken)]
    more = link.established(port=40100)
    for conn in conns:
        assert conn.send(bytes(12_000)) == taken
    assert link.tcp.memory.used == 24 << 10
    with pytest.raises(OSError, match="buffer space"):
        more.send(b"x")
    for _ in range(3):
        link.drain()
        for i in range(len(conns)):
            link.peer_sends(ACK, port=40001 + i)
    assert link.tcp.memory.used == 0
    assert more.send(b"x") == 1
    link.drain()
    link.peer_sends(ACK, port=40100)


def test_sending_leaves_a_third_to_receiving(make_link):
    """However much tcp_mem allows: or two stacks that send to each other would have nowhere to receive."""
    link = small(make_link, 48 << 10, tcp_mem=(0, 0, 12), tcp_wmem=(4096, 16384, 65536))
    conns = [link.established(port=40001 + i) for i in range(9)]
    for conn in conns[:8]:
        assert conn.send(bytes(12_000)) == 4096
    with pytest.raises(OSError, match="buffer space"):
        conns[8].send(b"x")
    assert link.tcp.memory.used == 32 << 10
    for _ in range(3):
        link.drain()
        for i in range(8):
            link.peer_sends(ACK, port=40001 + i)


@pytest.mark.parametrize(("least", "held"), [(8192, True), (4096, False)])
def test_pressure_leaves_tcp_rmem_0_to_each(make_link, least, held):
    """... and takes text out of order into a ring of tcp_rmem[0] bytes at most, below the third number."""
    link = small(make_link, 64 << 10, tcp_mem=(0, 0, 4), tcp_rmem=(least, 16384, 65536))
    conn = link.established(port=40001)
    other = link.established(port=40002)
    link.peer_sends(ACK, ack=1, data=b"x", port=40002)
    assert link.tcp.memory.pressure == 1
    link.drain()
    link.peer_port = 40001
    link.peer_sends(ACK, seq=111, ack=1, data=b"second")
    assert link.counter("ofo_drops") == (0 if held else 1)
    link.peer_sends(ACK, seq=101, ack=1, data=b"first tent")
    assert conn.recv(100) == (b"first tentsecond" if held else b"first tent")
    other.recv(10)
    link.advance(0.2)
    link.drain()


def test_the_least_that_can_be_set(link):
    """SO_RCVBUF's floor is Linux's SOCK_MIN_RCVBUF, 2304 bytes, and SO_SNDBUF's 4608: not tcp_rmem[0], tcp_wmem[0]."""
    conn = link.established(SO_RCVBUF=0, SO_SNDBUF=0)
    assert (link.tcb(conn).space.rcvbuf, link.tcb(conn).space.sndbuf) == (2304, 4608)


def test_no_new_connections_above_the_third_number(make_link):
    link = small(make_link, 64 << 10, tcp_mem=(1, 1, 2))
    conn = link.established(port=40001)
    link.peer_sends(ACK, ack=1, data=bytes(100), port=40001)
    link.advance(0.2)
    link.drain()
    link.peer_sends(SYN, seq=100, mss=1460, port=40002)
    link.expect_silence()
    assert link.counter("listen_drops") == link.drops(Drop.TCP_MEMORY) == 1
    conn.recv(1000)
    link.peer_sends(SYN, seq=100, mss=1460, port=40002)
    link.expect(SYN | ACK, port=40002)


def test_text_in_order_is_taken_above_the_third_number(make_link):
    """As Linux: a connection that has nothing to read is never starved by tcp_mem."""
    link = small(make_link, 64 << 10, tcp_mem=(0, 0, 0))
    link.listen()
    link.tcp.settings.tcp_mem = 1 << 20
    conn = link.established(port=40001)
    link.tcp.settings.tcp_mem = 0
    link.peer_sends(ACK, ack=1, data=b"hello", port=40001)
    assert conn.recv(10) == b"hello"
    link.advance(0.2)
    link.drain()


def test_runs_are_waited_for(make_link):
    """Another connection has the only one: what is written goes out when it is back."""
    link = make_link(profile=netstack.Profile(connections=8, sockets=4, runs=2, buffers=4 << 20, neighbours=4))
    a, b = (link.established(port=port) for port in (40001, 40002))
    a.send(b"first")
    link.expect(ACK, data=b"first", port=40001)
    b.send(b"second")
    b.close()
    link.expect_silence(0.1)
    assert link.tcp.runs.exhausted > 0
    link.peer_sends(ACK, port=40001)
    link.advance(0.02)
    got = link.expect(ACK | 1, data=b"second", port=40002)
    assert got.seq == 1
    link.peer_sends(ACK, port=40002)
    assert link.states()[40002] == State.FIN_WAIT_2


def test_what_cannot_be_cut_is_sent_again_from_its_beginning(make_link):
    link = make_link(profile=netstack.Profile(connections=8, sockets=4, runs=2, buffers=4 << 20, neighbours=4))
    conn = link.established(mss=1000)
    conn.send(bytes(5000))
    assert len(link.drain()) == 5
    seen = set()
    for _ in range(12):
        link.advance(1)
        got = [seg for seg in link.drain() if seg.data]
        if not got:
            break
        assert len(got[0].data) <= 1000
        seen.add(got[0].seq)
        link.peer_sends(ACK, ack=got[0].seq + len(got[0].data))
    assert seen == {1, 1001, 2001, 3001, 4001}
    assert link.tcp.tcbs.live == 2
    assert link.tcb(conn).snd_una == link.tcb(conn).snd_nxt


def test_table_of_connections_comes_back(make_link):
    link = make_link(profile=netstack.Profile(connections=4, sockets=4, buffers=16 << 20, neighbours=4))
    conn = link.established(port=40001)
    link.established(port=40002)
    link.peer_sends(SYN, seq=100, port=40003)
    link.expect_silence()
    with pytest.raises(OSError, match="open files"):
        link.socket()
    link.peer_sends(RST, port=40001)
    conn.close()
    assert link.drops(Drop.TCP_TABLE) == 1
    link.peer_sends(SYN, seq=100, port=40003)
    link.expect(SYN | ACK, port=40003)
