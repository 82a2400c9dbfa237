from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.briefing import go_live, service_of
from orchestrator.clock import RealClock
from orchestrator.database import Database
from orchestrator.engine import Engine
from orchestrator.restored import Restored, Watch, is_reconciled, mark, must_watch, restored, trust
from orchestrator.service import _brief
from orchestrator.settings import Settings
from tests.audit.logs import Log

MARK = Restored("4711", "2026-11-26T10:00:00Z", 12, 200)


@pytest.fixture
def house(log: Log) -> Database:
    """A database that was restored."""
    with log.database.write() as connection:
        mark(connection, MARK)
    return log.database


def live(tmp_path: Path, mode: str = "live") -> Settings:
    (tmp_path / "config").mkdir(exist_ok=True)
    return Settings.load({"ORCHESTRATOR_MODE": mode, "TOKPORTAL_API_KEY": "canary-0123456789abcdef"}, tmp_path)


def mode_of(database: Database) -> str | None:
    engine = Engine(database)
    while engine.step():
        pass
    return service_of(database).mode


def read_everything(database: Database, phase: str = "done") -> None:
    with database.write() as connection:
        connection.execute(
            sa.text("INSERT INTO sweeps (name, due_at, body) VALUES ('discovery', 0, :body)"),
            {"body": json.dumps({"phase": phase})},
        )


class Time:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def watch(database: Database, time: Time) -> Watch:
    return Watch(database, lambda: go_live(database, RealClock()), time)


def test_a_service_on_a_restored_database_watches_and_says_so(
    house: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _brief(house, live(tmp_path), RealClock())
    assert mode_of(house) == "observe"
    assert "this database was restored from a backup of 2026-11-26T10:00:00Z" in caplog.text
    assert "orchestrator restore --trust" in caplog.text
    assert "canary" not in caplog.text


def test_it_goes_live_once_everything_was_read(house: Database, tmp_path: Path) -> None:
    _brief(house, live(tmp_path), RealClock())
    time = Time()
    duty = watch(house, time)
    assert duty.step() == 0 and not is_reconciled(house)
    read_everything(house, "accounts")
    time.seconds += 5
    assert duty.step() == 0 and mode_of(house) == "observe"
    with house.write() as connection:
        connection.execute(sa.text("DELETE FROM sweeps"))
    read_everything(house)
    assert duty.step() == 0  # It does not look all the time.
    time.seconds += 5
    assert duty.step() == 1
    assert mode_of(house) == "live"
    assert must_watch(house) is None
    time.seconds += 5
    assert duty.step() == 0


def test_an_admin_can_send_it_live_while_it_runs(house: Database, tmp_path: Path) -> None:
    _brief(house, live(tmp_path), RealClock())
    time = Time()
    duty = watch(house, time)
    assert duty.step() == 0
    assert trust(house) == MARK
    assert trust(house) is None
    time.seconds += 5
    assert duty.step() == 1
    assert mode_of(house) == "live"


def test_once_trusted_it_starts_live(house: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trust(house)
    _brief(house, live(tmp_path), RealClock())
    assert mode_of(house) == "live"
    assert "was restored" not in caplog.text
    with house.read() as connection:
        assert restored(connection) == Restored("4711", "2026-11-26T10:00:00Z", 12, 200, trusted=True)
    assert watch(house, Time()).step() == 0


def test_other_modes_are_what_they_are(house: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _brief(house, live(tmp_path, "observe"), RealClock())
    assert mode_of(house) == "observe"
    assert "was restored" not in caplog.text


def test_a_database_that_was_never_restored_needs_no_watch(log: Log, tmp_path: Path) -> None:
    assert must_watch(log.database) is None
    _brief(log.database, live(tmp_path), RealClock())
    assert mode_of(log.database) == "live"
