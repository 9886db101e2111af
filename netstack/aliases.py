"""Socket options by readable names: `sock.options.nodelay = True`.

A name stands for one option of `setsockopt`, and its value is Python's: a bool, a
number, seconds.  `NAMES` is the list.
"""
from __future__ import annotations

import socket as real
import struct
from collections.abc import Callable, Iterator
from typing import Any

from . import sockopt

_LINGER = struct.Struct("ii")
_TIMEVAL = struct.Struct("qq")
SOCKET, TCP, IP, IPV6 = int(real.SOL_SOCKET), int(real.IPPROTO_TCP), int(real.IPPROTO_IP), int(real.IPPROTO_IPV6)
MICRO = 1_000_000

Reader = Callable[[Any, int, int], Any]
Writer = Callable[[Any], Any]


def _number(sock: Any, level: int, option: int) -> Any:
    return sock.getsockopt(level, option)


def _flag(sock: Any, level: int, option: int) -> bool:
    return bool(sock.getsockopt(level, option))


def _linger(sock: Any, level: int, option: int) -> int | None:
    on, seconds = _LINGER.unpack(sock.getsockopt(level, option, _LINGER.size))
    return seconds if on else None


def _seconds(sock: Any, level: int, option: int) -> float | None:
    whole, micro = _TIMEVAL.unpack(sock.getsockopt(level, option, _TIMEVAL.size))
    return whole + micro / MICRO or None


def _text(sock: Any, level: int, option: int) -> str:
    return str(sock.getsockopt(level, option, 64).rstrip(b"\0").decode())


def _to_linger(seconds: int | None) -> bytes:
    return _LINGER.pack(seconds is not None, seconds or 0)


def _to_timeval(seconds: float | None) -> bytes:
    return _TIMEVAL.pack(*divmod(round((seconds or 0) * MICRO), MICRO))


_NUMBER: tuple[Reader, Writer] = (_number, int)
_FLAG: tuple[Reader, Writer] = (_flag, lambda value: int(bool(value)))
_TEXT: tuple[Reader, Writer] = (_text, lambda value: str(value).encode())
_WAIT: tuple[Reader, Writer] = (_seconds, _to_timeval)

NAMES: dict[str, tuple[int, int, tuple[Reader, Writer]]] = {
    "reuse_address": (SOCKET, real.SO_REUSEADDR, _FLAG),
    "reuse_port": (SOCKET, real.SO_REUSEPORT, _FLAG),
    "broadcast": (SOCKET, real.SO_BROADCAST, _FLAG),
    "linger": (SOCKET, real.SO_LINGER, (_linger, _to_linger)),              # seconds; None: off
    "receive_buffer": (SOCKET, real.SO_RCVBUF, _NUMBER),                    # bytes; twice what was set, as on Linux
    "send_buffer": (SOCKET, real.SO_SNDBUF, _NUMBER),
    "receive_low_water": (SOCKET, real.SO_RCVLOWAT, _NUMBER),
    "receive_timeout": (SOCKET, real.SO_RCVTIMEO, _WAIT),                   # seconds; None: for ever
    "send_timeout": (SOCKET, real.SO_SNDTIMEO, _WAIT),
    "urgent_inline": (SOCKET, real.SO_OOBINLINE, _FLAG),
    "error": (SOCKET, real.SO_ERROR, _NUMBER),
    "is_listening": (SOCKET, real.SO_ACCEPTCONN, _FLAG),
    "interface": (SOCKET, real.SO_BINDTODEVICE, _TEXT),
    "max_pacing_rate": (SOCKET, sockopt.SO_MAX_PACING_RATE, _NUMBER),       # bytes per second
    "keepalive": (SOCKET, real.SO_KEEPALIVE, _FLAG),
    "keepalive_idle": (TCP, real.TCP_KEEPIDLE, _NUMBER),                    # seconds
    "keepalive_interval": (TCP, real.TCP_KEEPINTVL, _NUMBER),               # seconds
    "keepalive_count": (TCP, real.TCP_KEEPCNT, _NUMBER),
    "nodelay": (TCP, real.TCP_NODELAY, _FLAG),
    "cork": (TCP, real.TCP_CORK, _FLAG),
    "quickack": (TCP, real.TCP_QUICKACK, _FLAG),
    "max_segment": (TCP, real.TCP_MAXSEG, _NUMBER),                         # bytes
    "user_timeout": (TCP, sockopt.TCP_USER_TIMEOUT, _NUMBER),               # milliseconds
    "defer_accept": (TCP, real.TCP_DEFER_ACCEPT, _NUMBER),                  # seconds
    "fast_open": (TCP, sockopt.TCP_FASTOPEN, _NUMBER),
    "congestion_control": (TCP, sockopt.TCP_CONGESTION, _TEXT),
    "ttl": (IP, real.IP_TTL, _NUMBER),
    "tos": (IP, real.IP_TOS, _NUMBER),
    "path_mtu": (IP, sockopt.IP_MTU, _NUMBER),                              # bytes
    "hop_limit": (IPV6, real.IPV6_UNICAST_HOPS, _NUMBER),
    "traffic_class": (IPV6, real.IPV6_TCLASS, _NUMBER),
    "only_ipv6": (IPV6, real.IPV6_V6ONLY, _FLAG),
}


class Options:
    """The options of one socket as attributes.  Iterating gives the names that it has.

    AttributeError: no such name.  OSError as of `getsockopt` and `setsockopt`.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        object.__setattr__(self, "_sock", sock)

    def __getattr__(self, name: str) -> Any:
        if name not in NAMES:
            raise AttributeError(f"no socket option {name!r}: {', '.join(sorted(NAMES))}")
        level, option, (read, _) = NAMES[name]
        return read(self._sock, level, option)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in NAMES:
            raise AttributeError(f"no socket option {name!r}: {', '.join(sorted(NAMES))}")
        level, option, (_, write) = NAMES[name]
        self._sock.setsockopt(level, option, write(value))

    def __iter__(self) -> Iterator[str]:
        for name in NAMES:
            try:
                getattr(self, name)
            except OSError:
                continue
            yield name

    def __dir__(self) -> list[str]:
        return sorted(NAMES)

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{name}={getattr(self, name)!r}' for name in self if name != 'error')})"
