"""The table of neighbours: bounded, hashed, in the order of last use."""
from __future__ import annotations

import random

import pytest

from netstack.ip import neighbour, setup
from netstack.ip.neighbour import State
from netstack.machine import SECOND

from .host import PEER_MAC, PEER_V4, SIZES, Host, halves, text
from .sending import reply, send
from .test_neighbour import LEARN, OTHER_MAC, entry, queued, state, update


@pytest.fixture
def host() -> Host:
    return Host()


def test_a_full_table_loses_what_was_used_least_recently(host):
    for i in range(SIZES.neighbours):
        update(host, PEER_MAC, LEARN, f"192.0.2.{10 + i}")
        host.now += 1
    send(host, "192.0.2.10")                            # used again
    update(host, PEER_MAC, LEARN, "192.0.2.200")
    assert entry(host, "192.0.2.10")
    assert entry(host, "192.0.2.200")
    assert entry(host, "192.0.2.11") is None
    assert host.net.neighbours.exhausted == 1
    assert host.net.neighbours.live == SIZES.neighbours


def test_a_flood_does_not_push_out_those_that_packets_wait_for(host):
    send(host, PEER_V4, b"patience")
    for i in range(100):
        update(host, OTHER_MAC, LEARN, f"192.0.2.{100 + i}")
    assert state(host) == State.INCOMPLETE
    host.sent()
    host.receive(reply())
    assert queued(host) == [b"patience"]


def test_when_all_wait_the_oldest_goes_with_its_packets(host):
    for i in range(SIZES.neighbours + 3):
        assert send(host, f"192.0.2.{10 + i}") == 0
    assert host.net.neighbours.live == SIZES.neighbours
    assert host.drops() == {"NEIGHBOUR_QUEUE": 3}
    assert entry(host, "192.0.2.12") is None
    assert entry(host, "192.0.2.13")


def test_the_same_address_on_two_interfaces(host):
    from .sending import add_interface
    other = add_interface(host)
    neighbour.update(host.net, host.iface, *halves("fe80::1"), PEER_MAC, LEARN, host.now)
    neighbour.update(host.net, host.net.interfaces[other], *halves("fe80::1"), OTHER_MAC, LEARN, host.now)
    found = [neighbour.find(host.net, i, *halves("fe80::1")) for i in (host.index, other)]
    assert [neighbour.entry(host.net, i).mac for i in found] == [PEER_MAC, OTHER_MAC]
    setup.forget_neighbours(host.net, host.index)
    assert neighbour.find(host.net, host.index, *halves("fe80::1")) == 0
    assert neighbour.find(host.net, other, *halves("fe80::1")) != 0


def test_against_a_dictionary(host):
    """Random updates, uses and forgetting: the hash chains and the list by use stay whole."""
    rng = random.Random(7)
    known: dict[str, None] = {}
    for step in range(600):
        peer = f"192.0.2.{rng.randrange(2, 40)}"
        host.now += rng.randrange(SECOND // 100)
        if rng.random() < 0.5:
            update(host, PEER_MAC, LEARN, peer)
            if peer not in known:
                if len(known) == SIZES.neighbours:
                    del known[next(iter(known))]
                known[peer] = None
        elif peer in known:
            send(host, peer)
            host.sent()
            del known[peer]
            known[peer] = None
        if peer in known and rng.random() < 0.1:
            neighbour.release(host.net, neighbour.find(host.net, host.index, *halves(peer)))
            del known[peer]
        if step % 20 == 0:
            order, index = [], host.net.neighbour_oldest
            while index:
                n = neighbour.entry(host.net, index)
                order.append(text(n.hi, n.lo))
                index = n.newer
            assert order == list(known)
            assert host.net.neighbours.live == len(known)
            assert all(entry(host, p) for p in known)
            assert not any(entry(host, f"192.0.2.{i}") for i in range(2, 40) if f"192.0.2.{i}" not in known)
