"""The committing process, run in a thread on pipes of its own: what it commits together, and when it answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import journal as table
from orchestrator.dialects import ARTICLE
from orchestrator.journal import Appended, Journal, Message, committer
from orchestrator.journal.committer import Answer, Arrival, Frames, Made, Request, encode, frame, message_of

decode = msgspec.msgpack.Decoder(list[Answer]).decode


class FakeJournal:
    """Remembers the size of each batch, fails if it is told to, and holds every commit until it may go on."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.errors: list[Exception | None] = []
        self.committing = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.closed = False

    def append(self, messages: Sequence[Message]) -> list[Appended]:
        self.batches.append(len(messages))
        self.committing.release()
        assert self.may_go_on.wait(30)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return [Appended(message.message_id, duplicate=False) for message in messages]

    def close(self) -> None:
        self.closed = True


class Door:
    """The door's end of the pipes."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._frames = Frames()
        self._hung_up = False

    def send(self, requests: Iterable[Request]) -> None:
        data = b"".join(frame(encode(request)) for request in requests)
        assert os.write(self._target, data) == len(data)

    def hang_up(self) -> None:
        if not self._hung_up:
            self._hung_up = True
            os.close(self._target)

    def answers(self, count: int) -> list[Answer]:
        """The next answers, at least so many of them."""
        found: list[Answer] = []
        while len(found) < count:
            data = os.read(self._source, 1 << 20)
            assert data, "the committer ended without answering"
            for payload in self._frames.feed(data):
                found += decode(payload)
        return found

    def remainder(self) -> bytes:
        """What is left to read once the committer has ended."""
        found = b""
        while data := os.read(self._source, 1 << 20):
            found += data
        return found


@contextmanager
def committing(url: str) -> Iterator[Door]:
    """A committer in a thread, which ends, as the process would, when the door hangs up."""
    requests, into = os.pipe()
    out_of, answers = os.pipe()

    def run() -> None:
        try:
            committer.run(url, lock_wait=5, source=requests, target=answers)
        finally:
            os.close(answers)

    thread = threading.Thread(target=run)
    thread.start()
    door = Door(out_of, into)
    try:
        yield door
    finally:
        door.hang_up()
        thread.join(30)
        assert not thread.is_alive()
        os.close(requests)
        os.close(out_of)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeJournal:
    fake = FakeJournal()
    monkeypatch.setattr(committer, "Journal", lambda database: fake)
    return fake


@pytest.fixture
def nowhere(tmp_path: Any) -> str:
    """The URL of a database that nobody asks anything of."""
    return f"sqlite:///{tmp_path / 'nothing.db'}"


def arrival(number: int, **members: Any) -> Arrival:
    values: dict[str, Any] = {
        "endpoint": "default",
        "mode": "live",
        "dialect": ARTICLE,
        "signed_by": "5ec2e7",
        "headers": [("user-agent", "vendor/1")],
        "body": b'{"id": "evt_%d"}' % number,
        "received_at": 1_795_000_000_000_000,
    }
    return Arrival(**(values | members))


def request(number: int) -> Request:
    return Request(number, arrival(number))


def stored(url: str) -> list[str | None]:
    """Event ids in the journal's order."""
    with closing(Database(url, connections=1)) as database, database.read() as connection:
        return list(connection.execute(sa.select(table.c.event_id).order_by(table.c.seq)).scalars())


def test_a_lone_webhook_is_committed_alone(fake: FakeJournal, nowhere: str) -> None:
    fake.may_go_on.set()
    with committing(nowhere) as door:
        door.send([request(1)])

        assert [answer.number for answer in door.answers(1)] == [1]
        assert fake.batches == [1]


def test_what_arrives_during_a_commit_makes_the_next_one(fake: FakeJournal, nowhere: str) -> None:
    with committing(nowhere) as door:
        door.send([request(0)])
        fake.committing.acquire(timeout=30)
        for number in range(1, 101):
            door.send([request(number)])
        fake.may_go_on.set()

        answers = door.answers(101)

    assert fake.batches == [1, 100]
    assert [answer.number for answer in answers] == list(range(101))


def test_a_flood_is_committed_in_bounded_batches(
    fake: FakeJournal, nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "MAX_BATCH", 3)
    fake.may_go_on.set()
    with committing(nowhere) as door:
        door.send(request(number) for number in range(8))

        assert [answer.number for answer in door.answers(8)] == list(range(8))

    assert fake.batches == [3, 3, 2]


def test_nobody_is_answered_before_the_commit(fake: FakeJournal, nowhere: str) -> None:
    with committing(nowhere) as door:
        door.send([request(1)])
        fake.committing.acquire(timeout=30)
        os.set_blocking(door._source, False)
        with pytest.raises(BlockingIOError):
            door.answers(1)
        os.set_blocking(door._source, True)

        fake.may_go_on.set()

        assert door.answers(1) == [Answer(1, message_of(arrival(1)).message_id, False)]


def test_a_commit_that_fails_is_told_to_all_and_the_next_one_works(fake: FakeJournal, nowhere: str) -> None:
    fake.may_go_on.set()
    fake.errors = [sa.exc.OperationalError("INSERT", None, Exception("disk full"))]
    with committing(nowhere) as door:
        door.send([request(1), request(2), request(3)])
        assert [(answer.number, answer.duplicate) for answer in door.answers(3)] == [(1, None), (2, None), (3, None)]

        door.send([request(4), request(1)])
        assert [(answer.number, answer.duplicate) for answer in door.answers(2)] == [(4, False), (1, False)]

    assert fake.batches == [3, 2]  # and not one by one, as if it were the messages' fault


def test_a_value_that_no_database_can_hold_is_tried_alone(fake: FakeJournal, nowhere: str) -> None:
    fake.may_go_on.set()
    bad = sa.exc.DataError("INSERT", None, Exception("bad"))
    fake.errors = [bad, None, bad, None]
    with committing(nowhere) as door:
        door.send([request(1), request(2), request(3)])

        assert [(answer.number, answer.duplicate) for answer in door.answers(3)] == [(1, False), (2, None), (3, False)]

    assert fake.batches == [3, 1, 1, 1]


def test_everything_that_was_handed_over_is_stored_before_it_ends(fake: FakeJournal, nowhere: str) -> None:
    with committing(nowhere) as door:
        door.send([request(1)])
        fake.committing.acquire(timeout=30)
        door.send([request(2), request(3)])
        door.hang_up()
        fake.may_go_on.set()

        assert [answer.number for answer in door.answers(3)] == [1, 2, 3]
        assert door.remainder() == b""

    assert fake.closed


def test_half_a_message_is_not_a_message(fake: FakeJournal, nowhere: str) -> None:
    """The door died while it wrote."""
    fake.may_go_on.set()
    with committing(nowhere) as door:
        door.send([request(1)])
        door.answers(1)
        os.write(door._target, frame(encode(request(2)))[:-1])
        door.hang_up()

        assert door.remainder() == b""

    assert fake.batches == [1]


def test_a_message_in_pieces_is_put_together(fake: FakeJournal, nowhere: str) -> None:
    fake.may_go_on.set()
    with committing(nowhere) as door:
        for byte in frame(encode(request(1))):
            os.write(door._target, bytes([byte]))

        assert [answer.number for answer in door.answers(1)] == [1]


def test_duplicates_are_known_across_batches_and_processes(migrated_url: str) -> None:
    for expected in ([False, False, True], [True, True, True]):
        with committing(migrated_url) as door:
            door.send([Request(1, arrival(1)), Request(2, arrival(2)), Request(3, arrival(1))])
            answers = door.answers(3)
        assert [answer.duplicate for answer in answers] == expected
        assert answers[0].message_id == answers[2].message_id == message_of(arrival(1)).message_id

    assert stored(migrated_url) == ["evt_1", "evt_2"]


def test_the_order_of_arrival_is_the_order_of_the_journal(migrated_url: str) -> None:
    with committing(migrated_url) as door:
        for number in range(30):
            door.send([request(number)])
        door.answers(30)

    assert stored(migrated_url) == [f"evt_{number}" for number in range(30)]


def test_a_bad_message_does_not_take_the_others_with_it(migrated_url: str) -> None:
    bad = replace(message_of(arrival(2)), received_at=2**63)
    with committing(migrated_url) as door:
        door.send([Request(1, arrival(1)), Request(2, Made(bad)), Request(3, arrival(3))])

        assert [(answer.number, answer.duplicate) for answer in door.answers(3)] == [(1, False), (2, None), (3, False)]

        door.send([Request(4, arrival(4))])
        assert door.answers(1)[0].duplicate is False

    assert stored(migrated_url) == ["evt_1", "evt_3", "evt_4"]


def test_a_database_that_is_blocked_and_comes_back_is_used_again(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as other, committing(migrated_url) as door:
        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE inbox RENAME TO away")
        door.send([request(1)])
        assert [answer.duplicate for answer in door.answers(1)] == [None]

        with other.write() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO inbox")
        door.send([request(1)])
        assert [answer.duplicate for answer in door.answers(1)] == [False]


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"\xff\xfe", b"[" * 100_000, b'{"id":"\\ud800"}', b'{"id":"\\u0000"}', b'{"id":1e999}'],
    ids=["nothing", "null", "no text", "deep", "surrogate", "null character", "infinite"],
)
def test_there_is_no_body_that_cannot_be_kept(migrated_url: str, body: bytes) -> None:
    with committing(migrated_url) as door:
        door.send([Request(1, arrival(1, body=body)), request(2)])

        assert [answer.duplicate for answer in door.answers(2)] == [False, False]

    with closing(Database(migrated_url, connections=1)) as database, database.read() as connection:
        assert connection.execute(sa.select(table.c.body).order_by(table.c.seq)).scalars().first() == body


def test_a_webhook_becomes_a_message_with_all_that_was_seen_of_it() -> None:
    message = message_of(arrival(1))

    assert message.kind == "webhook"
    assert (message.endpoint, message.mode, message.dialect) == ("default", "live", ARTICLE)
    assert message.event_id == "evt_1"
    assert message.body == b'{"id": "evt_1"}'
    assert msgspec.json.decode(message.headers) == {"user-agent": "vendor/1", "signed_by": "5ec2e7"}
    assert msgspec.json.decode(message.actor) == {"kind": "vendor", "name": "tokportal"}
    assert message.received_at == 1_795_000_000_000_000


def test_when_and_how_a_webhook_came_does_not_make_it_another_message() -> None:
    again = arrival(1, received_at=1, headers=[], signed_by="another", endpoint="videos")

    assert message_of(again).message_id == message_of(arrival(1)).message_id


def test_who_asks_for_nothing_gets_no_answer(migrated_url: str) -> None:
    with closing(Database(migrated_url, connections=1)) as database, closing(Journal(database)) as journal:
        assert committer.store(journal, []) == []
