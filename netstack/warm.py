"""Compile the engine, or load it from the cache; and say so while it takes long.

A fresh machine compiles once, in some minutes; later processes load the
result.  Two processes share the work where there are two CPUs:
each takes the next piece that the other has not taken, and what one has put
into the cache the other finds there.  `docs/one-source-two-speeds.md`.

With NETSTACK_JIT=image this process compiles nothing: it has the image
(`image.py`), or it is interpreted until another process has made it, and
changes over then, while it runs: both forms work on the same memory, so each thread
goes on with the new one at its next call.
"""
from __future__ import annotations

import errno
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
from types import FunctionType
from typing import Any

from . import image
from .machine import loaded
from .machine.compiled import DISPATCHERS, ENTERED, _cache_directory, is_cached, make
from .machine.mode import IMAGE, JIT
from .machine.unit import UNITS, address_of, forget_addresses

_ready = False      # everything is loaded into this process
TICK = 0.5          # seconds between two looks at the progress
NICE = 5            # how far a process that compiles in the background stands back


@dataclass
class Report:
    """What `ensure_compiled` did."""

    jit: bool               # False: this process interprets
    compiled: int           # functions compiled now; 0: all came from the cache
    seconds: float


def entries() -> tuple[Any, ...]:
    """The functions that Python calls; with the units, all else is compiled with them."""
    for module in image.MODULES:
        importlib.import_module(module)
    return tuple(ENTERED)


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
    """Make every entry function ready to call.  Shows progress on stderr only if the compiler has to run.

    With NETSTACK_JIT=image and no image yet: have another process make it, and change over when it has.
    """
    global _ready
    started = time.monotonic()
    if IMAGE and not loaded.is_there():
        _start_maker(quiet)
        return Report(False, 0, time.monotonic() - started)
    if not JIT or _ready:
        return Report(JIT or IMAGE, 0, 0.0)
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


def to_be_compiled() -> bool:
    """Whether this process is interpreted until there is an image: then `change_over` comes, or never does."""
    return IMAGE and not loaded.is_there()


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
        make(function)


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
            make(piece)


# ---- the image ---------------------------------------------------------------------

_maker: threading.Thread | None = None
_starting = threading.Lock()


def _after_fork() -> None:
    """A child has no thread that waits for the compiler: its first stack starts one."""
    global _maker, _starting
    _maker, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def write_image() -> Path:
    """Write the image, if it is not there; everything is compiled.  OSError: the cache cannot be written."""
    target = image.path()
    return target if target.exists() else image.write(UNITS, entries())


def prepare() -> None:
    """Have everything compiled before this returns (before a measurement, say), with progress on stderr."""
    if not IMAGE or loaded.is_there():
        ensure_compiled()
    elif subprocess.run([sys.executable, "-m", "netstack", "warm"], env=_compiling(), stdout=subprocess.DEVNULL,
                        check=False).returncode == 0 and image.load():
        change_over()


def _compiling() -> dict[str, str]:
    """The environment of a process that compiles."""
    return {**os.environ, "NETSTACK_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}


def _start_maker(quiet: bool) -> None:
    """A thread that waits for the process that compiles (it outlives us if we end before), and changes over."""
    global _maker
    with _starting:
        if _maker is None:
            if not quiet:
                print("netstack: interpreted until the engine is compiled for this machine, once, in the background "
                      "(some minutes)", file=sys.stderr, flush=True)
            _maker = threading.Thread(target=_have_image_made, args=(quiet,), name="netstack compiler", daemon=True)
            _maker.start()


def _have_image_made(quiet: bool) -> None:
    started = time.monotonic()
    reason = _make_image()
    if not reason and image.load():
        change_over()
        if not quiet:
            print(f"netstack: compiled in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    else:
        print(f"netstack: goes on interpreted; it could not be compiled: {reason or 'no image'}", file=sys.stderr,
              flush=True)


def _make_image() -> str:
    """Have another process compile.  What was wrong, or nothing."""
    folder = image.path().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        return f"{error} (NETSTACK_CACHE_DIR says where to keep it)"
    program = [sys.executable, "-m", "netstack", "warm", "--quiet"]
    child = subprocess.Popen(program, env=_compiling(), start_new_session=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
    _, said = child.communicate()
    if child.returncode == 0:
        return ""
    return (said.strip().splitlines() or [f"exit code {child.returncode}"])[-1]


def change_over() -> None:
    """The image has been loaded: from now on it is called.

    Threads inside an interpreted call come out of it within `drive.SLICE` (`World.patience`); until then both forms are
    at work.
    """
    forget_addresses()
    instead = {plain: loaded.function(plain) for plain in ENTERED}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "netstack":
            for attribute, value in list(vars(module).items()):
                if isinstance(value, FunctionType) and value in instead:
                    setattr(module, attribute, instead[value])
    for stack in importlib.import_module("netstack.stack").alive():
        stack.change_over()


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
