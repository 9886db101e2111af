"""TCP_INFO: what one connection is doing, in the form in which Linux tells it.

tcp(7); struct tcp_info of linux/tcp.h, its order, sizes and units.  RFC 4898 names
most of the counters.  Where this stack counts bytes and Linux counts segments, they
are bytes divided by the segment size, rounded up, run by run.  A time is in
microseconds, except the `last_...` ones: milliseconds since then.

Differs: `segs_out` counts a listener's SYN-ACK, `bytes_acked` counts text only (Linux
adds a SYN and a FIN), `busy_time` includes neither time after CLOSE's last ACK; `reordering` is told
only: RACK measures reordering as time (RFC 8985).
"""
from __future__ import annotations

from ..machine import MS, at, compiled, i64, record, ring, sizeof, u8, u16, u32, zero
from . import bbr, rack, recovery, rto, runs, seq, stats, window
from .bbr import Bbr
from .congestion import UNLIMITED, own
from .tcb import State, Tcb, Tcp, listening, rare

TIMESTAMPS, SACK, WSCALE, ECN, ECN_SEEN = 1, 2, 4, 8, 16        # TCPI_OPT_...
INFINITE_SSTHRESH = 0x7FFF_FFFF             # segments
UNKNOWN = 0xFFFF_FFFF                       # a smallest round-trip time before the first sample
UNLIMITED_RATE = -1                         # ~0
MICRO = 1000                                # ns
SYN_DATA = 0x20             # text of a SYN was acknowledged (RFC 7413)
TFO_CHILD = 0x80            # a listener's connection that its SYN has opened
HEADERS_V4, HEADERS_V6 = 40, 60             # IP and TCP, without options


@record
class Info:
    """struct tcp_info.  Each field's name has "tcpi_" before it there."""

    state: u8               # State
    ca_state: u8            # congestion.Ca
    retransmits: u8         # timeouts in a row
    probes: u8              # window probes and keepalives without an answer
    backoff: u8             # how often RTO was doubled
    options: u8             # TCPI_OPT_...
    wscales: u8             # bits 0 to 3: snd_wscale; 4 to 7: rcv_wscale
    flags: u8               # bit 0: delivery_rate_app_limited; 1 and 2: fastopen_client_fail
    rto: u32                # us, backoff included
    ato: u32                # us: delay of an ACK
    snd_mss: u32            # text of a full segment, bytes
    rcv_mss: u32            # ... of the peer, as seen
    unacked: u32            # segments sent and not acknowledged; (LISTEN) connections that wait for accept
    sacked: u32             # ... of them SACKed; (LISTEN) how many may wait
    lost: u32               # ... taken for lost
    retrans: u32            # ... sent again and on their way
    fackets: u32            # not used any more
    last_data_sent: u32     # ms ago
    last_ack_sent: u32      # not remembered, as on Linux
    last_data_recv: u32
    last_ack_recv: u32
    pmtu: u32               # bytes
    rcv_ssthresh: u32       # the largest window to offer for now, bytes
    rtt: u32                # smoothed
    rttvar: u32
    snd_ssthresh: u32       # segments
    snd_cwnd: u32           # segments
    advmss: u32             # the MSS we told, less our timestamps
    reordering: u32         # segments
    rcv_rtt: u32            # as the receiver sees it
    rcv_space: u32          # most that the application has read in one round trip, bytes
    total_retrans: u32      # segments
    pacing_rate: i64        # bytes/s; ~0: not paced
    max_pacing_rate: i64    # SO_MAX_PACING_RATE
    bytes_acked: i64
    bytes_received: i64
    segs_out: u32
    segs_in: u32
    notsent_bytes: u32      # written, not sent
    min_rtt: u32            # ~0: none yet
    data_segs_in: u32
    data_segs_out: u32
    delivery_rate: i64      # bytes/s
    busy_time: i64          # with something to send
    rwnd_limited: i64       # ... while the peer's window was full
    sndbuf_limited: i64     # ... while the send buffer was too small
    delivered: u32          # segments, with the SYN
    delivered_ce: u32       # ... that the peer saw marked
    bytes_sent: i64         # with what was sent again
    bytes_retrans: i64
    dsack_dups: u32         # duplicates that the peer told of
    reord_seen: u32         # how often segments came in another order
    rcv_ooopack: u32        # segments received out of order
    snd_wnd: u32            # SND.WND
    rcv_wnd: u32            # RCV.WND
    rehash: u32             # 0: our segments carry no hash that could change
    total_rto: u16          # timeouts
    total_rto_recoveries: u16       # ... that were the first of their row
    total_rto_time: u32     # ms between those and their ends
    received_ce: u32        # packets that came marked; those below are AccECN's (RFC 9768)
    delivered_e1_bytes: u32
    delivered_e0_bytes: u32
    delivered_ce_bytes: u32
    received_e1_bytes: u32
    received_e0_bytes: u32
    received_ce_bytes: u32
    ecn: u8                 # bits 0 and 1: ecn.Mode; 2 and 3: accecn_option.Seen; 4 to 7: accecn.Fail
    options2: u8            # none
    options3: u16


@record
class BbrInfo:
    """struct tcp_bbr_info (TCP_CC_INFO)."""

    bw_lo: u32              # bytes/s
    bw_hi: u32
    min_rtt: u32            # us
    pacing_gain: u32        # 256: 1
    cwnd_gain: u32


MAX_REORDERING = 300        # Linux: tcp_max_reordering

SIZE = sizeof(Info)
BBR_SIZE = sizeof(BbrInfo)


@compiled
def fill(tcp: Tcp, t: Tcb, address: int, now: int) -> None:
    """Write the structure, SIZE bytes, to an address."""
    zero(address, SIZE)
    i = at(Info, address)
    i.state = t.state
    i.pacing_rate = t.cc.pacing_rate if t.cc.pacing_rate != 0 else UNLIMITED_RATE
    i.max_pacing_rate = t.pacing.most if t.pacing.most != 0 else UNLIMITED_RATE
    i.reordering = min(max(stats.segments(t.rack.distance, t.cc.mss), rack.DUPTHRESH), MAX_REORDERING)
    if t.state == State.LISTEN:
        i.unacked = listening(t).accept_count
        i.sacked = listening(t).backlog
        return
    _options(t, i)
    _windows(t, i)
    _segments(tcp, t, i)
    _times(tcp, t, i, now)
    _counters(t, i, now)


@compiled
def _options(t: Tcb, i: Info) -> None:
    if t.ts.ok:
        i.options |= TIMESTAMPS
    if t.sack_ok:
        i.options |= SACK
    if t.ws_ok:
        i.options |= WSCALE
        i.wscales = t.snd_wscale | t.rcv_wscale << 4
    if t.ecn.mode:
        i.options |= ECN
    if t.ecn.seen:
        i.options |= ECN_SEEN
    if t.fast.text_acked:
        i.options |= SYN_DATA
    if t.fast.child:
        i.options |= TFO_CHILD


@compiled
def _windows(t: Tcb, i: Info) -> None:
    """Sizes: of segments, of windows, of what waits."""
    mss = recovery.segment_size(t)
    i.ca_state = t.cc.ca_state
    i.snd_mss = mss
    i.rcv_mss = t.quick.mss
    i.pmtu = t.mtu.mtu
    i.advmss = window.receive_mss(t)
    i.snd_cwnd = max(t.cc.cwnd // mss, 1) if t.cc.cwnd != 0 else 0
    i.snd_ssthresh = t.cc.ssthresh // mss if 0 < t.cc.ssthresh < UNLIMITED else INFINITE_SSTHRESH
    i.snd_wnd = t.snd_wnd
    i.rcv_wnd = window.current(t)
    i.rcv_ssthresh = t.space.ssthresh
    i.rcv_space = t.drs.space
    i.notsent_bytes = max(ring.used(t.snd) - max(seq.diff(t.snd_nxt, t.snd_una), 0), 0)


@compiled
def _segments(tcp: Tcp, t: Tcb, i: Info) -> None:
    """What is outstanding, run by run."""
    mss = recovery.segment_size(t)
    if t.state == State.SYN_SENT or t.state == State.SYN_RECEIVED:
        i.unacked = 1
    index = t.queue.head
    while index != 0:
        r = runs.get(tcp.runs, index)
        n = stats.segments(runs.size(r), mss)
        i.unacked += n
        if r.sacked:
            i.sacked += n
        if r.lost:
            i.lost += n
        if r.retrans:
            i.retrans += n
        index = r.next


@compiled
def _ago(at: int, begun: int, now: int) -> int:
    """Milliseconds since something happened; since the beginning when it has not."""
    since = at if at != 0 else begun
    return (now - since) // MS if since != 0 else 0


@compiled
def _times(tcp: Tcp, t: Tcb, i: Info, now: int) -> None:
    s = t.stats
    probing = t.clocks.persist != 0
    i.retransmits = 0 if probing else t.retransmits
    i.probes = t.keepalive.probes + (t.retransmits if probing else 0)
    i.backoff = t.rto.backoffs
    i.rto = rto.timeout(t.rto) // MICRO
    i.ato = t.quick.ato // MICRO
    i.rtt = max(t.rto.srtt // MICRO, t.rto.measured)
    i.rttvar = t.rto.rttvar // MICRO
    i.min_rtt = max(t.rto.min_rtt // MICRO, 1) if t.rto.min_rtt != 0 else UNKNOWN
    i.rcv_rtt = (t.drs.rtt >> 3) // MICRO
    i.last_data_sent = _ago(s.last_data_sent, s.begun, now)
    i.last_data_recv = _ago(s.last_data_received, s.begun, now)
    i.last_ack_recv = _ago(s.last_ack_received, s.begun, now)
    i.busy_time = stats.total(s.busy, s.busy_at, now) // MICRO
    i.rwnd_limited = stats.total(s.rwnd_limited, s.rwnd_limited_at, now) // MICRO
    i.sndbuf_limited = stats.total(s.sndbuf_limited, s.sndbuf_limited_at, now) // MICRO
    i.total_rto_time = stats.total(s.rto_time, s.rto_at, now) // MS


@compiled
def _counters(t: Tcb, i: Info, now: int) -> None:
    s = t.stats
    i.total_retrans = s.retrans
    i.bytes_acked = s.bytes_acked
    i.bytes_received = s.bytes_received
    i.segs_out = s.segs_out
    i.segs_in = s.segs_in
    i.data_segs_in = s.data_segs_in
    i.data_segs_out = s.data_segs_out
    i.delivery_rate = t.rate.best
    i.flags = t.rate.best_app_limited | t.fast.failure << 1
    i.delivered = s.delivered
    i.delivered_ce = t.ecn.delivered_ce
    i.received_ce = t.ecn.received_ce
    a = rare(t).accecn
    i.delivered_e1_bytes = a.delivered_e1
    i.delivered_e0_bytes = a.delivered
    i.delivered_ce_bytes = a.delivered_ce
    i.received_e1_bytes = a.received_e1
    i.received_e0_bytes = a.received
    i.received_ce_bytes = a.received_ce
    i.ecn = t.ecn.mode | a.option_seen << 2 | a.fail << 4
    i.bytes_sent = s.bytes_sent
    i.bytes_retrans = s.bytes_retrans
    i.dsack_dups = s.dsacks
    i.reord_seen = t.rack.reordered
    i.rcv_ooopack = s.out_of_order
    i.total_rto = s.rtos
    i.total_rto_recoveries = s.rto_recoveries


@compiled
def fill_bbr(t: Tcb, address: int) -> None:
    """Write BBR's structure, BBR_SIZE bytes, to an address (TCP_CC_INFO)."""
    b = at(Bbr, own(t.cc))
    i = at(BbrInfo, address)
    i.bw_lo = b.bw[0] & 0xFFFF_FFFF
    i.bw_hi = b.bw[0] >> 32
    i.min_rtt = b.rtprop // MICRO
    i.pacing_gain = bbr.pacing_gain(b) * 256 // 100
    i.cwnd_gain = bbr.cwnd_gain(b) * 256 // 100
