"""Setting up the IP layer: its tables, settings, interfaces, addresses and routes.

Ordinary Python, called when a stack is made or configured, never for a packet;
while an engine runs, by whoever owns the world.  Returns -errno like the calls
of the data path.
"""
from __future__ import annotations

from dataclasses import dataclass

from ..errors import EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, ENOSPC, ESRCH
from ..machine import MS, SECOND, address_of, addressof, copy, sizeof, table, timers, zero
from . import address, input, link, membership, multicast, neighbour, output, pmtu, reassembly, route
from .address import State
from .link import LOOPBACK
from .membership import Group
from .multicast import Membership
from .neighbour import Neighbour
from .net import (
    ADDRESSES,
    INTERFACES,
    ROUTES,
    SCRATCH,
    Interface,
    InterfaceAddress,
    Medium,
    Net,
    NetSettings,
    Route,
)
from .pmtu import PathMtu
from .reassembly import Reassembly

LOOPBACK_MTU = 65535
MIN_MTU = 68                # RFC 791 3.2
MIN_MTU_V6 = 1280           # RFC 8200 5
INTERFACE = sizeof(Interface)
INTERFACE_ADDRESS = sizeof(InterfaceAddress)
ROUTE = sizeof(Route)


@dataclass(frozen=True)
class Sizes:
    """How many entries each table of the IP layer has."""

    neighbours: int = 1024


def _align(n: int) -> int:
    return (n + 63) & -64


def _buckets(sizes: Sizes) -> int:
    """Hash buckets of the neighbour table: a power of two, no fewer than there are entries."""
    return 1 << max(sizes.neighbours - 1, 1).bit_length()


def _slots(sizes: Sizes) -> tuple[int, int, int]:
    """First timer slot of the reassemblies, and of the interfaces (then of their groups); how many slots there are."""
    first = sizes.neighbours + 1
    second = first + reassembly.CAPACITY
    return first, second, second + 2 * INTERFACES


def _layout(sizes: Sizes) -> list[tuple[str, int]]:
    """The tables in the order in which they stand, and their bytes."""
    return [
        ("scratch", SCRATCH),
        ("neighbours", (sizes.neighbours + 1) * sizeof(Neighbour)),
        ("buckets", 4 * _buckets(sizes)),
        ("reassemblies", reassembly.CAPACITY * sizeof(Reassembly)),
        ("path_mtus", pmtu.CAPACITY * sizeof(PathMtu)),
        ("memberships", multicast.CAPACITY * sizeof(Membership)),
        ("groups", membership.CAPACITY * sizeof(Group)),
        ("timers", timers.space(_slots(sizes)[2])),
    ]


def space(sizes: Sizes | None = None) -> int:
    """Bytes that the tables of the IP layer need besides the Net record and the buffers."""
    return sum(_align(n) for _, n in _layout(sizes or Sizes()))


def set_units(net: Net) -> None:
    """Put the units' addresses into a Net that is new, or that the caller owns."""
    net.send = address_of(output.send_unit)
    net.transmit = address_of(link.transmit_unit)
    net.other = address_of(input.other_unit)
    net.go_on = address_of(input.go_on_unit)
    net.send_whole = address_of(output.send_whole_unit)


def init(net: Net, where: int, seed: int, sizes: Sizes | None = None) -> None:
    """Set up a zeroed Net with its tables in `space(sizes)` zeroed bytes at `where` (64-byte aligned).

    The caller sets up `net.arena`.  `seed`: 192 random bits, of which no one
    outside may know the lower 128.  Interface 1 is the loopback interface then,
    with its addresses; its device is still to be opened.
    """
    sizes = sizes or Sizes()
    places = {}
    for name, n in _layout(sizes):
        places[name] = where
        where += _align(n)
    net.scratch = places["scratch"] - addressof(net)
    table.init(net.neighbours, places["neighbours"], sizeof(Neighbour), sizes.neighbours + 1)
    net.neighbour_buckets = places["buckets"] - addressof(net)
    net.neighbour_mask = _buckets(sizes) - 1
    table.init(net.reassemblies, places["reassemblies"], sizeof(Reassembly), reassembly.CAPACITY)
    table.init(net.path_mtus, places["path_mtus"], sizeof(PathMtu), pmtu.CAPACITY)
    table.init(net.memberships, places["memberships"], sizeof(Membership), multicast.CAPACITY)
    table.init(net.groups, places["groups"], sizeof(Group), membership.CAPACITY)
    net.reassembly_slot, net.interface_slot, slots = _slots(sizes)
    net.group_slot = net.interface_slot + INTERFACES
    timers.init(net.timers, places["timers"], slots)
    net.key.k0 = _signed(seed)
    net.key.k1 = _signed(seed >> 64)
    net.rng.state = _signed(seed >> 128)
    net.ip_id = (seed >> 176) & 0xFFFF
    set_units(net)
    defaults(net.settings)
    index = add_interface(net, LOOPBACK_MTU, 0, Medium.LOOPBACK)
    assert index == LOOPBACK
    add_address(net, LOOPBACK, 0, address.from_v4(0x7F00_0001), 96 + 8, 0)
    add_address(net, LOOPBACK, 0, 1, 128, 0)


def _signed(v: int) -> int:
    """The low 64 bits as a signed integer."""
    v &= 0xFFFF_FFFF_FFFF_FFFF
    return v - (1 << 64) if v >> 63 else v


def defaults(s: NetSettings) -> None:
    """Linux's defaults, where Linux has the setting."""
    s.ip_default_ttl = 64
    s.icmp_ratelimit = 1000 * MS
    s.icmp_msgs_per_sec = 1000
    s.icmp_msgs_burst = 50
    s.icmp_echo_ignore_all = 0
    s.icmp_echo_ignore_broadcasts = 1
    s.ipfrag_time = 30 * SECOND
    s.ipfrag_high_thresh = 4 << 20
    s.ucast_solicit = 3
    s.mcast_solicit = 3
    s.retrans_time = 1 * SECOND
    s.base_reachable_time = 30 * SECOND
    s.gc_stale_time = 60 * SECOND
    s.unres_qlen = 101
    s.dad_transmits = 1
    s.arp_probes = 0
    s.arp_announcements = 2         # RFC 5227 1.1, ANNOUNCE_NUM (Linux: none, unless arp_notify is set)
    s.mtu_expires = 600 * SECOND


# ---- interfaces ------------------------------------------------------------

def add_interface(net: Net, mtu: int, mac: int, medium: int) -> int:
    """A new interface, up; its device is for a driver to open.  Returns its index, or -errno."""
    if mtu < MIN_MTU or mtu > LOOPBACK_MTU:
        return -EINVAL
    for index in range(1, INTERFACES):
        iface = net.interfaces[index]
        if iface.index == 0:
            zero(addressof(iface), INTERFACE)
            iface.index = index
            iface.up = 1
            iface.ethernet = int(medium)
            iface.mtu = mtu
            iface.mac = mac
            net.interface_count = max(net.interface_count, index)
            return index
    return -ENOSPC


def remove_interface(net: Net, index: int) -> int:
    """Forget an interface, its addresses, routes and neighbours.  The driver has been closed."""
    if index == LOOPBACK or not _exists(net, index):
        return -ENODEV
    for i in reversed(range(net.route_count)):
        if net.routes[i].interface == index:
            _remove_route_at(net, i)
    forget_neighbours(net, index)
    timers.disarm(net.timers, net.interface_slot + index)
    timers.disarm(net.timers, net.group_slot + index)
    for i in range(1, net.groups.used + 1):
        if membership.get(net, i).interface == index:
            membership.release(net, i)
    zero(addressof(net.interfaces[index]), INTERFACE)
    while net.interface_count > 0 and net.interfaces[net.interface_count].index == 0:
        net.interface_count -= 1
    return 0


def _exists(net: Net, index: int) -> bool:
    return 0 < index < INTERFACES and net.interfaces[index].index == index


def forget_neighbours(net: Net, interface: int) -> None:
    """Empty the neighbour cache of an interface."""
    for index in range(1, net.neighbours.used + 1):
        n = neighbour.entry(net, index)
        if n.state != neighbour.State.NONE and n.interface == interface:
            neighbour.release(net, index)


def link_local(mac: int) -> int:
    """The low half of the link-local address of an interface; the high half is address.LINK_LOCAL_HI.

    RFC 4291 appendix A: the MAC address with ff:fe in its middle, its universal/local bit inverted.
    """
    return _signed((((mac >> 24) ^ 0x020000) << 40) | 0xFF_FE00_0000 | (mac & 0xFF_FFFF))


# ---- addresses -------------------------------------------------------------

def add_address(net: Net, index: int, hi: int, lo: int, prefix: int, now: int) -> int:
    """Give an interface an address, and a route to the others of its prefix (of 128 bits): 0, or -errno.

    An IPv6 address is probed first, and an IPv4 one announced (`timeouts.py`).
    """
    if not _exists(net, index):
        return -ENODEV
    if not 0 <= prefix <= 128 or (address.is_v4(hi, lo) and prefix < 96):
        return -EINVAL
    if address.is_multicast(hi, lo) or address.is_unspecified(hi, lo):
        return -EINVAL
    iface = net.interfaces[index]
    if address.on_interface(iface, hi, lo) >= 0:
        return -EEXIST
    if iface.address_count == ADDRESSES:
        return -ENOSPC
    v4 = address.is_v4(hi, lo)
    if not v4 and iface.mtu < MIN_MTU_V6:
        return -EINVAL
    connected = prefix < 128 or index == LOOPBACK
    if connected:
        error = add_route(net, hi & address.mask_hi(prefix), lo & address.mask_lo(prefix), prefix, 0, 0, index, 0)
        if error not in (0, -EEXIST):
            return error
    a = iface.addresses[iface.address_count]
    zero(addressof(a), INTERFACE_ADDRESS)
    a.hi = hi
    a.lo = lo
    a.prefix = prefix
    a.deadline = timers.NEVER
    a.state = State.PREFERRED
    if iface.ethernet == Medium.ETHERNET:
        a.probes = net.settings.arp_probes if v4 else net.settings.dad_transmits
        a.announcements = net.settings.arp_announcements if v4 else 0
        if a.probes > 0:
            a.state = State.TENTATIVE
        if a.probes > 0 or a.announcements > 0:
            a.deadline = now
            timers.arm(net.timers, net.interface_slot + index, now)
    iface.address_count += 1
    if iface.ethernet == Medium.ETHERNET:                       # else nobody solicits
        membership.on_address(net, index, hi, lo, max(now, 1))
    return 0


def remove_address(net: Net, index: int, hi: int, lo: int, now: int = 1) -> int:
    """Take an address from an interface, and its prefix's route if no other address has that prefix: 0, or -errno."""
    if not _exists(net, index):
        return -ENODEV
    iface = net.interfaces[index]
    i = address.on_interface(iface, hi, lo)
    if i < 0:
        return -EADDRNOTAVAIL
    prefix = iface.addresses[i].prefix
    last = iface.address_count - 1
    place = addressof(iface.addresses[i])
    copy(place, place + INTERFACE_ADDRESS, (last - i) * INTERFACE_ADDRESS)
    iface.address_count = last
    if iface.ethernet == Medium.ETHERNET:                       # else nobody solicits
        membership.on_address(net, index, hi, lo, max(now, 1))
    for i in range(last):
        a = iface.addresses[i]
        if a.prefix == prefix and address.matches(a.hi, a.lo, hi, lo, prefix):
            return 0
    remove_route(net, hi & address.mask_hi(prefix), lo & address.mask_lo(prefix), prefix, 0, 0, index)
    return 0


# ---- routes ----------------------------------------------------------------

def add_route(net: Net, hi: int, lo: int, prefix: int, gateway_hi: int, gateway_lo: int, index: int, metric: int,
              source_hi: int = 0, source_lo: int = 0) -> int:
    """A route to a prefix (of 128 bits), through a gateway or (0, 0) on the link: 0, or -errno.

    With interface 0 the one on whose link the gateway is (RFC 1122 3.3.1.1).
    """
    if not 0 <= prefix <= 128 or not 0 <= metric < 1 << 31:
        return -EINVAL
    if hi & ~address.mask_hi(prefix) or lo & ~address.mask_lo(prefix):
        return -EINVAL                                          # bits beyond the prefix
    if index == 0 and (gateway_hi, gateway_lo) != (0, 0):
        i = route.find(net, gateway_hi, gateway_lo, 0)
        if i < 0 or (net.routes[i].gateway_hi, net.routes[i].gateway_lo) != (0, 0):
            return -EINVAL
        index = net.routes[i].interface
    if not _exists(net, index):
        return -ENODEV
    place = 0
    for i in range(net.route_count):
        r = net.routes[i]
        if (r.prefix, r.metric) == (prefix, metric) and (r.hi, r.lo) == (hi, lo) and r.interface == index \
                and (r.gateway_hi, r.gateway_lo) == (gateway_hi, gateway_lo):
            return -EEXIST
        if (-r.prefix, r.metric) <= (-prefix, metric):
            place = i + 1
    if net.route_count == ROUTES:
        return -ENOSPC
    base = addressof(net.routes)
    copy(base + (place + 1) * ROUTE, base + place * ROUTE, (net.route_count - place) * ROUTE)
    r = net.routes[place]
    r.hi, r.lo, r.prefix = hi, lo, prefix
    r.gateway_hi, r.gateway_lo = gateway_hi, gateway_lo
    r.source_hi, r.source_lo = source_hi, source_lo
    r.interface, r.metric = index, metric
    net.route_count += 1
    return 0


def remove_route(net: Net, hi: int, lo: int, prefix: int, gateway_hi: int, gateway_lo: int, index: int) -> int:
    """Remove the route that `add_route` made, the one with the lowest metric first: 0, or -errno."""
    for i in range(net.route_count):
        r = net.routes[i]
        if ((r.hi, r.lo, r.prefix) == (hi, lo, prefix) and (r.gateway_hi, r.gateway_lo) == (gateway_hi, gateway_lo)
                and index in (0, r.interface)):
            _remove_route_at(net, i)
            return 0
    return -ESRCH


def _remove_route_at(net: Net, place: int) -> None:
    base = addressof(net.routes)
    copy(base + place * ROUTE, base + (place + 1) * ROUTE, (net.route_count - place - 1) * ROUTE)
    net.route_count -= 1
    zero(base + net.route_count * ROUTE, ROUTE)
