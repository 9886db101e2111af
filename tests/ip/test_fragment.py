"""Fragmentation on output, of IPv4 and IPv6."""
from __future__ import annotations

import ctypes
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, defragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, defragment6
from scapy.layers.l2 import Ether

from netstack.errors import EMSGSIZE
from netstack.ip import fragment, output, pmtu
from netstack.ip.net import CUT, OF_LINK, Net, Verdict
from netstack.machine import memory

from .host import PEER_V4, PEER_V6, V4, V6, Host, halves
from .sending import frames_sent, open_loopback, packet, send


@pytest.fixture
def host() -> Host:
    made = Host()
    made.learn_peer()
    return made


NET = Net.new()


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 120), st.integers(0, 120))
def test_ranges_over_three_pieces(head, a, b, offset, n):
    whole = head + a + b
    offset = min(offset, len(whole))
    n = min(n, len(whole) - offset)
    p = packet(PEER_V4, head, a, b)
    parts = fragment.gather(NET, p, offset, n, 1)
    pieces = [ctypes.string_at(NET.iov[2 * i], NET.iov[2 * i + 1]) for i in range(1, parts)]
    assert b"".join(pieces) == whole[offset:offset + n]
    assert all(pieces)


def test_sizes():
    assert fragment.size(1480, 1480) == 1480
    assert fragment.size(1481, 1480) == 1480
    assert fragment.size(1481, 1479) == 1472
    assert fragment.size(7, 1479) == 7


@pytest.mark.parametrize("sizes", [
    (8, 1473, 0), (8, 3000, 0), (8, 1471, 2), (8, 100, 5000), (1480, 0, 1), (8, 7, 65500), (8, 8, 65500)])
def test_fragments(host, sizes):
    pieces = [bytes((i * 7 + n) & 0xFF for i in range(n)) for n in sizes]
    whole = b"".join(pieces)
    if len(whole) > 65515:
        assert send(host, PEER_V4, *pieces) == -EMSGSIZE
        return
    assert send(host, PEER_V4, *pieces, protocol=253, tos=4, ttl=9) == 0
    fragments = frames_sent(host)
    assert len(fragments) == -(-len(whole) // 1480)
    assert len({f[IP].id for f in fragments}) == 1
    got = b""
    for f in fragments:
        ip = f[IP]
        assert f.type == 0x800
        assert (ip.src, ip.dst, ip.proto, ip.tos, ip.ttl) == (V4, PEER_V4, 253, 4, 9)
        assert ip.len == len(bytes(ip)) <= 1500
        assert memory.sum16(ctypes.addressof(ctypes.create_string_buffer(bytes(ip)[:20])), 20, 0) == 0xFFFF
        assert ip.frag * 8 == len(got)
        payload = bytes(ip)[20:]
        last = f is fragments[-1]
        assert (ip.flags == 0) == last
        assert last or len(payload) % 8 == 0
        got += payload
    assert got == whole


def test_scapy_puts_it_together(host):
    data = bytes(range(256)) * 20
    header = bytes(UDP(sport=7, dport=9, len=8 + len(data), chksum=0))
    assert send(host, PEER_V4, header, data) == 0
    [ip] = defragment([Ether(f)[IP] for f in host.sent()])
    assert bytes(ip[UDP].payload) == data


def test_two_datagrams_have_two_identifications(host):
    send(host, PEER_V4, b"x" * 3000)
    send(host, PEER_V4, b"x" * 3000)
    assert len({f[IP].id for f in frames_sent(host)}) == 2


def test_what_fits_is_not_fragmented(host):
    send(host, PEER_V4, b"headers.", b"x" * 1472)
    [f] = frames_sent(host)
    assert (f[IP].flags, f[IP].frag, f[IP].len) == (0, 0, 1500)


def test_df_forbids(host):
    assert send(host, PEER_V4, b"x" * 1481, dont_fragment=1) == -EMSGSIZE
    assert host.drops() == {"FRAGMENT_NEEDED": 1}
    assert host.sent() == []
    assert send(host, PEER_V4, b"x" * 1480, dont_fragment=1) == 0
    [f] = frames_sent(host)
    assert (f[IP].flags, f[IP].id) == ("DF", 0)


def test_path_mtu_counts(host):
    pmtu.learn(host.net, *halves(PEER_V4), 1000, host.now)
    assert send(host, PEER_V4, b"x" * 1400, dont_fragment=1) == -EMSGSIZE
    assert send(host, PEER_V4, b"x" * 1400) == 0
    assert [f[IP].len for f in frames_sent(host)] == [20 + 976, 20 + 424]


def test_a_path_of_almost_nothing_is_left_to_routers(host):
    pmtu.learn(host.net, *halves(PEER_V4), 300, host.now)           # taken as 552, without DF
    assert send(host, PEER_V4, b"x" * 1000, dont_fragment=1) == 0
    assert [f[IP].flags.MF for f in frames_sent(host)] == [True, False]


def test_ipv6_is_not_fragmented_unasked(host):
    """A segment of TCP, a neighbour solicitation (RFC 6980)."""
    assert send(host, PEER_V6, b"x" * 1461) == -EMSGSIZE
    assert send(host, PEER_V6, b"x" * 1460) == 0
    assert host.drops() == {"FRAGMENT_NEEDED": 1}


def fragments_of_ipv6(host, mtu=1500):
    """The payload of what has been sent in fragments; each is looked at (RFC 8200 4.5)."""
    sent = frames_sent(host)
    assert len({f[IPv6ExtHdrFragment].id for f in sent}) == 1
    got = b""
    for f in sent:
        ip, part = f[IPv6], f[IPv6ExtHdrFragment]
        assert f.type == 0x86DD
        assert (ip.src, ip.dst, ip.nh, part.nh, ip.tc, ip.hlim) == (V6, PEER_V6, 44, 253, 4, 9)
        assert (part.res1, part.res2) == (0, 0)
        assert part.offset * 8 == len(got)
        payload = bytes(part.payload)
        assert ip.plen == 8 + len(payload) <= mtu - 40
        assert part.m == (f is not sent[-1])
        assert not part.m or len(payload) == mtu - 48 & -8
        got += payload
    return got


@pytest.mark.parametrize("sizes", [
    (8, 1453, 0), (8, 3000, 0), (8, 1451, 2), (8, 100, 5000), (1448, 0, 20), (8, 7, 65520), (8, 8, 65520)])
def test_fragments_of_ipv6(host, sizes):
    pieces = [bytes((i * 7 + n) & 0xFF for i in range(n)) for n in sizes]
    whole = b"".join(pieces)
    sent = send(host, PEER_V6, *pieces, protocol=253, tos=4, ttl=9, manner=CUT)
    if len(whole) > 65535:
        assert sent == -EMSGSIZE
        return
    assert sent == 0
    assert fragments_of_ipv6(host) == whole


def test_scapy_puts_ipv6_together(host):
    """The checksum is over the whole, though the device was to fill it in (RFC 8200 8.1)."""
    data = bytes(range(256)) * 20
    header = UDP(sport=7, dport=9, len=8 + len(data))
    whole = IPv6(bytes(IPv6(src=V6, dst=PEER_V6) / header / data))
    addresses = bytes(IPv6(src=V6, dst=PEER_V6))[8:40]
    acc = sum(int.from_bytes(addresses[i:i + 2], "big") for i in range(0, 32, 2)) + 17 + 8 + len(data)
    header.chksum = (acc & 0xFFFF) + (acc >> 16)                # the pseudo header's sum, as a transport leaves it
    assert send(host, PEER_V6, bytes(header), data, manner=CUT, csum_offset=6, protocol=17) == 0
    ip = IPv6(bytes(defragment6([Ether(f)[IPv6] for f in host.sent()])))
    assert bytes(ip[UDP].payload) == data
    assert ip[UDP].chksum == whole[UDP].chksum


def test_what_ipv6_does_not_cut(host):
    assert send(host, PEER_V6, b"x" * 1460, manner=CUT) == 0
    [f] = frames_sent(host)
    assert (f[IPv6].nh, f[IPv6].plen) == (17, 1460)
    for dont_fragment in (1, 2):
        assert send(host, PEER_V6, b"x" * 1461, manner=CUT, dont_fragment=dont_fragment) == -EMSGSIZE
        assert send(host, PEER_V6, b"x" * 1460, manner=CUT, dont_fragment=dont_fragment) == 0


def test_what_one_packet_has_the_next_one_has_not(host):
    """Packets are used again."""
    p = packet(PEER_V6, b"headers.", bytes(1453), manner=CUT | OF_LINK)
    assert output.send(host.net, p, host.now) == 0
    assert output.send(host.net, p, host.now) == -EMSGSIZE
    p.manner, p.dont_fragment = CUT, 1
    assert output.send(host.net, p, host.now) == -EMSGSIZE
    assert p.manner == 0


def test_path_mtu_counts_for_ipv6(host):
    pmtu.learn(host.net, *halves(PEER_V6), 1300, host.now)
    said = {"protocol": 253, "tos": 4, "ttl": 9}
    assert send(host, PEER_V6, b"x" * 1400, manner=CUT, dont_fragment=1) == -EMSGSIZE
    assert host.net.chosen.mtu == 1300
    assert send(host, PEER_V6, b"headers.", b"x" * 1400, manner=CUT, **said) == 0
    assert fragments_of_ipv6(host, 1300) == b"headers." + b"x" * 1400
    # IP_PMTUDISC_PROBE and more: the link's, whatever the path
    assert send(host, PEER_V6, b"x" * 1400, manner=CUT | OF_LINK, dont_fragment=1) == 0
    [f] = frames_sent(host)
    assert f[IPv6].plen == 1400


@pytest.mark.parametrize(("n", "dont_fragment", "sent"), [
    (1200, 0, 1), (1240, 1, 1), (1241, 1, 0), (1241, 0, 1), (1460, 0, 1), (1461, 0, 2), (3000, 0, 3), (3000, 1, 0)])
def test_smaller_fragments(host, n, dont_fragment, sent):
    """IPV6_MTU, as Linux has it: fragments are smaller, but there are none of what the path takes."""
    assert send(host, PEER_V6, b"headers.", bytes(n - 8), manner=CUT, most=1280, dont_fragment=dont_fragment) == (
        0 if sent else -EMSGSIZE)
    frames = frames_sent(host)
    assert len(frames) == sent
    assert sent < 2 or max(f[IPv6].plen for f in frames) == 1240


def test_all_headers_are_in_the_first_fragment(host):
    """RFC 7112 5: or else there is none."""
    assert send(host, PEER_V6, b"h" * 1449, b"x" * 11, manner=CUT) == 0
    assert send(host, PEER_V6, b"h" * 1449, b"x" * 20, manner=CUT) == -EMSGSIZE
    assert send(host, PEER_V6, b"h" * 1448, b"x" * 20, manner=CUT) == 0


def test_identifications_of_ipv6_tell_nothing(host):
    """RFC 7739 5.2: no two the same, none 0, none follows from the one before."""
    p = packet(PEER_V6, b"")
    ids = [fragment.identification(host.net, p) for _ in range(500)]
    assert len(set(ids)) == 500
    assert 0 not in ids
    steps = {b - a & 0xFFFF_FFFF for a, b in pairwise(ids)}
    assert len(steps) == 499
    assert max(ids) > 0xF000_0000
    assert min(ids) < 0x1000_0000
    another = packet("2001:db8::9", b"")
    host.net.cut_packets = 0
    assert not set(ids) & {fragment.identification(host.net, another) for _ in range(500)}


def test_fragments_wait_for_the_neighbour_too(host):
    peer = "192.0.2.9"
    assert send(host, peer, b"headers.", b"y" * 4000) == 0
    assert len(host.sent()) == 1                                    # the request
    from .sending import reply
    host.receive(reply(sender=peer))
    assert b"".join(bytes(f[IP].payload) for f in frames_sent(host)) == b"headers." + b"y" * 4000


def test_a_neighbour_that_does_not_answer_is_told_of_once(host):
    """Of fragments that waited in vain the first one is about somebody's packet (RFC 4861 7.2.2)."""
    assert send(host, "2001:db8::9", bytes.fromhex("0007000900000000"), b"y" * 4000, manner=CUT) == 0
    assert host.advance(10) == [Verdict.ERROR]
    e = host.net.error
    assert (e.protocol, e.quoted_len, ctypes.string_at(e.quoted, 8).hex()) == (17, 1448, "0007000900000000")
    assert host.drops() == {"NEIGHBOUR_FAILED": 3}


def test_the_loopback_interface_takes_the_largest(host):
    queue = open_loopback(host)
    assert send(host, V4, b"x" * 65515) == 0
    assert queue.frames == 1
    assert send(host, V4, b"x" * 65516) == -EMSGSIZE
    assert send(host, "::1", b"x" * 65495) == 0
    assert send(host, "::1", b"headers.", b"x" * 65527, manner=CUT) == 0
    assert queue.frames == 4
