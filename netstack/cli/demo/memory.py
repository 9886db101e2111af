"""The demonstration without a kernel: two stacks on a link in memory."""
from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from .show import Show, fetch, make_files

A, A6 = "192.0.2.1", "2001:db8::1"      # RFC 5737, RFC 3849
B, B6 = "192.0.2.2", "2001:db8::2"
HTTP = 80


def demo(show: Show) -> None:
    """All steps."""
    import netstack
    from netstack.drivers import Wire

    show.note("showing two stacks of this process on a link in memory instead")
    left, right = Wire.pair()
    with (tempfile.TemporaryDirectory(prefix="netstack-demo-") as name, netstack.Stack() as server,
          netstack.Stack() as client):
        directory = Path(name)
        digest = make_files(directory)
        ends = [server.attach(left, ip=f"{A}/24", ip6=f"{A6}/64"), client.attach(right, ip=f"{B}/24", ip6=f"{B6}/64")]
        client.wait_for(lambda: all(end.is_ready for end in ends))      # IPv6 asks first whether somebody has it
        show.note(f"one stack is {A} and {A6}, the other {B} and {B6}")
        _pings(show, client)
        from ..serve import web

        with web(server, str(directory), HTTP):
            netstack.use(client)
            netstack.patch()
            _fetch(show, digest)
            _ladder(show, client, directory / "one.pcapng")
    show.console.print()


def _pings(show: Show, client: Any) -> None:
    from ..ping import ping

    for title, host in (("One stack pings the other", A), ("... and over IPv6", A6)):
        show.step(title)
        said: list[str] = []
        statistics = ping(client, host, count=3, interval=0.2, wait=2.0, say=said.append)
        show.lines(said)
        if not statistics.received:
            raise SystemExit(1)


def _fetch(show: Show, digest: str) -> None:
    show.step("http.client on one stack fetches from Python's http.server on the other")
    page, *_ = fetch(A, HTTP, "/")
    show.lines(page.decode())
    _, got, size, seconds = fetch(A, HTTP, "/big")
    show.transferred("from stack to stack", size, seconds, got, digest)


def _ladder(show: Show, client: Any, capture: Path) -> None:
    show.step("One connection, segment by segment (times in ms, the client on the left)")
    from ...observe.ladder import render

    with client.capture(capture):
        fetch(A, HTTP, "/")
        time.sleep(0.2)         # its last segments
    show.lines(render(capture))
