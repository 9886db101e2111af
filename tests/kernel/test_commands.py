"""The `netstack` commands, with Linux on the other side."""
from __future__ import annotations

import fcntl
import hashlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from netstack.lab import kernel
from netstack.services.small import CHARGEN, DAYTIME, DISCARD, ECHO, PATTERN

from ..waiting import until

LINK = ("--tap", "tap0", "--ip", "10.0.0.2/24", "--ip6", "fd00::2/64", "--gateway", "10.0.0.1")
STACK = "10.0.0.2"
START = 250         # seconds, a cold compile included

pytestmark = pytest.mark.timeout(300)


def _ready(process: Any) -> None:
    line = process.stdout.readline()
    assert line == "READY\n", process.communicate(timeout=60)


@pytest.fixture
def served(bare_tap: str, command: Any, tmp_path: Path) -> Any:
    """`netstack serve` with everything; ended by SIGTERM, which must end it well."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.html").write_text("the page\n")
    process = command("serve", *LINK, "--http", tmp_path / "www", "--pcap", tmp_path / "all.pcapng")
    process.pcap = tmp_path / "all.pcapng"
    _ready(process)
    yield process
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, _complaints(err)) == (0, []), out


def _complaints(err: str) -> list[str]:
    """What a command said on stderr, but for a cold compile."""
    return [line for line in err.splitlines() if not line.startswith("netstack: compil")]


def _exactly(sock: socket.socket, n: int) -> bytes:
    """n bytes (MSG_WAITALL does not hold on a socket with a timeout)."""
    got = bytearray()
    while len(got) < n and (piece := sock.recv(n - len(got))):
        got += piece
    return bytes(got)


def _unread(sock: socket.socket) -> int:
    """Bytes that the kernel holds for `recv` (FIONREAD)."""
    return int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


def _connect(port: int, host: str = STACK) -> socket.socket:
    return socket.create_connection((host, port), timeout=60)


@pytest.mark.parametrize("host", [STACK, "fd00::2"])
def test_small_servers(served: Any, host: str) -> None:
    with _connect(ECHO, host) as sock:
        sock.sendall(b"hello")
        assert _exactly(sock, 5) == b"hello"
    with _connect(DISCARD, host) as sock:
        sock.sendall(bytes(200_000))
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    with _connect(DAYTIME, host) as sock:
        assert str(time.gmtime().tm_year).encode() in sock.recv(100)
        assert sock.recv(1) == b""
    with _connect(CHARGEN, host) as sock:
        assert _exactly(sock, len(PATTERN) + 100) == PATTERN + PATTERN[:100]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(b"hello", (host, ECHO))
        assert sock.recv(100) == b"hello"
        sock.sendto(b"", (host, DAYTIME))
        assert str(time.gmtime().tm_year).encode() in sock.recv(100)
        sock.sendto(b"", (host, CHARGEN))
        assert len(sock.recv(1000)) <= 512


def test_two_queues(netns: None, command: Any) -> None:
    kernel.make_tap("tap0", "10.0.0.1/24", "fd00::1/64", multi_queue=True)
    process = command("serve", *LINK, "--queues", "2")
    _ready(process)
    for _ in range(8):
        with _connect(ECHO) as sock:
            sock.sendall(b"hello")
            assert _exactly(sock, 5) == b"hello"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, _complaints(err)) == (0, []), out


def test_web_page_and_capture(served: Any) -> None:
    with _connect(80) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: sock.recv(4096), b""))
    assert said.endswith(b"the page\n")
    served.send_signal(signal.SIGTERM)
    served.wait(60)
    from netstack.observe.ladder import connections, ladder

    found = connections(served.pcap)
    assert len(found) == 1
    text = "\n".join(ladder(found[0]))
    assert "SYN-SENT" in text
    assert "ESTABLISHED" in text
    assert "CLOSE-WAIT" in text
    if shutil.which("tcpdump"):
        dump = subprocess.run(["tcpdump", "-nr", str(served.pcap)], capture_output=True, text=True, timeout=60,
                              check=True)
        assert "Flags [S.]" in dump.stdout


def test_a_thousand_connections_echo(served: Any, life: Any) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    socks = [life.enter_context(_connect(ECHO)) for _ in range(1000)]
    for turn in range(2):
        for number, sock in enumerate(socks):
            sock.sendall(b"%d %d" % (turn, number))
        for number, sock in enumerate(socks):
            assert sock.recv(100) == b"%d %d" % (turn, number)


def test_interrupt_ends_it_well(bare_tap: str, command: Any) -> None:
    process = command("serve", *LINK)
    _ready(process)
    with _connect(ECHO):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, _complaints(err)) == (0, "", [])


def test_run_http_server(bare_tap: str, command: Any, tmp_path: Path) -> None:
    """An unmodified module of the standard library, fetched by Linux's curl."""
    data = hashlib.shake_256(b"page").digest(3_000_000)
    (tmp_path / "data").write_bytes(data)
    process = command("run", *LINK, "-m", "http.server", "80", "--directory", tmp_path)
    target = tmp_path / "got"
    if shutil.which("curl"):
        fetch = ["curl", "-sS", "--retry", "300", "--retry-delay", "1", "--retry-all-errors", "--retry-max-time",
                 str(START), "-o", str(target), f"http://{STACK}/data"]
        subprocess.run(fetch, timeout=START + 10, check=True)
        assert target.read_bytes() == data
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err


def test_run_a_script_as_client(bare_tap: str, command: Any, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text("import socket, sys\n"
                      "s = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
                      "s.sendall(b'from the stack')\n"
                      "print(s.recv(100).decode(), __name__)\n")
    with socket.create_server(("10.0.0.1", 5000)) as server:
        server.settimeout(START)
        process = command("run", *LINK, script, "10.0.0.1", 5000)
        conn, peer = server.accept()
        with conn:
            assert peer[0] == STACK
            assert _exactly(conn, 14) == b"from the stack"
            conn.sendall(b"from linux")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "from linux __main__\n"), err


def test_what_a_program_sent_last_arrives(bare_tap: str, command: Any, tmp_path: Path) -> None:
    """It sends, closes and ends at once; the kernel's stack would still deliver, and so must this one."""
    script = tmp_path / "client.py"
    script.write_text("import socket\n"
                      "s = socket.create_connection(('10.0.0.1', 5000))\n"
                      "s.sendall(bytes(300_000))\n"
                      "s.close()\n")
    with socket.create_server(("10.0.0.1", 5000)) as server:
        server.settimeout(START)
        process = command("run", *LINK, script)
        conn, _ = server.accept()
        with conn:
            until(lambda: _unread(conn) > 30_000)               # a part, as far as the kernel's window goes
            assert len(_exactly(conn, 300_000)) == 300_000
            assert conn.recv(1) == b""
    assert process.wait(60) == 0


def test_ping(bare_tap: str, command: Any) -> None:
    process = command("ping", *LINK, "-c", 2, "-i", 0.01, "10.0.0.1")
    out, err = process.communicate(timeout=START)
    assert process.returncode == 0, err
    assert "2 packets transmitted, 2 received, 0% packet loss" in out
    process = command("ping", *LINK, "-c", 1, "-W", 0.2, "10.0.0.77")
    out, _ = process.communicate(timeout=START)
    assert (process.returncode, "100% packet loss" in out) == (1, True)


def test_a_tap_in_use(served: Any, command: Any) -> None:
    process = command("serve", *LINK)
    _, err = process.communicate(timeout=START)
    assert process.returncode == 1
    assert "tap0" in err
    assert "Traceback" not in err


def test_no_permission(bare_tap: str) -> None:
    """Without the capability to make interfaces: a message, no traceback."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv(1) is not installed")
    done = subprocess.run(["setpriv", "--bounding-set", "-net_admin", sys.executable, "-m", "netstack", "serve",
                           "--tap", "other0", "--ip", "10.0.9.2/24"], capture_output=True, text=True, timeout=START,
                          check=False)
    assert done.returncode == 1
    assert "other0" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def name_server(bare_tap: str) -> Any:
    """A UDP socket of Linux that answers every question for "A" with 192.0.2.7; `.asked` has the questions."""
    import dns.message
    import dns.rrset

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("10.0.0.1", 53))
    asked = []

    def serve() -> None:
        while True:
            data, peer = sock.recvfrom(2000)
            if not data:
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            asked.append(str(question.name))
            reply = dns.message.make_response(query)
            if question.rdtype == 1:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", "192.0.2.7"))
            sock.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield asked
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"", ("10.0.0.1", 53))
    thread.join(60)
    sock.close()


def test_dig(name_server: Any, command: Any) -> None:
    process = command("dig", *LINK, "www.test", "@10.0.0.1", "--short")
    out, err = process.communicate(timeout=START)
    assert (process.returncode, out, _complaints(err)) == (0, "192.0.2.7\n", [])
    assert name_server == ["www.test."]


def test_run_with_names(name_server: Any, command: Any, tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text("import socket; print(socket.gethostbyname('www.test'))\n")
    process = command("run", *LINK, "--dns", "10.0.0.1", tmp_path / "ask.py")
    out, err = process.communicate(timeout=START)
    assert (process.returncode, out, _complaints(err)) == (0, "192.0.2.7\n", [])
