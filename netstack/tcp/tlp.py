"""TLP: a probe of the tail, so that a loss at the end need not wait for a timeout.

RFC 8985 section 7.  The probe is new data if there is some, else the last
segment again; its ACK, or the SACKs that it brings, tell RACK what is missing.
"""
from __future__ import annotations

from ..machine import MS, SECOND, compiled, record, u8, u32
from . import seq

MAX_ACK_DELAY = 200 * MS    # TLP.max_ack_delay (7.2); Linux's largest delayed ACK
LEAST = 2 * MS              # as Linux: two of its ticks


@record
class Tlp:
    """TLP's variables (7.1)."""

    end_seq: u32        # TLP.end_seq: SND.NXT when the probe was sent
    active: u8          # a probe is unanswered
    is_retrans: u8      # TLP.is_retrans: it was a retransmission
    due: u8             # one is to be sent


@compiled
def timeout(srtt: int, flight: int, mss: int) -> int:
    """PTO (7.2, TLP_calc_PTO), ns."""
    if srtt == 0:
        return 1 * SECOND
    pto = max(2 * srtt, LEAST)
    if flight <= mss:
        pto += MAX_ACK_DELAY
    return pto


@compiled
def on_ack(p: Tlp, ack: int, una_before: int, dsack: bool, plain_duplicate: bool) -> bool:
    """TLP_process_ack (7.4.2): True if the probe repaired a loss, to which congestion control must respond.

    `plain_duplicate`: the ACK equals SND.UNA and carries neither data nor SACK blocks.
    """
    if p.active == 0 or seq.lt(ack, p.end_seq):
        return False
    if p.is_retrans == 0:
        p.active = 0                    # (step 1) the probe was new data
        return False
    if dsack:
        p.active = 0                    # (step 1, case 1) the original had arrived as well
        return False
    if seq.gt(ack, p.end_seq):
        p.active = 0                    # (step 2) what was sent after it is acknowledged too, and no D-SACK came
        return True
    if ack == una_before and plain_duplicate:
        p.active = 0                    # (step 1, case 2) a duplicate: both copies arrived
    return False
