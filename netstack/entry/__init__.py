"""The entry points: everything that Python calls of the engine, with integers only.

`world` is the address of a World, `h` a handle.  Each returns 0 or more, or a
negative errno, and never raises.  Crossing from Python costs 0.2 us this way; a
record argument costs ten times as much.  `Stack` and `socket` are built on these.
"""
from __future__ import annotations

from ..machine.compiled import ENTERED
from .data import (
    MSG_FASTOPEN,
    SIOCATMARK,
    SIOCINQ,
    SIOCOUTQ,
    SIOCOUTQNSD,
    available,
    await_available,
    ioctl,
    open_with,
    recv,
    recv_many,
    recvfrom,
    send,
    send_all,
    send_many,
    send_with,
    sendto,
)
from .handling import set_handler
from .inplace import begin_read, begin_write, end_read, end_write
from .life import accept, bind, close, connect, disconnect, forget_attempt, listen, open, shutdown
from .many import select, wakeup, watch_for
from .stack import background, has_frames, lock, next_deadline, run, stop, turn, unlock
from .status import (
    KEY_LEN,
    arrival,
    attach_fd,
    bbr_info,
    fastopen_key,
    get_option,
    group,
    local,
    peer,
    poll,
    set_extensions,
    set_fastopen_key,
    set_ip_options,
    set_option,
    state,
    tcp_info,
    wait,
)

ENTRIES = tuple(ENTERED)
"""Every entry point: what `netstack warm` compiles."""

__all__ = [
    "ENTRIES",
    "KEY_LEN",
    "MSG_FASTOPEN",
    "SIOCATMARK",
    "SIOCINQ",
    "SIOCOUTQ",
    "SIOCOUTQNSD",
    "accept",
    "arrival",
    "attach_fd",
    "available",
    "await_available",
    "background",
    "bbr_info",
    "begin_read",
    "begin_write",
    "bind",
    "close",
    "connect",
    "disconnect",
    "end_read",
    "end_write",
    "fastopen_key",
    "forget_attempt",
    "get_option",
    "group",
    "has_frames",
    "ioctl",
    "listen",
    "local",
    "lock",
    "next_deadline",
    "open",
    "open_with",
    "peer",
    "poll",
    "recv",
    "recv_many",
    "recvfrom",
    "run",
    "select",
    "send",
    "send_all",
    "send_many",
    "send_with",
    "sendto",
    "set_extensions",
    "set_fastopen_key",
    "set_handler",
    "set_ip_options",
    "set_option",
    "shutdown",
    "state",
    "stop",
    "tcp_info",
    "turn",
    "unlock",
    "wait",
    "wakeup",
    "watch_for",
]
