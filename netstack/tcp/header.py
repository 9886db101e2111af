"""The TCP header: 20 bytes and options, read and written.

RFC 9293 section 3.1 and 3.2; options of RFC 7323 and RFC 2018.
"""
from __future__ import annotations

from typing import Annotated

from ..errors import Drop
from ..ip import checksum
from ..ip.net import Incoming
from ..machine import Array, be16, be32, compiled, copy, i64, load8, put16, put32, record, store8, sum16, u8, u16, u32
from .fastopen import NO_OPTION
from .ranges import Range

FIN = 0x01
SYN = 0x02
RST = 0x04
PSH = 0x08
ACK = 0x10
URG = 0x20                  # then ECE, CWR and AE (ecn.py)
FLAGS = 0x1FF
LOW_24 = 0xFF_FFFF

HEADER_LEN = 20
CHECKSUM = 16               # where it stands in the header
MAX_HEADER_LEN = 60
DEFAULT_MSS = 536           # (3.7.1) when the peer sends no MSS option, IPv4
DEFAULT_MSS6 = 1220         # ... IPv6
MAX_WSCALE = 14             # RFC 7323 2.3

END, NOP, MSS, WSCALE, SACK_PERMITTED, SACK, TIMESTAMP = 0, 1, 2, 3, 4, 5, 8     # option kinds
ACCECN0, ACCECN1 = 172, 174     # RFC 9768 3.2.3
FASTOPEN, EXPERIMENTAL, FASTOPEN_MAGIC = 34, 254, 0xF989                        # RFC 7413 4.1.1
SACK_BLOCKS = 4             # that fit into 40 bytes


@record
class Segment:
    """The segment being processed: SEG.SEQ, SEG.ACK, ... of RFC 9293 section 3.3.1."""

    src_hi: i64
    src_lo: i64
    dst_hi: i64
    dst_lo: i64
    src_port: u16
    dst_port: u16
    seq: u32            # SEG.SEQ
    ack: u32            # SEG.ACK
    wnd: u32            # SEG.WND, not yet scaled
    up: u16             # SEG.UP
    flags: u16
    interface: u8       # it came in through this one
    tos: u8
    len: i64            # SEG.LEN: the data, and one each for SYN and FIN
    data: i64           # address of the data
    data_len: i64       # bytes
    placed: i64         # not 0: ... which is its place in the receive ring
    gso_size: i64       # bytes in each of the segments that it stands for; 0: it is one
    count: i64          # how many these are
    has_mss: u8
    has_wscale: u8
    has_ts: u8
    sack_permitted: u8
    mss: u16
    wscale: u8
    tsval: u32
    tsecr: u32
    fo: i64             # address of the Fast Open cookie
    fo_len: u8          # its length, 0: a cookie is asked for; NO_OPTION
    fo_exp: u8          # it came in the experimental option
    fo_reserved: u16
    sack_count: u32
    accecn: u8          # kind of the AccECN option, 0: none
    accecn_count: u8    # its fields, in their order there
    accecn_1: u32
    accecn_2: u32
    accecn_3: u32
    sack: Annotated[Array[Range], 4]


@compiled
def parse(seg: Segment, rx: Incoming) -> int:
    """Read the segment that `rx` holds.  Returns Drop.NONE, or why it cannot be used."""
    n = rx.length
    p = rx.payload
    if n < HEADER_LEN:
        return Drop.TCP_MALFORMED
    offset = (load8(p + 12) >> 4) * 4
    if offset < HEADER_LEN or offset > n:
        return Drop.TCP_MALFORMED
    if rx.checked == 0 and _sum(rx) != 0xFFFF:
        return Drop.TCP_CHECKSUM
    seg.src_hi = rx.src_hi
    seg.src_lo = rx.src_lo
    seg.dst_hi = rx.dst_hi
    seg.dst_lo = rx.dst_lo
    seg.interface = rx.interface
    seg.tos = rx.tos
    seg.src_port = be16(p)
    seg.dst_port = be16(p + 2)
    seg.seq = be32(p + 4)
    seg.ack = be32(p + 8)
    flags = be16(p + 12) & FLAGS
    seg.flags = flags
    seg.wnd = be16(p + 14)
    seg.up = be16(p + 18)
    seg.data = p + offset if rx.placed == 0 else rx.place
    seg.placed = rx.placed
    seg.data_len = n - offset
    seg.gso_size = rx.gso_size
    seg.count = 1 if rx.gso_size == 0 else max((seg.data_len + rx.gso_size - 1) // rx.gso_size, 1)
    seg.len = n - offset + ((flags >> 1) & 1) + (flags & 1)
    seg.has_mss = 0
    seg.has_wscale = 0
    seg.has_ts = 0
    seg.sack_permitted = 0
    seg.sack_count = 0
    seg.accecn = 0
    seg.fo_len = NO_OPTION
    if seg.src_port == 0 or seg.dst_port == 0:
        return Drop.TCP_MALFORMED
    _parse_options(seg, p + HEADER_LEN, p + offset)
    return Drop.NONE


@compiled
def _sum(rx: Incoming) -> int:
    """The checksum over all of it."""
    n = rx.length - rx.placed
    acc = sum16(rx.payload, n, rx.pseudo)                   # headers: an even number of bytes
    if rx.placed != 0:
        first = min(rx.placed, rx.place_len)
        acc = checksum.add(acc, rx.place, first, 0)
        acc = checksum.add(acc, rx.place_more, rx.placed - first, first & 1)
    return acc


@compiled
def _parse_options(seg: Segment, p: int, end: int) -> None:
    """Read the options in [p, end).  A malformed one ends the list: the segment itself is good."""
    while p < end:
        kind = load8(p)
        if kind == END:
            return
        if kind == NOP:
            p += 1
            continue
        if p + 2 > end:
            return
        n = load8(p + 1)
        if n < 2 or p + n > end:
            return
        if kind == TIMESTAMP and n == 10:
            seg.has_ts = 1
            seg.tsval = be32(p + 2)
            seg.tsecr = be32(p + 6)
        elif kind == SACK and n >= 10 and (n - 2) % 8 == 0:
            seg.sack_count = min((n - 2) // 8, SACK_BLOCKS)
            for i in range(seg.sack_count):
                block = seg.sack[i]
                block.left = be32(p + 2 + 8 * i)
                block.right = be32(p + 6 + 8 * i)
        elif kind == MSS and n == 4 and seg.flags & SYN:
            seg.has_mss = 1
            seg.mss = be16(p + 2)
        elif kind == WSCALE and n == 3 and seg.flags & SYN:
            seg.has_wscale = 1
            seg.wscale = min(load8(p + 2), MAX_WSCALE)
        elif kind == SACK_PERMITTED and n == 2 and seg.flags & SYN:
            seg.sack_permitted = 1
        elif (kind == ACCECN0 or kind == ACCECN1) and n % 3 == 2 and n <= 11:
            seg.accecn = kind
            seg.accecn_count = n // 3
            seg.accecn_1 = be32(p + 1) & LOW_24 if n > 2 else 0
            seg.accecn_2 = be32(p + 4) & LOW_24 if n > 5 else 0
            seg.accecn_3 = be32(p + 7) & LOW_24 if n > 8 else 0
        elif kind == FASTOPEN and seg.flags & SYN:
            _parse_fastopen(seg, p + 2, n - 2, 0)
        elif kind == EXPERIMENTAL and n >= 4 and seg.flags & SYN and be16(p + 2) == FASTOPEN_MAGIC:
            _parse_fastopen(seg, p + 4, n - 4, 1)
        p += n


@compiled
def _parse_fastopen(seg: Segment, p: int, n: int, experimental: int) -> None:
    """A cookie of n bytes, or the wish for one.  With another length it is as if it were not there (RFC 7413 4.1.1)."""
    if n == 0 or (4 <= n <= 16 and n % 2 == 0):
        seg.fo = p
        seg.fo_len = n
        seg.fo_exp = experimental


@compiled
def default_mss(v4: bool) -> int:
    """What the peer takes when its SYN does not say (3.7.1)."""
    return DEFAULT_MSS if v4 else DEFAULT_MSS6


@compiled
def emit(p: int, src_port: int, dst_port: int, seq: int, ack: int, flags: int, wnd: int, up: int, length: int) -> None:
    """Write the fixed header at p, checksum 0; `length` is the header's with options (a multiple of 4)."""
    put16(p, src_port)
    put16(p + 2, dst_port)
    put32(p + 4, seq)
    put32(p + 8, ack)
    put16(p + 12, ((length // 4) << 12) | flags)
    put16(p + 14, wnd)
    put16(p + 16, 0)
    put16(p + 18, up)


@compiled
def emit_syn_options(p: int, mss: int, sack: int, ts: int, tsval: int, tsecr: int, wscale: int) -> int:
    """Write the options of a SYN at p, in the order that Linux has; returns their length.  wscale < 0: none."""
    start = p
    put32(p, (MSS << 24) | (4 << 16) | mss)
    p += 4
    if ts:
        put16(p, ((SACK_PERMITTED << 8) | 2) if sack else ((NOP << 8) | NOP))
        put16(p + 2, (TIMESTAMP << 8) | 10)
        put32(p + 4, tsval)
        put32(p + 8, tsecr)
        p += 12
    elif sack:
        put32(p, (NOP << 24) | (NOP << 16) | (SACK_PERMITTED << 8) | 2)
        p += 4
    if wscale >= 0:
        put32(p, (NOP << 24) | (WSCALE << 16) | (3 << 8) | wscale)
        p += 4
    return p - start


@compiled
def emit_fastopen(p: int, cookie: int, n: int, experimental: int) -> int:
    """Write the Fast Open option at p, padded, with the cookie of n bytes that stands at `cookie`; its length."""
    start = p
    if experimental:
        put32(p, (EXPERIMENTAL << 24) | ((n + 4) << 16) | FASTOPEN_MAGIC)
        p += 4
    else:
        put16(p, (FASTOPEN << 8) | (n + 2))
        p += 2
    if n > 0:
        copy(p, cookie, n)
        p += n
    while (p - start) % 4 != 0:
        store8(p, NOP)
        p += 1
    return p - start


@compiled
def emit_timestamp(p: int, tsval: int, tsecr: int) -> int:
    """Write NOP, NOP, timestamp at p (RFC 7323 appendix A); returns 12."""
    put32(p, (NOP << 24) | (NOP << 16) | (TIMESTAMP << 8) | 10)
    put32(p + 4, tsval)
    put32(p + 8, tsecr)
    return 12
