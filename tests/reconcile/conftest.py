from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.database import Database
from tests.reconcile.fake import Desk


@pytest.fixture
def desk(migrated_url: str) -> Iterator[Desk]:
    with closing(Database(migrated_url, connections=3)) as database:
        made = Desk(database)
        yield made
        made.reconciler.close()
