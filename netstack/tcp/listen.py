"""Listening: the SYN queue and the accept queue.

RFC 9293 section 3.10.7.2 (SEGMENT ARRIVES in LISTEN).  A listener keeps its
half-open children in a list and the established ones in a queue; both are
bounded by the backlog as Linux bounds them (listen(2)).
"""
from __future__ import annotations

from ..endpoint import BOUND_NUMBER, BOUND_PORT, HANDLER, KEPT, KEPT_END
from ..errors import Drop
from ..ip.address import is_link_local, is_v4
from ..ip.net import Net
from ..machine import addressof, be64, compiled, copy, sizeof, table
from . import accecn, accecn_option, arrivals, cookies, demux, ecn, fastopen, isn, memory, path, rto, seq, space, window
from .header import ACK, MAX_WSCALE, Segment, default_mss
from .tcb import (
    GENERATIONS,
    State,
    Tcb,
    Tcp,
    enter,
    get,
    handled,
    link_port,
    listening,
    mark_due,
    notify,
    own_rare,
    rare,
    share_rare,
)

SPACE_SIZE = sizeof(space.Space)
HALF_OPEN_LEAST = 8         # a tiny backlog still lets some handshakes run side by side
TEXT = 1024                 # besides a Drop reason: a child was made that takes the text of its SYN (RFC 7413)
COOKIE = 512                # besides a Drop reason: answer the SYN with a cookie (synack.py)
BEYOND = 65537              # sequence numbers left out between two connections of one pair of sockets (as Linux)


@compiled
def create(tcp: Tcp) -> int:
    """A new Tcb in CLOSED with the stack's defaults; its index, or 0 when the table is full."""
    index = table.allot_but(tcp.tcbs, KEPT, KEPT_END)
    if index == 0:
        return 0
    t = get(tcp, index)
    tcp.generation = (tcp.generation & GENERATIONS) % GENERATIONS + 1
    share_rare(tcp, t)
    t.ep.kind = 1
    t.ep.index = index
    t.ep.generation = tcp.generation
    t.ep.fd_engine = -1
    t.ep.fd_user = -1
    t.ep.low_water = 1
    t.ep.pmtudisc = 1                                   # IP_PMTUDISC_WANT
    t.state = State.CLOSED
    s = tcp.settings
    space.set_rcvbuf(t.space, s.tcp_rmem, s.tcp_adv_win_scale)
    t.space.sndbuf = s.tcp_wmem
    t.rcv.size = space.ring_size(t.space.window)
    t.snd.size = space.SMALLEST_RING
    t.keepalive.idle = s.tcp_keepalive_time
    t.keepalive.interval = s.tcp_keepalive_intvl
    t.keepalive.count = s.tcp_keepalive_probes
    t.cc.algorithm = s.congestion
    rto.init(t.rto)
    t.rto.most = s.tcp_rto_max
    return index


@compiled
def set_peer_options(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """Take over what the peer's SYN offers, as far as we have offered it or will (RFC 7323 2.2, 3.2; RFC 2018 2)."""
    s = tcp.settings
    t.snd_mss = default_mss(is_v4(t.ep.remote_hi, t.ep.remote_lo))
    if seg.has_mss:
        t.snd_mss = max(seg.mss, s.tcp_min_snd_mss)
    t.sack_ok = 1 if seg.sack_permitted and s.tcp_sack else 0
    t.ts.ok = 1 if seg.has_ts and s.tcp_timestamps else 0
    if t.ts.ok:
        t.ts.recent = seg.tsval
        t.ts.recent_at = tcp.now
        t.ts.has_recent = 1
        t.ts.last_ack_sent = seq.add(seg.seq, 1)        # (RFC 7323 4.3) what we answer with acknowledges the SYN
    t.ws_ok = 1 if seg.has_wscale and s.tcp_window_scaling else 0
    t.snd_wscale = seg.wscale if t.ws_ok else 0
    if t.ws_ok == 0:
        t.rcv_wscale = 0
    _set_ecn(tcp, t, seg, s.tcp_ecn, s.tcp_ecn_fallback != 0)
    if t.ecn.mode == ecn.Mode.ACCURATE and seg.flags & ACK:
        take_first_option(t, seg)


@compiled
def take_first_option(t: Tcb, seg: Segment) -> None:
    """The AccECN option of a SYN-ACK or of its ACK; on a SYN it "MUST be ignored" (RFC 9768 3.2.3.2.1)."""
    if seg.accecn:
        accecn_option.on_first(rare(t).accecn, seg.accecn_count, seg.accecn_1, seg.accecn_3)


@compiled
def _set_ecn(tcp: Tcp, t: Tcb, seg: Segment, setting: int, check: bool) -> None:
    """Agree on ECN (RFC 3168 6.1.1, RFC 9768 3.1)."""
    e = t.ecn
    answered = (seg.flags & ACK) != 0
    if answered:
        e.mode = ecn.agreed(e, seg.flags)
    elif t.passive or e.asked != ecn.Mode.OFF:              # or both ask at the same time
        e.mode = ecn.answer(setting, seg.flags, seg.tos & ecn.CODEPOINT)
    else:
        e.mode = ecn.Mode.OFF
    if e.mode == ecn.Mode.ACCURATE:
        accecn.on_handshake(own_rare(tcp, t).accecn, e, seg.tos & ecn.CODEPOINT, seg.flags >> 6 & 7, answered, check)


@compiled
def set_initial(tcp: Tcp, t: Tcb, now: int) -> None:
    """Variables that both a SYN sent and a SYN received start from (3.4.1)."""
    e = t.ep
    ports = (e.local_port << 16) | e.remote_port
    _set_iss(t, isn.isn(tcp.key, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo, ports, now))
    t.ts.offset = isn.offset_of(tcp.key, tcp.settings.tcp_timestamps, e.local_lo, e.remote_hi, e.remote_lo)
    window.set_initial(tcp.settings, t)
    t.keepalive.heard = now


@compiled
def _set_iss(t: Tcb, iss: int) -> None:
    t.iss = iss
    t.snd_una = iss
    t.snd_nxt = iss
    t.snd_max = iss
    t.snd_sml = iss
    t.snd_up = iss
    t.snd_wl2 = iss


@compiled
def start_beyond(t: Tcb, last: int) -> None:
    """The connection follows one in TIME-WAIT that got as far as `last`: its numbers are larger (3.10.7.4, MAY-2)."""
    if seq.leq(t.iss, last):
        _set_iss(t, seq.add(last, BEYOND))


@compiled
def on_syn(tcp: Tcp, net: Net, listener: Tcb, seg: Segment, now: int) -> int:
    """A SYN for a listener (3.10.7.2, third).  Drop.NONE or TEXT when a child was made, COOKIE, or why not."""
    if is_queue_full(tcp, listener):
        return Drop.TCP_ACCEPT_QUEUE
    queue = listening(listener)
    limit = min(max(queue.backlog, HALF_OPEN_LEAST), tcp.settings.tcp_max_syn_backlog)
    if queue.half_open >= limit or tcp.settings.tcp_syncookies == 2:
        if tcp.settings.tcp_syncookies != 0:            # (RFC 4987 3.6)
            tcp.counters.req_q_full_do_cookies += 1
            cookies.note(queue.cookies, now)
            return COOKIE
        tcp.counters.req_q_full_drop += 1
        tcp.counters.listen_drops += 1
        return Drop.TCP_SYN_QUEUE
    fast = _judge_fastopen(tcp, listener, seg, now)
    index = _new_child(tcp, net, listener, seg, now)
    if index < 0:
        if fast & EARLY:
            tcp.counters.fast_open_passive_fail += 1
        return -index
    t = get(tcp, index)
    if fast & ANSWER:
        _make_cookie(tcp, listener, t)
    t.fast.experimental = seg.fo_exp
    t.irs = seg.seq
    t.rcv_nxt = seq.add(seg.seq, 1)
    t.rcv_adv = t.rcv_nxt
    t.snd_wnd = seg.wnd                     # never scaled in a SYN
    t.max_window = seg.wnd
    t.snd_wl1 = seg.seq
    t.syn_due = 1
    mark_due(tcp, t)
    if not fast & EARLY:
        return Drop.NONE
    on_established(tcp, t)                  # to the accept queue: it may be read, and answered
    tcp.counters.fast_open_passive += 1
    t.fast.pending = 1
    t.fast.child = 1
    t.fast.listener = listener.ep.index
    t.fast.generation = listener.ep.generation
    queue.fast.count += 1
    return TEXT


EARLY, ANSWER = 1, 2            # the application gets the connection at once; the SYN-ACK brings a cookie


@compiled
def _judge_fastopen(tcp: Tcp, listener: Tcb, seg: Segment, now: int) -> int:
    """What a SYN with text or the Fast Open option gets: bits EARLY and ANSWER (RFC 7413 4.2.2; tcp_try_fastopen)."""
    s = tcp.settings
    wanted = seg.fo_len != fastopen.NO_OPTION
    if seg.fo_len == 0:
        tcp.counters.fast_open_cookie_reqd += 1
    if not s.tcp_fastopen & fastopen.SERVER or listener.fast.limit == 0 or not (wanted or seg.data_len > 0):
        return 0
    if not fastopen.has_room(listening(listener).fast, listener.fast.limit, now):
        tcp.counters.fast_open_listen_overflow += 1
        return 0
    if s.tcp_fastopen & fastopen.SERVER_WITHOUT_COOKIE or listener.fast.no_cookie:
        return EARLY
    if not wanted:
        return 0
    if seg.fo_len == fastopen.COOKIE_LEN:
        v4 = is_v4(seg.src_hi, seg.src_lo)
        f = listener.fast
        shown = be64(seg.fo)
        if f.keys:                                      # TCP_FASTOPEN_KEY
            own = rare(listener)
            which = fastopen.made_with(own.key, own.backup, f.keys, shown, seg.src_hi, seg.src_lo, seg.dst_hi,
                                       seg.dst_lo, v4)
        else:
            which = fastopen.made_with(s.tcp_fastopen_key, s.tcp_fastopen_backup, s.tcp_fastopen_keyed, shown,
                                       seg.src_hi, seg.src_lo, seg.dst_hi, seg.dst_lo, v4)
        if which == 1:
            return EARLY
        if which == 2:
            tcp.counters.fast_open_passive_alt_key += 1
            return EARLY | ANSWER                       # (4.1.2) made with the key before: it gets a new one
    if seg.fo_len != 0:
        tcp.counters.fast_open_passive_fail += 1
    return ANSWER


@compiled
def _make_cookie(tcp: Tcp, listener: Tcb, t: Tcb) -> None:
    """Our SYN-ACK brings the client a cookie, under the listener's key or the stack's (RFC 7413 4.1.2)."""
    e = t.ep
    v4 = is_v4(e.remote_hi, e.remote_lo)
    t.fast.answer = 1
    if listener.fast.keys:
        fastopen.make(t.fast, rare(listener).key, e.remote_hi, e.remote_lo, e.local_hi, e.local_lo, v4)
    else:
        fastopen.make(t.fast, tcp.settings.tcp_fastopen_key, e.remote_hi, e.remote_lo, e.local_hi, e.local_lo, v4)


@compiled
def is_queue_full(tcp: Tcp, listener: Tcb) -> bool:
    """Whether no more connections may wait for accept; counts it."""
    queue = listening(listener)
    if queue.accept_count <= queue.backlog:
        return False
    tcp.counters.listen_overflows += 1
    tcp.counters.listen_drops += 1
    return True


@compiled
def _new_child(tcp: Tcp, net: Net, listener: Tcb, seg: Segment, now: int) -> int:
    """A connection in SYN-RECEIVED with the sender of `seg`: its index, or -Drop.  The caller sets its numbers."""
    if not memory.may_take(tcp.memory, space.SMALLEST_RING, tcp.settings.tcp_mem):
        tcp.counters.listen_drops += 1
        return -Drop.TCP_MEMORY
    index = create(tcp)
    if index == 0:
        tcp.counters.listen_drops += 1
        return -Drop.TCP_TABLE
    t = get(tcp, index)
    inherit(tcp, t, listener)
    t.ep.local_hi = seg.dst_hi
    t.ep.local_lo = seg.dst_lo
    t.ep.remote_hi = seg.src_hi
    t.ep.remote_lo = seg.src_lo
    t.ep.local_port = seg.dst_port
    t.ep.remote_port = seg.src_port
    if is_link_local(seg.src_hi, seg.src_lo):
        t.ep.interface = seg.interface                  # RFC 4007: the address means something on this link only
    if path.find(net, t, now) < 0:
        t.ep.generation = 0
        share_rare(tcp, t)
        table.release(tcp.tcbs, index)
        return -Drop.NO_ROUTE
    t.parent = listener.ep.index
    t.passive = 1
    set_initial(tcp, t, now)
    set_peer_options(tcp, t, seg)
    t.space.ssthresh = space.initial_window(t.space, window.receive_mss(t))
    link_port(tcp, t)
    demux.insert(tcp, t)
    _add_half_open(tcp, listener, t)
    enter(tcp, t, State.SYN_RECEIVED)
    tcp.counters.passive_opens += 1
    return index


@compiled
def on_cookie(tcp: Tcp, net: Net, listener: Tcb, seg: Segment, now: int) -> int:
    """An ACK that no connection expects: the index of the connection that its cookie stands for, in SYN-RECEIVED;
    0 when it brings none; -Drop."""
    if tcp.settings.tcp_syncookies == 0 or not cookies.is_recent(listening(listener).cookies, now):
        return 0
    v4 = is_v4(seg.src_hi, seg.src_lo)
    number = cookies.check(tcp.key, seg.dst_hi, seg.dst_lo, seg.src_hi, seg.src_lo,
                           (seg.dst_port << 16) | seg.src_port, seq.add(seg.seq, -1), seq.add(seg.ack, -1), now)
    if number < 0 or not _restore_options(tcp, seg):
        tcp.counters.syncookies_failed += 1
        return 0
    tcp.counters.syncookies_recv += 1
    if is_queue_full(tcp, listener):
        return -Drop.TCP_ACCEPT_QUEUE
    seg.has_mss = 1
    seg.mss = cookies.size_of(number, v4)
    index = _new_child(tcp, net, listener, seg, now)
    if index <= 0:
        return index
    t = get(tcp, index)
    _set_iss(t, seq.add(seg.ack, -1))
    t.snd_nxt = seg.ack
    t.snd_max = seg.ack
    t.irs = seq.add(seg.seq, -1)
    t.rcv_nxt = seg.seq
    t.rcv_adv = seq.add(seg.seq, min(t.space.ssthresh, space.MAX_UNSCALED))    # what our SYN-ACK offered
    t.ts.last_ack_sent = seg.seq
    _restore_ecn(tcp, t, seg)
    return index


@compiled
def _restore_ecn(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """Whether the SYN asked for ECN: the timestamp tells of the classic one; of AccECN the ACE field of a pure ACK, or
    of any segment that has AE, which a classic peer never sets (RFC 9768 5.1)."""
    setting = tcp.settings.tcp_ecn
    ace = seg.flags >> 6 & 7
    if setting >= ecn.Setting.ACCURATE and ace >= (2 if seg.len == 0 else 4):
        t.ecn.mode = ecn.Mode.ACCURATE
        accecn.on_handshake(own_rare(tcp, t).accecn, t.ecn, ecn.NOT_ECT, ace, False, False)
    elif seg.has_ts and setting != ecn.Setting.OFF and cookies.ecn_in(seq.add(seg.tsecr, -t.ts.offset)):
        t.ecn.mode = ecn.Mode.CLASSIC


@compiled
def _restore_options(tcp: Tcp, seg: Segment) -> bool:
    """What the SYN had offered, from the timestamp echoed.  False when we would not have agreed to it."""
    s = tcp.settings
    seg.sack_permitted = 0
    seg.has_wscale = 0
    if not seg.has_ts:
        return True
    if s.tcp_timestamps == 0:
        return False
    offset = isn.offset_of(tcp.key, s.tcp_timestamps, seg.dst_lo, seg.src_hi, seg.src_lo)
    clock = seq.add(seg.tsecr, -offset)
    seg.sack_permitted = cookies.sack_in(clock)
    scale = cookies.wscale_in(clock)
    if scale >= 0:
        seg.has_wscale = 1
        seg.wscale = min(scale, MAX_WSCALE)
    return (s.tcp_sack != 0 or not seg.sack_permitted) and (s.tcp_window_scaling != 0 or not seg.has_wscale)


@compiled
def inherit(tcp: Tcp, t: Tcb, listener: Tcb) -> None:
    """What a child has from its listener, as on Linux."""
    t.ep.family = listener.ep.family
    t.ep.bound = listener.ep.bound & ~(BOUND_PORT | BOUND_NUMBER)
    t.ep.transparent = listener.ep.transparent
    t.ep.v6only = listener.ep.v6only
    t.ep.interface = listener.ep.interface
    t.ep.reuse_addr = listener.ep.reuse_addr
    t.ep.reuse_port = listener.ep.reuse_port
    t.ep.ttl = listener.ep.ttl
    t.ep.tos = listener.ep.tos
    t.ep.pmtudisc = listener.ep.pmtudisc
    t.ep.recv_limit = listener.ep.recv_limit
    t.ep.send_limit = listener.ep.send_limit
    t.ep.low_water = listener.ep.low_water
    t.ep.busy_poll = listener.ep.busy_poll
    t.nodelay = listener.nodelay
    t.cork = listener.cork
    if rare(listener).urgent.inline:
        own_rare(tcp, t).urgent.inline = 1
    if listener.ep.stamped:
        arrivals.begin(own_rare(tcp, t).arrivals, t.rcv.tail)
        t.ep.stamped = 1
    t.reset_on_close = listener.reset_on_close
    t.cc.algorithm = listener.cc.algorithm
    t.pacing.most = listener.pacing.most
    t.user.limit = listener.user.limit
    t.user_mss = listener.user_mss
    t.syn_retries = listener.syn_retries
    t.rto.most = listener.rto.most
    t.defer.limit = listener.defer.limit
    t.linger2 = listener.linger2
    copy(addressof(t.space), addressof(listener.space), SPACE_SIZE)
    t.keepalive.on = listener.keepalive.on
    t.keepalive.idle = listener.keepalive.idle
    t.keepalive.interval = listener.keepalive.interval
    t.keepalive.count = listener.keepalive.count


@compiled
def _add_half_open(tcp: Tcp, listener: Tcb, t: Tcb) -> None:
    queue = listening(listener)
    t.accept_next = queue.half_head
    t.accept_prev = 0
    if queue.half_head != 0:
        get(tcp, queue.half_head).accept_prev = t.ep.index
    queue.half_head = t.ep.index
    queue.half_open += 1


@compiled
def drop_half_open(tcp: Tcp, t: Tcb) -> None:
    """Take a child in SYN-RECEIVED off its listener's list."""
    queue = listening(get(tcp, t.parent))
    if t.accept_prev != 0:
        get(tcp, t.accept_prev).accept_next = t.accept_next
    else:
        queue.half_head = t.accept_next
    if t.accept_next != 0:
        get(tcp, t.accept_next).accept_prev = t.accept_prev
    t.accept_next = 0
    t.accept_prev = 0
    queue.half_open -= 1


@compiled
def leave(tcp: Tcp, t: Tcb) -> None:
    """The handshake of a child has failed: its listener forgets it, unless it is in the accept queue (RFC 7413)."""
    if t.parent != 0 and t.fast.pending == 0:
        drop_half_open(tcp, t)
        t.parent = 0


@compiled
def on_reset(tcp: Tcp, t: Tcb) -> None:
    """A pending child is reset: perhaps its SYN was spoofed, so it goes on to count for a while (RFC 7413 5.1)."""
    listener = get(tcp, t.fast.listener)
    if listener.ep.generation == t.fast.generation and listener.state == State.LISTEN:
        listening(listener).fast.resets += 1


@compiled
def is_full(tcp: Tcp, t: Tcb) -> bool:
    """Whether the listener of a child has no place in its accept queue."""
    listener = get(tcp, t.parent)
    return is_queue_full(tcp, listener)


@compiled
def on_established(tcp: Tcp, t: Tcb) -> None:
    """The handshake of a child is over: to the accept queue, or to the listener's handler."""
    drop_half_open(tcp, t)
    listener = get(tcp, t.parent)
    if listener.ep.handler & HANDLER != 0:
        t.parent = 0
        give_to_handler(tcp, t, listener)
        return
    queue = listening(listener)
    if queue.accept_head == 0:
        queue.accept_head = t.ep.index
    else:
        get(tcp, queue.accept_tail).accept_next = t.ep.index
    queue.accept_tail = t.ep.index
    queue.accept_count += 1
    notify(tcp, listener)


@compiled
def take(tcp: Tcp, listener: Tcb) -> int:
    """accept: the index of the first child in the queue, or 0."""
    queue = listening(listener)
    index = queue.accept_head
    if index == 0:
        return 0
    t = get(tcp, index)
    queue.accept_head = t.accept_next
    queue.accept_count -= 1
    t.accept_next = 0
    t.parent = 0
    t.accepted = 1
    return index


@compiled
def give_to_handler(tcp: Tcp, t: Tcb, listener: Tcb) -> None:
    """A connection that nobody needs to accept: its application is the listener's handler (calling.py)."""
    t.accepted = 1
    mine = handled(tcp, t)
    mine.generation = 0                     # of an earlier connection
    mine.listener = listener.ep.index
    mine.listener_generation = listener.ep.generation
    t.ep.handler = listener.ep.handler & HANDLER
    notify(tcp, t)
