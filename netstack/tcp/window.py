"""The receive window: what we offer, and when a larger one is worth a segment.

RFC 9293 section 3.8.6: never move the right edge to the left; silly window
avoidance (3.8.6.2.2); window scale (RFC 7323 section 2).  How large it may be is
in `space.py`; of that, what the application has not read is taken.
"""
from __future__ import annotations

from ..machine import compiled, ring
from . import seq, space
from .space import MAX_UNSCALED
from .tcb import Tcb, TcpSettings
from .timestamps import OPTION_LEN


@compiled
def current(t: Tcb) -> int:
    """RCV.WND: what is left of the window that the peer knows."""
    return max(seq.diff(t.rcv_adv, t.rcv_nxt), 0)


@compiled
def offer(t: Tcb) -> int:
    """The window to offer now, bytes.  At least `current`; more only in steps worth having (3.8.6.2.2).

    It cannot stay shut: when everything is read, `room` is the whole of `full`, and either that is a step
    worth having, or more than half of it is open already.
    """
    s = t.space
    now = current(t)
    unit = 1 << t.rcv_wscale
    most = min(s.window, t.rcv.size)                    # the ring follows the buffer's size when there is memory
    full = min(most, s.clamp)
    step = min(full // 2, t.quick.mss)
    free = most - ring.used(t.rcv)
    if free < full // 2 and free < max(step, most >> 4):
        return now                                      # as Linux: then it closes by itself
    room = min(free, s.ssthresh, full, MAX_UNSCALED << t.rcv_wscale)
    if room - now < step:
        return now
    room = (room + unit - 1) & -unit
    return max(room if room <= ring.room(t.rcv) else room - unit, now)


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
    if 2 * now > t.space.clamp:
        return False
    wanted = offer(t)
    return 2 * now <= wanted and wanted > now


@compiled
def receive_mss(t: Tcb) -> int:
    """The text of the largest segment that the peer may send."""
    return max(t.rcv_mss - (OPTION_LEN if t.ts.ok else 0), 1)


@compiled
def set_initial(s: TcpSettings, t: Tcb) -> None:
    """Choose the window of our SYN, and its scale (tcp_select_initial_window)."""
    p = t.space
    p.clamp = p.user_clamp if p.user_clamp != 0 else MAX_UNSCALED << 14
    p.ssthresh = space.initial_window(p, receive_mss(t))
    t.rcv_wscale = space.choose_scale(p, max(s.tcp_rmem_max, s.rmem_max))
    p.clamp = min(p.clamp, MAX_UNSCALED << t.rcv_wscale)
    if t.rcv.data == 0:
        t.rcv.size = space.ring_size(p.window)


@compiled
def syn_field(t: Tcb) -> int:
    """The window field of a SYN, which is never scaled; sets RCV.ADV."""
    field = min(t.space.ssthresh, MAX_UNSCALED, ring.room(t.rcv))       # it may hold text already (RFC 7413)
    edge = seq.add(t.rcv_nxt, field)
    if seq.gt(edge, t.rcv_adv):
        t.rcv_adv = edge
    return field
