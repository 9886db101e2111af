"""`netstack warm`: compile ahead of time."""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..machine.compiled import cache_root, prune
from ..machine.mode import IMAGE, JIT


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="List the functions.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
def command(verbose: bool, quiet: bool) -> None:
    """Compile the engine for this machine, so that the first use need not wait.

    What is in the cache already is only loaded.
    """
    from ..warm import ensure_compiled, functions, write_image

    if IMAGE:                                           # this process does not compile
        sys.exit(subprocess.run([sys.executable, "-m", "netstack", *sys.argv[1:]],
                                env={**os.environ, "NETSTACK_JIT": "1"}, check=False).returncode)
    with _alone():
        report = ensure_compiled(quiet=quiet)
        if JIT:
            write_image()
    if quiet:
        return
    if verbose:
        for name, cached in functions():
            click.echo(f"  {name}{'' if cached else '  (not compiled)'}")
    prune()
    if not report.jit:
        click.echo("NETSTACK_JIT=0: everything is interpreted, there is nothing to compile")
        return
    made = f"compiled {report.compiled} functions" if report.compiled else "everything was compiled already"
    click.echo(f"{made}; {report.seconds:.1f} s; cache: {cache_root()}")


@contextmanager
def _alone() -> Iterator[None]:
    """One such process at a time: the next finds what this one has made."""
    if not JIT:
        yield
        return
    cache_root().mkdir(parents=True, exist_ok=True)
    with open(cache_root() / "warm.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
