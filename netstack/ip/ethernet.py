"""Ethernet II: 14 bytes in front of every packet, and what multicast addresses become.

RFC 894 and RFC 2464 (IPv4 and IPv6 over Ethernet), RFC 1112 6.4 (multicast).
A MAC address is a 48-bit integer.  Frames have no checksum here, as on a Linux TAP.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import be16, be32, compiled, put16, put32
from .address import is_v4

HEADER_LEN = 14
BROADCAST = 0xFFFF_FFFF_FFFF
GROUP = 1 << 40             # the multicast bit: lowest of the first byte
V4_MULTICAST = 0x0100_5E00_0000
V6_MULTICAST = 0x3333_0000_0000


class EtherType(IntEnum):
    """IANA "IEEE 802 Numbers"."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100       # 802.1Q: not spoken yet
    IPV6 = 0x86DD


@compiled
def be48(p: int) -> int:
    """The 48 bits at p, network order."""
    return (be16(p) << 32) | be32(p + 2)


@compiled
def put48(p: int, v: int) -> None:
    """Write 48 bits, network order."""
    put16(p, v >> 32)
    put32(p + 2, v)


@compiled
def destination(frame: int) -> int:
    """Whom a frame of HEADER_LEN bytes or more is for."""
    return be48(frame)


@compiled
def source(frame: int) -> int:
    """Who sent it."""
    return be48(frame + 6)


@compiled
def ethertype(frame: int) -> int:
    """What it carries; a value up to 1500 is an 802.3 length instead."""
    return be16(frame + 12)


@compiled
def emit(p: int, dst: int, src: int, ethertype: int) -> None:
    """Write a header at p."""
    put48(p, dst)
    put48(p + 6, src)
    put16(p + 12, ethertype)


@compiled
def is_group(mac: int) -> bool:
    """Multicast or broadcast."""
    return mac & GROUP != 0


@compiled
def multicast(hi: int, lo: int) -> int:
    """The MAC address that a multicast IP address maps to."""
    if is_v4(hi, lo):
        return V4_MULTICAST | (lo & 0x7F_FFFF)      # RFC 1112 6.4: the low 23 bits
    return V6_MULTICAST | (lo & 0xFFFF_FFFF)        # RFC 2464 7: the low 32
