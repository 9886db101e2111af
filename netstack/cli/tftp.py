"""`netstack tftp`: files over UDP, as a client or as the server."""
from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .link import Link, link_options, opened, refuse

if TYPE_CHECKING:
    from ..apps.tftp import Transfer

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def command() -> None:
    """Read files from a TFTP server, write them to one, or be one."""


def client_options(function: F) -> F:
    """What `get` and `put` have in common."""
    for option in (
        click.option("--port", type=click.IntRange(1, 65535), default=69, show_default=True),
        click.option("--blksize", type=click.IntRange(8, 65464), default=1428, show_default=True,
                     help="Bytes in a block, if the server can (RFC 2348)."),
        click.option("--time", "timeout", type=click.FloatRange(min=0.001), default=1.0, metavar="SECONDS",
                     help="Until a packet is sent again [1]."),
        click.option("--tries", "attempts", type=click.IntRange(min=1), default=6, metavar="COUNT",
                     help="How often a packet is sent [6]."),
    ):
        function = option(function)
    return function


@command.command()
@link_options
@client_options
@click.argument("host")
@click.argument("name")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
def get(link: Link, host: str, name: str, file: str | None, **settings: Any) -> None:
    """Read NAME from the server HOST into FILE [the same name, here]; "-" is the standard output."""
    from ..apps import tftp

    if file == "-":
        _run(link, host, lambda stack: tftp.get(stack, host, name, sys.stdout.buffer, **settings))
        return
    path = Path(file or Path(name).name)
    part = path.with_name(path.name + ".part")

    def read(stack: Any) -> Transfer:
        try:
            with part.open("wb") as into:
                transfer = tftp.get(stack, host, name, into, **settings)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return transfer

    _run(link, host, read)


@command.command()
@link_options
@client_options
@click.argument("host")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.argument("name", required=False)
def put(link: Link, host: str, file: str, name: str | None, **settings: Any) -> None:
    """Write FILE to the server HOST, as NAME [the same]."""
    from ..apps import tftp

    def write(stack: Any) -> Transfer:
        with open(file, "rb") as source:
            return tftp.put(stack, host, name or Path(file).name, source, **settings)

    _run(link, host, write)


def _run(link: Link, host: str, job: Callable[[Any], Transfer]) -> None:
    with opened(link) as stack:
        try:
            done = job(stack)
        except ValueError as error:
            refuse(str(error), 2)
        except OSError as error:
            refuse(f"{host}: {error.strerror or error}")
    click.echo(f"{done.moved} bytes in blocks of {done.block}, {done.resent} packets sent again", err=True)


@command.command()
@link_options
@click.option("--port", type=click.IntRange(1, 65535), default=69, show_default=True)
@click.option("--write", is_flag=True, help="Take new files, too.")
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
def serve(link: Link, port: int, write: bool, directory: str) -> None:
    """Serve the files of DIRECTORY, to everybody.  Prints READY when it does; ends at SIGINT or SIGTERM."""
    from ..apps.tftp_server import Server

    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with opened(link, need_link=True) as stack:
        try:
            with Server(stack, directory, port=port, writable=write, log=click.echo):
                click.echo("READY")
                stopping.wait()
        except OSError as error:
            refuse(f"{error.strerror or error}")
