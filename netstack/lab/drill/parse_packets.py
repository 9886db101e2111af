"""Packets in a script: TCP, UDP and ICMP."""

from __future__ import annotations

from .cursor import MOST8, MOST16, MOST32, Cursor
from .lexer import Token
from .script import (
    ACK,
    AE,
    CWR,
    ECE,
    LETTERS,
    Action,
    At,
    IcmpPacket,
    Ip,
    Option,
    ScriptError,
    TcpPacket,
    UdpPacket,
    Unsupported,
)

ECN = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
ENCAPSULATIONS = ("ipv4", "ipv6", "gre", "GREv0", "mpls", "psp", "vxlan")
COUNTERS = ("e0b", "ceb", "e1b")            # of an AccECN option

# The ACE field of AccECN: AE, CWR and ECE as a number
ACE = {str(n): (AE if n & 4 else 0) | (CWR if n & 2 else 0) | (ECE if n & 1 else 0) for n in range(8)}


class Packets(Cursor):
    """`< S 0:0(0) win 32792 <mss 1000>`, `> udp (1000)`, `< icmp ...`."""

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
                if letter in ACE:                   # "P5.": the ACE field of AccECN
                    flags |= ACE[letter]
                    continue
                if letter not in LETTERS:
                    raise ScriptError(At(self.now.at.line, self.now.at.column + i),
                                      f"expected TCP flags (S F R P U E W A . or -), found {letter!r}")
                flags |= LETTERS[letter]
            self.step()
        elif not self.is_symbol(".") and self.now.kind != "float":
            raise self.fail("TCP flags (S F R P U E W A . or -)")
        if self.now.kind == "float":                # ".5": ACK, and the ACE field of AccECN
            text = self.now.text
            if len(text) != 2 or text[1] not in ACE:
                raise self.fail("TCP flags, or ACK with an ACE field of .0 to .7")
            self.step()
            return flags | ACK | ACE[text[1]]
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
