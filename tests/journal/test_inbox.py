"""The queue of what the engine has still to take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.database import Database
from orchestrator.database.tables import inbox
from orchestrator.journal import Journal
from orchestrator.journal.inbox import Inbox
from tests.journal.test_journal import message, postgresql_only

DONE, WAITING = 20_000, 8_000


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A long journal, most of which was taken since the database looked at it last."""
    with closing(Database(migrated_url, connections=2)) as database, closing(Journal(database)) as journal:
        for start in range(0, DONE + WAITING, 4_000):
            journal.append([message(f"evt_{number}") for number in range(start, start + 4_000)])
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.execute(inbox.delete().where(inbox.c.seq <= DONE))
        yield database


def test_the_oldest_that_wait_are_taken_in_their_order(database: Database) -> None:
    with database.read() as connection:
        taken = Inbox(database).take(connection, 3)
    assert [one.event_id for one in taken] == ["evt_20000", "evt_20001", "evt_20002"]


@postgresql_only
def test_what_was_taken_is_not_read_again(database: Database) -> None:
    """By PostgreSQL's own count: with a long backlog it once read the whole journal for every batch."""
    before = read(database)
    with database.read() as connection:
        assert len(Inbox(database).take(connection, 10)) == 10
    assert read(database) - before < 100


def read(database: Database) -> int:
    """How many rows of the journal were read so far."""
    with database.write() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with database.write() as connection:
        query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'journal'"
        return int(connection.exec_driver_sql(query).scalar_one())
