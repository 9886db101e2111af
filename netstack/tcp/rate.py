"""How fast data arrives: a sample of the delivery rate for each ACK.

draft-cheng-iccrg-delivery-rate-estimation-02 (the names of its section 2 in lower
case).  A sample spans from when a run was sent to when its ACK came; the slower
of the rates of sending and of acknowledging counts, so that ACKs which come in
a bunch do not look like a faster path.
"""
from __future__ import annotations

from ..machine import SECOND, compiled, i64, record, u8, u32
from .runs import Run


@record
class Rate:
    """Of one connection."""

    delivered: i64          # C.delivered: bytes delivered, acknowledged or SACKed
    delivered_at: i64       # C.delivered_time, ns
    first_sent_at: i64      # C.first_sent_time: start of the flight that the newest sample ended, ns
    lost: i64               # bytes taken for lost, all in all
    app_limited: i64        # C.app_limited: up to this `delivered`, samples are the application's doing; 0: none
    best: i64               # for people: the last sample that was not the application's doing, or was faster; bytes/s
    best_app_limited: u8    # ... and yet was its doing


@record
class Sample:
    """The sample that the ACK in hand gives (rs)."""

    delivered: i64          # bytes delivered over the interval; -1: no sample
    interval: i64           # ns
    prior_delivered: i64    # C.delivered when the newest run that it acknowledges was sent; -1: it acknowledges none
    lost: u32               # bytes that this ACK shows to be lost
    app_limited: u8


@compiled
def on_sent(c: Rate, r: Run, idle: bool, now: int) -> None:
    """A run is made, or sent again (3.2); `idle`: nothing was in flight."""
    if idle:
        c.first_sent_at = now
        c.delivered_at = now
    r.first_sent_at = c.first_sent_at
    r.delivered_at = c.delivered_at
    r.delivered = c.delivered
    r.app_limited = 1 if c.app_limited != 0 else 0


@compiled
def begin(s: Sample) -> None:
    """A new ACK."""
    s.delivered = -1
    s.interval = 0
    s.prior_delivered = -1
    s.lost = 0
    s.app_limited = 0


@compiled
def on_delivered(c: Rate, s: Sample, r: Run, n: int, now: int) -> None:
    """n bytes of a run have arrived (3.3, UpdateRateSample)."""
    c.delivered += n
    c.delivered_at = now
    if r.delivered >= s.prior_delivered:
        s.prior_delivered = r.delivered
        s.app_limited = r.app_limited
        s.interval = max(r.sent_at - r.first_sent_at, now - r.delivered_at)     # of sending, of acknowledging
        c.first_sent_at = r.sent_at


@compiled
def finish(c: Rate, s: Sample, min_rtt: int) -> None:
    """All of the ACK has been looked at (3.3, GenerateRateSample)."""
    if c.app_limited != 0 and c.delivered > c.app_limited:
        c.app_limited = 0
    if s.prior_delivered < 0:
        return
    if s.interval <= 0 or (min_rtt > 0 and s.interval < min_rtt):
        return                                              # too short to be true
    s.delivered = c.delivered - s.prior_delivered
    value = per_second(s)
    if s.app_limited == 0 or value >= c.best:               # as Linux keeps it
        c.best = value
        c.best_app_limited = s.app_limited


@compiled
def per_second(s: Sample) -> int:
    """The sample's rate, bytes per second; 0 when there is none."""
    if s.delivered <= 0 or s.interval <= 0:
        return 0
    if s.delivered < (1 << 33):
        return s.delivered * SECOND // s.interval
    return s.delivered // max(s.interval // SECOND, 1)


@compiled
def on_app_limited(c: Rate, in_flight: int) -> None:
    """The application had no more to send, and neither window was full (3.4)."""
    c.app_limited = max(c.delivered + in_flight, 1)
