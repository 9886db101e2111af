"""`grep ... /proc/net/tcp`: a script looks whether there is a connection or a listener.

The file is made from the stack's own table, as far as its columns say what a
connection is: number, addresses, state.
"""
from __future__ import annotations

import re
import shlex
import socket as real
from typing import Any

from .script import Command, Unsupported

FILES = {"/proc/net/tcp": False, "/proc/net/tcp6": True}
STATES = ("ESTABLISHED", "SYN-SENT", "SYN-RECEIVED", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
          "LAST-ACK", "LISTEN", "CLOSING")         # Linux's numbers, from 1


def is_search(command: Command) -> bool:
    """Whether it is nothing but greps, the first of these files."""
    try:
        first, *others = _pipeline(command.text)
    except ValueError:
        return False
    return (first[:1] == ["grep"] and len(first) > 2 and all(word in FILES for word in first[2:])
            and all(words[:1] == ["grep"] and len(words) == 2 for words in others))


def _pipeline(text: str) -> list[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return found


def search(command: Command, stack: Any) -> bool:
    """Whether a line is found."""
    first, *others = _pipeline(command.text)
    lines = [line for name in first[2:] for line in table(stack, FILES[name])]
    for words in (first, *others):
        try:
            lines = [line for line in lines if re.search(words[1], line)]
        except re.error as error:
            raise Unsupported(command.at, f"the pattern {words[1]!r} ({error})") from None
    return bool(lines)


def table(stack: Any, six: bool) -> list[str]:
    """The lines of /proc/net/tcp, or of tcp6."""
    lines: list[str] = []
    for c in stack.connections():
        if c.protocol == "tcp" and c.state in STATES and (":" in c.local[0]) == six:
            remote = c.remote or ("::" if six else "0.0.0.0", 0)
            lines.append(f"{len(lines):4d}: {_end(c.local)} {_end(remote)} {STATES.index(c.state) + 1:02X} ")
    return lines


def _end(address: Any) -> str:
    """An address as words of the host's order, and a port."""
    host, port = address[:2]
    raw = real.inet_pton(real.AF_INET6 if ":" in host else real.AF_INET, host.partition("%")[0])
    words = [raw[i:i + 4][::-1] for i in range(0, len(raw), 4)]
    return f"{b''.join(words).hex().upper()}:{port:04X}"
