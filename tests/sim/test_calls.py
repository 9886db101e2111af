"""Any interleaving of calls on two stacks: nothing but an OSError, no wrong byte, and everything comes back."""
from __future__ import annotations

import socket as real
import struct
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import invariants
from .net import Net, network

PORTS = (7, 8)
CALLS = ("listen", "connect", "accept", "send", "recv", "shutdown", "close", "abort", "option", "peek")
OPTIONS = ((real.IPPROTO_TCP, real.TCP_NODELAY), (real.IPPROTO_TCP, real.TCP_CORK),
           (real.SOL_SOCKET, real.SO_KEEPALIVE), (real.SOL_SOCKET, real.SO_RCVBUF),
           (real.IPPROTO_TCP, real.TCP_QUICKACK))
step = st.one_of(
    st.tuples(st.sampled_from(CALLS), st.integers(0, 1), st.integers(0, 7), st.integers(0, 6000)),
    st.tuples(st.just("advance"), st.just(0), st.just(0), st.sampled_from([0, 1, 20, 50, 300, 2000, 70_000])),
    st.tuples(st.just("loss"), st.just(0), st.just(0), st.sampled_from([0, 0, 10, 50, 100])),
)


class World:
    """The sockets of two stacks, and what each has sent and received."""

    def __init__(self, net: Net, version: int) -> None:
        self.net, self.version = net, version
        self.sockets: tuple[list[Any], list[Any]] = ([], [])
        self.sent: dict[Any, bytearray] = {}
        self.received: dict[Any, bytearray] = {}
        self.names: dict[Any, tuple[Any, Any]] = {}
        self.count = 0

    def do(self, call: str, which: int, pick: int, n: int) -> None:
        """One step; an OSError is an answer like any other."""
        if call == "advance":
            self.net.clock.advance(n / 1000)
        elif call == "loss":
            self.net.link.set(loss=n / 100)
        elif call in ("listen", "connect"):
            if len(self.sockets[which]) < 8:
                self._open(call, which, pick, n)
        elif self.sockets[which]:
            mine = self.sockets[which]
            with suppress(OSError):
                getattr(self, "_" + call)(mine[pick % len(mine)], mine, n)
        for stack in self.net.stacks:
            invariants.check(stack)

    def _add(self, sock: Any, mine: list[Any]) -> None:
        sock.setblocking(False)
        mine.append(sock)
        self.sent[sock] = bytearray()
        self.received[sock] = bytearray()

    def _open(self, call: str, which: int, pick: int, n: int) -> None:
        sock = self.net.socket(self.net.stacks[which], self.version)
        try:
            if call == "listen":
                sock.bind(("", PORTS[pick % 2]))
                sock.listen(n % 4)
            else:
                host = ("192.0.2.1", "192.0.2.2") if self.version == 4 else ("2001:db8::1", "2001:db8::2")
                sock.connect_ex((host[1 - which if n % 4 else which], PORTS[pick % 2]))
        except OSError:
            sock.close()
            return
        self._add(sock, self.sockets[which])

    def _accept(self, sock: Any, mine: list[Any], n: int) -> None:
        conn, _ = sock.accept()
        self.net.life.enter_context(conn)
        self._add(conn, mine)
        self._name(conn)

    def _name(self, sock: Any) -> None:
        self.names.setdefault(sock, (sock.getsockname()[:2], sock.getpeername()[:2]))

    def _send(self, sock: Any, mine: list[Any], n: int) -> None:
        self._name(sock)
        self.count += 1
        data = (struct.pack("!I", self.count) * (n // 4 + 1))[:n]
        self.sent[sock] += data[:sock.send(data)]

    def _recv(self, sock: Any, mine: list[Any], n: int) -> None:
        self._name(sock)
        self.received[sock] += sock.recv(n)

    def _peek(self, sock: Any, mine: list[Any], n: int) -> None:
        seen = sock.recv(n, real.MSG_PEEK)
        assert sock.recv(n, real.MSG_PEEK)[:len(seen)] == seen

    def _shutdown(self, sock: Any, mine: list[Any], n: int) -> None:
        sock.shutdown(n % 3)

    def _close(self, sock: Any, mine: list[Any], n: int) -> None:
        mine.remove(sock)
        sock.close()

    def _abort(self, sock: Any, mine: list[Any], n: int) -> None:
        sock.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
        self._close(sock, mine, n)

    def _option(self, sock: Any, mine: list[Any], n: int) -> None:
        sock.setsockopt(*OPTIONS[n % len(OPTIONS)], n if n % 2 else 0)

    def check(self) -> None:
        """What one end received is the beginning of what the other has sent."""
        by_name = {name: sock for sock, name in self.names.items()}
        assert len(by_name) == len(self.names)
        for (here, there), sock in by_name.items():
            if self.received[sock]:
                other = by_name[there, here]
                assert self.sent[other].startswith(self.received[sock]), "wrong bytes"


@given(st.lists(step, min_size=10, max_size=60), st.integers(0, 2**32), st.sampled_from([4, 6]))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_interleaving_of_calls(steps, seed, version):
    with network(seed, delay="2ms") as net:
        world = World(net, version)
        for s in steps:
            world.do(*s)
        world.check()
        net.link.clear()


@given(st.integers(0, 2**32), st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_conversation_and_any_calls(seed, data):
    """The same from a connection on, with many more bytes."""
    some = st.tuples(st.sampled_from(("send", "send", "recv", "recv", "shutdown", "close", "option")),
                     st.integers(0, 1), st.integers(0, 7), st.integers(1, 200_000))
    time = st.tuples(st.just("advance"), st.just(0), st.just(0), st.sampled_from([0, 1, 5, 50, 300]))
    with network(seed, delay="2ms", loss=0.02, reorder=0.02) as net:
        world = World(net, 4)
        world.do("listen", 0, 0, 3)
        world.do("connect", 1, 0, 1)
        world.do("advance", 0, 0, 5000)
        world.do("accept", 0, 0, 0)
        for s in data.draw(st.lists(st.one_of(some, time), max_size=60)):
            world.do(*s)
        world.check()
        net.link.clear()
