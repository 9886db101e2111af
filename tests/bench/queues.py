"""One world against several on one TAP (netstack.Shards): `python -m tests.bench.queues [--seconds N] [--rounds N]`

The same services (echo, discard, chargen), in Python over sockets or as compiled handlers, in one world and in two;
Linux is the peer.  The two take turns, and the ratio is taken within each round.  "Two flows" are one in each world.
"work": echo as a handler that computes for some microseconds before each answer, so that the load is the small part.
"""
from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import click
import numpy as np
from pyroute2 import IPRoute

from netstack.handlers import Exchange, compiled, consume, mix64, send_back
from netstack.lab import kernel
from netstack.lab.namespace import command as in_namespace

from . import load, measure, verify
from .measure import CHARGEN, DISCARD, PULL, PUSH, Figures, Target
from .peers import START, STOP, TAP, TAP_OURS, TAP_THEIRS, allow_descriptors, machine, prepare_namespace

INSIDE = "NETSTACK_BENCH_INSIDE"
WARM_UP = 0.3           # seconds before a transfer is measured
TRIES = 64              # connections until one is in each world
FLOWS = 2
STEPS = 20_000          # of what "work" computes: some 20 us


@compiled
def work(x: Exchange) -> None:
    """What comes goes back, some computing later."""
    for i in range(STEPS):
        x.a = mix64(x.a, i)
    consume(x, send_back(x, 0, x.length))


class Server:
    """The process with the worlds."""

    def __init__(self, worlds: int, kind: str) -> None:
        kernel.make_tap(TAP, f"{TAP_OURS}/24", multi_queue=True)
        self._process = subprocess.Popen([sys.executable, "-m", "tests.bench.queues", "--serve", str(worlds), kind],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._line() != "READY":
            raise RuntimeError("the server did not start")
        kernel.await_carrier(TAP)
        self.worlds = worlds
        self.target = Target(f"{worlds}, {kind}", TAP_THEIRS, self._process.pid)

    def _line(self) -> str:
        assert self._process.stdout is not None
        timer = threading.Timer(START, self._process.kill)
        timer.start()
        try:
            return self._process.stdout.readline().strip()
        finally:
            timer.cancel()

    def ask(self, what: str) -> Any:
        """"where": the peer's ports in each world; "stats": the counters."""
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return json.loads(self._line())

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        with IPRoute() as route:
            route.link("del", index=route.link_lookup(ifname=TAP)[0])

    def flows(self, port: int) -> list[socket.socket]:
        """Two connections, of which one is in each world (if there are two)."""
        found: list[socket.socket] = []
        used: set[int] = set()
        for _ in range(TRIES):
            sock = measure._connect(self.target, port)
            where = self.ask("where")
            world = next(i for i, ports in enumerate(where) if sock.getsockname()[1] in ports)
            if world in used and self.worlds > 1:
                sock.close()
                continue
            used.add(world)
            found.append(sock)
            if len(found) == FLOWS:
                return found
        raise RuntimeError("every connection was in the same world")


def bulk(server: Server, port: int, loop: Callable[..., int], size: int, seconds: float) -> Figures:
    """Two flows, a thread for each here."""
    socks = server.flows(port)
    with ExitStack() as stack:
        for sock in socks:
            stack.enter_context(sock)
        totals = [[0, 0] for _ in socks]
        start = threading.Barrier(len(socks) + 1)

        def work(sock: socket.socket, total: list[int]) -> None:
            buffer = np.zeros(size, np.uint8)
            total[0] = measure._good(loop(sock.fileno(), buffer, measure._until(WARM_UP)))
            start.wait()
            total[1] = measure._good(loop(sock.fileno(), buffer, measure._until(seconds)))

        threads = [threading.Thread(target=work, args=pair) for pair in zip(socks, totals, strict=True)]
        for thread in threads:
            thread.start()
        start.wait()
        cpu, started = server.target.cpu(), time.monotonic()
        for thread in threads:
            thread.join()
        elapsed, cpu = time.monotonic() - started, server.target.cpu() - cpu
        moved = sum(total[1] for total in totals)
        for sock, total in zip(socks, totals, strict=True):
            if port == CHARGEN:
                verify.generated(sock, sum(total), seconds / 4)
            else:
                verify.taken(sock)
        return {"gbit_s": moved * 8 / elapsed / 1e9, "cpu_s_per_gb": cpu / (moved / 1e9)}


MEASUREMENTS: dict[str, tuple[str, Callable[[Server, float], Figures]]] = {
    "connections/s, 16 at a time": ("per_s", lambda s, t: measure.connections_16(s.target, t)),
    "two flows in, Gbit/s": ("gbit_s", lambda s, t: bulk(s, DISCARD, load.push, PUSH, t)),
    "two flows out, Gbit/s": ("gbit_s", lambda s, t: bulk(s, CHARGEN, load.pull, PULL, t)),
    "1,000 connections echoing 64 B, per s": ("per_s", lambda s, t: measure.together(s.target, t)),
}
KINDS = {"sockets": tuple(MEASUREMENTS), "handlers": tuple(MEASUREMENTS), "work": tuple(MEASUREMENTS)[-1:]}


def serve(worlds: int, kind: str) -> None:
    """The services, in each world; answers questions on its standard input."""
    import netstack
    from netstack.cli.serve import small_servers
    from netstack.drivers import Tap

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with netstack.Shards(worlds) as shards, ExitStack() as life:
        shards.attach(Tap.queues(TAP, worlds), ip=f"{TAP_THEIRS}/24", gateway=TAP_OURS, dad=False)
        for stack in shards.stacks:
            if kind == "work":
                server = life.enter_context(stack.create_server(("", measure.ECHO), backlog=4096))
                server.set_handler(work)
            else:
                life.enter_context(small_servers(stack, kind == "handlers"))
        print("READY", flush=True)
        for line in sys.stdin:
            answer: Any = shards.stats() if line.strip() == "stats" else [
                [c.remote[1] for c in stack.connections() if c.protocol == "tcp" and c.remote]
                for stack in shards.stacks]
            print(json.dumps(answer), flush=True)


@click.command()
@click.option("--seconds", default=2.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=5, show_default=True, help="Of which the medians are shown.")
@click.option("--only", multiple=True, type=click.Choice(list(KINDS)), help="Just these services.")
@click.option("--serve", "served", type=(int, str), hidden=True)
def main(seconds: float, rounds: int, only: tuple[str, ...], served: tuple[int, str] | None) -> None:
    """Measure, and print a table."""
    allow_descriptors()
    if served is not None:
        serve(*served)
        return
    if INSIDE not in os.environ:
        sys.exit(subprocess.call(in_namespace([sys.executable, "-m", "tests.bench.queues", *sys.argv[1:]]),
                                 env={**os.environ, INSIDE: "1"}))
    prepare_namespace()
    load.prepare()
    print(machine(), f"load average before: {os.getloadavg()[0]:.1f}")
    for kind in only or KINDS:
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS[kind]}
        handed = 0
        for round in range(rounds):
            figures: dict[int, dict[str, float]] = {}
            for worlds in (1, 2) if round % 2 == 0 else (2, 1):
                server = Server(worlds, kind)
                try:
                    figures[worlds] = {name: MEASUREMENTS[name][1](server, seconds)[MEASUREMENTS[name][0]]
                                       for name in results}
                    stats = server.ask("stats")
                    if worlds > 1:
                        handed = max(handed, _share(stats))
                finally:
                    server.close()
            for name, found in results.items():
                found.append((figures[1][name], figures[2][name]))
        print(f"\n| {kind} | one world | two worlds | ratio (least to most) |\n|---|---|---|---|")
        for name, found in results.items():
            ratios = sorted(two / one for one, two in found)
            one, two = (statistics.median(column) for column in zip(*found, strict=True))
            print(f"| {name} | {one:,.3g} | {two:,.3g} | {statistics.median(ratios):.2f} "
                  f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |")
        print(f"frames handed on: at most {handed} of 1,000")


def _share(stats: dict[str, int]) -> int:
    """Frames that came to another world's queue, of 1,000."""
    return round(1000 * stats[f"{TAP}.handed_on"] / max(stats[f"{TAP}.rx_packets"], 1))


if __name__ == "__main__":
    main()
