"""Simulations: flows on a bad link in virtual time."""
from __future__ import annotations

import errno
import socket as real
import struct

import pytest

from netstack.lab.simulation import Clock, Simulation


def test_a_flow_comes_to_its_end():
    with Simulation(1, rate="10mbit", rtt="20ms", queue=500_000) as sim:
        began = sim.time()
        flow = sim.flow(200_000)
        assert flow.received == 0
        sim.run(60, until_over=True)
        sim.check()
        assert flow.received == 200_000
        assert flow.errors == (0, 0)
        assert 0.16 < flow.seconds < 0.5               # 200 kB at 10 Mbit/s
        assert sim.time() - began < 1
        assert 3e6 < flow.goodput < 10e6
        sim.run(10)
        assert flow.received == 200_000


def test_flows_both_ways_and_later():
    with Simulation(2, rate="10mbit", rtt="10ms", loss="1%", duplicate=0.01, reorder=0.02, corrupt=0.05) as sim:
        flows = [sim.flow(50_000), sim.flow(80_000, backwards=True), sim.flow(1, start=2.0), sim.flow(0)]
        sim.run(1.5)
        assert flows[2].received == 0
        sim.run(100, until_over=True)
        sim.check()
        assert [f.received for f in flows] == [50_000, 80_000, 1, 0]
        assert flows[2].seconds < 5
        assert all(link.counters("outbound")["corrupted"] for link in sim.links)


def test_the_same_seed_is_the_same_simulation():
    def told(seed):
        with Simulation(seed, rate="5mbit", rtt="30ms", loss=0.02) as sim:
            flow = sim.flow()
            sim.run(2)
            return flow.received, sim.clock.now, sim.clock.turns, sim.packets, sim.a.stats()

    assert told(5) == told(5)
    assert told(5) != told(6)


def test_a_wrong_byte_is_found():
    with Simulation(3, rate="10mbit") as sim:
        flow = sim.flow(10_000)
        flow.reader.reads_from += 1
        sim.run(1)
        with pytest.raises(AssertionError, match="not what was written"):
            sim.check()


def test_a_reset_ends_a_flow():
    with Simulation(4, rate="10mbit", rtt="10ms") as sim:
        flow = sim.flow()
        sim.run(0.1)
        flow.sink.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
        flow.sink.close()
        sim.run(0.1)
        assert flow.errors[0] in (errno.ECONNRESET, errno.EPIPE)
        assert flow.writer.over


def test_goodput_counts_from_a_mark():
    with Simulation(5, rate="10mbit") as sim:
        flow = sim.flow()
        sim.run(1)
        flow.mark()
        assert flow.goodput == 0
        sim.run(1)
        assert 9e6 < flow.goodput < 10e6


def test_ordinary_sockets_beside():
    """They work on the same clock, and block in virtual time."""
    with Simulation(6, rtt="100ms") as sim:
        sim.flow(1000)
        with sim.b.create_server(("", 7)) as server, sim.a.create_connection(("192.0.2.2", 7)) as client:
            conn, _ = server.accept()
            with conn:
                client.sendall(b"hello")
                assert conn.recv(100) == b"hello"
        sim.run(5, until_over=True)
        sim.check()


def test_a_clock_has_room_for_some_stacks():
    import netstack

    clock = Clock(7)
    stacks = [netstack.Stack(clock) for _ in range(8)]
    with pytest.raises(ValueError, match="at most 8"):
        netstack.Stack(clock)
    stacks[3].close()
    with netstack.Stack(clock):
        clock.advance(1)
    for stack in stacks:
        stack.close()
    clock.advance(1)
    assert clock.time() == 2
