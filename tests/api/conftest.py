from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.house import TOKENS, House
from tests.api.house import house as open_house


@pytest.fixture
def house(migrated_url: str) -> Iterator[House]:
    """A house without tokens, called from its own machine."""
    with open_house(migrated_url) as opened:
        yield opened


@pytest.fixture
def guarded(migrated_url: str) -> Iterator[House]:
    """A house with one token of each role."""
    with open_house(migrated_url, tokens=TOKENS) as opened:
        yield opened
