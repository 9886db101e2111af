"""The demonstration with the Linux kernel on the other side of a TAP.  Runs inside a namespace of its own."""
from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...lab import kernel
from .show import Show, fetch, hash_file, make_files

TAP = "tap0"
LINUX, LINUX6 = "10.0.0.1", "fd00::1"
STACK, STACK6 = "10.0.0.2", "fd00::2"
HTTP, LINUX_HTTP = 80, 8000
PATIENCE = 60.0         # seconds for one command


def demo(show: Show) -> None:
    """All steps."""
    import netstack
    from netstack.drivers import Tap

    kernel.make_tap(TAP, f"{LINUX}/24", f"{LINUX6}/64")
    with tempfile.TemporaryDirectory(prefix="netstack-demo-") as name, netstack.Stack() as stack:
        directory = Path(name)
        digest = make_files(directory)
        interface = stack.attach(Tap(TAP), ip=f"{STACK}/24", ip6=f"{STACK6}/64", gateway=LINUX)
        kernel.await_carrier(TAP)
        show.note(f"Linux is {LINUX} and {LINUX6}, this stack is {STACK} and {STACK6}, between them the TAP {TAP}")
        stack.wait_for(lambda: interface.is_ready)      # IPv6 asks first whether somebody has the address
        _pings(show)
        from ..serve import web

        netstack.use(stack)
        netstack.patch()
        with web(stack, str(directory), HTTP):
            _fetch_from_stack(show, directory, digest)
            _fetch_from_linux(show, directory, digest)
            _ladder(show, stack, directory / "one.pcapng")
    show.console.print()


def _run(show: Show, *words: str) -> subprocess.CompletedProcess[str]:
    show.command(words)
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        show.note(f"{words[0]} ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        raise SystemExit(1)
    return done


def _pings(show: Show) -> None:
    show.step("Linux pings the stack")
    if shutil.which("ping") is None:
        show.note("ping(8) is not installed (Debian: iputils-ping); without it this step is left out")
        return
    show.lines(_run(show, "ping", "-c", "3", "-i", "0.2", "-W", "2", STACK).stdout)
    show.step("... and over IPv6")
    show.lines(_run(show, "ping", "-6", "-c", "3", "-i", "0.2", "-W", "2", STACK6).stdout)


def _fetch_from_stack(show: Show, directory: Path, digest: str) -> None:
    show.step("Linux fetches from Python's http.server on the stack")
    if shutil.which("curl") is None:
        show.note("curl is not installed; a second Python, with Linux's sockets, fetches instead")
        show.lines(_linux_python(f"http://{STACK}/"))
        started = time.monotonic()
        _linux_python(f"http://{STACK}/big", directory / "fetched")
        seconds = time.monotonic() - started
    else:
        show.lines(_run(show, "curl", "-sS", f"http://{STACK}/").stdout)
        show.lines(_run(show, "curl", "-sS", f"http://[{STACK6}]/").stdout)
        said = _run(show, "curl", "-sS", "-o", str(directory / "fetched"), "-w", "%{time_total}",
                    f"http://{STACK}/big").stdout
        seconds = float(said.replace(",", "."))
    size = (directory / "fetched").stat().st_size
    show.transferred("stack to Linux", size, seconds, hash_file(directory / "fetched"), digest)


def _linux_python(url: str, target: Path | None = None) -> str:
    """Fetch with a Python that has Linux's sockets."""
    code = ("import shutil, sys, urllib.request as r\n"
            "shutil.copyfileobj(r.urlopen(sys.argv[1], timeout=30), open(sys.argv[2], 'wb'))")
    with tempfile.NamedTemporaryFile() as page:
        subprocess.run([sys.executable, "-c", code, url, str(target or page.name)], timeout=PATIENCE, check=True)
        return page.read().decode()


@contextmanager
def _linux_server(directory: Path) -> Iterator[None]:
    """Python's http.server in a process of its own, on Linux's sockets."""
    process = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", LINUX, "--directory", str(directory),
                                str(LINUX_HTTP)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _fetch_from_linux(show: Show, directory: Path, digest: str) -> None:
    show.step("The other way: http.client on the stack fetches from a Python web server on Linux")
    with _linux_server(directory):
        deadline = time.monotonic() + 10
        while True:
            try:
                page, *_ = fetch(LINUX, LINUX_HTTP, "/")
                break
            except ConnectionRefusedError:      # not listening yet
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        show.lines(page.decode())
        _, got, size, seconds = fetch(LINUX, LINUX_HTTP, "/big")
        show.transferred("Linux to stack", size, seconds, got, digest)


def _ladder(show: Show, stack: Any, capture: Path) -> None:
    show.step("One connection, segment by segment (times in ms, Linux on the left)")
    from ...observe.ladder import render

    with stack.capture(capture):
        if shutil.which("curl") is None:
            _linux_python(f"http://{STACK}/")
        else:
            _run(show, "curl", "-sS", f"http://{STACK}/")
        time.sleep(0.2)         # its last segments
    show.lines(render(capture))
