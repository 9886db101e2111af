"""The applications, with Linux's programs on the other side."""
from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..waiting import until

LINK = ("--tap", "tap0", "--ip", "10.0.0.2/24", "--ip6", "fd00::2/64")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def serve(bare_tap: str, command: Any) -> Any:
    """serve(words): a netstack command that serves on the TAP; a signal must end it well."""
    processes = []

    def start(*words: Any) -> Any:
        processes.append(command(*words[:-1], *LINK, *words[-1]))
        assert processes[0].stdout.readline() == "READY\n"
        return processes[0]

    yield start
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err


def _curl(*words: Any) -> bytes:
    return subprocess.run(["curl", "-sS", "--max-time", "60", *map(str, words)], check=True, capture_output=True).stdout


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port), timeout=60)


def _has_tftp() -> bool:
    if shutil.which("curl") is None:
        return False
    return " tftp" in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not _has_tftp(), reason="no curl that knows TFTP")
def test_curl_reads_and_writes_files_over_tftp(serve: Any, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(100_000)
    (tmp_path / "file").write_bytes(content)
    serve("tftp", "serve", ("--write", tmp_path))
    for host in ("10.0.0.2", "[fd00::2]"):
        assert _curl(f"tftp://{host}/file") == content
        assert _curl("--tftp-no-options", f"tftp://{host}/file") == content
        assert _curl("--tftp-blksize", 1400, f"tftp://{host}/file") == content
    _curl("-T", tmp_path / "file", "tftp://10.0.0.2/copy")
    until(lambda: (tmp_path / "copy").read_bytes() == content)
    with pytest.raises(subprocess.CalledProcessError):
        _curl("tftp://10.0.0.2/nothing")


def test_a_chat_from_linux(serve: Any) -> None:
    serve("chat", ())
    with _connect("10.0.0.2", 6667) as one, _connect("fd00::2", 6667) as two:
        one.sendall(b"Ann\r\n")
        first = one.makefile("rb")
        assert [first.readline() for _ in range(2)] == [b"Your name?\r\n", b"Here: nobody else\r\n"]
        two.sendall(b"Bob\r\nhello\r\n")
        assert [first.readline() for _ in range(2)] == [b"* Bob has come\r\n", b"Bob: hello\r\n"]
        first.close()


def test_a_balancer_before_a_server_of_linux(serve: Any) -> None:
    with socket.create_server(("10.0.0.1", 8001)) as server:
        process = serve("balance", ("--port", "80", "--every", "1000", "10.0.0.1:8001", "10.0.0.1:8002"))
        server.settimeout(60)
        server.accept()[0].close()                  # the check
        with _connect("10.0.0.2", 80) as client, server.accept()[0] as conn:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            conn.settimeout(60)
            with conn.makefile("rb") as file:
                assert file.read() == b"question"
            conn.sendall(b"answer")
            conn.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as file:
                assert file.read() == b"answer"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "10.0.0.1:8001: 1 connections\n"
        process.wait(60)                            # a second signal would end it before it has said everything


def test_a_monitor_of_another_process(serve: Any, command: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    served = serve("serve", ())
    with _connect("10.0.0.2", 7) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
        monkeypatch.setenv("COLUMNS", "150")
        shown, _ = command("monitor", "--once", str(served.pid)).communicate(timeout=60)
        port = sock.getsockname()[1]
    line, = [line for line in shown.splitlines() if f"10.0.0.1]:{port}" in line or f"10.0.0.1:{port}" in line]
    assert line.startswith(f"{served.pid} ")
    assert "ESTABLISHED" in line


def test_the_monitor_of_serve(serve: Any) -> None:
    process = serve("serve", ("--monitor",))
    with _connect("10.0.0.2", 7) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"
    process.send_signal(signal.SIGTERM)
    assert "LISTEN" in process.stdout.read()
    process.wait(60)
