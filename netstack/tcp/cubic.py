"""CUBIC: after a loss the window returns to where it was along a cubic curve of time.

RFC 9438, in bytes and milliseconds of the curve; HyStart++ (RFC 9406) in the first
slow start; a mark of congestion reduces less than a loss (RFC 8511).
"""
from __future__ import annotations

from ..machine import MS, at, compiled, i64, record, u8, u16, u32, unit
from . import congestion, hystart
from .congestion import UNLIMITED, Ca, Cause, Congestion, initial_window
from .hystart import Hystart

BETA = 70               # percent (4.6)
BETA_ECN = 85           # percent (RFC 8511 3.1)
ALPHA = 529             # 3 * (1 - beta) / (1 + beta) in thousandths (4.3)
LONGEST = 200_000       # ms from K that the curve is followed; beyond it the window is unlimited anyway


@record
class Cubic:
    """Of one connection (4.1.2); bytes."""

    epoch: i64          # when this period of congestion avoidance began, ns; 0: not yet
    at: i64             # when the last ACK came, ns
    w_max: u32          # window just before the last reduction
    k: u32              # ms that the curve takes from the start of the epoch to w_max
    w_est: u32          # what Reno would have
    cwnd_prior: u32     # window when the epoch's reduction came
    # before the last reduction, for undoing it (4.9.2)
    prior_epoch: i64
    prior_w_max: u32
    prior_k: u32
    prior_w_est: u32
    est_part: u16       # of w_est's growth, thousandths of a byte
    after_rto: u8       # the epoch follows a timeout (4.8)
    hy: Hystart


@compiled
def cube_root(n: int) -> int:
    """The largest r with r**3 <= n."""
    if n <= 0:
        return 0
    r = 1
    while r * r * r <= n and r < 2_000_000:
        r *= 2
    low = r // 2
    high = r
    while low + 1 < high:
        middle = (low + high) // 2
        if middle * middle * middle <= n:
            low = middle
        else:
            high = middle
    return low


@compiled
def curve(s: Cubic, t: int, mss: int) -> int:
    """W_cubic(t) = C * (t - K)**3 + W_max (4.2, eq. 1), t in ms."""
    d = min(max(t - s.k, -LONGEST), LONGEST)
    cubed = d * d * d // 1_000_000                  # thousandths of s**3
    return s.w_max + 4 * cubed * mss // 10_000


@compiled
def _begin_epoch(s: Cubic, c: Congestion, now: int) -> None:
    """Congestion avoidance begins."""
    s.epoch = now
    s.w_est = c.cwnd
    s.est_part = 0
    c.counted = 0
    if s.w_max <= c.cwnd or s.after_rto:
        s.k = 0                                     # (4.8, 4.10) no curve to follow yet: grow from here
        s.w_max = c.cwnd
    else:
        s.k = cube_root((s.w_max - c.cwnd) * 2_500_000_000 // c.mss)        # (4.2, eq. 2) in ms
    s.after_rto = 0


@compiled
def avoid_congestion(s: Cubic, c: Congestion, now: int) -> None:
    """An ACK in congestion avoidance (4.3 to 4.5)."""
    if s.epoch == 0:
        _begin_epoch(s, c, now)
    t = (now - s.epoch) // MS
    alpha = ALPHA if s.w_est < s.cwnd_prior else 1000
    part = s.est_part + alpha * c.mss * c.acked // c.cwnd                           # (4.3, eq. 4)
    s.w_est += part // 1000
    s.est_part = part % 1000
    if curve(s, t, c.mss) < s.w_est:                # Reno-friendly region
        c.cwnd = max(c.cwnd, s.w_est)
        return
    target = min(max(curve(s, t + c.srtt // MS, c.mss), c.cwnd), 3 * c.cwnd // 2)       # (4.2)
    c.counted += (target - c.cwnd) * c.acked        # (4.4, 4.5) by (target - cwnd) / cwnd for each segment
    step = c.counted // c.cwnd
    c.counted -= step * c.cwnd
    c.cwnd += step


@compiled
def grow(s: Cubic, c: Congestion, now: int) -> None:
    """New data was delivered."""
    before = s.at
    s.at = now
    if c.limited == 0:
        if s.epoch != 0:
            s.epoch += now - before                 # (5.8) time that the application left unused does not count
        return
    if c.cwnd >= c.ssthresh:
        avoid_congestion(s, c, now)
        return
    if c.ca_state == Ca.OPEN and c.hystart and c.ssthresh == UNLIMITED:
        ends = hystart.on_ack(s.hy, c.hystart, c.rtt, c.min_rtt, c.una, c.next, now)
        c.cwnd += hystart.growth(s.hy, c.acked, c.mss, c.paced)
        if ends:
            c.ssthresh = c.cwnd
    else:
        c.cwnd += min(c.acked, c.mss) if c.ca_state == Ca.LOSS else hystart.limit(c.acked, c.mss, c.paced)


@compiled
def reduce(s: Cubic, c: Congestion, percent: int) -> None:
    """A loss, a mark or a timeout (4.6, 4.7)."""
    s.prior_w_max = s.w_max
    s.prior_k = s.k
    s.prior_epoch = s.epoch
    s.prior_w_est = s.w_est
    if c.cwnd < s.w_max:
        s.w_max = c.cwnd * (100 + percent) // 200   # (4.7) fast convergence: leave room for a new flow
    else:
        s.w_max = c.cwnd
    s.cwnd_prior = c.cwnd
    s.epoch = 0
    c.ssthresh = max(c.cwnd * percent // 100, 2 * c.mss)


@unit
def init(address: int, now: int) -> int:
    """At the end of the handshake; or later: then cwnd stays."""
    c = at(Congestion, address)
    if c.cwnd == 0:
        c.cwnd = initial_window(c.mss)
        c.ssthresh = UNLIMITED
    s = at(Cubic, congestion.own(c))
    s.at = now
    hystart.init(s.hy, c.next)
    return 0


@unit
def on_ack(address: int, now: int) -> int:
    """..."""
    c = at(Congestion, address)
    grow(at(Cubic, congestion.own(c)), c, now)
    return 0


@unit
def on_loss(address: int, now: int) -> int:
    """..."""
    c = at(Congestion, address)
    reduce(at(Cubic, congestion.own(c)), c, BETA_ECN if c.cause == Cause.ECN and c.abe else BETA)
    return 0


@unit
def on_rto(address: int, now: int) -> int:
    """(4.8)"""
    c = at(Congestion, address)
    s = at(Cubic, congestion.own(c))
    reduce(s, c, BETA)
    s.after_rto = 1
    return 0


@unit
def on_recovered(address: int, now: int) -> int:
    """(4.9) A needless reduction leaves no trace."""
    c = at(Congestion, address)
    if c.undone:
        s = at(Cubic, congestion.own(c))
        s.w_max = s.prior_w_max
        s.k = s.prior_k
        s.epoch = s.prior_epoch
        s.w_est = s.prior_w_est
        s.after_rto = 0
    return 0
