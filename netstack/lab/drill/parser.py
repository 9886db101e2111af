"""Tokens to a script.

The grammar is the one of packetdrill's public description (its paper and its
syntax reference); docs/drill.md writes down what of it is supported.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from .lexer import tokens
from .parse_calls import Expressions
from .parse_packets import Packets
from .script import (
    Action,
    Call,
    Clock,
    Code,
    Command,
    Event,
    IcmpPacket,
    Script,
    ScriptError,
    TcpPacket,
    UdpPacket,
    When,
)


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


class _Parser(Packets, Expressions):
    """Events in their order."""

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
