"""`netstack balance`: the load balancer, until a signal."""
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from . import forever
from .link import Link, link_options

if TYPE_CHECKING:
    from ..stack import Stack

    Text = click.ParamType[tuple[str, int]]
else:
    Text = click.ParamType


class Server(Text):
    """HOST:PORT, or [HOST]:PORT."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        host, colon, port = str(value).rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not bare or (":" in bare and bare == host) or not port.isascii() or not port.isdigit() \
                or not 0 < int(port) < 1 << 16:
            self.fail(f"{value!r} is not HOST:PORT, such as 10.0.0.11:80 or [fd00::11]:80", param, ctx)
        return bare, int(port)


@click.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Where clients connect.")
@click.option("--every", type=click.FloatRange(min=0.001), default=2.0, metavar="SECONDS",
              help="Between two checks of a server [2].")
@click.option("--timeout", type=click.FloatRange(min=0.001), default=1.0, metavar="SECONDS",
              help="Of a check, and of a connection to a server [1].")
@click.argument("servers", nargs=-1, required=True, type=Server())
def command(link: Link, port: int, servers: tuple[tuple[str, int], ...], **settings: float) -> None:
    """Give each connection to the one of SERVERS that has the fewest and is well.

    Prints READY; ends at SIGINT or SIGTERM, and says what each server has served.
    """
    forever.serve(link, lambda stack: _serving(stack, port, servers, settings))


@asynccontextmanager
async def _serving(stack: Stack, port: int, servers: tuple[tuple[str, int], ...],
                   settings: dict[str, float]) -> AsyncIterator[None]:
    from ..apps.balancer import Balancer

    async with Balancer(stack, servers, **settings) as balancer:    # type: ignore[arg-type]
        await balancer.serve(None, port)
        yield
    for backend in balancer.backends:
        click.echo(f"{backend}: {backend.served} connections{'' if backend.is_well else ', not well'}")
