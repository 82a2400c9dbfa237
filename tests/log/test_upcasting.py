"""Stored events of every past version are read as what they would be today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent
from eventsourcing.utils import register_topic

from orchestrator.api.queries.events import events_after
from orchestrator.database import Database
from orchestrator.domain.decisions import OURS, Ours
from orchestrator.domain.facts import KINDS, Fact
from orchestrator.log import EventLog, EventMapper, current, note, recorded_at, step
from orchestrator.log.mapper import TOPICS
from orchestrator.log.upcasting import EVOLVED, FutureVersionError, learn, version_of
from tests.audit.logs import Log
from tests.log import examples

EXAMPLES = examples.all_examples()


def test_there_is_a_stored_example_of_every_event() -> None:
    assert not examples.missing(), f"add an example of what is stored: {examples.COMMAND}"


def test_there_are_examples_of_every_past_version() -> None:
    there = {(example["topic"], version) for version, example in EXAMPLES}
    for topic, kind in TOPICS.items():
        for version in range(1, version_of(kind)):
            assert (topic, version) in there or (topic, 1) not in there, f"{topic} has lost its version {version}"


def test_no_event_is_forgotten() -> None:
    assert {example["topic"] for _, example in EXAMPLES} <= set(TOPICS), (
        "logs hold events that nobody knows any more: keep the class, or register its topic for its successor"
    )


@pytest.mark.parametrize(
    ("version", "example"), EXAMPLES, ids=[f"{example['topic']}-v{version}" for version, example in EXAMPLES]
)
def test_every_stored_event_can_be_read(version: int, example: examples.Example) -> None:
    mapper, kind = EventMapper(), TOPICS[example["topic"]]
    stored = StoredEvent(
        example["originator_id"], example["originator_version"], example["topic"], example["state"].encode()
    )

    event = mapper.to_domain_event(stored)

    assert type(event) is kind
    assert set(vars(event)) == {field.name for field in fields(kind)}, (
        "the class has other fields than its stored events: raise its class_version, say how to upcast, "
        f"and run {examples.COMMAND}"
    )
    assert event == mapper.to_domain_event(mapper.to_stored_event(event))
    if version == version_of(kind):
        assert mapper.to_stored_event(event) == stored
    assert recorded_at(stored.state) == event.timestamp
    if example["topic"] in KINDS:
        remembered = note(example["topic"], stored.state)
        assert remembered is not None
        if isinstance(event, Fact):
            assert remembered == event.note()
    if example["topic"] in OURS:
        assert isinstance(event, Ours) and step(example["topic"], stored.state) == event.step()


# A class that went through three versions.

TOPIC = "ShelfFilled"


@dataclass(frozen=True)
class ShelfFilled(Ours):
    """First `data` had `n`; then `count`; then the class got the field `shelf`."""

    TOPIC = TOPIC
    class_version = 3

    shelf: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["data"]["count"] = state["data"].pop("n")

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["shelf"] = state["data"].pop("shelf", "unknown")


register_topic(TOPIC, ShelfFilled)


def stored(version: int, **more: Any) -> StoredEvent:
    state: dict[str, Any] = {
        "timestamp": "2026-11-20T12:00:00Z",
        "message_id": "msg_1",
        "reason": "why not",
        "actor": {"kind": "person", "name": "ann"},
        "policy": None,
        "answers": None,
        "data": {1: {"n": 7}, 2: {"count": 7, "shelf": "top"}, 3: {"count": 7}}[version],
        **({"shelf": "top"} if version == 3 else {}),
        **({"class_version": version} if version > 1 else {}),
        **more,
    }
    return StoredEvent("shelf:1", version, TOPIC, json.dumps(state).encode())


@pytest.fixture
def evolved(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(OURS, TOPIC, ShelfFilled)
    learn(TOPIC, ShelfFilled)
    yield
    del EVOLVED[TOPIC]


@pytest.mark.parametrize(("version", "shelf"), [(1, "unknown"), (2, "top"), (3, "top")])
def test_each_version_is_read_as_the_newest(evolved: None, version: int, shelf: str) -> None:
    event = EventMapper().to_domain_event(stored(version))
    assert isinstance(event, ShelfFilled)
    assert (event.shelf, event.data) == (shelf, {"count": 7})
    assert "class_version" not in vars(event)
    seen = step(TOPIC, stored(version).state)
    assert seen is not None and seen == event.step() and seen.detail == {"count": 7, "reason": "why not"}


def test_what_is_written_names_its_version(evolved: None) -> None:
    mapper = EventMapper()
    again = mapper.to_stored_event(mapper.to_domain_event(stored(1)))
    assert json.loads(again.state)["class_version"] == 3
    assert current(TOPIC, stored(1).state) == current(TOPIC, current(TOPIC, stored(1).state))
    assert json.loads(current(TOPIC, stored(1).state)) == json.loads(again.state)


def test_events_of_the_first_version_are_stored_without_one() -> None:
    assert not [topic for topic, kind in TOPICS.items() if version_of(kind) < 1]
    for version, example in EXAMPLES:
        assert json.loads(example["state"]).get("class_version", 1) == version


def test_an_event_of_a_newer_program_is_an_error(evolved: None) -> None:
    with pytest.raises(FutureVersionError, match="is of version 4, and this program knows versions up to 3"):
        EventMapper().to_domain_event(stored(3, class_version=4))
    with pytest.raises(FutureVersionError, match="BundlePaused is of version 2"):
        state = json.loads(stored(1).state) | {"class_version": 2}
        EventMapper().event("bundle:b", 1, "BundlePaused", json.dumps(state).encode())


def test_every_reader_of_the_log_sees_the_newest_and_the_chain_what_is_stored(
    evolved: None, migrated_url: str, tmp_path: Path
) -> None:
    with closing(Database(migrated_url, connections=3)) as database:
        log = Log(database, tmp_path / "audit")
        log.tell_a_story()
        head = log.value("SELECT max(notification_id) FROM events")
        with database.write() as connection:
            EventLog(database).append(connection, [stored(version) for version in (1, 2, 3)])
        store = EventLog(database)
        with database.read() as connection:
            read = [row.state for row in store.after(connection, head, 10)]
            assert [row.state for row in store.of(connection, ["shelf:1"])["shelf:1"]] == read
            items = events_after(connection, head, 10)
        assert [json.loads(state)["data"] for state in read] == [{"count": 7}] * 3
        assert [item["data"] for item in items] == [{"count": 7}] * 3
        assert [one.state for one in store.select_events("shelf:1")] == read
        assert [one.state for one in store.select_notifications(head + 1, 10)] == read
        assert log.value("SELECT state FROM events WHERE notification_id = :p", p=head + 1) == stored(1).state
        log.engine.forget()
        assert log.engine.step()  # What came past it is chained, as it is stored.
        assert {(f.kind, f.what) for f in log.verify().findings} == {("inserted", "batch")}
