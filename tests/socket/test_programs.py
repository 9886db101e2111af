"""Whole programs that know nothing of us."""
from __future__ import annotations

import asyncio
import hashlib
import http.client
import http.server
import os
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import netstack
import netstack.socket as ns

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def patched(stack):
    """The standard library's network modules work on the stack."""
    netstack.patch()
    yield stack
    netstack.unpatch()


def test_server_and_client_of_the_notes(patched, spawn, capsys):
    """The two programs of a beginner's notes on sockets, as they stand there."""
    import runpy

    server = spawn(runpy.run_path, str(PROGRAMS / "server.py"))
    assert patched.wait_for(lambda: any(c.state == "LISTEN" for c in patched.connections()), 60)
    runpy.run_path(str(PROGRAMS / "client.py"))
    server.result()
    out = capsys.readouterr().out
    assert "Server is listening on port 65430..." in out
    assert "Connected by ('127.0.0.1'," in out
    assert "Received from client: Hello, Server!" in out


def test_http(patched, tmp_path, monkeypatch):
    data = os.urandom(300_000)
    (tmp_path / "file.bin").write_bytes(data)

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, directory=str(tmp_path), **keywords)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = hashlib.sha256(body).hexdigest().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        assert isinstance(server.socket, ns.socket)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            connection = http.client.HTTPConnection(*server.server_address, timeout=20)
            for _ in range(3):
                connection.request("GET", "/file.bin")
                answer = connection.getresponse()
                assert answer.status == 200
                assert answer.read() == data
            connection.request("POST", "/", body=data)
            assert connection.getresponse().read().decode() == hashlib.sha256(data).hexdigest()
            connection.request("GET", "/missing")
            answer = connection.getresponse()
            assert answer.status == 404
            answer.read()
            connection.close()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", [socketserver.TCPServer, socketserver.ThreadingTCPServer])
def test_socketserver(patched, kind):
    class Upper(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(line.upper())

    with kind(("127.0.0.1", 0), Upper) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            with patched.create_connection(server.server_address, timeout=20) as s:
                s.sendall(b"one\ntwo\n")
                s.shutdown(ns.SHUT_WR)
                with s.makefile("rb") as answer:
                    assert answer.read() == b"ONE\nTWO\n"
        finally:
            server.shutdown()
            thread.join()


def test_asyncio(patched):
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(10_000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def one(port: int, data: bytes) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        got = await reader.read()
        writer.close()
        await writer.wait_closed()
        return got == data

    async def datagrams() -> bytes:
        loop = asyncio.get_running_loop()
        received: asyncio.Future[bytes] = loop.create_future()

        class Receiver(asyncio.DatagramProtocol):
            def datagram_received(self, data, addr):
                received.set_result(data)

        receiver, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname"))
        sender.sendto(b"datagram")
        data = await asyncio.wait_for(received, 60)
        receiver.close()
        sender.close()
        await asyncio.sleep(0)
        return data

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        assert isinstance(server.sockets[0]._sock, ns.socket)
        port = server.sockets[0].getsockname()[1]
        assert all(await asyncio.gather(*(one(port, os.urandom(50_000)) for _ in range(8))))
        server.close()
        await server.wait_closed()
        assert await datagrams() == b"datagram"

    asyncio.run(asyncio.wait_for(main(), 60))


def test_tls_is_refused_clearly(connected):
    import ssl

    client, conn = connected()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with pytest.warns(ResourceWarning), pytest.raises(OSError, match=r"ssl\.MemoryBIO or asyncio"):
        context.wrap_socket(client)
    client.sendall(b"unharmed")
    assert conn.recv(100) == b"unharmed"


def test_unmodified_script_in_its_own_process(tmp_path):
    """patch before anything else, as `netstack run` does."""
    program = ("import netstack; netstack.patch()\n"
               "import runpy, threading, sys\n"
               "t = threading.Thread(target=runpy.run_path, args=(sys.argv[1],)); t.start()\n"
               "stack = netstack.current()\n"
               "stack.wait_for(lambda: any(c.state == 'LISTEN' for c in stack.connections()), 60)\n"
               "runpy.run_path(sys.argv[2]); t.join()\n"
               "netstack.current().close()\n")
    done = subprocess.run([sys.executable, "-W", "error", "-c", program, str(PROGRAMS / "server.py"),
                           str(PROGRAMS / "client.py")], capture_output=True, text=True, timeout=250,
                          cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert "Received from client: Hello, Server!" in done.stdout
