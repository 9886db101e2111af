"""AccECN: feedback that counts every mark, where classic ECN says once in a round trip that there was one.

RFC 9768.  The three flags AE, CWR and ECE together are the ACE field: the low bits of the number of packets that came
with CE.  An option adds how many bytes came with each codepoint.  What the handshake agrees on is in `ecn.py`.
Names are the RFC's: r.cep, r.e0b ... of the receiver of data, s.cep, s.e0b ... of its sender.
"""
from __future__ import annotations

from ..machine import compiled, i64, put16, record, store8, u8
from .ecn import CE, ECT_0, ECT_1, NOT_ECT, Ecn, reflection

CEP = 5                 # initial value of r.cep and s.cep (3.2.1); ours count from 0
E0B = 1                 # ... of r.e0b and r.e1b
WRAP = 1 << 24          # of the counters in an option
ACCECN0, ACCECN1 = 172, 174                     # kinds (3.2.3): e0b, ceb, e1b; and e1b, ceb, e0b
NOP = 1
MOST = 12               # bytes that the option takes, padded
MARKS = 2               # CE packets after which an ACK is sent at once, with data to acknowledge (3.2.2.5.1)
BARE_MARKS = 3          # ... and without, or two ends could acknowledge each other for ever
UNSURE = 7              # so many packets in an ACK cannot have made the field wrap (3.2.2.5.2)
STRETCH = 4             # packets in each ACK on average: acknowledged in bulk, not lost ACKs (as Linux)
PRECISION = 6           # bits of that average


@record
class AccEcn:
    """AccECN of one connection; counts are whole, the wire has their low bits."""

    handshake: u8       # codepoint of the peer's SYN or SYN-ACK
    reflect: u8         # our next segment says which (3.2.2.1)
    checked: u8         # the first ACE field has come
    no_ect: u8          # feedback on what we send is broken: no ECT, and no reaction (3.2.2.3, 3.2.2.4)
    option_seen: u8     # 1: the peer has sent an option; 2: it was zeroed on the way (3.2.3.2.4)
    owed: u8            # so many ACKs must have the option yet (3.2.3.3)
    last: u8            # codepoint of the data that came last
    marks: u8           # CE packets since our last ACK
    per_ack: i64        # packets that an ACK delivers on average << PRECISION
    option_at: i64      # ns, when we sent the last option
    received: i64       # bytes of data that came with ECT(0)
    received_e1: i64    # ... ECT(1)
    received_ce: i64    # ... CE
    delivered: i64      # bytes of ours that came with ECT(0), as the peer's options say
    delivered_e1: i64   # ... ECT(1)
    delivered_ce: i64   # ... CE


# ---- 3.2.2.1, 3.2.2.3, 3.2.2.4: the handshake, and whether the path leaves it alone ----

@compiled
def on_handshake(a: AccEcn, e: Ecn, codepoint: int, ace: int, active: bool, check: bool) -> None:
    """A SYN has led to AccECN (`active`: a SYN-ACK has).  `ace`: its flags as a number."""
    a.handshake = codepoint
    a.last = codepoint
    a.owed = 2
    if active:
        a.reflect = 1
        e.received_ce = 1 if codepoint == CE else 0
        _compare(a, ace, check)


@compiled
def on_last_ack(a: AccEcn, ace: int, pure: bool, check: bool) -> None:
    """The ACK of our SYN-ACK, in SYN-RECEIVED (table 4)."""
    a.checked = 1
    if not pure:
        return
    if ace == 0:
        a.no_ect = 1                                    # (note 1) zeroed
    _compare(a, ace, check)


@compiled
def _compare(a: AccEcn, ace: int, check: bool) -> None:
    """Our SYN or SYN-ACK was not ECT; if it seems to have arrived as something else, the field is mangled (3.2.2.3)."""
    if check and (ace == reflection(ECT_0) or ace == reflection(ECT_1) or ace == reflection(CE)):
        a.no_ect = 1


# ---- the receiver of data -------------------------------------------------------------

@compiled
def on_segment(a: AccEcn, e: Ecn, codepoint: int, n: int, waiting: bool) -> bool:
    """A segment with n bytes of data has come.  True: acknowledge it at once.

    `waiting`: there is data to acknowledge.  (3.2.2.5.1)
    """
    at_once = False
    if codepoint == CE:
        e.received_ce += 1
        a.marks = min(a.marks + 1, 0xFF)
        a.owed = max(a.owed, 1)
        at_once = a.marks >= (MARKS if waiting or n > 0 else BARE_MARKS)
    if codepoint != NOT_ECT:
        e.seen = 1
    if n == 0:
        return at_once
    if codepoint == ECT_0:
        a.received += n
    elif codepoint == ECT_1:
        a.received_e1 += n
    elif codepoint == CE:
        a.received_ce += n
    if codepoint != a.last:                             # change-triggered, and the ACK behind it tells which grows
        at_once = at_once or codepoint == CE
        a.owed = 2
        a.last = codepoint
    return at_once


@compiled
def ack_flags(a: AccEcn, e: Ecn) -> int:
    """The ACE field, as flags, of a segment that is sent now."""
    a.marks = 0
    if a.reflect:
        a.reflect = 0
        return reflection(a.handshake) << 6
    return ((e.received_ce + CEP) & 7) << 6


@compiled
def option_len(a: AccEcn, setting: int, beacon: int, srtt: int, room: int, now: int) -> int:
    """Bytes for the option in a segment with so much room for it; 0: none (3.2.3.3).

    `setting`, `beacon`: tcp_ecn_option, tcp_ecn_option_beacon.
    """
    if setting == 0 or room < 8:
        return 0
    if setting == 1 and a.owed == 0 and (beacon == 0 or (now - a.option_at) * beacon < srtt):
        return 0
    return MOST if room >= MOST else 8


@compiled
def emit_option(a: AccEcn, p: int, length: int, now: int) -> None:
    """Write it at p, NOPs before it."""
    fields = (length - 2) // 3
    while length > 2 + 3 * fields:
        store8(p, NOP)
        p += 1
        length -= 1
    one = a.received_e1 > 0                             # what grows comes first: the rest may be cut off
    put16(p, ((ACCECN1 if one else ACCECN0) << 8) | length)
    _put24(p + 2, E0B + (a.received_e1 if one else a.received))
    _put24(p + 5, a.received_ce)
    if fields > 2:
        _put24(p + 8, E0B + (a.received if one else a.received_e1))
    a.option_at = now
    if a.owed > 0:
        a.owed -= 1


@compiled
def _put24(p: int, value: int) -> None:
    store8(p, (value >> 16) & 0xFF)
    put16(p + 1, value & 0xFFFF)


# ---- the sender of data ---------------------------------------------------------------

@compiled
def take_option(a: AccEcn, kind: int, count: int, first: int, second: int, third: int) -> int:
    """An option with so many fields has come.  Bytes newly marked; -1 when it does not say."""
    if a.option_seen == 0:
        a.option_seen = 1
        if (count >= 1 and first == 0) or (count >= 3 and third == 0):
            a.option_seen = 2                           # they begin with 1
    if a.option_seen == 2 or count == 0:
        return -1
    one = kind == ACCECN1
    if one:
        a.delivered_e1 += _newer(first, E0B + a.delivered_e1)
    else:
        a.delivered += _newer(first, E0B + a.delivered)
    if count >= 3:
        if one:
            a.delivered += _newer(third, E0B + a.delivered)
        else:
            a.delivered_e1 += _newer(third, E0B + a.delivered_e1)
    if count < 2:
        return -1
    marked = _newer(second, a.delivered_ce)
    a.delivered_ce += marked
    return marked


@compiled
def _newer(field: int, known: int) -> int:
    """How much further a counter is than we knew; 0 for one that is older (A.1)."""
    d = (field - known) & (WRAP - 1)
    return d if d < WRAP // 2 else 0


@compiled
def on_feedback(a: AccEcn, e: Ecn, ace: int, packets: int, marked: int, mss: int) -> int:
    """An ACK that delivers so many packets: how many of them came with CE.

    `marked`: bytes newly marked as an option says, -1 when there was none.  (3.2.2.5.2, A.2)
    """
    if a.checked == 0:
        a.checked = 1
        if ace == 0:
            a.no_ect = 1                                # (3.2.2.4)
    if a.no_ect or packets == 0:
        return 0
    a.per_ack = (packets << PRECISION) if a.per_ack == 0 else a.per_ack + packets - (a.per_ack >> PRECISION)
    n = (ace - (e.delivered_ce + CEP)) & 7
    safe = packets - ((packets - n) & 7)                # the most that it can mean
    if packets > UNSURE and safe > n:
        if marked < 0:
            n = safe if a.per_ack <= (STRETCH << PRECISION) else n
        else:
            n = min(n + ((max(marked - n * mss, 0) + 8 * mss - 1) // (8 * mss)) * 8, safe)
    e.delivered_ce += n
    return n
