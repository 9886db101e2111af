"""`netstack echo`: ask an echo server, or be one."""
from __future__ import annotations

import click

from . import forever
from .link import Link, link_options, opened, refuse

MILLISECOND = 1_000_000     # ns


@click.group()
def command() -> None:
    """Echo (RFC 862): ask a server, or be one."""


@command.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), default=7, show_default=True)
@click.option("--udp", is_flag=True, help="Datagrams instead of a connection.")
@click.option("-c", "--count", type=click.IntRange(min=1), default=4, show_default=True, help="How often.")
@click.option("-s", "--size", type=click.IntRange(1, 65507), default=64, show_default=True, help="Bytes.")
@click.option("--timeout", type=click.FloatRange(min=0.001), default=5.0, metavar="SECONDS", help="For each [5].")
@click.argument("host")
def ask(link: Link, host: str, port: int, udp: bool, count: int, size: int, timeout: float) -> None:
    """Send bytes to HOST, and see them come back."""
    from ..apps import echo

    with opened(link) as stack:
        try:
            for took in echo.ask(stack, host, port, count=count, size=size, udp=udp, timeout=timeout):
                click.echo(f"{size} bytes from {host}: {took / MILLISECOND:.3f} ms")
        except OSError as error:
            refuse(f"{host}: {error.strerror or error}")


@command.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), default=7, show_default=True)
def serve(link: Link, port: int) -> None:
    """Send back what comes, over TCP and UDP.  Prints READY; ends at SIGINT or SIGTERM."""
    from ..apps.echo import serving

    forever.serve(link, lambda stack: serving(stack, port))
