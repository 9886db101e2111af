"""What `python -m tests.bench --json` has written, as a picture; needs matplotlib (`pip install '.[plot]'`).

    python -m tests.bench.plot results.json out.svg

A bar for each stack and measurement, as a share of Linux over veth in the same run; below it, if they were measured,
the cost of a connection among many.
"""
from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

from .measure import HEADLINES

LINUX = "Linux, veth"
CURVES = (("round_trip_ns", "round trip"), ("establish_ns", "establish"), ("close_ns", "close"))


def bars(axes: Any, results: dict[str, Any]) -> None:
    """A group for each measurement, a bar for each stack."""
    shown = [what for what in HEADLINES if any("ratio" in r.get(what, {}) for r in results.values())]
    stacks = [name for name in results if name != LINUX and results[name]]
    width = 0.8 / max(len(stacks), 1)
    for i, name in enumerate(stacks):
        heights = [100 * results[name].get(what, {}).get("ratio", 0) for what in shown]
        axes.bar([at + (i - (len(stacks) - 1) / 2) * width for at in range(len(shown))], heights, width, label=name)
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set_xticks(range(len(shown)), shown)
    axes.set(ylabel=f"% of {LINUX}")
    axes.legend()


def curve(axes: Any, scale: dict[str, Any]) -> None:
    """Nanoseconds over the number of connections."""
    counts = [int(n) for n in scale]
    for key, label in CURVES:
        axes.plot(counts, [result["best"][key] / 1000 for result in scale.values()], marker="o", label=label)
    axes.set(xscale="log", xlabel="connections", ylabel="CPU time of both ends, us", ylim=(0, 12))
    axes.legend()


def main(source: str, target: str) -> None:
    """Draw the file."""
    with open(source) as file:
        measured = json.load(file)
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    parts = [(draw, measured[key]) for draw, key in ((bars, "results"), (curve, "scale")) if measured.get(key)]
    figure, all_axes = pyplot.subplots(len(parts), figsize=(10, 4 * len(parts)), squeeze=False)
    for (draw, data), axes in zip(parts, all_axes[:, 0], strict=True):
        draw(axes, data)
    machine = measured["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, {measured['time'][:10]}",
                    fontsize=9)
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ModuleNotFoundError as error:
        sys.exit(f"{error}: pip install '.[plot]'")
