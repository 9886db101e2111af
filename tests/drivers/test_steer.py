"""Steer: whose is a frame?  And what each world gets of frames that come to any of their queues."""
from __future__ import annotations

import ctypes
import random
import socket
from collections import Counter

import pytest
from scapy.all import (  # type: ignore[attr-defined]
    ARP,
    ICMP,
    IP,
    TCP,
    UDP,
    Ether,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    fragment,
    fragment6,
)

from netstack.drivers import Driver, Wire, device, steer
from netstack.drivers.base import BUFFER
from netstack.drivers.base import Kind as device_kind
from netstack.drivers.memory import Pages
from netstack.drivers.sharded import Owners, Sharded
from netstack.drivers.steer import EVERYONE, SHORT

from .rig import Rig

pytestmark = pytest.mark.parsers

OURS, THEIRS, GROUP = "02:00:00:00:00:0a", "02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"
COUNT = 4
HOST4, PEER4, HOST6, PEER6 = "10.0.0.2", "10.0.0.1", "fd00::2", "fd00::1"


def frame(packet: object, dst: str = OURS) -> bytes:
    return bytes(Ether(src=THEIRS, dst=dst) / packet)


def v4(packet: object, **fields: object) -> bytes:
    return frame(IP(src=PEER4, dst=HOST4, **fields) / packet)


def v6(packet: object) -> bytes:
    return frame(IPv6(src=PEER6, dst=HOST6) / packet)


@pytest.fixture
def owners() -> Owners:
    made = Owners(COUNT, 12345)
    made.give(40000, 1, udp=False)
    made.give(40000, 2, udp=True)
    return made


@pytest.fixture
def worlds(rigs, owners) -> list[Rig]:
    return [rigs(driver) for driver in Sharded.share([Wire(OURS) for _ in range(COUNT)], owners)]


def owner(owners: Owners, data: bytes, index: int = 3, seen: int | None = None) -> int:
    text = ctypes.create_string_buffer(data, len(data))
    return int(steer.owner(owners.record(index), ctypes.addressof(text), len(data) if seen is None else seen))


HERE = 3
CASES = {
    "the port's owner": (v4(TCP(sport=5, dport=40000)), 1),
    "UDP has ports of its own": (v4(UDP(sport=5, dport=40000)), 2),
    "the same by IPv6": (v6(TCP(sport=5, dport=40000)), 1),
    "UDP by IPv6": (v6(UDP(sport=5, dport=40000)), 2),
    "behind options": (frame(IP(src=PEER4, dst=HOST4, options=b"\x01" * 40) / UDP(sport=5, dport=40000)), 2),
    "behind extension headers": (v6(IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(sport=5, dport=40000)), 2),
    "an ARP request": (frame(ARP(op=1, psrc=PEER4, pdst=HOST4), GROUP), 0),
    "an ARP announcement": (frame(ARP(op=1, psrc=PEER4, pdst=PEER4), GROUP), EVERYONE),
    "an ARP reply": (frame(ARP(op=2, psrc=PEER4, pdst=HOST4)), EVERYONE),
    "a neighbour solicitation": (v6(ICMPv6ND_NS(tgt=HOST6)), 0),
    "a neighbour advertisement": (v6(ICMPv6ND_NA(tgt=PEER6)), EVERYONE),
    "ping": (v4(ICMP(type=8)), HERE),
    "its answer": (v4(ICMP(type=0)), EVERYONE),
    "ping, IPv6": (v6(ICMPv6EchoRequest()), HERE),
    "its answer, IPv6": (v6(ICMPv6EchoReply()), EVERYONE),
    "an error": (v4(ICMP(type=3, code=4) / IP() / TCP()), EVERYONE),
    "an error, IPv6": (v6(ICMPv6DestUnreach() / IPv6() / TCP()), EVERYONE),
    "IGMP": (frame(IP(dst="224.0.0.1", proto=2) / b"\x11\0\0\0\0\0\0\0", "01:00:5e:00:00:01"), EVERYONE),
    "a broadcast datagram": (frame(IP(dst="10.0.0.255") / UDP(sport=5, dport=40000), GROUP), EVERYONE),
    "a broadcast that is TCP": (frame(IP(dst="10.0.0.255") / TCP(dport=40000), GROUP), HERE),
    "another protocol": (v4(Raw(b"12345678"), proto=132), HERE),
    "another EtherType": (frame(Raw(bytes(50))), HERE),
}


@pytest.mark.parametrize("what", CASES)
def test_whose_it_is(owners, what):
    data, expected = CASES[what]
    assert owner(owners, data) == expected


@pytest.mark.parametrize("what", CASES)
def test_nothing_is_read_past_the_end(owners, what):
    """Cut anywhere, the answer is the same, or that it cannot be told."""
    data, expected = CASES[what]
    for n in range(len(data)):
        assert owner(owners, data[:n]) in (SHORT, expected, HERE)
        assert owner(owners, data, seen=n) == owner(owners, data[:n])


def test_any_bytes(owners):
    rng = random.Random(1)
    for _ in range(3000):
        data = bytearray(rng.randbytes(rng.randrange(14, 90)))
        data[12:14] = rng.choice((b"\x08\0", b"\x86\xdd", b"\x08\x06"))
        assert owner(owners, bytes(data)) in (SHORT, EVERYONE, *range(COUNT))


def test_a_flow_without_an_owner_goes_by_its_hash(owners):
    """Each world says the same, Python too, and all get their part."""
    counts = [0] * COUNT
    for port in range(1000, 2200):
        data = v4(TCP(sport=port, dport=80))
        answers = {owner(owners, data, i) for i in range(COUNT)}
        assert answers == {owners.of_flow(80, 0, 0xFFFF_0A00_0001, port)}
        counts[answers.pop()] += 1
    assert min(counts) > 240
    six = v6(TCP(sport=7, dport=80))
    assert owner(owners, six) == owners.of_flow(80, 0xFD00 << 48, 1, 7)


@pytest.mark.parametrize("count", [2, 3, 16])
@pytest.mark.parametrize(("first", "step"), [(32768, 2), (33001, 2), (2000, 1), (40000, 256)])
def test_no_secret_has_a_world_left_out(count, first, step):
    """A peer's ports go in steps: Linux takes those of one parity.  128 of them, with 300 secrets."""
    rng = random.Random(1)
    mean = 128 / count
    for _ in range(300):
        owners = Owners(count, rng.getrandbits(62))
        hits = Counter(owners.of_flow(7, 0, 0xFFFF_0A00_0001, first + step * i) for i in range(128))
        assert len(hits) > count - 3                    # of 16, each is left out once in 4,000 times
        assert max(hits.values()) < mean + 6 * mean**0.5


def test_frames_reach_their_world_from_any_queue(worlds, owners):
    for queue, rig in enumerate(worlds):
        data = v4(TCP(sport=queue + 1, dport=40000) / bytes(100))
        rig.driver.inject(data)
        first = rig.receive_all()                       # whoever has the queue looks first
        assert first + worlds[1].receive_all() == [data]
        assert [r.receive() for r in worlds] == [None] * COUNT
    assert [w.driver.counters["handed_on"] for w in worlds] == [1, 0, 1, 1]
    assert [w.driver.counters["taken"] for w in worlds] == [0, 3, 0, 0]


def test_what_all_must_know_is_copied(worlds):
    data = frame(ARP(op=2, psrc=PEER4, pdst=HOST4))
    worlds[2].driver.inject(data)
    assert worlds[0].receive_all() == []                # nobody has looked yet
    assert worlds[2].receive_all() == [data]
    assert worlds[0].receive_all() == worlds[1].receive_all() == [data]
    assert [w.driver.counters["copied"] for w in worlds] == [0, 0, 1, 0]


def test_a_handed_frame_is_lent_until_done(worlds):
    data = v4(TCP(sport=1, dport=40000))
    for _ in range(2):
        worlds[0].driver.inject(data)
    assert worlds[0].receive() is None
    dev = worlds[1].device
    worlds[1].driver.inject(v4(TCP(sport=9, dport=40000)))
    assert device.is_pending(dev)
    assert device.receive(dev, 0) == device.receive(dev, 0) == len(data)
    assert ctypes.string_at(dev.frame, len(data)) == data
    device.done(dev)
    assert len(worlds[1].receive_all()) == 2            # the other one, then that of its own queue
    assert not device.is_pending(dev)
    assert worlds[1].driver.counters["taken"] == 2


def test_a_sleeper_hears_of_a_handed_frame(worlds):
    assert device.sleep(worlds[1].device)
    assert worlds[1].driver._rings[1].frames.asleep == 1
    worlds[0].driver.inject(v4(TCP(sport=1, dport=40000)))
    worlds[0].receive_all()
    assert not device.sleep(worlds[1].device)           # there is something
    device.wake(worlds[1].device)
    assert worlds[1].driver._rings[1].frames.asleep == 0


@pytest.mark.parametrize("pieces", [
    lambda: [frame(p) for p in fragment(IP(src=PEER4, dst=HOST4, id=77) / UDP(sport=5, dport=40000) / bytes(3000),
                                        fragsize=1000)],
    lambda: [frame(p) for p in fragment6(IPv6(src=PEER6, dst=HOST6) / IPv6ExtHdrFragment(id=99)
                                         / UDP(sport=5, dport=40000) / bytes(3000), 1280)],
], ids=["IPv4", "IPv6"])
def test_fragments_follow_their_first(worlds, pieces):
    frames = pieces()
    assert len(frames) >= 3
    for data in frames:
        worlds[0].driver.inject(data)
    assert worlds[0].receive_all() == worlds[1].receive_all() == []
    assert worlds[2].receive_all() == frames
    worlds[1].driver.inject(frames[1])                  # another queue, which has not seen the first
    assert worlds[1].receive_all() == [frames[1]]
    assert worlds[1].driver.counters["astray"] == 1


def test_a_full_ring_drops_and_counts(rigs, owners):
    worlds = [rigs(d) for d in Sharded.share([Wire(OURS) for _ in range(COUNT)], owners, ring=1 << 16)]
    data = v4(TCP(sport=1, dport=40000) / bytes(1400))
    for _ in range(100):
        worlds[0].driver.inject(data)
    assert worlds[0].receive_all() == []
    dropped = worlds[1].driver.counters["hand_on_drops"]
    assert dropped > 0
    assert worlds[1].receive_all() == [data] * (100 - dropped)


def test_a_world_that_is_gone_gets_nothing_more(worlds):
    worlds[1].driver.close()
    worlds[0].driver.inject(v4(TCP(sport=1, dport=40000)))
    worlds[0].driver.inject(frame(ARP(op=2, psrc=PEER4, pdst=HOST4)))
    assert len(worlds[0].receive_all()) == 1
    assert worlds[1].driver._rings[1].is_empty()
    assert len(worlds[2].receive_all()) == 1


def test_many_frames_of_others_do_not_hold_a_turn(worlds):
    data = v4(TCP(sport=1, dport=40000))
    for _ in range(device.INTAKE + 10):
        worlds[0].driver.inject(data)
    assert device.receive(worlds[0].device, 0) == 0
    assert device.is_pending(worlds[0].device)
    assert device.receive(worlds[0].device, 0) == 0
    assert not device.is_pending(worlds[0].device)
    assert len(worlds[1].receive_all()) == device.INTAKE + 10


class Descriptor(Driver):
    """A TAP's reading and writing, on a socket."""

    mac = bytes.fromhex(OURS.replace(":", ""))

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)
        self.pages = Pages(BUFFER)

    def open(self, device: device.Device, bell: int = -1) -> None:
        device.fd, device.buffer, device.kind = self.near.fileno(), self.pages.address, device_kind.TAP
        self._device = device

    def close(self) -> None:
        super().close()
        self.near.close()
        self.far.close()


@pytest.mark.parametrize("expect", [66, 54, 34, 20, 10])
def test_text_that_was_foreseen_elsewhere_is_put_together(rigs, owners, expect):
    """The device was told where another flow's text goes; some of the headers went there, too."""
    worlds = [rigs(d) for d in Sharded.share([Descriptor() for _ in range(COUNT)], owners)]
    place = ctypes.create_string_buffer(3000)
    data = v4(TCP(sport=1, dport=40000) / random.Random(1).randbytes(1400))
    dev = worlds[0].device
    for packet in (data, frame(ARP(op=2, psrc=PEER4, pdst=HOST4)), data):
        dev.expect = expect
        for i, value in enumerate((ctypes.addressof(place), 700, ctypes.addressof(place) + 1000, 2000)):
            dev.places[i] = value
        worlds[0].driver.far.send(packet)
        received = worlds[0].receive()
        assert received == (None if packet is data else packet)
        assert worlds[1].receive() == packet
    assert worlds[0].driver.counters["handed_on"] == 2


@pytest.mark.parametrize("count", [0, 17])
def test_how_many_worlds(count):
    with pytest.raises(ValueError, match="1 to 16"):
        Owners(count, 1)
