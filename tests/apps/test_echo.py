"""Echo: over TCP and UDP, both families, the client and the server."""
from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from click.testing import CliRunner

import netstack.cli.echo
from netstack.apps.echo import Datagrams, ask, serving
from netstack.cli import main

HOSTS = ["127.0.0.1", "::1"]


@pytest.fixture
def served(stack):
    """An echo server in another thread."""
    ready, stopping = threading.Event(), []

    async def serve():
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        async with serving(stack):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield
    loop, stop = stopping[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()


@pytest.mark.parametrize("udp", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_what_goes_comes_back(stack, served, host, udp):
    for size in (1, 64, 60_000):
        times = list(ask(stack, host, count=3, size=size, udp=udp))
        assert len(times) == 3
        assert min(times) > 0


def test_much_in_a_stream_and_its_end(stack, served):
    content = bytes(range(256)) * 4000
    with stack.create_connection(("127.0.0.1", 7)) as sock:
        writing = threading.Thread(target=lambda: (sock.sendall(content), sock.shutdown(socket.SHUT_WR)))
        writing.start()
        with sock.makefile("rb") as file:
            assert file.read() == content
        writing.join()


def test_not_two_echo_servers_for_ever():
    said = []

    class Transport:
        def sendto(self, data, address):
            said.append((data, address))

    protocol = Datagrams()
    protocol.connection_made(Transport())
    protocol.datagram_received(b"once", ("192.0.2.1", 5000))
    protocol.datagram_received(b"round and round", ("192.0.2.1", 7))
    assert said == [(b"once", ("192.0.2.1", 5000))]


def test_a_server_that_is_none(stack):
    def wrong(server):
        conn, _ = server.accept()
        with conn:
            conn.sendall(bytes(len(conn.recv(100))))

    with stack.create_server(("127.0.0.1", 7)) as server:
        thread = threading.Thread(target=wrong, args=(server,))
        thread.start()
        with pytest.raises(ConnectionError, match="no echo server"):
            list(ask(stack, "127.0.0.1"))
        thread.join()
    with pytest.raises(ConnectionRefusedError):
        list(ask(stack, "127.0.0.1"))


def test_the_command(stack, served, monkeypatch):
    from contextlib import nullcontext

    monkeypatch.setattr(netstack.cli.echo, "opened", lambda link: nullcontext(stack))
    done = CliRunner().invoke(main, ["echo", "ask", "-c", "2", "--udp", "::1"])
    assert done.exit_code == 0, done.output
    first, second = done.output.splitlines()
    assert first.startswith("64 bytes from ::1: ")
    assert second.endswith(" ms")
    done = CliRunner().invoke(main, ["echo", "ask", "--port", "8", "127.0.0.1"])
    assert (done.exit_code, done.output) == (1, "netstack: 127.0.0.1: Connection refused\n")
