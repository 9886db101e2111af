"""Explicit congestion notification: routers mark packets instead of dropping them, and the receiver tells the sender.

RFC 3168 section 6.1, with the relaxations of RFC 8311; what the sender does about a mark is `recovery.on_mark`, with
RFC 8511's smaller reduction.  Feedback that counts each mark (RFC 9768) is in `accecn.py`.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled, record, u8, u32
from . import seq

ECE = 0x40              # flags of the TCP header
CWR = 0x80
AE = 0x100              # RFC 9768; the three together, as a number: flags >> 6 & 7

NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3      # codepoints: the low two bits of the IP header's TOS (5)
CODEPOINT = 3                               # their mask


class Mode(IntEnum):
    """What was agreed on; also what a SYN asks for."""

    OFF = 0
    CLASSIC = 1         # RFC 3168
    ACCURATE = 2        # RFC 9768


class Setting(IntEnum):
    """net.ipv4.tcp_ecn, with Linux's numbers."""

    OFF = 0
    ON = 1              # ask for it, and accept it
    ACCEPT = 2          # accept it only
    ACCURATE = 3        # ask for AccECN, and accept either
    ACCEPT_ACCURATE_ASK_CLASSIC = 4
    ACCEPT_ACCURATE = 5


@record
class Ecn:
    """ECN of one connection."""

    mode: u8            # Mode
    asked: u8           # Mode that our first SYN asked for
    echo: u8            # CE has come, and no CWR since: every ACK says so (6.1.3)
    cwr_due: u8         # the window was reduced: the next segment of new data says so (6.1.2)
    cwr_sent: u8        # one has said so; until it is acknowledged, ECE is old news
    seen: u8            # a packet with ECT or CE has come
    plain: u8           # our SYN goes without flags by now: those before it were not answered
    reserved: u8
    cwr_end: u32        # the sequence number behind that segment
    received_ce: u32    # packets that came with CE
    delivered_ce: u32   # packets of ours that the peer says came with CE (classic: acknowledged with ECE)


# ---- 6.1.1 TCP Initialization; RFC 9768 3.1 -----------------------------------------

@compiled
def wish(setting: int) -> int:
    """The Mode that our SYN asks for."""
    if setting == Setting.ACCURATE:
        return Mode.ACCURATE
    if setting == Setting.ON or setting == Setting.ACCEPT_ACCURATE_ASK_CLASSIC:
        return Mode.CLASSIC
    return Mode.OFF


@compiled
def syn_flags(e: Ecn) -> int:
    """Flags of our SYN: "ECN-setup SYN packet", "AccECN SYN"."""
    if e.plain or e.asked == Mode.OFF:
        return 0
    return AE | CWR | ECE if e.asked == Mode.ACCURATE else CWR | ECE


@compiled
def on_syn_again(e: Ecn, timeouts: int, fallback: int) -> None:
    """Our SYN was not answered: maybe because of its flags (6.1.1.1).  AccECN tries twice (RFC 9768 3.1.4.1)."""
    if fallback and timeouts > (1 if e.asked == Mode.ACCURATE else 0):
        e.plain = 1


@compiled
def answer(setting: int, flags: int, codepoint: int) -> int:
    """The Mode in which a SYN that came is accepted.

    As on Linux, a classic one with ECT asks for nothing: "A host MUST NOT set ECT on SYN or SYN-ACK packets."
    """
    asked = flags & (AE | CWR | ECE)
    if setting >= Setting.ACCURATE and asked != 0 and asked != CWR | ECE:
        return Mode.ACCURATE                            # (RFC 9768 3.1.3) also what is not defined yet
    if setting != Setting.OFF and asked & (CWR | ECE) == CWR | ECE and (codepoint == NOT_ECT or asked & AE):
        return Mode.CLASSIC
    return Mode.OFF


@compiled
def reflection(codepoint: int) -> int:
    """How the ACE field of the handshake tells which codepoint came (RFC 9768 tables 2 and 3)."""
    return codepoint + 3 if codepoint == CE else codepoint + 2


@compiled
def synack_flags(mode: int, codepoint: int) -> int:
    """Flags of our SYN-ACK: "ECN-setup SYN-ACK packet"; with AccECN they tell which codepoint the SYN came with."""
    if mode == Mode.ACCURATE:
        return reflection(codepoint) << 6
    return ECE if mode == Mode.CLASSIC else 0


@compiled
def agreed(e: Ecn, flags: int) -> int:
    """The Mode that the peer's SYN-ACK, with these flags, leads to (RFC 9768 table 2).

    Which of our SYNs it answers nobody knows.  AccECN was heard of, if it says so (RFC 9768 3.1.5); after a SYN without
    flags a classic one must not send ECT (RFC 3168 6.1.1).
    """
    got = flags & (AE | CWR | ECE)
    if e.asked == Mode.OFF or got == 0 or got == AE | CWR | ECE:    # all: a host that copies what it does not know
        return Mode.OFF
    if e.asked == Mode.ACCURATE and got != ECE:
        return Mode.ACCURATE                            # (RFC 9768 3.1.3) also 101, which is reserved
    if got & (ECE | CWR) == ECE and not e.plain:
        return Mode.CLASSIC
    return Mode.OFF


@compiled
def is_contradicted(e: Ecn, setting: int, flags: int) -> bool:
    """Whether the peer's SYN came as one for AccECN and as one for classic ECN: such a handshake MUST be reset, since
    nobody could know which of the two counts (RFC 9768 3.1.5)."""
    asked = flags & (AE | CWR | ECE)
    if setting < Setting.ACCURATE or asked == 0:
        return False
    if e.mode == Mode.ACCURATE:
        return asked == CWR | ECE
    return e.mode == Mode.CLASSIC and asked != CWR | ECE


# ---- 6.1.2 The TCP Sender ----------------------------------------------------------

@compiled
def on_reduced(e: Ecn) -> None:
    """The window was reduced, for whatever reason."""
    if e.mode == Mode.CLASSIC:
        e.cwr_due = 1


@compiled
def on_new_data(e: Ecn, end: int) -> int:
    """New data up to `end` is sent, for the first time: the flags that it carries.  (6.1.5: a copy carries none.)"""
    if e.cwr_due == 0:
        return 0
    e.cwr_due = 0
    e.cwr_sent = 1
    e.cwr_end = end
    return CWR


@compiled
def on_ack(e: Ecn, ack: int, flags: int) -> bool:
    """An ACK has come.  True if it tells of congestion that we have not reacted to: once a window at most.

    A peer goes on with ECE until it has our CWR, so it means something new only after that.
    """
    if e.mode != Mode.CLASSIC:
        return False
    if e.cwr_sent and seq.geq(ack, e.cwr_end):
        e.cwr_sent = 0
    return (flags & ECE) != 0 and e.cwr_due == 0 and e.cwr_sent == 0


@compiled
def ect(e: Ecn) -> int:
    """The codepoint of new data (6.1.4 to 6.1.6: pure ACKs, copies and window probes are NOT_ECT)."""
    return ECT_0 if e.mode == Mode.CLASSIC else NOT_ECT     # AccECN: accecn.codepoint


# ---- 6.1.3 The TCP Receiver --------------------------------------------------------

@compiled
def on_data(e: Ecn, flags: int, codepoint: int) -> bool:
    """Data inside of the window has come.  True: the sender is to hear of it at once, as on Linux."""
    if codepoint != NOT_ECT:
        e.seen = 1
    if e.mode != Mode.CLASSIC:
        return False
    if codepoint == CE:
        e.received_ce += 1
    was = e.echo
    if flags & CWR:
        e.echo = 0
    if codepoint == CE:
        e.echo = 1                                      # also on the segment with CWR: another mark
    return (flags & CWR) != 0 or (e.echo == 1 and was == 0)


@compiled
def ack_flags(e: Ecn) -> int:
    """The flags that every ACK carries."""
    return ECE if e.echo else 0
