"""getaddrinfo and its relatives on a stack, with the C library's flags and errors.

RFC 3493 section 6, getaddrinfo(3), getnameinfo(3), gethostbyname(3).  What is
numeric, and services, the C library itself turns into entries (AI_NUMERICHOST,
so it asks nobody); names are the resolver's.
"""
from __future__ import annotations

import ipaddress
import socket as real
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..names import host_text, is_localhost
from .failure import Failure, Why
from .hosts import Found

if TYPE_CHECKING:
    from ..stack import Stack

AF_INET, AF_INET6 = int(real.AF_INET), int(real.AF_INET6)
STREAM = int(real.SOCK_STREAM)
ZERO = {AF_INET: "0.0.0.0", AF_INET6: "::"}

_numeric: Callable[..., list[Any]] = real.getaddrinfo


def getaddrinfo(stack: Stack, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0,
                flags: int = 0) -> list[Any]:
    """See `socket.getaddrinfo`.  gaierror with the number that the C library gives."""
    flags = int(flags)
    plain = flags & ~int(real.AI_ADDRCONFIG)        # the C library would look at the kernel's addresses
    if host is None:
        entries = _numeric(None, port, family, type, proto, plain)
        first = AF_INET if flags & real.AI_PASSIVE else AF_INET6
        return sorted(entries, key=lambda entry: entry[0] != first)
    if not isinstance(host, (str, bytes, bytearray)):
        return _numeric(host, port, family, type, proto, plain)         # which refuses it
    name = host_text(host.encode("idna") if isinstance(host, str) else host)        # UnicodeError, as in CPython
    if is_localhost(name) and not flags & real.AI_NUMERICHOST:
        return _entries(_localhost(name), port, family, type, proto, plain)
    name, _, zone = name.partition("%")
    try:
        entries = _numeric(name if isinstance(host, str) else name.encode("latin-1"), port, family, type, proto,
                           plain | real.AI_NUMERICHOST)
    except real.gaierror as error:
        if error.errno != real.EAI_NONAME or flags & real.AI_NUMERICHOST or zone or _is_number(name):
            raise
    else:
        return [_with_scope(stack, entry, zone) for entry in entries] if zone else entries
    sys.audit("socket.getaddrinfo", host, port, family, type, proto)
    _numeric(ZERO[AF_INET6 if family == AF_INET6 else AF_INET], port, family, type, proto,     # the service, the
             plain & ~real.AI_CANONNAME | real.AI_NUMERICHOST)                                 # ... flags: EAI_*
    try:
        found = stack.resolver.addresses(name, _families(stack, family, flags))
    except Failure as failure:
        raise failure.gaierror() from None
    return _entries(found, port, family, type, proto, flags)


def _is_number(name: str) -> bool:
    """Whether it is an address: of another family than was asked for, then."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _localhost(name: str) -> Found:
    return Found(name, [], [(AF_INET6, "::1"), (AF_INET, "127.0.0.1")])


def _families(stack: Stack, family: int, flags: int) -> tuple[int, ...]:
    """Whose addresses are asked for."""
    if family == AF_INET6 and flags & real.AI_V4MAPPED:
        return AF_INET6, AF_INET
    if flags & real.AI_ADDRCONFIG:
        have = {AF_INET6 if own.version == 6 else AF_INET for interface in stack.interfaces
                for own in interface.addresses if not own.ip.is_loopback and not own.ip.is_link_local}
        if family == 0 and have:
            return tuple(one for one in (AF_INET6, AF_INET) if one in have)
        if family != 0 and family not in have:
            raise Failure(Why.NONE).gaierror()
    return (AF_INET6, AF_INET) if family == 0 else (family,)


def _entries(found: Found, port: Any, family: int, type: int, proto: int, flags: int) -> list[Any]:
    """What getaddrinfo returns for addresses in order."""
    addresses = found.addresses
    if family == AF_INET6 and flags & real.AI_V4MAPPED:
        six = [item for item in addresses if item[0] == AF_INET6]
        if six and not flags & real.AI_ALL:
            addresses = six
        addresses = [(AF_INET6, text if one == AF_INET6 else f"::ffff:{text}") for one, text in addresses]
    plain = flags & ~(real.AI_CANONNAME | real.AI_V4MAPPED | real.AI_ALL | real.AI_ADDRCONFIG) | real.AI_NUMERICHOST
    entries: list[Any] = []
    for one, text in addresses:
        if family in (0, one) or family not in ZERO:
            entries += _numeric(text, port, one if family == 0 else family, type, proto, plain)
    if flags & real.AI_CANONNAME and entries:
        entries[0] = (*entries[0][:3], found.canonical, entries[0][4])
    return entries


def _with_scope(stack: Stack, entry: Any, zone: str) -> Any:
    if entry[0] != AF_INET6:
        raise real.gaierror(real.EAI_NONAME, "Name or service not known")
    if zone.isdecimal():
        scope = int(zone)
    else:
        try:
            scope = stack.if_nametoindex(zone)
        except OSError:
            raise real.gaierror(real.EAI_NONAME, f"Name or service not known: no interface {zone!r}") from None
    host, port, flowinfo, _ = entry[4]
    return (*entry[:4], (host, port, flowinfo, scope))


def gethostbyname(stack: Stack, host: Any) -> str:
    """The first IPv4 address; see `socket.gethostbyname`."""
    sys.audit("socket.gethostbyname", host)
    return _first(stack, host, AF_INET)


def _first(stack: Stack, host: Any, family: int) -> str:
    """An address for a host, as CPython looks for it before it asks anything else."""
    text = host_text(host)
    if text in ("<broadcast>", "255.255.255.255"):
        return "255.255.255.255"
    return str(getaddrinfo(stack, text or ZERO[AF_INET], None, family, STREAM)[0][4][0])


def gethostbyname_ex(stack: Stack, host: Any) -> tuple[str, list[str], list[str]]:
    """(canonical name, aliases, IPv4 addresses); see `socket.gethostbyname_ex`."""
    sys.audit("socket.gethostbyname", host)
    name = host_text(host)
    first = _first(stack, name, AF_INET)
    if is_localhost(name) or _is_number(name) or name in ("", "<broadcast>"):
        return name, [], [first]
    try:
        found = stack.resolver.addresses(name, (AF_INET,))
    except Failure as failure:
        if failure.why is Why.NONE:             # such as 127.1
            return name, [], [first]
        raise failure.herror() from None
    return found.canonical, found.aliases, [text for _, text in found.addresses]


def gethostbyaddr(stack: Stack, host: Any) -> tuple[str, list[str], list[str]]:
    """(name, aliases, addresses) of an address, or of a name's; see `socket.gethostbyaddr`."""
    sys.audit("socket.gethostbyaddr", host)
    address = _first(stack, host, 0)
    try:
        found = stack.resolver.reverse(address.partition("%")[0])
    except Failure as failure:
        raise failure.herror() from None
    return found.canonical, list(found.aliases), [address]


def getfqdn(stack: Stack, name: str = "") -> str:
    """The first of a host's names that has a dot, or else its name; see `socket.getfqdn`."""
    name = name.strip()
    if not name or name in ("0.0.0.0", "::"):
        name = real.gethostname()
    try:
        canonical, aliases, _ = gethostbyaddr(stack, name)
    except OSError:
        return name
    return next((alias for alias in (canonical, *aliases) if "." in alias), canonical)


def getnameinfo(stack: Stack, address: Any, flags: int) -> tuple[str, str]:
    """(host, service) of a socket address; see `socket.getnameinfo`."""
    if not isinstance(address, tuple):
        raise TypeError("getnameinfo() argument 1 must be a tuple")
    sys.audit("socket.getnameinfo", address)
    host, service = real.getnameinfo((*address[:3], 0) if len(address) > 3 else address,
                                     int(flags) | real.NI_NUMERICHOST)
    if not flags & real.NI_NUMERICHOST:
        try:
            name = stack.resolver.reverse(host).canonical
        except Failure as failure:
            if failure.why is Why.AGAIN or flags & real.NI_NAMEREQD:
                raise failure.gaierror() from None
        else:
            return (_without_domain(stack, name) if flags & real.NI_NOFQDN else name), service
    return host + _zone(stack, host, address), service


def _without_domain(stack: Stack, name: str) -> str:
    """NI_NOFQDN: of a host of our own domain only its name."""
    domain = (stack.resolver.config.search or [""])[0].strip(".")
    return name.removesuffix(f".{domain}") if domain else name


def _zone(stack: Stack, host: str, address: tuple[Any, ...]) -> str:
    """%interface behind a link-local address, %number behind any other that has a scope."""
    scope = address[3] if len(address) > 3 else 0
    if not scope:
        return ""
    ip = ipaddress.ip_address(host)
    local = ip.is_link_local or (ip.is_multicast and ip.packed[1] & 15 in (1, 2))
    try:
        return f"%{stack.if_indextoname(scope)}" if local else f"%{scope}"
    except OSError:
        return f"%{scope}"
