"""Read the frames of a pcapng file.

draft-ietf-opsawg-pcapng.  What `Stack.capture` writes, and what Wireshark,
tcpdump and dumpcap write.
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SECTION_HEADER = 0x0A0D0D0A         # (4.1)
INTERFACE = 1                       # (4.2)
ENHANCED_PACKET = 6                 # (4.3)
BYTE_ORDER_MAGIC = 0x1A2B3C4D
OPT_TSRESOL = 9                     # if_tsresol (4.2)
OPT_FLAGS = 2                       # epb_flags (4.3)
INBOUND, OUTBOUND = 1, 2            # its low bits
ETHERNET = 1                        # link type
RAW = 101                           # link type: an IP packet


@dataclass(frozen=True)
class Frame:
    """One frame of a capture."""

    time: int               # ns since 1970
    interface: int          # index in the file
    link_type: int
    direction: int          # INBOUND, OUTBOUND, or 0: not said
    data: bytes


def frames(path: str | Path) -> Iterator[Frame]:
    """Every frame of a file, in order.  A last block that was cut off is left out; ValueError for another format."""
    data = Path(path).read_bytes()
    at, order = 0, "<"
    interfaces: list[tuple[int, int]] = []      # link type, units per second
    while at + 12 <= len(data):
        if struct.unpack_from("<I", data, at)[0] == SECTION_HEADER:
            order = _byte_order(data, at)
            interfaces = []
        kind, length = struct.unpack_from(order + "II", data, at)
        if length < 12 or length % 4 or at + length > len(data):
            break
        body = data[at + 8:at + length - 4]
        if kind == INTERFACE and len(body) >= 8:
            resolution = dict(_options(body, 8, order)).get(OPT_TSRESOL, b"\x06")[0]
            units = 1 << (resolution & 0x7F) if resolution & 0x80 else 10 ** resolution
            interfaces.append((struct.unpack_from(order + "H", body)[0], units))
        elif kind == ENHANCED_PACKET and len(body) >= 20:
            index, high, low, captured, _ = struct.unpack_from(order + "IIIII", body)
            if index < len(interfaces) and 20 + captured <= len(body):
                link_type, units = interfaces[index]
                flags = dict(_options(body, 20 + captured + -captured % 4, order)).get(OPT_FLAGS, bytes(4))
                yield Frame((high << 32 | low) * 1_000_000_000 // units, index, link_type,
                            struct.unpack(order + "I", flags[:4])[0] & 3, body[20:20 + captured])
        at += length
    if at == 0:
        raise ValueError(f"{path} is not a pcapng file")


def _byte_order(data: bytes, at: int) -> str:
    """'<' or '>', by the section's magic."""
    for order in "<>":
        if struct.unpack_from(order + "I", data, at + 8)[0] == BYTE_ORDER_MAGIC:
            return order
    raise ValueError("a section without its byte-order magic")


def _options(body: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            return
        yield code, body[at + 4:at + 4 + length]
        at += 4 + length + -length % 4
