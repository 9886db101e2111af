"""Names that need no server: a table of the stack's own, and a file like /etc/hosts.  hosts(5)."""
from __future__ import annotations

import ipaddress
import os
import socket as real
from collections.abc import Mapping
from dataclasses import dataclass, field

Families = tuple[int, ...]


@dataclass
class Line:
    """An address, its name and its aliases."""

    address: str
    names: list[str]


@dataclass
class Found:
    """What a name stands for, or an address."""

    canonical: str
    aliases: list[str] = field(default_factory=list)
    addresses: list[tuple[int, str]] = field(default_factory=list)      # (family, text)


class Hosts:
    """The table.  A file is read again when it has changed."""

    def __init__(self, given: str | os.PathLike[str] | Mapping[str, str | list[str]] | None = None) -> None:
        """`given`: a file's path, or names and their addresses.  ValueError for what is no address."""
        self.lines: list[Line] = []
        self.path: str | None = None
        self._stamp: tuple[int, int] | None = None
        self._read: list[Line] = []
        if isinstance(given, Mapping):
            for name, addresses in given.items():
                for address in [addresses] if isinstance(addresses, str) else addresses:
                    self.add(address, name)
        elif given is not None:
            self.path = os.fspath(given)

    def add(self, address: str, *names: str) -> None:
        """Another line of the stack's own table: an address, a name, aliases."""
        if not names:
            raise ValueError(f"{address}: what is its name?")
        self.lines.append(Line(str(ipaddress.ip_address(address)), list(names)))

    def find(self, name: str, families: Families) -> Found | None:
        """The addresses of these families that a name has here, and what it is called really."""
        wanted = name.rstrip(".").lower()
        found = None
        for line in self._all():
            family = _family(line.address)
            if family not in families or wanted not in (n.lower() for n in line.names):
                continue
            if found is None:
                found = Found(line.names[0], line.names[1:])
            found.addresses.append((family, line.address))
        return found

    def reverse(self, address: str) -> Found | None:
        """The names of an address."""
        for line in self._all():
            if line.address == address:
                return Found(line.names[0], line.names[1:], [(_family(address), address)])
        return None

    def _all(self) -> list[Line]:
        if self.path is None:
            return self.lines
        try:
            status = os.stat(self.path)
            stamp = status.st_mtime_ns, status.st_size
            if stamp != self._stamp:
                with open(self.path, encoding="utf-8", errors="replace") as file:
                    self._read = read(file.read())
                self._stamp = stamp
        except OSError:             # no file, no names: as on Linux
            self._read, self._stamp = [], None
        return self.lines + self._read


def read(text: str) -> list[Line]:
    """The lines of a hosts(5) file; what is none is passed over."""
    lines = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        try:
            if len(words) > 1:
                lines.append(Line(str(ipaddress.ip_address(words[0])), words[1:]))
        except ValueError:
            continue
    return lines


def _family(address: str) -> int:
    return int(real.AF_INET6 if ":" in address else real.AF_INET)
