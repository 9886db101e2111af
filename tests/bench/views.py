"""What a copy costs: views and sendfile against the calls that copy.  `python -m tests.bench.views [MEGABYTES]`

Two stacks in this process, a thread for each end, one connection over a wire in memory.  The figure is CPU time of
the whole process (both stacks, both applications) for one GB; a row's two ways take turns, and the medians are
compared, so that a machine with other programs on it gives nearly the same ratios as a quiet one.
"""
from __future__ import annotations

import ctypes
import socket
import statistics
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import netstack
from netstack.drivers import Wire
from netstack.warm import prepare

ROUNDS = 7
PUSH, PULL = 128 << 10, 256 << 10
MTUS = (1500, 65535)
BUFFER = 4 << 20
SINGLE = 60             # reads of each size and way
SIZES = (64, 4096, 16384, 65536, 262144, 1 << 20)
FIONREAD = 0x541B
GB = 1e9

Way = Callable[[Any, int], None]        # (socket, bytes)


def send(sock: Any, total: int) -> None:
    """Produce each block in an own buffer."""
    block = bytearray(PUSH)
    where = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for at in range(0, total, PUSH):
        ctypes.memset(where, at & 0xFF, PUSH)
        sock.sendall(block)


def send_view(sock: Any, total: int) -> None:
    """... or in the send ring."""
    room = sock.send_view(PUSH)
    left = total
    while left > 0:
        with room as view:
            n = min(len(view), left)
            here = ctypes.c_char.from_buffer(view)
            ctypes.memset(ctypes.addressof(here), left & 0xFF, n)
            del here
            room.commit(n)
        left -= n


def recv_into(sock: Any, total: int) -> None:
    """Into one buffer, again and again."""
    buffer = bytearray(PULL)
    while total > 0:
        total -= sock.recv_into(buffer)


def recv_view(sock: Any, total: int) -> None:
    """Only look where it is."""
    taking = sock.recv_view(PULL)
    while total > 0:
        with taking as view:
            total -= len(view)


def sum_buffer(sock: Any, total: int) -> None:
    """The application needs each byte: a CRC."""
    buffer = memoryview(bytearray(PULL))
    crc = 0
    while total > 0:
        n = sock.recv_into(buffer)
        crc = zlib.crc32(buffer[:n], crc)
        total -= n


def sum_view(sock: Any, total: int) -> None:
    """... where it is."""
    taking = sock.recv_view(PULL)
    crc = 0
    while total > 0:
        with taking as view:
            crc = zlib.crc32(view, crc)
            total -= len(view)


def file_of(name: str, whole: bool) -> Way:
    """A file that the system has in memory: with `sendfile`, or read and sent."""
    def send_file(sock: Any, total: int) -> None:
        with open(name, "rb", buffering=0) as file:
            if whole:
                sock.sendfile(file, 0, total)
                return
            while total > 0:
                block = file.read(min(PUSH, total))
                sock.sendall(block)
                total -= len(block)
    return send_file


def measure(mtu: int, total: int, writer: Way, reader: Way) -> float:
    """CPU seconds for one GB."""
    with ExitStack() as life:
        a, b = (life.enter_context(netstack.Stack()) for _ in range(2))
        left, right = Wire.pair()
        a.attach(left, ip="192.0.2.1/24", mtu=mtu)
        b.attach(right, ip="192.0.2.2/24", mtu=mtu)
        with b.create_server(("", 7)) as server:
            client = life.enter_context(a.create_connection(("192.0.2.2", 7)))
            conn = life.enter_context(server.accept()[0])
        used = 0.0
        for size in (total // 8, total):            # the first one fills windows and caches
            thread = threading.Thread(target=writer, args=(client, size))
            began = time.process_time()
            thread.start()
            reader(conn, size)
            thread.join()
            used = time.process_time() - began
        return used / total * GB


def alone(size: int) -> tuple[float, float]:
    """CPU microseconds of the reading thread for `size` bytes that wait already: recv_into, recv_view."""
    with ExitStack() as life:
        stack = life.enter_context(netstack.Stack())
        server, client = (life.enter_context(stack.socket()) for _ in range(2))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        server.bind(("127.0.0.1", 7))
        server.listen()
        client.connect(("127.0.0.1", 7))
        conn = life.enter_context(server.accept()[0])
        results: list[list[float]] = [[], []]
        buffer = bytearray(BUFFER)
        taking = conn.recv_view()

        def read_into(left: int) -> None:
            while left > 0:
                left -= conn.recv_into(buffer)

        def read_view(left: int) -> None:
            while left > 0:
                with taking as view:
                    left -= len(view)

        for _ in range(SINGLE):
            for way, result in zip((read_into, read_view), results, strict=True):
                thread = threading.Thread(target=client.sendall, args=(bytes(size),))
                thread.start()
                thread.join()
                stack.wait_for(lambda: conn.ioctl(FIONREAD) == size)
                began = time.thread_time_ns()
                way(size)
                result.append((time.thread_time_ns() - began) / 1000)
        return statistics.median(results[0]), statistics.median(results[1])


def main(megabytes: str = "256") -> None:
    """Print the table."""
    prepare()
    total = int(megabytes) << 20
    print("| bytes that wait | recv_into, us | recv_view, us |\n|---|---|---|")
    for size in SIZES:
        print("| {:,} | {:.1f} | {:.1f} |".format(size, *alone(size)), flush=True)
    print()
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(total))
        file.flush()
        rows = (
            ("recv_into, recv_view: not looked at", (send, recv_into), (send, recv_view)),
            ("recv_into, recv_view: CRC of each byte", (send, sum_buffer), (send, sum_view)),
            ("send, send_view: each byte written", (send, recv_view), (send_view, recv_view)),
            ("all copies, no copies", (send, recv_into), (send_view, recv_view)),
            ("read and sendall, sendfile", (file_of(file.name, False), recv_view),
             (file_of(file.name, True), recv_view)),
        )
        print("| what | MTU | copying, s/GB | in place, s/GB | ratio |\n|---|---|---|---|---|")
        for mtu in MTUS:
            for name, *ways in rows:
                runs: list[list[float]] = [[], []]
                for _ in range(ROUNDS):
                    for result, way in zip(runs, ways, strict=True):
                        result.append(measure(mtu, total, *way))
                before, after = map(statistics.median, runs)
                print(f"| {name} | {mtu:,} | {before:.2f} | {after:.2f} | {after / before:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
