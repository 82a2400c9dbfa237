from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.database import Database
from tests.brain.stage import Make, Stage


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=6)) as database:
        yield database


@pytest.fixture
def make(database: Database) -> Iterator[Make]:
    """Makes the stage of a test; `make()` has sensible policies in force."""
    made: list[Stage] = []

    def build(**options: object) -> Stage:
        made.append(Stage(database, **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for stage in made:
        stage.close()
