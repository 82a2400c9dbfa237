"""Histories that were saved: journals, and the events that they gave.

A change of the program that gives other events is then a decision, and never an accident: `python -m tests.histories`
writes them anew, and the difference shows in what is committed.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.database import Database, migrate
from orchestrator.database.tables import events, journal, marks, outbox
from orchestrator.engine import programs
from tests.brain.stage import Stage, campaign
from tests.simulation.world import World

FOLDER = Path(__file__).parent
SEEDS = (3, 7, 11, 1_003)
STEPS = 60
TABLES: Mapping[str, sa.Table] = {"journal": journal, "marks": marks, "events": events}
"""What a history consists of. Of the outbox only the places matter, where big work goes on."""


def spring(database: Database) -> None:
    """Accounts warm up, a campaign starts, a video fails and moves on, an account is banned, a person cancels."""
    stage = Stage(database, reads=True)
    try:
        for bundle in ("bdl_us_1", "bdl_us_2", "bdl_us_3"):
            stage.article("bundle.created", bundle)
            stage.article("bundle.ready", bundle)
        stage.send_all()
        for bundle in ("bdl_us_1", "bdl_us_2", "bdl_us_3"):
            stage.wait(hours=3)
            stage.article("bundle.warming_started", bundle, mode="advanced")
        stage.wait(days=5)
        for bundle in ("bdl_us_1", "bdl_us_2", "bdl_us_3"):
            stage.article("bundle.warming_completed", bundle)
        spec = stage.campaign(campaign(refs=("teaser-1", "teaser-2", "teaser-3")))
        videos = stage.video_ids(spec)
        stage.send_all()
        stage.wait(days=3)
        stage.article("video.upload_started", "bdl_us_1", video_id=videos[0])
        failure = {"error_code": "network_timeout", "message": "lost", "retry": {"will_retry": False}}
        stage.article("video.post_failed", "bdl_us_1", video_id=videos[0], **failure)
        stage.send_all()
        stage.article("bundle.banned", "bdl_us_2", reason="spam")
        stage.send_all()
        stage.order({"command": "video.cancel", "video_id": videos[2], "reason": "off topic"})
        stage.wait(days=2)
        stage.article("video.posted", "bdl_us_3", video_id=videos[0], url="https://example.com/1")
        stage.article("bundle.created", "bdl_us_1", event_id="evt_odd", platform="myspace")
        stage.wait(days=9)
    finally:
        stage.close()


def new_policies(database: Database) -> None:
    """Policies change under way, a market is paused and resumed, and a message is applied again after a fix."""
    stage = Stage(database, reads=True)
    try:
        stage.warm("bdl_fr_1", "bdl_fr_2", country="FR")
        targets = "[{country: FR, platform: tiktok, accounts: 2}]"
        stage.campaign(campaign(refs=("a", "b", "c", "d"), targets=targets))
        stage.send_all()
        stage.policies("version: 1\ndefaults: {posting: {per_day: 1}, ban: {then: hold}}\n")
        stage.order({"command": "market.pause", "country": "FR", "platform": None})
        stage.wait(days=1)
        stage.policies("version: 1\ndefaults: {posting: {per_dya: 1}}\n")
        stage.order({"command": "market.resume", "country": "FR", "platform": None})
        stage.send_all()
        late = stage.article("bundle.banned", "bdl_fr_1", country="FR", at=stage.now + timedelta(hours=2))
        assert stage.status(late)[0] == "quarantined"
        stage.wait(hours=3)
        stage.order({"command": "retry", "message_id": late, "reason": "its clock was ahead"})
        assert stage.status(late)[0] == "applied"
        stage.wait(days=12)
    finally:
        stage.close()


def seeded(seed: int) -> Callable[[Database], None]:
    def run(database: Database) -> None:
        world = World(database, seed)
        try:
            world.run(STEPS)
        finally:
            world.close()

    return run


STORIES: Mapping[str, Callable[[Database], None]] = {
    "spring": spring,
    "new-policies": new_policies,
    **{f"seed-{seed}": seeded(seed) for seed in SEEDS},
}


def rewrite(names: Sequence[str] = ()) -> None:
    """Writes the histories anew, by what the program does now."""
    with empty_databases() as make:
        for name in names or STORIES:
            with closing(make()) as database:
                STORIES[name](database)
                path = FOLDER / f"{name}.json.gz"
                path.write_bytes(gzip.compress(json.dumps(told(database), ensure_ascii=False).encode(), mtime=0))
                print(f"{path.name}: {path.stat().st_size:,} bytes")


def told(database: Database) -> dict[str, Any]:
    """The history in a database."""
    found: dict[str, Any] = {"program": str(programs.this_program())}
    with database.read() as connection:
        for name, table in TABLES.items():
            key = table.c.notification_id if name == "events" else table.c.seq
            found[name] = [
                [_plain(value) for value in row] for row in connection.execute(sa.select(table).order_by(key))
            ]
        query = sa.select(outbox.c.command_id, outbox.c.seq, outbox.c.kind).order_by(outbox.c.seq)
        found["outbox"] = [list(row) for row in connection.execute(query)]
    return found


def load(database: Database, path: Path) -> None:
    """Puts a saved history into an empty database."""
    found = json.loads(gzip.decompress(path.read_bytes()))
    with database.write() as connection:
        for name, table in TABLES.items():
            rows = [dict(zip(table.c.keys(), map(_kept, row), strict=True)) for row in found[name]]
            connection.execute(table.insert(), rows)
        nothing = {column.name: None for column in outbox.c} | {
            "body": "{}", "status": "done", "attempts": 0, "not_before": 0, "created_at": 0, "message_id": "",
        }  # fmt: skip
        rows = [
            nothing | {"command_id": name, "seq": seq, "kind": kind, "urgency": 1}
            for name, seq, kind in found["outbox"]
        ]
        if rows:
            connection.execute(outbox.insert(), rows)


def _plain(value: Any) -> Any:
    return {"bytes": _readable(value)} if isinstance(value, bytes) else value


def _readable(value: bytes) -> str:
    """Text where it is some, so that a difference can be read."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "base64:" + b64encode(value).decode()


def _kept(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    text: str = value["bytes"]
    return b64decode(text.removeprefix("base64:")) if text.startswith("base64:") else text.encode()


@contextmanager
def empty_databases() -> Iterator[Callable[[], Database]]:
    """Makes empty SQLite databases, in memory where there is a place for that."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        empty = Path(folder) / "empty.db"
        migrate(f"sqlite:///{empty}")
        with closing(Database(f"sqlite:///{empty}", connections=1)) as made, made.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        count = 0

        def make() -> Database:
            nonlocal count
            count += 1
            path = Path(folder) / f"{count}.db"
            shutil.copyfile(empty, path)
            return Database(f"sqlite:///{path}", connections=6)

        yield make
