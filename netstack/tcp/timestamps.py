"""Timestamps, and protection against wrapped sequence numbers (PAWS).

RFC 7323 sections 3 to 5.  The clock ticks every millisecond and starts at a
random offset for each connection.
"""
from __future__ import annotations

from ..machine import MS, SECOND, compiled, i64, record, u8, u32
from . import seq

PAWS_IDLE = 24 * 24 * 3600 * SECOND     # (5.5) after 24 days TS.Recent is no longer compared
OPTION_LEN = 12                         # with its two NOPs (appendix A)


@record
class Timestamps:
    """Timestamp state of one connection."""

    offset: u32         # added to the clock: TSval starts anywhere
    recent: u32         # TS.Recent
    last_ack_sent: u32  # Last.ACK.sent (4.3)
    ok: u8              # Snd.TS.OK: both sides sent the option
    has_recent: u8
    recent_at: i64      # when TS.Recent was taken, ns


@compiled
def clock(ts: Timestamps, now: int) -> int:
    """TSval for a segment sent now."""
    return (now // MS + ts.offset) & seq.MASK


@compiled
def is_old(ts: Timestamps, tsval: int, now: int) -> bool:
    """PAWS (5.3, R1): SEG.TSval < TS.Recent, and TS.Recent is not itself out of date."""
    return ts.has_recent == 1 and seq.lt(tsval, ts.recent) and now - ts.recent_at < PAWS_IDLE


@compiled
def on_segment(ts: Timestamps, seg_seq: int, tsval: int, now: int) -> None:
    """Remember TSval of an acceptable segment that reaches the last ACK sent (4.3, step 2)."""
    if seq.leq(seg_seq, ts.last_ack_sent) and (ts.has_recent == 0 or seq.geq(tsval, ts.recent)):
        ts.recent = tsval
        ts.recent_at = now
        ts.has_recent = 1


@compiled
def rtt(ts: Timestamps, tsecr: int, now: int) -> int:
    """The round-trip time that an echoed timestamp tells, ns; -1 if it is not one of ours."""
    ticks = seq.diff(clock(ts, now), tsecr)
    if ticks < 0 or ticks > 0x3FFF_FFFF:
        return -1
    return ticks * MS
