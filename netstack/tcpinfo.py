"""struct tcp_info as names and numbers: of a socket of a stack, or of the system's.

    unpack(sock.getsockopt(IPPROTO_TCP, TCP_INFO, 280))["rtt"]          # us

What the fields mean is written beside them in tcp/info.py.
"""
from __future__ import annotations

import sys
from typing import Any

from .tcp.info import SIZE, Info

TCP_INFO = 11

_FIELDS: dict[str, Any] = vars(Info)["_layout_"]


def unpack(raw: bytes) -> dict[str, int]:
    """The fields, by Linux's names without "tcpi_"; as many as the bytes have, for older kernels have fewer.

    `snd_wscale`, `rcv_wscale`, `delivery_rate_app_limited`, `fastopen_client_fail`, `ecn_mode`, `accecn_opt_seen` and
    `accecn_fail_mode`, which share bytes, stand apart; the last three as in Linux 7.0 (6.18 had 16 bits each for two).
    """
    found: dict[str, int] = {}
    for name, field in _FIELDS.items():
        end = field.offset + field.kind.size
        if end > len(raw):
            break
        value = int.from_bytes(raw[field.offset:end], sys.byteorder)
        if name == "wscales":
            found.update(snd_wscale=value & 15, rcv_wscale=value >> 4)
        elif name == "flags":
            found.update(delivery_rate_app_limited=value & 1, fastopen_client_fail=value >> 1 & 3)
        elif name == "ecn":
            found.update(ecn_mode=value & 3, accecn_opt_seen=value >> 2 & 3, accecn_fail_mode=value >> 4)
        elif name in ("options2", "options3"):
            found["options2"] = found.get("options2", 0) | value << (0 if name == "options2" else 8)
        else:
            found[name] = value
    return found


__all__ = ["SIZE", "TCP_INFO", "unpack"]
