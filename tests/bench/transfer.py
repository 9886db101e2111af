"""One end of a transfer over a path, in a process of its own: run by its path.

    transfer.py STACK send|receive SECONDS ALGORITHM [TAP]

STACK is "linux", which needs the standard library only, or "netstack" on that TAP.
The receiver listens and prints READY.  Each prints one line of JSON at the end:
the receiver what came within the time, and its CRC; the sender what it sent again.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from typing import Any

PORT = 7000
BLOCK = 1 << 20
BUFFER = 256 << 10
PATIENCE = 30               # seconds that a connection may take
LONGER = 0.5                # seconds that the sender sends on, so that the receiver's time is over before
DRAIN = 5.0                 # seconds that the receiver waits then for the sender to go
TCP_INFO = getattr(socket, "TCP_INFO", 11)
TCP_CONGESTION = getattr(socket, "TCP_CONGESTION", 13)
INFO = 256                  # bytes of struct tcp_info that are asked for
TOTAL_RETRANS, DATA_SEGS_OUT = 100, 156         # where in it (linux/tcp.h)
HOSTS = {"left": "10.79.0.1", "right": "10.79.0.2"}         # who sends, who receives


def blocks() -> Iterator[memoryview]:
    """An endless text, no block of it like another: what is lost, doubled or out of order changes the CRC."""
    block = bytearray(hashlib.shake_256(b"path").digest(BLOCK))
    number = 0
    while True:
        block[:8] = number.to_bytes(8, "big")
        yield memoryview(block)
        number += 1


def crc_of(size: int) -> int:
    """The CRC of the text's first `size` bytes."""
    crc = 0
    for block in blocks():
        crc = zlib.crc32(block[:size], crc)
        size -= len(block)
        if size <= 0:
            return crc
    raise AssertionError


def send(net: Any, seconds: float, algorithm: str) -> dict[str, Any]:
    """Connect and send for so long, and a little longer."""
    with net.socket(socket.AF_INET, socket.SOCK_STREAM) as conn:
        try:
            conn.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, algorithm.encode())
        except OSError as error:
            return {"missing": str(error)}
        conn.settimeout(PATIENCE)
        conn.connect((HOSTS["right"], PORT))
        until = time.monotonic() + seconds + LONGER
        try:
            for block in blocks():
                conn.settimeout(max(until - time.monotonic(), 0.001))
                conn.sendall(block)
        except TimeoutError:
            pass
        again, sent = _sent(net, conn)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))   # what waits is not wanted
    return {"segments": sent, "retransmitted": again}


def _sent(net: Any, conn: Any) -> tuple[int, int]:
    """Segments with data sent again, and sent in all."""
    if net is socket:
        info = conn.getsockopt(socket.IPPROTO_TCP, TCP_INFO, INFO)
        return struct.unpack_from("I", info, TOTAL_RETRANS)[0], struct.unpack_from("I", info, DATA_SEGS_OUT)[0]
    stats = net.stats()
    return stats["tcp.retrans_segs"], stats["tcp.out_segs"]


def receive(net: Any, seconds: float) -> dict[str, Any]:
    """Listen, and receive for so long."""
    buffer = memoryview(bytearray(BUFFER))
    with net.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOSTS["right"], PORT))
        server.listen()
        server.settimeout(PATIENCE)
        print("READY", flush=True)
        conn, _ = server.accept()
    with conn:
        began = time.monotonic()
        size = crc = 0
        with contextlib.suppress(TimeoutError):
            while (left := began + seconds - time.monotonic()) > 0:
                conn.settimeout(left)
                n = conn.recv_into(buffer)
                if n == 0:
                    raise ConnectionError("the sender has closed")
                size += n
                crc = zlib.crc32(buffer[:n], crc)
        elapsed = time.monotonic() - began
        conn.settimeout(DRAIN)
        with contextlib.suppress(OSError):
            while conn.recv_into(buffer):
                pass
    return {"bytes": size, "seconds": elapsed, "mbit_s": size * 8 / elapsed / 1e6, "whole": crc == crc_of(size)}


@contextlib.contextmanager
def _net(stack: str, host: str, tap: str) -> Iterator[Any]:
    """The module or stack that has sockets."""
    if stack == "linux":
        yield socket
        return
    import netstack
    from netstack.drivers import Tap
    from netstack.warm import prepare

    prepare()
    with netstack.Stack() as made:
        made.attach(Tap(tap), ip=f"{host}/24")
        yield made


def main(stack: str, what: str, seconds: str, algorithm: str, tap: str = "") -> None:
    """See the module's text."""
    with _net(stack, HOSTS["left" if what == "send" else "right"], tap) as net:
        said = send(net, float(seconds), algorithm) if what == "send" else receive(net, float(seconds))
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
