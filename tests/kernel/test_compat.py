"""A part of `make compat`: programs under `netstack run`, against others on Linux's sockets."""
from __future__ import annotations

from pathlib import Path

import pytest

from ..compat.__main__ import ROWS, Bench

pytest.importorskip("trustme")

SCALE = 50          # a part of the amounts
SMALL = [row for row in ROWS if row.server in ("ThreadingTCPServer", "http.server")]


@pytest.mark.parametrize("row", SMALL, ids=lambda row: f"{row.ours}-{row.client}-{row.server}")
def test_it_works(netns: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row):
    monkeypatch.setenv("COMPAT_DIR", str(tmp_path))
    result = Bench(tmp_path, 200_000).try_out(row, SCALE)
    if result.absent:
        pytest.skip(result.error)
    assert result.error == ""
    assert result.size >= 2_000_000 or result.operations == row.amount // SCALE or row.client == "curl"
