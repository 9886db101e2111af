"""Commands in a network namespace of their own."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from netstack.lab import namespace

SHOW = [sys.executable, "-S", "-c", "import os; print(os.readlink('/proc/self/ns/net'), os.geteuid())"]

pytestmark = pytest.mark.skipif(namespace.refusal() is not None, reason=f"no namespace: {namespace.refusal()}")


def test_a_namespace_of_its_own() -> None:
    done = subprocess.run(namespace.command(SHOW), capture_output=True, text=True, timeout=100, check=True)
    link, uid = done.stdout.split()
    assert link != os.readlink("/proc/self/ns/net")
    assert uid == "0"


def test_the_command_s_exit_status() -> None:
    exits = [sys.executable, "-S", "-c", "raise SystemExit(7)"]
    assert subprocess.run(namespace.command(exits), timeout=100, check=False).returncode == 7


def test_no_such_command() -> None:
    done = subprocess.run(namespace.command(["/nowhere/at-all"]), capture_output=True, text=True, timeout=100,
                          check=False)
    assert done.returncode == 127
    assert done.stderr == "/nowhere/at-all: No such file or directory\n"


def test_if_possible() -> None:
    done = subprocess.run(namespace.command(["--if-possible", *SHOW]), capture_output=True, text=True, timeout=100,
                          check=True)
    assert done.stdout.startswith("net:")


def _link() -> str:
    return os.readlink("/proc/thread-self/ns/net")


@pytest.fixture
def further() -> Iterator[namespace.Namespace]:
    """A further namespace, where we may make one."""
    try:
        made = namespace.Namespace()
    except OSError as error:
        pytest.skip(str(error))
    with made:
        yield made


def test_enter_and_come_back(further: namespace.Namespace) -> None:
    home = _link()
    with further.entered():
        there = _link()
        assert there != home
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
        done = subprocess.run(SHOW, capture_output=True, text=True, timeout=100, check=True)
        assert done.stdout.split()[0] == there          # a process started here is here
        with socket.create_server(("127.0.0.1", 0)) as server:      # the loopback is up
            socket.create_connection(server.getsockname(), timeout=5).close()
    assert _link() == home


def test_come_back_after_an_exception(further: namespace.Namespace) -> None:
    home = _link()
    with pytest.raises(KeyError), further.entered():
        raise KeyError
    assert _link() == home
