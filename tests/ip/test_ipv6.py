"""IPv6: RFC 8200's header, and the walk along extension headers."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Pad1,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netstack.ip import address, ipv6
from netstack.ip.address import State

from .host import PEER_MAC, PEER_V6, V6, Host, mac_text, text
from .sending import ETHER, add_interface, frames_sent, open_loopback, packet, v6

UDP = 17
ALL = {"src": mac_text(PEER_MAC), "dst": "33:33:00:00:00:01"}


@pytest.fixture
def host() -> Host:
    made = Host()
    made.learn_peer()
    return made


def frame(layers: object, **fields: object) -> bytes:
    """A packet whose payload begins with `layers` of extension headers."""
    return bytes(Ether(**ETHER) / IPv6(**{"src": PEER_V6, "dst": V6, **fields}) / layers)      # type: ignore[operator]


def problem(host: Host) -> tuple[int, int] | None:
    """(code, pointer) of the parameter problem that was sent."""
    sent = [f for f in frames_sent(host) if ICMPv6ParamProblem in f]
    return (sent[0][ICMPv6ParamProblem].code, sent[0][ICMPv6ParamProblem].ptr) if sent else None


def test_a_packet_for_us(host):
    assert host.receive(v6(b"payload!", hlim=7, tc=0x2E, fl=0x12345)) == UDP
    rx = host.net.rx
    assert (text(rx.src_hi, rx.src_lo), text(rx.dst_hi, rx.dst_lo)) == (PEER_V6, V6)
    assert (rx.protocol, rx.ttl, rx.tos, rx.interface, rx.broadcast, rx.options_len) == (UDP, 7, 0x2E, host.index, 0, 0)
    assert (rx.fragment, rx.reassembled, rx.mac) == (0, 0, PEER_MAC)
    assert host.payload() == b"payload!"
    assert len(host.header()) == 40


def test_padding_is_cut_off(host):
    assert host.receive(v6(b"short") + bytes(20)) == UDP
    assert host.payload() == b"short"


@pytest.mark.parametrize(("data", "reason"), [
    (v6()[:53], "TRUNCATED"), (v6()[:-1], "TRUNCATED"), (v6(plen=9), "TRUNCATED"),
    (v6()[:14] + b"\x45" + v6()[15:], "IP_VERSION")])
def test_refused(host, data, reason):
    assert host.receive(data) == 0
    assert host.drops() == {reason: 1}


@pytest.mark.parametrize("source", ["ff02::1", "::1", V6, "::ffff:192.0.2.2", "::"])
def test_nobody_sends_from_there(host, source):
    assert host.receive(v6(src=source)) == 0
    assert host.drops() == {"IP_SOURCE": 1}


@pytest.mark.parametrize(("destination", "reason"), [
    ("::1", "IP_DESTINATION"), ("::ffff:192.0.2.1", "IP_DESTINATION"), ("::", "NOT_FOR_US"),
    ("2001:db8::9", "NOT_FOR_US"), ("ff02::2", "NOT_FOR_US"),
    ("ff01::1", "IP_DESTINATION"), ("ff00::1", "IP_DESTINATION"),
    ("ff02::1:ff00:9", "NOT_FOR_US")])
def test_not_for_us(host, destination, reason):
    assert host.receive(v6(dst=destination)) == 0
    assert host.drops() == {reason: 1}


@pytest.mark.parametrize("destination", ["ff02::1", "ff02::1:ff00:1"])
def test_for_groups_of_ours(host, destination):
    assert host.receive(v6(dst=destination, ether=ALL)) == UDP
    assert host.net.rx.broadcast == 1


def test_a_tentative_address_takes_nothing(host):
    i = [text(a.hi, a.lo) for a in (host.iface.addresses[j] for j in range(host.iface.address_count))].index(V6)
    host.iface.addresses[i].state = State.TENTATIVE
    assert host.receive(v6()) == 0
    assert host.drops() == {"NOT_FOR_US": 1}


def test_a_link_local_address_is_taken_on_its_link_only(host):
    add_interface(host, "fe80::77/64")
    assert host.receive(v6(dst="fe80::77")) == 0
    host.iface = host.net.interfaces[host.index + 1]
    assert host.receive(v6(dst="fe80::77", src="fe80::1", ether={**ETHER, "dst": mac_text(host.iface.mac)})) == UDP


def test_loopback(host):
    open_loopback(host)
    host.iface = host.net.interfaces[1]
    zero = {"src": "00:00:00:00:00:00", "dst": "00:00:00:00:00:00"}
    assert host.receive(v6(src="::1", dst="::1", ether=zero)) == UDP
    assert host.receive(v6(src=V6, dst=V6, ether=zero)) == UDP
    assert host.receive(v6(src=PEER_V6, dst=V6, ether=zero)) == 0


# ---- extension headers -----------------------------------------------------------

DATA = Raw(b"data....")
OPTIONS = {"hop": IPv6ExtHdrHopByHop, "destination": IPv6ExtHdrDestOpt}


@pytest.mark.parametrize("layers", [
    IPv6ExtHdrHopByHop(options=[Pad1(), PadN(optdata=b"\0\0\0")], nh=UDP),
    IPv6ExtHdrHopByHop(options=[RouterAlert(value=0)], nh=UDP),
    IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(60))], nh=UDP),
    IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrDestOpt(nh=UDP),
    IPv6ExtHdrRouting(type=2, addresses=["::1"], segleft=0, nh=UDP),
    IPv6ExtHdrFragment(offset=0, m=0, id=77, nh=UDP),                                   # RFC 6946
    IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(offset=0, m=0, id=77) / IPv6ExtHdrDestOpt(nh=UDP),
])
def test_stepped_over(host, layers):
    assert host.receive(frame(layers / DATA)) == UDP
    assert host.payload() == b"data...."
    assert host.net.rx.fragment == 0
    assert host.drops() == {}


@pytest.mark.parametrize("header", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(("kind", "drops", "told"), [
    (0x1E, False, False),       # 00: skip
    (0x5E, True, False),        # 01: discard
    (0x9E, True, True),         # 10: discard and tell
    (0xDE, True, True),         # 11: discard and tell, unless multicast
])
def test_unknown_options(host, header, kind, drops, told):
    """RFC 8200 4.2, the two highest bits of an option's type."""
    option = PadN(otype=kind, optdata=b"\0\0\0\0")
    assert host.receive(frame(header(options=[option], nh=UDP) / DATA)) == (0 if drops else UDP)
    assert host.drops() == ({"IP6_OPTION": 1} if drops else {})
    assert problem(host) == ((2, 42) if told else None)


@pytest.mark.parametrize(("kind", "told"), [(0x9E, True), (0xDE, False)])
def test_unknown_options_in_a_multicast(host, kind, told):
    option = PadN(otype=kind, optdata=b"\0\0\0\0")
    data = Ether(**ALL) / IPv6(src=PEER_V6, dst="ff02::1") / IPv6ExtHdrDestOpt(options=[option], nh=UDP) / DATA
    assert host.receive(bytes(data)) == 0
    assert problem(host) == ((2, 42) if told else None)


def test_an_option_that_overruns_its_header(host):
    assert host.receive(frame(Raw(bytes([UDP, 0, 0x1E, 5, 0, 0, 0, 0])) / DATA, nh=60)) == 0
    assert host.receive(frame(Raw(bytes([UDP, 0, 1, 3, 0, 0, 0, 0x1E])) / DATA, nh=60)) == 0
    assert host.drops() == {"IP6_OPTION": 2}


def test_hop_by_hop_options_come_first_or_not_at_all(host):
    assert host.receive(frame(IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop(nh=UDP) / DATA)) == 0
    assert host.drops() == {"IP6_HEADER": 1}
    assert problem(host) == (1, 40)         # the Next Header field of the header before it


@pytest.mark.parametrize("type", [0, 2, 4, 250])
def test_routing_headers_with_segments_left_are_refused(host, type):
    """RFC 5095 3: as any unknown type, RFC 8200 4.4."""
    assert host.receive(frame(IPv6ExtHdrRouting(type=type, addresses=["2001:db8::3"], segleft=1, nh=UDP) / DATA)) == 0
    assert host.drops() == {"IP6_HEADER": 1}
    assert problem(host) == (0, 42)


def test_an_unknown_next_header(host):
    assert host.receive(frame(Raw(bytes(8)), nh=253)) == 0
    assert problem(host) == (1, 6)
    host.now += 10**12
    assert host.receive(frame(IPv6ExtHdrDestOpt(nh=51) / DATA)) == 0
    assert problem(host) == (1, 40)
    assert host.drops() == {"IP_PROTOCOL": 2}


def test_icmp_for_ipv4_is_an_unknown_next_header(host):
    assert host.receive(v6(bytes(8), nh=1)) == 0
    assert problem(host) == (1, 6)


def test_no_next_header(host):
    assert host.receive(frame(Raw(bytes(8)), nh=59)) == 0
    assert (host.drops(), host.sent()) == ({}, [])


def test_the_walk_is_bounded(host):
    layers = IPv6ExtHdrDestOpt()
    for _ in range(ipv6.WALK - 2):
        layers = layers / IPv6ExtHdrDestOpt()
    assert host.receive(frame(layers / IPv6ExtHdrDestOpt(nh=UDP) / DATA)) == UDP
    assert host.receive(frame(layers / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(nh=UDP) / DATA)) == 0
    assert host.drops() == {"IP6_HEADER": 1}


def test_a_header_longer_than_the_packet(host):
    assert host.receive(frame(Raw(bytes([UDP, 1, 1, 4, 0, 0, 0, 0])), nh=60)) == 0
    assert host.receive(frame(Raw(bytes([UDP, 0, 1, 4])), nh=60)) == 0
    assert host.drops() == {"TRUNCATED": 2}


# ---- fragments -------------------------------------------------------------------

def test_fragments_are_put_together(host):
    """... and the headers behind the fragment header are walked then."""
    whole = bytes(IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))], nh=UDP)) + b"12345678" * 3
    first = Raw(whole[:16])
    rest = Raw(whole[16:])
    assert host.receive(frame(IPv6ExtHdrFragment(offset=0, m=1, id=5, nh=60) / first)) == 0
    assert host.receive(frame(IPv6ExtHdrFragment(offset=2, m=0, id=5, nh=60) / rest)) == UDP
    assert host.net.rx.length == 24
    assert host.drops() == {}
    assert host.net.arena.live == 0


def test_a_fragment_of_a_fragment(host):
    inner = bytes(IPv6ExtHdrFragment(offset=1, m=0, id=6, nh=UDP)) + bytes(16)
    assert host.receive(frame(IPv6ExtHdrFragment(offset=0, m=1, id=5, nh=44) / Raw(inner[:8]))) == 0
    assert host.receive(frame(IPv6ExtHdrFragment(offset=1, m=0, id=5, nh=44) / Raw(inner[8:]))) == 0
    assert host.drops() == {"IP6_HEADER": 1}
    assert (host.net.arena.live, host.net.reassemblies.live) == (0, 0)


# ---- any bytes -------------------------------------------------------------------

CHAIN = frame(IPv6ExtHdrHopByHop(options=[RouterAlert()]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(9))])
              / IPv6ExtHdrRouting(segleft=0) / IPv6ExtHdrFragment() / IPv6ExtHdrDestOpt(nh=UDP) / DATA)


@pytest.mark.parsers
def test_truncated_everywhere(host):
    with host.fenced():
        for n in range(len(CHAIN)):
            assert host.receive(CHAIN[:n]) == 0
        for n in range(54, len(CHAIN)):
            cut = bytearray(CHAIN[:n])
            cut[18:20] = (n - 54).to_bytes(2, "big")        # a packet that is whole, but ends in its headers
            host.receive(bytes(cut))


@pytest.mark.parsers
@given(st.binary(max_size=120), st.sampled_from([0, 43, 44, 60, 6, 17, 58, 59, 1, 255]))
def test_any_bytes(data, kind):
    host = Host()
    with host.fenced():
        host.receive(bytes(Ether(**ETHER, type=0x86DD)) + data)
        host.receive(v6(data, nh=kind))


# ---- writing ---------------------------------------------------------------------

@given(st.ip_addresses(v=6), st.ip_addresses(v=6), st.integers(0, 255), st.integers(0, 255), st.integers(1, 255),
       st.integers(0, 65535))
def test_written_as_scapy_does(src, dst, protocol, tos, ttl, length):
    buffer = ctypes.create_string_buffer(40)
    ipv6.emit(ctypes.addressof(buffer), packet(str(dst), b"", src=str(src), protocol=protocol, tos=tos), length, ttl)
    assert buffer.raw == bytes(IPv6(src=str(src), dst=str(dst), nh=protocol, tc=tos, hlim=ttl, plen=length))[:40]


def test_groups(host):
    for i, name in enumerate(("ff02::1", "ff02::1:ff00:1", "ff02::1:ff00:2", "ff02::2")):
        from .host import halves
        assert bool(ipv6.is_member(host.iface, *halves(name))) == (i < 2)
    assert address.MULTICAST_HI < 0
