"""Every legal change of state is taken by a dialogue; no other ever is (`Link.close` checks that after each test)."""
from __future__ import annotations

import socket as real
import struct

import pytest

from netstack.tcp.tcb import EDGES

from .link import ACK, FIN, RST, SYN, Link, State

S = State


def abort(conn):
    conn.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()


def half_open(link):
    link.listen()
    link.peer_sends(SYN, seq=100)
    link.expect(SYN | ACK)


def connecting(link):
    conn = link.connect()
    link.expect(SYN)
    return conn


def fin_wait_1(link):
    conn = link.established()
    conn.close()
    link.expect(FIN | ACK)
    return conn


def fin_wait_2(link):
    fin_wait_1(link)
    link.peer_sends(ACK)


def closing(link):
    fin_wait_1(link)
    link.peer_sends(FIN | ACK, ack=1)
    link.expect(ACK)


def close_wait(link):
    conn = link.established()
    link.peer_sends(FIN | ACK)
    link.expect(ACK)
    return conn


def last_ack(link):
    close_wait(link).close()
    link.expect(FIN | ACK)


def then(first, *steps):
    """A dialogue: `first`, then each step with the link."""
    def dialogue(link):
        first(link)
        for step in steps:
            step(link)
    return dialogue


def peer(flags, **fields):
    return lambda link: link.peer_sends(flags, **fields)


def wait(seconds):
    return lambda link: link.advance(seconds)


DIALOGUES = {
    (S.CLOSED, S.LISTEN): lambda link: link.listen(),
    (S.CLOSED, S.SYN_SENT): connecting,
    (S.CLOSED, S.SYN_RECEIVED): half_open,
    (S.LISTEN, S.CLOSED): lambda link: link.listen().close(),
    (S.SYN_SENT, S.SYN_RECEIVED): then(connecting, peer(SYN, seq=5)),
    (S.SYN_SENT, S.ESTABLISHED): then(connecting, peer(SYN | ACK, seq=5, ack=1)),
    (S.SYN_SENT, S.CLOSED): then(connecting, peer(RST | ACK, ack=1)),
    (S.SYN_RECEIVED, S.ESTABLISHED): then(half_open, peer(ACK, ack=1)),
    (S.SYN_RECEIVED, S.CLOSED): then(half_open, peer(RST)),
    (S.ESTABLISHED, S.FIN_WAIT_1): fin_wait_1,
    (S.ESTABLISHED, S.CLOSE_WAIT): close_wait,
    (S.ESTABLISHED, S.CLOSED): lambda link: abort(link.established()),
    (S.FIN_WAIT_1, S.FIN_WAIT_2): fin_wait_2,
    (S.FIN_WAIT_1, S.CLOSING): closing,
    (S.FIN_WAIT_1, S.CLOSED): then(fin_wait_1, peer(RST)),
    (S.FIN_WAIT_2, S.TIME_WAIT): then(fin_wait_2, peer(FIN | ACK)),
    (S.FIN_WAIT_2, S.CLOSED): then(fin_wait_2, wait(60)),
    (S.CLOSE_WAIT, S.LAST_ACK): last_ack,
    (S.CLOSE_WAIT, S.CLOSED): then(close_wait, peer(RST)),
    (S.CLOSING, S.TIME_WAIT): then(closing, peer(ACK, ack=2)),
    (S.CLOSING, S.CLOSED): then(closing, peer(RST)),
    (S.LAST_ACK, S.CLOSED): then(last_ack, peer(ACK, ack=2)),
    (S.TIME_WAIT, S.CLOSED): then(fin_wait_2, peer(FIN | ACK), wait(60)),
}


def test_every_edge_has_its_dialogue():
    assert set(DIALOGUES) == {(a, b) for a, ends in EDGES.items() for b in ends}


@pytest.mark.parametrize("edge", DIALOGUES, ids=lambda e: f"{e[0].name}-{e[1].name}")
def test_edge(link: Link, edge):
    DIALOGUES[edge](link)
    assert edge in link.edges()


@pytest.mark.parametrize("state", [s for s in State if s not in (S.CLOSED, S.LISTEN, S.ESTABLISHED, S.CLOSE_WAIT)],
                         ids=lambda s: s.name)
def test_every_state_has_a_way_out_when_the_peer_is_gone(link: Link, state):
    """Whatever is waited for, a clock runs (ESTABLISHED and CLOSE-WAIT wait for the application)."""
    ways = {S.SYN_SENT: connecting, S.SYN_RECEIVED: half_open, S.FIN_WAIT_1: fin_wait_1, S.FIN_WAIT_2: fin_wait_2,
            S.CLOSING: closing, S.LAST_ACK: last_ack, S.TIME_WAIT: then(fin_wait_2, peer(FIN | ACK))}
    ways[state](link)
    assert link.state() == state
    link.advance(1000)
    assert link.state() == S.CLOSED
