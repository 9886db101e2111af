"""`make compat`: which libraries work over netstack, tried and measured; the table of docs/compatibility.md.

    python netstack/lab/namespace.py python -m tests.compat [--write] [--only TEXT] [--scale N]

Each row is a client and a server, one of them an unmodified program under
`netstack run`, the other on Linux's own sockets, with a TAP between, in this
network namespace.  What is not installed is left out of the table.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from netstack.lab import kernel

from . import ports

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- table: make compat -->\n", "<!-- end of the table -->\n"
TAP, LINUX, OURS = "tap0", "10.0.0.1", "10.0.0.2"
MB100, CALLS = 100_000_000, 10_000
SIZE = 10_000_000       # bytes of the file
PATIENCE = 30.0         # seconds until a server listens
LIMIT = 600             # seconds for a client


@dataclass(frozen=True)
class Row:
    """A client (of clients.py, or of `PROGRAMS`) and a server (of servers.py); which of them is on netstack."""

    ours: str           # "client" or "server"
    client: str
    server: str
    port: int           # where it listens
    amount: int         # bytes if MB100, else calls
    library: str        # what is being tried
    package: str = ""   # ... as it is installed; "": of the standard library


ROWS = (
    Row("client", "http_client", "nginx", ports.HTTP, MB100, "http.client"),
    Row("client", "urllib_https", "nginx", ports.HTTPS, MB100, "urllib.request, TLS"),
    Row("client", "smtp", "aiosmtpd", ports.SMTP, MB100, "smtplib, STARTTLS"),
    Row("client", "ftp_tls", "pyftpdlib", ports.FTP, MB100, "ftplib, TLS"),
    Row("client", "echo", "ThreadingTCPServer", ports.ECHO, CALLS, "socket.makefile"),
    Row("client", "requests_https", "nginx", ports.HTTPS, MB100, "requests, TLS", "requests"),
    Row("client", "urllib3_gets", "nginx", ports.HTTP, CALLS, "urllib3, 4 threads", "urllib3"),
    Row("client", "httpx_https", "nginx", ports.HTTPS, MB100, "httpx, HTTP/2, TLS", "httpx"),
    Row("client", "aiohttp_gets", "nginx", ports.HTTP, CALLS, "aiohttp, 20 at a time", "aiohttp"),
    Row("client", "websocket_sync", "websockets", ports.WEBSOCKET, CALLS, "websockets, threads", "websockets"),
    Row("client", "websocket_tls", "websockets", ports.WEBSOCKETS, MB100, "websockets, asyncio, TLS", "websockets"),
    Row("client", "redis_calls", "redis", ports.REDIS, CALLS, "redis", "redis"),
    Row("client", "pg8000_calls", "PostgreSQL", ports.POSTGRES, CALLS, "pg8000", "pg8000"),
    Row("client", "paramiko_sftp", "sshd", ports.SSH, MB100, "paramiko, SFTP", "paramiko"),
    Row("client", "dns_queries", "dnsmasq", ports.DNS, CALLS, "dnspython, UDP and TCP", "dnspython"),
    Row("server", "http_client", "http.server", ports.HTTP, MB100, "http.server"),
    Row("server", "curl", "http.server", ports.HTTP, MB100, "http.server"),
    Row("server", "echo", "ThreadingTCPServer", ports.ECHO, CALLS, "socketserver.ThreadingTCPServer"),
    Row("server", "curl", "uvicorn", ports.HTTP, MB100, "uvicorn", "uvicorn"),
    Row("server", "ab", "uvicorn", ports.HTTP, CALLS, "uvicorn, 20 at a time", "uvicorn"),
    Row("server", "requests_https", "uvicorn, TLS", ports.HTTPS, MB100, "uvicorn, TLS", "uvicorn"),
    Row("server", "aiohttp_gets", "aiohttp", ports.HTTP, CALLS, "aiohttp, 20 at a time", "aiohttp"),
    Row("server", "curl", "aiohttp", ports.HTTP, MB100, "aiohttp, sendfile", "aiohttp"),
    Row("server", "requests_https", "aiohttp", ports.HTTPS, MB100, "aiohttp, TLS", "aiohttp"),
    Row("server", "websocket_sync", "websockets", ports.WEBSOCKET, CALLS, "websockets", "websockets"),
    Row("server", "websocket_tls", "websockets", ports.WEBSOCKETS, MB100, "websockets, TLS", "websockets"),
    Row("server", "ftp", "pyftpdlib", ports.FTP, MB100, "pyftpdlib", "pyftpdlib"),
    Row("server", "smtp", "aiosmtpd", ports.SMTP, MB100, "aiosmtpd, STARTTLS", "aiosmtpd"),
    Row("server", "ab", "gunicorn", ports.HTTP, CALLS, "gunicorn, sync worker", "gunicorn"),
)


def _curl(host: str, amount: int) -> list[str]:
    times = -(-amount // SIZE)
    each = ["-o", "/dev/null", f"http://{host}/data"]
    return ["curl", "-s", "-S", "--fail", "-w", "%{size_download}\\n", *each * times]


def _ab(host: str, amount: int) -> list[str]:
    return ["ab", "-q", "-k", "-n", str(amount), "-c", "20", f"http://{host}/small"]


def _said_by_curl(text: str) -> tuple[int, int]:
    sizes = [int(line) for line in text.split()]
    return sum(sizes), len(sizes)


def _said_by_ab(text: str) -> tuple[int, int]:
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    assert found["Failed requests"].strip() == "0"
    return int(found["Total transferred"].split()[0]), int(found["Complete requests"])


PROGRAMS: dict[str, tuple[Callable[[str, int], list[str]], Callable[[str], tuple[int, int]]]] = {
    "curl": (_curl, _said_by_curl), "ab": (_ab, _said_by_ab)}


@dataclass
class Result:
    """What became of a row."""

    size: int = 0
    operations: int = 0
    seconds: float = 0.0
    error: str = ""     # why it did not work
    absent: bool = False    # something is not installed


class Bench:
    """The link, and the directory that the programs share."""

    def __init__(self, directory: Path, size: int) -> None:
        self.environment = {**os.environ, "COMPAT_DIR": str(directory), "PYTHONPATH": str(ROOT)}
        os.environ["COMPAT_DIR"] = str(directory)
        from . import servers

        self.servers = servers
        servers.HERE = directory
        servers.prepare(size)
        self.directory = directory
        kernel.make_tap(TAP, f"{LINUX}/24")

    def command(self, module: list[str], ours: bool) -> list[str]:
        """`python -m module ...`, under `netstack run` or not."""
        run = ["-m", "netstack", "run", "--tap", TAP, "--ip", f"{OURS}/24", "--gateway", LINUX] if ours else []
        return [sys.executable, *run, "-m", *module]

    @contextlib.contextmanager
    def serving(self, row: Row) -> Iterator[str]:
        """Start the server; it listens on the address that this gives."""
        ours = row.ours == "server"
        host = OURS if ours else LINUX
        command = (self.servers.SYSTEM[row.server](host) if row.server in self.servers.SYSTEM
                   else self.command(self.servers.MODULES[row.server](host), ours))
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(command, env=self.environment, stdout=said, stderr=said, cwd=ROOT,
                                       stdin=subprocess.DEVNULL)
            try:
                self._await(process, host, row.port, said)
                yield host
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @staticmethod
    def _await(process: subprocess.Popen[bytes], host: str, port: int, said: object) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((host, port), 1).close()
                return
            except OSError as error:
                why = error
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)        # type: ignore[attr-defined]
                text = said.read().strip().splitlines()     # type: ignore[attr-defined]
                told = [line for line in text if "netstack" in line] or text or [str(why)]
                raise RuntimeError(re.sub(r"^(\[[^]]*\] ?)+", "", told[-1]))      # a log's time, process and level
            time.sleep(0.02)

    def try_out(self, row: Row, scale: int = 1) -> Result:
        """Run one row, with a part of its amount."""
        try:
            if row.package:
                metadata.version(row.package)
            if row.client in PROGRAMS and shutil.which(row.client) is None:
                raise FileNotFoundError(f"{row.client} is not installed")
            with self.serving(row) as host:
                return self._client(row, host, row.amount // scale)
        except (FileNotFoundError, metadata.PackageNotFoundError) as error:
            return Result(error=str(error), absent=True)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            return Result(error=str(error), absent="No module named" in str(error))

    def _client(self, row: Row, host: str, amount: int) -> Result:
        if row.client in PROGRAMS:
            command, parse = PROGRAMS[row.client]
            words = command(host, amount)
        else:
            words = self.command(["tests.compat.clients", row.client, host, str(amount)], row.ours == "client")

            def parse(text: str) -> tuple[int, int]:
                found = json.loads(text)
                return found["bytes"], found["operations"]
        start = time.monotonic()
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=LIMIT, check=False,
                              cwd=ROOT)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        return Result(*parse(done.stdout), seconds=seconds)


PEERS = {"http_client": "http.client", "echo": "socket.makefile", "smtp": "smtplib", "ftp": "ftplib",
         "websocket_sync": "websockets", "websocket_tls": "websockets"}


def _version(row: Row) -> str:
    return metadata.version(row.package) if row.package else platform.python_version()


def table(results: list[tuple[Row, Result]]) -> str:
    """As in the document."""
    lines = ["| library | version | its peer | moved | took | |", "|---|---|---|---|---|---|"]
    for ours, title in (("client", "**our client, a server on Linux**"),
                        ("server", "**our server, a client on Linux**")):
        lines.append(f"| {title} | | | | | |")
        for row, result in results:
            if row.ours != ours or result.absent:
                continue
            peer = row.server if ours == "client" else PEERS.get(row.client, row.client.partition("_")[0])
            if result.error:
                lines.append(f"| {row.library} | {_version(row)} | {peer} | | | no: {result.error.replace('|', '/')} |")
                continue
            moved = f"{result.size / 1e6:,.0f} MB" if row.amount == MB100 else f"{result.operations:,} calls"
            rate = (f"{result.size / 1e6 / result.seconds:,.0f} MB/s" if row.amount == MB100
                    else f"{result.operations / result.seconds:,.0f} a second")
            lines.append(f"| {row.library} | {_version(row)} | {peer} | {moved} | {result.seconds:.1f} s | {rate} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/compatibility.md")
    parser.add_argument("--only", default="", help="rows with this in their client, server or library")
    parser.add_argument("--scale", type=int, default=1, help="a part of the amounts only: 1/N")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory(prefix="compat-", ignore_cleanup_errors=True) as directory:
        os.chmod(directory, 0o755)      # PostgreSQL runs as somebody else
        bench = Bench(Path(directory), max(SIZE // options.scale, 1000))
        for row in ROWS:
            if options.only not in f"{row.ours} {row.client} {row.server} {row.library}":
                continue
            result = bench.try_out(row, options.scale)
            results.append((row, result))
            print(f"{row.ours:6} {row.library:32} {row.client:15} {row.server:20}",
                  result.error or f"{result.size / 1e6:.1f} MB, {result.operations} calls, {result.seconds:.1f} s",
                  flush=True)
    text = table(results)
    print(text)
    if options.write:
        page = PAGE.read_text()
        head, _, rest = page.partition(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    return 1 if any(r.error and not r.absent and row.server != "gunicorn" for row, r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
