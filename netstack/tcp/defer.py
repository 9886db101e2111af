"""TCP_DEFER_ACCEPT: a connection is accepted when its first text is here, not before.

tcp(7).  As Linux: the seconds become a number of SYN-ACKs that would be sent in that
time.  While fewer have timed out, a bare ACK that ends the handshake is noted and dropped;
the SYN-ACK is not sent again meanwhile but for the last time, which gives the peer another
chance to say something.  Who connects with it delays the handshake's ACK, so that text carries it.
"""
from __future__ import annotations

from ..machine import SECOND, compiled, record, u8
from .rto import INITIAL_RTO, MAX_RTO

MOST = 255
LONGEST_DELAY = 200_000_000     # ns; of the handshake's ACK (Linux: TCP_DELACK_MAX)


@record
class Defer:
    """Of a listener, and of its half-open children."""

    limit: u8       # timeouts of the SYN-ACK until which text is waited for; 0: it is not
    acked: u8       # the ACK of the handshake has come


@compiled
def retries_of(seconds: int) -> int:
    """How many timeouts there are in so many seconds, rounded up (secs_to_retrans)."""
    if seconds <= 0:
        return 0
    timeout = INITIAL_RTO // SECOND
    period = timeout
    count = 1
    while seconds > period and count < MOST:
        count += 1
        timeout = min(2 * timeout, MAX_RTO // SECOND)
        period += timeout
    return count


@compiled
def seconds_of(retries: int) -> int:
    """The other way round: what getsockopt reads (retrans_to_secs)."""
    timeout = INITIAL_RTO // SECOND
    period = 0
    for _ in range(retries):
        period += timeout
        timeout = min(2 * timeout, MAX_RTO // SECOND)
    return period


@compiled
def drops(d: Defer, retransmits: int, bare: bool) -> bool:
    """Whether the ACK of the handshake is only noted (tcp_check_req); `bare`: it brings neither text nor FIN."""
    if not bare or retransmits >= d.limit:
        return False
    d.acked = 1
    return True


@compiled
def expires(d: Defer, retransmits: int, most: int) -> bool:
    """Whether a half-open connection is given up, after so many timeouts of at most `most` (syn_ack_recalc)."""
    return retransmits >= most and (d.limit == 0 or d.acked == 0 or retransmits >= d.limit)


@compiled
def sends_again(d: Defer, retransmits: int) -> bool:
    """Whether the SYN-ACK is sent again at a timeout, after so many before."""
    return d.limit == 0 or d.acked == 0 or retransmits >= d.limit - 1
