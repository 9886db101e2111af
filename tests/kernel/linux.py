"""The Linux side of a transfer, in a process of its own: run by its path, with the standard library only.

    linux.py send HOST PORT BYTES       connect, send, print the SHA-256 of what was sent
    linux.py receive HOST PORT          connect, receive until the end, print size and SHA-256
    linux.py listen-send HOST PORT BYTES, linux.py listen-receive HOST PORT
                                        the same for the first connection that comes; LISTENING is printed first
"""
from __future__ import annotations

import hashlib
import socket
import sys
from collections.abc import Iterator

BLOCK = 1 << 20
LIMIT = 100         # seconds for any call


def blocks(size: int) -> Iterator[memoryview]:
    """`size` bytes, no block like another: what is lost, doubled or out of order changes the hash."""
    block = bytearray(hashlib.shake_256(b"netstack").digest(BLOCK))
    for number in range(-(-size // BLOCK)):
        block[:8] = number.to_bytes(8, "big")
        yield memoryview(block)[:min(BLOCK, size - number * BLOCK)]


def send(conn: socket.socket, size: int) -> str:
    """Send that many bytes, half-close, and wait for the other end's close.  The SHA-256."""
    digest = hashlib.sha256()
    for block in blocks(size):
        conn.sendall(block)
        digest.update(block)
    conn.shutdown(socket.SHUT_WR)
    conn.recv(1)
    return digest.hexdigest()


def receive(conn: socket.socket) -> tuple[int, str]:
    """Receive until the end: how many bytes, and their SHA-256."""
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(BLOCK))
    while n := conn.recv_into(buffer):
        digest.update(buffer[:n])
        size += n
    return size, digest.hexdigest()


def _connection(mode: str, host: str, port: int) -> socket.socket:
    if not mode.startswith("listen"):
        return socket.create_connection((host, port), timeout=LIMIT)
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        print("LISTENING", flush=True)
        server.settimeout(LIMIT)
        conn, _ = server.accept()
        conn.settimeout(LIMIT)
        return conn


def main(mode: str, host: str, port: str, size: str = "0") -> None:
    """See the module's text."""
    with _connection(mode, host, int(port)) as conn:
        if mode.endswith("send"):
            print(int(size), send(conn, int(size)))
        else:
            print(*receive(conn))


if __name__ == "__main__":
    main(*sys.argv[1:])
