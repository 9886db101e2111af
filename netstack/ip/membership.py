"""Groups as the link is to know them: from whom an interface hears what, and what of that is still to be told.

RFC 3376 (IGMPv3) 3.2 and 5, and RFC 3810 (MLDv2) 4.2 and 6, which say the same;
numbers without a name are RFC 3376's.  7.2.1 and RFC 3810 8.2.1 for older
queriers.  What sockets have joined stands in `multicast.py`.  Nothing is sent
here: `reports.py` does, when the interface's time has come.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from ..machine import SECOND, Array, addressof, at, compiled, i64, record, table, timers, u8, u16, u32
from ..machine.random import siphash
from . import address, multicast
from .multicast import SOURCES, Mode

if TYPE_CHECKING:
    from .net import Interface, Net

CAPACITY = 257              # groups of all interfaces together, and entry 0
QUERIED = 16                # sources that a query asks about, of which the answer is put off
LEFT = 0x7F                 # of a source's state: how often its change is still to be reported
PRESENT = 0x80              # ... it is in the interface's list now
ROBUSTNESS = 2              # (8.1) until a querier says something else
QUERY_INTERVAL = 125 * SECOND           # (8.2)
RESPONSE_INTERVAL = 10 * SECOND         # (8.3)
UNSOLICITED_INTERVAL = 1 * SECOND       # (8.11)
OLDER_UNSOLICITED_INTERVAL = 10 * SECOND    # RFC 2236 8.10, RFC 2710 7.10
NOTHING, CHANGED, NO_ROOM = 0, 1, 2     # what has become of a list
OLDEST, OLDER, NEWEST = 1, 2, 3         # versions: IGMP's; MLDv1 is OLDER, MLDv2 NEWEST


@record
class Querier:
    """What an interface has heard of the routers that ask, and when it is to speak.  Times are ns; 0: none."""

    oldest_until: i64       # IGMPv1 Querier Present (7.2.1)
    older_until: i64        # IGMPv2, MLDv1 Querier Present
    answer_at: i64          # the answer to a general query
    change_at: i64          # the next report of what has changed
    interval: i64           # the querier's query interval, ns; 0: not told
    robustness: u8          # Robustness Variable; 0: not told
    version: u8             # that was spoken last


@record
class Group:
    """One group on one interface: the state that is, or is to be, told."""

    link: u32               # of the table's free list
    interface: u8           # 0: not in use
    mode: u8                # multicast.Mode
    mode_left: u8           # how often a filter-mode-change record is still to be sent
    last: u8                # 1: nobody has reported it after us (RFC 2236 6, RFC 2710 5)
    count: u16              # sources listed, those that are gone and to be reported among them
    queried: u16            # sources that were asked about; 0: the answer is about the group
    reserved: u32
    hi: i64
    lo: i64
    answer_at: i64          # when the answer to a query about it is due, ns; 0: none is
    sources: Annotated[Array[i64], 128]     # hi, lo of each
    states: Annotated[Array[u8], 64]        # PRESENT | LEFT of each
    asked: Annotated[Array[i64], 32]        # hi, lo of each


@record
class Wanted:
    """What sockets together want of a group on an interface (3.2)."""

    mode: i64
    count: i64
    sources: Annotated[Array[i64], 128]


@compiled
def get(net: Net, index: int) -> Group:
    """The group with an index."""
    return at(Group, table.address(net.groups, index))


@compiled
def find(net: Net, interface: int, hi: int, lo: int) -> int:
    """The index of a group on an interface, or 0."""
    for i in range(1, net.groups.used + 1):
        g = get(net, i)
        if g.interface == interface and g.lo == lo and g.hi == hi:
            return i
    return 0


@compiled
def querier(iface: Interface, v6: bool) -> Querier:
    """What an interface has heard of the queriers of a family."""
    return at(Querier, addressof(iface.mld) if v6 else addressof(iface.igmp))


@compiled
def version(q: Querier, now: int) -> int:
    """Which version the hosts of the link speak (7.2.1)."""
    if now < q.oldest_until:
        return OLDEST
    return OLDER if now < q.older_until else NEWEST


@compiled
def robustness(q: Querier) -> int:
    """How often a change is told (8.1)."""
    return q.robustness if q.robustness != 0 else ROBUSTNESS


@compiled
def after(net: Net, iface: Interface, most: int, now: int) -> int:
    """A time to wait, 1 .. most ns, which nobody can tell."""
    net.group_dice += 1
    return siphash(net.key, now, iface.index, net.group_dice, most, 0) % most + 1


@compiled
def is_told(hi: int, lo: int) -> bool:
    """Whether membership of a group is anybody else's business (5, RFC 3810 6)."""
    if address.is_v4(hi, lo):
        return address.v4(lo) != address.ALL_HOSTS
    if lo == address.ALL_NODES_LO and hi == address.MULTICAST_HI:
        return False
    return address.scope(hi, lo) > address.Scope.INTERFACE


# ---- what is wanted (3.2) ----------------------------------------------------------

@compiled
def _place(sources: Wanted, hi: int, lo: int) -> int:
    for i in range(sources.count):
        if sources.sources[2 * i + 1] == lo and sources.sources[2 * i] == hi:
            return i
    return -1


@compiled
def _drop(w: Wanted, i: int) -> None:
    w.count -= 1
    w.sources[2 * i] = w.sources[2 * w.count]
    w.sources[2 * i + 1] = w.sources[2 * w.count + 1]


@compiled
def merge(net: Net, interface: int, hi: int, lo: int) -> None:
    """Put into `net.wanted` what all sockets together want: all sources but those that none takes, or a list."""
    w = net.wanted
    w.count = 0
    w.mode = Mode.INCLUDE
    for i in range(1, net.memberships.used + 1):
        m = multicast.get(net, i)
        if m.socket == 0 or m.mode != Mode.EXCLUDE or not _is_of(m, interface, hi, lo):
            continue
        if w.mode == Mode.INCLUDE:
            w.mode = Mode.EXCLUDE
            w.count = m.count
            for k in range(2 * m.count):
                w.sources[k] = m.sources[k]
        else:                                                   # only what nobody takes
            for k in range(w.count - 1, -1, -1):
                if multicast.place(m, w.sources[2 * k], w.sources[2 * k + 1]) < 0:
                    _drop(w, k)
    if _is_ours(net.interfaces[interface], hi, lo):
        w.mode = Mode.EXCLUDE                                   # we ourselves, for an address of ours (RFC 4291 2.8)
        w.count = 0
        return
    for i in range(1, net.memberships.used + 1):
        m = multicast.get(net, i)
        if m.socket == 0 or m.mode != Mode.INCLUDE or not _is_of(m, interface, hi, lo):
            continue
        for k in range(m.count):
            there = _place(w, m.sources[2 * k], m.sources[2 * k + 1])
            if w.mode == Mode.EXCLUDE:
                if there >= 0:
                    _drop(w, there)
            elif there < 0 and w.count == SOURCES:              # Differs: too many to be told, so ask for all
                w.mode = Mode.EXCLUDE
                w.count = 0
                return
            elif there < 0:
                w.sources[2 * w.count] = m.sources[2 * k]
                w.sources[2 * w.count + 1] = m.sources[2 * k + 1]
                w.count += 1


@compiled
def _is_of(m: multicast.Membership, interface: int, hi: int, lo: int) -> bool:
    return m.lo == lo and m.hi == hi and m.interface == interface


@compiled
def _is_ours(iface: Interface, hi: int, lo: int) -> bool:
    """Whether a group is that of an address of the interface."""
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if address.is_solicited_node(hi, lo, a.lo) and not address.is_v4(a.hi, a.lo):
            return True
    return False


# ---- a change (5.1) ----------------------------------------------------------------

@compiled
def on_change(net: Net, interface: int, hi: int, lo: int, now: int) -> None:
    """Sockets have joined or left a group on an interface, or changed their lists: it is to be told, if it shows."""
    iface = net.interfaces[interface]
    if iface.index == 0 or iface.ethernet == 0 or not is_told(hi, lo):
        return
    merge(net, interface, hi, lo)
    w = net.wanted
    index = find(net, interface, hi, lo)
    if index == 0:
        if w.mode == Mode.INCLUDE and w.count == 0:
            return
        index = table.allot(net.groups)
        if index == 0:
            return                                              # counted there
        g = get(net, index)
        g.interface = interface
        g.hi = hi
        g.lo = lo
        g.mode = Mode.INCLUDE
    g = get(net, index)
    q = querier(iface, not address.is_v4(hi, lo))
    change = _change_list(g, w, robustness(q)) if w.mode == g.mode else NO_ROOM
    if change == NOTHING:
        return
    if change == NO_ROOM:
        _change_mode(g, w, robustness(q))
    q.change_at = now
    arm(net, iface)


@compiled
def _change_mode(g: Group, w: Wanted, times: int) -> None:
    """A filter-mode-change record is to be sent, which has the whole list."""
    g.mode = w.mode
    g.mode_left = times
    g.count = w.count
    for i in range(w.count):
        g.sources[2 * i] = w.sources[2 * i]
        g.sources[2 * i + 1] = w.sources[2 * i + 1]
        g.states[i] = PRESENT


@compiled
def _change_list(g: Group, w: Wanted, times: int) -> int:
    """Sources that have come or gone are to be reported: NOTHING, CHANGED, or NO_ROOM to remember so many."""
    change = NOTHING
    for i in range(g.count):
        there = _place(w, g.sources[2 * i], g.sources[2 * i + 1]) >= 0
        if there != (g.states[i] & PRESENT != 0):
            g.states[i] = (PRESENT | times) if there else times
            change = CHANGED
    for k in range(w.count):
        if _listed(g, w.sources[2 * k], w.sources[2 * k + 1]) < 0:
            if g.count == SOURCES:
                return NO_ROOM
            g.sources[2 * g.count] = w.sources[2 * k]
            g.sources[2 * g.count + 1] = w.sources[2 * k + 1]
            g.states[g.count] = PRESENT | times
            g.count += 1
            change = CHANGED
    return change


@compiled
def _listed(g: Group, hi: int, lo: int) -> int:
    for i in range(g.count):
        if g.sources[2 * i + 1] == lo and g.sources[2 * i] == hi:
            return i
    return -1


@compiled
def is_pending(g: Group) -> bool:
    """Whether something of it is still to be told."""
    if g.mode_left != 0:
        return True
    for i in range(g.count):
        if g.states[i] & LEFT:
            return True
    return False


@compiled
def present(g: Group, hi: int, lo: int) -> bool:
    """Whether a source is in the group's list."""
    i = _listed(g, hi, lo)
    return i >= 0 and g.states[i] & PRESENT != 0


@compiled
def is_wanted(g: Group) -> bool:
    """Whether there is anybody who hears it: what has been left stays a while, to be told again."""
    if g.mode == Mode.EXCLUDE:
        return True
    for i in range(g.count):
        if g.states[i] & PRESENT:
            return True
    return False


@compiled
def told(net: Net, index: int) -> bool:
    """The group's change has been reported once more.  Whether it is to be reported again."""
    g = get(net, index)
    if g.mode_left != 0:
        g.mode_left -= 1
    else:
        kept = 0
        for i in range(g.count):
            state = g.states[i]
            if state & LEFT:
                state -= 1
            if state != 0:
                g.sources[2 * kept] = g.sources[2 * i]
                g.sources[2 * kept + 1] = g.sources[2 * i + 1]
                g.states[kept] = state
                kept += 1
        g.count = kept
    if is_pending(g):
        return True
    if not is_wanted(g):
        release(net, index)
    return False


@compiled
def forget_change(net: Net, index: int) -> None:
    """Nothing of what has changed is to be told any more."""
    g = get(net, index)
    g.mode_left = 0
    kept = 0
    for i in range(g.count):
        if g.states[i] & PRESENT:
            g.sources[2 * kept] = g.sources[2 * i]
            g.sources[2 * kept + 1] = g.sources[2 * i + 1]
            g.states[kept] = PRESENT
            kept += 1
    g.count = kept
    if not is_wanted(g):
        release(net, index)


@compiled
def release(net: Net, index: int) -> None:
    """The group is over."""
    get(net, index).interface = 0
    table.release(net.groups, index)


@compiled
def leave_all(net: Net, socket: int, now: int) -> None:
    """The socket is closed: it leaves its groups."""
    if net.memberships.live != 0:
        for i in range(1, net.memberships.used + 1):
            m = multicast.get(net, i)
            if m.socket == socket:
                interface = m.interface + 0
                hi = m.hi + 0
                lo = m.lo + 0
                multicast.remove(net, i)
                on_change(net, interface, hi, lo, now)


@compiled
def on_address(net: Net, interface: int, hi: int, lo: int, now: int) -> None:
    """An interface has an address more, or less: of IPv6 it listens to that address's own group (RFC 4861 7.2.1)."""
    if not address.is_v4(hi, lo):
        on_change(net, interface, address.MULTICAST_HI, address.solicited_node_lo(lo), now)


@compiled
def on_source(net: Net, iface: Interface, now: int) -> None:
    """The interface's link-local address may be used now.  What was told before had no source, and is told again
    (RFC 3590 4: nobody but switches listens to that)."""
    q = querier(iface, True)
    for i in range(1, net.groups.used + 1):
        g = get(net, i)
        if g.interface == iface.index and not address.is_v4(g.hi, g.lo):
            g.mode_left = robustness(q)
            q.change_at = now
    arm(net, iface)


# ---- a query (5.2) -----------------------------------------------------------------

@compiled
def exponential(code: int) -> int:
    """IGMP's Max Resp Code and the QQIC of both: a number, or from 128 on a floating-point one (4.1.1, 4.1.7)."""
    return code if code < 128 else ((code & 0xF) | 0x10) << ((code >> 4 & 7) + 3)


@compiled
def on_querier(net: Net, iface: Interface, v6: bool, heard: int, interval: int, robust: int, delay: int,
               now: int) -> None:
    """A general query of a version has come: who asks, and how (7.2.1, 4.1.6, 4.1.7).  0: it does not say."""
    q = querier(iface, v6)
    if heard == NEWEST:
        q.interval = interval
        q.robustness = robust
    else:
        every = q.interval if q.interval != 0 else QUERY_INTERVAL
        until = now + robustness(q) * every + delay             # (8.12)
        if heard == OLDEST:
            q.oldest_until = until
        else:
            q.older_until = until
    settle_version(net, iface, v6, now)


@compiled
def settle_version(net: Net, iface: Interface, v6: bool, now: int) -> int:
    """The version that is to be spoken now.  Another one than before: what was to be said is not (7.2.1)."""
    q = querier(iface, v6)
    v = version(q, now)
    before = q.version if q.version != 0 else NEWEST
    q.version = v
    if v != before:
        q.answer_at = 0
        q.change_at = 0
        for i in range(1, net.groups.used + 1):
            g = get(net, i)
            if g.interface == iface.index and address.is_v4(g.hi, g.lo) != v6:
                g.answer_at = 0
                g.queried = 0
                forget_change(net, i)
    return v


@compiled
def on_query(net: Net, iface: Interface, v6: bool, v: int, hi: int, lo: int, most: int, now: int) -> int:
    """A query about a group, or about all (lo 0), to be answered within `most` ns in version v.

    The index of the group whose `asked` the caller is to fill with the query's sources, or 0.
    """
    q = querier(iface, v6)
    general = hi == 0 and lo == 0
    if v != NEWEST:
        for i in range(1, net.groups.used + 1):                 # RFC 2236 3, RFC 2710 4: each by itself
            g = get(net, i)
            if (g.interface == iface.index and address.is_v4(g.hi, g.lo) != v6 and is_wanted(g)
                    and (general or (g.lo == lo and g.hi == hi))):
                _answer(net, g, now + after(net, iface, most, now))
        arm(net, iface)
        return 0
    index = 0
    if not general:
        index = find(net, iface.index, hi, lo)
        if index == 0 or not is_wanted(get(net, index)):
            return 0
    elif not has_groups(net, iface, v6):
        return 0
    at = now + after(net, iface, most, now)
    if q.answer_at != 0 and q.answer_at < at:
        return 0                                                # rule 1
    if general:
        q.answer_at = at                                        # rule 2
        arm(net, iface)
        return 0
    g = get(net, index)
    fresh = g.answer_at == 0
    _answer(net, g, at)
    arm(net, iface)
    if fresh:
        g.queried = 0
        return index                                            # rule 3
    return index if g.queried != 0 else 0                       # rules 4, 5


@compiled
def _answer(net: Net, g: Group, at: int) -> None:
    g.answer_at = at if g.answer_at == 0 else min(at, g.answer_at)


@compiled
def ask_about(g: Group, hi: int, lo: int) -> bool:
    """One more source that a query asks about.  False: there is no room, and the answer is about the whole group."""
    for i in range(g.queried):
        if g.asked[2 * i + 1] == lo and g.asked[2 * i] == hi:
            return True
    if g.queried == QUERIED:
        g.queried = 0
        return False
    g.asked[2 * g.queried] = hi
    g.asked[2 * g.queried + 1] = lo
    g.queried += 1
    return True


@compiled
def on_report(net: Net, iface: Interface, hi: int, lo: int) -> None:
    """Another host has reported a group in an older version: ours need not be (RFC 2236 3, RFC 2710 4)."""
    index = find(net, iface.index, hi, lo)
    if index != 0:
        g = get(net, index)
        g.answer_at = 0
        g.last = 0


@compiled
def has_groups(net: Net, iface: Interface, v6: bool) -> bool:
    """Whether there is anything to tell of an interface."""
    if net.groups.live == 0:
        return False
    for i in range(1, net.groups.used + 1):
        g = get(net, i)
        if g.interface == iface.index and address.is_v4(g.hi, g.lo) != v6 and is_wanted(g):
            return True
    return False


# ---- time --------------------------------------------------------------------------

@compiled
def soonest(net: Net, iface: Interface) -> int:
    """When the interface is to speak next, ns; timers.NEVER."""
    first = timers.NEVER
    for k in range(2):
        q = querier(iface, k == 1)
        if q.answer_at != 0:
            first = min(first, q.answer_at)
        if q.change_at != 0:
            first = min(first, q.change_at)
    for i in range(1, net.groups.used + 1):
        g = get(net, i)
        if g.interface == iface.index and g.answer_at != 0:
            first = min(first, g.answer_at)
    return first


@compiled
def arm(net: Net, iface: Interface) -> None:
    """Make sure that `reports.expire` is called in time."""
    when = soonest(net, iface)
    if when != timers.NEVER:
        timers.arm(net.timers, net.group_slot + iface.index, when)
