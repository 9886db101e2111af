"""`netstack demo`: the stack and the Linux kernel talk, on this terminal."""
from __future__ import annotations

import os
import subprocess
import sys

import click

from .prerequisites import missing

LIMIT = 240.0           # seconds for everything


@click.command()
@click.option("--in-memory", is_flag=True, help="Two stacks on a link in memory, even where a TAP is possible.")
@click.option("--inside", is_flag=True, hidden=True)
def command(in_memory: bool, inside: bool) -> None:
    """Show the stack at work with Linux's own ping and curl.

    Makes a network namespace with a TAP device in it, needs no root and no
    preparation, and leaves nothing behind.  Where that is impossible it says
    why, and shows the same steps with two stacks on a link in memory.
    """
    from .show import Show

    show = Show()
    if inside:
        from . import linux

        linux.demo(show)
        return
    from ...warm import prepare

    prepare()
    reasons = [] if in_memory else missing()
    if in_memory or reasons:
        for reason in reasons:
            show.note(f"not possible here: {reason}")
        from . import memory

        memory.demo(show)
        return
    sys.exit(_inside())


def _inside() -> int:
    """Run ourselves in a new namespace."""
    from ...lab.namespace import command as in_namespace

    child = subprocess.Popen(in_namespace([sys.executable, "-m", "netstack", "demo", "--inside"]),
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    try:
        return child.wait(LIMIT)
    except subprocess.TimeoutExpired:
        child.terminate()
        click.echo(f"netstack: the demonstration took more than {LIMIT:.0f} s and was ended", err=True)
        child.wait(10)
        return 1
    except KeyboardInterrupt:           # the child got it too
        return child.wait(10)
