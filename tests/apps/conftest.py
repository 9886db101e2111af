"""A stack with a loopback interface, and a way to run asyncio for so long."""
from __future__ import annotations

import asyncio

import pytest

import netstack

LIMIT = 100         # seconds


@pytest.fixture
def stack():
    with netstack.Stack(name="apps") as made:
        yield made


@pytest.fixture
def run():
    """run(coroutine): in a loop of its own, not for ever."""
    return lambda main: asyncio.run(asyncio.wait_for(main, LIMIT))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The directory in which processes offer their sockets, a test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "netstack"
