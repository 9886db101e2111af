"""A long random life of one host, and a digest of all that it did: the same in both modes.

Run as a program it prints the digest.
"""
from __future__ import annotations

import ctypes
import hashlib
import random

from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Ether

from netstack.ip import setup

from .host import PEER_MAC, PEER_V4, PEER_V6, SIZES, V4, V6, Host, mac_text
from .sending import ETHER, add_address, add_route, arp, reply, send, v4, v6


def stock() -> list[bytes]:
    """Frames to begin with."""
    multicast = {"src": mac_text(PEER_MAC), "dst": "33:33:ff:00:00:01"}
    ns = Ether(**multicast) / IPv6(src=PEER_V6, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=V6)
    na = (Ether(**ETHER) / IPv6(src=PEER_V6, dst=V6, hlim=255) / ICMPv6ND_NA(tgt=PEER_V6, S=1, O=1)
          / ICMPv6NDOptDstLLAddr(lladdr=mac_text(PEER_MAC)))
    return [v4(bytes(UDP() / b"hello")), v6(bytes(UDP() / b"hello")), v4(bytes(ICMP(id=1) / b"ping"), proto=1),
            v6(bytes(ICMPv6EchoRequest(id=1, data=b"ping")), nh=58), arp(1, PEER_V4, V4), reply(), bytes(ns), bytes(na),
            v4(bytes(range(64)), flags="MF", id=3), v4(bytes(range(64)), frag=8, id=3), arp(1, V4, V4), v4(proto=200)]


def live(steps: int, seed: int = 11) -> str:
    """The digest of so many random events."""
    rng = random.Random(seed)
    host = Host(dad=True)
    digest = hashlib.sha256()
    frames = stock()
    host.advance(2)
    host.net.settings.arp_announcements = 2
    add_address(host, "192.0.2.5/24", host.index)
    add_address(host, "fe80::5/64", host.index)
    add_route(host, "0.0.0.0/0", "192.0.2.254")
    for _ in range(steps):
        what = rng.random()
        if what < 0.55:
            frame = bytearray(rng.choice(frames))
            for _ in range(rng.choice([0, 0, 0, 1, 1, 4])):
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            digest.update(b"%d" % host.receive(bytes(frame[:rng.choice([len(frame), rng.randrange(len(frame) + 1)])])))
            rx = host.net.rx
            digest.update(repr((rx.src_hi, rx.src_lo, rx.dst_hi, rx.dst_lo, rx.protocol, rx.length, rx.pseudo,
                                rx.problem, rx.pointer, rx.frag_id, rx.frag_offset, rx.broadcast)).encode())
        elif what < 0.9:
            dst = rng.choice([PEER_V4, PEER_V6, f"192.0.2.{rng.randrange(256)}", f"2001:db8::{rng.randrange(40):x}",
                              "8.8.8.8", "255.255.255.255", "ff02::1", "224.0.0.1"])
            flags = {name: rng.randrange(2) for name in ("dont_fragment", "broadcast", "confirm")}
            digest.update(b"%d" % send(host, dst, b"headers.", bytes(rng.randrange(3000)), **flags))
        else:
            digest.update(repr([int(v) for v in host.advance(rng.choice([0.1, 1, 1, 7, 40]))]).encode())
        for frame_sent in host.sent():
            digest.update(frame_sent)
    digest.update(repr(host.drops()).encode())
    # Neither the tables nor the scratch area hold an address: equal bytes, equal state.
    digest.update(ctypes.string_at(host.net.scratch + ctypes.addressof(host.net), setup.space(SIZES)))
    return digest.hexdigest()


if __name__ == "__main__":
    print(live(1500))
