"""Random numbers and keyed hashes.

`Rng` is SplitMix64 (Steele, Lea, Flood 2014): fast, seeded, the same in both
modes; for jitter, impairment, identification fields.  `hash2` is quick, for
tables whose worst case is a long chain or a full set.  `siphash` is SipHash-2-4
(Aumasson, Bernstein 2012) under a key nobody outside knows; for sequence numbers
(RFC 6528) and ports (RFC 6056), where a guess must not help.
"""
from __future__ import annotations

from .compiled import compiled
from .memory import add64, mix64, mul64, rotl64
from .record import i64, record

_GAMMA = 0x9E37_79B9_7F4A_7C15 - (1 << 64)
_MIX1 = 0xBF58_476D_1CE4_E5B9 - (1 << 64)
_MIX2 = 0x94D0_49BB_1331_11EB - (1 << 64)
_MASK63 = (1 << 63) - 1


@record
class Rng:
    """State of one generator; seed it by setting `state`."""

    state: i64


@record
class Key:
    """A SipHash key."""

    k0: i64
    k1: i64


@compiled
def _shift_right(v: int, n: int) -> int:
    return (v >> n) & ((1 << (64 - n)) - 1)


@compiled
def random64(r: Rng) -> int:
    """The next 63 random bits."""
    r.state = add64(r.state, _GAMMA)
    z = r.state
    z = mul64(z ^ _shift_right(z, 30), _MIX1)
    z = mul64(z ^ _shift_right(z, 27), _MIX2)
    return (z ^ _shift_right(z, 31)) & _MASK63


@compiled
def below(r: Rng, n: int) -> int:
    """A random number from 0 to n - 1 (n at least 1, far below 2**63, so that the bias does not show)."""
    return random64(r) % n


@compiled
def hash2(key: Key, a: int, b: int) -> int:
    """A hash of two words to choose a bucket by, or one of a few: 63 bits, each as good as the others."""
    return mix64(mix64(a ^ key.k0, b ^ key.k1), key.k1)


@compiled
def siphash(key: Key, a: int, b: int, c: int, d: int, e: int) -> int:
    """SipHash-2-4 of five 64-bit words (40 bytes), low 63 bits."""
    return siphash64(key, a, b, c, d, e, 5) & _MASK63


@compiled
def siphash64(key: Key, a: int, b: int, c: int, d: int, e: int, words: int) -> int:
    """SipHash-2-4 of the first of five 64-bit words, as a signed integer."""
    v0 = key.k0 ^ 0x736F_6D65_7073_6575
    v1 = key.k1 ^ 0x646F_7261_6E64_6F6D
    v2 = key.k0 ^ 0x6C79_6765_6E65_7261
    v3 = key.k1 ^ 0x7465_6462_7974_6573
    for i in range(words + 5):
        m = 0
        rounds = 2
        if i == words:
            m = words << 59             # the length in bytes, in the last block's top byte
        elif i == words + 1:
            v2 ^= 0xFF
            rounds = 4
        elif i > words:
            break
        elif i == 0:
            m = a
        elif i == 1:
            m = b
        elif i == 2:
            m = c
        elif i == 3:
            m = d
        elif i == 4:
            m = e
        v3 ^= m
        for _ in range(rounds):
            v0 = add64(v0, v1)
            v1 = rotl64(v1, 13) ^ v0
            v0 = rotl64(v0, 32)
            v2 = add64(v2, v3)
            v3 = rotl64(v3, 16) ^ v2
            v0 = add64(v0, v3)
            v3 = rotl64(v3, 21) ^ v0
            v2 = add64(v2, v1)
            v1 = rotl64(v1, 17) ^ v2
            v2 = rotl64(v2, 32)
        v0 ^= m
    return v0 ^ v1 ^ v2 ^ v3
