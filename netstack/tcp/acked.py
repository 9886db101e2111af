"""What one ACK has told: gathered while the queue is walked, read by everything that decides afterwards."""
from __future__ import annotations

from ..machine import compiled, i64, record, u8
from . import seq
from .rack import Rack
from .rack import on_delivered as rack_on_delivered
from .rate import Rate, Sample
from .rate import on_delivered as rate_on_delivered
from .runs import Run


@record
class Acked:
    """Of the ACK in hand; bytes, ns."""

    data: i64           # acknowledged cumulatively
    delivered: i64      # arrived by what it says: acknowledged or SACKed for the first time
    sent_at: i64        # when the newest run that was sent only once, and that it delivers, was sent; -1: none
    copy_at: i64        # when the newest run that was sent again, and that it delivers, was sent last; -1: none
    tsecr: i64          # the timestamp it echoes; -1: none
    high: i64           # Recovery.high before
    advanced: u8        # SND.UNA has moved
    sacked: u8          # it brings SACK blocks with news
    dsack: u8           # it tells of a duplicate
    original: u8        # it delivers data, sent before `high`, that was never sent again
    copied: u8          # it delivers data that was sent again
    duplicate: u8       # a duplicate ACK (RFC 5681 section 2)


@compiled
def begin(a: Acked, high: int, tsecr: int) -> None:
    """A new ACK."""
    a.data = 0
    a.delivered = 0
    a.sent_at = -1
    a.copy_at = -1
    a.tsecr = tsecr
    a.high = high
    a.advanced = 0
    a.sacked = 0
    a.dsack = 0
    a.original = 0
    a.copied = 0
    a.duplicate = 0


@compiled
def on_delivered(a: Acked, rate: Rate, sample: Sample, rack: Rack, r: Run, end: int, original_echo: bool, min_rtt: int,
                 now: int) -> None:
    """A run that was not SACKed before has arrived, up to `end`."""
    n = seq.diff(end, r.left)
    a.delivered += n
    if r.again:
        a.copied = 1
        a.copy_at = max(a.copy_at, r.sent_at)
    else:
        a.sent_at = max(a.sent_at, r.sent_at)
        if seq.leq(end, a.high):
            a.original = 1
    rate_on_delivered(rate, sample, r, n, now)
    rack_on_delivered(rack, r, end, min_rtt, original_echo, now)
