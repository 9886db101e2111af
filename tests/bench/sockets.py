"""The same Python programs on the loopback of netstack and of Linux: `make bench ARGS='--only sockets'`.

echo        two threads of one process, blocking: request and answer of 64 bytes, one at a time
asyncio     streams, 100 connections in one event loop: each sends 64 bytes and waits for them
send        1 KiB at a time into a stream that another thread reads as fast as it can
tls         echo over TLS
asyncio tls asyncio over TLS

Netstack's program and Linux's take turns, so that both see the same machine; the
median of the pairs' ratios is what counts.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

HOST, SIZE, CONNECTIONS, KIB = "127.0.0.1", 64, 100, 1024


def _receive(sock: Any, n: int) -> bool:
    while n:
        data = sock.recv(n)
        if not data:
            return False
        n -= len(data)
    return True


def _pair() -> tuple[Any, Any]:
    import socket

    with socket.create_server((HOST, 0)) as server:
        client = socket.create_connection(server.getsockname())
        conn, _ = server.accept()
    for sock in (client, conn):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, conn


def _echo_on(client: Any, conn: Any, seconds: float) -> float:
    def serve() -> None:
        while _receive(conn, SIZE):
            conn.sendall(bytes(SIZE))

    thread = threading.Thread(target=serve)
    thread.start()
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(20):
            client.sendall(bytes(SIZE))
            _receive(client, SIZE)
        count += 20
    client.close()
    thread.join()
    conn.close()
    return count / passed


def echo(seconds: float) -> float:
    """Requests a second."""
    return _echo_on(*_pair(), seconds)


def send(seconds: float) -> float:
    """Calls of send a second."""
    client, conn = _pair()
    data, buffer = bytes(KIB), bytearray(1 << 20)

    def drain() -> None:
        while conn.recv_into(buffer):
            pass

    thread = threading.Thread(target=drain)
    thread.start()
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        for _ in range(100):
            client.send(data)
        count += 100
    client.close()
    thread.join()
    conn.close()
    return count / passed


def streams(seconds: float, **tls: Any) -> float:
    """Requests a second, of all connections."""
    server_tls, client_tls = ({"ssl": tls["server"]}, {"ssl": tls["client"], "server_hostname": "server.example"}) \
        if tls else ({}, {})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(SIZE):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def ask(port: int, ends: list[float], counts: list[int]) -> None:
        reader, writer = await asyncio.open_connection(HOST, port, **client_tls)
        while time.perf_counter() < ends[0]:
            writer.write(bytes(SIZE))
            await reader.readexactly(SIZE)
            counts[0] += 1
        writer.close()
        await writer.wait_closed()

    async def main() -> float:
        server = await asyncio.start_server(serve, HOST, 0, backlog=CONNECTIONS, **server_tls)
        async with server:
            counts, start = [0], time.perf_counter()
            ends = [start + seconds]
            port = server.sockets[0].getsockname()[1]
            await asyncio.gather(*(ask(port, ends, counts) for _ in range(CONNECTIONS)))
            passed = time.perf_counter() - start
            await asyncio.sleep(0.05)       # the server's ends
        return counts[0] / passed

    return asyncio.run(main())


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    import trustme

    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("server.example").configure_cert(server)
    ca.configure_trust(client)
    return server, client


def tls(seconds: float) -> float:
    """Requests a second."""
    server, client = _contexts()
    a, b = _pair()
    made: list[Any] = []
    thread = threading.Thread(target=lambda: made.append(server.wrap_socket(b, server_side=True)))
    thread.start()
    a = client.wrap_socket(a, server_hostname="server.example")
    thread.join()
    return _echo_on(a, made[0], seconds)


def streams_tls(seconds: float) -> float:
    """Requests a second."""
    server, client = _contexts()
    return streams(seconds, server=server, client=client)


PROGRAMS: dict[str, Callable[[float], float]] = {
    "echo": echo, "asyncio": streams, "send": send, "tls": tls, "asyncio tls": streams_tls}


def run(name: str, where: str, seconds: float) -> float:
    """One program in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.sockets", "--here", where, "--only", name,
                           "--seconds", str(seconds)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout))


def measure(names: tuple[str, ...], seconds: float, repeat: int, console: Console) -> dict[str, Any]:
    """Each program by turns on netstack and on Linux: medians a second, and the median of the ratios."""
    results: dict[str, Any] = {}
    for name in names:
        with console.status(f"sockets: {name}"):
            pairs = [(run(name, "netstack", seconds), run(name, "linux", seconds)) for _ in range(repeat)]
        ours, theirs = (statistics.median(values) for values in zip(*pairs, strict=True))
        results[name] = {"netstack": ours, "linux": theirs, "ratio": statistics.median(a / b for a, b in pairs),
                         "pairs": pairs}
    return results


def show(results: dict[str, Any]) -> None:
    """The table."""
    table = Table(title="a second, on the loopback; the ratio is the median of the pairs'")
    for heading in ("program", "netstack", "Linux", "ratio"):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    for name, figures in results.items():
        table.add_row(name, f"{figures['netstack']:,.0f}", f"{figures['linux']:,.0f}", f"{figures['ratio']:.2f}")
    Console().print(table)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sockets", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", choices=("netstack", "linux"), help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=PROGRAMS, action="append")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    names = tuple(options.only or PROGRAMS)
    if options.here:
        if options.here == "netstack":
            import netstack

            netstack.patch()
        print(json.dumps(PROGRAMS[names[0]](options.seconds)))
        return
    show(measure(names, options.seconds, options.repeat, Console(stderr=True)))


if __name__ == "__main__":
    main()
