"""Run a command in a network namespace of its own, without root where the system allows it.

unshare(2), user_namespaces(7).  Only the standard library: the file is run by
its path, in a fresh interpreter that has one thread, because a process with
several (numpy starts some) may not enter a user namespace.  Nothing is left
behind: the namespace ends with its last process.
"""
from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

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
