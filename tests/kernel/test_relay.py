"""The relay between two Linux kernels: namespaces with a TAP each."""
from __future__ import annotations

import hashlib
import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from pyroute2 import IPRoute

from netstack.drivers import Tap
from netstack.lab import kernel, relay
from netstack.lab.namespace import Namespace

PORT = 7800
LEFT, RIGHT = "10.80.0.1", "10.80.0.2"
DATA = hashlib.shake_256(b"relay").digest(500_000)


@pytest.fixture
def far(netns: None) -> Iterator[Namespace]:
    """A second namespace."""
    with Namespace() as space:
        yield space


@pytest.fixture
def taps(far: Namespace, life: Any) -> Any:
    """One TAP here, one there, both open for the relay."""
    kernel.make_tap("path0", f"{LEFT}/24", queue=10_000)
    here = life.enter_context(Tap("path0", offload=False))
    with far.entered():
        kernel.make_tap("path0", f"{RIGHT}/24", queue=10_000)
        there = life.enter_context(Tap("path0", offload=False))
        kernel.await_carrier("path0")
    kernel.await_carrier("path0")
    return SimpleNamespace(a=here.fd, b=there.fd)


def _connected(far: Namespace, life: Any) -> tuple[socket.socket, socket.socket]:
    with far.entered():
        server = life.enter_context(socket.create_server((RIGHT, PORT)))
    server.settimeout(60)
    client = life.enter_context(socket.create_connection((RIGHT, PORT), timeout=60))
    conn = life.enter_context(server.accept()[0])
    conn.settimeout(60)
    return client, conn


def _exactly(sock: socket.socket, n: int) -> bytes:
    got = bytearray()
    while len(got) < n and (piece := sock.recv(n - len(got))):
        got += piece
    return bytes(got)


def test_two_kernels(taps: Any, far: Namespace, life: Any, spawn: Any) -> None:
    with relay.start(taps.a, taps.b, delay="5ms", loss="1%", reorder="1%", duplicate="1%", seed=2) as between:
        client, conn = _connected(far, life)
        for sender, receiver in ((client, conn), (conn, client)):
            task = spawn(_exactly, receiver, len(DATA))
            sender.sendall(DATA)
            assert task.result(100) == DATA
        began = time.monotonic_ns()
        client.send(b"?")
        conn.send(_exactly(conn, 1))
        assert _exactly(client, 1) == b"?"
        assert time.monotonic_ns() - began >= 10_000_000
        counters = between.stop()
    for way in ("a_to_b", "b_to_a"):
        assert counters[way]["lost"] > 0 and counters[way]["reordered"] > 0 and counters[way]["duplicated"] > 0
        assert counters[way]["refused"] == counters[way]["overflowed"] == 0


def test_the_command(far: Namespace, life: Any, command: Any) -> None:
    kernel.make_tap("left0", f"{LEFT}/24")
    kernel.make_tap("right0")
    process = command("relay", "left0", "right0", "--delay", "2ms", "--rate", "50mbit")
    assert process.stdout.readline() == "READY\n"
    with IPRoute() as route:
        route.link("set", index=route.link_lookup(ifname="right0")[0], net_ns_fd=far.fileno())
    with far.entered(), IPRoute() as route:
        index = route.link_lookup(ifname="right0")[0]
        route.addr("add", index=index, address=RIGHT, prefixlen=24)
        route.link("set", index=index, state="up")
    client, conn = _connected(far, life)
    client.sendall(DATA[:100_000])
    assert _exactly(conn, 100_000) == DATA[:100_000]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("a_to_b: seen ")


def test_the_command_says_what_is_wrong(netns: None, command: Any) -> None:
    process = command("relay", "tap0", "tap1", "--loss", "200%")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert "probability" in err and "Traceback" not in err
