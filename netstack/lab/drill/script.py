"""A script as data: what the parser makes and the runner runs, and what may be wrong with either."""
from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

NS = 1_000_000_000


@dataclass(frozen=True)
class At:
    """A place in a script; both count from 1."""

    line: int
    column: int


class DrillError(Exception):
    """What ends a script, and where it was."""

    status = 1          # of the command

    def __init__(self, at: At, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message
        self.story: list[str] = []


class Mismatch(DrillError):
    """The stack did something else than the script expects."""


class ScriptError(DrillError):
    """The text is not in the language."""

    status = 2


class Unsupported(DrillError):
    """It is in the language, and this runner or this stack does not have it."""

    status = 2


# ---- time

class Clock(Enum):
    """How an event's time is meant."""

    RELATIVE = "+"          # after the event before
    ABSOLUTE = ""           # since the script began
    ANY = "*"


@dataclass(frozen=True)
class When:
    """The time of an event, ns; `until` ends a range."""

    clock: Clock
    ns: int = 0
    until: int | None = None


# ---- expressions

@dataclass(frozen=True)
class Dots:
    """`...`: whatever is right."""

    at: At


@dataclass(frozen=True)
class Number:
    """An integer."""

    at: At
    value: int


@dataclass(frozen=True)
class Name:
    """A symbol, such as SOCK_STREAM."""

    at: At
    text: str


@dataclass(frozen=True)
class Text:
    """A string; `prefix`: "..." follows, only the beginning counts."""

    at: At
    value: bytes
    prefix: bool = False


@dataclass(frozen=True)
class Or:
    """a | b | ..."""

    at: At
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Several:
    """[a, b, ...]"""

    at: At
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Apply:
    """htons(8080), inet_addr("192.0.2.1")"""

    at: At
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Field:
    """name = value or name(argument) = value, in braces."""

    at: At
    name: str
    argument: Node | None
    value: Node


@dataclass(frozen=True)
class Braces:
    """{a, b} or {name = value, ...}: a C structure."""

    at: At
    items: tuple[Node, ...]

    def fields(self) -> dict[str, Field]:
        """The named members."""
        return {item.name: item for item in self.items if isinstance(item, Field)}


Node = Dots | Number | Name | Text | Or | Several | Apply | Field | Braces


# ---- what happens

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = (1 << i for i in range(9))
LETTERS = {"F": FIN, "S": SYN, "R": RST, "P": PSH, ".": ACK, "U": URG, "E": ECE, "W": CWR, "A": AE}


def flag_letters(flags: int) -> str:
    """Flags as a script writes them."""
    order = "SFRPUEWA."
    return "".join(letter for letter in order if flags & LETTERS[letter]) or "-"


@dataclass(frozen=True)
class Option:
    """A TCP option: its name in a script, and its values."""

    name: str
    values: tuple[Any, ...] = ()

    def __str__(self) -> str:
        if self.name == "TS":
            return f"TS val {self.values[0]} ecr {self.values[1]}"
        if self.name == "sack":
            return "sack " + " ".join(f"{a}:{b}" for a, b in self.values)
        if self.name == "ECN":
            return "ECN" + "".join(f" {n} {v}" for n, v in self.values)
        if self.name == "unknown":
            return f"kind {self.values[0]} {self.values[1].hex()}"
        words = [v.hex() if isinstance(v, bytes) else str(v) for v in self.values]
        return " ".join([self.name, *words]).rstrip()


@dataclass(frozen=True)
class Ip:
    """What a packet says in (...) or [...] of its IP header; None: nothing."""

    ecn: int | None = None
    either_ect: bool = False        # ect01
    tos: int | None = None
    ttl: int | None = None
    flow: int | None = None


@dataclass(frozen=True)
class TcpPacket:
    """`< S 0:0(0) win 32792 <mss 1000>`; None: not said."""

    at: At
    inbound: bool
    flags: int
    seq: int
    length: int
    ack: int | None = None
    win: int | None = None
    urg: int | None = None
    options: tuple[Option, ...] | None = ()     # None: <...>, any
    ip: Ip = Ip()
    ports: tuple[int, int] | None = None        # source, destination

    def __str__(self) -> str:
        text = f"{'<' if self.inbound else '>'} "
        if self.ports:
            text += f"{self.ports[0]} > {self.ports[1]} "
        text += f"{flag_letters(self.flags)} {self.seq}:{(self.seq + self.length) & 0xFFFF_FFFF}({self.length})"
        for name, value in (("ack", self.ack), ("win", self.win), ("urg", self.urg or None)):
            text += f" {name} {value}" if value is not None else ""
        if self.options is None:
            return text + " <...>"
        return text + (f" <{','.join(map(str, self.options))}>" if self.options else "")


@dataclass(frozen=True)
class UdpPacket:
    """`> udp (1000)`"""

    at: At
    inbound: bool
    length: int
    ip: Ip = Ip()
    ports: tuple[int, int] | None = None

    def __str__(self) -> str:
        return f"{'<' if self.inbound else '>'} udp ({self.length})"


@dataclass(frozen=True)
class IcmpPacket:
    """`< icmp unreachable frag_needed mtu 1200 [1:1001(1000)]`; `quoted`: seq and length, None for UDP."""

    at: At
    inbound: bool
    kind: str
    code: str | None
    mtu: int | None = None
    seq: int | None = 0
    length: int = 0
    ip: Ip = Ip()

    def __str__(self) -> str:
        words = [self.kind, self.code or "", f"mtu {self.mtu}" if self.mtu is not None else ""]
        seq = self.seq
        quoted = f"[udp ({self.length})]" if seq is None else f"[{seq}:{seq + self.length}({self.length})]"
        return " ".join(["<" if self.inbound else ">", "icmp", *filter(None, words), quoted])


@dataclass(frozen=True)
class Call:
    """A system call.  `until`: when a call that blocks is to return; `errno` by name, for a result of -1."""

    at: At
    name: str
    arguments: tuple[Node, ...]
    result: Node
    errno: str | None = None
    until: When | None = None
    text: str = ""


@dataclass(frozen=True)
class Command:
    """`a shell command`"""

    at: At
    text: str


@dataclass(frozen=True)
class Code:
    """%{ Python }%"""

    at: At
    text: str


Action = TcpPacket | UdpPacket | IcmpPacket | Call | Command | Code


@dataclass(frozen=True)
class Event:
    """Something that happens, or is to happen, at a time."""

    at: At
    when: When
    action: Action


@dataclass
class Script:
    """A whole script."""

    options: list[tuple[At, str, str | None]] = field(default_factory=list)
    first: Command | None = None
    events: list[Event] = field(default_factory=list)
    last: Command | None = None
