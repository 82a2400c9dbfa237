from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator import dialects
from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import inbox, journal, leases, marks
from orchestrator.dialects import ARTICLE, PUBLIC, article, identify
from orchestrator.domain import facts
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.journal.journal import COMMAND, LIVE, TEST, WEBHOOK
from orchestrator.log import EventLog, EventMapper
from tests.conftest import prepare
from tests.postgres import PostgresServer

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
numbers = itertools.count(1)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url, connections=4)
    yield database
    database.close()


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def body(id: str | None = "evt_1", event: str = "bundle.ready", minute: float = 0, **members: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": id,
        "event": event,
        "timestamp": at(minute).isoformat(),
        "bundle_id": "bdl_1",
        "platform": "tiktok",
        "country": "US",
        "data": {},
    }
    return message | members


def webhook(
    content: dict[str, Any] | bytes, *, received: datetime = NOON, mode: str = LIVE, dialect: str = ARTICLE
) -> Message:
    """The message as the door stores it."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    identity = identify(dialect, raw)
    space = dialect if mode == LIVE else f"{dialect}/try"
    return Message(
        message_id=message_id_of(space, identity.event_id, identity.digest),
        kind=WEBHOOK,
        endpoint="default" if mode == LIVE else "try",
        mode=mode,
        dialect=dialect,
        event_id=identity.event_id,
        id_source=identity.id_source,
        digest=identity.digest,
        body=raw,
        headers="{}",
        actor='{"kind":"vendor","name":"tokportal"}',
        received_at=micros(received),
    )


def retry(message_id: str, *, received: datetime = NOON) -> Message:
    """An operator's command to apply a message again."""
    return Message(
        message_id=f"msg_{next(numbers):032x}",
        kind=COMMAND,
        endpoint="api",
        mode=LIVE,
        dialect=None,
        event_id=None,
        id_source=None,
        digest="",
        body=json.dumps({"command": "retry", "message_id": message_id}).encode(),
        headers="{}",
        actor='{"kind":"person","name":"ann"}',
        received_at=micros(received),
    )


def append(database: Database, messages: Sequence[Message]) -> list[bool]:
    """Whether each of the messages was known."""
    with closing(Journal(database)) as door:
        return [answer.duplicate for answer in door.append(messages)]


def drain(engine: Engine) -> None:
    while engine.step():
        pass


def taken(database: Database, *messages: Message, engine: Engine | None = None) -> list[str]:
    """Appends the messages, lets the engine take everything, and tells what became of each of them."""
    append(database, messages)
    drain(engine or Engine(database))
    return [status(database, message) for message in messages]


def status(database: Database, message: Message) -> str:
    return str(mark(database, message).status)


def mark(database: Database, message: Message) -> Any:
    with database.read() as connection:
        query = marks.join(journal, marks.c.seq == journal.c.seq).select()
        row = connection.execute(query.where(journal.c.message_id == message.message_id)).first()
    assert row is not None, "the message was never taken"
    return row


def count(database: Database, table: Any) -> int:
    with database.read() as connection:
        return len(connection.execute(table.select()).all())


def rows(database: Database) -> list[tuple[Any, ...]]:
    """The log, as it is stored."""
    with database.read() as connection:
        return [tuple(row) for row in EventLog(database).after(connection, 0, 1_000_000)]


def told(database: Database) -> list[tuple[str, str]]:
    """The facts in the log: what each is, and the event id that it came with."""
    mapper = EventMapper()
    recorded: list[Any] = [mapper.event(*row[1:]) for row in rows(database)]
    return [(type(event).__name__, event.event_id) for event in recorded if isinstance(event, facts.Fact)]


# Exactly once


def test_message_takes_effect_once_and_is_marked_with_its_events(database: Database) -> None:
    message = webhook(body("evt_1", data={"username": "acme"}))
    assert taken(database, message) == ["applied"]
    assert [(row[1], row[2], row[3]) for row in rows(database)] == [
        ("bundle:bdl_1", 1, "BundleRegistered"),
        ("bundle:bdl_1", 2, "BundleReady"),
    ]
    assert (mark(database, message).first_position, mark(database, message).events) == (1, 2)
    assert count(database, inbox) == 0
    assert Engine(database).step() == 0


def test_fact_carries_what_the_vendor_sent_and_where_it_came_from(database: Database) -> None:
    message = webhook(body("evt_1", minute=3, data={"saved_account_id": "acc_1", "x": [1]}), received=at(5))
    taken(database, message)
    fact: Any = EventMapper().event(*rows(database)[1][1:])
    assert (fact.occurred_at, fact.timestamp) == (at(3), at(5))
    assert (fact.event_id, fact.dialect, fact.message_id) == ("evt_1", ARTICLE, message.message_id)
    assert (fact.bundle_id, fact.account, fact.country, fact.platform) == ("bdl_1", "acc_1", "US", "tiktok")
    assert fact.data == {"saved_account_id": "acc_1", "x": [1]}


def test_video_news_is_the_videos_and_teaches_about_its_bundle(database: Database) -> None:
    taken(database, webhook(body("evt_1", "video.upload_started", data={"video_id": "vid_1"})))
    assert [(row[1], row[3]) for row in rows(database)] == [
        ("bundle:bdl_1", "BundleRegistered"),
        ("bundle:bdl_1", "BundleMentioned"),
        ("video:vid_1", "VideoRegistered"),
        ("video:vid_1", "UploadStarted"),
    ]
    taken(database, webhook(body("evt_2", "video.upload_completed", minute=1, data={"video_id": "vid_1"})))
    assert [(row[1], row[3]) for row in rows(database)][4:] == [("video:vid_1", "UploadCompleted")]


def test_news_of_an_account_alone_is_recorded_on_it(database: Database) -> None:
    lapsed = {
        "id": "evt_1",
        "type": "subscription.lapsed",
        "created_at": at(0).isoformat(),
        "data": {"saved_account_id": "acc_1"},
    }
    assert taken(database, webhook(lapsed, dialect=PUBLIC)) == ["applied"]
    assert [(row[1], row[3]) for row in rows(database)] == [
        ("account:acc_1", "AccountRegistered"),
        ("account:acc_1", "CoverageLapsed"),
    ]


def test_news_that_changes_nothing_is_applied_without_events(database: Database) -> None:
    test = {"id": "evt_1", "type": "webhook.test", "created_at": at(0).isoformat(), "data": {}}
    message = webhook(test, dialect=PUBLIC)
    assert taken(database, message) == ["applied"]
    assert (rows(database), mark(database, message).events) == ([], 0)


def test_redeliveries_are_counted_and_change_nothing(database: Database) -> None:
    message = webhook(body("evt_1"))
    spaced = webhook(json.dumps(body("evt_1") | {"signature": "f00"}, indent=2).encode(), received=at(7))
    assert append(database, [message, spaced]) == [False, True]
    drain(Engine(database))
    before = rows(database)
    assert taken(database, spaced, message) == ["applied", "applied"]
    assert rows(database) == before
    with database.read() as connection:
        stored = connection.execute(journal.select()).all()
    assert [(row.deliveries, row.received_at) for row in stored] == [(4, micros(NOON))]


def test_message_without_an_id_is_known_by_its_content(database: Database) -> None:
    one, other = webhook(body(None)), webhook(body(None, minute=1))
    assert taken(database, one, other, one) == ["applied", "applied", "applied"]
    assert [name for name, _ in told(database)] == ["BundleReady", "BundleReady"]


def test_later_engine_goes_on_where_another_ended(database: Database) -> None:
    for number in range(5):
        assert taken(database, webhook(body(f"evt_{number}", minute=number)), engine=Engine(database)) == ["applied"]
    assert [(row[0], row[2]) for row in rows(database)] == [(n, n) for n in range(1, 7)]


# Conflicts


@pytest.mark.parametrize("together", [True, False])
def test_first_of_two_contents_under_one_id_stands(database: Database, together: bool) -> None:
    first, second = webhook(body("evt_1", minute=1)), webhook(body("evt_1", minute=2))
    if together:
        assert taken(database, first, second) == ["applied", "conflict"]
    else:
        assert taken(database, first) + taken(database, second) == ["applied", "conflict"]
    assert told(database) == [("BundleReady", "evt_1")]
    assert (mark(database, second).events, status(database, first)) == (0, "applied")
    assert taken(database, second, first) == ["conflict", "applied"]


def test_event_ids_of_two_dialects_have_nothing_to_do_with_each_other(database: Database) -> None:
    public = {"id": "evt_1", "type": "bundle.created", "created_at": at(0).isoformat(), "data": {"bundle_id": "bdl_1"}}
    assert taken(database, webhook(body("evt_1")), webhook(public, dialect=PUBLIC)) == ["applied", "applied"]


def test_event_ids_are_compared_byte_by_byte(database: Database) -> None:
    messages = [webhook(body(id, minute=n)) for n, id in enumerate(["evt_a", "EVT_A", "evt_a ", "\u00e9", "e\u0301"])]
    assert taken(database, *messages) == ["applied"] * 5


# What cannot be understood


def test_unreadable_message_is_quarantined_with_its_reason(database: Database) -> None:
    message = webhook(body("evt_1", country="XX"))
    assert taken(database, message) == ["quarantined"]
    assert mark(database, message).reason == "country must be an ISO 3166 alpha-2 code, USA or UK"
    assert rows(database) == []


@pytest.mark.parametrize("raw", [b"", b"\xff", b"[]", b'{"id":"evt_1","id":"evt_1"}', b'{"a":"\\u0000"}', b"[" * 9_999])
def test_any_bytes_can_be_quarantined(database: Database, raw: bytes) -> None:
    message = webhook(raw)
    assert taken(database, message, webhook(body("evt_2"))) == ["quarantined", "applied"]
    with database.read() as connection:
        assert connection.execute(journal.select().order_by(journal.c.seq)).first().body == raw  # type: ignore[union-attr]


@pytest.mark.parametrize("together", [True, False])
def test_quarantined_message_does_not_claim_its_id(database: Database, together: bool) -> None:
    bad, good, other = webhook(body("evt_1", platform="x")), webhook(body("evt_1")), webhook(body("evt_1", minute=5))
    if together:
        assert taken(database, bad, good, other) == ["quarantined", "applied", "conflict"]
    else:
        assert [taken(database, message)[0] for message in (bad, good, other)] == ["quarantined", "applied", "conflict"]
    assert told(database) == [("BundleReady", "evt_1")]


def test_unknown_event_type_is_unrecognised_with_its_reason(database: Database) -> None:
    message = webhook(body("evt_1", "bundle.paused"))
    assert taken(database, message) == ["unrecognised"]
    assert mark(database, message).reason == "the event type 'bundle.paused' is not known"
    assert rows(database) == []


# Applying again


def test_retry_applies_what_was_quarantined_once_it_can_be_read(database: Database) -> None:
    early = webhook(body("evt_1", minute=90))
    assert taken(database, early) == ["quarantined"]
    assert "more than an hour ahead" in mark(database, early).reason
    command = retry(early.message_id, received=at(60))
    assert taken(database, command) == ["applied"]
    assert status(database, early) == "applied"
    assert (mark(database, early).reason, mark(database, early).first_position, mark(database, early).events) == (
        None,
        1,
        2,
    )
    fact: Any = EventMapper().event(*rows(database)[1][1:])
    assert (fact.occurred_at, fact.timestamp) == (at(90), at(60)), "it is recorded when it was applied again"
    assert fact.message_id == early.message_id
    assert taken(database, webhook(body("evt_1", minute=1))) == ["conflict"], "now the id is taken"


def test_retry_of_what_is_still_unreadable_leaves_it_in_quarantine(database: Database) -> None:
    bad = webhook(body("evt_1", country="XX"))
    assert taken(database, bad, retry(bad.message_id)) == ["quarantined", "applied"]
    assert status(database, bad) == "quarantined"
    assert rows(database) == []


def test_retry_in_the_batch_of_its_message_works(database: Database) -> None:
    early = webhook(body("evt_1", minute=90))
    assert taken(database, early, retry(early.message_id, received=at(60))) == ["applied", "applied"]
    assert told(database) == [("BundleReady", "evt_1")]


def test_retry_becomes_a_conflict_when_the_id_was_taken_meanwhile(database: Database) -> None:
    early = webhook(body("evt_1", minute=90))
    assert taken(database, early, webhook(body("evt_1"))) == ["quarantined", "applied"]
    assert taken(database, retry(early.message_id, received=at(60))) == ["applied"]
    assert status(database, early) == "conflict"
    assert told(database) == [("BundleReady", "evt_1")]


def test_what_was_applied_is_never_applied_again(database: Database) -> None:
    message = webhook(body("evt_1"))
    command = retry(message.message_id)
    assert taken(database, message, command) == ["applied", "refused"]
    assert "applied" in mark(database, command).reason
    assert told(database) == [("BundleReady", "evt_1")]
    assert (mark(database, message).first_position, mark(database, message).events) == (1, 2)


def test_second_retry_is_refused(database: Database) -> None:
    early = webhook(body("evt_1", minute=90))
    taken(database, early)
    commands = [retry(early.message_id, received=at(60)), retry(early.message_id, received=at(61))]
    assert taken(database, *commands) == ["applied", "refused"]
    assert (status(database, early), told(database)) == ("applied", [("BundleReady", "evt_1")])


def test_second_retry_is_refused_in_the_batch_of_its_message_too(database: Database) -> None:
    early = webhook(body("evt_1", minute=90))
    commands = [retry(early.message_id, received=at(60)), retry(early.message_id, received=at(61))]
    assert taken(database, early, *commands) == ["applied", "applied", "refused"]


def test_retry_applies_what_was_unrecognised_once_it_is_known(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = webhook(body("evt_1", "bundle.paused"))
    assert taken(database, message) == ["unrecognised"]
    monkeypatch.setitem(cast(Any, article.EVENTS), "bundle.paused", facts.BundleReady)
    assert taken(database, retry(message.message_id)) == ["applied"]
    assert (status(database, message), told(database)) == ("applied", [("BundleReady", "evt_1")])


def test_retry_of_what_is_still_unrecognised_leaves_it_so(database: Database) -> None:
    message = webhook(body("evt_1", "bundle.paused"))
    taken(database, message, retry(message.message_id))
    assert status(database, message) == "unrecognised"


def test_conflicts_and_tests_cannot_be_applied_again(database: Database) -> None:
    conflict, test = webhook(body("evt_1", minute=5)), webhook(body("evt_2"), mode=TEST)
    commands = [retry(conflict.message_id), retry(test.message_id)]
    assert taken(database, webhook(body("evt_1")), conflict, test, *commands)[1:] == [
        *("conflict", "test"),
        *("refused", "refused"),
    ]
    assert [mark(database, command).reason.split(" cannot")[0] for command in commands] == [
        "a message that is conflict",
        "a message that is test",
    ]


def test_retry_of_what_does_not_exist_is_refused(database: Database) -> None:
    command = retry("msg_nowhere")
    assert taken(database, command) == ["refused"]
    assert mark(database, command).reason == "there is no message 'msg_nowhere'"


def test_retry_of_a_command_is_refused(database: Database) -> None:
    first = retry("msg_nowhere")
    second = retry(first.message_id)
    assert taken(database, first, second, webhook(body("evt_1"))) == ["refused", "refused", "applied"]


# Test endpoints


def test_what_reaches_a_test_endpoint_is_judged_and_changes_nothing(database: Database) -> None:
    good, bad = webhook(body("evt_1"), mode=TEST), webhook(body("evt_2", country="XX"), mode=TEST)
    strange = webhook(body("evt_3", "bundle.paused"), mode=TEST)
    assert taken(database, good, bad, strange) == ["test", "test", "test"]
    assert rows(database) == []
    assert mark(database, good).reason == "would be applied"
    assert mark(database, bad).reason == "would be quarantined: country must be an ISO 3166 alpha-2 code, USA or UK"
    assert mark(database, strange).reason == "would be unrecognised: the event type 'bundle.paused' is not known"


def test_test_message_takes_no_event_id_from_the_real_one(database: Database) -> None:
    assert taken(database, webhook(body("evt_1"), mode=TEST), webhook(body("evt_1", minute=1))) == ["test", "applied"]
    assert told(database) == [("BundleReady", "evt_1")]


# Messages that the program cannot apply


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Event ids whose facts raise when they are applied, as a bug of ours would make them."""
    poisoned: list[str] = []
    healthy = facts.Fact.apply

    def apply(self: Any, aggregate: Any) -> None:
        if self.event_id in poisoned:
            raise ZeroDivisionError(f"bug met by {self.event_id}")
        healthy(self, aggregate)

    monkeypatch.setattr(facts.Fact, "apply", apply)
    return poisoned


@pytest.mark.parametrize("position", [0, 2, 4])
def test_message_that_cannot_be_applied_does_not_hold_up_the_others(
    database: Database, poison: list[str], position: int
) -> None:
    messages = [webhook(body(f"evt_{number}", minute=number)) for number in range(5)]
    poison.append(f"evt_{position}")
    expected = ["applied"] * 5
    expected[position] = "quarantined"
    assert taken(database, *messages) == expected
    bad = mark(database, messages[position])
    assert bad.reason == f"the program could not apply it: ZeroDivisionError: bug met by evt_{position}"
    assert bad.events == 0
    assert [id for _, id in told(database)] == [f"evt_{number}" for number in range(5) if number != position]
    assert [row[0] for row in rows(database)] == list(range(1, 6)), "no half of it is left, and no gap"


def test_several_of_them_are_isolated_one_by_one(database: Database, poison: list[str]) -> None:
    messages = [webhook(body(f"evt_{number}", minute=number)) for number in range(6)]
    poison += ["evt_1", "evt_2", "evt_5"]
    assert [word[0] for word in taken(database, *messages)] == ["a", "q", "q", "a", "a", "q"]


def test_message_that_could_not_be_applied_is_applied_after_the_fix(database: Database, poison: list[str]) -> None:
    message = webhook(body("evt_1"))
    poison.append("evt_1")
    assert taken(database, message) == ["quarantined"]
    poison.clear()
    assert taken(database, retry(message.message_id)) == ["applied"]
    assert (status(database, message), told(database)) == ("applied", [("BundleReady", "evt_1")])


def test_retry_that_fails_again_spoils_the_command_only(database: Database, poison: list[str]) -> None:
    message = webhook(body("evt_1"))
    poison.append("evt_1")
    command = retry(message.message_id)
    assert taken(database, message, command, webhook(body("evt_2"))) == ["quarantined", "quarantined", "applied"]
    assert told(database) == [("BundleReady", "evt_2")]


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Bodies with one of these in them raise when they are read, as a bug of ours would make them."""
    cursed: list[bytes] = []
    healthy = dialects.read

    def read(dialect: str, body: bytes, received_at: datetime) -> dialects.Reading:
        if any(part in body for part in cursed):
            raise ZeroDivisionError
        return healthy(dialect, body, received_at)

    monkeypatch.setattr(dialects, "read", read)
    return cursed


def test_message_that_cannot_even_be_read_does_not_hold_up_the_others(
    database: Database, unreadable: list[bytes]
) -> None:
    unreadable.append(b"evt_2")
    messages = [webhook(body("evt_1")), webhook(body("evt_2")), webhook(body("evt_3"))]
    assert taken(database, *messages) == ["applied", "quarantined", "applied"]
    unreadable.clear()
    assert taken(database, retry(messages[1].message_id)) == ["applied"]
    assert status(database, messages[1]) == "applied"


def test_retry_of_what_still_cannot_be_read_spoils_the_command_only(
    database: Database, unreadable: list[bytes]
) -> None:
    unreadable.append(b'"id": "evt_1"')
    message = webhook(body("evt_1"))
    command = retry(message.message_id)
    assert taken(database, message) == ["quarantined"]
    assert taken(database, command, webhook(body("evt_2"))) == ["quarantined", "applied"]
    assert status(database, message) == "quarantined"


def test_retry_of_a_command_that_could_not_be_applied_is_refused(database: Database, poison: list[str]) -> None:
    poison.append("evt_1")
    message = webhook(body("evt_1"))
    command = retry(message.message_id)
    assert taken(database, message, command) == ["quarantined", "quarantined"]
    assert taken(database, retry(command.message_id)) == ["refused"]


def test_value_that_the_database_refuses_does_not_hold_up_the_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = facts.Fact.apply

    def apply(self: Any, aggregate: Any) -> None:
        if self.event_id == "evt_2":
            raise ZeroDivisionError("a text that PostgreSQL cannot store: \0")
        healthy(self, aggregate)

    monkeypatch.setattr(facts.Fact, "apply", apply)
    messages = [webhook(body("evt_1")), webhook(body("evt_2")), webhook(body("evt_3"))]
    assert taken(database, *messages) == ["applied", "quarantined", "applied"]


# The lease


def expire(database: Database) -> None:
    """What time does to a holder that is frozen."""
    with database.write() as connection:
        connection.execute(leases.update().values(expires_at=0))


def test_engine_that_lost_its_lease_writes_nothing_and_the_standby_continues(database: Database) -> None:
    frozen, standby = Lease(database, "engine", "host:1"), Lease(database, "engine", "host:2")
    first, second = Engine(database, frozen), Engine(database, standby)
    assert frozen.acquire()
    assert not standby.acquire()
    assert taken(database, webhook(body("evt_1")), engine=first) == ["applied"]
    before = rows(database)
    expire(database)
    assert standby.acquire()

    append(database, [webhook(body("evt_2", minute=2)), webhook(body("evt_3", minute=3))])
    for _ in range(2):
        with pytest.raises(LeaseLostError):
            first.step()
    assert rows(database) == before
    assert (count(database, inbox), count(database, marks)) == (2, 1)

    drain(second)
    assert told(database) == [("BundleReady", "evt_1"), ("BundleReady", "evt_2"), ("BundleReady", "evt_3")]
    with pytest.raises(LeaseLostError):
        frozen.renew()


def test_engine_that_gets_its_lease_back_knows_what_happened_meanwhile(database: Database) -> None:
    one, other = Lease(database, "engine", "host:1"), Lease(database, "engine", "host:2")
    first, second = Engine(database, one), Engine(database, other)
    assert one.acquire()
    assert taken(database, webhook(body("evt_1")), engine=first) == ["applied"]
    expire(database)
    assert other.acquire()
    assert taken(database, webhook(body("evt_2", minute=2)), engine=second) == ["applied"]
    append(database, [webhook(body("evt_3", minute=3))])
    with pytest.raises(LeaseLostError):
        first.step()
    other.release()
    assert one.acquire()
    drain(first)
    assert [(row[0], row[1], row[2]) for row in rows(database)] == [(n, "bundle:bdl_1", n) for n in range(1, 5)]


def test_engine_without_a_lease_of_its_own_writes_nothing(database: Database) -> None:
    never = Lease(database, "engine", "host:1")
    append(database, [webhook(body("evt_1"))])
    with pytest.raises(LeaseLostError):
        Engine(database, never).step()
    assert (rows(database), count(database, inbox)) == ([], 1)


def test_second_engine_without_a_lease_is_stopped_by_the_log(database: Database) -> None:
    """Two tools that both believe to be alone: the slower one finds the log grown, and takes its batch again."""
    slow, quick = Engine(database), Engine(database)
    last = webhook(body("evt_3", bundle_id="bdl_3"))
    assert taken(database, webhook(body("evt_1")), engine=slow) == ["applied"]
    assert taken(database, webhook(body("evt_2", bundle_id="bdl_2")), engine=quick) == ["applied"]
    assert taken(database, last, engine=slow) == ["applied"]
    assert [(row[0], row[1]) for row in rows(database)] == [
        (position, f"bundle:bdl_{(position + 1) // 2}") for position in range(1, 7)
    ]
    assert (mark(database, last).first_position, mark(database, last).events) == (5, 2)


# Time and determinism


def recorded(database: Database) -> list[datetime]:
    return [EventMapper().event(*row[1:]).timestamp for row in rows(database)]


@pytest.mark.parametrize("max_batch", [1, 500])
def test_now_never_runs_backwards(database: Database, max_batch: int) -> None:
    minutes = [5, 3, 7, 0, 6]
    messages = [
        webhook(body(f"evt_{number}", bundle_id=f"bdl_{number}"), received=at(minute))
        for number, minute in enumerate(minutes)
    ]
    taken(database, *messages, engine=Engine(database, max_batch=max_batch))
    raised = [at(minute) for minute in (5, 5, 7, 7, 7)]
    assert recorded(database) == [time for time in raised for _ in ("the birth", "the fact")]


def test_now_never_runs_backwards_over_a_restart(database: Database) -> None:
    for number, minute in enumerate([5, 3]):
        taken(database, webhook(body(f"evt_{number}"), received=at(minute)), engine=Engine(database))
    assert recorded(database) == [at(5)] * 3


def test_restart_makes_no_difference_to_the_times_in_the_log(database: Database) -> None:
    """Only the event before it raises an event's time; a message that left no event is forgotten by a restart."""
    engine = Engine(database)
    taken(database, webhook(body("evt_1", country="XX"), received=at(5)), engine=engine)
    taken(database, webhook(body("evt_2"), received=at(3)), engine=engine)
    assert recorded(database) == [at(3), at(3)]


def eventful_journal() -> list[Message]:
    """Something of everything, received by a clock that jumps."""
    received = itertools.cycle([at(30), at(29), at(45), at(31)])
    early = webhook(body("evt_early", minute=120), received=at(30))
    bad = webhook(body("evt_bad", country="XX"), received=at(30))
    messages = [
        webhook(body("evt_strange", "bundle.paused"), received=at(30)),
        webhook(body("evt_0", data={"saved_account_id": "acc_1", "n": [1.5, "é", None]}), received=at(30)),
        early,
    ]
    for number in range(1, 12):
        members: dict[str, Any] = {"bundle_id": f"bdl_{number % 3}", "minute": 20 - number}
        messages += [
            webhook(body(f"evt_{number}", "bundle.warming_started", **members), received=next(received)),
            webhook(
                body(f"evt_v{number}", "video.posted", data={"video_id": "vid_1"}, **members), received=next(received)
            ),
            webhook(body(f"evt_{number - 1}", "bundle.banned", **members), received=next(received)),
            webhook(body(f"evt_t{number}", **members), received=next(received), mode=TEST),
        ]
    lapsed = {
        "id": "evt_1",
        "type": "subscription.lapsed",
        "created_at": at(0).isoformat(),
        "data": {"saved_account_id": "acc_1"},
    }
    again = [retry(early.message_id, received=at(70)), retry(bad.message_id, received=at(70))]
    return [*messages, bad, webhook(lapsed, dialect=PUBLIC, received=at(32)), *again, messages[0]]


def test_same_journal_gives_the_same_log_byte_for_byte(
    migrated_sqlite_file: Path, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    messages = eventful_journal()
    logs = []
    for max_batch in (1, 2, 7, 500):
        file = tmp_path / f"{max_batch}.db"
        shutil.copyfile(migrated_sqlite_file, file)
        logs.append(log_of(f"sqlite:///{file}", messages, max_batch))
    for max_batch in (3, 500):
        url = postgres_server.new_migrated_database(prepare)
        logs.append(log_of(url, messages, max_batch))
        postgres_server.drop_database(url)
    events, became = logs[0]
    assert len(events) > 25
    assert {status for _, status, _ in became} == {"applied", "conflict", "quarantined", "test", "unrecognised"}
    assert all(log == logs[0] for log in logs)


def log_of(url: str, messages: Sequence[Message], max_batch: int) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """The log, and what became of each message."""
    database = Database(url, connections=2)
    try:
        append(database, messages)
        drain(Engine(database, max_batch=max_batch))
        with database.read() as connection:
            query = marks.select().with_only_columns(marks.c.applied_seq, marks.c.status, marks.c.reason)
            became = [tuple(row) for row in connection.execute(query.order_by(marks.c.applied_seq))]
        return rows(database), became
    finally:
        database.close()
