"""Many of them: 100,000 connects and closes leave nothing behind; 1,000 threads blocked at once all wake.

`pytest -s` shows the figures.
"""
from __future__ import annotations

import gc
import os
import resource
import socket as real
import struct
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

import netstack
from netstack.description import DETACHED, OURS
from netstack.machine import addressof, load32, loaded
from netstack.machine.mode import IMAGE, JIT
from netstack.tcp import memory
from netstack.world import PORTS

from ..waiting import blocked, is_asleep, until

COMPILED = JIT or (IMAGE and loaded.is_there())
TIMES = 100_000 if COMPILED else 300
WARM_UP = 100
THREADS = 1_000 if COMPILED else 100
HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)         # SO_LINGER: close with a reset
PAGE = 4096
SLACK = 16 << 20                        # bytes of resident memory: Python's own, and rings that are kept warm
PATIENCE = 60.0                         # seconds for the threads, on a loaded machine


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def ports_in_use(stack: netstack.Stack) -> int:
    """Local ports at which the stack has a connection or a listener, TCP and UDP, and where its hash has one."""
    t, d = stack._tcp, stack._record.datagrams
    here = addressof(t)
    return sum(load32(start + 4 * i) != 0 for start, count in (
        (here + t.ports, PORTS), (here + t.listeners, PORTS), (here + t.buckets, t.bucket_mask + 1),
        (addressof(d) + d.ports, PORTS)) for i in range(count))


def holdings(stack: netstack.Stack) -> dict[str, int]:
    """What is in use: in the engine, in Python, in the system."""
    t = stack._tcp
    gc.collect()
    return {
        "connections": t.tcbs.live, "runs": t.runs.live, "held": t.held.live, "rares": t.rares.live,
        "timers": t.timers.count, "time wait": t.counters.time_wait, "orphans": t.orphans.count,
        "datagram sockets": stack._record.datagrams.socks.live,
        "memory of TCP": max(t.memory.used, memory.WARM), "buffers": max(stack._net.arena.live, memory.WARM),
        "objects": len(stack._sockets), "behind descriptors": len(OURS) + len(DETACHED),
        "descriptors": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(),
    }


def more(stack: netstack.Stack, before: dict[str, int]) -> dict[str, int]:
    """What is in use now and was not before."""
    return {name: count - before[name] for name, count in holdings(stack).items() if count > before[name]}


def both_close(client, conn):
    """The client first: its end goes through TIME-WAIT."""
    client.close()
    conn.close()


def one_resets(client, conn):
    conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, RESET)
    conn.close()
    client.close()


def with_everything(client, conn):
    """Text both ways, descriptors, text that nobody reads, an end and then the other."""
    client.fileno()
    conn.fileno()
    client.sendall(b"question")
    conn.sendall(b"answer")
    client.recv(100)
    conn.shutdown(real.SHUT_WR)
    client.recv(100)
    client.close()
    conn.close()


def datagrams(stack):
    """A socket that sends to itself, and leaves it unread."""
    with stack.socket(real.AF_INET, real.SOCK_DGRAM) as s:
        s.bind((HOST, 0))
        s.sendto(b"unread", s.getsockname())


def one(stack, server, end):
    client = stack.create_connection(server.getsockname())
    end(client, server.accept()[0])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("end", [pytest.param(end, marks=[pytest.mark.slow] * COMPILED)
                                 for end in (both_close, one_resets, with_everything)])
def test_so_many_leave_nothing_behind(end):
    """With Linux's defaults: who closes first is in TIME-WAIT, for a second here, and tcp_max_tw_buckets bounds it."""
    with (netstack.Stack(settings={"netstack.tcp_time_wait": 1.0}) as stack,
          stack.create_server((HOST, 0)) as server):
        for _ in range(WARM_UP):
            one(stack, server, end)
            datagrams(stack)
        until(lambda: stack._tcp.tcbs.live == 1, "the end of TIME-WAIT")
        before, ports, size = holdings(stack), ports_in_use(stack), resident()
        times = TIMES // 5 if end is with_everything else TIMES
        began = time.monotonic()
        for i in range(times):
            one(stack, server, end)
            if i % 10 == 0:
                datagrams(stack)
        took = time.monotonic() - began
        until(lambda: stack._tcp.tcbs.live == 1, "the end of TIME-WAIT")
        assert stack._tcp.counters.active_opens == stack._tcp.counters.passive_opens == times + WARM_UP
        assert more(stack, before) == {}
        assert ports_in_use(stack) == ports
        # A table's entry takes memory when it is first used: as many as were in TIME-WAIT at the same time.
        grown = resident() - size
        assert grown < SLACK + stack._tcp.tcbs.peak * PAGE
    print(f"{times} in {took:.1f} s, {times / took:.0f} a second; memory grew by {grown / (1 << 20):.1f} MiB, "
          f"{stack._tcp.tcbs.peak} connections at once")


def test_nothing_is_left_after_time_wait(clock):
    """... as long as it is on Linux."""
    with netstack.Stack(clock) as stack, stack.create_server((HOST, 0)) as server:
        before, ports = holdings(stack), ports_in_use(stack)
        for end in (both_close, one_resets, with_everything) * 5:
            one(stack, server, end)
        assert stack._tcp.counters.time_wait == 10
        stack.advance(59)
        assert stack._tcp.counters.time_wait == 10
        stack.advance(2)
        assert more(stack, before) == {}
        assert ports_in_use(stack) == ports


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end", ["text", "the stack closes"])
def test_so_many_threads_blocked_at_once(end):
    """Nine of ten in recv, the others in accept of one listener."""
    readers = THREADS * 9 // 10
    said: list[str] = []

    def receive(sock):
        try:
            said.append(sock.recv(10).decode())
        except OSError as error:
            said.append(error.strerror)

    def accept():
        try:
            with server.accept()[0]:
                said.append("text")
        except OSError as error:
            said.append(error.strerror)

    with netstack.Stack() as stack, ExitStack() as life:
        server = life.enter_context(stack.create_server((HOST, 0), backlog=THREADS))
        pairs = []
        for _ in range(readers):
            client = life.enter_context(stack.create_connection(server.getsockname()))
            pairs.append((client, life.enter_context(server.accept()[0])))
        reading = [threading.Thread(target=receive, args=(client,)) for client, _ in pairs]
        accepting = [threading.Thread(target=accept) for _ in range(THREADS - readers)]
        threads = reading + accepting
        size = resident()
        old = threading.stack_size(256 << 10)
        try:
            for thread in threads:
                thread.start()
        finally:
            threading.stack_size(old)
        # They look into Python every few seconds, so perhaps not each of them sleeps at the same moment.
        slept: set[int] = set()
        until(lambda: slept.update(i for i, (c, _) in enumerate(pairs) if blocked(c)) or len(slept) == readers,
              "all in recv", PATIENCE)
        slept.clear()
        until(lambda: slept.update(i for i, t in enumerate(accepting) if is_asleep(t.native_id or 0))
              or (len(slept) == len(accepting) and blocked(server)), "all in accept", PATIENCE)
        assert said == []
        print(f"{THREADS} threads blocked: {(resident() - size) / THREADS / 1024:.1f} KiB each")
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        if end == "text":
            for _, conn in pairs:
                conn.sendall(b"text")
            for _ in range(THREADS - readers):
                life.enter_context(stack.create_connection(server.getsockname()))
        else:
            stack.close()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        after = resource.getrusage(resource.RUSAGE_SELF)
        print(f"all awake after {time.monotonic() - began:.3f} s, "
              f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.3f} s of CPU")
    assert said == [end if end == "text" else "the stack is closed"] * THREADS
