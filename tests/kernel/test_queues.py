"""Several worlds on one multi-queue TAP, with Linux as the peer."""
from __future__ import annotations

import errno
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import netstack
from netstack.drivers import Tap
from netstack.lab import kernel

from .conftest import LINUX, LINUX6, STACK, STACK6, TAP

PORT = 7777
WORLDS = 2
CONNECTIONS = 16
LIMIT = 100


@pytest.fixture(params=[True, False], ids=["offload", "plain"])
def shards(request: pytest.FixtureRequest, netns: None, life: ExitStack) -> Any:
    """Two worlds on a multi-queue TAP."""
    kernel.make_tap(TAP, f"{LINUX}/24", f"{LINUX6}/64", multi_queue=True)
    made = life.enter_context(netstack.Shards(WORLDS))
    made.attach(Tap.queues(TAP, WORLDS, offload=request.param), ip=f"{STACK}/24", ip6=f"{STACK6}/64", gateway=LINUX,
                dad=False)
    kernel.await_carrier(TAP)
    return made


def transfer(conn: Any, text: bytes, size: int) -> str:
    """Send `text` while `size` bytes come: their hash."""
    conn.settimeout(LIMIT)
    sender = threading.Thread(target=conn.sendall, args=(text,))
    sender.start()
    digest, left = hashlib.sha256(), size
    while left:
        piece = conn.recv(min(left, 1 << 16))
        assert piece, f"the end, {left} bytes early"
        digest.update(piece)
        left -= len(piece)
    sender.join()
    return digest.hexdigest()


def exchange(pairs: list[tuple[Any, Any]], size: int, spawn: Any) -> None:
    """Through all at once, other bytes each way and in each: every one arrives."""
    texts = [(os.urandom(size), os.urandom(size)) for _ in pairs]
    tasks = [(spawn(transfer, ours, a, size), spawn(transfer, theirs, b, size))
             for (ours, theirs), (a, b) in zip(pairs, texts, strict=True)]
    for (ours, theirs), (a, b) in zip(tasks, texts, strict=True):
        assert theirs.result(LIMIT) == hashlib.sha256(a).hexdigest()
        assert ours.result(LIMIT) == hashlib.sha256(b).hexdigest()


def close(pairs: list[tuple[Any, Any]]) -> None:
    for pair in pairs:
        for sock in pair:
            sock.close()


def used_all(shards: Any) -> None:
    """Each world has received through its queue, and sent."""
    for stack in shards.stacks:
        counters = stack.interface(TAP).counters
        assert counters["rx_packets"] > 10 and counters["tx_packets"] > 10
    assert shards.stats()[f"{TAP}.hand_on_drops"] == 0


@pytest.mark.parametrize(("host", "family"), [(STACK, socket.AF_INET), (STACK6, socket.AF_INET6)])
def test_linux_connects(shards: Any, spawn: Any, megabytes: Callable[[int], int], host: str,
                        family: socket.AddressFamily) -> None:
    with shards.create_server((host, PORT), family=family) as server:
        server.settimeout(LIMIT)
        theirs = [socket.create_connection((host, PORT), timeout=LIMIT) for _ in range(CONNECTIONS)]
        ours = {}
        for _ in theirs:
            conn, name = server.accept()
            ours[name[1]] = conn
        pairs = [(ours[conn.getsockname()[1]], conn) for conn in theirs]
        while {conn._stack for conn, _ in pairs} != set(shards.stacks):     # a secret hash of the ports chooses
            assert len(pairs) < 10 * CONNECTIONS
            conn = socket.create_connection((host, PORT), timeout=LIMIT)
            pairs.append((server.accept()[0], conn))
        exchange(pairs, megabytes(1), spawn)
        close(pairs)
    used_all(shards)
    assert "TCP_NO_PORT" not in shards.drops()


@pytest.mark.parametrize(("host", "family"), [(LINUX, socket.AF_INET), (LINUX6, socket.AF_INET6)])
def test_the_worlds_connect(shards: Any, spawn: Any, megabytes: Callable[[int], int], host: str,
                            family: socket.AddressFamily) -> None:
    with socket.create_server((host, PORT), family=family) as server:
        server.settimeout(LIMIT)
        pairs = []
        for _ in range(CONNECTIONS):
            ours = shards.create_connection((host, PORT), timeout=LIMIT)
            pairs.append((ours, server.accept()[0]))
        exchange(pairs, megabytes(1), spawn)
        close(pairs)
    used_all(shards)
    assert "TCP_NO_PORT" not in shards.drops()


def test_ping(shards: Any) -> None:
    for host in (STACK, STACK6):
        done = subprocess.run(["ping", "-c", "3", "-i", "0.2", "-W", "20", host], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0 and "DUP" not in done.stdout, done.stdout


def test_udp(shards: Any) -> None:
    socks = [shards.udp_socket((STACK, port)) for port in (53, 54, 0, 0)]
    assert {s._stack for s in socks} == set(shards.stacks)
    for sock in socks:
        sock.settimeout(LIMIT)
        with socket.socket(type=socket.SOCK_DGRAM) as theirs:
            theirs.settimeout(LIMIT)
            theirs.connect(sock.getsockname())
            for size in (1, 1472, 1473, 9000):
                data = os.urandom(size)
                theirs.send(data)
                got, name = sock.recvfrom(10_000)
                assert got == data
                sock.sendto(got[::-1], name)
                assert theirs.recv(10_000) == data[::-1]
        sock.close()


def test_close_leaves_nothing(shards: Any) -> None:
    shards.close()
    with netstack.Shards(1) as again:                       # the queues are free, and so is the interface
        again.attach(Tap.queues(TAP, 1), ip=f"{STACK}/24", dad=False)
        with again.create_server((STACK, PORT)) as server, socket.create_connection((STACK, PORT), timeout=LIMIT):
            server.settimeout(LIMIT)
            server.accept()[0].close()


def test_a_tap_of_another_sort(netns: None) -> None:
    kernel.make_tap(TAP)
    with pytest.raises(OSError, match="multi-queue") as caught:
        Tap.queues(TAP, 2)
    assert caught.value.errno == errno.EINVAL


def test_it_makes_the_interface(netns: None) -> None:
    taps = Tap.queues("tap%d", 2)
    assert len({tap.name for tap in taps}) == len({tap.mac for tap in taps}) == 1
    assert len({tap.fd for tap in taps}) == 2
    for tap in taps:
        tap.close()
