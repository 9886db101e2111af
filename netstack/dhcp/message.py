"""DHCP messages: the fixed fields, and options as numbered bytes.

RFC 2131 2 (format), 4.1 (option overload); RFC 3396 (an option in several pieces
is one); RFC 1542 2.1 (no message is shorter than BOOTP's).

`parse` gives a Message or raises Malformed, whatever the bytes are.  What an
option says is for `options.py`.
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

SERVER_PORT, CLIENT_PORT = 67, 68
REQUEST, REPLY = 1, 2           # op
ETHERNET = 1                    # htype
BROADCAST = 0x8000              # flags: answer to everybody
COOKIE = 0x6382_5363            # (RFC 2132 2)
SHORTEST = 300                  # bytes that BOOTP's relays expect at least (RFC 1542 2.1)
PIECE = 255                     # bytes of an option, or of a piece of it

_fixed = struct.Struct("!4B I 2H 4I 16s 64s 128s I")


class Code(IntEnum):
    """Options (RFC 2132; RFC 3397, RFC 3442)."""

    PAD = 0
    MASK = 1
    ROUTER = 3
    NAME_SERVER = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    BROADCAST = 28
    TIME_SERVER = 42            # NTP
    ADDRESS = 50                # that is asked for
    LEASE_TIME = 51
    OVERLOAD = 52               # `file` and `sname` have options, too
    TYPE = 53
    SERVER = 54
    WANTED = 55                 # the options that we would like to hear of
    MESSAGE = 56                # for people
    LARGEST = 57                # message that we take, bytes
    RENEWAL_TIME = 58           # T1
    REBINDING_TIME = 59         # T2
    VENDOR = 60
    CLIENT = 61
    SEARCH = 119
    ROUTES = 121
    END = 255


class Type(IntEnum):
    """What a message is (RFC 2132 9.6)."""

    NONE = 0                    # BOOTP
    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Malformed(ValueError):
    """Bytes that are no message, or no value of their option."""


@dataclass
class Message:
    """One message.  Addresses are numbers, 0: none."""

    op: int
    xid: int
    secs: int = 0               # s since the client began
    flags: int = 0
    ciaddr: int = 0             # the client's address, if it has one
    yiaddr: int = 0             # ... that the server gives it
    siaddr: int = 0
    giaddr: int = 0             # the relay's
    chaddr: bytes = b""         # hardware address
    htype: int = ETHERNET
    options: dict[int, bytes] = field(default_factory=dict)

    @property
    def type(self) -> int:
        """A Type, or another number."""
        return self.options.get(Code.TYPE, b"\0")[0]


def parse(data: bytes) -> Message:
    """Read a message.  Malformed: it is none."""
    if len(data) < _fixed.size:
        raise Malformed(f"a message has {_fixed.size} bytes at least, not {len(data)}")
    (op, htype, hlen, _hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file,
     cookie) = _fixed.unpack_from(data)
    if op not in (REQUEST, REPLY):
        raise Malformed(f"op is {op}")
    if hlen > len(chaddr):
        raise Malformed(f"a hardware address of {hlen} bytes")
    if cookie != COOKIE:
        raise Malformed("not DHCP's cookie")
    options: dict[int, bytes] = {}
    _gather(options, data[_fixed.size:])
    overload = options.get(Code.OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        raise Malformed(f"option overload is {overload.hex()}")
    if overload[0] & 1:
        _gather(options, file)          # (RFC 2131 4.1) before `sname`
    if overload[0] & 2:
        _gather(options, sname)
    options.pop(Code.OVERLOAD, None)
    if len(options.get(Code.TYPE, b"\0")) != 1:
        raise Malformed("the message type has not one byte")
    return Message(op, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr[:hlen], htype, options)


def _gather(options: dict[int, bytes], data: bytes) -> None:
    """Add the options of one field; pieces of one option are put together (RFC 3396 7)."""
    for code, value in _pieces(data):
        options[code] = options.get(code, b"") + value


def _pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The options of one field.  One that ends without END is taken, as by most clients."""
    at = 0
    while at < len(data) and data[at] != Code.END:
        code = data[at]
        at += 1
        if code == Code.PAD:
            continue
        if at == len(data) or at + 1 + data[at] > len(data):
            raise Malformed(f"option {code} goes beyond its field")
        yield code, data[at + 1:at + 1 + data[at]]
        at += 1 + data[at]


def build(message: Message) -> bytes:
    """The bytes of a message; its type is the first option."""
    m = message
    order = sorted(m.options, key=lambda code: code != Code.TYPE)
    body = b"".join(_written(code, m.options[code]) for code in order)
    data = _fixed.pack(m.op, m.htype, len(m.chaddr), 0, m.xid, m.secs, m.flags, m.ciaddr, m.yiaddr, m.siaddr, m.giaddr,
                       m.chaddr, b"", b"", COOKIE)
    return (data + body + bytes([Code.END])).ljust(SHORTEST, b"\0")


def _written(code: int, value: bytes) -> bytes:
    """An option, in as many pieces as it needs (RFC 3396 6)."""
    pieces = [value[i:i + PIECE] for i in range(0, len(value), PIECE)] or [b""]
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)
