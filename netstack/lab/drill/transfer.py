"""System calls that move bytes: read, write and their kin."""

from __future__ import annotations

import errno
import socket as real
import struct
from typing import Any

from ... import names
from ...endpoint import POLLERR, POLLHUP, POLLOUT
from ...tcp import tcb
from .arguments import Answer, Arguments, Attempt, Open
from .script import NS, Braces, Call, Name, Node, ScriptError, Several, Text, Unsupported
from .symbols import SYMBOLS

SOL_SOCKET, SO_ERROR = int(real.SOL_SOCKET), int(real.SO_ERROR)
MSG_PEEK, MSG_DONTWAIT, MSG_WAITALL, MSG_FASTOPEN = 2, 0x40, 0x100, 0x2000_0000
PERIOD = 251
PERIODS = bytes(range(PERIOD))
MOST = 1 << 28                  # bytes of one call
ANCILLARY = 256                 # bytes of ancillary data
TIMES = (int(getattr(real, "SO_RCVTIMEO", 20)), int(getattr(real, "SO_SNDTIMEO", 21)))


class Transfer(Arguments):
    """read, write, recv..., send..., each as the method `do_NAME`."""

    def count(self, call: Call, i: int = 2) -> int:
        """The third argument: a number of bytes."""
        node = self.argument(call, i, "a number of bytes")
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
        """recvmsg(2); of ancillary data ints, such as TCP_CM_INQ, and times, SCM_TIMESTAMP and SCM_TIMESTAMPNS"""
        node = self.argument(call, 1)
        count = self._message(node)
        return self._receive(call, self.integer(self.argument(call, 2)), count, self._control(node))

    def _control(self, node: Node) -> list[tuple[int, int, int]] | None:
        """msg_control=[{cmsg_level=..., cmsg_type=..., cmsg_data=...}, ...]; None: not there, and not compared."""
        control = node.fields().get("msg_control") if isinstance(node, Braces) else None
        if control is None:
            return None
        found = []
        for item in control.value.items if isinstance(control.value, Several) else (control.value,):
            fields = item.fields() if isinstance(item, Braces) else {}
            values = [fields[name].value for name in ("cmsg_level", "cmsg_type", "cmsg_data") if name in fields]
            if len(values) != 3:
                raise ScriptError(item.at, "expected {cmsg_level=..., cmsg_type=..., cmsg_data=...}")
            level, kind = (self.integer(v) for v in values[:2])
            found.append((level, kind, self._time(values[2]) if isinstance(values[2], Braces)
                          else self.integer(values[2])))
        return found

    def _time(self, node: Braces) -> int:
        """{scm_sec=..., scm_nsec=...}: ns since the script's beginning."""
        fields = node.fields()
        if set(fields) != {"scm_sec", "scm_nsec"}:
            raise Unsupported(node.at, "ancillary data that is a structure, and no time")
        return self.integer(fields["scm_sec"].value) * NS + self.integer(fields["scm_nsec"].value)

    def _told(self, ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, int]]:
        """Level, type and value of each message."""
        began = self.runner.stack._now() - self.runner.now
        told = []
        for level, kind, data in ancillary:
            if level == SOL_SOCKET:
                seconds, part = struct.unpack("qq", data)
                value = seconds * NS + part * (1000 if kind == SYMBOLS["SO_TIMESTAMP"] else 1) - began
            else:
                value, = struct.unpack("i", data)
            told.append((level, kind, value))
        return told

    def _receive(self, call: Call, flags: int, count: int | None = None,
                 control: list[tuple[int, int, int]] | None = None) -> Attempt:
        if count is None:
            count = self.count(call)
        if flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_WAITALL | SYMBOLS["MSG_TRUNC"] | SYMBOLS["MSG_NOSIGNAL"]):
            raise Unsupported(call.at, f"flags {flags:#x} of {call.name}()")
        node = call.arguments[1]
        got = b""

        def action(o: Open) -> Answer | None:
            nonlocal got
            limit = self.limit(o, TIMES[0], started)
            if _is_null(node) and count > 0 and o.sock.recv(1, MSG_PEEK):
                return Answer(-1, errno.EFAULT)
            try:
                piece, ancillary, _, _ = o.sock.recvmsg(count - len(got), ANCILLARY,
                                                        flags & ~(MSG_WAITALL | MSG_DONTWAIT))
            except BlockingIOError:
                if flags & MSG_DONTWAIT or (limit and self.runner.now >= started + limit):
                    return Answer(-1, errno.EAGAIN) if not got else Answer(len(got))
                raise
            got += piece
            if flags & MSG_WAITALL and o.blocks and piece and len(got) < count:
                return None
            problems = _compare(node, got)
            told = self._told(ancillary)
            if control is not None and told != control:
                problems.append(f"the ancillary data (level, type, value) is {told}, not {control}")
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
        flags = self.integer(self.argument(call, 3))
        if isinstance(node, Name) and node.text == "AF_UNSPEC":
            return self._send_nowhere(call, flags)
        where = self.address(node, (self.runner.connect_host, self.runner.options.connect_port))
        return self._send(call, flags, where=where)

    def _send_nowhere(self, call: Call, flags: int) -> Attempt:
        """sendto(2) with an address that is none: Python's socket objects, and so this stack's, cannot be told that."""
        if flags & MSG_FASTOPEN:                    # as Linux
            return self.on_socket(call, lambda o: Answer(-1, errno.EOPNOTSUPP))
        return self._send(call, flags)              # a stream ignores it

    def do_writev(self, call: Call) -> Attempt:
        """writev(2)"""
        return self._send(call, 0, self._iovec(self.argument(call, 1)))

    def do_open(self, call: Call) -> Attempt:
        """open(2), of a file that a command of the script has made"""
        node = self.argument(call, 0, "a path")
        if not isinstance(node, Text) or self.integer(self.argument(call, 1, "flags")) & ~SYMBOLS["O_NONBLOCK"]:
            raise Unsupported(node.at, "open() for anything but reading a file")
        size = self.files.get(node.value.decode("utf-8", "replace"), -1)

        def attempt() -> Answer:
            return Answer(self.adopt(call, Open(size=size))) if size >= 0 else Answer(-1, errno.ENOENT)
        return attempt

    def do_sendfile(self, call: Call) -> Attempt:
        """sendfile(2), from such a file"""
        number = self.integer(self.argument(call, 1, "a descriptor"))
        where = self.argument(call, 2, "an offset")
        count = self.count(call, 3)
        begin = None if _is_null(where) else self.integer(where)
        done = 0

        def action(o: Open) -> Answer | None:
            nonlocal done
            file = self.open.get(number)
            if file is None:
                return Answer(-1, errno.EBADF)
            start = file.at if begin is None else begin
            if start < 0:
                return Answer(-1, errno.EINVAL)
            o.patterned = False
            total = min(count, max(file.size - start, 0))
            while done < total:
                try:
                    sent = o.sock.send(bytes(total - done))
                except BlockingIOError:
                    if o.blocks:
                        raise
                    if done == 0:
                        return Answer(-1, errno.EAGAIN)
                    break
                done += sent
                o.written += sent
            if begin is None:
                file.at = start + done
            return Answer(done)
        return self.on_socket(call, action)

    def do_sendmsg(self, call: Call) -> Attempt:
        """sendmsg(2), without ancillary data"""
        node = self.argument(call, 1)
        count = self._message(node)
        if self._control(node):
            raise Unsupported(node.at, "ancillary data to be sent")
        name = node.fields().get("msg_name") if isinstance(node, Braces) else None
        where = None
        if name is not None and not (isinstance(name.value, Name) and name.value.text == "NULL"):
            where = self.address(name.value, (self.runner.connect_host, self.runner.options.connect_port))
        return self._send(call, self.integer(self.argument(call, 2)), count, where)

    def _send(self, call: Call, flags: int, count: int | None = None, where: Any = None) -> Attempt:
        if count is None:
            count = self.count(call)
        if flags & SYMBOLS["MSG_ZEROCOPY"]:
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
            if _is_null(self.argument(call, 1)) and count > 0 and o.sock.type == real.SOCK_STREAM:
                return Answer(-1, errno.EFAULT)
            data = self.data(call, o, 1, count, done)[done:]
            stream = o.sock.type == real.SOCK_STREAM
            waits = o.blocks and not flags & MSG_DONTWAIT
            if stream and not opened and (flags & MSG_FASTOPEN or self._is_deferred(o)):
                opened = True
                result = self._open_with(o, data, where if flags & MSG_FASTOPEN else None, waits)
                if result != -errno.EAGAIN:
                    done = max(result, 0)
                    o.written += done
                    opening = waits and (result >= 0 or result == -errno.EINPROGRESS)
                    if opening:
                        return None
                    return Answer(done) if result >= 0 else Answer(-1, -result)
            if where is not None and not (stream and o.talk is not None):
                try:
                    done = o.sock.sendto(data, flags & ~MSG_DONTWAIT, where)
                finally:
                    self.named(o, where)
                o.written += done
                return Answer(done)
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

    def _is_deferred(self, o: Open) -> bool:
        """Whether it waits for its first text (TCP_FASTOPEN_CONNECT)."""
        return bool(tcb.get(self.runner.stack._tcp, o.sock._handle & 0xFFFF_FFFF).fast.deferred)

    def _open_with(self, o: Open, data: bytes, where: Any, waits: bool) -> int:
        """Its SYN, with the text that may be in it: how many bytes, or -errno."""
        parsed = (0, 0, 0, 0) if where is None else names.parse(self.runner.stack, self.runner.family, where, "sendto")
        result = int(o.sock._begin_with(data, parsed, waits))
        if where is not None:
            self.named(o, where)
        return result

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
        return self._iovec(node.fields()["msg_iov"].value)


def pattern(begin: int, count: int) -> bytes:
    """Bytes that tell where in the stream they are."""
    first = begin % PERIOD
    return (PERIODS * (1 + (first + count) // PERIOD))[first:first + count]


def _compare(node: Node, got: bytes) -> list[str]:
    if not isinstance(node, Text):
        return []
    same = got[:len(node.value)] == node.value if node.prefix else got == node.value
    return [] if same else [f"the data is {got[:60]!r}, not {node.value[:60]!r}"]


def _is_null(node: Node) -> bool:
    """Whether a buffer is NULL: Linux copies nothing to or from there (EFAULT)."""
    return isinstance(node, Name) and node.text == "NULL"
