"""Echo, discard and chargen as handlers, over a link in memory and on the real clock."""
from __future__ import annotations

import socket
from typing import Any

import pytest

import netstack
from netstack.drivers import Impaired, Wire
from netstack.machine.mode import JIT
from netstack.services.handlers import CHARGEN, DISCARD, ECHO, PATTERN, Servers, ping, ping_datagrams

TIMEOUT = 60


@pytest.fixture
def hosts() -> Any:
    """A stack that serves, another one, and the servers."""
    a, b = Wire.pair()
    with netstack.Stack() as server, netstack.Stack() as client:
        server.attach(a, ip="192.0.2.1/24", ip6="2001:db8::1/64", dad=False)
        client.attach(b, ip="192.0.2.2/24", ip6="2001:db8::2/64", dad=False)
        with Servers(server) as servers:
            yield server, client, servers


def exactly(sock: Any, n: int) -> bytes:
    got = bytearray()
    while len(got) < n and (data := sock.recv(min(n - len(got), 1 << 16))):
        got += data
    return bytes(got)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_echo(hosts: Any, host: str) -> None:
    """More than all buffers hold, in both directions at once."""
    import threading

    _, client, _ = hosts
    data = bytes(i * i & 0xFF for i in range(10_000)) * (500 if JIT else 30)
    with client.create_connection((host, ECHO), timeout=TIMEOUT) as sock:
        thread = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        thread.start()
        assert exactly(sock, len(data) + 1) == data
        thread.join()


def test_discard_and_chargen(hosts: Any) -> None:
    server, client, _ = hosts
    with client.create_connection(("192.0.2.1", DISCARD), timeout=TIMEOUT) as sock:
        sock.sendall(bytes(200_000))
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert server.handlers()["discard"]["bytes_in"] == 200_000
    with client.create_connection(("192.0.2.1", CHARGEN), timeout=TIMEOUT) as sock:
        n = 3 * len(PATTERN)
        assert exactly(sock, n) == PATTERN * 3


def test_datagrams(hosts: Any) -> None:
    _, client, _ = hosts
    for family, host in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with client.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT)
            sock.sendto(b"gone", (host, DISCARD))
            for n in (0, 1, 1400):
                sock.sendto(bytes(n), (host, ECHO))
                data, peer = sock.recvfrom(2000)
                assert (data, peer[1]) == (bytes(n), ECHO)
            sock.sendto(b"", (host, CHARGEN))
            assert sock.recv(1000) in PATTERN


def test_closed(hosts: Any) -> None:
    """Closing the servers closes their connections."""
    server, client, servers = hosts
    with client.create_connection(("192.0.2.1", ECHO), timeout=TIMEOUT) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        servers.close()
        assert sock.recv(1) == b""
    assert server.wait_for(lambda: server.handlers()["echo"]["open"] == 0, TIMEOUT)


def test_load() -> None:
    """Two stacks in virtual time, a handler at each end: as many questions as round trips."""
    clock = netstack.VirtualClock(1)
    a, b = Wire.pair()
    with netstack.Stack(clock) as left, netstack.Stack(clock) as right:
        left.attach(Impaired(a, delay="1ms"), ip="192.0.2.1/24", dad=False)
        right.attach(b, ip="192.0.2.2/24", dad=False)
        with Servers(right), left.socket() as sock, left.socket(type=socket.SOCK_DGRAM) as many:
            sock.set_handler(ping, text=b"ping")
            sock.connect(("192.0.2.2", ECHO))
            clock.advance(0.1)
            count = left.handlers()["ping"]
            assert count["bytes_in"] == 4 * 50
            assert count["calls"] == 51
            many.connect(("192.0.2.2", ECHO))
            many.set_handler(ping_datagrams, text=b"ping")
            clock.advance(0.1)
            assert left.handlers()["ping_datagrams"]["datagrams_in"] >= 49 * 64
