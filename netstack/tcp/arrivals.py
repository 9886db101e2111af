"""When text came: SO_TIMESTAMP and SO_TIMESTAMPNS of streams (socket(7)).

`recvmsg` tells when the segment came that brought the last byte it gives.  Only a connection that is asked keeps
marks: the position behind what came at the same time, and that time.  Positions are those of the receive ring.

Differs: Linux joins segments in its queue, and all of what was joined came with the last one.  Here that is so for
what comes behind the marks there is room for.  Text that came before its turn came when the hole was filled.
"""
from __future__ import annotations

from typing import Annotated

from ..machine import Array, compiled, i64, record

ROOM = 8


@record
class Arrivals:
    """What is known of the text in the receive ring."""

    count: i64                              # of marks, oldest first
    told: i64                               # when what was read last came, ns; 0: nobody knows
    ends: Annotated[Array[i64], ROOM]       # positions behind the text ...
    times: Annotated[Array[i64], ROOM]      # ... that came then, ns; 0: nobody knows when


@compiled
def begin(a: Arrivals, tail: int) -> None:
    """From now on times are known, not those of what is there up to `tail`."""
    a.count = 1
    a.told = 0
    a.ends[0] = tail
    a.times[0] = 0


@compiled
def note(a: Arrivals, end: int, head: int, now: int) -> None:
    """Text up to `end` has come; what stands before `head` has been read."""
    if a.count == ROOM:
        _forget(a, head)
    last = a.count - 1
    if a.count == ROOM or (a.count > 0 and a.times[last] == now):
        a.ends[last] = end
        a.times[last] = now
        return
    a.ends[a.count] = end
    a.times[a.count] = now
    a.count += 1


@compiled
def _forget(a: Arrivals, head: int) -> None:
    read = 0
    while read < a.count and a.ends[read] <= head:
        read += 1
    for i in range(read, a.count):
        a.ends[i - read] = a.ends[i]
        a.times[i - read] = a.times[i]
    a.count -= read


@compiled
def on_read(a: Arrivals, end: int) -> None:
    """Text up to `end` is being given to the application."""
    i = 0
    while i < a.count and a.ends[i] < end:
        i += 1
    a.told = a.times[i] if i < a.count else 0
