from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.database import Database


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=4)) as database:
        yield database
