"""F-RTO: was the timeout spurious?

RFC 5682 section 2.1, and 3.1 for peers with SACK.  After a timeout only the
first segment is sent again; if the next ACKs advance over data that was never
sent again, the segments were late, not lost.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import compiled


class Step(IntEnum):
    """Where the algorithm stands (2.1)."""

    NONE = 0
    FIRST = 1           # (step 1) the first segment was sent again
    NEW_DATA = 2        # (step 2b) new data was sent instead of retransmissions


class Verdict(IntEnum):
    """What an ACK means."""

    UNDECIDED = 0
    SPURIOUS = 1        # (step 3b)
    REAL = 2            # (steps 2a, 3a) conventional recovery


@compiled
def on_ack(step: int, advanced: bool, original: bool, duplicate: bool, complete: bool, can_send: bool) -> int:
    """What the ACK says, a Verdict; UNDECIDED in FIRST means: go to NEW_DATA.

    `original`: it delivers data that was never sent again; `duplicate`: it is a duplicate or brings SACKs;
    `complete`: it acknowledges all that was outstanding at the timeout; `can_send`: there is new data that may be sent.
    """
    if original and (advanced or step == Step.NEW_DATA):
        return Verdict.SPURIOUS
    if step == Step.NEW_DATA:
        return Verdict.REAL if duplicate else Verdict.UNDECIDED
    if advanced and not complete and can_send:
        return Verdict.UNDECIDED
    return Verdict.REAL
