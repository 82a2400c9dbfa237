from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from eventsourcing.utils import TopicError

from orchestrator.database import Database
from orchestrator.database.tables import inbox, journal, marks
from orchestrator.dialects import ARTICLE, identify
from orchestrator.domain.bundle import Bundle
from orchestrator.domain.facts import KINDS, Fact
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.journal import LIVE, WEBHOOK
from orchestrator.log import EventLog, EventMapper, Stored
from tests.conftest import prepare
from tests.postgres import PostgresServer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url, connections=8)
    yield database
    database.close()


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


def event(originator: str, version: int, topic: str = "T", state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(originator, version, topic, state)


def append(database: Database, log: EventLog, *stored: StoredEvent) -> int:
    with database.write() as connection:
        return log.append(connection, stored)


def everything(database: Database, log: EventLog) -> list[Stored]:
    with database.read() as connection:
        return log.after(connection, 0, 1_000_000)


# Appending and reading


def test_empty_log_has_no_head(database: Database, log: EventLog) -> None:
    with database.read() as connection:
        assert log.head(connection) == 0
        assert log.after(connection, 0, 10) == []
        assert dict(log.of(connection, ["a"])) == {}
    assert log.max_notification_id() is None


def test_positions_are_one_after_another_from_one(database: Database, log: EventLog) -> None:
    assert append(database, log, event("a", 1), event("b", 1)) == 1
    assert append(database, log, event("a", 2)) == 3
    assert [(row.position, row.originator_id, row.originator_version) for row in everything(database, log)] == [
        (1, "a", 1),
        (2, "b", 1),
        (3, "a", 2),
    ]
    with database.read() as connection:
        assert log.head(connection) == 3


def test_events_come_back_byte_for_byte(database: Database, log: EventLog) -> None:
    state = bytes(range(256))
    append(database, log, event("bundle:été 🙂", 1, "Topic.Ünï", state))
    assert everything(database, log) == [Stored(1, "bundle:été 🙂", 1, "Topic.Ünï", state)]


def test_appending_nothing_is_nothing(database: Database, log: EventLog) -> None:
    assert append(database, log) == 1
    assert everything(database, log) == []


def test_after_gives_what_follows_a_position_up_to_a_limit(database: Database, log: EventLog) -> None:
    append(database, log, *(event("a", version) for version in range(1, 8)))
    with database.read() as connection:
        assert [row.position for row in log.after(connection, 2, 3)] == [3, 4, 5]
        assert [row.position for row in log.after(connection, 5, 100)] == [6, 7]
        assert log.after(connection, 7, 100) == []
        assert log.after(connection, 99, 100) == []


def test_of_gives_each_aggregate_its_events_in_order(database: Database, log: EventLog) -> None:
    append(database, log, event("a", 1), event("b", 1), event("a", 2), event("c", 1), event("b", 2), event("a", 3))
    with database.read() as connection:
        found = log.of(connection, ["b", "a", "nobody"])
    assert {name: [(row.position, row.originator_version) for row in rows] for name, rows in found.items()} == {
        "a": [(1, 1), (3, 2), (6, 3)],
        "b": [(2, 1), (5, 2)],
    }


def test_of_takes_more_aggregates_than_a_statement_has_parameters(database: Database, log: EventLog) -> None:
    append(database, log, event("id_1", 1), event("id_39999", 1))
    with database.read() as connection:
        assert set(log.of(connection, [f"id_{number}" for number in range(40_000)])) == {"id_1", "id_39999"}


def test_originators_are_compared_byte_by_byte(database: Database, log: EventLog) -> None:
    names = ["a", "A", "a ", "é", "e\u0301"]
    append(database, log, *(event(name, 1) for name in names))
    with database.read() as connection:
        for name in names:
            assert list(log.of(connection, [name])) == [name]


@pytest.mark.parametrize(
    "stored",
    [
        [event("a", 1)],
        [event("b", 1), event("a", 2)],
        [event("b", 1), event("b", 1)],
    ],
)
def test_version_that_exists_is_refused_with_everything_beside_it(
    database: Database, log: EventLog, stored: list[StoredEvent]
) -> None:
    append(database, log, event("a", 1), event("a", 2))
    with pytest.raises(IntegrityError):
        append(database, log, *stored)
    assert [(row.originator_id, row.originator_version) for row in everything(database, log)] == [("a", 1), ("a", 2)]
    assert append(database, log, event("a", 3)) == 3, "the log has no gap where something was refused"


def test_transaction_that_fails_later_leaves_no_event_and_no_gap(database: Database, log: EventLog) -> None:
    append(database, log, event("a", 1))
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        assert log.append(connection, [event("a", 2)]) == 2
        raise ZeroDivisionError
    assert append(database, log, event("a", 2)) == 2
    assert [row.position for row in everything(database, log)] == [1, 2]


def test_reader_sees_one_moment_throughout(database: Database, log: EventLog) -> None:
    append(database, log, event("a", 1))
    with database.read() as connection:
        assert log.head(connection) == 1
        append(database, log, event("a", 2))
        assert log.head(connection) == 1
        assert [row.position for row in log.after(connection, 0, 10)] == [1]
    assert [row.position for row in everything(database, log)] == [1, 2]


# The library's interface


def test_insert_events_answers_with_their_positions(log: EventLog) -> None:
    assert list(log.insert_events([event("a", 1), event("a", 2)])) == [1, 2]
    assert list(log.insert_events([event("b", 1)])) == [3]
    assert list(log.insert_events([])) == []
    assert log.max_notification_id() == 3
    with pytest.raises(IntegrityError):
        log.insert_events([event("a", 2)])


def test_select_events_of_one_aggregate(log: EventLog) -> None:
    log.insert_events([event("a", version, f"T{version}", b"%d" % version) for version in range(1, 6)])
    log.insert_events([event("b", 1)])
    assert log.select_events("a")[0] == StoredEvent("a", 1, "T1", b"1")

    def versions(**which: Any) -> list[int]:
        return [stored.originator_version for stored in log.select_events("a", **which)]

    assert versions() == [1, 2, 3, 4, 5]
    assert versions(gt=2) == [3, 4, 5]
    assert versions(lte=2) == [1, 2]
    assert versions(gt=1, lte=4) == [2, 3, 4]
    assert versions(desc=True) == [5, 4, 3, 2, 1]
    assert versions(desc=True, limit=1) == [5]
    assert versions(gt=2, limit=2) == [3, 4]
    assert log.select_events("nobody") == []


def test_select_notifications(log: EventLog) -> None:
    log.insert_events([event("a", 1, "A"), event("b", 1, "B"), event("a", 2, "A"), event("b", 2, "B")])
    assert log.select_notifications(1, 1) == [Notification("a", 1, "A", b"{}", 1)]

    def positions(*arguments: Any, **which: Any) -> list[int]:
        return [notification.id for notification in log.select_notifications(*arguments, **which)]

    assert positions(None, 10) == [1, 2, 3, 4]
    assert positions(2, 10) == [2, 3, 4]
    assert positions(2, 10, inclusive_of_start=False) == [3, 4]
    assert positions(2, 2) == [2, 3]
    assert positions(1, 10, stop=3) == [1, 2, 3]
    assert positions(1, 10, topics=["B"]) == [2, 4]
    assert positions(2, 10, topics=["A", "B"], inclusive_of_start=False) == [3, 4]
    assert positions(5, 10) == []


def test_nobody_is_told_of_events_by_the_log(log: EventLog) -> None:
    with pytest.raises(NotImplementedError):
        log.subscribe()


# Events to bytes and back


def bundle_events() -> list[Any]:
    bundle = Bundle.register("bdl_1", message_id="msg_1", now=NOON)
    bundle.record(
        KINDS["BundleReady"],
        timestamp=NOON,
        message_id="msg_1",
        occurred_at=NOON.replace(microsecond=123),
        event_id="evt_1",
        dialect=ARTICLE,
        bundle_id="bdl_1",
        account=None,
        country="US",
        platform="tiktok",
        data={"z": [1, 2.5, None, True], "a": {"é": "🙂"}},
    )
    bundle.record(
        KINDS["BundleMentioned"],
        timestamp=NOON,
        message_id="msg_2",
        occurred_at=NOON,
        event_id="evt_2",
        dialect=ARTICLE,
        account="acc_1",
        country=None,
        platform=None,
    )
    return list(bundle.collect_events())


def test_events_survive_being_stored(database: Database, log: EventLog) -> None:
    mapper, events = EventMapper(), bundle_events()
    append(database, log, *map(mapper.to_stored_event, events))
    read = [mapper.event(*row[1:]) for row in everything(database, log)]
    assert read == events
    assert [mapper.to_domain_event(stored) for stored in log.select_events("bundle:bdl_1")] == events
    aggregate: Any = None
    for one in read:
        aggregate = one.mutate(aggregate)
    assert (aggregate.bundle_id, aggregate.version, len(aggregate.notes)) == ("bdl_1", 3, 2)


def test_equal_events_are_equal_bytes_of_plain_json() -> None:
    mapper = EventMapper()
    for one in bundle_events():
        stored, again = (
            mapper.to_stored_event(one),
            mapper.to_stored_event(mapper.to_domain_event(mapper.to_stored_event(one))),
        )
        assert stored == again
        state = json.loads(stored.state)
        assert "originator_id" not in state
        assert state["timestamp"] == "2026-11-20T12:00:00Z"


def test_topic_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(TopicError):
        EventMapper().event("bundle:a", 1, "NeverHeardOf", b"{}")


# Nothing is skipped


def together(*workers: Callable[[], None]) -> list[threading.Thread]:
    """Starts all of them at one moment. An exception in one fails the test that started it: pytest sees to that."""
    barrier = threading.Barrier(len(workers))

    def run(worker: Callable[[], None]) -> None:
        barrier.wait()
        worker()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    return threads


def test_reader_who_follows_the_positions_misses_nothing_that_many_writers_append(
    database: Database, log: EventLog
) -> None:
    writers, appends = 4, 30

    def writer(name: str) -> Callable[[], None]:
        def write() -> None:
            versions = itertools.count(1)
            for number in range(appends):
                append(database, log, *(event(name, next(versions)) for _ in range(1 + number % 3)))

        return write

    threads = together(*(writer(f"writer {number}") for number in range(writers)))
    seen: list[Stored] = []
    position = 0
    while True:
        finished = not any(thread.is_alive() for thread in threads)
        with database.read() as connection:
            news = log.after(connection, position, 7)
        seen += news
        position = news[-1].position if news else position
        if finished and not news:
            break
    for thread in threads:
        thread.join()
    total = writers * sum(1 + number % 3 for number in range(appends))
    assert [row.position for row in seen] == list(range(1, total + 1))
    for number in range(writers):
        mine = [row.originator_version for row in seen if row.originator_id == f"writer {number}"]
        assert mine == list(range(1, total // writers + 1))


def test_of_two_writers_of_one_aggregate_each_version_has_one_winner(database: Database, log: EventLog) -> None:
    lost: list[int] = []

    def race() -> None:
        for version in range(1, 31):
            try:
                append(database, log, event("a", version))
            except IntegrityError:
                lost.append(version)

    for thread in together(race, race, race):
        thread.join()
    assert [(row.position, row.originator_version) for row in everything(database, log)] == [
        (version, version) for version in range(1, 31)
    ]
    assert Counter(lost) == dict.fromkeys(range(1, 31), 2)


def webhook(number: int) -> Message:
    body = json.dumps(
        {
            "id": f"evt_{number}",
            "event": "bundle.ready",
            "timestamp": NOON.isoformat(),
            "bundle_id": f"bdl_{number % 5}",
            "platform": "tiktok",
            "country": "US",
            "data": {},
        }
    ).encode()
    identity = identify(ARTICLE, body)
    return Message(
        message_id=message_id_of(ARTICLE, identity.event_id, identity.digest),
        kind=WEBHOOK,
        endpoint="default",
        mode=LIVE,
        dialect=ARTICLE,
        event_id=identity.event_id,
        id_source=identity.id_source,
        digest=identity.digest,
        body=body,
        headers="{}",
        actor="{}",
        received_at=int(NOON.timestamp()) * 1_000_000 + number,
    )


def test_message_that_is_committed_after_greater_numbers_were_taken_is_not_skipped(
    postgres_server: PostgresServer,
) -> None:
    """Only PostgreSQL lets a later number be committed first; SQLite has one writer at a time."""
    url = postgres_server.new_migrated_database(prepare)
    database = Database(url, connections=4)
    try:
        engine, early, late = Engine(database), webhook(1), webhook(2)
        with database.write() as connection:
            values = {**asdict(early), "deliveries": 1}
            number = connection.execute(journal.insert().values(values).returning(journal.c.seq)).scalar_one()
            connection.execute(inbox.insert().values(seq=number))
            with closing(Journal(database)) as door:
                door.append([late])
            assert engine.step() == 1
        assert engine.step() == 1
        with database.read() as connection:
            taken = connection.execute(marks.select().order_by(marks.c.applied_seq)).all()
        assert [(row.event_id, row.status) for row in taken] == [("evt_2", "applied"), ("evt_1", "applied")]
        assert [row.seq > number for row in taken] == [True, False]
    finally:
        database.close()
        postgres_server.drop_database(url)


def test_every_message_of_many_doors_is_applied_once_while_the_engine_takes(database: Database, log: EventLog) -> None:
    """Each message is delivered at two doors, in other orders and batches, and once again at the end."""
    messages = [webhook(number) for number in range(240)]
    fresh: list[str] = []

    def door(mine: Sequence[Message], size: int) -> Callable[[], None]:
        def receive() -> None:
            with closing(Journal(database)) as own:
                for start in range(0, len(mine), size):
                    answers = own.append(mine[start : start + size])
                    fresh.extend(answer.message_id for answer in answers if not answer.duplicate)

        return receive

    threads = together(
        door(messages[:120], 7),
        door(messages[119::-1], 5),
        door(messages[120:], 3),
        door(messages[:119:-1], 11),
    )
    engine = Engine(database, max_batch=17)
    while True:
        finished = not any(thread.is_alive() for thread in threads)
        if not engine.step() and finished:
            break
    for thread in threads:
        thread.join()
    with closing(Journal(database)) as last:
        assert all(answer.duplicate for answer in last.append(messages))
    assert engine.step() == 0

    names = sorted(message.message_id for message in messages)
    assert sorted(fresh) == names, "each is new at one door only"
    with database.read() as connection:
        stored = connection.execute(journal.select()).all()
        became = connection.execute(marks.select().order_by(marks.c.applied_seq)).all()
        assert connection.execute(inbox.select()).all() == []
    assert sorted(row.message_id for row in stored) == names
    assert {row.deliveries for row in stored} == {3}
    assert sorted(row.seq for row in became) == sorted(row.seq for row in stored)
    assert {row.status for row in became} == {"applied"}
    assert [row.applied_seq for row in became] == list(range(1, 241))
    mapper, rows = EventMapper(), everything(database, log)
    assert [row.position for row in rows] == list(range(1, 246))
    facts = [one for row in rows if isinstance(one := mapper.event(*row[1:]), Fact)]
    assert Counter(fact.event_id for fact in facts) == {f"evt_{number}": 1 for number in range(240)}
