"""How the demonstration speaks."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

BIG = 100_000_000           # bytes of the large file
PAGE = "<!doctype html>\n<title>netstack</title>\n<p>Served by Python's http.server over a TCP/IP stack in Python.\n"


class Show:
    """The terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self._number = 0

    def step(self, title: str) -> None:
        """A new step."""
        self._number += 1
        self.console.print(f"\n[bold cyan]{self._number}. {escape(title)}[/]")

    def command(self, words: Iterable[str]) -> None:
        """A command that is run now."""
        self.console.print(f"   [dim]$[/] [bold]{escape(' '.join(words))}[/]")

    def lines(self, text: str | Iterable[str]) -> None:
        """What it said."""
        for line in text.splitlines() if isinstance(text, str) else text:
            self.console.print(f"   {escape(line)}")

    def result(self, text: str) -> None:
        """A fact worth seeing."""
        self.console.print(f"   [green]✔[/] {escape(text)}")

    def note(self, text: str) -> None:
        """Something that is not as hoped."""
        self.console.print(f"[yellow]•[/] {escape(text)}")

    def transferred(self, what: str, size: int, seconds: float, digest: str, expected: str) -> None:
        """The rate of a transfer; what arrived must be what was sent."""
        if digest != expected:
            raise SystemExit(f"netstack: {what}: what arrived is not what was sent")
        self.result(f"{what}: {size / 1e6:.0f} MB in {seconds:.2f} s, {size * 8 / seconds / 1e9:.2f} Gbit/s, "
                    f"{size / seconds / 1e6:.0f} MB/s; SHA-256 equal")


def make_files(directory: Path) -> str:
    """A page and a large file to fetch.  Returns the large one's SHA-256."""
    (directory / "index.html").write_text(PAGE)
    block = hashlib.shake_256(b"netstack").digest(1_000_000)
    digest = hashlib.sha256()
    with open(directory / "big", "wb") as file:
        for _ in range(BIG // len(block)):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(host: str, port: int, path: str) -> tuple[bytes, str, int, float]:
    """HTTP GET with http.client as it is imported now.  First bytes, SHA-256, size, seconds (hashing apart)."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=60)
    pieces = []
    started = time.monotonic()
    connection.request("GET", path, headers={"Connection": "close"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"netstack: http://{host}:{port}{path} answered {answer.status} {answer.reason}")
    while piece := answer.read(1 << 20):
        pieces.append(piece)
    seconds = time.monotonic() - started
    connection.close()
    whole = b"".join(pieces)
    return whole[:1000], hashlib.sha256(whole).hexdigest(), len(whole), seconds
