"""A stack on a virtual clock of its own, the wire to it, and the conversations on it."""

from __future__ import annotations

import contextlib
import ipaddress
import socket as real
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...clock import NEVER, VirtualClock
from ...drivers import Wire
from ...stack import Stack
from ...world import Profile
from . import packets
from .arguments import Answer, Attempt
from .calls import Calls
from .configure import Options
from .counters import Counters
from .packets import ICMP6, TCP, UDP, Seen
from .script import NS, Call, Mismatch
from .talk import Talk

PEER_MAC = b"\x02\x00\x00\x00\x00\x01"
PROFILE = Profile(connections=256, sockets=64, buffers=1 << 30, neighbours=16)
FIRST_PORT = 50001                  # of the peer, where the script names none
NEIGHBOUR_MESSAGES = (133, 134, 135, 136, 143)


@dataclass
class Pending:
    """A call that blocks."""

    call: Call
    attempt: Attempt
    until: int                  # ns, when it is to return


class Bench:
    """Times are ns since the script began."""

    def __init__(self, options: Options, path: str = "script", say: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.path = path
        self.say = say
        self.story: list[str] = []
        self.notes: list[str] = []
        self.variables: dict[str, Any] = {}     # of the script's Python
        self.family = int(real.AF_INET if options.ip_version == "ipv4" else real.AF_INET6)
        mapped = "::ffff:" if options.ip_version == "ipv4-mapped-ipv6" else ""
        self.bind_host, self.connect_host = mapped + options.local_ip, mapped + options.remote_ip
        self.local, self.remote = packets.address(options.local_ip), packets.address(options.remote_ip)
        self.clock = VirtualClock()
        self.stack = Stack(self.clock, profile=PROFILE)
        self.wire = Wire(mtu=options.mtu)
        prefix = 64 if options.six else 16
        network = ipaddress.ip_interface(f"{options.local_ip}/{prefix}").network
        gateway = str(network[-2])
        if options.six:
            self.stack.attach(self.wire, ip6=f"{options.local_ip}/{prefix}", gateway6=gateway, dad=False)
        else:
            self.stack.attach(self.wire, ip=f"{options.local_ip}/{prefix}", gateway=gateway, dad=False)
        self.mac = self.wire.mac
        self.calls = Calls(self)
        self.counters = Counters()
        self.talks: list[Talk] = []         # the latest first
        self.queue: deque[Seen] = deque()
        self.listener = options.bind_port
        self.listens = False                # since listen(), no packet of the peer has come
        self.next_port = FIRST_PORT
        self.pending: Pending | None = None
        self.alarms: list[int] = []
        self.begin = self.clock.now
        self._settle()
        self.clock.advance(2.0)             # announcements of our addresses are over
        self._settle()
        self.queue.clear()
        self.begin = self.clock.now
        self.last = 0                       # the time of the event before
        self.last_talk: Talk | None = None

    @property
    def now(self) -> int:
        """ns since the script began."""
        return self.clock.now - self.begin

    def close(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):
            self.calls.close_all()
        self.stack.close()

    # ---- time

    def tolerance(self, at: int) -> int:
        """How far from `at` an event may be, ns."""
        share = int((at - self.last) * self.options.tolerance_percent / 100)
        return max(self.options.tolerance_usecs * 1000, share)

    def alarm(self, at: int) -> None:
        """A call that blocks is to be tried at this time."""
        if at > self.now and at not in self.alarms:
            self.alarms.append(at)

    def next_event(self) -> int:
        """When something is due, NEVER if nothing is."""
        due = self.clock.next_event()
        ns = due - self.begin if due < NEVER else NEVER
        return min([ns, *(a for a in self.alarms if a > self.now)]) if self.pending else ns

    def step(self, limit: int) -> bool:
        """Let time pass until something is due, at most until `limit`.  False: nothing was."""
        due = self.next_event()
        target = min(max(due, self.now), limit)
        self.clock.run_until(self.begin + max(target, self.now))
        self._settle()
        self.try_pending()
        return due <= limit

    def advance(self, at: int) -> None:
        """Let time pass."""
        while self.step(at):
            pass

    def try_pending(self) -> None:
        """Whether the call that blocks has its answer now."""
        if self.pending is None:
            return
        answer = self.pending.attempt()
        self._settle()
        if answer is not None:
            self._returned(answer)

    def _returned(self, answer: Answer) -> None:
        assert self.pending is not None
        call, until = self.pending.call, self.pending.until
        self.pending = None
        self.alarms.clear()
        self.tell(f"... {call.name}() = {answer.value}")
        self.calls.check(call, answer)
        if abs(self.now - until) > self.tolerance(until):
            raise Mismatch(call.at, f"{call.name}() returned at {seconds(self.now)} s, not at {seconds(until)} s")

    def _settle(self) -> None:
        """Take what the stack has sent; answer who asks for a link address."""
        self.clock.settle()
        while (frame := self.wire.sniff(0)) is not None:
            packet = frame[14:]
            if frame[12:14] == b"\x08\x06":
                self._answer_arp(packet)
                continue
            seen = packets.read(packet, self.now)
            if seen.protocol == ICMP6 and seen.kind in NEIGHBOUR_MESSAGES:
                self._answer_solicitation(seen, packet)
                continue
            if seen.protocol == TCP:
                self.talk_of(seen.sport, seen.dport).learn(seen)
            self.queue.append(seen)
            self.tell(self.describe(seen), seen.at)
        self.calls.observe()

    def _answer_arp(self, packet: bytes) -> None:
        asked = packet[24:28]
        if packet[6:8] == b"\0\1" and asked != self.local and packet[14:18] != asked:
            reply = packet[:7] + b"\2" + PEER_MAC + asked + packet[8:18]
            self.wire.inject(self.mac + PEER_MAC + b"\x08\x06" + reply)
            self.clock.settle()

    def _answer_solicitation(self, seen: Seen, packet: bytes) -> None:
        if seen.kind != 135 or not any(seen.src):
            return
        target = packet[48:64]
        body = struct.pack("!BBHI", 136, 0, 0, 0x6000_0000) + target + b"\2\1" + PEER_MAC
        body = packets.summed(target, seen.src, ICMP6, body, 2)
        self.wire.inject(packets.ethernet(self.mac, PEER_MAC, packets.ip(target, seen.src, ICMP6, body)))
        self.clock.settle()

    # ---- the story

    def tell(self, text: str, at: int | None = None) -> None:
        """One line more."""
        line = f"{seconds(self.now if at is None else at)} {text}"
        self.story.append(line)
        if self.say is not None:
            self.say(line)

    def describe(self, seen: Seen) -> str:
        """A packet of the stack as a script would say it."""
        if seen.protocol == TCP:
            conversation = self.talk_of(seen.sport, seen.dport)
            return str(conversation.describe(seen))
        if seen.protocol == UDP:
            return f"> udp ({len(seen.payload)})"
        return f"> icmp type {seen.kind} code {seen.code}"

    def note(self, text: str) -> None:
        """Something that the user should know once."""
        if text not in self.notes:
            self.notes.append(text)

    # ---- conversations

    def listening(self, port: int) -> None:
        """The latest listener's port: where the peer's SYNs go.  The next one opens a connection."""
        self.listener = port
        self.listens = True

    def leave_all(self) -> None:
        """The script makes a socket: as in packetdrill, what the others send on their own from now on is no event."""
        for conversation in self.talks:
            conversation.left = True

    def touched(self, conversation: Talk | None) -> None:
        """The script has used it: packets without ports belong to it."""
        if conversation is not None:
            self.last_talk = conversation
            conversation.left = False
            self.talks.remove(conversation)
            self.talks.insert(0, conversation)

    def talk_of(self, local: int, remote: int, protocol: int = TCP) -> Talk:
        """The conversation between two ports."""
        for conversation in self.talks:
            if (conversation.local, conversation.remote, conversation.protocol) == (local, remote, protocol):
                return conversation
        conversation = Talk(local, remote, protocol)
        self.talks.insert(0, conversation)
        self.last_talk = self.last_talk or conversation
        return conversation


def seconds(ns: int) -> str:
    """A time for people."""
    return f"{ns / NS:.6f}"
