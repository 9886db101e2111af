"""What a handler sees of a connection or a datagram, and what it may do: look, answer, consume, end.

    @compiled
    def echo(x: Exchange) -> None:
        consume(x, send_back(x, 0, x.length))

A handler is called by the engine (`calling.py`) with one Exchange.  Every function
here checks what it is given against the bytes that there are and the room that
there is: a position, a length or a number that makes no sense is cut, and counted
in `Handler.clamped`.  docs/handlers.md is the description.
"""
from __future__ import annotations

from enum import IntEnum

from .machine import (
    addressof,
    at,
    compiled,
    i64,
    invoke2,
    load8,
    record,
    ring,
    store8,
    u8,
    u32,
)
from .machine.ring import Ring

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
    """The exchange, and behind it what only this file and `calling.py` touch."""

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


# ---- looking ---------------------------------------------------------------------

@compiled
def byte_at(x: Exchange, position: int) -> int:
    """The byte at a position of what has come; -1 beyond its end."""
    c = at(Call, addressof(x))
    if position < 0 or position >= c.length:
        return -1
    return load8(ring.address(at(Ring, c.rcv), c.head + position))


@compiled
def number_at(x: Exchange, position: int, n: int) -> int:
    """n bytes (1 to 7) at a position of what has come as a number, network order; -1 if they are not all there."""
    c = at(Call, addressof(x))
    if position < 0 or not 1 <= n <= 7 or n > c.length - position:
        return -1
    r = at(Ring, c.rcv)
    value = 0
    for i in range(n):
        value = (value << 8) | load8(ring.address(r, c.head + position + i))
    return value


@compiled
def find(x: Exchange, byte: int, start: int) -> int:
    """The first position from `start` on where a byte stands in what has come; -1: nowhere."""
    c = at(Call, addressof(x))
    r = at(Ring, c.rcv)
    n = c.length
    position = max(start, 0)
    while position < n:
        if load8(ring.address(r, c.head + position)) == byte:
            return position
        position += 1
    return -1


# ---- answering --------------------------------------------------------------------

@compiled
def send_back(x: Exchange, position: int, n: int) -> int:
    """Answer with n bytes of what has come; how many were taken (fewer when there is no room)."""
    c = at(Call, addressof(x))
    n = _within(c, position, n, c.length)
    count = _reserve(c, n)
    left = count
    source = at(Ring, c.rcv)
    position += c.head
    while left > 0:
        part = ring.contiguous(source, position, left)
        ring.place(at(Ring, c.snd), c.tail, ring.address(source, position), part)
        c.tail += part
        position += part
        left -= part
    return count


@compiled
def send_text(x: Exchange, position: int, n: int) -> int:
    """Answer with n bytes of the text that was given with the handler; how many were taken."""
    c = at(Call, addressof(x))
    n = _within(c, position, n, c.text_length)
    count = _reserve(c, n)
    if count > 0:
        ring.place(at(Ring, c.snd), c.tail, c.text + position, count)
        c.tail += count
    return count


@compiled
def send_number(x: Exchange, value: int, n: int) -> int:
    """Answer with a number in n bytes (1 to 8), network order: n, or 0 when there is no room for all of them."""
    c = at(Call, addressof(x))
    if not 1 <= n <= 8:
        c.clamped += 1
        return 0
    if _reserve_all(c, n) == 0:
        return 0
    r = at(Ring, c.snd)
    for i in range(n):
        store8(ring.address(r, c.tail), value >> (8 * (n - 1 - i)))
        c.tail += 1
    return n


@compiled
def send_decimal(x: Exchange, value: int) -> int:
    """Answer with a number that is not negative as decimal digits: how many, or 0 when there is no room for all."""
    c = at(Call, addressof(x))
    if value < 0:
        c.clamped += 1
        return 0
    power = 1
    n = 1
    while n < 19 and value // power >= 10:
        power *= 10
        n += 1
    if _reserve_all(c, n) == 0:
        return 0
    r = at(Ring, c.snd)
    for _ in range(n):
        store8(ring.address(r, c.tail), 48 + value // power % 10)
        c.tail += 1
        power //= 10
    return n


@compiled
def send_datagram(x: Exchange) -> int:
    """UDP: send what was put into the answer (nothing: an empty datagram) to the peer, and begin another one.

    Its length, or -errno.  At the end of a call it happens by itself if there is something.  TCP: 0.
    """
    c = at(Call, addressof(x))
    return invoke2(c.out, addressof(c), 0) if c.out != 0 else 0


@compiled
def _within(c: Call, position: int, n: int, length: int) -> int:
    """n, cut to what there is from a position on."""
    if position < 0 or position > length or n < 0:
        c.clamped += 1
        return 0
    if n > length - position:
        c.clamped += 1
        return length - position
    return n


@compiled
def _make_ready(c: Call, n: int) -> int:
    """How many of n bytes can be put behind the answer."""
    wanted = min(n, c.room)
    if wanted > c.ready and c.more != 0:
        invoke2(c.more, addressof(c), wanted)
    ready = max(min(wanted, c.ready, c.room), 0)
    if ready < n:
        c.refused = 1
    return ready


@compiled
def _take(c: Call, n: int) -> None:
    """n bytes are put behind the answer."""
    c.ready -= n
    c.room -= n
    c.put += n
    c.x.room = c.room


@compiled
def _reserve(c: Call, n: int) -> int:
    """Room for up to n bytes behind the answer."""
    count = _make_ready(c, n)
    _take(c, count)
    return count


@compiled
def _reserve_all(c: Call, n: int) -> int:
    """... for n bytes or none."""
    if _make_ready(c, n) < n:
        return 0
    _take(c, n)
    return n


# ---- the rest ---------------------------------------------------------------------

@compiled
def consume(x: Exchange, n: int) -> int:
    """n bytes more of what has come are done with: they do not come again.  How many there were."""
    c = at(Call, addressof(x))
    left = c.length - c.consumed
    if n < 0 or n > left:
        c.clamped += 1
        n = left if n > 0 else 0
    c.consumed += n
    return n


@compiled
def wake(x: Exchange, when: int) -> None:
    """TCP: call again (TIMER) at a time, ns; 0: no more."""
    at(Call, addressof(x)).wake_at = max(when, 0)


@compiled
def end(x: Exchange) -> None:
    """TCP: nothing more will be sent; what was is, and then FIN.  What comes is still shown."""
    c = at(Call, addressof(x))
    c.wish = max(c.wish, Wish.END)


@compiled
def close(x: Exchange) -> None:
    """TCP: the connection is done with.  What was sent arrives; what was not consumed is lost, and the peer is told."""
    c = at(Call, addressof(x))
    c.wish = max(c.wish, Wish.CLOSE)


@compiled
def abort(x: Exchange) -> None:
    """TCP: reset the connection."""
    at(Call, addressof(x)).wish = Wish.ABORT
