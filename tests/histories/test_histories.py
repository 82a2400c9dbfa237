"""What was decided once is decided again: a change of behaviour is a decision, and never an accident."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.database import Database
from orchestrator.replay import replay
from tests.histories.histories import FOLDER, STORIES, load

SAVED = sorted(FOLDER.glob("*.json.gz"))
LARGEST = 300_000
AGAIN = "if that is meant, run `python -m tests.histories` and commit what it writes"


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield database


def test_there_is_one_for_each_story() -> None:
    assert [path.name.removesuffix(".json.gz") for path in SAVED] == sorted(STORIES)


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.name)
def test_history_repeats_itself(database: Database, path: Path) -> None:
    assert path.stat().st_size < LARGEST
    load(database, path)
    report = replay(database)
    assert report.compared > 50
    assert report.messages > 30
    told = "\n".join(str(difference) for difference in report.differences[:3])
    assert not report.count, f"{path.name}: {report.count} messages give other events: {AGAIN}\n{told}"
