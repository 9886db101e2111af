"""Compile the engine, or load it from the cache; and say so while it takes long.

A fresh machine compiles once, in some minutes; later processes load the
result in some seconds.  Two processes share the work where there are two CPUs:
each takes the next piece that the other has not taken, and what one has put
into the cache the other finds there.  `docs/one-source-two-speeds.md`.
"""
from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine.compiled import DISPATCHERS, _cache_directory, is_cached
from .machine.mode import JIT
from .machine.unit import UNITS, address_of

_ready = False      # everything is loaded into this process
TICK = 0.5          # seconds between two looks at the progress


@dataclass
class Report:
    """What `ensure_compiled` did."""

    jit: bool               # False: this process interprets
    compiled: int           # functions compiled now; 0: all came from the cache
    seconds: float


def entries() -> tuple[Any, ...]:
    """The functions that Python calls; with the units, all else is compiled with them."""
    return tuple(importlib.import_module("netstack.entry").ENTRIES)


def functions() -> Iterator[tuple[str, bool]]:
    """Every compiled function of the package by name, and whether its code is at hand."""
    entries()
    for function in (*DISPATCHERS, *UNITS):
        plain = getattr(function, "py_func", function)
        yield f"{plain.__module__}.{plain.__qualname__}", _is_made(function)


def missing() -> list[Any]:
    """The entry functions and units that are not in the cache."""
    return [piece for piece in (*entries(), *UNITS) if not _at_hand(piece)] if JIT else []


def ensure_compiled(quiet: bool = False) -> Report:
    """Make every entry function ready to call.  Shows progress on stderr only if the compiler has to run."""
    global _ready
    started = time.monotonic()
    if not JIT or _ready:
        return Report(JIT, 0, 0.0)
    if not missing():
        _load()
        _ready = True
        return Report(True, 0, time.monotonic() - started)
    absent = [function for function in (*DISPATCHERS, *UNITS) if not _is_made(function)]
    with _silence() if quiet else _progress(absent):
        _compile()
        _load()
    _ready = True
    made = sum(map(_is_made, absent))
    return Report(True, made, time.monotonic() - started)


def _at_hand(piece: Any) -> bool:
    """Whether an entry function or a unit can be called without compiling."""
    return is_cached(piece) if hasattr(piece, "py_func") else _is_made(piece)


def _is_made(function: Any) -> bool:
    """Whether the function is in the cache in any form: for Python, for compiled callers, as a unit."""
    plain = getattr(function, "py_func", function)
    directory = Path(_cache_directory(plain.__module__, "unit")).parent
    return any(directory.rglob(f"*.{plain.__qualname__}-*.nbi"))


def _load() -> None:
    """Have everything ready in this process; what is not in the cache is compiled."""
    for unit in UNITS:
        address_of(unit)
    for function in entries():
        if not function.signatures:
            function.compile("(" + "int64," * function.py_func.__code__.co_argcount + ")")


def _compile() -> None:
    """Put everything into the cache, with a second process if there is a CPU for it."""
    with tempfile.TemporaryDirectory(prefix="netstack-warm-") as claims:
        if len(os.sched_getaffinity(0)) < 2:
            share(claims)
            return
        program = "import sys; from netstack.warm import share; share(sys.argv[1])"
        aside = subprocess.Popen([sys.executable, "-c", program, claims], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        try:
            share(claims)
            aside.wait()                # whatever became of it: what it has not made is compiled here
        finally:
            aside.kill()
            aside.wait()


def share(claims: str) -> None:
    """Compile each piece that is missing and that nobody has claimed; a claim is a file in that directory."""
    for number, piece in enumerate((*UNITS, *entries())):
        if _at_hand(piece):
            continue
        try:
            os.close(os.open(os.path.join(claims, str(number)), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        except FileNotFoundError:       # the other has finished, or was ended
            return
        if piece in UNITS:
            address_of(piece)
        else:
            piece.compile("(" + "int64," * piece.py_func.__code__.co_argcount + ")")


@contextmanager
def _silence() -> Iterator[None]:
    yield


@contextmanager
def _progress(absent: list[Any]) -> Iterator[None]:
    """A progress bar in a terminal; one line before and one after elsewhere."""
    if not sys.stderr.isatty():
        print("netstack: compiling the engine for this machine, once (some minutes)", file=sys.stderr, flush=True)
        started = time.monotonic()
        yield
        print(f"netstack: compiled in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn(),
                  TextColumn("functions"), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("compiling the engine for this machine, once", total=len(absent))
        waiting = list(absent)

        def look() -> None:
            waiting[:] = [function for function in waiting if not _is_made(function)]
            shown.update(task, completed=len(absent) - len(waiting))

        with _every(TICK, look):
            yield
        shown.update(task, completed=len(absent))


@contextmanager
def _every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Do something regularly in a thread."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            with suppress(OSError):
                action()

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
