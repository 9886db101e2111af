"""IPv6 extension headers as sockets have them: IPV6_HOPOPTS and others, set or of one datagram, and what came.

ipv6(7), RFC 3542 6 to 9; RFC 8200 4.1.  What is sound is what Linux says
(ipv6_set_opt_hdr, ip6_datagram_send_ctl).  Differs: it is a Linux without Mobile
IPv6, so of routing headers only segment routing's can be sent (RFC 8754); one of
type 0 nobody may send (RFC 5095).
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from errno import EINVAL

RECVHOPOPTS, HOPOPTS, RTHDRDSTOPTS, RECVRTHDR, RTHDR, RECVDSTOPTS, DSTOPTS = 53, 54, 55, 56, 57, 58, 59
HOPOPTS_2292, DSTOPTS_2292, RTHDR_2292 = 3, 4, 5        # in sendmsg the names of RFC 2292 are good, too
NEWER = {HOPOPTS_2292: HOPOPTS, DSTOPTS_2292: DSTOPTS, RTHDR_2292: RTHDR}
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60      # Next Header
IPV6_HEADER = 40
LONGEST = 8 * 255               # bytes of a header that can be set
LONGEST_CHAIN = IPV6_HEADER + 9 * 2048      # bytes of what one packet's receiver steps over (ip.ipv6.WALK)
SEGMENT_ROUTING = 4
SEGMENTS = 8                    # offset of its addresses, 16 bytes each
_record = struct.Struct("4HB7xqq")              # ip.ipv6_extensions.Extensions
_halves = struct.Struct(">qq")


def _invalid() -> OSError:
    return OSError(EINVAL, "Invalid argument")


def size(header: bytes) -> int:
    """Bytes of an extension header, as it says itself."""
    return 8 + 8 * header[1]


def sticky(name: int, value: bytes) -> bytes:
    """What one of the options is set to; b"": it is to be there no longer.  OSError EINVAL as Linux."""
    if not value:
        return b""
    if len(value) < 2 or len(value) % 8 or len(value) > LONGEST or size(value) > len(value):
        raise _invalid()
    if name == RTHDR and not _is_segment_routing(value):
        raise _invalid()
    return value[:size(value)]


def _is_segment_routing(value: bytes) -> bool:
    """seg6_validate_srh."""
    _, _, kind, left, last = value[:5]
    if kind != SEGMENT_ROUTING or size(value) != len(value) or last > value[1] // 2 - 1 or left > last:
        return False
    at = SEGMENTS + 16 * (last + 1)
    while at < len(value):                                      # (RFC 8754 2.1) type, length, value
        if at + 2 > len(value):
            return False
        at += 2 + value[at + 1]
    return at == len(value)


def of_datagram(name: int, value: bytes) -> bytes:
    """A header in ancillary data.  OSError EINVAL as Linux."""
    if len(value) < 2 or len(value) < size(value) or NEWER.get(name, name) == RTHDR:
        raise _invalid()
    return value[:size(value)]


def packed(headers: dict[int, bytes]) -> bytes:
    """An Extensions record and what follows it, in the order of RFC 8200 4.1.

    Destination options in front of a routing header go without it nowhere (RFC 3542 9.2, Linux).
    """
    hop, before, route, last = (headers.get(name, b"") for name in (HOPOPTS, RTHDRDSTOPTS, RTHDR, DSTOPTS))
    row = [(HOP_BY_HOP, hop), (DESTINATION, before if route else b""), (ROUTING, route)]
    row = [(kind, header) for kind, header in row if header]
    each = b""
    link = final = via_hi = via_lo = 0
    for i, (kind, header) in enumerate(row):
        link = len(each)
        following = row[i + 1][0] if i + 1 < len(row) else 0    # the last one's is said when it is sent
        if kind == ROUTING:
            final = link + SEGMENTS
            via_hi, via_lo = _halves.unpack_from(header, SEGMENTS + 16 * header[3])
        each += bytes([following]) + header[1:]
    return _record.pack(len(each), len(last), link, final, row[0][0] if row else 0, via_hi, via_lo) + each + last


def chain(packet: bytes) -> Iterator[tuple[int, bytes]]:
    """The extension headers of a packet that came, from its IPv6 header on: what each is, and its bytes."""
    kind, at = packet[6], IPV6_HEADER
    while at + 8 <= len(packet):
        n = 8 if kind == FRAGMENT else 8 + 8 * packet[at + 1]
        yield kind, packet[at:at + n]
        kind, at = packet[at], at + n
