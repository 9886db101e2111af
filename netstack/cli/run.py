"""`netstack run`: an unmodified Python program on this stack."""
from __future__ import annotations

import atexit
import importlib.abc
import importlib.util
import os
import runpy
import sys
from contextlib import ExitStack
from typing import Any

import click

from .link import Link, finish, link_options, opened, refuse


class _Program(click.Command):
    """Our options end where the program begins: at the first word that is none, at -m, or at --."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        valued = {name for p in self.params if isinstance(p, click.Option) and not p.is_flag for name in p.opts}
        i = 0
        while i < len(args) and args[i].startswith("-") and args[i] not in ("-m", "--"):
            i += 2 if args[i] in valued else 1
        program = args[i + 1:] if args[i:i + 1] == ["--"] else args[i:]
        rest = super().parse_args(ctx, args[:i])
        ctx.params["program"] = program
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["[LINK OPTIONS]", "(SCRIPT.py | -m MODULE)", "[ARGS]..."]


@click.command(cls=_Program)
@link_options
def command(link: Link, program: list[str]) -> None:
    """Run a Python program whose `socket` module is this stack.

    Without link options only the loopback interface is there.
    """
    if not program or program == ["-m"]:
        raise click.UsageError("which program?  Give a script, or -m and a module.")
    if program[0] != "-m" and not os.path.exists(program[0]):
        refuse(f"cannot open {program[0]}: no such file", 2)
    link_life = ExitStack()
    stack = link_life.enter_context(opened(link))
    atexit.register(link_life.close)    # after the program's own threads and handlers
    atexit.register(finish, stack)
    _patch(stack)
    sys.meta_path.insert(0, _Watch())
    os.register_at_fork(after_in_child=_tell_of_fork)
    try:
        _execute(program)
    except KeyboardInterrupt:
        sys.exit(130)


BESIDE = {      # modules whose C code opens, reads or writes sockets of the system, and what to use instead
    "eventlet": "threads or asyncio",
    "gevent": "threads or asyncio",
    "grpc": "an HTTP library in Python",
    "MySQLdb": "PyMySQL",
    "OpenSSL": "the standard library's ssl",
    "psycopg2": "pg8000",
    "psycopg_c": "pg8000",
    "pycares": "the standard library's getaddrinfo",
    "pycurl": "urllib3 or httpx",
    "zmq": "sockets",
}


class _Watch(importlib.abc.MetaPathFinder):
    """Says so when the program imports what cannot work on the stack's sockets."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """None: others are to find it.  ModuleNotFoundError for uvloop: programs then take asyncio's own loop."""
        if name == "uvloop":
            raise ModuleNotFoundError("uvloop's C code opens sockets of the system: netstack run leaves it out "
                                      "(asyncio's own event loop works)", name=name)
        if name in BESIDE:
            _say(f"{name} works in C on sockets of the system, which netstack does not see; {BESIDE[name]} would work")


def _say(text: str) -> None:
    print(f"netstack run: {text}", file=sys.stderr, flush=True)


def _tell_of_fork() -> None:
    """In a child of fork: once, its own children need not be told."""
    if not _told:
        _told.append(os.getpid())
        _say(f"process {os.getpid()} was forked: the stack stays with its parent, and sockets on it fail here "
             "(ESHUTDOWN); servers that fork need another worker: threads, or asyncio in one process")


_told: list[int] = []


def _patch(stack: Any) -> None:
    import netstack

    netstack.use(stack)
    netstack.patch()


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:         # the package that it would be in
        return False


def _execute(program: list[str]) -> None:
    """As `python program...` does: sys.argv, sys.path[0], __name__ == "__main__"."""
    if program[0] == "-m":
        module, arguments = program[1], program[2:]
        sys.argv = [module, *arguments]
        sys.path.insert(0, os.getcwd())
        if not _is_there(module):
            refuse(f"no module named {module}")
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    sys.argv = list(program)
    sys.path.insert(0, os.path.dirname(os.path.abspath(program[0])))
    runpy.run_path(program[0], run_name="__main__")
