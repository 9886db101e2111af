"""A ladder diagram of one connection: its segments in time, and the states of both ends.

RFC 9293 section 3.3.2 (the states) and section 3.5 (where such diagrams are drawn).
The states are worked out from the segments, as an observer on the link can:
the user's calls are not seen, only what they cause.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .pcapng import frames
from .segments import ACK, FIN, MSS, RST, SACK, SACK_PERMITTED, SYN, TIMESTAMPS, WINDOW_SCALE, End, Segment, segments

ARROW = 66          # characters between the two ends
STATE = 12          # characters of the longest state


def after(a: int, b: int) -> bool:
    """Whether sequence number a is after b (RFC 9293 3.4)."""
    return 0 < (a - b) & 0xFFFF_FFFF < 1 << 31


@dataclass
class Side:
    """One end, as the observer sees it."""

    end: End
    state: str = "CLOSED"
    isn: int | None = None          # its initial sequence number
    fin_end: int | None = None      # the sequence number after its FIN
    rcv_nxt: int | None = None      # what it has received without a hole
    shift: int = 0                  # its window scale
    held: list[tuple[int, int]] = field(default_factory=list)      # received behind a hole
    peer_fin: int | None = None     # the sequence number after the peer's FIN, once seen

    def sends(self, segment: Segment) -> None:
        """Its state after sending."""
        if segment.flags & SYN:
            self.isn = segment.seq
            self.shift = segment.options.get(WINDOW_SCALE, b"\0")[0]
            if not segment.flags & ACK and self.state in ("CLOSED", "LISTEN"):
                self.state = "SYN-SENT"
            elif segment.flags & ACK and self.state in ("CLOSED", "LISTEN", "SYN-SENT"):
                self.state = "SYN-RECEIVED"
        if segment.flags & FIN:
            self.fin_end = segment.end
            self.state = {"ESTABLISHED": "FIN-WAIT-1", "SYN-RECEIVED": "FIN-WAIT-1",
                          "CLOSE-WAIT": "LAST-ACK"}.get(self.state, self.state)
        if segment.flags & RST:
            self.state = "CLOSED"

    def receives(self, segment: Segment) -> None:
        """Its state after receiving."""
        if segment.flags & RST:
            self.state = "CLOSED"
            return
        if segment.flags & SYN:
            self.rcv_nxt = segment.end
            if not segment.flags & ACK:
                self.state = {"CLOSED": "SYN-RECEIVED", "LISTEN": "SYN-RECEIVED",
                              "SYN-SENT": "SYN-RECEIVED"}.get(self.state, self.state)
        if segment.flags & ACK:
            self._acknowledged(segment)
        self._place(segment)
        if self.peer_fin is not None and self.rcv_nxt == self.peer_fin:
            self.state = {"ESTABLISHED": "CLOSE-WAIT", "SYN-RECEIVED": "CLOSE-WAIT", "FIN-WAIT-1": "CLOSING",
                          "FIN-WAIT-2": "TIME-WAIT"}.get(self.state, self.state)

    def _acknowledged(self, segment: Segment) -> None:
        if self.isn is not None and after(segment.ack, self.isn):
            if self.state == "SYN-SENT" and not segment.flags & SYN:
                return
            self.state = {"SYN-SENT": "ESTABLISHED", "SYN-RECEIVED": "ESTABLISHED"}.get(self.state, self.state)
        if self.fin_end is not None and segment.ack == self.fin_end:
            self.state = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT",
                          "LAST-ACK": "CLOSED"}.get(self.state, self.state)

    def _place(self, segment: Segment) -> None:
        """What has arrived without a hole."""
        if segment.flags & FIN:
            self.peer_fin = segment.end
        if self.rcv_nxt is None:
            self.rcv_nxt = segment.seq
        self.held.append((segment.seq, segment.end))
        moved = True
        while moved:
            moved = False
            for left, right in self.held:
                if not after(left, self.rcv_nxt) and after(right, self.rcv_nxt):
                    self.rcv_nxt = right
                    moved = True
        self.held = [piece for piece in self.held if after(piece[1], self.rcv_nxt)]


@dataclass(frozen=True)
class Rung:
    """One line of the diagram."""

    time: int               # ns since the first segment
    rightward: bool
    text: str
    left: str               # the left end's state where it changed, else ""
    right: str


def connections(path: str | Path) -> list[list[Segment]]:
    """The connections in a capture file, each as its segments, in the order of their beginning."""
    found: dict[frozenset[End], list[Segment]] = {}
    for segment in segments(frames(path)):
        found.setdefault(segment.connection, []).append(segment)
    return list(found.values())


def rungs(connection: list[Segment]) -> Iterator[Rung]:
    """The lines of one connection; who sends first stands on the left."""
    first = connection[0]
    left, right = Side(first.source), Side(first.destination)
    if first.flags & SYN and not first.flags & ACK:
        right.state = "LISTEN"
    elif not first.flags & SYN:
        left.state = right.state = "ESTABLISHED"       # the capture began later
    base: dict[End, int] = {}
    for segment in connection:
        sender, receiver = (left, right) if segment.source == left.end else (right, left)
        before = left.state, right.state
        base.setdefault(segment.source, segment.seq)
        if segment.flags & ACK:
            base.setdefault(segment.destination, segment.ack - (0 if segment.flags & SYN else 1))
        sender.sends(segment)
        receiver.receives(segment)
        yield Rung(segment.time - first.time, sender is left, _text(segment, base, sender.shift),
                   left.state if left.state != before[0] else "", right.state if right.state != before[1] else "")


def _text(segment: Segment, base: dict[End, int], shift: int) -> str:
    words = [segment.flag_names() or "no flags", f"seq={(segment.seq - base[segment.source]) & 0xFFFF_FFFF}"]
    if segment.flags & ACK:
        words.append(f"ack={(segment.ack - base[segment.destination]) & 0xFFFF_FFFF}")
    if segment.length:
        words.append(f"len={segment.length}")
    window = segment.window if segment.flags & SYN else segment.window << shift
    words.append(f"win={window}")
    if MSS in segment.options:
        words.append(f"mss={int.from_bytes(segment.options[MSS], 'big')}")
    if WINDOW_SCALE in segment.options:
        words.append(f"wscale={segment.options[WINDOW_SCALE][0]}")
    if SACK_PERMITTED in segment.options:
        words.append("sack-ok")
    if SACK in segment.options:
        words.append("sack")
    if TIMESTAMPS in segment.options and segment.flags & SYN:
        words.append("ts")
    return " ".join(words)


def ladder(connection: list[Segment], *, head: int = 24, tail: int = 12) -> Iterator[str]:
    """The diagram as lines of text; of a long connection the first and the last segments."""
    first = connection[0]
    names = (f"{first.source[0]}:{first.source[1]}", f"{first.destination[0]}:{first.destination[1]}")
    room = STATE + ARROW + STATE + 2
    yield f"{'ms':>10}  {names[0]}{names[1]:>{max(1, room - len(names[0]))}}"
    if first.flags & SYN and not first.flags & ACK:
        yield f"{'':>10}  {'CLOSED':>{STATE}} {'':{ARROW}} LISTEN"
    lines = list(rungs(connection))
    if len(lines) <= head + tail + 1:
        yield from map(_line, lines)
        return
    yield from map(_line, lines[:head])
    yield f"{'':>10}  {'':{STATE}} {f'... {len(lines) - head - tail} more segments ...':^{ARROW}}"
    yield from map(_line, lines[-tail:])


def _line(rung: Rung) -> str:
    body = f" {rung.text} "
    room = ARROW - 2
    line = f"{body:─^{room}}"
    arrow = f"─{line}▶" if rung.rightward else f"◀{line}─"
    return f"{rung.time / 1e6:10.3f}  {rung.left:>{STATE}} {arrow} {rung.right}".rstrip()


def render(path: str | Path, which: int = 0) -> Iterable[str]:
    """The diagram of the `which`-th connection of a capture file.  IndexError if there is none."""
    return ladder(connections(path)[which])
