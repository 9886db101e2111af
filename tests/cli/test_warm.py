"""Compiling ahead of time."""
from __future__ import annotations

import subprocess
import sys

import pytest

from netstack import warm
from netstack.machine.mode import IMAGE, JIT

LIMIT = 250         # seconds, a cold compile included


def test_everything_is_ready_afterwards() -> None:
    report = warm.ensure_compiled(quiet=True)
    assert report.jit == (JIT or IMAGE)
    assert warm.missing() == []
    if JIT:
        assert all(function.signatures for function in warm.entries())


@pytest.mark.skipif(not JIT, reason="interpreted there is nothing to compile")
def test_the_second_process_finds_it() -> None:
    warm.ensure_compiled(quiet=True)
    done = subprocess.run([sys.executable, "-m", "netstack", "warm", "--verbose"], capture_output=True, text=True,
                          timeout=LIMIT, check=True)
    assert done.stderr == ""
    assert "everything was compiled already" in done.stdout
    assert "netstack.entry.life.open" in done.stdout
