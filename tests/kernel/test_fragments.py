"""IPv6 datagrams that the path does not take, beside Linux's: what is sent, in what pieces, and what is refused."""
from __future__ import annotations

import errno
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .test_ping import linux_ping

PORT = 7779
DGRAM = socket.SOCK_DGRAM
IPV6 = socket.IPPROTO_IPV6
MTU_DISCOVER, MTU = 23, 24
OUTGOING = 4                    # PACKET_OUTGOING
ETH_P_ALL, ETH_P_IPV6 = 3, 0x86DD
needs_ping = pytest.mark.skipif(shutil.which("ping") is None, reason="ping(8) is not installed")


@pytest.fixture(params=[True, False], ids=["offload", "bare"])
def net(request: pytest.FixtureRequest, make_link: Any) -> Any:
    """The link, with a device that fills in checksums and without."""
    return make_link(offload=request.param)


@pytest.fixture
def seen(net: Any) -> Iterator[Any]:
    """seen(linux): the IPv6 packets with `PORT` or in fragments that Linux, or the stack, has sent since it was asked
    last: length, Next Header, and of a fragment the word with the offset."""
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
                if (where[1], where[2] == OUTGOING) == (ETH_P_IPV6, linux) and packet[6] in (17, 44, 60, 0, 200):
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
