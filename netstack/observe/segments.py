"""TCP segments out of captured frames.

RFC 9293 section 3.1 behind RFC 791 or RFC 8200 headers.  An own short decoder:
no dependency, and it reads only what the diagrams show.
"""
from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .pcapng import ETHERNET, RAW, Frame

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
FLAG_NAMES = ((SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (PSH, "PSH"), (ACK, "ACK"), (URG, "URG"), (ECE, "ECE"),
              (CWR, "CWR"))
TCP = 6
EXTENSIONS = (0, 43, 60)        # IPv6 extension headers of one form: hop-by-hop, routing, destination options
VLAN = 0x8100
MSS, WINDOW_SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 2, 3, 4, 5, 8

End = tuple[str, int]           # address, port


@dataclass(frozen=True)
class Segment:
    """One TCP segment as it was on the link."""

    time: int               # ns since 1970
    source: End
    destination: End
    seq: int
    ack: int
    flags: int
    window: int             # as in the header, not scaled
    length: int             # bytes of data
    options: dict[int, bytes] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The sequence number after the segment; SYN and FIN count one each."""
        return (self.seq + self.length + bool(self.flags & SYN) + bool(self.flags & FIN)) & 0xFFFF_FFFF

    @property
    def connection(self) -> frozenset[End]:
        """What both directions have in common."""
        return frozenset((self.source, self.destination))

    def flag_names(self) -> str:
        """Such as "SYN ACK"."""
        return " ".join(name for bit, name in FLAG_NAMES if self.flags & bit)


def segments(captured: Iterable[Frame]) -> Iterator[Segment]:
    """The TCP segments among the frames; fragments and what is damaged are left out."""
    for frame in captured:
        packet = _packet(frame)
        if packet is not None:
            segment = _segment(frame.time, packet)
            if segment is not None:
                yield segment


def _packet(frame: Frame) -> bytes | None:
    """The IP packet in a frame."""
    if frame.link_type == RAW:
        return frame.data
    if frame.link_type != ETHERNET or len(frame.data) < 14:
        return None
    at = 12
    while frame.data[at:at + 2] == VLAN.to_bytes(2, "big"):
        at += 4
    return frame.data[at + 2:] if frame.data[at:at + 2] in (b"\x08\x00", b"\x86\xdd") else None


def _segment(time: int, packet: bytes) -> Segment | None:
    if len(packet) < 20:
        return None
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        total, fragment = struct.unpack_from("!2xH2xH", packet)
        if packet[9] != TCP or fragment & 0x3FFF:
            return None
        source, destination, tcp = packet[12:16], packet[16:20], packet[header:total]
    else:
        if len(packet) < 40:
            return None
        following, at, total = packet[6], 40, 40 + struct.unpack_from("!H", packet, 4)[0]
        while following in EXTENSIONS and at + 8 <= len(packet):
            following, at = packet[at], at + 8 + packet[at + 1] * 8
        if following != TCP:
            return None
        source, destination, tcp = packet[8:24], packet[24:40], packet[at:total]
    if len(tcp) < 20 or not 20 <= (tcp[12] >> 4) * 4 <= len(tcp):
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", tcp)
    data_at = (offset >> 4) * 4
    return Segment(time, (str(ipaddress.ip_address(source)), sport), (str(ipaddress.ip_address(destination)), dport),
                   seq, ack, flags, window, len(tcp) - data_at, dict(_options(tcp[20:data_at])))


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        if at + 2 > len(data) or data[at + 1] < 2:
            return
        yield data[at], data[at + 2:at + data[at + 1]]
        at += data[at + 1]
