"""Fixtures of the driver tests."""
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from netstack.drivers import Driver, Impaired, Wire

from .rig import Rig


@pytest.fixture
def rigs() -> Iterator[Callable[..., Rig]]:
    """Make rigs: `rigs(loss=0.1)` is an impaired wire, `rigs(driver)` any driver."""
    made: list[Rig] = []

    def make(driver: Driver | None = None, bell: int = -1, **settings: object) -> Rig:
        made.append(Rig(Impaired(Wire(), **settings) if driver is None else driver, bell))
        return made[-1]
    yield make
    for rig in made:
        rig.driver.close()
