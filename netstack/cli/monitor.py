"""`netstack monitor`: the sockets of other processes that run a stack, as a live table."""
from __future__ import annotations

import signal
import threading

import click

from .link import refuse

NOBODY = ("no process of this user shows its sockets; netstack's commands do as long as they run, "
          "a program with netstack.observe.offer.Offer(stack)")


@click.command()
@click.option("--once", is_flag=True, help="Print the table and end.")
@click.option("--every", type=click.FloatRange(min=0.05), default=1.0, show_default=True, metavar="SECONDS",
              help="Time between two looks.")
@click.argument("pids", type=click.IntRange(min=1), nargs=-1, metavar="[PID]...")
def command(pids: tuple[int, ...], once: bool, every: float) -> None:
    """Show the sockets of processes that run a stack, and their rates; ends at SIGINT or SIGTERM.

    Without PID of all processes of this user that show theirs: netstack's commands, and programs that offer it.
    """
    from rich.console import Console

    from ..apps.monitor import Monitor, Processes, table, watch

    seen = Processes(pids)
    if once:
        rows = Monitor(seen).look()
        if missing := set(pids) - seen.found:
            refuse(f"no sockets are shown by process {', '.join(map(str, sorted(missing)))}")
        if not seen.found:
            refuse(NOBODY)
        console = Console()
        console.print(table(rows, console.width))
        return
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    watch([seen], stopping, every=every)
