"""A link with the stack at one end and the test, segment by segment, at the other.

    def test_reset_outside_window_is_ignored(link):
        link.established(iss=999)
        link.peer_sends(RST, seq=1000 + 70000)
        link.expect_silence()

Time is virtual: nothing happens but what the test says, and `advance` lets
deadlines come.  The peer's sequence numbers are what the test gives; the stack's
are counted from its initial one, so its SYN is 0 and its first byte 1.  What
is left out of a segment of the peer follows from what was said before.
"""
from __future__ import annotations

import ctypes
import mmap
import os
import socket as real
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import netstack
import netstack.socket
from netstack.drivers import Wire
from netstack.errors import Drop
from netstack.machine import SECOND, addressof, at, table
from netstack.tcp import tcb
from netstack.tcp.tcb import CHANGES, EDGES, State

from . import codec
from .codec import ACK, FIN, ICMP, ICMP6, PSH, RST, SYN, TCP, URG, Seg

MASK = 0xFFFF_FFFF
PEER_MAC = b"\x02\x00\x00\x00\x00\x02"
ADDRESSES = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
PORT, PEER_PORT = 80, 40000
PROFILE = netstack.Profile(connections=256, sockets=64, buffers=64 << 20, neighbours=16)
FOREVER = 2 * 3600.0        # s; whatever is left of a connection ends sooner
UNSET: Any = object()
CHUNK = 64 << 10            # bytes
LIBC = ctypes.CDLL(None)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MAP_FIXED, MADV_DONTNEED = 0x10, 4      # <sys/mman.h>


class Conversation:
    """What the peer knows of one connection."""

    def __init__(self) -> None:
        self.iss: int | None = None     # the stack's
        self.sent = 0                   # end of what the stack has sent, counted from iss
        self.nxt = 0                    # the peer's next sequence number
        self.wnd = 65535                # the window field the peer sends
        self.ts: int | None = None      # the stack's last TSval; None: no timestamps
        self.wscale = 0                 # of the stack's windows
        self.offered_wscale = False
        self.offered_ts = False


@dataclass
class Picture:
    """What `Link.put_back` needs."""

    now: int        # ns
    talks: dict[tuple[int, int], Conversation]


class Link:
    """See above."""

    def __init__(self, version: int = 4, mtu: int = 1500, seed: int = 0, profile: Any = PROFILE,
                 **settings: Any) -> None:
        self.version = version
        self.ours, self.theirs = ADDRESSES[version]
        self.clock = netstack.VirtualClock(seed)
        self.stack = netstack.Stack(self.clock, profile=profile,
                                    settings={_full(name): value for name, value in settings.items()})
        self.world = self.stack._record
        self.tcp = self.world.tcp
        self.wire = Wire(mtu=mtu)
        self.wire_mac = self.wire.mac
        prefix = {"ip": f"{self.ours}/24"} if version == 4 else {"ip6": f"{self.ours}/64"}
        self.stack.attach(self.wire, dad=False, **prefix)
        self.queue: deque[Seg] = deque()        # segments that came and were not expected yet
        self.others: deque[bytes] = deque()     # other IP packets
        self.life = ExitStack()
        self.port, self.peer_port = PORT, PEER_PORT
        self.talks: dict[tuple[int, int], Conversation] = {}
        self.silent_neighbour = False
        self.server: Any = None
        self.accepted: Any = None               # what `accept` gave last
        self.log: list[str] = []
        self.fin_waits = False          # the peer's last segment was a FIN
        self.gathering = False          # what is injected waits at the device
        self.advance(0)

    # ---- the application

    def socket(self) -> Any:
        """A TCP socket that does not block."""
        sock = self.life.enter_context(self.stack.socket(real.AF_INET if self.version == 4 else real.AF_INET6))
        sock.setblocking(False)
        return sock

    def listen(self, port: int = PORT, backlog: int = 16, **options: int) -> Any:
        """A listener."""
        self.server = self.socket()
        self._set(self.server, options)
        self.server.bind(("", port))
        self.server.listen(backlog)
        self.port = port
        return self.server

    def connect(self, port: int = PEER_PORT, **options: int) -> Any:
        """A socket whose SYN is on its way to the peer."""
        sock = self.socket()
        self._set(sock, options)
        assert sock.connect_ex((self.theirs, port)) == 115      # EINPROGRESS
        self.port, self.peer_port = sock.getsockname()[1], port
        return sock

    def accept(self) -> Any:
        """The first connection that waits."""
        self.accepted = conn = self.life.enter_context(self.server.accept()[0])
        conn.setblocking(False)
        return conn

    @staticmethod
    def _set(sock: Any, options: dict[str, int]) -> None:
        for name, value in options.items():
            level = real.IPPROTO_TCP if name.startswith("TCP_") else real.SOL_SOCKET
            sock.setsockopt(level, getattr(netstack.socket, name, None) or {"TCP_USER_TIMEOUT": 18}[name], value)

    def established(self, *, active: bool = False, iss: int = 100, wnd: int = 65535, mss: int | None = 1460,
                    wscale: int | None = None, sack_ok: bool = False, ts: bool = False, port: int | None = None,
                    quick: bool = False, **options: int) -> Any:
        """A connection in ESTABLISHED, as a socket; nothing but the handshake was said.

        Its start is over, so that it delays its ACKs; `quick`: it begins as it does, with quick ACKs.
        """
        stamp = (self._peer_clock(), 0) if ts else None
        syn = {"seq": iss, "wnd": wnd, "mss": mss, "wscale": wscale, "sack_ok": sack_ok, "ts": stamp}
        if active:
            conn = self.connect(**options)
            got = self.expect(SYN)
            if ts:
                syn["ts"] = (self._peer_clock(), got.ts[0])
            self.peer_sends(SYN | ACK, ack=1, **syn)
            self.expect(ACK, seq=1, ack=iss + 1)
            return conn if quick else self.started(conn)
        if self.server is None:
            self.listen(**options)
        if port is not None:
            self.peer_port = port
        self.peer_sends(SYN, **syn)
        self.expect(SYN | ACK, ack=iss + 1)
        self.peer_sends(ACK, ack=1)
        return self.accept() if quick else self.started(self.accept())

    def started(self, conn: Any) -> Any:
        """As if text had come a moment ago and all was said about it."""
        q = self.tcb(conn).quick
        q.mss, q.quick, q.ato, q.at = self.tcb(conn).rcv_mss, 0, self.tcp.settings.tcp_delack, self.clock.now
        return conn

    def tcb(self, sock: Any) -> Any:
        """The record behind a socket."""
        return tcb.get(self.tcp, sock._handle & MASK)

    def tcp_tcbs(self) -> list[Any]:
        """Every record of a connection."""
        every = [tcb.get(self.tcp, i) for i in range(1, self.tcp.tcbs.used + 1)]
        return [t for t in every if t.ep.generation and t.ep.remote_port]

    def leap(self, sock: Any, n: int) -> None:
        """As if n bytes had been sent and acknowledged: gigabytes without sending them."""
        t = self.tcb(sock)
        assert t.snd_una == t.snd_max
        for name in ("snd_una", "snd_nxt", "snd_max", "snd_wl2"):
            setattr(t, name, (getattr(t, name) + n) & MASK)
        self.talk().iss = (self.talk().iss + n) & MASK

    def expect_mss(self) -> int:
        """The text of a full segment, as the stack expects it."""
        return 1460 if self.version == 4 else 1440

    def states(self) -> dict[int, State]:
        """The state of every connection, by the peer's port."""
        return {c.remote[1]: State[c.state.replace("-", "_")] for c in self.stack.connections()
                if c.protocol == "tcp" and c.remote}

    def state(self, port: int | None = None) -> State:
        """The state of the connection with the peer's port; CLOSED when there is none."""
        return self.states().get(port or self.peer_port, State.CLOSED)

    def counter(self, name: str) -> int:
        """One of TCP's counters."""
        return int(getattr(self.tcp.counters, name))

    def drops(self, reason: Drop) -> int:
        """How often a segment was dropped for a reason."""
        return int(self.world.net.drops[reason])

    def edges(self) -> list[tuple[State, State]]:
        """Every change of state so far."""
        return changes(self.tcp)

    # ---- the peer

    def talk(self, port: int | None = None) -> Conversation:
        """What the peer knows of the connection with its port `port`."""
        key = (self.port, port or self.peer_port)
        return self.talks.setdefault(key, Conversation())

    def peer_sends(self, flags: int = ACK, *, seq: int | None = None, ack: int | None = None, data: bytes = b"",
                   wnd: int | None = None, mss: int | None = None, wscale: int | None = None, sack_ok: bool = False,
                   ts: Any = UNSET, sack: Any = (), up: int = 0, options: bytes | None = None,
                   port: int | None = None, to: int | None = None, tos: int = 0, fo: bytes | None = None,
                   fo_exp: bool = False, more: bytes = b"") -> Seg:
        """The peer sends a segment.  `seq`: by default what follows what it sent; `ack`: all that it has received."""
        talk = self.talk(port)
        if wnd is not None:
            talk.wnd = wnd
        seg = Seg(port or self.peer_port, to or self.port, talk.nxt if seq is None else seq, 0, flags, talk.wnd, up,
                  data, mss, wscale, sack_ok, None, list(sack), fo, fo_exp, options, tos=tos, more=more)
        if flags & ACK:
            seg.ack = (talk.iss or 0) + (talk.sent if ack is None else ack)
        elif ack is not None:
            seg.ack = ack
        if flags & SYN:
            talk.offered_wscale, talk.offered_ts = wscale is not None, ts is not UNSET and ts is not None
        if ts is UNSET:
            ts = (self._peer_clock(), talk.ts) if talk.ts is not None and talk.offered_ts and not flags & RST else None
        seg.ts = ts
        seg.sack = [(talk.iss + left, talk.iss + right) for left, right in seg.sack]
        if not flags & RST:
            talk.nxt = max(talk.nxt, seg.end) if not flags & SYN else seg.end
        seg.at = self.clock.time()
        self.fin_waits = bool(flags & FIN)
        self.log.append(f"peer  {seg}")
        self.inject(codec.build(seg, codec.address(self.theirs), codec.address(self.ours)))
        return seg

    def inject(self, packet: bytes) -> None:
        """Give the stack an IP packet."""
        self.wire.inject(codec.ethernet(self.wire_mac, PEER_MAC, packet))
        self._collect()

    def icmp(self, kind: int, code: int, about: Seg, *, mtu: int = 0, quote: int = 64, seq: int | None = None) -> None:
        """A router tells of a segment that the stack sent.  `seq`: a sequence number other than its own."""
        packet = bytearray(about.packet[:(20 if self.version == 4 else 40) + quote])
        if seq is not None:
            struct.pack_into("!I", packet, (24 if self.version == 4 else 44), (self.talk().iss + seq) & MASK)
        src, dst = codec.address(self.theirs), codec.address(self.ours)
        body = struct.pack("!BBHI", kind, code, 0, mtu) + packet
        protocol, head = (ICMP, b"") if self.version == 4 else (ICMP6, codec.pseudo(src, dst, ICMP6, len(body)))
        body = body[:2] + struct.pack("!H", codec.checksum(head + body)) + body[4:]
        self.log.append(f"icmp  type {kind} code {code} mtu {mtu}")
        self.inject(codec.ip(src, dst, protocol, body))

    def _peer_clock(self) -> int:
        return (50_000 + int(self.clock.time() * 1000)) & MASK

    # ---- what the stack sends

    def expect(self, flags: int = ACK, *, seq: int | None = None, ack: int | None = None, data: bytes = b"",
               size: int | None = None, after: float | None = None, window: int | None = None, port: int | None = None,
               **fields: Any) -> Seg:
        """The stack's next segment, which must be like this; it carries no data unless `data` or `size` says so.

        `after`: nothing comes before so many seconds have passed.  `window`: its window in bytes.  PSH is
        compared only when it is asked for.  The ACK of a FIN, behind text, may wait as long as a delayed one does.
        """
        if after is not None:
            self.advance(after - 0.001)
            self.expect_silence()
            self.advance(0.001)
        self._collect()
        if not self.queue and self.fin_waits:
            self.advance(0.04)
        assert self.queue, self._story("the stack sent nothing")
        got = self.queue.popleft()
        self._note(got)
        problems = []
        ignored = 0 if flags & PSH else PSH
        if got.flags & ~ignored != flags:
            problems.append("flags")
        wanted = {"seq": seq, "ack": ack if ack is None else ack & MASK, **fields}
        if size is None:
            wanted["data"] = data
        elif len(got.data) != size:
            problems.append("size")
        if port is not None:
            wanted["dport"] = port
        for name, value in wanted.items():
            if value is not None and getattr(got, name) != value:
                problems.append(f"{name} is {getattr(got, name)!r}, not {value!r}")
        if window is not None and self.window(got) != window:
            problems.append(f"window is {self.window(got)}, not {window}")
        assert not problems, self._story(f"{', '.join(problems)}: {got}")
        return got

    def window(self, seg: Seg) -> int:
        """The window of a segment of the stack, bytes."""
        return seg.wnd << (0 if seg.flags & SYN else self.talks[(seg.sport, seg.dport)].wscale)

    def _note(self, seg: Seg) -> None:
        """Learn from a segment, and make its sequence numbers relative."""
        talk = self.talks.setdefault((seg.sport, seg.dport), Conversation())
        if seg.flags & SYN:
            if talk.iss != seg.seq:
                talk.iss, talk.sent = seg.seq, 0
            active = not seg.flags & ACK
            talk.wscale = seg.wscale if seg.wscale is not None and (talk.offered_wscale or active) else 0
        if seg.ts is not None:
            talk.ts = seg.ts[0]
        base = talk.iss or 0
        relative = (seg.seq - base) & MASK
        seg.seq = relative - (1 << 32) if relative > 1 << 31 and talk.iss is not None else relative
        if not seg.flags & RST:
            talk.sent = max(talk.sent, seg.end)

    def expect_silence(self, seconds: float = 0) -> None:
        """The stack sends nothing (for so long)."""
        self.advance(seconds)
        assert not self.queue, self._story(f"the stack was to be silent, and sent {self.queue[0]}")

    def drain(self) -> list[Seg]:
        """Everything that the stack has sent and nobody expected."""
        self._collect()
        found = list(self.queue)
        self.queue.clear()
        for seg in found:
            self._note(seg)
        return found

    def expect_packet(self) -> bytes:
        """The stack's next packet that is not TCP."""
        self._collect()
        assert self.others, self._story("no other packet")
        return self.others.popleft()

    def _story(self, problem: str) -> str:
        return "\n".join([problem, f"state {self.states()}", "so far:", *self.log[-40:]])

    # ---- time and frames

    def advance(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        target = self.clock.now + round(seconds * SECOND)
        self._collect()
        while (due := self.clock.next_event()) <= target:
            self.clock.run_until(max(due, self.clock.now))
            self._collect()
        self.clock.run_until(target)
        self._collect()

    @contextmanager
    def one_turn(self) -> Iterator[None]:
        """What the peer sends within is all there when the stack looks."""
        self.gathering = True
        yield
        self.gathering = False
        self._collect()

    def _collect(self) -> None:
        """Take what the stack has sent; answer who asks for the peer's link address."""
        if self.gathering:
            return
        self.clock.settle()
        while (frame := self.wire.sniff(0)) is not None:
            kind, packet = frame[12:14], frame[14:]
            if kind == b"\x08\x06":
                self._answer_arp(packet)
            elif packet[0] >> 4 == 6 and packet[6] == ICMP6 and packet[40] in (133, 135, 136, 143):
                self._answer_solicitation(packet)
            elif _is_of_own_groups(packet):
                pass                                    # of no interest here (tests/ip/test_groups.py)
            elif codec.split(packet)[0] == TCP:
                seg = codec.parse(packet)
                seg.at = self.clock.time()
                self.log.append(f"stack {seg}")
                self.queue.append(seg)
            else:
                self.others.append(packet)

    def _answer_arp(self, packet: bytes) -> None:
        if packet[6:8] == b"\0\1" and packet[24:28] == codec.address(self.theirs) and not self.silent_neighbour:
            reply = packet[:7] + b"\2" + PEER_MAC + packet[24:28] + packet[8:18]
            self.wire.inject(self.wire_mac + PEER_MAC + b"\x08\x06" + reply)
            self.clock.settle()

    def _answer_solicitation(self, packet: bytes) -> None:
        if packet[40] != 135 or packet[48:64] != codec.address(self.theirs) or self.silent_neighbour:
            return
        src, dst = packet[48:64], packet[8:24]
        body = struct.pack("!BBHI", 136, 0, 0, 0x6000_0000) + src + b"\2\1" + PEER_MAC
        body = body[:2] + struct.pack("!H", codec.checksum(codec.pseudo(src, dst, ICMP6, len(body)) + body)) + body[4:]
        self.wire.inject(codec.ethernet(self.wire_mac, PEER_MAC, codec.ip(src, dst, ICMP6, body, ttl=255)))
        self.clock.settle()

    # ---- once more from here

    def picture(self) -> Picture:
        """Everything as it is now: "a copy of the range is a copy of the stack" (world.py).

        The copy is mapped in the place of the original, privately: the system copies the pages that change, and
        `put_back` lets go of them.  Only the last picture can be put back.
        """
        self.drain()
        memory = self.stack._memory
        fd = os.memfd_create("picture")
        try:
            os.ftruncate(fd, memory.size)
            for offset in range(0, memory.size, CHUNK):
                chunk = ctypes.string_at(memory.address + offset, min(CHUNK, memory.size - offset))
                if any(chunk):
                    os.pwrite(fd, chunk, offset)
            got = LIBC.mmap(memory.address, memory.size, mmap.PROT_READ | mmap.PROT_WRITE,
                            mmap.MAP_PRIVATE | MAP_FIXED, fd, 0)
            assert got == memory.address
        finally:
            os.close(fd)
        return Picture(self.clock.now, deepcopy(self.talks))

    def put_back(self, picture: Picture) -> None:
        """As if nothing had happened since.  Sockets that were made or closed meanwhile are the test's own business."""
        memory = self.stack._memory
        assert LIBC.madvise(memory.address, memory.size, MADV_DONTNEED) == 0
        self.clock.now, self.talks = picture.now, deepcopy(picture.talks)
        self.queue.clear()
        self.others.clear()
        self.log.clear()

    # ---- the end

    def close(self) -> None:
        """Close everything, let whatever is left end by itself, and check that all was given back."""
        try:
            self.life.close()
            self.queue.clear()
            target = self.clock.now + round(FOREVER * SECOND)
            while self.tcp.tcbs.live and self.clock.next_event() <= target:
                self.clock.run_until(max(self.clock.next_event(), self.clock.now))
                self._collect()
            check_edges(self.edges())
            check_nothing_left(self.world)
        finally:
            self.stack.close()


def changes(tcp: Any) -> list[tuple[State, State]]:
    """Every change of state that the stack remembers."""
    n = tcp.change_count
    return [(State(c.old), State(c.new)) for c in (tcb.change_at(tcp, i) for i in range(max(0, n - CHANGES), n))]


def check_edges(edges: list[tuple[State, State]]) -> None:
    """No change of state but those of the table."""
    for old, new in edges:
        assert new in EDGES[old], f"an illegal change of state: {old.name} -> {new.name}"


def check_nothing_left(world: Any) -> None:
    """Every connection, socket, buffer, timer and port of a stack has come back."""
    tcp = world.tcp
    left = [State(tcb.get(tcp, i).state).name for i in range(1, tcp.tcbs.used + 1) if tcb.get(tcp, i).ep.generation]
    assert tcp.tcbs.live == 0, f"connections are left in {left}"
    assert world.datagrams.socks.live == 0
    assert world.net.arena.live == 0, f"{world.net.arena.live} bytes of buffers are left"
    assert tcp.timers.count == 0
    assert (tcp.rares.live, tcp.held.live) == (0, 0)
    assert not any(at(tcb.Rare, table.address(tcp.rares, 0)).snapshot()), "somebody wrote what all share"
    assert tcp.counters.time_wait == tcp.orphans.count == tcp.orphans.fin_waits == 0
    assert tcp.due_head == tcp.due_count == tcp.notify_head == 0
    for name, distance, n in (("ports", tcp.ports, 65536), ("listeners", tcp.listeners, 65536),
                              ("buckets", tcp.buckets, tcp.bucket_mask + 1)):
        assert not any(ctypes.string_at(addressof(tcp) + distance, 4 * n)), f"something is left in the {name}"


def _is_of_own_groups(packet: bytes) -> bool:
    """Whether it reports nothing but the groups of the stack's own addresses (RFC 3810, RFC 4291 2.7.1)."""
    if packet[0] >> 4 != 6 or packet[6] != 0 or packet[48] != 143:
        return False
    records = (packet[i + 4:i + 20] for i in range(56, len(packet), 20))
    return all(group.startswith(b"\xff\x02" + bytes(9) + b"\1\xff") for group in records)


def _full(name: str) -> str:
    """A setting's full name: tcp_retries2 is net.ipv4.tcp_retries2."""
    from netstack.config import SETTINGS

    with suppress(StopIteration):
        return next(full for full in SETTINGS if full.rpartition(".")[2] == name)
    raise KeyError(name)


__all__ = ["ACK", "FIN", "PSH", "RST", "SYN", "URG", "Link", "Seg", "State", "check_nothing_left"]
