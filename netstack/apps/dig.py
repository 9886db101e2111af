"""A DNS client: one question to one server, and the answer as dig(1) shows it.

RFC 1035 (messages; master file format of records), RFC 3596 2.5 and RFC 1035 3.5
(names of addresses).  The question and what is believed of the answers are the
resolver's (`netstack.resolver.query`).
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from ..resolver.config import Config, Server
from ..resolver.query import Asker, Exchange

if TYPE_CHECKING:
    from ..stack import Stack

MILLISECOND = 1_000_000     # ns


@dataclass
class Answer:
    """What a server has said."""

    message: dns.message.Message
    server: Server
    transport: str          # "UDP" or "TCP"
    took: int               # ns

    def lines(self) -> Iterator[str]:
        """As dig(1) writes it."""
        m = self.message
        flags = dns.flags.to_text(m.flags).lower()
        sections = ("QUERY", m.question), ("ANSWER", m.answer), ("AUTHORITY", m.authority), ("ADDITIONAL", m.additional)
        counts = ", ".join(f"{name}: {sum(max(1, len(records)) for records in rrsets)}" for name, rrsets in sections)
        opcode, status = dns.opcode.to_text(m.opcode()), dns.rcode.to_text(m.rcode())
        yield f";; ->>HEADER<<- opcode: {opcode}, status: {status}, id: {m.id}"
        yield f";; flags: {flags}; {counts}"
        if m.edns >= 0:
            yield f"; EDNS: version: {m.edns}, udp: {m.payload}"
        yield ""
        yield ";; QUESTION SECTION:"
        for question in m.question:
            yield (f";{question.name}\t{dns.rdataclass.to_text(question.rdclass)}\t"
                   f"{dns.rdatatype.to_text(question.rdtype)}")
        for name, rrsets in sections[1:]:
            if rrsets:
                yield ""
                yield f";; {name} SECTION:"
                for rrset in rrsets:
                    yield from rrset.to_text().replace(" ", "\t", 4).splitlines()
        yield ""
        yield f";; Query time: {self.took // MILLISECOND} msec"
        yield f";; SERVER: {self.server[0]}#{self.server[1]} ({self.transport})"
        yield f";; MSG SIZE  rcvd: {len(m.wire or b'')}"

    def short(self) -> Iterator[str]:
        """Only what the records say."""
        for rrset in self.message.answer:
            for record in rrset:
                yield record.to_text()


def ask(stack: Stack, name: str, type: int, server: Server, *, tcp: bool = False, timeout: float = 5.0,
        attempts: int = 3) -> Answer:
    """Ask `server` for the records of a type that an absolute name has, so many times for `timeout` seconds each.

    OSError, most often TimeoutError, if it does not answer; resolver.Failure if the name can be none.
    """
    config = Config([server], tcp=tcp, timeout=timeout)
    asker = Asker(stack, config, random.SystemRandom())
    error: OSError | None = None
    for _ in range(attempts):
        exchange = Exchange(asker, server, name, (type,), {})
        began = stack._now()
        exchange.run()
        message = exchange.heard.get(type)
        if message is not None:
            return Answer(message, server, exchange.transports[type], stack._now() - began)
        error = exchange.error
    raise error or TimeoutError("timed out")
