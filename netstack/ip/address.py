"""Addresses: 128 bits in two halves, and questions about them.

RFC 4291, "IP Version 6 Addressing Architecture"; RFC 1122 3.2.1.3 for IPv4.

An IPv4 address is v4-mapped (RFC 4291 2.5.5.2), so one pair of integers names
either kind.  Halves are signed 64-bit integers: compared and masked, never ordered.
"""
from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from ..machine import compiled

if TYPE_CHECKING:
    from .net import Interface, InterfaceAddress

MAPPED = 0xFFFF                             # upper half of `lo` of an IPv4 address
LINK_LOCAL_HI = (0xFE80 << 48) - (1 << 64)  # fe80::/64, as the signed half that be64 gives (RFC 4291 2.5.6)
MULTICAST_HI = (0xFF02 << 48) - (1 << 64)   # ff02::, link-local multicast (RFC 4291 2.7.1)
ALL_NODES_LO = 1                            # ff02::1
SOLICITED_NODE_LO = 0x1_FF00_0000           # ff02::1:ff00:0/104 (RFC 4291 2.7.1)
LIMITED_BROADCAST = 0xFFFF_FFFF             # 255.255.255.255
ALL_HOSTS = 0xE000_0001                     # 224.0.0.1 (RFC 1112)


class State(IntEnum):
    """Of an interface's address (RFC 4862 2)."""

    NONE = 0
    TENTATIVE = 1       # being probed: neither source nor destination
    PREFERRED = 2
    DEPRECATED = 3      # still ours, but not chosen for new connections
    DUPLICATE = 4       # somebody else has it


class Scope(IntEnum):
    """How far an address reaches (RFC 6724 3.1, RFC 4291 2.7)."""

    INTERFACE = 1
    LINK = 2
    SITE = 5
    GLOBAL = 14


@compiled
def is_v4(hi: int, lo: int) -> bool:
    """Whether it is an IPv4 address."""
    return hi == 0 and lo >> 32 == MAPPED


@compiled
def v4(lo: int) -> int:
    """The 32 bits of an IPv4 address."""
    return lo & 0xFFFF_FFFF


@compiled
def from_v4(v: int) -> int:
    """The low half of an IPv4 address; the high half is 0."""
    return (MAPPED << 32) | v


@compiled
def is_unspecified(hi: int, lo: int) -> bool:
    """:: or 0.0.0.0 (or no address at all: two zeros)."""
    return hi == 0 and (lo == 0 or lo == MAPPED << 32)


@compiled
def is_multicast(hi: int, lo: int) -> bool:
    """ff00::/8 or 224.0.0.0/4."""
    if is_v4(hi, lo):
        return (lo >> 28) & 0xF == 0xE
    return (hi >> 56) & 0xFF == 0xFF


@compiled
def is_loopback(hi: int, lo: int) -> bool:
    """::1 or 127.0.0.0/8 (RFC 1122 3.2.1.3 (g))."""
    if is_v4(hi, lo):
        return (lo >> 24) & 0xFF == 127
    return hi == 0 and lo == 1


@compiled
def is_link_local(hi: int, lo: int) -> bool:
    """fe80::/10 or 169.254.0.0/16 (RFC 4291 2.5.6, RFC 3927)."""
    if is_v4(hi, lo):
        return (lo >> 16) & 0xFFFF == 0xA9FE
    return (hi >> 54) & 0x3FF == 0x3FA


@compiled
def scope(hi: int, lo: int) -> int:
    """The scope of an address (RFC 6724 3.1, 3.2)."""
    if is_v4(hi, lo):
        if is_loopback(hi, lo) or is_link_local(hi, lo):
            return Scope.LINK
        return Scope.GLOBAL         # private addresses too
    if is_multicast(hi, lo):
        return (hi >> 48) & 0xF
    if is_loopback(hi, lo) or is_link_local(hi, lo):
        return Scope.LINK
    return Scope.GLOBAL


@compiled
def mask_hi(prefix: int) -> int:
    """The high half of the mask of a prefix length, 0 .. 128."""
    if prefix >= 64:
        return -1
    return ~((1 << (64 - prefix)) - 1) if prefix > 0 else 0


@compiled
def mask_lo(prefix: int) -> int:
    """The low half."""
    if prefix <= 64:
        return 0
    return ~((1 << (128 - prefix)) - 1)


@compiled
def matches(a_hi: int, a_lo: int, b_hi: int, b_lo: int, prefix: int) -> bool:
    """Whether the first `prefix` bits of a and b agree."""
    return ((a_hi ^ b_hi) & mask_hi(prefix)) == 0 and ((a_lo ^ b_lo) & mask_lo(prefix)) == 0


@compiled
def common(a_hi: int, a_lo: int, b_hi: int, b_lo: int) -> int:
    """How many leading bits of a and b agree, 0 .. 128."""
    x = a_hi ^ b_hi
    n = 0
    if x == 0:
        x = a_lo ^ b_lo
        n = 64
        if x == 0:
            return 128
    width = 32
    while width > 0:        # halve: are the upper `width` of the remaining bits all zero?
        if (x >> (64 - width)) & ((1 << width) - 1) == 0:
            n += width
            x <<= width
        width >>= 1
    return n


@compiled
def solicited_node_lo(lo: int) -> int:
    """The low half of the solicited-node multicast address of an address; the high half is MULTICAST_HI."""
    return SOLICITED_NODE_LO | (lo & 0xFF_FFFF)


@compiled
def is_solicited_node(hi: int, lo: int, of_lo: int) -> bool:
    """Whether it is the solicited-node multicast address of an address that ends with `of_lo`."""
    return hi == MULTICAST_HI and lo == solicited_node_lo(of_lo)


@compiled
def on_interface(iface: Interface, hi: int, lo: int) -> int:
    """The place of an address in `iface.addresses`, in whatever state it is; -1: not there."""
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if a.lo == lo and a.hi == hi:
            return i
    return -1


@compiled
def is_usable(a: InterfaceAddress) -> bool:
    """Whether packets may be sent from it and are taken for it (RFC 4862 5.4)."""
    return a.state == State.PREFERRED or a.state == State.DEPRECATED


@compiled
def source_on(iface: Interface, hi: int, lo: int) -> int:
    """The place of the address from which to ask a neighbour for its link address; -1: there is none.

    RFC 4861 7.2.2 and RFC 1122 3.3.4.3: one that the neighbour has a route for, so the longest match.
    """
    best = -1
    best_length = -1
    wanted = is_v4(hi, lo)
    for i in range(iface.address_count):
        a = iface.addresses[i]
        if not is_usable(a) or is_v4(a.hi, a.lo) != wanted:
            continue
        length = common(a.hi, a.lo, hi, lo)
        if length > best_length:
            best = i
            best_length = length
    return best
