from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.clock import RealClock, Scale
from orchestrator.database import Database
from orchestrator.world import OtherWorldError, clock_of, settle

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
FAST = Scale(DECEMBER, 600)


class Wall:
    """The real time, set by hand."""

    def __init__(self) -> None:
        self.now = NOON


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return wall.now.astimezone(tz)

    monkeypatch.setattr("orchestrator.world.datetime", Datetime)
    monkeypatch.setattr(
        "orchestrator.clock.time", SimpleNamespace(time_ns=lambda: int(wall.now.timestamp()) * 1_000_000_000)
    )
    return wall


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=2)) as database:
        yield database


def test_a_new_database_takes_any_world_and_its_real_time(database: Database) -> None:
    assert isinstance(settle(database, "live", None), RealClock)


def test_the_world_is_remembered(database: Database) -> None:
    settle(database, "live", None)

    assert isinstance(settle(database, "live", None), RealClock)


def test_another_world_is_refused_with_advice(database: Database) -> None:
    settle(database, "sandbox", None)

    with pytest.raises(OtherWorldError) as refusal:
        settle(database, "live", None)

    assert str(refusal.value) == (
        "the database belongs to the world 'sandbox' and this service is set up for 'live': "
        "use another ORCHESTRATOR_DATABASE_URL, or the mode that it was made with"
    )


def test_a_refusal_changes_nothing(database: Database) -> None:
    settle(database, "sandbox", None)

    with pytest.raises(OtherWorldError):
        settle(database, "live", FAST)

    with database.read() as connection:
        facts = connection.exec_driver_sql("SELECT key, value FROM world").all()
    assert [tuple(fact) for fact in facts] == [("world", "sandbox")]


@pytest.mark.parametrize(
    "migrated_url",
    ["sqlite", "postgresql"],
    indirect=True,
)
def test_two_services_that_settle_at_once_share_the_world(database: Database) -> None:
    together = Barrier(2)

    def start(_: int) -> None:
        together.wait(10)
        settle(database, "live", None)

    with ThreadPoolExecutor(2) as threads:
        for _ in range(20):
            list(threads.map(start, range(2)))
            with database.write() as connection:
                connection.exec_driver_sql("DELETE FROM world")


def test_a_scaled_clock_begins_when_its_world_does(database: Database, wall: Wall) -> None:
    clock = settle(database, "sandbox", FAST)

    assert clock.now() == DECEMBER
    wall.now += timedelta(seconds=1)
    assert clock.now() == DECEMBER + timedelta(minutes=10)


def test_a_scaled_clock_goes_on_after_a_restart(database: Database, wall: Wall) -> None:
    before = settle(database, "sandbox", FAST)
    wall.now += timedelta(hours=1)

    after = settle(database, "sandbox", FAST)

    assert after.now() == before.now() == DECEMBER + timedelta(hours=600)


def test_another_scale_begins_anew_and_the_first_one_is_not_forgotten(database: Database, wall: Wall) -> None:
    settle(database, "sandbox", FAST)
    wall.now += timedelta(hours=1)

    assert settle(database, "sandbox", Scale(DECEMBER, 60)).now() == DECEMBER
    assert settle(database, "sandbox", FAST).now() == DECEMBER + timedelta(hours=600)


def test_a_tool_finds_the_clock_of_the_world(database: Database, wall: Wall) -> None:
    settle(database, "sandbox", FAST)
    wall.now += timedelta(hours=1)

    assert clock_of(database).now() == DECEMBER + timedelta(hours=600)


@pytest.mark.parametrize("world", ["live", None])
def test_a_tool_finds_real_time_where_no_clock_is_scaled(database: Database, world: str | None) -> None:
    if world is not None:
        settle(database, world, None)

    assert isinstance(clock_of(database), RealClock)


def test_a_tool_finds_the_clock_that_the_service_uses(database: Database, wall: Wall) -> None:
    settle(database, "sandbox", FAST)
    wall.now += timedelta(hours=1)
    settle(database, "sandbox", Scale(DECEMBER, 60))

    assert clock_of(database).now() == DECEMBER
