"""RFC 6056: local ports that are hard to guess (section 3), chosen by algorithm 4 (3.3.4).

As on Linux one port in sixteen is skipped, so that two ports one after the other are one or two apart.
"""
from __future__ import annotations

from itertools import pairwise

import pytest

from .link import ACK, RST, SYN

EADDRNOTAVAIL = 99


def ports(link, n, remote):
    """The local ports of n connections to one port of the peer."""
    found = []
    for _ in range(n):
        link.connect(port=remote)
        link.expect(SYN)
        found.append(link.port)
    return found


def test_3_2_the_whole_range_of_the_setting(make_link):
    link = make_link(ip_local_port_range=(1024, 65535))
    assert all(1024 <= port <= 65535 for port in ports(link, 30, 80))
    spread = [ports(link, 1, remote)[0] for remote in range(1, 60)]
    assert min(spread) < 16_000
    assert max(spread) > 50_000


def test_3_3_4_neighbours_for_one_destination(make_link):
    """"successive transport-protocol instances with the same remote endpoint will use increasing" port numbers:
    a port comes again as late as possible."""
    link = make_link(ip_local_port_range=(40_000, 40_099))
    got = ports(link, 20, 80)
    assert len(set(got)) == 20
    steps = [(b - a) % 100 for a, b in pairwise(got)]
    assert set(steps) <= {1, 2}
    assert steps.count(1) > 12


def test_3_3_4_a_port_that_is_free_again_is_not_the_next(make_link):
    """"table[index]++": also if the connection before is over."""
    link = make_link(ip_local_port_range=(40_000, 40_099))
    got = []
    for _ in range(5):
        conn = link.connect(port=80)
        link.expect(SYN)
        got.append(link.port)
        link.peer_sends(RST | ACK, seq=0, ack=1)
        conn.close()
    assert {(b - a) % 100 for a, b in pairwise(got)} <= {1, 2}


def test_3_3_4_other_destinations_do_not_move_it(make_link):
    """"a new transport-protocol instance with some remote endpoint will not necessarily cause the "next_ephemeral"
    variable corresponding to other endpoints to be incremented": what a peer sees tells nothing of other peers."""
    link = make_link(ip_local_port_range=(40_000, 40_999))
    got = []
    for i in range(10):
        got += ports(link, 1, 80)
        for remote in range(1000 + 10 * i, 1007 + 10 * i):
            ports(link, 1, remote)
    assert {(b - a) % 1000 for a, b in pairwise(got)} <= {1, 2}


def test_3_3_4_some_are_skipped(make_link):
    """Not of the RFC: who counts the ports between two of its own does not learn the exact number."""
    link = make_link(ip_local_port_range=(40_000, 40_999))
    got = ports(link, 120, 80)
    steps = [(b - a) % 1000 for a, b in pairwise(got)]
    assert set(steps) == {1, 2}
    assert 2 <= steps.count(2) <= 20


def test_3_3_4_the_offset_is_another_for_each_destination(make_link):
    """F(local_IP, remote_IP, remote_port, secret_key)."""
    link = make_link()
    got = [ports(link, 1, remote)[0] for remote in range(1, 51)]
    steps = {b - a for a, b in pairwise(got)}
    assert len(steps) > 40


def test_3_3_4_the_secret_key_is_the_stacks_own(make_link):
    assert len({ports(make_link(seed=seed), 1, 80)[0] for seed in range(8)}) > 5


def test_3_3_4_taken_ports_are_skipped_until_none_is_left(make_link):
    """"do { ... if (check_suitable_port(port)) return port; } while (count > 0); return ERROR"."""
    link = make_link(ip_local_port_range=(40_000, 40_004))
    taken = link.socket()
    taken.bind(("", 40_002))
    assert sorted(ports(link, 4, 80)) == [40_000, 40_001, 40_003, 40_004]
    assert link.socket().connect_ex((link.theirs, 80)) == EADDRNOTAVAIL
    assert sorted(ports(link, 4, 81)) == [40_000, 40_001, 40_003, 40_004]      # another destination: all are free


def test_3_1_a_port_that_comes_again_is_free(make_link):
    """Section 2: "an ephemeral port ... such that the resulting five-tuple is not in use"."""
    link = make_link(ip_local_port_range=(40_000, 40_002))
    first = link.connect(port=80)
    link.expect(SYN)
    mine = link.port
    ports(link, 2, 80)
    assert link.socket().connect_ex((link.theirs, 80)) == EADDRNOTAVAIL
    first.close()
    assert ports(link, 1, 80) == [mine]


@pytest.mark.parametrize("version", [4, 6])
def test_bind_to_port_0_is_not_predictable_either(make_link, version):
    link = make_link(version=version, seed=3)
    got = []
    for _ in range(20):
        sock = link.socket()
        sock.bind(("", 0))
        got.append(sock.getsockname()[1])
    assert len({b - a for a, b in pairwise(got)}) > 15
