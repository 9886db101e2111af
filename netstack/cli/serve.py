"""`netstack serve`: the small servers on a TAP, until a signal."""
from __future__ import annotations

import contextlib
import resource
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from .link import Link, link_options, opened, opened_shards, refuse

HTTP = 80


@click.command()
@link_options
@click.option("--http", type=click.Path(exists=True, file_okay=False), metavar="DIR",
              help="Also serve the files of DIR on port 80.")
@click.option("--handlers", is_flag=True, help="Echo, discard and chargen as handlers inside the engine; no daytime.")
@click.option("--queues", type=click.IntRange(1, 16), default=1, show_default=True, metavar="N",
              help="So many engines, each with a queue of a multi-queue TAP (without --http and --pcap).")
@click.option("--monitor", is_flag=True, help="Show the sockets and their rates, once a second.")
def command(link: Link, http: str | None, handlers: bool, queues: int, monitor: bool) -> None:
    """Serve echo (7), discard (9), daytime (13) and chargen (19) over TCP and UDP.

    Prints READY when it does, and ends at SIGINT or SIGTERM.
    """
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    allow_descriptors()
    with worlds(link, http, queues) as stacks:
        try:
            with contextlib.ExitStack() as life:
                for stack in stacks:
                    life.enter_context(small_servers(stack, handlers))
                life.enter_context(web(stacks[0], http))
                click.echo("READY")
                if monitor:
                    from ..apps.monitor import watch

                    watch(stacks, stopping)
                stopping.wait()
        except OSError as error:
            refuse(f"{error.strerror or error}")


@contextlib.contextmanager
def worlds(link: Link, http: str | None, queues: int) -> Iterator[Sequence[Any]]:
    """The stack, or the worlds that share its interface."""
    if queues == 1:
        with opened(link, need_link=True) as stack:
            yield [stack]
        return
    if http is not None or link.pcap is not None:
        raise click.UsageError("--http and --pcap are for one queue only.")
    with opened_shards(link, queues) as shards:
        yield shards.stacks


def small_servers(stack: Any, handlers: bool) -> contextlib.AbstractContextManager[Any]:
    """The servers: in the engine, or in Python over sockets."""
    if handlers:
        from ..services.handlers import Servers

        return Servers(stack)
    from ..services.small import SmallServers

    return SmallServers(stack)


def allow_descriptors() -> None:
    """Raise the soft limit on open files to the hard one: thousands of connections in one selector."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def web(stack: Any, directory: str | None, port: int = HTTP,
        log: Callable[[str], None] | None = None) -> Iterator[None]:
    """The files of a directory over HTTP (apps/web.py); nothing for None."""
    if directory is None:
        yield
        return
    from ..apps.web import Web

    with Web(stack, directory, port=port, log=log):
        yield
