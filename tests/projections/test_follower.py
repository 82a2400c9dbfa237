"""The read models follow the log: only one runner can write, and nothing is read over."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import bundles, countries, events, projections, videos
from orchestrator.log import EventLog
from projections import NAMES, Follower
from projections.follower import OvertakenError
from tests.projections.logs import article, follow, public, record, rows


def positions(database: Database) -> set[tuple[str, int]]:
    with database.read() as connection:
        return {tuple(row) for row in connection.execute(sa.select(projections.c.name, projections.c.position))}


def test_read_models_start_empty_at_position_0(database: Database) -> None:
    assert positions(database) == {(name, 0) for name in NAMES}
    assert Follower(database).step() == 0


def test_rows_and_positions_move_together_to_the_head(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1"), article(2, "video.posted", "b1", video_id="v1", url="u")])
    follow(database)
    with database.read() as connection:
        head = EventLog(database).head(connection)
    assert positions(database) == {(name, head) for name in NAMES}
    assert [(row[0], row[4]) for row in rows(database, bundles)] == [("b1", "created")]
    assert [(row[0], row[2]) for row in rows(database, videos)] == [("v1", "posted")]


def test_ban_of_one_bundle_shows_at_the_other_bundle_of_its_account(database: Database) -> None:
    record(database, [public(1, "account.finalized", bundle_id="b1", saved_account_id="s1")])
    follow(database)
    record(database, [public(2, "account.banned", minute=1, bundle_id="b2", saved_account_id="s1")])
    follow(database)
    assert {row[0]: row[4] for row in rows(database, bundles)} == {"b1": "banned", "b2": "banned"}


def test_news_of_an_account_waits_for_the_bundle_that_has_it(database: Database) -> None:
    record(database, [public(1, "account.banned", minute=5, saved_account_id="s1")])
    follow(database)
    assert rows(database, bundles) == []
    record(database, [public(2, "account.finalized", bundle_id="b1", saved_account_id="s1")])
    follow(database)
    assert [row[4] for row in rows(database, bundles)] == ["banned"]


def test_of_two_runners_only_one_applies_a_page(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1")])
    late, early = Follower(database), Follower(database)
    assert late.step()
    assert early.step() == 0
    record(database, [article(2, "bundle.ready", "b1", minute=1)])
    with database.read() as connection:
        head = EventLog(database).head(connection)
    prepared = late._countries.prepare

    def overtake(*arguments: Any) -> None:
        """The other runner commits the page after this one has read it."""
        late._countries.prepare = prepared  # type: ignore[method-assign]
        assert early.step()
        prepared(*arguments)

    late._countries.prepare = overtake  # type: ignore[method-assign]
    with pytest.raises(OvertakenError):
        late.step()
    assert positions(database) == {(name, head) for name in NAMES}
    assert [row[4] for row in rows(database, countries) if row[2] == "bundles"] == [1]
    assert late.step() == 0


def test_runner_without_its_lease_writes_nothing(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1")])
    lease = Lease(database, "projections", "first")
    assert lease.acquire()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = 0")
    assert Lease(database, "projections", "second").acquire()
    with pytest.raises(LeaseLostError):
        Follower(database, lease).step()
    assert rows(database, bundles) == []


def test_gap_in_the_log_stops_the_runner(database: Database) -> None:
    record(database, [article(1, "bundle.created", "b1"), article(2, "bundle.ready", "b1", minute=1)])
    with database.write() as connection:
        connection.execute(events.delete().where(events.c.notification_id == 2))
    with pytest.raises(AssertionError, match="gap after position 0"):
        Follower(database).step()
