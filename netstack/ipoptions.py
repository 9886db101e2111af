"""IPv4 options as sockets have them: IP_OPTIONS, and what IP_RECVOPTS and IP_RETOPTS tell.

ip(7); RFC 791 3.1.  What is sound is what Linux says (ip_options_compile): an
option twice, or without room for what a pointer points at, is EINVAL.  Differs:
source routes are EINVAL, for they are refused on arrival, too (RFC 7126 4.3, 4.4).
"""
from __future__ import annotations

import struct
from dataclasses import dataclass
from errno import EINVAL

LONGEST = 40
END, NOP, ROUTE, STAMP, LOOSE, STRICT, ALERT = 0, 1, 7, 68, 131, 137, 148
TIMES, TIMES_AND_ADDRESSES, PRESCRIBED = 0, 1, 3        # flags of a timestamp option
OVERFLOWN = 15                                          # times it may count that there was no room
_record = struct.Struct("4B4xq40s")                    # ip.ipv4_options.IpOptions
NONE = bytes(_record.size)


@dataclass
class Options:
    """What stands in a header, and where one who has it on his table writes something."""

    data: bytearray
    route: int = 0              # offset of a record route's next place; 0: it has none, or is full
    stamper: int = 0            # ... of a timestamp option's, for an address
    stamp: int = 0              # ... for a time
    route_at: int = -1          # offset of the option; -1: there is none
    stamp_at: int = -1


def _invalid() -> OSError:
    return OSError(EINVAL, "Invalid argument")


def read(data: bytes, is_other: object = None) -> Options:
    """Look at options, and move the pointers of what is to be filled in.  OSError EINVAL as Linux.

    `is_other(address)`: whether a prescribed address of a timestamp option is another host's.
    """
    o = Options(bytearray(data))
    seen: set[int] = set()
    i = 0
    while i < len(data):
        kind = data[i]
        if kind == END:
            o.data[i:] = bytes(len(data) - i)
            break
        if kind == NOP:
            i += 1
            continue
        n = data[i + 1] if i + 1 < len(data) else 0
        if n < 2 or i + n > len(data) or kind in (LOOSE, STRICT) or (kind == ALERT and n < 4):
            raise _invalid()
        if kind in (ROUTE, STAMP):
            if kind in seen:
                raise _invalid()
            seen.add(kind)
            if kind == ROUTE:
                _route(o, i, n)
            else:
                _stamp(o, i, n, is_other)
        i += n
    return o


def _route(o: Options, i: int, n: int) -> None:
    if n < 3 or o.data[i + 2] < 4:
        raise _invalid()
    o.route_at = i
    pointer = o.data[i + 2]
    if pointer <= n:
        if pointer + 3 > n:
            raise _invalid()
        o.route = i + pointer - 1
        o.data[i + 2] = pointer + 4


def _stamp(o: Options, i: int, n: int, is_other: object) -> None:
    if n < 4 or o.data[i + 2] < 5:
        raise _invalid()
    o.stamp_at = i
    pointer, flag = o.data[i + 2], o.data[i + 3] & 0xF
    place = i + pointer - 1
    if pointer > n:
        if flag != PRESCRIBED and o.data[i + 3] >> 4 == OVERFLOWN:
            raise _invalid()
        return
    if pointer + (3 if flag not in (TIMES_AND_ADDRESSES, PRESCRIBED) else 7) > n:
        raise _invalid()
    if flag == TIMES:
        o.stamp = place
        o.data[i + 2] = pointer + 4
    elif flag == TIMES_AND_ADDRESSES:
        o.stamper, o.stamp = place, place + 4
        o.data[i + 2] = pointer + 8
    elif flag == PRESCRIBED and not (callable(is_other) and is_other(bytes(o.data[place:place + 4]))):
        o.stamp = place + 4
        o.data[i + 2] = pointer + 8


def padded(data: bytes) -> bytes:
    """To a multiple of four bytes; OSError EINVAL for more than a header has room for."""
    if len(data) > LONGEST:
        raise _invalid()
    return data + bytes(-len(data) % 4)


def packed(o: Options, epoch: int) -> bytes:
    """An IpOptions record; `epoch`: what makes the stack's time the time of day, ns."""
    return _record.pack(len(o.data), o.route, o.stamper, o.stamp, epoch, bytes(o.data))


def shown(o: Options) -> bytes:
    """What IP_OPTIONS reads: as it was set, with nothing in the places that are to be filled in (ip_options_undo)."""
    data = bytearray(o.data)
    if o.route:
        data[o.route_at + 2] -= 4
        data[o.route:o.route + 4] = bytes(4)
    if o.stamp:
        data[o.stamp:o.stamp + 4] = bytes(4)
        data[o.stamp_at + 2] -= 4
        if o.stamper:
            data[o.stamper:o.stamper + 4] = bytes(4)
            data[o.stamp_at + 2] -= 4
        elif data[o.stamp_at + 3] & 0xF == PRESCRIBED:
            data[o.stamp_at + 2] -= 4
    return bytes(data)


def received(data: bytes, to: bytes, when: int, is_other: object) -> Options | None:
    """Options as they came, filled in by us, who are the last on the way: `to` is our address, `when` ms of the day.

    None if Linux would have dropped the packet.
    """
    try:
        o = read(data, is_other)
    except OSError:
        return None
    if o.route:
        o.data[o.route:o.route + 4] = to
    if o.stamper:
        o.data[o.stamper:o.stamper + 4] = to
    if o.stamp:
        o.data[o.stamp:o.stamp + 4] = struct.pack(">I", when)
    if o.stamp_at >= 0 and o.data[o.stamp_at + 2] > o.data[o.stamp_at + 1] and not o.stamp and (
            o.data[o.stamp_at + 3] & 0xF != PRESCRIBED):
        o.data[o.stamp_at + 3] += 0x10                  # one more that found no room
    return o


def echoed(o: Options) -> bytes:
    """What an answer's options would be (ip_options_echo): the record route and the timestamps, to be gone on with."""
    answer = b""
    for i in (o.route_at, o.stamp_at):
        if i >= 0:
            answer += bytes(o.data[i:i + o.data[i + 1]])
    return answer + bytes(-len(answer) % 4)
