"""Many connections: what an idle one costs, and that none of them makes the others dearer."""
from __future__ import annotations

import gc
import sys
from socket import SO_REUSEADDR, SOL_SOCKET

import pytest

from netstack.machine import timers
from netstack.machine.mode import JIT
from netstack.tcp import memory
from netstack.tcp.tcb import TCB_SIZE
from tests.bench.scale import Scale, stacks

MOST = 1536             # bytes of an idle connection, all in all
WORDS = 16              # in tables: at most two of the hash, two of the notes, 4 bytes each
MANY = 3000 if JIT else 300
PAGES = 10 * 4096       # of one stack's tables: the pages that are only begun


def test_what_an_idle_connection_is_made_of():
    assert TCB_SIZE + timers.NODE + WORDS <= MOST


def test_an_idle_connection_is_small():
    """Measured: the pages that the tables of two stacks take for their connections.  They keep next to no buffers."""
    with stacks(MANY) as s:
        before = s.resident_tables()
        s.establish()
        s.exchange(2 * MANY)
        s.rest()
        assert (s.resident_tables() - before - 2 * PAGES) / (2 * MANY) <= MOST
        for stack in s.stacks:
            tcp = stack._tcp
            assert tcp.memory.used <= memory.WARM + (256 << 10)
            assert (tcp.runs.live, tcp.held.live, tcp.rares.live, tcp.timers.count) == (0, 0, 0, 0)
            assert tcp.tcbs.live >= MANY


def calls(what, *arguments):
    """How many functions are called, of Python and of C."""
    count = 0

    def look(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    gc.collect()
    gc.disable()                    # what it would call has nothing to do with us
    sys.setprofile(look)
    try:
        what(*arguments)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.skipif(JIT, reason="counts the calls of functions that are interpreted")
def test_none_makes_the_others_dearer():
    """Establish, exchange, close: as many operations among 300 as among 10."""
    few, step = 10, 10
    with stacks(MANY) as s:
        s.establish(0, few)
        among_few = (calls(s.establish, few, few + step), calls(_exchange, s, few))
        s.establish(few + step, MANY - step)
        among_many = (calls(s.establish, MANY - step, MANY), calls(_exchange, s, MANY))
        s.rest()
        closing_many = calls(s.close, 0, step)
        s.close(step, MANY - step)
        closing_few = calls(s.close, MANY - step, MANY)
    for many, little in zip((*among_many, closing_many), (*among_few, closing_few), strict=True):
        assert many <= 1.1 * little


def _exchange(s: Scale, among: int) -> None:
    s.exchange(20, among)


@pytest.mark.skipif(JIT, reason="counts the calls of functions that are interpreted")
def test_who_waits_does_not_make_accept_dearer():
    with stacks(MANY) as s:
        listener = s._listeners[0]
        listener.listen(MANY)
        client = s.stacks[0]
        waiting = []

        def connect(n):
            for _ in range(n):
                sock = client.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                waiting.append(sock)
                s.clock.settle()

        def accept():
            waiting.append(listener.accept()[0])

        connect(5)
        one = calls(accept)
        connect(60)
        assert calls(accept) <= one + 5
        conflict = calls(_try_to_bind, s)
        connect(60)
        assert calls(_try_to_bind, s) <= conflict + 5
        for sock in waiting:
            sock.close()


def _try_to_bind(s: Scale) -> None:
    sock = s.stacks[1].socket()
    sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)    # else the first connection is in the way already
    with pytest.raises(OSError):
        sock.bind(s._listeners[0].getsockname())
    sock.close()
