"""What clients of TCP Fast Open remember of servers, and when they do without it.

RFC 7413 sections 4.1.3 and 7.1.  The cookies that were given are in a table of
fixed size; a path that swallows SYNs with text, or what comes behind them, is left
in peace for a while, as Linux does.  fastopen.py has the servers.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..machine import Array, addressof, compiled, copy, i64, offsetof, record, u8, u16
from .fastopen import CLIENT, CLIENT_WITHOUT_COOKIE, HELD, NO_OPTION, Failure, FastOpen

MOST = 16                           # bytes of a cookie; (4.1.1) at least 4
OPTION_SPACE = 40                   # bytes that a SYN with text keeps for its options
ENTRIES = 64                        # servers that a client remembers
MOST_DOUBLINGS = 6                  # of the time without Fast Open, and of that without it towards one server
OLD_KIND, NEW_KIND = 1, 2           # the kind of option that is worth a try when a server has given no cookie


class Use(IntEnum):
    """What a client's SYN may do."""

    NOTHING = 0
    ASK = 1             # request a cookie
    TEXT = 2            # carry text


@record
class Entry:
    """What a client remembers of one server (4.1.3)."""

    local_hi: i64           # the cookie is for this address of ours
    local_lo: i64
    remote_hi: i64
    remote_lo: i64
    used_at: i64            # ns; 0: this entry is free
    lost_at: i64            # ns, when a SYN with text was lost last
    cookie: Annotated[Array[u8], 16]
    mss: u16                # that the server has announced
    length: u8              # of the cookie; 0: none yet
    experimental: u8        # it came in the experimental option
    lost: u8                # SYNs with text lost in a row
    kind: u8                # OLD_KIND, NEW_KIND: what to ask with next, since there was no answer
    reserved: u16


@record
class Remembered:
    """What all clients of a stack share."""

    disabled_at: i64        # ns, when text in a SYN last seemed to be swallowed
    disabled: i64           # how often, in a row
    entries: Annotated[Array[Entry], 64]


COOKIE = offsetof(Entry, "cookie")


# ---- the client's memory (4.1.3) -------------------------------------------------

@compiled
def find(m: Remembered, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int) -> int:
    """The index of the entry for a server, or -1."""
    for i in range(ENTRIES):
        e = m.entries[i]
        if (e.remote_lo == remote_lo and e.used_at != 0 and e.remote_hi == remote_hi and e.local_lo == local_lo
                and e.local_hi == local_hi):
            return i
    return -1


@compiled
def _place(m: Remembered, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int) -> int:
    """... made if there is none, in the place of the one that was not used for longest."""
    index = find(m, local_hi, local_lo, remote_hi, remote_lo)
    if index >= 0:
        return index
    index = 0
    for i in range(ENTRIES):
        if m.entries[i].used_at < m.entries[index].used_at:
            index = i
    e = m.entries[index]
    e.local_hi = local_hi
    e.local_lo = local_lo
    e.remote_hi = remote_hi
    e.remote_lo = remote_lo
    e.lost_at = 0
    e.mss = 0
    e.length = 0
    e.experimental = 0
    e.lost = 0
    e.kind = 0
    return index


@compiled
def learn(m: Remembered, index: int, mss: int, given: int, length: int, experimental: int, now: int) -> None:
    """The SYN-ACK to a SYN that tried: the server's MSS, and the cookie that stands at `given`, if it has one."""
    e = m.entries[index]
    e.used_at = max(now, 1)
    e.mss = mss
    if 0 < length <= MOST:
        e.length = length
        e.experimental = experimental
        copy(addressof(e) + COOKIE, given, length)


@compiled
def on_answer(m: Remembered, f: FastOpen, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, mss: int,
              given: int, length: int, experimental: int, repeated: int, acked: int, now: int) -> None:
    """Our SYN is answered: `acked` says whether its text is, `repeated` whether it was sent more than once."""
    if f.tries == 0:
        return                                          # nothing was asked for: a cookie is not kept
    index = _place(m, local_hi, local_lo, remote_hi, remote_lo)
    e = m.entries[index]
    none = length == NO_OPTION or length == 0 or f.asks == 0        # one that was not asked for is not kept (as Linux)
    learn(m, index, mss, given, 0 if none else length, experimental, now)
    if repeated and none and f.text != 0 and not acked:
        e.lost = min(e.lost + 1, MOST_DOUBLINGS)        # (4.1.3.1) the path or the server does not take it
        e.lost_at = now
        return
    e.lost = 0
    if none and f.text == 0 and not repeated and e.length == 0:
        kind = NEW_KIND if f.experimental else OLD_KIND
        e.kind = max(e.kind, kind)                      # (4.1.3.1) as Linux: the other kind of option, once


@compiled
def use(m: Remembered, f: FastOpen, bits: int, pause: int, index: int, now: int) -> int:
    """What a SYN to the server of entry `index` (-1: an unknown one) may do: a Use.

    bits: net.ipv4.tcp_fastopen; pause: tcp_fastopen_blackhole_timeout_sec, ns.
    """
    if bits & CLIENT == 0 or is_disabled(m, pause, now):
        return Use.NOTHING
    if index >= 0:
        e = m.entries[index]
        if e.lost > 1 and now < e.lost_at + (HELD << e.lost):
            return Use.NOTHING                          # SYNs with text were lost repeatedly
        if e.length != 0:
            return Use.TEXT
    if bits & CLIENT_WITHOUT_COOKIE or f.no_cookie:
        return Use.TEXT
    return Use.ASK


@compiled
def prepare(m: Remembered, f: FastOpen, bits: int, index: int, may: int, now: int) -> None:
    """Choose the option of the SYN, as `use` has allowed it."""
    f.tries = 1 if may != Use.NOTHING else 0
    f.asks = f.tries
    f.experimental = 0
    f.failure = Failure.NO_COOKIE if may == Use.ASK else Failure.NONE
    if may == Use.TEXT and (bits & CLIENT_WITHOUT_COOKIE or f.no_cookie):
        f.asks = 0                                      # as Linux: no option at all
    if index >= 0 and f.asks:
        e = m.entries[index]
        e.used_at = max(now, 1)
        f.experimental = e.experimental
        if e.length == 0 and e.kind == OLD_KIND:
            f.experimental = 1


# ---- a path that swallows it (4.1.3.1, 7.1) --------------------------------------

@compiled
def is_disabled(m: Remembered, pause: int, now: int) -> bool:
    """Whether Fast Open is not tried for now, since connections that used it were given up."""
    if pause == 0 or m.disabled == 0:
        return False
    return now < m.disabled_at + (pause << min(m.disabled - 1, MOST_DOUBLINGS))


@compiled
def disable(m: Remembered, now: int) -> None:
    """A connection that used it has timed out again and again."""
    m.disabled += 1
    m.disabled_at = now


@compiled
def is_swallowed(f: FastOpen, timeouts: int, gives_up: bool) -> bool:
    """Whether these timeouts in a row hint at a middlebox that drops what Fast Open sends (as Linux: the third)."""
    return f.tries != 0 and (timeouts == 2 or (timeouts < 2 and gives_up))
