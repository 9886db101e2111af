"""`link`: see link.py.  Whatever a dialogue does, nothing may be left of it."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .link import Link


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
