"""The path to the peer: our address on it, and how large segments may be.

RFC 9293 section 3.7.1: the MSS we announce follows from our interface, what we
send also from the path: from what routers tell (RFC 1191, RFC 8201), and from
what was seen to get through (RFC 4821, in `mtu_probe.py`).
"""
from __future__ import annotations

from ..ip import pmtu, route
from ..ip.address import is_v4
from ..ip.net import Net
from ..machine import compiled
from . import mtu_probe, seq
from .header import HEADER_LEN
from .tcb import Tcb, Tcp, rare

IPV4_HEADER = 20
IPV6_HEADER = 40
LARGEST = 0xFFFF
LEAST = 128             # a smaller path is not believed


@compiled
def find(net: Net, t: Tcb, now: int) -> int:
    """Choose source address and sizes for the connection's remote address.  0, or -errno."""
    e = t.ep
    r = _choose(net, t, now)
    if r < 0:
        return r
    c = net.chosen
    e.local_hi = c.src_hi
    e.local_lo = c.src_lo
    t.loopback = 1 if net.interfaces[c.interface].ethernet == 0 else 0
    t.rcv_mss = announced(net, t.user_mss, is_v4(e.remote_hi, e.remote_lo))
    _set_mtu(net, t, c.mtu, now)
    return 0


@compiled
def _choose(net: Net, t: Tcb, now: int) -> int:
    e = t.ep
    if e.transparent:
        return route.choose_from(net, e.remote_hi, e.remote_lo, e.local_hi, e.local_lo, e.interface, now)
    return route.choose(net, e.remote_hi, e.remote_lo, e.local_hi, e.local_lo, e.interface, now)


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
def _set_mtu(net: Net, t: Tcb, mtu: int, now: int) -> None:
    """The path takes packets of `mtu` bytes, by what is known now, and for as long as that is believed."""
    t.mtu.mtu = mtu
    t.mtu.expires = pmtu.expires(net, t.ep.remote_hi, t.ep.remote_lo, now)
    mtu_probe.limit(t.mtu, probed(t))
    set_mss(t)


@compiled
def largest(t: Tcb) -> int:
    """The MSS that the path's MTU allows, and TCP_MAXSEG."""
    v4 = is_v4(t.ep.remote_hi, t.ep.remote_lo)
    options = rare(t).options.length if v4 else 0
    mss = min(max(t.mtu.mtu - headers(v4) - options, LEAST), LARGEST)
    return min(mss, t.user_mss) if t.user_mss != 0 else mss


@compiled
def probed(t: Tcb) -> int:
    """... and the peer: larger segments are not tried."""
    return min(largest(t), t.snd_mss) if t.snd_mss != 0 else largest(t)


@compiled
def set_mss(t: Tcb) -> None:
    """Eff.snd.MSS before options, as far as the path decides: what gets through, while that is searched for."""
    t.pmtu_mss = min(largest(t), t.mtu.low) if t.mtu.enabled else largest(t)


@compiled
def resize(t: Tcb) -> None:
    """TCP_MAXSEG or IP_OPTIONS have changed what goes into a segment."""
    mtu_probe.limit(t.mtu, probed(t))
    set_mss(t)


@compiled
def begin(tcp: Tcp, t: Tcb, now: int) -> None:
    """The connection is established: perhaps the search begins (RFC 4821 7.2)."""
    s = tcp.settings
    mtu_probe.begin(t.mtu, s.tcp_mtu_probing, s.tcp_base_mss, probed(t), now)
    set_mss(t)


@compiled
def shrink(net: Net, t: Tcb, mtu: int, now: int) -> bool:
    """The path takes packets of `mtu` bytes.  Whether segments get smaller by that."""
    before = t.pmtu_mss
    if mtu < t.mtu.mtu:
        _set_mtu(net, t, mtu, now)
        if t.mtu.expires == 0:
            t.mtu.expires = now + net.settings.mtu_expires
    return t.pmtu_mss < before


@compiled
def refresh(net: Net, t: Tcb, now: int) -> None:
    """What a router told is too old: try what the interface takes again (RFC 1191 6.3, RFC 8201 5.3)."""
    t.mtu.expires = 0
    if _choose(net, t, now) == 0:
        _set_mtu(net, t, net.chosen.mtu, now)
        mtu_probe.restart(t.mtu, probed(t), now)


@compiled
def on_black_hole(tcp: Tcp, t: Tcb, now: int) -> None:
    """tcp_retries1 timeouts in a row: perhaps what we send is too large, and nobody says so."""
    s = tcp.settings
    if mtu_probe.on_black_hole(t.mtu, s.tcp_mtu_probing, s.tcp_base_mss, max(s.tcp_mtu_probe_floor, s.tcp_min_snd_mss),
                               seq.diff(t.snd_nxt, t.snd_una), now):
        tcp.counters.mtu_black_holes += 1
        set_mss(t)
