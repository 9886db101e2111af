"""`netstack demo`, both ways."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netstack.cli.demo import prerequisites
from netstack.machine.mode import JIT

LIMIT = 200         # seconds, a cold compile included

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT + 20),
              pytest.mark.skipif(not JIT, reason="100 MB take too long interpreted")]


def _demo(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "netstack", "demo", *words], capture_output=True, text=True,
                          timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _leftovers() -> set[Path]:
    return set(Path("/tmp").glob("netstack-demo-*"))


def test_in_memory() -> None:
    before = _leftovers()
    said = _demo("--in-memory")
    assert said.count("3 packets transmitted, 3 received, 0% packet loss") == 2
    assert said.count("SHA-256 equal") == 1
    assert "ESTABLISHED" in said
    assert "TIME-WAIT" in said
    assert _leftovers() == before


@pytest.mark.kernel
def test_with_the_kernel() -> None:
    if reasons := prerequisites.missing():
        pytest.skip("; ".join(reasons))
    before = _leftovers()
    said = _demo()
    assert said.count("SHA-256 equal") == 2
    assert "ESTABLISHED" in said
    assert "not possible here" not in said
    assert _leftovers() == before


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
