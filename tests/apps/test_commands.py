"""The servers as commands, on a stack of the test's: READY, service, the end at a signal."""
from __future__ import annotations

import io
import os
import signal
import threading
from contextlib import nullcontext

from click.testing import CliRunner

import netstack.cli.forever
import netstack.cli.serve
import netstack.cli.tftp
from netstack.apps import tftp
from netstack.apps.echo import ask
from netstack.cli import main

from ..waiting import until

HOST = "127.0.0.1"


def during(stack, monkeypatch, module, words, port, client):
    """Run a command, `client()` beside it when it serves, and send the signal that ends it."""
    monkeypatch.setattr(module, "opened", lambda link, **_: nullcontext(stack))
    errors = []

    def beside():
        try:
            state = "" if port == tftp.PORT else "LISTEN"
            until(lambda: any((c.local[1], c.state) == (port, state) for c in stack.connections()), "the server")
            until(lambda: signal.getsignal(signal.SIGTERM) is not ignore, "what takes the signal")
            client()
        except BaseException as error:
            errors.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def ignore(*_):
        """Should the command not be there to take it, the signal shall not end the tests."""

    before = signal.signal(signal.SIGTERM, ignore)
    thread = threading.Thread(target=beside)
    thread.start()
    try:
        done = CliRunner().invoke(main, words)
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert errors == []
    assert done.exit_code == 0, done.output
    return done.output


def test_chat(stack, monkeypatch):
    def client():
        with stack.create_connection((HOST, 6667)) as sock:
            assert sock.recv(100) == b"Your name?\r\n"

    assert during(stack, monkeypatch, netstack.cli.forever, ["chat"], 6667, client) == "READY\n"


def test_echo(stack, monkeypatch):
    def client():
        assert len(list(ask(stack, HOST, count=2))) == 2

    assert during(stack, monkeypatch, netstack.cli.forever, ["echo", "serve"], 7, client) == "READY\n"


def test_serve_with_the_monitor(stack, monkeypatch):
    def client():
        assert len(list(ask(stack, HOST, count=2))) == 2

    said = during(stack, monkeypatch, netstack.cli.serve, ["serve", "--monitor"], 7, client)
    assert said.startswith("READY\n")
    assert "LISTEN" in said


def test_tftp(stack, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"hello")

    def client():
        file = io.BytesIO()
        tftp.get(stack, HOST, "file", file, timeout=0.2, attempts=100)
        assert file.getvalue() == b"hello"

    said = during(stack, monkeypatch, netstack.cli.tftp, ["tftp", "serve", str(tmp_path)], 69, client)
    assert said == f"READY\n{HOST} read 'file': 5 bytes\n"


def test_balance(stack, monkeypatch):
    def client():
        with stack.create_connection((HOST, 80)) as sock:
            assert sock.recv(100) == b"hello"

    def greet(server):
        while True:
            try:
                conn, _ = server.accept()
            except OSError:                     # it is closed
                return
            with conn:
                conn.sendall(b"hello")

    with stack.create_server((HOST, 8001)) as server:
        thread = threading.Thread(target=greet, args=(server,))
        thread.start()
        said = during(stack, monkeypatch, netstack.cli.forever, ["balance", "--port", "80", f"{HOST}:8001"], 80, client)
    thread.join()
    assert said == f"READY\n{HOST}:8001: 1 connections\n"
