"""How names are looked up: the servers, the search list, the patience.  resolv.conf(5)."""
from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass, field

PORT = 53
MOST_ATTEMPTS, MOST_SECONDS, MOST_DOTS = 5, 30, 15     # resolv.conf(5): larger values are cut

Server = tuple[str, int]        # address (with %interface), port


@dataclass
class Config:
    """What resolv.conf(5) says; may be changed at any time (`stack.resolver.config`)."""

    nameservers: list[Server] = field(default_factory=list)     # in the order in which they are asked
    search: list[str] = field(default_factory=list)             # domains for names with few dots
    ndots: int = 1              # a name with so many dots is tried as it is first
    timeout: float = 5.0        # seconds for a server's answer
    attempts: int = 2           # rounds through all servers
    rotate: bool = False        # each question begins with another server
    edns: int = 1232            # bytes that a UDP answer may have (RFC 6891); 0: no EDNS0, 512 then
    tcp: bool = False           # always TCP ("use-vc")
    mixed_case: bool = False    # letters of the question at random, to be repeated by the answer (draft dns-0x20)

    def serve(self, servers: Iterable[str | Server]) -> None:
        """Take these servers: addresses, "address#port", or pairs.  ValueError for what is none."""
        self.nameservers = [server(s) for s in servers]

    def read(self, text: str) -> None:
        """Take what a resolv.conf(5) says; what it does not know, or cannot be, is passed over, as there."""
        servers = []
        for line in text.splitlines():
            words = line.split()
            if not words or words[0][0] in "#;":
                continue
            if words[0] == "nameserver" and len(words) > 1:
                try:
                    servers.append(server(words[1]))
                except ValueError:
                    continue
            elif words[0] == "domain" and len(words) > 1:
                self.search = [words[1]]
            elif words[0] == "search":
                self.search = words[1:]
            elif words[0] == "options":
                for word in words[1:]:
                    self.option(word)
        if servers:
            self.nameservers = servers

    def option(self, word: str) -> None:
        """One of resolv.conf's options, such as "ndots:2"."""
        name, _, value = word.partition(":")
        if name in ("ndots", "timeout", "attempts") and value.isdecimal():
            limit = {"ndots": MOST_DOTS, "timeout": MOST_SECONDS, "attempts": MOST_ATTEMPTS}[name]
            setattr(self, name, min(int(value), limit))
        elif name == "rotate":
            self.rotate = True
        elif name == "use-vc":
            self.tcp = True

    def candidates(self, name: str) -> list[str]:
        """The absolute names to try for a name, in order (resolv.conf(5), "search" and "ndots")."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain.strip('.')}." for domain in self.search if domain.strip(".")]
        plain = [f"{name}."]
        return plain + searched if name.count(".") >= self.ndots else searched + plain


def server(value: str | Server) -> Server:
    """A name server's address and port: "10.0.0.1", "10.0.0.1#5353", "fe80::1%eth0", ("10.0.0.1", 53)."""
    if isinstance(value, str):
        host, _, number = value.partition("#")
        if number and not number.isdecimal():
            raise ValueError(f"{value!r}: a name server's port is a number")
        port = int(number) if number else PORT
    else:
        host, port = value
    if not 0 < port < 65536:
        raise ValueError(f"{value!r}: a port is 1 to 65535")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not the address of a name server") from None
    return host, port


def from_file(path: str | os.PathLike[str]) -> Config:
    """What a file like /etc/resolv.conf says.  OSError if it cannot be read."""
    config = Config()
    with open(path, encoding="utf-8", errors="replace") as file:
        config.read(file.read())
    return config
