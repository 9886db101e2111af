"""The path to the peer: our address on it, and how large segments may be.

RFC 9293 section 3.7.1: the MSS we announce follows from our interface, what we
send also from the path (RFC 1191).
"""
from __future__ import annotations

from ..ip import route
from ..ip.address import is_v4
from ..ip.net import Net
from ..machine import compiled
from .header import HEADER_LEN
from .tcb import Tcb

IPV4_HEADER = 20
IPV6_HEADER = 40
LARGEST = 0xFFFF
LEAST = 128             # a smaller path is not believed


@compiled
def find(net: Net, t: Tcb, now: int) -> int:
    """Choose source address and sizes for the connection's remote address.  0, or -errno."""
    e = t.ep
    r = route.choose(net, e.remote_hi, e.remote_lo, e.local_hi, e.local_lo, e.interface, now)
    if r < 0:
        return r
    c = net.chosen
    e.local_hi = c.src_hi
    e.local_lo = c.src_lo
    v4 = is_v4(e.remote_hi, e.remote_lo)
    t.loopback = 1 if net.interfaces[c.interface].ethernet == 0 else 0
    t.rcv_mss = announced(net, t.user_mss, v4)
    t.pmtu_mss = min(c.mtu - headers(v4), LARGEST)
    if t.user_mss != 0:
        t.pmtu_mss = min(t.pmtu_mss, t.user_mss)
    return 0


@compiled
def headers(v4: bool) -> int:
    """The length of the IP and TCP headers without options."""
    return (IPV4_HEADER if v4 else IPV6_HEADER) + HEADER_LEN


@compiled
def announced(net: Net, user_mss: int, v4: bool) -> int:
    """The MSS option of our SYN: what the interface of `net.chosen` takes, and TCP_MAXSEG (0: none) allows."""
    mss = min(net.interfaces[net.chosen.interface].mtu - headers(v4), LARGEST)
    return min(mss, user_mss) if user_mss != 0 else mss


@compiled
def shrink(t: Tcb, mtu: int) -> bool:
    """The path takes packets of `mtu` bytes.  Whether segments get smaller by that."""
    mss = max(mtu - headers(is_v4(t.ep.remote_hi, t.ep.remote_lo)), LEAST)
    if mss >= t.pmtu_mss:
        return False
    t.pmtu_mss = mss
    return True
