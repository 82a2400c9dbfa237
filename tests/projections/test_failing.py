"""A read model that cannot be folded any further stops before the event, says why, and the others go on without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import bundles, events, projections
from projections import NAMES, Follower
from projections.follower import Failure
from tests.projections.logs import append, follow, start_over
from tests.projections.test_rows import everything
from tests.projections.wild import wild

TOPICS = {
    "bundles": "WarmingStarted",
    "videos": "VideoPosted",
    "campaigns": "CampaignDrafted",
    "decisions": "WarmingRequested",
    "countries": "MarketPaused",
}
"""An event that only this one of them reads, or reads first."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(follower: Follower) -> None:
    while follower.step():
        pass


def stands(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        return {row.name: row for row in connection.execute(sa.select(projections))}


@pytest.fixture
def whole(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a log in which nothing is wrong. The log is left, its read models are not."""
    append(database, wild(11, acts=400))
    follow(database)
    rows = everything(database)
    start_over(database)
    return rows


def position_of(database: Database, topic: str) -> int:
    """That of an event in the middle."""
    with database.read() as connection:
        found = connection.execute(
            sa.select(events.c.notification_id).where(events.c.topic == topic).order_by(events.c.notification_id)
        )
        positions = found.scalars().all()
    return positions[len(positions) // 2]


def break_(database: Database, position: int) -> Callable[[], None]:
    """Spoils the event; what mends it again."""
    event = events.c.notification_id == position
    with database.write() as connection:
        state = connection.execute(sa.select(events.c.state).where(event)).scalar_one()
        connection.execute(events.update().where(event).values(state=b'{"data": 7}'))

    def mend() -> None:
        with database.write() as connection:
            connection.execute(events.update().where(event).values(state=state))

    return mend


@pytest.mark.parametrize("page", [7, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_one_that_fails_stops_and_the_others_go_on(database: Database, whole: Any, name: str, page: int) -> None:
    clock, told = Clock(), list[Failure]()
    bad = position_of(database, TOPICS[name])
    mend = break_(database, bad)
    with database.read() as connection:
        head = connection.execute(sa.select(sa.func.max(events.c.notification_id))).scalar_one()
    follower = Follower(database, page=page, told=told.append, clock=clock)
    run(follower)

    found = stands(database)
    expected = dict.fromkeys(NAMES, head)
    expected[name] = bad - 1
    assert (found[name].failed_at, found[name].failed_topic) == (bad, TOPICS[name])
    if name in ("bundles", "videos", "countries"):
        # They are counted again once all can be read, and show until then what was last counted.
        assert found["countries"].position < bad
        expected["countries"] = found["countries"].position
    assert {other: row.position for other, row in found.items()} == expected
    assert found[name].failure.startswith("ValidationError: ")
    assert found[name].failed_since is not None
    assert [(failure.name, failure.why is None) for failure in told] == [(name, False)]

    mend()
    run(follower)
    assert stands(database)[name].failure is not None  # It is not tried at once.
    clock.now += 1.1
    run(follower)
    assert [(failure.name, failure.why is None) for failure in told] == [(name, False), (name, True)]
    assert {(row.position, row.failure) for row in stands(database).values()} == {(head, None)}
    assert everything(database) == whole


def test_it_is_told_once_however_often_it_is_tried(database: Database, whole: Any) -> None:
    clock, told = Clock(), list[Failure]()
    break_(database, position_of(database, TOPICS["videos"]))
    follower = Follower(database, told=told.append, clock=clock)
    for _ in range(5):
        run(follower)
        clock.now += 100
    assert len(told) == 1


def test_the_pause_grows(database: Database, whole: Any) -> None:
    clock = Clock()
    break_(database, position_of(database, TOPICS["decisions"]))
    follower = Follower(database, clock=clock)
    run(follower)
    tries = []
    prepare = follower._decisions.prepare

    def count(page: Any) -> None:
        tries.append(clock.now)
        prepare(page)

    follower._decisions.prepare = count  # type: ignore[method-assign]
    while clock.now < 200:
        clock.now += 0.5
        follower.step()
    begun = sorted({round(now) for now in tries})
    assert begun[:6] == [1, 3, 7, 15, 31, 63]


def test_a_restart_tries_at_once(database: Database, whole: Any) -> None:
    mend = break_(database, position_of(database, TOPICS["campaigns"]))
    run(Follower(database))
    mend()
    run(Follower(database))
    assert everything(database) == whole


def test_what_the_database_refuses_stops_only_whom_it_refuses(database: Database, whole: Any) -> None:
    with database.write() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql(
                "CREATE TRIGGER no BEFORE INSERT ON campaigns BEGIN SELECT RAISE(ABORT, 'never'); END"
            )
        else:
            connection.exec_driver_sql("ALTER TABLE campaigns ADD CONSTRAINT no CHECK (name = 'never')")
    run(Follower(database))
    found = stands(database)
    assert {name for name, row in found.items() if row.failure is not None} == {"campaigns"}
    assert len({row.position for name, row in found.items() if name != "campaigns"}) == 1


def test_a_missing_table_is_no_trouble_of_the_database(database: Database, whole: Any) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE decisions")
    run(Follower(database))
    assert {name for name, row in stands(database).items() if row.failure is not None} == {"decisions"}


def test_trouble_of_the_database_is_raised_and_stops_nobody(
    database: Database, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Follower(database)
    trouble = sa.exc.OperationalError("SELECT", None, Exception("the disk is full"))

    def fail(connection: sa.Connection) -> None:
        raise trouble

    with monkeypatch.context() as patched:
        patched.setattr(follower._bundles, "write", fail)
        with pytest.raises(sa.exc.OperationalError):
            follower.step()
    assert {(row.position, row.failure) for row in stands(database).values()} == {(0, None)}
    run(follower)
    assert everything(database) == whole


def test_without_its_lease_nothing_is_said(database: Database, whole: Any) -> None:
    lease = Lease(database, "projections", "first")
    assert lease.acquire()
    break_(database, position_of(database, TOPICS["videos"]))
    run(Follower(database, lease))
    assert stands(database)["videos"].failure is not None
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(bundles)).scalar_one() > 0


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_another_version_are_left_as_they_are(database: Database, name: str) -> None:
    log = wild(12, acts=300)
    append(database, log[:300])
    follow(database)
    with database.write() as connection:
        connection.execute(projections.update().where(projections.c.name == name).values(version=77))
    before = everything(database)
    append(database, log[300:])
    run(Follower(database))
    found = stands(database)
    if name == "countries":  # It is counted anew at once.
        assert {row.position for row in found.values()} == {len(log)}
        assert found[name].version != 77
        return
    assert found[name].position == 300
    assert everything(database)[name] == before[name]
    followed = set(NAMES) - {name} - ({"countries"} if name in ("bundles", "videos") else set())
    assert {found[other].position for other in followed} == {len(log)}
