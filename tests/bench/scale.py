"""How the cost of a connection changes with how many there are: establish, exchange, rest, close.

Each size runs in a process of its own, twice the stacks and nothing else, so that resident memory is theirs alone.
Time is CPU time: the machine may be busy with other things.
"""
from __future__ import annotations

import array
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from netstack import Profile, Stack, VirtualClock
from netstack.drivers import Wire
from netstack.machine import addressof, sizeof
from netstack.machine.mode import JIT
from netstack.machine.record import Scalar
from netstack.tcp.tcb import TCB_SIZE, Tcb

from . import scale_loop as loop

Figures = dict[str, float]

SIZES = (1, 10, 100, 1_000, 10_000, 100_000)
EXCHANGES = 200_000         # round trips that are measured, at least two for each connection
FIRST_PORT = 2000
ADDRESSES = "10.0.0.1", "10.0.0.2"
MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"
SECOND = 1_000_000_000
MAPPED = 0xFFFF << 32       # ::ffff:0:0/96, the low half
ROOM = 16                   # entries of the tables beside the connections
CHUNK = 1 << 16             # pages looked at in one read
PATIENCE = 900              # seconds for one size, with the compiler's time

SETTINGS = {"net.ipv4.ip_local_port_range": (1024, 65535)}


class Scale:
    """Two stacks that are to have `count` connections with each other."""

    def __init__(self, count: int, life: ExitStack) -> None:
        self.count = count
        self.clock = VirtualClock(seed=1)
        listeners = -(-count // loop.PER_LISTENER)
        profile = Profile(connections=count + listeners + ROOM)
        wires = [life.enter_context(Wire(mac)) for mac in MACS]
        Wire.join(*wires)
        self.stacks = [life.enter_context(Stack(self.clock, profile=profile, settings=SETTINGS, name=name))
                       for name in ("client", "server")]
        for stack, wire, address in zip(self.stacks, wires, ADDRESSES, strict=True):
            stack.attach(wire, ip=f"{address}/24", dad=False, link_local=False)
        self.clock.advance(5)                   # addresses have been announced
        self._listeners = [life.enter_context(self.stacks[1].create_server((ADDRESSES[1], FIRST_PORT + i)))
                           for i in range(listeners)]
        self._handles = [array.array("q", values) for values in (
            bytes(8 * count), bytes(8 * count), [listener._handle for listener in self._listeners],
            bytes(loop.REQUEST))]
        p = self.pair = loop.Pair.new()
        p.client, p.server = (stack._world for stack in self.stacks)
        p.clients, p.servers, p.listeners, p.buffer = (a.buffer_info()[0] for a in self._handles)
        p.address = MAPPED | int.from_bytes(bytes(map(int, ADDRESSES[1].split("."))), "big")
        p.port = FIRST_PORT
        p.clock = self.clock.now
        p.rng.state = 1
        self.address = addressof(p)

    def _good(self, failed: int, what: str) -> None:
        if failed:
            raise RuntimeError(f"{failed} failed to {what}")

    def establish(self, first: int = 0, last: int | None = None) -> None:
        """Open connections."""
        self._good(loop.open_many(self.address, first, self.count if last is None else last), "open")

    def exchange(self, times: int, among: int | None = None) -> None:
        """Round trips on random ones: on each once a second, so that its timers always have as much to do."""
        count = self.count if among is None else among
        self._good(loop.exchange(self.address, count, times, SECOND // count), "exchange")

    def rest(self, seconds: float = loop.PATIENCE / SECOND) -> int:
        """Let all clocks run out."""
        return loop.rest(self.address, self.pair.clock + round(seconds * SECOND))

    def close(self, first: int = 0, last: int | None = None) -> None:
        """Close connections."""
        self._good(loop.close_many(self.address, first, self.count if last is None else last), "close")

    def segments(self) -> int:
        """Segments received so far, by both."""
        return sum(stack._tcp.counters.in_segs for stack in self.stacks)

    def resident(self) -> int:
        """Resident bytes of the memory that the two stacks stand in: all that a connection has."""
        return sum(resident(stack._memory.address, stack._memory.size) for stack in self.stacks)

    def resident_tables(self) -> int:
        """... without the arena of buffers, which comes last."""
        return sum(resident(stack._memory.address, addressof(stack._net.arena) + stack._net.arena.start
                            - stack._memory.address) for stack in self.stacks)


def resident(address: int, size: int) -> int:
    """Resident bytes of a range of our own memory (proc(5), pagemap)."""
    page = os.sysconf("SC_PAGE_SIZE")
    count = 0
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(8 * (address // page))
        left = -(-size // page)
        while left:
            entries = np.frombuffer(file.read(8 * min(left, CHUNK)), np.uint64)
            count += int((entries >> np.uint64(63)).sum())
            left -= entries.size
    return count * page


@contextmanager
def stacks(count: int) -> Iterator[Scale]:
    """Two stacks for so many connections."""
    with ExitStack() as life:
        yield Scale(count, life)


def _process_memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(count: int) -> Figures:
    """One size, in this process.  Nanoseconds are of CPU time, for both ends together; memory is of one end."""
    with stacks(1) as warm:                     # whatever is compiled or loaded is, before anything is measured
        warm.establish()
        warm.exchange(1000)
        warm.rest(1)
        warm.close()
    with stacks(count) as s:
        s.rest(1)
        before, process = s.resident(), _process_memory()
        started = time.process_time_ns()
        s.establish()
        opened = time.process_time_ns()
        s.exchange(max(EXCHANGES // 4, count))  # most have a round-trip time, and have used their rings
        segments = s.segments()
        begun = time.process_time_ns()
        times = max(EXCHANGES, 2 * count)
        s.exchange(times)
        done = time.process_time_ns()
        segments = s.segments() - segments
        s.rest()
        after, whole = s.resident(), _process_memory()
        blocks = sum(stack._net.arena.live for stack in s.stacks)
        runs = sum(stack._tcp.runs.live for stack in s.stacks)
        rested = time.process_time_ns()
        s.close()
        closed = time.process_time_ns()
        return {
            "connections": count, "round_trip_ns": (done - begun) / times, "segment_ns": (done - begun) / segments,
            "segments": segments / times, "establish_ns": (opened - started) / count,
            "close_ns": (closed - rested) / count, "idle_bytes": (after - before) / (2 * count),
            "process_bytes": (whole - process) / (2 * count), "tcb_bytes": TCB_SIZE, "buffer_bytes": blocks,
            "runs": runs,
        }


def sizes(which: tuple[int, ...], repeat: int, console: Console) -> dict[str, Any]:
    """Every size in its own process, `repeat` times; of the times the least counts, of the memory the most."""
    results: dict[str, Any] = {}
    for count in which:
        with console.status(f"scale: {count:,} connections"):
            runs = [_in_process(count) for _ in range(repeat)]
        best = {key: (min if key.endswith("_ns") else max)(run[key] for run in runs) for key in runs[0]}
        results[str(count)] = {"best": best, "runs": runs}
    return results


def _in_process(count: int) -> Figures:
    done = subprocess.run([sys.executable, "-m", "tests.bench.scale", str(count)], stdout=subprocess.PIPE, text=True,
                          timeout=PATIENCE, check=False, env={**os.environ, "NETSTACK_JIT": "1"})
    if done.returncode:
        raise RuntimeError(f"{count} connections: exit status {done.returncode}")
    figures: Figures = json.loads(done.stdout)
    return figures


def show(results: dict[str, Any]) -> None:
    """The table."""
    table = Table(title="cost of a connection, both ends together; CPU time, the least of the runs")
    for heading in ("connections", "round trip\nns", "against 100", "establish\nns", "close\nns",
                    "idle, one end\nbytes", "buffers held\nbytes"):
        table.add_column(heading, justify="right")
    base = results.get("100", next(iter(results.values())))["best"]["round_trip_ns"]
    for count, result in results.items():
        f = result["best"]
        table.add_row(f"{int(count):,}", f"{f['round_trip_ns']:,.0f}", f"{f['round_trip_ns'] / base:.2f}",
                      f"{f['establish_ns']:,.0f}", f"{f['close_ns']:,.0f}",
                      f"{f['idle_bytes']:,.0f}" if int(count) >= 1000 else "-", f"{f['buffer_bytes']:,.0f}")
    Console(width=max(100, Console().width)).print(table)


def parts() -> dict[str, int]:
    """What a connection's record is made of: bytes of each mechanism's own record, and of all that is no record."""
    found = {name: sizeof(field.kind) for name, field in Tcb._layout_.items() if not isinstance(field.kind, Scalar)}
    return {**found, "the rest, and gaps": TCB_SIZE - sum(found.values())}


if __name__ == "__main__":
    if sys.argv[1:] == ["parts"]:
        for name, size in sorted(parts().items(), key=lambda pair: -pair[1]):
            print(f"{size:5} {name}")
        sys.exit()
    if not JIT:
        sys.exit("interpreted: nothing to measure")
    json.dump(measure(int(sys.argv[1])), sys.stdout)
