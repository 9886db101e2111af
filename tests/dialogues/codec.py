"""Segments as bytes and back: the harness's own codec, independent of the stack's.  scapy checks both elsewhere."""
from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << i for i in range(9))
NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE")
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ETHERTYPE = {4: 0x0800, 6: 0x86DD}


@dataclass
class Seg:
    """A TCP segment.  Options are None when they are not there."""

    sport: int
    dport: int
    seq: int = 0
    ack: int = 0
    flags: int = 0
    wnd: int = 65535
    up: int = 0
    data: bytes = b""
    mss: int | None = None
    wscale: int | None = None
    sack_ok: bool = False
    ts: tuple[int, int] | None = None
    sack: list[tuple[int, int]] = field(default_factory=list)
    fo: bytes | None = None             # Fast Open cookie (RFC 7413)
    fo_exp: bool = False                # ... in the experimental option
    options: bytes | None = None        # raw, instead of the above
    more: bytes = b""                   # ... raw, behind them
    tos: int = 0                        # of the IP packet
    accecn: tuple[int, ...] | None = None       # an AccECN option: its kind and the counters as they come
    packet: bytes = b""                 # the IP packet it came in
    at: float = 0.0                     # s

    @property
    def end(self) -> int:
        """The sequence number after it."""
        return self.seq + len(self.data) + bool(self.flags & SYN) + bool(self.flags & FIN)

    def __str__(self) -> str:
        text = "|".join(name for i, name in enumerate(NAMES) if self.flags >> i & 1) or "-"
        text += f" seq={self.seq} ack={self.ack} wnd={self.wnd}"
        text += f" data={len(self.data)} bytes" if self.data else ""
        for name in ("mss", "wscale", "ts", "fo"):
            text += f" {name}={getattr(self, name)}" if getattr(self, name) is not None else ""
        text += " sack_ok" if self.sack_ok else ""
        text += f" sack={self.sack}" if self.sack else ""
        text += f" up={self.up}" if self.up else ""
        return f"<{text}, at {self.at:.6f} s>"


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def address(text: str) -> bytes:
    """An address as bytes."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo(src: bytes, dst: bytes, protocol: int, length: int) -> bytes:
    """The pseudo header."""
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length)
    return src + dst + struct.pack("!IHBB", length, 0, 0, protocol)


def ip(src: bytes, dst: bytes, protocol: int, payload: bytes, *, ttl: int = 64, tos: int = 0) -> bytes:
    """An IP packet."""
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28 | tos << 20, len(payload), protocol, ttl) + src + dst + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(payload), 0, 0x4000, ttl, protocol, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ethernet(dst: bytes, src: bytes, packet: bytes) -> bytes:
    """A frame that carries an IP packet."""
    return dst + src + struct.pack("!H", ETHERTYPE[packet[0] >> 4]) + packet


def split(packet: bytes) -> tuple[int, bytes, bytes, bytes]:
    """(protocol, source, destination, payload) of a packet without extension headers; its header is checked."""
    if packet[0] >> 4 == 4:
        n = (packet[0] & 15) * 4
        assert checksum(packet[:n]) == 0, "IPv4 header checksum"
        return packet[9], packet[12:16], packet[16:20], packet[n:int.from_bytes(packet[2:4], "big")]
    return packet[6], packet[8:24], packet[24:40], packet[40:40 + int.from_bytes(packet[4:6], "big")]


def build(seg: Seg, src: bytes, dst: bytes) -> bytes:
    """The segment as an IP packet."""
    options = seg.options
    if options is None:
        options = b""
        if seg.mss is not None:
            options += struct.pack("!BBH", 2, 4, seg.mss)
        if seg.wscale is not None:
            options += struct.pack("!BBBB", 1, 3, 3, seg.wscale)
        if seg.sack_ok:
            options += b"\1\1\4\2"
        if seg.ts is not None:
            options += struct.pack("!BBBBII", 1, 1, 8, 10, *seg.ts)
        if seg.sack:
            options += struct.pack("!BBBB", 1, 1, 5, 2 + 8 * len(seg.sack))
            options += b"".join(struct.pack("!II", left & 0xFFFF_FFFF, right & 0xFFFF_FFFF) for left, right in seg.sack)
        if seg.fo is not None and seg.fo_exp:
            options += struct.pack("!BBH", 254, 4 + len(seg.fo), 0xF989) + seg.fo
        elif seg.fo is not None:
            options += struct.pack("!BB", 34, 2 + len(seg.fo)) + seg.fo
    options += seg.more
    options += bytes(-len(options) % 4)
    head = struct.pack("!HHIIHHHH", seg.sport, seg.dport, seg.seq & 0xFFFF_FFFF, seg.ack & 0xFFFF_FFFF,
                       (20 + len(options)) << 10 | seg.flags, seg.wnd, 0, seg.up) + options
    field = checksum(pseudo(src, dst, TCP, len(head) + len(seg.data)) + head + seg.data)
    return ip(src, dst, TCP, head[:16] + struct.pack("!H", field) + head[18:] + seg.data, tos=seg.tos)


def parse(packet: bytes) -> Seg:
    """The segment in an IP packet; checksums, lengths and the padding of options are checked."""
    protocol, src, dst, payload = split(packet)
    assert protocol == TCP
    assert checksum(pseudo(src, dst, TCP, len(payload)) + payload) == 0, "TCP checksum"
    sport, dport, seq, ack, flags, wnd, _, up = struct.unpack_from("!HHIIHHHH", payload)
    n = (flags >> 12) * 4
    assert 20 <= n <= len(payload) and flags & 0xE00 == 0
    tos = packet[1] if packet[0] >> 4 == 4 else int.from_bytes(packet[:2], "big") >> 4 & 0xFF
    seg = Seg(sport, dport, seq, ack, flags & 0x1FF, wnd, up, payload[n:], packet=packet, tos=tos)
    p = payload[20:n]
    while p:
        if p[0] == 1:
            p = p[1:]
            continue
        assert p[0] != 0, "the stack pads with NOPs"
        kind, length = p[0], p[1]
        body, p = p[2:length], p[length:]
        if kind == 2:
            seg.mss = int.from_bytes(body, "big")
        elif kind == 3:
            seg.wscale = body[0]
        elif kind == 4:
            seg.sack_ok = True
        elif kind == 8:
            seg.ts = struct.unpack("!II", body)
        elif kind == 5:
            seg.sack = list(struct.iter_unpack("!II", body))
        elif kind in (172, 174):
            seg.accecn = (kind, *(int.from_bytes(body[i:i + 3], "big") for i in range(0, len(body), 3)))
        elif kind == 34:
            seg.fo = body
        elif kind == 254 and body[:2] == b"\xf9\x89":
            seg.fo, seg.fo_exp = body[2:], True
        else:
            raise AssertionError(f"an option that nobody asked for: {kind}")
    return seg
