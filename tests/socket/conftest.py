"""A stack with a loopback interface as the current one, and pairs of connected sockets on it."""
from __future__ import annotations

import socket as real
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

import netstack
import netstack.socket as ns

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack() -> Iterator[netstack.Stack]:
    """A stack with only a loopback interface; netstack.socket works on it."""
    with netstack.Stack(name="test") as made:
        netstack.use(made)
        yield made
        netstack.use(None)


@pytest.fixture
def both() -> Iterator[tuple[Any, Any]]:
    """What makes a socket: of the kernel, of a stack (`beside.py` asks them)."""
    with netstack.Stack() as made:
        yield real.socket, made.socket


@pytest.fixture
def connected(stack: netstack.Stack, life: ExitStack) -> Callable[..., tuple[Any, Any]]:
    """connected() -> two ends of a TCP connection."""
    def make(host: str = "127.0.0.1") -> tuple[Any, Any]:
        family = ns.AF_INET6 if ":" in host else ns.AF_INET
        with stack.create_server((host, 0), family=family) as server:
            client = life.enter_context(stack.create_connection(server.getsockname()[:2]))
            conn, _ = server.accept()
            return client, life.enter_context(conn)
    return make


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """python(program, *args): run a program in another interpreter, with this package on its path."""
    def run(program: str, *args: str, timeout: float = 250.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([sys.executable, "-c", program, *args], cwd=ROOT, capture_output=True, text=True,
                              timeout=timeout, check=False)
        if check and done.returncode != 0:
            pytest.fail(f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done
    return run


def closed_port(make: Callable[[], Any]) -> int:
    """A port on 127.0.0.1 where nobody listens, and that is not given to who connects there: it would meet itself."""
    for port in range(20_000, 30_000):
        with make() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ten thousand ports are taken")
