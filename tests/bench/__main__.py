"""Measure, print one table, write JSON."""
from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from netstack.lab.namespace import command as in_namespace

from . import load, others, paths, scale, short, sockets
from .measure import HEADLINES, MEASUREMENTS, Figures, MeasurementError, Target
from .peers import NETSTACK, allow_descriptors, linux_on_veth, machine, prepare_namespace, stack_on_tap

INSIDE = "NETSTACK_BENCH_INSIDE"
PATHS = "paths"
SCALE = "scale"
SOCKETS = "sockets"
LINUX = "Linux, veth"           # what ratios are to
Results = dict[str, dict[str, Any]]
Peers = list[tuple[str, Callable[[], AbstractContextManager[Target]]]]

COLUMNS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "tcp in": ("into stack\nGbit/s (CPU s/GB)", lambda f: f"{f['gbit_s']:.3g} ({f['cpu_s_per_gb']:.2g})"),
    "tcp out": ("out of stack\nGbit/s (CPU s/GB)", lambda f: f"{f['gbit_s']:.3g} ({f['cpu_s_per_gb']:.2g})"),
    "rr 1 cpu": ("request/response 1 CPU\n/s (p50/p99 us)",
                 lambda f: f"{f['per_s']:,.0f} ({f['p50_us']:.0f}/{f['p99_us']:.0f})"),
    "rr 2 cpus": ("2 CPUs\n/s (p50/p99 us)", lambda f: f"{f['per_s']:,.0f} ({f['p50_us']:.0f}/{f['p99_us']:.0f})"),
    "conn/s 1": ("connections/s\n1 at a time", lambda f: f"{f['per_s']:,.0f}"),
    "conn/s 16": ("connections/s\n16 at a time", lambda f: f"{f['per_s']:,.0f}"),
    "udp echo": ("UDP echo\n/s (lost)", lambda f: f"{f['per_s']:,.0f} ({f['lost']:.0f})"),
    "1000 together": ("1,000 together\n/s (p99 ms; served)",
                      lambda f: f"{f['per_s']:,.0f} ({f['p99_ms']:.1f}; {f['served']:.0f})"),
    "5000 open": ("5,000 open\nanswered (kB each)", lambda f: f"{f['answered']:,.0f} ({f['kb_each']:.1f})"),
}


@click.command()
@click.option("--quick", is_flag=True, help="Short and once: a look, not a figure.")
@click.option("--seconds", default=2.5, show_default=True, help="Of each measurement.")
@click.option("--repeat", default=3, show_default=True, help="Of which the median is shown.")
@click.option("--only", multiple=True, type=click.Choice([*MEASUREMENTS, SOCKETS, PATHS, SCALE]),
              help="Just these measurements; sockets: Python programs on the loopback; paths: transfers over impaired "
                   "paths; scale: 1 to 100,000 connections.")
@click.option("--path", "path_numbers", multiple=True, type=click.IntRange(1, len(paths.PATHS)), metavar="N",
              help=f"Of the paths, just the N-th (1 to {len(paths.PATHS)}).")
@click.option("--path-seconds", default=12.0, show_default=True, help="Of each transfer over a path.")
@click.option("--path-repeat", default=1, show_default=True, help="Of which the median is shown.")
@click.option("--congestion", multiple=True, default=paths.ALGORITHMS, show_default=True, metavar="NAME",
              help="Congestion control of who sends over a path.")
@click.option("--no-linux", is_flag=True, help="Without Linux over a veth pair, or over paths.")
@click.option("--no-netstack", is_flag=True, help="Without this stack.")
@click.option("--also", multiple=True, metavar="NAME=COMMAND",
              help="Another stack; {tap}, {address} and {gateway} in the command are filled in.")
@click.option("--lwip/--no-lwip", default=True, show_default=True, help="lwIP, where liblwip-dev is installed.")
@click.option("--pytcp", is_flag=True, help="PyTCP, installed from the package index into an environment of its own.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write every figure there.")
@click.option("--check", "check_path", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Only this: a short form, which fails if a ratio to Linux is far below the one in FILE.")
@click.option("--store", "store_path", type=click.Path(dir_okay=False), metavar="FILE",
              help="Only this: measure these ratios, and write FILE.")
def main(quick: bool, seconds: float, repeat: int, only: tuple[str, ...], path_numbers: tuple[int, ...],
         path_seconds: float, path_repeat: int, congestion: tuple[str, ...], no_linux: bool, no_netstack: bool,
         also: tuple[str, ...], lwip: bool, pytcp: bool, json_path: str | None, check_path: str | None,
         store_path: str | None) -> None:
    """Measure this stack against the Linux kernel, and Linux against itself in the same run."""
    if INSIDE not in os.environ:
        if pytcp:
            others.install_pytcp()              # there is no way out from inside
        sys.exit(subprocess.call(in_namespace([sys.executable, "-m", "tests.bench", *sys.argv[1:]]),
                                 env={**os.environ, INSIDE: "1"}))
    if quick:
        seconds, repeat, path_seconds, path_repeat = min(seconds, 1.0), 1, min(path_seconds, 4.0), 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # the servers end with us
    allow_descriptors()
    prepare_namespace()
    load.prepare()
    if check_path is not None or store_path is not None:
        sys.exit(short.check(check_path) if check_path is not None else short.store(str(store_path)))
    chosen = {name: f for name, f in MEASUREMENTS.items() if not only or name in only}
    console = Console(stderr=True)
    results: Results = {}
    if chosen:
        with tempfile.TemporaryDirectory(prefix="netstack-bench-") as directory:
            peers = _peers(not no_netstack, not no_linux, lwip, pytcp, also, Path(directory), console)
            results = {name: _measure(name, peer, chosen, seconds, repeat, console) for name, peer in peers}
        _compare(results)
        _print(results, chosen)
    programs: Results = {}
    if not only or SOCKETS in only:
        programs = sockets.measure(tuple(sockets.PROGRAMS), seconds, repeat, console)
        sockets.show(programs)
    over: Results = {}
    busy = os.getloadavg()[0]
    if not only or PATHS in only:
        over = _paths(path_numbers, paths.pairings(congestion, not no_linux, not no_netstack), path_seconds,
                      path_repeat, console)
    crowds: Results = {}
    if not only or SCALE in only:
        crowds = scale.sizes(scale.SIZES[:4] if quick else scale.SIZES, repeat, console)
        scale.show(crowds)
    if json_path is not None:
        with open(json_path, "w") as file:
            json.dump({"machine": machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "seconds": seconds, "repeat": repeat, "results": results, SOCKETS: programs,
                       PATHS: {"seconds": path_seconds, "load before": busy, "results": over},
                       SCALE: crowds}, file, indent=1)
            file.write("\n")


def _peers(netstack: bool, linux: bool, lwip: bool, pytcp: bool, also: tuple[str, ...], directory: Path,
           console: Console) -> Peers:
    """Who is measured, in the order of the table."""
    peers: Peers = []
    if netstack:
        peers.append(("netstack, TAP", partial(stack_on_tap, "netstack", NETSTACK)))
        peers.append(("netstack, TAP, no offload", partial(stack_on_tap, "netstack", f"{NETSTACK} --no-offload")))
        peers.append(("netstack, TAP, handlers", partial(stack_on_tap, "netstack", f"{NETSTACK} --handlers")))
    for wanted, name, command in ((lwip, "lwIP, TAP", partial(others.lwip, directory)),
                                  (pytcp, "PyTCP, TAP", others.pytcp)):
        try:
            if wanted:
                peers.append((name, partial(stack_on_tap, name, command())))
        except others.NotThereError as error:
            console.print(f"{name}: left out: {error}", style="yellow", highlight=False)
    for pair in also:
        name, _, text = pair.partition("=")
        peers.append((name, partial(stack_on_tap, name, text)))
    if linux:
        peers.append((LINUX, partial(linux_on_veth, "linux", True)))
        peers.append(("Linux, veth, no offload", partial(linux_on_veth, "linux", False)))
    return peers


def _paths(numbers: tuple[int, ...], pairings: list[paths.Pairing], seconds: float, repeat: int,
           console: Console) -> Results:
    """The transfers over impaired paths."""
    if not numbers:
        numbers = tuple(range(1, len(paths.PATHS) + 1))
    subprocess.run([sys.executable, "-m", "netstack", "warm"], check=True, stdout=subprocess.DEVNULL)
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    results = paths.table_of(tuple(paths.PATHS[n - 1] for n in numbers), pairings, seconds, repeat, console)
    paths.show(results, pairings, seconds)
    return results


def _measure(name: str, peer: Callable[[], AbstractContextManager[Target]],
             chosen: dict[str, Callable[[Target, float], Figures]], seconds: float, repeat: int,
             console: Console) -> dict[str, Any]:
    """Everything about one peer; what fails is said, and the next goes on with a fresh server."""
    results: dict[str, Any] = {}
    todo = list(chosen)
    while todo:
        try:
            with peer() as target:
                while todo:
                    what = todo.pop(0)
                    with console.status(f"{name}: {what}"):
                        runs = [chosen[what](target, seconds) for _ in range(repeat)]
                    results[what] = {"median": {key: statistics.median(run[key] for run in runs) for key in runs[0]},
                                     "load": os.getloadavg()[0], "runs": runs}
        except (MeasurementError, OSError, RuntimeError) as error:
            console.print(f"{name}: {error}", style="yellow", highlight=False)
            if isinstance(error, RuntimeError):      # it does not even start
                break
            results[what] = {"failed": str(error)}
    return results


def _compare(results: Results) -> None:
    """Beside each result its ratio to Linux over veth, with offloads, in the same run."""
    for what, key in HEADLINES.items():
        linux = results.get(LINUX, {}).get(what, {}).get("median", {}).get(key)
        for measured in results.values():
            figure = measured.get(what, {}).get("median", {}).get(key)
            if figure is not None and linux:
                measured[what]["ratio"] = figure / linux


def _print(results: Results, chosen: dict[str, Any]) -> None:
    table = Table(title="median of the runs; the Linux kernel is the other side", show_lines=True,
                  caption=f"%: of {LINUX}, in this run")
    table.add_column("measurement")
    for name in results:
        table.add_column(name, justify="right")
    for what in chosen:
        heading, show = COLUMNS[what]
        table.add_row(heading, *(_cell(r.get(what), show) for r in results.values()))
    Console(width=max(150, Console().width)).print(table)


def _cell(result: dict[str, Any] | None, show: Callable[[Figures], str]) -> str:
    if result is None:
        return "-"
    if "failed" in result:
        return f"failed: {result['failed']}"
    ratio = f"\n{100 * result['ratio']:.0f} %" if "ratio" in result else ""
    return show(result["median"]) + ratio


if __name__ == "__main__":
    main()
