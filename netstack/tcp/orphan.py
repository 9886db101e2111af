"""Orphans: what becomes of a connection that its application has closed.

RFC 9293 section 3.6 leaves it to end by itself; RFC 1122 4.2.2.13 knows the peer that never
closes.  What it may cost is bounded as on Linux (tcp(7), ip-sysctl: tcp_max_orphans,
tcp_orphan_retries, tcp_fin_timeout, TCP_LINGER2).  Times are ns.
"""
from __future__ import annotations

from ..machine import SECOND, compiled, i64, record

SAFE_RETRIES = 8            # tcp_orphan_retries 0 means this, while the timeout has not reached its limit
LONGEST_FIN_WAIT = 120 * SECOND     # TCP_LINGER2 at most (TCP_FIN_TIMEOUT_MAX)
NO_FIN_WAIT = -1


@record
class Orphans:
    """How many there are."""

    count: i64          # not yet in FIN-WAIT-2: they still hold data, or our FIN
    fin_waits: i64      # in FIN-WAIT-2: bounded together with those in TIME-WAIT, as on Linux


@compiled
def fin_wait(linger2: int, fin_timeout: int, rto: int) -> int:
    """How long an orphan stays in FIN-WAIT-2: TCP_LINGER2, else tcp_fin_timeout; at least 3.5 RTO (tcp_fin_time)."""
    return max(linger2 if linger2 > 0 else fin_timeout, 4 * rto - rto // 2)


@compiled
def retries(setting: int, alive: bool, soft_error: int) -> int:
    """How often an orphan's segment is sent again; `alive`: the timeout is below its limit (tcp_orphan_retries)."""
    if soft_error != 0 and not alive:
        return 0                                        # an ICMP error has told that something is wrong
    return SAFE_RETRIES if setting == 0 and alive else setting


@compiled
def weight(quiet: bool, alive: bool, soft_error: int) -> int:
    """By how many bits an orphan counts for more; `quiet`: for twice the longest timeout (tcp_out_of_resources)."""
    return (1 if quiet or not alive else 0) + (1 if soft_error != 0 else 0)


@compiled
def is_too_many(o: Orphans, shift: int, most: int) -> bool:
    """Whether there are more than tcp_max_orphans."""
    return o.count << shift > most
