"""IPv4 options of what we send: written behind the header, with our address and the time where they are asked for.

RFC 791 3.1 (record route, timestamp, what fragments carry); ip(7), IP_OPTIONS.
The bytes have been looked at by `netstack/ipoptions.py`, which says where something is to be filled in.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import MS, Array, addressof, compiled, copy, i64, load8, put32, record, store8, u8
from . import address

LONGEST = 40                # bytes: the header has 60 at most
END_OF_OPTIONS = 0
NO_OPERATION = 1
COPIED = 0x80               # of an option's type: each fragment has it
DAY = 86_400_000            # ms


@record
class IpOptions:
    """The options of a socket's packets, or of one packet."""

    length: u8              # bytes, a multiple of 4; 0: none
    route: u8               # where our address goes into a record route, from the first byte; 0: nowhere
    stamper: u8             # ... and into a timestamp option
    stamp: u8               # where the time goes
    epoch: i64              # what makes `now` the time of day, ns
    data: Annotated[Array[u8], 40]


@compiled
def emit(o: IpOptions, p: int, source: int, later: bool, now: int) -> None:
    """Write the options to p.  `source`: our address, low half; `later`: not for a datagram's first fragment."""
    copy(p, addressof(o.data), o.length)
    if o.route != 0:
        put32(p + o.route, address.v4(source))
    if o.stamper != 0:
        put32(p + o.stamper, address.v4(source))
    if o.stamp != 0:
        put32(p + o.stamp, (now + o.epoch) // MS % DAY)
    if later:
        _blank(p, o.length)


@compiled
def _blank(p: int, n: int) -> None:
    """What is for the first fragment only becomes NOPs (RFC 791 3.1, the copied flag), so that the length stays."""
    i = 0
    while i < n:
        kind = load8(p + i)
        if kind == END_OF_OPTIONS:
            return
        length = 1 if kind == NO_OPERATION else load8(p + i + 1)
        if not kind & COPIED:
            for k in range(length):
                store8(p + i + k, NO_OPERATION)
        i += length
