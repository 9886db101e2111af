"""stack.start_server and open_connection, the pool, options by name, kinds of errors."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import select
import socket as real
import ssl
import threading

import pytest

import netstack
import netstack.socket as ns
from netstack import ConnectionPool, ErrorKind, kind_of, pool
from netstack.aliases import NAMES

from ..waiting import until

HOST = "127.0.0.1"
LIMIT = 100         # seconds


async def echo(reader, writer):
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


async def come(is_so):
    """Wait on the loop until it is so."""
    for _ in range(20_000):
        if is_so():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come")


def run(main):
    return asyncio.run(asyncio.wait_for(main, LIMIT))


def test_streams_without_patch(stack):
    assert asyncio.base_events.socket is real

    async def main():
        async with await stack.start_server(echo, HOST, 0, keepalive=(60, 10, 5)) as server:
            assert server.is_serving()
            reader, writer = await stack.open_connection(*server.sockets[0].getsockname(), timeout=LIMIT,
                                                         keepalive=True)
            assert writer.get_extra_info("socket").getsockopt(ns.SOL_SOCKET, ns.SO_KEEPALIVE)
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"abc"
            assert server.connections == 1
            writer.close()
            await writer.wait_closed()
            await server.wait_closed()
            assert server.connections == 0
        assert not server.is_serving()
        assert server.sockets == ()

    run(main())


def test_both_families(stack):
    async def main():
        async with await stack.start_server(echo, None, 0) as server:
            port = server.sockets[0].getsockname()[1]
            for host in (HOST, "::1", "localhost"):
                reader, writer = await stack.open_connection(host, port)
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                writer.close()
        with pytest.raises(ConnectionRefusedError):
            await stack.open_connection("localhost", port)

    run(main())


def test_no_more_than_so_many(stack):
    """The others wait with the listener, and come in when there is room."""
    async def main():
        async with await stack.start_server(echo, HOST, 0, max_connections=2) as server:
            address = server.sockets[0].getsockname()
            made = [await stack.open_connection(*address) for _ in range(3)]
            for _, writer in made:
                writer.write(b"x")
            for reader, _ in made[:2]:
                assert await reader.readexactly(1) == b"x"
            assert server.connections == 2
            third = asyncio.create_task(made[2][0].readexactly(1))
            made[0][1].close()
            assert await third == b"x"
            assert server.connections == 2
            for _, writer in made:
                writer.close()

    run(main())


def test_too_many_are_reset(stack):
    async def main():
        async with await stack.start_server(echo, HOST, 0, max_connections=1, when_full="reset") as server:
            address = server.sockets[0].getsockname()
            reader, writer = await stack.open_connection(*address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            with pytest.raises(ConnectionResetError):
                refused, other = await stack.open_connection(*address)
                try:
                    await refused.readexactly(1)
                finally:
                    other.close()
            assert (server.refused, server.connections) == (1, 1)
            writer.close()

    run(main())


def test_the_idle_are_ended(stack):
    async def main():
        async with await stack.start_server(echo, HOST, 0, idle_timeout=1) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await stack.open_connection(*address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            assert await reader.read() == b""           # nobody has said anything
            assert server.idled == 1
            await come(lambda: server.connections == 0)
            writer.close()

    run(main())


@contextlib.contextmanager
def as_one_is_accepted(monkeypatch, act):
    """Right after a server's loop has accepted a connection, before anything else, the loop calls `act`."""
    accept = ns.socket.accept

    def accepted(listener):
        made = accept(listener)
        monkeypatch.setattr(ns.socket, "accept", accept)
        asyncio.get_running_loop().call_soon(act)
        return made

    monkeypatch.setattr(ns.socket, "accept", accepted)
    yield
    gc.collect()            # what is left now warns: an error here


def test_accepted_as_the_server_closes(stack, monkeypatch):
    """It is one that was open, and goes on."""
    async def main():
        server = await stack.start_server(echo, HOST, 0)
        with as_one_is_accepted(monkeypatch, server.close):
            reader, writer = await stack.open_connection(*server.sockets[0].getsockname())
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"abc"
            writer.close()
            await server.wait_closed()

    run(main())


@pytest.mark.parametrize("clients_too", [False, True])
def test_accepted_as_everything_ends(stack, monkeypatch, clients_too):
    """`async with` ends, or the program does, which cancels every task, even one that has not begun."""
    async def main():
        server = await stack.start_server(echo, HOST, 0)
        others = asyncio.all_tasks()

        def everything():
            server.close()
            if clients_too:
                server.close_clients()
            for task in asyncio.all_tasks() - others:
                task.cancel()

        with as_one_is_accepted(monkeypatch, everything):
            reader, writer = await stack.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()
            await server.wait_closed()

    run(main())


def test_the_stack_closes_under_a_server(stack):
    """Who serves for ever is told, once."""
    async def main():
        server = await stack.start_server(echo, HOST, 0)
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        stack.close()
        with pytest.raises(OSError, match="closed") as caught:
            await serving
        assert caught.value.errno == errno.ESHUTDOWN
        assert not server.is_serving()
        await server.wait_closed()

    run(main())


def test_events(stack):
    """A protocol: its methods are called for what happens."""
    heard = []

    class Events(asyncio.Protocol):
        def connection_made(self, transport):
            heard.append("connection")
            self.transport = transport

        def data_received(self, data):
            heard.append(data)
            self.transport.write(data.upper())

        def eof_received(self):
            heard.append("end")

        def connection_lost(self, exc):
            heard.append("close")

    async def main():
        async with await stack.start_server(None, HOST, 0, protocol=Events) as server:
            reader, writer = await stack.open_connection(*server.sockets[0].getsockname())
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"ABC"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await server.wait_closed()
        with pytest.raises(TypeError):
            await stack.start_server(None, HOST, 0)
        with pytest.raises(ValueError, match="when_full"):
            await stack.start_server(echo, HOST, 0, when_full="never")

    run(main())
    assert heard == ["connection", b"abc", "end", "close"]


def test_tls(stack):
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("server.example").configure_cert(context)
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)

    async def main():
        async with await stack.start_server(echo, HOST, 0, ssl=context) as server:
            address = server.sockets[0].getsockname()
            reader, writer = await stack.open_connection(*address, ssl=trusting, server_hostname="server.example")
            writer.write(b"abc")
            assert await reader.readexactly(3) == b"abc"
            writer.close()
            with pytest.raises(ssl.SSLCertVerificationError):
                await stack.open_connection(*address, ssl=trusting, server_hostname="other.example")
            await server.wait_closed()
            assert server.connections == 0

    run(main())


def test_a_connection_is_used_again(stack, spawn):
    with stack.create_server((HOST, 0)) as server, ConnectionPool(stack, size=2) as them:
        address = server.getsockname()
        with them.connection(address) as first:
            assert (them.used, them.free) == (1, 0)
        peer, _ = server.accept()
        with peer:
            with them.connection(address) as again:
                assert again is first
            with pytest.raises(RuntimeError), them.connection(address) as again:
                raise RuntimeError
            assert peer.recv(1) == b""          # one that was in use when something went wrong
            with them.connection(address) as other:
                assert other is not first
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"nobody asked")
            until(lambda: select.select([other], [], [], 0)[0])
            assert not pool.is_alive(other)
            with them.connection(address) as third:
                assert third is not other
                with them.connection(address), pytest.raises(TimeoutError, match="all 2"):
                    them.get(address, 0.01)
                waits = spawn(them.get, address, LIMIT)
                kept = waits.result()
                them.put(address, kept)
    with pytest.raises(ValueError, match="closed"):
        them.get(address)


def test_what_a_pool_gives_is_alive(connected):
    client, conn = connected()
    assert pool.is_alive(client)
    conn.close()
    until(lambda: not pool.is_alive(client))
    client.close()
    assert not pool.is_alive(client)


def test_a_pool_forgets_what_is_old(stack):
    with stack.create_server((HOST, 0)) as server, ConnectionPool(stack, idle=0.0) as them:
        with them.connection(server.getsockname()) as first:
            pass
        with them.connection(server.getsockname()) as second:
            assert second is not first


def test_a_slow_connect_holds_nobody_up(stack):
    begun, go = threading.Event(), threading.Event()
    with stack.create_server((HOST, 0)) as server:
        def connect(address):
            if address == "slow":
                begun.set()
                go.wait(LIMIT)
            return stack.create_connection(server.getsockname())

        with ConnectionPool(stack, connect=connect) as them:
            thread = threading.Thread(target=lambda: them.put("slow", them.get("slow")))
            thread.start()
            assert begun.wait(LIMIT)
            with them.connection("quick"):
                pass
            go.set()
            thread.join()


def test_options_by_name(stack):
    with stack.socket() as s:
        o = s.options
        assert o.nodelay is False
        o.nodelay = True
        assert s.getsockopt(ns.IPPROTO_TCP, ns.TCP_NODELAY) == 1
        assert o.nodelay is True
        o.linger = 5
        assert o.linger == 5
        o.linger = None
        assert o.linger is None
        o.receive_timeout = 1.5
        assert o.receive_timeout == 1.5
        o.receive_timeout = None
        assert o.receive_timeout is None
        o.receive_buffer = 100_000
        assert o.receive_buffer == s.getsockopt(ns.SOL_SOCKET, ns.SO_RCVBUF) == 200_000
        o.congestion_control = "reno"
        assert o.congestion_control == "reno"
        o.ttl = 9
        assert o.ttl == 9
        with pytest.raises(AttributeError, match="keepalive_idle"):
            o.no_such_thing = 1
        with pytest.raises(AttributeError):
            o.no_such_thing
        with pytest.raises(OSError, match="not available"):
            o.error = 1
        assert {"nodelay", "keepalive", "linger"} <= set(o) <= set(NAMES) == set(dir(o))
        assert "nodelay=True" in repr(o)


def test_kinds_of_errors(stack):
    def kind(call, *arguments):
        with pytest.raises(OSError) as caught:
            call(*arguments)
        return kind_of(caught.value)

    with ns.socket() as s, stack.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
        assert kind(s.bind, (HOST, port)) is ErrorKind.IN_USE
        assert kind(s.bind, ("192.0.2.9", 0)) is ErrorKind.NOT_AVAILABLE
        assert kind(s.recv, 1) is ErrorKind.NOT_CONNECTED
        assert kind(s.connect, ("192.0.2.9", 1)) is ErrorKind.UNREACHABLE
        server.settimeout(0.01)
        assert kind(server.accept) is ErrorKind.TIMED_OUT
        server.setblocking(False)
        assert kind(server.accept) is ErrorKind.WOULD_BLOCK
    assert kind(s.recv, 1) is ErrorKind.CLOSED
    assert kind(ns.create_connection, (HOST, port)) is ErrorKind.REFUSED
    assert kind_of(ns.gaierror(-2, "unknown")) is ErrorKind.NAME
    assert kind_of(ssl.SSLCertVerificationError(1, "bad")) is ErrorKind.CERTIFICATE
    assert kind_of(ssl.SSLEOFError(8, "end")) is ErrorKind.TLS
    assert kind_of(ssl.SSLWantReadError(2, "later")) is ErrorKind.WOULD_BLOCK
    assert kind_of(OSError(errno.ECONNRESET, "")) is ErrorKind.RESET
    assert kind_of(asyncio.TimeoutError()) is ErrorKind.TIMED_OUT
    assert kind_of(ValueError()) is ErrorKind.OTHER
    assert netstack.kind_of is kind_of
