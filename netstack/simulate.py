"""Simulate: stacks that share a link, and the applications on them, in one compiled loop on virtual time.

What a `VirtualClock` does turn by turn from Python happens here without it: time
goes to the earliest deadline, every stack that has work runs its turn, and the
applications at the ends of connections write and read as sockets do.  What they
write follows from its position (a pattern of bytes whose period is a prime), so
whoever reads can tell a byte that is lost, doubled or out of place.

Nothing imports this but who simulates.
`lab/simulation.py` is the Python side.
"""
from __future__ import annotations

from . import drive, engine
from .errors import EAGAIN, ECONNABORTED
from .machine import at, compiled, entered, equal, i32, i64, record, ring, sizeof, u8, u32
from .machine.timers import NEVER
from .tcp import calls, receive, seq, space, tcb
from .world import World

PERIOD = 4093           # of the pattern: a prime, so no multiple of a segment, a buffer or a window is one of it
CHUNK = 16 << 10        # bytes that an application writes or reads at once
AHEAD = 256 << 10       # bytes not sent yet, with which it rests: several times what one turn sends
PATTERN = PERIOD + CHUNK
ROUNDS = 1_000_000      # turns without time passing, before somebody is told that the stacks never rest
RESTLESS = -1           # what `run` returns then


@record
class End:
    """One end of a connection: what the application there has still to write, and has read."""

    index: u32              # of the connection in its stack's table
    generation: u32         # of that entry
    shut: u8                # 1: everything is written, and the FIN is queued
    over: u8                # 1: nothing more will be read: the peer's FIN is here, or the connection has ended
    awaited: u8             # 1: the simulation goes on until this end is over
    reserved: u8
    error: i32              # errno that ended it, or 0
    starts: i64             # ns: it writes nothing before
    limit: i64              # bytes that it writes in all, then it sends a FIN; -1: it never ends
    written: i64            # bytes taken by the stack
    planned: i64            # ... and which it would have taken, had all been written that there was room for
    ring: i64               # bytes of the send ring then
    read: i64               # bytes that came from the peer, all of them compared
    wrong: i64              # of those, bytes in pieces that were not what the peer has written
    writes_from: i64        # place in the pattern of the first byte that it writes
    reads_from: i64         # ... and of the first that it reads
    finished: i64           # ns: when it was over


@record
class Node:
    """One stack."""

    world: i64              # address of its World
    ends: i64               # address of the Ends on it, one after the other
    count: i64              # how many
    deadline: i64           # ns: when its next turn is due
    release: i64            # ns: when the link lets its next frame go on, for which it needs no turn


@record
class Simulation:
    """Stacks in one time."""

    now: i64                # ns
    nodes: i64              # address of the Nodes, one after the other
    count: i64              # how many
    pattern: i64            # address of PATTERN bytes
    scratch: i64            # address of CHUNK bytes, for what is read
    turns: i64              # turns run
    waiting: i64            # ends that are awaited and not over


END = sizeof(End)
NODE = sizeof(Node)


@entered
def run(simulation: int, until: int, awaiting: int) -> int:
    """Let time pass until `until`, or with `awaiting` until no End is waited for: the time reached, or RESTLESS."""
    s = at(Simulation, simulation)
    for i in range(s.count):
        node = at(Node, s.nodes + i * NODE)
        node.deadline = s.now
        node.release = s.now
        drive.lock(at(World, node.world))
    result = _run(s, until, awaiting)
    for i in range(s.count):
        w = at(World, at(Node, s.nodes + i * NODE).world)
        w.clock = s.now
        drive.unlock(w)
    return result


@compiled
def _run(s: Simulation, until: int, awaiting: int) -> int:
    while True:
        rounds = 0
        while _round(s):
            rounds += 1
            if rounds == ROUNDS:
                return RESTLESS
        if awaiting and s.waiting == 0:
            return s.now
        next = NEVER
        for i in range(s.count):
            node = at(Node, s.nodes + i * NODE)
            next = min(next, node.deadline, node.release)
        if next > until:
            s.now = max(until, s.now)
            return s.now
        s.now = max(next, s.now)


@compiled
def _round(s: Simulation) -> int:
    """Frames go on, then one turn of every stack that has something to do now.  0 when there was nothing."""
    busy = 0
    for i in range(s.count):
        node = at(Node, s.nodes + i * NODE)
        if node.release <= s.now:
            w = at(World, node.world)
            engine.release(w, s.now)
            node.release = engine.next_release(w, s.now)
            busy = 1
    for i in range(s.count):
        node = at(Node, s.nodes + i * NODE)
        w = at(World, node.world)
        if node.deadline <= s.now or engine.has_frames(w):
            more = engine.turn(w, s.now)
            starts = NEVER
            changed = 0
            for k in range(node.count):
                e = at(End, node.ends + k * END)
                if e.starts > s.now:
                    starts = min(starts, e.starts)
                if e.over == 0 or e.shut == 0:
                    changed |= _act(s, w, e)
            if changed:
                more |= engine.settle(w, s.now)
            node.deadline = s.now if more else min(engine.next_work(w, s.now), starts)
            node.release = engine.next_release(w, s.now)
            s.turns += 1
            busy = 1
    return busy


@compiled
def _act(s: Simulation, w: World, e: End) -> int:
    """The application at one end reads what there is, and writes what there is room for.  1 when it did anything."""
    t = tcb.get(w.tcp, e.index)
    if t.ep.generation != e.generation:
        _end(s, e, ECONNABORTED)
        return 0
    did = 0
    if e.over == 0 and (ring.used(t.rcv) != 0 or calls.has_ended(t)):
        did = _read(s, w, t, e)
    if e.shut == 0 and e.starts <= s.now:
        _plan(t, e)
        if e.limit == e.written or (e.written < e.planned and _not_sent(t) < AHEAD):
            did |= _write(s, w, t, e)
    if did:
        engine.touched(w, t)
    return did


@compiled
def _plan(t: tcb.Tcb, e: End) -> None:
    """An application writes when a third of the ring is free, as much as there is room for.

    It does so in pieces (AHEAD), which makes no difference to the stack, as long as there is always something to
    send.  But what is sent then was written just now, and is in the processor's cache, of which a full buffer is
    several times the size.
    """
    acknowledged = e.written - ring.used(t.snd)
    if 3 * (e.ring - (e.planned - acknowledged)) >= e.ring:
        room = min(t.space.sndbuf, space.LARGEST_RING)
        e.planned = max(e.planned, acknowledged + room)
        e.ring = max(e.ring, space.ring_size(room))


@compiled
def _not_sent(t: tcb.Tcb) -> int:
    """Bytes that were written and not sent yet."""
    return ring.used(t.snd) - seq.diff(t.snd_nxt, t.snd_una)


@compiled
def _end(s: Simulation, e: End, error: int) -> None:
    if e.over == 0:
        s.waiting -= e.awaited
        e.finished = s.now
    e.error = error if e.error == 0 else e.error
    e.over = 1
    e.shut = 1 if error != 0 else e.shut


@compiled
def _read(s: Simulation, w: World, t: tcb.Tcb, e: End) -> int:
    did = 0
    n = calls.recv(t, s.scratch, CHUNK, 0, True)
    while n > 0:
        if not equal(s.scratch, s.pattern + (e.reads_from + e.read) % PERIOD, n):
            e.wrong += n
        e.read += n
        did = 1
        if receive.on_read(w.tcp, t, s.now):
            receive.make_room(w.tcp, t)
        n = calls.recv(t, s.scratch, CHUNK, 0, True)
    if n != -EAGAIN:
        _end(s, e, -n)
    return did


@compiled
def _write(s: Simulation, w: World, t: tcb.Tcb, e: End) -> int:
    did = 0
    if calls.can_send(t) and not receive.make_room_to_send(w.tcp, t, CHUNK):
        return 0
    while e.limit != e.written:
        if e.written >= e.planned or _not_sent(t) >= AHEAD:
            return did
        n = min(CHUNK, e.planned - e.written)
        if e.limit >= 0:
            n = min(n, e.limit - e.written)
        receive.make_room_to_send(w.tcp, t, n)
        n = calls.send(w.tcp, t, s.pattern + (e.writes_from + e.written) % PERIOD, n, 0)
        if n <= 0:
            if n != -EAGAIN:
                _end(s, e, -n)
            return did
        e.written += n
        did = 1
    e.shut = 1
    calls.shutdown(w.tcp, t, calls.SHUT_WR, s.now)
    return 1
