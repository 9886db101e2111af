"""Segments that the stack finds at its device all at once: which of them get an ACK of their own, and what is held."""
from __future__ import annotations

from netstack.errors import Drop

from .link import ACK

MSS = 1000


def opened(link, **options):
    """A connection whose window is large, which has seen its peer's segment size, and has nothing left to say."""
    conn = link.established(wscale=7, **options)
    for _ in range(40):                     # after which no ACK is quick any more
        link.peer_sends(ACK, data=bytes(MSS))
    read_all(conn)
    link.drain()
    link.tcb(conn).space.ssthresh = link.tcb(conn).space.clamp          # the window is as large as it gets
    return conn


def read_all(conn):
    size = 0
    while True:
        try:
            size += len(conn.recv(1 << 20))
        except BlockingIOError:
            return size


def acks(link, start):
    return [seg.ack - start for seg in link.drain()]


def test_every_second_segment_has_its_ack(each_link):
    """Linux, where each frame is taken in by itself, sends as many.  One for all of them could be lost, and it was
    all that the peer had to hear."""
    link = each_link
    opened(link)
    start = link.talk().nxt
    with link.one_turn():
        for _ in range(8):
            link.peer_sends(ACK, data=bytes(MSS))
    assert acks(link, start) == [2 * MSS, 4 * MSS, 6 * MSS, 8 * MSS]


def test_an_odd_one_waits(each_link):
    link = each_link
    opened(link)
    start = link.talk().nxt
    with link.one_turn():
        for _ in range(3):
            link.peer_sends(ACK, data=bytes(MSS))
    assert acks(link, start) == [2 * MSS]
    link.advance(0.2)
    assert acks(link, start) == [3 * MSS]


def test_a_fast_stream_has_fewer(each_link):
    """An eighth of what comes in a round trip: here it was 32 segments."""
    link = each_link
    conn = opened(link)
    link.tcb(conn).drs.flight = 32 * MSS
    start = link.talk().nxt
    with link.one_turn():
        for _ in range(16):
            link.peer_sends(ACK, data=bytes(MSS))
    assert acks(link, start) == [4 * MSS, 8 * MSS, 12 * MSS, 16 * MSS]
    link.tcb(conn).drs.flight = 64 * MSS                # so much has several ACKs anyhow
    with link.one_turn():
        for _ in range(16):
            link.peer_sends(ACK, data=bytes(MSS))
    assert acks(link, start) == [32 * MSS]


def test_without_sack_each_duplicate_ack_is_sent(each_link):
    """RFC 5681 4.2, 3.2: the peer counts three of them."""
    link = each_link
    opened(link)
    start = link.talk().nxt
    with link.one_turn():
        for i in range(1, 6):
            link.peer_sends(ACK, seq=start + MSS * i, data=bytes(MSS))
    assert acks(link, start) == [0] * 5


def test_each_hole_is_told(each_link):
    """RFC 2018 4: no block falls out of the option before it was in one."""
    link = each_link
    opened(link, sack_ok=True)
    start = link.talk().nxt
    with link.one_turn():
        for i in (1, 3, 5, 7, 9, 11):
            link.peer_sends(ACK, seq=start + MSS * i, data=bytes(MSS))
    told = {left - start for seg in link.drain() for left, _ in seg.sack}
    assert told == {MSS * i for i in (1, 3, 5, 7, 9, 11)}


def test_each_duplicate_is_told(each_link):
    """RFC 2883 4: a block of each segment that came twice."""
    link = each_link
    opened(link, sack_ok=True)
    start = link.talk().nxt
    with link.one_turn():
        for i in (5, 3, 1):
            link.peer_sends(ACK, seq=start - MSS * i, data=bytes(MSS))
    assert [(left - start) // MSS for seg in link.drain() for left, _ in seg.sack] == [-5, -3, -1]


def test_hundreds_of_holes(make_link):
    """Every other segment is lost, as when a queue overflows: all that comes is held, and nothing must come twice."""
    link = make_link(tcp_rmem=(4096, 4 << 20, 4 << 20))
    conn = link.established(wscale=7, sack_ok=True)
    size, count = 100, 400
    link.tcb(conn).space.ssthresh = link.tcb(conn).space.clamp
    link.peer_sends(ACK, data=bytes(size))
    link.peer_sends(ACK, data=bytes(size))
    link.advance(1)
    link.drain()
    start = link.talk().nxt
    before = link.tcp.memory.used
    for i in range(count):
        link.peer_sends(ACK, seq=start + size * (2 * i + 1), data=bytes(size))
    assert link.tcp.memory.used == before + 8192        # of 12 bytes each
    assert link.drops(Drop.TCP_REASSEMBLY) == 0
    link.drain()
    for i in range(count):
        link.peer_sends(ACK, seq=start + size * 2 * i, data=bytes(size))
    assert link.drain()[-1].ack == start + size * 2 * count
    assert link.tcp.memory.used == before
    assert read_all(conn) == size * (2 * count + 2)


def test_too_many_holes(make_link):
    """1,365 are held; what would make one more is dropped, and acknowledged at once."""
    link = make_link(tcp_rmem=(4096, 4 << 20, 4 << 20))
    conn = link.established(wscale=7, sack_ok=True)
    link.tcb(conn).space.ssthresh = link.tcb(conn).space.clamp
    link.peer_sends(ACK, data=b"x")
    link.peer_sends(ACK, data=b"x")
    link.advance(1)
    link.drain()
    start = link.talk().nxt
    for i in range(1365):
        link.peer_sends(ACK, seq=start + 2 * i + 1, data=b"x")
    assert link.drops(Drop.TCP_REASSEMBLY) == 0
    link.drain()
    link.peer_sends(ACK, seq=start + 2 * 1365 + 1, data=b"x")
    assert link.drops(Drop.TCP_REASSEMBLY) == 1
    link.expect(ACK, ack=start)
    link.peer_sends(ACK, seq=start, data=b"x")
    link.expect(ACK, ack=start + 2)
    link.peer_sends(ACK, seq=start + 2 * 1365 + 1, data=b"x")
    assert link.drops(Drop.TCP_REASSEMBLY) == 1
    conn.close()
