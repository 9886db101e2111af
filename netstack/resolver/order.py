"""Which of several addresses is tried first.

RFC 6724 section 6, with the source address that the stack itself would choose
(section 5 is the engine's, ip/route.py).
"""
from __future__ import annotations

import contextlib
import ipaddress
import socket as real
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..stack import Stack

DISCARD = 9                 # a port: connecting a datagram socket sends nothing

Address = ipaddress.IPv6Address

POLICY = [                  # (2.1): prefix, precedence, label
    (ipaddress.IPv6Network(prefix), precedence, label) for prefix, precedence, label in (
        ("::1/128", 50, 0), ("::ffff:0:0/96", 35, 4), ("::/96", 1, 3), ("2001::/32", 5, 5), ("2002::/16", 30, 2),
        ("3ffe::/16", 1, 12), ("fec0::/10", 1, 11), ("fc00::/7", 3, 13), ("::/0", 40, 1))]
LINK, SITE, GLOBAL = 2, 5, 14       # scopes (3.1)


def in_order(stack: Stack, addresses: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """(family, text) of destinations, the best first; what is equal stays as it was (rule 10)."""
    found = list(dict.fromkeys(addresses))
    return found if len(found) < 2 else sorted(found, key=lambda item: _key(stack, *item))


def _key(stack: Stack, family: int, text: str) -> tuple[Any, ...]:
    destination = mapped(text)
    source_text = source(stack, family, text)
    if source_text is None:                                     # rule 1: avoid unusable destinations
        return True, False, False, 0, 0, 0
    from_ = mapped(source_text)
    precedence, label = policy(destination)
    return (False,
            scope(destination) != scope(from_),                 # rule 2: prefer matching scope
            policy(from_)[1] != label,                          # rule 5: prefer matching label
            -precedence,                                        # rule 6: prefer higher precedence
            scope(destination),                                 # rule 8: prefer smaller scope
            -_common(stack, family, destination, from_))        # rule 9: use longest matching prefix


def source(stack: Stack, family: int, text: str) -> str | None:
    """The address that the stack would send from; None: it cannot reach that one."""
    with contextlib.suppress(OSError), stack.socket(family, int(real.SOCK_DGRAM)) as sock:
        sock.connect((text, DISCARD))
        return str(sock.getsockname()[0])
    return None


def mapped(text: str) -> Address:
    """As the rules have it: an IPv4 address as a v4-mapped one."""
    address = ipaddress.ip_address(text)
    return address if isinstance(address, Address) else Address(0xFFFF << 32 | int(address))


def policy(address: Address) -> tuple[int, int]:
    """Precedence and label (2.1): those of the longest prefix."""
    _, precedence, label = max((row for row in POLICY if address in row[0]), key=lambda row: row[0].prefixlen)
    return precedence, label


def scope(address: Address) -> int:
    """(3.1, 3.2)"""
    four = address.ipv4_mapped
    if four is not None:
        return LINK if four.is_loopback or four.is_link_local else GLOBAL
    if address.is_multicast:
        return address.packed[1] & 15
    if address.is_loopback or address.is_link_local:
        return LINK
    return SITE if address.is_site_local else GLOBAL


def _common(stack: Stack, family: int, destination: Address, from_: Address) -> int:
    """Leading bits that both have, within the source's prefix (2.2).

    Differs: of IPv4 addresses only on the source's network, as the C library has it, or else numbers alone would
    decide which of a server's addresses in the Internet everybody uses.
    """
    length = _prefix(stack, from_)
    same = min(128 - (int(destination) ^ int(from_)).bit_length(), length)
    return same if family == real.AF_INET6 or same == length else 0


def _prefix(stack: Stack, address: Address) -> int:
    for interface in stack.interfaces:
        for own in interface.addresses:
            if mapped(str(own.ip)) == address:
                return own.network.prefixlen + (96 if own.version == 4 else 0)
    return 64
