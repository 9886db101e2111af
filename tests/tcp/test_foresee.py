"""Text that the device reads into the receive ring: a stack that foresees it does what one does that cannot.

The same frames go to two stacks on one virtual clock each: one has a device that
is read by readv(2) (a SOCK_SEQPACKET pair in place of a TAP), the other a wire.
"""
from __future__ import annotations

import random
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

import netstack
from netstack.drivers import Wire
from netstack.drivers.base import BUFFER, Device, Driver, Kind
from netstack.drivers.memory import Pages

MAC, PEER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
PROFILE = netstack.Profile(connections=64, sockets=16, buffers=16 << 20, neighbours=16)
PORT, PEER_PORT = 80, 40000
MSS = 1448


class Pair(Driver):
    """A device that looks like a TAP: one end of a SOCK_SEQPACKET pair."""

    name = "pair0"
    mac = bytes.fromhex(MAC.replace(":", ""))

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.near, self.far):
            end.setblocking(False)
        self._pages = Pages(BUFFER)

    def open(self, device: Device, bell: int = -1) -> None:
        self._device = device
        device.fd, device.buffer, device.kind = self.near.fileno(), self._pages.address, Kind.TAP

    def inject(self, frame: bytes) -> None:
        self.far.send(frame)

    def sniff(self, timeout: float) -> bytes | None:
        try:
            return self.far.recv(70_000)
        except BlockingIOError:
            return None

    def close(self) -> None:
        super().close()
        self.near.close()
        self.far.close()


class End:
    """A stack with one connection, that a peer made of scapy has opened."""

    def __init__(self, driver: Any, version: int) -> None:
        self.driver, self.version = driver, version
        self.ours, self.theirs = ADDRESSES[version]
        self.clock = netstack.VirtualClock(7)
        self.stack = netstack.Stack(self.clock, profile=PROFILE)
        self.stack.attach(driver, dad=False, **({"ip": f"{self.ours}/24"} if version == 4 else {
            "ip6": f"{self.ours}/64"}), link_local=False)
        self.server = self.stack.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        self.server.bind(("", PORT))
        self.server.listen()
        self.log: list[bytes] = []
        self.seq, self.ack = 1000, 0
        if version == 4:
            self.give(Ether(src=PEER_MAC, dst=MAC) / ARP(op=1, psrc=self.theirs, pdst=self.ours, hwsrc=PEER_MAC))
        self.give(self.segment(flags="S", options=[("MSS", 1460), ("WScale", 7), ("Timestamp", (5, 0))]))
        if version == 6:
            self.answer_solicitation()
        answer = next(p for p in map(Ether, reversed(self.log)) if TCP in p)
        self.seq, self.ack = 1001, answer[TCP].seq + 1
        self.give(self.segment())
        self.server.setblocking(False)
        self.conn = self.server.accept()[0]
        self.conn.setblocking(False)
        self.tcp = self.stack._record.tcp

    def answer_solicitation(self) -> None:
        from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr
        self.give(Ether(src=PEER_MAC, dst=MAC) / IPv6(src=self.theirs, dst=self.ours, hlim=255)
                  / ICMPv6ND_NA(R=0, S=1, O=1, tgt=self.theirs) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC))

    def segment(self, text: bytes = b"", **changes: Any) -> Packet:
        ip = IP(src=self.theirs, dst=self.ours) if self.version == 4 else IPv6(src=self.theirs, dst=self.ours)
        fields: dict[str, Any] = {"sport": PEER_PORT, "dport": PORT, "seq": self.seq, "ack": self.ack, "flags": "A",
                                  "window": 500, "options": [("NOP", None), ("NOP", None), ("Timestamp", (6, 0))]}
        return Ether(src=PEER_MAC, dst=MAC) / ip / TCP(**{**fields, **changes}) / text

    def give(self, frame: Packet | bytes) -> None:
        self.driver.inject(bytes(frame))
        self.turn()

    def turn(self) -> None:
        self.clock.advance(0)
        while (sent := self.driver.sniff(0)) is not None:
            self.log.append(sent)

    def read(self, n: int) -> bytes:
        try:
            return bytes(self.conn.recv(n))
        except BlockingIOError:
            return b"(nothing)"
        except OSError as error:
            return type(error).__name__.encode()

    def close(self) -> None:
        self.conn.close()
        self.server.close()
        self.stack.close()
        self.driver.close()


@pytest.fixture(params=[4, 6])
def ends(request: pytest.FixtureRequest) -> Any:
    made = [End(Pair(), request.param), End(Wire(mac=MAC), request.param)]
    yield made
    for end in made:
        end.close()


def both(ends: list[End], text: bytes = b"", damage: int = 0, **changes: Any) -> None:
    for end in ends:
        raw = bytearray(bytes(end.segment(text, **changes)))
        if damage:
            raw[-damage] ^= 0x10
        end.give(bytes(raw))


def bulk(ends: list[End], count: int, size: int = MSS) -> None:
    """So many segments in order."""
    for _ in range(count):
        both(ends, random.Random(ends[0].seq).randbytes(size))
        for end in ends:
            end.seq += size


def same(ends: list[End], n: int = 1 << 20) -> bytes:
    got = [end.read(n) for end in ends]
    assert got[0] == got[1]
    assert ends[0].log == ends[1].log
    return got[0]


def is_foreseen(ends: list[End]) -> bool:
    return ends[0].tcp.foreseen != 0


def placed(end: End) -> int:
    return int(end.tcp.counters.hp_hits)


def test_bulk(ends: list[End]) -> None:
    bulk(ends, 2)
    assert is_foreseen(ends)
    assert placed(ends[0]) == 0
    bulk(ends, 1)
    assert placed(ends[0]) == 1
    want = b"".join(random.Random(1001 + i * MSS).randbytes(MSS) for i in range(3))
    assert same(ends) == want
    for _ in range(60):                                     # around the ring, several times
        bulk(ends, 7)
        assert len(same(ends)) == 7 * MSS
    assert ends[0].stack.drops() == ends[1].stack.drops() == {}
    assert placed(ends[0]) == 421
    assert placed(ends[1]) == 0                             # a wire lends frames where they stand


OTHERS: dict[str, dict[str, Any]] = {
    "old": {"seq": -MSS}, "partly old": {"seq": -100}, "a hole before it": {"seq": MSS}, "FIN": {"flags": "FA"},
    "PSH": {"flags": "PA"}, "reset": {"flags": "R"}, "urgent": {"flags": "AU", "urgptr": 10},
    "no timestamp": {"options": []}, "other options": {"options": [("NOP", None)] * 12},
    "another port": {"sport": 40001}, "acknowledges what was not sent": {"ack": 10**6},
    "its timestamp is old": {"options": [("NOP", None), ("NOP", None), ("Timestamp", (1, 0))]},
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_frame_than_foreseen(ends: list[End], what: str) -> None:
    bulk(ends, 3)
    same(ends)
    assert is_foreseen(ends)
    changes = dict(OTHERS[what])
    for name, base in (("seq", "seq"), ("ack", "ack")):
        if name in changes:
            changes[name] += getattr(ends[0], base)
    both(ends, bytes(range(200)) * 7, **changes)
    same(ends)
    bulk(ends, 4)
    same(ends)


@pytest.mark.parametrize("damage", [1, 100, MSS, MSS + 5])
def test_a_damaged_frame(ends: list[End], damage: int) -> None:
    bulk(ends, 3)
    same(ends)
    both(ends, bytes(MSS), damage=damage)
    assert same(ends) == b"(nothing)"
    assert ends[0].stack.drops() == ends[1].stack.drops() != {}
    bulk(ends, 2)
    assert len(same(ends)) == 2 * MSS


def test_frames_that_are_no_segments(ends: list[End]) -> None:
    bulk(ends, 3)
    for end in ends:
        for n in (14, 15, 33, 34, 53, 60, 66, 67, 1000, 1514):
            end.give(bytes(n))
        raw = bytes(end.segment(bytes(MSS)))
        for n in (20, 40, 54, 66, 70, 200, len(raw) - 1):
            end.give(raw[:n])
        end.give(raw + bytes(6))                            # padded: what the IP header says counts
        end.seq += MSS
    assert len(same(ends)) == 4 * MSS
    assert ends[0].stack.drops() == ends[1].stack.drops()


def test_the_window_is_full(ends: list[End]) -> None:
    for _ in range(30):
        bulk(ends, 10)
    got = 0
    while (data := same(ends)) != b"(nothing)":
        got += len(data)
    assert got >= 40_000


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([4, 6]), st.lists(st.tuples(st.sampled_from(["next", "next", "next", *OTHERS, "read", "damage"]),
                                                  st.integers(1, MSS)), max_size=40))
def test_whatever_comes(version: int, steps: list[tuple[str, int]]) -> None:
    ends = [End(Pair(), version), End(Wire(mac=MAC), version)]
    bulk(ends, 3)
    for what, n in steps:
        if what == "next":
            bulk(ends, 1, n if n % 3 else MSS)
        elif what == "read":
            same(ends, n * 3)
        elif what == "damage":
            both(ends, bytes(MSS), damage=n)
        elif what != "reset":
            changes = dict(OTHERS[what])
            for name in ("seq", "ack"):
                if name in changes:
                    changes[name] += getattr(ends[0], name)
            both(ends, bytes(n), **changes)
    same(ends)
    for end in ends:
        end.close()
