"""`link`: see link.py.  Whatever a dialogue does, nothing may be left of it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .link import ACK, SYN, Link


@pytest.fixture
def make_link() -> Iterator[Callable[..., Link]]:
    """make_link(version=6, tcp_retries2=3): a link with settings of its own."""
    made: list[Link] = []

    def make(*arguments: object, **settings: object) -> Link:
        made.append(Link(*arguments, **settings))       # type: ignore[arg-type]
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def link(make_link: Callable[..., Link]) -> Link:
    """IPv4."""
    return make_link()


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def each_link(request: pytest.FixtureRequest, make_link: Callable[..., Link]) -> Link:
    """IPv4, then IPv6."""
    return make_link(request.param)


@pytest.fixture
def sending(make_link: Callable[..., Link]) -> Callable[..., tuple[Link, Any, Any]]:
    """sending(8): a connection with a round trip of 100 ms that has just sent 8 segments of 1000 bytes, with Reno.

    Gives the link, the socket and the Tcb.  `more`: segments that wait behind what the window lets out; `ts`: with
    timestamps.
    """
    def begin(segments: int, more: int = 0, *, sack_ok: bool = False, ts: bool = False,
              **settings: object) -> tuple[Link, Any, Any]:
        link = make_link(4, tcp_congestion_control="reno", **settings)
        link.listen()
        link.peer_sends(SYN, seq=100, mss=1012 if ts else 1000, sack_ok=sack_ok, wnd=60000,
                        ts=(50_000, 0) if ts else None)
        link.drain()
        link.advance(0.1)
        link.peer_sends(ACK, ack=1)
        conn = link.accept()
        conn.send(bytes(1000 * (segments + more)))
        assert [seg.seq for seg in link.drain()] == [1 + 1000 * i for i in range(segments)]
        return link, conn, link.tcb(conn)

    return begin
