"""What stacks' sockets do, as a table that goes on: ss(8) and nethogs in one.

    monitor = Monitor(stack)        # or Monitor(Processes()): of other processes that offer theirs
    rows = monitor.look()           # rates are since the look before

The busiest come first.  What TCP_INFO says is in a row as long as an application
has the connection (tcp(7)); the other columns are there until its end.
"""
from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..observe.offer import LISTEN, Sample, processes, samples

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..stack import Stack

SECOND = 1_000_000_000      # ns
FIRST_TO_GO = "retrans", "received", "sent", "cwnd", "rtt ms", "process", "send-q", "recv-q"    # of a narrow terminal
GAP = 2                 # between columns
NAME = 24               # letters of a process's name
LEFT = "process", "", "state", "local", "remote"
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
    process: str = ""           # number and program; "" for the own one


EMPTY = Row("", "", "", "", 0, 0)


class Source(Protocol):
    """Where sockets are looked at."""

    def look(self) -> Iterable[tuple[Hashable, str, list[Sample]]]:
        """Of each stack: what tells it from the others, the process (or ""), the sockets."""


class Stacks:
    """Those of this process."""

    def __init__(self, stacks: Iterable[Stack]) -> None:
        self._stacks = tuple(stacks)

    def look(self) -> Iterator[tuple[Hashable, str, list[Sample]]]:
        """See Source."""
        for i, stack in enumerate(self._stacks):
            yield i, "", samples(stack)


class Processes:
    """Those of other processes that offer them (observe/offer.py): of `pids`, or of all of this user."""

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._pids = frozenset(pids)
        self.found: set[int] = set()            # of the last look

    def look(self) -> Iterator[tuple[Hashable, str, list[Sample]]]:
        """See Source.  Who does not answer is left out."""
        self.found = set()
        for process in processes():
            if self._pids and process.pid not in self._pids:
                continue
            try:
                program, stacks = process.look()
            except (OSError, ValueError):
                continue
            self.found.add(process.pid)
            for i, seen in enumerate(stacks):
                yield (process.path.name, i), f"{process.pid} {program}"[:NAME], seen


class Monitor:
    """Looks at stacks, and remembers what it saw for the rates."""

    def __init__(self, *stacks: Stack | Source) -> None:
        self._sources = [s if hasattr(s, "look") else Stacks([s]) for s in stacks]
        self._seen: dict[Hashable, tuple[int, int, int]] = {}       # when (ns), sent, received

    def look(self) -> list[Row]:
        """Every socket now, the busiest first, listeners last."""
        before, self._seen = self._seen, {}
        rows = [self._row(process, sample, (i, which, sample.handle), before)
                for i, source in enumerate(self._sources) for which, process, found in source.look()
                for sample in found]
        return sorted(rows, key=lambda r: (r.state == LISTEN, -r.send_rate - r.receive_rate, r.protocol, r.local))

    def _row(self, process: str, s: Sample, key: Hashable, before: dict[Hashable, tuple[int, int, int]]) -> Row:
        words = s.protocol, s.state, s.local, s.remote, s.recv_queue, s.send_queue
        info = s.info
        if info is None:
            return Row(*words, process=process)
        sent, received = info["bytes_acked"], info["bytes_received"]
        then, old_sent, old_received = before.get(key, (s.at, sent, received))
        seconds = (s.at - then) / SECOND or 1.0         # the first look knows no rate: 0
        self._seen[key] = s.at, sent, received
        return Row(*words, sent, received, (sent - old_sent) / seconds, (received - old_received) / seconds,
                   info["snd_cwnd"], info["rtt"] / 1000 if info["rtt"] else None, info["total_retrans"], process)


def short(number: float) -> str:
    """Bytes, with the prefix of thousands that leaves at most three digits before the point."""
    power = 0
    while number >= 999.5 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{number:.1f}{PREFIXES[power]}" if power else f"{number:.0f}"


def cells(r: Row) -> dict[str, str]:
    """A row's columns, by their titles."""
    known = r.cwnd is not None
    return {"process": r.process, "": r.protocol, "state": r.state, "local": r.local, "remote": r.remote,
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
    if not any(line["process"] for line in lines):
        del widths["process"]
    for title in FIRST_TO_GO:
        if title in widths and sum(widths.values()) > width:
            del widths[title]
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for title in widths:
        drawn.add_column(title, no_wrap=True, justify="left" if title in LEFT else "right")
    for line in lines:
        drawn.add_row(*(line[title] for title in widths))
    out, into = (short(sum(rates)) for rates in ([r.send_rate for r in rows], [r.receive_rate for r in rows]))
    drawn.caption = f"{len(rows)} sockets, out {out}B/s, in {into}B/s"
    return drawn


def watch(stacks: Iterable[Stack | Source], stopping: threading.Event, *, every: float = 1.0,
          console: Console | None = None) -> None:
    """Draw the table anew every so many seconds, until `stopping` is set."""
    from rich.console import Console
    from rich.live import Live

    monitor, console = Monitor(*stacks), console or Console()
    with Live(table(monitor.look(), console.width), console=console, auto_refresh=False) as live:
        while not stopping.wait(every):
            live.update(table(monitor.look(), console.width), refresh=True)
