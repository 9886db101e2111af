"""Addresses as the socket API writes them, to and from the two halves that the engine keeps.

RFC 4291 (text forms), RFC 4007 section 11 (scope ids).  Names are looked up in `resolver`.

An address is (hi, lo): signed 64-bit halves, IPv4 as v4-mapped IPv6.  A socket
address is (hi, lo, port, scope).  What is refused is refused with CPython's
exceptions, in CPython's words.
"""
from __future__ import annotations

import ipaddress
import re
import socket as real
import struct
from errno import ENODEV
from operator import index as to_int
from typing import Any

AF_INET = int(real.AF_INET)
AF_INET6 = int(real.AF_INET6)
AF_PACKET = 17             # Linux
MAPPED = 0xFFFF << 32               # lo of 0.0.0.0
KNOWN_LIMIT = 4096                  # addresses remembered, of each kind

_halves = struct.Struct("!qq")
_quad = struct.Struct("!I")
_LOCALHOST = re.compile(r"(?:.*\.)?localhost\.?\Z", re.IGNORECASE)      # RFC 6761 6.3

SocketAddress = tuple[int, int, int, int]       # hi, lo, port, scope


# Addresses alone

def text4(lo: int) -> str:
    """The dotted quad of the low half."""
    known = _TEXT4.get(lo)
    if known is None:
        known = real.inet_ntoa(_quad.pack(lo & 0xFFFF_FFFF))
        _remember(_TEXT4, lo, known)
    return known


def text6(hi: int, lo: int) -> str:
    """The IPv6 text (RFC 5952), v4-mapped addresses as ::ffff:192.0.2.1."""
    known = _TEXT6.get((hi, lo))
    if known is None:
        known = real.inet_ntop(AF_INET6, _halves.pack(hi, lo))
        _remember(_TEXT6, (hi, lo), known)
    return known


def text(hi: int, lo: int) -> str:
    """The address as people write it."""
    return text4(lo) if hi == 0 and lo >> 32 == 0xFFFF else text6(hi, lo)


def halves(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> tuple[int, int]:
    """The halves of an address object."""
    if isinstance(address, ipaddress.IPv4Address):
        return 0, MAPPED | int(address)
    hi, lo = _halves.unpack(address.packed)
    return hi, lo


def parse_host(value: str, what: str = "address") -> tuple[int, int]:
    """The halves of an address without prefix length, for set-up.  ValueError says what is wrong."""
    try:
        return halves(ipaddress.ip_address(value))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def parse_interface(value: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """An interface's address, such as 10.0.0.2/24.  ValueError says what is wrong."""
    if not isinstance(value, (str, ipaddress.IPv4Interface, ipaddress.IPv6Interface)):
        raise TypeError(f"an interface's address is text such as '10.0.0.2/24', not {value!r}")
    if "/" not in str(value):
        raise ValueError(f"{value!r} has no prefix length (such as 10.0.0.2/24 or fd00::2/64)")
    try:
        made = ipaddress.ip_interface(value)
    except ValueError as error:
        raise ValueError(f"not an interface's address: {error}") from None
    ip = made.ip
    if ip.is_multicast or ip.is_unspecified or ip == ipaddress.IPv4Address("255.255.255.255"):
        raise ValueError(f"{value}: an interface cannot have this address")
    network = made.network
    if isinstance(network, ipaddress.IPv4Network) and network.prefixlen < 31 and ip in (
            network.network_address, network.broadcast_address):
        raise ValueError(f"{value}: this is the {'network' if ip == network.network_address else 'broadcast'} "
                         f"address of {network}")
    return made


def parse_network(value: str) -> tuple[int, int, int]:
    """A route's destination: halves and a prefix length of 128.  "default" is 0.0.0.0/0, "default6" ::/0."""
    if value == "default":
        value = "0.0.0.0/0"
    elif value == "default6":
        value = "::/0"
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"not a network: {error}") from None
    hi, lo = halves(network.network_address)
    return hi, lo, network.prefixlen + (96 if network.version == 4 else 0)


# Socket addresses

_TEXT4: dict[int, str] = {}
_TEXT6: dict[tuple[int, int], str] = {}
KNOWN: dict[int, dict[Any, SocketAddress]] = {AF_INET: {}, AF_INET6: {}, AF_PACKET: {}}
"""Numeric socket addresses seen, by family: `sendto` to a known peer parses nothing."""


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= KNOWN_LIMIT:
        cache.clear()
    cache[key] = value


def parse(stack: Any, family: int, address: Any, caller: str) -> SocketAddress:
    """The socket address that `caller` (a method's name, for messages) was given."""
    if family == AF_INET:
        host, port = _pair(address, caller)
        numeric, hi, lo, scope = _resolve(stack, family, host)
    elif family == AF_PACKET:
        return _link_layer(stack, address, caller)
    else:
        host, port, given = _quadruple(address, caller)
        numeric, hi, lo, scope = _resolve(stack, family, host)
        scope = given or scope
    found = (hi, lo, port, scope)
    if numeric and type(address) is tuple and type(host) is str:
        _remember(KNOWN[family], address, found)
    return found


def unparse(family: int, hi: int, lo: int, port: int, scope: int) -> tuple[Any, ...]:
    """The tuple that Python has for a socket address."""
    if family == AF_INET:
        return text4(lo), port
    if isinstance(family, LinkFamily):
        index = hi & 0xFF
        name = family.stack.if_indextoname(index) if index else ""
        halen = 6 if hi >> 16 in (1, 772) else 0
        return name, port, hi >> 8 & 0xFF, hi >> 16 & 0xFFFF, lo.to_bytes(6, "big")[:halen]
    return text6(hi, lo), port, 0, scope


class LinkFamily(int):
    """AF_PACKET, and who knows the interfaces' names."""

    stack: Any

    @classmethod
    def of(cls, stack: Any) -> LinkFamily:
        """... of a stack."""
        made = cls(AF_PACKET)
        made.stack = stack
        return made


def _link_layer(stack: Any, address: Any, caller: str) -> SocketAddress:
    """(interface, protocol[, packet type[, hardware type[, address]]]): the address as `lo`, the interface as scope."""
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_PACKET address must be tuple, not {type(address).__name__}")
    if not 2 <= len(address) <= 5 or not isinstance(address[0], str):
        raise TypeError(f"{caller}(): AF_PACKET address must be a tuple of two to five elements")
    protocol = to_int(address[1])
    if not 0 <= protocol <= 0xFFFF:
        raise OverflowError(f"{caller}(): proto must be 0-65535.")
    hardware = bytes(address[4]) if len(address) > 4 else b""
    if len(hardware) > 8:
        raise ValueError("Hardware address must be 8 bytes or less")
    try:
        index = stack.if_nametoindex(address[0])
    except OSError:
        raise OSError(ENODEV, "No such device") from None
    return 0, int.from_bytes(hardware[:6].ljust(6, b"\0"), "big"), protocol, index


def _pair(address: Any, caller: str) -> tuple[Any, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET address must be tuple, not {type(address).__name__}")
    if len(address) != 2:
        raise TypeError("AF_INET address must be a pair (host, port)")
    return address[0], _port(address[1], caller)


def _quadruple(address: Any, caller: str) -> tuple[Any, int, int]:
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET6 address must be tuple, not {type(address).__name__}")
    if not 2 <= len(address) <= 4:
        raise TypeError("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
    port = _port(address[1], caller)
    flowinfo = to_int(address[2]) if len(address) > 2 else 0
    if not 0 <= flowinfo <= 0xFFFFF:
        raise OverflowError(f"{caller}(): flowinfo must be 0-1048575.")
    return address[0], port, to_int(address[3]) & 0xFFFF_FFFF if len(address) > 3 else 0


def _port(value: Any, caller: str) -> int:
    port = int(to_int(value))
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    return port


def host_text(host: Any) -> str:
    """A host as text; TypeError for what can be none.  Other letters than ASCII's by IDNA."""
    if isinstance(host, str):
        if not host.isascii():
            try:
                host = host.encode("idna").decode()
            except UnicodeError:
                raise TypeError("encoding of hostname failed") from None
    elif isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    else:
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if "\0" in host:
        raise TypeError("host name must not contain null character")
    return str(host)


def _resolve(stack: Any, family: int, given: Any) -> tuple[bool, int, int, int]:
    """(whether it was a plain number, hi, lo, scope) for a host."""
    host = host_text(given)
    if not host:
        return True, 0, MAPPED if family == AF_INET else 0, 0
    if host in ("<broadcast>", "255.255.255.255"):
        if family != AF_INET:
            raise OSError("address family mismatched")
        return True, 0, MAPPED | 0xFFFF_FFFF, 0
    try:
        packed = real.inet_pton(family, host)
    except OSError:
        pass
    else:
        if family == AF_INET:
            return True, 0, MAPPED | _quad.unpack(packed)[0], 0
        hi, lo = _halves.unpack(packed)
        return True, hi, lo, 0
    from .resolver.functions import getaddrinfo

    found = getaddrinfo(stack, host, 0, family, int(real.SOCK_STREAM))[0][4]
    if family == AF_INET:
        return False, 0, MAPPED | _quad.unpack(real.inet_aton(found[0]))[0], 0
    hi, lo = _halves.unpack(real.inet_pton(AF_INET6, found[0]))
    return False, hi, lo, found[3]


# Names

def is_localhost(host: str) -> bool:
    """localhost and everything below it (RFC 6761 6.3)."""
    return _LOCALHOST.match(host) is not None
