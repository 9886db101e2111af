"""Raw sockets and echo ("ping") sockets: the same calls on the kernel's and on ours, on loopback."""
from __future__ import annotations

import errno
import socket as real
import struct
from contextlib import ExitStack

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

import netstack
from netstack import sockopt

from .beside import ask, same

LOCALHOST = {real.AF_INET: "127.0.0.1", real.AF_INET6: "::1"}
OURS = 253                      # a protocol number for experiments (RFC 3692)
ICMP4, ICMP6 = int(real.IPPROTO_ICMP), int(real.IPPROTO_ICMPV6)
SOL_RAW = 255


def raw(life, make, family=real.AF_INET, protocol=OURS, timeout=10.0):
    sock = life.enter_context(make(family, real.SOCK_RAW, protocol))
    sock.settimeout(timeout)
    return sock


def without_id(packet):
    """An IPv4 packet but for identification, DF (docs/sockets.md) and header checksum."""
    return packet if isinstance(packet, str) else packet[:4] + packet[8:10] + packet[12:]


@pytest.mark.parametrize("protocol", [-1, 0, 1, 58, 255, 256, 262, 263, 1000])
@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
def test_making_one(both, family, protocol):
    if 255 < protocol < 263:
        pytest.skip("Linux has sockets for numbers that no packet can have")

    def look(make):
        try:
            with make(family, real.SOCK_RAW, protocol) as sock:
                return sock.family, sock.type, sock.proto, sock.getsockname(), sock.getsockopt(1, real.SO_TYPE), (
                    sock.getsockopt(1, real.SO_PROTOCOL))
        except OSError as error:
            return errno.errorcode[error.errno]
    same(both, look)


@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
@pytest.mark.parametrize("how", ["unbound", "bound", "connected", "connected elsewhere", "bound elsewhere"])
def test_who_receives(both, family, how):
    """Text, with the IP header for IPv4 only; the address that it came from."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = (raw(life, make, family) for _ in range(2))
            receiver.setblocking(False)
            host = LOCALHOST[family]
            elsewhere = "127.0.0.9" if family == real.AF_INET else "2001:db8::9"
            if how.startswith("bound"):
                ask(receiver.bind, (host if how == "bound" else elsewhere, 99))
            if how.startswith("connected"):
                ask(receiver.connect, (host if how == "connected" else elsewhere, 7))
            found = [ask(sender.sendto, b"some text", (host, 0)), ask(receiver.recvfrom, 100), receiver.getsockname()]
            if isinstance(found[1], tuple):
                found[1] = without_id(found[1][0]) if family == real.AF_INET else found[1][0], found[1][1]
            return [*found, ask(receiver.send, b"x")]
    same(both, look)


def test_errors_of_sending(both):
    def look(make):
        with ExitStack() as life:
            sock = raw(life, make)
            sock.setblocking(False)
            six = raw(life, make, real.AF_INET6)
            return [ask(sock.send, b"x"), ask(sock.sendto, bytes(65516), ("127.0.0.1", 0)),
                    ask(sock.sendto, b"x", ("203.0.113.1", 0)), ask(six.send, b"x"),
                    ask(sock.send, b"x", real.MSG_OOB),
                    ask(sock.recv, 10, real.MSG_OOB), ask(sock.listen), ask(sock.sendmsg, [b"x"], [(0, 2, b"")], 0, (
                        "127.0.0.1", 0))]
    same(both, look)


@pytest.mark.parametrize("change", [{}, {"src": "0.0.0.0"}, {"id": 0}, {"len": 9999}, {"chksum": 5},
                                    {"ttl": 7, "tos": 8}, {"src": "127.0.0.5"}, {"proto": 17}])
def test_own_header(both, change):
    """IP_HDRINCL: what the system fills in."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = (raw(life, make) for _ in range(2))
            receiver.setblocking(False)
            sender.setsockopt(real.IPPROTO_IP, real.IP_HDRINCL, 1)
            header = {"src": "127.0.0.1", "dst": "127.0.0.1", "id": 77, "proto": OURS, **change}
            sent = ask(sender.sendto, bytes(IP(**header) / Raw(b"text")), ("127.0.0.1", 0))
            got = ask(receiver.recv, 1000)
            if not isinstance(got, str) and change.get("id") == 0:
                got = without_id(got)
            return sent, got, sender.getsockopt(real.IPPROTO_IP, real.IP_HDRINCL)
    same(both, look)


@pytest.mark.parametrize("packet", [b"", b"x", bytes(19), b"\x4f" + bytes(19), b"\x45" + bytes(19)])
def test_own_header_that_is_none(both, packet):
    def look(make):
        with ExitStack() as life:
            sender = raw(life, make, protocol=255)
            return ask(sender.sendto, packet, ("127.0.0.1", 0)), sender.getsockopt(0, real.IP_HDRINCL)
    if packet[:1] == b"\x45" or packet[:1] == b"\x4f":
        return                      # Linux takes what it then drops
    same(both, look)


@pytest.mark.parametrize("value", [-1, 0, 1, 2, 3, 6, 400])
def test_checksum_of_ipv6(both, value):
    """IPV6_CHECKSUM: filled in when sent, looked at when received."""
    def look(make):
        with ExitStack() as life:
            sender, receiver, other = (raw(life, make, real.AF_INET6) for _ in range(3))
            receiver.setblocking(False)
            other.setblocking(False)
            found = [sender.getsockopt(41, 7), ask(sender.setsockopt, 41, 7, value), sender.getsockopt(41, 7)]
            receiver.setsockopt(41, 7, 2)
            found += [ask(sender.sendto, b"abcdefgh", ("::1", 0)), ask(receiver.recv, 100), ask(other.recv, 100)]
            return [*found, ask(raw(life, make, real.AF_INET6, ICMP6).setsockopt, 41, 7, 2)]
    same(both, look)


@pytest.mark.parametrize("bits", [0, 1 << 8, 1 << 0, 0xFFFF_FFFF])
def test_filter(both, bits):
    """ICMP_FILTER: an echo request and its answer go by both, unless they are not wanted."""
    def look(make):
        with ExitStack() as life:
            sock = raw(life, make, protocol=ICMP4)
            sock.setblocking(False)
            default = sock.getsockopt(SOL_RAW, sockopt.ICMP_FILTER, 8)
            sock.setsockopt(SOL_RAW, sockopt.ICMP_FILTER, struct.pack("=I", bits))
            sock.sendto(bytes(ICMP(type=8, id=5, seq=1) / Raw(b"payload")), ("127.0.0.1", 0))
            got = [ask(sock.recv, 100) for _ in range(3)]
            wrong = ask(raw(life, make).setsockopt, SOL_RAW, 1, b"\0\0\0\0")
            return (default, sock.getsockopt(SOL_RAW, 1, 4), sock.getsockopt(SOL_RAW, 1), wrong,
                    [g if isinstance(g, str) else g[20:] for g in got])
    same(both, look)


@pytest.mark.parametrize("blocked", [(), (128,), (129,), (128, 129), range(256)])
def test_filter_of_ipv6(both, blocked):
    """ICMP6_FILTER; the checksum is the system's."""
    bits = bytearray(32)
    for kind in blocked:
        bits[kind // 8] |= 1 << kind % 8

    def look(make):
        with ExitStack() as life:
            sock = raw(life, make, real.AF_INET6, ICMP6)
            sock.setblocking(False)
            default = sock.getsockopt(ICMP6, sockopt.ICMP6_FILTER, 64)
            sock.setsockopt(ICMP6, sockopt.ICMP6_FILTER, bytes(bits))
            sock.sendto(bytes(ICMPv6EchoRequest(id=5, seq=1, data=b"payload")), ("::1", 0))
            return default, sock.getsockopt(ICMP6, 1, 32) == bits, [ask(sock.recv, 100) for _ in range(3)]
    found = same(both, look)
    if not blocked:
        assert ICMPv6EchoReply(found[2][1]).seq == 1


def test_a_raw_socket_sees_what_others_get(both):
    """A datagram comes to its socket, and to a raw one, header and all."""
    def look(make):
        with ExitStack() as life:
            seen = raw(life, make, protocol=real.IPPROTO_UDP)
            server = life.enter_context(make(real.AF_INET, real.SOCK_DGRAM))
            server.bind(("127.0.0.1", 0))
            server.settimeout(10)
            client = life.enter_context(make(real.AF_INET, real.SOCK_DGRAM))
            client.sendto(b"text", server.getsockname())
            packet = IP(seen.recv(100))
            return server.recv(10), packet[UDP].load, packet[UDP].dport == server.getsockname()[1], packet.ttl
    same(both, look)


def test_a_protocol_that_only_a_raw_socket_speaks(both):
    """Without one the sender hears of it (protocol unreachable); with one it does not."""
    def look(make):
        with ExitStack() as life:
            sender = raw(life, make, protocol=OURS + 1)
            sender.connect(("127.0.0.1", 0))
            sender.setblocking(False)
            hears = raw(life, make, protocol=ICMP4, timeout=0)
            with make(real.AF_INET, real.SOCK_RAW, 200) as alone:
                alone.setsockopt(real.IPPROTO_IP, real.IP_HDRINCL, 1)
                packet = IP(dst="127.0.0.1", src="127.0.0.1", proto=201) / Raw(b"12345678")
                alone.sendto(bytes(packet), ("127.0.0.1", 0))
            got = hears.recv(200)
            sender.send(b"12345678")
            return got[20:22], got[28 + 9], ask(hears.recv, 100), len(sender.recv(100))
    same(both, look)


def test_queue_is_bounded_and_drops_are_told(both):
    def look(make):
        with ExitStack() as life:
            sender, receiver = (raw(life, make) for _ in range(2))
            receiver.setblocking(False)
            receiver.setsockopt(real.SOL_SOCKET, real.SO_RCVBUF, 1)
            receiver.setsockopt(real.SOL_SOCKET, 40, 1)
            for _ in range(50):
                sender.sendto(bytes(1000), ("127.0.0.1", 0))
            count = 0
            while not isinstance(ask(receiver.recv, 10), str):
                count += 1
            sender.sendto(b"x", ("127.0.0.1", 0))
            lost = struct.unpack("I", receiver.recvmsg(100, 100)[1][0][2])[0]
            return 0 < count < 50, lost == 50 - count
    assert same(both, look) == (True, True)


@pytest.mark.parametrize("option", [key for key, o in sockopt.OPTIONS.items() if o.form is sockopt.Form.FLAG
                                    and o.kinds >= {netstack.endpoint.Kind.RAW}])
def test_flags_of_raw_sockets(both, option):
    """The options of IP are those of other sockets."""
    def look(make):
        with ExitStack() as life:
            found = []
            for family in (real.AF_INET, real.AF_INET6):
                sock = raw(life, make, family)
                found.append([ask(sock.getsockopt, *option), ask(sock.setsockopt, *option, 1),
                              ask(sock.getsockopt, *option)])
            return found
    same(both, look)


# ---- echo sockets

@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
def test_echo(both, family):
    """The identifier is the socket's port; the answer comes with it, whatever the request said."""
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as file:
        file.write("0 0")

    def look(make):
        with ExitStack() as life:
            protocol = ICMP4 if family == real.AF_INET else ICMP6
            sock = life.enter_context(make(family, real.SOCK_DGRAM, protocol))
            sock.settimeout(10)
            request = struct.pack(">BBHHH", 8 if family == real.AF_INET else 128, 0, 0xBEEF, 0xAAAA, 7) + b"data"
            host = LOCALHOST[family]
            found = [sock.getsockname()[1], ask(sock.send, request), sock.sendto(request, (host, 0))]
            ident = sock.getsockname()[1]
            answer, who = sock.recvfrom(100)
            found += [struct.unpack(">H", answer[4:6])[0] == ident, answer[:2], answer[6:], who]
            other = life.enter_context(make(family, real.SOCK_DGRAM, protocol))
            found += [ask(other.bind, (host, ident)), ask(other.bind, (host, 1234)), other.getsockname()[1] == ident]
            found += [ask(other.sendto, bad, (host, 0)) for bad in (b"", request[:7], b"\0" + request[1:], b"\x08\x01" +
                                                                    request[2:])]
            other.connect((host, 0))
            found += [ask(other.send, request), ask(other.recv, 100, real.MSG_OOB), len(other.recv(100))]
            return found
    same(both, look)


def test_through_a_wire():
    """Packets of a protocol of one's own between two stacks: fragments too come as one."""
    clock = netstack.VirtualClock(seed=1)
    left, right = netstack.drivers.Wire.pair()
    with netstack.Stack(clock=clock) as a, netstack.Stack(clock=clock) as b:
        a.attach(left, ip="192.0.2.1/24")
        b.attach(right, ip="192.0.2.2/24")
        with a.socket(real.AF_INET, real.SOCK_RAW, OURS) as one, b.socket(real.AF_INET, real.SOCK_RAW, OURS) as two:
            two.settimeout(60)
            one.sendto(bytes(4000), ("192.0.2.2", 0))
            data, who = two.recvfrom(10_000)
            assert (len(data), who) == (4020, ("192.0.2.1", 0))


def test_ipv6_header_of_ones_own(both):
    """IPV6_HDRINCL, which Linux has too."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = (raw(life, make, real.AF_INET6) for _ in range(2))
            receiver.setblocking(False)
            sender.setsockopt(41, sockopt.IPV6_HDRINCL, 1)
            packet = bytes(IPv6(src="::1", dst="::1", nh=OURS, hlim=9) / Raw(b"text"))
            return ask(sender.sendto, packet, ("::1", 0)), ask(receiver.recv, 100)
    same(both, look)
