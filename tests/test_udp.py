"""UDP: RFC 768, RFC 1122 4.1, RFC 8200 8.1; datagrams as scapy writes and reads them."""
from __future__ import annotations

import errno
import random
import socket as real

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from netstack.errors import Drop

from .dialogues.link import Link
from .sim.net import network

PEER = 5000
TRUNC = int(real.MSG_TRUNC)


@pytest.fixture
def make_link():
    made = []

    def make(*arguments, **keywords):
        made.append(Link(*arguments, **keywords))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def link(make_link):
    return make_link()


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def each_link(request, make_link):
    return make_link(request.param)


def udp(link, port=None):
    """A UDP socket that does not block."""
    family = real.AF_INET if link.version == 4 else real.AF_INET6
    sock = link.life.enter_context(link.stack.socket(family, real.SOCK_DGRAM))
    sock.setblocking(False)
    if port is not None:
        sock.bind(("", port))
    return sock


def header(link, **fields):
    """The IP header of a packet from the peer."""
    kind = IP if link.version == 4 else IPv6
    return kind(**{"src": link.theirs, "dst": link.ours, **fields})


def arrives(link, data, sport=PEER, dport=7, ip=None, **fields):
    """The peer sends a datagram."""
    link.inject(bytes((ip or header(link)) / UDP(sport=sport, dport=dport, **fields) / Raw(data)))


def leaves(link):
    """The stack's next datagram, as scapy reads it; its checksum is right."""
    raw = link.expect_packet()
    packet = (IP if link.version == 4 else IPv6)(raw)
    field = packet[UDP].chksum
    del packet[UDP].chksum
    assert type(packet)(bytes(packet))[UDP].chksum == field
    packet[UDP].chksum = field
    return packet


# ---- sending and receiving


@pytest.mark.parametrize("n", [0, 1, 2, 1000, 1471, 1472])
def test_send(each_link, n):
    link = each_link
    sock = udp(link, 7)
    data = random.Random(n).randbytes(min(n, 1452))
    assert sock.sendto(data, (link.theirs, PEER)) == len(data)
    packet = leaves(link)
    assert (packet.src, packet.dst, packet[UDP].sport, packet[UDP].dport) == (link.ours, link.theirs, 7, PEER)
    assert packet[UDP].len == 8 + len(data)
    assert bytes(packet[UDP].payload) == data


@pytest.mark.parametrize("n", [0, 1, 2, 1000, 1452])
def test_receive(each_link, n):
    link = each_link
    sock = udp(link, 7)
    data = random.Random(n).randbytes(n)
    arrives(link, data)
    got, sender = sock.recvfrom(2000)
    assert got == data
    assert sender[:2] == (link.theirs, PEER)
    with pytest.raises(BlockingIOError):
        sock.recvfrom(2000)


def test_what_does_not_fit_is_lost(link):
    sock = udp(link, 7)
    for letter in (b"a", b"b", b"c"):
        arrives(link, letter * 100)
    assert sock.recv(200, real.MSG_PEEK) == b"a" * 100
    assert sock.recv(10) == b"a" * 10
    buffer = bytearray(10)
    assert sock.recv_into(buffer, 10, TRUNC) == 100
    assert sock.recv(200) == b"c" * 100


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 3)), max_size=40))
def test_queue_is_first_in_first_out(steps):
    link = Link()
    try:
        sock = udp(link, 7)
        waiting = []
        for s in steps:
            if isinstance(s, bytes):
                arrives(link, s)
                waiting.append(s)
            else:
                for _ in range(min(s, len(waiting))):
                    assert sock.recv(1000) == waiting.pop(0)
        assert [sock.recv(1000) for _ in waiting] == waiting
    finally:
        link.close()


def test_length_of_ip_may_be_more(link):
    """RFC 768: the length field counts; what follows is padding."""
    sock = udp(link, 7)
    link.inject(bytes(header(link) / UDP(sport=PEER, dport=7, len=12) / Raw(b"data" + bytes(20))))
    assert link.drops(Drop.UDP_CHECKSUM) == 1           # scapy's checksum is over everything
    packet = header(link) / UDP(bytes(header(link) / UDP(sport=PEER, dport=7) / Raw(b"data"))[20:]) / Raw(b"padding")
    link.inject(bytes(packet))
    assert sock.recv(100) == b"data"


# ---- malformed


@pytest.mark.parametrize("length", [0, 7, 13, 65535])
def test_length_that_lies(each_link, length):
    link = each_link
    udp(link, 7)
    arrives(link, b"data", len=length)
    assert link.drops(Drop.UDP_MALFORMED) == 1


def test_truncated_everywhere(each_link):
    link = each_link
    sock = udp(link, 7)
    whole = bytes(UDP(sport=PEER, dport=7) / Raw(b"some text"))
    for n in range(len(whole)):
        link.inject(bytes(header(link, **({"proto": 17} if link.version == 4 else {"nh": 17})) / Raw(whole[:n])))
    with pytest.raises(BlockingIOError):
        sock.recv(100)


def test_every_flipped_bit_is_found(each_link):
    link = each_link
    sock = udp(link, 7)
    raw = bytes(header(link) / UDP(sport=PEER, dport=7) / Raw(b"text"))
    start = 20 if link.version == 4 else 40
    for i in range(8 * start, 8 * len(raw)):
        bad = bytearray(raw)
        bad[i // 8] ^= 1 << i % 8
        link.inject(bytes(bad))
        while link.others:
            link.others.popleft()
    with pytest.raises(BlockingIOError):
        sock.recv(100)


def test_no_checksum(each_link):
    """RFC 768: 0 means that there is none; RFC 8200 8.1: over IPv6 there must be one."""
    link = each_link
    sock = udp(link, 7)
    arrives(link, b"data", chksum=0)
    if link.version == 4:
        assert sock.recv(10) == b"data"
    else:
        assert link.drops(Drop.UDP_CHECKSUM) == 1


def test_checksum_that_is_zero_is_sent_as_ones(each_link):
    """RFC 768."""
    link = each_link
    sock = udp(link, 7)
    probe = type(header(link))(bytes(header(link, src=link.ours, dst=link.theirs)
                                     / UDP(sport=7, dport=PEER) / Raw(b"\0\0")))
    data = probe[UDP].chksum.to_bytes(2, "big")
    sock.sendto(data, (link.theirs, PEER))
    packet = leaves(link)
    assert packet[UDP].chksum == 0xFFFF


# ---- connected sockets


def test_connected(each_link):
    link = each_link
    sock = udp(link, 7)
    sock.connect((link.theirs, PEER))
    assert sock.getpeername()[:2] == (link.theirs, PEER)
    assert sock.getsockname()[:2] == (link.ours, 7)
    sock.send(b"hello")
    assert leaves(link)[UDP].dport == PEER
    arrives(link, b"from the peer")
    assert sock.recv(100) == b"from the peer"
    arrives(link, b"from somebody else", sport=PEER + 1)
    with pytest.raises(BlockingIOError):
        sock.recv(100)


def test_connected_socket_has_precedence(link):
    listening = udp(link, 7)
    sock = udp(link)
    listening.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
    sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
    sock.bind(("", 7))
    sock.connect((link.theirs, PEER))
    arrives(link, b"mine")
    arrives(link, b"yours", sport=PEER + 1)
    assert sock.recv(10) == b"mine"
    assert listening.recv(10) == b"yours"


def test_not_connected_means_no_send(link):
    with pytest.raises(OSError, match="[Dd]estination") as e:
        udp(link, 7).send(b"x")
    assert e.value.errno == errno.EDESTADDRREQ


# ---- nobody there


def test_port_unreachable_is_sent(each_link):
    """RFC 1122 4.1.3.1, RFC 4443 3.1."""
    link = each_link
    arrives(link, b"anybody?", dport=9)
    raw = link.expect_packet()
    if link.version == 4:
        packet = IP(raw)
        assert (packet[ICMP].type, packet[ICMP].code) == (3, 3)
    else:
        packet = IPv6(raw)
        assert packet[ICMPv6DestUnreach].code == 4
    assert packet["UDPerror"].dport == 9
    assert link.drops(Drop.UDP_NO_PORT) == 1


@pytest.mark.parametrize("destination", ["192.0.2.255", "255.255.255.255", "224.0.0.1"])
def test_no_error_about_a_broadcast(link, destination):
    """RFC 1122 3.2.2."""
    arrives(link, b"anybody?", dport=9, ip=header(link, dst=destination))
    assert not link.others


def test_port_unreachable_is_heard(each_link):
    """RFC 1122 4.1.3.3: a connected socket is told ECONNREFUSED, once."""
    link = each_link
    sock = udp(link, 7)
    sock.connect((link.theirs, PEER))
    sock.send(b"hello")
    quoted = link.expect_packet()
    if link.version == 4:
        link.inject(bytes(header(link) / ICMP(type=3, code=3) / Raw(quoted)))
    else:
        link.inject(bytes(header(link) / ICMPv6DestUnreach(code=4) / Raw(quoted)))
    with pytest.raises(ConnectionRefusedError):
        sock.recv(10)
    with pytest.raises(BlockingIOError):
        sock.recv(10)
    sock.send(b"again")


def test_error_does_not_reach_a_socket_that_is_not_connected(link):
    sock = udp(link, 7)
    sock.sendto(b"hello", (link.theirs, PEER))
    quoted = link.expect_packet()
    link.inject(bytes(header(link) / ICMP(type=3, code=3) / Raw(quoted)))
    with pytest.raises(BlockingIOError):
        sock.recv(10)


def test_neighbour_that_does_not_answer(link):
    link.silent_neighbour = True
    sock = udp(link, 7)
    sock.connect((link.theirs, PEER))
    sock.send(b"hello")
    link.advance(5)
    assert not link.others
    assert link.drops(Drop.NEIGHBOUR_FAILED) == 1


# ---- broadcast


def test_broadcast_needs_permission(link):
    sock = udp(link, 7)
    with pytest.raises(PermissionError):
        sock.sendto(b"x", ("192.0.2.255", PEER))
    sock.setsockopt(real.SOL_SOCKET, real.SO_BROADCAST, 1)
    sock.sendto(b"x", ("192.0.2.255", PEER))
    assert leaves(link).dst == "192.0.2.255"


@pytest.mark.parametrize("destination", ["192.0.2.255", "255.255.255.255"])
def test_broadcast_is_received(link, destination):
    sock = udp(link, 7)
    arrives(link, b"to all", ip=header(link, dst=destination))
    assert sock.recv(10) == b"to all"


# ---- bounds


def test_queue_is_bounded(each_link):
    link = each_link
    sock = udp(link)
    sock.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 4096)
    sock.bind(("", 7))
    for i in range(40):
        arrives(link, bytes([i]) * 1000)
    lost = link.drops(Drop.UDP_QUEUE)
    assert 0 < lost < 40
    got = []
    while True:
        try:
            got.append(sock.recv(2000))
        except BlockingIOError:
            break
    assert got == [bytes([i]) * 1000 for i in range(40 - lost)]
    arrives(link, b"room again")
    assert sock.recv(100) == b"room again"


def test_too_long(each_link):
    link = each_link
    with pytest.raises(OSError, match="long") as e:
        udp(link, 7).sendto(bytes(65536), (link.theirs, PEER))
    assert e.value.errno == errno.EMSGSIZE


def test_longest():
    with network(1) as net:
        a, b = (net.socket(stack, kind=real.SOCK_DGRAM) for stack in net.stacks)
        b.bind(("", 7))
        data = random.Random(1).randbytes(65507)
        a.sendto(data, ("192.0.2.2", 7))
        net.clock.advance(0.1)
        assert b.recv(70_000) == data
        with pytest.raises(OSError, match="long"):
            a.sendto(data + b"x", ("192.0.2.2", 7))


def test_longest_of_ipv6():
    with network(1) as net:
        a, b = (net.socket(stack, 6, real.SOCK_DGRAM) for stack in net.stacks)
        b.bind(("", 7))
        data = random.Random(1).randbytes(65527)
        a.sendto(data, ("2001:db8::2", 7))
        net.clock.advance(0.1)
        assert b.recv(70_000) == data
        a.connect(("2001:db8::2", 7))
        a.send(data[:30_000], real.MSG_MORE)
        a.send(data[30_000:])
        net.clock.advance(0.1)
        assert b.recv(70_000) == data
        with pytest.raises(OSError, match="long"):
            a.send(data + b"x")
        a.send(data, real.MSG_MORE)
        with pytest.raises(OSError, match="long"):
            a.send(b"x")


@pytest.mark.parametrize("n", [1452, 1453, 1472, 1473, 2000, 2960, 2961, 9000, 30_000])
@pytest.mark.parametrize("version", [4, 6])
def test_fragments_make_the_round_trip(n, version):
    """RFC 791 3.2, RFC 8200 4.5; in any order."""
    with network(2, reorder=0.3) as net:
        a, b = (net.socket(stack, version, real.SOCK_DGRAM) for stack in net.stacks)
        b.bind(("", 7))
        data = random.Random(n).randbytes(n)
        a.sendto(data, ("192.0.2.2" if version == 4 else "2001:db8::2", 7))
        net.clock.advance(1)
        got, sender = b.recvfrom(70_000)
        assert got == data
        b.sendto(got[::-1], sender)
        net.clock.advance(1)
        assert a.recv(70_000) == data[::-1]


def test_dont_fragment(link):
    """IP_PMTUDISC_DO: EMSGSIZE instead of fragments."""
    sock = udp(link, 7)
    sock.setsockopt(real.IPPROTO_IP, 10, 2)
    with pytest.raises(OSError, match="long"):
        sock.sendto(bytes(2000), (link.theirs, PEER))
    sock.sendto(bytes(1000), (link.theirs, PEER))
    assert int(leaves(link).flags) & 2


def test_packet_too_big_means_smaller_fragments_or_an_error():
    """RFC 8201: the next datagram knows."""
    link = Link(6)
    try:
        sock = udp(link, 7)
        sock.sendto(bytes(1400), (link.theirs, PEER))
        quoted = link.expect_packet()
        link.inject(bytes(header(link) / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted[:1200])))
        sock.sendto(bytes(1400), (link.theirs, PEER))
        first, second = (IPv6(link.expect_packet()) for _ in range(2))
        assert (first.plen, first[IPv6ExtHdrFragment].m) == (1256, 1)
        assert second[IPv6ExtHdrFragment].offset == 1248 // 8
        sock.setsockopt(real.IPPROTO_IPV6, 23, 2)                   # IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO
        with pytest.raises(OSError, match="long"):
            sock.sendto(bytes(1400), (link.theirs, PEER))
        sock.setsockopt(real.IPPROTO_IPV6, 23, 3)                   # ... _PROBE: as the link takes
        sock.sendto(bytes(1400), (link.theirs, PEER))
        assert len(leaves(link)[UDP].payload) == 1400
        sock.sendto(bytes(1200), (link.theirs, PEER))
        assert len(leaves(link)[UDP].payload) == 1200
    finally:
        link.close()


@pytest.mark.parametrize(("discover", "told"), [(0, False), (1, True), (2, True), (3, True), (4, False), (5, False)])
@pytest.mark.parametrize("connected", [True, False])
def test_who_is_told_of_packet_too_big(make_link, discover, told, connected):
    """A socket that is connected, as on Linux (udpv6_err): not without discovery, nor if it believes no router."""
    link = make_link(6)
    sock = udp(link, 7)
    sock.setsockopt(real.IPPROTO_IPV6, 23, discover)
    if connected:
        sock.connect((link.theirs, PEER))
    sock.sendto(bytes(1400), (link.theirs, PEER))
    quoted = link.expect_packet()
    link.inject(bytes(header(link) / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted[:1200])))
    assert sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == (errno.EMSGSIZE if told and connected else 0)


@pytest.mark.parametrize(("kind", "protocol", "discover", "told"), [
    (real.SOCK_RAW, 200, 1, False), (real.SOCK_RAW, 200, 2, True), (real.SOCK_RAW, 200, 3, False),
    (real.SOCK_DGRAM, 58, 1, False), (real.SOCK_DGRAM, 58, 2, False)])
def test_others_are_told_of_packet_too_big_less(make_link, kind, protocol, discover, told):
    """Raw sockets with IPV6_PMTUDISC_DO (rawv6_err), echo sockets not at all (ping_err)."""
    link = make_link(6)
    with link.stack.socket(real.AF_INET6, kind, protocol) as sock:
        sock.setsockopt(real.IPPROTO_IPV6, 23, discover)
        sock.connect((link.theirs, 0))
        sock.send(bytes([128, 0]) + bytes(1398))
        quoted = link.expect_packet()
        link.inject(bytes(header(link) / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted[:1200])))
        assert sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == (errno.EMSGSIZE if told else 0)
        assert sock.getsockopt(real.IPPROTO_IPV6, 24) == 1300


@pytest.mark.parametrize("mtu", [1279, 68, 0])
def test_a_path_below_the_least_is_not_believed(make_link, mtu):
    """RFC 8201 4."""
    link = make_link(6)
    sock = udp(link, 7)
    sock.sendto(bytes(1400), (link.theirs, PEER))
    quoted = link.expect_packet()
    link.inject(bytes(header(link) / ICMPv6PacketTooBig(mtu=mtu) / Raw(quoted[:1200])))
    sock.sendto(bytes(1400), (link.theirs, PEER))
    assert len(leaves(link)[UDP].payload) == 1400


def test_packet_too_big_about_a_fragment(make_link):
    """The first one names the socket; the next datagram is in smaller ones (RFC 8201 4)."""
    link = make_link(6)
    sock = udp(link, 7)
    sock.setsockopt(real.IPPROTO_IPV6, 25, 1)                       # IPV6_RECVERR
    sock.sendto(bytes(3000), (link.theirs, PEER))
    first, *_ = [link.expect_packet() for _ in range(3)]
    link.inject(bytes(header(link) / ICMPv6PacketTooBig(mtu=1280) / Raw(first[:1200])))
    assert sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR) == errno.EMSGSIZE
    _, [(_, _, error)], _, to = sock.recvmsg(1, 100, 0x2000)
    assert (int.from_bytes(error[:4], "little"), int.from_bytes(error[8:12], "little"), to[:2]) == (
        errno.EMSGSIZE, 1280, (link.theirs, PEER))
    sock.sendto(bytes(3000), (link.theirs, PEER))
    assert [IPv6(link.expect_packet()).plen for _ in range(3)] == [1240, 1240, 8 + 3008 - 2 * 1232]


# ---- dual stack


def test_one_socket_for_both_families():
    with network(3) as net:
        server = net.socket(net.b, 6, real.SOCK_DGRAM)
        server.setsockopt(real.IPPROTO_IPV6, real.IPV6_V6ONLY, 0)
        server.bind(("::", 7))
        for version, host in ((4, "192.0.2.2"), (6, "2001:db8::2")):
            client = net.socket(net.a, version, real.SOCK_DGRAM)
            client.sendto(b"hello", (host, 7))
            net.clock.advance(0.1)
            data, sender = server.recvfrom(100)
            assert sender[0] == ("::ffff:192.0.2.1" if version == 4 else "2001:db8::1")
            server.sendto(data.upper(), sender)
            net.clock.advance(0.1)
            assert client.recv(100) == b"HELLO"
