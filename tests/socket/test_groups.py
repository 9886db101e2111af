"""Multicast groups (ip(7), ipv6(7), RFC 3678): the same calls on the kernel's sockets and on ours, on loopback."""
from __future__ import annotations

import socket as real
import struct
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from netstack import groups

from ..dialogues.link import Link
from .beside import ask, same

GROUP, OTHER = "239.1.2.3", "239.9.9.9"
GROUP6, OTHER6 = "ff02::1234", "ff02::99"
LO = 1
LEVEL, LEVEL6 = real.IPPROTO_IP, real.IPPROTO_IPV6
aton = real.inet_aton


def mreqn(group, address="0.0.0.0", index=0):
    return aton(group) + aton(address) + struct.pack("i", index)


def mreq(group, address="0.0.0.0"):
    return aton(group) + aton(address)


def mreq_source(group, source, address="127.0.0.1"):
    return aton(group) + aton(address) + aton(source)


def mreq6(group, index=LO):
    return real.inet_pton(real.AF_INET6, group) + struct.pack("i", index)


def storage(address):
    if ":" in address:
        made = struct.pack("=HHI", real.AF_INET6, 0, 0) + real.inet_pton(real.AF_INET6, address)
    else:
        made = struct.pack("=HH", real.AF_INET, 0) + aton(address)
    return made.ljust(128, b"\0")


def group_req(group, *sources, index=LO):
    return struct.pack("=I4x", index) + storage(group) + b"".join(map(storage, sources))


def member(life, make, family=real.AF_INET, port=0, options=(), bound=""):
    """A bound socket that does not block, with options set first."""
    sock = life.enter_context(make(family, real.SOCK_DGRAM))
    sock.setsockopt(real.SOL_SOCKET, real.SO_REUSEADDR, 1)
    for option in options:
        sock.setsockopt(*option)
    sock.bind((bound, port))
    sock.setblocking(False)
    return sock


def sender(life, make, family=real.AF_INET):
    sock = life.enter_context(make(family, real.SOCK_DGRAM))
    if family == real.AF_INET:
        sock.setsockopt(LEVEL, groups.IP_MULTICAST_IF, mreqn("0.0.0.0", index=LO))
        sock.bind(("127.0.0.1", 0))
    else:
        sock.setsockopt(LEVEL6, groups.IPV6_MULTICAST_IF, LO)
    return sock


ADD, DROP = groups.IP_ADD_MEMBERSHIP, groups.IP_DROP_MEMBERSHIP
CALLS = {
    "twice": [(ADD, mreqn(GROUP, index=LO)), (ADD, mreqn(GROUP, index=LO)), (DROP, mreqn(GROUP, index=LO)),
              (DROP, mreqn(GROUP, index=LO))],
    "by address": [(ADD, mreq(GROUP, "127.0.0.1")), (ADD, mreqn(GROUP, index=LO)), (DROP, mreq(GROUP, "127.0.0.1"))],
    "by route": [(ADD, mreq(GROUP))],
    "leave by nothing": [(ADD, mreqn(GROUP, index=LO)), (DROP, mreq(OTHER, "127.0.0.1")),
                         (DROP, mreqn(GROUP, index=9)), (DROP, mreq(GROUP)), (DROP, mreq(GROUP, "10.9.9.9")),
                         (DROP, mreqn(GROUP, index=LO))],
    "no group": [(ADD, mreqn("10.0.0.1", index=LO)), (ADD, mreqn("127.0.0.1", index=LO))],
    "no interface": [(ADD, mreqn(GROUP, index=9)), (ADD, mreq(GROUP, "10.9.9.9"))],
    "short": [(ADD, b""), (ADD, mreq(GROUP)[:7]), (ADD, 5), (DROP, b"1234")],
    "too many": [(ADD, mreqn(f"239.0.0.{i + 1}", index=LO)) for i in range(21)],
    "block": [(groups.IP_BLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1")), (ADD, mreqn(GROUP, index=LO)),
              (groups.IP_BLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1")),
              (groups.IP_BLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1")),
              (groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.2")),
              (groups.IP_UNBLOCK_SOURCE, mreq_source(GROUP, "127.0.0.2")),
              (groups.IP_UNBLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1")),
              (groups.IP_UNBLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1"))],
    "sources": [(groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.1")),
                (groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.1")),
                (groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.2")),
                (ADD, mreqn(GROUP, index=LO)), (groups.IP_BLOCK_SOURCE, mreq_source(GROUP, "127.0.0.1")),
                (groups.IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.9")),
                (groups.IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.1")),
                (groups.IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.2")),
                (groups.IP_DROP_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.2")), (DROP, mreqn(GROUP, index=LO))],
    "ten sources": [(groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, f"127.0.1.{i}")) for i in range(12)],
    "sources of nothing": [(groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source("10.0.0.1", "127.0.0.1")),
                           (groups.IP_ADD_SOURCE_MEMBERSHIP, mreq_source(GROUP, "127.0.0.1", "10.9.9.9")),
                           (groups.IP_ADD_SOURCE_MEMBERSHIP, b"short"), (groups.IP_BLOCK_SOURCE, b"short")],
    "RFC 3678": [(groups.MCAST_JOIN_GROUP, group_req(GROUP)), (groups.MCAST_JOIN_GROUP, group_req(GROUP)),
                 (groups.MCAST_BLOCK_SOURCE, group_req(GROUP, "127.0.0.1")),
                 (groups.MCAST_UNBLOCK_SOURCE, group_req(GROUP, "127.0.0.1")),
                 (groups.MCAST_LEAVE_GROUP, group_req(GROUP)), (groups.MCAST_LEAVE_GROUP, group_req(GROUP)),
                 (groups.MCAST_JOIN_SOURCE_GROUP, group_req(GROUP, "127.0.0.1")),
                 (groups.MCAST_LEAVE_SOURCE_GROUP, group_req(GROUP, "127.0.0.1")),
                 (groups.MCAST_LEAVE_SOURCE_GROUP, group_req(GROUP, "127.0.0.1")),
                 (groups.MCAST_JOIN_GROUP, b"short"), (groups.MCAST_JOIN_GROUP, group_req(GROUP6)),
                 (groups.MCAST_JOIN_GROUP, group_req("10.0.0.1")),
                 (groups.MCAST_JOIN_GROUP, group_req(GROUP, index=9))],
}
CALLS6 = {
    "twice": [(groups.IPV6_JOIN_GROUP, mreq6(GROUP6)), (groups.IPV6_JOIN_GROUP, mreq6(GROUP6)),
              (groups.IPV6_LEAVE_GROUP, mreq6(GROUP6)), (groups.IPV6_LEAVE_GROUP, mreq6(GROUP6))],
    "any interface": [(groups.IPV6_JOIN_GROUP, mreq6(GROUP6)), (groups.IPV6_LEAVE_GROUP, mreq6(GROUP6, 0))],
    "wrong": [(groups.IPV6_JOIN_GROUP, mreq6("2001:db8::1")), (groups.IPV6_JOIN_GROUP, mreq6(GROUP6, 9)),
              (groups.IPV6_JOIN_GROUP, mreq6(GROUP6)[:19]), (groups.IPV6_JOIN_GROUP, 5),
              (groups.IPV6_LEAVE_GROUP, mreq6("2001:db8::1")), (groups.IPV6_LEAVE_GROUP, mreq6(GROUP6))],
    "RFC 3678": [(groups.MCAST_JOIN_GROUP, group_req(GROUP6)),
                 (groups.MCAST_BLOCK_SOURCE, group_req(GROUP6, "::1")),
                 (groups.MCAST_BLOCK_SOURCE, group_req(GROUP6, "::1")),
                 (groups.MCAST_UNBLOCK_SOURCE, group_req(GROUP6, "::1")),
                 (groups.MCAST_LEAVE_GROUP, group_req(GROUP6)),
                 (groups.MCAST_JOIN_SOURCE_GROUP, group_req(GROUP6, "::1")),
                 (groups.MCAST_LEAVE_SOURCE_GROUP, group_req(GROUP6, "::1"))],
}


ALL = [*((real.SOCK_DGRAM, real.AF_INET, n) for n in CALLS), *((real.SOCK_DGRAM, real.AF_INET6, n) for n in CALLS6),
       *((real.SOCK_STREAM, real.AF_INET, n) for n in ("twice", "by address", "short")),
       (real.SOCK_STREAM, real.AF_INET6, "twice")]


@pytest.mark.parametrize(("kind", "family", "name"), ALL)
def test_calls(both, family, name, kind):
    """Joining, leaving and filtering in every order that is wrong, too: each result."""
    def look(make):
        level, calls = (LEVEL, CALLS) if family == real.AF_INET else (LEVEL6, CALLS6)
        with make(family, kind) as sock:
            return [ask(sock.setsockopt, level, *call) for call in calls[name]]
    same(both, look)


@pytest.mark.parametrize("value", [aton("127.0.0.1"), aton("10.9.9.9"), aton("0.0.0.0"), mreq("0.0.0.0", "127.0.0.1"),
                                   mreqn("0.0.0.0", index=LO), mreqn("0.0.0.0", index=9), b"", b"abc", 0, 5])
def test_where_datagrams_to_groups_go(both, value):
    def look(make):
        with make(type=real.SOCK_DGRAM) as sock:
            return (ask(sock.setsockopt, LEVEL, groups.IP_MULTICAST_IF, value),
                    sock.getsockopt(LEVEL, groups.IP_MULTICAST_IF, 4), sock.getsockopt(LEVEL, groups.IP_MULTICAST_IF))
    same(both, look)


@pytest.mark.parametrize("index", [0, 1, 9, -1])
def test_where_datagrams_to_groups_of_ipv6_go(both, index):
    def look(make):
        with make(real.AF_INET6, real.SOCK_DGRAM) as sock:
            return (ask(sock.setsockopt, LEVEL6, groups.IPV6_MULTICAST_IF, index),
                    sock.getsockopt(LEVEL6, groups.IPV6_MULTICAST_IF))
    same(both, look)


@pytest.mark.parametrize("loop", [0, 1])
@pytest.mark.parametrize("family", [real.AF_INET, real.AF_INET6])
def test_who_hears(both, family, loop):
    """Members; who has not joined, unless it wants no groups of others'; who has left, has blocked the source, or wants
    another one."""
    v4 = family == real.AF_INET
    group, level = (GROUP, LEVEL) if v4 else (GROUP6, LEVEL6)
    me = "127.0.0.1" if v4 else "::1"
    join = (level, groups.MCAST_JOIN_GROUP, group_req(group))
    only_own = (level, groups.IP_MULTICAST_ALL if v4 else groups.IPV6_MULTICAST_ALL, 0)

    def look(make):
        with ExitStack() as life:
            first = member(life, make, family, options=[join])
            port = first.getsockname()[1]
            hears = [
                first,
                member(life, make, family, port, [join, only_own]),
                member(life, make, family, port),
                member(life, make, family, port, [only_own]),
                member(life, make, family, port, [join, only_own, (level, groups.MCAST_LEAVE_GROUP, group_req(group))]),
                member(life, make, family, port, [join, (level, groups.MCAST_BLOCK_SOURCE, group_req(group, me))]),
                member(life, make, family, port, [(level, groups.MCAST_JOIN_SOURCE_GROUP, group_req(group, me))]),
                member(life, make, family, port, [(level, groups.MCAST_JOIN_SOURCE_GROUP, group_req(
                    group, "127.0.0.77" if v4 else "::77"))]),
                member(life, make, family, port, [join], bound=group if v4 else ""),
                member(life, make, family, port, [join], bound=me),
            ]
            out = sender(life, make, family)
            out.setsockopt(level, groups.IP_MULTICAST_LOOP if v4 else groups.IPV6_MULTICAST_LOOP, loop)
            found = [ask(out.sendto, text, (there, port)) for text, there in (
                (b"to all", group), (b"others", OTHER if v4 else OTHER6))]
            return found, [ask(sock.recv, 100) for sock in hears]
    there, here = (look(make) for make in both)
    if there[0] == ["ENETUNREACH"] * 2:             # Linux's lo has no route for groups of IPv6
        there = [6, 6], [*[b"to all"] * 3, *["EAGAIN"] * 3, b"to all", "EAGAIN", b"to all", "EAGAIN"]
    assert here == there


def test_time_to_live(both):
    """1 unless the socket says otherwise; IP_TTL is for hosts."""
    def look(make):
        with ExitStack() as life:
            hearing = member(life, make, options=[(LEVEL, groups.IP_ADD_MEMBERSHIP, mreqn(GROUP, index=LO)),
                                                  (LEVEL, 12, 1), (LEVEL, 8, 1)])
            out = sender(life, make)
            out.setsockopt(LEVEL, real.IP_TTL, 99)
            found = []
            for ttl in (None, 7, 255, 0, -1):
                if ttl is not None:
                    out.setsockopt(LEVEL, groups.IP_MULTICAST_TTL, ttl)
                out.sendto(b"x", (GROUP, hearing.getsockname()[1]))
                found.append(ask(hearing.recvmsg, 10, 200))
            return [f if isinstance(f, str) else f[1] for f in found]
    there, here = (look(make) for make in both)
    del there[3], here[3]                           # with 0 it comes back with 0 on Linux, with 1 here
    assert here == there


def test_without_a_route(both):
    def look(make):
        with make(type=real.SOCK_DGRAM) as sock:
            return ask(sock.sendto, b"x", (GROUP, 9))
    assert same(both, look) == "ENETUNREACH"


# ---- on an Ethernet

@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def link(request):
    made = Link(request.param)
    yield made
    made.close()


def test_from_the_link(link):
    """What the peer sends comes to members only, and no more once they are gone."""
    v4 = link.version == 4
    family, level, group = (real.AF_INET, LEVEL, GROUP) if v4 else (real.AF_INET6, LEVEL6, "ff0e::5")
    packet = (IP if v4 else IPv6)(src=link.theirs, dst=group) / UDP(sport=5, dport=5000) / Raw(b"news")
    index = link.stack.if_nameindex()[1][0]
    with link.stack.socket(family, real.SOCK_DGRAM) as sock:
        sock.bind(("", 5000))
        sock.setblocking(False)
        link.inject(bytes(packet))
        assert ask(sock.recv, 10) == "EAGAIN"
        sock.setsockopt(level, groups.MCAST_JOIN_GROUP, group_req(group, index=index))
        link.inject(bytes(packet))
        assert ask(sock.recv, 10) == b"news"
        with link.stack.socket(family, real.SOCK_DGRAM) as other:           # on the other interface
            other.setsockopt(level, groups.MCAST_JOIN_GROUP, group_req(OTHER if v4 else "ff0e::6"))
            packet.dst = OTHER if v4 else "ff0e::6"
            link.inject(bytes(packet))
            assert ask(sock.recv, 10) == "EAGAIN"
    assert link.stack._net.memberships.live == 0


def test_to_the_link_and_back(link):
    """What we send goes out once; members among us have a copy, unless IP_MULTICAST_LOOP says no."""
    v4 = link.version == 4
    family, level, group = (real.AF_INET, LEVEL, GROUP) if v4 else (real.AF_INET6, LEVEL6, "ff0e::5")
    index = link.stack.if_nameindex()[1][0]
    with link.stack.socket(family, real.SOCK_DGRAM) as sock, link.stack.socket(family, real.SOCK_DGRAM) as out:
        sock.bind(("", 5000))
        sock.setblocking(False)
        sock.setsockopt(level, groups.MCAST_JOIN_GROUP, group_req(group, index=index))
        link.advance(2)
        link.others.clear()                                     # the reports (tests/ip/test_groups.py)
        for loop, heard in ((1, b"news"), (0, "EAGAIN")):
            out.setsockopt(level, groups.IP_MULTICAST_LOOP if v4 else groups.IPV6_MULTICAST_LOOP, loop)
            out.sendto(b"news", (group, 5000))
            frame = (IP if v4 else IPv6)(link.expect_packet())
            assert (frame.dst, frame[UDP].dport, frame[Raw].load) == (group, 5000, b"news")
            assert ask(sock.recv, 10) == heard
        if v4:
            out.setsockopt(level, groups.IP_MULTICAST_LOOP, 1)
            out.setsockopt(level, groups.IP_MULTICAST_TTL, 0)
            out.sendto(b"here", (group, 5000))
            link.expect_silence()
            assert ask(sock.recv, 10) == b"here"


def reports(link):
    """What the link has been told since the last call: (destination, first byte of the message)."""
    link.advance(0)
    found = []
    while link.others:
        packet = link.others.popleft()
        if link.version == 4 and packet[9] == 2:
            found.append((IP(packet).dst, packet[24]))
        elif link.version == 6 and packet[6] == 0:
            found.append((IPv6(packet).dst, packet[48]))
    return found


def test_the_link_is_told_who_joins_and_leaves(link):
    """By a socket's calls, and by its end.  What is said is in tests/ip/test_groups.py."""
    v4 = link.version == 4
    family, level, group = (real.AF_INET, LEVEL, GROUP) if v4 else (real.AF_INET6, LEVEL6, "ff0e::5")
    report = ("224.0.0.22", 0x22) if v4 else ("ff02::16", 143)
    index = link.stack.if_nameindex()[1][0]
    link.advance(5)
    link.others.clear()
    before = link.stack._net.groups.live
    with link.stack.socket(family, real.SOCK_DGRAM) as sock:
        for option in (groups.MCAST_JOIN_GROUP, groups.MCAST_LEAVE_GROUP, groups.MCAST_JOIN_GROUP):
            sock.setsockopt(level, option, group_req(group, index=index))
            assert reports(link) == [report]
            link.advance(5)
            assert reports(link) == [report]
        sock.setsockopt(level, groups.MCAST_BLOCK_SOURCE, group_req(group, "192.0.2.9" if v4 else "2001:db8::9",
                                                                    index=index))
        assert reports(link) == [report]
        link.advance(5)
        assert reports(link) == [report]
    assert reports(link) == [report]
    link.advance(5)
    assert reports(link) == [report]
    assert link.stack._net.groups.live == before                # those of our own addresses


def test_who_leaves_a_group_of_ipv6_need_not_say_where(link):
    """Interface 0: wherever it is; the link that it is on is told."""
    if link.version == 4:
        pytest.skip("IPv4 asks the routes")
    index = link.stack.if_nameindex()[1][0]
    with link.stack.socket(real.AF_INET6, real.SOCK_DGRAM) as sock:
        sock.setsockopt(LEVEL6, groups.IPV6_JOIN_GROUP, mreq6("ff0e::5", index))
        link.advance(5)
        reports(link)
        sock.setsockopt(LEVEL6, groups.IPV6_LEAVE_GROUP, mreq6("ff0e::5", 0))
        assert reports(link) == [("ff02::16", 143)]
