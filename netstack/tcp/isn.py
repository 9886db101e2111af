"""Initial sequence numbers and local ports that cannot be guessed.

RFC 6528 (ISN = M + F(localip, localport, remoteip, remoteport, secret)) and
RFC 6056 section 3.3.4, algorithm 4: the search for a port starts at a keyed hash
of the destination, and goes on where the last one for that destination ended.
F and G are SipHash-2-4.
"""
from __future__ import annotations

from ..machine import compiled
from ..machine.random import Key, siphash
from .seq import MASK

TABLE_LENGTH = 1 << 16  # (RFC 6056 3.3.4) as Linux's: more than a peer can explore before it has changed
TICK = 4096             # ns; RFC 9293 3.4.1: M counts about every 4 microseconds


@compiled
def isn(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, ports: int, now: int) -> int:
    """The initial sequence number of a connection; `ports` is local << 16 | remote."""
    f = siphash(key, local_hi, local_lo, remote_hi, remote_lo, ports)
    return (now // TICK + f) & MASK


@compiled
def timestamp_offset(key: Key, local_lo: int, remote_hi: int, remote_lo: int) -> int:
    """Where this pair of hosts' timestamps start (RFC 7323 7.1); the same for all their connections, so that
    RFC 6191 can compare them."""
    return siphash(key, remote_lo, remote_hi, local_lo, 0x7453, 0) & MASK


@compiled
def offset_of(key: Key, setting: int, local_lo: int, remote_hi: int, remote_lo: int) -> int:
    """... and with tcp_timestamps 2, as Linux, all start at 0."""
    return timestamp_offset(key, local_lo, remote_hi, remote_lo) if setting == 1 else 0


@compiled
def destination(key: Key, local_hi: int, local_lo: int, remote_hi: int, remote_lo: int, remote_port: int) -> int:
    """The hash of which `port_offset` and `port_index` are parts (RFC 6056 3.3.4), 63 bits."""
    return siphash(key, remote_hi, remote_lo, local_hi, local_lo, remote_port | 0x10000)


@compiled
def port_offset(hash: int) -> int:
    """F: where the range of ports begins for this destination."""
    return hash >> 16


@compiled
def port_index(hash: int) -> int:
    """G: which entry of table[] counts this destination's ports.

    Differs: the table begins with zeros, not at random.  Nobody sees more of it than the sum with F, which is random.
    """
    return hash & (TABLE_LENGTH - 1)
