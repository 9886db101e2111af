"""The kept table says what the simulations say, to the last digit; and they are fast, and the same in both modes."""
from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from netstack import warm
from netstack.machine.mode import BOUNDSCHECK, JIT

from . import golden

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ("100mbit/20ms/1bdp", "100mbit/200ms/4bdp", "10mbit/50ms/0.25bdp", "500mbit/1ms/1bdp/loss-0.1%",
          "100mbit/20ms/1bdp/loss-1%", "100mbit/50ms/1bdp/loss-0.01%", "100mbit/50ms/1bdp/reorder-2%",
          "100mbit/20ms/1bdp/loss-1%/reorder-2%", "peers/*", "fair/4", "fair/64", "mixed/2")
FAST = 100              # times faster than real time, on 100 Mbit/s, where `reference` takes no longer than REFERENCE
REFERENCE = 0.15        # s of a CPU
ATTEMPTS = 5            # the machine may have something else to do

compiled = pytest.mark.skipif(not JIT or BOUNDSCHECK, reason="minutes when interpreted")


@cache
def kept():
    return golden.kept()


def cells():
    """Every cell of the tables: the case, and whose."""
    return [(case, mix) for table in golden.tables() for case in table.cases for mix in table.whose]


def sample():
    return [(case, mix) for case, mix in cells() if any(golden.fnmatch(case.name, name) for name in SAMPLE)]


def test_the_kept_table_is_whole():
    """Each case has a cell for each congestion control."""
    missing = [f"{case.name} {mix}" for case, mix in cells() if not kept().get((case.name, mix))]
    assert not missing, f"python -m tests.sim.golden --write makes what is missing: {missing}"
    names = [case.name for table in golden.tables() for case in table.cases]
    assert len(names) == len(set(names))


@compiled
@pytest.mark.parametrize(("case", "mix"), sample(), ids=lambda v: getattr(v, "name", v))
def test_the_kept_table_is_true(case, mix):
    assert case.run(mix, case.seed(0)) == kept()[case.name, mix], (
        f"seed {case.seed(0)}; replay with {golden.command(case, mix, 0)}; "
        "if the change is meant: python -m tests.sim.golden --write, and look at the diff")


def lines(jit, *arguments):
    """What the command says, without the time it took."""
    environment = {**os.environ, "NETSTACK_JIT": jit}
    done = subprocess.run([sys.executable, "-m", "tests.sim.golden", *arguments], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=250, check=False)
    assert not done.stderr
    return done.stdout.splitlines()[:-1]


@compiled
def test_both_modes_simulate_the_same():
    arguments = ("--only", "10mbit/50ms/*loss-1%", "--seed", "3")
    interpreted = lines("0", *arguments)
    assert interpreted == lines("1", *arguments)
    assert interpreted


PROGRAM = """
import time
from tests.sim import golden

def reference():
    x, began = 1, time.thread_time()
    for _ in range(2_000_000):
        x = x * 5 + 1 & 0xFFFF_FFFF
    return time.thread_time() - began

with golden.Line(100, 1, 100_000).simulate(1) as sim:
    sim.flow()
    sim.run(1)
    speed = golden.Speed()
    speed.run(sim, 20)
    assert sim.flows[0].goodput > 90e6
    print(speed.factor, reference(), speed)
"""


@compiled
def test_it_is_fast():
    """A full link of 100 Mbit/s, the most that has to be done for a second of that matrix.

    In processes as users have them, with the image; each lays its memory out anew, and that alone makes a quarter.
    A slower machine has more time, by what the same process says of it.
    """
    warm.ensure_compiled(quiet=True)
    warm.write_image()
    said = ""
    for _ in range(ATTEMPTS):
        said = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env={**os.environ, "NETSTACK_JIT": "image"},
                              stdout=subprocess.PIPE, text=True, timeout=250, check=True).stdout
        factor, reference = map(float, said.split()[:2])
        if factor * max(reference / REFERENCE, 1) >= FAST:
            return
    pytest.fail(said)
