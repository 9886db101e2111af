"""Exchanges: the records by which a handler and the engine speak to each other.

`answer.py` has what a handler can do with one, `calling.py` who calls it; what it is
for says docs/handlers.md.
"""
from __future__ import annotations

from enum import IntEnum

from .machine import i64, record, u8, u32

HANDLERS = 64               # entries of World.handlers; the first is none
MAX_DATAGRAM = 65507        # bytes that fit into one (udp.py)


class Event(IntEnum):
    """Why a handler is called."""

    OPENED = 1      # the connection is there; a UDP socket has got its handler
    DATA = 2        # TCP: more has come, or there is room again to answer what was not consumed
    ROOM = 3        # TCP: it wanted to send more than there was room for; now there is some, and nothing to look at
    DATAGRAM = 4    # UDP: one datagram
    TIMER = 5       # TCP: the time is here that `wake` asked for
    ENDED = 6       # TCP: the peer has sent all; what was not consumed is still there
    CLOSED = 7      # the last call; `error` says why, 0: it ended as it should


@record
class Exchange:
    """One call of a handler.  It may write a .. h, and for datagrams where the next one goes."""

    event: i64          # Event
    datagrams: i64      # 1: of a UDP socket; 0: of a connection
    length: i64         # bytes that have come and were not consumed
    room: i64           # bytes that can be sent now
    now: i64            # ns
    error: i64          # (CLOSED) errno, or 0
    text_length: i64    # bytes of the text that the program gave with the handler
    local_port: i64
    peer_hi: i64        # the peer's address (ip/address.py): two halves
    peer_lo: i64
    peer_port: i64
    peer_scope: i64     # interface of a link-local address, else 0
    a: i64              # eight numbers that the stack keeps for this connection or socket, 0 at OPENED
    b: i64
    c: i64
    d: i64
    e: i64
    f: i64
    g: i64
    h: i64


@record
class Handler:
    """A handler that sockets of a stack have, and what it has done."""

    address: i64        # of its code; 0: the entry is free
    text: i64           # address of its text
    text_length: i64
    references: i64     # sockets and connections that have it
    calls: i64
    opened: i64         # connections and UDP sockets it has heard of
    open: i64           # ... that it has now
    bytes_in: i64       # consumed
    bytes_out: i64      # sent, or waiting to be
    datagrams_in: i64
    datagrams_out: i64
    unsent: i64         # datagrams that could not be sent
    clamped: i64        # arguments that made no sense
    errors: i64         # calls that have failed: the connection was reset, the datagram forgotten


class Wish(IntEnum):
    """What a handler has asked for, to be done after the call; a later one counts more."""

    NOTHING = 0
    END = 1
    CLOSE = 2
    ABORT = 3
    FAILED = 4


@record
class Call:
    """The exchange, and behind it what only `answer.py` and `calling.py` touch."""

    x: Exchange
    rcv: i64            # address of the Ring that what has come stands in
    head: i64           # position of its first byte
    length: i64         # how many there are (x.length is a copy, as the others of these names)
    snd: i64            # address of the Ring that answers go to
    tail: i64           # position of the next byte
    room: i64           # bytes that may be sent
    ready: i64          # bytes that the ring has room for
    more: i64           # address of the unit that makes room, or 0
    out: i64            # address of the unit that sends a datagram, or 0
    world: i64          # address of the World
    subject: i64        # address of the connection or socket
    index: i64          # of the Handler
    text: i64           # address
    text_length: i64
    consumed: i64       # bytes
    wake_at: i64        # ns
    clamped: i64
    put: i64            # bytes put into the answer
    wish: u8
    refused: u8         # 1: there was less room than it wanted
    reserved: u8
    reserved_too: u8
    reserved_last: u32
