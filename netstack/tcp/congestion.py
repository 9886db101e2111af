"""Congestion control: the record that every algorithm shares, and the five hooks that make one.

    init            the connection is established, or takes up this algorithm
    on_ack          an ACK delivered data: let cwnd grow (in state OPEN or LOSS; a `full` algorithm hears of every ACK)
    on_loss         a loss, or a mark of congestion (`cause`): set ssthresh
    on_rto          the retransmission timer has gone off: set ssthresh
    on_recovered    the recovery is over; `undone`: it was a mistake, and cwnd and ssthresh are as before

A hook gets the address of the connection's `Congestion` and the time; what it may
read stands in the record.  The engine calls it through an address, so an
algorithm is added without compiling anything else anew.  RFC 5681 section 3 and
RFC 9743 say what an algorithm owes the network.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..machine import Array, addressof, compiled, i64, invoke2, offsetof, record, u8, u32
from .rate import Sample

INITIAL_WINDOW = 10         # segments (RFC 6928)
LOSS_WINDOW = 1             # segments (RFC 5681 3.1)
UNLIMITED = 1 << 40         # ssthresh "arbitrarily high"
ALGORITHMS = 16             # how many a stack can know
WORDS = 16                  # an algorithm's own state


class Ca(IntEnum):
    """States of recovery, with Linux's numbers (tcp_ca_state)."""

    OPEN = 0            # nothing unusual
    DISORDER = 1        # duplicate ACKs or SACKs, no loss yet
    CWR = 2             # cwnd is being reduced for a mark of congestion
    RECOVERY = 3        # fast recovery
    LOSS = 4            # after a timeout


class Cause(IntEnum):
    """Why `on_loss` is called."""

    LOSS = 0
    ECN = 1             # a mark, no loss (RFC 3168 6.1.2, RFC 8511)


@record
class Congestion:
    """Congestion state of one connection.  Bytes, ns, bytes per second."""

    cwnd: i64           # congestion window
    ssthresh: i64       # slow start threshold
    pacing_rate: i64    # no faster than this, bytes/s; 0: as fast as the windows allow
    counted: i64        # bytes acknowledged since cwnd last grew (congestion avoidance)
    prior_cwnd: i64     # before the last reduction
    prior_ssthresh: i64
    # what the engine tells the hooks
    mss: u32            # data bytes of a full segment
    flight: u32         # outstanding: SND.NXT - SND.UNA (RFC 5681, FlightSize)
    pipe: u32           # thought to be in the network (RFC 6675)
    acked: u32          # bytes that this ACK delivered, acknowledged or SACKed
    next: u32           # sequence number SND.NXT, and SND.UNA: what is sent after now ends a round
    una: u32
    delivered: i64      # bytes that all ACKs so far delivered
    rtt: i64            # round-trip time that this ACK gives, -1: none
    srtt: i64           # smoothed; 0 before the first
    min_rtt: i64        # smallest of late; 0 before the first
    most_out: u32       # cwv.py: the most that was outstanding in the last round
    round_end: u32      # cwv.py: SND.NXT then
    sample: Sample      # delivery rate that this ACK gives
    algorithm: u8       # index in Tcp.algorithms
    ca_state: u8        # Ca
    limited: u8         # 1: the application uses cwnd, so it may grow (cwv.py)
    filled: u8          # cwv.py: cwnd was full in the last round
    cause: u8           # Cause
    undone: u8
    abe: u8             # setting: RFC 8511
    hystart: u8         # setting: RFC 9406
    paced: u8           # 1: a rate spreads what is sent
    holds_back: u8      # set by an algorithm that sends less than it could: what is sent now tells nothing of the path
    words: Annotated[Array[i64], 16]


@record
class Algorithm:
    """Addresses of its hooks (machine/unit.py)."""

    init: i64
    on_ack: i64
    on_loss: i64
    on_rto: i64
    on_recovered: i64
    known: u8
    full: u8            # decides cwnd itself in every state: no PRR, no window after a timeout but its own


OWN = offsetof(Congestion, "words")


@compiled
def own(c: Congestion) -> int:
    """The address of an algorithm's own state: WORDS * 8 bytes."""
    return addressof(c) + OWN


@compiled
def initial_window(smss: int) -> int:
    """IW (RFC 6928): min(10 * SMSS, max(2 * SMSS, 14600))."""
    return min(INITIAL_WINDOW * smss, max(2 * smss, 14600))


@compiled
def begin(a: Algorithm, c: Congestion, now: int) -> None:
    """The connection takes up an algorithm: its own state is empty."""
    for i in range(WORDS):
        c.words[i] = 0
    c.counted = 0
    c.pacing_rate = 0
    invoke2(a.init, addressof(c), now)


@compiled
def on_ack(a: Algorithm, c: Congestion, now: int) -> None:
    """An ACK delivered data."""
    invoke2(a.on_ack, addressof(c), now)


@compiled
def on_loss(a: Algorithm, c: Congestion, cause: int, now: int) -> None:
    """A loss or a mark: once a round trip at most."""
    c.cause = cause
    c.prior_cwnd = c.cwnd
    c.prior_ssthresh = c.ssthresh
    invoke2(a.on_loss, addressof(c), now)


@compiled
def on_rto(a: Algorithm, c: Congestion, now: int) -> None:
    """The retransmission timer has gone off for the first time in a row."""
    c.cause = Cause.LOSS
    c.prior_cwnd = c.cwnd
    c.prior_ssthresh = c.ssthresh
    invoke2(a.on_rto, addressof(c), now)


@compiled
def on_recovered(a: Algorithm, c: Congestion, undone: int, now: int) -> None:
    """A reduction is over, or undone."""
    c.undone = undone
    if undone:
        c.cwnd = max(c.cwnd, c.prior_cwnd)
        c.ssthresh = max(c.ssthresh, c.prior_ssthresh)
    invoke2(a.on_recovered, addressof(c), now)


@compiled
def keep_reduced(c: Congestion) -> None:
    """A mark: what a recovery in hand has taken is not given back (RFC 4015 3.4)."""
    c.prior_cwnd = 0
    c.prior_ssthresh = 0


@compiled
def may_reverse(c: Congestion) -> bool:
    """Whether the reduction in hand may be undone."""
    return c.prior_cwnd != 0
