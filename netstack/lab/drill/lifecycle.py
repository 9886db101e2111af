"""System calls that make sockets, give them names and peers, and end them."""

from __future__ import annotations

import errno
import socket as real

from ... import entry
from ...endpoint import POLLERR, POLLHUP, POLLOUT
from ...tcp.tcb import State
from .arguments import Answer, Arguments, Attempt, Open
from .script import NS, Call, Dots, Unsupported

SOL_SOCKET, SO_ERROR = int(real.SOL_SOCKET), int(real.SO_ERROR)
O_NONBLOCK = 0o4000


class Lifecycle(Arguments):
    """socket, bind, listen, accept, connect, shutdown, close, each as the method `do_NAME`."""

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
            self.runner.leave_all()
            sock.setblocking(False)
            return Answer(self.adopt(call, Open(sock, not kind & O_NONBLOCK)))
        return attempt

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
        if self.is_unspecified(self.argument(call, 1)):
            return self.on_socket(call, self._disconnect)
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

    @staticmethod
    def _disconnect(o: Open) -> Answer:
        o.sock.disconnect()
        o.written = o.read = 0
        o.patterned = True
        o.remote = None
        return Answer(0)

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
