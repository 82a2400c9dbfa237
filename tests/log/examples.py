"""Writes stored examples of every event into `fixtures/events-vN.json`, N being the version of its class.

`python -m tests.log.examples` adds those that are missing and never touches one that is there: they are what the logs
of people hold, whatever the program becomes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eventsourcing.persistence import StoredEvent

from orchestrator.database import Database, migrate
from orchestrator.domain.facts import Fact
from orchestrator.log import EventLog, EventMapper
from orchestrator.log.mapper import TOPICS
from orchestrator.log.upcasting import version_of
from tests.simulation.world import World

FOLDER = Path(__file__).parent / "fixtures"
COMMAND = "python -m tests.log.examples"
SEEDS = 12
STEPS = 60
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

Example = dict[str, Any]
"""`topic`, `originator_id`, `originator_version`, and `state`, the text that is stored."""


def file_of(version: int) -> Path:
    return FOLDER / f"events-v{version}.json"


def read(version: int) -> list[Example]:
    path = file_of(version)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def all_examples() -> list[tuple[int, Example]]:
    """Every example with the version that its class had."""
    numbers = sorted(int(path.stem.removeprefix("events-v")) for path in FOLDER.glob("events-v*.json"))
    return [(number, example) for number in numbers for example in read(number)]


def missing() -> dict[str, int]:
    """Events, each with its version of today, of which there is no example."""
    there = {(example["topic"], version) for version, example in all_examples()}
    return {topic: version for topic, kind in TOPICS.items() if (topic, version := version_of(kind)) not in there}


def main() -> None:
    wanted = missing()
    if not wanted:
        return
    found = _lived(set(wanted))
    for topic in sorted(wanted):
        version = wanted[topic]
        stored = found.get(topic) or EventMapper().to_stored_event(_made_up(TOPICS[topic]))
        example = {
            "topic": topic,
            "originator_id": stored.originator_id,
            "originator_version": stored.originator_version,
            "state": stored.state.decode(),
        }
        examples = sorted([*read(version), example], key=lambda one: one["topic"])
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps(examples, indent=1, ensure_ascii=False)
        file_of(version).write_text(text + "\n", encoding="utf-8")
        print(f"{topic}: version {version}, {'as it was recorded' if topic in found else 'made up'}")


def _lived(topics: set[str]) -> dict[str, StoredEvent]:
    """The first of each that happens in simulated worlds, the longest of its world."""
    found: dict[str, StoredEvent] = {}
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        for seed in range(SEEDS):
            path = folder / f"{seed}.db"
            migrate(f"sqlite:///{path}")
            with closing(Database(f"sqlite:///{path}", connections=6)) as database:
                world = World(database, seed)
                world.run(STEPS)
                world.close()
                with database.read() as connection:
                    for row in EventLog(database).after(connection, 0, 1_000_000):
                        if row.topic in topics and (
                            row.topic not in found or len(found[row.topic].state) < len(row.state)
                        ):
                            found[row.topic] = StoredEvent(*row[1:])
            topics = topics - set(found)
    finally:
        shutil.rmtree(folder)
    return found


def _made_up(kind: type[Any]) -> Any:
    data: dict[str, Any] = {}
    if issubclass(kind, Fact):
        data = {name: f"{name} of it" for name in kind.keeps}
    samples: dict[str, Any] = {
        "originator_id": f"example:{kind.__name__}",
        "originator_version": 2,
        "timestamp": NOON,
        "message_id": "msg_0123456789abcdef0123456789abcdef",
        "occurred_at": NOON,
        "event_id": "evt_1",
        "dialect": "2026-05-25",
        "bundle_id": "bdl_1",
        "account": "acc_1",
        "saved_account_id": "acc_1",
        "campaign_id": "cmp_0123456789abcdef0123456789abcdef",
        "video_id": "vid_0123456789abcdef0123456789abcdef",
        "country": "US",
        "platform": "tiktok",
        "data": data,
        "reason": "because of it",
        "actor": {"kind": "person", "name": "ann"},
        "policy": "0" * 64,
        "answers": ["2026-11-20T12:00:00Z", 6, "evt_1", "article"],
        "originator_topic": kind.__qualname__.partition(".")[0],
    }
    event = object.__new__(kind)
    event.__dict__.update({field.name: samples[field.name] for field in fields(kind)})
    return event


if __name__ == "__main__":
    main()
