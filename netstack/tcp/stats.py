"""What a connection has done: the figures that TCP_INFO shows (RFC 4898 names most of them)."""
from __future__ import annotations

from ..machine import compiled, i64, record, u16, u32


@record
class Stats:
    """Counters of one connection."""

    segs_in: u32
    segs_out: u32
    data_segs_in: u32
    data_segs_out: u32
    bytes_sent: i64             # text, with what was sent again
    bytes_retrans: i64          # text sent again
    bytes_acked: i64
    bytes_received: i64         # text in order
    retrans: u32                # segments sent again
    dsacks: u32                 # duplicates that the peer told of
    delivered: u32              # segments that arrived, the SYN too
    out_of_order: u32           # segments received out of order
    rtos: u16                   # timeouts
    rto_recoveries: u16         # ... that were the first of their row
    begun: i64                  # ns: established
    rto_at: i64                 # ns: since when a timeout is not recovered from; 0: none is
    rto_time: i64               # ns in which one was not, before that
    last_data_sent: i64         # ns
    last_data_received: i64
    last_ack_received: i64
    busy_at: i64                # ns: since when there is data to send or outstanding; 0: none is
    busy: i64                   # ns with such data, before that
    rwnd_limited_at: i64        # ns: since when the peer's window stops us; 0: it does not
    rwnd_limited: i64           # ns, before that
    sndbuf_limited_at: i64      # ns: since when a full send buffer is all sent, and the windows have room; 0: it is not
    sndbuf_limited: i64         # ns, before that


@compiled
def segments(n: int, mss: int) -> int:
    """How many segments n bytes make."""
    return (n + mss - 1) // mss if mss > 0 else 0


@compiled
def total(before: int, since: int, now: int) -> int:
    """A time that has come together, with what still runs since `since` (0: nothing does)."""
    return before + (now - since if since != 0 else 0)


@compiled
def on_segment(s: Stats, text: int, count: int) -> None:
    """`count` segments have come as one, with so many bytes of text."""
    s.segs_in += count
    if text > 0:
        s.data_segs_in += count


@compiled
def on_rto(s: Stats, first: bool, now: int) -> None:
    """The retransmission timer has gone off, for the first time in a row or not."""
    s.rtos += 1
    if first:
        s.rto_recoveries += 1
        if s.rto_at == 0:
            s.rto_at = now


@compiled
def on_rto_over(s: Stats, now: int) -> None:
    """What was lost then has arrived."""
    if s.rto_at != 0:
        s.rto_time += now - s.rto_at
        s.rto_at = 0


@compiled
def stop(s: Stats, now: int) -> None:
    """The connection is over."""
    set_busy(s, False, now)
    set_rwnd_limited(s, False, now)
    set_sndbuf_limited(s, False, now)
    on_rto_over(s, now)


@compiled
def set_busy(s: Stats, busy: bool, now: int) -> None:
    """Whether there is something to send, or outstanding."""
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


@compiled
def set_sndbuf_limited(s: Stats, limited: bool, now: int) -> None:
    """Whether the send buffer's size is what stops us."""
    if limited:
        if s.sndbuf_limited_at == 0:
            s.sndbuf_limited_at = now
    elif s.sndbuf_limited_at != 0:
        s.sndbuf_limited += now - s.sndbuf_limited_at
        s.sndbuf_limited_at = 0
