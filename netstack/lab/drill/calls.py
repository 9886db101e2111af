"""System calls of a script, on sockets of the stack.

Every socket of the stack is one that does not block; whether the script's does is
kept here.  A call is an `Attempt`, tried again after each event until it has an
answer: so no thread is needed for one that blocks.
"""

from __future__ import annotations

import errno
import os
import struct

from .arguments import Answer, Attempt
from .lifecycle import Lifecycle
from .modes import Modes
from .readiness import Readiness
from .script import Call, Dots, Mismatch, ScriptError, Unsupported
from .symbols import ERRNOS
from .transfer import Transfer


class Calls(Lifecycle, Transfer, Modes, Readiness):
    """All of them, and what they return compared with what the script expects."""

    def close_all(self) -> None:
        """At the end of a script."""
        for o in [*self.open.values(), *self.hidden]:
            if o.sock is not None:
                o.sock._description.linger = -1
                o.sock.close()
        self.open.clear()
        self.hidden.clear()

    def begin(self, call: Call) -> Attempt:
        """A call, ready to be tried."""
        method = getattr(self, f"do_{call.name}", None)
        if method is None:
            raise Unsupported(call.at, f"the system call {call.name}")
        attempt: Attempt = method(call)

        def guarded() -> Answer | None:
            try:
                return attempt()
            except BlockingIOError:
                return None
            except OSError as error:
                return Answer(-1, error.errno or errno.EIO)
            except (ValueError, OverflowError, struct.error) as error:      # no C function could be given this
                raise ScriptError(call.at, f"{call.name}(): {error}") from None

        return guarded

    def check(self, call: Call, answer: Answer) -> None:
        """Compare with what the script expects."""
        wanted = None if isinstance(call.result, Dots) else self.integer(call.result)
        number = ERRNOS.get(call.errno or "")
        if call.errno is not None and number is None:
            raise ScriptError(call.at, f"expected the name of an errno, found {call.errno!r}")
        if (wanted is not None and wanted != answer.value) or (number is not None and answer.errno != number):
            raise Mismatch(call.at, f"{call.name}() returned {_said(answer.value, answer.errno)}, not "
                                    f"{_said(wanted if wanted is not None else -1, number or 0)}")
        if answer.problems:
            raise Mismatch(call.at, f"{call.name}(): {'; '.join(answer.problems)}")


def _said(value: int, number: int) -> str:
    return f"{value} {errno.errorcode.get(number, number)} ({os.strerror(number)})" if number else str(value)
