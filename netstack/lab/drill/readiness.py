"""System calls that wait: poll and epoll."""

from __future__ import annotations

import errno

from ...endpoint import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP
from .arguments import Answer, Arguments, Attempt, Open
from .script import Braces, Call, Dots, Node, ScriptError, Several, Unsupported
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
        """epoll_ctl(2), level-triggered"""
        number, what, fd = (self.integer(self.argument(call, i)) for i in (0, 1, 2))
        node = self.argument(call, 3)
        fields = node.fields() if isinstance(node, Braces) else {}
        events = self.integer(fields["events"].value) if "events" in fields else 0
        if events & (EPOLLET | EPOLLONESHOT):
            raise Unsupported(node.at, "EPOLLET and EPOLLONESHOT")
        data = next((f for name, f in fields.items() if name in ("fd", "ptr", "u32", "u64")), None)

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
                o.interests[fd] = (events, data.value if data else node, data.name if data else "")
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
            for fd, (events, _, _) in o.interests.items():
                other = self.open.get(fd)
                if other is not None and other.sock is not None:
                    got = self._extended(self.readiness(other)) & (events | POLLERR | POLLHUP)
                    if got:
                        found.append((fd, got))
            found = found[:most]
            if found or timeout == 0 or (deadline and self.runner.now >= deadline):
                return Answer(len(found), 0, self._events(wanted, found, o))
            return None
        return attempt

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
                    said, kept = fields[name].value, o.interests[fd][1]
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
