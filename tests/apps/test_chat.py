"""The chat: names, lines to all others, members who go, flood or do not read."""
from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest

from netstack.apps import chat
from netstack.apps.chat import Chat, clean

HOST = "127.0.0.1"


class Room(AsyncExitStack):
    """A chat, and people who come by TCP."""

    def __init__(self, stack):
        super().__init__()
        self.stack, self.chat = stack, Chat()

    async def __aenter__(self):
        server = await self.enter_async_context(await self.chat.serve(self.stack, HOST, 0))
        self.address = server.sockets[0].getsockname()
        return self

    async def knock(self):
        one = Person(*await self.stack.open_connection(*self.address))
        self.callback(one.writer.close)
        assert await one.hears() == "Your name?"
        return one

    async def come(self, name):
        """Somebody new, and who was there."""
        one = await self.knock()
        one.says(name)
        here = await one.hears()
        assert here.startswith("Here: ")
        return one, here[len("Here: "):]

    async def empty(self, count=0):
        for _ in range(20_000):
            if len(self.chat.members) == count:
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"still here: {self.chat.members}")


class Person:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def says(self, line):
        self.writer.write(line.encode() + b"\n")

    async def hears(self):
        return (await self.reader.readline()).decode().removesuffix("\r\n")


def test_lines_go_to_all_others(stack, run):
    async def main():
        async with Room(stack) as room:
            ann, here = await room.come("Ann")
            assert here == "nobody else"
            bob, here = await room.come("Bob")
            assert here == "Ann"
            cid, here = await room.come("Cid")
            assert here == "Ann, Bob"
            assert [await ann.hears(), await ann.hears(), await bob.hears()] == [
                "* Bob has come", "* Cid has come", "* Cid has come"]
            ann.says("hello")
            assert await bob.hears() == await cid.hears() == "Ann: hello"
            bob.says("")
            bob.says("hello, Änn")
            assert await ann.hears() == await cid.hears() == "Bob: hello, Änn"      # and Ann not her own line
            cid.says("/who")
            assert await cid.hears() == "Here: Ann, Bob, Cid"
            cid.says("/quit")
            assert await ann.hears() == "* Cid has left"
            assert await cid.hears() == ""
            bob.writer.close()
            assert await ann.hears() == "* Bob has left"
            assert list(room.chat.members) == ["ann"]

    run(main())


def test_names(stack, run):
    async def main():
        async with Room(stack) as room:
            await room.come("Ann")
            other = await room.knock()
            for name in ("", "two words", "x" * 21, "\x1b[2J"):
                other.says(name)
                assert (await other.hears()).startswith("1 to 20 letters")
            other.says("ANN")
            assert (await other.hears()).startswith("Somebody has that name")
            other.says("Anna")
            assert await other.hears() == "Here: Ann"

    run(main())


def test_who_says_no_name_is_nobody(stack, run):
    async def main():
        async with Room(stack) as room:
            ann, _ = await room.come("Ann")
            other = await room.knock()
            other.writer.close()
            await room.come("Bob")
            assert await ann.hears() == "* Bob has come"

    run(main())


def test_a_line_too_long_ends_it(stack, run):
    async def main():
        async with Room(stack) as room:
            ann, _ = await room.come("Ann")
            bob, _ = await room.come("Bob")
            assert await ann.hears() == "* Bob has come"
            bob.says("x" * 5000)
            assert await ann.hears() == "* Bob has left"

    run(main())


def test_who_does_not_read_has_to_leave_and_holds_nobody_up(stack, run, monkeypatch):
    monkeypatch.setattr(chat, "BEHIND", 5)

    async def main():
        async with Room(stack) as room:
            ann, _ = await room.come("Ann")
            bob, _ = await room.come("Bob")
            bob.writer.transport.pause_reading()
            bob.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line = "x" * 900
            for _ in range(5000):
                ann.says(line)
                await ann.writer.drain()
                if len(room.chat.members) == 1:
                    break
            await room.empty(1)
            assert list(room.chat.members) == ["ann"]
            assert await ann.hears() == "* Bob has come"
            assert await ann.hears() == "* Bob has left"

    run(main())


@pytest.mark.parametrize(("data", "text"), [
    (b"hello\r\n", "hello"), (b" a\tb \n", "ab"), (b"\x1b[31mred", "[31mred"), (b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ("\u202eright".encode(), "right"), (b"", "")])
def test_clean(data, text):
    assert clean(data) == text
