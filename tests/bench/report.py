"""The tables of docs/performance.md from what the bench has written, as Markdown.

    python -m tests.bench.report bench.json             # what was measured
    python -m tests.bench.report breakdown.json         # where the time goes
"""
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from .measure import Figures


def _rounded(x: float, digits: int) -> str:
    return f"{float(f'{x:.{digits}g}'):,g}"


def _transfer(f: Figures) -> str:
    return f"{_rounded(f['gbit_s'], 3)} ({_rounded(f['cpu_s_per_gb'], 2)})"


def _latency(f: Figures) -> str:
    return f"{f['per_s']:,.0f} ({f['p50_us']:.0f}/{f['p99_us']:.0f})"


ROWS: dict[str, tuple[str, Callable[[Figures], str]]] = {
    "tcp in": ("TCP in, Gbit/s (CPU s/GB)", _transfer),
    "tcp out": ("TCP out, Gbit/s (CPU s/GB)", _transfer),
    "rr 1 cpu": ("request/response 64 B, both on one CPU, per s (p50/p99 us)", _latency),
    "rr 2 cpus": ("the same on two CPUs", _latency),
    "conn/s 1": ("connections/s, one at a time", lambda f: f"{f['per_s']:,.0f}"),
    "conn/s 16": ("connections/s, sixteen at a time", lambda f: f"{f['per_s']:,.0f}"),
    "udp echo": ("UDP echo 64 B, 64 under way, per s (lost)", lambda f: f"{f['per_s']:,.0f} ({f['lost']:.0f})"),
    "1000 together": ("1,000 connections echoing 64 B, per s (p99 ms; served)",
                      lambda f: f"{f['per_s']:,.0f} ({f['p99_ms']:.0f}; {f['served']:,.0f})"),
    "5000 open": ("5,000 open at once: answered (kB of memory each)",
                  lambda f: f"{f['answered']:,.0f} ({f['kb_each']:.1f})"),
}


def figures(measured: dict[str, Any]) -> list[list[str]]:
    """A row for each measurement; with each figure its share of Linux over veth."""
    results = measured["results"]
    rows = [["", *results]]
    for what, (text, show) in ROWS.items():
        cells = []
        for result in results.values():
            cell = result.get(what, {})
            shown = show(cell["median"]) if "median" in cell else "failed" if "failed" in cell else "-"
            cells.append(shown + (f" **{100 * cell['ratio']:.0f} %**" if "ratio" in cell else ""))
        rows.append([text, *cells])
    return rows


def parts(measured: dict[str, Any]) -> list[list[str]]:
    """A row for each part of the time; nanoseconds and share."""
    from .breakdown import LOADS, in_order

    ns = measured["ns"]
    rows = [["part", *(f"{what}, per {LOADS[what][0]}" for what in ns)]]
    for part in in_order({part for found in ns.values() for part in found}):
        rows.append([part, *(f"{found.get(part, 0):,.0f} ({100 * found.get(part, 0) / sum(found.values()):.0f} %)"
                             for found in ns.values())])
    rows.append(["all", *(f"{sum(found.values()):,.0f}" for found in ns.values())])
    return rows


def main(source: str) -> None:
    """Print the table."""
    with open(source) as file:
        measured = json.load(file)
    rows = parts(measured) if "ns" in measured else figures(measured)
    rows.insert(1, ["---"] * len(rows[0]))
    for row in rows:
        print(f"| {' | '.join(row)} |")
    machine = measured["machine"]
    print(f"\n{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, Python {machine['python']}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
