"""Servers on asyncio, as commands: until a signal."""
from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import click

from .link import Link, opened, refuse

if TYPE_CHECKING:
    from ..stack import Stack

ENDS = (signal.SIGINT, signal.SIGTERM)


def serve(link: Link, serving: Callable[[Stack], AbstractAsyncContextManager[Any]]) -> None:
    """Enter what `serving` makes of the command's stack, say READY, and leave it at SIGINT or SIGTERM."""
    with opened(link, need_link=True) as stack:
        try:
            asyncio.run(_until_a_signal(serving(stack)))
        except OSError as error:
            refuse(f"{error.strerror or error}")


async def _until_a_signal(serving: AbstractAsyncContextManager[Any]) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    async with serving:
        for number in ENDS:
            loop.add_signal_handler(number, stopping.set)
        click.echo("READY")
        await stopping.wait()
