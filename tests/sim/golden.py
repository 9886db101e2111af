"""How fast each congestion control is on many paths: `python -m tests.sim.golden [--write]`.

Two stacks on one link in virtual time (netstack.lab.simulation); every byte is
compared at the receiver.  The result depends on nothing but the code and the
seed, so the table that is kept, `golden.md`, changes only when TCP does, and a
change of it is reviewed like one of the code.  Without --write the table is
compared, and what differs is printed with the command that replays it.
"""
from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from netstack.lab.simulation import Simulation
from netstack.tcp.algorithms import BUILT_IN

KEPT = Path(__file__).with_name("golden.md")
SECONDS = 10.0          # virtual, of one case
FLOOR = 5 * 1514        # bytes that every queue holds: of a short path a quarter is less than a frame
RATES, RTTS, QUEUES = (10, 100, 500), (1, 20, 50, 200), (0.25, 1, 4)
FLOWS = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Line:
    """One way from stack to stack."""

    rate: float             # Mbit/s, each way
    rtt: float              # ms
    queue: float            # bytes that wait for the link, each way
    loss: float = 0.0       # % of all frames, each way
    reorder: float = 0.0    # % of all frames are held back by half the delay and 1 ms
    duplicate: float = 0.0  # % of all frames
    note: str = ""          # how the queue is called

    @property
    def name(self) -> str:
        """How --only finds it."""
        extras = [f"{what}-{value:g}%" for what, value in
                  (("loss", self.loss), ("reorder", self.reorder), ("dup", self.duplicate)) if value]
        return "/".join([f"{self.rate:g}mbit", f"{self.rtt:g}ms", self.note, *extras])

    def simulate(self, seed: int) -> Simulation:
        """Two stacks on it."""
        return Simulation(seed, rate=self.rate * 1e6, rtt=self.rtt / 1e3, queue=int(self.queue), loss=self.loss / 100,
                          reorder=self.reorder / 100, duplicate=self.duplicate / 100)


def path(rate: float, rtt: float, queue: float, **impairments: float) -> Line:
    """A path whose queue holds so many bandwidth-delay products."""
    return Line(rate, rtt, max(queue * rate * rtt * 125, FLOOR), note=f"{queue:g}bdp", **impairments)


def matrix() -> Iterator[Line]:
    """The paths of the first table: a selection, so that each pair of things meets."""
    for rate in RATES:
        for rtt in RTTS:
            for queue in QUEUES:
                if (rate, rtt, queue) != (10, 1, 0.25):     # the floor makes it the same as the next
                    yield path(rate, rtt, queue)
    for rtt in RTTS:
        for loss in (0.01, 0.1, 1, 3):
            yield path(100, rtt, 1, loss=loss)
    for rate in (10, 500):
        for rtt in (1, 50):
            for loss in (0.1, 1):
                yield path(rate, rtt, 1, loss=loss)
    for rtt in RTTS:
        yield path(100, rtt, 1, reorder=2)
    for rate in (10, 500):
        yield path(rate, 20, 1, reorder=2)
    for rtt in (20, 200):
        yield path(100, rtt, 1, loss=1, reorder=2)
        yield path(100, rtt, 0.25, loss=0.1)
        yield path(100, rtt, 4, loss=0.1)


def measured_elsewhere() -> Iterator[Line]:
    """The paths on which other stacks have been measured (12 s, through a relay in real time)."""
    yield Line(100, 50, 1_250_000, note="1.25MB")
    yield path(100, 50, 1)
    yield path(100, 50, 1, loss=1)
    yield path(100, 20, 1, loss=3)
    yield path(100, 20, 1, reorder=2, duplicate=0.1)
    yield path(500, 1, 1, loss=0.5)


@dataclass
class Speed:
    """How fast the simulations of this process were."""

    virtual: float = 0.0    # s that passed in them
    real: float = 0.0       # s of a CPU that it took, without building the stacks
    packets: int = 0        # frames that stacks have received

    def run(self, sim: Simulation, seconds: float) -> None:
        """Let time pass, and measure it."""
        packets, started = sim.packets, time.thread_time()
        sim.run(seconds)
        self.real += time.thread_time() - started
        self.virtual += seconds
        self.packets += sim.packets - packets

    @property
    def factor(self) -> float:
        """So many times faster than real time."""
        return self.virtual / max(self.real, 1e-9)

    def __str__(self) -> str:
        return (f"{self.virtual:.0f} virtual s in {self.real:.2f} s of a CPU: {self.factor:.0f} times faster than "
                f"real time, {self.packets / max(self.real, 1e-9):,.0f} packets a second")


speed = Speed()


@dataclass
class Case:
    """A row of a table: `run` gives the cell of a congestion control (or of a mix of them) for a seed."""

    name: str
    columns: list[str]                                  # of the row, before the results
    run: Callable[[str, int], str]

    def seed(self, number: int) -> int:
        """The simulation's seed: of this case, and the number that was asked for."""
        return zlib.crc32(self.name.encode()) + number


def one_flow(where: Line, seconds: float) -> Callable[[str, int], str]:
    """Goodput in Mbit/s, and how much of what was sent was sent again."""
    def run(algorithm: str, seed: int) -> str:
        with where.simulate(seed) as sim:
            flow = sim.flow(congestion=algorithm)
            speed.run(sim, seconds)
            sim.check()
            stats = sim.a.stats()
            again = 100 * stats["tcp.retrans_segs"] / max(stats["tcp.out_segs"], 1)
            return f"{flow.goodput / 1e6:.2f} ({again:.2f}%)"
    return run


def many_flows(where: Line, flows: int) -> Callable[[str, int], str]:
    """Jain's fairness index, and how much of the link is used, from second 10 to second 40."""
    def run(mix: str, seed: int) -> str:
        kinds = mix.split("+")
        with where.simulate(seed) as sim:
            made = [sim.flow(congestion=kinds[i % len(kinds)], start=i / flows) for i in range(flows)]
            speed.run(sim, 10)
            for flow in made:
                flow.mark()
            speed.run(sim, 30)
            sim.check()
            rates = [flow.goodput for flow in made]
        used = 100 * sum(rates) / (where.rate * 1e6)
        if len(kinds) > 1:
            shares = [100 * sum(rates[i::len(kinds)]) / sum(rates) for i in range(len(kinds))]
            return f"{' : '.join(f'{share:.1f}' for share in shares)}, {used:.1f}%"
        return f"{sum(rates) ** 2 / len(rates) / sum(r * r for r in rates):.4f}, {used:.1f}%"
    return run


def mixes() -> list[str]:
    """Pairs that share a link."""
    return [f"{a}+{b}" for a, b in (("cubic", "reno"), ("bbr", "cubic"), ("bbr", "reno")) if {a, b} <= set(BUILT_IN)]


def _row(where: Line) -> list[str]:
    queue = where.note.replace("bdp", " BDP")
    extras = [f"{value:g}%" if value else "" for value in (where.loss, where.reorder)]
    return [f"{where.rate:g}", f"{where.rtt:g}", queue, *extras]


COLUMNS = ["Mbit/s", "RTT ms", "queue", "loss", "reordered"]


class Table(NamedTuple):
    """One table."""

    title: str
    text: str
    columns: list[str]      # before the results
    whose: list[str]        # results
    cases: list[Case]       # rows


def tables() -> list[Table]:
    """All of them."""
    alone = list(BUILT_IN)
    first = [Case(p.name, _row(p), one_flow(p, SECONDS)) for p in matrix()]
    second = [Case(f"peers/{p.name}", _row(p), one_flow(p, 12.0)) for p in measured_elsewhere()]
    shared = path(100, 20, 1)
    third = [Case(f"fair/{n}", [str(n)], many_flows(shared, n)) for n in FLOWS]
    found = [Table("One flow", f"Goodput in Mbit/s over {SECONDS:g} s from the first byte on, in brackets how much was "
                   f"sent again.  The queue holds {FLOOR:,} bytes at least.", COLUMNS, alone, first),
             Table("Paths on which other stacks have been measured", "The same over 12 s; of the fifth path 0.1% of "
                   "all frames come twice.", COLUMNS, alone, second),
             Table("Many flows", "One bottleneck of 100 Mbit/s, 20 ms, 1 BDP: Jain's fairness index from second 10 to "
                   "second 40, and how much of the link was used.", ["flows"], alone, third)]
    if mixes():
        fourth = [Case(f"mixed/{n}", [str(n)], many_flows(shared, n)) for n in (2, 4, 16)]
        found.append(Table("Against each other", "Half of the flows of each kind on that bottleneck: % of the goodput "
                           "for the first and for the second kind, and how much of the link was used.", ["flows"],
                           mixes(), fourth))
    return found


def command(case: Case, mix: str, number: int) -> str:
    """What replays one cell."""
    return f"python -m tests.sim.golden --only {case.name} --algorithm {mix} --seed {number}"


def render(number: int, chosen: Callable[[Case, str], bool] = lambda case, mix: True,
           progress: Callable[[str], None] = lambda line: None) -> str:
    """The tables as Markdown; cells that are not chosen are left empty, rows without a cell left out."""
    lines = ["# Golden simulations", "",
             "Made by `python -m tests.sim.golden --write`; exact: any change is a change of behaviour.", ""]
    for title, text, columns, whose, cases in tables():
        lines += [f"## {title}", "", text, "", "| " + " | ".join([*columns, *whose]) + " |",
                  "|" + "---|" * (len(columns) + len(whose))]
        for case in cases:
            cells = []
            for mix in whose:
                cells.append(case.run(mix, case.seed(number)) if chosen(case, mix) else "")
                if cells[-1]:
                    progress(f"{case.name} {mix}: {cells[-1]}")
            if any(cells):
                lines.append("| " + " | ".join([*case.columns, *cells]) + " |")
        lines.append("")
    return "\n".join(lines)


def kept() -> dict[tuple[str, str], str]:
    """The cells of the kept table by case and congestion control."""
    found: dict[tuple[str, str], str] = {}
    text = KEPT.read_text() if KEPT.exists() else ""
    for title, _, columns, _, cases in tables():
        part = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
        if not rows:
            continue
        head, body = rows[0], {tuple(row[:len(columns)]): row for row in rows[2:]}
        for case in cases:
            row = body.get(tuple(case.columns), [])
            found.update({(case.name, mix): cell for mix, cell in zip(head, row, strict=False)})
    return found


def main(arguments: list[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the kept table anew")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="only these cases, such as '100mbit/*'")
    parser.add_argument("--algorithm", metavar="NAME", help="only this congestion control (or mix, as cubic+reno)")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other losses (default: 0)")
    options = parser.parse_args(arguments)

    def chosen(case: Case, mix: str) -> bool:
        return fnmatch(case.name, options.only) and options.algorithm in (None, mix)

    before: dict[tuple[str, str], str] = kept()
    different = 0
    started = time.monotonic()

    def progress(line: str) -> None:
        nonlocal different
        key, _, now = line.partition(": ")
        case, mix = key.split(" ")
        old = before.get((case, mix), "nothing")
        mark = "" if options.seed or old == now else f"      (the table has {old})"
        different += bool(mark)
        print(line + mark, flush=True)

    text = render(options.seed, chosen, progress)
    print(f"{time.monotonic() - started:.1f} s in all; {speed}")
    if options.write:
        KEPT.write_text(text)
        return 0
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
