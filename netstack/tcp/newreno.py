"""Fast retransmit and fast recovery, for a peer whose SACKs we do not use yet.

RFC 5681 section 3.2 and RFC 6582 (NewReno).  The functions decide; what is to be
sent again is sent by `output.transmit`.
"""
from __future__ import annotations

from ..machine import compiled, record, u8, u32
from . import reno, seq

DUPTHRESH = 3


@record
class Recovery:
    """Recovery state of one connection."""

    recover: u32            # RFC 6582: highest sequence number sent when recovery began
    dupacks: u32            # duplicate ACKs in a row
    active: u8              # in fast recovery
    after_rto: u8           # 1: `recover` was set by a timeout: ACKs up to it are not a sign of loss (3.2 step 1, 4.1)
    retransmit: u8          # one segment at SND.UNA is to be sent again


@compiled
def on_duplicate(r: Recovery, c: reno.Reno, snd_una: int, snd_max: int, smss: int) -> None:
    """A duplicate ACK (RFC 5681 section 2)."""
    r.dupacks += 1
    if r.active == 1:
        c.cwnd += smss                                          # (RFC 5681 3.2 step 4) another segment has left
        return
    if r.dupacks != DUPTHRESH:
        return
    if r.after_rto == 1 and seq.leq(snd_una, r.recover):        # (RFC 6582 3.2 step 2) they may be echoes of ours
        return
    reno.on_loss(c, seq.diff(snd_max, snd_una), smss)           # (RFC 5681 3.2 step 2)
    r.recover = snd_max
    r.active = 1
    r.after_rto = 0
    r.retransmit = 1
    c.cwnd = c.ssthresh + DUPTHRESH * smss                      # (step 3)


@compiled
def on_ack(r: Recovery, c: reno.Reno, acked: int, snd_una: int, snd_max: int, smss: int) -> bool:
    """New data was acknowledged.  True if it was a partial ACK: the retransmission timer is not restarted again."""
    r.dupacks = 0
    if r.active == 0:
        if r.after_rto == 1 and seq.gt(snd_una, r.recover):
            r.after_rto = 0
        reno.on_ack(c, acked, smss)
        return False
    if seq.geq(snd_una, r.recover):                             # (RFC 6582 3.2 step 3) full acknowledgement
        reno.on_recovered(c, seq.diff(snd_max, snd_una), smss)
        r.active = 0
        return False
    r.retransmit = 1                                            # partial: the next hole
    c.cwnd = max(c.cwnd - acked, 0) + (smss if acked >= smss else 0)
    c.cwnd = max(c.cwnd, smss)
    return True


@compiled
def on_rto(r: Recovery, snd_max: int) -> None:
    """The retransmission timer went off (RFC 6582 3.2 step 4)."""
    r.recover = snd_max
    r.active = 0
    r.after_rto = 1
    r.dupacks = 0
    r.retransmit = 0
