"""Any bytes at all: truncated everywhere, bits flipped, lengths that lie.  Nothing is read outside the frame.

With NUMBA_BOUNDSCHECK=1 the fence around the host's memory, at whose very end
the frame stands, turns a stray access into an IndexError.
"""
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.utils import checksum

from netstack.ip import icmp, reassembly
from netstack.ip.net import Verdict

from .host import MAC, PEER_MAC, PEER_V4, PEER_V6, V4, V6, Host, mac_text

pytestmark = pytest.mark.parsers

LINK = Ether(dst=mac_text(MAC), src=mac_text(PEER_MAC))
OURS4 = IP(src=V4, dst="198.51.100.7", proto=17, options=[IPOption_RR()]) / Raw(bytes(24))
OURS6 = (IPv6(src=V6, dst="2001:db8:5::7") / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
         / IPv6ExtHdrRouting(type=2, addresses=["2001:db8::99"]) / IPv6ExtHdrFragment(m=1, id=5, nh=17)
         / Raw(bytes(16)))

PAYLOADS4 = [
    (1, bytes(ICMP(id=1, seq=2) / Raw(b"data"))),
    (1, bytes(ICMP(type=0, id=1, seq=2) / Raw(b"data"))),
    (1, bytes(ICMP(type=3, code=4, nexthopmtu=0) / OURS4)),
    (1, bytes(ICMP(type=11) / OURS4)),
    (17, bytes(UDP() / Raw(bytes(8)))),
    (200, bytes(20)),
]
PAYLOADS6 = [
    (58, bytes(ICMPv6EchoRequest(id=1, seq=2, data=b"data"))),
    (58, bytes(ICMPv6DestUnreach(code=4) / OURS6)),
    (58, bytes(ICMPv6PacketTooBig(mtu=1400) / OURS6)),
    (58, bytes(ICMPv6ND_NS(tgt=V6) / ICMPv6NDOptSrcLLAddr(lladdr=mac_text(PEER_MAC)))),
    (58, bytes(ICMPv6ND_NA(tgt=PEER_V6, S=1) / ICMPv6NDOptDstLLAddr(lladdr=mac_text(PEER_MAC)))),
    (0, bytes(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
              / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))]) / ICMPv6EchoRequest())),
    (44, bytes(IPv6ExtHdrFragment(nh=58, m=1, id=3) / Raw(bytes(16)))),
    (43, bytes(IPv6ExtHdrRouting(type=2, addresses=["2001:db8::99"], segleft=1) / UDP())),
    (200, bytes(20)),
]
FRAMES = ([bytes(LINK / IP(src=PEER_V4, dst=V4, proto=protocol) / Raw(data)) for protocol, data in PAYLOADS4]
          + [bytes(LINK / IPv6(src=PEER_V6, dst=V6, nh=nh, hlim=255) / Raw(data)) for nh, data in PAYLOADS6]
          + [bytes(LINK / ARP(op=1, hwsrc=mac_text(PEER_MAC), psrc=PEER_V4, pdst=V4)),
             bytes(LINK / IP(src=PEER_V4, dst=V4, proto=17, flags=1, id=9) / Raw(bytes(16))),
             bytes(LINK / IP(src=PEER_V4, dst=V4, proto=17, frag=2, id=9, options=[IPOption_RR()]) / Raw(bytes(16)))])


CHANGES = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=4)   # (place, byte)


def framed4(protocol: int, data: bytes) -> bytes:
    """An IPv4 frame around a payload, cut or not, whose ICMP checksum is right all the same."""
    if protocol == 1 and len(data) >= 4:
        data = data[:2] + b"\0\0" + data[4:]
        data = data[:2] + checksum(data).to_bytes(2, "big") + data[4:]
    return bytes(LINK / IP(src=PEER_V4, dst=V4, proto=protocol) / Raw(data))


def framed6(nh: int, data: bytes) -> bytes:
    """The same for IPv6."""
    header = bytes(IPv6(src=PEER_V6, dst=V6, nh=nh, hlim=255, plen=len(data)))
    if nh == 58 and len(data) >= 4:
        data = data[:2] + b"\0\0" + data[4:]
        pseudo = header[8:40] + len(data).to_bytes(4, "big") + b"\0\0\0\x3a"
        data = data[:2] + checksum(pseudo + data).to_bytes(2, "big") + data[4:]
    return bytes(LINK)[:12] + b"\x86\xdd" + header + data


HOSTS: list[Host] = []


def give(frame: bytes) -> None:
    """Receive a frame, as an engine would; the answer to it, if any, is a frame too."""
    if not HOSTS:
        HOSTS.append(Host())
    host = HOSTS[0]
    host.now += 10**7
    with host.fenced():
        verdict = host.receive(frame, release=False)
        assert verdict in (Verdict.DONE, Verdict.ERROR, 1, 6, 17, 58)
        if verdict == Verdict.ERROR:
            e = host.net.error
            assert e.quoted_len >= 8
            assert host.end - len(frame) <= e.quoted or e.quoted < host.base + len(host.memory)
        if verdict == 17:
            icmp.unreachable(host.net, host.now)
        reassembly.release(host.net)
        host.advance(0.5)
        for sent in host.sent():
            assert len(sent) >= 14
        assert host.net.fragment_bytes >= 0
    assert host.net.reassemblies.live <= reassembly.CAPACITY


@pytest.mark.parametrize("frame", FRAMES, ids=range(len(FRAMES)))
def test_cut_at_every_length(frame):
    """The frame ends too early: what its headers promise is not there."""
    for n in range(len(frame) + 1):
        give(frame[:n])


@pytest.mark.parametrize(("make", "protocol", "data"),
                         [(framed4, *p) for p in PAYLOADS4] + [(framed6, *p) for p in PAYLOADS6],
                         ids=range(len(PAYLOADS4) + len(PAYLOADS6)))
def test_payload_cut_at_every_length(make, protocol, data):
    """IP lengths and checksums are right, the message inside is too short."""
    for n in range(len(data) + 1):
        give(make(protocol, data[:n]))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(range(len(FRAMES))), CHANGES)
def test_bytes_changed_anywhere(which, changes):
    frame = bytearray(FRAMES[which])
    for place, value in changes:
        frame[place % len(frame)] = value
    give(bytes(frame))


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.tuples(st.just(framed4), st.sampled_from(PAYLOADS4)),
                 st.tuples(st.just(framed6), st.sampled_from(PAYLOADS6))), CHANGES, st.integers(0, 30))
def test_payload_bytes_changed(made, changes, cut):
    """Behind right checksums, so that every field is reached."""
    make, (protocol, data) = made
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    give(make(protocol, bytes(changed[:max(len(changed) - cut, 0)])))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200), st.sampled_from([b"\x08\0", b"\x86\xdd", b"\x08\x06", b""]))
def test_noise(data, ethertype):
    give(bytes(LINK)[:12] + ethertype + data)
