"""Where frames leave and arrive."""
from __future__ import annotations

import ctypes

import pytest
from scapy.layers.l2 import Ether

from netstack.errors import ENETDOWN, ENOBUFS
from netstack.ip import link

from .host import MAC, PEER_MAC, Host, mac_text
from .sending import Bytes


@pytest.fixture
def host() -> Host:
    return Host()


def transmit(host: Host, *pieces: bytes) -> int:
    held = [Bytes(p) for p in pieces]
    for i, piece in enumerate(held[1:], 1):
        host.net.iov[2 * i], host.net.iov[2 * i + 1] = piece.address, piece.length
    return link.transmit(host.net, host.iface, PEER_MAC, 0x0800, held[0].address, held[0].length, len(held),
                         sum(map(len, pieces)), host.now)


def test_a_frame_leaves_in_pieces(host):
    assert transmit(host, b"first ", b"second ", b"third") == 0
    [frame] = host.sent()
    assert frame == bytes(Ether(dst=mac_text(PEER_MAC), src=mac_text(MAC), type=0x800) / b"first second third")
    assert (host.iface.tx_packets, host.iface.tx_bytes, host.iface.tx_errors) == (1, len(frame), 0)


def test_a_full_queue_is_counted(host):
    sent = 0
    while (error := transmit(host, bytes(1000))) == 0:
        sent += 1
    assert error == -ENOBUFS
    assert sent == len(host.sent()) > 100
    assert host.drops() == {"TX_QUEUE": 1}
    assert (host.iface.tx_packets, host.iface.tx_errors) == (sent, 1)


def test_an_interface_that_is_down_or_has_no_device(host):
    host.iface.up = 0
    assert transmit(host, b"x") == -ENETDOWN
    host.iface.up = 1
    host.iface.device.kind = 0
    assert transmit(host, b"x") == -ENETDOWN
    assert host.drops() == {"TX_DEVICE": 2}
    assert host.sent() == []


def test_frames_arrive_in_order(host):
    assert link.receive(host.net, host.iface, host.now) == 0
    transmit(host, b"one")          # the wire's queue is its own other end
    transmit(host, b"two!")
    got = []
    while (n := link.receive(host.net, host.iface, host.now)) > 0:
        got.append(ctypes.string_at(host.iface.device.frame, n)[14:])
        link.done(host.iface)
    assert got == [b"one", b"two!"]
    assert (host.iface.rx_packets, host.iface.rx_bytes) == (2, 28 + 7)


def test_both_directions_are_captured(host):
    buffer = ctypes.create_string_buffer(1 << 18)
    capture = host.net.capture
    capture.on, capture.fd, capture.snaplen, capture.buffer = 1, -1, 65535, ctypes.addressof(buffer)
    capture.blocks[host.index] = 1
    transmit(host, b"hello ", b"there")
    link.receive(host.net, host.iface, host.now)
    link.done(host.iface)
    assert capture.frames == 2
    assert buffer.raw[:capture.used].count(b"hello there") == 2
