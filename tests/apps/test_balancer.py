"""The load balancer: who gets a connection, what becomes of backends that are not well."""
from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from netstack.apps.balancer import Backend, Balancer
from netstack.serving import RESET

HOST = "127.0.0.1"
NEVER = 1000.0          # seconds between checks


async def come(is_so):
    """Wait on the loop until it is so."""
    for _ in range(20_000):
        if is_so():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come")


async def backend(stack, name):
    """A server that says its name, then echoes; its address and itself."""
    async def serve(reader, writer):
        writer.write(name)
        while data := await reader.read(1000):
            writer.write(data)
        writer.write(b".")
        writer.close()

    server = await stack.start_server(serve, HOST, 0)
    return server.sockets[0].getsockname(), server


class Life(AsyncExitStack):
    """Backends named 0, 1, ..., and a balancer before them."""

    async def start(self, stack, count, gone=(), **settings):
        made = [await backend(stack, b"%d" % i) for i in range(count)]
        self.servers = [await self.enter_async_context(server) for _, server in made]
        for number in gone:
            self.servers[number].close()            # before anybody has connected
        self.balancer = await self.enter_async_context(Balancer(stack, [a for a, _ in made], **settings))
        self.address = (await self.balancer.serve(HOST, 0)).sockets[0].getsockname()
        self.stack = stack

    async def client(self):
        reader, writer = await self.stack.open_connection(*self.address)
        self.callback(writer.close)
        return int(await reader.readexactly(1)), reader, writer


def test_each_gets_as_many(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 3, every=NEVER)
            assert sorted([(await life.client())[0] for _ in range(9)]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
            assert [b.connections for b in life.balancer.backends] == [3, 3, 3]

    run(main())


def test_the_one_with_the_fewest_is_next(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 2, every=NEVER)
            clients = [await life.client() for _ in range(4)]
            for number, _, writer in clients:
                if number == 1:
                    writer.close()
            await come(lambda: life.balancer.backends[1].connections == 0)
            assert [(await life.client())[0] for _ in range(2)] == [1, 1]
            assert [b.served for b in life.balancer.backends] == [2, 4]

    run(main())


def test_bytes_both_ways_and_a_half_close(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 1, every=NEVER)
            _, reader, writer = await life.client()
            content = bytes(range(256)) * 2000
            writer.write(content)
            writer.write_eof()
            assert await reader.read(-1) == content + b"."
            await come(lambda: life.balancer.backends[0].connections == 0)

    run(main())


def test_a_client_of_a_backend_that_is_gone_gets_another(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 2, gone=[0], every=NEVER, fall=2)
            assert [(await life.client())[0] for _ in range(6)] == [1] * 6
            assert [b.is_well for b in life.balancer.backends] == [False, True]
            assert life.balancer.refused == 0

    run(main())


def test_a_backend_s_reset_is_the_client_s(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 1, every=NEVER)
            _, reader, _ = await life.client()
            transport, = life.servers[0]._transports
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()

    run(main())


def test_nobody_well(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 1, gone=[0], every=NEVER, fall=1)
            with pytest.raises(ConnectionResetError):
                await life.client()
            assert life.balancer.refused == 1

    run(main())


def test_checks_notice_and_forgive(stack, run):
    async def main():
        async with Life() as life:
            well = True

            async def check(reader, writer):
                assert await reader.readexactly(1) == b"0"
                if not well:
                    raise ConnectionError("it says so itself")

            await life.start(stack, 1, every=0.005, check=check, timeout=20)
            only = life.balancer.backends[0]
            assert only.is_well
            well = False
            await come(lambda: not only.is_well)
            assert life.balancer.choose() is None
            well = True
            await come(lambda: only.is_well)
            assert (await life.client())[0] == 0

    run(main())


def test_a_check_that_takes_too_long_has_failed(stack, run):
    async def main():
        async with Life() as life:
            await life.start(stack, 1, every=0.005, timeout=0.01, check=lambda reader, writer: asyncio.sleep(NEVER))
            await come(lambda: not life.balancer.backends[0].is_well)

    run(main())


def test_so_often_in_a_row(stack):
    balancer = Balancer(stack, [(HOST, 1)], fall=3, rise=2)
    only = balancer.backends[0]
    states = []
    for good in (False, False, True, False, False, False, True, False, True, True):
        balancer.report(only, good)
        states.append(only.is_well)
    assert states == [True] * 5 + [False] * 4 + [True]


def test_names():
    assert [str(Backend("10.0.0.1", 80)), str(Backend("::1", 80))] == ["10.0.0.1:80", "[::1]:80"]
