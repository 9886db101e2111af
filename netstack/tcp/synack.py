"""The SYN-ACK that answers a SYN which is not remembered: its sequence number is a cookie.

RFC 4987 section 3.6; see cookies.py.  There is no Tcb: what the segment says
follows from the SYN that is being processed and from the listener.
"""
from __future__ import annotations

from ..ip import checksum, route
from ..ip import output as ip_output
from ..ip.address import is_link_local, is_v4
from ..ip.net import SCRATCH_TRANSPORT, Net
from ..machine import MS, addressof, compiled, put16
from . import cookies, demux, ecn, isn, path, seq, space
from .header import ACK, CHECKSUM, HEADER_LEN, SYN, Segment, default_mss, emit, emit_syn_options
from .space import MAX_UNSCALED
from .tcb import Tcp, get
from .timestamps import OPTION_LEN

PROTOCOL = 6


@compiled
def send_cookie(tcp: Tcp, net: Net, seg: Segment, now: int) -> None:
    """Answer the SYN in `seg` with a cookie."""
    index = demux.find_listener(tcp, seg)
    if index == 0:
        return
    listener = get(tcp, index)
    interface = seg.interface if is_link_local(seg.src_hi, seg.src_lo) else listener.ep.interface
    if route.choose(net, seg.src_hi, seg.src_lo, seg.dst_hi, seg.dst_lo, interface, now) < 0:
        return
    v4 = is_v4(seg.src_hi, seg.src_lo)
    s = tcp.settings
    mss = max(seg.mss, s.tcp_min_snd_mss) if seg.has_mss else default_mss(v4)
    ports = (seg.dst_port << 16) | seg.src_port
    iss = cookies.make(tcp.key, seg.dst_hi, seg.dst_lo, seg.src_hi, seg.src_lo, ports, seg.seq,
                       cookies.size_number(mss, v4), now)
    ts = 1 if seg.has_ts and s.tcp_timestamps else 0
    sack = 1 if ts and seg.sack_permitted and s.tcp_sack else 0
    wscale = -1
    if ts and seg.has_wscale and s.tcp_window_scaling:
        wscale = seg.wscale
    codepoint = seg.tos & ecn.CODEPOINT
    mode = ecn.answer(s.tcp_ecn, seg.flags, codepoint)
    if mode == ecn.Mode.CLASSIC and not ts:
        mode = ecn.Mode.OFF
    marks = 1 if mode == ecn.Mode.CLASSIC else 0        # AccECN needs no bit: the peer's ACK says it (RFC 9768 5.1)
    tsval = 0
    if ts:
        offset = isn.offset_of(tcp.key, s.tcp_timestamps, seg.dst_lo, seg.src_hi, seg.src_lo)
        tsval = (cookies.mark(now // MS, wscale, sack, marks) + offset) & seq.MASK
    head = addressof(net) + net.scratch + SCRATCH_TRANSPORT
    ours = path.announced(net, listener.user_mss, v4)
    size = listener.space                               # what the child's `window.set_initial` will come to
    size.clamp = size.user_clamp if size.user_clamp != 0 else MAX_UNSCALED << 14
    wnd = space.initial_window(size, max(ours - (OPTION_LEN if ts else 0), 1))
    shift = space.choose_scale(size, max(s.tcp_rmem_max, s.rmem_max)) if wscale >= 0 else -1
    length = HEADER_LEN + emit_syn_options(head + HEADER_LEN, ours, sack, ts, tsval, seg.tsval if ts else 0, shift)
    emit(head, seg.dst_port, seg.src_port, iss, seq.add(seg.seq, 1), SYN | ACK | ecn.synack_flags(mode, codepoint),
         wnd, 0, length)
    p = net.out
    p.src_hi = seg.dst_hi
    p.src_lo = seg.dst_lo
    p.dst_hi = seg.src_hi
    p.dst_lo = seg.src_lo
    p.protocol = PROTOCOL
    p.ttl = listener.ep.ttl
    p.tos = listener.ep.tos
    p.dont_fragment = 1 if listener.ep.pmtudisc != 0 else 0
    p.interface = interface
    p.broadcast = 0
    p.confirm = 0
    p.head = head
    p.head_len = length
    p.a_len = 0
    p.b_len = 0
    p.csum_offset = CHECKSUM
    put16(head + CHECKSUM, checksum.pseudo(p.src_hi, p.src_lo, p.dst_hi, p.dst_lo, PROTOCOL, length))
    tcp.counters.out_segs += 1
    tcp.counters.syncookies_sent += 1
    ip_output.submit(net, p, now)
