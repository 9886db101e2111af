"""One script from beginning to end, on a stack and a virtual clock of its own.

The peer is the script: it answers for its link address, and says nothing else
than what is written.  Packets of the stack wait in a queue until an event
expects one; those that nobody expects are in the story, and no error.
"""

from __future__ import annotations

import socket as real
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...tcp import fastopen_client
from ...tcpinfo import TCP_INFO
from . import commands, info, proc
from .bench import Pending, seconds
from .configure import VERSIONS, Options, configure
from .expect import Expect
from .parser import parse
from .peer import Peer
from .script import (
    NS,
    At,
    Call,
    Clock,
    Code,
    Command,
    DrillError,
    Event,
    IcmpPacket,
    Mismatch,
    ScriptError,
    TcpPacket,
    UdpPacket,
    Unsupported,
)

__all__ = ["VERSIONS", "Options", "Outcome", "Runner", "run_file", "run_text"]
DEFINES = {"CMSG_LEVEL_IP": "SOL_IP", "CMSG_TYPE_RECVERR": "IP_RECVERR"}


@dataclass
class Outcome:
    """How a script ended.  `error` None: as it expects."""

    path: str
    ip_version: str
    error: DrillError | None = None
    story: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0                # virtual time

    @property
    def status(self) -> int:
        """0, 1 for a mismatch, 2 for what cannot be run."""
        return 0 if self.error is None else self.error.status

    def report(self) -> str:
        """The error, where it is, and what happened before."""
        if self.error is None:
            return f"{self.path} ({self.ip_version}): ok"
        at = self.error.at
        kind = "unsupported: " if isinstance(self.error, Unsupported) else ""
        lines = [f"{self.path}:{at.line}:{at.column}: {kind}{self.error.message}"]
        if self.story and isinstance(self.error, Mismatch):
            lines += [f"  ({self.ip_version}) so far:", *(f"    {line}" for line in self.story[-60:])]
        return "\n".join(lines)


def run_file(path: str | Path, *, ip_version: str | None = None, defines: Mapping[str, str] | None = None,
             say: Callable[[str], None] | None = None) -> Outcome:
    """Run a script in a file.  `say` gets every line of the story as it happens.  OSError: it cannot be read."""
    return run_text(Path(path).read_text(encoding="utf-8", errors="replace"), str(path), ip_version=ip_version,
                    defines=defines, say=say)


def run_text(text: str, path: str = "script", *, ip_version: str | None = None,
             defines: Mapping[str, str] | None = None, say: Callable[[str], None] | None = None) -> Outcome:
    """Run a script.  `ip_version` and `defines` are for what the script itself does not say."""
    outcome = Outcome(path, ip_version or "ipv4")
    runner = None
    try:
        script = parse(text, {**DEFINES, **(defines or {})})
        options = configure(script.options, ip_version)
        outcome.ip_version = options.ip_version
        runner = Runner(options, path, say)
        runner.run(script.first, script.events, script.last)
    except DrillError as error:
        outcome.error = error
    finally:
        if runner is not None:
            outcome.story, outcome.notes = runner.story, runner.notes
            outcome.seconds = runner.now / NS
            runner.close()
    return outcome


class Runner(Peer, Expect):
    """Events, calls, commands and code in their order."""

    def run(self, first: Command | None, events: list[Event], last: Command | None) -> None:
        """Run a script; DrillError says how it failed."""
        if first is not None:
            self.command(first)
        for event in events:
            self.event(event)
        if self.pending is not None:
            self.finish_pending()
        if last is not None:
            self.command(last)

    def event(self, event: Event) -> None:
        """One event."""
        when, action = event.when, event.action
        base = self.last if when.clock is Clock.RELATIVE else 0
        at = base + when.ns
        if isinstance(action, (TcpPacket, UdpPacket, IcmpPacket)) and not action.inbound:
            self.expect(event, action, base)
            return
        if when.clock is Clock.ABSOLUTE and at < self.last:
            raise ScriptError(event.at, f"time goes back: {seconds(at)} s after {seconds(self.last)} s")
        self.advance(at)
        if isinstance(action, Call) and self.pending is not None:
            self.finish_pending()
            if self.now > at + self.tolerance(at):
                raise Mismatch(event.at, f"{action.name}() can begin only at {seconds(self.now)} s: the call before it "
                                         f"blocked until then")
        self.last = at
        if isinstance(action, Call):
            self.call(action, base)
        elif isinstance(action, TcpPacket):
            self.inject_tcp(action)
        elif isinstance(action, UdpPacket):
            self.inject_udp(action)
        elif isinstance(action, IcmpPacket):
            self.inject_icmp(action)
        elif isinstance(action, Command):
            self.command(action)
        else:
            self.code(action)
        self._settle()
        self.try_pending()

    # ---- commands and code

    def command(self, command: Command) -> None:
        """A command that sets sysctls, or one that looks for connections."""
        if proc.is_search(command):
            if not proc.search(command, self.stack):
                raise Mismatch(command.at, f"the command {command.text!r} finds nothing")
            return
        for at, key, value, named in commands.assignments(command):
            if key == commands.FLUSH:
                self._forget_cookies()
                continue
            if key == commands.FILE:
                size, _, file = value.rpartition(" ")
                self.calls.files.pop(file, None)
                if size:
                    self.calls.files[file] = int(size)
                continue
            if key == commands.NSTAT:
                self._count(at, value)
                continue
            why = commands.apply(self.stack.settings, key, value)
            if why is not None and named:
                self.note(f"{self.path}:{at.line}:{at.column}: {key}={value} has no effect: {why}")

    def _forget_cookies(self) -> None:
        """Of what Linux keeps in tcp_metrics, a stack has what Fast Open's clients remember (RFC 7413 4.1.3)."""
        fast = self.stack._record.tcp.fast
        for i in range(fastopen_client.ENTRIES):
            fast.entries[i].used_at = 0

    def _count(self, at: At, name: str) -> None:
        """nstat"""
        try:
            failed = self.counters.look(self.stack.stats(), name)
        except KeyError:
            raise Unsupported(at, f"the counter {name}: this stack does not have it") from None
        if failed is not None:
            raise Mismatch(at, failed)

    def code(self, code: Code) -> None:
        """%{ }%: Python about the TCP_INFO of the socket that was used last."""
        sock = self._current(code)
        try:
            raw = sock.getsockopt(int(real.IPPROTO_TCP), TCP_INFO, info.LENGTH)
        except OSError:
            raise Unsupported(code.at, "TCP_INFO: this stack does not have it") from None
        info.run(code, self.path, bytes(raw), self.variables)

    def _current(self, code: Code) -> Any:
        streams = [o for o in self.calls.open.values()
                   if o.sock is not None and o.talk is not None and o.sock.type == real.SOCK_STREAM]
        for o in streams:
            if o.talk is self.last_talk:
                return o.sock
        if not streams:
            raise Mismatch(code.at, "there is no open connection whose TCP_INFO could be read")
        return streams[-1].sock

    # ---- system calls

    def call(self, call: Call, base: int) -> None:
        """Begin a system call; one that blocks goes on while later events happen."""
        attempt = self.calls.begin(call)
        self.tell(call.text)
        answer = attempt()
        self._settle()
        if call.until is None:
            if answer is None:
                raise Mismatch(call.at, f"{call.name}() blocks: it is to return at once")
            self.calls.check(call, answer)
            return
        until = call.until.ns + (base if call.until.clock is Clock.RELATIVE else 0)
        self.pending = Pending(call, attempt, until)
        if answer is not None:
            self._returned(answer)
        else:
            self.try_pending()

    def finish_pending(self) -> None:
        """Let time pass until it returns."""
        assert self.pending is not None
        call, until = self.pending.call, self.pending.until
        latest = max(until + self.tolerance(until), self.now)
        while self.pending is not None and self.step(latest):
            pass
        if self.pending is not None:
            raise Mismatch(call.at, f"{call.name}() has not returned at {seconds(self.now)} s, "
                                    f"expected at {seconds(until)} s")
