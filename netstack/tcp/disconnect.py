"""connect(2) with AF_UNSPEC: the connection ends at once, and the socket is as it was before.

RFC 9293 section 3.10.5 (ABORT), and what Linux makes of it (tcp_disconnect): the peer is
reset where it would miss something, what is in the buffers is lost, options stay, and so
do the address and the port that the application has bound.  In TIME-WAIT that is over
too, as ABORT says.  The reset is sent between `end` and `renew`.
"""
from __future__ import annotations

from ..errors import ECONNRESET
from ..machine import addressof, compiled, copy, offsetof, sizeof, table, timers, zero
from . import arrivals, calls, demux, listen, receive
from .accecn import AccEcn
from .challenge import Challenge
from .eor import Ends
from .tcb import TCB_SIZE, State, Tcb, Tcp, get, has_rare, notify, rare, share_rare
from .urgent import Urgent

BODY = offsetof(Tcb, "state")               # behind the Endpoint, which stays;
LOCKS = offsetof(Tcb, "rcv_lock")           # the caller holds them;
AFTER = offsetof(Tcb, "hash_next")          # between them the place in the list of those that are due
ADDRESS, PORT = 2, 4                        # of Endpoint.bound
ACCECN_SIZE, ENDS_SIZE, URGENT_SIZE, CHALLENGE_SIZE = sizeof(AccEcn), sizeof(Ends), sizeof(Urgent), sizeof(Challenge)


@compiled
def end(tcp: Tcp, t: Tcb) -> None:
    """End the connection.  Where that resets it, and in SYN-SENT, the application finds ECONNRESET in SO_ERROR."""
    opening = t.state == State.SYN_SENT and t.fast.deferred == 0
    if t.state == State.LISTEN:
        calls.stop_listening(tcp, t)
    elif t.state != State.CLOSED:
        calls.abort(tcp, t, 0)
    if t.rst_due or opening:
        t.ep.error = ECONNRESET


@compiled
def renew(tcp: Tcp, t: Tcb, index: int) -> None:
    """Nothing is left of it but the endpoint and the options: the state of a new one (`index`, which goes) replaces it.

    The caller owns the world and both sides' locks.
    """
    fresh = get(tcp, index)
    listen.inherit(tcp, fresh, t)
    fresh.space.cwnd = 0
    fresh.fast.connect = t.fast.connect
    fresh.fast.no_cookie = t.fast.no_cookie
    fresh.fast.limit = t.fast.limit
    fresh.fast.keys = t.fast.keys
    _forget_peer(tcp, t)
    receive.give_back(tcp, t.snd)
    receive.give_back(tcp, t.rcv)
    timers.disarm(tcp.timers, t.ep.index)
    _clean(tcp, t)
    own = t.rare
    due = t.due
    copy(addressof(t) + BODY, addressof(fresh) + BODY, LOCKS - BODY)
    copy(addressof(t) + AFTER, addressof(fresh) + AFTER, TCB_SIZE - AFTER)
    t.rare = own
    t.due = due
    share_rare(tcp, fresh)
    fresh.ep.generation = 0
    table.release(tcp.tcbs, index)
    notify(tcp, t)


@compiled
def _forget_peer(tcp: Tcp, t: Tcb) -> None:
    e = t.ep
    if e.remote_port != 0:
        demux.remove(tcp, t)
    e.remote_port = 0
    e.remote_hi = 0
    e.remote_lo = 0
    e.soft_error = 0
    if not e.bound & ADDRESS:
        e.local_hi = 0
        e.local_lo = 0
    if not e.bound & PORT:
        demux.unbind(tcp, t)
        e.bound &= ~(PORT | 1)


@compiled
def _clean(tcp: Tcp, t: Tcb) -> None:
    """Of what few connections have, options stay: SO_OOBINLINE, TCP_FASTOPEN_KEY."""
    if not has_rare(tcp, t):
        return
    r = rare(t)
    inline = r.urgent.inline
    zero(addressof(r.accecn), ACCECN_SIZE)
    zero(addressof(r.ends), ENDS_SIZE)
    zero(addressof(r.urgent), URGENT_SIZE)
    zero(addressof(r.challenge), CHALLENGE_SIZE)
    arrivals.begin(r.arrivals, 0)
    r.urgent.inline = inline
