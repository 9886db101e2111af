"""Interpreted and compiled, a host does the same."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.machine.mode import JIT

from .scenario import live

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not JIT, reason="the compiled run makes the comparison")
def test_both_modes_do_the_same():
    interpreted = subprocess.run([sys.executable, "-m", "tests.ip.scenario"], cwd=ROOT, check=True, capture_output=True,
                                 text=True, timeout=250, env={**os.environ, "NETSTACK_JIT": "0"})
    assert interpreted.stdout.strip() == live(1500)


def test_the_same_seed_gives_the_same_life():
    assert live(60, seed=1) == live(60, seed=1) != live(60, seed=2)
