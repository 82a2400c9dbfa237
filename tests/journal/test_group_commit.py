"""Group commit: what the door hands over is committed by a process of its own, many messages at once."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import journal as journal_table
from orchestrator.dialects import ARTICLE
from orchestrator.journal import Appended, Journal, Message
from orchestrator.journal.committer import Arrival, Frames, Made, Request, encode, frame, message_of, store
from orchestrator.journal.group_commit import GroupCommit, JournalFullError, JournalUnavailableError

COMMITTER = "import os; from orchestrator.journal.committer import run; run(os.environ['URL'], lock_wait=1)"

SLOW = """
import os, sys, msgspec
from orchestrator.journal.committer import Answer, Frames, Request, encode, frame
decode = msgspec.msgpack.Decoder(Request).decode
frames, batches = Frames(), []
os.write(1, frame(encode([])))
while data := os.read(0, 1 << 20):
    batch = [decode(payload) for payload in frames.feed(data)]
    batches.append(len(batch))
    open(os.environ["GO"] + ".taken", "w").close()
    while not os.path.exists(os.environ["GO"]):
        pass
    os.write(1, frame(encode([Answer(request.number, f"msg_{len(batches)}", False) for request in batch])))
"""
"""A committer that answers once the file GO is there, naming the batch that a message was in. It says by GO.taken
that it has one."""

DYING = "import os; os.read(0, 1 << 20); os._exit(3)"
FAILING = SLOW.replace("False)", "None)")


def arrival(number: int, **members: object) -> Arrival:
    body = b'{"id": "evt_%d"}' % number
    values = {"endpoint": "default", "mode": "live", "dialect": ARTICLE, "signed_by": "0" * 8} | members
    return Arrival(headers=[("user-agent", "vendor")], body=body, received_at=1, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def committing(program: str, capacity: int = 4096, **environment: str) -> AsyncIterator[GroupCommit]:
    commit = GroupCommit([sys.executable, "-c", program], environment, capacity=capacity)
    commit.start(asyncio.get_running_loop())
    try:
        yield commit
    finally:
        await commit.stop()


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0)


async def gather(commit: GroupCommit, arrivals: Sequence[Arrival | Message]) -> list[Appended]:
    return await asyncio.gather(*(commit.append(one, 30) for one in arrivals))


def count(url: str) -> int:
    database = Database(url, connections=1)
    with database.read() as connection:
        rows: int = connection.execute(sa.select(sa.func.count()).select_from(journal_table)).scalar_one()
    database.close()
    return rows


def test_many_webhooks_are_stored_and_each_is_told_its_fate(migrated_url: str) -> None:
    async def main() -> None:
        async with committing(COMMITTER, URL=migrated_url) as commit:
            first = await gather(commit, [arrival(number) for number in range(200)])
            again = await gather(commit, [arrival(number) for number in range(200)])
        assert not any(one.duplicate for one in first)
        assert all(one.duplicate for one in again)
        assert [one.message_id for one in first] == [one.message_id for one in again]

    asyncio.run(main())
    assert count(migrated_url) == 200


def test_messages_made_elsewhere_are_stored_as_they_are(migrated_url: str) -> None:
    message = message_of(arrival(1))

    async def main() -> Appended:
        async with committing(COMMITTER, URL=migrated_url) as commit:
            return await commit.append(message, 30)

    assert asyncio.run(main()) == Appended(message.message_id, duplicate=False)


def test_what_arrives_during_a_commit_makes_the_next_one(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def main() -> list[Appended]:
        async with committing(SLOW, GO=str(go)) as commit:
            first = asyncio.create_task(commit.append(arrival(0), 30))
            await until((tmp_path / "go.taken").exists)
            others = asyncio.create_task(gather(commit, [arrival(number) for number in range(1, 51)]))
            await until(lambda: commit.waiting == 51 and not commit._outgoing)
            assert not first.done()
            go.touch()
            return [await first, *await others]

    assert [one.message_id for one in asyncio.run(main())] == ["msg_1", *["msg_2"] * 50]


def test_full_journal_refuses_at_once(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def main() -> None:
        async with committing(SLOW, capacity=2, GO=str(go)) as commit:
            waiting = asyncio.create_task(gather(commit, [arrival(1), arrival(2)]))
            await until(lambda: commit.waiting == 2)
            with pytest.raises(JournalFullError):
                await commit.append(arrival(3), 30)
            await until(lambda: commit._process is not None)
            assert commit.trouble() == "the journal's queue is full"
            go.touch()
            await waiting
            assert commit.trouble() is None

    asyncio.run(main())


def test_whoever_waits_too_long_is_told_that_nothing_is_known(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def main() -> None:
        async with committing(SLOW, GO=str(go)) as commit:
            with pytest.raises(JournalUnavailableError):
                await commit.append(arrival(1), 0)
            assert commit.waiting == 0
            go.touch()

    asyncio.run(main())


def test_commit_that_lands_later_makes_the_redelivery_a_duplicate(migrated_url: str) -> None:
    async def main() -> Appended:
        async with committing(COMMITTER, URL=migrated_url) as commit:
            with pytest.raises(JournalUnavailableError):
                await commit.append(arrival(1), 0)
            return await commit.append(arrival(1), 30)

    assert asyncio.run(main()).duplicate


def test_failed_commit_is_told_and_remembered_as_trouble(tmp_path: Path) -> None:
    (tmp_path / "go").touch()

    async def main() -> None:
        async with committing(FAILING, GO=str(tmp_path / "go")) as commit:
            with pytest.raises(JournalUnavailableError):
                await commit.append(arrival(1), 30)
            assert commit.trouble() == "the last commit failed"

    asyncio.run(main())


def test_death_of_the_process_is_told_and_it_is_started_again(
    monkeypatch: pytest.MonkeyPatch, migrated_url: str
) -> None:
    async def main() -> Appended:
        async with committing(DYING, URL=migrated_url) as commit:
            with pytest.raises(JournalUnavailableError):
                await commit.append(arrival(1), 30)
            assert commit.trouble() == "the committing process is not running"
            commit._command = [sys.executable, "-c", COMMITTER]
            return await commit.append(arrival(1), 30)

    assert not asyncio.run(main()).duplicate


def test_stop_stores_what_was_handed_over(migrated_url: str) -> None:
    async def main() -> list[Appended]:
        async with committing(COMMITTER, URL=migrated_url) as commit:
            await commit.append(arrival(0), 30)
            waiting = asyncio.create_task(gather(commit, [arrival(number) for number in range(1, 40)]))
            await until(lambda: commit.waiting == 39)
        return await waiting

    assert len(asyncio.run(main())) == 39
    assert count(migrated_url) == 40


def test_value_that_the_database_refuses_does_not_take_the_others_with_it(migrated_url: str) -> None:
    database = Database(migrated_url, connections=1)
    journal = Journal(database)
    good, other = message_of(arrival(1)), message_of(arrival(2))
    bad = Message(*(getattr(message_of(arrival(3)), name) for name in Message.__slots__[:-2]), "\ud800", 1)  # type: ignore[call-arg]
    answers = store(journal, [(1, good), (2, bad), (3, other)])
    journal.close()
    database.close()
    assert [(answer.number, answer.duplicate) for answer in answers] == [(1, False), (2, None), (3, False)]


def test_test_endpoints_have_event_ids_of_their_own() -> None:
    ids = {
        message_of(arrival(1)).message_id,
        message_of(arrival(1, endpoint="videos")).message_id,
        message_of(arrival(1, endpoint="try", mode="test")).message_id,
        message_of(arrival(1, endpoint="try2", mode="test")).message_id,
    }
    assert len(ids) == 3


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
def test_frames_survive_any_cut(size: int) -> None:
    payloads = [b"", b"a", os.urandom(300), b"b" * 70_000]
    stream = b"".join(frame(payload) for payload in payloads)
    frames = Frames()
    found = [payload for start in range(0, len(stream), size) for payload in frames.feed(stream[start : start + size])]
    assert found == payloads


def test_requests_name_what_they_carry() -> None:
    import msgspec

    decode = msgspec.msgpack.Decoder(Request).decode
    for what in (arrival(1), Made(message_of(arrival(1)))):
        assert decode(encode(Request(7, what))) == Request(7, what)
