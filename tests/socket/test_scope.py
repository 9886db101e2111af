"""Two stacks in one program: by thread, by asyncio task; patch and unpatch touch what they should."""
from __future__ import annotations

import asyncio
import io
import os
import select
import socket as real
import ssl
import sys
import threading

import pytest

import netstack
import netstack.socket as ns
from netstack.description import OURS


@pytest.fixture
def other():
    """A second stack."""
    with netstack.Stack(name="other") as made:
        yield made


@pytest.fixture
def patched(stack):
    netstack.patch()
    yield stack
    netstack.unpatch()


def test_use_in_a_thread_is_for_that_thread(stack, other, spawn):
    def choose():
        netstack.use(other)
        with ns.socket() as s:
            return s._stack

    assert spawn(choose).result() is other
    assert netstack.current() is stack
    assert spawn(netstack.current).result() is stack


def test_use_in_a_task_is_for_that_task(patched, other):
    """One port on two stacks at the same time; each client comes to its own server."""
    async def life(stack):
        netstack.use(stack)

        async def serve(reader, writer):
            writer.write(stack.name.encode())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 7)
        async with server:
            await asyncio.sleep(0)
            reader, writer = await asyncio.open_connection("localhost", 7)      # asks in another thread
            name = await reader.read()
            writer.close()
            await writer.wait_closed()
            return name.decode()

    async def main():
        found = await asyncio.wait_for(asyncio.gather(life(patched), life(other)), 30)
        return found, netstack.current()

    assert asyncio.run(main()) == (["test", "other"], patched)


def test_names_are_asked_of_the_task_s_stack(patched, other, monkeypatch):
    asked = []

    def ask(*arguments, **keywords):
        asked.append((netstack.current(), threading.current_thread() is threading.main_thread()))
        return []

    async def main():
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(ns, "getaddrinfo", ask)
        await loop.getaddrinfo("host.example", 80)
        with netstack.using(other):
            await loop.getaddrinfo("host.example", 80)

    asyncio.run(main())
    assert asked == [(patched, False), (other, False)]


def test_patch_switches_names_however_they_were_imported(stack):
    import http.client

    before = ssl.create_connection
    assert before is real.create_connection
    netstack.patch()
    try:
        assert (ssl.create_connection, http.client.socket) == (ns.create_connection, ns)
        assert sys.modules["multiprocessing.connection"].socket is real \
            if "multiprocessing.connection" in sys.modules else True
        for name in ("imaplib", "poplib"):
            sys.modules.pop(name, None)
        import imaplib  # while it is patched
        import poplib

        assert imaplib.socket is poplib.socket is ns
    finally:
        netstack.unpatch()
    assert ssl.create_connection is before
    assert imaplib.socket is poplib.socket is http.client.socket is real
    assert netstack.socket is ns


def test_unpatch_leaves_nothing(stack):
    def state():
        return {(name, key): value for name, module in list(sys.modules.items())
                if name.partition(".")[0] in sys.stdlib_module_names
                for key, value in list(vars(module).items()) if not key.startswith("__warning")}

    netstack.patch()
    netstack.unpatch()          # imports what it needs
    before = state()
    loop = dict(vars(asyncio.base_events.BaseEventLoop))
    netstack.patch()
    assert os.sendfile is not before["os", "sendfile"]
    netstack.unpatch()
    after = state()
    assert [key for key in before if after.get(key, before[key]) is not before[key]] == []
    assert dict(vars(asyncio.base_events.BaseEventLoop)) == loop


def test_os_sendfile(patched, connected, tmp_path):
    client, conn = connected()
    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 4)
    with file.open("rb") as f:
        assert os.sendfile(client.fileno(), f.fileno(), 100, 50) == 50
        assert f.tell() == 0
        assert os.sendfile(client.fileno(), f.fileno(), None, 20) == 20
        assert os.lseek(f.fileno(), 0, os.SEEK_CUR) == 20
        assert os.sendfile(client.fileno(), f.fileno(), 1024, 50) == 0
        assert conn.recv(70, ns.MSG_WAITALL) == bytes(range(100, 150)) + bytes(range(20))
        with pytest.raises(BlockingIOError):
            while True:
                os.sendfile(client.fileno(), f.fileno(), 0, 1024)
    a, b = real.socketpair()
    with a, b, file.open("rb") as f:                                    # the system's
        assert os.sendfile(a.fileno(), f.fileno(), 0, 10) == 10
        assert b.recv(100) == bytes(range(10))


def test_the_loop_s_sock_calls(patched, tmp_path):
    """sock_accept, sock_connect, sock_recv, sock_recv_into, sock_sendall, sock_sendfile, sock_recvfrom, sock_sendto."""
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)

    async def serve(loop, server, f):
        conn, peer = await loop.sock_accept(server)
        with conn:
            assert await loop.sock_recv(conn, 100) == b"file?"
            return await loop.sock_sendfile(conn, f, 1000), peer

    async def main():
        loop = asyncio.get_running_loop()
        with ns.create_server(("127.0.0.1", 0)) as server, ns.socket() as client, (tmp_path / "file").open("rb") as f:
            server.setblocking(False)
            client.setblocking(False)
            serving = asyncio.create_task(serve(loop, server, f))
            await loop.sock_connect(client, server.getsockname())
            await loop.sock_sendall(client, b"file?")
            got, buffer = io.BytesIO(), bytearray(50_000)
            while n := await loop.sock_recv_into(client, buffer):
                got.write(buffer[:n])
            assert got.getvalue() == content[1000:]
            assert await serving == (len(content) - 1000, client.getsockname())
        if sys.version_info >= (3, 11):
            with ns.socket(type=ns.SOCK_DGRAM) as s:
                s.bind(("127.0.0.1", 0))
                s.setblocking(False)
                assert await loop.sock_sendto(s, b"datagram", s.getsockname()) == 8
                assert await loop.sock_recvfrom(s, 100) == (b"datagram", s.getsockname())

    asyncio.run(asyncio.wait_for(main(), 60))


def test_transport_sendfile(patched, tmp_path):
    content = os.urandom(200_000)
    (tmp_path / "file").write_bytes(content)

    async def main():
        async def serve(reader, writer):
            with (tmp_path / "file").open("rb") as f:
                await asyncio.get_running_loop().sendfile(writer.transport, f)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == content
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_sockets_that_only_block_cost_no_descriptor(connected):
    before = len(OURS)
    client, conn = connected()
    client.sendall(b"x")
    assert conn.recv(1) == b"x"
    client.settimeout(60)
    conn.sendall(b"y")
    assert client.recv(1) == b"y"
    assert len(OURS) == before
    assert select.select([client], [client], [], 0)[1] == [client]
    assert len(OURS) == before + 1


def test_a_stack_that_only_asyncio_uses_keeps_time(python):
    """Nobody blocks in a call and drives the engine: the background thread must be there."""
    assert python("""
import netstack, netstack.socket as ns
with netstack.Stack() as stack, netstack.using(stack):
    with ns.socket():
        print(stack._thread.is_alive())
""").stdout == "True\n"
