"""The AccECN option: how many bytes came with each codepoint.

RFC 9768 section 3.2.3 and appendix A.1.  Counters begin with 1, 0 and 1 so that a path that clears them is found out;
ours count from 0, the wire has what stands here as E0B and E1B added to them.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled, put16, store8
from . import accecn
from .accecn import AccEcn, Fail

ACCECN0, ACCECN1 = 172, 174                     # kinds: e0b, ceb, e1b; and e1b, ceb, e0b
FIRST = 1                                       # initial value of r.e0b and r.e1b (3.2.1)
WRAP = 1 << 24                                  # of the counters in an option
LATE = (1 << 23) - 1                            # bytes sent: a first option behind them would be ambiguous (as Linux)
NOP = 1
LENGTH = 12                                     # bytes that it takes with all counters, padded
SHORT = 8                                       # ... with two, or one


class Setting(IntEnum):
    """net.ipv4.tcp_ecn_option, with Linux's numbers."""

    NEVER = 0
    SPARE = 1           # when it must, and tcp_ecn_option_beacon times in a round trip
    OFTEN = 2           # wherever it fits
    ALWAYS = 3          # ... even when it seems to be what the path drops


class Seen(IntEnum):
    """The peer's options, with Linux's numbers (tcpi_accecn_opt_seen)."""

    NONE = 0
    EMPTY = 1
    COUNTERS = 2
    ZEROED = 3


# ---- 3.2.3.3: when and how it is sent --------------------------------------------------

@compiled
def is_due(a: AccEcn, setting: int, beacon: int, srtt: int, now: int) -> bool:
    """Whether a segment that is sent now has one, if it fits.

    Differs: as on Linux a peer that has sent none gets none, where 3.2.3.2.3 says SHOULD.
    """
    if setting == Setting.NEVER or a.option_seen == Seen.NONE:
        return False
    if a.fail & Fail.OPTION_SEND and setting < Setting.ALWAYS:
        return False
    return setting >= Setting.OFTEN or a.owed > 0 or (beacon != 0 and (now - a.option_at) * beacon >= srtt)


@compiled
def reserve(a: AccEcn, due: bool) -> None:
    """Full segments leave room for it: a sender that only sends text would never tell what it receives."""
    a.room = LENGTH if due else 0


@compiled
def length(a: AccEcn, room: int) -> int:
    """Bytes that it takes where so many are free; 0: it would leave out what has changed ("MUST be omitted")."""
    if room >= LENGTH:
        return LENGTH
    least = accecn.E0B if a.received_e1 > 0 else accecn.E1B     # the counter that the short one has no place for
    return SHORT if room >= SHORT and not a.changed & least else 0


@compiled
def emit(a: AccEcn, p: int, size: int, now: int) -> None:
    """Write it at p, a NOP before it if there is room.

    With all counters in Linux's order, e1b first; a short one begins with what this connection uses.
    """
    one = size == LENGTH or a.received_e1 > 0
    if size == LENGTH:
        store8(p, NOP)
        p += 1
        size -= 1
    put16(p, ((ACCECN1 if one else ACCECN0) << 8) | size)
    _put24(p + 2, FIRST + (a.received_e1 if one else a.received))
    _put24(p + 5, a.received_ce)
    if size > SHORT:
        _put24(p + 8, FIRST + a.received)
    a.option_at = now
    a.changed = 0
    if a.owed > 0:
        a.owed -= 1


@compiled
def _put24(p: int, value: int) -> None:
    store8(p, (value >> 16) & 0xFF)
    put16(p + 1, value & 0xFFFF)


# ---- 3.2.3.2.2: segments that have one and do not arrive -------------------------------

@compiled
def on_repeated(a: AccEcn, s: int) -> None:
    """The peer sends text from s on that we have had.  Twice the same, and our last ACK had an option: that is why."""
    if a.repeated and s == a.repeated_seq and a.option_sent:
        a.fail |= Fail.OPTION_SEND
    a.repeated = 1
    a.repeated_seq = s


@compiled
def on_first_lost(a: AccEcn) -> None:
    """The first text that we have sent has timed out: "SHOULD fall back to no AccECN Option on the retransmission"."""
    if a.option_sent:
        a.fail |= Fail.OPTION_SEND


# ---- 3.2.3.1, 3.2.3.2.3, 3.2.3.2.4: what comes -----------------------------------------

@compiled
def on_first(a: AccEcn, count: int, first: int, third: int) -> None:
    """An option with so many fields has come: zeroed if it is the first one and does not begin as it must."""
    if a.option_seen >= Seen.COUNTERS:
        return
    if count == 0:
        a.option_seen = Seen.EMPTY
    elif first == 0 or (count >= 3 and third == 0):
        a.option_seen = Seen.ZEROED
        a.fail |= Fail.OPTION_RECV                      # they are ignored from now on
    else:
        a.option_seen = Seen.COUNTERS


@compiled
def on_none(a: AccEcn, sent: int) -> None:
    """An ACK without one, after so many bytes of ours."""
    if a.option_seen == Seen.NONE and sent >= LATE:
        a.fail |= Fail.OPTION_RECV


@compiled
def take(a: AccEcn, kind: int, count: int, first: int, second: int, third: int) -> int:
    """An option of an ACK that is not superseded (A.1).  Bytes newly marked; -1 when it does not say."""
    on_first(a, count, first, third)
    if a.fail & Fail.OPTION_RECV or count == 0:
        return -1
    one = kind == ACCECN1
    if one:
        a.delivered_e1 += _newer(first, FIRST + a.delivered_e1)
    else:
        a.delivered += _newer(first, FIRST + a.delivered)
    if count >= 3:
        if one:
            a.delivered += _newer(third, FIRST + a.delivered)
        else:
            a.delivered_e1 += _newer(third, FIRST + a.delivered_e1)
    if count < 2:
        return -1
    marked = _newer(second, a.delivered_ce)
    a.delivered_ce += marked
    return marked


@compiled
def _newer(field: int, known: int) -> int:
    """How much further a counter is than we knew; 0 for one that is older."""
    d = (field - known) & (WRAP - 1)
    return d if d < WRAP // 2 else 0
