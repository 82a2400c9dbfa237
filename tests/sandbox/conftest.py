from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.sandbox.world import World
from tests.sandbox.house import House, StandingClock


@pytest.fixture
def house() -> Iterator[House]:
    clock = StandingClock()
    house = House(World(clock), clock)
    yield house
    house.world.close()
