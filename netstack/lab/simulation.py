"""Simulation: two stacks on one bad link, in virtual time, as fast as the machine can.

    with Simulation(seed=7, rate="100mbit", rtt="50ms", loss="1%") as sim:
        flow = sim.flow()                   # bytes from sim.a to sim.b, without end
        sim.run(10)                         # seconds
        print(flow.goodput, sim.a.stats()["tcp.retrans_segs"])

The stacks, the link and the connections are ordinary ones; `sim.clock` is a
VirtualClock on which ordinary sockets work as well.  Only the loop that lets time
pass is another: it is compiled (`netstack/simulate.py`), and so are the
applications at the ends of flows.  They write a known pattern, and whoever reads
compares: `Flow.check` raises if one byte was lost, doubled, moved or changed.
The same seed gives the same simulation, compiled or interpreted.
"""
from __future__ import annotations

import ctypes
import random
import socket as real
from collections.abc import Mapping
from typing import Any

from .. import simulate
from ..clock import START, Member, VirtualClock
from ..drivers import Impaired, Wire
from ..drivers.units import bitrate, duration
from ..machine import addressof
from ..simulate import CHUNK, END, PATTERN, PERIOD, End, Node
from ..sockopt import TCP_CONGESTION
from ..stack import Stack
from ..world import Profile

SECOND = 1_000_000_000
STACKS = 8                      # on one clock
ENDS = 1024                     # of connections, on one stack
PORT = 5001
ADDRESSES = ("192.0.2.1", "192.0.2.2")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
PROFILE = Profile(connections=ENDS + 64, sockets=64, buffers=16 << 30, neighbours=16)
LARGEST_BUFFER = 16 << 20
SMALLEST_WIRE, LARGEST_WIRE = 256 << 10, 16 << 20
TRIES = {f"net.ipv4.neigh.default.{n}": 50 for n in ("mcast_solicit", "ucast_solicit")}     # ARP gets through, too


class Clock(VirtualClock):
    """A virtual clock whose `advance` and `run_until` are one compiled call, whatever happens meanwhile."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self._nodes = (Node * STACKS)()                         # type: ignore[operator]
        self._ends = [(End * ENDS)() for _ in range(STACKS)]    # type: ignore[operator]
        pattern = random.Random(0).randbytes(PERIOD)
        self._pattern = ctypes.create_string_buffer((pattern * (PATTERN // PERIOD + 1))[:PATTERN], PATTERN)
        self._scratch = ctypes.create_string_buffer(CHUNK)
        self._loop = simulate.Simulation.new()                  # type: ignore[attr-defined]
        self._loop.nodes = ctypes.addressof(self._nodes)
        self._loop.pattern = ctypes.addressof(self._pattern)
        self._loop.scratch = ctypes.addressof(self._scratch)

    def join(self, member: Member) -> None:
        """See VirtualClock.join."""
        if len(self._members) == STACKS:
            raise ValueError(f"at most {STACKS} stacks on one such clock")
        super().join(member)
        node = self._nodes[self._loop.count]
        node.world, node.count = member._world, 0
        node.ends = ctypes.addressof(self._ends[self._loop.count])
        self._loop.count += 1

    def leave(self, member: Member) -> None:
        """See VirtualClock.leave.  The ends on that stack are forgotten."""
        super().leave(member)
        kept = [(n.world, n.ends, n.count) for n in self._nodes[:self._loop.count] if n.world != member._world]
        for i, values in enumerate(kept):
            self._nodes[i].world, self._nodes[i].ends, self._nodes[i].count = values
        self._loop.count = len(kept)

    @property
    def turns(self) -> int:
        """Turns of all stacks so far."""
        return int(self._loop.turns)

    def run_until(self, target: int) -> None:
        """Let time pass until `target`, ns."""
        self.run(target, False)

    def run(self, target: int, awaiting: bool) -> None:
        """Let time pass until `target`, ns; with `awaiting` only until every awaited End is over."""
        with self._lock:
            self._loop.now = self.now
            reached = simulate.run(addressof(self._loop), target, int(awaiting))
            if reached == simulate.RESTLESS:
                raise RuntimeError(f"the stacks did not come to rest at {self.time()} s: frames in a circle?")
            self.now = reached
            self._look()

    def add_end(self, sock: Any, written: int, read: int) -> Any:
        """The application behind a connected socket: an End.  `written`, `read`: places in the pattern."""
        node = next(n for n in self._nodes[:self._loop.count] if n.world == sock._world)
        if node.count == ENDS:
            raise ValueError(f"at most {ENDS} ends of connections on one stack")
        end = End.from_address(node.ends + node.count * END)    # type: ignore[attr-defined]
        ctypes.memset(ctypes.addressof(end), 0, END)
        end.index, end.generation = sock._handle & 0xFFFF_FFFF, sock._handle >> 32 & 0xFF_FFFF
        end.writes_from, end.reads_from = written, read
        node.count += 1
        return end

    def await_end(self, end: Any) -> None:
        """`run(awaiting=True)` goes on until this one is over."""
        if not end.awaited and not end.over:
            end.awaited = 1
            self._loop.waiting += 1


class Flow:
    """One connection: bytes that one end writes and the other reads."""

    def __init__(self, clock: Clock, source: Any, sink: Any, number: int, amount: int | None, start: float) -> None:
        self.clock, self.source, self.sink = clock, source, sink
        there, back = number * 61 % PERIOD, (number * 61 + 2039) % PERIOD
        self.writer = clock.add_end(source, there, back)
        self.reader = clock.add_end(sink, back, there)
        self.writer.limit = -1 if amount is None else amount
        self.writer.starts = self.reader.starts = clock.now + round(start * SECOND)
        self.reader.limit = 0
        if amount is not None:
            clock.await_end(self.reader)
            clock.await_end(self.writer)
        else:
            self.reader.shut = 1                    # nobody waits for it to close
        self._marked = (self.writer.starts, 0)

    def mark(self) -> None:
        """`goodput` counts from now on."""
        self._marked = (self.clock.now, self.received)

    @property
    def received(self) -> int:
        """Bytes that have been read, each of them compared with what was written."""
        return int(self.reader.read)

    @property
    def goodput(self) -> float:
        """Bits per second that were read: from the flow's beginning (or `mark`) until its end, or now."""
        since, before = self._marked
        until = self.reader.finished or self.clock.now
        return (self.received - before) * 8 * SECOND / (until - since) if until > since else 0.0

    @property
    def seconds(self) -> float | None:
        """How long it took, if it is over."""
        return (self.reader.finished - self.writer.starts) / SECOND if self.reader.finished else None

    @property
    def errors(self) -> tuple[int, int]:
        """The errno with which each end has ended, or 0."""
        return self.writer.error, self.reader.error

    def check(self) -> None:
        """AssertionError unless what was read is the beginning of what was written."""
        for one, other in ((self.writer, self.reader), (self.reader, self.writer)):
            assert not one.wrong, f"{one.wrong} bytes in pieces that are not what was written"
            assert one.read <= other.written, f"{one.read} bytes read, {other.written} written"


class Simulation:
    """See above.  `a` sends, `b` receives."""

    def __init__(self, seed: int = 0, *, rtt: float | str = 0.0, rate: float | str | None = None,
                 queue: int | str | None = None, mtu: int = 1500, buffer: int | None = None,
                 settings: Mapping[str, Any] | None = None, **impairments: Any) -> None:
        """`rtt`: half of it each way.  `rate`, `queue` (bytes) and the impairments (netstack.drivers.Impaired) hold
        each way.  `buffer`: bytes of SO_SNDBUF and SO_RCVBUF of each flow; by default
        they grow by themselves, as far as they can.
        """
        self.seed = seed
        self.clock = Clock(seed)
        self.flows: list[Flow] = []
        self._impairments: dict[str, Any] | None = impairments
        path = {"delay": duration(rtt) / 2 / SECOND, "rate": rate, "limit": 65535}
        if queue is not None:
            path["queue"] = queue
        bits = bitrate(rate) if rate is not None else 0
        self.buffer = buffer
        room = SMALLEST_WIRE if bits else LARGEST_WIRE
        wires = [Wire(mac, size=room, mtu=mtu, name=f"wire{i}") for i, mac in enumerate(MACS)]
        Wire.join(*wires)
        self.links = tuple(Impaired(wire, outbound={**path, "seed": 2 * seed + i}) for i, wire in enumerate(wires))
        largest: dict[str, Any] = {f"net.core.{name}": LARGEST_BUFFER for name in ("rmem_max", "wmem_max")}
        largest["net.ipv4.tcp_rmem"] = 4096, 131072, LARGEST_BUFFER
        largest["net.ipv4.tcp_wmem"] = 4096, 16384, LARGEST_BUFFER
        self.a, self.b = self.stacks = tuple(
            Stack(self.clock, profile=PROFILE, settings={**TRIES, **largest, **(settings or {})}, name=name)
            for name in "ab")
        for stack, link, address in zip(self.stacks, self.links, ADDRESSES, strict=True):
            stack.attach(link, ip=f"{address}/24", dad=False, link_local=False)
        self.clock.advance(5)                   # addresses have been announced
        self._listeners: dict[Stack, Any] = {}

    def flow(self, amount: int | None = None, *, start: float = 0.0, congestion: str | None = None,
             backwards: bool = False) -> Flow:
        """A connection from `a` to `b` (`backwards`: from `b` to `a`), `amount` bytes or without end.

        The handshake is over when this returns; the first byte is written `start` seconds later.
        `congestion`: the sender's TCP_CONGESTION.
        """
        source, sink = reversed(self.stacks) if backwards else self.stacks
        listener = self._listener(sink)
        client = self._socket(source)
        if congestion is not None:
            client.setsockopt(real.IPPROTO_TCP, TCP_CONGESTION, congestion.encode())
        client.connect_ex((ADDRESSES[self.stacks.index(sink)], PORT))
        accepted: list[Any] = []

        def accept() -> bool:
            try:
                accepted.append(listener.accept()[0])
            except BlockingIOError:
                return False
            return True

        if not self.clock.wait_until(accept, 300.0):
            raise OSError("the connection was not established")
        accepted[0].setblocking(False)
        self.flows.append(Flow(self.clock, client, accepted[0], len(self.flows), amount, start))
        return self.flows[-1]

    def _socket(self, stack: Stack) -> Any:
        sock = stack.socket(real.AF_INET, real.SOCK_STREAM)
        sock.setblocking(False)
        if self.buffer is not None:
            for option in (real.SO_SNDBUF, real.SO_RCVBUF):
                sock.setsockopt(real.SOL_SOCKET, option, self.buffer)
        return sock

    def _listener(self, stack: Stack) -> Any:
        if stack not in self._listeners:
            listener = self._listeners[stack] = self._socket(stack)
            listener.bind(("", PORT))
            listener.listen(ENDS)
        return self._listeners[stack]

    def impair(self, **changes: Any) -> None:
        """Change what happens on the link, both ways (see Impaired.set)."""
        for link in self.links:
            link.set("outbound", **changes)

    def worsen(self) -> None:
        """Bring the impairments now, if `run` has not done it."""
        if self._impairments is not None:
            self.impair(**self._impairments)
            self._impairments = None

    def run(self, seconds: float, *, until_over: bool = False) -> None:
        """Let time pass; `until_over`: only until every flow that has an end has come to it.

        The first call brings the impairments; what came before (handshakes) had only delay and rate.
        """
        self.worsen()
        self.clock.run(self.clock.now + round(seconds * SECOND), until_over)

    def check(self) -> None:
        """AssertionError if any flow read what was not written."""
        for flow in self.flows:
            flow.check()

    @property
    def packets(self) -> int:
        """Frames that the stacks have received from the link so far."""
        return sum(stack.interfaces[-1].counters["rx_packets"] for stack in self.stacks)

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return (self.clock.now - START) / SECOND

    def close(self) -> None:
        """End both stacks."""
        for stack in self.stacks:
            for sock in stack._live_sockets():
                sock.close()            # type: ignore[attr-defined]    # of `socket`, which is a Base
            stack.close()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
