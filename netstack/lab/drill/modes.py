"""System calls that read and set a socket's options and modes."""

from __future__ import annotations

import struct
from typing import Any

from ... import entry
from ...machine import ring
from ...sockopt import OPTIONS
from ...tcp import tcb
from .arguments import Answer, Arguments, Attempt, Open, source
from .script import Braces, Call, Dots, Node, Several, Text, Unsupported
from .symbols import SYMBOLS

O_RDWR, O_NONBLOCK = 2, 0o4000

INT = 0xFFFF_FFFF


class Modes(Arguments):
    """fcntl, ioctl, setsockopt, getsockopt, each as the method `do_NAME`."""

    def do_fcntl(self, call: Call) -> Attempt:
        """fcntl(2): F_GETFL and F_SETFL"""
        what = self.integer(self.argument(call, 1))
        flags = self.integer(call.arguments[2]) if len(call.arguments) > 2 else 0
        if what not in (SYMBOLS["F_GETFL"], SYMBOLS["F_SETFL"]):
            raise Unsupported(call.arguments[1].at, "fcntl() for anything but F_GETFL and F_SETFL")

        def action(o: Open) -> Answer:
            if what == SYMBOLS["F_GETFL"]:
                return Answer(O_RDWR if o.blocks else O_RDWR | O_NONBLOCK)
            o.blocks = not flags & O_NONBLOCK
            return Answer(0)
        return self.on_socket(call, action)

    def do_ioctl(self, call: Call) -> Attempt:
        """ioctl(2): SIOCINQ (FIONREAD) and SIOCOUTQ"""
        what = self.integer(self.argument(call, 1))
        if what not in (SYMBOLS["SIOCINQ"], SYMBOLS["SIOCOUTQ"], SYMBOLS["SIOCOUTQNSD"]):
            raise Unsupported(call.arguments[1].at, "this ioctl()")
        wanted = call.arguments[2] if len(call.arguments) > 2 else None

        def action(o: Open) -> Answer:
            if what == SYMBOLS["SIOCINQ"]:
                n = entry.available(o.sock._world, o.sock._handle)
            else:
                n = self.unsent(o, what == SYMBOLS["SIOCOUTQ"])
            problems = []
            if wanted is not None and not isinstance(wanted, Dots) and self.integer(wanted) != n:
                problems.append(f"it is {n}, not {self.integer(wanted)}")
            return Answer(0, 0, problems)
        return self.on_socket(call, action)

    def unsent(self, o: Open, unacknowledged: bool) -> int:
        """Bytes in the send buffer: those not sent yet, and with SIOCOUTQ those not acknowledged."""
        t = tcb.get(self.runner.stack._tcp, o.sock._handle & 0xFFFF_FFFF)
        held = int(ring.used(t.snd))
        return held if unacknowledged else max(0, held - (int(t.snd_max) - int(t.snd_una) & 0xFFFF_FFFF))

    def _known(self, call: Call, level: int, name: int) -> None:
        if (level, name) not in OPTIONS and call.errno is None:
            raise Unsupported(call.arguments[2].at, f"the socket option {source(call.arguments[2])}")

    def do_setsockopt(self, call: Call) -> Attempt:
        """setsockopt(2)"""
        level, name = (self.integer(self.argument(call, i)) for i in (1, 2))
        self._known(call, level, name)
        value = self._option_value(self.argument(call, 3, "a value"))

        def action(o: Open) -> Answer:
            o.sock.setsockopt(level, name, value)
            return Answer(0)
        return self.on_socket(call, action)

    def _option_value(self, node: Node) -> int | bytes:
        if isinstance(node, Text):
            return node.value
        if isinstance(node, Several) and len(node.items) == 1 and isinstance(node.items[0], (Braces, Text)):
            return self._option_value(node.items[0])
        if isinstance(node, Several):
            values = [self.integer(item) for item in node.items]
            return values[0] if len(values) == 1 else struct.pack(f"{len(values)}i", *values)
        if isinstance(node, Braces):
            fields = node.fields()
            if set(fields) == {"onoff", "linger"}:
                return struct.pack("ii", self.integer(fields["onoff"].value), self.integer(fields["linger"].value))
            if set(fields) == {"tv_sec", "tv_usec"}:
                return struct.pack("qq", self.integer(fields["tv_sec"].value), self.integer(fields["tv_usec"].value))
            raise Unsupported(node.at, "this structure as the value of an option")
        return self.integer(node)

    def do_getsockopt(self, call: Call) -> Attempt:
        """getsockopt(2)"""
        level, name = (self.integer(self.argument(call, i)) for i in (1, 2))
        self._known(call, level, name)
        node = self.argument(call, 3, "a value")

        def action(o: Open) -> Answer:
            if isinstance(node, Dots):
                o.sock.getsockopt(level, name, 256)
                return Answer(0)
            expected = self._option_value(node)
            if isinstance(expected, bytes):
                got = o.sock.getsockopt(level, name, 256)
                same = got.rstrip(b"\0") == expected.rstrip(b"\0") if isinstance(node, Text) else got == expected
                said: Any = got
            else:
                said = o.sock.getsockopt(level, name)
                same = said & INT == expected & INT         # an int of C, however it is written
            return Answer(0, 0, [] if same else [f"{source(call.arguments[2])} is {said!r}, not {expected!r}"])
        return self.on_socket(call, action)
