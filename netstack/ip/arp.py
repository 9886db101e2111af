"""ARP: link addresses of IPv4 neighbours, and telling others ours.

RFC 826, "An Ethernet Address Resolution Protocol", and RFC 5227, "IPv4 Address
Conflict Detection".  What is learned goes into the cache in `neighbour.py`.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import SECOND, addressof, be16, be32, compiled, load8, put16, put32, store8
from . import address, ethernet, link, neighbour
from .address import State
from .ethernet import EtherType
from .neighbour import Update
from .net import SCRATCH_ARP

if TYPE_CHECKING:
    from .net import Interface, Net

PACKET_LEN = 28
ETHERNET = 1                    # ar$hrd
REQUEST = 1                     # ar$op
REPLY = 2
DEFEND_INTERVAL = 10 * SECOND   # RFC 5227 1.1
LEARN_REQUEST = int(Update.OVERRIDE)
LEARN_REPLY = int(Update.OVERRIDE | Update.SOLICITED)
CREATE = int(Update.CREATE)


@compiled
def send(net: Net, iface: Interface, op: int, spa: int, tha: int, tpa: int, dst: int, now: int) -> int:
    """Send an ARP packet from our link address and the protocol address `spa`, to the link address `dst`."""
    p = addressof(net) + net.scratch + SCRATCH_ARP + ethernet.HEADER_LEN
    put16(p, ETHERNET)
    put16(p + 2, EtherType.IPV4)
    store8(p + 4, 6)
    store8(p + 5, 4)
    put16(p + 6, op)
    ethernet.put48(p + 8, iface.mac)
    put32(p + 14, spa)
    ethernet.put48(p + 18, tha)
    put32(p + 24, tpa)
    return link.transmit(net, iface, dst, EtherType.ARP, p, PACKET_LEN, 1, PACKET_LEN, now)


@compiled
def request(net: Net, iface: Interface, target: int, dst: int, source: int, now: int) -> int:
    """Who has `target`?  Ask everybody, or the link address `dst` if it is not 0 (RFC 1122 2.3.2.1, unicast poll).

    With source 0 it is an ARP Probe, with source = target an ARP Announcement (RFC 5227 1.1).
    """
    return send(net, iface, REQUEST, source, 0, target, dst if dst != 0 else ethernet.BROADCAST, now)


@compiled
def receive(net: Net, iface: Interface, p: int, n: int, now: int) -> None:
    """An ARP packet of n bytes at p has come (RFC 826, "Packet Reception")."""
    if n < PACKET_LEN:
        net.drops[Drop.TRUNCATED] += 1
        return
    op = be16(p + 6)
    sha = ethernet.be48(p + 8)
    spa = be32(p + 14)
    tpa = be32(p + 24)
    if (be16(p) != ETHERNET or be16(p + 2) != EtherType.IPV4 or load8(p + 4) != 6 or load8(p + 5) != 4
            or (op != REQUEST and op != REPLY) or _is_bad(sha, spa)):
        net.drops[Drop.ARP_MALFORMED] += 1
        return
    if sha == iface.mac:
        return                                                  # our own, come back
    if _is_conflict(net, iface, sha, spa, tpa, now):
        return
    i = address.on_interface(iface, 0, address.from_v4(tpa))
    ours = i >= 0 and address.is_usable(iface.addresses[i])     # ?Am I the target protocol address?
    if spa != 0:                                                # a probe says nothing about its sender
        flags = LEARN_REPLY if op == REPLY and ours else LEARN_REQUEST
        if ours:
            flags |= CREATE                                     # merge flag false: add to the table
        neighbour.update(net, iface, 0, address.from_v4(spa), sha, flags, now)
    if ours and op == REQUEST:
        send(net, iface, REPLY, tpa, sha, spa, sha, now)


@compiled
def _is_bad(sha: int, spa: int) -> bool:
    """Whether nobody can be where this sender says it is."""
    if sha == 0 or ethernet.is_group(sha):
        return True
    first = spa >> 24
    return first == 127 or first >= 224                         # multicast, reserved and broadcast


@compiled
def _is_conflict(net: Net, iface: Interface, sha: int, spa: int, tpa: int, now: int) -> bool:
    """Whether the sender uses an address of ours, or wants to while we are probing for it; then act (RFC 5227)."""
    i = address.on_interface(iface, 0, address.from_v4(spa if spa != 0 else tpa))
    if i < 0:
        return False
    a = iface.addresses[i]
    if a.state == State.DUPLICATE or (spa == 0 and a.state != State.TENTATIVE):
        return False            # not ours any more; or an ordinary probe, which is answered like a request (2.1.1)
    net.drops[Drop.ARP_CONFLICT] += 1
    iface.conflicts += 1
    net.attention = 1
    iface.conflict_mac = sha
    iface.conflict_hi = a.hi
    iface.conflict_lo = a.lo
    if a.state == State.TENTATIVE:
        a.state = State.DUPLICATE                               # (2.1.1)
        return True
    # (2.4, b and c) Defend, but not more than once in DEFEND_INTERVAL, and keep the address: it was configured.
    if a.defended == 0 or now - a.defended >= DEFEND_INTERVAL:
        a.defended = now
        request(net, iface, address.v4(a.lo), 0, address.v4(a.lo), now)
    return True
