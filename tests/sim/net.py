"""Two stacks on a bad link, on one virtual clock; transfers whose bytes are hashed at both ends."""
from __future__ import annotations

import hashlib
import random
import socket as real
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import netstack
from netstack.drivers import Impaired, Wire
from netstack.lab.simulation import Clock

from ..dialogues.link import changes, check_edges, check_nothing_left
from . import invariants

PROFILE = netstack.Profile(connections=512, sockets=64, buffers=256 << 20, neighbours=16)
FOREVER = 4 * 3600.0            # virtual s: a transfer that takes longer has failed
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
PORT = 7
PATIENT = {f"net.ipv4.neigh.default.{n}": 50 for n in ("mcast_solicit", "ucast_solicit")}   # ARP gets through, too


class Net:
    """Stacks `a` and `b`; what `impairments` names happens to the frames of both."""

    def __init__(self, seed: int, settings: dict[str, Any] | None = None, mtu: int = 1500, **impairments: Any) -> None:
        self.clock = Clock(seed)
        settings = {**PATIENT, **(settings or {})}
        self.life = ExitStack()
        left, right = Wire.pair(mtu=mtu)
        self.link = Impaired(left, seed=seed, **impairments)
        self.a, self.b = (self.life.enter_context(netstack.Stack(self.clock, profile=PROFILE, settings=settings))
                          for _ in range(2))
        for stack, wire, i in ((self.a, self.link, 0), (self.b, right, 1)):
            six = {"ip6": ADDRESSES[6][i] + "/64"} if mtu >= 1280 else {}
            stack.attach(wire, ip=ADDRESSES[4][i] + "/24", dad=False, **six)
        self.stacks = (self.a, self.b)

    def socket(self, stack: netstack.Stack, version: int = 4, kind: int = real.SOCK_STREAM) -> Any:
        """A socket that does not block."""
        family = real.AF_INET if version == 4 else real.AF_INET6
        sock = self.life.enter_context(stack.socket(family, kind))
        sock.setblocking(False)
        return sock

    def step(self) -> bool:
        """Let time pass to the next event.  False: there is none."""
        due = self.clock.next_event()
        if due >= 1 << 62:
            return False
        self.clock.run_until(max(due, self.clock.now))
        return True

    def finish(self) -> None:
        """Wait until every connection has ended, and check that everything was given back."""
        limit = self.clock.time() + FOREVER
        while any(s._tcp.tcbs.live for s in self.stacks) and self.clock.time() < limit and self.step():
            pass
        self.link.clear()
        self.clock.advance(60)                      # packets of the IP layer that still wait
        for stack in self.stacks:
            check_edges(changes(stack._tcp))
            check_nothing_left(stack._record)


@contextmanager
def network(seed: int, settings: dict[str, Any] | None = None, mtu: int = 1500, **impairments: Any) -> Iterator[Net]:
    """A Net that is checked after use; a failure says which seed it was."""
    net = Net(seed, settings, mtu, **impairments)
    try:
        yield net
        for sock in reversed(list(_sockets(net))):
            sock.close()
        net.finish()
    except BaseException as error:
        error.args = (f"seed {seed}, at {net.clock.time():.6f} s: {error}", *error.args[1:])
        raise
    finally:
        net.life.close()


def _sockets(net: Net) -> list[Any]:
    return [sock for stack in net.stacks for sock in stack._live_sockets()]


class End:
    """One end of a connection: sends `out`, receives, hashes."""

    def __init__(self, sock: Any, out: bytes, chance: random.Random, greedy: bool) -> None:
        self.sock, self.out, self.chance, self.greedy = sock, out, chance, greedy
        self.sent = 0
        self.received = 0
        self.hash = hashlib.sha256()
        self.over = False               # the peer has sent everything
        self.said_all = False

    def act(self) -> bool:
        """Send and receive a little.  Whether anything happened."""
        did = False
        if not self.said_all:
            did = self._send()
        if not self.over and (self.greedy or self.chance.random() < 0.3):
            did |= self._receive()
        return did

    def _send(self) -> bool:
        if self.sent == len(self.out):
            try:
                self.sock.getpeername()
            except OSError:                 # the handshake is not over
                return False
            self.sock.shutdown(real.SHUT_WR)
            self.said_all = True
            return True
        n = len(self.out) if self.greedy else self.chance.choice([1, 10, 500, 1460, 5000, 70_000])
        try:
            self.sent += self.sock.send(self.out[self.sent:self.sent + n])
        except (BlockingIOError, BrokenPipeError):
            if self.sent and self.sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR):
                raise
            return False
        return True

    def _receive(self) -> bool:
        try:
            data = self.sock.recv(1 << 20 if self.greedy else self.chance.choice([1, 100, 4096, 100_000]))
        except BlockingIOError:
            return False
        self.hash.update(data)
        self.received += len(data)
        self.over = not data
        return True

    @property
    def done(self) -> bool:
        """Everything sent, and everything received."""
        return self.said_all and self.over


def transfer(net: Net, sizes: list[tuple[int, int]], *, version: int = 4, greedy: bool = True,
             options: dict[tuple[int, int], int] | None = None, seed: int = 0, server: netstack.Stack | None = None,
             host: str = "") -> None:
    """For each pair of sizes a connection from a to b, so many bytes each way; hashes compared at the end."""
    chance = random.Random(seed)
    listener = net.socket(server or net.b, version)
    for (level, name), value in (options or {}).items():
        listener.setsockopt(level, name, value)
    listener.bind(("", PORT))
    listener.listen(64)
    clients: dict[int, End] = {}
    for out, _ in sizes:
        sock = net.socket(net.a, version)
        for (level, name), value in (options or {}).items():
            sock.setsockopt(level, name, value)
        assert sock.connect_ex((host or ADDRESSES[version][1], PORT)) == 115
        clients[sock.getsockname()[1]] = End(sock, chance.randbytes(out), chance, greedy)
    backwards = {port: back for port, (_, back) in zip(clients, sizes, strict=True)}
    servers: dict[int, End] = {}
    deadline = net.clock.time() + FOREVER
    idle = rounds = 0
    while len(servers) < len(clients) or not all(e.done for e in (*clients.values(), *servers.values())):
        busy = False
        try:
            conn, peer = listener.accept()
            conn.setblocking(False)
            net.life.enter_context(conn)
            servers[peer[1]] = End(conn, chance.randbytes(backwards[peer[1]]), chance, greedy)
            busy = True
        except BlockingIOError:
            pass
        for end in (*clients.values(), *servers.values()):
            busy |= end.act()
        net.clock.settle()
        rounds += 1
        if rounds % 16 == 0:
            for stack in net.stacks:
                invariants.check(stack)
        idle = 0 if busy else idle + 1
        if (not busy or chance.random() < 0.2) and not net.step():
            assert idle < 200, "nothing is due, nobody has anything to do, and the transfer is not over"
        assert net.clock.time() < deadline, "the transfer does not come to its end"
    for port, client in clients.items():
        for one, other in ((client, servers[port]), (servers[port], client)):
            assert one.received == len(other.out)
            assert one.hash.digest() == hashlib.sha256(other.out).digest(), "wrong bytes"
