"""A peer that knows AccECN (RFC 9768), for the tests beside it."""
from __future__ import annotations

import struct

from netstack.tcp.ecn import AE, CWR, ECE, NOT_ECT

from .link import ACK, SYN

ISS = 100
ALL = AE | CWR | ECE
ORDER_0, ORDER_1 = 172, 174


def ace(n):
    """The ACE field as flags."""
    return n << 6


def option(*fields, kind=ORDER_0):
    """As bytes."""
    body = b"".join(n.to_bytes(3, "big") for n in fields)
    return struct.pack("!BB", kind, 2 + len(body)) + body


FIRST = option(1, 0, 1)
SETTINGS = {"tcp_congestion_control": "reno", "tcp_ecn": 3}


def server(make_link, version=4, last=0b010, more=FIRST, ts=None, **settings):
    """(link, connection) that the peer has opened.  `last`: ACE of its last ACK."""
    link = make_link(version, **{**SETTINGS, **settings})
    link.listen()
    link.peer_sends(SYN | ALL, seq=ISS, wnd=65535, mss=1460, sack_ok=True, ts=None if ts is None else (ts, 0))
    link.expect(SYN | ACK | ace(0b010), tos=NOT_ECT)
    link.peer_sends(ACK | ace(last), ack=1, more=more)
    return link, link.accept()


def client(make_link, answer=0b010, tos=NOT_ECT, more=FIRST, **settings):
    """... that we have opened.  `answer`: flags of the SYN-ACK."""
    link = make_link(**{**SETTINGS, **settings})
    conn = link.connect()
    link.expect(SYN | ALL, tos=NOT_ECT)
    link.peer_sends(SYN | ACK | ace(answer), seq=ISS, ack=1, wnd=65535, mss=1460, sack_ok=True, tos=tos, more=more)
    return link, conn
