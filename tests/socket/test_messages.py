"""recvmmsg and sendmmsg: many datagrams in one call."""
from __future__ import annotations

import errno
import threading

import pytest

import netstack.socket as ns
from netstack.messages import Messages
from netstack.sockopt import UDP_GRO, UDP_SEGMENT


@pytest.fixture
def two(stack, life):
    """Two bound datagram sockets."""
    made = [life.enter_context(stack.socket(ns.AF_INET, ns.SOCK_DGRAM)) for _ in range(2)]
    for s in made:
        s.bind(("127.0.0.1", 0))
        s.settimeout(60)
    return made


def test_a_batch_and_back(two):
    a, b = two
    sent = [bytes([i]) * i for i in (1, 0, 3, 100)]
    for data in sent:
        a.sendto(data, b.getsockname())
    batch = Messages(8)
    got = []
    while len(got) < 4:
        n = b.recvmmsg(batch)
        assert n == len(batch)
        got += [bytes(data) for data in batch]
        assert [batch.address(i) for i in range(n)] == [a.getsockname()] * n
        assert batch.ports() == [a.getsockname()[1]] * n
        assert b.sendmmsg(batch) == n
    assert got == sent
    assert [a.recv(1000) for _ in sent] == sent


def test_what_does_not_fit_waits(two):
    a, b = two
    for i in range(5):
        a.sendto(b"%d" % i, b.getsockname())
    batch = Messages(2)
    got = []
    while len(got) < 5:
        assert b.recvmmsg(batch) <= 2
        got += [bytes(data) for data in batch]
    assert got == [b"0", b"1", b"2", b"3", b"4"]


def test_cut(two):
    a, b = two
    a.sendto(b"x" * 50, b.getsockname())
    batch = Messages(2, 16)
    assert b.recvmmsg(batch) == 1
    assert bytes(batch[0]) == b"x" * 16 and batch.is_cut(0)


def test_waiting(two):
    a, b = two
    batch = Messages(4)
    b.settimeout(0.02)
    with pytest.raises(TimeoutError):
        b.recvmmsg(batch)
    b.setblocking(False)
    with pytest.raises(BlockingIOError):
        b.recvmmsg(batch)
    b.settimeout(60)
    timer = threading.Timer(0.05, a.sendto, (b"x", b.getsockname()))
    timer.start()
    assert b.recvmmsg(batch) == 1
    timer.join()
    with pytest.raises(OSError) as e:
        b.recvmmsg(batch, ns.MSG_PEEK)
    assert e.value.errno == errno.EOPNOTSUPP


def test_after_shutdown(two):
    _, b = two
    with pytest.raises(OSError) as e:           # not connected, but it takes effect
        b.shutdown(ns.SHUT_RD)
    assert e.value.errno == errno.ENOTCONN
    assert b.recvmmsg(Messages(1)) == 0


def test_a_batch_of_ones_own(two):
    a, b = two
    batch = Messages(4, 32)
    batch.append(b"one", b.getsockname())
    batch.append(bytearray(b"two"), b.getsockname())
    assert a.sendmmsg(batch) == 2
    assert [b.recv(10), b.recv(10)] == [b"one", b"two"]
    batch.clear()
    assert a.sendmmsg(batch) == 0
    batch.append(b"three")
    with pytest.raises(OSError) as e:
        a.sendmmsg(batch)
    assert e.value.errno == errno.EDESTADDRREQ
    a.connect(b.getsockname())
    assert a.sendmmsg(batch) == 1
    assert b.recv(10) == b"three"


def test_one_that_cannot_be_sent(two):
    a, b = two
    batch = Messages(4)
    batch.append(b"1", b.getsockname())
    batch.append(b"2", ("203.0.113.1", 9))      # no route
    batch.append(b"3", b.getsockname())
    assert a.sendmmsg(batch) == 1
    batch.remove(0)
    with pytest.raises(OSError) as e:
        a.sendmmsg(batch)
    assert e.value.errno == errno.ENETUNREACH
    batch.remove(0)
    assert a.sendmmsg(batch) == 1
    assert [b.recv(10), b.recv(10)] == [b"1", b"3"]


def test_several_as_one(two):
    """UDP_SEGMENT cuts each of a batch; with UDP_GRO each comes as it was sent, and the batch tells how it was cut."""
    a, b = two
    a.setsockopt(ns.IPPROTO_UDP, UDP_SEGMENT, 100)
    batch = Messages(8)
    for n in (250, 100, 0, 101):
        batch.append(bytes(n), b.getsockname())
    assert a.sendmmsg(batch) == 4
    assert [len(b.recv(1000)) for _ in range(7)] == [100, 100, 50, 100, 0, 100, 1]
    b.setsockopt(ns.IPPROTO_UDP, UDP_GRO, 1)
    assert a.sendmmsg(batch) == 4
    got = Messages(8)
    assert b.recvmmsg(got) == 4
    assert [(len(m), got.segment(i)) for i, m in enumerate(got)] == [(250, 100), (100, 0), (0, 0), (101, 100)]
    assert got.address(0) == a.getsockname()


def test_the_batch_itself():
    batch = Messages(3, 5)
    assert batch.size == 8 and batch.count == 3 and len(batch) == 0
    with pytest.raises(IndexError):
        batch[0]
    for data in (b"a", b"bb", b"ccc"):
        batch.append(data, ("192.0.2.1", 9))
    with pytest.raises(IndexError):
        batch.append(b"d")
    assert [bytes(m) for m in batch] == [b"a", b"bb", b"ccc"] and bytes(batch[-1]) == b"ccc"
    batch.remove(1)
    assert [bytes(m) for m in batch] == [b"a", b"ccc"]
    batch.remove(0, 5)
    assert len(batch) == 0
    with pytest.raises(ValueError, match="only"):
        batch.append(b"123456789")
    batch.append(b"six", ("2001:db8::1", 9))
    assert batch.address(0) == ("2001:db8::1", 9, 0, 0)
    with pytest.raises(ValueError, match="one byte"):
        Messages(0)


def test_not_for_streams(connected):
    client, _ = connected()
    with pytest.raises(OSError) as e:
        client.recvmmsg(Messages(1))
    assert e.value.errno == errno.EOPNOTSUPP
    with pytest.raises(OSError) as e:
        client.sendmmsg(Messages(1))
    assert e.value.errno == errno.EOPNOTSUPP
