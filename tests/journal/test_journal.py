from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from orchestrator.database import DATA_ERRORS, Database, tables
from orchestrator.database.tables import pack_message_id
from orchestrator.journal import Appended, Journal, Message, message_id_of
from orchestrator.journal.journal import LIVE, WEBHOOK

sqlite_only = pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=4, name="journal-test")) as database:
        yield database


@pytest.fixture
def journal(database: Database) -> Iterator[Journal]:
    with closing(Journal(database)) as journal:
        yield journal


def message(event_id: str, **members: Any) -> Message:
    digest = hashlib.sha256(event_id.encode()).hexdigest()
    usual = Message(
        message_id=message_id_of("article", event_id, digest),
        kind=WEBHOOK,
        endpoint="default",
        mode=LIVE,
        dialect="article",
        event_id=event_id,
        id_source="body",
        digest=digest,
        body=f'{{"id":"{event_id}"}}'.encode(),
        headers="{}",
        actor='{"kind":"vendor","name":"tokportal"}',
        received_at=1_795_000_000_000_000,
    )
    return replace(usual, **members)


def append(journal: Journal, *event_ids: str) -> list[bool]:
    """Whether each of them was known."""
    return [answer.duplicate for answer in journal.append([message(event_id) for event_id in event_ids])]


def stored(database: Database) -> list[tuple[str | None, int]]:
    """Event ids and deliveries, in the journal's order."""
    table = tables.journal
    with database.read() as connection:
        rows = connection.execute(sa.select(table.c.event_id, table.c.deliveries).order_by(table.c.seq))
        return [tuple(row) for row in rows]


def queued(database: Database) -> list[str | None]:
    """The event ids of what the engine has to take, in its order."""
    inbox, journal = tables.inbox, tables.journal
    with database.read() as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one()
        joined = sa.select(journal.c.event_id).join(inbox, inbox.c.seq == journal.c.seq).order_by(inbox.c.seq)
        event_ids = list(connection.execute(joined).scalars())
    assert len(event_ids) == count
    return event_ids


def test_a_message_is_kept_as_it_came(database: Database, journal: Journal) -> None:
    given = message("ümlaut ☃", body=b"\x00\xff not even JSON", headers='{"a":"ü"}')

    assert journal.append([given]) == [Appended(given.message_id, duplicate=False)]

    with database.read() as connection:
        row = connection.execute(sa.select(tables.journal)).one()._asdict()
    assert row.pop("deliveries") == 1
    assert row.pop("seq") == 1
    assert Message(**row) == given


def test_a_command_has_no_dialect_and_no_event(database: Database, journal: Journal) -> None:
    command = replace(message("retry"), kind="command", dialect=None, event_id=None, id_source=None)

    journal.append([command])

    with database.read() as connection:
        row = connection.execute(sa.select(tables.journal)).one()
    assert (row.kind, row.dialect, row.event_id, row.id_source) == ("command", None, None, None)


def test_nothing_appended_is_nothing_stored(database: Database, journal: Journal) -> None:
    assert journal.append([]) == []
    assert stored(database) == []


def test_the_first_delivery_of_a_batch_is_new_and_the_others_are_duplicates(
    database: Database, journal: Journal
) -> None:
    assert append(journal, "a", "b", "a", "a") == [False, False, True, True]

    assert stored(database) == [("a", 3), ("b", 1)]


def test_what_an_earlier_batch_brought_is_a_duplicate(database: Database, journal: Journal) -> None:
    append(journal, "a", "b")

    assert append(journal, "c", "b", "d", "b", "a") == [False, True, False, True, True]

    assert stored(database) == [("a", 2), ("b", 3), ("c", 1), ("d", 1)]


def test_a_batch_of_nothing_but_duplicates_only_counts(database: Database, journal: Journal) -> None:
    append(journal, "a", "b")

    assert append(journal, "b", "a", "b") == [True, True, True]

    assert stored(database) == [("a", 2), ("b", 3)]


def test_duplicates_are_known_to_other_journals(database: Database, journal: Journal) -> None:
    append(journal, "a")

    with closing(Journal(database)) as other:
        assert append(other, "a", "b") == [True, False]
    assert append(journal, "b") == [True]


def test_answers_come_in_the_order_of_the_messages(journal: Journal) -> None:
    append(journal, "b")
    given = [message(event_id) for event_id in "cba"]

    assert journal.append(given) == [
        Appended(given[0].message_id, duplicate=False),
        Appended(given[1].message_id, duplicate=True),
        Appended(given[2].message_id, duplicate=False),
    ]


def test_a_duplicate_leaves_the_original_as_it_was(database: Database, journal: Journal) -> None:
    original = message("a")
    journal.append([original])

    journal.append([replace(original, body=b"other", received_at=0, headers='{"other":""}')])

    with database.read() as connection:
        row = connection.execute(sa.select(tables.journal)).one()
    assert (row.body, row.received_at, row.headers) == (original.body, original.received_at, original.headers)


def test_messages_are_kept_in_the_order_of_their_arrival(database: Database, journal: Journal) -> None:
    """Not in that of their ids, which are hashes."""
    first = [f"evt_{number}" for number in range(40)]
    second = [f"evt_{number}" for number in range(39, 80)]

    append(journal, *first)
    append(journal, *second)

    assert [event_id for event_id, _ in stored(database)] == first + second[1:]


def test_each_new_message_is_queued_once(database: Database, journal: Journal) -> None:
    append(journal, "a", "b", "a")
    append(journal, "b", "c")
    append(journal, "a")

    assert queued(database) == ["a", "b", "c"]


def test_a_duplicate_of_a_taken_message_is_not_queued_again(database: Database, journal: Journal) -> None:
    append(journal, "a", "b")
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM inbox")

    append(journal, "a", "c", "b")

    assert queued(database) == ["c"]


def test_a_full_batch_is_stored(database: Database, journal: Journal) -> None:
    names = [f"evt_{number}" for number in range(500)]

    assert append(journal, *names) == [False] * 500
    assert queued(database) == names


def test_two_journals_that_store_the_same_at_once_store_it_once(database: Database) -> None:
    """In opposite orders, which would have them wait for each other's rows if they were inserted like that."""
    names = [f"evt_{number}" for number in range(60)]
    orders = [names, names[::-1]]
    rounds = 4
    together = Barrier(2)

    def deliver(order: list[str]) -> list[bool]:
        duplicates = []
        with closing(Journal(database)) as journal:
            for number in range(rounds):
                together.wait(30)
                duplicates += append(journal, *[f"{number}-{name}" for name in order])
        return duplicates

    with ThreadPoolExecutor(2) as threads:
        answers = [answer for answers in threads.map(deliver, orders) for answer in answers]

    assert answers.count(False) == answers.count(True) == rounds * len(names)
    assert sorted(stored(database)) == sorted((f"{number}-{name}", 2) for number in range(rounds) for name in names)
    assert sorted(map(str, queued(database))) == sorted(
        f"{number}-{name}" for number in range(rounds) for name in names
    )


def test_journals_with_overlapping_batches_store_each_message_once(database: Database) -> None:
    slices = [(0, 40), (20, 60), (10, 50)]
    together = Barrier(len(slices))

    def deliver(bounds: tuple[int, int]) -> list[bool]:
        names = [f"evt_{number}" for number in range(*bounds)]
        with closing(Journal(database)) as journal:
            together.wait(30)
            return append(journal, *(names if bounds[0] else reversed(names)))

    with ThreadPoolExecutor(len(slices)) as threads:
        answers = [answer for answers in threads.map(deliver, slices) for answer in answers]

    assert answers.count(False) == 60
    expected = {f"evt_{n}": sum(start <= n < end for start, end in slices) for n in range(60)}
    assert dict(stored(database)) == expected
    assert len(queued(database)) == 60


@pytest.mark.parametrize(
    "members",
    [
        {"headers": "a lone surrogate: \ud800"},
        {"received_at": 2**63},
    ],
    ids=["text", "number"],
)
def test_what_no_database_can_hold_is_refused_with_all_of_its_batch(
    database: Database, journal: Journal, members: dict[str, Any]
) -> None:
    with pytest.raises(DATA_ERRORS):
        journal.append([message("good"), message("bad", **members)])

    assert stored(database) == []
    assert queued(database) == []
    assert append(journal, "good", "next") == [False, False]


@postgresql_only
def test_a_null_character_is_refused_as_data_too(journal: Journal) -> None:
    with pytest.raises(DATA_ERRORS):
        journal.append([message("bad", headers="\0")])


@sqlite_only
def test_a_batch_whose_queueing_fails_is_not_stored(database: Database, journal: Journal) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO inbox (seq) VALUES (1)")

    with pytest.raises(Exception, match="inbox"):
        append(journal, "a")

    assert stored(database) == []


@postgresql_only
def test_a_batch_whose_queueing_fails_is_not_stored_on_postgresql(database: Database, journal: Journal) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO inbox (seq) VALUES (1)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        append(journal, "a")

    assert stored(database) == []


@postgresql_only
def test_after_a_dropped_connection_the_next_append_works(database: Database, journal: Journal) -> None:
    append(journal, "a")
    with psycopg.connect(database.url.set(drivername="postgresql").render_as_string(False), autocommit=True) as admin:
        killed = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'journal-test'"
        ).fetchall()
    assert killed == [(True,)]

    with pytest.raises(psycopg.OperationalError):
        append(journal, "b")

    assert append(journal, "b", "a") == [False, True]
    assert stored(database) == [("a", 2), ("b", 1)]


@sqlite_only
def test_after_a_lock_that_was_held_too_long_the_next_append_works(database: Database, migrated_url: str) -> None:
    with (
        closing(Database(migrated_url, connections=1, lock_wait=0.05)) as impatient,
        closing(Journal(impatient)) as journal,
    ):
        with database.write(), pytest.raises(sa.exc.OperationalError):
            append(journal, "a")

        assert append(journal, "a") == [False]


def test_a_journal_keeps_one_connection_and_gives_it_back(database: Database) -> None:
    journal = Journal(database)
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    append(journal, "a")
    append(journal, "b")
    assert database.engine.pool.checkedout() == 1  # type: ignore[attr-defined]

    journal.close()
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_a_closed_journal_can_be_used_again(journal: Journal) -> None:
    append(journal, "a")
    journal.close()

    assert append(journal, "a") == [True]


def test_a_message_id_is_derived_from_what_the_message_is() -> None:
    derived = message_id_of("article", "evt_1", "d1")

    assert derived == message_id_of("article", "evt_1", "d1")
    assert derived == "msg_" + hashlib.sha256(b"article\0evt_1\0d1").hexdigest()[:32]
    assert len(pack_message_id(derived)) == 16


def test_dialect_event_and_content_each_make_another_message() -> None:
    ids = {
        message_id_of("article", "evt_1", "d1"),
        message_id_of("public", "evt_1", "d1"),
        message_id_of("article/try", "evt_1", "d1"),
        message_id_of("article", "evt_2", "d1"),
        message_id_of("article", "evt_1", "d2"),
    }

    assert len(ids) == 5


def test_parts_of_a_message_id_cannot_run_into_each_other() -> None:
    assert message_id_of("a", "bc", "d") != message_id_of("ab", "c", "d") != message_id_of("a", "b", "cd")
