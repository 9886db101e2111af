"""`make test`: the four runs, on as many CPUs as they can use.

compiled        everything, with the Linux kernel as the peer
image           what users do, in a process that has the image
interpreted     the unit tests with every line of the stack interpreted
checked         what reads bytes from outside, compiled with every index checked

Those after the first run beside it or later, and are shown after it.
"""
from __future__ import annotations

import glob
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
# In a network namespace of its own where the system allows it; who is not root is root there.
APART = [sys.executable, "-E", "-S", str(ROOT / "netstack/lab/namespace.py"), "--if-possible"]
PYTEST = [*APART, sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
UNIT = "not kernel and not slow and not bench"

USERS = ["tests/socket", "tests/resolver", "tests/stdlib", "tests/services", "tests/cli", "tests/dhcp", "tests/kernel",
         *sorted(glob.glob("tests/test_*.py", root_dir=ROOT))]
RUNS = {
    "compiled": ({"NETSTACK_JIT": "1"}, "not bench"),
    "image": ({"NETSTACK_JIT": "image"}, "not slow and not bench"),
    "interpreted": ({"NETSTACK_JIT": "0"}, UNIT),
    "checked": ({"NETSTACK_JIT": "1", "NUMBA_BOUNDSCHECK": "1"}, f"parsers and {UNIT}"),
}


def start(name: str, arguments: list[str], output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """One of the runs."""
    settings, marks = RUNS[name]
    paths = USERS if name == "image" and not any((ROOT / a.partition(":")[0]).exists() for a in arguments) else []
    return subprocess.Popen([*PYTEST, "-m", marks, *arguments, *paths], cwd=ROOT, env={**os.environ, **settings},
                            stdout=output, stderr=subprocess.STDOUT if output else None)


def together(arguments: list[str]) -> int:
    """All of them.  How many failed."""
    with tempfile.TemporaryFile() as output:
        beside = start("interpreted", arguments, output)
        try:
            subprocess.run([sys.executable, "-m", "netstack", "warm"], cwd=ROOT, check=True,
                           env={**os.environ, **RUNS["compiled"][0]})
            failed = bool(start("compiled", arguments).wait())
            failed += bool(beside.wait())
            for name in ("image", "checked"):
                beside = start(name, arguments, output)
                failed += bool(beside.wait())
        finally:
            beside.terminate()
            beside.wait()
        output.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(output.read())
    return failed


def main() -> None:
    """`python -m tests.all [run] [pytest's arguments]`."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in RUNS:
        sys.exit(start(arguments[0], arguments[1:]).wait())
    sys.exit(1 if together(arguments) else 0)


if __name__ == "__main__":
    main()
