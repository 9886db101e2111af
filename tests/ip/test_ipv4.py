"""The IPv4 header: RFC 791 and the checks of RFC 1122 3.2.1."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, IPOption_NOP, IPOption_RR
from scapy.layers.l2 import Ether

from netstack.ip import ipv4
from netstack.machine import memory

from .host import PEER_MAC, PEER_V4, V4, Host, halves, mac_text, text
from .sending import BROADCAST, ETHER, add_address, open_loopback, packet, v4

UDP = 17
GROUP = {"src": mac_text(PEER_MAC), "dst": "01:00:5e:00:00:01"}
ALL = {"src": mac_text(PEER_MAC), "dst": BROADCAST}


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_packet_for_us(host):
    assert host.receive(v4(b"payload!", ttl=7, tos=0x2E)) == UDP
    rx = host.net.rx
    assert (text(rx.src_hi, rx.src_lo), text(rx.dst_hi, rx.dst_lo)) == (PEER_V4, V4)
    assert (rx.protocol, rx.ttl, rx.tos, rx.interface, rx.broadcast, rx.options_len) == (UDP, 7, 0x2E, host.index, 0, 0)
    assert (rx.fragment, rx.reassembled, rx.mac) == (0, 0, PEER_MAC)
    assert host.payload() == b"payload!"
    assert host.header() == bytes(IP(v4(b"payload!", ttl=7, tos=0x2E)[14:]))[:20]
    assert rx.pseudo == _pseudo(PEER_V4, V4, UDP, 8)


def _pseudo(src: str, dst: str, protocol: int, length: int) -> int:
    data = bytes(IP(src=src, dst=dst))[12:20] + bytes([0, protocol]) + length.to_bytes(2, "big")
    total = sum(int.from_bytes(data[i:i + 2], "big") for i in range(0, 12, 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_padding_is_cut_off(host):
    assert host.receive(v4(b"short") + bytes(20)) == UDP
    assert host.payload() == b"short"


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_ttl_that_has_run_out_is_no_concern_of_the_last_host(host, ttl):
    assert host.receive(v4(ttl=ttl)) == UDP


def checked(packet: bytes) -> bytes:
    """An IPv4 packet with the right checksum for the header length that it claims."""
    data = bytearray(packet)
    data[10:12] = bytes(2)
    length = min((data[0] & 0xF) * 4, len(data))
    words = sum(int.from_bytes((data + b"\0")[i:i + 2], "big") for i in range(0, length, 2))
    while words > 0xFFFF:
        words = (words & 0xFFFF) + (words >> 16)
    data[10:12] = (~words & 0xFFFF).to_bytes(2, "big")
    return bytes(data)


def damaged(offset: int, *values: int) -> bytes:
    """A frame with other bytes in its IPv4 header, and the right checksum for them."""
    frame = bytearray(v4())
    frame[14 + offset:14 + offset + len(values)] = bytes(values)
    return bytes(frame[:14]) + checked(frame[14:])


def with_options(options: bytes, payload: bytes = b"12345678") -> bytes:
    """A frame with these bytes of options, padded to a multiple of four."""
    options += bytes(-len(options) % 4)
    frame = v4(options + payload)
    header = bytearray(frame[14:])
    header[0] = 0x45 + len(options) // 4
    return frame[:14] + checked(header)


@pytest.mark.parametrize(("frame", "reason"), [
    (damaged(0, 0x55), "IP_VERSION"),
    (damaged(0, 0x65), "IP_VERSION"),
    (damaged(0, 0x44), "IP_HEADER"),            # 16 bytes of header
    (damaged(2, 0, 19), "IP_HEADER"),           # shorter than its own header
    (damaged(2, 0, 29), "TRUNCATED"),           # longer than the frame
    (damaged(0, 0x48), "IP_HEADER"),            # 32 bytes of header in a packet of 28
    (v4(chksum=0x1234), "IP_CHECKSUM"),
    (v4(b"")[:33], "TRUNCATED"),
])
def test_refused(host, frame, reason):
    assert host.receive(frame) == 0
    assert host.drops() == {reason: 1}
    assert host.sent() == []


@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", "239.255.255.255", "255.255.255.255", "192.0.2.255", V4,
                                    "0.0.0.0", "0.1.2.3"])
def test_nobody_sends_from_there(host, source):
    assert host.receive(v4(src=source)) == 0
    assert host.drops() == {"IP_SOURCE": 1}


@pytest.mark.parametrize(("destination", "reason"), [
    ("127.0.0.1", "IP_DESTINATION"), ("192.0.2.99", "NOT_FOR_US"), ("224.0.0.251", "NOT_FOR_US"),
    ("198.51.100.255", "NOT_FOR_US"), ("0.0.0.0", "NOT_FOR_US")])
def test_not_for_us(host, destination, reason):
    assert host.receive(v4(dst=destination)) == 0
    assert host.drops() == {reason: 1}


@pytest.mark.parametrize(("destination", "ether"), [
    ("255.255.255.255", ALL), ("192.0.2.255", ALL), ("224.0.0.1", GROUP)])
def test_for_everybody(host, destination, ether):
    assert host.receive(v4(dst=destination, ether=ether)) == UDP
    assert host.net.rx.broadcast == 1


def test_a_link_broadcast_must_be_one_of_ip_too(host):
    assert host.receive(v4(ether=ALL)) == 0
    assert host.drops() == {"IP_DESTINATION": 1}


def test_a_host_without_an_address_may_speak_to_all(host):
    assert host.receive(v4(src="0.0.0.0", dst="255.255.255.255", ether=ALL)) == UDP
    assert host.receive(v4(src="0.0.0.0", dst="192.0.2.255", ether=ALL)) == 0


def test_another_interface_s_address_is_ours_too(host):
    from .sending import add_interface
    add_interface(host, "198.51.100.1/24")
    assert host.receive(v4(dst="198.51.100.1")) == UDP


def test_loopback(host):
    open_loopback(host)
    host.iface = host.net.interfaces[1]
    zero = {"src": "00:00:00:00:00:00", "dst": "00:00:00:00:00:00"}
    assert host.receive(v4(src="127.0.0.1", dst="127.0.0.1", ether=zero)) == UDP
    assert host.receive(v4(src="127.0.0.1", dst="127.1.2.3", ether=zero)) == UDP
    assert host.receive(v4(src=V4, dst=V4, ether=zero)) == UDP
    assert host.receive(v4(src="192.0.2.99", dst=V4, ether=zero)) == 0
    assert host.drops() == {"IP_SOURCE": 1}


# ---- options -------------------------------------------------------------------

RECORD_ROUTE = bytes([7, 11, 4]) + bytes(8)


def test_scapy_agrees_on_options():
    assert with_options(b"\1" + RECORD_ROUTE) == v4(options=[IPOption_NOP(), IPOption_RR(length=11, pointer=4, routers=[
        "0.0.0.0"] * 2)])


@pytest.mark.parametrize("options", [
    b"\1", RECORD_ROUTE, b"\1" + RECORD_ROUTE, b"\x44\x0c\x05\x00" + bytes(8),        # timestamp
    b"\x94\x04\x00\x00",                        # router alert
    b"\x82\x0b" + bytes(9),                     # security, whatever it says
    b"\xfa\x02",                                # unknown, and empty
    b"\0\xff\xff\xff",                          # nothing counts after the end of the list
    b"\1" * 40,
])
def test_options_are_stepped_over(host, options):
    assert host.receive(with_options(options, b"behind them")) == UDP
    assert host.payload() == b"behind them"
    assert host.net.rx.options_len == (len(options) + 3) & -4


@pytest.mark.parametrize("options", [
    b"\x83\x07\x04" + bytes(4), b"\x89\x07\x04" + bytes(4), b"\1\x83\x03\x04",       # source routes
    b"\x44\x00\x05\x00", b"\x44\x01\x05\x00", b"\x44\x05\x05\x00",
    b"\1\1\1\x44",                             # no room for its length
])
def test_options_are_refused(host, options):
    assert host.receive(with_options(options)) == 0
    assert host.drops() == {"IP_OPTIONS": 1}


# ---- any bytes -----------------------------------------------------------------

@pytest.mark.parsers
@pytest.mark.parametrize("frame", [v4(bytes(8)), with_options(RECORD_ROUTE)])
def test_truncated_everywhere(host, frame):
    with host.fenced():
        for n in range(len(frame)):
            assert host.receive(frame[:n]) == 0
    assert sum(host.drops().values()) == len(frame)


@pytest.mark.parsers
@given(st.binary(max_size=100), st.integers(5, 15))
def test_any_bytes(data, words):
    host = Host()
    frame = bytes(Ether(**ETHER, type=0x800)) + data
    with host.fenced():
        host.receive(frame)
        if len(data) >= 20:                     # get past the checksum
            fixed = bytearray(data)
            fixed[0] = 0x40 | words
            fixed[2:4] = len(data).to_bytes(2, "big")
            fixed[12:20] = bytes(IP(src=PEER_V4, dst=V4))[12:20]
            host.receive(frame[:14] + checked(fixed))


# ---- writing -------------------------------------------------------------------

@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 255), st.integers(0, 255), st.integers(1, 255),
       st.integers(0, 65515), st.integers(0, 65535), st.sampled_from([0, 0x4000, 0x2000, 0x2001, 0x1FFF]))
def test_written_as_scapy_does(src, dst, protocol, tos, ttl, length, id, fragment):
    buffer = ctypes.create_string_buffer(20)
    p = packet(str(dst), b"", src=str(src), protocol=protocol, tos=tos)
    ipv4.emit(ctypes.addressof(buffer), p, length, ttl, id, fragment)
    assert buffer.raw == bytes(IP(src=str(src), dst=str(dst), proto=protocol, tos=tos, ttl=ttl, id=id, len=20 + length,
                                  flags=fragment >> 13, frag=fragment & 0x1FFF))[:20]
    assert memory.sum16(ctypes.addressof(buffer), 20, 0) == 0xFFFF


def test_identifications_do_not_repeat(host):
    one, other = packet(PEER_V4, b"", src=V4), packet("192.0.2.9", b"", src=V4)
    ids = [ipv4.identification(host.net, p) for _ in range(1000) for p in (one, other)]
    assert len(set(ids[::2])) == len(set(ids[1::2])) == 1000
    assert ids[0] + 1 != ids[1]                 # what one host sees says nothing of the other's


def test_addresses(host):
    add_address(host, "10.9.8.7/8", host.index)
    assert host.receive(v4(dst="10.9.8.7")) == UDP
    assert host.receive(v4(dst="10.255.255.255", ether=ALL)) == UDP
    assert halves("10.9.8.7") == (host.net.rx.src_hi, halves("10.9.8.7")[1])
