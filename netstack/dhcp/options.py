"""What DHCP's options say: their bytes to values.

RFC 2132 (each option's section has its number in the table); RFC 3397 2 (domain
search: names as in DNS, compressed); RFC 3442 (classless routes).

Addresses are text.  Every length is checked before a byte is read; what is not
of its form raises Malformed.
"""
from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Callable
from typing import Any

from .message import Code, Malformed

INFINITE = 0xFFFF_FFFF          # seconds that do not end (RFC 2131 3.3)
LEAST_MTU = 68                  # (RFC 2132 5.1)
MOST_NAMES = 64                 # of a search list; what follows is not read
MOST_ROUTES = 64                # ... of a stack's 256, the same
MOST_JUMPS = 127                # of one name, which has no more labels than that
LONGEST_NAME = 253
POINTER = 0xC0                  # a label that goes on elsewhere (RFC 1035 4.1.4)

_number = struct.Struct("!I")
_short = struct.Struct("!H")
_NAME = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.?\Z")

Route = tuple[str, str | None]  # network, gateway (None: on the link)


def text_of(address: int) -> str:
    """An address as text."""
    return str(ipaddress.IPv4Address(address))


def address(data: bytes) -> str:
    """One address."""
    if len(data) != 4:
        raise Malformed(f"an address has 4 bytes, not {len(data)}")
    return str(ipaddress.IPv4Address(data))


def addresses(data: bytes) -> tuple[str, ...]:
    """One address at least."""
    if not data or len(data) % 4:
        raise Malformed(f"addresses have 4 bytes each, not {len(data)} together")
    return tuple(str(ipaddress.IPv4Address(data[i:i + 4])) for i in range(0, len(data), 4))


def mask(data: bytes) -> int:
    """A subnet mask, as the length of its prefix."""
    if len(data) != 4:
        raise Malformed(f"a mask has 4 bytes, not {len(data)}")
    value = int(_number.unpack(data)[0])
    prefix = value.bit_count()
    if value != (0xFFFF_FFFF << (32 - prefix)) & 0xFFFF_FFFF:
        raise Malformed(f"{ipaddress.IPv4Address(value)} is no mask")
    return prefix


def seconds(data: bytes) -> int | None:
    """A time; None: without end."""
    if len(data) != 4:
        raise Malformed(f"a time has 4 bytes, not {len(data)}")
    value = int(_number.unpack(data)[0])
    return None if value == INFINITE else value


def mtu(data: bytes) -> int:
    """The link's MTU."""
    if len(data) != 2 or _short.unpack(data)[0] < LEAST_MTU:
        raise Malformed(f"{data[:4].hex()} is no MTU")
    return int(_short.unpack(data)[0])


def text(data: bytes) -> str:
    """What people are to read: what is not printable ASCII becomes "?"."""
    return "".join(chr(c) if 0x20 <= c < 0x7F else "?" for c in data.rstrip(b"\0"))


def name(data: bytes) -> str:
    """A host's or a domain's name."""
    found = data.rstrip(b"\0").decode("latin-1")        # (RFC 2132 2) a null at the end is to be cut
    return _checked(found)


def domains(data: bytes) -> tuple[str, ...]:
    """Option 15: one name, or, as many servers have it, some with spaces between them."""
    found = tuple(_checked(word) for word in data.rstrip(b"\0").decode("latin-1").split(" ") if word)
    if not found:
        raise Malformed("no name")
    return found[:MOST_NAMES]


def search(data: bytes) -> tuple[str, ...]:
    """Option 119: names in DNS's form; a pointer counts from the option's first byte (RFC 3397 2)."""
    found: list[str] = []
    at = names = 0
    while at < len(data) and names < MOST_NAMES:
        one, at = _dns_name(data, at)
        names += 1
        if one and one not in found:
            found.append(one)
    if not found:
        raise Malformed("no name")
    return tuple(found)


def _dns_name(data: bytes, at: int) -> tuple[str, int]:
    """The name at a place, and where the next one stands.  Lengths and jumps are bounded, so that each name ends."""
    labels: list[str] = []
    jumps = 0
    end = -1
    while True:
        if at >= len(data):
            raise Malformed("a name goes beyond its option")
        n = data[at]
        if n == 0:
            return _checked(".".join(labels)) if labels else "", at + 1 if end < 0 else end
        if n >= POINTER:
            if at + 2 > len(data):
                raise Malformed("a pointer goes beyond its option")
            to = _short.unpack_from(data, at)[0] & 0x3FFF
            jumps += 1
            if to >= at or jumps > MOST_JUMPS:
                raise Malformed("a pointer does not lead backwards, or one of too many")
            end = at + 2 if end < 0 else end
            at = to
            continue
        if n >= 0x40 or at + 1 + n > len(data):
            raise Malformed("a label goes beyond its option")
        labels.append(data[at + 1:at + 1 + n].decode("latin-1"))
        if sum(map(len, labels)) + len(labels) > LONGEST_NAME + 1:
            raise Malformed("a name is too long")
        at += 1 + n


def _checked(found: str) -> str:
    """A name; anything else than letters, digits, "-" and "_" is for no resolver, log or screen."""
    if len(found) > LONGEST_NAME or not _NAME.match(found):
        raise Malformed("no name")
    return found.rstrip(".")


def routes(data: bytes) -> tuple[Route, ...]:
    """Option 121: width of the mask, as many bytes of the network as it needs, router (RFC 3442)."""
    found: list[Route] = []
    at = 0
    while at < len(data) and len(found) < MOST_ROUTES:
        width = data[at]
        n = (width + 7) // 8
        if width > 32 or at + 1 + n + 4 > len(data):
            raise Malformed("a route goes beyond its option")
        network = ipaddress.ip_network((int.from_bytes(data[at + 1:at + 1 + n].ljust(4, b"\0"), "big"), width),
                                       strict=False)            # bits beyond the mask do not count
        router = data[at + 1 + n:at + 5 + n]
        found.append((str(network), str(ipaddress.IPv4Address(router)) if any(router) else None))
        at += 5 + n
    if not found:
        raise Malformed("no route")
    return tuple(found)


READERS: dict[int, Callable[[bytes], Any]] = {
    Code.MASK: mask,                    # 3.3
    Code.ROUTER: addresses,             # 3.5
    Code.NAME_SERVER: addresses,        # 3.8
    Code.HOST_NAME: name,               # 3.14
    Code.DOMAIN_NAME: domains,          # 3.17
    Code.MTU: mtu,                      # 5.1
    Code.BROADCAST: address,            # 5.3
    Code.TIME_SERVER: addresses,        # 8.3
    Code.ADDRESS: address,              # 9.1
    Code.LEASE_TIME: seconds,           # 9.2
    Code.SERVER: address,               # 9.7
    Code.MESSAGE: text,                 # 9.9
    Code.RENEWAL_TIME: seconds,         # 9.11
    Code.REBINDING_TIME: seconds,       # 9.12
    Code.SEARCH: search,
    Code.ROUTES: routes,
}


def read(options: dict[int, bytes], code: Code) -> Any:
    """What an option says; None: it is not there.  Malformed."""
    data = options.get(code)
    return None if data is None else READERS[code](data)


def read_if_good(options: dict[int, bytes], code: Code) -> Any:
    """... None, too, for one that is not of its form: a lease is of use without it."""
    try:
        return read(options, code)
    except Malformed:
        return None
