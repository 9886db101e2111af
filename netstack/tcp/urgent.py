"""Urgent data: one byte of the stream that may be received apart from it.

RFC 9293 section 3.8.5, and RFC 6093, which says what is left of it: SEND.UP points behind
the last urgent byte, and a receiver should leave it in line.  What an application sees is
Linux's (tcp(7)): without SO_OOBINLINE the urgent byte is taken out of the stream and given
to MSG_OOB; a read stops before it (the mark, SIOCATMARK); only the last one counts.

Positions are those of the receive ring: bytes since the beginning, which never wrap.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled, i64, load8, record, u8


class Mark(IntEnum):
    """What is known of the urgent byte."""

    NONE = 0
    AHEAD = 1           # the pointer is here, the byte is not
    HERE = 2            # not yet taken with MSG_OOB
    TAKEN = 3           # the mark still stands in the stream


@record
class Urgent:
    """The receiving side's mark."""

    at: i64             # position of the urgent byte
    skip: i64           # 1 + position of an older one that nobody will take: it is not data; 0: none
    mark: u8            # Mark
    byte: u8
    inline: u8          # SO_OOBINLINE


@compiled
def on_pointer(u: Urgent, at: int, read: int, received: int) -> bool:
    """A segment's urgent pointer means the byte at position `at`.  Whether that is news."""
    if at < read or at < received:                              # read, or here and not urgent when it came
        return False
    if u.mark != Mark.NONE and at <= u.at:
        return False
    if u.mark != Mark.NONE and u.at == read and u.inline == 0:
        u.skip = read + 1                                       # the reader stands before it
    u.at = at
    u.mark = Mark.AHEAD
    return True


@compiled
def on_text(u: Urgent, position: int, n: int, data: int) -> bool:
    """A segment's n bytes at `data` stand at `position`.  Whether the urgent byte is among them."""
    if u.mark != Mark.AHEAD or not position <= u.at < position + n:
        return False
    u.byte = load8(data + (u.at - position))
    u.mark = Mark.HERE
    return True


@compiled
def is_skipped(u: Urgent, position: int) -> bool:
    """Whether the byte at `position` is no data for an ordinary read."""
    return u.skip == position + 1 or (u.inline == 0 and u.mark != Mark.NONE and u.at == position)


@compiled
def limit(u: Urgent, position: int, n: int) -> int:
    """How many of the n bytes at `position` one read may take: it stops before the mark."""
    if u.skip > position + 1:
        n = min(n, u.skip - 1 - position)
    if u.mark != Mark.NONE and u.at > position:
        n = min(n, u.at - position)
    return n


@compiled
def on_read(u: Urgent, position: int) -> None:
    """The application has read up to `position`."""
    if u.mark != Mark.NONE and u.at < position:
        u.mark = Mark.NONE
    if u.skip <= position:
        u.skip = 0


@compiled
def at_mark(u: Urgent, position: int) -> bool:
    """SIOCATMARK: the next byte to be read is the urgent one."""
    return u.mark != Mark.NONE and u.at == position
