"""The measurements.  Each takes a target and a duration and returns a dict of figures."""
from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import load, verify
from .verify import MeasurementError

ECHO, DISCARD, CHARGEN = 7, 9, 19
REQUEST = 64                    # bytes of a request
PUSH = 128 << 10                # bytes of a send
PULL = 256 << 10
WARM_UP = 0.5                   # seconds before a transfer is measured
PATIENCE = 10.0                 # seconds that anything may take before it counts as failed
LONGEST = 60.0                  # ... or thousands of connections together
OUTSTANDING = 64
TOGETHER, OPEN = 1000, 5000
TICK = os.sysconf("SC_CLK_TCK")
LATENCIES = 4_000_000

Figures = dict[str, float]


@dataclass
class Target:
    """Who is measured."""

    name: str
    address: str
    pid: int
    idle_memory: int = 0        # resident bytes when it had started

    def __post_init__(self) -> None:
        self.idle_memory = self.memory()

    def cpu(self) -> float:
        """CPU seconds of its process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> int:
        """Its resident memory, bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def pin(self, cpus: set[int]) -> None:
        """Run all its threads there."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task), cpus)


def _connect(target: Target, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.settimeout(PATIENCE)
        sock.connect((target.address, port))
        sock.settimeout(None)
        timeout = struct.pack("ll", int(PATIENCE), 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        sock.close()
        raise MeasurementError(f"connect to port {port}: {error}") from None
    return sock


def _until(seconds: float) -> int:
    return time.monotonic_ns() + int(seconds * 1e9)


def _good(result: int) -> int:
    if result == load.WRONG:
        raise MeasurementError("an answer is not what was sent")
    if result < 0:
        raise MeasurementError("the connection broke")
    return result


def _words(*rows: int) -> Any:
    """Room for a request, or for so many."""
    return np.zeros((*rows, REQUEST // 8), np.int64)


def _transfer(target: Target, port: int, loop: Callable[..., int], size: int, seconds: float,
              check: Callable[[socket.socket, int], int]) -> Figures:
    """`check` is given the connection and how much has gone over it; what comes after is not timed."""
    buffer = np.zeros(size, np.uint8)
    with _connect(target, port) as sock:
        before = _good(loop(sock.fileno(), buffer, _until(min(WARM_UP, seconds / 2))))
        cpu, started = target.cpu(), time.monotonic()
        total = _good(loop(sock.fileno(), buffer, _until(seconds)))
        elapsed = time.monotonic() - started
        cpu = target.cpu() - cpu
        checked = check(sock, before + total)
    return {"gbit_s": total * 8 / elapsed / 1e9, "cpu_s_per_gb": cpu / (total / 1e9), "checked_mb": checked / 1e6}


def tcp_in(target: Target, seconds: float) -> Figures:
    """Into discard, one connection.  Then large blocks into echo, which come back and are compared."""
    return _transfer(target, DISCARD, load.push, PUSH, seconds, lambda sock, _: (
        verify.taken(sock) or verify.echoed(_connect(target, ECHO), seconds)))


def tcp_out(target: Target, seconds: float) -> Figures:
    """Out of chargen, one connection.  What follows must be the right place of its endless text."""
    return _transfer(target, CHARGEN, load.pull, PULL, seconds, lambda sock, total: (
        verify.generated(sock, total, seconds)))


@contextlib.contextmanager
def _pinned(target: Target, ours: set[int], theirs: set[int]) -> Iterator[None]:
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ours)
    target.pin(theirs)
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)
        target.pin(everywhere)


def _rates(count: int, seconds: float, latency: Any) -> Figures:
    taken = latency[:min(count, latency.size)] / 1000
    if count == 0:
        raise MeasurementError("no answer")
    return {"per_s": count / seconds, "p50_us": float(np.percentile(taken, 50)),
            "p99_us": float(np.percentile(taken, 99))}


def _request_response(target: Target, seconds: float) -> Figures:
    words, latency = _words(), np.zeros(LATENCIES, np.int64)
    with _connect(target, ECHO) as sock:
        _good(load.request_response(sock.fileno(), words, _until(0.2), latency))
        started = time.monotonic()
        count = _good(load.request_response(sock.fileno(), words, _until(seconds), latency))
        return _rates(count, time.monotonic() - started, latency)


def rr_one_cpu(target: Target, seconds: float) -> Figures:
    """64-byte requests on echo, one at a time, both sides on one CPU."""
    cpu = {min(os.sched_getaffinity(0))}
    with _pinned(target, cpu, cpu):
        return _request_response(target, seconds)


def rr_two_cpus(target: Target, seconds: float) -> Figures:
    """The same, each side on its own CPU."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise MeasurementError("one CPU only")
    with _pinned(target, {cpus[0]}, {cpus[1]}):
        return _request_response(target, seconds)


def _connections(target: Target, seconds: float, at_a_time: int) -> Figures:
    address = np.frombuffer(struct.pack("=HH4s8x", socket.AF_INET, socket.htons(ECHO),
                                        socket.inet_aton(target.address)), np.uint8).copy()
    timeout = np.array([int(PATIENCE), 0], np.int64)
    results: list[tuple[int, int]] = []

    def work() -> None:
        results.append(load.connections(socket.AF_INET, address, timeout, _words(), until))

    started, until = time.monotonic(), _until(seconds)
    threads = [threading.Thread(target=work) for _ in range(at_a_time)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = sum(r[1] for r in results)
    if failed:
        raise MeasurementError(f"{failed} connections failed")
    return {"per_s": sum(r[0] for r in results) / (time.monotonic() - started)}


def connections_1(target: Target, seconds: float) -> Figures:
    """Connect, a 64-byte request and its answer, close: one at a time."""
    return _connections(target, seconds, 1)


def connections_16(target: Target, seconds: float) -> Figures:
    """The same, sixteen at a time."""
    return _connections(target, seconds, 16)


def udp_echo(target: Target, seconds: float) -> Figures:
    """64-byte datagrams, 64 of them under way."""
    words = _words()
    with _connect(target, ECHO, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100_000))
        _good(load.datagrams(sock.fileno(), words, OUTSTANDING, _until(0.2))[0])
        started = time.monotonic()
        count, lost = load.datagrams(sock.fileno(), words, OUTSTANDING, _until(seconds))
        return {"per_s": _good(count) / (time.monotonic() - started), "lost": float(lost)}


@contextlib.contextmanager
def _opened(target: Target, count: int) -> Iterator[list[socket.socket]]:
    socks: list[socket.socket] = []
    try:
        until = time.monotonic() + LONGEST
        for i in range(count):
            if time.monotonic() > until:
                raise MeasurementError(f"{i} of {count} open after {LONGEST:.0f} s")
            try:
                socks.append(_connect(target, ECHO))
            except MeasurementError as error:
                raise MeasurementError(f"{i} of {count} open, then {error}") from None
        yield socks
    finally:
        for sock in socks:
            sock.close()


def together(target: Target, seconds: float, count: int = TOGETHER) -> Figures:
    """So many connections, a 64-byte request under way on each."""
    with _opened(target, count) as socks, select.epoll() as epoll:
        fds = np.array([s.fileno() for s in socks], np.int64)
        index = np.zeros(fds.max() + 1, np.int64)
        for i, sock in enumerate(socks):
            epoll.register(sock.fileno(), select.EPOLLIN)
            index[sock.fileno()] = i
        served, latency = np.zeros(count, np.int64), np.zeros(LATENCIES, np.int64)
        started = time.monotonic()
        answers = _good(load.many(epoll.fileno(), fds, index, _words(count), _until(seconds), latency, served))
        figures = _rates(answers, time.monotonic() - started, latency)
        return {"per_s": figures["per_s"], "p99_ms": figures["p99_us"] / 1000, "served": float((served > 0).sum()),
                "least": float(served.min())}


def open_at_once(target: Target, seconds: float, count: int = OPEN) -> Figures:
    """So many connections open; then one request on each, answered."""
    message = bytes(REQUEST)
    started = time.monotonic()
    with _opened(target, count) as socks:
        opened = time.monotonic() - started
        memory = target.memory() - target.idle_memory
        for sock in socks:
            sock.sendall(message)
        answered = 0
        until = time.monotonic() + LONGEST
        for sock in socks:
            if time.monotonic() > until:
                break
            with contextlib.suppress(OSError):
                answered += len(sock.recv(REQUEST, socket.MSG_WAITALL)) == REQUEST
        return {"open": float(len(socks)), "answered": float(answered), "open_s": opened,
                "kb_each": memory / count / 1000}


MEASUREMENTS: dict[str, Callable[[Target, float], Figures]] = {
    "tcp in": tcp_in, "tcp out": tcp_out, "rr 1 cpu": rr_one_cpu, "rr 2 cpus": rr_two_cpus,
    "conn/s 1": connections_1, "conn/s 16": connections_16, "udp echo": udp_echo,
    "1000 together": together, "5000 open": open_at_once,
}
HEADLINES = {                   # the figure of each that tells who is faster
    "tcp in": "gbit_s", "tcp out": "gbit_s", "rr 1 cpu": "per_s", "rr 2 cpus": "per_s", "conn/s 1": "per_s",
    "conn/s 16": "per_s", "udp echo": "per_s", "1000 together": "per_s",
}
