"""IPv6 options of sockets and extension headers (ipv6(7), RFC 3542), on the kernel's sockets and on ours."""
from __future__ import annotations

import random
import socket as real
import struct
from contextlib import ExitStack

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrSegmentRouting,
    PadN,
    defragment6,
)
from scapy.packet import Raw

import netstack
from netstack import extensions

from ..dialogues.link import Link
from .beside import ask, same

LEVEL = real.IPPROTO_IPV6
HOP = bytes([0, 0, 1, 4, 0, 0, 0, 0])                           # PadN
DST = bytes([0, 0, 0x1E, 4, 9, 8, 7, 6])                        # 0x1E: an experiment's (RFC 4727), to be stepped over
DST16 = bytes([0, 1, 0x1E, 12]) + bytes(range(12))
LONG = b"\0\xfe" + (bytes([0x1E, 253]) + bytes(253)) * 7 + bytes([0x1E, 251]) + bytes(251)      # 2,040 bytes
SHORTER = b"\0\x7e" + (bytes([0x1E, 250]) + bytes(250)) * 4 + bytes([0x1E, 4]) + bytes(4)     # 1,016
HOST = real.inet_pton(real.AF_INET6, "::1")
OLD = bytes([0, 2, 0, 1]) + bytes(4) + HOST                     # type 0 (RFC 5095)
SEGMENTS = bytes([0, 2, 4, 0, 0, 0, 0, 0]) + HOST               # type 4 (RFC 8754)
SEGMENTS2 = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + bytes(16) + HOST
TLV = bytes([0, 3, 4, 0, 0, 0, 0, 0]) + HOST + bytes([5, 6]) + bytes(6)
MTU_DISCOVER, MTU = 23, 24
HEADERS = {"IPV6_HOPOPTS": 54, "IPV6_RTHDRDSTOPTS": 55, "IPV6_RTHDR": 57, "IPV6_DSTOPTS": 59}
FLAGS = ("IPV6_DONTFRAG", "IPV6_RECVHOPOPTS", "IPV6_RECVDSTOPTS", "IPV6_RECVRTHDR", "IPV6_RECVPATHMTU",
         "IPV6_RECVPKTINFO", "IPV6_RECVHOPLIMIT", "IPV6_RECVTCLASS")
OTHERS = ("IPV6_PATHMTU", "IPV6_PKTINFO", "IPV6_NEXTHOP", "IPV6_HOPLIMIT", "IPV6_RTHDR_TYPE_0")
VALUES = [0, 1, 2, -1, 1279, 1280, 70000, b"", b"\1", b"\0\1", bytes(4), HOP, HOP[:4], HOP + bytes(8), HOP + bytes(7),
          DST16, OLD, SEGMENTS, SEGMENTS2, TLV, bytes(20), bytes(32), LONG, bytes([0, 255]) + bytes(2046)]
STREAM, DATAGRAM = (real.SOCK_STREAM, 0), (real.SOCK_DGRAM, 0)
RAW = (real.SOCK_RAW, 200)


def answers(make, kind, option):
    """What is there, and then for each value what setting it says and what is read afterwards."""
    with make(real.AF_INET6, *kind) as sock:
        found = [(ask(sock.getsockopt, LEVEL, option), ask(sock.getsockopt, LEVEL, option, 64))]
        for value in VALUES:
            found.append((value, ask(sock.setsockopt, LEVEL, option, value), ask(sock.getsockopt, LEVEL, option),
                          ask(sock.getsockopt, LEVEL, option, 5), ask(sock.getsockopt, LEVEL, option, 64)))
        return found


@pytest.mark.parametrize("kind", [STREAM, DATAGRAM, RAW], ids=["stream", "datagram", "raw"])
@pytest.mark.parametrize("name", [*FLAGS, *OTHERS, *HEADERS, "MTU", "MTU_DISCOVER"])
def test_setting_and_reading(both, kind, name):
    option = {"MTU": MTU, "MTU_DISCOVER": MTU_DISCOVER}.get(name) or getattr(real, name)
    if kind == STREAM and name in HEADERS:
        with both[1](real.AF_INET6, *kind) as sock:             # they are for datagrams (docs/sockets.md)
            assert ask(sock.setsockopt, LEVEL, option, HOP) == "ENOPROTOOPT"
            assert ask(sock.getsockopt, LEVEL, option, 64) == "ENOPROTOOPT"
        return
    same(both, lambda make: answers(make, kind, option))


def test_every_name_that_python_has(both):
    """What Linux knows we know, and the other way round."""
    def look(make):
        with make(real.AF_INET6, *DATAGRAM) as sock:
            return {name: ask(sock.setsockopt, LEVEL, getattr(real, name), bytes(24)) == "ENOPROTOOPT"
                    for name in dir(real) if name.startswith("IPV6_")}
    found = same(both, look)
    assert found["IPV6_NEXTHOP"]
    assert not found["IPV6_RTHDR"]


def test_not_of_ipv4(both):
    def look(make):
        with make(real.AF_INET, *DATAGRAM) as sock:
            return [ask(sock.setsockopt, LEVEL, n, HOP) for n in (54, 53, 60, 50)], ask(sock.getsockopt, LEVEL, 54, 9)
    same(both, look)


def test_any_header_is_judged_as_the_kernel_does(both):
    """Random headers, most of them with something wrong; type 2 is not for all kernels."""
    dice = random.Random(11)
    tried = []
    for _ in range(400):
        header = bytearray(dice.choice((HOP, DST16, SEGMENTS, SEGMENTS2, TLV, OLD)))
        for _ in range(dice.randrange(4)):
            header[dice.randrange(len(header)) if dice.random() < 0.5 else dice.randrange(5)] = dice.choice(
                (0, 1, 3, 4, 5, 6, 8, 200))
        tried.append((dice.choice(list(HEADERS.values())), bytes(header[:dice.choice((99, 99, 99, 8, 16, 24))])))

    def look(make):
        with make(real.AF_INET6, *DATAGRAM) as sock:
            return [(option, header, ask(sock.setsockopt, LEVEL, option, header), sock.getsockopt(LEVEL, option, 100))
                    for option, header in tried]
    found = same(both, look)
    assert len({option for option, _, said, _ in found if said is None}) == 4


def pair(life, make, kind=DATAGRAM):
    """A sender, and a receiver that wants to be told everything."""
    sender, receiver = (life.enter_context(make(real.AF_INET6, *kind)) for _ in range(2))
    receiver.bind(("::1", 0))
    receiver.settimeout(10)
    for name in FLAGS[1:]:
        receiver.setsockopt(LEVEL, getattr(real, name), 1)
    return sender, receiver


@pytest.mark.parametrize("kind", [DATAGRAM, RAW], ids=["datagram", "raw"])
@pytest.mark.parametrize("headers", [
    {54: HOP}, {59: DST}, {54: HOP, 59: DST16}, {54: HOP, 55: DST, 59: DST}, {55: DST}, {54: LONG, 59: LONG},
    {54: LONG, 59: DST}, {}])
@pytest.mark.parametrize("by", ["option", "message"])
@pytest.mark.parametrize("n", [10, 1000, 60_000])
def test_a_datagram_takes_them_along(both, kind, headers, by, n):
    """Set, or told of one datagram; the receiver is told the bytes, and of a second datagram only if they are set."""
    if headers == {54: LONG, 59: LONG}:
        n = min(n, 50_000)              # Linux counts destination options twice when it asks whether all is too long

    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make, kind)
            messages = [(LEVEL, option, header) for option, header in headers.items()]
            to = receiver.getsockname()
            if by == "option":
                for message in messages:
                    sender.setsockopt(*message)
                sender.sendto(bytes(n), to)
            else:
                sender.sendmsg([bytes(n)], messages, 0, to)
            sender.sendto(b"more text", to)
            return [receiver.recvmsg(70_000, 10_000)[:3] for _ in range(2)]
    first, second = same(both, look)
    assert len(first[0]) == n
    told = [option for _, option, _ in first[1]]
    assert told == [real.IPV6_PKTINFO, real.IPV6_HOPLIMIT, real.IPV6_TCLASS, *(o for o in headers if o != 55)]
    assert (len(second[1]) > 3) == (by == "option" and bool(set(headers) - {55}))


def test_a_message_goes_before_what_is_set(both):
    """Headers in ancillary data replace all that are set; other ancillary data does not."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sender.setsockopt(LEVEL, 59, DST)
            for message in ([(LEVEL, 54, HOP)], [(LEVEL, 52, struct.pack("i", 9))], [(LEVEL, 55, DST)], []):
                sender.sendmsg([b"x"], message, 0, receiver.getsockname())
            sender.setsockopt(LEVEL, 59, b"")
            sender.sendto(b"x", receiver.getsockname())
            return [receiver.recvmsg(70_000, 10_000)[:3] for _ in range(5)]
    found = same(both, look)
    assert [[m[1:] for m in told if m[1] in (54, 59)] for _, told, _ in found] == [
        [(54, bytes([17]) + HOP[1:])], [(59, bytes([17]) + DST[1:])], [], [(59, bytes([17]) + DST[1:])], []]


@pytest.mark.parametrize("messages", [
    [(54, HOP), (54, HOP)], [(59, DST), (59, DST16)], [(4, DST), (59, DST16)], [(59, DST), (4, DST16)], [(3, HOP)],
    [(4, DST)], [(3, HOP), (54, HOP)], [(54, HOP[:1])], [(54, b"")], [(54, HOP[:4])], [(59, DST16[:8])],
    [(59, DST + bytes(5))], [(57, OLD)], [(57, SEGMENTS)], [(5, OLD)], [(57, b"\0\0\0\0")], [(57, bytes(3))],
    [(55, DST), (55, DST)], [(55, DST), (59, DST16)], [(9, HOST)], [(61, bytes(32))], [(53, struct.pack("i", 1))],
    [(62, struct.pack("i", 1)), (54, HOP)], [(62, struct.pack("i", 2))], [(59, LONG), (54, LONG)], [(11, bytes(4))],
    [(53, struct.pack("i", 1)), (54, HOP)]])
def test_messages(both, messages):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sent = ask(sender.sendmsg, [b"text"], [(LEVEL, *m) for m in messages], 0, receiver.getsockname())
            return sent, receiver.recvmsg(70_000, 10_000)[:3] if sent == 4 else None
    same(both, look)


@pytest.mark.parametrize("room", [0, 16, 20, 24, 30, 40, 48, 56])
def test_cut_to_the_room(both, room):
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            for name in ("IPV6_RECVPKTINFO", "IPV6_RECVHOPLIMIT", "IPV6_RECVTCLASS"):
                receiver.setsockopt(LEVEL, getattr(real, name), 0)
            sender.setsockopt(LEVEL, 54, HOP)
            sender.setsockopt(LEVEL, 59, DST)
            sender.sendto(b"text", receiver.getsockname())
            return receiver.recvmsg(70_000, room)[:3]
    same(both, look)


@pytest.mark.parametrize("wanted", [["IPV6_RECVHOPOPTS"], ["IPV6_RECVDSTOPTS"], ["IPV6_RECVRTHDR"], []])
def test_only_what_is_asked_for(both, wanted):
    """Before the datagram comes; Linux keeps the headers of all of them, we of those that are asked for."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = (life.enter_context(make(real.AF_INET6, *DATAGRAM)) for _ in range(2))
            receiver.bind(("::1", 0))
            receiver.settimeout(10)
            for name in wanted:
                receiver.setsockopt(LEVEL, getattr(real, name), 1)
            sender.setsockopt(LEVEL, 54, HOP)
            sender.setsockopt(LEVEL, 59, DST)
            sender.sendto(b"text", receiver.getsockname())
            return receiver.recvmsg(70_000, 1000)[:3]
    same(both, look)


def test_ipv4_through_the_same_socket(both):
    """They are IPv6's only."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = (life.enter_context(make(real.AF_INET6, *DATAGRAM)) for _ in range(2))
            for sock in (sender, receiver):
                sock.setsockopt(LEVEL, real.IPV6_V6ONLY, 0)
            receiver.bind(("::", 0))
            receiver.settimeout(10)
            receiver.setsockopt(LEVEL, real.IPV6_RECVHOPOPTS, 1)
            sender.setsockopt(LEVEL, 54, HOP)
            sender.sendto(b"text", ("::ffff:127.0.0.1", receiver.getsockname()[1]))
            return receiver.recvmsg(100, 1000)[:3]
    same(both, look)


def test_datagrams_of_one_call(both):
    """UDP_SEGMENT: each has the headers."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sender.setsockopt(LEVEL, 59, DST)
            sender.setsockopt(real.IPPROTO_UDP, 103, 500)
            sent = sender.sendto(bytes(range(256)) * 5, receiver.getsockname())
            return sent, [receiver.recvmsg(2000, 1000)[:3] for _ in range(3)]
    same(both, look)


def test_put_together(both):
    """MSG_MORE: the headers of the first piece."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            sender.connect(receiver.getsockname())
            sender.sendmsg([b"one "], [(LEVEL, 59, DST)], real.MSG_MORE)
            sender.send(b"two")
            return receiver.recvmsg(2000, 1000)[:3]
    data, told, _ = same(both, look)
    assert data == b"one two"
    assert told[-1][1:] == (59, bytes([17]) + DST[1:])


@pytest.mark.parametrize("index", [0, 1, 77, -1])
def test_the_interface_that_is_set(both, index):
    """IPV6_PKTINFO as an option: of the struct the interface only."""
    def look(make):
        with ExitStack() as life:
            sender, receiver = pair(life, make)
            said = ask(sender.setsockopt, LEVEL, real.IPV6_PKTINFO, bytes(range(16)) + struct.pack("i", index))
            sent = ask(sender.sendto, b"text", receiver.getsockname())
            return said, sent if index in (0, 1) else isinstance(sent, str), ask(
                sender.getsockopt, LEVEL, real.IPV6_PKTINFO, 20)
    same(both, look)


def test_bound_to_another_interface():
    with netstack.Stack() as stack, stack.socket(real.AF_INET6, *DATAGRAM) as sock:
        sock.setsockopt(real.SOL_SOCKET, real.SO_BINDTODEVICE, b"lo")
        assert ask(sock.setsockopt, LEVEL, real.IPV6_PKTINFO, bytes(16) + struct.pack("i", 2)) == "EINVAL"
        sock.setsockopt(LEVEL, real.IPV6_PKTINFO, bytes(16) + struct.pack("i", 1))


# ---- on the wire

@pytest.fixture
def link():
    made = Link(6)
    yield made
    made.close()


def sender(link, *options):
    sock = link.life.enter_context(link.stack.socket(real.AF_INET6, *DATAGRAM))
    sock.setblocking(False)
    for option, value in options:
        sock.setsockopt(LEVEL, option, value)
    return sock


def test_their_order(link):
    """RFC 8200 4.1; the checksum is over what the receiver sees (8.1)."""
    sock = sender(link, (54, HOP), (55, DST16), (59, DST),
                  (57, bytes([0, 4, 4, 1, 1, 0, 0, 0]) + bytes(16) + real.inet_pton(real.AF_INET6, link.theirs)))
    sock.sendto(b"text", ("2001:db8:9::9", 9))                  # by way of the peer, who alone can be reached
    packet = IPv6(link.expect_packet())
    assert (packet.dst, packet.plen) == (link.theirs, 8 + 16 + 40 + 8 + 12)
    layers = packet.layers()
    assert layers[1:5] == [IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrSegmentRouting, IPv6ExtHdrDestOpt]
    route = packet[IPv6ExtHdrSegmentRouting]
    assert (route.segleft, route.addresses) == (1, ["2001:db8:9::9", link.theirs])
    assert bytes(packet[UDP].payload) == b"text"
    there = IPv6(src=packet.src, dst="2001:db8:9::9") / UDP(sport=packet[UDP].sport, dport=9) / b"text"
    assert IPv6(bytes(there))[UDP].chksum == packet[UDP].chksum


def test_each_of_several_goes_the_whole_way(link):
    """UDP_SEGMENT and a routing header: each datagram names its destination there, and goes where it is to go first."""
    sock = sender(link, (57, bytes([0, 4, 4, 1, 1, 0, 0, 0]) + bytes(16) + real.inet_pton(real.AF_INET6, link.theirs)))
    sock.setsockopt(real.IPPROTO_UDP, 103, 500)
    sock.sendto(bytes(1200), ("2001:db8:9::9", 9))
    for n in (500, 500, 200):
        packet = IPv6(link.expect_packet())
        assert (packet.dst, packet[IPv6ExtHdrSegmentRouting].addresses) == (link.theirs, ["2001:db8:9::9", link.theirs])
        assert packet[UDP].len == 8 + n


@pytest.mark.parametrize("headers", [{59: DST}, {54: HOP}, {54: HOP, 59: DST16}, {54: SHORTER}])
def test_fragments_with_headers(link, headers):
    """RFC 8200 4.5: which of them each fragment has."""
    data = random.Random(5).randbytes(5000)
    sock = sender(link, *headers.items())
    sock.sendto(data, (link.theirs, 9))
    packets = []
    while not packets or packets[-1][IPv6ExtHdrFragment].m:
        packets.append(IPv6(link.expect_packet()))
    hop = 54 in headers
    for p in packets:
        assert p.plen + 40 <= 1500
        assert p.layers()[1] is (IPv6ExtHdrHopByHop if hop else IPv6ExtHdrFragment)
        assert p[IPv6ExtHdrFragment].nh == (60 if 59 in headers else 17)
        assert not p[IPv6ExtHdrFragment].m or p.plen + 40 > 1492
    whole = IPv6(bytes(defragment6(packets)))
    assert bytes(whole[UDP].payload) == data
    field = whole[UDP].chksum
    del whole[UDP].chksum
    assert IPv6(bytes(whole))[UDP].chksum == field


def test_echo_requests_have_none(link):
    """As on Linux, where they can be set all the same."""
    with link.stack.socket(real.AF_INET6, real.SOCK_DGRAM, real.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(LEVEL, 54, HOP)
        assert sock.getsockopt(LEVEL, 54, 100) == HOP
        sock.sendmsg([bytes([128, 0]) + bytes(10)], [(LEVEL, 59, DST)], 0, (link.theirs, 0))
    assert IPv6(link.expect_packet()).nh == 58


def test_headers_that_leave_no_room(link):
    """Those of a datagram are in its first fragment (RFC 7112 5)."""
    sock = sender(link, (59, LONG))
    assert ask(sock.sendto, b"text", (link.theirs, 9)) == "EMSGSIZE"
    sock.setsockopt(LEVEL, 59, b"")
    assert ask(sock.sendto, b"text", (link.theirs, 9)) == 4
    assert IPv6(link.expect_packet()).plen == 12


def test_their_memory_is_given_back():
    with netstack.Stack() as stack:
        before = stack._net.arena.live
        for _ in range(3):
            with stack.socket(real.AF_INET6, *DATAGRAM) as sock:
                for header in (HOP, LONG, DST16):
                    sock.setsockopt(LEVEL, 59, header)
                    sock.setsockopt(LEVEL, 54, header)
                assert stack._net.arena.live > before
            with stack.socket(real.AF_INET6, *DATAGRAM) as sock:
                sock.setsockopt(LEVEL, 59, LONG)
                sock.setsockopt(LEVEL, 59, b"")
                assert stack._net.arena.live == before


def test_what_came_in_fragments(link):
    """Headers before and behind the fragment header are told, it is not."""
    sock = sender(link, (real.IPV6_RECVHOPOPTS, 1), (real.IPV6_RECVDSTOPTS, 1))
    sock.bind(("", 7))
    whole = bytes(IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]) / UDP(sport=9, dport=7) / Raw(bytes(2000)))
    udp = bytes(IPv6(src=link.theirs, dst=link.ours) / UDP(sport=9, dport=7) / Raw(bytes(2000)))[40:]
    whole = whole[:8] + udp
    for offset in (0, 1000):
        last = offset == 1000
        link.inject(bytes(IPv6(src=link.theirs, dst=link.ours) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
                          / IPv6ExtHdrFragment(nh=60, offset=offset // 8, m=not last, id=5)
                          / Raw(whole[offset:] if last else whole[:1000])))
    data, told, _, _ = sock.recvmsg(3000, 1000)
    assert data == bytes(2000)
    assert [(kind, value[1:].hex()) for _, kind, value in told] == [(54, "00010400000000"), (59, "00010400000000")]


def test_the_path_is_told(link):
    """IPV6_RECVPATHMTU: once, with nothing else; what came before comes after (RFC 3542 11.3)."""
    sock = sender(link, (real.IPV6_RECVPATHMTU, 1), (real.IPV6_DONTFRAG, 1))
    sock.bind(("", 7))
    link.inject(bytes(IPv6(src=link.theirs, dst=link.ours) / UDP(sport=9, dport=7) / b"text"))
    assert ask(sock.sendto, bytes(1453), (link.theirs, 9)) == "EMSGSIZE"
    there = real.inet_pton(real.AF_INET6, link.theirs)
    data, told, flags, who = sock.recvmsg(100, 100)
    assert (data, flags, who) == (b"", 0, (link.theirs, 0, 0, 0))
    assert told == [(LEVEL, real.IPV6_PATHMTU, struct.pack("=HHI16sII", 10, 0, 0, there, 0, 1500))]
    assert sock.recvmsg(100, 100)[:2] == (b"text", [])
    sock.sendto(bytes(1400), (link.theirs, 9))
    quoted = link.expect_packet()
    link.inject(bytes(IPv6(src=link.theirs, dst=link.ours) / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted[:1000])))
    assert ask(sock.sendto, bytes(1400), (link.theirs, 9)) == "EMSGSIZE"
    assert sock.recv(10) == b""
    sock.setsockopt(LEVEL, real.IPV6_RECVPATHMTU, 0)
    assert ask(sock.sendto, bytes(1400), (link.theirs, 9)) == "EMSGSIZE"
    assert ask(sock.recv, 10) == "EAGAIN"
    sock.connect((link.theirs, 9))
    assert sock.getsockopt(LEVEL, real.IPV6_PATHMTU, 32) == bytes(28) + struct.pack("I", 1300)


@pytest.mark.parametrize("protocol", [real.IPPROTO_UDP, 200])
def test_what_the_headers_leave_of_the_path(link, protocol):
    """The error queue tells how long a packet without them may be, as Linux's."""
    kind = real.SOCK_DGRAM if protocol == real.IPPROTO_UDP else real.SOCK_RAW
    with link.stack.socket(real.AF_INET6, kind, protocol) as sock:
        for option, value in ((54, HOP), (MTU_DISCOVER, 2), (25, 1), (real.IPV6_RECVPATHMTU, 1)):
            sock.setsockopt(LEVEL, option, value)
        sock.setblocking(False)
        assert ask(sock.sendto, bytes(1453), (link.theirs, 0 if kind == real.SOCK_RAW else 9)) == "EMSGSIZE"
        _, [(_, _, error)], _, who = sock.recvmsg(10, 100, 0x2000)
        assert struct.unpack_from("I", error, 8) == (1492,)
        assert who[1] == (9 if kind == real.SOCK_DGRAM else 0)
        assert ask(sock.recvmsg, 10, 100) == "EAGAIN"           # IPV6_RECVPATHMTU is for IPV6_DONTFRAG only
        assert ask(sock.sendto, bytes(1444), (link.theirs, 0 if kind == real.SOCK_RAW else 9)) == 1444
    assert IPv6(link.expect_packet()).plen == 1452 + 8 * (kind == real.SOCK_DGRAM)


def test_what_is_packed():
    """The record's first words, and the chain, whose last header does not know yet what follows."""
    blob = extensions.packed({54: HOP, 55: DST16, 57: SEGMENTS2, 59: DST})
    assert struct.unpack_from("4HB", blob) == (8 + 16 + 40, 8, 24, 32, 0)
    each = blob[32:32 + 64]
    assert (each[0], each[8], each[24]) == (60, 43, 0)
    assert blob[32 + 64:] == DST
    assert struct.unpack_from("4HB", extensions.packed({55: DST16})) == (0, 0, 0, 0, 0)
