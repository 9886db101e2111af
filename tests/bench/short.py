"""The short form: ratios to Linux over veth, measured side by side, against stored ones.  What CI runs.

Ours and Linux's server run both; a figure is measured on one and the other in turn, a few short rounds, and the best
of each counts: what others do on the machine only ever makes a round worse.  A ratio that is too low is measured
again, some times.  It fails only by rounds in which other programs left the CPUs alone, and in which both figures were
steady, and more than once; else the figure is left out with a word.
"""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from .measure import HEADLINES, MEASUREMENTS, TICK, MeasurementError, Target
from .peers import NETSTACK, linux_on_veth, machine, stack_on_tap

# Not "rr 2 cpus" and "conn/s 16": they measure the scheduler, and differ by half from run to run.
FIGURES = ("tcp in", "tcp out", "rr 1 cpu", "conn/s 1", "udp echo", "1000 together")
SECONDS = 0.4           # of each round
ROUNDS = 3
AGAIN = 4               # times that a ratio which is too low is measured again
TELLING = 2             # of these measurements must be of a quiet machine, before it fails
ENOUGH = 0.7            # of the stored ratio
STEADY = 0.6            # the second best round must reach this share of the best
QUIET = 0.3             # CPUs that other programs may use in a round that counts against us
BUDGET = 90.0           # seconds; after that nothing is measured again more often than it takes to tell
STORED = 4              # times that `store` measures each ratio, of which it keeps the lowest


class Side:
    """The rounds of one figure on one of the two."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.rounds: list[tuple[float, float]] = []     # the figure; CPUs that others used

    def measure(self, what: str) -> None:
        """One more round.  MeasurementError if it cannot be measured."""
        busy, ours, began = _busy(), self._ours(), time.monotonic()
        figure = MEASUREMENTS[what](self.target, SECONDS)[HEADLINES[what]]
        others = (_busy() - busy) - (self._ours() - ours)
        self.rounds.append((figure, max(others, 0.0) / (time.monotonic() - began)))

    def best(self, quiet: bool = False) -> list[float]:
        """Its figures, the best first; of quiet rounds only."""
        return sorted((f for f, others in self.rounds if not quiet or others <= QUIET), reverse=True)

    def _ours(self) -> float:
        times = os.times()
        return times.user + times.system + self.target.cpu()


def _busy() -> float:
    """CPU seconds that programs of this machine have had, or others of its host: user, nice, system, steal (proc(5)).

    Not softirq: what it does for the measured traffic is no program's.
    """
    numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(numbers[0:3]) + numbers[7]) / TICK


def _measure(what: str, ours: Target, linux: Target) -> tuple[Side, Side]:
    """Some rounds of one figure, on one and the other in turn."""
    sides = Side(ours), Side(linux)
    for _ in range(ROUNDS):
        for side in sides:
            side.measure(what)
    return sides


def _ratio(sides: tuple[Side, Side]) -> float:
    return sides[0].best()[0] / sides[1].best()[0]


def _tells(sides: tuple[Side, Side]) -> bool:
    """Whether these rounds may count against us."""
    return all(len(found) > 1 and found[1] >= STEADY * found[0] for found in (side.best(quiet=True) for side in sides))


def _warm() -> None:
    """A cold compile is not part of the time."""
    subprocess.run([sys.executable, "-m", "netstack", "warm"], check=True, stdout=subprocess.DEVNULL)


def _judge(what: str, wanted: float, ours: Target, linux: Target, deadline: float) -> bool:
    """Measure one figure, as often as it needs; say what came of it.  False: it is too low."""
    said, told, measured = "", 0, 0
    for turn in range(1 + AGAIN):
        if turn >= TELLING and time.monotonic() > deadline:
            break
        try:
            sides = _measure(what, ours, linux)
        except MeasurementError as error:
            said = str(error)
            continue
        measured += 1
        said = f"{100 * _ratio(sides):.0f} % of Linux; stored: {100 * wanted:.0f} %"
        if _ratio(sides) >= ENOUGH * wanted:
            print(f"{what}: {said}")
            return True
        told += _tells(sides)
    is_low = told >= TELLING or not measured
    print(f"{what}: {said}: " + ("TOO LOW" if is_low else "left out: other programs are busy, or it is not steady"))
    return not is_low


def check(path: str) -> int:
    """Compare with the stored ratios.  How many figures are too low."""
    with open(path) as file:
        stored = json.load(file)
    _warm()
    started = time.monotonic()
    with stack_on_tap("netstack", NETSTACK) as ours, linux_on_veth("linux", True) as linux:
        low = sum(not _judge(what, ratio, ours, linux, started + BUDGET) for what, ratio in stored["ratios"].items())
    print(f"{time.monotonic() - started:.0f} s; stored {stored['time']} on {stored['machine']['cpu']}")
    return low


def store(path: str) -> int:
    """Measure every ratio some times, and keep the lowest: what is reached on a bad day, too.  0."""
    _warm()
    with stack_on_tap("netstack", NETSTACK) as ours, linux_on_veth("linux", True) as linux:
        ratios: dict[str, list[float]] = {what: [] for what in FIGURES}
        for _ in range(STORED):                     # one after the other, so that a busy minute does not hit one alone
            for what, found in ratios.items():
                found.append(_ratio(_measure(what, ours, linux)))
    for what, found in ratios.items():
        print(f"{what}: {' '.join(f'{100 * ratio:.0f} %' for ratio in found)}")
    with open(path, "w") as file:
        json.dump({"machine": machine(), "time": time.strftime("%Y-%m-%d", time.gmtime()),
                   "ratios": {what: round(min(found), 3) for what, found in ratios.items()}}, file, indent=1)
        file.write("\n")
    return 0
