"""The calls: OPEN, SEND, RECEIVE, CLOSE, ABORT, STATUS.

RFC 9293 section 3.10.1 to 3.10.6, with the results that Linux's system calls
have.  Each returns 0 or more, or a negative errno; none of them blocks, and none
sends: they mark the connection due.
"""
from __future__ import annotations

from ..endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, in_use
from ..errors import (
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOBUFS,
    ENOTCONN,
    EPIPE,
)
from ..ip.net import Net
from ..machine import addressof, compiled, ring, sizeof, store8, table, timers, zero
from . import (
    demux,
    eor,
    fastopen,
    fastopen_client,
    listen,
    orphan,
    path,
    quickack,
    receive,
    rto,
    seq,
    space,
    urgent,
    usertimeout,
    window,
)
from .arrives import fin_wait
from .tcb import (
    Listening,
    State,
    Tcb,
    Tcp,
    arm,
    disown,
    enter,
    fail,
    get,
    has_rare,
    is_synchronized,
    listening,
    mark_due,
    notify,
    rare,
    share_rare,
    unlink_port,
)

MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_EOR, MSG_MORE = 0x1, 0x2, 0x20, 0x80, 0x8000
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
LINGER = 3                  # of `shutdown`: the application is about to close, and waits (SO_LINGER)
NEEDS_WORLD = -(1 << 30)    # not an errno
LISTENING_SIZE = sizeof(Listening)


# ---- 3.10.1 OPEN ----------------------------------------------------------------

@compiled
def start_listening(tcp: Tcp, t: Tcb, backlog: int) -> int:
    """Passive OPEN."""
    if t.state not in (State.CLOSED, State.LISTEN) or t.ep.remote_port != 0:
        return -EINVAL
    queue = listening(t)
    if t.state == State.CLOSED:
        zero(addressof(queue), LISTENING_SIZE)
    queue.backlog = min(max(backlog, 0), tcp.settings.somaxconn)
    if tcp.settings.tcp_fastopen & fastopen.ALL_LISTENERS and t.fast.limit == 0:
        t.fast.limit = queue.backlog
    if t.state == State.LISTEN:
        return 0
    if t.ep.local_port == 0:
        r = demux.bind(tcp, t, 0)
        if r < 0:
            return r
    elif demux.conflicts(tcp, t, t.ep.local_port):          # another one that shared the port listens already
        return -EADDRINUSE
    enter(tcp, t, State.LISTEN)
    demux.add_listener(tcp, t)
    t.accepted = 1
    return 0


@compiled
def connect(tcp: Tcp, net: Net, t: Tcb, hi: int, lo: int, port: int, now: int) -> int:
    """Active OPEN: -EINPROGRESS when the SYN is on its way."""
    if t.state == State.SYN_SENT or t.state == State.SYN_RECEIVED:
        return -EISCONN if t.fast.deferred else -EALREADY
    if t.state == State.LISTEN:
        return -EISCONN
    if t.state != State.CLOSED or (t.ep.remote_port != 0 and t.was_open):
        return _already_connected(t)
    if t.ep.remote_port != 0:                           # an attempt failed, and nobody has come back for it since
        error = t.ep.error if t.ep.error != 0 else ECONNABORTED
        forget_attempt(tcp, t)
        t.ep.error = 0
        return -error
    if port == 0:
        return -ECONNREFUSED
    e = t.ep
    e.error = 0                                         # of a connection before (disconnect.py)
    e.remote_hi = hi
    e.remote_lo = lo
    e.remote_port = port
    had_hi = e.local_hi
    had_lo = e.local_lo
    r = path.find(net, t, now)
    if r == 0 and e.local_port == 0:
        r = demux.choose_port(tcp, t)
    elif r == 0 and demux.is_taken(tcp, e.local_hi, e.local_lo, hi, lo, e.local_port, port):
        r = -EADDRNOTAVAIL                              # that pair of sockets is in use
    if r < 0:
        e.remote_hi = 0
        e.remote_lo = 0
        e.remote_port = 0
        e.local_hi = had_hi
        e.local_lo = had_lo
        return r
    listen.set_initial(tcp, t, now)
    if r > 0:
        listen.start_beyond(t, get(tcp, r).snd_max)
    t.accepted = 1
    demux.insert(tcp, t)
    enter(tcp, t, State.SYN_SENT)
    t.fast.tries = 0
    t.fast.asks = 0
    t.fast.more = 0
    t.fast.failure = fastopen.Failure.NONE
    if t.fast.connect:
        t.fast.deferred = 1
        if prepare_fastopen(tcp, t, now) == fastopen_client.Use.TEXT:
            return 0                                    # TCP_FASTOPEN_CONNECT: the SYN waits for the first text
        t.fast.deferred = 0
    return send_syn(tcp, t, now)


@compiled
def send_syn(tcp: Tcp, t: Tcb, now: int) -> int:
    """The SYN goes out, -EINPROGRESS."""
    t.fast.deferred = 0
    t.syn_due = 1
    tcp.counters.active_opens += 1
    t.user.since = 0
    usertimeout.begin(t.user, now)
    t.clocks.user = usertimeout.deadline(t.user)
    if t.clocks.user != 0:
        arm(tcp, t, t.clocks.user)
    mark_due(tcp, t)
    return -EINPROGRESS


@compiled
def prepare_fastopen(tcp: Tcp, t: Tcb, now: int) -> int:
    """Choose what our SYN asks for: a fastopen_client.Use."""
    e = t.ep
    bits = tcp.settings.tcp_fastopen
    index = fastopen_client.find(tcp.fast, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo)
    may = fastopen_client.use(tcp.fast, t.fast, bits, tcp.settings.tcp_fastopen_pause, index, now)
    fastopen_client.prepare(tcp.fast, t.fast, bits, index, may, now)
    return may


@compiled
def open_with(tcp: Tcp, t: Tcb, address: int, n: int, waits: int, now: int) -> int:
    """The SYN of a connection that waits for its first text, with as much of the n bytes as may be in it (RFC 7413
    4.2.1): how many, or -EINPROGRESS: none.  The send ring has its memory.  `waits`: the rest comes when it is open."""
    f = t.fast
    count = 0
    may = prepare_fastopen(tcp, t, now)
    if may == fastopen_client.Use.TEXT:
        e = t.ep
        room = t.pmtu_mss
        index = fastopen_client.find(tcp.fast, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo)
        if index >= 0 and tcp.fast.entries[index].mss != 0:
            room = min(room, tcp.fast.entries[index].mss)
        count = max(min(n, room - fastopen_client.OPTION_SPACE, ring.room(t.snd)), 0)
        if count > 0:
            ring.place(t.snd, t.snd.tail, address, count)
            ring.set_tail(t.snd, t.snd.tail + count)
        f.text = count
    f.more = 1 if waits and n > count else 0
    send_syn(tcp, t, now)
    return count if count > 0 else -EINPROGRESS


@compiled
def forget_attempt(tcp: Tcp, t: Tcb) -> None:
    """An earlier connect failed, and its error was told by a connect: the socket is as it was before (connect(2)).

    Until then, as on Linux, it is at its end: readable, and hung up.
    """
    e = t.ep
    demux.remove(tcp, t)
    t.hash_next = 0
    e.remote_port = 0
    e.remote_hi = 0
    e.remote_lo = 0
    if not e.bound & 2:
        e.local_hi = 0
        e.local_lo = 0
    if not e.bound & 1:
        unlink_port(tcp, t)
        e.local_port = 0
    rto.init(t.rto)
    t.retransmits = 0
    t.rto.syn_again = 0
    t.fin = 0
    t.fast.text = 0
    ring.set_head(t.snd, t.snd.tail)


@compiled
def _already_connected(t: Tcb) -> int:
    """connect on a socket that was connected once: its error first, then EISCONN, or ECONNABORTED as Linux."""
    if t.ep.error != 0:
        error = t.ep.error
        t.ep.error = 0
        return -error
    return -EISCONN if t.state != State.CLOSED else -ECONNABORTED


# ---- 3.10.2 SEND ----------------------------------------------------------------

@compiled
def can_send(t: Tcb) -> bool:
    """Whether text may be queued: from ESTABLISHED on until CLOSE."""
    if t.state == State.SYN_RECEIVED:
        return t.fin == 0 and t.fast.pending == 1               # RFC 7413 4.2.2
    return t.fin == 0 and t.state in (State.ESTABLISHED, State.CLOSE_WAIT)


@compiled
def not_sent(t: Tcb) -> int:
    """Bytes that were written and not sent yet."""
    return max(ring.used(t.snd) - seq.diff(t.snd_nxt, t.snd_una), 0)


@compiled
def may_cork(tcp: Tcp, t: Tcb) -> bool:
    """Whether what is not sent yet may wait a moment for more: less than a segment, behind others in flight (Linux:
    tcp_should_autocork)."""
    return tcp.settings.tcp_autocorking != 0 and t.snd_nxt != t.snd_una and not_sent(t) < t.pmtu_mss


@compiled
def not_acknowledged(t: Tcb) -> int:
    """SIOCOUTQ: what was written and not acknowledged; our FIN counts as one (as Linux)."""
    if t.state in (State.CLOSED, State.LISTEN, State.SYN_SENT, State.SYN_RECEIVED):
        return 0
    fin = 1 if t.fin and not (t.fin_sent and t.snd_una == t.snd_max) else 0
    return ring.used(t.snd) + fin


@compiled
def notsent_lowat(tcp: Tcp, t: Tcb) -> int:
    """TCP_NOTSENT_LOWAT in force."""
    return t.space.notsent_lowat if t.space.notsent_lowat != 0 else tcp.settings.tcp_notsent_lowat


@compiled
def room_to_send(tcp: Tcp, t: Tcb) -> int:
    """Bytes that `send` takes now, if the ring has the memory."""
    room = min(t.space.sndbuf, space.LARGEST_RING) - ring.used(t.snd)
    lowat = notsent_lowat(tcp, t)
    if lowat < t.space.sndbuf:                              # else it cannot matter
        waiting = not_sent(t)
        room = min(room, max(lowat - waiting, t.snd_mss) if waiting < lowat else 0)
    return room


@compiled
def is_writable(tcp: Tcp, t: Tcb) -> bool:
    """Whether a third of the send buffer is free, and not too much of it unsent (Linux: tcp_stream_memory_free)."""
    size = min(t.space.sndbuf, space.LARGEST_RING)
    if 3 * (size - ring.used(t.snd)) < size:
        return False
    lowat = notsent_lowat(tcp, t)
    return lowat >= size or 2 * not_sent(t) < lowat


@compiled
def send(tcp: Tcp, t: Tcb, address: int, n: int, flags: int) -> int:
    """Queue up to n bytes: how many, or -EAGAIN when the buffer is full.

    Called by the application's thread, perhaps while another one runs the engine: it writes only the
    tail of the send ring.  The ring's memory must be there; if it is smaller than the buffer may be, that
    is the limit (see `entry.send`).
    """
    count = room_for(tcp, t, n)
    if count > 0:
        ring.rewind(t.snd)
        ring.place(t.snd, t.snd.tail, address, count)
        queue(tcp, t, count, n, flags)
    return count


@compiled
def may_send(t: Tcb) -> int:
    """0, or what SEND says instead."""
    if t.ep.error != 0:
        return -_take_error(t)
    if not can_send(t):
        if t.state in (State.SYN_SENT, State.SYN_RECEIVED) and t.fin == 0:
            return -EAGAIN
        return -EPIPE                                       # as Linux, also when it never was connected
    return 0


@compiled
def room_for(tcp: Tcp, t: Tcb, n: int) -> int:
    """How many of n bytes can be queued now, or what SEND says instead."""
    refused = may_send(t)
    if refused < 0:
        return refused
    if t.snd.data == 0:
        return -ENOBUFS
    count = min(n, room_to_send(tcp, t))
    if count <= 0:
        return -EAGAIN if n > 0 else 0
    count = min(count, ring.room(t.snd))
    return count if count > 0 else -EAGAIN


@compiled
def queue(tcp: Tcp, t: Tcb, count: int, n: int, flags: int) -> None:
    """`count` of the application's n bytes stand behind the tail of the send ring: they are to be sent."""
    t.more = 1 if flags & MSG_MORE else 0
    t.push = 0                                              # it was for what was written before
    end = t.snd.tail + count
    if flags & MSG_OOB:
        t.snd_up = seq.add(t.snd_una, end - ring.head(t.snd))
    if flags & MSG_EOR and count == n and has_rare(tcp, t):
        eor.put(rare(t).ends, end)
    ring.set_tail(t.snd, end)


@compiled
def _take_error(t: Tcb) -> int:
    error = t.ep.error
    t.ep.error = 0
    return error


# ---- 3.10.3 RECEIVE -------------------------------------------------------------

@compiled
def has_ended(t: Tcb) -> bool:
    """Whether no more text will come: the peer's FIN is here, or the connection is over, or we closed the read side."""
    return t.fin_received != 0 or t.read_closed != 0 or t.state == State.CLOSED or t.state == State.TIME_WAIT


@compiled
def recv(t: Tcb, address: int, n: int, flags: int, owner: bool) -> int:
    """Take up to n bytes: how many, 0 at the end, -EAGAIN when there are none yet.

    Called by the application's thread; it writes only the head of the receive ring.  When something is urgent
    that is not enough: unless the caller is the world's owner, NEEDS_WORLD.
    """
    ended = has_ended(t)                                    # before looking at the ring: text comes before the end
    count = min(n, ring.used(t.rcv))
    head = t.rcv.head
    if flags & MSG_OOB or rare(t).urgent.mark != urgent.Mark.NONE:
        if not owner:
            return NEEDS_WORLD
        if flags & MSG_OOB:
            return _recv_urgent(t, address, n, flags)
        while count > 0 and urgent.is_skipped(rare(t).urgent, head):
            head += 1
            count = min(n, ring.used(t.rcv) - (head - t.rcv.head))
        count = urgent.limit(rare(t).urgent, head, count)
        if not flags & MSG_PEEK:
            ring.set_head(t.rcv, head)                      # as Linux, even if nothing follows
            urgent.on_read(rare(t).urgent, head + count)
    if count > 0:
        if not flags & MSG_TRUNC:
            ring.fetch(t.rcv, head, address, count)
        if not flags & MSG_PEEK:
            ring.set_head(t.rcv, head + count)
        return count
    if n == 0:
        return 0
    if ended and t.fin_received:                            # an error behind the peer's FIN is for who sends
        return 0
    if t.ep.error != 0:
        return -_take_error(t)
    if ended:
        if t.state == State.CLOSED and t.was_open == 0 and t.ep.remote_port == 0:
            return -ENOTCONN
        return 0
    if t.state == State.LISTEN:
        return -ENOTCONN
    return -EAGAIN


@compiled
def _recv_urgent(t: Tcb, address: int, n: int, flags: int) -> int:
    """MSG_OOB: the urgent byte (tcp(7)); -EINVAL when there is none, -EAGAIN when only its pointer has come."""
    u = rare(t).urgent
    if u.inline or u.mark == urgent.Mark.NONE or u.mark == urgent.Mark.TAKEN:
        return -EINVAL
    if u.mark == urgent.Mark.HERE:
        if not flags & MSG_PEEK:
            u.mark = urgent.Mark.TAKEN
        if n > 0 and not flags & MSG_TRUNC:
            store8(address, u.byte)
        return min(n, 1)
    return 0 if has_ended(t) else -EAGAIN


@compiled
def after_recv(tcp: Tcp, t: Tcb) -> bool:
    """Whether an ACK is due for what was read: the window has opened enough to tell the peer, or everything was
    read and nothing else will carry the ACK (tcp_cleanup_rbuf)."""
    if t.fin_received or t.state not in (State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2):
        return False
    waits = t.ep.watcher != 0 and quickack.is_quick(t.quick)    # a moment, for the selector's thread (`acknowledge`)
    if t.unacked > 0 and not waits and ring.used(t.rcv) == 0 and quickack.on_emptied(t.quick, t.unacked):
        return True
    return window.deserves_update(t)


@compiled
def available(t: Tcb) -> int:
    """FIONREAD: bytes that can be read, up to the mark (tcp_inq)."""
    n = ring.used(t.rcv)
    u = rare(t).urgent
    if u.mark == urgent.Mark.NONE or u.inline:
        return n
    ahead = u.at - t.rcv.head
    return ahead if 0 <= ahead < n else n


@compiled
def at_mark(t: Tcb) -> bool:
    """SIOCATMARK: whether the next byte is the urgent one."""
    return urgent.at_mark(rare(t).urgent, t.rcv.head)


@compiled
def _readable(t: Tcb) -> bool:
    """Whether there is as much to read as SO_RCVLOWAT asks for, or no more can come before some is read."""
    n = ring.used(t.rcv)
    if n > 0 and rare(t).urgent.mark != urgent.Mark.NONE and urgent.is_skipped(rare(t).urgent, t.rcv.head):
        n -= 1
    return n > 0 and (n >= t.ep.low_water or window.current(t) <= t.quick.mss)


# ---- 3.10.4 CLOSE ---------------------------------------------------------------

@compiled
def shutdown(tcp: Tcp, t: Tcb, how: int, now: int) -> int:
    """Close one direction or both; the socket stays."""
    if how == LINGER:
        return _start_lingering(tcp, t)
    if t.state == State.LISTEN:
        if how == SHUT_WR:
            return -ENOTCONN
        stop_listening(tcp, t)
        return 0
    if t.state == State.CLOSED:
        return -ENOTCONN
    if t.state == State.SYN_SENT:
        fail(tcp, t, ECONNRESET)                            # as Linux, whatever is shut: connect tells who waits in it
        forget_attempt(tcp, t)
        notify(tcp, t)
        return 0
    if how != SHUT_WR:
        t.read_closed = 1
    if how != SHUT_RD:
        _close_sending(tcp, t)
    notify(tcp, t)
    return 0


@compiled
def _close_sending(tcp: Tcp, t: Tcb) -> None:
    """Queue a FIN behind everything written (3.10.4)."""
    if t.fin:
        return
    if t.state == State.SYN_SENT:
        fail(tcp, t, 0)
        return
    t.fin = 1
    if t.state == State.ESTABLISHED:
        enter(tcp, t, State.FIN_WAIT_1)
    elif t.state == State.CLOSE_WAIT:
        enter(tcp, t, State.LAST_ACK)
    mark_due(tcp, t)


@compiled
def close(tcp: Tcp, t: Tcb, now: int) -> None:
    """The application is done with the socket: it cannot be reached any more, the connection ends by itself."""
    if t.ep.closed:
        return
    disown(tcp, t)
    notify(tcp, t)
    if t.state == State.LISTEN:
        stop_listening(tcp, t)
        mark_due(tcp, t)
        return
    mark_due(tcp, t)
    if t.state == State.CLOSED:
        return
    if t.state == State.TIME_WAIT:
        if not in_use(t.ep):
            receive.give_back(tcp, t.rcv)
        return
    if _has_unread(t):
        tcp.counters.aborts_on_close += 1
        abort(tcp, t, 0)                                # RFC 2525 2.17: unread text is lost, and the peer is told
    elif t.reset_on_close:
        tcp.counters.aborts_on_data += 1
        abort(tcp, t, 0)
    elif t.state == State.FIN_WAIT_2 and t.linger2 < 0:
        tcp.counters.aborts_on_linger += 1
        abort(tcp, t, 0)
    elif t.state == State.FIN_WAIT_2:
        fin_wait(tcp, t, now)
    else:
        _close_sending(tcp, t)
        if t.state != State.CLOSED and orphan.is_too_many(tcp.orphans, 0, tcp.settings.tcp_max_orphans):
            starve(tcp, t)


@compiled
def _has_unread(t: Tcb) -> bool:
    return ring.used(t.rcv) > 0


@compiled
def _start_lingering(tcp: Tcp, t: Tcb) -> int:
    """SO_LINGER with some seconds: close both directions, and wait (sk_stream_wait_close).  0 when there is nothing to
    wait for: `close` comes at once."""
    if t.state not in (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK) or (
            _has_unread(t)):
        return 0
    t.lingering = 1
    _close_sending(tcp, t)
    notify(tcp, t)
    return 1


@compiled
def starve(tcp: Tcp, t: Tcb) -> None:
    """There are too many orphans: this one is reset (tcp_check_oom)."""
    tcp.counters.aborts_on_memory += 1
    abort(tcp, t, 0)
    t.rst_due = 1


# ---- 3.10.5 ABORT ---------------------------------------------------------------

@compiled
def abort(tcp: Tcp, t: Tcb, errno: int) -> None:
    """Give the connection up; the peer gets a reset if it knows of it.

    Not in CLOSING and LAST-ACK, where both have closed, unless text is lost that was not sent (as Linux).
    """
    both_closed = t.state in (State.CLOSING, State.LAST_ACK)
    lost = t.fin_sent == 0 or not_sent(t) > 0
    if is_synchronized(t) and t.state != State.TIME_WAIT and (lost or not both_closed):
        t.rst_due = 1
    if t.state == State.SYN_RECEIVED:
        t.rst_due = 1
    if t.state == State.SYN_RECEIVED:
        listen.leave(tcp, t)
    fail(tcp, t, errno)


@compiled
def stop_listening(tcp: Tcp, t: Tcb) -> None:
    """The listener goes, and its half-open children; those that nobody accepted are reset."""
    demux.remove_listener(tcp, t)
    t.hash_next = 0
    queue = listening(t)
    while queue.half_head != 0:                             # no reset: if the peer's ACK comes it is answered with one
        child = get(tcp, queue.half_head)
        listen.leave(tcp, child)
        tcp.counters.attempt_fails += 1
        fail(tcp, child, 0)
    index = listen.take(tcp, t)
    while index != 0:
        child = get(tcp, index)
        disown(tcp, child)
        abort(tcp, child, 0)
        mark_due(tcp, child)
        index = listen.take(tcp, t)
    fail(tcp, t, 0)


@compiled
def free(tcp: Tcp, t: Tcb) -> bool:
    """Give everything back, if the connection is over, nobody holds it and no thread is inside.  True when done."""
    if t.state != State.CLOSED:
        return False
    if t.ep.closed == 0 and (t.passive == 0 or t.accepted or t.parent != 0):
        return False
    disown(tcp, t)
    if in_use(t.ep) or t.ep.notified or t.ep.handler != 0:
        return False
    if t.ep.remote_port != 0:
        demux.remove(tcp, t)
    if t.ep.local_port != 0:
        unlink_port(tcp, t)
    receive.give_back(tcp, t.snd)
    receive.give_back(tcp, t.rcv)
    share_rare(tcp, t)
    timers.disarm(tcp.timers, t.ep.index)
    t.ep.generation = 0
    table.release(tcp.tcbs, t.ep.index)
    return True


# ---- 3.10.6 STATUS --------------------------------------------------------------

@compiled
def poll(tcp: Tcp, t: Tcb) -> int:
    """Readiness, values of poll(2), as Linux's tcp_poll."""
    if t.state == State.LISTEN:
        return POLLIN if listening(t).accept_head != 0 else 0
    bits = 0
    if t.ep.error != 0:
        bits |= POLLERR
    sending_over = t.fin != 0 or t.state in (State.CLOSED, State.TIME_WAIT)
    ended = has_ended(t) and (t.was_open != 0 or t.ep.remote_port != 0)
    if t.state == State.CLOSED or (sending_over and ended):
        bits |= POLLHUP
    if ended:
        bits |= POLLIN | POLLRDHUP
    if _readable(t):
        bits |= POLLIN
    if t.state == State.SYN_SENT or (t.state == State.SYN_RECEIVED and t.fast.pending == 0):
        bits &= ~(POLLIN | POLLRDHUP)
        return bits | POLLOUT if t.fast.deferred else bits
    if rare(t).urgent.mark == urgent.Mark.HERE:
        bits |= POLLPRI
    if sending_over or is_writable(tcp, t):
        bits |= POLLOUT
    return bits
