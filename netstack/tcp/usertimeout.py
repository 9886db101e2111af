"""User timeout: how long text, a SYN or a window that stays shut may wait without progress.

RFC 9293 section 3.8.3, RFC 5482 and TCP_USER_TIMEOUT of tcp(7); the option of RFC 5482 is not
sent.  As on Linux it takes the place of the number of retransmissions, and of the
number of keepalive probes; what was sent only once is sent once more before it counts.
"""
from __future__ import annotations

from ..machine import compiled, i64, record


@record
class UserTimeout:
    """Of one connection; ns."""

    limit: i64      # TCP_USER_TIMEOUT; 0: none
    since: i64      # since when something waits without progress; 0: nothing does


@compiled
def begin(u: UserTimeout, now: int) -> None:
    """Something waits, if nothing did."""
    if u.since == 0:
        u.since = max(now, 1)


@compiled
def on_progress(u: UserTimeout, now: int) -> None:
    """Some of it was acknowledged: the rest has all the time again."""
    u.since = max(now, 1)


@compiled
def end(u: UserTimeout) -> None:
    """Nothing waits any more."""
    u.since = 0


@compiled
def deadline(u: UserTimeout) -> int:
    """When the connection is given up; 0: never."""
    return u.since + u.limit if u.limit != 0 and u.since != 0 else 0


@compiled
def ends_keepalive(u: UserTimeout, probes: int, count: int, quiet: int) -> bool:
    """Whether an idle peer that was silent for so long, and has not answered so many probes, is given up."""
    if u.limit != 0:
        return probes > 0 and quiet >= u.limit
    return probes >= count
