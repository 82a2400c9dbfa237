"""Read models made anew beside the live ones: the same rows, and nobody sees how they got there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease
from orchestrator.database.tables import bundles, countries, projections, videos
from orchestrator.log import EventLog
from projections import NAMES, Follower, copies, rebuild
from projections.rebuild import Builder, Finisher, read_rebuilds, want
from tests.projections.logs import append, eventful, follow, record, rows, start_over
from tests.projections.test_rows import everything
from tests.projections.wild import wild

EVERY = [(name,) for name in NAMES] + [NAMES]


@pytest.fixture
def lease(database: Database) -> Lease:
    lease = Lease(database, rebuild.LEASE, "builder")
    assert lease.acquire()
    return lease


def order(database: Database, *names: str) -> None:
    with database.write() as connection:
        want(database, connection, names)


def stages(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {name: found.stage for name, found in read_rebuilds(connection).items()}


def positions(database: Database) -> dict[str, int]:
    with database.read() as connection:
        found = connection.execute(sa.select(projections.c.name, projections.c.position))
        return {row.name: row.position for row in found}


def spoil(database: Database) -> None:
    """Rows as no log would give them."""
    with database.write() as connection:
        connection.execute(bundles.update().values(state="created", username="nobody"))
        connection.execute(videos.delete().where(videos.c.state == "posted"))
        connection.execute(countries.update().values(count=countries.c.count + 7))
        for name in ("decisions", "campaigns", "accounts", "bundle_accounts", "bundle_videos"):
            connection.execute(copies.LIVE[name].delete())


@pytest.mark.parametrize("names", EVERY, ids="+".join)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_made_anew_is_what_was_followed(
    database: Database, lease: Lease, names: tuple[str, ...], seed: int
) -> None:
    append(database, wild(seed))
    follow(database, page=17)
    before = everything(database)
    order(database, *names)
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert everything(database) == before
    assert stages(database) == dict.fromkeys(names, "done")
    follow(database)
    assert everything(database) == before


@pytest.mark.parametrize("seed", range(3))
def test_webhooks_make_the_same_rows_either_way(database: Database, lease: Lease, seed: int) -> None:
    record(database, eventful(seed))
    follow(database, page=9)
    before = everything(database)
    order(database, *NAMES)
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert everything(database) == before


@pytest.mark.parametrize("page", [1, 2, 7])
def test_the_life_of_an_aggregate_may_come_in_several_parts(
    database: Database, lease: Lease, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(database, wild(5, acts=90))
    follow(database)
    before = everything(database)
    original = rebuild.Filling
    monkeypatch.setattr(rebuild, "Filling", lambda *given, **more: original(*given, **more, page=page))
    order(database, *NAMES)
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert everything(database) == before


def test_rows_that_were_wrong_are_right_afterwards(database: Database, lease: Lease) -> None:
    append(database, wild(1))
    follow(database)
    right = everything(database)
    spoil(database)
    order(database, *NAMES)
    Builder(database, lease).run()
    assert everything(database) != right
    assert Finisher(database).finish()
    assert everything(database) == right


def test_countries_are_counted_with_the_bundles_that_are_put_in_place(database: Database, lease: Lease) -> None:
    append(database, wild(1))
    follow(database)
    right = everything(database)
    with database.write() as connection:
        connection.execute(bundles.update().values(state="banned", country="JP"))
        connection.execute(countries.delete())
    order(database, "bundles")
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert everything(database) == right


def test_what_comes_meanwhile_is_followed_on_both_sides(database: Database, lease: Lease) -> None:
    log = wild(2, acts=400)
    append(database, log[:300])
    follow(database)
    order(database, *NAMES)
    follower = Follower(database, page=20)

    def more(_: float) -> None:
        """Beside the builder the log grows, and the follower follows."""
        append(database, log[(head := positions_of_log(database)) : head + 40])
        follower.step()

    Builder(database, lease, give_way=more).run()
    append(database, log[positions_of_log(database) :])
    follower.step()
    assert Finisher(database).finish()
    follower.forget()
    while follower.step():
        pass
    made = everything(database)
    start_over(database)
    follow(database)
    assert made == everything(database)
    assert set(positions(database).values()) == {len(log)}


def positions_of_log(database: Database) -> int:
    with database.read() as connection:
        return EventLog(database).head(connection)


def test_a_copy_that_is_ahead_waits_for_the_live_ones(database: Database, lease: Lease) -> None:
    append(database, wild(3))
    follow(database)
    order(database, "videos")
    Builder(database, lease).run()
    with database.write() as connection:
        connection.execute(projections.update().values(position=10))
    assert not Finisher(database).finish()
    assert stages(database) == {"videos": "ready"}


def test_one_that_lags_is_made_anew_to_the_end_of_the_log(database: Database, lease: Lease) -> None:
    append(database, wild(3))
    order(database, *NAMES)
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert set(positions(database).values()) == {positions_of_log(database)}
    made = everything(database)
    start_over(database)
    follow(database)
    assert made == everything(database)


def test_bundles_stand_with_the_videos_that_stay(database: Database, lease: Lease) -> None:
    log = wild(3)
    append(database, log[:150])
    follow(database)
    append(database, log[150:])
    order(database, "bundles", "decisions")
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert positions(database)["bundles"] == positions(database)["videos"] == positions(database)["countries"]
    follow(database)
    made = everything(database)
    start_over(database)
    follow(database)
    assert made == everything(database)


def test_countries_that_cannot_be_counted_are_counted_once_they_can_be(database: Database, lease: Lease) -> None:
    append(database, wild(3))
    follow(database)
    right = everything(database)
    start_over(database)
    follow(database)
    with database.write() as connection:
        connection.execute(countries.update().values(count=countries.c.count + 7))
        connection.execute(videos.delete())
        connection.execute(copies.LIVE["bundle_videos"].delete())
        connection.execute(projections.update().where(projections.c.name == "videos").values(position=0))
    order(database, "countries")
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert everything(database)["countries"] != right["countries"]
    follow(database)
    assert everything(database) == right


def test_one_transaction_puts_everything_in_place(database: Database, lease: Lease) -> None:
    """A reader that began before sees all of the old, to its end; one that begins after, all of the new."""
    append(database, wild(1))
    follow(database)
    right = everything(database)
    spoil(database)
    wrong = everything(database)
    order(database, *NAMES)
    Builder(database, lease).run()
    with database.read() as connection:
        seen: dict[str, list[Any]] = {}
        connection.execute(sa.select(projections)).all()  # The snapshot is taken.
        if database.is_sqlite:
            assert Finisher(database).finish()
        else:
            assert not Finisher(database).finish()  # Readers are waited for, and not for long.
        for table in copies.LIVE.values():
            seen[table.name] = sorted(tuple(row) for row in connection.execute(sa.select(table)))
    assert {name: seen[name] for name in wrong} == wrong
    if not database.is_sqlite:
        assert Finisher(database).finish()
    assert everything(database) == right


def test_tables_and_indexes_have_their_names_again(database: Database, lease: Lease) -> None:
    def schema() -> dict[str, set[str]]:
        inspector = sa.inspect(database.engine)
        return {
            name: {
                *(str(index["name"]) for index in inspector.get_indexes(name)),
                str(inspector.get_pk_constraint(name)["name"]),
            }
            for name in inspector.get_table_names()
            if not name.endswith(copies.OLD)
        }

    append(database, wild(4))
    follow(database)
    before = schema()
    for _ in range(2):
        order(database, *NAMES)
        Builder(database, lease).run()
        assert Finisher(database).finish()
        assert schema() == before
    with database.read() as connection:
        if database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            plan = str(connection.exec_driver_sql("EXPLAIN QUERY PLAN SELECT * FROM bundles WHERE state = 'x'").all())
            assert "bundles_state" in plan


def test_the_old_version_stays_until_it_is_dropped(database: Database, lease: Lease) -> None:
    append(database, wild(4))
    follow(database)
    spoil(database)
    wrong = rows(database, bundles)
    order(database, "bundles")
    Builder(database, lease).run()
    assert Finisher(database).finish()
    assert rows(database, copies.copy(copies.OLD)["bundles"]) == wrong
    assert copies.drop(database, copies.OLD, ["bundles", "videos"]) == ["bundles", "accounts", "bundle_accounts"]
    assert copies.drop(database, copies.OLD, ["bundles"]) == []


class Killed(BaseException):
    """As by SIGKILL: nothing is cleaned up."""


def counting(kill_at: int) -> Callable[[Any], Any]:
    """A `Database.write` after whose n-th commit the process is gone."""
    original, done = Database.write, 0

    class Writing:
        def __init__(self, database: Database) -> None:
            self.inner = original(database)

        def __enter__(self) -> sa.Connection:
            return self.inner.__enter__()

        def __exit__(self, *error: Any) -> None:
            nonlocal done
            self.inner.__exit__(*error)
            done += 1
            if done == kill_at:
                raise Killed

    return lambda database: Writing(database)


def test_killed_between_any_two_steps_it_leaves_the_live_rows_as_they_are(
    database: Database, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(database, wild(6, acts=120))
    follow(database)
    before = everything(database)
    kill_at = 0
    while True:
        kill_at += 1
        order(database, *NAMES)
        with monkeypatch.context() as patched:
            patched.setattr(Database, "write", counting(kill_at))
            try:
                Builder(database, lease).run()
                done = Finisher(database).finish()
            except Killed:
                done = False
        assert everything(database) == before
        if done:
            break
    assert kill_at > 15
    assert set(stages(database).values()) == {"done"}
