"""Conversations: what the script calls ports, sequence numbers and timestamps, and what they are on the wire.

A SYN says in the script what its sender's initial sequence number is called; in
all other packets numbers count from it, so that a SYN-ACK at 123 is acknowledged
with 1.  The peer's is on the wire as in the script.  The stack's is its choice and
learned from its SYN, as its timestamps are from the packets that it sends.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from .packets import ICMP, ICMP6, MASK, UDP, Seen, icmp_numbers
from .script import ACK, FIN, PSH, RST, SYN, At, IcmpPacket, Ip, Option, TcpPacket, UdpPacket, flag_letters

ECT0, ECT1 = 2, 1
ECN_NAMES = ("noecn", "ect1", "ect0", "ce")
NOWHERE = At(0, 0)


@dataclass
class Talk:
    """One connection, or one UDP socket with one peer.  Ports are those on the wire."""

    local: int
    remote: int
    protocol: int = 6
    script_local: int | None = None     # as the script calls them, where it does
    script_remote: int | None = None
    live_isn: int | None = None         # of the stack
    script_isn: int = 0
    named: bool = False                 # whether the script has said what it calls it
    win: int = 0                        # the peer's last window
    peer_isn: int | None = None         # the peer's initial sequence number, in the script and on the wire
    peer_syn: int = 0                   # sequence number of the peer's last SYN
    settled: bool = False               # the stack has acknowledged the peer's SYN: others change nothing
    opened: bool = False                # the peer has sent more than SYNs
    left: bool = False                  # the script has made another socket since: what it sends concerns no event
    stamps: dict[int, int] = field(default_factory=dict)        # TSval: script's to the stack's
    first_stamp: tuple[int, int, int] | None = None             # the first one: script's, the stack's, ns

    def _offset(self, syn: int) -> int:
        """From the script's sequence numbers of the stack to those on the wire; `syn`: in a packet that is a SYN."""
        if self.live_isn is None:
            return 0
        return self.live_isn - (self.script_isn if syn else 0)

    def to_live(self, number: int, syn: int = 0) -> int:
        """A sequence number of the stack, on the wire."""
        return (number + self._offset(syn)) & MASK

    def to_script(self, number: int, syn: int = 0) -> int:
        """... and in the script."""
        return (number - self._offset(syn)) & MASK

    def peer_to_live(self, number: int, syn: int = 0) -> int:
        """A sequence number of the peer, on the wire."""
        return (number + (0 if syn else self.peer_isn or 0)) & MASK

    def peer_to_script(self, number: int, syn: int = 0) -> int:
        """... and in the script."""
        return (number - (0 if syn else self.peer_isn or 0)) & MASK

    def peer_opens(self, seq: int) -> None:
        """The peer sends a SYN.  One that comes later, for a connection that has one, may be an attack: as it is."""
        self.peer_syn = seq
        if not self.settled:
            self.peer_isn = seq

    def fits(self, source: int | None, destination: int | None, inbound: bool) -> bool:
        """Whether a script's packet with these ports (None: it has none) may belong to it."""
        remote, local = (source, destination) if inbound else (destination, source)
        return all(wanted is None or wanted == (called if called is not None else live)
                   for wanted, called, live in ((remote, self.script_remote, self.remote),
                                                (local, self.script_local, self.local)))

    def learn(self, seen: Seen) -> None:
        """Note what a packet of the stack tells."""
        if seen.flags & SYN and seen.seq != self.live_isn:
            self.live_isn, self.named, self.settled = seen.seq, False, False
            self.peer_isn = self.peer_syn if seen.flags & ACK else None
            self.stamps.clear()
            self.first_stamp = None
        if seen.flags & (ACK | RST) == ACK and self.peer_isn is not None:
            self.settled = True

    def stamp(self, script: int, live: int, at: int) -> None:
        """The script calls this TSval of the stack so."""
        self.stamps[script] = live
        if self.first_stamp is None:
            self.first_stamp = (script, live, at)

    def live_stamp(self, script: int) -> int:
        """What the peer echoes when the script says so."""
        if script in self.stamps:
            return self.stamps[script]
        if script == 0 or self.first_stamp is None:
            return script
        first, live, _ = self.first_stamp
        return (live + script - first) & MASK

    def inbound_options(self, options: tuple[Option, ...], syn: int = 0) -> tuple[Option, ...]:
        """Options of the peer as they go on the wire."""
        out = []
        for option in options:
            if option.name == "sack":
                option = Option("sack", tuple((self.to_live(a, syn), self.to_live(b, syn))
                                              for a, b in option.values))
            elif option.name == "TS":
                val, ecr = option.values
                option = Option("TS", (val, self.live_stamp(ecr)))
            out.append(option)
        return tuple(out)

    def outbound_options(self, seen: Seen) -> list[Option]:
        """Options of the stack with the peer's sequence numbers as the script says them."""
        syn = seen.flags & SYN
        return [Option("sack", tuple((self.peer_to_script(a, syn), self.peer_to_script(b, syn)) for a, b in o.values))
                if o.name == "sack" else o for o in seen.options]

    def describe(self, seen: Seen) -> TcpPacket:
        """A packet of the stack as a script would say it."""
        options, syn = [], seen.flags & SYN
        for option in self.outbound_options(seen):
            if option.name == "TS" and self.first_stamp is not None:
                first, live, _ = self.first_stamp
                val, ecr = option.values
                option = Option("TS", ((val - live + first) & MASK, ecr))
            options.append(option)
        ack = self.peer_to_script(seen.ack, syn) if seen.flags & ACK else None
        return TcpPacket(NOWHERE, False, seen.flags, self.to_script(seen.seq, syn), len(seen.payload), ack, seen.win,
                         seen.urg or None, tuple(options))


def problems(expected: TcpPacket, seen: list[Seen], talk: Talk, slack: int = -1, strict: bool = False) -> list[str]:
    """How the stack's packet (or several, that carry what the script has in one) differs from the expected one.

    Which segments with text carry PSH is the sender's choice (RFC 9293 3.9.1.2); `strict` compares it.
    """
    first, last = seen[0], seen[-1]
    found = [s.problem for s in seen if s.problem]
    flags = last.flags | (first.flags & ~(PSH | FIN))
    ignored = 0 if strict or not last.payload else PSH
    if (flags ^ expected.flags) & ~ignored:
        found.append(f"the flags are {flag_letters(flags)}, not {flag_letters(expected.flags)}")
    if first.flags & SYN and not talk.named:
        talk.script_isn, talk.named = expected.seq, True
    length = sum(len(s.payload) for s in seen)
    seq = talk.to_script(first.seq, first.flags & SYN)
    if (seq, length) != (expected.seq, expected.length):
        found.append(f"the sequence numbers are {seq}:{(seq + length) & MASK}({length}), not "
                     f"{expected.seq}:{(expected.seq + expected.length) & MASK}({expected.length})")
    ack = talk.peer_to_script(last.ack, first.flags & SYN)
    if expected.ack is not None and ack != expected.ack:
        found.append(f"ack is {ack}, not {expected.ack}")
    if expected.win is not None and last.win != expected.win:
        found.append(f"win is {last.win}, not {expected.win}")
    if last.urg != (expected.urg or 0):
        found.append(f"urg is {last.urg}, not {expected.urg or 0}")
    if expected.options is not None:
        found += _options(expected.options, last, talk, slack)
    return found + ip_problems(expected.ip, first)


def _options(expected: tuple[Option, ...], seen: Seen, talk: Talk, slack: int) -> list[str]:
    """Padding and order are the sender's choice (RFC 9293 3.1): only what the options say is compared."""
    wanted = [o for o in expected if o.name not in ("nop", "eol")]
    found = []
    live = talk.outbound_options(seen)
    names, got = sorted(o.name for o in wanted), sorted(o.name for o in live)
    if names != got:
        found.append(f"the options are <{','.join(map(str, talk.describe(seen).options or ()))}>, not "
                     f"<{','.join(map(str, expected))}>")
        return found
    for option in wanted:
        actual = next(o for o in live if o.name == option.name)
        if option.name == "TS":
            (val, ecr), (live_val, live_ecr) = option.values, actual.values
            if ecr != live_ecr:
                found.append(f"TS ecr is {live_ecr}, not {ecr}")
            found += _tick(talk, val, live_val, slack)
            talk.stamp(val, live_val, seen.at)
        elif option != actual:
            found.append(f"{actual}, not {option}")
    return found


def _tick(talk: Talk, val: int, live: int, slack: int) -> list[str]:
    """Whether the stack's timestamps grow as the script's do.  `slack`: ticks; negative: any value will do."""
    if slack < 0 or talk.first_stamp is None:
        return []
    first, live_first, _ = talk.first_stamp
    grown, expected = (live - live_first) & MASK, (val - first) & MASK
    return [f"TS val is {(grown + first) & MASK}, not {val}"] if abs(grown - expected) > slack else []


def ip_problems(expected: Ip, seen: Seen) -> list[str]:
    """How the IP header differs."""
    found = []
    ecn = seen.tos & 3
    if expected.ecn is not None and ecn != expected.ecn:
        found.append(f"the ECN field is {ECN_NAMES[ecn]}, not {ECN_NAMES[expected.ecn]}")
    if expected.either_ect and ecn not in (ECT0, ECT1):
        found.append(f"the ECN field is {ECN_NAMES[ecn]}, not ect0 or ect1")
    for name, wanted, got in (("tos", expected.tos, seen.tos), ("ttl", expected.ttl, seen.ttl),
                              ("flowlabel", expected.flow, seen.flow)):
        if wanted is not None and wanted != got and not (name == "flowlabel" and seen.version == 4):
            found.append(f"{name} is {got:#x}, not {wanted:#x}" if name != "ttl" else f"ttl is {got}, not {wanted}")
    return found


def udp_problems(expected: UdpPacket, seen: Seen) -> list[str]:
    """How a datagram of the stack differs from the expected one."""
    found = [seen.problem] if seen.problem else []
    if seen.protocol != UDP:
        found.append("it is not UDP")
    elif len(seen.payload) != expected.length:
        found.append(f"it carries {len(seen.payload)} bytes, not {expected.length}")
    return found + ip_problems(expected.ip, seen)


def icmp_problems(expected: IcmpPacket, seen: Seen) -> list[str]:
    """How an ICMP message of the stack differs."""
    if seen.protocol not in (ICMP, ICMP6):
        return ["it is not ICMP"]
    wanted = icmp_numbers(seen.version, expected.kind, expected.code)
    found = [seen.problem] if seen.problem else []
    if wanted != (seen.kind, seen.code):
        found.append(f"type and code are {seen.kind} {seen.code}, not {wanted}")
    return found + ip_problems(expected.ip, seen)
