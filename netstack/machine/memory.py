"""Bytes: read, write, copy, compare and sum them at an address.

Wire fields are big-endian, so `be16(p)` is "the 16 bits at p, network order".
Prove a length before you read (style rule 12): compiled, nothing is checked.
With NUMBA_BOUNDSCHECK=1 every access must lie inside the range that `fence`
set last, or IndexError is raised, in both modes.
"""
from __future__ import annotations

import ctypes

from .mode import BOUNDSCHECK
from .primitive import primitive

FENCE = 0x6E65_7473_0000    # where the limits stand: compiled code that the cache keeps has this address inside


def _map_limits() -> ctypes.Array[ctypes.c_int64]:
    """The two limits, in a page of their own at FENCE if anybody will look there."""
    if not BOUNDSCHECK:
        return (ctypes.c_int64 * 2)(0, 2**63 - 1)
    c = ctypes.CDLL(None, use_errno=True)
    c.mmap.restype = ctypes.c_void_p
    # PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    where = c.mmap(ctypes.c_void_p(FENCE), ctypes.c_size_t(4096), 3, 0x100022, -1, ctypes.c_long(0))
    if where != FENCE:
        raise MemoryError(f"NUMBA_BOUNDSCHECK needs the page at {FENCE:#x}")
    limits = (ctypes.c_int64 * 2).from_address(FENCE)
    limits[1] = 2**63 - 1
    return limits


_limits = _map_limits()


def fence(low: int, high: int) -> None:
    """Allow byte access in [low, high) only; checked where NUMBA_BOUNDSCHECK=1."""
    _limits[0], _limits[1] = low, high


def unfence() -> None:
    """Allow byte access everywhere again."""
    fence(0, 2**63 - 1)


def _check(p: int, n: int) -> None:
    if BOUNDSCHECK and n and not (_limits[0] <= p and p + n <= _limits[1]):
        raise IndexError(f"access to {n} bytes at {p - _limits[0]:+d} of {_limits[1] - _limits[0]}")


def _read(p: int, n: int) -> bytes:
    _check(p, n)
    return ctypes.string_at(p, n)


def _write(p: int, data: bytes) -> None:
    _check(p, len(data))
    ctypes.memmove(p, data, len(data))


@primitive
def load8(p: int) -> int:
    """The byte at p."""
    return _read(p, 1)[0]


@primitive
def be16(p: int) -> int:
    """The 16 bits at p, network order."""
    return int.from_bytes(_read(p, 2), "big")


@primitive
def be32(p: int) -> int:
    """The 32 bits at p, network order, as 0 .. 2**32-1."""
    return int.from_bytes(_read(p, 4), "big")


@primitive
def be64(p: int) -> int:
    """The 64 bits at p, network order, as a signed integer (half an IPv6 address)."""
    return int.from_bytes(_read(p, 8), "big", signed=True)


@primitive
def store8(p: int, v: int) -> None:
    """Write the low 8 bits of v."""
    _write(p, (v & 0xFF).to_bytes(1, "big"))


@primitive
def put16(p: int, v: int) -> None:
    """Write the low 16 bits of v, network order."""
    _write(p, (v & 0xFFFF).to_bytes(2, "big"))


@primitive
def put32(p: int, v: int) -> None:
    """Write the low 32 bits of v, network order."""
    _write(p, (v & 0xFFFF_FFFF).to_bytes(4, "big"))


@primitive
def put64(p: int, v: int) -> None:
    """Write 64 bits, network order."""
    _write(p, (v & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big"))


@primitive
def load32(p: int) -> int:
    """The 32 bits at p, host order, as 0 .. 2**32-1."""
    return ctypes.c_uint32.from_address(p).value


@primitive
def load64(p: int) -> int:
    """The 64 bits at p, host order, signed."""
    return ctypes.c_int64.from_address(p).value


@primitive
def store32(p: int, v: int) -> None:
    """Write 32 bits at p, host order."""
    ctypes.c_uint32.from_address(p).value = v & 0xFFFF_FFFF


@primitive
def store64(p: int, v: int) -> None:
    """Write 64 bits at p, host order."""
    ctypes.c_int64.from_address(p).value = v


@primitive
def copy(dst: int, src: int, n: int) -> None:
    """Copy n bytes; the ranges may overlap."""
    _check(src, n)
    _check(dst, n)
    ctypes.memmove(dst, src, n)


@primitive
def zero(p: int, n: int) -> None:
    """Set n bytes to 0."""
    _check(p, n)
    ctypes.memset(p, 0, n)


@primitive
def equal(a: int, b: int, n: int) -> int:
    """1 if the n bytes at a and those at b are the same, else 0."""
    return 1 if _read(a, n) == _read(b, n) else 0


@primitive
def sum16(p: int, n: int, acc: int) -> int:
    """Add n bytes to an Internet checksum accumulator (RFC 1071), folded to 16 bits.

    The bytes count as big-endian 16-bit words from p on; an odd last byte is
    padded with a zero.  To continue after an odd length see `ip.checksum`.
    """
    data = _read(p, n)
    if n & 1:
        data += b"\0"
    total = int.from_bytes(data, "big") % 0xFFFF if data.strip(b"\0") else -1
    # x mod 65535 is the folded sum, except that a nonzero sum never folds to 0.
    folded = 0 if total < 0 else (total or 0xFFFF)
    acc = folded + acc
    while acc > 0xFFFF:
        acc = (acc & 0xFFFF) + (acc >> 16)
    return acc


@primitive
def mix64(a: int, b: int) -> int:
    """One round of a multiply-mix hash: 128-bit product of (a ^ k) and b's odd form, halves xored; 63 bits.

    One round is not enough to choose among few: if `a` stays and `b` goes in equal steps, the product does too, and
    with some `a` a given bit stays the same for long.  Two rounds (`random.hash2`), or a mixed `b`, do.
    """
    x = (a ^ 0x9E37_79B9_7F4A_7C15) & 0xFFFF_FFFF_FFFF_FFFF
    y = (b ^ 0xD6E8_FEB8_6659_FD93) & 0xFFFF_FFFF_FFFF_FFFF
    product = x * y
    return ((product ^ (product >> 64)) & 0xFFFF_FFFF_FFFF_FFFF) >> 1


@primitive
def mul64(a: int, b: int) -> int:
    """a * b, low 64 bits as a signed integer (so that both modes wrap alike)."""
    v = (a * b) & 0xFFFF_FFFF_FFFF_FFFF
    return v - (1 << 64) if v >> 63 else v


@primitive
def add64(a: int, b: int) -> int:
    """a + b, low 64 bits as a signed integer."""
    v = (a + b) & 0xFFFF_FFFF_FFFF_FFFF
    return v - (1 << 64) if v >> 63 else v


@primitive
def rotl64(a: int, n: int) -> int:
    """Rotate 64 bits left by n (1..63), as a signed integer."""
    u = a & 0xFFFF_FFFF_FFFF_FFFF
    v = ((u << n) | (u >> (64 - n))) & 0xFFFF_FFFF_FFFF_FFFF
    return v - (1 << 64) if v >> 63 else v
