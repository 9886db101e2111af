"""What a device does not do: checksums filled in, large packets cut (Linux's segmentation-offloads.rst)."""
from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.drivers.offload import Feature, Gso
from netstack.errors import EMSGSIZE
from netstack.ip import checksum, neighbour

from .host import PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, halves
from .sending import send

TCP_PROTOCOL, UDP_PROTOCOL = 6, 17
PEERS = {"IPv4": (V4, PEER_V4), "IPv6": (V6, PEER_V6)}


@pytest.fixture
def host() -> Host:
    made = Host()
    know(made)
    return made


def know(host: Host) -> None:
    """The peers' link addresses."""
    for peer in (PEER_V4, PEER_V6):
        learn(host, peer)


def learn(host: Host, peer: str) -> None:
    """It says it."""
    flags = neighbour.Update.SOLICITED | neighbour.Update.OVERRIDE | neighbour.Update.CREATE
    neighbour.update(host.net, host.iface, *halves(peer), PEER_MAC, flags, host.now)


def partial(src: str, dst: str, protocol: int, length: int) -> int:
    return checksum.pseudo(*halves(src), *halves(dst), protocol, length)


def tcp(host: Host, version: str, text: bytes, size: int, flags: str = "A", cut: int = 0, options: Any = ()) -> int:
    """Send a TCP packet of much text, as TCP does: what `output.send` returns."""
    src, dst = PEERS[version]
    header = bytes(TCP(sport=1000, dport=2000, seq=0xFFFF_F000, ack=5, flags=flags, window=999, options=list(options)))
    field = partial(src, dst, TCP_PROTOCOL, len(header) + len(text))
    header = header[:16] + field.to_bytes(2, "big") + header[18:]
    return send(host, dst, header, text[:cut], text[cut:], src=src, protocol=TCP_PROTOCOL, csum_offset=16,
                gso=Gso.TCPV4, gso_size=size, dont_fragment=1)


def sent(host: Host) -> list[Any]:
    """Every frame, each complete: its checksums are those that scapy computes."""
    found = []
    for raw in host.sent():
        frame = Ether(raw)
        again = Ether(raw)
        if IP in again:
            del again[IP].chksum
        for layer in (TCP, UDP):
            if layer in again:
                del again[layer].chksum
        assert bytes(again) == raw, frame.summary()
        found.append(frame)
    return found


@pytest.mark.parametrize("version", PEERS)
@pytest.mark.parametrize("cut", [0, 1, 999, 1000, 1001, 2500])
def test_tcp(host: Host, version: str, cut: int) -> None:
    text = random.Random(1).randbytes(2500)
    assert tcp(host, version, text, 1000, "PAF", cut, [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))]) == 0
    got = sent(host)
    assert b"".join(bytes(f[TCP].payload) for f in got) == text
    assert [len(f[TCP].payload) for f in got] == [1000, 1000, 500]
    assert [f[TCP].seq for f in got] == [0xFFFF_F000, 0xFFFF_F3E8, 0xFFFF_F7D0]
    assert [str(f[TCP].flags) for f in got] == ["A", "A", "FPA"]
    assert all(f[TCP].options[-1] == ("Timestamp", (7, 8)) and f[TCP].window == 999 for f in got)
    if version == "IPv4":
        assert [f[IP].len for f in got] == [1052, 1052, 552]
        assert [f[IP].id - got[0][IP].id for f in got] == [0, 1, 2]
    else:
        assert [f[IPv6].plen for f in got] == [1032, 1032, 532]
    assert (host.iface.tx_packets, host.iface.tx_bytes) == (3, sum(map(len, map(bytes, got))))


def test_sequence_numbers_wrap(host: Host) -> None:
    assert tcp(host, "IPv4", bytes(9000), 1000) == 0
    assert [f[TCP].seq for f in sent(host)] == [(0xFFFF_F000 + 1000 * i) % 2**32 for i in range(9)]


def test_only_the_first_says_that_the_window_was_reduced(host: Host) -> None:
    """RFC 3168 6.1.2: CWR is for the first new segment."""
    assert tcp(host, "IPv4", bytes(2500), 1000, "PAC") == 0
    assert [str(f[TCP].flags) for f in sent(host)] == ["AC", "A", "PA"]


@pytest.mark.parametrize("version", PEERS)
def test_udp(host: Host, version: str) -> None:
    src, dst = PEERS[version]
    text = random.Random(2).randbytes(2500)
    header = bytes(UDP(sport=1000, dport=2000, len=8 + len(text)))[:6]
    header += partial(src, dst, UDP_PROTOCOL, 8 + len(text)).to_bytes(2, "big")
    assert send(host, dst, header, text, src=src, protocol=UDP_PROTOCOL, csum_offset=6, gso=Gso.UDP_L4,
                gso_size=1200) == 0
    got = sent(host)
    assert [bytes(f[UDP].payload) for f in got] == [text[:1200], text[1200:2400], text[2400:]]
    assert [f[UDP].len for f in got] == [1208, 1208, 108]


@pytest.mark.parametrize("version", PEERS)
def test_each_segment_is_marked_by_itself(host: Host, version: str) -> None:
    """A bad link that marks some packets (RFC 3168) does not mark those behind them."""
    src, dst = PEERS[version]
    imp = host.iface.impair_out
    imp.on, imp.mark = 1, 1 << 30                           # one in four
    for effect in range(7):
        imp.rng[effect].state = effect + 1
    header = bytes(TCP(sport=1000, dport=2000, flags="A"))
    field = partial(src, dst, TCP_PROTOCOL, len(header) + 20_000)
    header = header[:16] + field.to_bytes(2, "big") + header[18:]
    assert send(host, dst, header, bytes(20_000), src=src, protocol=TCP_PROTOCOL, csum_offset=16, gso=Gso.TCPV4,
                gso_size=500, dont_fragment=1, tos=2) == 0
    got = sent(host)
    marked = sum((f[IP].tos if version == "IPv4" else f[IPv6].tc) & 3 == 3 for f in got)
    assert len(got) == 40
    assert 0 < marked == imp.marked < 20


def test_what_fits_is_one_segment(host: Host) -> None:
    assert tcp(host, "IPv4", bytes(1000), 1000, "PA") == 0
    [frame] = sent(host)
    assert len(frame[TCP].payload) == 1000


def test_segments_that_are_too_large_for_the_link(host: Host) -> None:
    assert tcp(host, "IPv4", bytes(4000), 1461) == -EMSGSIZE
    assert sent(host) == []
    assert tcp(host, "IPv4", bytes(4000), 1460) == 0
    assert len(sent(host)) == 3


def test_a_device_that_can(host: Host) -> None:
    """It is given the packet as it is, with the notes."""
    device = host.iface.device
    device.features = int(Feature.CSUM | Feature.TSO)
    assert tcp(host, "IPv4", bytes(2500), 1000) == 0
    [raw] = host.sent()
    notes = device.tx_notes
    assert (len(raw), notes.start, notes.field, notes.size, notes.headers) == (54 + 2500, 34, 16, 1000, 54)
    assert int.from_bytes(raw[50:52], "big") == partial(V4, PEER_V4, TCP_PROTOCOL, 2520)
    assert host.iface.tx_packets == 3
    device.features = int(Feature.CSUM)                         # ... only one of it
    assert tcp(host, "IPv4", bytes(2500), 1000) == 0
    assert len(sent(host)) == 3
    device.features = 0
    assert tcp(host, "IPv4", bytes(100), 0) == 0
    assert len(sent(host)) == 1
    assert notes.start == 0


def test_packets_that_wait_for_their_neighbour() -> None:
    """What they lack waits with them."""
    host = Host()
    assert tcp(host, "IPv4", bytes(2500), 1000) == 0
    [request] = host.sent()
    assert Ether(request).type == 0x0806
    assert host.net.notes.start == 0
    learn(host, PEER_V4)
    assert [len(f[TCP].payload) for f in sent(host)] == [1000, 1000, 500]


def test_a_checksum_before_fragments(host: Host) -> None:
    src, dst = PEERS["IPv4"]
    text = random.Random(3).randbytes(3000)
    header = bytes(UDP(sport=1000, dport=2000, len=3008))[:6] + partial(src, dst, UDP_PROTOCOL, 3008).to_bytes(2, "big")
    assert send(host, dst, header, text[:1501], text[1501:], src=src, protocol=UDP_PROTOCOL, csum_offset=6) == 0
    got = [Ether(f) for f in host.sent()]
    assert len(got) == 3
    datagram = IP(src=src, dst=dst) / UDP(b"".join(bytes(f[IP].payload) for f in got))
    field = datagram[UDP].chksum
    del datagram[UDP].chksum
    assert IP(bytes(datagram))[UDP].chksum == field
    assert bytes(datagram[Raw]) == text


def test_the_sum_that_would_mean_none_is_sent_otherwise(host: Host) -> None:
    """RFC 768: a checksum of 0 is sent as all ones."""
    src, dst = PEERS["IPv4"]
    base = partial(src, dst, UDP_PROTOCOL, 10)
    acc = base + 1000 + 2000 + 10
    word = (0xFFFF - (acc % 0xFFFF)) % 0xFFFF
    header = bytes(UDP(sport=1000, dport=2000, len=10))[:6] + base.to_bytes(2, "big")
    assert send(host, dst, header, word.to_bytes(2, "big"), src=src, protocol=UDP_PROTOCOL, csum_offset=6) == 0
    [raw] = host.sent()
    assert raw[40:42] == b"\xff\xff"


@given(st.sampled_from(list(PEERS)), st.integers(1, 20_000), st.integers(1, 1400), st.integers(0, 20_000))
def test_any_sizes(version: str, n: int, size: int, cut: int) -> None:
    host = Host()
    know(host)
    text = random.Random(n).randbytes(n)
    size = max(size, n // 50)
    assert tcp(host, version, text, size, cut=min(cut, n)) == 0
    got = sent(host)
    assert b"".join(bytes(f[TCP].payload) for f in got) == text
    assert [len(f[TCP].payload) for f in got] == [min(size, n - i) for i in range(0, n, size)]
