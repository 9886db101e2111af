"""When to acknowledge: at once, or after a moment in which an answer may carry the ACK.

RFC 9293 section 3.8.6.3 and RFC 5681 section 4.2 set the limits: every second full
segment, and 500 ms.  Within them this follows Linux:

* A connection that begins, or goes on after a pause, acknowledges its first segments at
  once: the peer is in slow start, and each ACK opens its window (quick ACKs).
  Where the application serves it from a Selector (or will: the listener is in one) they wait
  a millisecond: if there is an answer, it comes within that and carries the ACK.
* One that answers what it receives (ping-pong) delays, since the answer carries the ACK;
  and so does any for the peer's FIN, which an answer or our own FIN will follow.
* Any other acknowledges when the application has read everything: nothing more will carry
  it, and a peer that obeys Nagle's rule waits for it.
* The delay adapts to the gaps between segments (ato), from 40 to 200 ms.

Frames that wait at the device are taken in together, and one ACK could stand for all of them: for the whole of a small
window, whose peer hears nothing if that one is lost (RFC 5681 4.2: "at least every second full-sized segment"; RFC 3449
5.1.3 on fewer).  So an ACK goes out in between for each `share` of them.
"""
from __future__ import annotations

from ..machine import MS, compiled, i64, record, u8, u16

MOST_QUICK = 16             # TCP_MAX_QUICKACKS
FEWEST_QUICK = 2
DEFAULT_SEGMENT = 536
SOON = 1 * MS               # in which a selector's thread answers
ACKS = 8                    # for what comes in a round trip, at least
LARGE_FLIGHT = 48 << 10     # bytes in a round trip that have several ACKs anyhow, batch by batch
LEAST_SEGMENT = 88          # TCP_MIN_MSS
ANY = 1 << 30
DELAY_MOST = 200 * MS       # TCP_DELACK_MAX
DELAY_ALONE = 500 * MS      # (RFC 9293 3.8.6.3, MUST-40)


@record
class QuickAck:
    """How one connection acknowledges."""

    mss: u16            # the peer's full segment, as seen, bytes
    last_size: u16      # a segment that may have been one
    quick: u8           # ACKs still to be sent at once
    pingpong: u8        # 1: what comes is answered with data
    pushed: u8          # since the last ACK: 1 a write of the peer has ended; 2 more than one
    reserved: u8
    ato: i64            # delay, ns; 0: no text has come yet
    at: i64             # when text came last, ns


@compiled
def start(q: QuickAck, most: int, now: int) -> None:
    """The connection is established; segments are at most `most` bytes long."""
    q.mss = max(min(most, DEFAULT_SEGMENT), LEAST_SEGMENT)
    q.at = now


@compiled
def forget(q: QuickAck) -> None:
    """No text has come yet that tells anything."""
    q.quick = 0
    q.ato = 0


@compiled
def enter(q: QuickAck, most: int, wnd: int, least: int) -> None:
    """Acknowledge the next segments at once, at most `most` or half of the window `wnd`."""
    grant(q, most, wnd)
    q.pingpong = 0
    q.ato = least


@compiled
def grant(q: QuickAck, most: int, wnd: int) -> None:
    """... without leaving ping-pong."""
    n = min(max(wnd // (2 * max(q.mss, 1)), FEWEST_QUICK), most)
    q.quick = max(q.quick, n)


@compiled
def measure(q: QuickAck, n: int, options: int, whole: int, pushed: int, most: int) -> None:
    """A segment of n bytes: is it a full one of the peer's?  `options`: bytes that SACK blocks took from it;
    `whole`: it has no PSH, URG or FIN, so nothing but its size ended it; `pushed`: it has PSH."""
    if n >= q.mss:
        q.mss = max(min(n, most), LEAST_SEGMENT)
        if pushed:
            q.pushed = max(q.pushed, 1)
        return
    n += options
    if n >= DEFAULT_SEGMENT or (whole and n >= LEAST_SEGMENT):      # two of that size are no accident
        if n == q.last_size:
            q.mss = n
            return
        q.last_size = n
    q.pushed = 2 if q.pushed != 0 else 1


@compiled
def on_text(q: QuickAck, wnd: int, rto: int, least: int, now: int) -> None:
    """Text has come in order: adapt the delay to the gap before it."""
    if q.ato == 0:                                  # the first: the peer is in slow start
        grant(q, MOST_QUICK, wnd)
        q.ato = least
    else:
        gap = now - q.at
        if gap <= least // 2:
            q.ato = q.ato // 2 + least // 2
        elif gap < q.ato:
            q.ato = min(q.ato // 2 + gap, rto)
        elif gap > rto:                             # after a pause it is in slow start again
            grant(q, MOST_QUICK, wnd)
    q.at = now


@compiled
def on_fin(q: QuickAck) -> None:
    """The peer has nothing more to say: what the application answers, or its own FIN, may carry the ACK (tcp_fin)."""
    q.pingpong = 1


@compiled
def is_quick(q: QuickAck) -> bool:
    """Whether the next ACK goes at once."""
    return q.quick != 0 and q.pingpong == 0


@compiled
def share(q: QuickAck, flight: int) -> int:
    """How many bytes one ACK may stand for though they came together: two segments, or an eighth of the `flight` bytes
    that come in a round trip.  Of a large flight any number: where there is much, ACKs are to be cheap."""
    return max(2 * q.mss, flight // ACKS) if flight < LARGE_FLIGHT else ANY


@compiled
def delay(q: QuickAck, srtt: int, least: int) -> int:
    """How long an ACK may wait, ns; `srtt`: 0 when it is not known."""
    if q.ato <= least:
        return q.ato
    most = DELAY_MOST if q.pingpong or q.pushed else DELAY_ALONE
    if srtt != 0:
        most = min(most, max(srtt, least))
    return min(q.ato, most, DELAY_MOST)


@compiled
def on_emptied(q: QuickAck, unacked: int) -> bool:
    """The application has read everything, of which `unacked` bytes were not acknowledged: is it time?"""
    return unacked > q.mss or q.pushed == 2 or (q.pushed == 1 and q.pingpong == 0)


@compiled
def on_delayed(q: QuickAck, rto: int, least: int) -> None:
    """The delay was over before anything carried the ACK: wait longer, or this is no ping-pong."""
    if q.pingpong:
        q.pingpong = 0
        q.ato = least
    else:
        q.ato = min(2 * q.ato, rto)


@compiled
def on_sent(q: QuickAck, n: int, least: int, now: int) -> None:
    """A segment with an ACK and n bytes of text goes out."""
    if n > 0 and now - q.at < q.ato:
        q.pingpong = 1
    if q.quick != 0:
        q.quick -= 1
        if q.quick == 0:
            q.ato = least
