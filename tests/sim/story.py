"""A story: what two applications do to one connection, when, and over what link.

It is drawn by hypothesis or made from a number, it can be written as one line of
text and read again, and it is told on two stacks in virtual time, where it always
goes the same way.  However it goes, this must hold:

* what one end reads is the beginning of what the other has written;
* an end that is told of the end without an error has read all, and the other has said that this was all;
* each end that has not closed is told of the end, or of an error, within FOREVER;
* every connection comes to CLOSED, and its memory, timers and ports come back.
"""
from __future__ import annotations

import errno
import hashlib
import random
import socket as real
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from netstack.lab.simulation import Simulation

from ..dialogues.link import changes, check_edges, check_nothing_left
from . import invariants

PORT = 7
FOREVER = 3600.0            # virtual s, from the last step on
LEFTOVERS = 600.0           # ... and until nothing is left of it
CALLS = ("send", "send", "send", "recv", "recv", "pause", "resume", "shutdown", "close", "abort", "nodelay", "loss")
WAITS = (0, 0, 0, 1, 5, 20, 41, 200, 1000, 10_000, 70_000)      # ms
SIZES = (1, 10, 500, 1460, 3000, 20_000, 100_000)
MOST = 300_000              # bytes that one end writes
LINKS = {
    "loss": (0, 0, 0.01, 0.1, 0.3), "reorder": (0, 0, 0.05, 0.3), "duplicate": (0, 0, 0.05, 0.3),
    "corrupt": (0, 0, 0.02, 0.1), "jitter": (0, 0, 0.002), "rtt": (0, 0.001, 0.02, 0.2),
    "rate": (0, 0, 300_000, 10_000_000), "mtu": (1500, 1500, 576, 9000), "buffer": (0, 0, 3000, 20_000),
}
SETTINGS = {"tcp_sack": (1, 1, 0), "tcp_timestamps": (1, 1, 0), "tcp_window_scaling": (1, 1, 0),
            "tcp_retries2": (15, 15, 5)}
KEEPALIVE = {real.TCP_KEEPIDLE: 30, real.TCP_KEEPINTVL: 10, real.TCP_KEEPCNT: 6}


@dataclass(frozen=True)
class Step:
    """After `wait` ms one application ("a" or "b") does something."""

    wait: int
    who: str
    call: str
    size: int

    def __str__(self) -> str:
        return f"{self.wait}:{self.who}.{self.call}.{self.size}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """From what str() gives."""
        wait, _, rest = text.partition(":")
        who, call, size = rest.split(".")
        if who not in ("a", "b") or call not in CALLS:
            raise ValueError(f"no step: {text!r}")
        return cls(int(wait), who, call, int(size))


@dataclass(frozen=True)
class Story:
    """A seed, what the link does to frames, settings of both stacks, and the steps."""

    seed: int
    link: tuple[tuple[str, float], ...]
    settings: tuple[tuple[str, int], ...]
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        options = ",".join(f"{name}={value:g}" for name, value in (*self.link, *self.settings))
        return "/".join([str(self.seed), options, *map(str, self.steps)])

    @classmethod
    def parse(cls, text: str) -> Story:
        """From what str() gives, or from a number."""
        if text.isdecimal():
            return cls.random(int(text))
        seed, options, *steps = text.split("/")
        pairs = [option.split("=") for option in options.split(",") if option]
        return cls(int(seed), tuple((n, float(v)) for n, v in pairs if n in LINKS),
                   tuple((n, int(v)) for n, v in pairs if n in SETTINGS), tuple(map(Step.parse, steps)))

    @classmethod
    def random(cls, seed: int) -> Story:
        """The story with a number."""
        chance = random.Random(seed)
        steps = tuple(Step(chance.choice(WAITS), chance.choice("ab"), chance.choice(CALLS), chance.choice(SIZES))
                      for _ in range(chance.randrange(40)))
        return cls(seed, tuple((name, float(chance.choice(values))) for name, values in LINKS.items()),
                   tuple((name, chance.choice(values)) for name, values in SETTINGS.items()), steps)

    @property
    def command(self) -> str:
        """What tells it again."""
        return f"python -m tests.sim.replay {self}"


class Peer:
    """The application at one end."""

    def __init__(self, name: str, sock: Any, text: bytes) -> None:
        self.name, self.sock, self.text = name, sock, text
        self.written = 0
        self.read = bytearray()
        self.paused = False         # reads only when told to
        self.said_all = False       # its FIN follows what it has written
        self.aborted = False        # closed so that the peer is reset, or may be
        self.closed = False
        self.clean = False          # was told of the end
        self.error = 0              # ... or of an error

    def do(self, call: str, size: int) -> str:
        """One call: its result, for the log."""
        if self.closed:
            return "closed"
        try:
            return str(getattr(self, call)(size))
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.ENOTCONN, errno.EPIPE, errno.EINPROGRESS):
                self.error = self.error or e.errno or -1
            return errno.errorcode.get(e.errno or 0, "?")

    def send(self, size: int) -> int:
        """Write, if it may still."""
        n = self.sock.send(self.text[self.written:min(self.written + size, MOST)])
        self.written += n
        return int(n)

    def recv(self, size: int) -> str:
        """Read."""
        data = self.sock.recv(size)
        self.read += data
        if not data and not self.error:
            self.clean = True
        return f"{len(data)}"

    def pause(self, size: int) -> None:
        """Read no more until told otherwise."""
        self.paused = True

    def resume(self, size: int) -> None:
        """Read whatever there is."""
        self.paused = False

    def shutdown(self, size: int) -> None:
        """No more will be written."""
        self.sock.getpeername()             # else it would give up connecting, and nobody would tell it so
        self.sock.shutdown(real.SHUT_WR)
        self.said_all = True

    def nodelay(self, size: int) -> None:
        """Small segments go at once."""
        self.sock.setsockopt(real.IPPROTO_TCP, real.TCP_NODELAY, size % 2)

    def close(self, size: int) -> None:
        """As close(2): what was written is still delivered; what was not read is lost, and the peer is told."""
        self.said_all = self.closed = True
        self.sock.close()

    def abort(self, size: int) -> None:
        """Close with a reset."""
        self.sock.setsockopt(real.SOL_SOCKET, real.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.aborted = self.closed = True

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.closed or bool(self.error) or self.clean


class Told:
    """A story while it is told."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.log: list[str] = []
        self.finished = False
        link = dict(story.link)
        impairments = {name: link.get(name, 0.0) for name in ("loss", "reorder", "duplicate", "corrupt", "jitter")}
        settings = {f"net.ipv4.{name}": value for name, value in story.settings}
        self.sim = Simulation(story.seed, rtt=link.get("rtt", 0.0), rate=link.get("rate") or None,
                              mtu=int(link.get("mtu", 1500)), settings=settings, ordered=False, **impairments)
        self.sim.worsen()
        chance = random.Random(story.seed)
        self.buffer = int(link.get("buffer", 0))
        self.listener = self._socket(self.sim.b)
        self.listener.bind(("", PORT))
        self.listener.listen()
        self.a = Peer("a", self._socket(self.sim.a), chance.randbytes(MOST))
        self.b = Peer("b", None, chance.randbytes(MOST))
        self.b.closed = True                    # until it is there
        self.accepted = False
        self.a.sock.connect_ex(("192.0.2.2", PORT))

    def _socket(self, stack: Any) -> Any:
        sock = stack.socket(real.AF_INET, real.SOCK_STREAM)
        sock.setblocking(False)
        if self.buffer:
            for name in (real.SO_RCVBUF, real.SO_SNDBUF):
                sock.setsockopt(real.SOL_SOCKET, name, self.buffer)
        sock.setsockopt(real.SOL_SOCKET, real.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            sock.setsockopt(real.IPPROTO_TCP, name, value)
        return sock

    def note(self, text: str) -> None:
        """A line of the log."""
        self.log.append(f"{self.sim.time():14.9f} {text}")

    def tell(self) -> None:
        """The whole of it."""
        for step in self.story.steps:
            self.pass_time(step.wait / 1000)
            if step.call == "loss":
                self.sim.impair(loss=(0, 0.1, 0.5, 1)[step.size % 4])
                continue
            peer = self.a if step.who == "a" else self.b
            self.note(f"{step} {peer.do(step.call, step.size)}")
        self.finish()

    def pass_time(self, seconds: float) -> None:
        """Time passes; b accepts, and who is not paused reads."""
        self.sim.run(seconds)
        if not self.accepted:
            with suppress(OSError):
                self.b.sock = self.listener.accept()[0]
                self.b.sock.setblocking(False)
                self.b.closed = False
                self.accepted = True
                self.note("b accepts")
        for peer in (self.a, self.b):
            while not peer.paused and not peer.over and (got := peer.do("recv", 1 << 16)).isdecimal():
                self.note(f"{peer.name} reads {got}")
                if got == "0":
                    break
        self.look()

    def look(self) -> None:
        """What must hold at any time."""
        for one, other in ((self.a, self.b), (self.b, self.a)):
            assert other.text[:other.written].startswith(one.read), f"{one.name} reads what was not written"
        for stack in self.sim.stacks:
            invariants.check(stack)

    def finish(self) -> None:
        """Whoever is left says that it has written all, and reads until it is told of the end, or of an error."""
        deadline = self.sim.time() + FOREVER
        wait = 0.0
        for peer in (self.a, self.b):
            peer.paused = False
        while True:
            self.pass_time(wait)
            for peer in (self.a, self.b):
                if not peer.closed and not peer.said_all and not peer.error:
                    peer.do("shutdown", 0)
            if all(self._is_over(peer) for peer in (self.a, self.b)) and (self.accepted or self.a.closed or wait > 99):
                break
            assert self.sim.time() < deadline, f"no end: {[c for s in self.sim.stacks for c in s.connections()]}"
            wait = min(max(wait * 1.5, 0.01), 100.0)
        self.note(f"a: {self._outcome(self.a)}; b: {self._outcome(self.b)}")
        self.judge()
        self.clean_up()

    def _is_over(self, peer: Peer) -> bool:
        """Whether the application has been told how it ended, or does not care, and TCP has nothing left to do."""
        if peer.closed:
            return True
        if peer.error == 0:
            peer.error = peer.sock.getsockopt(real.SOL_SOCKET, real.SO_ERROR)
        return peer.over and self._state(peer) in ("TIME-WAIT", "CLOSED")

    def _state(self, peer: Peer) -> str:
        stack = self.sim.a if peer is self.a else self.sim.b
        name = peer.sock.getsockname()[:2]
        return next((c.state for c in stack.connections() if c.remote and c.local == name), "CLOSED")

    @staticmethod
    def _outcome(peer: Peer) -> str:
        end = "closed" if peer.closed else errno.errorcode.get(peer.error, "") or "the end"
        return f"{peer.written} written, {len(peer.read)} read, {end}"

    def judge(self) -> None:
        """Nobody takes a part for the whole."""
        for one, other in ((self.a, self.b), (self.b, self.a)):
            if one.closed or one.error or not self.accepted:
                continue
            assert one.clean
            assert other.said_all, f"{one.name} was told of an end that {other.name} has not said"
            assert len(one.read) == other.written, f"{one.name} has read a part, and was told that it is the whole"
        for one, other in ((self.a, self.b), (self.b, self.a)):
            if self.accepted and not one.closed and not other.closed and len(one.read) < other.written:
                assert one.error, f"{one.name} does not know what is missing"
                assert other.error, f"{other.name} does not know that it was not all read"

    def clean_up(self) -> None:
        """Every connection ends, and everything comes back."""
        for sock in (self.a.sock, self.b.sock, self.listener):
            if sock is not None:
                sock.close()
        deadline = self.sim.time() + FOREVER
        while any(stack._tcp.tcbs.live for stack in self.sim.stacks):
            assert self.sim.time() < deadline, [c for s in self.sim.stacks for c in s.connections()]
            self.sim.run(10)
        self.sim.impair(loss=0)
        self.sim.run(LEFTOVERS)
        for stack in self.sim.stacks:
            check_edges(changes(stack._tcp))
            check_nothing_left(stack._record)
            counted = sorted((name, n) for name, n in stack.stats().items() if n)
            self.note(f"{stack.name} {hashlib.sha256(repr(counted).encode()).hexdigest()[:16]}")
        self.finished = True


def tell(story: Story) -> list[str]:
    """Tell a story: its log.  AssertionError, with the command that tells it again, if something did not hold."""
    told = Told(story)
    try:
        with told.sim:
            told.tell()
    except BaseException as e:
        lines = "\n".join(told.log[-30:])
        e.args = (f"{e}\nseed {story.seed}; replay with {story.command}\n{lines}", *e.args[1:])
        raise
    return told.log
