from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.database import Database
from tests.audit.logs import Log


@pytest.fixture
def log(migrated_url: str, tmp_path: Path) -> Iterator[Log]:
    with closing(Database(migrated_url, connections=3)) as database:
        log = Log(database, tmp_path / "audit" / "orchestrator")
        log.tell_a_story()
        yield log
