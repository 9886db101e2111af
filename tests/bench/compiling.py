"""What the cold compile is made of: `NETSTACK_JIT=1 python -m tests.bench.compiling`.

One process compiles every piece into an empty cache of its own, in the order of `netstack warm`
(which has two processes where there are two CPUs).  What an earlier piece has compiled a later one
finds, so a piece's time is what it adds.
"""
from __future__ import annotations

import os
import tempfile
import time

import click
from rich.console import Console
from rich.table import Table


@click.command()
@click.option("--most", default=20, show_default=True, help="Pieces that are shown.")
def main(most: int) -> None:
    """Seconds by unit and entry function."""
    if os.environ.get("NETSTACK_JIT") != "1":
        raise click.UsageError("set NETSTACK_JIT=1: this process is the one that compiles")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NETSTACK_CACHE_DIR"] = cache
        from netstack import warm  # the cache is chosen when the engine is imported
        from netstack.image import write
        from netstack.machine.compiled import make
        from netstack.machine.unit import UNITS, address_of

        entries = warm.entries()
        spent: list[tuple[float, str]] = []
        for piece in (*UNITS, *entries):
            plain = getattr(piece, "py_func", piece)
            started = time.perf_counter()
            if piece in UNITS:
                address_of(piece)
            else:
                make(piece)
            spent.append((time.perf_counter() - started, f"{plain.__module__}.{plain.__qualname__}"))
        size = write(UNITS, entries).stat().st_size
    total = sum(seconds for seconds, _ in spent)
    table = Table("piece", "s", "%", title=f"{len(spent)} pieces, {total:.0f} s; the image: {size / 1e6:.1f} MB")
    for seconds, name in sorted(spent, reverse=True)[:most]:
        table.add_row(name.removeprefix("netstack."), f"{seconds:.1f}", f"{100 * seconds / total:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
