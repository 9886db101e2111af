"""The sender's side of selective acknowledgments.

RFC 2018 section 5 (the blocks mark what the peer holds), RFC 2883 section 4 (a
first block that tells of a duplicate), and RFC 6675 section 4 (IsLost) for
connections that do not use RACK.
"""
from __future__ import annotations

from ..machine import compiled
from ..machine.table import Table
from . import runs, seq
from .runs import Queue

DUPTHRESH = 3


@compiled
def is_dsack(left: int, right: int, ack: int) -> bool:
    """Whether a first block tells of a duplicate that is acknowledged already (RFC 2883 4.1)."""
    return seq.lt(left, right) and seq.leq(right, ack)


@compiled
def is_inside(left: int, right: int, second_left: int, second_right: int) -> bool:
    """Whether a first block tells of a duplicate inside the second (RFC 2883 4.2)."""
    return seq.lt(left, right) and seq.geq(left, second_left) and seq.leq(right, second_right)


@compiled
def is_plausible(left: int, right: int, snd_una: int, snd_nxt: int) -> bool:
    """Whether a block can be true: of what was sent, and not yet acknowledged."""
    return seq.lt(left, right) and seq.leq(right, snd_nxt) and seq.gt(right, snd_una)


@compiled
def next_part(pool: Table, q: Queue, index: int, left: int, right: int) -> int:
    """The first run from `index` on that stands inside left .. right - 1 and is not SACKed yet, cut to fit; or 0.

    Called again with what follows it, this finds everything that a block says news of.
    """
    while index != 0:
        r = runs.get(pool, index)
        if seq.geq(r.left, right):
            return 0
        if r.sacked or seq.leq(r.right, left):
            index = r.next
            continue
        if seq.lt(r.left, left):
            if not runs.split(pool, q, index, left):
                return 0
            index = r.next
            r = runs.get(pool, index)
        if seq.gt(r.right, right) and not runs.split(pool, q, index, right):
            return 0
        return index
    return 0


@compiled
def detect(pool: Table, q: Queue, mss: int) -> None:
    """IsLost of RFC 6675 section 4: DupThresh separate sequences, or more than (DupThresh - 1) * SMSS bytes, above
    it were SACKed."""
    above = 0
    sequences = 0
    index = q.tail
    while index != 0:
        here = index
        r = runs.get(pool, here)
        index = r.prev
        if r.sacked:
            above += runs.size(r)
            sequences += 1
        elif r.lost == 0 and r.again == 0 and (above > (DUPTHRESH - 1) * mss or sequences >= DUPTHRESH):
            runs.set_lost(pool, q, here)
