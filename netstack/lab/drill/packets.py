"""Packets as bytes and back: IPv4 and IPv6, TCP, UDP, ICMP.

A codec of the runner's own, which shares nothing with the stack that it tests.
RFC 791, 8200, 9293, 768, 792, 4443; options RFC 7323, 2018, 7413, 9768.
"""
from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

from .script import Option

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
ARP = 0x0806
MASK = 0xFFFF_FFFF
EOL, NOP, MSS, WSCALE, SACK_OK, SACK, TS, MD5, FO, ECN0, ECN1, EXP = 0, 1, 2, 3, 4, 5, 8, 19, 34, 172, 174, 254
FASTOPEN_MAGIC = 0xF989             # RFC 7413 4.1.1, in an experimental option
COUNTERS = {ECN0: ("e0b", "ceb", "e1b"), ECN1: ("e1b", "ceb", "e0b")}      # RFC 9768 3.2.3


@dataclass
class Seen:
    """A packet of the stack, read."""

    at: int                         # ns on the virtual clock
    version: int
    src: bytes
    dst: bytes
    protocol: int
    tos: int
    ttl: int
    flow: int
    sport: int = 0
    dport: int = 0
    seq: int = 0
    ack: int = 0
    flags: int = 0
    win: int = 0
    urg: int = 0
    options: list[Option] = field(default_factory=list)
    payload: bytes = b""
    kind: int = 0                   # of an ICMP message
    code: int = 0
    problem: str = ""               # a checksum that is wrong


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
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


def summed(src: bytes, dst: bytes, protocol: int, body: bytes, offset: int) -> bytes:
    """A transport's packet with its checksum put in at `offset`."""
    head = b"" if protocol == ICMP else pseudo(src, dst, protocol, len(body))
    value = checksum(head + body) or (0xFFFF if protocol == UDP else 0)
    return body[:offset] + struct.pack("!H", value) + body[offset + 2:]


def ip(src: bytes, dst: bytes, protocol: int, payload: bytes, *, ttl: int = 255, tos: int = 0, flow: int = 0,
       length: int | None = None) -> bytes:
    """An IP packet; `length`: what the header says of the payload, if that is another number."""
    n = len(payload) if length is None else length
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28 | tos << 20 | flow, n, protocol, ttl) + src + dst + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + n, 0, 0x4000, ttl, protocol, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ethernet(dst: bytes, src: bytes, packet: bytes) -> bytes:
    """A frame that carries an IP packet."""
    return dst + src + struct.pack("!H", ETHERTYPE[packet[0] >> 4]) + packet


# ---- TCP's options

def emit_options(options: tuple[Option, ...]) -> bytes:
    """Options as they stand in a script, padded with EOL."""
    out = b"".join(map(_emit_option, options))
    return out + bytes(-len(out) % 4)


def _emit_option(option: Option) -> bytes:
    v = option.values
    if option.name == "eol":
        return bytes([EOL])
    if option.name == "nop":
        return bytes([NOP])
    if option.name == "mss":
        return struct.pack("!BBH", MSS, 4, *v)
    if option.name == "wscale":
        return struct.pack("!BBB", WSCALE, 3, *v)
    if option.name == "sackOK":
        return bytes([SACK_OK, 2])
    if option.name == "TS":
        return struct.pack("!BBII", TS, 10, *v)
    if option.name == "sack":
        blocks = b"".join(struct.pack("!II", left & MASK, right & MASK) for left, right in v)
        return bytes([SACK, 2 + len(blocks)]) + blocks
    if option.name == "ECN":
        names = tuple(name for name, _ in v)
        kind = ECN1 if names[:1] == ("e1b",) else ECN0
        return bytes([kind, 2 + 3 * len(v)]) + b"".join(value.to_bytes(3, "big") for _, value in v)
    body: bytes = v[0]
    if option.name == "FOEXP":
        return struct.pack("!BBH", EXP, 4 + len(body), FASTOPEN_MAGIC) + body
    return bytes([{"FO": FO, "md5": MD5}[option.name], 2 + len(body)]) + body


def read_options(data: bytes) -> list[Option]:
    """The options of a segment, without padding.  ValueError: malformed."""
    found = []
    while data and data[0] != EOL:
        if data[0] == NOP:
            data = data[1:]
            continue
        if len(data) < 2 or not 2 <= data[1] <= len(data):
            raise ValueError("a malformed TCP option")
        kind, body, data = data[0], data[2:data[1]], data[data[1]:]
        found.append(_read_option(kind, body))
    return found


def _read_option(kind: int, body: bytes) -> Option:
    n = len(body)
    if kind == MSS and n == 2:
        return Option("mss", (int.from_bytes(body, "big"),))
    if kind == WSCALE and n == 1:
        return Option("wscale", (body[0],))
    if kind == SACK_OK and n == 0:
        return Option("sackOK")
    if kind == TS and n == 8:
        return Option("TS", struct.unpack("!II", body))
    if kind == SACK and n and n % 8 == 0:
        return Option("sack", tuple(struct.iter_unpack("!II", body)))
    if kind == FO:
        return Option("FO", (body,))
    if kind == MD5:
        return Option("md5", (body,))
    if kind == EXP and body[:2] == FASTOPEN_MAGIC.to_bytes(2, "big"):
        return Option("FOEXP", (body[2:],))
    if kind in COUNTERS and n % 3 == 0:
        values = [int.from_bytes(body[i:i + 3], "big") for i in range(0, n, 3)]
        return Option("ECN", tuple(zip(COUNTERS[kind], values, strict=False)))
    return Option("unknown", (kind, body))


# ---- whole packets

def tcp(src: bytes, dst: bytes, sport: int, dport: int, seq: int, ack: int, flags: int, win: int, urg: int,
        options: tuple[Option, ...], payload: bytes) -> bytes:
    """A segment with its checksum, without the IP header."""
    extra = emit_options(options)
    head = struct.pack("!HHIIHHHH", sport, dport, seq & MASK, ack & MASK, (5 + len(extra) // 4) << 12 | flags,
                       win, 0, urg)
    return summed(src, dst, TCP, head + extra + payload, 16)


def udp(src: bytes, dst: bytes, sport: int, dport: int, payload: bytes) -> bytes:
    """A datagram with its checksum, without the IP header."""
    return summed(src, dst, UDP, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 6)


def read(packet: bytes, at: int) -> Seen:
    """A packet of the stack.  `problem` says if a checksum is wrong."""
    version = packet[0] >> 4
    if version == 4:
        n = (packet[0] & 15) * 4
        seen = Seen(at, 4, packet[12:16], packet[16:20], packet[9], packet[1], packet[8], 0)
        body = packet[n:int.from_bytes(packet[2:4], "big")]
        if checksum(packet[:n]):
            seen.problem = "the IPv4 header's checksum is wrong"
    else:
        first = int.from_bytes(packet[:4], "big")
        seen = Seen(at, 6, packet[8:24], packet[24:40], packet[6], first >> 20 & 0xFF, packet[7], first & 0xF_FFFF)
        body = packet[40:40 + int.from_bytes(packet[4:6], "big")]
    head = b"" if seen.protocol == ICMP else pseudo(seen.src, seen.dst, seen.protocol, len(body))
    if checksum(head + body):
        seen.problem = "the checksum is wrong"
    if seen.protocol == TCP:
        seen.sport, seen.dport, seen.seq, seen.ack, both, seen.win, _, seen.urg = struct.unpack_from("!HHIIHHHH", body)
        seen.flags, n = both & 0x1FF, both >> 12 << 2
        seen.payload = body[n:]
        try:
            seen.options = read_options(body[20:n])
        except ValueError as error:
            seen.problem = str(error)
    elif seen.protocol == UDP:
        seen.sport, seen.dport = struct.unpack_from("!HH", body)
        seen.payload = body[8:]
    elif seen.protocol in (ICMP, ICMP6):
        seen.kind, seen.code, seen.payload = body[0], body[1], body[8:]
    return seen


# ---- ICMP (RFC 792, RFC 4443): what a script calls the types and codes

UNREACHABLE4 = {
    "net_unreachable": 0, "host_unreachable": 1, "protocol_unreachable": 2, "port_unreachable": 3, "frag_needed": 4,
    "source_route_failed": 5, "net_unknown": 6, "host_unknown": 7, "source_host_isolated": 8, "net_prohibited": 9,
    "host_prohibited": 10, "net_unreachable_for_tos": 11, "host_unreachable_for_tos": 12, "packet_filtered": 13,
    "precedence_violation": 14, "precedence_cutoff": 15,
}
UNREACHABLE6 = {
    "no_route": 0, "admin_prohibited": 1, "not_neighbour": 2, "address_unreachable": 3, "port_unreachable": 4,
    "net_unreachable": 0, "host_prohibited": 1, "net_prohibited": 1, "packet_filtered": 1, "host_unreachable": 3,
    "host_unknown": 3,
}
TYPES4: dict[str, tuple[int, dict[str, int]]] = {
    "unreachable": (3, UNREACHABLE4),
    "source_quench": (4, {}),
    "redirect": (5, {"net": 0, "host": 1}),
    "time_exceeded": (11, {"ttl_exceeded": 0, "exceed_hops": 0, "reassembly_exceeded": 1, "exceed_reassembly": 1}),
    "parameter_problem": (12, {}),
}
TYPES6: dict[str, tuple[int, dict[str, int]]] = {
    "unreachable": (1, UNREACHABLE6),
    "packet_too_big": (2, {}),
    "time_exceeded": (3, {"ttl_exceeded": 0, "exceed_hops": 0, "reassembly_exceeded": 1, "exceed_reassembly": 1}),
    "parameter_problem": (4, {"header_field": 0, "next_header": 1, "ipv6_option": 2}),
}


def icmp_numbers(version: int, kind: str, code: str | None) -> tuple[int, int] | None:
    """(type, code); None if this version has no such message.  What only IPv4 has a name for means IPv6's nearest."""
    if version == 6 and (kind, code) == ("unreachable", "frag_needed"):
        return TYPES6["packet_too_big"][0], 0
    types = TYPES4 if version == 4 else TYPES6
    if kind not in types:
        return None
    number, codes = types[kind]
    if code is None:
        return number, 0
    if code.isdigit():
        return number, int(code)
    return (number, codes[code]) if code in codes else None
