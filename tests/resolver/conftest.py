"""A name server on a stack of its own, that does what a test says, and a stack that asks it."""
from __future__ import annotations

import contextlib
import socket as real
import struct
import threading
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

import netstack.socket as ns

SOA = "a.test. admin.test. 1 2 3 4 60"      # the last number: how long a name may be remembered not to be there


class Server:
    """Answers from `records` ((name, type) -> texts), over UDP and TCP; `tricks` (name -> function) may do otherwise.

    A trick is called with (server, query, transport) and returns the messages to be sent, made or as bytes.
    """

    def __init__(self, stack, address):
        self.records = {}
        self.tricks = {}
        self.questions = []                 # (name, type, transport)
        self.queries = []
        self.where = address
        self.udp = stack.socket(real.AF_INET, real.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = stack.create_server((address, 53))
        self.peers = []
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def add(self, name, type, *texts, ttl=300):
        self.records[name.lower(), type] = ttl, texts

    def answer(self, query):
        question = query.question[0]
        name, type = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        reply = dns.message.make_response(query)
        for _ in range(20):
            for kind in (type, "CNAME"):
                found = self.records.get((name, kind))
                if found is not None:
                    reply.answer.append(dns.rrset.from_text(f"{name}.", found[0], "IN", kind, *found[1]))
                    break
            else:
                kind = None
            if kind == type or kind is None:
                break
            name = found[1][0].rstrip(".").lower()
        if not reply.answer:
            known = any(key[0] == name for key in self.records)
            reply.set_rcode(dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN)
            reply.authority.append(dns.rrset.from_text("test.", 300, "IN", "SOA", SOA))
        return reply

    def _answers(self, data, transport):
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        self.questions.append((name, dns.rdatatype.to_text(query.question[0].rdtype), transport))
        self.queries.append(query)
        trick = self.tricks.get(name) or self.tricks.get("*")
        replies = [self.answer(query)] if trick is None else trick(self, query, transport)
        return [r if isinstance(r, bytes) else r.to_wire() for r in replies]

    def _serve_udp(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.udp.recvfrom(4096)
                self.peers.append(peer)
                for wire in self._answers(data, "udp"):
                    self.udp.sendto(wire, peer)

    def _serve_tcp(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.tcp.accept()
                with conn, contextlib.suppress(OSError, struct.error):
                    conn.settimeout(60)
                    size, = struct.unpack("!H", conn.recv(2, ns.MSG_WAITALL))
                    for wire in self._answers(conn.recv(size, ns.MSG_WAITALL), "tcp"):
                        conn.sendall(struct.pack("!H", len(wire)) + wire)

    def close(self):
        self.udp.close()
        self.tcp.close()
        for thread in self.threads:
            thread.join(60)


@pytest.fixture
def net(pair, life):
    """`server` on pair.b, `stack` (pair.a) that asks it and is the current one; `resolver` is the stack's."""
    server = Server(pair.b, pair.b4)
    life.callback(server.close)
    pair.a.resolver.config.serve([pair.b4])
    import netstack

    life.enter_context(netstack.using(pair.a))
    return SimpleNamespace(server=server, stack=pair.a, resolver=pair.a.resolver, config=pair.a.resolver.config,
                           other=pair.b, pair=pair)
