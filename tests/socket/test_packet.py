"""Packet sockets (packet(7)): the same calls on the kernel's and on ours, on loopback; and on an Ethernet."""
from __future__ import annotations

import errno
import select
import socket as real
import struct
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from ..dialogues.link import Link
from .beside import ask, same

AF_PACKET, SOL_PACKET = 17, 263
ALL, IPV4, ARP_TYPE, OURS = 3, 0x0800, 0x0806, 0x88B5          # the last one is for experiments (IEEE 802)


def packet(life, make, kind=real.SOCK_RAW, protocol=OURS, bound=True):
    sock = life.enter_context(make(AF_PACKET, kind, real.htons(protocol)))
    sock.setblocking(False)
    if bound:
        sock.bind(("lo", protocol))
    return sock


def everything(sock):
    """All that waits to be read."""
    found = []
    while (got := ask(sock.recvfrom, 70_000)) != "EAGAIN":
        found.append(got)
    return found


def frame(kind=OURS, text=b"some text"):
    return bytes(12) + struct.pack(">H", kind) + text


@pytest.mark.parametrize("kind", [real.SOCK_RAW, real.SOCK_DGRAM, real.SOCK_STREAM])
@pytest.mark.parametrize("protocol", [0, ALL, OURS])
def test_names_and_calls_that_it_has_not(both, kind, protocol):
    def look(make):
        try:
            sock = make(AF_PACKET, kind, real.htons(protocol))
        except OSError as error:
            return errno.errorcode[error.errno]
        with sock:
            return [sock.family, sock.type, sock.getsockname(), ask(sock.getpeername), ask(sock.connect, ("lo", 3)),
                    ask(sock.listen), ask(sock.shutdown, 2), ask(sock.bind, ("nothing", 3)), ask(sock.send, b"x" * 20),
                    ask(sock.bind, ("lo", 0)), sock.getsockname(), ask(sock.bind, ("lo", OURS)), sock.getsockname(),
                    ask(sock.setsockopt, 0, 2, 9), ask(sock.getsockopt, 0, 2), sock.getsockopt(1, 39)]
    same(both, look)


@pytest.mark.parametrize("kind", [real.SOCK_RAW, real.SOCK_DGRAM])
@pytest.mark.parametrize("protocol", [OURS, OURS + 1, ALL])
def test_what_it_hears(both, kind, protocol):
    """ETH_P_ALL hears what goes out, too; on lo each frame goes out and comes in."""
    def look(make):
        with ExitStack() as life:
            sender, hears = packet(life, make), packet(life, make, kind, protocol)
            sent = ask(sender.send, frame())
            return sent, everything(hears)
    same(both, look)


def test_unbound_it_hears_all_interfaces_and_without_a_protocol_nothing(both):
    def look(make):
        with ExitStack() as life:
            sender = packet(life, make)
            anywhere, deaf = packet(life, make, bound=False), packet(life, make, protocol=0, bound=False)
            found = [sender.sendto(frame(), ("lo", 0)), everything(anywhere), everything(deaf)]
            deaf.bind(("lo", OURS))
            sender.send(frame())
            return [*found, everything(deaf)]
    same(both, look)


def test_without_a_header(both):
    """SOCK_DGRAM: the address says what the frame is."""
    def look(make):
        with ExitStack() as life:
            sender = packet(life, make, real.SOCK_DGRAM, 0, bound=False)
            hears = packet(life, make)
            where = ("lo", OURS, 0, 0, b"\2\0\0\0\0\1")
            return (sender.sendto(b"text", where), everything(hears), ask(sender.send, b"text"),
                    ask(sender.sendto, bytes(65537), where))
    found = same(both, look)
    assert found[1][0][0][:6] == b"\2\0\0\0\0\1"


@pytest.mark.parametrize("n", [0, 5, 13, 14, 65535 + 14, 65536 + 15])
def test_frames_that_are_too_short_or_long(both, n):
    def look(make):
        with ExitStack() as life:
            sent = ask(packet(life, make).send, bytes(n))
            return sent if isinstance(sent, str) else "sent"
    there, here = (look(make) for make in both)
    if n != 65535 + 14:                         # an octet more or less: lo's MTU is 65,536 there
        assert here == there


def test_a_datagram_on_the_wire(both):
    """What a UDP socket sends, seen by a packet socket, whole."""
    def look(make):
        with ExitStack() as life:
            hears = packet(life, make, protocol=IPV4)
            one, two = (life.enter_context(make(real.AF_INET, real.SOCK_DGRAM)) for _ in range(2))
            two.bind(("127.0.0.1", 0))
            one.sendto(b"text", two.getsockname())
            two.settimeout(10)
            two.recv(10)
            [(seen, where)] = [(frame, where) for data, where in everything(hears)
                               if UDP in (frame := Ether(data)) and frame[UDP].dport == two.getsockname()[1]]
            return seen[UDP].dport == two.getsockname()[1], seen[UDP].load, seen[IP].src, seen.type, where
    same(both, look)


def test_statistics_and_bounds(both):
    def look(make):
        with ExitStack() as life:
            sender, hears = packet(life, make), packet(life, make)
            hears.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 1)
            hears.setsockopt(SOL_PACKET, 1, struct.pack("iHH8s", 1, 1, 0, b""))         # PACKET_MR_PROMISC
            for _ in range(50):
                sender.send(frame(text=bytes(1000)))
            got = len(everything(hears))
            seen, lost = struct.unpack("II", hears.getsockopt(SOL_PACKET, 6, 8))
            return 0 < got < 50, seen, lost == 50 - got, hears.getsockopt(SOL_PACKET, 6, 8), ask(
                hears.setsockopt, SOL_PACKET, 1, b"short")
    assert same(both, look)[:3] == (True, 50, True)


def test_it_can_be_waited_for(both):
    def look(make):
        with ExitStack() as life:
            sender, hears = packet(life, make), packet(life, make)
            before = select.select([hears], [], [], 0)[0]
            sender.send(frame())
            return before, select.select([hears], [], [], 10)[0] == [hears], hears.recv(100)
    same(both, look)


def test_on_an_ethernet():
    """Frames for us, for all, for a group, for somebody else; and what goes out."""
    link = Link()
    with link.stack.socket(AF_PACKET, real.SOCK_RAW, real.htons(ALL)) as sock, link.stack.socket(
            AF_PACKET, real.SOCK_DGRAM, real.htons(ARP_TYPE)) as arp:
        sock.setblocking(False)
        arp.setblocking(False)
        name = link.stack.if_nameindex()[1][1]
        ours = link.stack._net.interfaces[2].mac.to_bytes(6, "big")
        theirs = b"\2\0\0\0\0\x99"
        for dst in (ours, b"\xff" * 6, b"\1\0\x5e\0\0\5", theirs):
            link.wire.inject(dst + theirs + struct.pack(">H", OURS) + b"text")
        link.clock.settle()
        found = everything(sock)
        assert [where for _, where in found] == [(name, OURS, kind, 1, theirs) for kind in (0, 1, 2, 3)]
        assert found[0][0] == ours + theirs + struct.pack(">H", OURS) + b"text"
        sock.sendto(b"\xff" * 6 + ours + struct.pack(">H", OURS) + b"out", (name, 0))
        assert everything(sock) == [(b"\xff" * 6 + ours + struct.pack(">H", OURS) + b"out", (name, OURS, 4, 1, ours))]
        request = Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:99") / ARP(
            hwsrc="02:00:00:00:00:99", psrc=link.theirs, pdst=link.ours)
        link.wire.inject(bytes(request))
        link.clock.settle()
        data, where = arp.recvfrom(100)
        assert (ARP(data).pdst, where) == (link.ours, (name, ARP_TYPE, 1, 1, theirs))
        assert ask(arp.recv, 100) == "EAGAIN"                           # our answer goes out
        answer = [Ether(data) for data, (_, _, kind, _, _) in everything(sock) if kind == 4]
        assert [(a[ARP].op, a[ARP].psrc) for a in answer] == [(2, link.ours)]
    assert link.stack._net.tapped == 0
    with link.stack.socket(AF_PACKET, real.SOCK_DGRAM, 0) as sock:
        sock.sendto(Raw(b"hello").load, (name, OURS, 0, 0, theirs))
    link.close()


@pytest.mark.parametrize("size", [100, 300])
def test_what_stood_in_the_queue_before_does_not_matter(both, size):
    """The queue goes around many times, over frames whose every bit is set."""
    def look(make):
        with ExitStack() as life:
            sock = packet(life, make)
            sock.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 4096)
            found = []
            for i in range(200):
                sock.send(frame(text=b"\xff" * (size + i % 64)))
                found += [data for data, address in everything(sock) if address[2] != 4]        # PACKET_OUTGOING
            return found
    assert len(same(both, look)) == 200
