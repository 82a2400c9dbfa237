from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.api.handlers import health
from orchestrator.api.problems import unavailable
from orchestrator.database import Lease
from orchestrator.database.tables import leases
from orchestrator.journal import Journal
from orchestrator.journal.group_commit import GroupCommit
from tests.api.house import NOON, House, webhook


def failing(house: House, path: str) -> list[str]:
    answer = house.client.get(path)
    body = answer.json()
    found = [name for name, check in body["checks"].items() if check["status"] == "fail"]
    assert (answer.status_code, body["status"]) == ((503, "fail") if found else (200, "pass"))
    return found


@pytest.fixture
def working(house: House) -> House:
    """A house in which an engine and projections work."""
    for name in health.LEASES:
        assert Lease(house.database, name, "test").acquire()
    house.workers.update(engine=None, projections=None)
    house.projected(bundles=0, videos=0, countries=0)
    return house


def test_all_is_well(working: House) -> None:
    for path in ("/health/live", "/health/ready", "/health/work", "/health/ready?probe=1"):
        assert failing(working, path) == []


def test_a_new_house_is_ready_but_does_not_work(house: House) -> None:
    assert failing(house, "/health/ready") == []
    assert failing(house, "/health/work") == ["engine", "projections", "outside"]


@pytest.mark.parametrize("name", health.LEASES)
def test_a_silent_worker_is_named(working: House, name: str) -> None:
    with working.database.write() as connection:
        connection.execute(leases.update().where(leases.c.name == name).values(ticked_at=leases.c.ticked_at - 11))
    assert failing(working, "/health/work") == [name]
    assert failing(working, "/health/ready") == []


def test_a_worker_that_is_gone_is_named_and_no_more(working: House) -> None:
    working.workers["projections"] = "OperationalError: no route to host db.internal"
    assert failing(working, "/health/work") == ["worker projections"]
    assert "db.internal" not in working.client.get("/health/work").text


def test_messages_do_not_wait_long(working: House) -> None:
    journal = Journal(working.database)
    journal.append([webhook("bundle.created")])
    journal.close()
    working.clock.now = NOON + timedelta(minutes=30, seconds=29)
    assert failing(working, "/health/work") == []
    working.clock.now = NOON + timedelta(minutes=30, seconds=32)
    assert failing(working, "/health/work") == ["inbox"]


def test_a_read_model_far_behind_is_named(working: House, monkeypatch: pytest.MonkeyPatch) -> None:
    working.tell(webhook("bundle.created"))
    working.projected(bundles=0, videos=2, countries=2, decisions=2, campaigns=2)
    assert failing(working, "/health/work") == []
    monkeypatch.setattr(health, "LAG", 1)
    assert failing(working, "/health/work") == ["projection bundles"]


def test_a_database_that_cannot_be_read_is_named(working: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def within(*_: Any) -> Any:
        raise unavailable("no")

    monkeypatch.setattr(working.app.state.runtime.read, "within", within)
    assert failing(working, "/health/ready") == ["database"]
    assert failing(working, "/health/work") == ["database"]
    assert failing(working, "/health/live") == []


def test_another_schema_is_named(working: House) -> None:
    with working.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0000'"))
    assert failing(working, "/health/ready") == ["schema"]
    with working.database.write() as connection:
        connection.execute(sa.text("DROP TABLE alembic_version"))
    assert failing(working, "/health/ready") == ["schema"]


def test_a_journal_in_trouble_is_named(working: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GroupCommit, "trouble", lambda _: "the last commit failed: OperationalError")
    assert failing(working, "/health/ready") == ["journal"]
    assert "OperationalError" not in working.client.get("/health/ready").text
