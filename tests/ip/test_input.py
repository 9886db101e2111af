"""A frame's way up."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, mac_text
from .sending import ETHER, frames_sent, open_loopback, send, v4, v6


@pytest.fixture
def host() -> Host:
    made = Host()
    made.learn_peer()
    return made


def test_protocols(host):
    assert host.receive(bytes(Ether(**ETHER) / IP(src=PEER_V4, dst=V4) / TCP())) == 6
    assert host.receive(bytes(Ether(**ETHER) / IP(src=PEER_V4, dst=V4) / UDP())) == 17
    assert host.receive(bytes(Ether(**ETHER) / IPv6(src=PEER_V6, dst=V6) / TCP())) == 6
    assert host.receive(bytes(Ether(**ETHER) / IPv6(src=PEER_V6, dst=V6) / UDP())) == 17


@pytest.mark.parametrize("layer", [TCP(sport=1, dport=2, flags="S"), UDP(sport=1, dport=2) / b"odd"])
def test_the_pseudo_header_fits(host, layer):
    from netstack.machine import memory
    for ip in (IP(src=PEER_V4, dst=V4), IPv6(src=PEER_V6, dst=V6)):
        host.receive(bytes(Ether(**ETHER) / ip / layer))
        rx = host.net.rx
        assert memory.sum16(rx.payload, rx.length, rx.pseudo) == 0xFFFF


def test_echo(host):
    assert host.receive(bytes(Ether(**ETHER) / IP(src=PEER_V4, dst=V4) / ICMP(id=7, seq=1) / b"hello")) == 0
    ping = ICMPv6EchoRequest(id=7, seq=1, data=b"hello")
    assert host.receive(bytes(Ether(**ETHER) / IPv6(src=PEER_V6, dst=V6) / ping)) == 0
    four, six = frames_sent(host)
    assert (four[ICMP].type, bytes(four[ICMP].payload), four.dst) == (0, b"hello", mac_text(PEER_MAC))
    assert (six[ICMPv6EchoReply].data, six.dst) == (b"hello", mac_text(PEER_MAC))


def test_an_unknown_protocol(host):
    assert host.receive(v4(bytes(8), proto=253)) == 0
    [f] = frames_sent(host)
    assert (f[ICMP].type, f[ICMP].code) == (3, 2)
    assert host.receive(v4(bytes(8), proto=58)) == 0            # ICMPv6 is nothing to IPv4
    assert host.drops() == {"IP_PROTOCOL": 2}


def test_mac_filter(host):
    assert host.receive(v4(ether={**ETHER, "dst": "02:00:00:00:00:99"})) == 0
    assert host.drops() == {"NOT_FOR_US": 1}
    assert host.receive(v4(ether={**ETHER, "dst": mac_text(MAC)})) == 17


@pytest.mark.parametrize("frame", [
    bytes(Ether(**ETHER) / Dot1Q(vlan=5) / IP(src=PEER_V4, dst=V4) / UDP()),
    bytes(Ether(**ETHER, type=0x88CC)) + bytes(50), bytes(Ether(**ETHER, type=100)) + bytes(100)])
def test_other_ethertypes(host, frame):
    assert host.receive(frame) == 0
    assert host.drops() == {"ETHERTYPE": 1}


def test_no_arp_on_loopback(host):
    open_loopback(host)
    host.iface = host.net.interfaces[1]
    zero = "00:00:00:00:00:00"
    host.receive(bytes(Ether(dst=zero, src=zero) / ARP(psrc="127.0.0.1", pdst="127.0.0.1")))
    assert host.drops() == {"ETHERTYPE": 1}


def test_fragments(host):
    data = bytes(range(256)) * 10
    assert host.receive(v4(data[:1480], flags="MF", id=9)) == 0
    assert host.receive(v4(data[1480:], frag=185, id=9), release=False) == 17
    assert host.payload() == data
    rx = host.net.rx
    assert (rx.fragment, rx.length) == (0, len(data))
    assert rx.reassembled != 0
    from netstack.ip import reassembly
    reassembly.release(host.net)
    assert host.net.arena.live == 0


def test_what_one_host_sends_another_takes(host):
    other = Host()
    other.iface.mac = PEER_MAC
    from netstack.ip import setup

    from .host import halves
    from .sending import add_address
    for name in (V4, V6):
        setup.remove_address(other.net, other.index, *halves(name))
    add_address(other, PEER_V4 + "/24", other.index)
    add_address(other, PEER_V6 + "/64", other.index)
    for dst in (PEER_V4, PEER_V6):
        for n in (0, 1, 1000, 1452):
            data = bytes(i & 0xFF for i in range(n))
            assert send(host, dst, b"headers.", data) == 0
            [frame] = host.sent()
            assert other.receive(frame) == 17
            assert other.payload() == b"headers." + data
    assert send(host, PEER_V4, b"headers.", bytes(9000)) == 0
    verdicts = [other.receive(f, release=False) for f in host.sent()]
    assert verdicts == [0] * 6 + [17]
    assert other.payload() == b"headers." + bytes(9000)


@pytest.mark.parsers
@given(st.binary(max_size=150), st.sampled_from([0x800, 0x806, 0x86DD, 0x8100, 0x1234]), st.sampled_from(
    [mac_text(MAC), "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"]))
def test_any_frame(data, kind, dst):
    host = Host()
    frame = bytes(Ether(dst=dst, src=mac_text(PEER_MAC), type=kind)) + data
    with host.fenced():
        for n in (len(frame), 13, 0):
            host.receive(frame[:n])


@pytest.mark.parsers
@given(st.data())
def test_any_change_to_a_good_frame(data):
    frame = bytearray(data.draw(st.sampled_from([
        v4(bytes(UDP() / b"hello")), v6(bytes(UDP() / b"hello")),
        bytes(Ether(**ETHER) / IP(src=PEER_V4, dst=V4) / ICMP()),
        bytes(Ether(**ETHER) / IPv6(src=PEER_V6, dst=V6) / ICMPv6EchoRequest())])))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    host = Host()
    with host.fenced():
        host.receive(bytes(frame))
