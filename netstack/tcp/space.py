"""Buffer space: how much a connection may hold, and what part of it becomes window.

tcp(7) (SO_RCVBUF, SO_SNDBUF, TCP_WINDOW_CLAMP, TCP_NOTSENT_LOWAT) and Linux's ip-sysctl
(tcp_rmem, tcp_wmem, tcp_adv_win_scale).  `rcvbuf` and `sndbuf` are what getsockopt reads:
of a receive buffer a part is kept for bookkeeping, as on Linux, and the rest is window.
How the sizes grow is in `drs.py` (receiving) and in `expand` (sending); the memory
itself is a ring, the next power of two, which follows when it is needed (`receive.fit`).
"""
from __future__ import annotations

from ..machine import compiled, i32, record, u8, u32

RCVBUF, SNDBUF = 1, 2       # bits of `locked`
MIN_RCVBUF = 2304           # Linux: SOCK_MIN_RCVBUF
MIN_SNDBUF = 4608
MAX_UNSCALED = 0xFFFF
INITIAL_SEGMENTS = 10       # TCP_INIT_CWND
OVERHEAD = 640              # Linux: MAX_TCP_HEADER and struct skb_shared_info, for each segment that is held
SEGMENT_RECORD = 256        # ... and struct sk_buff
SMALLEST_RING = 2048        # machine/arena.py
LARGEST_RING = 16 << 20


@record
class Space:
    """Sizes of one connection's buffers, bytes."""

    rcvbuf: i32         # sk_rcvbuf: twice SO_RCVBUF, or tcp_rmem[1] and what it has grown to
    sndbuf: i32         # sk_sndbuf
    window: i32         # the part of rcvbuf that data may fill
    clamp: i32          # window_clamp: the largest window to offer
    ssthresh: i32       # rcv_ssthresh: the largest one for now; grows as data arrives
    user_clamp: i32     # TCP_WINDOW_CLAMP; 0: none
    notsent_lowat: u32  # TCP_NOTSENT_LOWAT; 0: the stack's
    cwnd: i32           # the congestion window that sndbuf was sized for last
    cut: i32            # what sndbuf was before there was no memory for it; 0: there was
    locked: u8          # RCVBUF, SNDBUF: the application has set it, so it stays
    rcv_lent: u8        # the application looks at the receive ring: nobody else reads (inplace.py)
    snd_lent: u8        # ... writes in the send ring: nobody else writes, and its memory stays


@compiled
def window_of(rcvbuf: int, scale: int) -> int:
    """The part of a receive buffer that is window (tcp_adv_win_scale)."""
    return rcvbuf >> -scale if scale <= 0 else rcvbuf - (rcvbuf >> scale)


@compiled
def rcvbuf_for(window: int, scale: int) -> int:
    """The receive buffer that a window needs: the other way round."""
    if scale <= 0:
        return window << -scale
    return -(-(window << scale) // ((1 << scale) - 1))


@compiled
def set_rcvbuf(s: Space, rcvbuf: int, scale: int) -> None:
    """The receive buffer has a new size."""
    s.rcvbuf = rcvbuf
    s.window = window_of(rcvbuf, scale)


@compiled
def scale_for(size: int) -> int:
    """The shift that makes `size` bytes fit into 16 bits (RFC 7323 2.2)."""
    shift = 0
    while shift < 14 and (MAX_UNSCALED << shift) < size:
        shift += 1
    return shift


@compiled
def choose_scale(s: Space, most: int) -> int:
    """Rcv.Wind.Shift: for the largest window that we may ever offer, tcp_rmem[2] or rmem_max.

    SO_RCVBUF, once set, is the largest (tcp_openreq_init_rwin).  Differs: never so large that a small tcp_rmem[1]
    is less than two units of it; on Linux such a window overshoots its buffer, here it could not open.
    """
    most = s.window if s.locked & RCVBUF else max(most, s.window)
    if s.user_clamp != 0:
        most = min(most, s.user_clamp)
    shift = scale_for(most)
    while shift > 0 and (2 << shift) > s.window:
        shift -= 1
    return shift


@compiled
def initial_window(s: Space, mss: int) -> int:
    """The window of a SYN: whole segments, as far as an unscaled field can say it (tcp_select_initial_window)."""
    window = min(s.window, s.clamp)
    if window > mss:
        window -= window % mss
    return min(window, MAX_UNSCALED)


@compiled
def on_established(s: Space, mss: int, scaled: int) -> None:
    """The options are agreed on: one segment of the buffer stays in reserve, as on Linux (tcp_init_buffer_space)."""
    clamp = min(s.clamp, s.window)
    if clamp > 2 * mss and clamp + mss > s.window:
        clamp = max(2 * mss, s.window - mss)
    if scaled == 0:
        clamp = min(clamp, MAX_UNSCALED)
    s.clamp = clamp
    s.ssthresh = min(s.ssthresh, clamp)


@compiled
def grow_window(s: Space, n: int, held: int, mss: int) -> bool:
    """n bytes have come while `held` are not read: offer more, twice as fast as it comes (tcp_grow_window)."""
    room = min(s.clamp, s.window - held) - s.ssthresh
    if room <= 0:
        return False
    s.ssthresh += min(room, 2 * max(mss, n))
    return True


@compiled
def sndbuf_for(cwnd: int, mss: int) -> int:
    """The send buffer for a congestion window: twice its segments, each as Linux counts it (tcp_sndbuf_expand)."""
    each = 1
    while each < mss + OVERHEAD:
        each *= 2
    return 2 * max(cwnd // mss, INITIAL_SEGMENTS) * (each + SEGMENT_RECORD)


@compiled
def expand(s: Space, cwnd: int, mss: int, most: int) -> bool:
    """The congestion window has grown: let the send buffer follow, up to tcp_wmem[2].  Whether it did."""
    if cwnd <= s.cwnd:
        return False
    s.cwnd = cwnd
    if s.locked & SNDBUF:
        return False
    size = min(sndbuf_for(cwnd, mss), most)
    if size <= s.sndbuf:
        return False
    s.sndbuf = size
    return True


@compiled
def ring_size(n: int) -> int:
    """The ring that holds n bytes: the next power of two."""
    size = SMALLEST_RING
    while size < n and size < LARGEST_RING:
        size *= 2
    return size


@compiled
def least_ring(n: int) -> int:
    """The ring that memory pressure leaves to a connection: of n bytes (tcp_rmem[0], tcp_wmem[0]), or the smallest."""
    size = ring_size(n)
    return size if size <= n or size == SMALLEST_RING else size // 2
