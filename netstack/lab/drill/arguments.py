"""What every system call of a script begins with: its arguments as numbers, addresses and sockets."""

from __future__ import annotations

import errno
import os
import socket as real
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import entry
from .script import (
    Apply,
    Braces,
    Call,
    Dots,
    DrillError,
    Name,
    Node,
    Number,
    Or,
    ScriptError,
    Several,
    Text,
    Unsupported,
)
from .symbols import ERRNOS, SYMBOLS
from .talk import Talk

if TYPE_CHECKING:
    from .bench import Bench


@dataclass
class Answer:
    """What a call returned; `problems`: what it filled in that is not as expected."""

    value: int
    errno: int = 0
    problems: list[str] = field(default_factory=list)


Attempt = Callable[[], "Answer | None"]       # None: it would block


@dataclass
class Interest:
    """What an epoll instance has been told about a descriptor."""

    events: int
    data: Node                                  # as the script has written it, to be compared
    seen: int = 0                               # what was ready when it was looked at last
    held: int = 0                               # bytes that could be read then
    woken: bool = True                          # something has become ready since it was reported (EPOLLET)


@dataclass
class Open:
    """What a script's descriptor stands for."""

    sock: Any = None
    blocks: bool = True
    talk: Talk | None = None
    remote: Any = None                          # where a UDP socket sends
    interests: dict[int, Interest] = field(default_factory=dict)                    # of an epoll instance
    size: int = -1                              # of a file: bytes, all of them 0
    at: int = 0                                 # ... and where it is read next
    written: int = 0
    read: int = 0
    patterned: bool = True                      # all that was written is `pattern`


class Arguments:
    """The descriptors of a script, and what its calls name."""

    def __init__(self, runner: Bench) -> None:
        self.runner = runner
        self.open: dict[int, Open] = {}
        self.files: dict[str, int] = {}         # sizes, by path: there are no others
        self.hidden: list[Open] = []            # whose number another one has now

    def argument(self, call: Call, i: int, what: str = "an argument") -> Node:
        """The i-th one."""
        if i >= len(call.arguments):
            raise ScriptError(call.at, f"{call.name}() has {len(call.arguments)} arguments: expected {what}")
        return call.arguments[i]

    def integer(self, node: Node) -> int:
        """The value of an expression."""
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            if node.text in SYMBOLS:
                return SYMBOLS[node.text]
            if node.text in ERRNOS:
                return ERRNOS[node.text]
            raise Unsupported(node.at, f"the symbol {node.text}")
        if isinstance(node, Or):
            value = 0
            for part in node.parts:
                value |= self.integer(part)
            return value
        if isinstance(node, Several) and len(node.items) == 1:
            return self.integer(node.items[0])
        if isinstance(node, Apply) and node.name in ("htons", "htonl") and len(node.arguments) == 1:
            return self.integer(node.arguments[0])
        raise ScriptError(node.at, "expected a number")

    def socket_of(self, call: Call, i: int = 0) -> Open:
        """The socket that a descriptor stands for; OSError EBADF if none."""
        number = self.integer(self.argument(call, i, "a descriptor"))
        o = self.open.get(number)
        if o is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if o.sock is None:
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        return o

    def on_socket(self, call: Call, action: Callable[[Open], Answer | None]) -> Attempt:
        """An attempt on the first argument's socket."""
        def attempt() -> Answer | None:
            o = self.socket_of(call)
            self.runner.touched(o.talk)
            try:
                return action(o)
            except BlockingIOError as error:
                return None if o.blocks else Answer(-1, error.errno or errno.EAGAIN)
        return attempt

    def address(self, node: Node, default: tuple[str, int]) -> tuple[str, int]:
        """A struct sockaddr."""
        if isinstance(node, Dots):
            return default
        if not isinstance(node, Braces):
            raise ScriptError(node.at, "expected ... or {sa_family = ..., sin_port = htons(...), "
                                       "sin_addr = inet_addr(...)}")
        fields = node.fields()
        port = self.integer(fields["sin_port"].value) if "sin_port" in fields else 0
        where = fields.get("sin_addr") or fields.get("sin6_addr")
        if where is None:
            return default[0], port
        if isinstance(where.value, Apply) and len(where.value.arguments) == 1:
            text = where.value.arguments[0]
            if isinstance(text, Text):
                return text.value.decode("ascii", "replace"), port
        if isinstance(where.value, Name) and where.value.text in ("INADDR_ANY", "in6addr_any"):
            return "::" if self.runner.family == real.AF_INET6 else "0.0.0.0", port
        raise ScriptError(where.at, 'expected inet_addr("...") or inet6_addr("...")')

    @staticmethod
    def is_unspecified(node: Node) -> bool:
        """Whether it is an address of AF_UNSPEC."""
        if isinstance(node, Braces) and "sa_family" in node.fields():
            node = node.fields()["sa_family"].value
        return isinstance(node, Name) and node.text == "AF_UNSPEC"

    # ---- descriptors

    def adopt(self, call: Call, o: Open) -> int:
        """The script chooses the number of a new descriptor, if it names one."""
        try:
            number = self._number(call)
        except DrillError:
            if o.sock is not None:
                o.sock.close()
            raise
        if number < 0:                          # the script expects an error: this is what it is told instead
            if o.sock is not None:
                o.sock.close()
            return 3
        self.open[number] = o
        return number

    def _number(self, call: Call) -> int:
        if isinstance(call.result, Dots):
            return next(n for n in range(3, 1 << 20) if n not in self.open)
        number = self.integer(call.result)
        if number in self.open and call.name in ("accept", "accept4"):
            self.hidden.append(self.open.pop(number))       # packetdrill does not mind
        if number in self.open:
            raise ScriptError(call.result.at, f"descriptor {number} is open already")
        return number

    def named(self, o: Open, where: Any) -> None:
        """The socket has a peer now."""
        local = o.sock.getsockname()[1]
        o.remote = where
        if local:
            protocol = 6 if o.sock.type == real.SOCK_STREAM else 17
            o.talk = self.runner.talk_of(local, where[1], protocol)
            self.runner.touched(o.talk)

    def readiness(self, o: Open) -> int:
        """The events of poll(2) that hold now."""
        return int(entry.poll(o.sock._world, o.sock._handle))


def source(node: Node) -> str:
    return node.text if isinstance(node, Name) else str(node.value) if isinstance(node, Number) else "this"
