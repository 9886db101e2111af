"""Dynamic right-sizing: a receive buffer that grows as fast as the application reads.

M. Fisk, W. Feng, "Dynamic Right-Sizing in TCP", Los Alamos Computer Science Institute
Symposium, 2001, in Linux's form.  The receiver measures how much the application takes in
one round-trip time: that is the peer's congestion window, unless our window held it back.
A buffer of twice that never does; while the rate grows, more.  The round-trip time comes
from echoed timestamps, else from how long a whole window takes to arrive.
"""
from __future__ import annotations

from ..machine import MS, compiled, i32, i64, record, u32
from . import seq

SPARE_SEGMENTS = 16
LARGEST_WINDOW = 1 << 30        # RFC 7323 2.3


@record
class Drs:
    """Measurements of one connection's receiving side."""

    rtt: i64            # round-trip time as the receiver sees it, 8 times, ns; 0: unknown
    rtt_at: i64         # the window that is being timed was offered then; 0: none
    rtt_seq: u32        # its right edge
    rtt_echo: u32       # the last timestamp that gave a sample
    at: i64             # the present interval began then, ns
    read: i64           # bytes of the stream the application had read then
    space: i32          # most that it has read in one interval
    flight: i32         # what it has read in the last one: about what the peer has on its way


@compiled
def start(d: Drs, space: int, now: int) -> None:
    """The connection is established; the peer may begin with `space` bytes."""
    d.space = space
    d.at = now


@compiled
def on_sample(d: Drs, rtt: int) -> None:
    """From a timestamp: an average."""
    d.rtt = 8 * rtt if d.rtt == 0 else d.rtt + rtt - (d.rtt >> 3)


@compiled
def on_window(d: Drs, rcv_nxt: int, rcv_adv: int, now: int) -> None:
    """Text has come in order, and there are no timestamps: has the window that was timed arrived?  The least counts,
    since a peer that does not fill the window makes it look longer."""
    if d.rtt_at != 0:
        if seq.lt(rcv_nxt, d.rtt_seq):
            return
        sample = 8 * max(now - d.rtt_at, MS // 1000)
        d.rtt = sample if d.rtt == 0 else min(d.rtt, sample)
    d.rtt_at = max(now, 1)
    d.rtt_seq = rcv_adv


@compiled
def on_read(d: Drs, read: int, mss: int, now: int) -> int:
    """The application has read up to byte `read` of the stream: the window it should have, or 0 for no change."""
    if d.rtt == 0 or now - d.at < d.rtt >> 3:
        return 0
    copied = min(read - d.read, LARGEST_WINDOW)
    d.flight = copied
    window = 0
    if copied > d.space:
        window = 2 * copied + SPARE_SEGMENTS * mss
        window += 2 * (window * (copied - d.space) // max(d.space, 1))       # the sender is in slow start
        d.space = copied
    d.read = read
    d.at = now
    return window
