"""Whatever is changed in a read model behind the program's back is found, and nothing else."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import bundle_accounts, bundles, countries, decisions, projections, videos
from projections import NAMES, Follower
from projections.verify import Difference, verify
from tests.projections.logs import append, eventful, follow, record
from tests.projections.wild import wild


@pytest.mark.parametrize("seed", range(3))
def test_what_followed_the_log_is_what_the_log_says(database: Database, seed: int) -> None:
    append(database, wild(seed))
    follow(database, page=13)
    report = verify(database)
    assert (report.differences, report.skipped, report.is_clean) == ([], {}, True)
    assert set(report.rows) == set(NAMES)
    assert all(report.rows.values())


def test_webhooks_too(database: Database) -> None:
    record(database, eventful(3))
    follow(database, page=13)
    assert verify(database).is_clean


def test_an_empty_log_has_no_rows(database: Database) -> None:
    report = verify(database)
    assert report.is_clean
    assert report.rows == dict.fromkeys(NAMES, 0)


@pytest.mark.parametrize("alone", [True, False])
def test_a_changed_cell_is_found(database: Database, alone: bool) -> None:
    append(database, wild(1))
    follow(database)
    with database.write() as connection:
        was = connection.execute(sa.select(bundles.c.username).where(bundles.c.bundle_id == "b1")).scalar_one()
        connection.execute(bundles.update().where(bundles.c.bundle_id == "b1").values(username="eve"))
    report = verify(database, ["bundles"] if alone else NAMES)
    assert report.differences == [Difference("bundles", ("b1",), "username", "eve", was)]
    assert (report.counts["bundles"], report.is_clean) == (1, False)


def test_a_missing_row_is_found(database: Database) -> None:
    append(database, wild(1))
    follow(database)
    with database.write() as connection:
        gone = connection.execute(sa.select(videos.c.video_id).order_by(videos.c.video_id).limit(1)).scalar_one()
        connection.execute(videos.delete().where(videos.c.video_id == gone))
    assert verify(database, ["videos"]).differences == [Difference("videos", (gone,), None, None, "a row")]


def test_a_row_too_many_is_found(database: Database) -> None:
    append(database, wild(1))
    follow(database)
    with database.write() as connection:
        connection.execute(bundle_accounts.insert().values(saved_account_id="s9", bundle_id="b1"))
        connection.execute(countries.insert().values(country="JP", platform="x", subject="bundles", state="y", count=2))
    assert verify(database).differences == [
        Difference("bundle_accounts", ("s9", "b1"), None, "a row", None),
        Difference("countries", ("JP", "x", "bundles", "y"), None, "a row", None),
    ]


def test_a_wrong_count_is_found(database: Database) -> None:
    append(database, wild(1))
    follow(database)
    with database.write() as connection:
        row = connection.execute(sa.select(countries).limit(1)).one()
        where = [column == value for column, value in zip(countries.c, row[:4], strict=False)]
        connection.execute(countries.update().where(*where).values(count=row[4] + 1))
    assert verify(database, ["countries"]).differences == [
        Difference("countries", tuple(row[:4]), "count", row[4] + 1, row[4])
    ]


def test_each_is_compared_where_it_stands(database: Database) -> None:
    """One that stopped is right as far as it came."""
    append(database, wild(2)[:200])
    follow(database)
    with database.write() as connection:
        last = connection.execute(sa.select(sa.func.max(decisions.c.position))).scalar_one()
        connection.execute(decisions.delete().where(decisions.c.position == last))
        stopped = {"position": last - 1, "failed_at": last, "failure": "…"}
        connection.execute(projections.update().where(projections.c.name == "decisions").values(stopped))
    assert verify(database).is_clean


def test_what_is_followed_meanwhile_is_compared_too(database: Database) -> None:
    log = wild(4, acts=300)
    append(database, log[:200])
    follower = Follower(database, page=30)
    while follower.step():
        pass

    def more(_done: int, _total: int) -> None:
        append(database, log[200:])
        log.clear()
        while follower.step():
            pass

    end = len(log)
    report = verify(database, progress=more)
    assert report.is_clean
    assert report.position == end


def test_rows_of_another_version_cannot_be_compared(database: Database) -> None:
    append(database, wild(2))
    follow(database)
    with database.write() as connection:
        connection.execute(projections.update().where(projections.c.name == "videos").values(version=99))
    report = verify(database)
    assert set(report.skipped) == {"videos", "countries"}
    assert not report.is_clean
