"""IGMP: telling multicast routers and switches which IPv4 groups we are in; queries, and messages on their way out.

RFC 3376 (version 3), RFC 2236 (version 2, with what version 1 needs: RFC 1112
appendix I).  What there is to say is in `membership.py`; numbers without a name
are RFC 3376's.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import MS, SECOND, addressof, be16, be32, compiled, load8, put16, put32, store8, sum16
from . import address, checksum, ethernet, link, membership
from .ethernet import EtherType
from .membership import NEWEST, OLDER, OLDEST
from .net import SCRATCH_GROUPS

if TYPE_CHECKING:
    from .net import Interface, Net

PROTOCOL = 2
QUERY = 0x11                # (4)
REPORT_V1 = 0x12
REPORT_V2 = 0x16
LEAVE = 0x17
REPORT = 0x22
ALL_ROUTERS = 0xE000_0002   # 224.0.0.2: leaving, in version 2 (RFC 2236 9)
ALL_REPORTERS = 0xE000_0016     # 224.0.0.22 (4.2.14)
HEADER_LEN = 8              # of every message but a query of version 3
QUERY_LEN = 12              # ... which has more (4.1)
IP_HEADER = 24              # with the router alert option
ROUTER_ALERT = 0x9404_0000  # RFC 2113 2.1
CONTROL = 0xC0              # (4) TOS: Internetwork Control
OLD_RESPONSE = 100          # tenths of a second, when version 1 asks (7.2.1)
TENTH = 100 * MS


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """The message in net.rx: 0, or the Drop that is to be counted."""
    rx = net.rx
    if rx.length < HEADER_LEN:
        return Drop.IGMP_MALFORMED
    if sum16(rx.payload, rx.length, 0) != 0xFFFF:
        return Drop.IGMP_CHECKSUM
    type = load8(rx.payload)
    if type == REPORT_V1 or type == REPORT_V2:
        membership.on_report(net, iface, 0, address.from_v4(be32(rx.payload + 4)))
        return 0
    if type == QUERY:
        return _query(net, iface, now)
    return Drop.ICMP_IGNORED + 0                                # (5) what routers say to each other


@compiled
def _query(net: Net, iface: Interface, now: int) -> int:
    """(7.1) The version is told by the length, and by the Max Resp Code."""
    p = net.rx.payload
    n = net.rx.length
    code = load8(p + 1)
    group = be32(p + 4)
    lo = address.from_v4(group) if group != 0 else 0
    heard = NEWEST
    most = membership.exponential(code) * TENTH
    interval = 0
    robust = 0
    sources = 0
    if n == HEADER_LEN:
        heard = OLDER if code != 0 else OLDEST
        most = (code if code != 0 else OLD_RESPONSE) * TENTH
    elif n < QUERY_LEN:
        return Drop.IGMP_MALFORMED
    else:
        robust = load8(p + 8) & 7
        interval = membership.exponential(load8(p + 9)) * SECOND
        sources = be16(p + 10)
        if n < QUERY_LEN + 4 * sources:
            return Drop.IGMP_MALFORMED
    if group != 0 and not address.is_multicast(0, lo):
        return Drop.IGMP_MALFORMED
    if group == 0 and net.rx.dst_lo != address.from_v4(address.ALL_HOSTS):
        return Drop.IGMP_MALFORMED                              # (9.1) a general query is for all
    if group == 0:
        membership.on_querier(net, iface, False, heard, interval, robust, most, now)
    v = membership.settle_version(net, iface, False, now)
    index = membership.on_query(net, iface, False, v, 0, lo, max(most, TENTH), now)
    if index != 0:
        g = membership.get(net, index)
        if sources == 0:
            g.queried = 0
        for i in range(sources):
            if not membership.ask_about(g, 0, address.from_v4(be32(p + QUERY_LEN + 4 * i))):
                break
    return 0


# ---- sending ---------------------------------------------------------------

@compiled
def message(net: Net) -> int:
    """Where a message that is to be sent stands."""
    return addressof(net) + net.scratch + SCRATCH_GROUPS + ethernet.HEADER_LEN + IP_HEADER


@compiled
def send(net: Net, iface: Interface, dst: int, n: int, now: int) -> None:
    """Send the n bytes that stand at `message`, with a checksum, to a group."""
    p = message(net)
    put16(p + 2, 0)
    put16(p + 2, checksum.finish(sum16(p, n, 0)))
    ip = p - IP_HEADER
    put16(ip, 0x4600 | CONTROL)
    put16(ip + 2, IP_HEADER + n)
    put32(ip + 4, 0x4000)                                       # DF
    store8(ip + 8, 1)                                           # (4) it stays on the link
    store8(ip + 9, PROTOCOL)
    put16(ip + 10, 0)
    put32(ip + 12, _source(iface))
    put32(ip + 16, dst)
    put32(ip + 20, ROUTER_ALERT)
    put16(ip + 10, checksum.finish(sum16(ip, IP_HEADER, 0)))
    link.transmit(net, iface, ethernet.multicast(0, address.from_v4(dst)), EtherType.IPV4, ip, IP_HEADER + n, 1,
                  IP_HEADER + n, now)


@compiled
def _source(iface: Interface) -> int:
    """The interface's first address, or 0.0.0.0 (4.2.13)."""
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if address.is_v4(a.hi, a.lo) and address.is_usable(a):
            return address.v4(a.lo)
    return 0


@compiled
def send_old(net: Net, iface: Interface, version: int, lo: int, leaving: bool, now: int) -> None:
    """A report of version 1 or 2 about one group, or that it is left (RFC 2236 2, 3)."""
    p = message(net)
    type = REPORT_V1 if version == OLDEST else REPORT_V2
    store8(p, LEAVE if leaving else type)
    store8(p + 1, 0)
    put32(p + 4, address.v4(lo))
    send(net, iface, ALL_ROUTERS if leaving else address.v4(lo), HEADER_LEN, now)
