"""Offers: who may look, what is left behind, who is refused."""
from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

import netstack
from netstack.cli import main
from netstack.observe import offer
from netstack.observe.offer import Offer, Process, processes, text

from ..waiting import until

ELSEWHERE = """
import sys, netstack
from netstack.observe.offer import Offer
with netstack.Stack() as stack, stack.create_server(("127.0.0.1", 4711)), Offer(stack):
    print("READY", flush=True)
    sys.stdin.read()
"""


def test_a_look_at_another_process(place):
    """From its beginning to its violent end."""
    process = subprocess.Popen([sys.executable, "-c", ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"READY\n"
        found, = processes()
        assert found.pid == process.pid
        program, [[listener]] = found.look()
        assert program == "-c"
        assert (listener.state, listener.local, listener.info) == ("LISTEN", "127.0.0.1:4711", None)
        shown = CliRunner().invoke(main, ["monitor", "--once", str(process.pid)])
        assert shown.exit_code == 0
        assert "127.0.0.1:4711" in shown.output
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert processes() == [found]                   # nobody has looked
    with pytest.raises(ConnectionRefusedError):
        found.look()
    assert processes() == []


def test_nothing_is_left(place, stack):
    first, second = Offer(stack), Offer(stack)
    assert first.path != second.path
    assert [p.path for p in processes()] == sorted([first.path, second.path])
    assert place.stat().st_mode & 0o777 == 0o700
    for made in (first, second, first):
        made.close()
    assert processes() == []
    assert list(place.iterdir()) == []


def test_one_who_does_not_read_ends(place, stack, monkeypatch):
    """... the connection, not the offer."""
    monkeypatch.setattr(offer, "PATIENCE", 0.05)
    monkeypatch.setattr(Offer, "_answer", lambda self: bytes(1 << 22))
    with Offer(stack) as made, socket.socket(socket.AF_UNIX) as idle, socket.socket(socket.AF_UNIX) as reader:
        idle.connect(str(made.path))
        reader.connect(str(made.path))
        reader.settimeout(60)
        with reader.makefile("rb") as file:
            assert file.read() == bytes(1 << 22)


def test_a_closed_stack_has_no_sockets(place):
    with netstack.Stack() as stack, Offer(stack):
        assert [s for _, [s] in (p.look() for p in processes())] == [[]]
        stack.close()
        assert [found for _, found in (p.look() for p in processes())] == [[]]


def test_a_directory_that_others_may_write_is_not_used(place, stack):
    place.mkdir(mode=0o700)
    place.chmod(0o777)
    with pytest.raises(OSError, match="this user alone"):
        Offer(stack)
    assert processes() == []


def test_without_a_runtime_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "gone"))
    assert offer.directory().name == f"netstack-{os.getuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert offer.directory().name == f"netstack-{os.getuid()}"


@pytest.mark.parametrize("said", [b"", b"no JSON", b"[]", b'{"version": 2}', b'{"version": 1}',
                                  json.dumps({"version": 1, "program": "x", "stacks": [[{}]]}).encode(), b"\xff"])
def test_answers_that_are_none(place, said):
    place.mkdir(mode=0o700)
    path = place / "1.1"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer():
            conn, _ = listener.accept()
            with conn:
                conn.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ValueError):
            Process(1, path).look()
        thread.join()


def test_the_command_says_that_nobody_is_there(place):
    shown = CliRunner().invoke(main, ["monitor", "--once"])
    assert shown.exit_code == 1
    assert "no process of this user" in shown.output
    shown = CliRunner().invoke(main, ["monitor", "--once", "1"])
    assert shown.exit_code == 1
    assert "by process 1" in shown.output


def test_the_command_goes_on_until_a_signal(place, stack, monkeypatch):
    asked, answer = [], Offer._answer
    monkeypatch.setattr(Offer, "_answer", lambda self: asked.append(self) or answer(self))
    with stack.create_server(("127.0.0.1", 4711)), Offer(stack):
        command = subprocess.Popen([sys.executable, "-m", "netstack", "monitor", "--every", "0.05"],
                                   stdout=subprocess.PIPE, env={**os.environ, "COLUMNS": "150"})
        until(lambda: len(asked) > 2 or command.poll() is not None)
        command.send_signal(signal.SIGINT)
        shown, _ = command.communicate(timeout=60)
        assert command.returncode == 0
    assert b"127.0.0.1:4711" in shown


def test_addresses():
    assert [text(None), text(("10.0.0.1", 80)), text(("::1", 80))] == ["*", "10.0.0.1:80", "[::1]:80"]
