"""The transmission control block: all state of one connection, and the states.

RFC 9293 section 3.3.1 (variables) and 3.3.2 (states).  Each mechanism's own state
is a record of its own file, nested here; `Tcp` is what all connections share.
"""
from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from ..endpoint import OWN_SIZE, WAITS, Endpoint, Own
from ..ip.ipv4_options import IpOptions
from ..machine import (
    Array,
    addressof,
    arena,
    at,
    compiled,
    i32,
    i64,
    load32,
    record,
    sizeof,
    store32,
    table,
    timers,
    u8,
    u16,
    u32,
)
from ..machine.arena import Arena
from ..machine.random import Key, Rng
from ..machine.ring import Ring
from ..machine.table import Table
from ..machine.timers import Timers
from . import memory as mem
from . import ranges, runs, stats
from .accecn import AccEcn
from .acked import Acked
from .arrivals import Arrivals
from .challenge import Challenge, Challenges
from .congestion import WORDS, Algorithm, Congestion, own
from .cookies import Overflow
from .defer import Defer
from .drs import Drs
from .dsack import Dsack
from .ecn import Ecn
from .eor import Ends
from .fastopen import FastOpen, Pending
from .fastopen_client import Remembered
from .header import Segment
from .memory import Memory
from .mtu_probe import MtuProbe
from .newreno import Recovery
from .orphan import Orphans
from .pacing import Pacing
from .prr import Prr
from .quickack import QuickAck
from .rack import Rack
from .ranges import Ranges
from .rate import Rate
from .rto import Rto
from .runs import Queue
from .space import Space
from .stats import Stats
from .timestamps import Timestamps
from .tlp import Tlp
from .undo import Undo
from .urgent import Urgent
from .usertimeout import UserTimeout


class State(IntEnum):
    """Connection states (3.3.2), with Linux's numbers."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECEIVED = 3
    FIN_WAIT_1 = 4
    FIN_WAIT_2 = 5
    TIME_WAIT = 6
    CLOSED = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


EDGES: dict[State, tuple[State, ...]] = {
    State.CLOSED: (State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED),
    State.LISTEN: (State.CLOSED,),
    State.SYN_SENT: (State.SYN_RECEIVED, State.ESTABLISHED, State.CLOSED),
    State.SYN_RECEIVED: (State.ESTABLISHED, State.CLOSED),
    State.ESTABLISHED: (State.FIN_WAIT_1, State.CLOSE_WAIT, State.CLOSED),
    State.FIN_WAIT_1: (State.FIN_WAIT_2, State.CLOSING, State.CLOSED),
    State.FIN_WAIT_2: (State.TIME_WAIT, State.CLOSED),
    State.CLOSE_WAIT: (State.LAST_ACK, State.CLOSED),
    State.CLOSING: (State.TIME_WAIT, State.CLOSED),
    State.LAST_ACK: (State.CLOSED,),
    State.TIME_WAIT: (State.CLOSED,),
}
"""Every legal change of state (figure 5 of RFC 9293, with the resets and timeouts it leaves out).

A child of a listener begins in SYN_RECEIVED: LISTEN itself goes on listening.  CLOSE in SYN_RECEIVED waits for
ESTABLISHED (3.10.4), and a FIN with the ACK of ours passes through FIN_WAIT_2.
"""


@record
class Keepalive:
    """RFC 9293 3.8.4; times in ns."""

    on: u8
    probes: u8          # sent without an answer
    count: u8           # TCP_KEEPCNT
    reserved: u8
    idle: i64           # TCP_KEEPIDLE
    interval: i64       # TCP_KEEPINTVL
    heard: i64          # when the peer last sent anything


@record
class Clocks:
    """The connection's deadlines, ns; 0: not running.  The earliest is armed in Tcp.timers."""

    retransmit: i64
    probe: i64          # loss probe (RFC 8985 7)
    reorder: i64        # the reordering window ends (RFC 8985 6.3)
    pace: i64           # pacing allows the next burst
    persist: i64        # zero window, or silly window override
    delayed_ack: i64
    keepalive: i64
    linger: i64         # TIME-WAIT (2 MSL), orphaned FIN-WAIT-2
    user: i64           # RFC 9293 3.8.3, TCP_USER_TIMEOUT


@record
class Rare:
    """What few connections need: each that does has one of its own."""

    accecn: AccEcn          # once it is agreed on
    ends: Ends              # of records that were written with MSG_EOR
    urgent: Urgent          # RCV.UP and what Linux makes of it
    challenge: Challenge
    key: Key                # TCP_FASTOPEN_KEY: of the cookies that a listener gives
    backup: Key             # ... whose cookies are good too, if there are two
    options: IpOptions      # IP_OPTIONS
    arrivals: Arrivals      # SO_TIMESTAMP


@record
class Listening:
    """What only a listener has.  It stands where a connection has the state of its congestion control."""

    backlog: i32            # how many may wait for accept
    accept_count: i32       # how many do
    half_open: i32          # children in SYN-RECEIVED
    accept_head: u32        # queue of established children
    accept_tail: u32
    half_head: u32          # list of half-open children
    cookies: Overflow
    fast: Pending


@record
class Tcb:
    """One connection, or one listener."""

    ep: Endpoint
    state: u8
    # what is due: set while receiving, done by `output.transmit`
    due: u8                 # in the list of those to be looked at
    ack_now: u8             # an ACK is owed at once
    probe: u8               # a window probe or keepalive is to be sent
    syn_due: u8             # our SYN is to be sent (again)
    fin: u8                 # the application has closed its direction: a FIN follows the data
    fin_sent: u8
    fin_received: u8
    fin_held: u8            # the peer's FIN is here, text before it is not
    push: u8                # TCP_NODELAY was set: what waits is to go out, though it be corked
    # options agreed on
    sack_ok: u8             # both sides sent SACK-permitted
    ws_ok: u8               # both sides sent the window scale option
    snd_wscale: u8          # Snd.Wind.Shift: how the peer's windows are to be read
    rcv_wscale: u8          # Rcv.Wind.Shift: how ours are written
    # options set by the application
    nodelay: u8             # TCP_NODELAY
    cork: u8                # TCP_CORK
    more: u8                # the last send had MSG_MORE, and no ACK has come since
    read_closed: u8         # shutdown(SHUT_RD)
    reset_on_close: u8      # SO_LINGER with 0 seconds
    lingering: u8           # close waits (SO_LINGER): nobody will read any more
    syn_retries: u8         # TCP_SYNCNT; 0: the stack's default
    retransmits: u8         # timeouts in a row without progress
    passive: u8             # began in LISTEN
    accepted: u8            # handed to the application (or opened by it)
    rst_due: u8             # a reset is to be sent
    was_open: u8            # has been ESTABLISHED
    progress: u8            # the peer has acknowledged data: the next packet confirms its neighbour entry
    loopback: u8            # the peer is this stack itself: mind the queue
    rcv_lock: u32           # one application thread reads at a time
    snd_lock: u32           # ... and one writes
    due_next: u32
    hash_next: u32          # chain of the connection table
    parent: u32             # the listener, until accepted
    accept_next: u32        # queue of the listener, or list of its half-open children
    accept_prev: u32
    # RFC 9293 3.3.1, send
    snd_una: u32            # SND.UNA
    snd_nxt: u32            # SND.NXT
    snd_max: u32            # highest sent: beyond SND.NXT after a window probe
    snd_wnd: u32            # SND.WND, scaled
    snd_up: u32             # SND.UP
    snd_wl1: u32            # SND.WL1
    snd_wl2: u32            # SND.WL2
    iss: u32                # ISS
    snd_sml: u32            # end of the last small segment sent (Minshall's form of Nagle's rule)
    max_window: u32         # largest SND.WND seen (3.8.6.2.1)
    # receive
    rcv_nxt: u32            # RCV.NXT
    rcv_adv: u32            # right edge of the window we have advertised: RCV.NXT + RCV.WND
    fin_at: u32             # sequence number of the FIN that is held
    irs: u32                # IRS
    # sizes
    snd_mss: u16            # largest segment the peer takes: its MSS option, or the default
    rcv_mss: u16            # what we told it
    pmtu_mss: u16           # what the path takes (Eff.snd.MSS before options)
    user_mss: u16           # TCP_MAXSEG
    unacked: i32            # bytes received since the last ACK we sent
    held: u32               # entry of Tcp.held: text received out of order, in place in `rcv`; 0: there is none
    rare: i64               # distance of its Rare from this record: its own, or the one that all share
    linger2: i64            # TCP_LINGER2, ns; 0: tcp_fin_timeout, -1: no FIN-WAIT-2
    snd: Ring               # head: byte at SND.UNA; tail: what the application has written
    rcv: Ring               # head: what the application reads next; tail: byte at RCV.NXT
    clocks: Clocks
    rto: Rto
    ts: Timestamps
    queue: Queue            # sent and not acknowledged
    cc: Congestion
    recovery: Recovery
    prr: Prr
    dsack: Dsack
    undo: Undo
    rack: Rack
    tlp: Tlp
    rate: Rate
    pacing: Pacing
    mtu: MtuProbe
    stats: Stats
    user: UserTimeout
    keepalive: Keepalive
    space: Space            # sizes of the buffers
    quick: QuickAck
    drs: Drs
    fast: FastOpen
    ecn: Ecn
    defer: Defer            # TCP_DEFER_ACCEPT


@record
class TcpSettings:
    """Settings with Linux's sysctl names where the meaning is the same.  Times are ns."""

    tcp_syn_retries: i32
    tcp_syn_linear_timeouts: i32        # SYNs sent again before the timeout grows, besides those
    tcp_synack_retries: i32
    tcp_retries1: i32
    tcp_retries2: i32
    tcp_rto_max: i32            # ms
    tcp_mtu_probing: i32        # mtu_probe.OFF ...
    tcp_base_mss: i32           # where the search begins, bytes
    tcp_min_snd_mss: i32
    tcp_mtu_probe_floor: i32    # where it ends below
    tcp_probe_threshold: i32    # bytes: a search that is so close is over
    tcp_orphan_retries: i32     # 0: 8, but none once the timeout has reached its limit
    tcp_max_orphans: i32
    tcp_gro: i32                # join plain segments (gro.py)
    tcp_max_syn_backlog: i32
    somaxconn: i32
    tcp_syncookies: i32
    tcp_abort_on_overflow: i32
    tcp_rfc1337: i32
    tcp_max_tw_buckets: i32
    tcp_tw_reuse: i32
    tcp_sack: i32
    tcp_dsack: i32
    tcp_timestamps: i32
    tcp_window_scaling: i32
    tcp_recovery: i32           # bit 0: RACK
    tcp_early_retrans: i32      # 3: loss probes
    tcp_frto: i32
    tcp_slow_start_after_idle: i32
    tcp_abe: i32                # RFC 8511
    tcp_hystart: i32            # RFC 9406
    congestion: i32             # index of the default algorithm
    tcp_ecn: i32                # ecn.Setting
    tcp_ecn_fallback: i32       # RFC 3168 6.1.1.1
    tcp_ecn_option: i32         # RFC 9768 3.2.3: accecn_option.Setting
    tcp_ecn_option_beacon: i32  # ... but so many times in a round trip at least
    tcp_fastopen: i32           # bits of fastopen.py
    tcp_keepalive_probes: i32
    ip_local_port_first: i32    # net.ipv4.ip_local_port_range
    ip_local_port_last: i32
    tcp_challenge_ack_limit: i32    # a second; NO_LIMIT: none
    tcp_invalid_ratelimit: i64  # ns between answers of one connection to segments that make no sense
    tcp_keepalive_time: i64
    tcp_keepalive_intvl: i64
    tcp_fin_timeout: i64        # orphaned FIN-WAIT-2
    tcp_time_wait: i64          # 2 MSL
    tcp_probe_interval: i64     # until the next search
    tcp_delack: i64             # delayed ACK (Linux: TCP_DELACK_MIN)
    tcp_mem_low: i64            # tcp_mem, here in bytes: pressure ends
    tcp_mem_pressure: i64       # ... begins
    tcp_mem: i64                # ... nothing is handed out above
    tcp_rmem_min: i64           # tcp_rmem: receive buffer, bytes
    tcp_rmem: i64               # ... where it begins
    tcp_rmem_max: i64           # ... how far it grows by itself
    tcp_wmem_min: i64           # tcp_wmem: send buffer, bytes
    tcp_wmem: i64
    tcp_wmem_max: i64
    rmem_max: i64               # net.core.rmem_max
    wmem_max: i64               # net.core.wmem_max
    tcp_adv_win_scale: i64
    tcp_moderate_rcvbuf: i64
    tcp_autocorking: i64
    tcp_notsent_lowat: i64      # bytes
    tcp_fastopen_pause: i64     # ns without Fast Open once it seems to be swallowed; 0: go on
    tcp_fastopen_keyed: i64     # keys there are, 1 or 2: cookies made with the second are good too
    tcp_fastopen_key: Key
    tcp_fastopen_backup: Key


@record
class TcpCounters:
    """What `nstat` shows of TCP, by its names."""

    active_opens: i64
    passive_opens: i64
    attempt_fails: i64
    estab_resets: i64
    in_segs: i64
    out_segs: i64
    retrans_segs: i64
    in_errs: i64
    out_rsts: i64
    in_rsts: i64
    delayed_acks: i64
    fast_retransmits: i64
    timeouts: i64
    window_probes: i64
    keepalive_probes: i64
    listen_drops: i64
    listen_overflows: i64       # of those, because the accept queue was full
    defer_accept_drops: i64     # TCPDeferAcceptDrop: bare ACKs that TCP_DEFER_ACCEPT waits behind
    hp_hits: i64                # TCPHPHits: segments whose text was read to its place (foresee.py)
    joined: i64                 # plain segments that went up as parts of larger ones (gro.py)
    syncookies_sent: i64
    syncookies_recv: i64
    syncookies_failed: i64
    req_q_full_do_cookies: i64  # TCPReqQFullDoCookies: the SYN queue was full
    req_q_full_drop: i64        # TCPReqQFullDrop
    time_wait_overflow: i64     # that were none, for the sake of tcp_max_tw_buckets
    embryonic_rsts: i64         # half-open connections reset, for the sake of tcp_abort_on_overflow
    time_wait: i64              # connections in TIME-WAIT now
    fast_open_active: i64       # TCPFastOpenActive: text of our SYNs that was acknowledged
    fast_open_active_fail: i64
    fast_open_passive: i64      # TCPFastOpenPassive: connections opened to applications by a SYN
    fast_open_passive_fail: i64
    fast_open_passive_alt_key: i64
    fast_open_listen_overflow: i64      # TCPFastOpenListenOverflow: too many pending
    fast_open_cookie_reqd: i64
    fast_open_blackhole: i64
    challenge_acks: i64
    acks_skipped: i64           # TCPACKSkipped*: not sent, for the sake of tcp_invalid_ratelimit
    aborts_on_timeout: i64
    aborts_on_data: i64         # text came that nobody will read, or SO_LINGER with 0 seconds
    aborts_on_close: i64        # closed with text that was not read
    aborts_on_linger: i64       # closed in FIN-WAIT-2, where TCP_LINGER2 -1 allows no waiting
    aborts_on_memory: i64       # too many orphans
    rcv_q_drops: i64            # TCPRcvQDrop: no buffer for text
    ofo_drops: i64              # TCPOFODrop: under pressure no buffer for text out of order
    out_of_order: i64
    loss_probes: i64
    dsacks_received: i64
    undos: i64
    spurious_rtos: i64
    sack_reneging: i64
    delivered_ce: i64           # packets of ours that came with CE
    mtu_probes: i64
    mtu_probes_lost: i64
    mtu_black_holes: i64
    out_of_window_icmps: i64    # ICMP errors about what is not in flight (RFC 5927 4.1)


@record
class Change:
    """One change of state, for traces."""

    at: i64             # ns
    index: u32
    generation: u32
    old: u8
    new: u8
    local_port: u16
    remote_port: u16
    reserved: u16


CHANGES = 4096          # kept; the ring overwrites the oldest


@record
class Tcp:
    """TCP of one stack: what all connections share."""

    now: i64                    # of the current turn
    tcbs: Table
    runs: Table                 # of all connections' queues
    held: Table                 # Ranges of connections that have received out of order
    rares: Table                # Rare of connections that need it
    timers: Timers              # slot = index of the Tcb
    buckets: i64                # distance of the connection hash (u32 heads) from this record
    bucket_mask: i64
    ports: i64                  # distance of 65,536 u32 heads: endpoints by local port
    listeners: i64              # distance of 65,536 u32 heads: listeners by local port
    due_head: u32               # list of connections to be looked at by the egress pass
    due_tail: u32
    due_count: i32
    notify_head: u32            # list of those whose readiness may have changed
    called: u32                 # list of those whose handler is to be called (Own.next)
    own: i64                    # distance of the Own of each connection
    generation: u32
    port_step: u32              # counts the binds to any port
    port_table: i64             # distance of RFC 6056's table[]: 65,536 u32 (isn.py)
    arena: i64                  # distance of the Arena from this record
    key: Key
    rng: Rng
    seg: Segment                # the segment being processed
    foreseen: u32               # the connection to which the next one probably belongs (foresee.py), or 0
    foreseen_before: u32        # ... got the one before
    joining: u8                 # gro.Joining: whether a segment waits in `seg` for the next
    pressing: u8                # an ACK is to go out before the batch of frames goes on
    join_most: i32              # bytes of text that are joined, or it could not go out before
    joined: Annotated[Array[i64], 16]       # ... and the headers of the first
    acked: Acked                # what its ACK told
    algorithms: Annotated[Array[Algorithm], 16]     # congestion controls (netstack/algorithms.py)
    challenges: Challenges
    fast: Remembered
    settings: TcpSettings
    counters: TcpCounters
    orphans: Orphans
    memory: Memory
    change_count: i64
    changes: i64                # distance of the ring of Change records


TCB_SIZE = sizeof(Tcb)
HELD_SIZE = sizeof(Ranges)
RARE_SIZE = sizeof(Rare)
assert sizeof(Listening) <= 8 * WORDS
CHANGE_SIZE = sizeof(Change)
GENERATIONS = 0xFF_FFFF


@compiled
def get(tcp: Tcp, index: int) -> Tcb:
    """The connection with an index."""
    return at(Tcb, table.address(tcp.tcbs, index))


@compiled
def change_at(tcp: Tcp, n: int) -> Change:
    """The place of the n-th change of state."""
    return at(Change, addressof(tcp) + tcp.changes + (n % CHANGES) * CHANGE_SIZE)


@compiled
def enter(tcp: Tcp, t: Tcb, new: int) -> None:
    """The one door through which every change of state goes (style rule 16)."""
    c = change_at(tcp, tcp.change_count)
    c.at = tcp.now
    c.index = t.ep.index
    c.generation = t.ep.generation
    c.old = t.state
    c.new = new
    c.local_port = t.ep.local_port
    c.remote_port = t.ep.remote_port
    tcp.change_count += 1
    if t.fast.pending:
        _end_pending(tcp, t)
    _count(tcp, t, -1)
    t.state = new
    _count(tcp, t, 1)
    notify(tcp, t)


@compiled
def _count(tcp: Tcp, t: Tcb, n: int) -> None:
    """Add it to those in TIME-WAIT or to the orphans, if it is one (n = 1), or take it out (-1)."""
    if t.state == State.TIME_WAIT:
        tcp.counters.time_wait += n
    elif t.ep.closed == 0 or t.state == State.CLOSED or t.state == State.LISTEN:
        return
    elif t.state == State.FIN_WAIT_2:
        tcp.orphans.fin_waits += n
    else:
        tcp.orphans.count += n


@compiled
def disown(tcp: Tcp, t: Tcb) -> None:
    """The application has closed it: from now on an orphan."""
    _count(tcp, t, -1)
    t.ep.closed = 1
    _count(tcp, t, 1)


@compiled
def _end_pending(tcp: Tcp, t: Tcb) -> None:
    """The handshake is over whose SYN had text: the listener counts one less (RFC 7413 5.1)."""
    t.fast.pending = 0
    listener = get(tcp, t.fast.listener)
    if listener.ep.generation == t.fast.generation and listener.state == State.LISTEN:
        listening(listener).fast.count -= 1


@compiled
def is_synchronized(t: Tcb) -> bool:
    """ESTABLISHED and everything after it (3.3.2)."""
    return t.state not in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED)


@compiled
def notify(tcp: Tcp, t: Tcb) -> None:
    """Readiness may have changed: at the end of the turn, wake who waits."""
    if t.ep.handler != 0:
        have_called(tcp, t)
    if t.ep.notified == 0:
        t.ep.notified = 1
        t.ep.notify_next = tcp.notify_head
        tcp.notify_head = t.ep.index


@compiled
def handled(tcp: Tcp, t: Tcb) -> Own:
    """What its handler keeps of a connection."""
    return at(Own, addressof(tcp) + tcp.own + t.ep.index * OWN_SIZE)


@compiled
def have_called(tcp: Tcp, t: Tcb) -> None:
    """Something has happened that the connection's handler is to see (calling.py)."""
    if t.ep.handler & WAITS == 0:
        t.ep.handler |= WAITS
        handled(tcp, t).next = tcp.called
        tcp.called = t.ep.index


@compiled
def mark_due(tcp: Tcp, t: Tcb) -> None:
    """Have the egress pass look at this connection, once."""
    if t.due == 1:
        return
    t.due = 1
    t.due_next = 0
    if tcp.due_head == 0:
        tcp.due_head = t.ep.index
    else:
        get(tcp, tcp.due_tail).due_next = t.ep.index
    tcp.due_tail = t.ep.index
    tcp.due_count += 1


@compiled
def take_due(tcp: Tcp) -> int:
    """The index of the first connection in the due list, taken out; 0 when there is none."""
    index = tcp.due_head
    if index != 0:
        t = get(tcp, index)
        t.due = 0
        tcp.due_head = t.due_next
        tcp.due_count -= 1
    return index


@compiled
def arm(tcp: Tcp, t: Tcb, deadline: int) -> None:
    """One of the connection's clocks was set to `deadline`."""
    timers.arm(tcp.timers, t.ep.index, deadline)


@compiled
def fail(tcp: Tcp, t: Tcb, errno: int) -> None:
    """The connection is over, and the application is told why."""
    if t.ep.error == 0:
        t.ep.error = errno
    if t.state != State.CLOSED:
        enter(tcp, t, State.CLOSED)
    runs.clear(tcp.runs, t.queue)
    release_held(tcp, t)
    stats.stop(t.stats, tcp.now)
    c = t.clocks
    c.retransmit = 0
    c.probe = 0
    c.reorder = 0
    c.pace = 0
    c.persist = 0
    c.delayed_ack = 0
    c.keepalive = 0
    c.linger = 0
    c.user = 0
    mark_due(tcp, t)            # the egress pass frees it, if the application is gone


@compiled
def listening(t: Tcb) -> Listening:
    """What a listener has; nothing else may ask."""
    return at(Listening, own(t.cc))


@compiled
def held(tcp: Tcp, t: Tcb) -> Ranges:
    """What the connection has received out of order; to be read only when it is nothing."""
    return at(Ranges, table.address(tcp.held, t.held))


@compiled
def rare(t: Tcb) -> Rare:
    """What few connections have; the others share one that says nothing, which nobody writes."""
    return at(Rare, addressof(t) + t.rare)


@compiled
def own_rare(tcp: Tcp, t: Tcb) -> Rare:
    """... to be written: from now on the connection has its own.  The caller owns the world."""
    if not has_rare(tcp, t):
        t.rare = table.address(tcp.rares, table.allot(tcp.rares)) - addressof(t)      # there is one for each connection
    return rare(t)


@compiled
def has_rare(tcp: Tcp, t: Tcb) -> bool:
    """Whether the connection has its own."""
    return addressof(t) + t.rare != table.address(tcp.rares, 0)


@compiled
def share_rare(tcp: Tcp, t: Tcb) -> None:
    """The connection is new, or it is over: it has none."""
    where = addressof(t) + t.rare - table.address(tcp.rares, 0)
    if t.rare != 0 and where != 0:
        table.release(tcp.rares, where // RARE_SIZE)
    t.rare = table.address(tcp.rares, 0) - addressof(t)


@compiled
def hold(tcp: Tcp, t: Tcb, left: int, right: int) -> bool:
    """left .. right - 1 is here, before its turn.  False when there is no room for another range."""
    if t.held == 0:
        t.held = table.allot(tcp.held)          # there is one for each connection
    r = held(tcp, t)
    return ranges.insert(r, left, right) or (_give_room(tcp, r) and ranges.insert(r, left, right))


@compiled
def _give_room(tcp: Tcp, r: Ranges) -> bool:
    """A larger place for ranges, unless it is the largest that they have, or memory is short."""
    m = tcp.memory
    size = ranges.next_size(r)
    if size == 0 or m.pressure or not mem.may_take(m, size, tcp.settings.tcp_mem_pressure):
        return False
    buffers = at(Arena, addressof(tcp) + tcp.arena)
    place = arena.allot(buffers, size)
    if place == 0:
        return False
    mem.take(m, size, tcp.settings.tcp_mem_pressure)
    old = addressof(r) + r.where
    given_back = r.size + 0                     # 0: they were in the record itself
    ranges.move(r, addressof(buffers) + place, size)
    _take_room(tcp, old, given_back)
    return True


@compiled
def _take_room(tcp: Tcp, place: int, size: int) -> None:
    """Give back the place of ranges, if they had one of their own (`size` bytes)."""
    if size != 0:
        buffers = at(Arena, addressof(tcp) + tcp.arena)
        arena.release(buffers, place - addressof(buffers), size)
        mem.give(tcp.memory, size, tcp.settings.tcp_mem_low)


@compiled
def release_held(tcp: Tcp, t: Tcb) -> None:
    """Nothing is held any more."""
    if t.held != 0:
        r = held(tcp, t)
        _take_room(tcp, addressof(r) + r.where, r.size)
        table.release(tcp.held, t.held)
        t.held = 0


# Lists by port.  Heads are u32 words, linked by Endpoint.port_next and port_prev.

@compiled
def port_word(tcp: Tcp, port: int) -> int:
    """The address of the head of the list of endpoints on a local port."""
    return addressof(tcp) + tcp.ports + 4 * port


@compiled
def link_port(tcp: Tcp, t: Tcb) -> None:
    """Put the connection on the list of its local port.

    A listener's children stand behind it: who looks whether the port is free finds it first, however many they are.
    """
    word = port_word(tcp, t.ep.local_port)
    head = load32(word)
    if t.passive and head != 0:
        first = get(tcp, head)
        t.ep.port_prev = head
        t.ep.port_next = first.ep.port_next
        if first.ep.port_next != 0:
            get(tcp, first.ep.port_next).ep.port_prev = t.ep.index
        first.ep.port_next = t.ep.index
        return
    t.ep.port_next = head
    t.ep.port_prev = 0
    if head != 0:
        get(tcp, head).ep.port_prev = t.ep.index
    store32(word, t.ep.index)


@compiled
def unlink_port(tcp: Tcp, t: Tcb) -> None:
    """Take it off that list."""
    if t.ep.port_prev != 0:
        get(tcp, t.ep.port_prev).ep.port_next = t.ep.port_next
    else:
        store32(port_word(tcp, t.ep.local_port), t.ep.port_next)
    if t.ep.port_next != 0:
        get(tcp, t.ep.port_next).ep.port_prev = t.ep.port_prev
    t.ep.port_next = 0
    t.ep.port_prev = 0
