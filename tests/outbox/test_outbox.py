"""What is to be told to TokPortal and to people, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import outbox as table
from orchestrator.outbox import Command, Move, Outbox
from orchestrator.outbox.outbox import DEAD, DISCARDED, DONE, HELD, MOST_TOGETHER, PENDING, RUNNING, UNKNOWN

NOW = 1_000_000


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    with closing(Database(migrated_url, connections=2)) as database:
        yield database


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)


def command(name: str, bundle: str | None = "b1", video: str | None = None, **more: Any) -> Command:
    usual: dict[str, Any] = {
        "kind": "look_up_slot",
        "campaign_id": None,
        "country": "US",
        "platform": "tiktok",
        "body": {"of": name},
        "idempotency_key": name,
        "price": None,
        "status": PENDING,
        "reason": None,
        "not_before": 0,
        "created_at": 0,
        "message_id": "msg_1",
    }
    return Command(command_id=name, bundle_id=bundle, video_id=video or f"of {name}", **{**usual, **more})


def add(database: Database, *commands: Command) -> None:
    with database.write() as connection:
        Outbox(database).add(connection, commands)


def change(database: Database, name: str, status: str, *of: str) -> None:
    with database.write() as connection:
        Outbox(database).change(connection, [Move(name, status, "because", of)])


def ready(database: Database, limit: int = 50, now: int = NOW) -> list[str]:
    with database.read() as connection:
        return [found.command_id for found in Outbox(database).ready(connection, now, limit)]


def under_way(database: Database, now: int = NOW) -> list[str]:
    with database.read() as connection:
        return [found.command_id for found in Outbox(database).under_way(connection, now)]


def row(database: Database, name: str) -> Any:
    with database.read() as connection:
        return connection.execute(sa.select(table).where(table.c.command_id == name)).one()


def test_what_was_added_is_found_as_it_was(database: Database, outbox: Outbox) -> None:
    one = command("one", reason="so", price=15, idempotency_key="key", not_before=7, created_at=5)
    add(database, one)

    with database.read() as connection:
        assert outbox.find(connection, ["one", "none"]) == {"one": one}


def test_to_decide_the_same_again_adds_nothing(database: Database) -> None:
    add(database, command("one"), command("two"))
    change(database, "one", DONE, PENDING)
    add(database, command("one", body={"of": "somebody else"}), command("three"))

    assert row(database, "one").status == DONE
    assert row(database, "one").body == '{"of":"one"}'
    with database.read() as connection:
        assert list(connection.execute(sa.select(table.c.command_id).order_by(table.c.seq)).scalars()) == [
            "one",
            "two",
            "three",
        ]


def test_a_command_moves_only_from_where_it_was_thought_to_be(database: Database) -> None:
    add(database, command("one"))
    change(database, "one", DISCARDED, HELD, UNKNOWN)
    assert row(database, "one").status == PENDING
    change(database, "one", HELD, HELD, PENDING)
    assert (row(database, "one").status, row(database, "one").reason) == (HELD, "because")


# What may be sent next.


def test_the_oldest_is_the_next_and_of_each_bundle_there_is_one(database: Database) -> None:
    add(database, command("a1", "a"), command("a2", "a"), command("b1", "b"), command("a3", "a"), command("c1", "c"))

    assert ready(database) == ["a1", "b1", "c1"]
    assert ready(database, limit=2) == ["a1", "b1"]


def test_the_most_urgent_is_the_next_and_is_so_on_its_bundle_too(database: Database) -> None:
    add(database, command("a1", "a"), command("a2", "a", urgency=0), command("b1", "b"), command("c1", "c", urgency=0))

    assert ready(database) == ["a2", "c1", "b1"]


def test_videos_that_are_next_on_a_bundle_go_together_until_something_else_is(database: Database) -> None:
    """So that one call hands all of them over."""
    handover = {"kind": "configure_video"}
    add(
        database,
        command("a1", "a", **handover),
        command("a2", "a", **handover),
        command("look", "a"),
        command("a3", "a", **handover),
        command("first look", "b"),
        command("b1", "b", **handover),
    )
    assert ready(database) == ["a1", "a2", "first look"]


def test_no_more_videos_go_together_than_one_call_takes(database: Database) -> None:
    many = MOST_TOGETHER + 5
    add(database, *(command(f"a{number}", "a", kind="configure_video") for number in range(many)))

    assert len(ready(database, limit=many)) == MOST_TOGETHER


def test_a_bundle_with_a_thousand_commands_leaves_room_for_the_others(database: Database) -> None:
    add(database, *(command(f"a{number}", "a") for number in range(1_000)), command("b1", "b"))

    assert ready(database, limit=10) == ["a0", "b1"]


@pytest.mark.parametrize("status", [RUNNING, UNKNOWN])
def test_nothing_overtakes_what_is_being_done_or_is_in_doubt_on_the_bundle(database: Database, status: str) -> None:
    add(database, command("a1", "a"), command("a2", "a"), command("b1", "b"))
    change(database, "a1", status, PENDING)

    assert ready(database) == ["b1"]


@pytest.mark.parametrize("status", [DONE, DEAD, DISCARDED, HELD])
def test_what_is_settled_or_held_holds_up_no_other_video(database: Database, status: str) -> None:
    add(database, command("a1", "a"), command("a2", "a"))
    change(database, "a1", status, PENDING)

    assert ready(database) == ["a2"]


def test_what_is_not_due_yet_holds_up_no_other_video(database: Database) -> None:
    add(database, command("later", "a", not_before=NOW + 1), command("now", "a", not_before=NOW))

    assert ready(database) == ["now"]
    assert ready(database, now=NOW + 1) == ["later"]


@pytest.mark.parametrize("status", [PENDING, HELD])
def test_of_one_video_on_one_bundle_nothing_is_said_before_what_was_decided_earlier(
    database: Database, status: str
) -> None:
    """To unschedule it late would undo the newer try."""
    add(
        database,
        command("unschedule", "a", "v1", kind="unschedule_video", not_before=NOW + 1, status=status),
        command("again", "a", "v1"),
        command("elsewhere", "b", "v1"),
    )
    assert ready(database) == ["elsewhere"]

    change(database, "unschedule", DISCARDED, status)
    assert ready(database) == ["again", "elsewhere"]


def test_alerts_neither_are_commands_nor_hold_any_up(database: Database) -> None:
    add(database, command("alert", "a", "v1", kind="alert"), command("a1", "a", "v1"))

    assert ready(database) == ["a1"]


def test_what_is_about_no_bundle_waits_for_nobody(database: Database) -> None:
    add(database, command("one", None), command("two", None))

    assert ready(database) == ["one", "two"]


# What is under way.


def test_under_way_is_what_was_let_go_and_what_is_to_be_looked_up(database: Database, outbox: Outbox) -> None:
    add(database, *(command(name, name) for name in ("let go", "in doubt", "in doubt, later", "waits")))
    change(database, "let go", RUNNING, PENDING)
    change(database, "in doubt", UNKNOWN, PENDING)
    change(database, "in doubt, later", UNKNOWN, PENDING)
    with database.write() as connection:
        outbox.put_off(connection, "in doubt, later", NOW + 1, None)

    assert under_way(database) == ["let go", "in doubt"]
    assert under_way(database, now=NOW + 1) == ["let go", "in doubt", "in doubt, later"]


def test_while_one_of_a_bundle_is_in_doubt_no_other_is_carried_out_there(database: Database, outbox: Outbox) -> None:
    """It may still take effect, in the very slot that the other one found free."""
    add(database, command("first", "a"), command("second", "a"))
    change(database, "first", RUNNING, PENDING)
    change(database, "second", RUNNING, PENDING)
    assert under_way(database) == ["first", "second"]

    with database.write() as connection:
        outbox.count_attempt(connection, "first")
    assert under_way(database) == ["first"]

    change(database, "first", UNKNOWN, RUNNING)
    with database.write() as connection:
        outbox.put_off(connection, "first", NOW + 1, None)
    assert under_way(database) == []

    change(database, "first", DONE, UNKNOWN)
    assert under_way(database) == ["second"]


def test_an_attempt_is_in_doubt_until_it_is_known_to_have_come_to_nothing(database: Database, outbox: Outbox) -> None:
    add(database, command("one"))

    def in_doubt() -> bool:
        with database.read() as connection:
            return outbox.find(connection, ["one"])["one"].is_in_doubt

    assert not in_doubt()
    with database.write() as connection:
        outbox.count_attempt(connection, "one")
    assert in_doubt()
    with database.write() as connection:
        outbox.put_off(connection, "one", NOW, "503")
    assert not in_doubt()
    change(database, "one", UNKNOWN, PENDING)
    assert in_doubt()


# Trying again.


def test_what_was_dead_is_looked_up_first_and_gets_a_new_key(database: Database, outbox: Outbox) -> None:
    """TokPortal answers a key that it knows with what it said before."""
    add(database, command("one"))
    with database.write() as connection:
        outbox.count_attempt(connection, "one")
        outbox.put_off(connection, "one", NOW + 1, "refused")
    change(database, "one", DEAD, PENDING)
    change(database, "one", PENDING, DEAD)

    found = row(database, "one")
    assert (found.idempotency_key, found.last_error, found.not_before) == ("one.1", None, 0)
    assert ready(database) == ["one"]


def test_what_is_in_doubt_keeps_its_key(database: Database, outbox: Outbox) -> None:
    add(database, command("one"))
    with database.write() as connection:
        outbox.count_attempt(connection, "one")
        outbox.put_off(connection, "one", NOW + 1, None)
    change(database, "one", UNKNOWN, PENDING)
    change(database, "one", PENDING, UNKNOWN)

    found = row(database, "one")
    assert (found.idempotency_key, found.attempts, found.not_before) == ("one", 1, 0)


def test_what_is_held_is_read_in_pages(database: Database, outbox: Outbox) -> None:
    add(database, *(command(f"c{number}", status=HELD if number % 2 else PENDING) for number in range(10)))
    seen: list[str] = []
    after = 0
    with database.read() as connection:
        while page := outbox.held(connection, after, 2):
            seen += [found.command_id for _, found in page]
            after = page[-1][0]
    assert seen == ["c1", "c3", "c5", "c7", "c9"]
