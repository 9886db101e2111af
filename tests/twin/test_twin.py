"""One source, two speeds: the same events, interpreted and compiled, give the same frames, answers and state.

Only where the engine is compiled anyway: the interpreted run then costs a second.
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.machine.mode import JIT

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4000


def lines(seed: int, jit: bool) -> list[str]:
    """What a run says."""
    environment = {**os.environ, "NETSTACK_JIT": "1" if jit else "0"}
    done = subprocess.run([sys.executable, "-m", "tests.twin.run", str(seed), str(STEPS)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_run_says_the_same_twice():
    """Else the comparison below means nothing: nothing but the seed decides."""
    first, second = lines(1, JIT), lines(1, JIT)
    assert first == second
    assert len(first) > STEPS / 100


@pytest.mark.skipif(not JIT, reason="compiling would cost a minute: done in the compiled run")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_twins(seed):
    interpreted, compiled = lines(seed, False), lines(seed, True)
    for one, other in zip(interpreted, compiled, strict=True):
        assert one == other, f"seed {seed}: they part before step {one.split()[0]}"
