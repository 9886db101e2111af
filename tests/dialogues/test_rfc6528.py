"""RFC 6528: ISN = M + F(localip, localport, remoteip, remoteport, secretkey)."""
from __future__ import annotations

from itertools import pairwise

from .link import ACK, RST, SYN

MASK = 0xFFFF_FFFF


def isn_of_syn(link, port, **options):
    """The number of the SYN that opens a connection to the peer's port; it is given up again."""
    conn = link.connect(port=port, **options)
    link.expect(SYN)
    number, local = link.talk().iss, link.port
    link.peer_sends(RST | ACK, seq=0, ack=1)
    conn.close()
    return number, local


def test_3_m_is_a_timer_of_4_microseconds(make_link):
    """The same four-tuple again: F is the same, M has moved on, "incremented by one every 4 microseconds"."""
    link = make_link(ip_local_port_range=(50_000, 50_000))
    first, _ = isn_of_syn(link, 40000)
    link.advance(1)
    second, _ = isn_of_syn(link, 40000)
    assert abs(((second - first) & MASK) - 250_000) < 7000      # a tick is 4.096 us here
    assert (second - first) & MASK == 1_000_000_000 // 4096 or (second - first) & MASK == 1_000_000_000 // 4096 + 1


def test_3_f_separates_the_four_tuples(make_link):
    """"... a separate ISN space for each four-tuple": one says nothing of another."""
    link = make_link(ip_local_port_range=(50_000, 50_000))
    numbers = [isn_of_syn(link, port)[0] for port in range(40_000, 40_050)]
    steps = {(b - a) & MASK for a, b in pairwise(numbers)}
    assert len(steps) == 49
    assert sum(1 << 20 < step < MASK - (1 << 20) for step in steps) >= 47


def test_3_the_secret_key_is_the_stacks_own(make_link):
    one, two = (isn_of_syn(make_link(seed=seed, ip_local_port_range=(50_000, 50_000)), 40000)[0] for seed in (1, 2))
    assert min((one - two) & MASK, (two - one) & MASK) > 1 << 16


def test_3_answers_have_such_numbers_too(make_link):
    """A SYN-ACK's number is of the same function: it does not depend on who listens, or how often it was asked."""
    link = make_link()
    link.listen()
    numbers = []
    for _ in range(2):
        link.peer_sends(SYN, seq=100, mss=1460)
        link.expect(SYN | ACK)
        numbers.append(link.talk().iss)
        link.peer_sends(RST, seq=101)
        link.advance(1)
    assert abs(((numbers[1] - numbers[0]) & MASK) - 250_000) < 7000
    link.peer_sends(ACK, ack=1)
    link.drain()


def test_2_an_attacker_who_knows_one_number_does_not_know_anothers(make_link):
    """Section 2: the attacker's own connection to the server tells M + F of his four-tuple only."""
    link = make_link()
    link.listen()
    numbers = {}
    for port in (40_000, 40_001, 40_002):
        link.peer_sends(SYN, seq=100, mss=1460, port=port)
        link.expect(SYN | ACK, port=port)
        numbers[port] = link.talk(port).iss
    gaps = [(numbers[40_001] - numbers[40_000]) & MASK, (numbers[40_002] - numbers[40_001]) & MASK]
    assert gaps[0] != gaps[1]
    assert all(64_000 < gap < MASK - 64_000 for gap in gaps)
