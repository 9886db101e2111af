"""The scripts beside this file, each over IPv4, IPv6 and v4-mapped addresses, unless it says which itself."""
from __future__ import annotations

from pathlib import Path

import pytest

from netstack.lab.drill import run_file
from netstack.lab.drill.run import VERSIONS

SCRIPTS = sorted(Path(__file__).parent.glob("*.pkt"))


def runs():
    for script in SCRIPTS:
        text = script.read_text()
        versions = [v for v in VERSIONS if f"--ip_version={v}\n" in text] or VERSIONS
        yield from (pytest.param(script, v, id=f"{script.stem}-{v}") for v in versions)


@pytest.mark.parametrize(("script", "version"), list(runs()))
def test_script(script, version):
    outcome = run_file(script, ip_version=version)
    assert outcome.ip_version == version
    assert outcome.error is None, outcome.report()
    assert not outcome.notes


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.stem)
def test_script_says_what_it_is_about(script):
    assert script.read_text().startswith("// ")
