"""The receive window: what we offer, and when a larger one is worth a segment.

RFC 9293 section 3.8.6: never move the right edge to the left; silly window
avoidance (3.8.6.2.2); window scale (RFC 7323 section 2).
"""
from __future__ import annotations

from ..machine import compiled, ring
from . import seq
from .tcb import Tcb

MAX_UNSCALED = 0xFFFF


@compiled
def scale_for(size: int) -> int:
    """The shift that makes `size` bytes fit into 16 bits (RFC 7323 2.2)."""
    shift = 0
    while shift < 14 and (MAX_UNSCALED << shift) < size:
        shift += 1
    return shift


@compiled
def current(t: Tcb) -> int:
    """RCV.WND: what is left of the window that the peer knows."""
    return max(seq.diff(t.rcv_adv, t.rcv_nxt), 0)


@compiled
def offer(t: Tcb) -> int:
    """The window to offer now, bytes.  At least `current`; more only in steps worth having (3.8.6.2.2)."""
    now = current(t)
    unit = 1 << t.rcv_wscale
    room = min(ring.room(t.rcv), MAX_UNSCALED << t.rcv_wscale)
    room = (room - unit + 1) & -unit        # rounding up below stays inside the buffer
    if room - now < min(t.rcv.size // 2, t.rcv_mss):
        return now
    return room


@compiled
def advertise(t: Tcb) -> int:
    """The 16-bit window field for a segment sent now; moves RCV.ADV, never to the left."""
    unit = 1 << t.rcv_wscale
    field = min((offer(t) + unit - 1) >> t.rcv_wscale, MAX_UNSCALED)
    if field << t.rcv_wscale > ring.room(t.rcv):
        field -= 1          # rounding up would promise more than there is; down, as RFC 7323 2.4 allows
    edge = seq.add(t.rcv_nxt, field << t.rcv_wscale)
    if seq.gt(edge, t.rcv_adv):
        t.rcv_adv = edge
    return field


@compiled
def deserves_update(t: Tcb) -> bool:
    """The application has read: is the larger window worth a segment of its own?

    As Linux: when it is at least twice what the peer has left.  So a peer that is still
    sending into an open window is not disturbed, and one that is stuck is not left.
    """
    now = current(t)
    return 2 * now <= offer(t) and offer(t) > now


@compiled
def syn_field(t: Tcb) -> int:
    """The window field of a SYN, which is never scaled; sets RCV.ADV."""
    field = min(t.rcv.size, MAX_UNSCALED)
    edge = seq.add(t.rcv_nxt, field)
    if seq.gt(edge, t.rcv_adv):
        t.rcv_adv = edge
    return field
