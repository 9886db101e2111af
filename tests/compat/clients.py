"""The client programs.  They know nothing of netstack: `netstack run -m tests.compat.clients NAME HOST AMOUNT`.

Each moves AMOUNT bytes, or makes so many calls, checks what comes, and prints {"bytes": ..., "operations": ...}.
The directory COMPAT_DIR has the CA's certificate, a key for ssh, and the file `data`, of which servers give and take.
"""
from __future__ import annotations

import asyncio
import contextlib
import ftplib
import hashlib
import http.client
import io
import json
import os
import smtplib
import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import ports

HERE = Path(os.environ.get("COMPAT_DIR", "."))
PIECE = 1 << 18
TIMEOUT = 60        # seconds

Moved = tuple[int, int]         # bytes, operations


def data() -> bytes:
    return (HERE / "data").read_bytes()


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(HERE / "ca.pem"))


def whole(pieces: Iterable[bytes]) -> int:
    """The size of what came; AssertionError if it is not the file."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    assert digest.digest() == hashlib.sha256(data()).digest()
    return size


def until(amount: int, once: Callable[[], int]) -> Moved:
    """Call until so many bytes were moved."""
    size = calls = 0
    while size < amount:
        size += once()
        calls += 1
    return size, calls


def pieces(file: Any) -> Iterable[bytes]:
    while piece := file.read(PIECE):
        yield piece


def http_client(host: str, amount: int) -> Moved:
    """http.client, one connection."""
    connection = http.client.HTTPConnection(host, ports.HTTP, timeout=TIMEOUT)

    def once() -> int:
        connection.request("GET", "/data")
        return whole(pieces(connection.getresponse()))

    with contextlib.closing(connection):
        return until(amount, once)


def urllib_https(host: str, amount: int) -> Moved:
    """urllib.request over TLS."""
    def once() -> int:
        with urllib.request.urlopen(f"https://{host}:{ports.HTTPS}/data", context=context(), timeout=TIMEOUT) as answer:
            return whole(pieces(answer))

    return until(amount, once)


def smtp(host: str, amount: int) -> Moved:
    """smtplib: messages of 1 MB after STARTTLS."""
    message = "Subject: data\r\n\r\n" + (("x" * 998 + "\r\n") * 1000)
    with smtplib.SMTP(host, ports.SMTP, timeout=TIMEOUT) as server:
        server.starttls(context=context())

        def once() -> int:
            assert server.sendmail("a@example.org", ["b@example.org"], message) == {}
            return len(message)

        return until(amount, once)


def ftp(host: str, amount: int) -> Moved:
    """ftplib: the file down and up again, in passive mode."""
    with ftplib.FTP() as server:
        return _down_and_up(server, host, amount)


def ftp_tls(host: str, amount: int) -> Moved:
    """... over TLS."""
    with ftplib.FTP_TLS(context=context()) as server:
        return _down_and_up(server, host, amount)


def _down_and_up(server: ftplib.FTP, host: str, amount: int) -> Moved:
    server.connect(host, ports.FTP, TIMEOUT)
    server.login("user", "password")
    if isinstance(server, ftplib.FTP_TLS):
        server.prot_p()

    def once() -> int:
        got: list[bytes] = []
        server.retrbinary("RETR data", got.append, PIECE)
        size = whole(got)
        server.storbinary("STOR back", io.BytesIO(b"".join(got)), PIECE)
        assert server.size("back") == size
        return 2 * size

    return until(amount, once)


def requests_https(host: str, amount: int) -> Moved:
    """requests: a session over TLS."""
    import requests

    with requests.Session() as session:
        return until(amount, lambda: whole(session.get(f"https://{host}:{ports.HTTPS}/data", stream=True,
                                                       verify=str(HERE / "ca.pem"),
                                                       timeout=TIMEOUT).iter_content(PIECE)))


def urllib3_gets(host: str, amount: int) -> Moved:
    """urllib3: small requests, four threads on a pool."""
    from concurrent.futures import ThreadPoolExecutor

    import urllib3

    with urllib3.PoolManager(maxsize=4, timeout=TIMEOUT) as pool, ThreadPoolExecutor(4) as threads:
        def get(_: int) -> int:
            answer = pool.request("GET", f"http://{host}:{ports.HTTP}/small")
            assert (answer.status, answer.data) == (200, b"small\n")
            return len(answer.data)

        return sum(threads.map(get, range(amount))), amount


def httpx_https(host: str, amount: int) -> Moved:
    """httpx: HTTP/2 over TLS, where the server has it."""
    import httpx

    with httpx.Client(verify=context(), http2=True, timeout=TIMEOUT) as client:
        def once() -> int:
            with client.stream("GET", f"https://{host}:{ports.HTTPS}/data") as answer:
                return whole(answer.iter_bytes())

        return until(amount, once)


def aiohttp_gets(host: str, amount: int) -> Moved:
    """aiohttp: small requests, 20 at a time."""
    import aiohttp

    async def worker(session: Any, todo: list[int]) -> None:
        while todo:
            todo.pop()
            async with session.get(f"http://{host}:{ports.HTTP}/small") as answer:
                assert (answer.status, await answer.read()) == (200, b"small\n")

    async def main() -> None:
        todo = list(range(amount))
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(worker(session, todo) for _ in range(20)))

    asyncio.run(main())
    return 6 * amount, amount


def websocket_sync(host: str, amount: int) -> Moved:
    """websockets, its threads: messages there and back, one after the other."""
    from websockets.sync.client import connect

    with connect(f"ws://{host}:{ports.WEBSOCKET}", open_timeout=TIMEOUT) as server:
        for i in range(amount):
            text = f"message {i}"
            server.send(text)
            assert server.recv(TIMEOUT) == text
    return 0, amount


def websocket_tls(host: str, amount: int) -> Moved:
    """websockets on asyncio and TLS: messages of 1 MB there and back."""
    from websockets.asyncio.client import connect

    async def main() -> Moved:
        message, size, calls = data()[:1_000_000], 0, 0
        async with connect(f"wss://{host}:{ports.WEBSOCKETS}", ssl=context(), max_size=1 << 21, compression=None) as it:
            while size < amount:
                await it.send(message)
                assert await it.recv() == message
                size += 2 * len(message)
                calls += 1
        return size, calls

    return asyncio.run(main())


def redis_calls(host: str, amount: int) -> Moved:
    """redis-py: SET and GET, one after the other."""
    import redis

    with redis.Redis(host, ports.REDIS, socket_timeout=TIMEOUT) as server:
        for i in range(amount // 2):
            server.set(f"key {i % 100}", i)
            assert server.get(f"key {i % 100}") == b"%d" % i
    return 0, amount


def pg8000_calls(host: str, amount: int) -> Moved:
    """pg8000: a row in, a row out."""
    import pg8000.native

    with contextlib.closing(pg8000.native.Connection("postgres", host=host, port=ports.POSTGRES,
                                                     timeout=TIMEOUT)) as server:
        server.run("CREATE TEMPORARY TABLE t (i int, text text)")
        for i in range(amount // 2):
            server.run("INSERT INTO t VALUES (:i, :text)", i=i, text="x" * 100)
            assert server.run("SELECT max(i), count(*) FROM t WHERE i = :i", i=i) == [[i, 1]]
    return 0, amount


def paramiko_sftp(host: str, amount: int) -> Moved:
    """paramiko: the file down by SFTP, and up again."""
    import paramiko

    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(host, ports.SSH, "root", key_filename=str(HERE / "ssh_key"), timeout=TIMEOUT,
                       look_for_keys=False, allow_agent=False)
        with client.open_sftp() as sftp:
            def once() -> int:
                got = io.BytesIO()
                sftp.getfo(str(HERE / "www" / "data"), got)
                size = whole([got.getvalue()])
                got.seek(0)
                assert sftp.putfo(got, str(HERE / "back")).st_size == size
                return 2 * size

            return until(amount, once)


def dns_queries(host: str, amount: int) -> Moved:
    """dnspython: questions, one after the other; each hundredth over TCP."""
    import dns.message
    import dns.query

    for i in range(amount):
        question = dns.message.make_query(f"host{i}.example", "A")
        ask = dns.query.tcp if i % 100 == 0 else dns.query.udp
        answer = ask(question, host, timeout=TIMEOUT, port=ports.DNS)
        assert answer.answer[0][0].address == "10.9.8.7"
    return 0, amount


def echo(host: str, amount: int) -> Moved:
    """The socket module: lines there and back, one after the other."""
    with socket.create_connection((host, ports.ECHO), TIMEOUT) as sock, sock.makefile("rwb") as file:
        for i in range(amount):
            line = b"line %d\n" % i
            file.write(line)
            file.flush()
            assert file.readline() == line
    return 0, amount


CLIENTS: dict[str, Callable[[str, int], Moved]] = {f.__name__: f for f in (
    http_client, urllib_https, smtp, ftp, ftp_tls, requests_https, urllib3_gets, httpx_https, aiohttp_gets,
    websocket_sync, websocket_tls, redis_calls, pg8000_calls, paramiko_sftp, dns_queries, echo)}


if __name__ == "__main__":
    moved = CLIENTS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    print(json.dumps({"bytes": moved[0], "operations": moved[1]}))
