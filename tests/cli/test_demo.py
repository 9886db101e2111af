"""`netstack demo`, both ways."""
from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netstack.cli.demo import prerequisites
from netstack.machine.mode import JIT

LIMIT = 280         # seconds, a cold compile included

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT + 20),
              pytest.mark.skipif(not JIT, reason="100 MB take too long interpreted")]


def _demo(folder: Path, *words: str) -> str:
    """What the demo says; it leaves nothing in the folder for temporary files, which is its own."""
    done = subprocess.run([sys.executable, "-m", "netstack", "demo", *words], capture_output=True, text=True,
                          timeout=LIMIT, check=False, env={**os.environ, "TMPDIR": str(folder)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(folder.iterdir()) == []
    return done.stdout


def test_in_memory(tmp_path: Path) -> None:
    said = _demo(tmp_path, "--in-memory")
    assert said.count("3 packets transmitted, 3 received, 0% packet loss") == 2
    assert said.count("SHA-256 equal") == 1
    assert "ESTABLISHED" in said
    assert "TIME-WAIT" in said


@pytest.mark.kernel
def test_with_the_kernel(tmp_path: Path) -> None:
    if reasons := prerequisites.missing():
        pytest.skip("; ".join(reasons))
    said = _demo(tmp_path)
    assert said.count("SHA-256 equal") == 2
    assert "ESTABLISHED" in said
    assert "not possible here" not in said


@pytest.fixture
def no_namespace(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """no_namespace(reason): namespaces are refused."""
    def refuse(reason: str) -> None:
        monkeypatch.setattr("netstack.lab.namespace.refusal", lambda: reason)
    return refuse


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, no_namespace: Callable[[str], None]) -> None:
    monkeypatch.setattr(prerequisites, "TUN", "/dev/no-such-device")
    no_namespace("Operation not permitted")
    assert prerequisites.missing() == [
        "/dev/no-such-device is not there (no TUN/TAP driver in this kernel or container)",
        "no network namespace of our own: Operation not permitted"]
