"""Two stacks on one wire, and who uses their connections, in one compiled loop on virtual time.

The calls are those that the socket object makes (netstack/entry.py), so a round trip is two sends, two receives and
the turns between; nothing of Python, and nothing of a kernel, is in it.
"""
from __future__ import annotations

from netstack import entry
from netstack.endpoint import Kind
from netstack.machine import MS, at, compiled, i64, load64, record, store64
from netstack.machine.random import Rng, below
from netstack.world import World

AF_INET = 2
REQUEST = 64            # bytes each way
STEP = 5_000            # ns of virtual time between two connections that are opened or closed
ROUNDS = 16             # turns until the link is quiet
PER_LISTENER = 10_000   # connections to one port: a client has 64,511 of its own


@record
class Pair:
    """The two stacks, and their connections."""

    client: i64         # address of a World
    server: i64
    clients: i64        # address of the handles on the client's side
    servers: i64        # ... and on the server's
    listeners: i64      # address of the listeners' handles
    address: i64        # of the server, IPv4-mapped, low half
    port: i64           # of the first listener
    buffer: i64         # address of REQUEST bytes
    clock: i64          # ns
    turns: i64          # turns run
    rng: Rng


@compiled
def set_clock(p: Pair, now: int) -> None:
    """It is `now` in both stacks."""
    p.clock = now
    at(World, p.client).clock = now
    at(World, p.server).clock = now


@compiled
def carry(p: Pair) -> None:
    """Run turns until nothing is under way."""
    for _ in range(ROUNDS):
        busy = entry.turn(p.server, p.clock)
        busy |= entry.turn(p.client, p.clock)
        p.turns += 2
        if busy == 0 and entry.has_frames(p.server) == 0 and entry.has_frames(p.client) == 0:
            return


@compiled
def open_many(pair: int, first: int, last: int) -> int:
    """Establish the connections first .. last - 1, one after the other; how many could not be."""
    p = at(Pair, pair)
    failed = 0
    for i in range(first, last):
        set_clock(p, p.clock + STEP)
        h = entry.open(p.client, Kind.TCP, AF_INET, 0)
        entry.connect(p.client, h, 0, p.address, p.port + i // PER_LISTENER, 0)
        carry(p)
        child = entry.accept(p.server, load64(p.listeners + 8 * (i // PER_LISTENER)), 0, 0)
        store64(p.clients + 8 * i, h)
        store64(p.servers + 8 * i, child)
        if h < 0 or child < 0:
            failed += 1
    return failed


@compiled
def exchange(pair: int, count: int, times: int, step: int) -> int:
    """Requests and answers on random ones of `count` connections, `times` of them, `step` ns apart; how many failed."""
    p = at(Pair, pair)
    failed = 0
    for _ in range(times):
        i = below(p.rng, count)
        set_clock(p, p.clock + step)
        one = load64(p.clients + 8 * i)
        other = load64(p.servers + 8 * i)
        done = entry.send(p.client, one, p.buffer, REQUEST, 0)
        entry.turn(p.server, p.clock)
        done += entry.recv(p.server, other, p.buffer, REQUEST, 0, 0)
        done += entry.send(p.server, other, p.buffer, REQUEST, 0)
        entry.turn(p.client, p.clock)
        done += entry.recv(p.client, one, p.buffer, REQUEST, 0, 0)
        p.turns += 2
        if done != 4 * REQUEST:
            failed += 1
    return failed


@compiled
def rest(pair: int, until: int) -> int:
    """Let time pass; how many turns it took."""
    p = at(Pair, pair)
    before = p.turns
    carry(p)
    due = min(entry.next_deadline(p.client), entry.next_deadline(p.server))
    while due <= until:
        set_clock(p, max(due, p.clock))
        carry(p)
        due = min(entry.next_deadline(p.client), entry.next_deadline(p.server))
    set_clock(p, until)
    return p.turns - before


@compiled
def close_many(pair: int, first: int, last: int) -> int:
    """Close the connections first .. last - 1, the client first; how many calls failed."""
    p = at(Pair, pair)
    failed = 0
    for i in range(first, last):
        set_clock(p, p.clock + STEP)
        failed -= entry.close(p.client, load64(p.clients + 8 * i)) >> 63
        carry(p)
        failed -= entry.close(p.server, load64(p.servers + 8 * i)) >> 63
        carry(p)
    return failed


PATIENCE = 70_000 * MS      # so long all clocks of idle connections have run out, TIME-WAIT's too
