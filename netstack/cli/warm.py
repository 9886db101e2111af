"""`netstack warm`: compile ahead of time."""
from __future__ import annotations

import click

from ..machine.compiled import cache_root, prune


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="List the functions.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing.")
def command(verbose: bool, quiet: bool) -> None:
    """Compile the engine for this machine, so that the first use need not wait.

    What is in the cache already is only loaded.
    """
    from ..warm import ensure_compiled, functions

    report = ensure_compiled(quiet=quiet)
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
