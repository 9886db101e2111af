"""What the script expects the stack to send."""

from __future__ import annotations

from . import packets, talk
from .bench import Bench, seconds
from .packets import TCP, Seen
from .script import FIN, NS, PSH, SYN, Clock, Event, IcmpPacket, Mismatch, TcpPacket, UdpPacket, When
from .talk import Talk
from .transfer import pattern

PATIENCE = 600 * NS                 # for '*', and for a call that blocks


class Expect(Bench):
    """Packets of the stack."""

    def expect(self, event: Event, wanted: TcpPacket | UdpPacket | IcmpPacket, base: int) -> None:
        """The stack's next packet, which is to be like this and to come at its time."""
        earliest, latest, said = self._window(event.when, base)
        while not self._has(wanted):
            if not self.step(latest):
                self.advance(latest)
                if not self._has(wanted):
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

    def _has(self, wanted: TcpPacket | UdpPacket | IcmpPacket) -> bool:
        """Whether a packet has come that the script may mean."""
        while self.queue and isinstance(wanted, TcpPacket) and wanted.ports is None and self.queue[0].protocol == TCP:
            if not self.talk_of(self.queue[0].sport, self.queue[0].dport).left:
                return True
            self.queue.popleft()
        return bool(self.queue)

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
