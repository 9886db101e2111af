"""Run modules of CPython's tests in a process each, some at a time: `several DIRECTORY HOW-MANY LIMIT MODULE ...`.

What `run` says of each goes to DIRECTORY/MODULE.done, with "status" and "report", the end of its stderr.  Tests that
failed get other chances by themselves, as CPython's own runner gives them one (-w): many measure time.  And a module
that did not come to its end, another beginning.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
AGAIN = 3           # times that what failed runs once more


def run(module: str, names: list[str], directory: Path, limit: str) -> dict[str, Any]:
    """What `run` says.  In a directory of its own, since tests leave files where they are."""
    own = directory / f"{module}.files"
    own.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-m", "tests.stdlib.run", module, *names, "--limit", limit], cwd=own,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
                          errors="replace", check=False)
    lines = done.stdout.splitlines()
    told: dict[str, Any] = {"ran": 0, "failed": [], "skipped": {}}
    if lines and lines[-1].startswith("{"):
        told = json.loads(lines[-1])
    return {**told, "status": done.returncode, "report": done.stderr[-20000:]}


def one(module: str, directory: Path, limit: str) -> None:
    """A module, and what failed of it some times more."""
    told = run(module, [], directory, limit)
    if not told["ran"]:
        told = run(module, [], directory, limit)
    for _ in range(AGAIN):
        if not told["failed"]:
            break
        again = run(module, [name.removeprefix(f"{module}.") for name in told["failed"]], directory, limit)
        if again["ran"]:                # it has not told what failed otherwise
            told.update({key: again[key] for key in ("failed", "status", "report")})
    unfinished = directory / f"{module}.unfinished"
    unfinished.write_text(json.dumps(told))
    unfinished.rename(directory / f"{module}.done")


def main() -> None:
    """See the top of the file."""
    directory, beside, limit = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))      # with all that it has started
    with ThreadPoolExecutor(beside) as pool:
        list(pool.map(lambda module: one(module, directory, limit), sys.argv[4:]))


if __name__ == "__main__":
    main()
