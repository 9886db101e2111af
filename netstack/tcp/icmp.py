"""ICMP errors about a connection: what they mean to TCP.

RFC 9293 section 3.9.2.2 and RFC 1122 4.2.3.9 (hard and soft errors); RFC 5927
(an error must quote a sequence number that is outstanding, and never breaks an
established connection); RFC 1191 / 8201 (a smaller path).
"""
from __future__ import annotations

from ..endpoint import RECVERR, RECVERR6
from ..errors import Drop
from ..ip import pmtu
from ..ip.address import is_v4
from ..ip.net import IcmpError, Net
from ..machine import be16, be32, compiled
from . import demux, listen, path, recovery, seq
from .tcb import State, Tcp, fail, get, mark_due, notify


@compiled
def error_arrives(tcp: Tcp, net: Net, e: IcmpError, now: int) -> int:
    """Deliver `net.error` to its connection.  Drop.NONE, or why not."""
    if e.quoted_len < 8:
        return Drop.ICMP_MALFORMED
    index = demux.find(tcp, e.src_hi, e.src_lo, e.dst_hi, e.dst_lo, be16(e.quoted), be16(e.quoted + 2))
    if index == 0:
        return Drop.TCP_NO_PORT
    t = get(tcp, index)
    s = be32(e.quoted + 4)
    first = t.iss if t.fast.pending else t.snd_una                      # a SYN-ACK behind which text may be (RFC 7413)
    if seq.lt(s, first) or seq.geq(s, t.snd_max):                   # (RFC 5927 4.1) in flight
        tcp.counters.out_of_window_icmps += 1
        return Drop.TCP_UNACCEPTABLE
    if e.mtu != 0:
        if e.mtu >= max(t.pmtu_mss, t.mtu.size) + path.headers(is_v4(e.dst_hi, e.dst_lo)):
            return Drop.ICMP_IGNORED                                    # (RFC 5927 7.2) nothing so large was sent
        pmtu.learn(net, e.dst_hi, e.dst_lo, e.mtu, now)                 # for the connections to come
        mtu = pmtu.lookup(net, e.dst_hi, e.dst_lo, now)
        if path.shrink(net, t, mtu if mtu != 0 else e.mtu, now):
            if t.state not in (State.SYN_SENT, State.SYN_RECEIVED):
                recovery.resend(tcp, t)                                 # (RFC 1191 6.4) what was too large, again
            elif t.state == State.SYN_SENT and t.fast.text != 0 and t.retransmits == 0:
                t.syn_due = 1                                           # a SYN with text (RFC 7413): without, at once
        mark_due(tcp, t)
        return Drop.NONE
    if t.state in (State.SYN_SENT, State.SYN_RECEIVED) and _ends_attempt(e):
        tcp.counters.attempt_fails += 1
        listen.leave(tcp, t)
        fail(tcp, t, e.errno)
        return Drop.NONE
    if t.ep.bound & (RECVERR if is_v4(e.dst_hi, e.dst_lo) else RECVERR6):
        t.ep.error = e.errno                                            # (ip(7), IP_RECVERR) told at once, and once
        notify(tcp, t)
        return Drop.NONE
    t.ep.soft_error = e.errno                                           # (RFC 5927 5.2) told only if all fails
    notify(tcp, t)
    return Drop.NONE


@compiled
def _ends_attempt(e: IcmpError) -> bool:
    """Whether an error ends a connection that is being opened, as on Linux: every unreachable does."""
    return e.errno != 0
