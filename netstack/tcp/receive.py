"""Text: the data of a segment goes to its final place, in order or not.

RFC 9293 section 3.10.7.4, "Seventh, process the segment text"; delayed
acknowledgments of 3.8.6.3 and RFC 5681 section 4.2; SACK blocks of RFC 2018
section 4.  The receive ring has a place for every byte of the window, so
out-of-order data is copied once, like all other.  When it is acknowledged is in
`quickack.py`, how much room there is in `space.py` and `drs.py`.
"""
from __future__ import annotations

from ..errors import Drop
from ..machine import MS, addressof, arena, at, compiled, fence_seq, offsetof, put16, put32, ring
from ..machine import lock as mutex
from ..machine.arena import Arena
from . import arrivals, drs, dsack, foresee, quickack, ranges, rto, seq, space, timestamps, window
from . import memory as mem
from .header import FIN, NOP, PSH, SACK, SYN, URG, Segment
from .tcb import Tcb, Tcp, arm, get, held, hold, notify, rare, release_held

RCV_LOCK = offsetof(Tcb, "rcv_lock")
SND_LOCK = offsetof(Tcb, "snd_lock")
ALWAYS = 1 << 62            # of tcp_mem
FAIR_SIZE = 128             # bytes; smaller segments do not make the window grow (Linux)


@compiled
def memory(tcp: Tcp) -> Arena:
    """The arena that buffers come from."""
    return at(Arena, addressof(tcp) + tcp.arena)


@compiled
def provide(tcp: Tcp, r: ring.Ring, most: int) -> bool:
    """Make sure that a ring has its memory; all together have `most` bytes then.  False when there is none left."""
    if r.data != 0:
        return True
    where = _allot(tcp, r.size, most)
    if where == 0:
        return False
    r.data = addressof(memory(tcp)) + where - addressof(r)
    return True


@compiled
def _allot(tcp: Tcp, size: int, most: int) -> int:
    """A block for a ring: where, or 0 when tcp_mem or the arena has no more."""
    m = tcp.memory
    where = 0
    if mem.may_take(m, size, most):
        where = arena.allot(memory(tcp), size)
    if where == 0:
        mem.press(m)
        return 0
    mem.take(m, size, tcp.settings.tcp_mem_pressure)
    return where


@compiled
def _release(tcp: Tcp, r: ring.Ring) -> None:
    a = memory(tcp)
    arena.release(a, addressof(r) + r.data - addressof(a), r.size)
    mem.give(tcp.memory, r.size, tcp.settings.tcp_mem_low)


@compiled
def give_back(tcp: Tcp, r: ring.Ring) -> None:
    """Free a ring's memory."""
    if r.data != 0:
        _release(tcp, r)
        r.data = 0


@compiled
def give_back_sent(tcp: Tcp, t: Tcb) -> None:
    """Nothing more is to be sent: the send ring goes, unless it is lent (`inplace.forget_place`)."""
    fence_seq()
    if t.space.snd_lent == 0:
        give_back(tcp, t.snd)


@compiled
def relieve(tcp: Tcp, t: Tcb) -> None:
    """The receive ring goes back if it is empty and others want it.  The caller owns the world and the reading side."""
    if mem.is_shared(tcp.memory) and ring.used(t.rcv) == 0 and t.held == 0:
        give_back(tcp, t.rcv)


@compiled
def relieve_sender(tcp: Tcp, t: Tcb) -> None:
    """... and the send ring, unless a thread is about to write.  The caller owns the world."""
    if t.snd.data == 0 or ring.used(t.snd) != 0 or not mem.is_shared(tcp.memory):
        return
    if mutex.try_lock(addressof(t) + SND_LOCK):
        if ring.used(t.snd) == 0 and t.space.snd_lent == 0:
            give_back(tcp, t.snd)
        mutex.unlock(addressof(t) + SND_LOCK)


@compiled
def relieve_idle(tcp: Tcp, t: Tcb) -> None:
    """Both, if nobody reads or writes now: the connection's clocks have run out.  The caller owns the world."""
    relieve_sender(tcp, t)
    if t.rcv.data != 0 and mutex.try_lock(addressof(t) + RCV_LOCK):
        relieve(tcp, t)
        mutex.unlock(addressof(t) + RCV_LOCK)


@compiled
def fit(tcp: Tcp, r: ring.Ring, size: int, end: int, most: int, least: int) -> bool:
    """Give a ring room for `size` bytes; `end`: the position behind the last byte that stands in it; `least`: what it
    may have under pressure, too.

    Nobody else may read or write it meanwhile: the caller owns the world and, for an application's side,
    the lock of that side.  A ring never gets smaller, so a window that was offered stays good.
    """
    size = space.ring_size(size)
    if size <= r.size:
        return True
    if r.data == 0:
        r.size = size
        return True
    if tcp.memory.pressure and size > least:
        return False
    where = _allot(tcp, size, most)
    if where == 0:
        return False
    a = memory(tcp)
    ring.copy_out(r, r.head, end, addressof(a) + where, size)
    _release(tcp, r)
    r.data = addressof(a) + where - addressof(r)
    r.size = size
    return True


@compiled
def begin(tcp: Tcp, t: Tcb, now: int) -> None:
    """The connection is established: buffers and the measurements that let them grow start (tcp_init_buffer_space)."""
    mss = window.receive_mss(t)
    s = t.space
    space.on_established(s, mss, t.ws_ok)
    drs.start(t.drs, min(s.ssthresh, window.current(t), space.INITIAL_SEGMENTS * mss), now)
    quickack.start(t.quick, min(mss, window.current(t) // 2), now)


@compiled
def place(tcp: Tcp, t: Tcb, seg: Segment, now: int) -> int:
    """Take the text of an acceptable segment, trimmed to the window by the caller.  Drop.NONE, or why not."""
    n = seg.data_len
    if t.rcv.data == 0 and seg.seq != t.rcv_nxt and not _may_hold(tcp, t):
        tcp.counters.ofo_drops += 1                     # what is in order needs the memory more
        t.ack_now = 1
        return Drop.TCP_MEMORY
    if not provide(tcp, t.rcv, ALWAYS):                 # nothing waits to be read: as Linux, whatever tcp_mem says
        tcp.counters.rcv_q_drops += 1
        t.ack_now = 1
        return Drop.TCP_MEMORY
    if t.held == 0 and seg.placed == 0:
        ring.rewind(t.rcv)
    position = t.rcv.tail + seq.diff(seg.seq, t.rcv_nxt)
    if position + n - t.rcv.head > t.rcv.size:
        n = t.rcv.size - (position - t.rcv.head)        # beyond the buffer: the peer went over the window
        if n <= 0:
            t.ack_now = 1
            return Drop.TCP_UNACCEPTABLE
    if seg.seq != t.rcv_nxt:                                            # out of order
        blocks = held(tcp, t).count
        _note_held(tcp, t, seg.seq, n)
        if not hold(tcp, t, seg.seq, seq.add(seg.seq, n)):
            t.ack_now = 1
            return Drop.TCP_REASSEMBLY
        ring.place(t.rcv, position, seg.data, n)
        if n >= FAIR_SIZE and tcp.memory.pressure == 0:
            space.grow_window(t.space, n, ring.used(t.rcv), window.receive_mss(t))
        tcp.counters.out_of_order += 1
        t.stats.out_of_order += 1
        t.ack_now = 1                                                   # (RFC 5681 4.2) at once: a duplicate ACK
        t.unacked += n
        if t.sack_ok == 0 or held(tcp, t).count > blocks or _is_share(t):
            tcp.pressing = 1            # each one counts, or there would be more blocks than an ACK has room for
        return Drop.NONE
    if seg.placed == 0:
        ring.place(t.rcv, position, seg.data, n)
    else:
        tcp.counters.hp_hits += 1
    foresee.note(tcp, t, n)
    nxt = seq.add(t.rcv_nxt, n)
    if t.held != 0:
        _note_held(tcp, t, seg.seq, n)
        nxt = advance(tcp, t, nxt)
        t.ack_now = 1                                                   # (RFC 5681 4.2) a hole was filled
        tcp.pressing = 1
    gained = seq.diff(nxt, t.rcv_nxt)
    t.rcv_nxt = nxt
    if t.ep.stamped:
        arrivals.note(rare(t).arrivals, t.rcv.tail + gained, ring.head(t.rcv), now)
    ring.set_tail(t.rcv, t.rcv.tail + gained)
    t.stats.bytes_received += gained
    t.stats.last_data_received = now
    notify(tcp, t)
    _learn(tcp, t, seg, n, now)
    acknowledge(tcp, t, gained, now)
    return Drop.NONE


@compiled
def _may_hold(tcp: Tcp, t: Tcb) -> bool:
    """Whether text out of order may have a ring: not under pressure, unless it is one of tcp_rmem[0] bytes at most, for
    which there is room below tcp_mem (Linux: "guarantee minimum buffer size under pressure")."""
    s = tcp.settings
    return tcp.memory.pressure == 0 or (t.rcv.size <= space.least_ring(s.tcp_rmem_min)
                                        and mem.may_take(tcp.memory, t.rcv.size, s.tcp_mem))


@compiled
def advance(tcp: Tcp, t: Tcb, nxt: int) -> int:
    """Everything before `nxt` is here.  Returns `nxt`, moved over the text held behind it, at most to the FIN held."""
    if t.held != 0:
        r = held(tcp, t)
        nxt = ranges.advance(r, nxt)
        if r.count == 0:
            release_held(tcp, t)
    if t.fin_held and seq.gt(nxt, t.fin_at):
        return t.fin_at
    return nxt


@compiled
def note_old(tcp: Tcp, t: Tcb, seg: Segment) -> None:
    """The segment's text before RCV.NXT came twice: the next ACK says so."""
    n = min(seg.data_len, seq.diff(t.rcv_nxt, seg.seq))
    if n > 0 and t.sack_ok and tcp.settings.tcp_dsack:
        left = seq.add(seg.seq, (seg.flags >> 1) & 1)               # behind a SYN
        dsack.note(t.dsack, left, seq.add(left, n))
        tcp.pressing = 1                                            # the next one is not to take its place


@compiled
def _note_held(tcp: Tcp, t: Tcb, left: int, n: int) -> None:
    """... and what of n bytes from `left` on is held already."""
    if t.sack_ok and tcp.settings.tcp_dsack:
        dsack.note_held(t.dsack, held(tcp, t), left, seq.add(left, n))
        tcp.pressing |= t.dsack.due


@compiled
def _learn(tcp: Tcp, t: Tcb, seg: Segment, n: int, now: int) -> None:
    """What a segment in order tells of the peer: segment size, pace, round-trip time (tcp_event_data_recv)."""
    q = t.quick
    if t.unacked == 0:
        q.pushed = 0
    taken = 4 + 8 * seg.sack_count if seg.sack_count != 0 else 0
    mss = window.receive_mss(t)
    one = n if seg.gso_size == 0 else min(n, seg.gso_size)
    quickack.measure(q, one, taken, not seg.flags & (PSH | URG | FIN | SYN), seg.flags & PSH, mss)
    if t.ts.ok == 0:
        drs.on_window(t.drs, t.rcv_nxt, t.rcv_adv, now)
    elif seg.has_ts and seg.tsecr != t.drs.rtt_echo and n >= q.mss:
        t.drs.rtt_echo = seg.tsecr
        sample = timestamps.rtt(t.ts, seg.tsecr, now)
        if 0 < t.rto.srtt < MS and sample <= MS:                # below the clock's step: what our sending side knows
            sample = t.rto.srtt
        if sample >= 0:
            drs.on_sample(t.drs, sample if sample > 0 else MS)
    quickack.on_text(q, window.current(t), rto.timeout(t.rto), tcp.settings.tcp_delack, now)
    if n >= FAIR_SIZE and tcp.memory.pressure == 0 and space.grow_window(t.space, n, ring.used(t.rcv), mss):
        q.quick = max(q.quick, 1)                               # the peer should know


@compiled
def _is_share(t: Tcb) -> bool:
    """Whether what has come since the last ACK deserves one before more is looked at."""
    return t.unacked >= quickack.share(t.quick, t.drs.flight)


@compiled
def _has_server(tcp: Tcp, t: Tcb) -> bool:
    """Whether a selector's thread is about to look at the connection, or at the listener that it waits at."""
    return t.ep.watcher != 0 or (t.parent != 0 and get(tcp, t.parent).ep.watcher != 0)


@compiled
def acknowledge(tcp: Tcp, t: Tcb, n: int, now: int) -> None:
    """(RFC 9293 3.8.6.3) An ACK for at least every second full-sized segment, and within a delay that adapts.

    Differs: Linux leaves the second segment's ACK to the reader if the window does not advance; here it always goes.
    """
    t.unacked += n
    c = t.clocks
    quick = quickack.is_quick(t.quick)
    if t.unacked > t.quick.mss or (quick and not _has_server(tcp, t)) or window.deserves_update(t):
        t.ack_now = 1
        if _is_share(t):
            tcp.pressing = 1
        return
    wait = quickack.SOON if quick else quickack.delay(t.quick, t.rto.srtt, tcp.settings.tcp_delack)
    if wait == 0:                                               # no text has come: nothing is being measured
        t.ack_now = 1
        return
    if c.delayed_ack == 0:
        c.delayed_ack = now + wait
        arm(tcp, t, c.delayed_ack)
    elif c.delayed_ack <= now + wait // 4:                      # it is about to be due
        t.ack_now = 1
    elif now + wait < c.delayed_ack:
        c.delayed_ack = now + wait
        arm(tcp, t, c.delayed_ack)


@compiled
def make_room(tcp: Tcp, t: Tcb) -> None:
    """Give the receive ring the size that the buffer has by now.  The caller owns the world and the reading side."""
    end = t.rcv.tail
    if t.held != 0:
        end += seq.diff(ranges.end(held(tcp, t)), t.rcv_nxt)
    least = space.least_ring(tcp.settings.tcp_rmem_min)
    if not fit(tcp, t.rcv, t.space.window, end, tcp.settings.tcp_mem, least):         # no memory: it stays as it is
        space.set_rcvbuf(t.space, space.rcvbuf_for(t.rcv.size, tcp.settings.tcp_adv_win_scale),
                         tcp.settings.tcp_adv_win_scale)


@compiled
def make_room_to_send(tcp: Tcp, t: Tcb, n: int) -> bool:
    """Give the send ring the memory for n bytes more, as far as the buffer may be; False: it has none at all.

    The caller owns the world and the sending side."""
    s = t.space
    if s.cut != 0:                                              # there was no memory: perhaps there is now
        s.sndbuf = max(s.sndbuf, s.cut)
        s.cut = 0
    wanted = min(ring.used(t.snd) + n, s.sndbuf)
    least = space.least_ring(tcp.settings.tcp_wmem_min)
    most = tcp.settings.tcp_mem_pressure
    if wanted > t.snd.size and not fit(tcp, t.snd, wanted, t.snd.tail, most, least):
        s.cut = s.sndbuf
        s.sndbuf = t.snd.size                                   # no memory: it stays as it is, until it is full again
    if provide(tcp, t.snd, most):
        return True
    # tcp_wmem[0] bytes for each up to the third number; but a third of all is for receiving, or else two ends could
    # block each other
    guaranteed = max(most, min(tcp.settings.tcp_mem, 2 * (memory(tcp).limit // 3)))
    if t.snd.size > least:
        s.cut = s.sndbuf
        s.sndbuf = least                                        # not so much, but perhaps a little
        t.snd.size = least
    if provide(tcp, t.snd, guaranteed) or t.snd.size == space.SMALLEST_RING:
        return t.snd.data != 0
    s.cut = max(s.cut, s.sndbuf)
    s.sndbuf = space.SMALLEST_RING
    t.snd.size = space.SMALLEST_RING
    return provide(tcp, t.snd, guaranteed)


@compiled
def on_read(tcp: Tcp, t: Tcb, now: int) -> bool:
    """The application has read: does it need a larger buffer (drs.py)?  True when the ring must follow.

    Called by the reading thread, while another one may run the engine, which only reads what is written here.
    """
    s = t.space
    settings = tcp.settings
    mss = window.receive_mss(t)
    wanted = drs.on_read(t.drs, t.rcv.head, mss, now)
    if wanted != 0 and settings.tcp_moderate_rcvbuf and tcp.memory.pressure == 0 and not s.locked & space.RCVBUF:
        rcvbuf = min(space.rcvbuf_for(wanted, settings.tcp_adv_win_scale), settings.tcp_rmem_max)
        if rcvbuf > s.rcvbuf:
            space.set_rcvbuf(s, rcvbuf, settings.tcp_adv_win_scale)
            open_clamp(t)
    return s.window > t.rcv.size and t.rcv.data != 0 and t.rcv.size < space.LARGEST_RING


@compiled
def open_clamp(t: Tcb) -> None:
    """Let the window follow the buffer, as far as window scaling and TCP_WINDOW_CLAMP allow."""
    s = t.space
    most = min(s.window, space.MAX_UNSCALED << t.rcv_wscale)
    if s.user_clamp != 0:
        most = min(most, s.user_clamp)
    s.clamp = max(s.clamp, most)


@compiled
def sack_len(tcp: Tcp, t: Tcb, room: int) -> int:
    """The length of the SACK option for a segment with `room` bytes left for options; 0: none."""
    if t.sack_ok == 0 or (t.held == 0 and t.dsack.due == 0) or room < 12:
        return 0
    blocks = held(tcp, t).count + t.dsack.due
    return 4 + 8 * min(blocks, (room - 4) // 8)


@compiled
def emit_sack(tcp: Tcp, t: Tcb, p: int, length: int) -> None:
    """Write NOP, NOP, SACK at p: what came twice (RFC 2883 section 4), then the blocks from the one that changed last
    (RFC 2018 section 4), so that each is told again in the next ACKs, should this one be lost."""
    put16(p, (NOP << 8) | NOP)
    put16(p + 2, (SACK << 8) | (length - 2))
    end = p + length
    p += 4
    if t.dsack.due:
        t.dsack.due = 0                 # "Each duplicate ... is reported in at most one D-SACK block."
        p = _emit_block(p, t.dsack.left, t.dsack.right)
    r = held(tcp, t)
    i = ranges.newest(r, -1)
    while i >= 0 and p < end:
        block = ranges.item(r, i)
        p = _emit_block(p, block.left, block.right)
        i = ranges.newest(r, i)


@compiled
def _emit_block(p: int, left: int, right: int) -> int:
    put32(p, left)
    put32(p + 4, right)
    return p + 8
