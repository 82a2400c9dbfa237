from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import pytest
import sqlalchemy as sa

from bench.audit import write_log
from orchestrator.audit.findings import Finding
from orchestrator.audit.verify import Reader, verify
from orchestrator.database import Database
from orchestrator.database.tables import events, journal, marks
from orchestrator.engine import Engine
from tests.audit.logs import OTHER_KEY, Log
from tests.projections.logs import article, webhook


def only(log: Log, **options: object) -> Finding:
    report = log.verify(**options)
    assert [finding.text for finding in report.findings][1:] == []
    return report.findings[0]


def test_a_log_that_nobody_touched_is_clean(log: Log) -> None:
    report = log.verify()

    assert report.is_clean and report.findings == []
    assert report.events == log.value("SELECT count(*) FROM events")
    assert report.messages == log.value("SELECT count(*) FROM marks")
    assert report.batches == log.value("SELECT count(*) FROM chain") > 5
    assert 0 < report.signed_position < report.position == log.value("SELECT max(notification_id) FROM events")
    assert report.checkpoints == 4  # Two of them, in the database and outside.


def test_an_empty_log_is_clean(log: Log) -> None:
    for table in ("events", "marks", "journal", "chain", "checkpoints"):
        log.execute(f"DELETE FROM {table}")
    assert log.verify(beside=False).is_clean


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("topic", "VideoPosted"),
        ("originator_id", "bundle:another"),
        ("originator_version", 4711),
        ("state", b'{"timestamp":"2026-11-21T12:00:00Z"}'),
        ("state", b"\xff\xfe"),
    ],
)
def test_a_changed_column_of_an_event_is_found(log: Log, column: str, value: object) -> None:
    log.execute(f"UPDATE events SET {column} = :value WHERE notification_id = 100", value=value)

    finding = only(log)

    assert (finding.kind, finding.what, finding.position) == ("changed", "event", 100)
    batch = log.value("SELECT batch FROM chain WHERE first_position <= 100 AND last_position >= 100")
    assert finding.batch == batch


@pytest.mark.parametrize("bit", [0, 3, 7])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_flipped_bit_of_an_event_is_found(log: Log, bit: int, place: float) -> None:
    state = bytearray(log.value("SELECT state FROM events WHERE notification_id = 33"))
    state[int(place * (len(state) - 1))] ^= 1 << bit
    log.execute("UPDATE events SET state = :state WHERE notification_id = 33", state=bytes(state))

    assert (only(log).kind, only(log).position) == ("changed", 33)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", b'{"id":"evt_1"}'),
        ("message_id", bytes(16)),
        ("kind", "work"),
        ("endpoint", "other"),
        ("mode", "test"),
        ("id_source", "derived"),
        ("digest", "0" * 64),
        ("headers", '{"user-agent":"x"}'),
        ("actor", '{"kind":"person","name":"eve"}'),
        ("received_at", 1),
    ],
)
def test_a_changed_column_of_a_message_is_found(log: Log, column: str, value: object) -> None:
    seq = log.value("SELECT seq FROM marks WHERE applied_seq = 50")
    log.execute(f"UPDATE journal SET {column} = :value WHERE seq = :seq", value=value, seq=seq)

    finding = only(log)

    assert (finding.kind, finding.what, finding.message, finding.seq) == ("changed", "message", 50, seq)
    assert ("its body is not the one" in finding.text) == (column in ("body", "digest"))


@pytest.mark.parametrize("column", ["dialect", "event_id"])
def test_a_changed_identity_of_a_message_is_found(log: Log, column: str) -> None:
    seq = log.value("SELECT seq FROM marks WHERE applied_seq = 50")
    log.execute(f"UPDATE journal SET {column} = 'x' WHERE seq = :seq", seq=seq)
    assert {finding.message for finding in log.verify().findings} == {50}


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "refused"), ("reason", "so"), ("first_position", 1), ("events", 77), ("event_id", "x"), ("claim", 9)],
)
def test_a_changed_mark_is_found(log: Log, column: str, value: object) -> None:
    log.execute(f"UPDATE marks SET {column} = :value WHERE applied_seq = 20", value=value)
    report = log.verify()
    assert not report.is_clean
    assert {finding.message for finding in report.findings} == {20}


def test_the_number_of_deliveries_may_change(log: Log) -> None:
    log.execute("UPDATE journal SET deliveries = 12")
    assert log.verify().is_clean


def test_a_removed_event_is_found(log: Log) -> None:
    log.execute("DELETE FROM events WHERE notification_id = 150")
    finding = only(log)
    assert (finding.kind, finding.position, finding.text) == ("removed", 150, "event 150 is gone")


def test_many_changes_are_found_one_by_one(log: Log) -> None:
    for position in (3, 90, 91, 200):
        log.execute("DELETE FROM events WHERE notification_id = :position", position=position)
    log.execute("UPDATE events SET topic = 'X' WHERE notification_id = 12")
    found = [(finding.kind, finding.position) for finding in log.verify().findings]
    assert found == [("removed", 3), ("changed", 12), ("removed", 90), ("removed", 91), ("removed", 200)]


def renumber(log: Log, after: int, by: int) -> None:
    """Moves all events behind a position."""
    log.execute("UPDATE events SET notification_id = -notification_id WHERE notification_id > :after", after=after)
    log.execute("UPDATE events SET notification_id = :by - notification_id WHERE notification_id < 0", by=by)


def test_an_event_that_was_inserted_between_others_is_found(log: Log) -> None:
    renumber(log, 119, +1)
    log.execute(
        "INSERT INTO events SELECT 120, 'bundle:x', 1, 'BundlePaused', state FROM events WHERE topic = 'BundlePaused'"
    )
    first, *rest = log.verify().findings
    assert (first.kind, first.what, first.position) == ("inserted", "event", 120)
    assert "renumbered" in first.text
    assert [(finding.kind, finding.what) for finding in rest] == [("inserted", "event")]  # One more than was chained.


def test_an_event_that_was_removed_with_the_others_moved_up_is_found(log: Log) -> None:
    log.execute("DELETE FROM events WHERE notification_id = 120")
    renumber(log, 120, -1)
    first, *rest = log.verify().findings
    assert (first.kind, first.what, first.position, rest) == ("removed", "event", 120, [])


def test_events_that_changed_places_are_found(log: Log) -> None:
    for statement in (
        "-1 WHERE notification_id = 101",
        "101 WHERE notification_id = 103",
        "103 WHERE notification_id = -1",
    ):
        log.execute(f"UPDATE events SET notification_id = {statement}")
    found = [(finding.kind, finding.position) for finding in log.verify().findings]
    assert found == [("reordered", 101), ("reordered", 103)]


def test_an_event_behind_the_end_is_found(log: Log) -> None:
    log.execute(
        "INSERT INTO events SELECT notification_id + 1000, 'x', 1, topic, state FROM events "
        "WHERE topic = 'BundlePaused'"
    )
    finding = only(log)
    assert (finding.kind, finding.what) == ("inserted", "event")


def test_a_removed_message_is_found(log: Log) -> None:
    seq = log.value("SELECT seq FROM marks WHERE applied_seq = 40")
    log.execute("DELETE FROM journal WHERE seq = :seq", seq=seq)
    finding = only(log)
    assert (finding.kind, finding.what, finding.message, finding.seq) == ("removed", "message", 40, seq)


def test_a_removed_mark_is_found(log: Log) -> None:
    log.execute("DELETE FROM marks WHERE applied_seq = 40")
    found = [(finding.kind, finding.what) for finding in log.verify().findings]
    assert found == [("removed", "message"), ("inserted", "journal")]  # Nobody takes that message any more.


def test_a_message_that_was_put_into_the_journal_is_found(log: Log) -> None:
    log.execute("UPDATE journal SET seq = seq + 10000 WHERE seq = 3")
    found = {(finding.kind, finding.what) for finding in log.verify().findings}
    assert ("inserted", "journal") in found


def test_a_message_that_is_gone_while_it_waited_is_found(log: Log) -> None:
    log.execute("INSERT INTO inbox (seq) VALUES (9999)")
    finding = only(log)
    assert (finding.kind, finding.what, finding.seq) == ("removed", "journal", 9999)


def test_a_cut_tail_is_found_by_what_stands_outside(log: Log) -> None:
    log.seal()
    batch = log.value("SELECT max(batch) FROM chain") - 2
    position = log.value("SELECT last_position FROM chain WHERE batch = :batch", batch=batch)
    applied = log.value("SELECT last_applied FROM chain WHERE batch = :batch", batch=batch)
    log.execute("DELETE FROM events WHERE notification_id > :position", position=position)
    log.execute("DELETE FROM journal WHERE seq IN (SELECT seq FROM marks WHERE applied_seq > :last)", last=applied)
    log.execute("DELETE FROM marks WHERE applied_seq > :applied", applied=applied)
    log.execute("DELETE FROM chain WHERE batch > :batch", batch=batch)
    log.execute("DELETE FROM checkpoints WHERE batch > :batch", batch=batch)

    assert log.verify(beside=False).is_clean  # Which is why there is an outside.
    finding = only(log)
    assert (finding.kind, finding.what, finding.batch) == ("cut", "checkpoint", batch + 2)


def test_the_engine_does_not_write_over_a_cut_tail(log: Log) -> None:
    log.execute("DELETE FROM events WHERE notification_id > 200")
    with pytest.raises(Exception, match="the log ends at position 200"):
        Engine(log.database).step()


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("digest", bytes(32), "chain"),
        ("tags", b"", "changed"),
        ("last_position", 1, None),
        ("first_applied", 1, None),
        ("kind", "other", None),
        ("kind", "backlog", None),
    ],
)
def test_a_changed_row_of_the_chain_is_found(log: Log, column: str, value: object, kind: str | None) -> None:
    log.execute(f"UPDATE chain SET {column} = :value WHERE batch = 6", value=value)
    report = log.verify()
    assert not report.is_clean
    assert 6 in {finding.batch for finding in report.findings}
    if kind is not None:
        assert report.findings[0].kind == kind


def test_changed_tags_alone_are_found(log: Log) -> None:
    tags = bytearray(log.value("SELECT tags FROM chain WHERE batch = 6"))
    tags[0] ^= 1
    log.execute("UPDATE chain SET tags = :tags WHERE batch = 6", tags=bytes(tags))
    finding = only(log)
    assert (finding.kind, finding.what, finding.batch) == ("changed", "batch", 6)


@pytest.mark.parametrize("batch", [1, 4])
def test_a_removed_row_of_the_chain_is_found(log: Log, batch: int) -> None:
    log.execute("DELETE FROM chain WHERE batch = :batch", batch=batch)
    assert (log.verify().findings[0].kind, log.verify().findings[0].batch) == ("removed", batch)


def rewrite_chain(log: Log) -> None:
    """As somebody would who knows how it is made, but not the key."""
    with log.database.write() as connection:
        connection.execute(sa.text("DELETE FROM chain"))
    engine = Engine(log.database)
    while engine.step():
        pass
    log.execute("UPDATE chain SET kind = 'backlog'")


def test_a_chain_that_was_written_anew_is_found_by_its_signatures(log: Log) -> None:
    log.execute("UPDATE events SET topic = 'X' WHERE notification_id = 100")
    rewrite_chain(log)
    assert not log.verify(beside=False).is_clean  # The checkpoints of the database itself.
    log.execute("DELETE FROM checkpoints")
    assert log.verify(beside=False).is_clean
    assert {finding.what for finding in log.verify().findings} == {"checkpoint"}


def test_a_checkpoint_of_another_key_is_found(log: Log) -> None:
    assert {finding.kind for finding in log.verify(keys=[OTHER_KEY]).findings} == {"signature"}


def test_a_changed_signature_is_found(log: Log) -> None:
    batch = log.value("SELECT min(batch) FROM checkpoints")
    log.execute("UPDATE checkpoints SET signature = :none WHERE batch = :batch", none=bytes(64), batch=batch)
    finding = only(log)
    assert (finding.kind, finding.batch) == ("signature", batch)
    assert "in the database has a bad signature" in finding.text


def test_a_changed_checkpoint_is_found(log: Log) -> None:
    log.execute("UPDATE checkpoints SET at = '2027-01-01T00:00:00Z'")
    assert {finding.kind for finding in log.verify().findings} == {"signature"}


def test_a_changed_file_outside_is_found(log: Log) -> None:
    lines = log.outside.log.read_bytes().splitlines(keepends=True)
    changed = json.loads(lines[0]) | {"position": 1}
    log.outside.log.write_bytes(json.dumps(changed).encode() + b"\n" + b"nonsense\n" + b"".join(lines[1:]))
    assert [finding.kind for finding in log.verify().findings] == ["signature", "unreadable"]


def test_a_log_outside_that_was_cut_is_found_by_its_head(log: Log) -> None:
    log.outside.log.write_bytes(b"")
    assert log.verify().is_clean  # The head is a checkpoint as well.
    log.execute("DELETE FROM checkpoints")
    log.execute("DELETE FROM chain WHERE batch > 3")
    assert "cut" in {finding.kind for finding in log.verify().findings}


def test_a_part_of_the_log_can_be_verified(log: Log) -> None:
    report = log.verify(first=100, until=150)
    assert report.is_clean
    assert report.first_position <= 100 and 150 <= report.position < 267
    log.execute("UPDATE events SET topic = 'X' WHERE notification_id IN (5, 120, 260)")
    assert [finding.position for finding in log.verify(first=100, until=150).findings] == [120]
    assert [finding.position for finding in log.verify(first=100).findings] == [120, 260]
    assert [finding.position for finding in log.verify(until=100).findings] == [5]


def test_positions_are_found_by_time(log: Log) -> None:
    with log.database.read() as connection:
        reader = Reader(log.database, connection)
        first = json.loads(connection.execute(sa.select(events.c.state).limit(1)).scalar_one())["timestamp"]
        moment = datetime.fromisoformat(first)
        assert reader.position_at(moment, before=True) == 0
        assert 0 < reader.position_at(moment) < reader.ends()[0]


def test_batches_of_any_size_and_pages_of_any_size_are_read(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = log.verify()
    for page, links in ((1, 1), (7, 2), (100_000, 3)):
        monkeypatch.setattr("orchestrator.audit.verify.PAGE", page)
        monkeypatch.setattr("orchestrator.audit.verify.LINKS", links)
        assert log.verify() == whole


# Messages that are applied again.


@pytest.fixture
def retried(log: Log) -> Iterator[Log]:
    """Two messages that could not be read were applied again, one of them twice."""
    bad = [webhook("article", {"id": f"evt_bad_{n}", "event": "bundle.ready", "timestamp": "soon"}) for n in range(3)]
    log.take(bad)
    for message in (bad[0], bad[1], bad[0]):
        log.order({"command": "retry", "message_id": message.message_id, "reason": "mended"})
    log.take([article(900, "bundle.ready", "b1")])
    yield log


def test_what_was_applied_again_is_part_of_the_chain(retried: Log) -> None:
    assert retried.value("SELECT count(*) FROM replaced_marks") == 3
    assert retried.verify().is_clean


@pytest.mark.parametrize("column", ["status", "reason", "first_position", "events", "claims"])
def test_what_had_become_of_it_before_cannot_be_changed(retried: Log, column: str) -> None:
    value = {"status": "applied", "reason": "x"}.get(column, 7)
    retried.execute(f"UPDATE replaced_marks SET {column} = :value WHERE number = 1", value=value)
    assert not retried.verify().is_clean


def test_what_has_become_of_it_now_cannot_be_changed(retried: Log) -> None:
    seq = retried.value("SELECT min(seq) FROM replaced_marks")
    retried.execute("UPDATE marks SET reason = 'another' WHERE seq = :seq", seq=seq)
    assert [finding.what for finding in retried.verify().findings] == ["retry"]


def test_that_it_was_applied_again_cannot_be_hidden(retried: Log) -> None:
    retried.execute("DELETE FROM replaced_marks")
    assert "retry" in {finding.what for finding in retried.verify().findings}


# Logs from before there was a chain.


def test_what_was_there_before_the_chain_is_chained_in_slices(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.execute("DELETE FROM checkpoints")
    log.execute("DELETE FROM chain")
    monkeypatch.setattr("orchestrator.log.chain.SLICE", 50)
    engine = Engine(log.database)

    assert engine.step() == engine.full
    assert log.value("SELECT max(last_position) FROM chain") == 50  # And a crash here goes on there.
    engine = Engine(log.database)
    while engine.step():
        pass

    report = log.verify(beside=False)
    assert report.is_clean and report.batches == 6
    assert "up to position 267 the log was chained after it was written" in report.notes[0]
    log.engine = Engine(log.database)
    log.take([article(901, "bundle.ready", "b1")])
    assert log.verify(beside=False).is_clean
    assert log.value("SELECT kind FROM chain WHERE batch = 7") == "batch"


def test_a_log_without_a_chain_is_said_to_be_one(log: Log) -> None:
    log.execute("DELETE FROM checkpoints")
    log.execute("DELETE FROM chain")
    finding = only(log, beside=False)
    assert (finding.kind, "not chained" in finding.text) == ("chain", True)


def test_what_is_written_past_the_engine_is_found_though_the_engine_chains_it(log: Log) -> None:
    log.execute("INSERT INTO events SELECT 268, 'bundle:x', 1, topic, state FROM events WHERE topic = 'BundlePaused'")
    engine = Engine(log.database)
    while engine.step():
        pass
    finding = only(log)
    assert (finding.kind, finding.what, finding.position) == ("inserted", "batch", 268)


def test_the_tables_that_are_covered(log: Log) -> None:
    """A new column is to be covered, or named here as one that changes."""
    covered = {
        "events": {"notification_id", "originator_id", "originator_version", "topic", "state"},
        "journal": {
            *("seq", "message_id", "kind", "endpoint", "mode", "dialect", "event_id", "id_source", "digest", "body"),
            *("headers", "actor", "received_at", "deliveries"),
        },
        "marks": {
            *("seq", "applied_seq", "status", "reason", "first_position", "events", "dialect", "event_id", "claim"),
        },
    }
    for table in (events, journal, marks):
        assert {column.name for column in table.columns} == covered[table.name]


def test_a_long_log(migrated_url: str) -> None:
    """Fifty thousand events, and as many messages."""
    with closing(Database(migrated_url, connections=2, statement_timeout=0)) as database:
        write_log(database, 50_000)
        engine = Engine(database)
        while engine.step():
            pass
        report = verify(database, [])
        assert report.is_clean and (report.events, report.messages) == (50_000, 50_000)
        with database.write() as connection:
            connection.execute(sa.text("UPDATE events SET originator_version = 1 WHERE notification_id = 31313"))
            connection.execute(sa.text("UPDATE journal SET actor = '{ }' WHERE seq = 44444"))
        found = verify(database, []).findings
        assert [(one.kind, one.position, one.message) for one in found] == [
            ("changed", 31_313, None),
            ("changed", None, 44_444),
        ]
