"""Tokens to a script.

The grammar is the one of packetdrill's public description (its paper and its
syntax reference); docs/drill.md writes down what of it is supported.
"""
from __future__ import annotations

import textwrap
from collections.abc import Mapping
from decimal import Decimal

from .lexer import Token, tokens
from .script import (
    ACK,
    AE,
    CWR,
    ECE,
    LETTERS,
    NS,
    Action,
    Apply,
    At,
    Braces,
    Call,
    Clock,
    Code,
    Command,
    Dots,
    Event,
    Field,
    IcmpPacket,
    Ip,
    Name,
    Node,
    Number,
    Option,
    Or,
    Script,
    ScriptError,
    Several,
    TcpPacket,
    Text,
    UdpPacket,
    Unsupported,
    When,
)

ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
ENCAPSULATIONS = ("ipv4", "ipv6", "gre", "GREv0", "mpls", "psp", "vxlan")
LONGEST = 1_000_000                         # seconds
COUNTERS = ("e0b", "ceb", "e1b")            # of an AccECN option
MOST32, MOST16, MOST8 = (1 << 32) - 1, (1 << 16) - 1, (1 << 8) - 1


def parse(text: str, defines: Mapping[str, str] | None = None) -> Script:
    """A script.  ScriptError and Unsupported say where and what.

    `defines`: values of symbols; those of the script's own --define options come before.
    """
    known = dict(defines or {})
    for token in tokens(text):
        if token.kind == "option" and token.text.startswith("--define="):
            name, _, value = token.text.removeprefix("--define=").partition("=")
            known[name] = value
    return _Parser(text, tokens(text, known)).script()


class _Parser:
    def __init__(self, text: str, found: list[Token]) -> None:
        self.source = text
        self.tokens = found
        self.position = 0

    # ---- the next token

    @property
    def now(self) -> Token:
        return self.tokens[self.position]

    def peek(self, distance: int = 1) -> Token:
        return self.tokens[min(self.position + distance, len(self.tokens) - 1)]

    def step(self) -> Token:
        token = self.now
        if token.kind != "end":
            self.position += 1
        return token

    def fail(self, expected: str) -> ScriptError:
        return ScriptError(self.now.at, f"expected {expected}, found {self.now}")

    def is_symbol(self, text: str, distance: int = 0) -> bool:
        token = self.peek(distance)
        return token.kind == "symbol" and token.text == text

    def is_word(self, *texts: str) -> bool:
        return self.now.kind == "word" and (not texts or self.now.text in texts)

    def symbol(self, text: str, why: str = "") -> Token:
        if not self.is_symbol(text):
            raise self.fail(f"'{text}'{why}")
        return self.step()

    def accept(self, text: str) -> bool:
        if self.is_symbol(text):
            self.step()
            return True
        return False

    def integer(self, what: str, most: int = MOST32) -> int:
        if self.now.kind not in ("int", "hex"):
            raise self.fail(what)
        value = int(self.now.text, 0 if self.now.kind == "hex" else 10)
        if value > most:
            raise ScriptError(self.now.at, f"{what} must be at most {most}, not {value}")
        self.step()
        return value

    # ---- the script

    def script(self) -> Script:
        script = Script()
        while self.now.kind == "option":
            token = self.step()
            name, equals, value = token.text[2:].partition("=")
            if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
                value = value[1:-1]
            script.options.append((token.at, name.replace("-", "_"), value if equals else None))
        if self.now.kind == "command":
            script.first = self.command()
        while self.now.kind != "end":
            if self.now.kind == "command":
                script.last = self.command()
                if self.now.kind != "end":
                    raise self.fail("the end of the script after a command without a time")
                break
            script.events.append(self.event())
        if not script.events:
            raise self.fail("an event")
        return script

    def event(self) -> Event:
        at = self.now.at
        when = self.when()
        until = None
        if self.now.kind == "dots":
            self.step()
            until = When(when.clock, self.seconds())
        action = self.action(until)
        outbound = isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound
        if (when.clock is Clock.ANY or when.until is not None) and not outbound:
            raise ScriptError(at, "'*' and ranges of time are for packets that the stack sends")
        if until is not None and not isinstance(action, Call):
            raise ScriptError(at, "'...' and a time are for system calls that block")
        return Event(at, when, action)

    def when(self) -> When:
        if self.accept("*"):
            return When(Clock.ANY)
        clock = Clock.RELATIVE if self.accept("+") else Clock.ABSOLUTE
        at = self.now.at
        begin = self.seconds()
        if not self.accept("~"):
            return When(clock, begin)
        if clock is Clock.RELATIVE:
            self.symbol("+", " (both ends of a range are relative, or none)")
        end = self.seconds()
        if end < begin:
            raise ScriptError(at, "the range of time goes backwards")
        return When(clock, begin, end)

    def seconds(self) -> int:
        if self.now.kind not in ("int", "float"):
            raise self.fail("a time in seconds")
        value = Decimal(self.now.text)
        if value > LONGEST:
            raise ScriptError(self.now.at, f"a time must be at most {LONGEST} seconds, not {value}")
        self.step()
        return int(value * NS)

    def action(self, until: When | None) -> Action:
        if self.is_symbol("<") or self.is_symbol(">"):
            return self.packet()
        if self.now.kind == "command":
            return self.command()
        if self.now.kind == "code":
            token = self.step()
            body = token.text[2:-2]
            first, newline, rest = body.partition("\n")
            return Code(token.at, first.strip() + newline + textwrap.dedent(rest))
        if self.now.kind == "word" and self.is_symbol("(", 1):
            return self.call(until)
        raise self.fail("a packet ('<' or '>'), a system call, a `command` or %{ code }%")

    def command(self) -> Command:
        token = self.step()
        return Command(token.at, token.text[1:-1])

    # ---- packets

    def packet(self) -> Action:
        at = self.now.at
        inbound = self.step().text == "<"
        if self.is_word(*ENCAPSULATIONS):
            raise Unsupported(self.now.at, f"encapsulation in {self.now.text}")
        ip = self.ip_info(inbound)
        if self.is_word("icmp"):
            return self.icmp(at, inbound, ip)
        if self.is_word("udp"):
            self.step()
            ports = self.ports()
            self.symbol("(")
            length = self.integer("the number of bytes", MOST16)
            self.symbol(")")
            return UdpPacket(at, inbound, length, ip, ports)
        return self.tcp(at, inbound, ip)

    def ip_info(self, inbound: bool) -> Ip:
        closing = {"(": ")", "[": "]"}.get(self.now.text) if self.now.kind == "symbol" else None
        if closing is None:
            return Ip()
        self.step()
        ecn = tos = ttl = flow = None
        either = False
        while True:
            if self.is_word("ect01"):
                if inbound:
                    raise ScriptError(self.now.at, "[ect01] is for packets that the stack sends")
                self.step()
                either = True
            elif self.is_word(*ECN):
                ecn = ECN[self.step().text]
            elif self.is_word("tos"):
                self.step()
                tos = self.integer("a type of service", MOST8)
            elif self.is_word("ttl"):
                self.step()
                ttl = self.integer("a time to live", MOST8)
            elif self.is_word("flowlabel"):
                self.step()
                flow = self.integer("a flow label", (1 << 20) - 1)
            else:
                raise self.fail("noecn, ect0, ect1, ect01, ce, tos, ttl or flowlabel")
            if not self.accept(","):
                break
        self.symbol(closing)
        return Ip(ecn, either, tos, ttl, flow)

    def ports(self) -> tuple[int, int] | None:
        if self.now.kind != "int" or not self.is_symbol(">", 1):
            return None
        source = self.integer("a port", MOST16)
        self.step()
        return source, self.integer("a port", MOST16)

    def tcp(self, at: At, inbound: bool, ip: Ip) -> TcpPacket:
        ports = self.ports()
        flags = self.flags()
        seq, length = self.sequence()
        ack = win = urg = None
        if self.is_word("ack"):
            self.step()
            ack = self.integer("an acknowledgment number")
        if self.is_word("win"):
            self.step()
            win = self.integer("a window", MOST16)
        if self.is_word("urg"):
            self.step()
            urg = self.integer("an urgent pointer", MOST16)
        options = self.options(inbound) if self.is_symbol("<") else ()
        if self.is_symbol("{"):
            raise Unsupported(self.now.at, "mutations of packets")
        return TcpPacket(at, inbound, flags, seq, length, ack, win, urg, options, ip, ports)

    def flags(self) -> int:
        if self.accept("-"):
            return 0
        flags = 0
        if self.now.kind == "word":
            for i, letter in enumerate(self.now.text):
                if letter not in LETTERS:
                    raise ScriptError(At(self.now.at.line, self.now.at.column + i),
                                      f"expected TCP flags (S F R P U E W A . or -), found {letter!r}")
                flags |= LETTERS[letter]
            self.step()
        elif not self.is_symbol(".") and self.now.kind != "float":
            raise self.fail("TCP flags (S F R P U E W A . or -)")
        if self.now.kind == "float":                # ".5": ACK, and the ACE field of AccECN
            text = self.now.text
            if len(text) != 2 or text[1] > "7":
                raise self.fail("TCP flags, or ACK with an ACE field of .0 to .7")
            self.step()
            ace = int(text[1])
            return flags | ACK | (AE if ace & 4 else 0) | (CWR if ace & 2 else 0) | (ECE if ace & 1 else 0)
        return flags | ACK if self.accept(".") else flags

    def sequence(self) -> tuple[int, int]:
        at = self.now.at
        begin = self.integer("a sequence number")
        self.symbol(":")
        end = self.integer("a sequence number")
        self.symbol("(")
        length = self.integer("the number of bytes", MOST16)
        self.symbol(")")
        if end != (begin + length) & MOST32:
            raise ScriptError(at, f"{begin}:{end}({length}) does not add up: "
                                  f"expected {begin}:{begin + length}({length})")
        return begin, length

    def options(self, inbound: bool) -> tuple[Option, ...] | None:
        self.symbol("<")
        if self.now.kind == "dots":
            if inbound:
                raise ScriptError(self.now.at, "<...> is for packets that the stack sends")
            self.step()
            self.symbol(">")
            return None
        found = [self.option()]
        while self.accept(","):
            found.append(self.option())
        self.symbol(">", " or ',' after a TCP option")
        return tuple(found)

    def option(self) -> Option:
        if self.now.kind != "word":
            raise self.fail("a TCP option")
        token = self.step()
        name = token.text
        if name in ("nop", "eol", "sackOK"):
            return Option(name)
        if name == "mss":
            return Option(name, (self.integer("an MSS", MOST16),))
        if name == "wscale":
            return Option(name, (self.integer("a window shift", MOST8),))
        if name == "TS":
            return Option(name, (self.named("val"), self.named("ecr")))
        if name == "sack":
            blocks = [self.block()]
            while self.now.kind == "int":
                blocks.append(self.block())
            return Option(name, tuple(blocks))
        if name in ("FO", "FOEXP", "md5", "exp"):
            return self.cookie(token)
        if name == "ECN":
            counters = []
            while self.is_word(*COUNTERS):
                counters.append((self.step().text, self.integer("a number of bytes", (1 << 24) - 1)))
            return Option(name, tuple(counters))
        if name.startswith(("mp", "add_addr", "dss", "remove_addr")):
            raise Unsupported(token.at, f"the TCP option {name} (Multipath TCP)")
        raise ScriptError(token.at, "expected a TCP option (mss, wscale, sackOK, sack, TS, nop, eol, FO, FOEXP, ECN, "
                                    f"md5), found {name!r}")

    def cookie(self, token: Token) -> Option:
        name = token.text
        if name == "exp":                           # exp-fastopen
            self.symbol("-")
            if not self.is_word("fastopen"):
                raise self.fail("fastopen")
            self.step()
            name = "FOEXP"
        text, at = "", self.now.at
        if self.now.kind in ("int", "word", "hex"):
            text = self.step().text
        try:
            return Option(name, (bytes.fromhex(text),))
        except ValueError:
            raise ScriptError(at, f"expected an even number of hexadecimal digits, found {text!r}") from None

    def named(self, name: str) -> int:
        if not self.is_word(name):
            raise self.fail(name)
        self.step()
        return self.integer("a timestamp")

    def block(self) -> tuple[int, int]:
        left = self.integer("a sequence number")
        self.symbol(":")
        return left, self.integer("a sequence number")

    def icmp(self, at: At, inbound: bool, ip: Ip) -> IcmpPacket:
        self.step()
        if not self.is_word():
            raise self.fail("a type of ICMP message")
        kind = self.step().text
        code = mtu = None
        seq: int | None = 0
        length = 0
        if self.is_word() and not self.is_word("mtu", "id"):
            code = self.step().text
        if self.is_word("mtu"):
            self.step()
            mtu = self.integer("an MTU")
        if self.is_word("id"):
            raise Unsupported(self.now.at, "ICMP echo")
        if self.accept("["):
            if self.is_word("raw"):
                raise Unsupported(self.now.at, "a quoted raw IP packet")
            if self.is_word("udp"):
                self.step()
                seq = None
                self.symbol("(")
                length = self.integer("the number of bytes", MOST16)
                self.symbol(")")
            else:
                seq, length = self.sequence()
            self.symbol("]")
        return IcmpPacket(at, inbound, kind, code, mtu, seq, length, ip)

    # ---- system calls

    def call(self, until: When | None) -> Call:
        token = self.step()
        begin = token.end - len(token.text)
        self.symbol("(")
        arguments: list[Node] = []
        if not self.is_symbol(")"):
            arguments.append(self.expression())
            while self.accept(","):
                arguments.append(self.expression())
        self.symbol(")", " or ',' after an argument")
        self.symbol("=", " and the expected result")
        result = self.expression()
        text = self.source[begin:self.tokens[self.position - 1].end]
        errno = None
        if self.is_word():
            errno = self.step().text
            if not self.is_symbol("("):
                raise self.fail("the error's message in parentheses, as in EAGAIN (Resource temporarily unavailable)")
        if self.accept("("):
            while not self.accept(")"):
                if self.now.kind == "end":
                    raise self.fail("')'")
                self.step()
        return Call(token.at, token.text, tuple(arguments), result, errno, until, " ".join(text.split()))

    def expression(self) -> Node:
        at = self.now.at
        parts = [self.primary()]
        while self.accept("|"):
            parts.append(self.primary())
        return parts[0] if len(parts) == 1 else Or(at, tuple(parts))

    def primary(self) -> Node:
        token = self.now
        at = token.at
        if token.kind == "dots":
            self.step()
            return Dots(at)
        if token.kind in ("int", "hex"):
            return Number(at, self.integer("a number", (1 << 64) - 1))
        if self.is_symbol("-") and self.peek().kind in ("int", "hex"):
            self.step()
            return Number(at, -self.integer("a number", 1 << 63))
        if token.kind == "string":
            return self.string()
        if token.kind == "word":
            return self.name()
        if self.accept("["):
            return Several(at, self.list("]"))
        if self.accept("{"):
            return Braces(at, self.list("}"))
        raise self.fail("a value")

    def string(self) -> Text:
        at = self.now.at
        value = b""
        while self.now.kind == "string":
            value += _unescape(self.step().text[1:-1])
        prefix = self.now.kind == "dots"
        if prefix:
            self.step()
        return Text(at, value, prefix)

    def name(self) -> Node:
        token = self.step()
        arguments: tuple[Node, ...] | None = None
        if self.accept("("):
            arguments = self.list(")")
        if self.is_symbol("="):
            self.step()
            return Field(token.at, token.text, arguments[0] if arguments else None, self.expression())
        if arguments is not None:
            return Apply(token.at, token.text, arguments)
        return Name(token.at, token.text)

    def list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        if not self.accept(closing):
            items.append(self.expression())
            while self.accept(","):
                items.append(self.expression())
            self.symbol(closing, " or ','")
        return tuple(items)


def _unescape(text: str) -> bytes:
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace")
