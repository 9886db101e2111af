"""Packetization layer path MTU discovery: find out by sending which size gets through.

RFC 4821 section 7, RFC 8899 section 4 (no router has to tell).  A probe is a
segment of new text that is larger than the others, with enough behind it that
its loss is seen without a timeout.  When it is acknowledged, segments get as
large; when it alone is lost, that is no sign of congestion (RFC 4821 7.6.2): its
text is sent again in pieces, and the search goes on below.

A black hole, where large segments vanish and nobody says so, shows as timeouts
in a row: then segments get small first, and the search upwards begins (7.7).
All sizes are those of an MSS: without IP's and TCP's headers, options included.
"""
from __future__ import annotations

from ..machine import compiled, i64, record, u8, u16, u32
from . import seq

OFF, AFTER_BLACK_HOLE, ALWAYS = 0, 1, 2     # net.ipv4.tcp_mtu_probing
LEAST_CWND = 11             # segments: a probe's loss must not be half of the window (Linux)
BEHIND = 4                  # segments that must follow a probe: duplicate ACKs for fast retransmit (7.4)


@record
class MtuProbe:
    """Of one connection."""

    enabled: u8         # searching
    reserved: u8
    low: u16            # search_low: gets through
    high: u16           # search_high: the largest that may
    size: u16           # of the probe that is out; 0: none is
    left: u32           # its first sequence number
    right: u32          # ... and the one behind it
    mtu: u32            # what the path is thought to take, bytes: the interface's MTU, or what a router told
    at: i64             # ns: the search began, or ended
    expires: i64        # ns: what a router told is forgotten (RFC 1191 6.3); 0: none did


@compiled
def begin(m: MtuProbe, mode: int, base: int, most: int, now: int) -> None:
    """The connection is established; its segments may be `most` bytes long at most."""
    m.high = most
    m.low = min(base, most)
    m.size = 0
    m.enabled = 1 if mode == ALWAYS else 0
    m.at = now


@compiled
def limit(m: MtuProbe, most: int) -> None:
    """The path takes `most` at most, as a router says, or again as much as its first link."""
    m.high = min(m.high, most) if m.enabled else most
    m.low = min(m.low, most)


@compiled
def next_size(m: MtuProbe, threshold: int) -> int:
    """The size to try (7.3): half way; 0 when the search is over, or a probe is out."""
    if m.enabled == 0 or m.size != 0 or m.high - m.low < threshold:
        return 0
    return (m.high + m.low) // 2


@compiled
def is_over(m: MtuProbe, threshold: int, interval: int, now: int) -> bool:
    """Whether it is time to search anew: paths change (7.3; RFC 8899 5.1.1, PMTU_RAISE_TIMER)."""
    return m.enabled == 1 and m.size == 0 and m.high - m.low < threshold and now - m.at >= interval


@compiled
def restart(m: MtuProbe, most: int, now: int) -> None:
    """Search from here upwards once more."""
    m.high = most
    m.at = now


@compiled
def can_probe(size: int, mss: int, left: int, wnd: int, cwnd: int, pipe: int) -> bool:
    """Whether enough may follow a probe (7.4): `left` bytes to send, the peer's window, cwnd and what is out."""
    needed = size + BEHIND * mss
    return left >= needed and wnd >= needed and cwnd >= LEAST_CWND * mss and pipe + size <= cwnd


@compiled
def on_sent(m: MtuProbe, size: int, left: int, right: int) -> None:
    """A probe is out."""
    m.size = size
    m.left = left
    m.right = right


@compiled
def on_ack(m: MtuProbe, snd_una: int, now: int) -> bool:
    """SND.UNA has moved: True when a probe got through (7.6.1)."""
    if m.size == 0 or seq.lt(snd_una, m.right):
        return False
    m.low = max(m.low, m.size)
    m.size = 0
    m.at = now
    return True


@compiled
def is_lost_alone(m: MtuProbe, snd_una: int, lost: int) -> bool:
    """Whether the probe, and nothing but it, is lost (7.6.2)."""
    return m.size != 0 and snd_una == m.left and 0 < lost <= seq.diff(m.right, m.left)


@compiled
def on_lost(m: MtuProbe, now: int) -> None:
    """It was too large."""
    m.high = min(m.high, m.size - 1)
    m.size = 0
    m.at = now


@compiled
def give_up(m: MtuProbe) -> None:
    """More than the probe is lost, or a timeout: it says nothing (7.6.3, 7.6.4)."""
    m.size = 0


@compiled
def on_black_hole(m: MtuProbe, mode: int, base: int, least: int, flight: int, now: int) -> bool:
    """Too many timeouts in a row (7.7; RFC 8899 4.3): segments of `base` bytes, then of half each time.

    True when segments get smaller.  Differs from Linux: what is lost, `flight` bytes, must have been larger than that,
    or its size was not the reason.
    """
    if mode == OFF:
        return False
    low = max(min(m.low // 2, base), least) if m.enabled else min(base, m.high)
    if flight <= low or (m.enabled and low >= m.low):
        return False
    m.enabled = 1
    m.low = low
    m.size = 0
    m.at = now
    return True
