"""Orders to make a read model anew, and releases that need it, to the rows in place: with the engine that takes the
order, the process that makes the copy, and the follower that puts it in place."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import bundles, events, journal, outbox, projections
from orchestrator.engine import Engine
from orchestrator.journal import Journal
from orchestrator.journal.commands import order
from orchestrator.rebuilding import FIRST_PAUSE, LOOK, Keeper
from projections import NAMES, follower
from projections.rebuild import read_rebuilds
from tests.projections.logs import eventful, record
from tests.projections.test_rows import everything

PYTHON = sys.executable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """An engine and a keeper of read models, one step after the other."""

    def __init__(self, database: Database, **options: Any) -> None:
        self.database, self.clock = database, Clock()
        self.engine = Engine(database)
        lease = Lease(database, "projections", "keeper")
        assert lease.acquire()
        self.keeper = Keeper(database, lease, clock=self.clock, **options)

    def run(self) -> None:
        while self.engine.step() or self.keeper.step() or self.engine.step():
            pass

    def look(self) -> None:
        """A moment later."""
        self.clock.now += LOOK
        self.run()

    def say(self, **command: Any) -> None:
        store = Journal(self.database)
        store.append([order(command, endpoint="api", name="ada", received_at=1_800_000_000_000_000)])
        store.close()
        self.run()

    def stage(self, name: str) -> str:
        with self.database.read() as connection:
            return read_rebuilds(connection)[name].stage

    def until_done(self, name: str) -> None:
        for _ in range(10):
            self.look()
            if self.stage(name) == "done":
                return
            if self.keeper._child is not None:
                self.keeper._child.wait(60)
        raise AssertionError(f"the rebuild of {name} is at the stage {self.stage(name)}")


@pytest.fixture
def service(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", migrated_url)
    database = Database(migrated_url, connections=4)
    record(database, eventful(2))
    service = Service(database)
    service.run()
    yield service
    service.keeper.close()
    database.close()


def spoil(database: Database) -> None:
    with database.write() as connection:
        connection.execute(bundles.update().values(username="nobody"))


def test_an_order_is_a_fact_and_the_rows_are_right_again(service: Service) -> None:
    right = everything(service.database)
    spoil(service.database)
    service.say(command="projection.rebuild", name="bundles", reason="somebody wrote into it")
    with service.database.read() as connection:
        state = connection.execute(sa.select(events.c.state).where(events.c.topic == "RebuildOrdered")).scalar_one()
    ordered = msgspec.json.decode(state)
    assert (ordered["actor"], ordered["reason"], ordered["data"]) == (
        {"kind": "person", "name": "ada"},
        "somebody wrote into it",
        {"name": "bundles"},
    )
    service.until_done("bundles")
    assert everything(service.database) == right
    for _ in range(3):
        service.look()
    assert service.keeper._child is None or service.keeper._child.poll() == 0  # One order, one rebuild.


def test_a_later_order_is_another_one(service: Service) -> None:
    for _ in range(2):
        service.say(command="projection.rebuild", name="campaigns", reason=None)
        service.until_done("campaigns")


def test_a_release_with_another_version_makes_its_rows_by_itself(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = everything(service.database)
    with service.database.write() as connection:
        connection.execute(projections.update().where(projections.c.name == "videos").values(version=77))
        connection.exec_driver_sql("UPDATE videos SET state = 'as it was called then'")
    service.keeper.forget()
    service.until_done("videos")
    assert everything(service.database) == right
    with service.database.read() as connection:
        standing = follower.read_standing(connection)
    assert {name: found.version for name, found in standing.items()} == dict(follower.VERSIONS)


def test_everything_at_once(service: Service) -> None:
    right = everything(service.database)
    for name in NAMES:
        service.say(command="projection.rebuild", name=name, reason=None)
    service.until_done("countries")
    assert {service.stage(name) for name in NAMES} == {"done"}
    assert everything(service.database) == right


def test_a_rebuild_that_is_killed_is_begun_again_after_a_pause(migrated_url: str, tmp_path: Any) -> None:
    database = Database(migrated_url, connections=4)
    record(database, eventful(2))
    ran = tmp_path / "ran"
    program = f"import os; open({str(ran)!r}, 'a').write('.'); os.kill(os.getpid(), {signal.SIGKILL:d})"
    service = Service(database, command=[PYTHON, "-c", program])
    service.run()
    service.say(command="projection.rebuild", name="videos", reason=None)
    right = everything(database)
    begun = []
    for _ in range(12):
        service.look()
        if service.keeper._child is not None:
            service.keeper._child.wait(20)
            begun.append(service.clock.now)
    gaps = [after - before for before, after in pairwise(begun) if after > before]
    assert ran.read_text().count(".") in (3, 4)
    assert max(gaps) >= FIRST_PAUSE * 2
    assert service.stage("videos") == "wanted"
    assert everything(database) == right
    service.keeper.close()
    database.close()


def test_people_are_told_of_one_that_stops_and_goes_on(service: Service) -> None:
    service.say(command="policies.apply", text="version: 1\n")
    service.say(command="market.pause", country="US", platform="tiktok", reason=None)
    with service.database.write() as connection:
        state = connection.execute(sa.select(events.c.state).where(events.c.topic == "MarketPaused")).scalar_one()
        connection.execute(events.update().where(events.c.topic == "MarketPaused").values(state=b"{"))
        connection.execute(projections.update().where(projections.c.name == "countries").values(position=0))
    service.keeper.forget()
    service.run()

    def told() -> list[dict[str, Any]]:
        with service.database.read() as connection:
            bodies = connection.execute(sa.select(outbox.c.body).order_by(outbox.c.seq)).scalars()
            return [body for body in map(msgspec.json.decode, bodies) if body.get("alert") == "projection"]

    (alert,) = told()
    assert alert["text"].startswith("the read model countries stopped at position ")
    assert "DecodeError" in alert["text"]
    with service.database.write() as connection:
        connection.execute(events.update().where(events.c.topic == "MarketPaused").values(state=state))
    service.clock.now += 100
    service.keeper._follower._pauses.clear()
    service.run()
    assert [body.get("resolves", False) for body in told()] == [False, True]
    with service.database.read() as connection:
        names = (
            connection.execute(sa.select(journal.c.actor).where(journal.c.endpoint == "projections")).scalars().all()
        )
    assert set(names) == {'{"kind":"trigger","name":"projections"}'}
