"""`netstack chat`: the chat, until a signal."""
from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

from .forever import until_a_signal
from .link import Link, link_options, opened, refuse

if TYPE_CHECKING:
    from ..stack import Stack


@click.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), default=6667, show_default=True)
def command(link: Link, port: int) -> None:
    """A chat for whoever connects, with nc or telnet.  Prints READY; ends at SIGINT or SIGTERM."""
    with opened(link, need_link=True) as stack:
        try:
            asyncio.run(_serve(stack, port))
        except OSError as error:
            refuse(f"{error.strerror or error}")


async def _serve(stack: Stack, port: int) -> None:
    from ..apps.chat import Chat

    life = AsyncExitStack()
    await life.enter_async_context(await Chat().serve(stack, port=port))
    await until_a_signal(life)
