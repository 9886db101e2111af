"""`netstack chat`: the chat, until a signal."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from . import forever
from .link import Link, link_options

if TYPE_CHECKING:
    from ..stack import Stack


@click.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), default=6667, show_default=True)
def command(link: Link, port: int) -> None:
    """A chat for whoever connects, with nc or telnet.  Prints READY; ends at SIGINT or SIGTERM."""
    forever.serve(link, lambda stack: _serving(stack, port))


@asynccontextmanager
async def _serving(stack: Stack, port: int) -> AsyncIterator[None]:
    from ..apps.chat import Chat

    async with await Chat().serve(stack, port=port):
        yield
