"""What a connection has done: the figures that TCP_INFO shows (RFC 4898 names most of them)."""
from __future__ import annotations

from ..machine import compiled, i64, record, u32


@record
class Stats:
    """Counters of one connection."""

    segs_in: i64
    segs_out: i64
    data_segs_in: i64
    data_segs_out: i64
    bytes_sent: i64             # text, with what was sent again
    bytes_retrans: i64          # text sent again
    bytes_acked: i64
    bytes_received: i64
    retrans: u32                # segments sent again
    dsacks: u32                 # duplicates that the peer told of
    last_data_sent: i64         # ns
    last_data_received: i64
    last_ack_received: i64
    busy_at: i64                # ns: since when data is outstanding; 0: none is
    busy: i64                   # ns with data outstanding, before that
    rwnd_limited_at: i64        # ns: since when the peer's window stops us; 0: it does not
    rwnd_limited: i64           # ns, before that
    sndbuf_limited: i64         # ns in which the application's writes did not fill the window


@compiled
def set_busy(s: Stats, busy: bool, now: int) -> None:
    """Whether data is outstanding."""
    if busy:
        if s.busy_at == 0:
            s.busy_at = now
    elif s.busy_at != 0:
        s.busy += now - s.busy_at
        s.busy_at = 0


@compiled
def set_rwnd_limited(s: Stats, limited: bool, now: int) -> None:
    """Whether the peer's window is what stops us."""
    if limited:
        if s.rwnd_limited_at == 0:
            s.rwnd_limited_at = now
    elif s.rwnd_limited_at != 0:
        s.rwnd_limited += now - s.rwnd_limited_at
        s.rwnd_limited_at = 0
