"""Offload: what is left to the device, or was done by it: checksums, and cutting or joining segments.

A frame then has notes beside its bytes, as of `struct virtio_net_hdr` (OASIS
virtio 1.2, 5.1.6; Linux include/uapi/linux/virtio_net.h): where its checksum is
missing, and the size of the segments that it stands for.  Whoever makes a frame
leaves its transport checksum out: the field holds the sum of the pseudo header.
The device fills it in, or `ip.link` does.
"""
from __future__ import annotations

from enum import IntEnum, IntFlag

from ..machine import compiled, i32, load8, put16, record, store8, sum16, u8, u16

HEADER = 10             # bytes of struct virtio_net_hdr
NEEDS_CSUM = 1          # its `flags`
DATA_VALID = 2
UDP_CHECKSUM = 6        # where UDP's stands in its header
ECN = 0x80              # in gso_type: the first segment has CWR, the others not


class Gso(IntEnum):
    """Its `gso_type`: what a large frame is cut into."""

    NONE = 0
    TCPV4 = 1
    TCPV6 = 4
    UDP_L4 = 5


class Feature(IntFlag):
    """What a device does for us."""

    CSUM = 1            # fills checksums in
    TSO = 2             # cuts TCP segments, of IPv4 and IPv6
    USO = 4             # cuts UDP datagrams


CSUM, TSO, USO = int(Feature.CSUM), int(Feature.TSO), int(Feature.USO)


@record
class Offload:
    """The notes of one frame."""

    start: u16          # csum_start: where the transport header begins, bytes from the frame's; 0: no notes
    field: u16          # csum_offset: where in it the checksum stands
    size: u16           # gso_size: bytes of payload in each segment; 0: the frame is one
    gso: u8             # Gso
    checked: u8         # (received) somebody vouches for the transport checksum
    headers: i32        # hdr_len: bytes before the payload


@compiled
def clear(o: Offload) -> None:
    """A frame without notes."""
    o.start = 0
    o.size = 0
    o.gso = Gso.NONE
    o.checked = 0


@compiled
def move(to: Offload, o: Offload) -> None:
    """Give the notes to another; none are left here."""
    to.start = o.start
    to.field = o.field
    to.size = o.size
    to.gso = o.gso
    to.headers = o.headers
    clear(o)


@compiled
def needed(o: Offload) -> int:
    """The features that a device must have for a frame with these notes."""
    if o.start == 0:
        return 0
    if o.size == 0:
        return CSUM
    return CSUM | (USO if o.gso == Gso.UDP_L4 else TSO)


@compiled
def _put_le16(p: int, v: int) -> None:
    store8(p, v & 0xFF)
    store8(p + 1, v >> 8)


@compiled
def _le16(p: int) -> int:
    return load8(p) | load8(p + 1) << 8


@compiled
def emit(o: Offload, p: int, bare: int) -> None:
    """Write the header for a frame at p, of which the device does not get the first `bare` bytes."""
    store8(p, NEEDS_CSUM if o.start != 0 else 0)
    store8(p + 1, o.gso)
    _put_le16(p + 2, o.headers - bare if o.size != 0 else 0)
    _put_le16(p + 4, o.size)
    _put_le16(p + 6, o.start - bare if o.start != 0 else 0)
    _put_le16(p + 8, o.field)


@compiled
def parse(o: Offload, p: int, n: int, bare: int) -> None:
    """Read the header at p of a frame of n bytes, of which the device has not given the first `bare`.

    What cannot be is ignored: it is then checked.
    """
    clear(o)
    flags = load8(p)
    start = _le16(p + 6) + bare
    field = _le16(p + 8)
    if flags & NEEDS_CSUM and start + field + 2 <= n:
        o.start = start
        o.field = field
        o.checked = 1
    elif flags & DATA_VALID:
        o.checked = 1
    o.gso = load8(p + 1) & ~ECN
    o.size = _le16(p + 4) if o.gso != Gso.NONE else 0


@compiled
def complete(o: Offload, frame: int, n: int) -> None:
    """Fill in the checksum that a frame of n bytes, in one piece, lacks (a large one's is that of all of it)."""
    if o.start != 0:
        at = frame + o.start
        put_checksum(at, o.field, sum16(at, n - o.start, 0))
        o.start = 0


@compiled
def put_checksum(transport: int, offset: int, acc: int) -> None:
    """Write the checksum of which `acc` is the sum, in 16 bits, at its place in the transport header.

    0 would mean to UDP that there is none, and is sent as all ones (RFC 768).
    """
    put16(transport + offset, acc ^ 0xFFFF if acc != 0xFFFF or offset != UDP_CHECKSUM else 0xFFFF)


@compiled
def count(o: Offload, frame: int, n: int) -> int:
    """How many segments a received frame of n bytes stands for."""
    if o.size == 0 or o.start + 20 > n:
        return 1
    headers = o.start + (8 if o.gso == Gso.UDP_L4 else (load8(frame + o.start + 12) >> 4) * 4)
    return max((n - headers + o.size - 1) // o.size, 1)
