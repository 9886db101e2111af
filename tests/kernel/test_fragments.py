"""IPv6 datagrams that the path does not take, beside Linux's: what is sent, in what pieces, and what is refused."""
from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pyroute2 import IPRoute

from netstack.lab import kernel

from .test_ping import linux_ping

PORT = 7779
DGRAM = socket.SOCK_DGRAM
IPV6 = socket.IPPROTO_IPV6
MTU_DISCOVER, MTU = 23, 24
FINAL = "fd00:9::9"
OUTGOING = 4                    # PACKET_OUTGOING
MLD = 0, 58                     # Next Headers of reports of groups, which go when they are due
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86DD
needs_ping = pytest.mark.skipif(shutil.which("ping") is None, reason="ping(8) is not installed")


@pytest.fixture(params=[True, False], ids=["offload", "bare"])
def net(request: pytest.FixtureRequest, make_link: Any) -> Any:
    """The link, with a device that fills in checksums and without."""
    return make_link(offload=request.param)


@pytest.fixture
def seen(net: Any) -> Iterator[Any]:
    """seen(linux): what Linux, or the stack, has sent over IPv6 since it was asked last, if it is UDP, of protocol 200,
    in fragments or has options: length, Next Header, and of a fragment the word with the offset."""
    with socket.socket(socket.AF_PACKET, DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.bind((net.tap, ETH_P_ALL))
        tap.setblocking(False)

        def look(linux: bool) -> list[tuple[int, int, int]]:
            found = []
            while True:
                try:
                    packet, where = tap.recvfrom(70000)
                except BlockingIOError:
                    return found
                if (where[1], where[2] == OUTGOING) == (ETH_P_IPV6, linux) and packet[6] in (17, 44, 60, 0, 200) and (
                        packet[6], packet[40]) != MLD:
                    found.append((len(packet), packet[6], int.from_bytes(packet[42:44], "big")
                                  if packet[6] == 44 else 0))
        yield look


def ask(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@pytest.mark.parametrize("size", [1452, 1453, 5000, 65000, 65527])
def test_there_and_back(net: Any, size: int) -> None:
    """Each puts together what the other has sent, and finds its checksum right."""
    data = bytes(i * 3 & 0xFF for i in range(251)) * (size // 251 + 1)
    with net.stack.socket(socket.AF_INET6, DGRAM) as ours, socket.socket(socket.AF_INET6, DGRAM) as theirs:
        ours.bind((net.ip6, PORT))
        ours.settimeout(60)
        theirs.settimeout(60)
        for _ in range(3):
            theirs.sendto(data[:size], (net.ip6, PORT))
            got, peer = ours.recvfrom(70000)
            assert got == data[:size]
            ours.sendto(got, peer)
            assert theirs.recv(70000) == data[:size]


@pytest.mark.parametrize("discover", range(6))
@pytest.mark.parametrize("most", [0, 1280])
@pytest.mark.parametrize("dont_fragment", [0, 1])
def test_what_is_cut(net: Any, seen: Any, discover: int, most: int, dont_fragment: int) -> None:
    """IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_DONTFRAG."""
    answers = []
    for linux in (True, False):
        with ExitStack() as life:
            a = life.enter_context((socket.socket if linux else net.stack.socket)(socket.AF_INET6, DGRAM))
            b = life.enter_context((net.stack.socket if linux else socket.socket)(socket.AF_INET6, DGRAM))
            to = net.ip6 if linux else net.linux6
            b.bind((to, PORT))
            b.settimeout(60)
            a.setsockopt(IPV6, MTU_DISCOVER, discover)
            a.setsockopt(IPV6, MTU, most)
            a.setsockopt(IPV6, socket.IPV6_DONTFRAG, dont_fragment)
            a.sendto(b"first", (to, PORT))
            assert b.recv(10) == b"first"
            seen(linux)
            for n in (1200, 1232, 1233, 1452, 1453, 3000):
                sent = ask(a.sendto, bytes(n), (to, PORT))
                if not isinstance(sent, str):
                    assert b.recv(70000) == bytes(n)            # so it has been seen
                answers.append((n, sent, seen(linux)))
    half = len(answers) // 2
    assert answers[half:] == answers[:half]


@pytest.mark.parametrize("discover", [0, 2, 3, 4, 5])
def test_ipv4(net: Any, discover: int) -> None:
    """IP_MTU_DISCOVER: who sets DF, and who is refused.  Not IP_PMTUDISC_WANT (docs/sockets.md)."""
    answers = []
    with socket.socket(socket.AF_PACKET, DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.bind((net.tap, ETH_P_ALL))
        tap.setblocking(False)
        for linux in (True, False):
            with ExitStack() as life:
                a = life.enter_context((socket.socket if linux else net.stack.socket)(socket.AF_INET, DGRAM))
                b = life.enter_context((net.stack.socket if linux else socket.socket)(socket.AF_INET, DGRAM))
                to = net.ip if linux else net.linux
                b.bind((to, PORT))
                b.settimeout(60)
                a.setsockopt(socket.IPPROTO_IP, 10, discover)
                for n in (1000, 1472, 1473, 3000):
                    sent = ask(a.sendto, bytes(n), (to, PORT))
                    if not isinstance(sent, str):
                        assert b.recv(70000) == bytes(n)
                    answers.append((n, sent))
                    while not isinstance(packet := ask(tap.recvfrom, 70000), str):
                        if (packet[1][1], packet[1][2] == OUTGOING) == (ETH_P_IP, linux) and packet[0][9] == 17:
                            answers.append((len(packet[0]), packet[0][6] & 0x40))
    half = len(answers) // 2
    assert answers[half:] == answers[:half]


@pytest.mark.parametrize("protocol", [200, 58, 255])
def test_raw_sockets(net: Any, seen: Any, protocol: int) -> None:
    """What they send is cut, too; IPV6_DONTFRAG is not for all of them."""
    message = bytes([200, 0, 0, 0]) + bytes(2996)
    answers = []
    for linux in (True, False):
        with ExitStack() as life:
            a = life.enter_context((socket.socket if linux else net.stack.socket)(
                socket.AF_INET6, socket.SOCK_RAW, protocol))
            b = life.enter_context((net.stack.socket if linux else socket.socket)(
                socket.AF_INET6, socket.SOCK_RAW, protocol if protocol != 255 else 200))
            a.setsockopt(IPV6, 36, 0)                           # IPV6_HDRINCL
            b.settimeout(60)
            to = net.ip6 if linux else net.linux6
            for dont_fragment in (0, 1):
                a.setsockopt(IPV6, socket.IPV6_DONTFRAG, dont_fragment)
                answers.append(ask(a.sendto, message, (to, 0)))
                if answers[-1] == len(message) and protocol == 200:
                    answers.append((b.recv(70000), seen(linux)))
    half = len(answers) // 2
    assert answers[half:] == answers[:half]


@needs_ping
@pytest.mark.parametrize("size", [1453, 8000, 65527])
def test_linux_pings(net: Any, size: int) -> None:
    """Echo replies that netstack makes by itself."""
    said = linux_ping("-6", "-c", 3, "-i", 0.01, "-W", 20, "-s", size, net.ip6)
    assert "3 received, 0% packet loss" in said


@pytest.mark.parametrize("size", [1452, 1453, 65527])
def test_we_ping(net: Any, size: int) -> None:
    with net.stack.socket(socket.AF_INET6, DGRAM, socket.IPPROTO_ICMPV6) as sock:
        sock.settimeout(60)
        message = bytes([128, 0, 0, 0, 0, 0, 0, 1]) + bytes(i & 0xFF for i in range(size))
        sock.sendto(message, (net.linux6, 0))
        assert sock.recv(70000)[8:] == message[8:]
        sock.setsockopt(IPV6, socket.IPV6_DONTFRAG, 1)
        assert ask(sock.sendto, message, (net.linux6, 0)) == (len(message) if size == 1452 else "EMSGSIZE")


HOP = bytes([0, 0, 0x1E, 4, 1, 2, 3, 4])
DST = bytes([0, 1, 0x1E, 12]) + bytes(range(12))


@pytest.mark.parametrize("size", [10, 1436, 1437, 1444, 1445, 5000, 60000])
@pytest.mark.parametrize("headers", [{54: HOP}, {59: DST}, {54: HOP, 59: DST}, {54: HOP, 55: DST, 59: HOP}])
def test_extension_headers(net: Any, seen: Any, size: int, headers: dict[int, bytes]) -> None:
    """What is sent, in what pieces, and what the other one is told of it."""
    answers = []
    for linux in (True, False):
        with ExitStack() as life:
            a = life.enter_context((socket.socket if linux else net.stack.socket)(socket.AF_INET6, DGRAM))
            b = life.enter_context((net.stack.socket if linux else socket.socket)(socket.AF_INET6, DGRAM))
            to = net.ip6 if linux else net.linux6
            b.bind((to, PORT))
            b.settimeout(60)
            a.sendto(b"first", (to, PORT))
            assert b.recv(10) == b"first"
            for option in (53, 56, 58):
                b.setsockopt(IPV6, option, 1)
            for option, header in headers.items():
                a.setsockopt(IPV6, option, header)
            seen(linux)
            assert a.sendto(bytes(size), (to, PORT)) == size
            data, told, _, _ = b.recvmsg(70000, 1000)
            answers.append((data == bytes(size), [m[1:] for m in told], seen(linux)))
    there, here = answers
    assert here[:2] == there[:2]
    assert len(here[1]) == len(set(headers) - {55})
    # Differs: Linux has the destination options in front of the fragment header if there is no routing header.
    assert here[2] == there[2] or (59 in headers and len(here[2]) > 1)


def test_the_path_is_told(net: Any) -> None:
    """IPV6_RECVPATHMTU and IPV6_PATHMTU."""
    answers = []
    for linux in (True, False):
        there = net.ip6 if linux else net.linux6
        with (socket.socket if linux else net.stack.socket)(socket.AF_INET6, DGRAM) as sock, (
                net.stack.socket if linux else socket.socket)(socket.AF_INET6, DGRAM) as listener:
            listener.bind((there, PORT))
            sock.setblocking(False)
            for option in (socket.IPV6_RECVPATHMTU, socket.IPV6_DONTFRAG, 25):
                sock.setsockopt(IPV6, option, 1)
            found = [ask(sock.getsockopt, IPV6, socket.IPV6_PATHMTU, n) for n in (31, 32)]
            found += [ask(sock.sendto, bytes(n), (there, PORT)) for n in (1452, 1453, 3000, 65528)]
            for flags in (0, 0, 0x2000, 0x2000, 0x2000, 0x2000):
                got = ask(sock.recvmsg, 10, 200, flags)
                if isinstance(got, tuple):
                    address = socket.inet_pton(socket.AF_INET6, there)
                    got = got[0], [(kind, data.replace(address, b"there")) for _, kind, data in got[1]], got[2], (
                        got[3][0] == there, got[3][1:])
                found.append(got)
            sock.connect((there, PORT))
            found += [ask(sock.getsockopt, IPV6, socket.IPV6_PATHMTU, n) for n in (31, 32, 50)]
            answers.append(found)
    assert answers[1] == answers[0]


def test_by_way_of_segments(net: Any) -> None:
    """A routing header of type 4: Linux, where it is allowed, sends it on to itself, and tells the header."""
    kernel.set_sysctl("net.ipv6.conf.all.seg6_enabled", 1)
    kernel.set_sysctl(f"net.ipv6.conf.{net.tap}.seg6_enabled", 1)
    with IPRoute() as route:
        route.addr("add", index=route.link_lookup(ifname="lo")[0], address=FINAL, prefixlen=128)
    final, way = (socket.inet_pton(socket.AF_INET6, host) for host in (FINAL, net.linux6))
    with net.stack.socket(socket.AF_INET6, DGRAM) as ours, socket.socket(socket.AF_INET6, DGRAM) as theirs:
        theirs.bind(("::", PORT))
        theirs.settimeout(60)
        theirs.setsockopt(IPV6, socket.IPV6_RECVRTHDR, 1)
        theirs.setsockopt(IPV6, socket.IPV6_RECVPKTINFO, 1)
        ours.setsockopt(IPV6, socket.IPV6_RTHDR, bytes([0, 4, 4, 1, 1, 0, 0, 0]) + bytes(16) + way)
        for size in (10, 5000):
            ours.sendto(bytes(size), (FINAL, PORT))
            data, told, _, _ = theirs.recvmsg(70000, 1000)
            assert data == bytes(size)
            assert told[0][2][:16] == final
            assert told[1][1:] == (socket.IPV6_RTHDR, bytes([17, 4, 4, 0, 1, 0, 0, 0]) + final + way)
