"""What a stack's sockets do, as a table that goes on: ss(8) and nethogs in one.

    monitor = Monitor(stack)
    rows = monitor.look()           # rates are since the look before

The busiest come first.  What TCP_INFO says is in a row as long as an application
has the connection (tcp(7)); the other columns are there until its end.
"""
from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import entry, tcpinfo

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..stack import Stack
    from ..views import Connection

SECOND = 1_000_000_000      # ns
LISTEN = "LISTEN"
FIRST_TO_GO = "retrans", "received", "sent", "cwnd", "rtt ms", "send-q", "recv-q"     # where the terminal is narrow
GAP = 2                 # between columns
PREFIXES = "", "k", "M", "G", "T"


@dataclass(frozen=True)
class Row:
    """One socket, or one connection without one."""

    protocol: str
    state: str
    local: str
    remote: str
    recv_queue: int             # bytes; a listener: connections that wait
    send_queue: int             # ... its backlog
    sent: int = 0               # bytes that the peer has acknowledged
    received: int = 0           # bytes
    send_rate: float = 0.0      # bytes/s, since the last look
    receive_rate: float = 0.0
    cwnd: int | None = None     # segments
    rtt: float | None = None    # ms
    retransmitted: int = 0      # segments


EMPTY = Row("", "", "", "", 0, 0)


class Monitor:
    """Looks at stacks, and remembers what it saw for the rates."""

    def __init__(self, *stacks: Stack) -> None:
        self._stacks = stacks
        self._seen: dict[tuple[int, int], tuple[int, int, int]] = {}    # when (ns), sent, received

    def look(self) -> list[Row]:
        """Every socket now, the busiest first, listeners last."""
        before, self._seen = self._seen, {}
        rows = [self._row(stack, connection, (i, connection.handle), before)
                for i, stack in enumerate(self._stacks) for connection in stack.connections()]
        return sorted(rows, key=lambda r: (r.state == LISTEN, -r.send_rate - r.receive_rate, r.protocol, r.local))

    def _row(self, stack: Stack, c: Connection, key: tuple[int, int],
             before: dict[tuple[int, int], tuple[int, int, int]]) -> Row:
        info = info_of(stack, c) if c.protocol == "tcp" and c.state != LISTEN else None
        words = c.protocol, c.state, text(c.local), text(c.remote), c.recv_queue, c.send_queue
        if info is None:
            return Row(*words)
        now, sent, received = stack._now(), info["bytes_acked"], info["bytes_received"]
        then, old_sent, old_received = before.get(key, (now, sent, received))
        seconds = (now - then) / SECOND or 1.0          # the first look knows no rate: 0
        self._seen[key] = now, sent, received
        return Row(*words, sent, received, (sent - old_sent) / seconds, (received - old_received) / seconds,
                   info["snd_cwnd"], info["rtt"] / 1000 if info["rtt"] else None, info["total_retrans"])


def info_of(stack: Stack, connection: Connection) -> dict[str, int] | None:
    """TCP_INFO of a connection; None if no application has it any more."""
    buffer = ctypes.create_string_buffer(tcpinfo.SIZE)
    if entry.tcp_info(stack._world, connection.handle, ctypes.addressof(buffer), tcpinfo.SIZE) < 0:
        return None
    return tcpinfo.unpack(buffer.raw)


def text(address: tuple[str, int] | None) -> str:
    """An address and port as ss(8) writes them."""
    if address is None:
        return "*"
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def short(number: float) -> str:
    """Bytes, with the prefix of thousands that leaves at most three digits before the point."""
    power = 0
    while number >= 999.5 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.1f}{PREFIXES[power]}" if power else f"{number:.0f}"


def cells(r: Row) -> dict[str, str]:
    """A row's columns, by their titles."""
    known = r.cwnd is not None
    return {"": r.protocol, "state": r.state, "local": r.local, "remote": r.remote,
            "recv-q": str(r.recv_queue), "send-q": str(r.send_queue),
            "out B/s": short(r.send_rate) if known else "", "in B/s": short(r.receive_rate) if known else "",
            "sent": short(r.sent) if known else "", "received": short(r.received) if known else "",
            "rtt ms": "" if r.rtt is None else f"{r.rtt:.3g}", "cwnd": str(r.cwnd) if known else "",
            "retrans": str(r.retransmitted or "")}


def table(rows: Iterable[Row], width: int = 160) -> Table:
    """The rows for a terminal so many columns wide; what has no room is left out."""
    from rich.table import Table

    rows = list(rows)
    lines = [cells(r) for r in rows]
    widths = {title: max([len(title), *(len(line[title]) for line in lines)]) + GAP for title in cells(EMPTY)}
    for title in FIRST_TO_GO:
        if sum(widths.values()) > width:
            del widths[title]
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for title in widths:
        drawn.add_column(title, no_wrap=True, justify="left" if title in ("", "state", "local", "remote") else "right")
    for line in lines:
        drawn.add_row(*(line[title] for title in widths))
    out, into = (short(sum(rates)) for rates in ([r.send_rate for r in rows], [r.receive_rate for r in rows]))
    drawn.caption = f"{len(rows)} sockets, out {out}B/s, in {into}B/s"
    return drawn


def watch(stacks: Iterable[Stack], stopping: threading.Event, *, every: float = 1.0,
          console: Console | None = None) -> None:
    """Draw the table anew every so many seconds, until `stopping` is set."""
    from rich.console import Console
    from rich.live import Live

    monitor, console = Monitor(*stacks), console or Console()
    with Live(table(monitor.look(), console.width), console=console, auto_refresh=False) as live:
        while not stopping.wait(every):
            live.update(table(monitor.look(), console.width), refresh=True)
