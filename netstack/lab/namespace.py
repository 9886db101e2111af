"""Run a command in a network namespace of its own, without root where the system allows it.

unshare(2), user_namespaces(7).  Only the standard library: the file is run by
its path, in a fresh interpreter that has one thread, because a process with
several (numpy starts some) may not enter a user namespace.  Nothing is left
behind: the namespace ends with its last process.
"""
from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000
PR_SET_PDEATHSIG = 1
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
SIGTERM = 15
REFUSED = 126           # exit status: the namespace could not be made


def command(argv: list[str]) -> list[str]:
    """The command line that runs `argv` inside a new network namespace."""
    return [sys.executable, "-E", "-S", os.path.abspath(__file__), *argv]


def refusal() -> str | None:
    """Why a network namespace cannot be made here, or None where it can."""
    done = subprocess.run(command([sys.executable, "-S", "-c", ""]), capture_output=True, text=True, timeout=20,
                          check=False)
    return None if done.returncode == 0 else done.stderr.strip() or f"exit status {done.returncode}"


def enter() -> None:
    """Move this process, of one thread, to a new network namespace; who is not root becomes it in a user namespace."""
    _enter()
    loopback_up()


def _enter() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if _unshare(libc, CLONE_NEWNET) == 0:
        return
    if error := _unshare(libc, CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(error, f"no new user and network namespace: {os.strerror(error)}")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def loopback_up() -> None:
    """Bring up the loopback interface of this thread's namespace; in a new one it is down (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def _unshare(libc: ctypes.CDLL, flags: int) -> int:
    return 0 if libc.unshare(flags) == 0 else ctypes.get_errno()


def _write(path: str, text: str) -> None:
    with open(path, "w") as f:
        f.write(text)


class Namespace:
    """A network namespace held by a descriptor; threads enter it for a while.

    It lasts until `close`, and as long as anybody is in it or an interface of it
    is held from elsewhere.  OSError if it may not be made: the caller must be root,
    or root of a user namespace (`enter`).
    """

    def __init__(self) -> None:
        self._fd = -1
        made: list[int | OSError] = []
        thread = threading.Thread(target=self._make, args=(made,))      # only this thread moves there
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self._fd = made[0]

    @staticmethod
    def _make(made: list[int | OSError]) -> None:
        try:
            if error := _unshare(ctypes.CDLL(None, use_errno=True), CLONE_NEWNET):
                raise OSError(error, f"no new network namespace: {os.strerror(error)}")
            loopback_up()
            made.append(_current())
        except OSError as error:
            made.append(error)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in it: sockets and interfaces it makes, and processes it starts, belong there."""
        home = _current()
        try:
            _set(self._fd)
            try:
                yield
            finally:
                _set(home)
        finally:
            os.close(home)

    def fileno(self) -> int:
        """The descriptor, for whoever moves an interface there."""
        return self._fd

    def close(self) -> None:
        """Let go of it.  Twice does no harm."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _current() -> int:
    """A descriptor of this thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _set(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"setns: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    """Enter, and become the command given; it ends when its parent does.  --if-possible: run it in any case."""
    if optional := sys.argv[1] == "--if-possible":
        del sys.argv[1]
    try:
        enter()
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        if not optional:
            sys.exit(REFUSED)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
