"""One stack, thousands of random events: `python -m tests.twin.run SEED STEPS` prints a hash every so often.

The events come from the seed and from what the stack sent, so two runs stay
the same as long as the stack does the same; the first line that differs says
where it did not.
"""
from __future__ import annotations

import ctypes
import hashlib
import random
import struct
import sys
from typing import Any

import netstack
from netstack import entry
from netstack.drivers import Wire
from netstack.ip.address import from_v4
from netstack.machine import addressof, sizeof
from netstack.world import World

from ..dialogues import codec
from ..dialogues.codec import ACK, FIN, PSH, RST, SYN, URG, Seg
from ..dialogues.link import changes, check_edges, check_nothing_left
from ..sim import invariants

PROFILE = netstack.Profile(connections=64, sockets=24, runs=1024, buffers=48 << 20, neighbours=12)
EVERY = 100                 # steps between two lines
PEER_MAC = b"\x02\0\0\0\0\2"
ADDRESSES = (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"))
FLAGS = (SYN, *[ACK] * 12, ACK | PSH, ACK | FIN, ACK | FIN, RST, RST | ACK, SYN | ACK, FIN, ACK | URG, 0, SYN | FIN,
         255)
CALLS = ("open", "open", "bind", "listen", "connect", "connect", "accept", "accept", *["send"] * 4, *["recv"] * 4,
         "available", "sendto", "sendto", "recvfrom", "poll", "shutdown", "disconnect", "close", "close", "get_option",
         "set_option", "local", "peer", "state")
BYTES_CALLS = ("send", "recv", "sendto", "recvfrom", "accept", "local", "peer")    # arguments that are addresses
OPTIONS = tuple(level << 16 | n for level, names in (
    (1, (2, 3, 4, 6, 7, 8, 9, 10, 13, 15, 18, 30, 99)), (6, (1, 2, 3, 4, 5, 6, 7, 12, 18, 99)), (0, (1, 2, 10, 14)),
    (41, (16, 23, 26, 67))) for n in names)
PORTS = (7, 9, 80, 5000, 5001)
COUNTERS = ("tcp.counters", "datagrams.counters", "net.rng", "tcp.rng", "net.arena", "tcp.tcbs", "datagrams.socks")


class Run:
    """The stack, the chance, and a hash of everything it has said and done."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = netstack.VirtualClock(seed)
        self.stack = netstack.Stack(self.clock, profile=PROFILE)
        self.world = self.stack._world
        self.wire = Wire(mac="02:00:00:00:00:01", mtu=1500)
        self.stack.attach(self.wire, ip="192.0.2.1/24", ip6="2001:db8::1/64", gateway="192.0.2.254")
        self.hash = hashlib.sha256()
        self.handles = [0, 1 << 56 | 5]
        self.memory = ctypes.create_string_buffer(self.chance.randbytes(1 << 17), 1 << 17)
        self.address = ctypes.addressof(self.memory)
        self.heard: list[Seg] = []          # segments that the stack sent lately
        self.frames: list[bytes] = []       # frames of both directions, to be spoilt
        self.kinds: dict[str, int] = {}
        self.servers: list[int] = []
        self.serve()

    def serve(self) -> None:
        """Listeners and bound sockets, where there are none."""
        for kind, family, port in ((1, 2, 7), (1, 10, 80), (2, 2, 9), (2, 10, 5000)):
            h = entry.open(self.world, kind, family, 0)
            if h < 0 or entry.bind(self.world, h, 0, 0, port) < 0:
                entry.close(self.world, h)
                continue
            if kind == 1:
                entry.listen(self.world, h, 3)
            self.servers = [*self.servers[-7:], h]

    def note(self, *values: Any) -> None:
        """Something that the other run must say as well."""
        self.hash.update(repr(values).encode())

    def step(self) -> None:
        """One event."""
        act = self.chance.choices((self.call, self.segment, self.other, self.garbage, self.advance, self.arp,
                                   self.converse), (40, 40, 8, 8, 12, 2, 6))[0]
        self.kinds[act.__name__] = self.kinds.get(act.__name__, 0) + 1
        act()
        self.listen()

    def listen(self) -> None:
        """Take what the stack has sent."""
        self.clock.settle()
        while (frame := self.wire.sniff(0)) is not None:
            self.note(self.clock.now, frame)
            self.frames = [*self.frames[-30:], frame]
            if frame[12:14] in (b"\x08\0", b"\x86\xdd") and codec.split(frame[14:])[0] == codec.TCP:
                if frame[14] >> 4 == 6 or not int.from_bytes(frame[20:22], "big") & 0x3FFF:     # no fragment
                    self.heard = [*self.heard[-20:], *(s for s in [codec.parse(frame[14:])] if not s.flags & RST)]
            elif frame[:1] in (b"\xff", b"\x33") and self.chance.random() < 0.7:
                self.arp()                  # it asks for the peer, or might
                self.clock.settle()

    # ---- calls

    def handle(self) -> int:
        return self.chance.choice(self.handles[-8:] if self.chance.random() < 0.6 else self.servers)

    def place(self) -> tuple[int, int, int, int]:
        """An address: hi, lo, port, scope."""
        c = self.chance
        hi, lo = c.choice([(0, from_v4(0xC000_0202)), (0, from_v4(0xC000_0202)), (0, from_v4(0x7F00_0001)), (0, 1),
                           (0x2001_0DB8 << 32, 2), (0x2001_0DB8 << 32, 2), (0, 0), (0, from_v4(0xC000_02FF)),
                           (0, from_v4(0x0808_0808)), (0, from_v4(0xC000_0201))])
        return hi, lo, c.choice([*PORTS, 0]), c.choice([0, 0, 0, 1, 2])

    def call(self) -> None:
        c, w, h = self.chance, self.world, self.handle()
        n = c.choice([0, 1, 100, 1460, 5000, 60_000, 1 << 17])
        at = self.address + c.randrange((1 << 17) - n + 1)
        flags = c.choice([0, 0, 0, 0x40, 1, 2, 0x20, 0x8000, 0x100, 1 << 20])
        deadline = c.choice([0, 1 << 62])                   # on a virtual clock no call waits by itself
        what = c.choice(CALLS)
        if what in ("close", "shutdown", "connect", "disconnect") and h in self.servers and c.random() < 0.95:
            what = "accept"
        out = ctypes.create_string_buffer(64)
        where = ctypes.addressof(out)
        hi, lo, port, scope = self.place()
        arguments: tuple[int, ...] = {
            "open": (c.choice([1, 1, 1, 1, 2, 2, 3, 5, 6, 9]), c.choice([2, 2, 10, 1]),
                     c.choice([3, 17, 1, 253, 0x1_0800])),
            "bind": (h, *c.choice([(0, 0), (hi, lo), (0, from_v4(0xC000_0201))]), port),
            "listen": (h, c.randrange(-1, 4)),
            "connect": (h, hi, lo, port, scope),
            "send": (h, at, n, flags),
            "recv": (h, self.address, n, flags, deadline),
            "sendto": (h, at, min(n, 9000), flags, hi, lo, port, scope),
            "recvfrom": (h, self.address, n, flags, where, deadline),
            "accept": (h, where, deadline),
            "shutdown": (h, c.randrange(-1, 4)),
            "get_option": (h, c.choice(OPTIONS)),
            "set_option": (h, c.choice(OPTIONS), c.choice([-1, 0, 1, 2, 10, 100, 5000])),
            "local": (h, where),
            "peer": (h, where),
        }.get(what, (h,))
        if what in ("sendto", "send") and c.random() < 0.1:
            ctypes.memmove(at, c.choice([b"\x08\0", b"\x80\0"]), min(n, 2))       # for ping sockets
        result = int(getattr(entry, what)(w, *arguments))
        if what in ("open", "accept") and result > 0:
            self.handles.append(result)
        self.note(what, n if what in BYTES_CALLS else arguments[1:], result, out.raw)
        if what in ("recv", "recvfrom") and result > 0:
            self.note(self.memory.raw[:result])

    # ---- frames

    def inject(self, frame: bytes) -> None:
        self.frames = [*self.frames[-30:], frame]
        if len(frame) >= 14:
            self.wire.inject(frame)

    def packet(self, packet: bytes) -> None:
        self.inject(codec.ethernet(self.wire.mac, PEER_MAC, packet))

    def segment(self) -> None:
        """A segment, often one that fits to what the stack has said."""
        c = self.chance
        options = {"mss": c.choice([None, 1460, 536, 1]), "wscale": c.choice([None, 0, 7, 15]),
                   "sack_ok": c.random() < 0.5,
                   "ts": c.choice([None, None, (self.clock.now // 1_000_000 & 0xFFFF_FFFF, c.getrandbits(32))]),
                   "data": c.choice([b"", b"", b"x", c.randbytes(100), c.randbytes(1400)]),
                   "wnd": c.choice([0, 100, 5000, 65535, 65535]), "up": c.choice([0, 1, 500])}
        if self.heard and c.random() < 0.85:
            last = c.choice(self.heard[-6:])
            src, dst = (a for a in (codec.split(last.packet)[2], codec.split(last.packet)[1]))
            delta = c.choice([0] * 8 + [1, -1, 100, 1400, -100, 70_000, -70_000, c.getrandbits(32)])
            acked = c.choice([0] * 6 + [-1, 1, -100, 2000, c.getrandbits(32)])
            flags = c.choice(FLAGS)
            if last.flags & SYN and c.random() < 0.8:
                flags, delta, acked = (ACK if last.flags & ACK else SYN | ACK), 0, 0
            if last.ts and options["ts"]:
                options["ts"] = options["ts"][0], last.ts[0]
            seg = Seg(last.dport, last.sport, last.ack + delta, last.end + acked, flags, **options)
            if c.random() < 0.1:
                seg.sack = [(last.end + 100, last.end + 200)]
                seg.wscale = seg.mss = None
                seg.sack_ok = False
            self.packet(codec.build(seg, src, dst))
            return
        dst, src = (codec.address(a) for a in c.choice(ADDRESSES))
        seg = Seg(c.randrange(40_000, 40_050), c.choice((7, 7, 80, 80, *PORTS)), c.getrandbits(32), c.getrandbits(32),
                  c.choice([SYN, SYN, SYN, *FLAGS]), **options)
        self.packet(codec.build(seg, src, dst))

    def converse(self) -> None:
        """A whole handshake, and a little text each way."""
        c = self.chance
        dst, src = (codec.address(a) for a in c.choice(ADDRESSES))
        port, iss = c.randrange(40_000, 65_000), c.getrandbits(32)
        syn = Seg(port, 7 if len(dst) == 4 else 80, iss, 0, SYN, mss=1460, wscale=7, sack_ok=True,
                  ts=c.choice([None, (self.clock.now // 1_000_000 & 0xFFFF_FFFF, 0)]))
        self.packet(codec.build(syn, src, dst))
        self.listen()
        answers = [s for s in self.heard if s.dport == port and s.flags & SYN]
        if not answers:
            return
        ts = (syn.ts[0], answers[-1].ts[0]) if syn.ts else None
        text = c.randbytes(c.choice([0, 1, 500, 1400]))
        self.packet(codec.build(Seg(port, syn.dport, iss + 1, answers[-1].seq + 1, ACK, ts=ts, data=text), src, dst))
        self.listen()
        for server in self.servers:
            h = entry.accept(self.world, server, 0, 0)
            if h > 0:
                self.handles.append(h)
                self.note(entry.send(self.world, h, self.address, c.choice([1, 3000, 50_000]), 0))

    def other(self) -> None:
        """UDP, echo, or an ICMP error about a frame of the stack."""
        c = self.chance
        ours, theirs = (codec.address(a) for a in c.choice(ADDRESSES))
        v4 = len(ours) == 4
        what = c.choice(["udp", "udp", "echo", "reply", "error"])
        if what == "udp":
            data = c.randbytes(c.choice([0, 3, 200]))
            body = struct.pack("!HHHH", 5000, c.choice(PORTS), 8 + len(data), 0) + data
            field = codec.checksum(codec.pseudo(theirs, ours, codec.UDP, len(body)) + body) or 0xFFFF
            self.packet(codec.ip(theirs, ours, codec.UDP, body[:6] + struct.pack("!H", field) + body[8:]))
            return
        kind, code, rest = 0, 0, struct.pack("!HH", c.choice([0, 1, 7]), 1) + c.randbytes(20)
        if what == "echo":
            kind = 8 if v4 else 128
        elif what == "reply":
            kind = 0 if v4 else 129
        else:
            kind, code = c.choice([(3, 0), (3, 1), (3, 3), (3, 4), (11, 0)] if v4 else [(1, 0), (1, 4), (2, 0), (3, 0)])
            about = [f for f in self.frames if f[12:14] == (b"\x08\0" if v4 else b"\x86\xdd")]
            quoted = c.choice(about)[14:14 + c.choice([27, 60, 80])] if about else b""
            rest = struct.pack("!I", c.choice([0, 68, 1300])) + quoted
        body = struct.pack("!BBH", kind, code, 0) + rest
        head = b"" if v4 else codec.pseudo(theirs, ours, codec.ICMP6, len(body))
        body = body[:2] + struct.pack("!H", codec.checksum(head + body)) + body[4:]
        self.packet(codec.ip(theirs, ours, codec.ICMP if v4 else codec.ICMP6, body))

    def arp(self) -> None:
        """The peer tells its link address."""
        me, you = (codec.address(ADDRESSES[0][i]) for i in (0, 1))
        self.inject(self.wire.mac + PEER_MAC + b"\x08\x06\0\1\x08\0\6\4\0\2" + PEER_MAC + you + self.wire.mac + me)
        me, you = (codec.address(ADDRESSES[1][i]) for i in (0, 1))
        body = struct.pack("!BBHI", 136, 0, 0, 0x6000_0000) + you + b"\2\1" + PEER_MAC
        field = codec.checksum(codec.pseudo(you, me, codec.ICMP6, len(body)) + body)
        body = body[:2] + struct.pack("!H", field) + body[4:]
        self.packet(codec.ip(you, me, codec.ICMP6, body, ttl=255))

    def garbage(self) -> None:
        """Bytes, or a frame of either direction, spoilt."""
        c = self.chance
        if not self.frames or c.random() < 0.2:
            kind = c.choice([b"\x08\0", b"\x86\xdd", b"\x08\x06"])
            self.inject(self.wire.mac + PEER_MAC + kind + c.randbytes(c.randrange(90)))
            return
        frame = bytearray(c.choice(self.frames))
        how = c.randrange(4)
        if how == 0:
            frame = frame[:c.randrange(14, len(frame) + 1)]
        elif how == 1:
            frame[c.randrange(12, len(frame))] ^= 1 << c.randrange(8)
        elif how == 2:
            frame += c.randbytes(c.randrange(1, 50))
        frame[0:6] = self.wire.mac
        self.inject(bytes(frame))

    def advance(self) -> None:
        """Time passes."""
        self.clock.advance(self.chance.choice([0, 0.001, 0.04, 0.2, 1, 3, 61]))
        self.note(self.clock.now)
        while len(self.handles) > 24:
            self.note(entry.close(self.world, self.handles.pop(0)))
        if self.chance.random() < 0.1:
            self.serve()

    # ---- state

    def line(self) -> str:
        """The hashes so far: what was said, and the state."""
        return f"{self.hash.hexdigest()[:24]} {self.state()[:24]}"

    def state(self) -> str:
        """A hash of the tables, the timers, the buffers and the counters: all that refers to itself by distance."""
        w = self.stack._record
        digest = hashlib.sha256()
        base = addressof(w)
        arena = w.net.arena
        buffers = addressof(arena) + arena.start
        begin = (sizeof(World) + 4095) & -4096
        digest.update(ctypes.string_at(base + begin, buffers + arena.used - base - begin))
        for name in COUNTERS:
            record = w
            for part in name.split("."):
                record = getattr(record, part)
            digest.update(ctypes.string_at(addressof(record), _size(name)))
        digest.update(repr([w.net.drops[i] for i in range(112)]).encode())
        digest.update(repr([w.tcp.due_count, w.tcp.generation, w.tcp.port_step, w.tcp.change_count]).encode())
        return digest.hexdigest()


    def finish(self) -> None:
        """Close everything: nothing is left of it, two hours later."""
        for h in (*self.handles, *self.servers):
            entry.close(self.world, h)
        self.clock.advance(7200)
        check_edges(changes(self.stack._tcp))
        check_nothing_left(self.stack._record)


def _size(name: str) -> int:
    """Bytes of the record with this name in the World."""
    layout = World._layout_
    *path, last = name.split(".")
    for part in path:
        layout = layout[part].kind._layout_
    return int(sizeof(layout[last].kind))


def main(seed: int, steps: int) -> None:
    """Print a line every EVERY steps."""
    run = Run(seed)
    for i in range(1, steps + 1):
        run.step()
        if i % EVERY == 0:
            print(i, run.line(), flush=True)
            invariants.check(run.stack)
    run.finish()
    print({k: v for k, v in run.stack.stats().items() if v}, run.stack.drops(), run.kinds)
    run.stack.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
