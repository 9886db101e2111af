"""The engine: on this page the whole way of a packet is visible.

A turn is: frames in, notes from the application, timers, segments out, wake who
waits.  Whoever holds `World.lock` runs turns, one thread at a time, without the
GIL; `drive.py` says who that is.  `now` is an argument: only `drive` reads a clock.
"""
from __future__ import annotations

from . import calling, datagram, endpoint, packet, ping, raw, udp, watch
from .datagram import Destination
from .drivers import device, impair, pcap
from .drivers.base import Kind
from .errors import EBADFD, Drop
from .ip import icmp, input, link, reassembly, setup
from .ip import timeouts as ip_timeouts
from .ip.net import Interface, Verdict
from .machine import (
    address_of,
    addressof,
    at,
    compare_exchange,
    compiled,
    fence_seq,
    fetch_add,
    invoke2,
    invoke3,
    libc,
    load_acquire,
    offsetof,
    store32,
    store_release,
    store_seq,
    timers,
    unit,
)
from .machine.timers import NEVER
from .tcp import algorithms, arrives, calls, gro, header, listen, output, synack, tcb, timeouts
from .tcp import foresee as foreseen
from .tcp import icmp as tcp_icmp
from .tcp.gro import Joining
from .world import World

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
TAP = int(Kind.TAP)
BATCH = 64              # frames taken from one interface in one turn
TIMERS = 1024           # connections whose deadlines are served in one turn
EGRESS = 512            # connections served by one egress pass
NOTES_TAIL = offsetof(World, "notes_tail")
BELL_VALUE = offsetof(World, "bell_value")
RUNG = offsetof(World, "rung")
SLEEPING = offsetof(World, "sleeping")
DRIVERS = offsetof(World, "drivers")


def set_units(w: World) -> None:
    """Put the units' addresses into a World that is new, or that the caller owns; compiles what the cache does not
    have."""
    setup.set_units(w.net)
    w.units.receive = address_of(receive_unit)
    w.units.expire = address_of(expire_unit)
    w.units.egress = address_of(egress_unit)
    w.units.flush = address_of(flush_unit)
    w.units.datagram = address_of(datagram_unit)
    w.units.call = address_of(calling.call_unit)
    w.units.more = address_of(calling.more_unit)
    w.units.out = address_of(calling.out_unit)
    for i in range(len(algorithms.names())):
        w.tcp.algorithms[i].known = 0
        algorithms.install(w.tcp, i)


@compiled
def turn(w: World, now: int) -> int:
    """One turn.  1 when more work waits already, else 0.  The caller holds the world."""
    w.turns += 1
    w.tcp.now = now
    more = ingress(w, now)
    take_notes(w)
    more |= expire(w, now)
    call(w, now)
    more |= egress(w, now)
    flush(w)
    return more


# ---- in ------------------------------------------------------------------------

@compiled
def ingress(w: World, now: int) -> int:
    """Frames from every interface, a batch from each.  1 when a batch was full."""
    more = 0
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1 and link.may_have(iface, now) and receive(w, iface, now) == BATCH:
            more = 1
    return more


@compiled
def receive(w: World, iface: Interface, now: int) -> int:
    """Up to a batch of frames from one interface; how many there were."""
    return invoke3(w.units.receive, addressof(w), addressof(iface), now)


@unit
def receive_unit(world: int, interface: int, now: int) -> int:
    """... the work of it."""
    w = at(World, world)
    iface = at(Interface, interface)
    count = 0
    while count < BATCH:
        foresee(w, iface)
        n = link.receive(w.net, iface, now)
        if n <= 0:
            if n == -EBADFD:                                # the device is gone (a TAP that was deleted)
                iface.up = 0
                w.net.attention = 1
                store32(addressof(w.poll_fds) + 8 * iface.index, -1)
            break
        if w.tcp.joining == Joining.NONE or not gro.takes(w.tcp, w.net, iface.device, n):
            deliver_joined(w, now)
            deliver(w, take_in(w, iface, n, now), now)
            reassembly.release(w.net)
        if w.tcp.joining == Joining.ENDED:
            deliver_joined(w, now)
        link.done(iface)
        count += 1
        if w.tcp.pressing:
            w.tcp.pressing = 0
            egress(w, now)                                  # an ACK that is not to wait for the rest of the batch
    deliver_joined(w, now)
    if w.net.tapped != 0:
        packet.distribute(w.datagrams, w.net)
    return count


@compiled
def foresee(w: World, iface: Interface) -> None:
    """Where the next frame's text belongs, if one can tell and nobody else is to see the frame first."""
    dev = iface.device
    if dev.kind == TAP:
        dev.expect = 0
        if (w.tcp.foreseen != 0 and w.net.raw == 0 and w.net.tapped == 0 and iface.impair_in.on == 0
                and w.net.capture.on == 0):
            foreseen.aim(w.tcp, dev, foreseen.LONGEST if dev.features != 0 else iface.mtu)


@compiled
def take_in(w: World, iface: Interface, n: int, now: int) -> int:
    """A frame of n bytes is here: what IP makes of it."""
    dev = iface.device
    if dev.placed == 0:
        return input.receive(w.net, iface, dev.frame, n, now)
    foreseen.check(w.tcp, dev, n)
    verdict = input.receive(w.net, iface, dev.frame, n, now)
    if dev.placed != 0:
        rx = w.net.rx
        rx.placed = dev.placed
        rx.place = dev.places[0]
        rx.place_len = dev.places[1]
        rx.place_more = dev.places[2]
    return verdict


@compiled
def deliver(w: World, verdict: int, now: int) -> None:
    """Take what IP hands up to the protocol it belongs to."""
    reason = 0
    if verdict == Verdict.DONE:
        return
    if w.net.raw != 0:
        verdict = show_raw(w, verdict, now)
    if verdict == TCP:
        reason = deliver_tcp(w, now)
    elif verdict == UDP:
        reason = udp.receive(w.datagrams, w.net, now)
        if reason == Drop.UDP_NO_PORT:
            icmp.unreachable(w.net, now)                    # RFC 1122 4.1.3.1
    elif verdict == ICMP or verdict == ICMPV6:
        reason = ping.receive(w.datagrams, w.net, now)
    elif verdict == Verdict.ERROR:
        reason = deliver_error(w, now)
    if reason != 0:
        w.net.drops[reason] += 1


@compiled
def show_raw(w: World, verdict: int, now: int) -> int:
    """Raw sockets see a packet first.  The verdict that is left."""
    if verdict == TCP or verdict == UDP:
        raw.receive(w.datagrams, w.net, now)
    if verdict != Verdict.RAW:
        return verdict
    found = raw.receive(w.datagrams, w.net, now)
    return invoke3(w.net.go_on, addressof(w.net), 1 if found else 0, now)


@compiled
def deliver_tcp(w: World, now: int) -> int:
    """One segment: to its connection, or answered with a reset."""
    seg = w.tcp.seg
    if w.net.rx.broadcast:
        return Drop.TCP_NO_PORT                             # RFC 9293 3.9.2.3, MUST-57
    reason = header.parse(seg, w.net.rx)
    if reason != 0:
        w.tcp.counters.in_errs += 1
        return reason
    if seg.placed != 0 and gro.begins(w.tcp, w.net.interfaces[seg.interface].device):
        return Drop.NONE                                    # it may be the first of many
    return process(w, seg, now)


@compiled
def deliver_joined(w: World, now: int) -> None:
    """Take up what waits for others to be joined with it, if anything does."""
    if w.tcp.joining != Joining.NONE:
        gro.finish(w.tcp)
        reason = process(w, w.tcp.seg, now)
        if reason != 0:
            w.net.drops[reason] += 1


@compiled
def process(w: World, seg: header.Segment, now: int) -> int:
    """Give TCP one segment, and its answer to the peer, if that is no connection's."""
    reply = arrives.segment_arrives(w.tcp, w.net, seg, now)
    if reply == arrives.RESET:
        output.reset(w.tcp, w.net, seg, now)
        return Drop.TCP_NO_PORT
    if reply == listen.COOKIE:
        synack.send_cookie(w.tcp, w.net, seg, now)
        return Drop.NONE
    return reply


@compiled
def deliver_error(w: World, now: int) -> int:
    """An ICMP error, or a packet that could not be delivered: to the socket it belongs to."""
    e = w.net.error
    if w.net.raw != 0 and raw.error_arrives(w.datagrams, w.net, e, now) and e.protocol not in (TCP, UDP, ICMP, ICMPV6):
        return Drop.NONE
    if e.protocol == TCP:
        return tcp_icmp.error_arrives(w.tcp, w.net, e, now)
    if e.protocol == UDP:
        return udp.error_arrives(w.datagrams, w.net, e, now)
    if e.protocol == ICMP or e.protocol == ICMPV6:
        return ping.error_arrives(w.datagrams, w.net, e, now)
    return Drop.ICMP_UNKNOWN


# ---- notes, timers -----------------------------------------------------------------

@compiled
def note_at(w: World, position: int) -> int:
    """The address of a slot of the note ring."""
    return addressof(w) + w.notes + 4 * (position & w.notes_mask)


@compiled
def leave_note(w: World, index: int) -> None:
    """The application has touched a connection while another thread owned the world.  Any thread; never full,
    since a connection leaves one note at a time (`Endpoint.pending`)."""
    ticket = fetch_add(addressof(w) + NOTES_TAIL, 1)
    store_release(note_at(w, ticket), index)


@compiled
def has_notes(w: World) -> bool:
    """Whether a note waits."""
    return load_acquire(note_at(w, w.notes_head)) != 0


@compiled
def take_notes(w: World) -> None:
    """Mark the connections due that the application has left notes for."""
    index = load_acquire(note_at(w, w.notes_head))
    while index != 0:
        store32(note_at(w, w.notes_head), 0)
        w.notes_head += 1
        t = tcb.get(w.tcp, index)
        store_release(addressof(t.ep) + endpoint.PENDING, 0)
        if t.ep.generation != 0:
            touched(w, t)
        index = load_acquire(note_at(w, w.notes_head))


@compiled
def touched(w: World, t: tcb.Tcb) -> None:
    """The application has written or read: is there something to send?"""
    if calls.after_recv(w.tcp, t):
        t.ack_now = 1
    tcb.mark_due(w.tcp, t)


@compiled
def expire(w: World, now: int) -> int:
    """Every deadline that has come: neighbours, fragments, connections, held frames.  1 when some are left."""
    first = min(timers.next_deadline(w.tcp.timers), ip_timeouts.next_deadline(w.net))
    if first > now and next_release(w, now) > now and w.net.reported == 0:
        return 0
    return invoke2(w.units.expire, addressof(w), now)


@unit
def expire_unit(world: int, now: int) -> int:
    """... the work of it."""
    w = at(World, world)
    verdict = ip_timeouts.expire(w.net, now)
    while verdict == Verdict.ERROR:
        reason = deliver_error(w, now)
        w.net.drops[reason] += 1 if reason != 0 else 0
        verdict = ip_timeouts.expire(w.net, now)
    more = 1
    for _ in range(TIMERS):
        index = timers.expire(w.tcp.timers, now)
        if index < 0:
            more = 0
            break
        timeouts.expire(w.tcp, tcb.get(w.tcp, index), now)
    release(w, now)
    return more


@compiled
def release(w: World, now: int) -> None:
    """Frames that the impairments of our own interfaces have held go to the device when their time has come."""
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1:
            impair.release(iface.impair_out, iface.device, now)


# ---- handlers ------------------------------------------------------------------------

@compiled
def call(w: World, now: int) -> None:
    """Handlers of users look at what has come, and answer."""
    if calling.is_waiting(w):
        invoke2(w.units.call, addressof(w), now)


# ---- out -----------------------------------------------------------------------------

@compiled
def egress(w: World, now: int) -> int:
    """The one pass that sends: every connection that is due, once.  1 when some have more to send."""
    return invoke2(w.units.egress, addressof(w), now) if w.tcp.due_head != 0 else 0


@unit
def egress_unit(world: int, now: int) -> int:
    """... the work of it."""
    w = at(World, world)
    more = 0
    count = min(w.tcp.due_count, EGRESS)
    if w.tcp.due_count > count:
        more = 1
    for _ in range(count):
        index = tcb.take_due(w.tcp)
        if index == 0:
            break
        t = tcb.get(w.tcp, index)
        if output.transmit(w.tcp, w.net, t, now) != 0:
            tcb.mark_due(w.tcp, t)
            more = 1
        if t.state == tcb.State.CLOSED and t.due == 0:
            calls.free(w.tcp, t)
    return more


@compiled
def flush(w: World) -> None:
    """End of the turn: wake the threads whose sockets have changed, and bring descriptors in step."""
    if w.tcp.notify_head != 0 or w.datagrams.notify_head != 0 or w.net.capture.on != 0 or w.net.tapped != 0:
        invoke2(w.units.flush, addressof(w), 0)


@unit
def flush_unit(world: int, nothing: int) -> int:
    """... the work of it."""
    w = at(World, world)
    if w.net.tapped != 0:
        packet.distribute(w.datagrams, w.net)
    fence_seq()                                             # one for all that are woken (`endpoint.wake`)
    index = w.tcp.notify_head
    while index != 0:
        t = tcb.get(w.tcp, index)
        w.tcp.notify_head = t.ep.notify_next
        t.ep.notified = 0
        if t.ep.fd_engine >= 0:
            endpoint.show(t.ep, calls.poll(w.tcp, t))
        watch.on_change(w, t.ep)
        announce(w, t.ep, t.state == tcb.State.LISTEN)
        if t.state == tcb.State.CLOSED and t.due == 0:
            calls.free(w.tcp, t)
        index = w.tcp.notify_head
    index = w.datagrams.notify_head
    while index != 0:
        s = datagram.get(w.datagrams, index)
        w.datagrams.notify_head = s.ep.notify_next
        s.ep.notified = 0
        if s.ep.fd_engine >= 0:
            endpoint.show(s.ep, datagram.poll(s))
        watch.on_change(w, s.ep)
        announce(w, s.ep, s.read_closed == 0 and s.ep.error == 0)
        datagram.free(w.datagrams, s)
        index = w.datagrams.notify_head
    if w.net.capture.on != 0:
        pcap.flush(w.net.capture)
    return 0


@unit
def datagram_unit(world: int, index: int, address: int, n: int, destination: int, now: int) -> int:
    """Send one datagram of a socket; at `destination` a Destination.  n, or -errno."""
    w = at(World, world)
    s = datagram.get(w.datagrams, index)
    to = at(Destination, destination)
    if s.ep.kind == endpoint.Kind.PACKET:
        return packet.send(w.net, s, address, n, to, now)
    if s.ep.kind == endpoint.Kind.RAW:
        return raw.send(w.datagrams, w.net, s, address, n, to, now)
    if s.ep.kind == endpoint.Kind.PING:
        return ping.send(w.datagrams, w.net, s, address, n, to, now)
    return udp.send(w.datagrams, w.net, s, address, n, to, now)


@compiled
def announce(w: World, ep: endpoint.Endpoint, one: bool) -> None:
    """Wake who sleeps on an endpoint; the one that drives sleeps in poll(2) and hears the bell.

    `one`: what has come is for one thread.  If that is the one that drives, nobody else is disturbed; whoever takes
    the first wakes the next if there is more (`entry.pass_on`).
    """
    if not one or ep.closed or w.stopped:
        step_down(w, ep)
        endpoint.wake(ep, endpoint.EVERYBODY)
    elif not ep.driving:
        step_down(w, ep)
        endpoint.wake(ep, 1)
    if ep.driving:
        w.promised = 1                                  # not now: it would wake only to wait for the world


@compiled
def ring(w: World) -> None:
    """Wake whoever sleeps in poll(2), unless that has been done: then it will look at what we have changed, too."""
    if w.bell < 0 or load_acquire(addressof(w) + SLEEPING) == 0 or load_acquire(addressof(w) + RUNG) != 0:
        return
    if compare_exchange(addressof(w) + RUNG, 0, 1) == 0:
        w.bell_value = 1
        libc.write(w.bell, addressof(w) + BELL_VALUE, 8)


@compiled
def answer_bell(w: World) -> None:
    """A sleeper has heard it.

    Who rings from now on is heard again.  Whoever did not, because we had not answered yet, may have meant another
    sleeper, so that one is woken, too.
    """
    libc.read(w.bell, addressof(w) + BELL_VALUE, 8)
    store_seq(addressof(w) + RUNG, 0)
    if load_acquire(addressof(w) + SLEEPING) > 1:
        ring(w)


@compiled
def step_down(w: World, ep: endpoint.Endpoint) -> None:
    """This turn has work for another thread, which is the one to drive next: the driver gives the role away.

    Before that thread is woken, so that it never finds the role taken by one that is about to leave it.  A selector's
    thread that is not asleep is busy with what was ready before, and runs a turn itself when it comes back; of others
    nobody knows when they do.
    """
    busy = ep.kind == endpoint.Kind.SELECTOR and ep.driving == 0 and ep.closed == 0
    if ep.waiters != 0 or busy:
        give_away(w)


@compiled
def give_away(w: World) -> None:
    """The thread whose turn this is drives no longer."""
    if w.turning:
        w.turning = 0
        store_release(addressof(w) + DRIVERS, 0)


@compiled
def has_frames(w: World) -> bool:
    """Whether a frame waits that poll(2) does not see (loopback, wires)."""
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1 and device.is_pending(iface.device):
            return True
    return False


@compiled
def settle(w: World, now: int) -> int:
    """After a call of the application: send what is due, and carry loopback traffic to its other end.

    1 when there is still something to do (a burst was cut short).
    """
    w.tcp.now = now
    call(w, now)
    more = egress(w, now)
    lo = w.net.interfaces[link.LOOPBACK]
    rounds = 0
    while rounds < 64 and device.is_pending(lo.device):
        receive(w, lo, now)
        call(w, now)
        more = egress(w, now)
        rounds += 1
    flush(w)
    return more | (1 if device.is_pending(lo.device) else 0)


@compiled
def next_deadline(w: World, now: int) -> int:
    """When the next turn is needed if nothing arrives: ns, `now` when work waits, or NEVER."""
    return min(next_work(w, now), next_release(w, now))


@compiled
def next_release(w: World, now: int) -> int:
    """When `release` is needed."""
    first = NEVER
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1:
            first = min(first, impair.next_deadline(iface.impair_out, now))
    return first


@compiled
def next_work(w: World, now: int) -> int:
    """When the rest of a turn is."""
    if w.tcp.due_head != 0 or has_notes(w) or calling.is_waiting(w) or has_frames(w):
        return now
    first = min(timers.next_deadline(w.tcp.timers), ip_timeouts.next_deadline(w.net))
    for i in range(w.net.interface_count):
        iface = w.net.interfaces[i + 1]
        if iface.up == 1:
            first = min(first, impair.next_deadline(iface.impair_in, now))
    return first


