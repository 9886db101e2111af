"""Timeouts of the IP layer: neighbours, reassemblies, and addresses being probed or announced.

RFC 4862 5.4 (duplicate address detection), RFC 5227 2 (the same for IPv4, and
announcements); RFC 4861 7.3.3, RFC 1122 3.3.2, RFC 3376 5 and RFC 3810 6 through
their own files.

Slots of net.timers: a neighbour has that of its index; net.reassembly_slot,
net.interface_slot and net.group_slot are the first of the others.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine import SECOND, compiled, timers
from ..machine.random import below
from . import address, arp, membership, ndp, neighbour, reassembly, reports, solicit, waiting
from .address import State
from .neighbour import Ask
from .net import Verdict

if TYPE_CHECKING:
    from .net import Interface, InterfaceAddress, Net

PROBE_MIN = 1 * SECOND              # RFC 5227 1.1
PROBE_MAX = 2 * SECOND
ANNOUNCE_WAIT = 2 * SECOND
ANNOUNCE_INTERVAL = 2 * SECOND


@compiled
def next_deadline(net: Net) -> int:
    """When `expire` has something to do; timers.NEVER: not at all."""
    return timers.next_deadline(net.timers)


@compiled
def expire(net: Net, now: int) -> int:
    """Do what is due.  ERROR: deliver net.error, then call again; DONE: nothing more is due."""
    if net.reported != 0:                       # the packet that net.error quoted
        waiting.release(net, net.reported)
        net.reported = 0
    while True:
        slot = timers.expire(net.timers, now)
        if slot < 0:
            return Verdict.DONE
        if slot >= net.group_slot:
            reports.expire(net, net.interfaces[slot - net.group_slot], now)
        elif slot >= net.interface_slot:
            _interface(net, net.interfaces[slot - net.interface_slot], now)
        elif slot >= net.reassembly_slot:
            reassembly.expire(net, slot - net.reassembly_slot, now)
        else:
            ask = neighbour.on_deadline(net, slot, now)
            if ask == Ask.REPORT:
                return Verdict.ERROR
            if ask != Ask.NOTHING:
                solicit.send(net, slot, ask == Ask.NEIGHBOUR, now)


@compiled
def _interface(net: Net, iface: Interface, now: int) -> None:
    """Probe and announce the addresses of an interface whose time has come."""
    soonest = timers.NEVER
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if a.deadline <= now:
            a.deadline = _step(net, iface, a, now)
        soonest = min(soonest, a.deadline)
    if soonest != timers.NEVER:
        timers.arm(net.timers, net.interface_slot + iface.index, soonest)


@compiled
def _step(net: Net, iface: Interface, a: InterfaceAddress, now: int) -> int:
    """One probe or announcement; returns when the next is due."""
    v4 = address.is_v4(a.hi, a.lo)
    if a.state == State.TENTATIVE and a.probes > 0:
        a.probes -= 1
        # Differs: the first probe is not put off by a random time (RFC 4862 5.4.2, RFC 5227 2.1.1), which spreads the
        # load when a whole building gets its power back; an address is ready that much earlier.
        if v4:
            arp.request(net, iface, address.v4(a.lo), 0, 0, now)
            if a.probes == 0:
                return now + ANNOUNCE_WAIT
            return now + PROBE_MIN + below(net.rng, PROBE_MAX - PROBE_MIN)
        ndp.solicit(net, iface, a.hi, a.lo, 0, 0, 0, now)
        return now + net.settings.retrans_time
    if a.state == State.TENTATIVE:
        a.state = State.PREFERRED                               # nobody objected
        if not v4 and address.is_link_local(a.hi, a.lo):
            membership.on_source(net, iface, now)
    if a.announcements == 0 or not address.is_usable(a):
        return timers.NEVER
    a.announcements -= 1
    arp.request(net, iface, address.v4(a.lo), 0, address.v4(a.lo), now)         # RFC 5227 2.3
    return now + ANNOUNCE_INTERVAL if a.announcements > 0 else timers.NEVER
