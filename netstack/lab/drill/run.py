"""One script from beginning to end, on a stack and a virtual clock of its own.

The peer is the script: it answers for its link address, and says nothing else
than what is written.  Packets of the stack wait in a queue until an event
expects one; those that nobody expects are in the story, and no error.
"""
from __future__ import annotations

import contextlib
import ipaddress
import socket as real
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ...clock import NEVER, VirtualClock
from ...drivers import Wire
from ...stack import Stack
from ...tcpinfo import TCP_INFO
from ...world import Profile
from . import commands, info, packets, talk
from .calls import Answer, Attempt, Calls, pattern
from .packets import ICMP, ICMP6, TCP, UDP, Seen
from .parser import parse
from .script import (
    ACK,
    FIN,
    NS,
    PSH,
    SYN,
    At,
    Call,
    Clock,
    Code,
    Command,
    DrillError,
    Event,
    IcmpPacket,
    Mismatch,
    ScriptError,
    TcpPacket,
    UdpPacket,
    Unsupported,
    When,
)
from .talk import Talk

VERSIONS = ("ipv4", "ipv6", "ipv4-mapped-ipv6")
PEER_MAC = b"\x02\x00\x00\x00\x00\x01"
PROFILE = Profile(connections=256, sockets=64, buffers=1 << 30, neighbours=16)
FIRST_PORT = 50001                  # of the peer, where the script names none
PATIENCE = 600 * NS                 # for '*', and for a call that blocks
NEIGHBOUR_MESSAGES = (133, 134, 135, 136, 143)
DEFINES = {"CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR"}


@dataclass
class Options:
    """What a script's `--name=value` lines (and the command's options) say; packetdrill's defaults."""

    ip_version: str = "ipv4"
    bind_port: int = 8080
    connect_port: int = 8080
    local_ip: str = ""
    remote_ip: str = ""
    mtu: int = 0                        # 0: 1500, with IPv6 1520, which gives the same MSS
    tolerance_usecs: int = 4000
    tolerance_percent: float = 12.5
    tcp_ts_tick_usecs: int = 0          # 0: TSval is not compared
    strict_segments: bool = False

    @property
    def six(self) -> bool:
        """Whether IPv6 is on the wire."""
        return self.ip_version == "ipv6"


IGNORED = {"debug", "verbose", "speed", "mss", "gateway_ip", "netmask_ip", "send_omit_free", "is_anyip", "define",
           "code_format", "code_command", "tcp_ts_ecr_scaled"}
FOREIGN = {"wire_client", "wire_server", "wire_server_ip", "wire_server_at", "wire_server_port", "wire_client_dev",
           "wire_server_dev", "so_filename", "so_flags", "dry_run", "non_fatal"}


@dataclass
class Outcome:
    """How a script ended.  `error` None: as it expects."""

    path: str
    ip_version: str
    error: DrillError | None = None
    story: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0                # virtual time

    @property
    def status(self) -> int:
        """0, 1 for a mismatch, 2 for what cannot be run."""
        return 0 if self.error is None else self.error.status

    def report(self) -> str:
        """The error, where it is, and what happened before."""
        if self.error is None:
            return f"{self.path} ({self.ip_version}): ok"
        at = self.error.at
        kind = "unsupported: " if isinstance(self.error, Unsupported) else ""
        lines = [f"{self.path}:{at.line}:{at.column}: {kind}{self.error.message}"]
        if self.story and isinstance(self.error, Mismatch):
            lines += [f"  ({self.ip_version}) so far:", *(f"    {line}" for line in self.story[-60:])]
        return "\n".join(lines)


def run_file(path: str | Path, *, ip_version: str | None = None, defines: Mapping[str, str] | None = None,
             say: Callable[[str], None] | None = None) -> Outcome:
    """Run a script in a file.  `say` gets every line of the story as it happens.  OSError: it cannot be read."""
    return run_text(Path(path).read_text(encoding="utf-8", errors="replace"), str(path), ip_version=ip_version,
                    defines=defines, say=say)


def run_text(text: str, path: str = "script", *, ip_version: str | None = None,
             defines: Mapping[str, str] | None = None, say: Callable[[str], None] | None = None) -> Outcome:
    """Run a script.  `ip_version` and `defines` are for what the script itself does not say."""
    outcome = Outcome(path, ip_version or "ipv4")
    runner = None
    try:
        script = parse(text, {**DEFINES, **(defines or {})})
        options = configure(script.options, ip_version)
        outcome.ip_version = options.ip_version
        runner = Runner(options, path, say)
        runner.run(script.first, script.events, script.last)
    except DrillError as error:
        outcome.error = error
    finally:
        if runner is not None:
            outcome.story, outcome.notes = runner.story, runner.notes
            outcome.seconds = runner.now / NS
            runner.close()
    return outcome


def configure(given: list[tuple[At, str, str | None]], ip_version: str | None) -> Options:
    """The options of a script."""
    options = Options(ip_version=ip_version or "ipv4")
    kinds = {f.name: f.type for f in fields(Options)}
    for at, name, value in given:
        if name in FOREIGN:
            raise Unsupported(at, f"the option --{name}")
        if name == "init_scripts" and value is not None and value.endswith("defaults.sh"):
            continue
        if name == "code_sockopt" and value in ("TCP_INFO", ""):
            continue
        if name in IGNORED:
            continue
        if name not in kinds:
            raise Unsupported(at, f"the option --{name}")
        if name == "ip_version" and value not in VERSIONS:
            raise ScriptError(at, f"expected --ip_version={', '.join(VERSIONS)}, found {value!r}")
        try:
            if kinds[name] == "bool":
                setattr(options, name, True)
            else:
                make = {"int": int, "float": float, "str": str}[str(kinds[name])]
                setattr(options, name, make(value or ""))
        except ValueError:
            raise ScriptError(at, f"expected a number after --{name}=, found {value!r}") from None
    options.local_ip = options.local_ip or ("fd3d:a0b:17d6::1" if options.six else "192.168.0.1")
    options.remote_ip = options.remote_ip.partition("/")[0] or ("2001:db8::1" if options.six else "192.0.2.1")
    options.mtu = options.mtu or (1520 if options.six else 1500)
    return options


@dataclass
class Pending:
    """A call that blocks."""

    call: Call
    attempt: Attempt
    until: int                  # ns, when it is to return


class Runner:
    """See above.  Times are ns since the script began."""

    def __init__(self, options: Options, path: str = "script", say: Callable[[str], None] | None = None) -> None:
        self.options = options
        self.path = path
        self.say = say
        self.story: list[str] = []
        self.notes: list[str] = []
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
        self.talks: list[Talk] = []         # the latest first
        self.queue: deque[Seen] = deque()
        self.listener = options.bind_port
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

    # ---- the events

    def run(self, first: Command | None, events: list[Event], last: Command | None) -> None:
        """Run a script; DrillError says how it failed."""
        if first is not None:
            self.command(first)
        for event in events:
            self.event(event)
        if self.pending is not None:
            self.finish_pending()
        if last is not None:
            self.command(last)

    def event(self, event: Event) -> None:
        """One event."""
        when, action = event.when, event.action
        base = self.last if when.clock is Clock.RELATIVE else 0
        at = base + when.ns
        if isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound:
            self.expect(event, action, base)
            return
        if when.clock is Clock.ABSOLUTE and at < self.last:
            raise ScriptError(event.at, f"time goes back: {seconds(at)} s after {seconds(self.last)} s")
        self.advance(at)
        if isinstance(action, Call) and self.pending is not None:
            self.finish_pending()
            if self.now > at + self.tolerance(at):
                raise Mismatch(event.at, f"{action.name}() can begin only at {seconds(self.now)} s: the call before it "
                                         f"blocked until then")
        self.last = at
        if isinstance(action, Call):
            self.call(action, base)
        elif isinstance(action, TcpPacket):
            self.inject_tcp(action)
        elif isinstance(action, UdpPacket):
            self.inject_udp(action)
        elif isinstance(action, IcmpPacket):
            self.inject_icmp(action)
        elif isinstance(action, Command):
            self.command(action)
        else:
            self.code(action)
        self._settle()
        self.try_pending()

    def tolerance(self, at: int) -> int:
        """How far from `at` an event may be, ns."""
        share = int((at - self.last) * self.options.tolerance_percent / 100)
        return max(self.options.tolerance_usecs * 1000, share)

    # ---- time

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

    # ---- commands and code

    def command(self, command: Command) -> None:
        """A command that sets sysctls."""
        for at, key, value, named in commands.assignments(command):
            why = commands.apply(self.stack.settings, key, value)
            if why is not None and named:
                self.note(f"{self.path}:{at.line}:{at.column}: {key}={value} has no effect: {why}")

    def code(self, code: Code) -> None:
        """%{ }%: Python about the TCP_INFO of the socket that was used last."""
        sock = self._current(code)
        try:
            raw = sock.getsockopt(int(real.IPPROTO_TCP), TCP_INFO, info.LENGTH)
        except OSError:
            raise Unsupported(code.at, "TCP_INFO: this stack does not have it") from None
        info.run(code, self.path, bytes(raw))

    def _current(self, code: Code) -> Any:
        streams = [o for o in self.calls.open.values()
                   if o.sock is not None and o.talk is not None and o.sock.type == real.SOCK_STREAM]
        for o in streams:
            if o.talk is self.last_talk:
                return o.sock
        if not streams:
            raise Mismatch(code.at, "there is no open connection whose TCP_INFO could be read")
        return streams[-1].sock

    # ---- conversations

    def listening(self, port: int) -> None:
        """The latest listener's port: where the peer's SYNs go."""
        self.listener = port

    def touched(self, conversation: Talk | None) -> None:
        """The script has used it: packets without ports belong to it."""
        if conversation is not None:
            self.last_talk = conversation
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

    def _inbound(self, packet: TcpPacket) -> Talk:
        """The conversation that a packet of the peer belongs to."""
        source, destination = packet.ports or (None, None)
        for conversation in self.talks:
            if conversation.protocol == TCP and conversation.fits(source, destination, True):
                if packet.flags & (SYN | ACK) == SYN and source is None and self._is_over(conversation):
                    break                               # the peer opens another one, from another port
                return conversation
        remote = source if source is not None else self.next_port
        self.next_port += source is None
        return self.talk_of(destination if destination is not None else self.listener, remote)

    def _is_over(self, conversation: Talk) -> bool:
        """Whether it was open, and the stack knows no more of it."""
        ends = (conversation.local, conversation.remote)
        return conversation.opened and not any(
            c.protocol == "tcp" and c.remote is not None and (c.local[1], c.remote[1]) == ends
            for c in self.stack.connections())

    # ---- packets of the peer

    def inject(self, protocol: int, body: bytes, *, tos: int = 0, ttl: int | None = None, flow: int = 0) -> None:
        """Give the stack a packet."""
        packet = packets.ip(self.remote, self.local, protocol, body, tos=tos, ttl=ttl or 255, flow=flow)
        self.wire.inject(packets.ethernet(self.mac, PEER_MAC, packet))
        self._settle()

    def _header(self, packet: TcpPacket | UdpPacket | IcmpPacket) -> dict[str, Any]:
        tos = packet.ip.tos if packet.ip.tos is not None else packet.ip.ecn or 0
        return {"tos": tos, "ttl": packet.ip.ttl, "flow": packet.ip.flow or 0}

    def inject_tcp(self, packet: TcpPacket) -> None:
        """A segment."""
        conversation = self._inbound(packet)
        self.touched(conversation)
        if packet.win is not None:
            conversation.win = packet.win
        syn = packet.flags & SYN
        ack = packet.ack or 0
        if packet.flags & ACK:
            ack = conversation.to_live(ack, syn)
        assert packet.options is not None
        self.tell(str(packet))
        if syn:
            conversation.peer_opens(packet.seq)
        else:
            conversation.opened = True
        seq = conversation.peer_to_live(packet.seq, syn)
        begin = seq + bool(syn) - (conversation.peer_isn or 0) - 1
        payload = pattern(begin & packets.MASK, packet.length)
        body = packets.tcp(self.remote, self.local, conversation.remote, conversation.local, seq, ack,
                           packet.flags, conversation.win if packet.win is None else packet.win, packet.urg or 0,
                           conversation.inbound_options(packet.options, syn), payload)
        self.inject(TCP, body, **self._header(packet))

    def inject_udp(self, packet: UdpPacket) -> None:
        """A datagram."""
        source, destination = packet.ports or (None, None)
        found = [t for t in self.talks if t.protocol == UDP and t.fits(source, destination, True)]
        remote = source or (found[0].remote if found else self.options.connect_port)
        local = destination or (found[0].local if found else self._udp_port())
        self.tell(str(packet))
        self.inject(UDP, packets.udp(self.remote, self.local, remote, local, pattern(0, packet.length)),
                    **self._header(packet))

    def _udp_port(self) -> int:
        for o in reversed(list(self.calls.open.values())):
            if o.sock is not None and o.sock.type == real.SOCK_DGRAM and (port := o.sock.getsockname()[1]):
                return int(port)
        return self.options.bind_port

    def inject_icmp(self, packet: IcmpPacket) -> None:
        """An ICMP error about a packet of the stack."""
        six = self.options.six
        numbers = packets.icmp_numbers(6 if six else 4, packet.kind, packet.code)
        if numbers is None:
            name = f"{packet.kind} {packet.code or ''}".rstrip()
            raise Unsupported(packet.at, f"the ICMP{'v6' if six else ''} message {name}")
        protocol = UDP if packet.seq is None else TCP
        found = [t for t in self.talks if t.protocol == protocol]
        if not found:
            raise Mismatch(packet.at, "there is no connection yet that an ICMP message could be about")
        conversation = found[0]
        if protocol == UDP:
            quoted = packets.udp(self.local, self.remote, conversation.local, conversation.remote, bytes(packet.length))
            quoted, length = quoted[:28], 8 + packet.length
        else:
            assert packet.seq is not None
            quoted = packets.tcp(self.local, self.remote, conversation.local, conversation.remote,
                                 conversation.to_live(packet.seq), 0, ACK, 0, 0, (), b"")
            length = 20 + packet.length
        original = packets.ip(self.local, self.remote, protocol, quoted, ttl=64, length=length)
        kind, code = numbers
        mtu = packet.mtu or 0
        if six:
            body = struct.pack("!BBHI", kind, code, 0, mtu) + original
        else:
            body = struct.pack("!BBHHH", kind, code, 0, 0, mtu) + original
        number = ICMP6 if six else ICMP
        self.tell(str(packet))
        self.inject(number, packets.summed(self.remote, self.local, number, body, 2), **self._header(packet))

    # ---- packets of the stack

    def expect(self, event: Event, wanted: TcpPacket | UdpPacket | IcmpPacket, base: int) -> None:
        """The stack's next packet, which is to be like this and to come at its time."""
        earliest, latest, said = self._window(event.when, base)
        while not self.queue:
            if not self.step(latest):
                self.advance(latest)
                if not self.queue:
                    raise Mismatch(event.at, f"the stack sent nothing\n  expected: {said} {wanted}")
        seen = [self.queue.popleft()]
        if isinstance(wanted, TcpPacket):
            problems = self._match(wanted, seen, latest)
        elif isinstance(wanted, UdpPacket):
            problems = talk.udp_problems(wanted, seen[0])
        else:
            problems = talk.icmp_problems(wanted, seen[0])
        came = seen[0].at
        if not earliest <= came <= latest:
            problems.append(f"it came at {seconds(came)} s, not at {said}")
        if problems:
            actual = "\n            ".join(f"{seconds(s.at)} {self.describe(s)}" for s in seen)
            raise Mismatch(event.at, "\n  ".join([problems[0], *problems[1:],
                                                  f"expected: {said} {wanted}", f"actual:   {actual}"]))
        fixed = event.when.clock is not Clock.ANY and event.when.until is None
        self.last = base + event.when.ns if fixed else max(came, self.last)

    def _window(self, when: When, base: int) -> tuple[int, int, str]:
        """Earliest and latest time, and how to say it."""
        if when.clock is Clock.ANY:
            return 0, self.now + PATIENCE, "*"
        at = base + when.ns
        until = at if when.until is None else base + when.until
        slack = self.tolerance(at)
        said = seconds(at) if when.until is None else f"{seconds(at)}~{seconds(until)}"
        return at - slack, until + slack, said

    def _match(self, wanted: TcpPacket, seen: list[Seen], latest: int) -> list[str]:
        first = seen[0]
        if first.protocol != TCP:
            return ["it is not TCP"]
        conversation = self.talk_of(first.sport, first.dport)
        problems = self._ports(wanted, conversation)
        if not self.options.strict_segments:
            self._gather(wanted, seen, latest)
        tick = self.options.tcp_ts_tick_usecs
        slack = max(1, self.options.tolerance_usecs // tick) if tick else -1
        problems += talk.problems(wanted, seen, conversation, slack, self.options.strict_segments)
        self.touched(conversation)
        return problems + self._content(first, conversation, seen)

    def _gather(self, wanted: TcpPacket, seen: list[Seen], latest: int) -> None:
        """A script made where segments leave in one piece of several MSS: take all that belong to it."""
        plain = ~(PSH | FIN)
        while True:
            have = sum(len(s.payload) for s in seen)
            last = seen[-1]
            if have >= wanted.length or not last.payload or last.flags & (SYN | FIN):
                return
            while not self.queue:
                if not self.step(latest):
                    return
            following = self.queue[0]
            contiguous = (following.sport, following.dport, following.seq) == (
                last.sport, last.dport, (last.seq + len(last.payload)) & packets.MASK)
            if (not contiguous or following.flags & plain != last.flags & plain or not following.payload
                    or have + len(following.payload) > wanted.length):
                return
            seen.append(self.queue.popleft())

    def _ports(self, wanted: TcpPacket, conversation: Talk) -> list[str]:
        if wanted.ports is None:
            return []
        source, destination = wanted.ports
        if conversation.script_local is None and conversation.local != source:
            conversation.script_local = source
        if not conversation.fits(source, destination, False):
            called = conversation.script_local or conversation.local
            return [f"the ports are {called} > {conversation.remote}, not {source} > {destination}"]
        return []

    def _content(self, first: Seen, conversation: Talk, seen: list[Seen]) -> list[str]:
        """The bytes are those that were written, wherever the stack sends them again from."""
        o = next((o for o in self.calls.open.values() if o.talk is conversation), None)
        data = b"".join(s.payload for s in seen)
        if o is None or not data or conversation.live_isn is None or not o.patterned:
            return []
        begin = (first.seq - conversation.live_isn - 1 + (1 if first.flags & SYN else 0)) & packets.MASK
        return [] if data == pattern(begin, len(data)) else ["the bytes are not those that were written there"]

    # ---- system calls

    def call(self, call: Call, base: int) -> None:
        """Begin a system call; one that blocks goes on while later events happen."""
        attempt = self.calls.begin(call)
        self.tell(call.text)
        answer = attempt()
        self._settle()
        if call.until is None:
            if answer is None:
                raise Mismatch(call.at, f"{call.name}() blocks: it is to return at once")
            self.calls.check(call, answer)
            return
        until = call.until.ns + (base if call.until.clock is Clock.RELATIVE else 0)
        self.pending = Pending(call, attempt, until)
        if answer is not None:
            self._returned(answer)
        else:
            self.try_pending()

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

    def finish_pending(self) -> None:
        """Let time pass until it returns."""
        assert self.pending is not None
        call, until = self.pending.call, self.pending.until
        latest = max(until + self.tolerance(until), self.now)
        while self.pending is not None and self.step(latest):
            pass
        if self.pending is not None:
            raise Mismatch(call.at, f"{call.name}() has not returned at {seconds(self.now)} s, "
                                    f"expected at {seconds(until)} s")


def seconds(ns: int) -> str:
    """A time for people."""
    return f"{ns / NS:.6f}"
