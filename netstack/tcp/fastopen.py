"""TCP Fast Open: text in the SYN, from a client that shows the cookie it was given before.  What servers do.

RFC 7413.  The cookie is Linux's: SipHash-2-4 of both addresses, 8 bytes, under the
listener's key (TCP_FASTOPEN_KEY) or the stack's (tcp_fastopen_key).  A SYN with
text that comes twice may open two connections (section 6.1): a server must be
content with that before it asks for TCP_FASTOPEN.  fastopen_client.py is the other
side.
"""
from __future__ import annotations

from enum import IntEnum

from ..machine import SECOND, add64, addressof, compiled, i32, i64, mul64, offsetof, put64, record, u8, u16, u32
from ..machine.random import Key, siphash64

# net.ipv4.tcp_fastopen
CLIENT = 1
SERVER = 2
CLIENT_WITHOUT_COOKIE = 4
SERVER_WITHOUT_COOKIE = 0x200
ALL_LISTENERS = 0x400               # without TCP_FASTOPEN: as if it had been set to the backlog

COOKIE_LEN = 8                      # bytes of ours; (4.1.1) allows 4 to 16
NO_OPTION = 255                     # a length that means: there is none
HELD = 60 * SECOND                  # a reset child counts as pending for so long at least (as Linux)


class Failure(IntEnum):
    """Why text did not go with a client's SYN, or not arrive (tcpi_fastopen_client_fail)."""

    NONE = 0
    NO_COOKIE = 1       # TFO_COOKIE_UNAVAILABLE
    NOT_ACKED = 2       # TFO_DATA_NOT_ACKED
    REPEATED = 3        # TFO_SYN_RETRANSMITTED


@record
class FastOpen:
    """Fast Open of one connection or listener."""

    connect: u8         # TCP_FASTOPEN_CONNECT
    no_cookie: u8       # TCP_FASTOPEN_NO_COOKIE
    deferred: u8        # connect was called; the SYN waits for what is written first
    asks: u8            # our SYN has the option
    tries: u8           # our SYN has text or the option
    experimental: u8    # ... as experimental option (4.1.1), or: the client's SYN had it so
    answer: u8          # our SYN-ACK brings a cookie
    pending: u8         # its text was taken before the handshake is over: counted by its listener
    text_acked: u8      # the text of the SYN has arrived
    failed: u8          # ... or has not
    failure: u8         # why not, or why there was none: a Failure
    more: u8            # who wrote it waits to write more: that will carry our ACK
    keys: u8            # (LISTEN) TCP_FASTOPEN_KEY: 1 or 2 keys of its own; 0: the stack's
    child: u8           # its SYN opened it (TCPI_OPT_TFO_CHILD)
    text: u16           # bytes of text in our SYN
    listener: u32       # that counts it ...
    generation: u32     # ... if it is still this one
    limit: i32          # (LISTEN) TCP_FASTOPEN: how many may be pending; 0: no Fast Open
    made: i64           # the cookie of our SYN-ACK, network order


@record
class Pending:
    """Connections of one listener whose text was taken before their handshakes are over."""

    turned_at: i64      # ns
    count: i32          # how many there are
    resets: i32         # that were reset since `turned_at`
    resets_before: i32  # ... and in the time before it


MADE = offsetof(FastOpen, "made")


# ---- the server's cookie (4.1.2) -------------------------------------------------

@compiled
def _swap32(v: int) -> int:
    return ((v & 0xFF) << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | ((v >> 24) & 0xFF)


@compiled
def _join(high: int, low: int) -> int:
    return add64(mul64(high, 1 << 32), low)


@compiled
def _swap64(v: int) -> int:
    return _join(_swap32(v & 0xFFFF_FFFF), _swap32((v >> 32) & 0xFFFF_FFFF))


@compiled
def cookie(key: Key, client_hi: int, client_lo: int, server_hi: int, server_lo: int, v4: bool) -> int:
    """The cookie for a client, 64 bits in network order; of Linux's value under the same key."""
    if v4:
        word = _join(_swap32(server_lo & 0xFFFF_FFFF), _swap32(client_lo & 0xFFFF_FFFF))
        return _swap64(siphash64(key, word, 0, 0, 0, 0, 1))
    return _swap64(siphash64(key, _swap64(client_hi), _swap64(client_lo), _swap64(server_hi), _swap64(server_lo), 0, 4))


@compiled
def made_with(key: Key, backup: Key, keys: int, shown: int, client_hi: int, client_lo: int, server_hi: int,
              server_lo: int, v4: bool) -> int:
    """Which key a cookie that a client shows was made with: 1, 2 for the backup; 0: neither."""
    if shown == cookie(key, client_hi, client_lo, server_hi, server_lo, v4):
        return 1
    if keys > 1 and shown == cookie(backup, client_hi, client_lo, server_hi, server_lo, v4):
        return 2
    return 0


@compiled
def make(f: FastOpen, key: Key, client_hi: int, client_lo: int, server_hi: int, server_lo: int, v4: bool) -> None:
    """The cookie that our SYN-ACK is to bring."""
    put64(addressof(f) + MADE, cookie(key, client_hi, client_lo, server_hi, server_lo, v4))


# ---- the server's limit (5.1) ----------------------------------------------------

@compiled
def has_room(p: Pending, limit: int, now: int) -> bool:
    """Whether one more connection may be pending.

    Differs: Linux keeps the time of each reset; here they are counted by the minute, and last one or two.
    """
    if now - p.turned_at >= HELD:
        p.resets_before = p.resets if now - p.turned_at < 2 * HELD else 0
        p.resets = 0
        p.turned_at = now
    return p.count + p.resets + p.resets_before < limit
