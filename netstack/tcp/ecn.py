"""Explicit congestion notification: routers mark packets instead of dropping them, and the receiver tells the sender.

RFC 3168 section 6.1, with the relaxations of RFC 8311; what the sender does about a mark is `recovery.on_mark`, with
RFC 8511's smaller reduction.  Feedback that counts each mark (RFC 9768) is in `accecn.py`.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled, i64, record, u8, u16, u32
from . import seq

ECE = 0x40              # flags of the TCP header
CWR = 0x80

NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3      # codepoints: the low two bits of the IP header's TOS (5)
CODEPOINT = 3                               # their mask


class Mode(IntEnum):
    """What was agreed on; also what a SYN asks for."""

    OFF = 0
    CLASSIC = 1         # RFC 3168


class Setting(IntEnum):
    """net.ipv4.tcp_ecn, with Linux's numbers."""

    OFF = 0
    ON = 1              # ask for it, and accept it
    ACCEPT = 2          # accept it only


@record
class Ecn:
    """ECN of one connection."""

    mode: u8            # Mode
    asked: u8           # Mode that our last SYN asked for
    echo: u8            # CE has come, and no CWR since: every ACK says so (6.1.3)
    cwr_due: u8         # the window was reduced: the next segment of new data says so (6.1.2)
    cwr_sent: u8        # one has said so; until it is acknowledged, ECE is old news
    seen: u8            # a packet with ECT or CE has come
    reserved: u16
    cwr_end: u32        # the sequence number behind that segment
    received_ce: i64    # packets that came with CE
    delivered_ce: i64   # packets of ours that the peer says came with CE (classic: acknowledged with ECE)


# ---- 6.1.1 TCP Initialization ------------------------------------------------------

@compiled
def wish(setting: int) -> int:
    """The Mode that our SYN asks for."""
    return Mode.CLASSIC if setting == Setting.ON else Mode.OFF


@compiled
def syn_flags(mode: int) -> int:
    """Flags of a SYN that asks for a Mode: "ECN-setup SYN packet"."""
    return ECE | CWR if mode == Mode.CLASSIC else 0


@compiled
def on_syn_again(e: Ecn, timeouts: int, fallback: int) -> None:
    """Our SYN was not answered: maybe because of its flags (6.1.1.1)."""
    if fallback and timeouts > 0:
        e.asked = Mode.OFF


@compiled
def answer(setting: int, flags: int, codepoint: int) -> int:
    """The Mode in which a SYN that came is accepted.

    As on Linux, one with ECT asks for nothing: "A host MUST NOT set ECT on SYN or SYN-ACK packets."
    """
    if setting != Setting.OFF and flags & (ECE | CWR) == ECE | CWR and codepoint == NOT_ECT:
        return Mode.CLASSIC
    return Mode.OFF


@compiled
def synack_flags(mode: int) -> int:
    """Flags of our SYN-ACK: "ECN-setup SYN-ACK packet"."""
    return ECE if mode == Mode.CLASSIC else 0


@compiled
def agreed(asked: int, flags: int) -> int:
    """The Mode that the peer's SYN-ACK, with these flags, leads to."""
    if asked == Mode.CLASSIC and flags & (ECE | CWR) == ECE:
        return Mode.CLASSIC
    return Mode.OFF


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
    return ECT_0 if e.mode != Mode.OFF else NOT_ECT


# ---- 6.1.3 The TCP Receiver --------------------------------------------------------

@compiled
def on_data(e: Ecn, flags: int, codepoint: int) -> bool:
    """Data inside of the window has come.  True: the sender is to hear of it at once, as on Linux."""
    if codepoint != NOT_ECT:
        e.seen = 1
    if codepoint == CE:
        e.received_ce += 1
    if e.mode != Mode.CLASSIC:
        return False
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
