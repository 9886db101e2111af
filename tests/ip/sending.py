"""Packets for a host under test to send, and scapy's view of what it sent."""
from __future__ import annotations

import ctypes
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet as Scapy

from netstack.drivers.base import Kind
from netstack.ip import address, output, setup
from netstack.ip.net import Packet
from netstack.machine import addressof, at, frames
from netstack.machine.frames import Frames

from .host import MAC, PEER_MAC, PEER_V4, V4, Host, halves, mac_text

HEADROOM = 128
QUEUE = 1 << 19
ETHER = {"src": mac_text(PEER_MAC), "dst": mac_text(MAC)}
BROADCAST = "ff:ff:ff:ff:ff:ff"


class Bytes:
    """Bytes at an address, with room before them."""

    def __init__(self, data: bytes) -> None:
        self.memory = ctypes.create_string_buffer(bytes(HEADROOM) + data, HEADROOM + len(data) + 1)
        self.address = ctypes.addressof(self.memory) + HEADROOM
        self.length = len(data)


def packet(dst: str, header: bytes, a: bytes = b"", b: bytes = b"", src: str | None = None, **fields: int) -> Any:
    """A packet in three pieces, as a transport hands it over."""
    p = Packet.new()
    pieces = [Bytes(x) for x in (header, a, b)]
    p.dst_hi, p.dst_lo = halves(dst)
    if src is not None:
        p.src_hi, p.src_lo = halves(src)
    p.head, p.head_len = pieces[0].address, pieces[0].length
    p.a, p.a_len = pieces[1].address, pieces[1].length
    p.b, p.b_len = pieces[2].address, pieces[2].length
    p.protocol = 17
    for name, value in fields.items():
        setattr(p, name, value)
    p.pieces = pieces
    return p


def send(host: Host, dst: str, header: bytes = b"headers.", a: bytes = b"", b: bytes = b"", **fields: Any) -> int:
    """Send it; what `ip.output.send` returns."""
    return output.send(host.net, packet(dst, header, a, b, **fields), host.now)


def frames_sent(host: Host) -> list[Scapy]:
    """What the host has sent since the last call, as scapy reads it."""
    return [Ether(f) for f in host.sent()]


def arp(op: int, sender: str, target: str, mac: int = PEER_MAC, dst: str = BROADCAST, **fields: Any) -> bytes:
    """An ARP frame from a neighbour."""
    return bytes(Ether(src=mac_text(mac), dst=dst)
                 / ARP(op=op, hwsrc=mac_text(mac), psrc=sender, pdst=target, **fields))


def reply(mac: int = PEER_MAC, sender: str = PEER_V4) -> bytes:
    """A neighbour's answer to our request."""
    return arp(2, sender, V4, mac, dst=mac_text(MAC), hwdst=mac_text(MAC))


def v4(payload: bytes = b"12345678", proto: int = 17, ether: dict[str, str] | None = None, **fields: Any) -> bytes:
    """A frame with an IPv4 packet for the host."""
    fields = {"src": PEER_V4, "dst": V4, **fields}
    return bytes(Ether(**(ether or ETHER)) / IP(proto=proto, **fields) / payload)


def v6(payload: bytes = b"12345678", nh: int = 17, ether: dict[str, str] | None = None, **fields: Any) -> bytes:
    """A frame with an IPv6 packet for the host."""
    fields = {"src": "2001:db8::2", "dst": "2001:db8::1", **fields}
    return bytes(Ether(**(ether or ETHER)) / IPv6(nh=nh, **fields) / payload)


def open_loopback(host: Host) -> Any:
    """Give interface 1 a device; returns its queue."""
    memory = ctypes.create_string_buffer(frames.space(QUEUE) + 64)
    queue = at(Frames, (ctypes.addressof(memory) + 63) & -64)
    frames.init(queue, QUEUE)
    device = host.net.interfaces[1].device
    device.kind = Kind.LOOPBACK
    device.rx = device.tx = addressof(queue)
    host.loopback = (memory, queue)        # type: ignore[attr-defined]
    return queue


def add_interface(host: Host, *addresses: str, mac: int = 0x02_00_00_00_00_77, mtu: int = 1500) -> int:
    """Another interface whose frames go into the same queue."""
    index = setup.add_interface(host.net, mtu, mac, True)
    host.net.interfaces[index].device.kind = Kind.WIRE
    host.net.interfaces[index].device.tx = addressof(host.queue)
    host.net.interfaces[index].device.rx = addressof(host.queue)
    for text in addresses:
        assert add_address(host, text, index) == 0
    return index


def add_address(host: Host, text: str, index: int) -> int:
    """Give an interface "192.0.2.7/24"."""
    ip, length = text.split("/")
    hi, lo = halves(ip)
    r = setup.add_address(host.net, index, hi, lo, int(length) + (96 if address.is_v4(hi, lo) else 0), host.now)
    host.say_no_groups()
    return r


def add_route(host: Host, text: str, via: str = "", index: int = 0, metric: int = 0, source: str = "") -> int:
    """A route to "198.51.100.0/24"."""
    ip, length = text.split("/")
    hi, lo = halves(ip)
    gateway = halves(via) if via else (0, 0)
    bits = int(length) + (96 if address.is_v4(hi, lo) else 0)
    return setup.add_route(host.net, hi, lo, bits, *gateway, index, metric, *(halves(source) if source else (0, 0)))
