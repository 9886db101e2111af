"""Packets that wait for their neighbour, and what their sender hears when it does not answer."""
from __future__ import annotations

import ctypes

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from netstack.errors import EHOSTUNREACH, Drop
from netstack.ip import waiting
from netstack.machine import memory

from .host import PEER_V4, PEER_V6, V4, V6, Host, text
from .sending import Bytes


@pytest.fixture
def host() -> Host:
    return Host()


def append(host: Host, *pieces: bytes, ethertype: int = 0x0800) -> bool:
    held = [Bytes(p) for p in pieces]
    for i, piece in enumerate(held[1:], 1):
        host.net.iov[2 * i], host.net.iov[2 * i + 1] = piece.address, piece.length
    return bool(waiting.append(host.net, host.q, ethertype, held[0].address, held[0].length, len(held),
                               sum(map(len, pieces))))


@pytest.fixture
def queue(host) -> waiting.Queue:
    host.q = waiting.Queue.new()
    return host.q


def take(host: Host) -> bytes | None:
    block = waiting.take(host.net, host.q)
    if block == 0:
        return None
    data = ctypes.string_at(waiting.packet(host.net, block), waiting.entry(host.net, block).length)
    waiting.release(host.net, block)
    return data


def test_in_order_and_in_one_piece(host, queue):
    assert append(host, b"one")
    assert append(host, b"t", b"w", b"o")
    assert append(host, b"three" * 1000)
    assert queue.count == 3
    assert [take(host) for _ in range(4)] == [b"one", b"two", b"three" * 1000, None]
    assert (queue.count, queue.first, queue.last) == (0, 0, 0)
    assert host.net.arena.live == 0


def test_the_oldest_is_dropped(host, queue):
    host.net.settings.unres_qlen = 3
    for i in range(5):
        assert append(host, bytes([i]))
    assert [take(host) for _ in range(4)] == [b"\2", b"\3", b"\4", None]
    assert host.drops() == {"NEIGHBOUR_QUEUE": 2}
    assert host.net.arena.live == 0


def test_no_memory(host, queue):
    host.net.arena.limit = 2048
    assert append(host, b"one")
    assert not append(host, b"two")
    assert host.drops() == {"NO_MEMORY": 1}
    waiting.clear(host.net, queue, int(Drop.NEIGHBOUR_QUEUE))
    assert host.net.arena.live == 0
    assert host.drops() == {"NO_MEMORY": 1, "NEIGHBOUR_QUEUE": 1}


def describe(host: Host, packet: bytes, ethertype: int) -> bool:
    append(host, packet, ethertype=ethertype)
    return bool(waiting.describe(host.net, waiting.take(host.net, host.q)))


def test_an_ipv4_packet_is_described(host, queue):
    assert describe(host, bytes(IP(src=V4, dst=PEER_V4) / UDP(sport=7, dport=9) / b"data"), 0x0800)
    e = host.net.error
    assert (text(e.src_hi, e.src_lo), text(e.dst_hi, e.dst_lo), text(e.from_hi, e.from_lo)) == (V4, PEER_V4, V4)
    assert (e.protocol, e.type, e.code, e.hard, e.errno, e.mtu) == (17, 3, 1, 0, EHOSTUNREACH, 0)
    assert (memory.be16(e.quoted), memory.be16(e.quoted + 2), e.quoted_len) == (7, 9, 12)


def test_an_ipv6_packet_is_described(host, queue):
    assert describe(host, bytes(IPv6(src=V6, dst=PEER_V6) / UDP(sport=7, dport=9) / b"data"), 0x86DD)
    e = host.net.error
    assert (text(e.src_hi, e.src_lo), text(e.dst_hi, e.dst_lo), text(e.from_hi, e.from_lo)) == (V6, PEER_V6, V6)
    assert (e.protocol, e.type, e.code, e.hard, e.errno, e.mtu) == (17, 1, 3, 0, EHOSTUNREACH, 0)
    assert (memory.be16(e.quoted), memory.be16(e.quoted + 2), e.quoted_len) == (7, 9, 12)


def test_what_no_socket_knows_is_not_reported(host, queue):
    assert not describe(host, bytes(IP(src=V4, dst=PEER_V4, frag=3) / bytes(16)), 0x0800)
    assert not describe(host, bytes(IP(src=V4, dst=PEER_V4) / bytes(7)), 0x0800)
