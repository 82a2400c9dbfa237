"""Orders given on the command line, and what a person is told of them."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.api.queries import messages
from orchestrator.cli import giving
from orchestrator.cli.giving import Outcome, RefusedOrderError, give
from orchestrator.database import Database
from orchestrator.database.lease import Lease
from orchestrator.database.tables import journal

PAUSE = {"command": "campaign.pause", "campaign_id": "cmp_1", "reason": None}


@pytest.fixture
def database(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", migrated_url)
    with closing(Database(migrated_url, connections=1)) as found:
        yield found


def actors(database: Database) -> list[dict[str, str]]:
    with database.read() as connection:
        return [json.loads(text) for text in connection.execute(sa.select(journal.c.actor)).scalars()]


def test_an_order_is_journalled_under_the_name_of_the_login(database: Database) -> None:
    outcome = give(PAUSE)
    assert outcome.message_id.startswith("msg_")
    assert actors(database) == [{"kind": "person", "name": getpass.getuser()}]


def test_a_user_without_a_name_is_a_number(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    give(PAUSE)
    assert actors(database) == [{"kind": "person", "name": f"uid-{os.getuid()}"}]


def test_the_same_order_once_is_one_message(database: Database) -> None:
    first, second = give(PAUSE, once="x"), give(PAUSE, once="x")
    assert first == second
    assert len(actors(database)) == 1


def test_nobody_is_waited_for_where_nobody_works(database: Database) -> None:
    outcome = give(PAUSE)
    assert (outcome.status, outcome.note) == (
        "pending",
        "no service is running: the next one that starts takes it up",
    )


def test_a_service_that_is_busy_is_not_waited_for_for_ever(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "PATIENCE", 0.0)
    assert Lease(database, "engine", "somebody").acquire()
    outcome = give(PAUSE)
    assert (outcome.status, outcome.note) == (
        "pending",
        "the service did not get to it within 0 s: it will take it up",
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [("refused", "refused: not now"), ("quarantined", "the order could not be carried out: not now")],
)
def test_what_is_not_carried_out_is_an_error_with_its_reason(
    database: Database, monkeypatch: pytest.MonkeyPatch, status: str, said: str
) -> None:
    monkeypatch.setattr(messages, "message_item", lambda *_: {"status": status, "reason": "not now"})
    with pytest.raises(RefusedOrderError, match=said):
        give(PAUSE)


def test_an_applied_order_needs_no_note(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "message_item", lambda *_: {"status": "applied", "reason": None})
    assert give(PAUSE, once="x") == Outcome(give(PAUSE, once="x").message_id, "applied")


def test_what_an_order_brings_is_waited_for_until_it_is_done(database: Database) -> None:
    answers = iter([False, False, True])
    assert giving.waited(lambda _: next(answers)) is True
    assert next(answers, "no more") == "no more"


def test_what_an_order_brings_is_not_waited_for_for_ever(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "PATIENCE", 0.0)
    assert giving.waited(lambda _: False) is False
