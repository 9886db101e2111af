"""The Internet checksum: adding, combining, finishing and updating it.

RFC 1071, "Computing the Internet Checksum", and RFC 1624 for the update in place.

An accumulator is the one's complement sum of big-endian 16-bit words so far,
kept below 2**16 by `sum16` (machine/memory.py), which adds the bytes.  It starts
as 0 or as a pseudo header, and `finish` makes the header field of it.
"""
from __future__ import annotations

from ..machine import compiled, load64, sum16

V4_MAPPED = 0xFFFF      # the upper half of `lo` of an IPv4 address (RFC 4291 2.5.5.2)


@compiled
def fold(acc: int) -> int:
    """Add the carries back in until 16 bits are left; a sum that is not zero never becomes zero."""
    while acc > 0xFFFF:
        acc = (acc & 0xFFFF) + (acc >> 16)
    return acc


@compiled
def finish(acc: int) -> int:
    """The checksum field: the complement of the sum."""
    return ~fold(acc) & 0xFFFF


@compiled
def words(v: int) -> int:
    """The sum of the four 16-bit words of half an address."""
    return (v & 0xFFFF) + ((v >> 16) & 0xFFFF) + ((v >> 32) & 0xFFFF) + ((v >> 48) & 0xFFFF)


@compiled
def pseudo(src_hi: int, src_lo: int, dst_hi: int, dst_lo: int, protocol: int, length: int) -> int:
    """The accumulator of the pseudo header (RFC 9293 3.1, RFC 8200 8.1).

    The length of the transport header and data counts as 32 bits; below 64 KiB
    that is the sum of IPv4's 16-bit field too.
    """
    acc = protocol + (length & 0xFFFF) + (length >> 16)
    if src_hi == 0 and dst_hi == 0 and src_lo >> 32 == V4_MAPPED and dst_lo >> 32 == V4_MAPPED:
        acc += (src_lo & 0xFFFF) + ((src_lo >> 16) & 0xFFFF) + (dst_lo & 0xFFFF) + ((dst_lo >> 16) & 0xFFFF)
    else:
        acc += words(src_hi) + words(src_lo) + words(dst_hi) + words(dst_lo)
    return fold(acc)


@compiled
def add(acc: int, p: int, n: int, odd: int) -> int:
    """Add n bytes at p; `odd` is 1 when an odd number of bytes was added before.

    RFC 1071 2(B): bytes that stand in the wrong half of every word give the
    sum with its two bytes swapped.
    """
    if odd == 0:
        return sum16(p, n, acc)
    part = sum16(p, n, 0)
    return fold(acc + ((part & 0xFF) << 8) + (part >> 8))


@compiled
def gather(acc: int, iov: int, parts: int) -> int:
    """Add the pieces whose (address, length) pairs of i64 stand at `iov`, as if they stood in one place."""
    odd = 0
    for i in range(parts):
        n = load64(iov + 16 * i + 8)
        acc = add(acc, load64(iov + 16 * i), n, odd)
        odd = (odd + n) & 1
    return acc


@compiled
def is_valid(acc: int, p: int, n: int) -> bool:
    """Whether n bytes at p, their checksum field among them, sum up as they should."""
    return sum16(p, n, acc) == 0xFFFF


@compiled
def update(checksum: int, old: int, new: int) -> int:
    """The checksum after one 16-bit word of what it covers changed from `old` to `new` (RFC 1624, equation 3)."""
    return ~fold((~checksum & 0xFFFF) + (~old & 0xFFFF) + new) & 0xFFFF
