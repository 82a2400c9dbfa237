"""What the service tells the engine when it starts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator import briefing
from orchestrator.briefing import brief, service_of
from orchestrator.clock import Clock
from orchestrator.database import Database
from orchestrator.database.tables import journal, outbox
from orchestrator.engine import Engine
from tests.brain.stage import POLICIES, campaign

pytestmark = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)


class Still(Clock):
    def microseconds(self) -> int:
        return int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1_000_000)


class House:
    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.folder = folder
        (folder / "campaigns").mkdir()
        self.write("policies.yaml", POLICIES)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def start(self, mode: str = "sandbox", *, reads: bool = True, engine: bool = True) -> list[str]:
        """The commands that were journalled."""
        with self.database.read() as connection:
            last = connection.execute(sa.select(sa.func.coalesce(sa.func.max(journal.c.seq), 0))).scalar_one()
        environment = {"OPS_ALERT_URL": "json://127.0.0.1"}.get
        brief(self.database, mode, self.folder, Still(), environment, reads=reads)
        worker = Engine(self.database)
        while engine and worker.step():
            pass
        with self.database.read() as connection:
            query = sa.select(journal.c.body).where(journal.c.kind == "command", journal.c.seq > last)
            bodies = connection.execute(query.order_by(journal.c.seq)).scalars().all()
        return [json.loads(body)["command"] for body in bodies]


@pytest.fixture
def house(migrated_url: str, tmp_path: Path) -> Iterator[House]:
    folder = tmp_path / "config"
    folder.mkdir()
    with closing(Database(migrated_url, connections=2)) as database:
        yield House(database, folder)


def test_the_engine_is_told_the_mode_the_policies_and_the_campaigns(house: House) -> None:
    house.write("campaigns/spring.yaml", campaign())

    assert house.start() == ["mode", "policies.apply", "campaign.create"]
    service = service_of(house.database)
    assert (service.mode, service.policies) == ("sandbox", POLICIES)


def test_the_engine_is_told_when_tokportal_can_be_asked_from_now_on(house: House) -> None:
    house.start("observe", reads=False)
    assert service_of(house.database).reads is False

    assert house.start("observe", reads=True) == ["mode"]
    assert service_of(house.database).reads is True


def test_what_it_knows_it_is_not_told_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.write("campaigns/spring.yaml", campaign())
    house.start()
    monkeypatch.setattr(briefing, "draft", lambda *_: pytest.fail("a campaign that is known was planned again"))

    assert house.start() == []


def test_it_is_told_what_changed(house: House) -> None:
    house.start()
    house.write("policies.yaml", POLICIES + "# checked\n")

    assert house.start("observe") == ["mode", "policies.apply"]
    assert service_of(house.database).mode == "observe"


def test_started_again_before_the_engine_worked_each_campaign_is_drafted_once(house: House) -> None:
    house.write("campaigns/spring.yaml", campaign())
    house.start(engine=False)

    assert "campaign.create" not in house.start()


@pytest.mark.parametrize(
    ("text", "told", "said"),
    [
        ("defaults: {posting: {per_day: 9}}", ["policies.apply"], "per_day"),
        ("x" * 600_000, [], "larger than 512 KiB"),
    ],
)
def test_policies_that_cannot_be_used_leave_those_in_force(
    house: House, text: str, told: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    house.start()
    house.write("policies.yaml", text)

    assert house.start() == told
    assert house.start() == []
    assert service_of(house.database).policies == POLICIES
    assert said in caplog.text


def test_people_are_told_of_policies_that_are_refused(house: House) -> None:
    house.start()
    house.write("policies.yaml", "defaults: {posting: {per_day: 9}}")
    house.start()
    with house.database.read() as connection:
        bodies = connection.execute(sa.select(outbox.c.body).where(outbox.c.kind == "alert")).scalars().all()
    assert [json.loads(body)["alert"] for body in bodies] == ["policies_refused"]


def test_without_policies_nothing_is_in_force_and_it_says_so(house: House, caplog: pytest.LogCaptureFixture) -> None:
    (house.folder / "policies.yaml").unlink()

    with caplog.at_level(logging.WARNING):
        assert house.start() == ["mode"]
    assert "without any, nothing is decided" in caplog.text


def test_a_campaign_that_cannot_be_used_does_not_keep_the_others_out(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.write("campaigns/a.yaml", "name: [")
    house.write("campaigns/b.yaml", campaign())
    (house.folder / "campaigns/c.yaml").write_bytes(b"\xff\xfe")

    assert house.start() == ["mode", "policies.apply", "campaign.create"]
    assert "a.yaml" in caplog.text
    assert "c.yaml cannot be read" in caplog.text
