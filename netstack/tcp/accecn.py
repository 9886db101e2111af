"""AccECN: feedback that counts every mark, where classic ECN says once in a round trip that there was one.

RFC 9768.  The three flags AE, CWR and ECE together are the ACE field: the low bits of the number of packets that came
with CE.  What the handshake agrees on is in `ecn.py`, the option that counts bytes in `accecn_option.py`.
Names are the RFC's: r.cep, r.e0b ... of the receiver of data, s.cep, s.e0b ... of its sender.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled, i64, record, u8, u16, u32
from . import seq
from .ecn import CE, ECT_0, NOT_ECT, Ecn, reflection

CEP = 5                 # initial value of r.cep and s.cep (3.2.1); ours count from 0
MARKS = 2               # CE packets after which an ACK is sent at once, with data to acknowledge (3.2.2.5.1)
BARE_MARKS = 3          # ... and without, or two ends could acknowledge each other for ever
UNSURE = 7              # so many packets in an ACK cannot have made the field wrap (3.2.2.5.2)
STRETCH = 4             # packets in each ACK on average: acknowledged in bulk, not lost ACKs (A.2.1; as Linux)
PRECISION = 6           # bits of that average
ROUNDS = 4              # with nothing but marks: no router does that, the field is mangled (3.2.2.3)
FEW = 8                 # packets that are not enough to say so
OVER = 0xFF             # `rounds` when something came unmarked, or it is settled
OFTEN = 1 << 22         # bytes of one kind after which an option is owed at the latest (3.2.3.3)
E1B, CEB, E0B = 1, 2, 4         # bits of `changed`


class Fail(IntEnum):
    """What the path does to AccECN, with Linux's numbers (tcpi_accecn_fail_mode)."""

    ACE_SEND = 1        # our SYN-ACK was not answered until it had no flags
    ACE_RECV = 2        # flags or codepoints of the peer's, or its feedback, cannot be true
    OPTION_SEND = 4     # segments with our option seem to be dropped
    OPTION_RECV = 8     # the peer's options are zeroed, or came too late


@record
class AccEcn:
    """AccECN of one connection; the wire has 24 bits of the counts of bytes, TCP_INFO 32."""

    handshake: u8       # codepoint of the peer's latest SYN or SYN-ACK
    reflect: u8         # our next segment says which (3.2.2.1)
    syn_again: u8       # the peer's SYN has come more than once
    checked: u8         # the first ACE field has come
    no_ect: u8          # nothing of ours is ECT any more
    deaf: u8            # ... and the peer's feedback means nothing (table 4, note 1; 3.2.2.3, 3.2.2.4)
    fail: u8            # Fail
    last: u8            # codepoint of the packet that came last
    last_data: u8       # ... with data
    marks: u8           # CE packets since our last ACK
    bare: u8            # the ACK that is due is for marks on ACKs only
    fresh: u8           # the segment that is looked at has a newer timestamp than all before (A.1)
    rounds: u8          # of nothing but marks, or OVER
    option_seen: u8     # accecn_option.Seen
    option_sent: u8     # our last segment had an option
    owed: u8            # so many ACKs must have the option yet (3.2.3.3)
    changed: u8         # counters that have grown since our last option: E1B ...
    room: u8            # bytes that text leaves free for the option
    repeated: u8        # the peer has sent something again that we have had
    reserved: u8
    repeated_seq: u32   # ... from this sequence number on
    round_end: u32      # when this is acknowledged the round is over
    reserved2: u16
    reserved3: u16
    round_sent: u32     # segments with data that were sent when it began
    settled: u32        # segments that were sent when nothing was outstanding the last time
    per_ack: u32        # packets that an ACK delivers on average << PRECISION
    option_at: i64      # ns, when we sent the last option
    received: u32       # bytes of data that came with ECT(0)
    received_e1: u32    # ... ECT(1)
    received_ce: u32    # ... CE
    delivered: u32      # bytes of ours that came with ECT(0), as the peer's options say
    delivered_e1: u32   # ... ECT(1)
    delivered_ce: u32   # ... CE


# ---- 3.1.5: what follows from the SYNs -----------------------------------------------

@compiled
def on_handshake(a: AccEcn, e: Ecn, codepoint: int, ace: int, active: bool, check: bool) -> None:
    """A SYN has led to AccECN (`active`: a SYN-ACK has).  `ace`: its flags as a number.

    `check`: tcp_ecn_fallback.  (3.2.2.2) CE on a SYN is not counted, on a SYN-ACK once.
    """
    a.handshake = codepoint
    a.last = codepoint
    a.last_data = codepoint
    a.owed = 2
    if active:
        a.reflect = 1
        e.received_ce = 1 if codepoint == CE else 0
        _compare(a, ace, check)


@compiled
def on_syn_again(a: AccEcn, codepoint: int, flags: int) -> None:
    """The peer's SYN again: our answer tells of the latest one (3.1.5).  `flags`: of AE, CWR and ECE.

    Without flags the peer may have given up ECN.  It gets the feedback it was promised, but no ECT.
    """
    a.handshake = codepoint
    a.syn_again = 1
    if flags == 0:
        _distrust(a, Fail.ACE_RECV)


@compiled
def on_synack_again(a: AccEcn, codepoint: int) -> None:
    """The peer's SYN-ACK again, since our ACK was lost: "MUST also use the handshake encoding" (3.2.2.1)."""
    a.handshake = codepoint
    a.reflect = 1


@compiled
def on_plain_synack(a: AccEcn) -> None:
    """Our SYN-ACK goes without flags: "MUST NOT set ECT on any packet for the rest of the connection" (3.1.5)."""
    _distrust(a, Fail.ACE_SEND)


@compiled
def _distrust(a: AccEcn, why: int) -> None:
    a.no_ect = 1
    a.fail |= why


@compiled
def codepoint(a: AccEcn, n: int, sack_ok: int) -> int:
    """The codepoint of a segment with n bytes of text.

    Differs: as on Linux 6.18 copies, probes and ACKs are ECT too, which section 4 leaves to experiments (RFC 8311 4.3).
    A pure ACK is only where SACK tells an ACK of an ACK from a duplicate one (3.2.2.5.1).
    """
    return NOT_ECT if a.no_ect or (n == 0 and not sack_ok) else ECT_0


# ---- 3.2.2.1 to 3.2.2.4: the first ACE fields, and whether the path leaves them alone -------

@compiled
def on_last_ack(a: AccEcn, e: Ecn, ace: int, pure: bool, check: bool) -> bool:
    """The ACK of our SYN-ACK, in SYN-RECEIVED (table 4).  True: the SYN-ACK came with CE.

    `pure`: no data and no SACK blocks, so that the field is not a counter.
    """
    if ace == 0:                                        # (note 1)
        _distrust(a, Fail.ACE_RECV)
        a.deaf = 1
        return False
    if not pure:
        return False
    _compare(a, ace, check)
    if ace == reflection(CE):
        e.delivered_ce = 1                              # (3.2.2.2) "MUST increment s.cep (from 5 to 6)"
        return True
    return False


@compiled
def _compare(a: AccEcn, ace: int, check: bool) -> None:
    """Our SYN or SYN-ACK was not ECT; if it seems to have arrived as something else, the field is mangled (3.2.2.3).

    Marks count on: a mangled packet may have met a real queue behind.
    """
    if check and (ace == 0b011 or ace == 0b100 or ace == reflection(CE)):
        _distrust(a, Fail.ACE_RECV)


@compiled
def on_round(a: AccEcn, e: Ecn, ack: int, snd_nxt: int, sent: int) -> None:
    """Data was acknowledged: whether all that we have sent so far came with CE (3.2.2.3).

    `sent`: segments with data until now.
    """
    if a.rounds == OVER or (a.round_sent != 0 and seq.lt(ack, a.round_end)):
        return
    if a.round_sent != 0:
        a.rounds = a.rounds + 1 if e.delivered_ce >= a.round_sent else OVER
        if a.rounds == ROUNDS and a.round_sent < FEW:
            a.rounds = ROUNDS - 1
        elif a.rounds == ROUNDS:
            _distrust(a, Fail.ACE_RECV)
            a.deaf = 1
            a.rounds = OVER
    a.round_sent = sent
    a.round_end = snd_nxt


# ---- the receiver of data: 3.2, 3.2.2.5.1 ---------------------------------------------

@compiled
def on_segment(a: AccEcn, e: Ecn, codepoint: int, n: int, waiting: bool) -> bool:
    """A segment with n bytes of data has come.  True: acknowledge it at once.

    `waiting`: there is data to acknowledge.
    """
    at_once = False
    if codepoint == CE:
        e.received_ce += 1
        a.marks = min(a.marks + 1, 0xFF)
        at_once = a.marks >= (MARKS if waiting or n > 0 else BARE_MARKS)    # "Increment-Triggered ACKs"
        a.bare = 1 if at_once and n == 0 and not waiting else 0
        at_once = at_once or (n > 0 and a.last != CE)                       # "Change-Triggered ACKs"
    a.last = codepoint
    if codepoint != NOT_ECT:
        e.seen = 1
    if n == 0:
        return at_once
    a.bare = 0
    if codepoint == CE:
        a.owed = max(a.owed, 1)                         # (3.2.3.3) "if the r.ceb counter is incrementing"
        a.received_ce = _grow(a, a.received_ce, n, CEB)
    elif codepoint == ECT_0:
        a.received = _grow(a, a.received, n, E0B)
    elif codepoint != NOT_ECT:
        a.received_e1 = _grow(a, a.received_e1, n, E1B)
    if codepoint != a.last_data:                        # a change, and the ACK behind it tells which of them grows
        a.owed = 2
        a.last_data = codepoint
    return at_once


@compiled
def _grow(a: AccEcn, counter: int, n: int, bit: int) -> int:
    """A counter of bytes, with n more."""
    a.changed |= bit
    if (counter ^ (counter + n)) & OFTEN:
        a.owed = max(a.owed, 1)
    return counter + n


@compiled
def ack_flags(a: AccEcn, e: Ecn, pure: bool) -> int:
    """The ACE field, as flags, of a segment that is sent now."""
    a.marks = 0
    a.bare = 0
    if a.reflect and pure:
        a.reflect = 0
        return reflection(a.handshake) << 6
    return ((e.received_ce + CEP) & 7) << 6


# ---- the sender of data: 3.2.2.2, 3.2.2.5.2, A.2 --------------------------------------

@compiled
def on_feedback(a: AccEcn, e: Ecn, ace: int, packets: int, marked: int, mss: int) -> int:
    """An ACK that is not superseded and delivers so many packets: how many more have come with CE.

    `marked`: bytes newly marked as an option says, -1 when there was none.
    """
    if a.checked == 0:
        a.checked = 1
        if ace == 0 and packets < 8 - CEP:              # (3.2.2.4) so few marks cannot have made it wrap
            _distrust(a, Fail.ACE_RECV)
            a.deaf = 1
    if a.deaf:
        return 0
    if packets > 0:
        a.per_ack = (packets << PRECISION) if a.per_ack == 0 else a.per_ack + packets - (a.per_ack >> PRECISION)
    n = (ace - (e.delivered_ce + CEP)) & 7
    safe = packets - ((packets - n) & 7)                # (A.2.1) dSafer.cep, the most that it can mean
    if packets > UNSURE and safe > n:
        if marked < 0:
            n = safe if a.per_ack <= (STRETCH << PRECISION) else n
        else:                                           # (A.2.2) as few turns of the field as those bytes need
            n = min(n + ((max(marked - n * mss, 0) + 8 * mss - 1) // (8 * mss)) * 8, safe)
    if n < packets:
        a.rounds = OVER
    e.delivered_ce += n
    return n


@compiled
def reconcile(a: AccEcn, marked: int, n: int, sent: int, idle: bool) -> None:
    """Whether the field and the option agree (3.2.3.2.5).  `sent`: segments until now; `idle`: all is acknowledged.

    Marked bytes without a marked packet, among so few that the field cannot have turned: somebody writes in it.
    """
    if marked > 0 and n == 0 and sent - a.settled <= UNSURE:
        _distrust(a, Fail.ACE_RECV)
    if idle:
        a.settled = sent
