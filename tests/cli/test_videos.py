"""Orders about a post, given on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.database import Database
from orchestrator.database.tables import journal
from tests.brain.stage import Stage


@pytest.fixture
def database(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database that knows one post, and is the one of the command line."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", migrated_url)
    with closing(Database(migrated_url, connections=3)) as found, closing(Stage(found)) as stage:
        stage.warm("b1")
        stage.public("video.in_review", video_id="tp_1", bundle_id="b1", platform_url="https://t.example/1")
        yield found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["videos", *arguments])


def ordered(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        query = sa.select(journal.c.body).where(journal.c.endpoint == "cli")
        (body,) = connection.execute(query).scalars()
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize("verb", ["finalize", "refresh"])
def test_an_order_about_a_post(database: Database, verb: str) -> None:
    result = run(verb, "tp_1", "--reason", "as agreed")
    assert result.exit_code == 0, result.output
    assert ordered(database) == {"command": f"video.{verb}", "video_id": "tp_1", "reason": "as agreed"}


def test_corrections_name_what_is_to_be_how(database: Database) -> None:
    result = run("corrections", "tp_1", "--comment", "a typo", "--field", "description=New = drop", "--field", "name=x")
    assert result.exit_code == 0, result.output
    assert ordered(database) == {
        "command": "video.corrections",
        "video_id": "tp_1",
        "comment": "a typo",
        "fields": {"description": "New = drop", "name": "x"},
        "reason": None,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--comment", " "),
        ("--comment", "a typo", "--field", "description"),
        ("--comment", "a typo", "--field", "=x"),
        (),
    ],
)
def test_corrections_that_say_nothing_are_not_ordered(database: Database, arguments: tuple[str, ...]) -> None:
    assert run("corrections", "tp_1", *arguments).exit_code == 2
    with database.read() as connection:
        assert connection.execute(sa.select(journal.c.seq).where(journal.c.endpoint == "cli")).all() == []


def test_there_has_to_be_such_a_video(database: Database) -> None:
    assert run("finalize", "tp_2").exit_code != 0
