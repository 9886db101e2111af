"""A chat for many: who connects says a name, and then every line goes to all others.

    netstack chat --tap tap0 --ip 10.0.0.2/24       # and from elsewhere: nc 10.0.0.2 6667

One task for each member reads; one writes what is in the member's queue.  So
nobody waits for a member who does not read: its queue fills, and it has to leave.
"""
from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..serving import Server
    from ..stack import Stack

PORT = 6667
LONGEST_NAME = 20       # letters
LONGEST_LINE = 1000     # bytes
BEHIND = 100            # lines that a member may be behind the others
MEMBERS = 200


class Member:
    """One who has said a name."""

    def __init__(self, name: str, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._writer = writer
        self._lines: asyncio.Queue[str] = asyncio.Queue(BEHIND)

    def tell(self, line: str) -> None:
        """Queue a line; a member whose queue is full is thrown out."""
        try:
            self._lines.put_nowait(line)
        except asyncio.QueueFull:
            self._writer.transport.abort()

    async def write(self) -> None:
        """What is queued, as fast as the member reads it."""
        with contextlib.suppress(OSError):          # the reading task sees the end, too
            while True:
                self._writer.write((await self._lines.get() + "\r\n").encode())
                await self._writer.drain()


class Chat:
    """The room."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}        # by name, lower case

    async def serve(self, stack: Stack, host: str | None = None, port: int = PORT, **settings: Any) -> Server:
        """Let members in at an address; `settings` are those of `stack.start_server`."""
        return await stack.start_server(self.enter, host, port, limit=LONGEST_LINE,
                                        **{"max_connections": MEMBERS, "keepalive": (60, 10, 5), **settings})

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from the question for a name to the end."""
        # A line that is too long is a ValueError: as if the member had left.
        with contextlib.suppress(OSError, ValueError):
            name = await self._ask(reader, writer)
            if name:
                await self._stay(Member(name, writer), reader)
        writer.close()

    def say(self, line: str, but: Member | None = None) -> None:
        """A line for all but one."""
        for member in self.members.values():
            if member is not but:
                member.tell(line)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(b"Your name?\r\n")
        while data := await reader.readline():
            name = clean(data)
            if not name.isalnum() or len(name) > LONGEST_NAME:
                writer.write(b"1 to %d letters and digits, please.\r\n" % LONGEST_NAME)
            elif name.lower() in self.members:
                writer.write(b"Somebody has that name.  Another one?\r\n")
            else:
                return name
            await writer.drain()
        return ""

    async def _stay(self, member: Member, reader: asyncio.StreamReader) -> None:
        member.tell("Here: " + (", ".join(m.name for m in self.members.values()) or "nobody else"))
        self.members[member.name.lower()] = member
        self.say(f"* {member.name} has come", member)
        writing = asyncio.create_task(member.write())
        try:
            while data := await reader.readline():
                line = clean(data)
                if line == "/quit":
                    break
                if line == "/who":
                    member.tell("Here: " + ", ".join(m.name for m in self.members.values()))
                elif line:
                    self.say(f"{member.name}: {line}", member)
        finally:
            del self.members[member.name.lower()]
            writing.cancel()
            self.say(f"* {member.name} has left")


def clean(data: bytes) -> str:
    """A line as text for other people's terminals: nothing that controls them."""
    return "".join(c for c in data.decode(errors="replace").strip() if c.isprintable())
