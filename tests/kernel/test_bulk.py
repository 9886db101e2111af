"""Much data, compared by hash."""
from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from . import linux as linux_side

PORT = 7778
GIGABYTE = 1000     # megabytes


def _listening(process: Any) -> None:
    assert process.stdout.readline() == "LISTENING\n"


def _said(process: Any) -> tuple[int, str]:
    size, digest = process.communicate(timeout=250)[0].split()
    return int(size), digest


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("address", ["ip", "ip6"])
def test_linux_sends(net: Any, linux: Any, life: Any, address: str, megabytes: Callable[[int], int]) -> None:
    size = megabytes(GIGABYTE if address == "ip" else 100)
    family = socket.AF_INET6 if address == "ip6" else socket.AF_INET
    server = life.enter_context(net.stack.create_server((getattr(net, address), PORT), family=family))
    process = linux("send", getattr(net, address), PORT, size)
    conn = life.enter_context(server.accept()[0])
    conn.settimeout(60)
    got = linux_side.receive(conn)
    conn.close()
    assert got == _said(process)
    assert got[0] == size


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("address", ["linux", "linux6"])
def test_the_stack_sends(net: Any, linux: Any, life: Any, address: str, megabytes: Callable[[int], int]) -> None:
    size = megabytes(GIGABYTE if address == "linux" else 100)
    process = linux("listen-receive", getattr(net, address), PORT)
    _listening(process)
    conn = life.enter_context(net.stack.create_connection((getattr(net, address), PORT), timeout=60))
    conn.settimeout(60)
    digest = linux_side.send(conn, size)
    conn.close()
    assert _said(process) == (size, digest)


@pytest.mark.parametrize("mtu", [576, 1280, 1500, 9000, 65521])
def test_sizes_of_mtu(make_link: Any, linux: Any, life: Any, mtu: int, megabytes: Callable[[int], int]) -> None:
    net, size = make_link(mtu=mtu), megabytes(5)
    server = life.enter_context(net.stack.create_server((net.ip, PORT)))
    process = linux("send", net.ip, PORT, size)
    conn = life.enter_context(server.accept()[0])
    conn.settimeout(60)
    got = linux_side.receive(conn)
    conn.close()
    assert got == _said(process)
    process = linux("listen-receive", net.linux, PORT)
    _listening(process)
    conn = life.enter_context(net.stack.create_connection((net.linux, PORT), timeout=60))
    conn.settimeout(60)
    digest = linux_side.send(conn, size)
    conn.close()
    assert _said(process) == (size, digest)
