"""Multicast Listener Discovery: IGMP's work for IPv6, as messages of ICMPv6.

RFC 3810 (version 2), RFC 2710 (version 1).  What there is to say is in
`membership.py`; numbers without a name are RFC 3810's.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Drop
from ..machine import MS, SECOND, addressof, be16, be64, compiled, load8, put16, put32, put64, store8, sum16
from . import address, checksum, ethernet, link, membership
from .address import ALL_NODES_LO, MULTICAST_HI
from .ethernet import EtherType
from .membership import NEWEST, OLDER
from .net import SCRATCH_GROUPS

if TYPE_CHECKING:
    from .net import Incoming, Interface, Net

ICMPV6 = 58
QUERY = 130                 # (5)
REPORT_V1 = 131             # RFC 2710 3.1
DONE = 132
REPORT = 143                # (5.2)
ALL_ROUTERS_LO = 2          # ff02::2: done, in version 1 (RFC 2710 5)
ALL_REPORTERS_LO = 0x16     # ff02::16 (5.2.14)
MESSAGE_V1 = 24             # bytes of every message of version 1
QUERY_LEN = 28              # ... and of a query of version 2 without sources (5.1)
HEADER_LEN = 8              # of a report of version 2
IP_HEADER = 48              # with a hop-by-hop header
HOP_BY_HOP = 0
ALERT, PAD1 = 5, 0          # options (RFC 2711 2.1, RFC 8200 4.2)


@compiled
def receive(net: Net, iface: Interface, now: int) -> int:
    """The message in net.rx, whose checksum is right: 0, or the Drop that is to be counted."""
    rx = net.rx
    p = rx.payload
    if rx.length < MESSAGE_V1 or rx.ttl != 1 or rx.reassembled != 0 or not _has_alert(rx):
        return Drop.MLD_MALFORMED                               # (6.2)
    type = load8(p)
    if type == REPORT_V1:
        membership.on_report(net, iface, be64(p + 8), be64(p + 16))
        return 0
    if type != QUERY:
        return Drop.ICMP_IGNORED + 0                            # for routers
    if not address.is_link_local(rx.src_hi, rx.src_lo):
        return Drop.MLD_MALFORMED
    return _query(net, iface, now)


@compiled
def _has_alert(rx: Incoming) -> bool:
    """Whether the router alert option is there, in a hop-by-hop header; that is sound (`ipv6.walk`)."""
    if load8(rx.header + 6) != HOP_BY_HOP:
        return False
    p = rx.header + 42
    end = rx.header + 40 + 8 + 8 * load8(rx.header + 41)
    while p < end:
        kind = load8(p)
        if kind == ALERT:
            return True
        p += 1 if kind == PAD1 else 2 + load8(p + 1)
    return False


@compiled
def _query(net: Net, iface: Interface, now: int) -> int:
    """(8.1) The version is told by the length."""
    rx = net.rx
    p = rx.payload
    code = be16(p + 4)
    hi = be64(p + 8)
    lo = be64(p + 16)
    general = address.is_unspecified(hi, lo)
    heard = NEWEST
    most = exponential(code) * MS
    interval = 0
    robust = 0
    sources = 0
    if rx.length == MESSAGE_V1:
        heard = OLDER
        most = code * MS
    elif rx.length < QUERY_LEN:
        return Drop.MLD_MALFORMED
    else:
        robust = load8(p + 24) & 7
        interval = membership.exponential(load8(p + 25)) * SECOND
        sources = be16(p + 26)
        if rx.length < QUERY_LEN + 16 * sources:
            return Drop.MLD_MALFORMED
    if not general and not address.is_multicast(hi, lo):
        return Drop.MLD_MALFORMED
    if general and not (rx.dst_hi == MULTICAST_HI and rx.dst_lo == ALL_NODES_LO):
        return Drop.MLD_MALFORMED                               # (5.1.15)
    if general:
        membership.on_querier(net, iface, True, heard, interval, robust, most, now)
    v = membership.settle_version(net, iface, True, now)
    index = membership.on_query(net, iface, True, v, hi, lo, max(most, MS), now)
    if index != 0:
        g = membership.get(net, index)
        if sources == 0:
            g.queried = 0
        for i in range(sources):
            if not membership.ask_about(g, be64(p + QUERY_LEN + 16 * i), be64(p + QUERY_LEN + 16 * i + 8)):
                break
    return 0


@compiled
def exponential(code: int) -> int:
    """Maximum Response Code: milliseconds, or from 32,768 on a floating-point number of them (5.1.3)."""
    return code if code < 0x8000 else ((code & 0xFFF) | 0x1000) << ((code >> 12 & 7) + 3)


# ---- sending ---------------------------------------------------------------

@compiled
def message(net: Net) -> int:
    """Where a message that is to be sent stands."""
    return addressof(net) + net.scratch + SCRATCH_GROUPS + ethernet.HEADER_LEN + IP_HEADER


@compiled
def send(net: Net, iface: Interface, dst_hi: int, dst_lo: int, n: int, now: int) -> None:
    """Send the n bytes that stand at `message`, with a checksum, to a group."""
    p = message(net)
    ip = p - IP_HEADER
    i = _source(iface)
    src_hi = iface.addresses[i].hi if i >= 0 else 0
    src_lo = iface.addresses[i].lo if i >= 0 else 0
    put32(ip, 6 << 28)
    put16(ip + 4, 8 + n)
    store8(ip + 6, HOP_BY_HOP)
    store8(ip + 7, 1)                                           # (5) it stays on the link
    put64(ip + 8, src_hi)
    put64(ip + 16, src_lo)
    put64(ip + 24, dst_hi)
    put64(ip + 32, dst_lo)
    store8(ip + 40, ICMPV6)
    store8(ip + 41, 0)
    put32(ip + 42, ALERT << 24 | 2 << 16)                       # router alert: MLD
    put16(ip + 46, 0x0100)                                      # PadN
    put16(p + 2, 0)
    put16(p + 2, checksum.finish(sum16(p, n, checksum.pseudo(src_hi, src_lo, dst_hi, dst_lo, ICMPV6, n))))
    link.transmit(net, iface, ethernet.multicast(dst_hi, dst_lo), EtherType.IPV6, ip, IP_HEADER + n, 1, IP_HEADER + n,
                  now)


@compiled
def _source(iface: Interface) -> int:
    """The place of the interface's link-local address; -1: the unspecified one (5.2.13, RFC 3590 4)."""
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if not address.is_v4(a.hi, a.lo) and address.is_link_local(a.hi, a.lo) and address.is_usable(a):
            return i
    return -1


@compiled
def send_old(net: Net, iface: Interface, hi: int, lo: int, leaving: bool, now: int) -> None:
    """A report of version 1 about one group, or that it is left (RFC 2710 3, 4)."""
    p = message(net)
    store8(p, DONE if leaving else REPORT_V1)
    store8(p + 1, 0)
    put32(p + 4, 0)
    put64(p + 8, hi)
    put64(p + 16, lo)
    if leaving:
        send(net, iface, MULTICAST_HI, ALL_ROUTERS_LO, MESSAGE_V1, now)
    else:
        send(net, iface, hi, lo, MESSAGE_V1, now)
