from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.database import Database


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url, connections=4)
    yield database
    database.close()
