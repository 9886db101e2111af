"""Reports of groups: what `membership.py` has to tell, when its time has come.

RFC 3376 4.2 and 5, RFC 3810 5.2 and 6 (the records have the same form, but for
the length of an address); RFC 2236 3 and RFC 2710 4 where older queriers are.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import be16, compiled, put16, put32, put64, store8
from . import address, igmp, membership, mld
from .address import MULTICAST_HI
from .membership import LEFT, NEWEST, OLDER_UNSOLICITED_INTERVAL, OLDEST, PRESENT, UNSOLICITED_INTERVAL, Group
from .multicast import Mode

if TYPE_CHECKING:
    from .net import Interface, Net

MODE_IS_INCLUDE = 1         # types of records (4.2.12)
MODE_IS_EXCLUDE = 2
CHANGE_TO_INCLUDE = 3
CHANGE_TO_EXCLUDE = 4
ALLOW = 5
BLOCK = 6
RECORD = 4                  # bytes of a record's head, in front of its group (4.2)
LARGEST_PACKET = 1500       # bytes that there is room for


@compiled
def expire(net: Net, iface: Interface, now: int) -> None:
    """Send what is due on an interface."""
    for k in range(2):
        v6 = k == 1
        q = membership.querier(iface, v6)
        v = membership.settle_version(net, iface, v6, now)
        if q.answer_at != 0 and q.answer_at <= now:
            q.answer_at = 0
            _answer_all(net, iface, v6, now)
        if q.change_at != 0 and q.change_at <= now:
            again = _changes(net, iface, v6, now) if v == NEWEST else _old_changes(net, iface, v6, v, now)
            every = UNSOLICITED_INTERVAL if v == NEWEST else OLDER_UNSOLICITED_INTERVAL
            q.change_at = now + membership.after(net, iface, every, now) if again else 0
        for i in range(1, net.groups.used + 1):
            g = membership.get(net, i)
            if (g.interface == iface.index and g.answer_at != 0 and g.answer_at <= now
                    and address.is_v4(g.hi, g.lo) != v6):
                g.answer_at = 0
                _answer(net, iface, g, v6, v, now)
    membership.arm(net, iface)


# ---- a report under construction ---------------------------------------------------

@compiled
def _begin(net: Net, v6: bool) -> int:
    """An empty report; where its first record goes, from the message's beginning."""
    p = mld.message(net) if v6 else igmp.message(net)
    store8(p, mld.REPORT if v6 else igmp.REPORT)
    store8(p + 1, 0)
    put32(p + 4, 0)                                             # no records yet
    return mld.HEADER_LEN


@compiled
def _send(net: Net, iface: Interface, v6: bool, n: int, now: int) -> None:
    """Send the report, if there is anything in it."""
    if n <= mld.HEADER_LEN:
        return
    if v6:
        mld.send(net, iface, MULTICAST_HI, mld.ALL_REPORTERS_LO, n, now)
    else:
        igmp.send(net, iface, igmp.ALL_REPORTERS, n, now)


@compiled
def _room(iface: Interface, v6: bool) -> int:
    """Bytes of a message that fit into a packet."""
    return min(iface.mtu, LARGEST_PACKET) - (mld.IP_HEADER if v6 else igmp.IP_HEADER)


@compiled
def _record(net: Net, iface: Interface, v6: bool, g: Group, type: int, n: int, now: int) -> int:
    """Put a group's record of a type behind the n bytes that there are; a full report is sent first.  The new n.

    Of ALLOW and BLOCK one without sources is left out (5.1), and so is an answer about sources (5.2).
    """
    width = 16 if v6 else 4
    p = mld.message(net) if v6 else igmp.message(net)
    if n + RECORD + width * (1 + max(g.count, g.queried)) > _room(iface, v6):
        _send(net, iface, v6, n, now)
        n = _begin(net, v6)
    at = n + RECORD
    _address(p + at, v6, g.hi, g.lo)
    at += width
    sources = 0
    asked = type == MODE_IS_INCLUDE and g.queried != 0          # (5.2) only what was asked about
    for i in range(g.queried if asked else g.count):
        hi = g.asked[2 * i] if asked else g.sources[2 * i]
        lo = g.asked[2 * i + 1] if asked else g.sources[2 * i + 1]
        if asked:
            takes = membership.present(g, hi, lo) == (g.mode == Mode.INCLUDE)
        else:
            takes = _takes(g, type, i)
        if takes and at + width <= _room(iface, v6):
            _address(p + at, v6, hi, lo)
            at += width
            sources += 1
    if sources == 0 and (asked or type == ALLOW or type == BLOCK):
        return n
    store8(p + n, type)
    store8(p + n + 1, 0)
    put16(p + n + 2, sources)
    put16(p + 6, be16(p + 6) + 1)
    return at


@compiled
def _takes(g: Group, type: int, i: int) -> bool:
    """Whether the i-th of a group's sources belongs into a record of a type."""
    state = g.states[i]
    if type != ALLOW and type != BLOCK:
        return state & PRESENT != 0
    heard = (state & PRESENT != 0) == (g.mode == Mode.INCLUDE)
    return state & LEFT != 0 and heard == (type == ALLOW)


@compiled
def _address(p: int, v6: bool, hi: int, lo: int) -> None:
    if v6:
        put64(p, hi)
        put64(p + 8, lo)
    else:
        put32(p, address.v4(lo))


# ---- what is said -----------------------------------------------------------------

@compiled
def _answer_all(net: Net, iface: Interface, v6: bool, now: int) -> None:
    """The answer to a general query: all groups (5.2)."""
    n = _begin(net, v6)
    for i in range(1, net.groups.used + 1):
        g = membership.get(net, i)
        if g.interface == iface.index and address.is_v4(g.hi, g.lo) != v6 and membership.is_wanted(g):
            g.queried = 0
            n = _record(net, iface, v6, g, MODE_IS_EXCLUDE if g.mode == Mode.EXCLUDE else MODE_IS_INCLUDE, n, now)
    _send(net, iface, v6, n, now)


@compiled
def _answer(net: Net, iface: Interface, g: Group, v6: bool, v: int, now: int) -> None:
    """The answer to a query about one group, or some of its sources."""
    if not membership.is_wanted(g):
        return
    if v != NEWEST:
        g.last = 1
        _send_old(net, iface, g, v6, v, False, now)
        return
    n = _begin(net, v6)
    exclude = g.mode == Mode.EXCLUDE and g.queried == 0
    n = _record(net, iface, v6, g, MODE_IS_EXCLUDE if exclude else MODE_IS_INCLUDE, n, now)
    g.queried = 0
    _send(net, iface, v6, n, now)


@compiled
def _changes(net: Net, iface: Interface, v6: bool, now: int) -> bool:
    """Report what has changed (5.1).  Whether it is to be reported again."""
    again = False
    n = _begin(net, v6)
    for i in range(1, net.groups.used + 1):
        g = membership.get(net, i)
        if g.interface != iface.index or address.is_v4(g.hi, g.lo) == v6:
            continue
        asked = g.queried
        g.queried = 0
        if g.mode_left != 0:
            n = _record(net, iface, v6, g, CHANGE_TO_EXCLUDE if g.mode == Mode.EXCLUDE else CHANGE_TO_INCLUDE, n, now)
        else:
            n = _record(net, iface, v6, g, ALLOW, n, now)
            n = _record(net, iface, v6, g, BLOCK, n, now)
        g.queried = asked
        if membership.told(net, i):
            again = True
    _send(net, iface, v6, n, now)
    return again


@compiled
def _old_changes(net: Net, iface: Interface, v6: bool, v: int, now: int) -> bool:
    """The same to older queriers, who know of no sources: groups that were joined, and those that were left."""
    again = False
    for i in range(1, net.groups.used + 1):
        g = membership.get(net, i)
        if (g.interface != iface.index or address.is_v4(g.hi, g.lo) == v6
                or not membership.is_pending(g)):
            continue
        if membership.is_wanted(g):
            g.last = 1
            _send_old(net, iface, g, v6, v, False, now)
            if membership.told(net, i):
                again = True
        else:
            if g.last != 0 and v != OLDEST:                     # RFC 2236 3, RFC 2710 4; version 1 leaves silently
                _send_old(net, iface, g, v6, v, True, now)
            membership.forget_change(net, i)
    return again


@compiled
def _send_old(net: Net, iface: Interface, g: Group, v6: bool, v: int, leaving: bool, now: int) -> None:
    if v6:
        mld.send_old(net, iface, g.hi, g.lo, leaving, now)
    else:
        igmp.send_old(net, iface, v, g.lo, leaving, now)
