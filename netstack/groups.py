"""Multicast groups as socket options: joining, leaving, source filters, and where one's own datagrams to groups go.

ip(7), ipv6(7), RFC 3678.  The structs are read here; `ip/multicast.py` keeps who is in which group.
"""
from __future__ import annotations

import os
import socket as real
import struct
from errno import EADDRNOTAVAIL, EINVAL, ENODEV, ENOPROTOOPT, EPROTO
from typing import TYPE_CHECKING, Any

from . import entry
from .endpoint import Kind
from .ip.multicast import Mode

if TYPE_CHECKING:
    from .sockbase import Base

IP, IP6 = int(real.IPPROTO_IP), int(real.IPPROTO_IPV6)
AF_INET, AF_INET6 = int(real.AF_INET), int(real.AF_INET6)
MAPPED = 0xFFFF_0000_0000

IP_MULTICAST_IF, IP_MULTICAST_TTL, IP_MULTICAST_LOOP, IP_MULTICAST_ALL = 32, 33, 34, 49
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 35, 36
IP_UNBLOCK_SOURCE, IP_BLOCK_SOURCE, IP_ADD_SOURCE_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP = 37, 38, 39, 40
MCAST_JOIN_GROUP, MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE, MCAST_LEAVE_GROUP = 42, 43, 44, 45
MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP = 46, 47
IPV6_MULTICAST_IF, IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP, IPV6_MULTICAST_ALL = 17, 18, 19, 29
IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP = 20, 21

JOIN, LEAVE, JOIN_SOURCE, LEAVE_SOURCE, BLOCK, UNBLOCK = range(6)
_OF_SOURCES = {IP_ADD_SOURCE_MEMBERSHIP: JOIN_SOURCE, IP_DROP_SOURCE_MEMBERSHIP: LEAVE_SOURCE, IP_BLOCK_SOURCE: BLOCK,
               IP_UNBLOCK_SOURCE: UNBLOCK, MCAST_JOIN_SOURCE_GROUP: JOIN_SOURCE,
               MCAST_LEAVE_SOURCE_GROUP: LEAVE_SOURCE, MCAST_BLOCK_SOURCE: BLOCK, MCAST_UNBLOCK_SOURCE: UNBLOCK}
_FILTERS = {JOIN_SOURCE: (Mode.INCLUDE, 1), LEAVE_SOURCE: (Mode.INCLUDE, 0), BLOCK: (Mode.EXCLUDE, 1),
            UNBLOCK: (Mode.EXCLUDE, 0)}

_group = struct.Struct("=I4x")              # struct group_req up to the sockaddr_storage
_storage = 128
_halves = struct.Struct(">qq")
_int = struct.Struct("i")


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _v4(data: bytes) -> int:
    return MAPPED | int.from_bytes(data, "big")


def _is_group(hi: int, lo: int) -> bool:
    if hi == 0 and lo >> 32 == 0xFFFF:
        return lo >> 28 & 0xF == 0xE
    return hi >> 56 & 0xFF == 0xFF


def _with_address(sock: Base, lo: int) -> int:
    """The index of the interface that has an IPv4 address, or 0."""
    net = sock._stack._net
    for i in range(1, net.interface_count + 1):
        there = net.interfaces[i]
        for k in range(there.address_count):
            if there.addresses[k].hi == 0 and there.addresses[k].lo == lo:
                return i
    return 0


def _exists(sock: Base, index: int) -> bool:
    return 1 <= index <= sock._stack._net.interface_count


def set_group(sock: Base, level: int, name: int, value: Any) -> None:
    """One of the options that have a struct: OSError as Linux."""
    if not isinstance(value, bytes):
        value = _int.pack(value if value < 1 << 31 else value - (1 << 32))
    if level == IP and name == IP_MULTICAST_IF:
        _send_through(sock, value)
        return
    if sock._kind is Kind.TCP:
        if len(value) < _least(level, name):
            raise _error(EINVAL)
        raise _error(EPROTO if name in (IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP,
                                        MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP) else EINVAL)
    if name in (MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP):
        if len(value) < _group.size + _storage:
            raise _error(EINVAL)
        hi, lo = _address(level, value[_group.size:])
        _call(sock, JOIN if name == MCAST_JOIN_GROUP else LEAVE, hi, lo, _group.unpack_from(value)[0], True)
    elif name in (MCAST_JOIN_SOURCE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_BLOCK_SOURCE, MCAST_UNBLOCK_SOURCE):
        if len(value) < _group.size + 2 * _storage:
            raise _error(EINVAL)
        hi, lo = _address(level, value[_group.size:])
        source = _address(level, value[_group.size + _storage:])
        _call(sock, _OF_SOURCES[name], hi, lo, _group.unpack_from(value)[0], True, *source)
    elif level == IP6:
        if len(value) < 20:
            raise _error(EINVAL)
        hi, lo = _halves.unpack_from(value)
        _call(sock, JOIN if name == IPV6_JOIN_GROUP else LEAVE, hi, lo, _int.unpack_from(value, 16)[0], True)
    elif name in _OF_SOURCES:
        if len(value) != 12:
            raise _error(EINVAL)
        index = _interface(sock, value[4:8], 0, _v4(value[:4]))
        _call(sock, _OF_SOURCES[name], 0, _v4(value[:4]), index, index != 0, 0, _v4(value[8:12]))
    else:
        _member(sock, name, value)


def _least(level: int, name: int) -> int:
    """Bytes of the struct, for those that Linux measures before it looks at the socket."""
    if name < MCAST_JOIN_GROUP:
        return 20 if level == IP6 else 0
    return _group.size + (_storage if name in (MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP) else 2 * _storage)


def _address(level: int, storage: bytes) -> tuple[int, int]:
    """The address of a sockaddr_storage."""
    family = int.from_bytes(storage[:2], "little")
    if family != (AF_INET if level == IP else AF_INET6):
        raise _error(EINVAL if level == IP else EADDRNOTAVAIL)
    if level == IP:
        return 0, _v4(storage[4:8])
    hi, lo = _halves.unpack_from(storage, 8)
    return hi, lo


def _interface(sock: Base, address: bytes, index: int, group: int) -> int:
    """The interface of a struct ip_mreqn; 0: as routed."""
    if index:
        if not _exists(sock, index):
            raise _error(ENODEV)
        return index
    if any(address):
        found = _with_address(sock, _v4(address))
        if not found and _is_group(0, group):
            raise _error(ENODEV)
        return found
    return 0


def _member(sock: Base, name: int, value: bytes) -> None:
    """IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP: struct ip_mreq or ip_mreqn."""
    if len(value) < 8:
        raise _error(EINVAL)
    group = _v4(value[:4])
    index = _int.unpack_from(value, 8)[0] if len(value) >= 12 else 0
    if name == IP_ADD_MEMBERSHIP:
        if not _is_group(0, group):
            raise _error(EINVAL)
        found = _interface(sock, value[4:8], index, group)
        _call(sock, JOIN, 0, group, found, found != 0)
        return
    found = index or _with_address(sock, _v4(value[4:8]))
    if any(value[4:8]) and not found:
        raise _error(EADDRNOTAVAIL)
    _call(sock, LEAVE, 0, group, found, bool(index) or any(value[4:8]))


def _call(sock: Base, what: int, hi: int, lo: int, index: int, given: bool, src_hi: int = 0, src_lo: int = 0) -> None:
    if not _is_group(hi, lo) and (what != LEAVE or hi != 0):
        raise _error(EINVAL)
    if given and index and not _exists(sock, index):
        raise _error(ENODEV if what != LEAVE else EADDRNOTAVAIL)
    mode, add = _FILTERS.get(what, (Mode.EXCLUDE, 0))
    kind = JOIN if what == JOIN_SOURCE else what
    r = 0
    if kind in (JOIN, LEAVE):
        r = entry.group(sock._world, sock._handle, kind, hi, lo, index, int(mode), src_hi, src_lo)
    if what > LEAVE:
        if r < 0 and _errno(r) != "EADDRINUSE":
            raise sock._error(r)
        r = entry.group(sock._world, sock._handle, UNBLOCK if not add else BLOCK, hi, lo, index, int(mode), src_hi,
                        src_lo)
    if r < 0:
        raise sock._error(r)


def _errno(r: int) -> str:
    import errno
    return errno.errorcode[-r]


def _send_through(sock: Base, value: bytes) -> None:
    """IP_MULTICAST_IF: an address (struct in_addr, ip_mreq) or an index (ip_mreqn)."""
    if sock._kind is Kind.TCP:
        raise _error(EINVAL)
    if len(value) < 4:
        raise _error(EINVAL)
    address = value[:4] if len(value) < 8 else value[4:8]
    index = _int.unpack_from(value, 8)[0] if len(value) >= 12 else 0
    if not index and any(address):
        index = _with_address(sock, _v4(address))
        if not index:
            raise _error(EADDRNOTAVAIL)
    elif index and not _exists(sock, index):
        raise _error(EADDRNOTAVAIL)
    source = int.from_bytes(address, "big")
    r = entry.set_option(sock._world, sock._handle, IP << 16 | IP_MULTICAST_IF, index << 32 | source)
    if r < 0:
        raise sock._error(r)


def get_group(sock: Base, level: int, name: int) -> bytes:
    """IP_MULTICAST_IF: the address that was set."""
    if level != IP or name != IP_MULTICAST_IF:
        raise _error(ENOPROTOOPT)
    if sock._kind is Kind.TCP:
        return bytes(4)
    r = entry.get_option(sock._world, sock._handle, IP << 16 | IP_MULTICAST_IF)
    return int(r & 0xFFFF_FFFF).to_bytes(4, "big")
