"""Two stacks that have too little of everything: the bytes still arrive, and everything comes back (docs/limits.md)."""
from __future__ import annotations

import errno

import pytest

import netstack

from . import net as simulated
from .net import End, network, transfer

SMALL = {"net.ipv4.tcp_rmem": (4096, 16384, 65536), "net.ipv4.tcp_wmem": (4096, 16384, 65536)}


class Patient(End):
    """An application that tries again later when there is no memory."""

    refused = 0

    def _send(self):
        try:
            return super()._send()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            Patient.refused += 1
            return False


@pytest.fixture
def tiny(monkeypatch):
    """tiny(runs=2): the stacks that are made next are so small."""
    monkeypatch.setattr(simulated, "End", Patient)
    Patient.refused = 0

    def make(**sizes):
        profile = netstack.Profile(**{"connections": 64, "sockets": 4, "neighbours": 4, "buffers": 64 << 20, **sizes})
        monkeypatch.setattr(simulated, "PROFILE", profile)
    return make


@pytest.mark.parametrize("runs", [2, 3])
@pytest.mark.parametrize("impairments", [{}, {"loss": 0.03, "delay": "5ms"}], ids=["clean", "lossy"])
def test_hardly_any_runs(tiny, runs, impairments):
    """Every connection must wait until another one has given back the run that remembers what it has sent."""
    tiny(runs=runs)
    with network(runs, **impairments) as net:
        transfer(net, [(60_000, 20_000)] * 4)
        assert net.a._tcp.runs.exhausted > 0
        assert net.a._tcp.runs.peak == runs - 1


@pytest.mark.parametrize("buffers", [32 << 10, 40 << 10, 80 << 10])
@pytest.mark.parametrize("impairments", [{}, {"loss": 0.03, "delay": "5ms", "reorder": 0.05}], ids=["clean", "lossy"])
def test_hardly_any_buffers(tiny, buffers, impairments):
    tiny(buffers=buffers)
    with network(buffers, SMALL, **impairments) as net:
        transfer(net, [(60_000, 20_000)] * 6)
        memory = net.b._tcp.memory
        assert memory.peak <= buffers
        assert memory.pressures > 0
    assert net.b._tcp.memory.used == 0


def test_everything_at_once(tiny):
    tiny(runs=4, buffers=64 << 10, connections=8)
    with network(5, SMALL, loss=0.02, delay="3ms", reorder=0.05) as net:
        transfer(net, [(40_000, 40_000)] * 6)
        with pytest.raises(OSError, match="open files"):
            for _ in range(3):
                net.socket(net.a)


def test_afterwards_it_is_as_quick_as_before(tiny):
    """Nothing of the shortage is left: no pieces, no small buffers, no pressure."""
    tiny(buffers=1 << 20)
    with network(6) as net:
        transfer(net, [(100_000, 0)] * 12)
        for sock in list(simulated._sockets(net)):
            sock.close()
        while any(s._tcp.tcbs.live for s in net.stacks):
            assert net.step()
        for stack in net.stacks:
            arena = stack._record.net.arena
            assert stack._tcp.memory.pressures > 0
            assert (arena.live, arena.used, stack._tcp.memory.pressure) == (0, 0, 0)
        start = net.clock.time()
        transfer(net, [(300_000, 0)])
        assert net.clock.time() - start < 1.5
