"""`@compiled`: one source, two speeds, and a cache that is never stale.

Interpreted (`NETSTACK_JIT=0`) the decorator returns the function as it is.
Otherwise numba compiles it at its first call, without the GIL, and keeps the
machine code on disk.

numba's own cache notices an edit only in the file of the function itself; a
caller in another file keeps the callee's old body.  So the cache directory of a
module is named by a hash of everything it imports from this package, directly
or not: after an edit its dependants compile again, all others are found.

What it costs, and the layout of the cache: `docs/one-source-two-speeds.md`.
"""
from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from . import loaded
from .mode import BOUNDSCHECK, IMAGE, JIT

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = Path(__file__).resolve().parent.parent
EVERY_SIGNAL = tuple(int(s) for s in signal.valid_signals())
pthread_sigmask: Any = importlib.import_module("_signal").pthread_sigmask   # without enums: at a quarter of the cost
KEEP_UNUSED = 7 * 86400     # seconds; cache directories not used for so long are removed
_IMPORT = re.compile(r"^from (\.+)([\w.]*) import ([^#\n(]+|\([^)]*\))", re.MULTILINE)


def cache_root() -> Path:
    """Where compiled code is kept: $NETSTACK_CACHE_DIR, else $XDG_CACHE_HOME/netstack, else ~/.cache/netstack."""
    if explicit := os.environ.get("NETSTACK_CACHE_DIR"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "netstack"


class _Sources:
    """The import graph of the package's own files, and a hash of each with all it reaches."""

    def __init__(self) -> None:
        self._hash: dict[Path, bytes] = {}
        self._names: dict[Path, frozenset[str]] = {}
        self._imported: dict[Path, list[Path]] = {}
        self._machine = sorted((PACKAGE / "machine").glob("*.py"))      # what compiles is part of what is compiled

    def digest(self, file: Path) -> str:
        h = hashlib.sha256()
        reached = self._reach(file)
        if PACKAGE not in file.parents:     # a user's own module: what it imports of us we do not read in its text
            reached |= set(PACKAGE.rglob("*.py"))
        for path in sorted(reached, key=str):
            self._imports(path)
            h.update(str(path).encode() + b"\0" + self._hash[path])
        return h.hexdigest()[:16]

    def _reach(self, file: Path) -> set[Path]:
        seen: set[Path] = set()
        todo = [file, *self._machine]
        while todo:
            path = todo.pop()
            if path not in seen:
                seen.add(path)
                todo.extend(self._imports(path))
        return seen

    def _imports(self, file: Path) -> list[Path]:
        """What a file imports of the package itself; each is read once."""
        if file not in self._imported:
            text = file.read_bytes()
            self._hash[file] = hashlib.sha256(text).digest()
            found = []
            for dots, dotted, names in _IMPORT.findall(text.decode()):
                base = file.parent
                for _ in dots[1:]:
                    base = base.parent
                if dotted:
                    *above, last = dotted.split(".")
                    base = base.joinpath(*above)
                else:
                    base, last = base.parent, base.name
                found += self._module(base, last)
                for name in re.findall(r"[\w ]+", names):
                    if name.strip():
                        found += self._module(base / last, name.split()[0])
            self._imported[file] = found
        return self._imported[file]

    def _module(self, folder: Path, name: str) -> list[Path]:
        """The files NAME.py and NAME/__init__.py in a folder, as far as they are there."""
        names = self._in(folder)
        found = [folder / f"{name}.py"] if f"{name}.py" in names else []
        if name in names and "__init__.py" in self._in(folder / name):
            found.append(folder / name / "__init__.py")
        return found

    def _in(self, folder: Path) -> frozenset[str]:
        if folder not in self._names:
            self._names[folder] = frozenset(os.listdir(folder) if folder.is_dir() else ())
        return self._names[folder]


sources = _Sources()

if JIT:
    try:
        # numba's own annotations do not know all its options
        numba: Any = importlib.import_module("numba")
        make_concrete_template: Any = importlib.import_module("numba.core.typing").make_concrete_template
        only_linked = importlib.import_module("._linked", __package__).only_linked
    except ImportError as error:    # pragma: no cover - an installation without its dependencies
        raise ImportError("netstack compiles with numba, which is not installed; "
                          "NETSTACK_JIT=0 runs without it, slowly") from error

    _INTEGERS = (numba.types.Integer, numba.types.Boolean, numba.types.IntEnumMember, numba.types.IntegerLiteral,
                 numba.types.BooleanLiteral)

MARKED: list[Any] = []
"""What is compiled in another process, if at all, in the order of definition."""

DISPATCHERS: list[Any] = []
"""Every compiled function of this process, in the order of definition."""

_directories: dict[tuple[str, str], str] = {}


def _cache_directory(module: str, form: str) -> str:
    """The cache directory for a module's functions in one form; made, and marked as used now."""
    if (module, form) not in _directories:
        file = Path(str(sys.modules[module].__file__)).resolve()
        flavour = f"{sys.implementation.cache_tag}-numba{numba.__version__}{'-check' if BOUNDSCHECK else ''}"
        path = cache_root() / flavour / f"{module}-{sources.digest(file)}"
        (path / form).mkdir(parents=True, exist_ok=True)
        os.utime(path)
        _directories[module, form] = str(path / form)
    return _directories[module, form]


@contextmanager
def _cached_in(module: str, form: str) -> Iterator[None]:
    """numba keeps what is decorated inside in this directory."""
    numba.config.CACHE_DIR = _cache_directory(module, form)
    try:
        yield
    finally:
        numba.config.CACHE_DIR = ""


def compiled(function: F) -> F:
    """Compile a function of records and integers; see the module's text.

    Two forms are made, each when it is first needed: one for compiled callers, without the wrappers that only
    Python needs, and one for Python.  Every kind of integer (a bool, a constant of an IntEnum) reaches
    a compiled function as int64, so that it is compiled once and not for each kind.
    """
    if not JIT:
        function.__dict__["compiled"] = True
        MARKED.append(function)
        return function
    with _cached_in(function.__module__, "outer"):
        outer = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    form: list[Any] = []

    def inner_form() -> Any:
        if not form:
            with _cached_in(function.__module__, "inner"):
                form.append(numba.njit(cache=True, error_model="numpy", no_cpython_wrapper=True,
                                       no_cfunc_wrapper=True)(function))
        return form[0]

    def get_call_template(args: Any, kws: Any) -> Any:
        inner = inner_form()
        pysig, args = inner._compiler.fold_argument_types(args, kws)
        args = tuple(numba.int64 if isinstance(a, _INTEGERS) else a for a in args)
        with only_linked():
            inner.compile(args)
        template = make_concrete_template(f"CallTemplate({function.__name__})", key=function.__name__,
                                          signatures=inner.nopython_signatures)
        return template, pysig, args, {}

    outer.get_call_template = get_call_template
    outer.get_overload = lambda signature: inner_form().get_overload(signature)
    DISPATCHERS.append(outer)
    return outer


ENTERED: list[Any] = []
"""What Python calls of the engine, in the order of definition: compiled functions of integers."""


def entered(function: F) -> F:
    """A compiled function of integers that Python calls; where an image is loaded (`loaded.py`), that of the image."""
    made: Any = compiled(function) if JIT else _undisturbed(compiled(function))
    ENTERED.append(made)
    return loaded.function(function) if IMAGE and loaded.is_there() else made


def _undisturbed(function: F) -> F:
    """As machine code is: signals wait until it is over.

    Else Python would run their handlers in the middle of it, and an exception, KeyboardInterrupt say, leave the world
    locked and half done.  Handlers run in the main thread only.  (Not held back is a signal for the process that a
    thread of the application takes meanwhile; stacks' own threads take none.)
    """
    @functools.wraps(function)
    def call(*arguments: int) -> int:
        if threading.get_ident() != threading.main_thread().ident:
            return function(*arguments)
        before = pthread_sigmask(signal.SIG_BLOCK, EVERY_SIGNAL)
        try:
            return function(*arguments)
        finally:
            pthread_sigmask(signal.SIG_SETMASK, before)

    return cast(F, call)


def make(function: Any) -> None:
    """Have the machine code of an entered function at hand: compile it, or load it from the cache."""
    if not function.signatures:
        function.compile(signature(function))


def signature(function: Any) -> str:
    """Of an entered function, for numba."""
    return "(" + "int64," * function.py_func.__code__.co_argcount + ")"


_cfuncs: dict[Any, Any] = {}


def cfunc_of(function: Any) -> Any:
    """A unit (`unit.py`) as numba's C callback: compiled now, or loaded from the cache."""
    if function not in _cfuncs:
        signature = numba.int64(*[numba.int64] * function.__code__.co_argcount)
        with _cached_in(function.__module__, "unit"):
            _cfuncs[function] = numba.cfunc(signature, nopython=True, cache=True, error_model="numpy")(function)
    return _cfuncs[function]


def compiled_hook(function: Any, record: Any, alone: bool) -> tuple[object, int]:
    """Machine code that calls a @compiled function with the record at an address and (unless `alone`) a number, and
    its address.  It returns 1; after an error, which numba writes to stderr, 0."""
    at = importlib.import_module(".record", __package__).at
    compiler: Any = importlib.import_module("numba")
    if not JIT:
        _let_numba_know()

    def hook(address: int, n: int) -> int:
        function(at(record, address), n)
        return 1

    def hook_alone(address: int, n: int) -> int:
        function(at(record, address))
        return 1

    code = compiler.cfunc(compiler.int64(compiler.int64, compiler.int64), nopython=True,
                          error_model="numpy")(hook_alone if alone else hook)
    return code, int(code.address)


_told = 0


def _let_numba_know() -> None:
    """Make what is only marked known to numba, as what compiled functions may call."""
    global _told
    importlib.import_module("._lowering", __package__)
    know = importlib.import_module("numba.extending").register_jitable(error_model="numpy")
    while _told < len(MARKED):
        know(MARKED[_told])
        _told += 1


def is_compiled(function: Any) -> bool:
    """Whether a function is marked @compiled, in either mode."""
    return function in DISPATCHERS if JIT else bool(getattr(function, "__dict__", {}).get("compiled"))


def python_hook(function: Callable[[int, int], int]) -> tuple[object, int]:
    """The same for an ordinary function: whoever calls it takes the GIL."""
    code = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(function)
    return code, int(ctypes.cast(code, ctypes.c_void_p).value or 0)


def is_cached(function: Any) -> bool:
    """Whether the function's machine code is loaded or can be read from the cache, for its first signature."""
    if not JIT or function.signatures:
        return True
    index = getattr(function, "_cache", None)
    if index is None:
        return False
    try:
        return bool(index._cache_file._load_index())
    except Exception:       # an unreadable index is an empty one
        return False


def prune(now: float | None = None) -> int:
    """Remove cache directories that nothing used for a week.  Returns how many went."""
    now = time.time() if now is None else now
    gone = 0
    for directory in cache_root().glob("*/*"):
        if directory.is_dir() and now - directory.stat().st_mtime > KEEP_UNUSED:
            shutil.rmtree(directory, ignore_errors=True)
            gone += 1
    for image in cache_root().glob("*-images/*"):
        if now - image.stat().st_mtime > KEEP_UNUSED:
            image.unlink(missing_ok=True)
    return gone
