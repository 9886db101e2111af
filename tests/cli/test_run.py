"""`netstack run` on the loopback interface."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 250         # seconds, a cold compile included

pytestmark = pytest.mark.timeout(LIMIT + 10)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """`netstack run ...`"""
    return subprocess.run([sys.executable, "-m", "netstack", "run", *map(str, words)], capture_output=True, text=True,
                          timeout=LIMIT, check=False)


def test_a_server_and_a_client(tmp_path: Path) -> None:
    """An unmodified program that speaks with itself; the system's own loopback never sees it."""
    script = tmp_path / "both.py"
    script.write_text('''
import socket, sys, threading

def serve(server):
    conn, addr = server.accept()
    with conn:
        conn.sendall(conn.recv(1024).upper())

server = socket.create_server(("localhost", 65430))
threading.Thread(target=serve, args=(server,)).start()
client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
client.connect(("localhost", 65430))
client.sendall(b"hello")
print(client.recv(1024).decode(), sys.argv[1:], __name__, socket.__name__)
client.close()
server.close()
''')
    done = run(script, "--tap", "x")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "HELLO ['--tap', 'x'] __main__ netstack.socket\n", "")


def test_its_exit_status(tmp_path: Path) -> None:
    script = tmp_path / "exits.py"
    script.write_text("raise SystemExit(5)\n")
    assert run(script).returncode == 5


def test_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "wrong.py"
    script.write_text("import socket\nsocket.create_connection(('127.0.0.1', 9))\n")
    done = run(script)
    assert done.returncode == 1
    assert "ConnectionRefusedError" in done.stderr


def test_the_command_s_words_are_not_the_program_s(tmp_path: Path) -> None:
    module = tmp_path / "some_module.py"
    module.write_text("import sys; print(sys.argv[1:])\n")
    done = subprocess.run([sys.executable, "-m", "netstack", "run", "-m", "some_module", "-m", "--ip"],
                          capture_output=True, text=True, timeout=LIMIT, check=False, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert (done.returncode, done.stdout) == (0, "['-m', '--ip']\n")


def test_no_such_module() -> None:
    done = run("-m", "no_such_module_at_all")
    assert done.returncode == 1
    assert "no module named no_such_module_at_all" in done.stderr.lower()
    assert "Traceback" not in done.stderr


def test_what_cannot_work_is_said(tmp_path: Path) -> None:
    """Libraries that open sockets in C, and a process that forks; uvloop is left out, and others have asyncio then."""
    (tmp_path / "pycurl.py").write_text("there = True\n")
    (tmp_path / "uvloop.py").write_text("there = True\n")
    script = tmp_path / "program.py"
    script.write_text('''
import os, socket, sys
import pycurl
try:
    import uvloop
except ImportError as error:
    print("no uvloop")
server = socket.create_server(("127.0.0.1", 80))
sys.stdout.flush()
pid = os.fork()
if pid == 0:
    try:
        server.accept()
    except OSError as error:
        print(error.strerror, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
server.close()
''')
    done = run(script)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "no uvloop")
    assert "child" in done.stdout
    assert "pycurl works in C" in done.stderr
    assert "was forked" in done.stderr
    assert done.stderr.count("netstack run:") == 2


def test_tls_of_a_program(tmp_path: Path) -> None:
    """http.server with TLS and urllib, which know nothing of netstack."""
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    ca.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    script = tmp_path / "secure.py"
    script.write_text('''
import http.server, os, ssl, sys, threading, urllib.request
os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, args=(0.05,)).start()
trusting = ssl.create_default_context(cafile="ca.pem")
with urllib.request.urlopen("https://localhost/secure.py", context=trusting, timeout=30) as answer:
    print(answer.read() == open("secure.py", "rb").read())
server.shutdown()
server.server_close()
''')
    done = run(script, tmp_path)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
