"""How long it takes until a stack is up: `python -m tests.bench.start`.

Each row is a process of its own, five times, the median: from the start of Python's own
work (an interpreter that is up) to a first answer over the loopback interface.
"""
from __future__ import annotations

import os
import statistics
import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

PROGRAM = """
import time
began = time.perf_counter()
import netstack
imported = time.perf_counter()
stack = netstack.Stack()
up = time.perf_counter()
with stack, stack.create_server(("127.0.0.1", 7)) as server:
    with stack.create_connection(("127.0.0.1", 7)) as near, server.accept()[0] as far:
        near.sendall(b"x")
        far.recv(1)
        answered = time.perf_counter()
print(imported - began, up - began, answered - began)
"""
FORMS = {"the image": {"NETSTACK_JIT": "image"}, "interpreted": {"NETSTACK_JIT": "0"},
         "numba, warm": {"NETSTACK_JIT": "1"}}
FRESH = "a fresh machine"


def measure(environment: dict[str, str]) -> list[float]:
    """One process: seconds until imported, until the stack is up, until the first answer."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, text=True, check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [float(value) for value in done.stdout.split()]


@click.command()
@click.option("--repeat", default=5, show_default=True, help="Processes of each kind.")
@click.option("--fresh", type=click.Path(file_okay=False), metavar="DIRECTORY",
              help="A machine where nothing is compiled, too; it compiles in the background, for minutes, into there.")
def main(repeat: int, fresh: str | None) -> None:
    """Seconds until a stack is up, and until it has answered."""
    subprocess.run([sys.executable, "-m", "netstack", "warm", "--quiet"], check=True)
    table = Table("", "imported", "stack up", "first answer", title="seconds")
    rows = {name: [measure(environment) for _ in range(repeat + 1)][1:] for name, environment in FORMS.items()}
    if fresh is not None:
        rows[FRESH] = [measure({"NETSTACK_JIT": "image", "NETSTACK_CACHE_DIR": fresh})]
    for name, values in rows.items():
        table.add_row(name, *(f"{statistics.median(column):.3f}" for column in zip(*values, strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
