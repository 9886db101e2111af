"""Neighbours: link addresses of those on the link, for ARP and NDP alike.

RFC 4861 7.3, "Neighbor Unreachability Detection", with its states, and RFC 1122
2.3.2.1 (ARP cache validation), which asks for the same.

The table is `cache.py`'s, the packets that wait are `waiting.py`'s.  Nothing is
sent from here but those: what to ask, and when, is returned to the caller (`Ask`).
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..drivers import offload
from ..errors import Drop
from ..machine import SECOND, compiled, timers
from . import link, waiting
from .cache import Neighbour, State, create, entry, find, release, touch

if TYPE_CHECKING:
    from .net import Interface, Net

__all__ = ["Ask", "Neighbour", "State", "Update", "begin", "confirm", "confirm_entry", "create", "entry", "find",
           "on_deadline", "release", "update", "use"]

DELAY_FIRST_PROBE_TIME = 5 * SECOND     # RFC 4861 10


class Update(IntEnum):
    """What a message says about its sender, or'ed together."""

    SOLICITED = 1       # it answers us: the path works in both directions
    OVERRIDE = 2        # it replaces another address
    ROUTER = 4          # the sender is a router
    ADVERTISEMENT = 8   # an NA: the ROUTER bit counts, set or not
    CREATE = 16         # make an entry if there is none


class Ask(IntEnum):
    """What `on_deadline` wants done."""

    NOTHING = 0
    EVERYBODY = 1       # ask with a broadcast or multicast
    NEIGHBOUR = 2       # ask the neighbour itself
    REPORT = 3          # `net.error` describes a packet that could not be delivered


@compiled
def _arm(net: Net, index: int, deadline: int) -> None:
    entry(net, index).deadline = deadline
    timers.arm(net.timers, index, deadline)


@compiled
def _reachable(net: Net, index: int, now: int) -> None:
    """Confirmed (RFC 4861 7.3.1)."""
    n = entry(net, index)
    n.state = State.REACHABLE
    n.probes = 0
    n.reachable_until = now + net.settings.base_reachable_time * n.factor // 100
    _arm(net, index, now + net.settings.gc_stale_time)


@compiled
def _stale(net: Net, index: int, now: int) -> None:
    n = entry(net, index)
    n.state = State.STALE
    n.probes = 0
    _arm(net, index, now + net.settings.gc_stale_time)


@compiled
def begin(net: Net, index: int, now: int) -> None:
    """Address resolution starts (RFC 4861 7.2.2): the caller asks everybody, once."""
    n = entry(net, index)
    n.state = State.INCOMPLETE
    n.probes = 1
    _arm(net, index, now + net.settings.retrans_time)


@compiled
def use(net: Net, index: int, now: int) -> bool:
    """A packet is to be sent: whether to `mac`, at once.  If not, it has to wait."""
    n = entry(net, index)
    touch(net, index, now)
    if n.state == State.REACHABLE:
        if now <= n.reachable_until:
            return True
        n.state = State.STALE           # the time since the last confirmation is over
    if n.state == State.STALE:          # "the first time a node sends a packet to a neighbor whose entry is STALE"
        n.state = State.DELAY
        n.probes = 0
        _arm(net, index, now + DELAY_FIRST_PROBE_TIME)
        return True
    return n.state == State.DELAY or n.state == State.PROBE


@compiled
def confirm(net: Net, interface: int, hi: int, lo: int, now: int) -> None:
    """An upper layer knows that packets reach this neighbour: a TCP connection makes progress (RFC 4861 7.3.1)."""
    index = find(net, interface, hi, lo)
    if index != 0:
        confirm_entry(net, index, now)


@compiled
def confirm_entry(net: Net, index: int, now: int) -> None:
    """The same for an entry that has been found."""
    state = entry(net, index).state
    if state != State.NONE and state != State.INCOMPLETE and state != State.FAILED:
        _reachable(net, index, now)


@compiled
def update(net: Net, iface: Interface, hi: int, lo: int, mac: int, flags: int, now: int) -> None:
    """A neighbour has said its link address (0: it did not), in an ARP packet or NDP message.

    RFC 4861 7.2.5 for an advertisement or an ARP reply; 7.2.3 for a solicitation
    or an ARP request, which is OVERRIDE and perhaps CREATE.
    """
    index = find(net, iface.index, hi, lo)
    if index == 0:
        if flags & Update.CREATE == 0 or mac == 0:
            return                                              # (7.2.5) "no need to create one"
        index = create(net, iface.index, hi, lo, now)
        if index == 0:
            return
    n = entry(net, index)
    if flags & Update.ADVERTISEMENT != 0:
        n.router = 1 if flags & Update.ROUTER != 0 else 0
    elif flags & Update.ROUTER != 0:
        n.router = 1
    if n.state == State.NONE or n.state == State.INCOMPLETE or n.state == State.FAILED:
        if mac == 0:
            return
        n.mac = mac
        if flags & Update.SOLICITED != 0:
            _reachable(net, index, now)
        else:
            _stale(net, index, now)
        _send_waiting(net, iface, index, now)
        return
    other = mac != 0 and mac != n.mac
    if other and flags & Update.OVERRIDE == 0:
        if n.state == State.REACHABLE:
            _stale(net, index, now)                             # (7.2.5, I a)
        return
    if other:
        n.mac = mac
    if flags & Update.SOLICITED != 0:
        _reachable(net, index, now)
    elif other:
        _stale(net, index, now)


@compiled
def _send_waiting(net: Net, iface: Interface, index: int, now: int) -> None:
    """The link address is known: send what waited, in order."""
    n = entry(net, index)
    if n.queue.first == 0:
        return
    use(net, index, now)
    block = waiting.take(net, n.queue)
    while block != 0:
        w = waiting.entry(net, block)
        offload.move(net.notes, w.notes)
        link.transmit(net, iface, n.mac, w.ethertype, waiting.packet(net, block), w.length, 1, w.length, now)
        waiting.release(net, block)
        block = waiting.take(net, n.queue)


@compiled
def on_deadline(net: Net, index: int, now: int) -> int:
    """The entry's slot has expired: what to do now (an `Ask`).  Call it again while it says REPORT."""
    n = entry(net, index)
    if n.state == State.NONE:
        return Ask.NOTHING
    if now < n.deadline:
        timers.arm(net.timers, index, n.deadline)
        return Ask.NOTHING
    if n.state == State.INCOMPLETE:
        if n.probes < net.settings.mcast_solicit:
            n.probes += 1
            _arm(net, index, now + net.settings.retrans_time)
            return Ask.EVERYBODY
        n.state = State.FAILED
    elif n.state == State.DELAY or n.state == State.PROBE:
        n.state = State.PROBE
        if n.probes < net.settings.ucast_solicit:
            n.probes += 1
            _arm(net, index, now + net.settings.retrans_time)
            return Ask.NEIGHBOUR
        n.state = State.FAILED          # the next packet asks everybody (7.3.3: "the entry SHOULD be deleted")
    if n.queue.first != 0:
        return _report(net, index, now)
    idle = n.used + net.settings.gc_stale_time
    if n.state == State.REACHABLE:
        idle = max(idle, n.reachable_until)
    if now >= idle:
        release(net, index)
    else:
        _arm(net, index, idle)
    return Ask.NOTHING


@compiled
def _report(net: Net, index: int, now: int) -> int:
    """No answer: the first packet that waits goes back to its sender as an error."""
    timers.arm(net.timers, index, now)          # for the next one
    block = waiting.take(net, entry(net, index).queue)
    net.drops[Drop.NEIGHBOUR_FAILED] += 1
    if not waiting.describe(net, block):
        waiting.release(net, block)
        return Ask.NOTHING
    net.reported = block
    return Ask.REPORT
