"""ICMP echo with Linux, both ways."""
from __future__ import annotations

import shutil
import socket
import subprocess
from typing import Any

import pytest
from scapy.all import ICMP, IP  # type: ignore[attr-defined]

from netstack.cli.ping import ping

needs_ping = pytest.mark.skipif(shutil.which("ping") is None, reason="ping(8) is not installed")


def linux_ping(*words: object) -> str:
    """ping(8); its last lines.  For the last answer it waits two round trips or -i, whichever is longer."""
    done = subprocess.run(["ping", "-n", *map(str, words)], capture_output=True, text=True, timeout=100, check=False)
    return done.stdout + done.stderr


@needs_ping
@pytest.mark.parametrize("address", ["ip", "ip6"])
@pytest.mark.parametrize("size", [0, 56, 1400])
def test_linux_pings_the_stack(net: Any, address: str, size: int) -> None:
    said = linux_ping("-c", 3, "-i", 0.25, "-W", 20, "-s", size, getattr(net, address))
    assert "3 packets transmitted, 3 received, 0% packet loss" in said


@needs_ping
@pytest.mark.parametrize("size", [1473, 8000, 65507])
def test_linux_pings_in_fragments(net: Any, size: int) -> None:
    said = linux_ping("-c", 3, "-i", 0.25, "-W", 20, "-s", size, net.ip)
    assert "3 received, 0% packet loss" in said


def test_two_hundred_pings(net: Any) -> None:
    """At once, and each is answered once, however long it takes."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(60)
        for number in range(200):
            sock.sendto(bytes(ICMP(type=8, id=4711, seq=number) / bytes(56)), (net.ip, 0))
        answers = []
        while len(answers) < 200:
            answer = IP(sock.recv(2000))[ICMP]
            if answer.type == 0:
                assert (answer.id, bytes(answer.payload)) == (4711, bytes(56))
                answers.append(answer.seq)
    assert sorted(answers) == list(range(200))


@needs_ping
def test_every_byte_comes_back(net: Any) -> None:
    said = linux_ping("-c", 2, "-i", 0.25, "-W", 20, "-p", "a55aff00", "-s", 1000, net.ip)
    assert "2 received" in said
    assert "wrong data" not in said


@pytest.mark.parametrize("address", ["linux", "linux6"])
def test_the_stack_pings_linux(net: Any, address: str) -> None:
    said: list[str] = []
    statistics = ping(net.stack, getattr(net, address), count=3, interval=0.01, wait=20, say=said.append)
    assert (statistics.sent, statistics.received, statistics.errors) == (3, 3, 0)
    assert "3 packets transmitted, 3 received, 0% packet loss" in said[-2]


def test_nobody_answers(net: Any) -> None:
    said: list[str] = []
    statistics = ping(net.stack, "10.0.0.99", count=1, wait=0.3, say=said.append)
    assert statistics.received == 0
    assert "100% packet loss" in "\n".join(said)
