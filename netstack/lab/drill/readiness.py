"""System calls that wait: poll and epoll."""

from __future__ import annotations

import errno

from ... import entry
from ...endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from .arguments import Answer, Arguments, Attempt, Interest, Open
from .script import Braces, Call, Dots, Node, ScriptError, Several
from .symbols import SYMBOLS

EPOLLET, EPOLLONESHOT = 1 << 31, 1 << 30


class Readiness(Arguments):
    """poll and epoll_..., each as the method `do_NAME`."""

    # ---- readiness

    def do_poll(self, call: Call) -> Attempt:
        """poll(2)"""
        node = self.argument(call, 0)
        if not isinstance(node, Several):
            raise ScriptError(node.at, "expected [{fd=..., events=..., revents=...}, ...]")
        timeout = self.integer(self.argument(call, 2))
        deadline = self._deadline(timeout)

        def attempt() -> Answer | None:
            ready, problems = 0, []
            for item in node.items:
                fields = item.fields() if isinstance(item, Braces) else {}
                if not {"fd", "events"} <= set(fields):
                    raise ScriptError(item.at, "expected {fd=..., events=..., revents=...}")
                o = self.open.get(self.integer(fields["fd"].value))
                events = self.integer(fields["events"].value) | POLLERR | POLLHUP
                got = self._extended(self.readiness(o)) & events if o is not None and o.sock is not None else 0x20
                wanted = self.integer(fields["revents"].value) if "revents" in fields else 0
                if got != wanted and not ("revents" in fields and isinstance(fields["revents"].value, Dots)):
                    problems.append(f"revents is {poll_names(got)}, not {poll_names(wanted)}")
                ready += got != 0
            if ready or timeout == 0 or (deadline and self.runner.now >= deadline):
                return Answer(ready, 0, problems)
            return None
        return attempt

    @staticmethod
    def _extended(events: int) -> int:
        """POLLRDNORM comes with POLLIN, POLLWRNORM with POLLOUT, as on Linux."""
        return events | (0x40 if events & POLLIN else 0) | (0x100 if events & POLLOUT else 0)

    def _deadline(self, milliseconds: int) -> int:
        if milliseconds <= 0:
            return 0
        deadline = self.runner.now + milliseconds * 1_000_000
        self.runner.alarm(deadline)
        return deadline

    def do_epoll_create(self, call: Call) -> Attempt:
        """epoll_create(2)"""
        return lambda: Answer(self.adopt(call, Open()))

    def do_epoll_create1(self, call: Call) -> Attempt:
        """epoll_create1(2)"""
        return self.do_epoll_create(call)

    def do_epoll_ctl(self, call: Call) -> Attempt:
        """epoll_ctl(2)"""
        number, what, fd = (self.integer(self.argument(call, i)) for i in (0, 1, 2))
        node = self.argument(call, 3)
        fields = node.fields() if isinstance(node, Braces) else {}
        events = self.integer(fields["events"].value) if "events" in fields else 0
        data = next((f.value for name, f in fields.items() if name in ("fd", "ptr", "u32", "u64")), node)

        def attempt() -> Answer:
            o = self.open.get(number)
            if o is None or fd not in self.open:
                return Answer(-1, errno.EBADF)
            if what == SYMBOLS["EPOLL_CTL_ADD"] and fd in o.interests:
                return Answer(-1, errno.EEXIST)
            if what != SYMBOLS["EPOLL_CTL_ADD"] and fd not in o.interests:
                return Answer(-1, errno.ENOENT)
            if what == SYMBOLS["EPOLL_CTL_DEL"]:
                del o.interests[fd]
            else:
                o.interests[fd] = Interest(events, data)
            return Answer(0)
        return attempt

    def do_epoll_wait(self, call: Call) -> Attempt:
        """epoll_wait(2)"""
        number = self.integer(self.argument(call, 0))
        node = self.argument(call, 1)
        wanted = node.items if isinstance(node, Several) else (node,)
        most, timeout = (self.integer(self.argument(call, i)) for i in (2, 3))
        deadline = self._deadline(timeout)

        def attempt() -> Answer | None:
            o = self.open.get(number)
            if o is None:
                return Answer(-1, errno.EBADF)
            found = []
            self.observe()
            for fd, interest in o.interests.items():
                got = self._ready(fd, interest)
                if got and (interest.woken or not interest.events & EPOLLET):
                    found.append((fd, got))
            del found[most:]
            for fd, _ in found:
                o.interests[fd].woken = False
                if o.interests[fd].events & EPOLLONESHOT:
                    o.interests[fd].events = 0          # until EPOLL_CTL_MOD
            if found or timeout == 0 or (deadline and self.runner.now >= deadline):
                return Answer(len(found), 0, self._events(wanted, found, o))
            return None
        return attempt

    def _ready(self, fd: int, interest: Interest) -> int:
        """Which of the events that are asked for hold now."""
        o = self.open.get(fd)
        if o is None or o.sock is None or not interest.events & ~(EPOLLET | EPOLLONESHOT):
            return 0
        return self._extended(self.readiness(o)) & (interest.events | POLLERR | POLLHUP)

    def observe(self) -> None:
        """Something may have happened: what has become ready, or has more to read, is news for EPOLLET."""
        for instance in self.open.values():
            for fd, interest in instance.interests.items():
                o = self.open.get(fd)
                ready = self._ready(fd, interest)
                held = entry.available(o.sock._world, o.sock._handle) if o is not None and o.sock is not None else 0
                if ready & ~interest.seen or (ready & POLLIN and held > interest.held):
                    interest.woken = True
                interest.seen, interest.held = ready, held

    def _events(self, wanted: tuple[Node, ...], found: list[tuple[int, int]], o: Open) -> list[str]:
        problems = []
        for item, (fd, got) in zip(wanted, found, strict=False):
            fields = item.fields() if isinstance(item, Braces) else {}
            if "events" in fields and not isinstance(fields["events"].value, Dots):
                events = self.integer(fields["events"].value)
                if events != got:
                    problems.append(f"events is {poll_names(got)}, not {poll_names(events)}")
            for name in ("fd", "ptr", "u32", "u64"):
                if name in fields:
                    said, kept = fields[name].value, o.interests[fd].data
                    if not isinstance(said, Dots) and not isinstance(kept, Braces) and (
                            self.integer(said) != self.integer(kept)):
                        problems.append(f"{name} is {self.integer(kept)}, not {self.integer(said)}")
        return problems


def poll_names(events: int) -> str:
    """Bits of poll(2) by name."""
    names = (("POLLIN", POLLIN), ("POLLPRI", POLLPRI), ("POLLOUT", POLLOUT), ("POLLERR", POLLERR),
             ("POLLHUP", POLLHUP), ("POLLNVAL", 0x20), ("POLLRDNORM", 0x40), ("POLLWRNORM", 0x100),
             ("POLLRDHUP", POLLRDHUP))
    return "|".join(name for name, bit in names if events & bit) or "0"
