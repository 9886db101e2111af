"""System calls of a script, on sockets of the stack.

Every socket of the stack is one that does not block; whether the script's does is
kept here.  A call is an `Attempt`, tried again after each event until it has an
answer: so no thread is needed for one that blocks.
"""
from __future__ import annotations

import errno
import os
import socket as real
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ... import entry
from ...endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from ...machine import ring
from ...sockopt import OPTIONS
from ...tcp import tcb
from ...tcp.tcb import State
from .script import (
    NS,
    Apply,
    Braces,
    Call,
    Dots,
    DrillError,
    Mismatch,
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
    from .run import Runner

SOL_SOCKET, IPPROTO_TCP = int(real.SOL_SOCKET), int(real.IPPROTO_TCP)
SO_ERROR, SO_LINGER, TCP_INFO = int(real.SO_ERROR), int(real.SO_LINGER), 11
MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_FASTOPEN = 2, 0x40, 0x100, 0x2000_0000
O_RDWR, O_NONBLOCK = 2, 0o4000
EPOLLET, EPOLLONESHOT = 1 << 31, 1 << 30
PERIOD = 251
PERIODS = bytes(range(PERIOD))
MOST = 1 << 28                  # bytes of one call
TIMES = (int(getattr(real, "SO_RCVTIMEO", 20)), int(getattr(real, "SO_SNDTIMEO", 21)))


@dataclass
class Answer:
    """What a call returned; `problems`: what it filled in that is not as expected."""

    value: int
    errno: int = 0
    problems: list[str] = field(default_factory=list)


Attempt = Callable[[], "Answer | None"]       # None: it would block


@dataclass
class Open:
    """What a script's descriptor stands for."""

    sock: Any = None
    blocks: bool = True
    talk: Talk | None = None
    remote: Any = None                          # where a UDP socket sends
    interests: dict[int, tuple[int, Node, str]] = field(default_factory=dict)       # of an epoll instance
    written: int = 0
    read: int = 0
    patterned: bool = True                      # all that was written is `pattern`


class Calls:
    """The calls, each as the method `do_NAME`."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.open: dict[int, Open] = {}

    def close_all(self) -> None:
        """At the end of a script."""
        for o in self.open.values():
            if o.sock is not None:
                o.sock._description.linger = -1
                o.sock.close()
        self.open.clear()

    def begin(self, call: Call) -> Attempt:
        """A call, ready to be tried."""
        method = getattr(self, f"do_{call.name}", None)
        if method is None:
            raise Unsupported(call.at, f"the system call {call.name}")
        attempt: Attempt = method(call)

        def guarded() -> Answer | None:
            try:
                return attempt()
            except BlockingIOError:
                return None
            except OSError as error:
                return Answer(-1, error.errno or errno.EIO)
            except (ValueError, OverflowError, struct.error) as error:      # no C function could be given this
                raise ScriptError(call.at, f"{call.name}(): {error}") from None

        return guarded

    def check(self, call: Call, answer: Answer) -> None:
        """Compare with what the script expects."""
        wanted = None if isinstance(call.result, Dots) else self.integer(call.result)
        number = ERRNOS.get(call.errno or "")
        if call.errno is not None and number is None:
            raise ScriptError(call.at, f"expected the name of an errno, found {call.errno!r}")
        if (wanted is not None and wanted != answer.value) or (number is not None and answer.errno != number):
            raise Mismatch(call.at, f"{call.name}() returned {_said(answer.value, answer.errno)}, not "
                                    f"{_said(wanted if wanted is not None else -1, number or 0)}")
        if answer.problems:
            raise Mismatch(call.at, f"{call.name}(): {'; '.join(answer.problems)}")

    # ---- arguments

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

    def count(self, call: Call) -> int:
        """The third argument: a number of bytes."""
        node = self.argument(call, 2, "a number of bytes")
        count = self.integer(node)
        if not 0 <= count <= MOST:
            raise ScriptError(node.at, f"a number of bytes must be 0 to {MOST}, not {count}")
        return count

    def data(self, call: Call, o: Open, i: int, count: int, done: int) -> bytes:
        """What is written: the script's string, or so many bytes that tell where in the stream they are."""
        node = self.argument(call, i, "a buffer")
        if isinstance(node, Text):
            o.patterned = False
            return node.value[:count].ljust(count, b"\0")
        return pattern(o.written - done, count)

    # ---- making and naming sockets

    def do_socket(self, call: Call) -> Attempt:
        """socket(2)"""
        node = self.argument(call, 0, "a domain")
        family = self.runner.family if isinstance(node, Dots) else self.integer(node)
        kind = self.integer(self.argument(call, 1, "a type"))
        protocol = self.integer(self.argument(call, 2, "a protocol"))
        if family not in (real.AF_INET, real.AF_INET6):
            raise Unsupported(call.at, "sockets of another family than AF_INET and AF_INET6")

        def attempt() -> Answer:
            sock = self.runner.stack.socket(family, kind, protocol)
            sock.setblocking(False)
            return Answer(self.adopt(call, Open(sock, not kind & O_NONBLOCK)))
        return attempt

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
        if number in self.open:
            raise ScriptError(call.result.at, f"descriptor {number} is open already")
        return number

    def do_bind(self, call: Call) -> Attempt:
        """bind(2)"""
        where = self.address(self.argument(call, 1), (self.runner.bind_host, self.runner.options.bind_port))

        def action(o: Open) -> Answer:
            o.sock.bind(where)
            return Answer(0)
        return self.on_socket(call, action)

    def do_listen(self, call: Call) -> Attempt:
        """listen(2)"""
        backlog = self.integer(self.argument(call, 1))

        def action(o: Open) -> Answer:
            o.sock.listen(backlog)
            self.runner.listening(o.sock.getsockname()[1])
            return Answer(0)
        return self.on_socket(call, action)

    def do_accept(self, call: Call) -> Attempt:
        """accept(2)"""
        return self._accept(call, 0)

    def do_accept4(self, call: Call) -> Attempt:
        """accept4(2)"""
        return self._accept(call, self.integer(self.argument(call, 3)))

    def _accept(self, call: Call, flags: int) -> Attempt:
        def action(o: Open) -> Answer:
            conn, peer = o.sock.accept()
            conn.setblocking(False)
            talk = self.runner.talk_of(conn.getsockname()[1], peer[1])
            return Answer(self.adopt(call, Open(conn, not flags & O_NONBLOCK, talk)))
        return self.on_socket(call, action)

    def do_connect(self, call: Call) -> Attempt:
        """connect(2)"""
        where = self.address(self.argument(call, 1), (self.runner.connect_host, self.runner.options.connect_port))
        started = False

        def action(o: Open) -> Answer | None:
            nonlocal started
            if not started:
                r = o.sock.connect_ex(where)
                self.named(o, where)
                if r == errno.EINPROGRESS and o.blocks:
                    started = True
                    return None
                return Answer(0 if r == 0 else -1, r)
            if not self.readiness(o) & (POLLOUT | POLLERR | POLLHUP):
                return None
            r = o.sock.getsockopt(SOL_SOCKET, SO_ERROR)
            return Answer(0 if r == 0 else -1, r)
        return self.on_socket(call, action)

    def named(self, o: Open, where: Any) -> None:
        """The socket has a peer now."""
        local = o.sock.getsockname()[1]
        o.remote = where
        if local:
            protocol = 6 if o.sock.type == real.SOCK_STREAM else 17
            o.talk = self.runner.talk_of(local, where[1], protocol)
            self.runner.touched(o.talk)

    # ---- moving bytes

    def do_read(self, call: Call) -> Attempt:
        """read(2)"""
        return self._receive(call, 0)

    def do_recv(self, call: Call) -> Attempt:
        """recv(2)"""
        return self._receive(call, self.integer(self.argument(call, 3)))

    def do_recvfrom(self, call: Call) -> Attempt:
        """recvfrom(2)"""
        return self._receive(call, self.integer(self.argument(call, 3)))

    def do_readv(self, call: Call) -> Attempt:
        """readv(2)"""
        return self._receive(call, 0, self._iovec(self.argument(call, 1)))

    def do_recvmsg(self, call: Call) -> Attempt:
        """recvmsg(2), without ancillary data"""
        count = self._message(self.argument(call, 1))
        return self._receive(call, self.integer(self.argument(call, 2)), count)

    def _receive(self, call: Call, flags: int, count: int | None = None) -> Attempt:
        if count is None:
            count = self.count(call)
        if flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | SYMBOLS["MSG_TRUNC"] | SYMBOLS["MSG_NOSIGNAL"]):
            raise Unsupported(call.at, f"flags {flags:#x} of {call.name}()")
        node = call.arguments[1]
        got = b""

        def action(o: Open) -> Answer | None:
            nonlocal got
            limit = self.limit(o, TIMES[0], started)
            try:
                piece = o.sock.recv(count - len(got), flags & ~(MSG_WAITALL | MSG_DONTWAIT))
            except BlockingIOError:
                if flags & MSG_DONTWAIT or (limit and self.runner.now >= started + limit):
                    return Answer(-1, errno.EAGAIN) if not got else Answer(len(got))
                raise
            got += piece
            if flags & MSG_WAITALL and o.blocks and piece and len(got) < count:
                return None
            problems = _compare(node, got)
            if o.talk is not None and o.sock.type == real.SOCK_STREAM:
                if got != pattern(o.read, len(got)):
                    problems.append("the bytes are not those that the peer sent there")
                o.read += 0 if flags & MSG_PEEK else len(got)
            return Answer(len(got), 0, problems)
        started = self.runner.now
        return self.on_socket(call, action)

    def limit(self, o: Open, option: int, started: int) -> int:
        """SO_RCVTIMEO or SO_SNDTIMEO, ns; and something happens at that time."""
        raw = o.sock.getsockopt(SOL_SOCKET, option, 16)
        seconds, micro = struct.unpack("qq", raw)
        limit = int(seconds * NS + micro * 1000)
        if limit and o.blocks:
            self.runner.alarm(started + limit)
        return limit

    def do_write(self, call: Call) -> Attempt:
        """write(2)"""
        return self._send(call, 0)

    def do_send(self, call: Call) -> Attempt:
        """send(2)"""
        return self._send(call, self.integer(self.argument(call, 3)))

    def do_sendto(self, call: Call) -> Attempt:
        """sendto(2)"""
        node = self.argument(call, 4, "an address")
        where = self.address(node, (self.runner.connect_host, self.runner.options.connect_port))
        return self._send(call, self.integer(self.argument(call, 3)), where=where)

    def do_writev(self, call: Call) -> Attempt:
        """writev(2)"""
        return self._send(call, 0, self._iovec(self.argument(call, 1)))

    def do_sendmsg(self, call: Call) -> Attempt:
        """sendmsg(2), without ancillary data"""
        count = self._message(self.argument(call, 1))
        return self._send(call, self.integer(self.argument(call, 2)), count)

    def _send(self, call: Call, flags: int, count: int | None = None, where: Any = None) -> Attempt:
        if count is None:
            count = self.count(call)
        if flags & (SYMBOLS["MSG_ZEROCOPY"] | SYMBOLS["MSG_EOR"]):
            raise Unsupported(call.at, f"flags {flags:#x} of {call.name}()")
        done = 0
        started = self.runner.now
        opening = opened = False

        def action(o: Open) -> Answer | None:
            nonlocal done, opening, opened
            if opening:                             # MSG_FASTOPEN on a blocking socket: until it is connected
                if not self.readiness(o) & (POLLOUT | POLLERR | POLLHUP):
                    return None
                if (r := o.sock.getsockopt(SOL_SOCKET, SO_ERROR)) != 0:
                    return Answer(-1, r)
                opening = False
            data = self.data(call, o, 1, count, done)[done:]
            fast = flags & MSG_FASTOPEN and not opened
            if where is not None and (fast or not (o.sock.type == real.SOCK_STREAM and o.talk is not None)):
                try:
                    done = o.sock.sendto(data, flags & ~MSG_DONTWAIT, where)
                except BlockingIOError as error:
                    if error.errno != errno.EINPROGRESS or not o.blocks or flags & MSG_DONTWAIT:
                        raise
                finally:
                    self.named(o, where)
                o.written += done
                opened = True
                opening = bool(flags & MSG_FASTOPEN) and o.blocks and not flags & MSG_DONTWAIT
                return None if opening else Answer(done)
            while done < count:
                try:
                    sent = o.sock.send(data[:count - done], flags & ~(MSG_DONTWAIT | MSG_FASTOPEN))
                except BlockingIOError:
                    limit = self.limit(o, TIMES[1], started)
                    late = bool(limit and self.runner.now >= started + limit)
                    if not o.blocks or flags & MSG_DONTWAIT or late:
                        return Answer(done) if done else Answer(-1, errno.EAGAIN)
                    raise
                done += sent
                o.written += sent
                data = data[sent:]
            if count == 0:
                o.sock.send(b"", flags & ~MSG_DONTWAIT)
            return Answer(done)
        return self.on_socket(call, action)

    def _iovec(self, node: Node) -> int:
        """How many bytes the parts of [{..., 1000}, ...] have together."""
        if not isinstance(node, Several):
            raise ScriptError(node.at, "expected [{..., BYTES}, ...]")
        total = 0
        for item in node.items:
            if not isinstance(item, Braces) or len(item.items) != 2:
                raise ScriptError(item.at, "expected {..., BYTES}")
            total += self.integer(item.items[1])
        if not 0 <= total <= MOST:
            raise ScriptError(node.at, f"a number of bytes must be 0 to {MOST}, not {total}")
        return total

    def _message(self, node: Node) -> int:
        if not isinstance(node, Braces) or "msg_iov" not in node.fields():
            raise ScriptError(node.at, "expected {msg_name(...)=..., msg_iov(1)=[{..., BYTES}], msg_flags=0}")
        control = node.fields().get("msg_control")
        if control is not None and not (isinstance(control.value, Several) and not control.value.items):
            raise Unsupported(control.at, "ancillary data")
        return self._iovec(node.fields()["msg_iov"].value)

    # ---- closing

    def do_close(self, call: Call) -> Attempt:
        """close(2); with SO_LINGER it blocks"""
        number = self.integer(self.argument(call, 0))
        deadline = 0

        def attempt() -> Answer | None:
            nonlocal deadline
            o = self.open.get(number)
            if o is None:
                return Answer(-1, errno.EBADF)
            if o.sock is not None:
                self.runner.touched(o.talk)
                seconds = o.sock._description.linger
                if seconds > 0 and o.sock.type == real.SOCK_STREAM and o.talk is not None:
                    if not deadline:
                        deadline = self.runner.now + seconds * NS
                        self.runner.alarm(deadline)
                        o.sock.shutdown(real.SHUT_WR)
                        self.runner.clock.settle()
                    state = entry.state(o.sock._world, o.sock._handle)
                    if state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK) and self.runner.now < deadline:
                        return None
                    o.sock._description.linger = -1
                o.sock.close()
            del self.open[number]
            return Answer(0)
        return attempt

    def do_shutdown(self, call: Call) -> Attempt:
        """shutdown(2)"""
        how = self.integer(self.argument(call, 1))

        def action(o: Open) -> Answer:
            o.sock.shutdown(how)
            return Answer(0)
        return self.on_socket(call, action)

    # ---- options and modes

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
            raise Unsupported(call.arguments[2].at, f"the socket option {_source(call.arguments[2])}")

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
                same = said == expected
            return Answer(0, 0, [] if same else [f"{_source(call.arguments[2])} is {said!r}, not {expected!r}"])
        return self.on_socket(call, action)

    # ---- readiness

    def readiness(self, o: Open) -> int:
        """The events of poll(2) that hold now."""
        return int(entry.poll(o.sock._world, o.sock._handle))

    def do_poll(self, call: Call) -> Attempt:
        """poll(2)"""
        node = self.argument(call, 0)
        if not isinstance(node, Several):
            raise ScriptError(node.at, "expected [{fd=..., events=..., revents=...}, ...]")
        timeout = self.integer(self.argument(call, 2))
        deadline = self._deadline(timeout)

        def attempt() -> Answer | None:
            ready, problems = 0, []
            for item in node.items:
                fields = item.fields() if isinstance(item, Braces) else {}
                if not {"fd", "events"} <= set(fields):
                    raise ScriptError(item.at, "expected {fd=..., events=..., revents=...}")
                o = self.open.get(self.integer(fields["fd"].value))
                events = self.integer(fields["events"].value) | POLLERR | POLLHUP
                got = self._extended(self.readiness(o)) & events if o is not None and o.sock is not None else 0x20
                wanted = self.integer(fields["revents"].value) if "revents" in fields else 0
                if got != wanted and not ("revents" in fields and isinstance(fields["revents"].value, Dots)):
                    problems.append(f"revents is {poll_names(got)}, not {poll_names(wanted)}")
                ready += got != 0
            if ready or timeout == 0 or (deadline and self.runner.now >= deadline):
                return Answer(ready, 0, problems)
            return None
        return attempt

    @staticmethod
    def _extended(events: int) -> int:
        """POLLRDNORM comes with POLLIN, POLLWRNORM with POLLOUT, as on Linux."""
        return events | (0x40 if events & POLLIN else 0) | (0x100 if events & POLLOUT else 0)

    def _deadline(self, milliseconds: int) -> int:
        if milliseconds <= 0:
            return 0
        deadline = self.runner.now + milliseconds * 1_000_000
        self.runner.alarm(deadline)
        return deadline

    def do_epoll_create(self, call: Call) -> Attempt:
        """epoll_create(2)"""
        return lambda: Answer(self.adopt(call, Open()))

    def do_epoll_create1(self, call: Call) -> Attempt:
        """epoll_create1(2)"""
        return self.do_epoll_create(call)

    def do_epoll_ctl(self, call: Call) -> Attempt:
        """epoll_ctl(2), level-triggered"""
        number, what, fd = (self.integer(self.argument(call, i)) for i in (0, 1, 2))
        node = self.argument(call, 3)
        fields = node.fields() if isinstance(node, Braces) else {}
        events = self.integer(fields["events"].value) if "events" in fields else 0
        if events & (EPOLLET | EPOLLONESHOT):
            raise Unsupported(node.at, "EPOLLET and EPOLLONESHOT")
        data = next((f for name, f in fields.items() if name in ("fd", "ptr", "u32", "u64")), None)

        def attempt() -> Answer:
            o = self.open.get(number)
            if o is None or fd not in self.open:
                return Answer(-1, errno.EBADF)
            if what == SYMBOLS["EPOLL_CTL_ADD"] and fd in o.interests:
                return Answer(-1, errno.EEXIST)
            if what != SYMBOLS["EPOLL_CTL_ADD"] and fd not in o.interests:
                return Answer(-1, errno.ENOENT)
            if what == SYMBOLS["EPOLL_CTL_DEL"]:
                del o.interests[fd]
            else:
                o.interests[fd] = (events, data.value if data else node, data.name if data else "")
            return Answer(0)
        return attempt

    def do_epoll_wait(self, call: Call) -> Attempt:
        """epoll_wait(2)"""
        number = self.integer(self.argument(call, 0))
        node = self.argument(call, 1)
        wanted = node.items if isinstance(node, Several) else (node,)
        most, timeout = (self.integer(self.argument(call, i)) for i in (2, 3))
        deadline = self._deadline(timeout)

        def attempt() -> Answer | None:
            o = self.open.get(number)
            if o is None:
                return Answer(-1, errno.EBADF)
            found = []
            for fd, (events, _, _) in o.interests.items():
                other = self.open.get(fd)
                if other is not None and other.sock is not None:
                    got = self._extended(self.readiness(other)) & (events | POLLERR | POLLHUP)
                    if got:
                        found.append((fd, got))
            found = found[:most]
            if found or timeout == 0 or (deadline and self.runner.now >= deadline):
                return Answer(len(found), 0, self._events(wanted, found, o))
            return None
        return attempt

    def _events(self, wanted: tuple[Node, ...], found: list[tuple[int, int]], o: Open) -> list[str]:
        problems = []
        for item, (fd, got) in zip(wanted, found, strict=False):
            fields = item.fields() if isinstance(item, Braces) else {}
            if "events" in fields and not isinstance(fields["events"].value, Dots):
                events = self.integer(fields["events"].value)
                if events != got:
                    problems.append(f"events is {poll_names(got)}, not {poll_names(events)}")
            for name in ("fd", "ptr", "u32", "u64"):
                if name in fields:
                    said, kept = fields[name].value, o.interests[fd][1]
                    if not isinstance(said, Dots) and not isinstance(kept, Braces) and (
                            self.integer(said) != self.integer(kept)):
                        problems.append(f"{name} is {self.integer(kept)}, not {self.integer(said)}")
        return problems


def pattern(begin: int, count: int) -> bytes:
    """Bytes that tell where in the stream they are."""
    first = begin % PERIOD
    return (PERIODS * (1 + (first + count) // PERIOD))[first:first + count]


def _compare(node: Node, got: bytes) -> list[str]:
    if not isinstance(node, Text):
        return []
    same = got[:len(node.value)] == node.value if node.prefix else got == node.value
    return [] if same else [f"the data is {got[:60]!r}, not {node.value[:60]!r}"]


def _said(value: int, number: int) -> str:
    return f"{value} {errno.errorcode.get(number, number)} ({os.strerror(number)})" if number else str(value)


def _source(node: Node) -> str:
    return node.text if isinstance(node, Name) else str(node.value) if isinstance(node, Number) else "this"


def poll_names(events: int) -> str:
    """Bits of poll(2) by name."""
    names = (("POLLIN", POLLIN), ("POLLPRI", POLLPRI), ("POLLOUT", POLLOUT), ("POLLERR", POLLERR),
             ("POLLHUP", POLLHUP), ("POLLNVAL", 0x20), ("POLLRDNORM", 0x40), ("POLLWRNORM", 0x100),
             ("POLLRDHUP", POLLRDHUP))
    return "|".join(name for name, bit in names if events & bit) or "0"


