"""Offer: what the sockets of a process's stacks do, for other processes of the same user to look at.

    with Offer(stack):              # `netstack monitor`, elsewhere, shows its sockets
        ...
    for process in processes():     # the other side
        print(process.pid, process.program, process.look())

A Unix socket in a directory that is the user's alone, named after the process;
whoever connects (the same user, or root) gets one JSON object, and the end.
Nothing can be changed through it, and nothing of what connections carry is in it.
"""
from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket as real
import stat
import struct
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import entry, tcpinfo

if TYPE_CHECKING:
    from ..stack import Stack
    from ..views import Connection

VERSION = 1
LISTEN = "LISTEN"
PATIENCE = 2.0              # seconds that either side waits for the other
LARGEST = 64 << 20          # bytes of an answer
SO_PEERCRED = struct.Struct("3i")       # pid, uid, gid
_number = itertools.count(1)
TOLD = "bytes_acked", "bytes_received", "snd_cwnd", "rtt", "total_retrans"      # of TCP_INFO


@dataclass(frozen=True)
class Sample:
    """A socket, or a connection without one, at one moment."""

    handle: int                     # what the engine knows it by
    at: int                         # ns of the stack's clock
    protocol: str                   # "tcp", "udp", "ping", "raw", "packet"
    state: str                      # TCP's; "" otherwise
    local: str
    remote: str
    recv_queue: int                 # bytes; a listener: connections that wait
    send_queue: int                 # ... its backlog
    info: dict[str, int] | None     # of TCP_INFO (tcp(7)), as long as an application has the connection


def samples(stack: Stack) -> list[Sample]:
    """Every socket of a stack, now."""
    now = stack._now()
    return [Sample(c.handle, now, c.protocol, c.state, text(c.local), text(c.remote), c.recv_queue, c.send_queue,
                   _info(stack, c) if c.protocol == "tcp" and c.state != LISTEN else None)
            for c in stack.connections()]


def _info(stack: Stack, connection: Connection) -> dict[str, int] | None:
    buffer = ctypes.create_string_buffer(tcpinfo.SIZE)
    if entry.tcp_info(stack._world, connection.handle, ctypes.addressof(buffer), tcpinfo.SIZE) < 0:
        return None
    info = tcpinfo.unpack(buffer.raw)
    return {name: info[name] for name in TOLD}


def text(address: tuple[str, int] | None) -> str:
    """An address and port as ss(8) writes them."""
    if address is None:
        return "*"
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


# ---- one side: the process with the stacks --------------------------------------------

def directory() -> Path:
    """Where the sockets are: below XDG_RUNTIME_DIR, or the directory for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isdir(runtime):
        return Path(runtime) / "netstack"
    return Path(tempfile.gettempdir()) / f"netstack-{os.getuid()}"


def _is_ours(place: Path) -> bool:
    """Whether nobody else could have put anything there."""
    try:
        status = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


class Offer:
    """Lets others look at these stacks until `close` (or the end of `with`).  OSError: there is no place for it."""

    def __init__(self, *stacks: Stack) -> None:
        self._stacks = stacks
        place = directory()
        with contextlib.suppress(FileExistsError):
            place.mkdir(mode=0o700)
        if not _is_ours(place):
            raise OSError(f"{place} is not a directory of this user alone")
        self._pid = os.getpid()
        self.path = place / f"{self._pid}.{next(_number)}"
        self._listener = real.socket(real.AF_UNIX, real.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()                              # of a process that had this number before
            self._listener.bind(str(self.path))
            self._listener.listen(8)
        except BaseException:
            self._listener.close()
            raise
        self._thread = threading.Thread(target=self._run, name="netstack: offer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:                 # closed
                return
            with conn, contextlib.suppress(OSError):
                conn.settimeout(PATIENCE)
                _, uid, _ = SO_PEERCRED.unpack(conn.getsockopt(real.SOL_SOCKET, real.SO_PEERCRED, SO_PEERCRED.size))
                if uid in (0, os.getuid()):
                    conn.sendall(self._answer())

    def _answer(self) -> bytes:
        import json

        return json.dumps({"version": VERSION, "program": _program(),
                           "stacks": [[asdict(sample) for sample in samples(stack)] for stack in self._stacks
                                      if not stack.closed]}).encode()

    def close(self) -> None:
        """Offer no more.  Twice does no harm; a forked child leaves the parent's socket alone."""
        with contextlib.suppress(OSError):
            if os.getpid() == self._pid:
                self._listener.shutdown(real.SHUT_RDWR)         # which ends the thread's accept
                self._thread.join()
                self.path.unlink()
        self._listener.close()

    def __enter__(self) -> Offer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _program() -> str:
    """What ps(1) would call this process, without the interpreter and its directories."""
    words = sys.argv or [""]
    return " ".join([os.path.basename(words[0]), *words[1:]])


# ---- the other side --------------------------------------------------------------------

@dataclass(frozen=True)
class Process:
    """A process that offers its stacks."""

    pid: int
    path: Path

    def look(self) -> tuple[str, list[list[Sample]]]:
        """Its program, and the sockets of each of its stacks, now.  OSError: it is gone, or does not answer;
        ValueError: it speaks otherwise."""
        import json

        answer = bytearray()
        with real.socket(real.AF_UNIX, real.SOCK_STREAM) as sock:
            sock.settimeout(PATIENCE)
            try:
                sock.connect(str(self.path))
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    self.path.unlink()              # it was killed
                raise
            while data := sock.recv(1 << 16):
                answer += data
                if len(answer) > LARGEST:
                    raise ValueError(f"process {self.pid} does not come to an end")
        said: Any = json.loads(answer)
        if not isinstance(said, dict) or said.get("version") != VERSION:
            raise ValueError(f"process {self.pid} has another version of netstack")
        try:
            return str(said["program"]), [[Sample(**sample) for sample in stack] for stack in said["stacks"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"process {self.pid} says what is none: {error}") from None


def processes() -> list[Process]:
    """The processes of this user that offer something, or did until they were killed."""
    place = directory()
    if not _is_ours(place):
        return []
    found = [(name.partition(".")[0], name) for name in os.listdir(place)]
    return [Process(int(pid), place / name) for pid, name in sorted(found) if pid.isdecimal()]
