"""Path MTUs that routers told us, by destination.

RFC 1191, "Path MTU Discovery", and RFC 8201 for IPv6.

The table is a cache of sets: a destination may stand in one of WAYS entries,
chosen by a keyed hash; a full set loses the entry that would expire first.
An estimate is never raised: it is forgotten after `settings.mtu_expires`, and
the next packet tries the interface's MTU again (RFC 1191 6.3).
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import addressof, at, compiled, i64, record, sizeof, u8, zero
from ..machine.random import hash2

if TYPE_CHECKING:
    from .net import Net

V4_MAPPED = 0xFFFF
WAYS = 4                # entries of one set
SETS = 64
CAPACITY = 1 + SETS * WAYS      # of the Table; its entry 0 is not used

LEAST = 68              # RFC 791: every link takes so much; RFC 1191 3: never estimate less
LEAST_DF = 552          # Linux's min_pmtu: a path below it is not worth a small segment
LEAST_V6 = 1280         # RFC 8200 5


@record
class PathMtu:
    """What is known of one destination."""

    hi: i64
    lo: i64
    expires: i64        # ns; 0: the entry is free
    mtu: i64            # largest packet that gets through, bytes
    fragment: u8        # 1: the path takes less than LEAST_DF; send without DF and let routers fragment


SIZE = sizeof(PathMtu)


@compiled
def entry(net: Net, index: int) -> PathMtu:
    """The entry at a place of the table."""
    t = net.path_mtus
    return at(PathMtu, addressof(t) + t.data + index * SIZE)


@compiled
def first_of_set(net: Net, hi: int, lo: int) -> int:
    """Where the set of a destination begins."""
    return 1 + hash2(net.key, hi, lo) % SETS * WAYS


@compiled
def find(net: Net, hi: int, lo: int, now: int) -> int:
    """The index of a destination's entry, or 0.  Forgets it when its time is over."""
    if net.path_mtus.live == 0:
        return 0
    first = first_of_set(net, hi, lo)
    for index in range(first, first + WAYS):
        e = entry(net, index)
        if e.expires != 0 and e.hi == hi and e.lo == lo:
            if e.expires > now:
                return index
            e.expires = 0
            net.path_mtus.live -= 1
    return 0


@compiled
def lookup(net: Net, hi: int, lo: int, now: int) -> int:
    """The path MTU that was learned for a destination, or 0."""
    index = find(net, hi, lo, now)
    return entry(net, index).mtu if index != 0 else 0


@compiled
def expires(net: Net, hi: int, lo: int, now: int) -> int:
    """When what was learned for a destination is forgotten, ns; 0: nothing was."""
    index = find(net, hi, lo, now)
    return entry(net, index).expires if index != 0 else 0


@compiled
def must_fragment(net: Net, hi: int, lo: int, now: int) -> bool:
    """Whether packets to a destination must go without DF, since the path takes less than LEAST_DF."""
    index = find(net, hi, lo, now)
    return index != 0 and entry(net, index).fragment != 0


@compiled
def learn(net: Net, hi: int, lo: int, mtu: int, now: int) -> int:
    """A router says that packets to (hi, lo) can be `mtu` bytes.  Returns the new estimate, or 0 for no change.

    RFC 1191 3: never below 68, never upwards.  RFC 8201 4: a report below 1280 is discarded.
    """
    if net.path_mtus.capacity < CAPACITY:
        return 0
    fragment = 0
    if not (hi == 0 and lo >> 32 == V4_MAPPED):
        if mtu < LEAST_V6:
            return 0
    elif mtu < LEAST_DF:
        if mtu < LEAST:
            return 0
        # Differs: RFC 1191 would send packets of 68 bytes with DF.  As Linux does, we send 552 without it, so that a
        # forged report cannot make a connection crawl.
        mtu = LEAST_DF
        fragment = 1
    index = find(net, hi, lo, now)
    if index != 0:
        e = entry(net, index)
        if mtu > e.mtu or (mtu == e.mtu and fragment <= e.fragment):
            return 0
    else:
        e = entry(net, _place(net, hi, lo, now))
        e.hi = hi
        e.lo = lo
    e.mtu = mtu
    e.fragment = fragment
    e.expires = now + net.settings.mtu_expires      # (RFC 1191 6.3) 10 minutes
    return mtu


@compiled
def _place(net: Net, hi: int, lo: int, now: int) -> int:
    """An entry of the destination's set to write into: a free one, else the one that expires first."""
    first = first_of_set(net, hi, lo)
    best = first
    for index in range(first, first + WAYS):
        if entry(net, index).expires < entry(net, best).expires:
            best = index
    e = entry(net, best)
    t = net.path_mtus
    if e.expires == 0:
        t.live += 1
        t.peak = max(t.peak, t.live)
    elif e.expires > now:
        t.exhausted += 1
    zero(addressof(e), SIZE)
    return best


@compiled
def plateau(total_length: int) -> int:
    """The greatest plateau below a length that was too big, for routers that name no MTU (RFC 1191 7.1)."""
    if total_length > 32000:
        return 32000
    if total_length > 17914:
        return 17914
    if total_length > 8166:
        return 8166
    if total_length > 4352:
        return 4352
    if total_length > 2002:
        return 2002
    if total_length > 1492:
        return 1492
    if total_length > 1006:
        return 1006
    if total_length > 508:
        return 508
    if total_length > 296:
        return 296
    return LEAST
