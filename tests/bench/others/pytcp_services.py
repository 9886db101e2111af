"""The bench's services on PyTCP's sockets.  Run in an environment that has PyTCP, and nothing of ours:

    pytcp_services.py TAP ADDRESS GATEWAY

PyTCP 2.7 has blocking sockets without readiness, so each connection has a thread.
"""
from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pytcp import TcpIpStack, config
from pytcp.lib import socket

ECHO, DISCARD, CHARGEN = 7, 9, 19
RING = bytes(range(0x20, 0x7F)) * 2
PATTERN = b"".join(RING[i:i + 72] + b"\r\n" for i in range(95)) * 4
MOST = 1 << 18          # bytes that may wait to be sent: its send takes anything, so we stop it ourselves
SIZE = 1 << 16


def _send(conn: Any, data: bytes) -> None:
    while len(conn.tcp_session._tx_buffer) > MOST:
        if "CLOSED" in str(conn.state):
            raise ConnectionError
        time.sleep(0.001)
    conn.send(data)


def _echo(conn: Any) -> None:
    while data := conn.recv(SIZE):
        _send(conn, bytes(data))


def _discard(conn: Any) -> None:
    while conn.recv(SIZE):
        pass


def _chargen(conn: Any) -> None:
    while True:
        _send(conn, PATTERN)


def _serve(conn: Any, service: Callable[[Any], None]) -> None:
    with contextlib.suppress(OSError):
        service(conn)
    with contextlib.suppress(Exception):
        conn.close()


def _accept(port: int, service: Callable[[Any], None]) -> None:
    listener = socket.socket(socket.AF_INET4, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", port))
    listener.listen()
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=_serve, args=(conn, service), daemon=True).start()


def _datagrams(port: int, answer: Callable[[bytes], bytes] | None) -> None:
    sock = socket.socket(socket.AF_INET4, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", port))
    while True:
        data, peer = sock.recvfrom()
        if answer is not None:
            with contextlib.suppress(OSError):
                sock.sendto(answer(bytes(data)), peer)


def main(tap: str, address: str, gateway: str) -> None:
    """Serve until a signal."""
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    config.LOG_CHANEL = set()
    config.IP6_SUPPORT = False
    stack = TcpIpStack(interface=tap, ip4_address=f"{address}/24", ip4_gateway=gateway)
    stack.start()
    jobs: list[tuple[Callable[..., None], int, Any]] = [
        (_accept, ECHO, _echo), (_accept, DISCARD, _discard), (_accept, CHARGEN, _chargen),
        (_datagrams, ECHO, lambda data: data), (_datagrams, DISCARD, None),
        (_datagrams, CHARGEN, lambda data: PATTERN[:time.monotonic_ns() % 513])]
    for target, port, what in jobs:
        threading.Thread(target=target, args=(port, what), daemon=True).start()
    time.sleep(1)                       # it says nowhere when its addresses are its own (RFC 5227 probes)
    print("READY", flush=True)
    signal.sigwait(signals)
    import os

    os._exit(0)                         # its threads do not end


if __name__ == "__main__":
    main(*sys.argv[1:])
