"""Resolver: everything that a stack does to find a name or an address.

In this order, as nsswitch.conf(5) has it on most hosts: what needs nobody
(localhost and invalid, RFC 6761; onion, RFC 7686; this host's own name), the hosts table, the name servers
with the search list.
"""
from __future__ import annotations

import ipaddress
import random
import re
import socket as real
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from . import order
from .cache import ANY_TYPE, Cache
from .config import Config, Server
from .failure import Failure, Why
from .hosts import Families, Found, Hosts

if TYPE_CHECKING:
    from ..stack import Stack
    from .query import Asker

AF_INET, AF_INET6 = int(real.AF_INET), int(real.AF_INET6)
A, CNAME, PTR, AAAA = 1, 5, 12, 28
TYPES = {AF_INET: A, AF_INET6: AAAA}
LONGEST_NAME = 253
OWN = "127.0.0.2"           # our own name's address while we have none that others can reach

_NOWHERE = re.compile(r"(?:.*\.)?(?:invalid|onion)\.?\Z", re.IGNORECASE)     # RFC 6761 6.4, RFC 7686 2


class Resolver:
    """The resolver of one stack (`Stack.resolver`)."""

    def __init__(self, stack: Stack, nameservers: Iterable[str | Server] = (), search: Iterable[str] = (),
                 hosts: str | PathLike[str] | Mapping[str, str | list[str]] | None = None) -> None:
        self.stack = stack
        self.config = Config(search=list(search))
        self.config.serve(nameservers)
        self.hosts = Hosts(hosts)
        self.cache = Cache(stack._now)
        self._asker: Asker | None = None

    # Names

    def addresses(self, name: str, families: Families = (AF_INET6, AF_INET)) -> Found:
        """The addresses of a name, the best first (RFC 6724).  Failure if there are none."""
        found = self._own(name, families) or self.hosts.find(name, families) or self._search(name, families)
        return Found(found.canonical, found.aliases, order.in_order(self.stack, found.addresses))

    def _own(self, name: str, families: Families) -> Found | None:
        """Our own name stands for our own addresses."""
        if name.rstrip(".").lower() != real.gethostname().lower():
            return None
        own = [(AF_INET6 if address.version == 6 else AF_INET, str(address.ip)) for interface in self.stack.interfaces
               for address in interface.addresses if not address.ip.is_loopback and not address.ip.is_link_local]
        if not own:
            own = [(AF_INET, OWN) if AF_INET in families else (AF_INET6, "::1")]
        usable = [item for item in own if item[0] in families]
        return Found(real.gethostname(), [], usable) if usable else None

    def _search(self, name: str, families: Families) -> Found:
        """Ask for the name with and without the domains of the search list."""
        if not self.config.nameservers:
            raise Failure(Why.NONE, name, "this stack has no name servers")
        if _NOWHERE.match(name) or not 0 < len(name.rstrip(".")) <= LONGEST_NAME:
            raise Failure(Why.NONE, name)
        reasons = set()
        for candidate in self.config.candidates(name):
            try:
                found = self._records(candidate, tuple(TYPES[family] for family in families))
            except Failure as failure:
                reasons.add(failure.why)
                continue
            aliases = [alias for alias in found.aliases if alias != found.canonical]
            return Found(found.canonical, aliases, found.addresses)
        raise Failure(next(why for why in (Why.AGAIN, Why.FAIL, Why.NO_DATA, Why.NONE) if why in reasons), name)

    def _records(self, name: str, types: tuple[int, ...]) -> Found:
        """The addresses of an absolute name, from the cache or the servers."""
        answers = self.lookup(name, types)
        found = None
        for type, answer in answers.items():
            if isinstance(answer, Found):
                found = found or Found(answer.canonical, answer.aliases)
                found.addresses += [(AF_INET if type == A else AF_INET6, text) for _, text in answer.addresses]
        if found is not None:
            return found
        if len(answers) < len(types):                   # a type was not answered: there may be something
            raise Failure(Why.AGAIN, name)
        raise Failure(next(why for why in (Why.FAIL, Why.NONE, Why.NO_DATA) if why in answers.values()), name)

    # Addresses

    def reverse(self, address: str) -> Found:
        """The names of an address.  Failure if it has none."""
        ip = ipaddress.ip_address(address)
        address = str(ip)
        found = self.hosts.reverse(address)
        if found is not None:
            return found
        if address == OWN or any(ip == own.ip for i in self.stack.interfaces for own in i.addresses
                                 if not own.ip.is_loopback):
            return Found(real.gethostname())
        if ip.is_loopback:
            return Found("localhost")
        if not self.config.nameservers:
            raise Failure(Why.NONE, address)
        answers = self.lookup(f"{ip.reverse_pointer}.", (PTR,))
        answer = answers.get(PTR, Why.AGAIN)
        if isinstance(answer, Why):
            raise Failure(answer, address)
        names = [text for _, text in answer.addresses]
        return Found(names[0], names[1:])

    # Records

    def lookup(self, name: str, types: tuple[int, ...]) -> dict[int, Found | Why]:
        """What there is of each type for an absolute name; a type that no server answered is missing.

        `Found.addresses` has the records' texts, `aliases` the names on the way to `canonical`.
        """
        known = {type: entry for type in types if (entry := self.cache.get(name, type)) is not None}
        missing = tuple(type for type in types if type not in known)
        if missing:
            for type, message in self.asker.ask(name, missing).items():
                known[type] = self._take(name, type, message)
        return known

    @property
    def asker(self) -> Asker:
        """Who talks to the servers."""
        if self._asker is None:
            from .query import Asker

            clock = self.stack.clock
            dice = random.SystemRandom() if clock is None else random.Random(clock.seed())
            self._asker = Asker(self.stack, self.config, dice)
        self._asker.config = self.config
        return self._asker

    def _take(self, name: str, type: int, message: Any) -> Found | Why:
        import dns.exception
        import dns.rcode
        import dns.rdatatype

        try:
            chain = message.resolve_chaining()
        except dns.exception.DNSException:          # a circle of aliases
            return Why.FAIL
        if chain.answer is None:
            why = Why.NONE if message.rcode() == dns.rcode.NXDOMAIN else Why.NO_DATA
            if any(rrset.rdtype == dns.rdatatype.SOA for rrset in message.authority):      # (RFC 2308 5)
                key = ANY_TYPE if why is Why.NONE else type
                self.cache.put(name, key, why, int(chain.minimum_ttl), negative=True)
            return why
        aliases = [_text(rrset.name) for rrset in chain.cnames]
        texts: list[Any] = [_text(r.target) if type == PTR else r.to_text() for r in chain.answer]
        found = Found(_text(chain.canonical_name), aliases, [(0, text) for text in texts])
        self.cache.put(name, type, found, int(chain.minimum_ttl))
        return found


def _text(name: Any) -> str:
    return str(name.to_text(omit_final_dot=True))
