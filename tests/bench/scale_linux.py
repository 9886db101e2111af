"""The exchange of `scale` on Linux's own TCP, over its loopback: `python -m tests.bench.scale_linux`.

64 bytes each way on random ones of N connections; CPU time of both ends together.  As
many as there may be descriptors; the calls are made by a compiled loop, without Python.
"""
from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time

import numpy as np
from numba import njit

from netstack.lab.namespace import command as in_namespace

from .load import _recv, _send
from .peers import prepare_namespace

SIZES = (1, 100, 1_000, 10_000, 100_000)
EXCHANGES = 200_000
SPARE = 100                     # descriptors for other things
PORT, PER_LISTENER = 2000, 20_000
REQUEST = 64
INSIDE = "NETSTACK_SCALE_INSIDE"


@njit
def _exchange(ones, others, order, buffer):         # type: ignore[no-untyped-def]
    """A round trip on each connection of `order`: how many failed."""
    failed = 0
    for k in order:
        done = _send(ones[k], buffer.ctypes.data, REQUEST, 0) + _recv(others[k], buffer.ctypes.data, REQUEST, 0)
        done += _send(others[k], buffer.ctypes.data, REQUEST, 0) + _recv(ones[k], buffer.ctypes.data, REQUEST, 0)
        if done != 4 * REQUEST:
            failed += 1
    return failed


def measure(count: int) -> float:
    """Nanoseconds of a round trip among so many connections."""
    ends: list[list[int]] = [[], []]
    for first in range(0, count, PER_LISTENER):
        with socket.create_server(("127.0.0.1", PORT + first // PER_LISTENER), backlog=128) as server:
            for _ in range(min(PER_LISTENER, count - first)):
                ends[0].append(socket.create_connection(server.getsockname()).detach())
                ends[1].append(server.accept()[0].detach())
    ones, others = (np.array(fds, np.int32) for fds in ends)
    buffer = np.zeros(REQUEST, np.uint8)
    chance = np.random.default_rng(1)
    _exchange(ones, others, chance.integers(0, count, EXCHANGES // 4), buffer)
    order = chance.integers(0, count, EXCHANGES)
    started = time.process_time_ns()
    failed = _exchange(ones, others, order, buffer)
    passed = time.process_time_ns() - started
    for fd in (*ends[0], *ends[1]):
        os.close(fd)
    if failed:
        raise SystemExit(f"{failed} of {EXCHANGES} round trips failed")
    return passed / EXCHANGES


def main() -> None:
    """See the module's text."""
    if INSIDE not in os.environ:
        sys.exit(subprocess.call(in_namespace([sys.executable, "-m", "tests.bench.scale_linux"]),
                                 env={**os.environ, INSIDE: "1"}))
    prepare_namespace()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for size in sorted({min(size, (most - SPARE) // 2) for size in SIZES}):
        print(f"{size:7,} connections: {measure(size):,.0f} ns", flush=True)


if __name__ == "__main__":
    main()
