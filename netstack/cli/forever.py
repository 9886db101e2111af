"""Servers on asyncio, as commands: until a signal."""
from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack

import click

ENDS = (signal.SIGINT, signal.SIGTERM)


async def until_a_signal(life: AsyncExitStack) -> None:
    """Say READY, wait for SIGINT or SIGTERM, and leave what is in `life`."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in ENDS:
        loop.add_signal_handler(number, stopping.set)
    async with life:
        click.echo("READY")
        await stopping.wait()
