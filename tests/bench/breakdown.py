"""Where the nanoseconds go: `python -m tests.bench.breakdown`.

The small servers run under `perf record` while the bench's load is on them; each sample of their process is put into
one part by its stack.  Without perf the kernel's own counters tell user from system time, and no more.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from netstack.lab.namespace import command as in_namespace

from . import load, measure
from .measure import Figures, Target
from .peers import TAP, allow_descriptors, machine, prepare_namespace, stack_on_tap

INSIDE = "NETSTACK_BENCH_INSIDE"
SERVER = "env NETSTACK_JIT=1 {python} -m tests.bench.profiled {tap} {address}"      # in an image perf finds no names
FREQUENCY = 1999            # samples a second
FULL = 1514                 # bytes of a full frame, MTU 1500

LOADS: dict[str, tuple[str, Callable[[Target, float], Figures]]] = {
    "tcp in": ("1,514 bytes", lambda t, s: measure._transfer(t, measure.DISCARD, load.push, measure.PUSH, s,
                                                              lambda *_: 0)),
    "tcp out": ("1,514 bytes", lambda t, s: measure._transfer(t, measure.CHARGEN, load.pull, measure.PULL, s,
                                                               lambda *_: 0)),
    "rr 1 cpu": ("request", measure.rr_one_cpu),
    "udp echo": ("datagram and answer", measure.udp_echo),
    "conn/s 1": ("frame", measure.connections_1),
    "1000 together": ("request", measure.together),
}

# Kernel: the first pattern that fits any function of the stack.  What Linux does with a packet that we write happens
# inside our write: its receiving TCP is there, too.
KERNEL = (
    ("copying, in the kernel", r"_copy_(to|from)_(iter|user)|copy_(to|from)_user|^memcpy|rep_movs|copy_page"),
    ("Linux's own receiving, inside our write", r"netif_receive_skb|napi_gro|tcp_v[46]_rcv|net_rx_action"),
    ("reading frames: system call", r"readv|ksys_read|vfs_read|tun_chr_read"),
    ("writing frames: system call", r"writev|ksys_write|vfs_write|tun_chr_write"),
    ("sleeping and waking: poll, futex, eventfd", r"poll|futex|eventfd|schedule|switch|exit_to_user"),
)
KERNEL_REST = "other kernel"
# User: by the object that the code is in, then by the function's name.
USER = (
    ("copying, in the stack", r".", r"mem(move|cpy|set)"),
    ("Python: services and socket API", r"python|_dispatcher|_ctypes|\.cpython", r"."),
    ("engine: TCP", r"JIT|perf-\d+\.map", r"^netstack\.tcp"),
    ("engine: IP, Ethernet", r"JIT|perf-\d+\.map", r"^netstack\.ip"),
    ("engine: devices", r"JIT|perf-\d+\.map", r"^netstack\.drivers"),
    ("engine: UDP", r"JIT|perf-\d+\.map", r"^netstack\.(udp|datagram)"),
    ("engine: turns, calls, locks", r"JIT|perf-\d+\.map", r"."),
)
USER_REST = "other: libc, clock"


def part_of(stack: list[tuple[str, str]]) -> str:
    """Which part a sample belongs to; its stack, (function, object), from the inside out."""
    function, file = stack[0]
    if "kernel" in file:
        for part, pattern in KERNEL:
            if any(re.search(pattern, f) for f, o in stack if "kernel" in o):
                return part
        return KERNEL_REST
    for part, objects, functions in USER:
        if re.search(objects, file) and re.search(functions, function):
            return part
    return USER_REST


def samples(text: str) -> Iterator[list[tuple[str, str]]]:
    """The stacks that `perf script -F comm,ip,sym,dso` prints."""
    for block in text.split("\n\n"):
        stack = [(m[1], m[2]) for m in re.finditer(r"^\s+[0-9a-f]+ (.*) \((.*)\)$", block, re.MULTILINE)]
        if stack:
            yield stack


def _traffic() -> tuple[int, int]:
    """Frames and bytes that went over the TAP so far, both ways (proc(5), net/dev)."""
    line = next(x for x in Path("/proc/net/dev").read_text().splitlines() if x.strip().startswith(f"{TAP}:"))
    numbers = [int(n) for n in line.partition(":")[2].split()]
    return numbers[1] + numbers[9], numbers[0] + numbers[8]


def _units(what: str, frames: int, octets: int) -> float:
    per = LOADS[what][0]
    return octets / FULL if per == "1,514 bytes" else frames if per == "frame" else frames / 2


def profile(what: str, target: Target, seconds: float, directory: Path) -> dict[str, float]:
    """Nanoseconds of CPU that the servers' process spends on one unit of this load, by part."""
    data = directory / "perf.data"
    # of all CPUs: to follow one process costs it a microsecond or two in each change of threads
    perf = subprocess.Popen(["perf", "record", "--quiet", "-e", "cpu-clock", "-F", str(FREQUENCY), "-g", "-a",
                             "-o", str(data)], stdout=subprocess.DEVNULL)
    time.sleep(0.5)                     # until it has begun
    if perf.poll() is not None:
        sys.exit("perf refuses (it needs root, or kernel.perf_event_paranoid at 0): --no-perf does without")
    try:
        frames, octets = _traffic()
        LOADS[what][1](target, seconds)
        units = _units(what, *(now - before for now, before in zip(_traffic(), (frames, octets), strict=True)))
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait()
    text = subprocess.run(["perf", "script", "-i", str(data), "--pid", str(target.pid), "-F",
                           "comm,ip,sym,dso"], capture_output=True,
                          text=True, check=True).stdout
    parts = Counter(part_of(stack) for stack in samples(text))
    return {part: count * 1e9 / FREQUENCY / units for part, count in parts.items()}


def count(what: str, target: Target, seconds: float) -> dict[str, float]:
    """The same without perf: user and system time only."""
    def spent() -> tuple[float, float]:
        fields = Path(f"/proc/{target.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) / measure.TICK, int(fields[12]) / measure.TICK

    (frames, octets), (user, system) = _traffic(), spent()
    LOADS[what][1](target, seconds)
    units = _units(what, *(now - before for now, before in zip(_traffic(), (frames, octets), strict=True)))
    after = spent()
    return {"in system calls": (after[1] - system) * 1e9 / units,
            "engine, Python, copying": (after[0] - user) * 1e9 / units}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(LOADS)), help="Just these.")
@click.option("--seconds", default=3.0, show_default=True, help="Of each load.")
@click.option("--no-offload", is_flag=True, help="Plain frames.")
@click.option("--no-perf", is_flag=True, help="User and system time only.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write the parts there.")
def main(only: tuple[str, ...], seconds: float, no_offload: bool, no_perf: bool, json_path: str | None) -> None:
    """CPU nanoseconds of this stack's process per packet or request, by part."""
    if INSIDE not in os.environ:
        sys.exit(subprocess.call(in_namespace([sys.executable, "-m", "tests.bench.breakdown", *sys.argv[1:]]),
                                 env={**os.environ, INSIDE: "1"}))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # the servers end with us
    allow_descriptors()
    prepare_namespace()
    load.prepare()
    with_perf = not no_perf and shutil.which("perf") is not None
    if not with_perf:
        print("no perf: user and system time only", file=sys.stderr)
    results: dict[str, dict[str, float]] = {}
    with (stack_on_tap("netstack", SERVER + " --no-offload" * no_offload) as target,
          tempfile.TemporaryDirectory(prefix="netstack-bench-") as directory):
        for what in only or LOADS:
            results[what] = (profile(what, target, seconds, Path(directory)) if with_perf
                             else count(what, target, seconds))
    show(results)
    if json_path is not None:
        Path(json_path).write_text(json.dumps({"machine": machine(), "offload": not no_offload, "perf": with_perf,
                                               "ns": results}, indent=1) + "\n")


def in_order(parts: set[str]) -> list[str]:
    """As in the tables above."""
    order = [part for part, *_ in (*USER, (USER_REST,), *KERNEL, (KERNEL_REST,))]
    return sorted(parts, key=lambda p: order.index(p) if p in order else len(order))


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the table: a line for each part, its nanoseconds and its share."""
    table = Table(title="CPU of the stack's process, ns (and %)")
    table.add_column("part")
    for what in results:
        table.add_column(f"{what}\nper {LOADS[what][0]}", justify="right")
    for part in in_order({part for parts in results.values() for part in parts}):
        table.add_row(part, *(f"{parts.get(part, 0):,.0f} ({100 * parts.get(part, 0) / sum(parts.values()):.0f})"
                              for parts in results.values()))
    table.add_section()
    table.add_row("all", *(f"{sum(parts.values()):,.0f}" for parts in results.values()))
    Console(width=max(140, Console().width)).print(table)


if __name__ == "__main__":
    main()
