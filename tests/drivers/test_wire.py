"""Wire and loopback: nothing lost, nothing invented, no sleep missed."""
from __future__ import annotations

import errno
import gc
import os
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netstack.drivers import Loopback, Wire, device
from netstack.drivers.device import Device, Kind

from .rig import Rig, frame


def test_both_ways(rigs):
    wire = Wire()
    rig = rigs(wire)
    wire.inject(frame(1))
    wire.inject(frame(2, 1514))
    assert rig.receive_all() == [frame(1), frame(2, 1514)]
    assert rig.transmit(b"head" * 4, b"", b"body", b"tail") == 24
    assert wire.sniff() == b"head" * 4 + b"bodytail"
    assert wire.sniff(0) is None
    assert wire.sniff(0.0) is None


def test_a_frame_is_lent_until_done(rigs):
    wire = Wire()
    rig = rigs(wire)
    wire.inject(frame(1))
    assert device.receive(rig.device, 0) == 60
    first = rig.device.frame
    assert device.receive(rig.device, 0) == 60
    assert rig.device.frame == first
    device.done(rig.device)
    assert device.receive(rig.device, 0) == 0


@pytest.mark.parametrize("n", [0, 1, 13, 65551, 100_000])
def test_no_frame_has_this_size(n):
    with pytest.raises(ValueError, match="14 to 65550"):
        Wire().inject(bytes(n))


@pytest.mark.parametrize("n", [14, 15, 65550])
def test_smallest_and_largest(rigs, n):
    wire = Wire()
    rig = rigs(wire)
    wire.inject(frame(7, n))
    assert rig.receive_all() == [frame(7, n)]


def test_a_full_queue_refuses(rigs):
    wire = Wire(size=256 << 10)
    rig = rigs(wire)
    sent = (256 << 10) // 1528
    for i in range(sent):
        wire.inject(frame(i, 1514))
    with pytest.raises(OSError, match="queue is full") as caught:
        wire.inject(frame(sent, 1514))
    assert caught.value.errno == errno.ENOBUFS
    assert wire.dropped == (1, 0)
    assert [f == frame(i, 1514) for i, f in enumerate(rig.receive_all())] == [True] * sent
    wire.inject(frame(0))

    left = 0
    while device.has_room(rig.device, 1514):
        assert rig.transmit(frame(left, 1514)) == 1514
        left += 1
    assert rig.transmit(frame(left, 1514)) == 0
    assert rig.sniff_all() == [frame(i, 1514) for i in range(left)]


@given(st.lists(st.integers(14, 65550), max_size=60), st.randoms(use_true_random=False))
def test_any_sizes_in_any_rhythm(sizes, dice):
    rig = Rig(Wire(size=256 << 10))
    wire = rig.driver
    expected = []
    for i, n in enumerate(sizes):
        try:
            wire.inject(frame(i, n))
        except OSError:
            assert expected
        else:
            expected.append(frame(i, n))
        while expected and dice.random() < 0.6:
            assert rig.receive() == expected.pop(0)
    assert rig.receive_all() == expected


def test_bad_arguments():
    for size in (0, 1 << 17, 3 << 17):
        with pytest.raises(ValueError, match="power of two"):
            Wire(size=size)
    with pytest.raises(ValueError, match="mtu"):
        Wire(mtu=67)
    with pytest.raises(ValueError, match="not an Ethernet address"):
        Wire("1:2:3")
    with pytest.raises(ValueError, match="one station"):
        Wire("ff:ff:ff:ff:ff:ff")
    with pytest.raises(ValueError, match="timeout"):
        Wire().sniff(-1)


def test_addresses_differ_and_are_local():
    a, b, c = Wire(), Wire(), Wire("02-00-00-00-00-07")
    assert a.mac != b.mac
    assert a.mac[0] & 3 == 2
    assert c.mac == bytes.fromhex("020000000007")


def test_sniff_wakes_when_a_frame_comes(rigs):
    wire = Wire()
    rig = rigs(wire)
    got = []
    reader = threading.Thread(target=lambda: got.extend([wire.sniff(100), wire.sniff()]))
    reader.start()
    assert rig.transmit(frame(1)) == 60
    assert rig.transmit(frame(2)) == 60
    reader.join(100)
    assert got == [frame(1), frame(2)]
    assert wire._tx.frames.sleepers == 0


def test_sniff_ends_when_the_stack_closes(rigs):
    wire = Wire()
    rig = rigs(wire)
    rig.transmit(frame(1))
    got = []
    reader = threading.Thread(target=lambda: got.extend([wire.sniff(), wire.sniff()]))
    reader.start()
    wire.close()
    reader.join(100)
    assert got == [frame(1), None]
    with pytest.raises(OSError, match="closed") as caught:
        wire.inject(frame(1))
    assert caught.value.errno == errno.ENETDOWN


def test_sniff_times_out():
    assert Wire().sniff(0.001) is None


def test_sniff_on_a_virtual_clock_lets_the_stack_run(rigs):
    wire = Wire()
    rig = rigs(wire)
    asked = []

    def advance(timeout, ready):
        asked.append(timeout)
        if timeout != 0:
            assert not ready()
            rig.transmit(frame(1))
        return ready()
    wire.wait_hook = advance
    assert wire.sniff(0) is None
    assert wire.sniff(2.5) == frame(1)
    assert wire.sniff() == frame(1)
    assert asked == [0, 2.5, None]


def test_joined(rigs):
    a, b = Wire.pair(mtu=9000)
    left, right = rigs(a), rigs(b)
    assert (a.mtu, b.mtu) == (9000, 9000)
    assert left.transmit(frame(1)) == 60
    assert right.transmit(frame(2)) == 60
    assert left.receive_all() == [frame(2)]
    assert right.receive_all() == [frame(1)]
    a.inject(frame(3))
    assert left.receive_all() == [frame(3)]
    with pytest.raises(OSError, match="joined") as caught:
        a.sniff(0)
    assert caught.value.errno == errno.EBUSY


def test_what_cannot_be_joined(rigs):
    a, b = Wire.pair()
    used = Wire()
    rigs(used)
    lone = Wire()
    for one, two in ((a, lone), (lone, b), (used, lone), (lone, lone)):
        with pytest.raises(OSError, match="cannot be joined"):
            Wire.join(one, two)
    with pytest.raises(OSError, match="cannot be attached"):
        used.open(Device.new())


def test_one_end_may_go_first(rigs):
    a, b = Wire.pair()
    right = rigs(b)
    left = Rig(a)
    a.close()
    assert left.device.kind == Kind.NONE
    del left, a
    gc.collect()
    for i in range(5000):       # far more than a queue holds: a cable pulled out takes everything
        assert right.transmit(frame(i, 1514)) == 1514
    assert device.has_room(right.device, 1514)
    assert right.receive() is None


def test_the_bell_rings_only_for_a_sleeper(rigs):
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    wire = Wire()
    rig = rigs(wire, bell)
    wire.inject(frame(1))
    assert _rung(bell) is False
    assert not device.sleep(rig.device)     # a frame waits
    device.wake(rig.device)
    assert device.is_pending(rig.device)
    rig.receive_all()
    assert not device.is_pending(rig.device)
    assert device.sleep(rig.device)
    wire.inject(frame(2))
    assert _rung(bell) is True
    device.wake(rig.device)
    wire.inject(frame(3))
    assert _rung(bell) is False
    os.close(bell)
    assert not device.sleep(rig.device)
    rig.receive_all()
    assert device.sleep(rig.device)
    wire.inject(frame(4))       # rings a copy of the bell: the reader's own descriptor may be another file by now
    assert rig.receive_all() == [frame(4)]


def _rung(bell: int) -> bool:
    try:
        return os.eventfd_read(bell) > 0
    except BlockingIOError:
        return False


def test_two_threads_across_a_joint(rigs):
    """Frames of random sizes, both ways at once: all come, whole, in order."""
    count = 400
    a, b = Wire.pair(size=256 << 10)
    ends = rigs(a), rigs(b)
    errors: list[str] = []

    def work(me: int) -> None:
        dice, rig = random.Random(me), ends[me]
        theirs = random.Random(1 - me)
        sent = got = 0
        expected = frame(0, theirs.randrange(14, 3000))
        outgoing = frame(0, dice.randrange(14, 3000))
        while sent < count or got < count:
            if sent < count and rig.transmit(outgoing[:14], outgoing[14:]) > 0:
                sent += 1
                outgoing = frame(sent, dice.randrange(14, 3000))
            data = rig.receive()
            if data is not None:
                if data != expected:
                    errors.append(f"end {me}, frame {got}")
                    return
                got += 1
                expected = frame(got, theirs.randrange(14, 3000))

    threads = [threading.Thread(target=work, args=(me,), daemon=True) for me in (0, 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(200)
    assert not errors
    assert not any(t.is_alive() for t in threads)


def test_many_writers_one_reader(rigs):
    wire = Wire()
    rig = rigs(wire)
    writers = [threading.Thread(target=lambda w=w: [wire.inject(frame(w * 1000 + i)) for i in range(200)])
               for w in range(4)]
    for t in writers:
        t.start()
    seen: list[bytes] = []
    while any(t.is_alive() for t in writers) or device.is_pending(rig.device):
        seen += rig.receive_all()
    for w in range(4):
        mine = [f for f in seen if int.from_bytes(f[:14], "big") // 1000 == w]
        assert mine == [frame(w * 1000 + i) for i in range(200)]
    assert len(seen) == 800


def test_loopback(rigs):
    lo = Loopback()
    rig = rigs(lo)
    assert rig.device.kind == Kind.LOOPBACK
    assert (lo.name, lo.mtu, lo.ethernet) == ("lo", 65535, False)
    assert rig.transmit(frame(1), b"more") == 64
    assert rig.receive_all() == [frame(1) + b"more"]
    sent = 0
    while rig.transmit(frame(sent, 65550)) > 0:
        sent += 1
    assert sent >= 60
    assert not device.has_room(rig.device, 65550)
    assert len(rig.receive_all()) == sent


def test_no_device():
    nothing = Device.new()
    assert device.receive(nothing, 0) == 0
    assert device.transmit(nothing, 0, 0, 0) == -errno.ENETDOWN
    assert device.sleep(nothing)
    assert not device.is_pending(nothing)
