"""Sending: the one place from which segments leave.

RFC 9293 section 3.8: retransmissions first, then new data as the windows,
Nagle's rule (3.7.4) and silly-window avoidance (3.8.6.2.1) allow, a FIN behind
the last byte, and an ACK of its own only if nothing carried it.

`transmit` has one caller, the engine's egress pass.
"""
from __future__ import annotations

from ..drivers.offload import Gso
from ..errors import EMSGSIZE
from ..ip import checksum
from ..ip import output as ip_output
from ..ip.net import SCRATCH_TRANSPORT, Net
from ..machine import addressof, compiled, put16, ring
from . import (
    accecn,
    accecn_option,
    cwv,
    ecn,
    eor,
    fastopen,
    fastopen_client,
    mtu_probe,
    pacing,
    path,
    quickack,
    rate,
    receive,
    recovery,
    rto,
    runs,
    seq,
    stats,
    timestamps,
    undo,
    usertimeout,
    window,
)
from .ack import arm_probe
from .congestion import Ca
from .frto import Step
from .header import (
    ACK,
    CHECKSUM,
    FIN,
    HEADER_LEN,
    PSH,
    RST,
    SYN,
    URG,
    Segment,
    emit,
    emit_fastopen,
    emit_syn_options,
    emit_timestamp,
)
from .recovery import segment_size
from .tcb import State, Tcb, Tcp, arm, rare

PROTOCOL = 6
LARGEST = 65535 - 40 - 60   # bytes of text that fit into one packet with all its headers
BURST = 64                  # segments a connection may send before the others have their turn
NO_ROOM = 10_000_000        # ns until a connection looks again whether there is a run for it (runs.py)
OVERRIDE = 200_000_000      # ns; 3.8.6.2.1 asks for 0.1 to 1 s before a small segment is sent after all


@compiled
def transmit(tcp: Tcp, net: Net, t: Tcb, now: int) -> int:
    """Send what is due on one connection.  1 when there is more to send at once, else 0."""
    if t.rst_due:
        t.rst_due = 0
        _abort(tcp, net, t, now)
    if t.state in (State.CLOSED, State.LISTEN):
        return 0
    if t.state in (State.SYN_SENT, State.SYN_RECEIVED):
        if t.syn_due:
            _send_syn(tcp, net, t, now)
        early = 0
        if t.fast.pending and seq.gt(t.snd_max, t.iss):
            early = _send_data(tcp, net, t, now)            # RFC 7413 4.2.2: the answer need not wait for the ACK
            t.clocks.probe = 0
        if t.ack_now and t.state == State.SYN_RECEIVED:
            _send(tcp, net, t, bare_seq(t), 0, 0, ACK, ecn.NOT_ECT, now)
        return early
    more = 0
    if t.ecn.mode == ecn.Mode.ACCURATE:
        if rare(t).accecn.reflect and t.ack_now:              # (RFC 9768 3.2.2.1) "SHOULD first send a pure ACK"
            _send(tcp, net, t, bare_seq(t), 0, 0, ACK, ecn.NOT_ECT, now)
        accecn_option.reserve(rare(t).accecn, _has_option(tcp, t, now))
    if t.state != State.TIME_WAIT and t.state != State.FIN_WAIT_2:
        more = _send_data(tcp, net, t, now)
        if t.tlp.due:
            _send_loss_probe(tcp, net, t, now)
    if t.probe:
        _send_probe(tcp, net, t, now)
    if t.ack_now:
        _send(tcp, net, t, bare_seq(t), 0, 0, ACK, ecn.NOT_ECT, now)
    return more


@compiled
def bare_seq(t: Tcb) -> int:
    """SEG.SEQ of a segment without text: SND.MAX, as far as the peer's window reaches.

    Differs: the RFC says SND.NXT, but ours goes back after a timeout, and a segment from there would be old.
    """
    edge = seq.add(t.snd_una, t.snd_wnd)
    return t.snd_max if seq.leq(t.snd_max, edge) or not t.clocks.persist else edge


# ---- SYN ---------------------------------------------------------------------

@compiled
def _send_syn(tcp: Tcp, net: Net, t: Tcb, now: int) -> None:
    """<SEQ=ISS><CTL=SYN>, or <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>."""
    t.syn_due = 0
    passive = t.state == State.SYN_RECEIVED
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    s = tcp.settings
    ts = t.ts.ok if passive else s.tcp_timestamps
    sack = t.sack_ok if passive else s.tcp_sack
    wscale = t.rcv_wscale if (t.ws_ok if passive else s.tcp_window_scaling) else -1
    n = emit_syn_options(head + HEADER_LEN, t.rcv_mss, sack, ts, timestamps.clock(t.ts, now),
                         t.ts.recent if passive else 0, wscale)
    first = t.snd_max == t.iss
    if first:                                           # sent again without Fast Open (RFC 7413 4.2.1, as Linux)
        n += _emit_fastopen(tcp, t, head + HEADER_LEN + n, passive)
    text = t.fast.text if first and not passive else 0
    if not passive:
        if first:
            t.ecn.asked = ecn.wish(s.tcp_ecn)
        else:
            ecn.on_syn_again(t.ecn, t.retransmits, s.tcp_ecn_fallback)
    flags = SYN | ACK | _synack_flags(t) if passive else SYN | ecn.syn_flags(t.ecn)
    if passive and t.ecn.mode == ecn.Mode.ACCURATE and t.retransmits == 0 and rare(t).accecn.syn_again == 0 and (
            s.tcp_ecn_option != accecn_option.Setting.NEVER):                   # (RFC 9768 3.2.3.2.1, 3.2.3.2.2)
        option = accecn_option.length(rare(t).accecn, 40 - n)
        if option != 0:
            accecn_option.emit(rare(t).accecn, head + HEADER_LEN + n, option, now)
            n += option
    emit(head, t.ep.local_port, t.ep.remote_port, t.iss, t.rcv_nxt if passive else 0, flags,
         window.syn_field(t), 0, HEADER_LEN + n)
    if first:
        t.snd_max = seq.add(t.iss, 1 + text)
        t.rto.syn_at = now
    elif t.retransmits or t.fast.text != 0:
        t.rto.syn_again = 1 if t.retransmits else t.rto.syn_again
        t.rto.syn_at = 0
        tcp.counters.retrans_segs += 1
    t.snd_nxt = t.snd_max
    if t.clocks.retransmit == 0:
        t.clocks.retransmit = now + rto.timeout(t.rto)
        arm(tcp, t, t.clocks.retransmit)
    _finish(tcp, net, t, head, HEADER_LEN + n, t.snd.head, text, 0, ecn.NOT_ECT, now)
    t.ack_now = 0
    t.unacked = 0
    t.clocks.delayed_ack = 0


@compiled
def _emit_fastopen(tcp: Tcp, t: Tcb, p: int, passive: bool) -> int:
    """The Fast Open option of a SYN or SYN-ACK, if it has one; its length (RFC 7413 4.1.1)."""
    f = t.fast
    e = t.ep
    if passive:
        if f.answer == 0:
            return 0
        f.answer = 0
        return emit_fastopen(p, addressof(f) + fastopen.MADE, fastopen.COOKIE_LEN, f.experimental)
    if f.asks == 0:
        return 0
    index = fastopen_client.find(tcp.fast, e.local_hi, e.local_lo, e.remote_hi, e.remote_lo)
    if index < 0:
        return emit_fastopen(p, 0, 0, f.experimental)
    entry = tcp.fast.entries[index]
    return emit_fastopen(p, addressof(entry) + fastopen_client.COOKIE, entry.length, f.experimental)


@compiled
def _synack_flags(t: Tcb) -> int:
    """ECN of a SYN-ACK; the second time that it is sent again without AccECN (RFC 9768 3.1.4.2, 3.2.3.2.2)."""
    if t.ecn.mode == ecn.Mode.ACCURATE and t.retransmits > 1:
        accecn.on_plain_synack(rare(t).accecn)
        return 0
    return ecn.synack_flags(t.ecn.mode, rare(t).accecn.handshake)


# ---- data ----------------------------------------------------------------------

@compiled
def _send_data(tcp: Tcp, net: Net, t: Tcb, now: int) -> int:
    """Retransmissions and new data, up to a burst.  1 when stopped by the burst or the device, not by a rule."""
    held = ring.used(t.snd)                             # bytes from SND.UNA on; the FIN comes after them
    if held == 0 and (t.fin == 0 or (t.fin_sent and t.snd_una == t.snd_max)):
        return 0
    stats.set_busy(t.stats, True, now)
    if t.mtu.expires != 0 and t.mtu.expires <= now:
        path.refresh(net, t, now)
    path_mss = t.pmtu_mss
    mss = segment_size(t)
    if t.sack_ok:
        mss -= receive.sack_len(tcp, t, 40 - timestamps.OPTION_LEN * t.ts.ok)
    if t.queue.head == 0 and tcp.settings.tcp_slow_start_after_idle and t.stats.last_data_sent != 0 and (
            recovery.algorithm(tcp, t).full == 0):
        cwv.after_idle(t.cc, now - t.stats.last_data_sent, t.rto.rto)
    pace = pacing.rate(t.pacing, t.cc.pacing_rate)
    largest = LARGEST // mss                            # segments that go down together
    if t.loopback or t.ecn.mode == ecn.Mode.ACCURATE or seq.gt(t.snd_up, t.snd_una):
        largest = 1                                     # (AccECN) who cuts them would take CWR from its counter
    sent = 0
    left = BURST
    while left > 0:
        if t.loopback and not ip_output.has_room(net, t.ep.remote_hi, t.ep.remote_lo, mss + 128):
            return 1
        if pace != 0 and t.pacing.next_at > now and (sent == 0 or sent >= pacing.burst(pace, mss, t.rto.srtt)):
            t.clocks.pace = t.pacing.next_at
            arm(tcp, t, t.clocks.pace)
            break
        n = _send_mtu_probe(tcp, net, t, held, mss, now) if t.mtu.enabled else 0
        if n == 0:
            count = left
            if pace != 0:
                count = min(count, (pacing.burst(pace, mss, t.rto.srtt) - sent + mss - 1) // mss)
            n = _send_one(tcp, net, t, held, mss, mss if t.dsack.due else mss * max(min(count, largest), 1), now)
        if t.pmtu_mss < path_mss:                       # the last one was too large for the path, as `_finish` was told
            recovery.resend(tcp, t)
            return 1
        if n < 0:
            break
        sent += n
        left -= 1 + (n - 1) // mss
        if pace != 0:
            pacing.on_sent(t.pacing, n, pace, t.rto.srtt, now)
    else:
        _after_sending(tcp, t, held, sent, mss, now)
        return 1
    _after_sending(tcp, t, held, sent, mss, now)
    return 0


@compiled
def _send_one(tcp: Tcp, net: Net, t: Tcb, held: int, mss: int, most: int, now: int) -> int:
    """What is lost first, then new data (RFC 6675 4, NextSeg), up to `most` bytes of it at once.

    Sequence numbers sent; -1 when a rule forbids it.
    """
    room = t.cc.cwnd - recovery.pipe(t)
    if t.recovery.frto != Step.NEW_DATA:
        index = runs.first_lost(tcp.runs, t.queue)
        if index != 0:
            return _send_again(tcp, net, t, index, held, room, mss, now)
    offset = seq.diff(t.snd_nxt, t.snd_una)
    left = held - offset                                # not yet sent; -1 when the FIN is out
    wnd = t.snd_wnd - offset                            # U, the usable window
    if t.fin == 0 or left > mss:
        wnd = min(wnd, room)                            # as Linux: the last segment, with its FIN, waits for no cwnd
    record = eor.until(rare(t).ends, t.snd.head + offset)
    n = min(left, wnd, most, record)
    if n > mss:
        rest = n % mss
        if rest != 0 and not (n == record and n < left) and not (n == left and _worth_sending(t, rest, rest, mss)):
            n -= rest                                   # it follows by itself, when the rules allow
    fin = t.fin != 0 and left >= 0 and n == left
    if left < 0 or (n <= 0 and not (fin and (wnd > 0 or t.snd_wnd == 0))):
        return -1
    if n > 0 and not fin and (n < record or n == left) and not _worth_sending(t, n, left, mss):
        return -1
    if not runs.has_room(tcp.runs, t.queue):
        _wait_for_room(tcp, t, now)
        return -1
    n = max(n, 0)
    _send_text(tcp, net, t, n, n if n == record else left, fin, mss, True, now)
    return n + (1 if fin else 0)


@compiled
def _send_mtu_probe(tcp: Tcp, net: Net, t: Tcb, held: int, mss: int, now: int) -> int:
    """A segment of new text that is larger than the others (RFC 4821 7.3, 7.4), when all is quiet.  Its size, or 0."""
    s = tcp.settings
    m = t.mtu
    if t.cc.ca_state != Ca.OPEN or t.queue.sacked != 0 or t.ep.pmtudisc == 0 or receive.sack_len(tcp, t, 40) != 0:
        return 0
    if rare(t).ends.first != rare(t).ends.last:                             # records keep their segments
        return 0
    if not runs.has_room(tcp.runs, t.queue):
        return 0
    if mtu_probe.is_over(m, s.tcp_probe_threshold, s.tcp_probe_interval, now):
        mtu_probe.restart(m, path.probed(t), now)
    size = mtu_probe.next_size(m, s.tcp_probe_threshold)
    n = size - (timestamps.OPTION_LEN if t.ts.ok else 0)        # its text
    offset = seq.diff(t.snd_nxt, t.snd_una)
    if n <= mss or not mtu_probe.can_probe(n, mss, held - offset, t.snd_wnd - offset, t.cc.cwnd, recovery.pipe(t)):
        return 0
    mtu_probe.on_sent(m, size, t.snd_nxt, seq.add(t.snd_nxt, n))
    tcp.counters.mtu_probes += 1
    _send_text(tcp, net, t, n, held - offset, False, mss, False, now)
    return n


@compiled
def _wait_for_room(tcp: Tcp, t: Tcb, now: int) -> None:
    """No run is left that could remember what would be sent: other connections must give some back first."""
    tcp.runs.exhausted += 1
    t.clocks.pace = now + NO_ROOM
    arm(tcp, t, t.clocks.pace)


@compiled
def _worth_sending(t: Tcb, n: int, left: int, mss: int) -> bool:
    """Silly-window avoidance (3.8.6.2.1) and Nagle's rule (3.7.4), in the form of Minshall that Linux has:
    a small segment waits only while another small one is not acknowledged."""
    if n >= mss:                                                    # (1) a full segment
        return True
    if seq.lt(t.snd_nxt, t.snd_max):                                # sent before: no rule holds it back
        return True
    if n == left:                                                   # (2) all that there is, PUSHed ...
        idle = seq.leq(t.snd_sml, t.snd_una)
        if t.push:                                                              # TCP_NODELAY flushes
            return True
        if t.cork == 0 and t.more == 0 and (t.nodelay or idle):                     #     ... and Nagle allows
            return True
        return False
    return 2 * n >= t.max_window                                    # (3) half of the largest window


@compiled
def _send_text(tcp: Tcp, net: Net, t: Tcb, n: int, left: int, fin: bool, mss: int, cut: bool, now: int) -> None:
    """One segment of new text at SND.NXT, and what follows from it; with `cut` several, of `mss` bytes."""
    flags = ACK
    if n == left:
        flags |= PSH if n > 0 else 0
        if fin:
            flags |= FIN
    end = seq.add(t.snd_nxt, n + (1 if fin else 0))
    if (n < mss or (cut and n % mss != 0)) and t.snd_nxt == t.snd_max:
        t.snd_sml = end
    _remember(tcp, t, end, now)
    codepoint = ecn.NOT_ECT
    if n > 0 and t.snd_nxt == t.snd_max:                            # (RFC 3168 6.1.5) never sent before
        codepoint = ecn.ect(t.ecn)
        flags |= ecn.on_new_data(t.ecn, seq.add(t.snd_nxt, mss) if cut and n > mss else end)    # the first has CWR
    _send(tcp, net, t, t.snd_nxt, n, mss if cut and n > mss else 0, flags, codepoint, now)
    if fin:
        t.fin_sent = 1
    t.snd_nxt = end
    if seq.gt(end, t.snd_max):
        t.snd_max = end
    t.prr.out += n
    _start_timers(tcp, t, now)


@compiled
def _remember(tcp: Tcp, t: Tcb, end: int, now: int) -> None:
    """SND.NXT .. end - 1 goes to the queue of what is not acknowledged."""
    idle = t.queue.head == 0
    index = runs.append(tcp.runs, t.queue, t.snd_nxt, end, now)
    if index != 0:
        rate.on_sent(t.rate, runs.get(tcp.runs, index), idle, now)


@compiled
def _start_timers(tcp: Tcp, t: Tcb, now: int) -> None:
    """New text is out."""
    c = t.clocks
    if c.retransmit == 0:                                           # (RFC 6298 5.1)
        c.retransmit = now + rto.timeout(t.rto)
        arm(tcp, t, c.retransmit)
    if t.user.since == 0:
        usertimeout.begin(t.user, now)
        c.user = usertimeout.deadline(t.user)
        if c.user != 0:
            arm(tcp, t, c.user)
    c.persist = 0


@compiled
def _send_again(tcp: Tcp, net: Net, t: Tcb, index: int, held: int, room: int, mss: int, now: int) -> int:
    """The front of a lost run again (RFC 5681 3.2 step 3, RFC 6675 5 step C).  As `_send_one`."""
    q = t.queue
    r = runs.get(tcp.runs, index)
    offset = seq.diff(r.left, t.snd_una)
    n = min(runs.size(r), mss, eor.until(rare(t).ends, t.snd.head + offset))
    if n > room or (offset > 0 and offset + n > t.snd_wnd):
        return -1
    if runs.size(r) > n:
        runs.split(tcp.runs, q, index, seq.add(r.left, n))          # no room: then its rest waits for the next timeout
    _send_copy(tcp, net, t, index, held, n, now)
    if index == q.head or t.clocks.retransmit == 0:
        t.clocks.retransmit = now + rto.timeout(t.rto)
        arm(tcp, t, t.clocks.retransmit)
    return n


@compiled
def _send_copy(tcp: Tcp, net: Net, t: Tcb, index: int, held: int, most: int, now: int) -> None:
    """One run, or its first `most` bytes, once more."""
    r = runs.get(tcp.runs, index)
    n = min(runs.size(r), most)
    offset = seq.diff(r.left, t.snd_una)
    text = min(n, max(held - offset, 0))
    flags = ACK
    if text < n:
        flags |= FIN
    if text > 0 and (offset + text == held or text == eor.until(rare(t).ends, t.snd.head + offset)):
        flags |= PSH
    idle = recovery.pipe(t) == 0
    runs.set_sent_again(tcp.runs, t.queue, index, now)
    rate.on_sent(t.rate, r, idle, now)
    undo.on_sent_again(t.undo, timestamps.clock(t.ts, now))
    t.recovery.first = 0
    t.prr.out += n
    tcp.counters.retrans_segs += 1
    t.stats.retrans += 1
    t.stats.bytes_retrans += text
    _send(tcp, net, t, r.left, text, 0, flags, ecn.NOT_ECT, now)


@compiled
def _send_loss_probe(tcp: Tcp, net: Net, t: Tcb, now: int) -> None:
    """TLP (RFC 8985 7.3): a segment of new text if there is one, else the last one again."""
    t.tlp.due = 0
    q = t.queue
    if q.head == 0 or t.cc.ca_state != Ca.OPEN or t.tlp.active:
        return
    held = ring.used(t.snd)
    mss = segment_size(t)
    offset = seq.diff(t.snd_nxt, t.snd_una)
    n = min(held - offset, t.snd_wnd - offset, mss, eor.until(rare(t).ends, t.snd.head + offset))
    if n > 0 and runs.has_room(tcp.runs, t.queue) and _worth_sending(t, n, held - offset, mss):
        _send_text(tcp, net, t, n, held - offset, False, mss, False, now)
        t.tlp.is_retrans = 0
    else:
        last = runs.get(tcp.runs, q.tail)
        t.tlp.is_retrans = 0                                        # no run is left to cut it off: the timer, next time
        if runs.size(last) <= mss or runs.split(tcp.runs, q, q.tail, seq.add(last.right, -mss)):
            _send_copy(tcp, net, t, q.tail, held, mss, now)
            t.tlp.is_retrans = 1
    tcp.counters.loss_probes += 1
    t.tlp.active = 1
    t.tlp.end_seq = t.snd_nxt
    t.clocks.retransmit = now + rto.timeout(t.rto)                  # (7.3) the timeout counts from the probe
    arm(tcp, t, t.clocks.retransmit)


@compiled
def _after_sending(tcp: Tcp, t: Tcb, held: int, sent: int, mss: int, now: int) -> None:
    """Note what held us back: the congestion window (it may grow), or the peer's (then persist, 3.8.6.1)."""
    offset = seq.diff(t.snd_nxt, t.snd_una)
    left = held - offset
    pipe = recovery.pipe(t)
    cwnd = t.cc.cwnd
    if sent > 0 or (left > 0 and cwnd - pipe < mss):
        cwv.on_sent(t.cc, offset, cwnd - pipe < mss, t.snd_una, t.snd_nxt)
    if t.cc.holds_back or (left <= 0 and pipe + mss <= cwnd and t.queue.waiting == 0):
        rate.on_app_limited(t.rate, pipe)
    usable = t.snd_wnd - offset
    stats.set_rwnd_limited(t.stats, left > 0 and usable < min(left, mss), now)
    full = held + mss > t.space.sndbuf
    stats.set_sndbuf_limited(t.stats, left <= 0 and full and usable >= mss and pipe + mss <= cwnd, now)
    if sent > 0 or t.clocks.probe == 0:                 # (RFC 8985 7.2) it counts from the last transmission
        arm_probe(tcp, t, now)
    if left > 0 and offset == 0 and t.clocks.persist == 0 and t.clocks.retransmit == 0:
        wait = rto.timeout(t.rto) if t.snd_wnd == 0 else OVERRIDE
        t.clocks.persist = now + wait
        arm(tcp, t, t.clocks.persist)


@compiled
def _send_probe(tcp: Tcp, net: Net, t: Tcb, now: int) -> None:
    """A window probe with one byte (3.8.6.1), what fits after the override (3.8.6.2.1), or a keepalive (3.8.4)."""
    t.probe = 0
    held = ring.used(t.snd)
    if held > 0 and t.snd_nxt == t.snd_una:
        n = min(held, max(t.snd_wnd, 1), segment_size(t))
        if t.snd_wnd > 0 and not runs.has_room(tcp.runs, t.queue):
            _wait_for_room(tcp, t, now)
            return
        tcp.counters.window_probes += 1
        end = seq.add(t.snd_nxt, n)
        if t.snd_wnd > 0:
            _remember(tcp, t, end, now)
        _send(tcp, net, t, t.snd_nxt, n, 0, ACK | PSH, ecn.NOT_ECT, now)      # (RFC 3168 6.1.6)
        if t.snd_wnd > 0:
            t.snd_nxt = end
            if t.clocks.retransmit == 0:
                t.clocks.retransmit = now + rto.timeout(t.rto)
                arm(tcp, t, t.clocks.retransmit)
        if seq.gt(end, t.snd_max):
            t.snd_max = end                                     # the peer may take it: its ACK is not from the future
        return
    tcp.counters.keepalive_probes += 1
    _send(tcp, net, t, seq.add(t.snd_una, -1), 0, 0, ACK, ecn.NOT_ECT, now)


# ---- segments --------------------------------------------------------------------

@compiled
def _send(tcp: Tcp, net: Net, t: Tcb, s: int, n: int, size: int, flags: int, codepoint: int, now: int) -> None:
    """One segment with n bytes of the send ring from sequence number s on; it carries the ACK that is owed.

    If `size` is not 0, it stands for several with so many bytes each.
    """
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    length = HEADER_LEN
    if t.ts.ok:
        length += emit_timestamp(head + length, timestamps.clock(t.ts, now), t.ts.recent)
    up = 0
    if t.ecn.mode == ecn.Mode.ACCURATE:
        length += _emit_accecn(tcp, t, head + length, length, n, now)
        flags |= accecn.ack_flags(rare(t).accecn, t.ecn, n == 0 and not flags & FIN)
        codepoint = accecn.codepoint(rare(t).accecn, n + (flags & FIN), t.sack_ok)
    else:
        sack = receive.sack_len(tcp, t, 60 - length)
        if sack != 0:
            receive.emit_sack(tcp, t, head + length, sack)
            length += sack
        flags |= ecn.ack_flags(t.ecn)
    if seq.gt(t.snd_up, s) and n > 0:
        flags |= URG
        up = min(seq.diff(t.snd_up, s), 0xFFFF)
    emit(head, t.ep.local_port, t.ep.remote_port, s, t.rcv_nxt, flags, window.advertise(t), up, length)
    _finish(tcp, net, t, head, length, t.snd.head + seq.diff(s, t.snd_una), n, size, codepoint, now)
    t.ack_now = 0
    t.unacked = 0
    t.clocks.delayed_ack = 0
    t.ts.last_ack_sent = t.rcv_nxt
    quickack.on_sent(t.quick, n, tcp.settings.tcp_delack, now)


@compiled
def _has_option(tcp: Tcp, t: Tcb, now: int) -> bool:
    """Whether a segment that is sent now has an AccECN option, if it fits."""
    s = tcp.settings
    return accecn_option.is_due(rare(t).accecn, s.tcp_ecn_option, s.tcp_ecn_option_beacon, t.rto.srtt, now)


@compiled
def _emit_accecn(tcp: Tcp, t: Tcb, p: int, used: int, n: int, now: int) -> int:
    """SACK blocks and an AccECN option of a segment with n bytes of text, at p, behind `used` bytes; their length.

    Two blocks go before the option, the option before the others (RFC 9768 3.2.3.3).  The ACK of a SYN-ACK (3.2.2.1)
    and one that only tells of marks on ACKs (3.2.2.5.1) have no blocks.
    """
    a = rare(t).accecn
    room = 60 - used
    if n > 0:                                                       # text has its size already
        text = segment_size(t) + a.room - n
        room = min(room, text - (used - HEADER_LEN - timestamps.OPTION_LEN * t.ts.ok))
    sack = 0 if n == 0 and (a.reflect or a.bare) else receive.sack_len(tcp, t, 60 - used)
    if n > 0 and t.retransmits != 0 and t.snd_una == seq.add(t.iss, 1) and t.clocks.persist == 0:
        accecn_option.on_first_lost(a)
    size = 0
    if _has_option(tcp, t, now):
        size = accecn_option.length(a, room - sack)
        fewer = sack
        while size == 0 and a.changed and fewer > 4 + 8 * 2:
            fewer -= 8
            size = accecn_option.length(a, room - fewer)
        if size != 0:
            sack = fewer
            accecn_option.emit(a, p, size, now)
    a.option_sent = 1 if size != 0 else 0
    if sack != 0:
        receive.emit_sack(tcp, t, p + size, sack)
    return size + sack


@compiled
def _finish(tcp: Tcp, net: Net, t: Tcb, head: int, length: int, position: int, n: int, size: int, codepoint: int,
            now: int) -> None:
    """Down to IP with the payload where it stands, to be cut into segments of `size` bytes if that is not 0."""
    e = t.ep
    p = net.out
    p.src_hi = e.local_hi
    p.src_lo = e.local_lo
    p.dst_hi = e.remote_hi
    p.dst_lo = e.remote_lo
    p.protocol = PROTOCOL
    p.ttl = e.ttl
    p.tos = e.tos | codepoint
    p.dont_fragment = 1 if e.pmtudisc != 0 else 0
    p.interface = e.interface
    p.broadcast = 0
    p.confirm = t.progress
    t.progress = 0
    p.head = head
    p.head_len = length
    p.a_len = 0
    p.b_len = 0
    p.csum_offset = CHECKSUM                            # the rest of the sum is the link's
    p.gso = Gso.TCPV4
    p.gso_size = size
    p.options = addressof(rare(t).options)
    p.options_len = rare(t).options.length
    p.foreign = e.transparent
    put16(head + CHECKSUM, checksum.pseudo(e.local_hi, e.local_lo, e.remote_hi, e.remote_lo, PROTOCOL, length + n))
    if n > 0:
        p.a_len = ring.contiguous(t.snd, position, n)
        p.a = ring.address(t.snd, position)
        p.b_len = n - p.a_len
        p.b = addressof(t.snd) + t.snd.data
    count = 1 if size == 0 else (n + size - 1) // size
    tcp.counters.out_segs += count
    t.stats.segs_out += count
    if n > 0:
        t.stats.data_segs_out += count
        t.stats.bytes_sent += n
        t.stats.last_data_sent = now
    if ip_output.submit(net, p, now) == -EMSGSIZE:      # the path is smaller now: somebody else was told (RFC 1191 6.4)
        path.shrink(net, t, net.chosen.mtu, now)


@compiled
def reset(tcp: Tcp, net: Net, seg: Segment, now: int) -> None:
    """The reset that answers a segment without a connection (3.10.7.1)."""
    if seg.flags & ACK:
        _send_reset(tcp, net, seg, seg.ack, 0, RST, 0, HEADER_LEN, now)
    else:
        _send_reset(tcp, net, seg, 0, seq.add(seg.seq, seg.len), RST | ACK, 0, HEADER_LEN, now)


@compiled
def _send_reset(tcp: Tcp, net: Net, seg: Segment, s: int, a: int, flags: int, wnd: int, length: int, now: int) -> None:
    """The answer to `seg`; beyond its header, `length` counts options that are there already."""
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    emit(head, seg.dst_port, seg.src_port, s, a, flags, wnd, 0, length)
    p = net.out
    p.src_hi = seg.dst_hi
    p.src_lo = seg.dst_lo
    p.dst_hi = seg.src_hi
    p.dst_lo = seg.src_lo
    p.protocol = PROTOCOL
    p.ttl = 0
    p.tos = 0
    p.dont_fragment = 1
    p.interface = 0
    p.broadcast = 0
    p.confirm = 0
    p.head = head
    p.head_len = length
    p.a_len = 0
    p.b_len = 0
    p.csum_offset = CHECKSUM
    put16(head + CHECKSUM, checksum.pseudo(p.src_hi, p.src_lo, p.dst_hi, p.dst_lo, PROTOCOL, length))
    tcp.counters.out_rsts += 1
    tcp.counters.out_segs += 1
    ip_output.submit(net, p, now)


@compiled
def _abort(tcp: Tcp, net: Net, t: Tcb, now: int) -> None:
    """<SEQ=SND.NXT><CTL=RST,ACK> for a connection that is given up (3.10.5); with a timestamp (RFC 7323 3.2), and as
    on Linux with the window."""
    seg = tcp.seg
    seg.src_hi = t.ep.remote_hi
    seg.src_lo = t.ep.remote_lo
    seg.dst_hi = t.ep.local_hi
    seg.dst_lo = t.ep.local_lo
    seg.src_port = t.ep.remote_port
    seg.dst_port = t.ep.local_port
    length = HEADER_LEN
    if t.ts.ok:
        options = addressof(net) + net.scratch + SCRATCH_TRANSPORT + HEADER_LEN
        length += emit_timestamp(options, timestamps.clock(t.ts, now), t.ts.recent)
    _send_reset(tcp, net, seg, bare_seq(t), t.rcv_nxt, RST | ACK, window.advertise(t), length, now)


