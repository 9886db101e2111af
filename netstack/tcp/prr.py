"""Proportional rate reduction: how cwnd goes down during a recovery.

RFC 9937 section 6.2: for each byte that arrives a proportional part is sent, so
that the window ends at ssthresh without a pause at the beginning or a burst at
the end; below ssthresh as much as arrives, and in slow start's manner while
nothing more is found lost.
"""
from __future__ import annotations

from ..machine import compiled, record, u32


@record
class Prr:
    """PRR's variables, bytes."""

    delivered: u32      # prr_delivered
    out: u32            # prr_out: sent since the recovery began
    recover_fs: u32     # RecoverFS: FlightSize when it began


@compiled
def begin(p: Prr, flight: int) -> None:
    """A recovery begins."""
    p.delivered = 0
    p.out = 0
    p.recover_fs = max(flight, 1)


@compiled
def allowance(p: Prr, delivered: int, pipe: int, ssthresh: int, mss: int, progress: bool, first: bool) -> int:
    """sndcnt: how much may be sent on this ACK, bytes.

    `progress`: the ACK advanced SND.UNA and showed no new loss, so the bound may be that of slow start.
    """
    p.delivered += delivered
    if pipe > ssthresh:
        count = -(-p.delivered * ssthresh // p.recover_fs) - p.out          # proportional rate reduction,
        count = -(-count // mss) * mss                                      # its CEIL in segments, as Linux
    else:
        limit = max(p.delivered - p.out, delivered)                         # PRR-CRB: what arrives makes room
        if progress:
            limit += mss                                                    # PRR-SSRB
        count = min(ssthresh - pipe, limit)
    if first:
        count = max(count, mss)                                             # the fast retransmit itself
    return max(count, 0)
