from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.database import Database
from tests.audit.logs import Log


@pytest.fixture
def log(migrated_url: str, tmp_path: Path) -> Iterator[Log]:
    """A log with a story in it, the last part of which is not signed yet."""
    with closing(Database(migrated_url, connections=3)) as database:
        log = Log(database, tmp_path / "audit" / "orchestrator")
        log.tell_a_story()
        yield log


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield database
