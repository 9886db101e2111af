"""What a script asks of nstat(8): whether one of the stack's counters has grown."""

from __future__ import annotations

import re
from collections.abc import Mapping

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")
PREFIXES = ("TcpExt", "Tcp", "IpExt", "Ip6", "Ip", "Icmp6", "Icmp", "Udp6", "Udp")


def field_of(name: str) -> str:
    """TcpExtOutOfWindowIcmps: tcp.out_of_window_icmps, as `Stack.stats` calls it."""
    prefix = next((p for p in PREFIXES if name.startswith(p)), "")
    group = prefix.removesuffix("Ext").lower()
    return f"{group}.{'_'.join(WORDS.findall(name.removeprefix(prefix))).lower()}"


class Counters:
    """The values at the last nstat, which shows what has been counted since."""

    def __init__(self) -> None:
        self.before: dict[str, int] = {}

    def look(self, now: Mapping[str, int], name: str) -> str | None:
        """`nstat`, or `nstat | grep NAME`.  None, or why it would have failed.  KeyError: there is no such counter."""
        grown = None
        if name:
            field = field_of(name)
            if now[field] == self.before.get(field, 0):
                grown = f"{name} has not grown"
        self.before = dict(now)
        return grown
