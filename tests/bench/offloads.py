"""What joining, offloads and each kind of device are worth: `python -m tests.bench.offloads`.

Ways that are compared take turns, round by round, in one server or one process; the median of the rounds is told, and
of two ways the median of the ratios of neighbouring rounds: what others do on the machine meets both.  Only the kinds
of devices come one after the other.
"""
from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from pyroute2 import IPRoute

from netstack.lab import kernel
from netstack.lab.namespace import command as in_namespace

from . import load, peers
from .measure import MEASUREMENTS, Target

INSIDE = "NETSTACK_BENCH_INSIDE"
TAP, FAR, OURS, THEIRS = peers.TAP, "far0", peers.TAP_OURS, peers.TAP_THEIRS
SWITCHED = "{python} -m tests.bench.offloads serve {tap} {address}"
UDP, UDP_SEGMENT, UDP_GRO = int(socket.IPPROTO_UDP), 103, 104
SEGMENT, COUNT = 1448, 45           # bytes of a datagram; datagrams of one call
BLOCK = 128 << 10


def serve(tap: str, address: str) -> None:
    """The small servers on a TAP without offloads; SIGUSR1 switches netstack.tcp_gro, which is off at first."""
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    import netstack
    from netstack.drivers import Tap
    from netstack.services.small import SmallServers
    from netstack.warm import ensure_compiled

    ensure_compiled()
    with netstack.Stack(settings={"netstack.tcp_gro": 0}) as stack:
        stack.attach(Tap(tap, offload=False), ip=f"{address}/24")
        with SmallServers(stack):
            print("READY", flush=True)
            while signal.sigwait(signals) == signal.SIGUSR1:
                stack.settings["netstack.tcp_gro"] = 1 - stack.settings["netstack.tcp_gro"]


def joining(rounds: int, seconds: float) -> None:
    """TCP in, plain frames: each segment by itself, and joined."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    on = False
    with peers.stack_on_tap("switched", SWITCHED) as target:
        for number in range(rounds):
            for way in (False, True) if number % 2 == 0 else (True, False):
                if way != on:
                    os.kill(target.pid, signal.SIGUSR1)
                    on = way
                found[way].append(MEASUREMENTS["tcp in"](target, seconds))
    for name, unit in (("gbit_s", "Gbit/s"), ("cpu_s_per_gb", "s/GB")):
        one, many = ([run[name] for run in found[way]] for way in (False, True))
        ratio = statistics.median(b / a for a, b in zip(one, many, strict=True))
        print(f"tcp in, plain: {statistics.median(one):.2f} {unit} one by one, {statistics.median(many):.2f} joined; "
              f"ratio {ratio:.3f}")


@contextmanager
def device(kind: str, offload: bool) -> Iterator[Target]:
    """`netstack serve` on a device of this kind."""
    if kind == "raw":
        kernel.make_veth(TAP, FAR, f"{OURS}/24")
    else:
        kernel.make_tap(TAP, f"{OURS}/24", mode=kind)
    words = [sys.executable, "-m", "netstack", "serve", f"--{kind}", FAR if kind == "raw" else TAP, "--ip",
             f"{THEIRS}/24", "--offload" if offload else "--no-offload"]
    try:
        with peers._process(words) as process:
            peers._await_ready(process)
            kernel.await_carrier(TAP)
            yield Target(kind, THEIRS, process.pid)
    finally:
        with IPRoute() as route:
            route.link("del", index=route.link_lookup(ifname=TAP)[0])


def devices(rounds: int, seconds: float) -> None:
    """One connection each way over each device."""
    for offload in (True, False):
        for kind in ("tap", "tun", "raw"):
            with device(kind, offload) as target:
                text = []
                for what in ("tcp in", "tcp out"):
                    runs = [MEASUREMENTS[what](target, seconds) for _ in range(rounds)]
                    rate, cpu = (statistics.median(run[name] for run in runs) for name in ("gbit_s", "cpu_s_per_gb"))
                    text.append(f"{what} {rate:.2f} Gbit/s ({cpu:.2f} s/GB)")
                print(f"{kind}, {'offload' if offload else 'plain'}: {', '.join(text)}", flush=True)


def each(ways: dict[str, Callable[[], int]], rounds: int, seconds: float, what: str) -> None:
    """CPU of this process for each datagram (or byte) that a way moves; ways take turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            way()
            done, cpu, end = 0, time.process_time(), time.monotonic() + seconds / 2
            while time.monotonic() < end:
                done += way()
            found[name].append((time.process_time() - cpu) / done * 1e9)
    print(what + ": " + ", ".join(f"{name} {statistics.median(values):,.3g} ns" for name, values in found.items()),
          flush=True)


def datagrams(rounds: int, seconds: float) -> None:
    """To and from a kernel's socket: one by one, in batches, as one."""
    import netstack
    from netstack.drivers import Tap

    kernel.make_tap(TAP, f"{OURS}/24")
    for offload in (True, False):
        with (netstack.Stack() as stack, socket.socket(type=socket.SOCK_DGRAM) as theirs,
              stack.socket(type=socket.SOCK_DGRAM) as ours):
            stack.attach(Tap(TAP, offload=offload), ip=f"{THEIRS}/24")
            kernel.await_carrier(TAP)
            theirs.bind((OURS, 0))
            ours.bind((THEIRS, 0))
            ours.connect(theirs.getsockname())
            theirs.connect(ours.getsockname())
            ours.send(b"who has")
            theirs.recv(100)
            exchange(ours, theirs, offload, rounds, seconds)


def exchange(ours: Any, theirs: socket.socket, offload: bool, rounds: int, seconds: float) -> None:
    """... on one device.  What comes in is only worth a look where the kernel may leave it in one piece."""
    from netstack.messages import Messages

    batch, got = Messages(COUNT, SEGMENT), Messages(COUNT, SEGMENT)
    one, many, buffer = bytes(SEGMENT), bytes(SEGMENT * COUNT), bytearray(1 << 16)
    for _ in range(COUNT):
        batch.append(one)

    def send(sock: Any, segment: int, call: Callable[[Any], object], data: Any, times: int = 1) -> int:
        sock.setsockopt(UDP, UDP_SEGMENT, segment)
        for _ in range(times):
            call(data)
        return COUNT

    def take(gro: int) -> int:
        ours.setsockopt(UDP, UDP_GRO, gro)
        send(theirs, SEGMENT, theirs.send, many)
        if gro:
            return (int(ours.recv_into(buffer)) + SEGMENT - 1) // SEGMENT
        n = 0
        while n < COUNT:
            n += ours.recvmmsg(got)
        return n

    each({"send": lambda: send(ours, 0, ours.send, one, COUNT), "sendmmsg": lambda: send(ours, 0, ours.sendmmsg, batch),
          "UDP_SEGMENT": lambda: send(ours, SEGMENT, ours.send, many)},
         rounds, seconds, f"a datagram of {SEGMENT} bytes out, {'offload' if offload else 'plain'}")
    if offload:
        each({"recvmmsg": lambda: take(0), "UDP_GRO": lambda: take(1)}, rounds, seconds, "... in (and Linux's sending)")


def loopback(rounds: int, seconds: float) -> None:
    """One connection within a stack: checksums computed and checked, or left out."""
    import netstack

    with netstack.Stack() as stack, stack.create_server(("127.0.0.1", 9)) as server:
        lo = stack._record.net.interfaces[1].device
        features = int(lo.features)
        with stack.create_connection(("127.0.0.1", 9)) as client, server.accept()[0] as conn:
            buffer, block = bytearray(2 * BLOCK), bytes(BLOCK)

            def read() -> None:
                while conn.recv_into(buffer):
                    pass

            reader = threading.Thread(target=read)
            reader.start()

            def way(value: int) -> int:
                lo.features = value
                client.sendall(block)
                return BLOCK

            each({"summed": lambda: way(0), "not summed": lambda: way(features)}, rounds, seconds,
                 "a byte over loopback")
            client.shutdown(socket.SHUT_WR)
            reader.join()


PARTS = {"joining": joining, "devices": devices, "datagrams": datagrams, "loopback": loopback}


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="Just these.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="Of each.")
def main(only: tuple[str, ...], rounds: int, seconds: float) -> None:
    """Ratios of ways of doing the same."""
    if INSIDE not in os.environ:
        sys.exit(subprocess.call(in_namespace([sys.executable, "-m", "tests.bench.offloads", *sys.argv[1:]]),
                                 env={**os.environ, INSIDE: "1"}))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # the servers end with us
    from netstack.warm import ensure_compiled

    ensure_compiled()
    peers.allow_descriptors()
    peers.prepare_namespace()
    load.prepare()
    for name in only or PARTS:
        PARTS[name](rounds, seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
