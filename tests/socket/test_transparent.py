"""IP_TRANSPARENT (ip(7)): a socket with an address that is not the host's; on the wire, and asked of the kernel too."""
from __future__ import annotations

import socket as real
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from netstack import sockopt

from ..dialogues.link import Link
from .beside import ask, same

LEVELS = {4: (real.IPPROTO_IP, sockopt.IP_TRANSPARENT), 6: (real.IPPROTO_IPV6, sockopt.IPV6_TRANSPARENT)}
FREE = {4: (real.IPPROTO_IP, sockopt.IP_FREEBIND), 6: (real.IPPROTO_IPV6, sockopt.IPV6_FREEBIND)}
FOREIGN = {4: "198.51.100.7", 6: "2001:db8:7::7"}
FAMILIES = {4: real.AF_INET, 6: real.AF_INET6}


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def link(request):
    made = Link(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("kind", [real.SOCK_DGRAM, real.SOCK_STREAM])
@pytest.mark.parametrize("option", ["none", "free", "transparent"])
def test_bind(both, kind, option):
    """Who has no address to send from, as the kernel sees it: on loopback, where nothing leaves."""
    def look(make):
        with ExitStack() as life:
            sock = life.enter_context(make(real.AF_INET, kind))
            if option != "none":
                sock.setsockopt(*(FREE if option == "free" else LEVELS)[4], 1)
            found = ask(sock.bind, (FOREIGN[4], 5000)), sock.getsockname()
            if kind == real.SOCK_DGRAM and option == "free":
                found += (ask(sock.sendto, b"text", ("127.0.0.1", 9)), ask(sock.connect, ("127.0.0.1", 9)))
            return found
    same(both, look)


def test_a_datagram_comes_from_there(link):
    address = FOREIGN[link.version]
    with link.stack.socket(FAMILIES[link.version], real.SOCK_DGRAM) as sock:
        sock.setsockopt(*LEVELS[link.version], 1)
        sock.bind((address, 5000))
        for connected in (False, True):
            if connected:
                sock.connect((link.theirs, 7))
                sock.send(b"text")
                assert sock.getsockname()[:2] == (address, 5000)
            else:
                sock.sendto(b"text", (link.theirs, 7))
            packet = (IP if link.version == 4 else IPv6)(link.expect_packet())
            assert (packet.src, packet[UDP].sport, bytes(packet[UDP].payload)) == (address, 5000, b"text")
            sent = packet[UDP].chksum
            del packet[UDP].chksum
            assert type(packet)(bytes(packet))[UDP].chksum == sent


def test_with_freebind_alone_nothing_is_sent(link):
    with link.stack.socket(FAMILIES[link.version], real.SOCK_DGRAM) as sock:
        sock.setsockopt(*FREE[link.version], 1)
        sock.bind((FOREIGN[link.version], 5000))
        with pytest.raises(OSError):
            sock.sendto(b"text", (link.theirs, 7))
        link.expect_silence()


def test_a_connection_begins_there(link):
    """Its SYN; an answer would need a way to us."""
    address = FOREIGN[link.version]
    seen = []
    sniff = link.wire.sniff

    def watched(*arguments):
        frame = sniff(*arguments)
        if frame is not None:
            seen.append((IP if link.version == 4 else IPv6)(frame[14:]))
        return frame

    link.wire.sniff = watched
    sock = link.socket()
    sock.setsockopt(*LEVELS[link.version], 1)
    sock.bind((address, 5000))
    assert sock.connect_ex((link.theirs, 80)) == 115            # EINPROGRESS
    link.advance(0)
    syn = next(p for p in seen if TCP in p)
    assert (syn.src, syn[TCP].sport, syn[TCP].flags) == (address, 5000, "S")
    assert sock.getsockname()[0] == address


def test_whoever_comes_after_it_has_none(link):
    """What is said of one packet does not stay for the next."""
    with ExitStack() as life:
        first, second = (life.enter_context(link.stack.socket(FAMILIES[link.version], real.SOCK_DGRAM))
                         for _ in range(2))
        first.setsockopt(*LEVELS[link.version], 1)
        first.bind((FOREIGN[link.version], 5000))
        first.sendto(b"text", (link.theirs, 7))
        second.setsockopt(*FREE[link.version], 1)
        second.bind((FOREIGN[link.version], 5001))
        with pytest.raises(OSError):
            second.sendto(b"text", (link.theirs, 7))
        link.expect_packet()
