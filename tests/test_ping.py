"""ICMP echo sockets, icmp(7): the application writes the request, identifier and checksum are ours."""
from __future__ import annotations

import errno
import socket as real

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from .dialogues.link import Link
from .sim.net import network


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def link(request):
    made = Link(request.param)
    yield made
    made.close()


def ping(link):
    """A ping socket that does not block."""
    family, protocol = (real.AF_INET, real.IPPROTO_ICMP) if link.version == 4 else (real.AF_INET6, real.IPPROTO_ICMPV6)
    sock = link.life.enter_context(link.stack.socket(family, real.SOCK_DGRAM, protocol))
    sock.setblocking(False)
    return sock


def request(link, seq=1, text=b"payload"):
    """What an application writes."""
    return bytes([8 if link.version == 4 else 128, 0, 0, 0, 0, 0]) + seq.to_bytes(2, "big") + text


def sent(link):
    """The stack's next echo request; its checksum is right."""
    raw = link.expect_packet()
    packet = IP(raw) if link.version == 4 else IPv6(raw)
    echo = packet[ICMP] if link.version == 4 else packet[ICMPv6EchoRequest]
    name = "chksum" if link.version == 4 else "cksum"
    field = getattr(echo, name)
    delattr(echo, name)
    again = type(packet)(bytes(packet))
    assert getattr(again[type(echo)], name) == field
    return again[type(echo)]


def reply(link, id, seq=1, text=b"payload"):
    """The peer answers."""
    if link.version == 4:
        return IP(src=link.theirs, dst=link.ours) / ICMP(type=0, id=id, seq=seq) / Raw(text)
    return IPv6(src=link.theirs, dst=link.ours) / ICMPv6EchoReply(id=id, seq=seq, data=text)


def test_request_and_reply(link):
    sock = ping(link)
    sock.sendto(request(link, 7), (link.theirs, 0))
    echo = sent(link)
    assert echo.seq == 7
    assert echo.id == sock.getsockname()[1] != 0
    link.inject(bytes(reply(link, echo.id, 7)))
    data, sender = sock.recvfrom(100)
    assert sender[0] == link.theirs
    assert data[0] == (0 if link.version == 4 else 129)
    assert data[4:] == echo.id.to_bytes(2, "big") + b"\0\7payload"


def test_reply_to_another_identifier(link):
    sock = ping(link)
    sock.sendto(request(link), (link.theirs, 0))
    echo = sent(link)
    link.inject(bytes(reply(link, echo.id ^ 1)))
    with pytest.raises(BlockingIOError):
        sock.recv(100)


def test_two_sockets_do_not_mix(link):
    socks = [ping(link), ping(link)]
    ids = []
    for sock in socks:
        sock.sendto(request(link), (link.theirs, 0))
        ids.append(sent(link).id)
    for i, text in ((1, b"second"), (0, b"first")):
        link.inject(bytes(reply(link, ids[i], 1, text)))
    assert [sock.recv(100)[8:] for sock in socks] == [b"first", b"second"]


def test_bound_identifier(link):
    sock = ping(link)
    sock.bind(("", 1234))
    sock.sendto(request(link), (link.theirs, 0))
    assert sent(link).id == 1234


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0\0\0\0", b"\0" * 8, b"\x08\1" + bytes(6), b"\x0d\0" + bytes(18)])
def test_only_echo_requests_may_be_written(link, data):
    with pytest.raises(OSError, match="Invalid") as e:
        ping(link).sendto(data, (link.theirs, 0))
    assert e.value.errno == errno.EINVAL


def test_connected(link):
    sock = ping(link)
    sock.connect((link.theirs, 0))
    sock.send(request(link))
    echo = sent(link)
    link.inject(bytes(reply(link, echo.id)))
    assert sock.recv(100)[8:] == b"payload"


def test_unreachable(link):
    sock = ping(link)
    sock.connect((link.theirs, 0))
    sock.send(request(link))
    quoted = link.expect_packet()
    head = (IP if link.version == 4 else IPv6)(src=link.theirs, dst=link.ours)
    link.inject(bytes(head / (ICMP(type=3, code=1) if link.version == 4 else ICMPv6DestUnreach(code=3)) / Raw(quoted)))
    with pytest.raises(OSError, match="route to host") as e:
        sock.recv(10)
    assert e.value.errno == errno.EHOSTUNREACH


@pytest.mark.parametrize("n", [0, 56, 1472, 5000])
def test_two_stacks(n):
    with network(1) as net:
        sock = net.life.enter_context(net.a.socket(real.AF_INET, real.SOCK_DGRAM, real.IPPROTO_ICMP))
        sock.setblocking(False)
        sock.sendto(b"\x08\0\0\0\0\0\0\1" + bytes(n), ("192.0.2.2", 0))
        net.clock.advance(0.1)
        assert sock.recv(10_000)[8:] == bytes(n)


def test_ourselves():
    with network(2) as net:
        for family, protocol, host, kind in ((real.AF_INET, real.IPPROTO_ICMP, "127.0.0.1", 8),
                                             (real.AF_INET6, real.IPPROTO_ICMPV6, "::1", 128)):
            sock = net.life.enter_context(net.a.socket(family, real.SOCK_DGRAM, protocol))
            sock.setblocking(False)
            sock.sendto(bytes([kind]) + b"\0\0\0\0\0\0\1me", (host, 0))
            net.clock.advance(0.1)
            assert sock.recv(100)[8:] == b"me"
