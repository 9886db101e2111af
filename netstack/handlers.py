"""Handlers: a program's own functions that run inside the engine, for each chunk of data or each datagram.

    from netstack.handlers import Exchange, compiled, consume, send_back

    @compiled
    def echo(x: Exchange) -> None:
        consume(x, send_back(x, 0, x.length))

    server.set_handler(echo)        # a listener: its connections never reach accept()

A @compiled one is machine code that the engine calls by its address, without Python and
its lock; any other function is called through Python, which is slow, and right for a
first experiment.  Neither compiles the engine anew.  docs/handlers.md is the description.
"""
from __future__ import annotations

import builtins
import ctypes
import dis
import enum
import os
import threading
from collections.abc import Callable, Iterator
from errno import EBADF, EOPNOTSUPP
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from . import entry
from .answer import (
    abort,
    byte_at,
    close,
    consume,
    end,
    find,
    has_room,
    number_at,
    send_back,
    send_datagram,
    send_decimal,
    send_number,
    send_text,
    wake,
)
from .exchange import HANDLERS, Event, Exchange
from .exchange import Handler as Entry
from .machine import MICROSECOND, MS, SECOND, add64, compiled, hook_address, mix64, mul64, rotl64
from .machine.compiled import is_compiled

if TYPE_CHECKING:
    from .sockbase import Base
    from .stack import Stack

Function = Callable[[Exchange], object]

WRITABLE = frozenset({*"abcdefgh", "peer_hi", "peer_lo", "peer_port", "peer_scope"})
FUNCTIONS = (abort, byte_at, close, consume, end, find, has_room, number_at, send_back, send_datagram, send_decimal,
             send_number, send_text, wake, add64, mix64, mul64, rotl64)
BUILTINS = frozenset({"abs", "bool", "int", "len", "max", "min", "range"})
REFUSED = ("STORE_SUBSCR", "STORE_SLICE", "DELETE_ATTR", "DELETE_SUBSCR", "STORE_GLOBAL", "DELETE_GLOBAL",
           "STORE_DEREF", "IMPORT_NAME")
COUNTERS = ("calls", "opened", "open", "bytes_in", "bytes_out", "datagrams_in", "datagrams_out", "unsent", "clamped",
            "errors")

_addresses: dict[Function, int] = {}


def check(function: Any) -> None:
    """Whether a @compiled function touches nothing but its exchange.  Raises TypeError that says what else it does.

    It may call the functions of this module, other @compiled functions that pass this check, and arithmetic; it may
    read constants, and write its own variables and the fields of the exchange that are for it.
    """
    _check(function, set())


def _check(function: Any, seen: set[int]) -> None:
    plain = getattr(function, "py_func", function)
    if id(plain) in seen:
        return
    seen.add(id(plain))
    cells = dict(zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True))

    def refuse(what: str) -> TypeError:
        return TypeError(f"the handler {plain.__qualname__} may touch its exchange only: {what} (docs/handlers.md)")

    for instruction, value in _names(plain.__code__, plain.__globals__, cells):
        name = str(instruction.argval)
        if instruction.opname in REFUSED:
            raise refuse(f"{instruction.opname.replace('_', ' ').lower()} {name}")
        if instruction.opname == "STORE_ATTR":
            if name not in WRITABLE:
                raise refuse(f"it writes the field {name}; it may write {', '.join(sorted(WRITABLE))}")
        elif any(value is f for f in FUNCTIONS):
            continue
        elif is_compiled(value):
            inside = str(getattr(value, "__module__", "")).startswith("netstack.")
            if inside and not str(value.__module__).startswith("netstack.services."):
                raise refuse(f"it calls {name} of the engine")
            _check(value, seen)
        elif not _is_constant(value):
            raise refuse(f"it uses {name}")


def _names(code: CodeType, scope: dict[str, Any], cells: dict[str, Any]) -> Iterator[tuple[dis.Instruction, Any]]:
    """Each instruction that names something from outside, with what it names; and those that write."""
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        if instruction.opname == "STORE_ATTR" or instruction.opname in REFUSED:
            yield instruction, None
        elif instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
            name = str(instruction.argval)
            value = cells[name].cell_contents if name in cells else scope.get(name, getattr(builtins, name, None))
            while isinstance(value, ModuleType) and i + 1 < len(instructions) and (
                    instructions[i + 1].opname in ("LOAD_ATTR", "LOAD_METHOD")):
                i += 1
                value = getattr(value, str(instructions[i].argval), None)
            yield instructions[i], value


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_constant(v) for v in value)
    if isinstance(value, type) and issubclass(value, (enum.Enum, Exception)):
        return True
    return isinstance(value, (int, float, str, bytes)) or any(value is getattr(builtins, name) for name in BUILTINS)


def address_of(function: Function) -> int:
    """The address of a handler's code; checks and compiles it, the first time."""
    if function not in _addresses:
        if not callable(function):
            raise TypeError(f"a handler is a function of an Exchange, or None; not {function!r}")
        if is_compiled(function):
            check(function)
        _addresses[function] = hook_address(function, Exchange, alone=True)
    return _addresses[function]


class Table:
    """The handlers of one stack."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._texts: dict[int, tuple[bytes, Any]] = {}
        self._lock = threading.Lock()

    def give(self, sock: Base, function: Function | None, text: bytes) -> None:
        """See `socket.set_handler`."""
        if sock._handle == 0:
            raise OSError(EBADF, os.strerror(EBADF))
        address = 0 if function is None else address_of(function)
        with self._lock:
            slot = 0 if function is None else self._slot(sock._stack, function, address, text)
            r = entry.set_handler(sock._world, sock._handle, slot)
        if r == -EOPNOTSUPP:
            raise OSError(EOPNOTSUPP, "only TCP and UDP sockets can have a handler")
        if r < 0:
            raise sock._error(r)

    def _slot(self, stack: Stack, function: Function, address: int, text: bytes) -> int:
        """The entry of a function with a text; a new one, or one that nobody has any more."""
        free = unused = 0
        for slot in range(HANDLERS - 1, 0, -1):
            have = _entry(stack, slot)
            if have.address == address and self._texts[slot][0] == text:
                return slot
            if have.address == 0:
                free = slot
            elif have.references == 0:
                unused = slot
        slot = free or unused
        if slot == 0:
            raise ValueError(f"the sockets of this stack have {HANDLERS - 1} different handlers already")
        with stack._guard():
            have = _entry(stack, slot)
            ctypes.memset(ctypes.addressof(have), 0, ctypes.sizeof(have))  # type: ignore[arg-type]
            kept = ctypes.create_string_buffer(text, len(text)) if text else None
            have.text = ctypes.addressof(kept) if kept is not None else 0
            have.text_length = len(text)
            have.address = address
        self._texts[slot] = text, kept
        stack._memory.kept[slot] = kept           # the engine may outlive the Stack
        self._names[slot] = getattr(function, "__name__", repr(function))
        return slot

    def counters(self, stack: Stack) -> dict[str, dict[str, int]]:
        """What each has done, by the function's name (the same name again: name#2)."""
        found: dict[str, dict[str, int]] = {}
        for slot, name in sorted(self._names.items()):
            label, n = name, 1
            while label in found:
                n += 1
                label = f"{name}#{n}"
            found[label] = {counter: getattr(_entry(stack, slot), counter) for counter in COUNTERS}
        return found


def _entry(stack: Stack, slot: int) -> Entry:
    found: Entry = stack._record.handlers[slot]
    return found


__all__ = [
    "MICROSECOND",
    "MS",
    "SECOND",
    "Event",
    "Exchange",
    "abort",
    "byte_at",
    "check",
    "close",
    "compiled",
    "consume",
    "end",
    "find",
    "has_room",
    "mix64",
    "number_at",
    "send_back",
    "send_datagram",
    "send_decimal",
    "send_number",
    "send_text",
    "wake",
]
