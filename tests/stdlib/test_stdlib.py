"""CPython's own tests with netstack in the place of `socket`: all pass but those that not_run.txt lists.

In a process each, since `patch` is for ever there.  The compiled engine, as users have it: interpreted the tests'
own timeouts are too short for it.
"""
from __future__ import annotations

import fnmatch
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.machine.mode import BOUNDSCHECK, JIT

from .run import not_run

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 500         # seconds that a module may take on a slow machine; here the slowest takes 40

MODULES = {         # and how many tests run at least, so that none of them is empty by mistake
    "test_socket": 400,
}

pytestmark = pytest.mark.skipif(not JIT or BOUNDSCHECK, reason="too slow for the time-outs of the tests")


@pytest.mark.timeout(LIMIT + 30)
@pytest.mark.parametrize("module", MODULES)
def test_of_the_standard_library(module):
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(f"test.{module}") is None:
        pytest.skip(f"test.{module} is not installed")
    done = subprocess.run([sys.executable, "-m", "tests.stdlib.run", module, "--limit", str(LIMIT)], cwd=ROOT,
                          capture_output=True, text=True, timeout=LIMIT + 20, check=False)
    report = done.stderr[-20000:]
    assert done.stdout.strip(), report
    told = json.loads(done.stdout.splitlines()[-1])
    assert not told["failed"], f"{told['failed']}\n{report}"
    assert done.returncode == 0, report
    assert told["ran"] - len(told["skipped"]) >= MODULES[module]


def test_the_list_has_reasons_and_modules():
    for pattern, reason in not_run().items():
        assert reason, pattern
        assert any(fnmatch.fnmatchcase(module, pattern.partition(".")[0]) for module in MODULES), pattern
