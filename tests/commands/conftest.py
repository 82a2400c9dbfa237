from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.database import Database
from tests.brain.stage import Stage


@pytest.fixture
def stage(migrated_url: str) -> Iterator[Stage]:
    """The engine and its journal, with sensible policies in force, in the mode `sandbox`."""
    with closing(Database(migrated_url, connections=5)) as database, closing(Stage(database)) as stage:
        yield stage
