"""The congestion controls that a stack knows, by name; a program may add its own.

    from netstack.tcp.algorithms import register

    def on_ack(c, now):                         # c: a Congestion record; bytes and ns
        c.cwnd += c.acked                       # not for a network that others use

    register("eager", on_ack=on_ack)
    sock.setsockopt(IPPROTO_TCP, TCP_CONGESTION, b"eager")

A hook that is @compiled becomes machine code and runs inside the engine without
Python; any other function is called through Python, which is slow, and right for
a first experiment.  Neither compiles the engine anew.  docs/congestion.md shows more.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..machine import address_of, hook_address
from . import bbr, cubic, reno
from .congestion import ALGORITHMS, Congestion
from .tcb import Tcp

HOOKS = ("init", "on_ack", "on_loss", "on_rto", "on_recovered")
DEFAULT = "cubic"
LONGEST_NAME = 15           # characters (Linux: TCP_CA_NAME_MAX - 1)


@dataclass(frozen=True)
class Control:
    """A congestion control."""

    name: str
    addresses: Callable[[], tuple[int, ...]]        # of its hooks, in the order of HOOKS; compiles them
    full: bool


def _built_in(name: str, module: Any, full: bool = False) -> Control:
    return Control(name, lambda: tuple(address_of(getattr(module, hook)) for hook in HOOKS), full)


_known: list[Control] = [_built_in("reno", reno), _built_in("cubic", cubic), _built_in("bbr", bbr, full=True)]
BUILT_IN = tuple(control.name for control in _known)


def names() -> tuple[str, ...]:
    """What TCP_CONGESTION takes."""
    return tuple(control.name for control in _known)


def index_of(name: str) -> int:
    """The place of an algorithm in every stack's table.  Raises KeyError."""
    for i, control in enumerate(_known):
        if control.name == name:
            return i
    raise KeyError(f"no congestion control {name!r}; there is {', '.join(names())}")


def register(name: str, *, on_ack: Callable[..., object], init: Callable[..., object] | None = None,
             on_loss: Callable[..., object] | None = None, on_rto: Callable[..., object] | None = None,
             on_recovered: Callable[..., object] | None = None, full: bool = False) -> None:
    """Add an algorithm, for every stack of this process.

    Each hook is called as `hook(c, now)` with the connection's `Congestion` record and the time in ns; one that is
    left out is Reno's.  `full`: it sets cwnd in every state by itself, and hears of every ACK; otherwise recoveries
    bring cwnd down to the `ssthresh` that `on_loss` sets.  Raises ValueError for a name that is taken or too long, or
    when the table is full.
    """
    if name in names() or not 0 < len(name.encode()) <= LONGEST_NAME:
        raise ValueError(f"{name!r} is {'taken' if name in names() else 'no name of 1 to 15 bytes'}")
    if len(_known) == ALGORITHMS:
        raise ValueError(f"there are {ALGORITHMS} congestion controls already")
    own = {"init": init, "on_ack": on_ack, "on_loss": on_loss, "on_rto": on_rto, "on_recovered": on_recovered}
    found: dict[str, int] = {}

    def addresses() -> tuple[int, ...]:
        if not found:
            found.update((hook, hook_address(function, Congestion)) for hook, function in own.items() if function)
        return tuple(found[hook] if hook in found else address_of(getattr(reno, hook)) for hook in HOOKS)

    _known.append(Control(name, addresses, full))


def install(tcp: Tcp, index: int) -> None:
    """Make an algorithm known to a stack (whose world the caller owns, or nobody runs yet)."""
    a = tcp.algorithms[index]
    if a.known == 0:
        a.init, a.on_ack, a.on_loss, a.on_rto, a.on_recovered = _known[index].addresses()
        a.full = 1 if _known[index].full else 0
        a.known = 1
