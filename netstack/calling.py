"""Who calls a handler, when, and what becomes of what it did.

A handler (`exchange.py`) belongs to a listener's connections, to one connection or to
a UDP socket.  Whatever may concern it puts the endpoint into a list (`tcb.notify`,
`datagram.notify`); once a turn, behind what has come in and before what goes out,
each of the list is looked at here.  It runs with the world held, in the thread that
runs the turn, and is reached by its address: the engine does not know it.
"""
from __future__ import annotations

from . import datagram
from .datagram import PREFIX, Prefix, Sock
from .endpoint import HANDLER, WAITS, Endpoint, Kind, Own
from .exchange import MAX_DATAGRAM, Call, Event, Exchange, Wish
from .machine import addressof, at, compiled, invoke2, invoke6, ring, unit
from .tcp import calls, listen, receive, tcb, urgent
from .tcp.tcb import State, Tcb, is_synchronized, mark_due
from .world import World

DONE = 1                    # of a handler that has not failed
ONE_PASS = 1024             # datagrams of one socket
NO_ROOM = 10_000_000        # ns until one that got no memory at all looks again


@compiled
def is_waiting(w: World) -> bool:
    """Whether a handler is to be called."""
    return w.stopped == 0 and (w.tcp.called != 0 or w.datagrams.called != 0)


@unit
def call_unit(world: int, now: int) -> int:
    """Call every handler that has something to see, connections first."""
    w = at(World, world)
    w.tcp.now = now
    index = w.tcp.called
    while index != 0:
        t = tcb.get(w.tcp, index)
        own = tcb.handled(w.tcp, t)
        w.tcp.called = own.next
        t.ep.handler &= HANDLER
        if t.ep.handler != 0 and t.state != State.LISTEN:
            _connection(w, t, own, now)
        elif t.ep.handler != 0 and t.ep.closed:
            release(w, t.ep, own)
        index = w.tcp.called
    index = w.datagrams.called
    while index != 0:
        s = datagram.get(w.datagrams, index)
        mine = datagram.handled(w.datagrams, s)
        w.datagrams.called = mine.next
        s.ep.handler &= HANDLER
        if s.ep.handler != 0:
            _socket(w, s, mine, now)
        index = w.datagrams.called
    return 0


# ---- having a handler ------------------------------------------------------------

@compiled
def take_up(w: World, ep: Endpoint, own: Own, slot: int, held: int) -> None:
    """An endpoint gets the handler of an entry."""
    _forget(own)
    own.generation = ep.generation
    own.held = held
    if held:
        own.listener = 0
    ep.handler = ep.handler & WAITS | slot
    w.handlers[slot].references += 1


@compiled
def _forget(own: Own) -> None:
    """A new one: nothing of an earlier endpoint."""
    own.opened = 0
    own.ended = 0
    own.blocked = 0
    own.seen = 0
    own.wake_at = 0
    own.a = 0
    own.b = 0
    own.c = 0
    own.d = 0
    own.e = 0
    own.f = 0
    own.g = 0
    own.h = 0


@compiled
def release(w: World, ep: Endpoint, own: Own) -> None:
    """... and has it no more."""
    slot = ep.handler & HANDLER
    if slot == 0:
        return
    ep.handler &= WAITS
    if own.generation != ep.generation:                     # of a child that it has not heard of yet
        return
    handler = w.handlers[slot]
    handler.references -= 1
    handler.open -= own.opened
    own.opened = 0
    own.wake_at = 0


@compiled
def adopt(w: World, listener: Tcb) -> None:
    """Connections that wait to be accepted go to the listener's handler."""
    index = listen.take(w.tcp, listener)
    while index != 0:
        listen.give_to_handler(w.tcp, tcb.get(w.tcp, index), listener)
        index = listen.take(w.tcp, listener)


# ---- connections ---------------------------------------------------------------------

@compiled
def _connection(w: World, t: Tcb, own: Own, now: int) -> None:
    """What one connection's handler is to see now."""
    if own.generation != t.ep.generation:
        take_up(w, t.ep, own, t.ep.handler, 0)
    if t.state == State.CLOSED or t.ep.closed:
        _over(w, t, own, now)
        return
    if not is_synchronized(t) and t.fast.pending == 0:
        return
    if own.opened == 0:
        _open(w, t.ep, own)
        own.seen = t.rcv.head
        if not _run(w, t, own, Event.OPENED, now):
            return
    resumed = 0
    if own.blocked and (calls.is_writable(w.tcp, t) or not calls.can_send(t)):
        own.blocked = 0
        resumed = 1
    waits = ring.used(t.rcv)
    if waits > 0 and (t.rcv.tail > own.seen or resumed):
        if not _run(w, t, own, Event.DATA, now):
            return
    elif resumed and not _run(w, t, own, Event.ROOM, now):
        return
    if own.wake_at != 0 and own.wake_at <= now:
        own.wake_at = 0
        if not _run(w, t, own, Event.TIMER, now):
            return
    if t.fin_received and own.ended == 0:
        own.ended = 1
        if not _run(w, t, own, Event.ENDED, now):
            return
    if own.ended and own.blocked == 0 and own.wake_at == 0:
        ring.set_head(t.rcv, t.rcv.tail)                    # the peer has ended, and there is nothing left to say
        _finish(w, t, own, Wish.CLOSE, now)


@compiled
def _open(w: World, ep: Endpoint, own: Own) -> None:
    own.opened = 1
    handler = w.handlers[ep.handler & HANDLER]
    handler.opened += 1
    handler.open += 1


@compiled
def _over(w: World, t: Tcb, own: Own, now: int) -> None:
    """The connection has ended; or the application has closed its socket."""
    if own.opened or t.ep.error != 0:
        _show(w, t, own, Event.CLOSED, now)
    elif not t.ep.closed and own.held:
        return                                              # a socket that is not connected yet
    release(w, t.ep, own)
    if own.held == 0:
        calls.close(w.tcp, t, now)
    elif t.ep.remote_port == 0:
        _close_children(w, t, now)
    mark_due(w.tcp, t)                                      # the egress pass frees it


@compiled
def _close_children(w: World, listener: Tcb, now: int) -> None:
    """The application has closed a listener: nobody else has its handler's connections, so they are closed, too."""
    for i in range(w.tcp.tcbs.used):
        t = tcb.get(w.tcp, i + 1)
        if t.ep.generation != 0 and t.ep.handler & HANDLER != 0:
            own = tcb.handled(w.tcp, t)
            if own.generation == t.ep.generation and own.listener == listener.ep.index and (
                    own.listener_generation == listener.ep.generation):
                _finish(w, t, own, Wish.CLOSE, now)


@compiled
def _finish(w: World, t: Tcb, own: Own, wish: int, now: int) -> None:
    """The handler is done with the connection: as close(2), or a reset.  It hears so, last."""
    own.wake_at = 0
    if wish != Wish.FAILED:
        _show(w, t, own, Event.CLOSED, now)
    release(w, t.ep, own)
    if wish >= Wish.ABORT:
        calls.abort(w.tcp, t, 0)
    if own.held == 0:
        calls.close(w.tcp, t, now)
    elif wish == Wish.CLOSE:
        calls.shutdown(w.tcp, t, calls.SHUT_WR, now)        # the socket is the application's
    mark_due(w.tcp, t)


@compiled
def _run(w: World, t: Tcb, own: Own, event: int, now: int) -> bool:
    """Call the handler once, and do what it wants.  False: it has the connection no more."""
    handler = w.handlers[t.ep.handler & HANDLER]
    done = _show(w, t, own, event, now)
    c = w.call
    if not done:
        _finish(w, t, own, Wish.FAILED, now)
        return False
    if event != Event.OPENED:
        own.seen = t.rcv.tail
    own.wake_at = c.wake_at
    handler.bytes_in += c.consumed
    handler.bytes_out += c.put
    if c.tail != t.snd.tail:
        ring.set_tail(t.snd, c.tail)
    if c.put != 0:
        t.more = 0
        t.push = 0
        mark_due(w.tcp, t)
    if c.consumed != 0:
        _consume(w, t, c.consumed, now)
    if c.refused and calls.can_send(t):
        own.blocked = 1
        if ring.used(t.snd) == 0:                           # there is no memory, and no ACK will come: try again
            tcb.arm(w.tcp, t, now + NO_ROOM)
    if c.wake_at != 0:
        tcb.arm(w.tcp, t, max(c.wake_at, now + 1))
    if c.wish == Wish.END:
        if t.fin == 0:
            calls.shutdown(w.tcp, t, calls.SHUT_WR, now)
    elif c.wish != Wish.NOTHING:
        _finish(w, t, own, c.wish, now)
        return False
    return True


@compiled
def _consume(w: World, t: Tcb, n: int, now: int) -> None:
    """As after recv(2): the window opens, and buffers follow."""
    ring.set_head(t.rcv, t.rcv.head + n)
    if tcb.rare(t).urgent.mark != urgent.Mark.NONE:         # to a handler it is text like all other
        urgent.on_read(tcb.rare(t).urgent, t.rcv.head)
    if receive.on_read(w.tcp, t, now):
        receive.make_room(w.tcp, t)
    receive.relieve(w.tcp, t)
    if calls.after_recv(w.tcp, t):
        t.ack_now = 1
        mark_due(w.tcp, t)


@compiled
def _is_about(x: Exchange, e: Endpoint) -> None:
    """Who the peer is, and the error."""
    x.peer_hi = e.remote_hi
    x.peer_lo = e.remote_lo
    x.peer_port = e.remote_port
    x.peer_scope = 0
    x.error = e.error


@compiled
def _show(w: World, t: Tcb, own: Own, event: int, now: int) -> bool:
    """Fill in the exchange and call.  False: the handler has failed."""
    c = w.call
    x = c.x
    e = t.ep
    _is_about(x, e)
    c.rcv = addressof(t.rcv)
    c.head = t.rcv.head
    c.length = ring.used(t.rcv)
    c.snd = addressof(t.snd)
    c.room = 0
    c.ready = 0
    c.more = w.units.more
    c.out = 0
    if event != Event.CLOSED and calls.can_send(t):
        c.room = max(calls.room_to_send(w.tcp, t), 0)
        if t.snd.data != 0:
            ring.rewind(t.snd)
            c.ready = ring.room(t.snd)
    c.tail = t.snd.tail
    c.subject = addressof(t)
    return _call(w, e, own, event, now)


@compiled
def _call(w: World, e: Endpoint, own: Own, event: int, now: int) -> bool:
    """The rest of the exchange, and the call."""
    c = w.call
    x = c.x
    handler = w.handlers[e.handler & HANDLER]
    x.event = event
    x.datagrams = 1 if e.kind == Kind.UDP else 0
    x.length = c.length
    x.room = c.room
    x.now = now
    x.local_port = e.local_port
    x.text_length = handler.text_length
    x.a = own.a
    x.b = own.b
    x.c = own.c
    x.d = own.d
    x.e = own.e
    x.f = own.f
    x.g = own.g
    x.h = own.h
    c.world = addressof(w)
    c.index = e.handler & HANDLER
    c.text = handler.text
    c.text_length = handler.text_length
    c.consumed = 0
    c.put = 0
    c.clamped = 0
    c.wake_at = own.wake_at
    c.wish = Wish.NOTHING
    c.refused = 0
    done = invoke2(handler.address, addressof(c), 0) == DONE
    own.a = x.a
    own.b = x.b
    own.c = x.c
    own.d = x.d
    own.e = x.e
    own.f = x.f
    own.g = x.g
    own.h = x.h
    handler.calls += 1
    handler.clamped += c.clamped
    if not done:
        handler.errors += 1
    return done


@unit
def more_unit(call: int, n: int) -> int:
    """Make room for n bytes more of a connection's answer, as far as there may be."""
    c = at(Call, call)
    w = at(World, c.world)
    t = at(Tcb, c.subject)
    ring.set_tail(t.snd, c.tail)                            # what is there moves with the ring
    if receive.make_room_to_send(w.tcp, t, n):
        ring.rewind(t.snd)
        c.ready = ring.room(t.snd)
    c.room = min(c.room, max(calls.room_to_send(w.tcp, t), 0))
    return 0


# ---- datagrams ------------------------------------------------------------------------

@compiled
def _socket(w: World, s: Sock, own: Own, now: int) -> None:
    """What one UDP socket's handler is to see now."""
    if own.opened == 0 and s.ep.closed == 0:
        _open(w, s.ep, own)
        _datagram(w, s, own, Event.OPENED, 0, now)
    left = ONE_PASS
    while left > 0 and ring.used(s.rcv) > 0 and s.ep.closed == 0:
        _datagram(w, s, own, Event.DATAGRAM, ring.address(s.rcv, s.rcv.head), now)
        datagram.drop_first(s)
        left -= 1
    if s.ep.closed:
        if own.opened:
            _datagram(w, s, own, Event.CLOSED, 0, now)
        release(w, s.ep, own)
        datagram.notify(w.datagrams, s)                     # `flush` frees it
    elif ring.used(s.rcv) > 0:
        datagram.notify(w.datagrams, s)


@compiled
def _datagram(w: World, s: Sock, own: Own, event: int, prefix: int, now: int) -> None:
    """Call the handler once, for the datagram behind a prefix if there is one, and send what it has left."""
    c = w.call
    x = c.x
    e = s.ep
    _is_about(x, e)
    c.rcv = addressof(s.rcv)
    c.head = s.rcv.head
    c.length = 0
    if prefix != 0:
        p = at(Prefix, prefix)
        x.peer_hi = p.hi
        x.peer_lo = p.lo
        x.peer_port = p.port
        x.peer_scope = p.scope
        c.head += PREFIX
        c.length = p.length
    c.snd = addressof(w.answer)
    c.tail = 0
    c.more = 0
    c.out = w.units.out if event != Event.CLOSED else 0
    c.room = 0 if s.write_closed or event == Event.CLOSED else MAX_DATAGRAM
    c.ready = c.room
    c.subject = addressof(s)
    done = _call(w, e, own, event, now)
    e.error = 0
    handler = w.handlers[e.handler & HANDLER]
    if prefix != 0:
        handler.datagrams_in += 1
        handler.bytes_in += c.length
    handler.clamped += c.refused                            # more than fits into a datagram
    if done and c.tail != 0:
        _send(w, s, c)


@compiled
def _send(w: World, s: Sock, c: Call) -> int:
    """Send the answer.  Its length, or -errno."""
    to = w.destination
    to.hi = c.x.peer_hi
    to.lo = c.x.peer_lo
    to.port = c.x.peer_port & 0xFFFF
    to.scope = c.x.peer_scope if 0 < c.x.peer_scope <= w.net.interface_count else 0
    to.segment = -1
    to.control = 0
    handler = w.handlers[c.index]
    n = invoke6(w.units.datagram, addressof(w), s.ep.index, addressof(w.answer) + w.answer.data, c.tail, addressof(to),
                w.tcp.now)
    if n < 0:
        handler.unsent += 1
    else:
        handler.datagrams_out += 1
        handler.bytes_out += n
    c.tail = 0
    c.room = MAX_DATAGRAM
    c.ready = MAX_DATAGRAM
    c.x.room = MAX_DATAGRAM
    return n


@unit
def out_unit(call: int, nothing: int) -> int:
    """Send one datagram of an answer, in the middle of a call.  Its length, or -errno."""
    c = at(Call, call)
    return _send(at(World, c.world), at(Sock, c.subject), c)
