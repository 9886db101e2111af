"""Ask name servers: a question of one or several types, over UDP and TCP, until an answer can be believed.

RFC 1035 (4.2: transports), RFC 5452 (what makes an answer believable: 9.1 id,
question, addresses and ports; 9.2 both at random), RFC 6891 (EDNS0), RFC 7766
(TCP after truncation); patience and order as resolv.conf(5) has them.
"""
from __future__ import annotations

import contextlib
import random
import socket as real
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from .config import Config, Server
from .failure import Failure, Why

if TYPE_CHECKING:
    from ..sockobject import socket as Socket
    from ..stack import Stack

SECOND = 1_000_000_000
LARGEST = 65535                 # bytes of a message
PORTS = 1024, 65535             # local ports, RFC 5452 9.2: as many as there are
TRIES = 10                      # ... for one that is free
GOOD = (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
NOT_UNDERSTOOD = (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)
_length = struct.Struct("!H")

Answers = dict[int, dns.message.Message]        # by type


@dataclass
class Asker:
    """Whose sockets, clock and dice it uses."""

    stack: Stack
    config: Config
    dice: random.Random
    turn: int = 0               # with `rotate`: which server is the first

    def ask(self, name: str, types: tuple[int, ...]) -> Answers:
        """The answers to those types that were answered, one at least.  Failure AGAIN or FAIL if none was.

        OSError ESHUTDOWN when the stack is closed meanwhile.
        """
        servers = list(self.config.nameservers)
        if self.config.rotate and servers:
            first = self.turn % len(servers)
            self.turn += 1
            servers = servers[first:] + servers[:first]
        answers: Answers = {}
        refused = False
        for _ in range(max(1, self.config.attempts)):
            for server in servers:
                refused |= Exchange(self, server, name, types, answers).run()
                if len(answers) == len(types):
                    return answers
        if answers:
            return answers
        raise Failure(Why.FAIL if refused else Why.AGAIN, name)

    def question(self, name: str, type: int, edns: int) -> dns.message.Message:
        """A query with a random id."""
        text = name
        if self.config.mixed_case:
            text = "".join(self.dice.choice((c.lower(), c.upper())) for c in name)
        try:
            query = dns.message.make_query(dns.name.from_text(text), dns.rdatatype.RdataType.make(type),
                                           id=self.dice.randrange(1 << 16))
        except dns.exception.DNSException:              # a label of no or too many letters
            raise Failure(Why.NONE, name) from None
        if edns:
            query.use_edns(0, payload=edns)
        return query


class Exchange:
    """With one server: `run`.  What fits the questions is in `heard`, what is of use in `answers`, too."""

    def __init__(self, asker: Asker, server: Server, name: str, types: tuple[int, ...], answers: Answers) -> None:
        self.asker = asker
        self.stack = asker.stack
        self.server = server
        self.name = name
        self.answers = answers
        self.deadline = self.stack._now() + int(asker.config.timeout * SECOND)
        self.family = int(real.AF_INET6 if ":" in server[0] else real.AF_INET)
        self.open = {type: asker.question(name, type, asker.config.edns) for type in types if type not in answers}
        self.refused = False    # the server does not understand the question
        self.heard: Answers = {}
        self.transports: dict[int, str] = {}
        self.error: OSError | None = None       # what has ended it, if not the answers

    def run(self) -> bool:
        """Ask what is open.  Whether the server has said that nothing can be done about it."""
        try:
            if self.asker.config.tcp:
                for type in list(self.open):
                    self.over_tcp(type)
            else:
                self.over_udp()
        except OSError as error:        # unreachable, refused, over the time
            self.stack._check()
            self.error = error
        return self.refused

    def over_udp(self) -> None:
        """All questions from one socket, which hears only this server (RFC 5452 9.1)."""
        with self.stack.socket(self.family, int(real.SOCK_DGRAM)) as sock:
            self.take_port(sock)
            sock.connect(self.server)
            for query in self.open.values():
                sock.send(query.to_wire())
            while self.open:
                self.limit(sock)
                for type in self.believe(sock.recv(LARGEST)):
                    sock.send(self.open[type].to_wire())        # once more, without EDNS0

    def believe(self, data: bytes) -> list[int]:
        """Take what came.  The types that must be asked again."""
        for type, query in list(self.open.items()):
            message = _parse(data)
            if message is None or not self.fits(query, message):
                continue
            if message.flags & dns.flags.TC:
                with contextlib.suppress(OSError):
                    self.over_tcp(type)
                self.stack._check()
                self.open.pop(type, None)
            elif message.rcode() in NOT_UNDERSTOOD and query.edns >= 0:
                self.open[type] = self.asker.question(self.name, type, 0)
                return [type]
            else:
                self.take(type, message, "UDP")
            break
        return []

    def fits(self, query: dns.message.Message, message: dns.message.Message) -> bool:
        """Whether it is the answer to this question (RFC 5452 9.1); with `mixed_case` letter by letter."""
        if not query.is_response(message):
            return False
        if not self.asker.config.mixed_case or not message.question:
            return True
        return message.question[0].name.labels == query.question[0].name.labels

    def take(self, type: int, message: dns.message.Message, transport: str) -> None:
        """An answer; one without use is another server's turn."""
        del self.open[type]
        self.heard[type] = message
        self.transports[type] = transport
        if message.rcode() in GOOD:
            self.answers[type] = message
        elif message.rcode() == dns.rcode.FORMERR:
            self.refused = True

    def over_tcp(self, type: int) -> None:
        """One question over a connection of its own (RFC 1035 4.2.2)."""
        query = self.open[type]
        wire = query.to_wire()
        with self.stack.socket(self.family) as sock:
            self.limit(sock)
            sock.connect(self.server)
            sock.sendall(_length.pack(len(wire)) + wire)
            size, = _length.unpack(self.exactly(sock, _length.size))
            message = _parse(self.exactly(sock, size))
        if message is not None and self.fits(query, message):
            self.take(type, message, "TCP")

    def exactly(self, sock: Socket, n: int) -> bytes:
        """So many bytes.  ConnectionError if the stream ends before."""
        data = b""
        while len(data) < n:
            self.limit(sock)
            piece = sock.recv(n - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data

    def limit(self, sock: Socket) -> None:
        """What is left of the time.  TimeoutError: nothing."""
        left = self.deadline - self.stack._now()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left / SECOND)

    def take_port(self, sock: Socket) -> None:
        """A local port at random (RFC 5452 9.2)."""
        anywhere = "::" if self.family == real.AF_INET6 else "0.0.0.0"
        for _ in range(TRIES):
            with contextlib.suppress(OSError):
                sock.bind((anywhere, self.asker.dice.randint(*PORTS)))
                return


def _parse(data: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError):
        return None


def type_of(name: str) -> int:
    """The number of a type such as "AAAA".  ValueError for what is none."""
    try:
        return int(dns.rdatatype.from_text(name))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{name!r} is not a type of DNS records") from None
