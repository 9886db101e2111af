"""A host without a transport: the IP layer over memory, given frames one by one.

All its memory is one block, the received frame at the very end of it, so that
with `fenced` a read or write anywhere else is found (NUMBA_BOUNDSCHECK=1).
"""
from __future__ import annotations

import ctypes
import ipaddress
from contextlib import contextmanager

from netstack.drivers.base import Kind
from netstack.errors import Drop
from netstack.ip import input, membership, reassembly, setup, timeouts
from netstack.ip.net import Net, Verdict
from netstack.machine import SECOND, addressof, arena, at, frames, memory, sizeof, timers
from netstack.machine.frames import Frames

MAC = 0x02_00_00_00_00_01
PEER_MAC = 0x02_00_00_00_00_02
V4, PEER_V4 = "192.0.2.1", "192.0.2.2"
V6, PEER_V6 = "2001:db8::1", "2001:db8::2"
ARENA = 2 << 20
QUEUE = 1 << 18
FRAME = 1 << 17
START = 1000 * SECOND
SIZES = setup.Sizes(neighbours=16)
SEED = (0x1234_5678 << 128) | 0x9E37_79B9_7F4A_7C15_D6E8_FEB8_6659_FD93


def halves(text: str) -> tuple[int, int]:
    """(hi, lo) of an address, as the stack keeps it."""
    address = ipaddress.ip_address(text)
    packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    return int.from_bytes(packed[:8], "big", signed=True), int.from_bytes(packed[8:], "big", signed=True)


def text(hi: int, lo: int) -> str:
    """The address of two halves."""
    address = ipaddress.IPv6Address((hi % 2**64) << 64 | lo % 2**64)
    return str(address.ipv4_mapped or address)


def mac_text(mac: int) -> str:
    return ":".join(f"{b:02x}" for b in mac.to_bytes(6, "big"))


class Host:
    """192.0.2.1 and 2001:db8::1 on one Ethernet; what it sends is in `sent()`."""

    def __init__(self, dad: bool = False) -> None:
        parts = [sizeof(Net), setup.space(SIZES), frames.space(QUEUE), ARENA, FRAME]
        starts = [0]
        for n in parts:
            starts.append((starts[-1] + n + 63) & -64)
        self.memory = ctypes.create_string_buffer(starts[-1] + 64)
        base = (ctypes.addressof(self.memory) + 63) & -64
        self.base, self.end = base, base + starts[-1]
        self.now = START
        self.net = net = at(Net, base)
        setup.init(net, base + starts[1], SEED, SIZES)
        net.settings.arp_announcements = 0
        net.settings.dad_transmits = 1 if dad else 0
        arena.init(net.arena, base + starts[3], ARENA)
        self.index = setup.add_interface(net, 1500, MAC, True)
        self.iface = net.interfaces[self.index]
        self.queue = at(Frames, base + starts[2])
        frames.init(self.queue, QUEUE)
        self.iface.device.kind = Kind.WIRE
        self.iface.device.tx = addressof(self.queue)
        self.iface.device.rx = addressof(self.queue)
        for address, prefix in ((V4, 96 + 24), (V6, 64)):
            assert setup.add_address(net, self.index, *halves(address), prefix, self.now) == 0
        self.say_no_groups()

    def say_no_groups(self) -> None:
        """Of the groups of its addresses nothing is told: that is for tests/ip/test_groups.py."""
        for i in range(1, self.net.groups.used + 1):
            if membership.get(self.net, i).interface:
                membership.release(self.net, i)
        for i in range(1, self.net.interface_count + 1):
            self.net.interfaces[i].mld.change_at = 0
            timers.disarm(self.net.timers, self.net.group_slot + i)

    def receive(self, frame: bytes, release: bool = True) -> int:
        """Give it a frame; what `ip.input.receive` makes of it."""
        p = self.end - len(frame)
        ctypes.memmove(p, bytes(frame), len(frame))
        verdict = input.receive(self.net, self.iface, p, len(frame), self.now)
        if release:
            reassembly.release(self.net)
        return verdict

    def sent(self) -> list[bytes]:
        """The frames that it has sent since the last call."""
        found = []
        while (frame := frames.peek(self.queue)) != 0:
            found.append(ctypes.string_at(frame, frames.length(frame)))
            frames.drop(self.queue)
        return found

    def advance(self, seconds: float) -> list[int]:
        """Let time pass, one deadline at a time.  The verdicts that were not DONE."""
        end = self.now + int(seconds * SECOND)
        verdicts = []
        while (soonest := timeouts.next_deadline(self.net)) <= end:
            self.now = max(self.now, soonest)
            while (verdict := timeouts.expire(self.net, self.now)) != Verdict.DONE:
                verdicts.append(verdict)
        self.now = end
        return verdicts

    def payload(self) -> bytes:
        """What net.rx describes, from the transport header on."""
        return ctypes.string_at(self.net.rx.payload, self.net.rx.length)

    def header(self) -> bytes:
        """... and its IP headers."""
        return ctypes.string_at(self.net.rx.header, self.net.rx.payload - self.net.rx.header)

    def drops(self) -> dict[str, int]:
        """The reasons counted, by name."""
        return {reason.name: self.net.drops[reason] for reason in Drop if self.net.drops[reason]}

    def learn_peer(self) -> None:
        """Put the peer's link address into the neighbour cache, for both protocols."""
        from netstack.ip import neighbour
        for address in (PEER_V4, PEER_V6):
            hi, lo = halves(address)
            neighbour.update(self.net, self.iface, hi, lo, PEER_MAC, neighbour.Update.CREATE | neighbour.Update.OVERRIDE
                             | neighbour.Update.SOLICITED, self.now)

    @contextmanager
    def fenced(self):
        """Every access to bytes must be in the host's own memory, below the end of the frame."""
        memory.fence(self.base, self.end)
        try:
            yield
        finally:
            memory.unfence()
