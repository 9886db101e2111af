"""Real time against Linux: one connection over an impaired path, each stack and algorithm the same way.

Two namespaces, a TAP in each, the relay between them:

    sender -- path0 == relay == path0 -- receiver

Linux has its address on path0.  netstack has a TAP of its own, which a bridge
joins to path0: so it does what it does on any TAP, and pays for the bridge.
Frames are plain and at most 1514 bytes long everywhere: a TAP without a
virtio-net header has no offloads.  Each measurement has fresh namespaces, so no
metrics of an earlier connection are known.
"""
from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from rich.console import Console
from rich.table import Table

from netstack.drivers import Tap
from netstack.lab import kernel, relay
from netstack.lab.namespace import Namespace

from .transfer import HOSTS

PORT_TAP, OWN_TAP, BRIDGE = "path0", "own0", "br0"
QUEUE = 10_000                  # frames that a TAP keeps: the relay's queue is to be the one that overflows
PATIENCE = 60.0                 # seconds for a process to be ready or to end, over its time
TRANSFER = Path(__file__).with_name("transfer.py")
ALGORITHMS = ("cubic", "bbr")
WIDTH = 150                     # columns of the table
ENOUGH = 0.95                   # of Linux's goodput; two runs of the same differ by so much


@dataclass(frozen=True)
class PathOf:
    """A path, the same both ways."""

    name: str
    mbit: int                   # rate, Mbit/s
    rtt: float                  # ms
    queue: int                  # bytes
    loss: float = 0.0           # probability, of each frame
    reorder: float = 0.0
    duplicate: float = 0.0

    def settings(self, seed: int) -> dict[str, Any]:
        """For the relay."""
        return {"rate": f"{self.mbit}mbit", "delay": f"{self.rtt / 2}ms", "queue": self.queue, "loss": self.loss,
                "reorder": self.reorder, "duplicate": self.duplicate, "seed": seed}


PATHS = (
    PathOf("100 Mbit/s, 50 ms RTT, 1.25 MB queue", 100, 50, 1_250_000),
    PathOf("100 Mbit/s, 50 ms RTT, 625 kB queue (one bandwidth-delay product)", 100, 50, 625_000),
    PathOf("100 Mbit/s, 50 ms RTT, 625 kB queue, 1 % loss", 100, 50, 625_000, loss=0.01),
    PathOf("100 Mbit/s, 20 ms RTT, 3 % loss", 100, 20, 250_000, loss=0.03),
    PathOf("100 Mbit/s, 20 ms RTT, 2 % reordered, 0.1 % duplicated", 100, 20, 250_000, reorder=0.02, duplicate=0.001),
    PathOf("500 Mbit/s, 1 ms RTT, 0.5 % loss", 500, 1, 250_000, loss=0.005),
)


@dataclass(frozen=True)
class Pairing:
    """Who sends to whom, and how."""

    sender: str
    receiver: str
    algorithm: str

    @property
    def name(self) -> str:
        """As a heading."""
        return f"{self.sender} {self.algorithm}\nto {self.receiver}"


def pairings(algorithms: tuple[str, ...] = ALGORITHMS, linux: bool = True, netstack: bool = True) -> list[Pairing]:
    """Linux with itself, netstack sending, netstack receiving."""
    found = [Pairing("linux", "linux", a) for a in algorithms if linux]
    if netstack:
        found += [Pairing("netstack", "linux", a) for a in algorithms]
        found += [Pairing("linux", "netstack", a) for a in algorithms]
    return found


class PathError(Exception):
    """A transfer that could not be measured; says why."""


class NotThereError(PathError):
    """The stack has no such algorithm."""


@contextlib.contextmanager
def _side(stack: str, address: str) -> Iterator[tuple[Namespace, Tap]]:
    """A namespace with a TAP for the relay; who has `address` is Linux, or whoever opens OWN_TAP."""
    with Namespace() as space:
        with space.entered():
            if stack == "linux":
                kernel.make_tap(PORT_TAP, f"{address}/24", queue=QUEUE)
            else:
                _bridged()
            tap = Tap(PORT_TAP, offload=False)
        try:
            with space.entered():
                kernel.await_carrier(PORT_TAP)
            yield space, tap
        finally:
            tap.close()


def _bridged() -> None:
    """The relay's TAP and the stack's, on a bridge without an address."""
    kernel.make_tap(PORT_TAP, queue=QUEUE)
    kernel.make_tap(OWN_TAP, queue=QUEUE)
    with IPRoute() as route:
        route.link("add", ifname=BRIDGE, kind="bridge")
        index = route.link_lookup(ifname=BRIDGE)[0]
        for name in (BRIDGE, PORT_TAP, OWN_TAP):
            with contextlib.suppress(OSError):          # no frames of Linux's own
                Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        for name in (PORT_TAP, OWN_TAP):
            route.link("set", index=route.link_lookup(ifname=name)[0], master=index)
        route.link("set", index=index, state="up")


@contextlib.contextmanager
def _end(space: Namespace, stack: str, what: str, seconds: float, algorithm: str) -> Iterator[subprocess.Popen[str]]:
    """A process of transfer.py in that namespace; ended with the block."""
    words = [sys.executable, str(TRANSFER), stack, what, str(seconds), algorithm, OWN_TAP]
    with space.entered():
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _said(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    try:
        out, err = process.communicate(timeout=seconds + PATIENCE)
    except subprocess.TimeoutExpired:
        raise PathError("a process did not end") from None
    if process.returncode != 0:
        raise PathError((err.strip().splitlines() or [f"status {process.returncode}"])[-1])
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    if "missing" in found:
        raise NotThereError(found["missing"])
    return found


def measure(path: PathOf, pairing: Pairing, seconds: float, seed: int = 1) -> dict[str, float]:
    """One transfer.  Goodput in Mbit/s, the share of segments sent again in percent, what the relay says, and how
    many CPUs somebody else was using."""
    busy, ours, began = _busy(), _ours(), time.monotonic()
    figures = _measure(path, pairing, seconds, seed)
    figures["others_cpus"] = max(_busy() - busy - (_ours() - ours), 0.0) / (time.monotonic() - began)
    return figures


def _busy() -> float:
    """CPU seconds that this machine has worked: user, nice, system, irq, softirq (proc(5), /proc/stat)."""
    numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return (sum(numbers[0:3]) + sum(numbers[5:7])) / os.sysconf("SC_CLK_TCK")


def _ours() -> float:
    """CPU seconds of this process and of those it has started and seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _measure(path: PathOf, pairing: Pairing, seconds: float, seed: int) -> dict[str, float]:
    with (_side(pairing.sender, HOSTS["left"]) as (left, a), _side(pairing.receiver, HOSTS["right"]) as (right, b),
          relay.start(a.fd, b.fd, **path.settings(seed)) as between,
          _end(right, pairing.receiver, "receive", seconds, pairing.algorithm) as receiver):
        assert receiver.stdout is not None
        if receiver.stdout.readline() != "READY\n":
            raise PathError(f"the receiver did not start: {receiver.communicate()[1].strip()[-200:]}")
        with _end(left, pairing.sender, "send", seconds, pairing.algorithm) as sender:
            sent = _said(sender, seconds)
            got = _said(receiver, 0)
        line = between.stop()
    if not got["whole"]:
        raise PathError("what arrived is not what was sent")
    forth, back = line["a_to_b"], line["b_to_a"]
    return {"mbit_s": got["mbit_s"], "again_percent": 100 * sent["retransmitted"] / max(sent["segments"], 1),
            "line_lost": forth["lost"], "line_overflowed": forth["overflowed"], "line_refused":
            forth["refused"] + back["refused"], "line_late_mean_us": max(forth["late_mean"], back["late_mean"]) / 1000,
            "line_late_most_us": max(forth["late_most"], back["late_most"]) / 1000,
            "line_late": forth["late"] + back["late"], "line_released": forth["released"] + back["released"]}


def table_of(paths: tuple[PathOf, ...], chosen: list[Pairing], seconds: float, repeat: int,
             console: Console) -> dict[str, dict[str, Any]]:
    """Everything, path by path: the median run (by goodput) of each, or why there is none."""
    results: dict[str, dict[str, Any]] = {}
    missing: dict[Pairing, str] = {}
    for path in paths:
        row = results.setdefault(path.name, {})
        for pairing in chosen:
            key = _key(pairing)
            if pairing in missing:
                row[key] = {"missing": missing[pairing]}
                continue
            try:
                with console.status(f"{path.name}: {key}"):
                    runs = [measure(path, pairing, seconds, seed) for seed in range(1, repeat + 1)]
                row[key] = {"median": _median(runs), "runs": runs}
                if not console.is_terminal:         # where no status is shown
                    console.print(f"{path.name}: {key}: {_cell(row[key])}", highlight=False, soft_wrap=True)
            except NotThereError as error:
                missing[pairing] = str(error)
                row[key] = {"missing": str(error)}
                console.print(f"{key}: {error}", style="yellow", highlight=False)
            except (PathError, OSError, RuntimeError) as error:
                row[key] = {"failed": str(error)}
                console.print(f"{path.name}: {key}: {error}", style="yellow", highlight=False)
    return results


def _key(pairing: Pairing) -> str:
    return pairing.name.replace("\n", " ")


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    goodput = statistics.median_low([run["mbit_s"] for run in runs])
    return next(run for run in runs if run["mbit_s"] == goodput)


def show(results: dict[str, dict[str, Any]], chosen: list[Pairing], seconds: float) -> None:
    """Print the table."""
    table = Table(title=f"goodput over {seconds:g} s in Mbit/s (segments sent again)", show_lines=True)
    table.add_column("path", min_width=24)
    for pairing in chosen:
        table.add_column(pairing.name, justify="right")
    for path, row in results.items():
        table.add_row(path, *(_cell(row[_key(pairing)]) for pairing in chosen))
    Console(width=max(WIDTH, Console().width)).print(table)
    runs = [run for row in results.values() for cell in row.values() for run in cell.get("runs", ())]
    _say_who_is_behind(results, chosen, print)
    if runs:
        _say_how_exact(runs, print)


def _cell(cell: dict[str, Any]) -> str:
    if "missing" in cell:
        return "-"
    if "failed" in cell:
        return f"failed: {cell['failed']}"
    figures = cell["median"]
    return f"{figures['mbit_s']:.1f} ({figures['again_percent']:.2f} %)"


def _say_how_exact(runs: list[dict[str, float]], say: Callable[[str], None]) -> None:
    released, late = sum(r["line_released"] for r in runs), sum(r["line_late"] for r in runs)
    mean = statistics.mean(r["line_late_mean_us"] for r in runs)
    say(f"the relay let frames go {mean:.0f} us after their time on average, {100 * late / max(released, 1):.2f} % of "
        f"them more than 200 us, at worst {max(r['line_late_most_us'] for r in runs) / 1000:.1f} ms; "
        f"it could not write {sum(r['line_refused'] for r in runs):.0f}")
    others = [r["others_cpus"] for r in runs]
    say(f"of {len(os.sched_getaffinity(0))} CPUs other programs used {statistics.mean(others):.1f} on average, "
        f"{max(others):.1f} at most")


def _say_who_is_behind(results: dict[str, dict[str, Any]], chosen: list[Pairing], say: Callable[[str], None]) -> None:
    """Where netstack sends or receives less than Linux does with the same algorithm."""
    for path, row in results.items():
        for pairing in chosen:
            ours = row[_key(pairing)].get("median")
            other = row.get(_key(Pairing("linux", "linux", pairing.algorithm)), {}).get("median")
            if "netstack" in (pairing.sender, pairing.receiver) and ours and other:
                share = ours["mbit_s"] / other["mbit_s"]
                if share < ENOUGH:
                    say(f"{_key(pairing)}: {100 * share:.0f} % of what Linux reaches on {path}")
