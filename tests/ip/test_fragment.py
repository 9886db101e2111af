"""IPv4 fragmentation on output."""
from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, defragment
from scapy.layers.l2 import Ether

from netstack.errors import EMSGSIZE
from netstack.ip import fragment, pmtu
from netstack.ip.net import Net
from netstack.machine import memory

from .host import PEER_V4, PEER_V6, V4, Host, halves
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
    parts = fragment.gather(NET, p, offset, n)
    pieces = [ctypes.string_at(NET.iov[2 * i], NET.iov[2 * i + 1]) for i in range(1, parts + 1)]
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


def test_ipv6_is_not_fragmented(host):
    assert send(host, PEER_V6, b"x" * 1461) == -EMSGSIZE
    assert send(host, PEER_V6, b"x" * 1460) == 0


def test_fragments_wait_for_the_neighbour_too(host):
    peer = "192.0.2.9"
    assert send(host, peer, b"headers.", b"y" * 4000) == 0
    assert len(host.sent()) == 1                                    # the request
    from .sending import reply
    host.receive(reply(sender=peer))
    assert b"".join(bytes(f[IP].payload) for f in frames_sent(host)) == b"headers." + b"y" * 4000


def test_the_loopback_interface_takes_the_largest(host):
    queue = open_loopback(host)
    assert send(host, V4, b"x" * 65515) == 0
    assert queue.frames == 1
    assert send(host, V4, b"x" * 65516) == -EMSGSIZE
    assert send(host, "::1", b"x" * 65495) == 0
