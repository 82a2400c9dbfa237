"""The journal run again gives the same events; where it does not, it is said where, and by whom they were written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.database import Database
from orchestrator.database.tables import events, inbox, journal, marks, programs
from orchestrator.engine import Engine, aggregates
from orchestrator.engine import programs as programs_
from orchestrator.engine.programs import Program, this_program
from orchestrator.journal.commands import order
from orchestrator.log import EventLog
from orchestrator.replay import Difference, ahead, replay, stores
from tests.brain.stage import Make, Stage, campaign, microseconds
from tests.simulation.world import World

NOT_OURS = Program("0.0.9", "f" * 64)


def told(stage: Stage) -> None:
    """A short story with facts, decisions, timers and answers, in two countries."""
    stage.warm("b1", "b2")
    stage.warm("f1", country="FR")
    stage.campaign(campaign(refs=("one", "two"), targets="[{country: US, platform: tiktok, accounts: 1}]"))
    stage.send_all()
    stage.article("bundle.banned", "b1")
    stage.send_all()
    stage.wait(days=3)


def change(database: Database, topic: str, edit: Callable[[dict[str, Any]], None]) -> int:
    """Somebody changes the first event of this topic past the engine; its position."""
    with database.write() as connection:
        query = sa.select(events).where(events.c.topic == topic).order_by(events.c.notification_id).limit(1)
        row = connection.execute(query).one()
        state = msgspec.json.decode(row.state)
        edit(state)
        connection.execute(
            events.update()
            .where(events.c.notification_id == row.notification_id)
            .values(state=msgspec.json.encode(state))
        )
    return int(row.notification_id)


def only(found: list[Difference]) -> Difference:
    assert len(found) == 1, found
    return found[0]


def message_of(database: Database, position: int) -> str:
    query = (
        sa.select(journal.c.message_id)
        .join(marks, marks.c.seq == journal.c.seq)
        .where(marks.c.first_position <= position, marks.c.first_position + marks.c.events > position)
    )
    with database.read() as connection:
        return str(connection.execute(query).scalar_one())


@pytest.mark.parametrize("seed", [2, 5, 20])
def test_a_world_repeats_itself_in_batches_of_any_size(database: Database, seed: int) -> None:
    world = World(database, seed)
    try:
        world.run(40)
    finally:
        world.close()
    with database.read() as connection:
        head = EventLog(database).head(connection)
        taken = connection.execute(sa.select(sa.func.count()).select_from(marks)).scalar_one()
    for batch in (1, 7, 500):
        report = replay(database, batch=batch)
        assert (report.messages, report.compared, report.differences) == (taken, head, [])
    with database.read() as connection:
        assert EventLog(database).head(connection) == head


def test_what_no_longer_fits_in_memory_is_found_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make(reads=True)
    told(stage)
    monkeypatch.setattr(aggregates, "KEPT", 1)
    monkeypatch.setattr(stores, "HOT", 2)
    assert replay(stage.database, batch=3).differences == []
    change(stage.database, "VideoPlanned", lambda state: state["data"].update(target_day="2026-12-01"))
    assert only(replay(stage.database, batch=3).differences).events[0].event == "VideoPlanned"


def test_reading_ahead_in_another_process_finds_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make(reads=True)
    told(stage)
    late = stage.article("bundle.ready", "b9", at=stage.now + timedelta(hours=2))
    stage.wait(hours=2)
    stage.article("bundle.created", "b9")
    stage.order({"command": "retry", "message_id": late, "reason": None})
    whole = replay(stage.database)
    monkeypatch.setattr(ahead, "LONG", 1)
    monkeypatch.setattr(ahead, "PAGE", 3)
    for batch in (1, 500):
        report = replay(stage.database, batch=batch)
        assert (report.messages, report.compared, report.differences) == (whole.messages, whole.compared, [])
    assert replay(stage.database, last=3).compared == 3
    at = change(stage.database, "BundleReady", lambda state: state.update(country="FR"))
    assert only(replay(stage.database).differences).position == at


def test_a_changed_event_is_found_with_the_message_that_gave_it(make: Make) -> None:
    stage = make()
    told(stage)
    at = change(stage.database, "BundleReady", lambda state: state.update(country="FR"))
    report = replay(stage.database)
    difference = only(report.differences)
    assert (difference.position, difference.message_id) == (at, message_of(stage.database, at))
    assert (difference.kind, difference.program, difference.is_error) == ("webhook", this_program(), True)
    event = difference.events[0]
    assert (event.how, event.event, event.position, event.fields) == (
        "changed",
        "BundleReady",
        at,
        (("country", "FR", "US"),),
    )
    assert (report.count, report.errors) == (1, 1)
    assert difference.as_dict()["events"][0]["fields"] == [{"field": "country", "was": "FR", "is": "US"}]


def test_what_cannot_even_be_read_is_found(make: Make) -> None:
    stage = make()
    told(stage)
    with stage.database.write() as connection:
        connection.execute(events.update().where(events.c.topic == "BundleReady").values(state=b'{"timestamp":'))
    assert {event.event for d in replay(stage.database).differences for event in d.events} == {"BundleReady"}


def test_a_removed_event_and_a_lost_end_are_found(make: Make) -> None:
    stage = make()
    told(stage)
    with stage.database.write() as connection:
        ready = connection.execute(
            sa.select(events.c.notification_id).where(events.c.topic == "BundleReady").limit(1)
        ).scalar_one()
        last = EventLog(stage.database).head(connection)
        connection.execute(events.delete().where(events.c.notification_id.in_([ready, last])))
    found = replay(stage.database).differences
    assert [event.how for difference in found for event in difference.events] == ["additional", "additional"]
    assert found[0].position < last
    assert found[1].position == last


def test_events_that_no_message_gave_are_found(make: Make) -> None:
    stage = make()
    told(stage)
    with stage.database.write() as connection:
        row = connection.execute(sa.select(events).order_by(events.c.notification_id.desc()).limit(1)).one()
        values = {**row._mapping, "notification_id": row.notification_id + 1, "originator_version": 999}
        connection.execute(events.insert().values(values))
    difference = only(replay(stage.database).differences)
    assert (difference.position, difference.events[0].how) == (row.notification_id + 1, "missing")


def test_what_another_program_wrote_is_no_error(make: Make) -> None:
    stage = make()
    told(stage)
    change(stage.database, "BundleReady", lambda state: state.update(country="FR"))
    with stage.database.write() as connection:
        connection.execute(programs.update().values(version=NOT_OURS.version, fingerprint=NOT_OURS.fingerprint))
    report = replay(stage.database)
    assert (report.errors, report.by_program) == (0, {NOT_OURS: 1})
    with stage.database.write() as connection:
        connection.execute(programs.delete())
    report = replay(stage.database)
    assert (report.errors, report.by_program) == (0, {None: 1})


def test_only_a_stretch_or_a_country_counts(make: Make) -> None:
    stage = make()
    told(stage)
    in_france = []

    def spoil(state: dict[str, Any]) -> None:
        state["event_id"] = "evt_x"

    at = change(stage.database, "BundleReady", spoil)
    with stage.database.write() as connection:
        row = connection.execute(
            sa.select(events).where(events.c.originator_id == "bundle:f1", events.c.topic == "BundleReady")
        ).one()
        in_france.append(row.notification_id)
        state = msgspec.json.decode(row.state) | {"event_id": "evt_y"}
        connection.execute(
            events.update()
            .where(events.c.notification_id == row.notification_id)
            .values(state=msgspec.json.encode(state))
        )
    whole = replay(stage.database)
    assert [difference.position for difference in whole.differences] == [at, *in_france]
    assert only(replay(stage.database, first=at + 1).differences).position == in_france[0]
    early = replay(stage.database, last=at)
    assert (only(early.differences).position, early.compared) == (at, at)
    french = replay(stage.database, country="FR")
    assert only(french.differences).position == in_france[0]
    assert 4 <= french.compared < whole.compared
    assert replay(stage.database, country="JP").compared == 0


@pytest.mark.parametrize("others_between", [0, 2])
def test_a_message_that_was_applied_again_is_no_difference(make: Make, others_between: int) -> None:
    stage = make()
    stage.article("bundle.created", "b1")
    late = stage.article("bundle.ready", "b1", at=stage.now + timedelta(hours=2))
    assert stage.status(late)[0] == "quarantined"
    stage.wait(hours=2)
    for number in range(others_between):
        stage.article("bundle.created", f"c{number}")
    stage.order({"command": "retry", "message_id": late, "reason": None})
    assert stage.status(late)[0] == "applied"
    stage.order({"command": "retry", "message_id": late, "reason": None})
    stage.article("bundle.warming_started", "b1")
    for batch in (1, 500):
        assert replay(stage.database, batch=batch).differences == []


def test_conflicts_and_unknown_events_are_no_differences(make: Make) -> None:
    stage = make()
    stage.article("bundle.created", "b1", event_id="evt_1")
    other = stage.article("bundle.ready", "b1", event_id="evt_1")
    unknown = stage.article("bundle.danced", "b1", event_id="evt_2")
    taken = stage.article("bundle.ready", "b1", event_id="evt_2")
    assert [stage.status(name)[0] for name in (other, unknown, taken)] == ["conflict", "unrecognised", "conflict"]
    for batch in (1, 500):
        assert replay(stage.database, batch=batch).differences == []


def test_a_message_that_cannot_be_applied_does_not_change_the_others(make: Make) -> None:
    stage = make()
    told(stage)
    broken = order({"command": "video.retry"}, endpoint="test", name="ann", received_at=microseconds(stage.now))
    stage.append(broken)
    stage.article("bundle.created", "b9", run=False)
    stage.run()
    assert stage.status(broken.message_id)[0] == "quarantined"
    for batch in (1, 500):
        assert replay(stage.database, batch=batch).differences == []


def test_messages_that_are_still_to_be_taken_are_not_run(make: Make) -> None:
    stage = make()
    told(stage)
    stage.article("bundle.created", "b9", run=False)
    assert replay(stage.database).differences == []
    with stage.database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one() == 1


def test_work_that_nothing_leaves_any_more_is_told(make: Make) -> None:
    stage = make()
    told(stage)
    with stage.database.write() as connection:
        row = connection.execute(sa.select(journal).where(journal.c.kind == "work").limit(1)).one()
        connection.execute(journal.update().where(journal.c.seq == row.seq).values(message_id="msg_" + "0" * 32))
    notes = [difference.note for difference in replay(stage.database).differences]
    assert any(note is not None and "nothing leaves it any more" in note for note in notes)
    assert any(note is not None and "history has none of it" in note for note in notes)


def test_an_empty_journal_repeats_itself(database: Database) -> None:
    report = replay(database)
    assert (report.messages, report.compared, report.differences) == (0, 0, [])


# Which program wrote what.


def stretches(database: Database) -> list[tuple[int, str, str]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(sa.select(programs).order_by(programs.c.since))]


def test_a_program_signs_where_it_begins_to_write(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make()
    ours = this_program()
    assert stretches(stage.database) == [(1, *ours)]
    stage.engine = Engine(stage.database)
    stage.article("bundle.created", "b1")
    assert stretches(stage.database) == [(1, *ours)]
    with stage.database.read() as connection:
        head = EventLog(stage.database).head(connection)
    monkeypatch.setattr(programs_, "this_program", lambda: NOT_OURS)
    stage.engine = Engine(stage.database)
    stage.article("bundle.ready", "b1")
    stage.article("bundle.warming_started", "b1")
    assert stretches(stage.database) == [(1, *ours), (head + 1, *NOT_OURS)]


def test_a_message_without_events_signs_nothing(make: Make) -> None:
    stage = make(policies=None, mode=None)
    stage.article("bundle.danced", "b1")
    assert stretches(stage.database) == []


def test_the_fingerprint_is_that_of_the_code_that_decides() -> None:
    assert len(this_program().fingerprint) == 64
    assert this_program() is this_program()
    assert str(Program("1.2.3", "abcdef" * 10)) == "1.2.3 (abcdefabcdef)"
