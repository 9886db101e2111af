"""The cost of a connection among many, as a picture; needs matplotlib.

    python -m tests.bench.plot results.json curve.svg
"""
from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any


def main(source: str, target: str) -> None:
    """Draw what `python -m tests.bench --only scale --json` has written."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    with open(source) as file:
        results = json.load(file)["scale"]
    counts = [int(count) for count in results]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for key, label in (("round_trip_ns", "round trip"), ("establish_ns", "establish"), ("close_ns", "close")):
        axes.plot(counts, [result["best"][key] / 1000 for result in results.values()], marker="o", label=label)
    axes.set(xscale="log", xlabel="connections", ylabel="CPU time of both ends, us", ylim=(0, 12))
    axes.legend()
    figure.tight_layout()
    figure.savefig(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
