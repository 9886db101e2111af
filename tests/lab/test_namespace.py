"""Commands in a network namespace of their own."""
from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netstack.lab import namespace

SHOW = [sys.executable, "-S", "-c", "import os; print(os.readlink('/proc/self/ns/net'), os.geteuid())"]

pytestmark = pytest.mark.skipif(namespace.refusal() is not None, reason=f"no namespace: {namespace.refusal()}")


def test_a_namespace_of_its_own() -> None:
    done = subprocess.run(namespace.command(SHOW), capture_output=True, text=True, timeout=20, check=True)
    link, uid = done.stdout.split()
    assert link != os.readlink("/proc/self/ns/net")
    assert uid == "0"


def test_the_command_s_exit_status() -> None:
    exits = [sys.executable, "-S", "-c", "raise SystemExit(7)"]
    assert subprocess.run(namespace.command(exits), timeout=20, check=False).returncode == 7


def test_no_such_command() -> None:
    done = subprocess.run(namespace.command(["/nowhere/at-all"]), capture_output=True, text=True, timeout=20,
                          check=False)
    assert done.returncode == 127
    assert done.stderr == "/nowhere/at-all: No such file or directory\n"


def test_if_possible() -> None:
    done = subprocess.run(namespace.command(["--if-possible", *SHOW]), capture_output=True, text=True, timeout=20,
                          check=True)
    assert done.stdout.startswith("net:")
