"""RACK: a segment is lost when one that was sent sufficiently later has arrived.

RFC 8985 sections 5 and 6.2, with times in nanoseconds.  The reordering window
starts at nothing, becomes a quarter of the smallest round-trip time once
reordering was seen, and grows with each round in which a D-SACK shows that a
retransmission was needless.
"""
from __future__ import annotations

from ..machine import compiled, i64, record, u8, u32
from ..machine.table import Table
from . import runs, seq
from .runs import Queue, Run

DUPTHRESH = 3
PERSIST = 16            # recoveries that a widened window lasts (6.2, step 4)


@record
class Rack:
    """RACK's variables (5.2), of one connection."""

    xmit_ts: i64            # RACK.xmit_ts: when the most recently sent of the delivered segments was sent, ns
    rtt: i64                # RACK.rtt: its round-trip time, ns
    end_seq: u32            # RACK.end_seq: its last sequence number + 1
    fack: u32               # RACK.fack: highest sequence number + 1 that was delivered
    fack_before: u32        # ... when the ACK in hand came: what it tells has no order of its own
    dsack_round: u32        # RACK.dsack_round: SND.NXT when the window was widened last
    has_dsack_round: u8
    reordering_seen: u8     # RACK.reordering_seen
    reo_wnd_mult: u8        # RACK.reo_wnd_mult
    reo_wnd_persist: u8     # RACK.reo_wnd_persist: recoveries left before reo_wnd_mult goes back to 1
    reordered: u32          # how often reordering was seen
    distance: u32           # bytes, the most that one segment was overtaken by (Linux: tcp_check_sack_reordering)


@compiled
def init(k: Rack, iss: int) -> None:
    """At the end of the handshake."""
    k.reo_wnd_mult = 1
    k.fack = iss
    k.fack_before = iss


@compiled
def on_ack(k: Rack) -> None:
    """An ACK begins: of what it delivers, in whatever order its blocks stand, nothing overtook the rest (Linux:
    prior_fack)."""
    k.fack_before = k.fack


@compiled
def sent_after(at: int, end: int, other_at: int, other_end: int) -> bool:
    """RACK_sent_after (6.2, step 2)."""
    return at > other_at or (at == other_at and seq.gt(end, other_end))


@compiled
def on_delivered(k: Rack, r: Run, end: int, min_rtt: int, echoes_original: bool, now: int) -> None:
    """A run, up to `end`, was acknowledged or SACKed (6.2, steps 1 to 3).

    `echoes_original`: the ACK's timestamp shows that it answers an earlier copy than the last.
    """
    if seq.gt(end, k.fack):
        k.fack = end
    if seq.lt(end, k.fack_before) and r.again == 0:         # (step 3) it was sent before, and comes after
        k.reordering_seen = 1
        k.reordered += 1
        k.distance = max(k.distance, seq.diff(k.fack_before, r.left))
    rtt = now - r.sent_at
    if r.again and (echoes_original or rtt < min_rtt):      # (step 2) more likely the answer to an earlier copy
        return
    k.rtt = rtt
    if sent_after(r.sent_at, end, k.xmit_ts, k.end_seq):
        k.xmit_ts = r.sent_at
        k.end_seq = end


@compiled
def on_dsack(k: Rack, snd_una: int, snd_nxt: int) -> None:
    """The peer had a segment twice: the window was too narrow (6.2, step 4); at most once a round."""
    if k.has_dsack_round and seq.geq(snd_una, k.dsack_round):
        k.has_dsack_round = 0
    if k.has_dsack_round == 0:
        k.has_dsack_round = 1
        k.dsack_round = snd_nxt
        k.reo_wnd_mult = min(k.reo_wnd_mult + 1, 255)
        k.reo_wnd_persist = PERSIST


@compiled
def on_recovered(k: Rack) -> None:
    """A recovery is over: a widened window is forgotten after some of them (6.2, step 4)."""
    if k.reo_wnd_persist > 0:
        k.reo_wnd_persist -= 1
        if k.reo_wnd_persist == 0:
            k.reo_wnd_mult = 1


@compiled
def reordering_window(k: Rack, in_recovery: bool, sacked: int, mss: int, min_rtt: int, srtt: int) -> int:
    """RACK_update_reo_wnd (6.2, step 4), ns."""
    if k.reordering_seen == 0 and (in_recovery or sacked >= DUPTHRESH * mss):
        return 0
    return min(k.reo_wnd_mult * (min_rtt // 4), srtt)


@compiled
def detect(k: Rack, pool: Table, q: Queue, reo_wnd: int, now: int) -> int:
    """RACK_detect_loss (6.2, step 5): mark what is lost.  ns until the next could be; 0: none could."""
    wait = 0
    index = q.oldest
    while index != 0:
        r = runs.get(pool, index)
        if r.sent_at > k.xmit_ts:
            break                                           # the others were sent later still
        later = r.later
        if sent_after(k.xmit_ts, k.end_seq, r.sent_at, r.right):
            left = r.sent_at + k.rtt + reo_wnd - now
            if left <= 0:
                runs.set_lost(pool, q, index)
            else:
                wait = max(wait, left)
        index = later
    return wait
