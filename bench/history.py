"""The past: how long it takes to show things as they were, and how fast a journal is run again.

`python -m bench.history URL` runs it again once, in a process of its own, so that its memory can be told."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from multiprocessing import active_children
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from eventsourcing.persistence import StoredEvent

from bench import measure
from bench.long_log import BEGAN, long_log, write_log
from orchestrator.api.queries import as_of
from orchestrator.api.queries.moments import Moment
from orchestrator.database import Database
from orchestrator.domain.bundle import Bundle
from orchestrator.log import EventLog
from orchestrator.replay import replay
from orchestrator.replay.rerun import BATCH
from orchestrator.worker import tune_collector
from projections import Follower

BIG = "bdl_of_a_thousand"
NOW = datetime(2100, 1, 1, tzinfo=UTC)
MOMENTS = (0.1, 0.5, 0.9, 1.0)
"""Shares of the log."""
TIMES = 15
REPLAYED = 770_000
"""Messages: they give about a million events."""

Question = Callable[[sa.Connection, Moment], Any]
QUESTIONS: dict[str, Question] = {
    "a bundle with 1,000 events": lambda c, at: as_of.bundle_item(c, at, BIG),
    "a page of 50 bundles": lambda c, at: as_of.list_bundles(c, at),
    "a page of 50 videos": lambda c, at: as_of.list_videos(c, at),
    "a later page of 50 videos": lambda c, at: as_of.list_videos(c, at, cursor=_middle(c, at)),
    "50 bundles of a country": lambda c, at: as_of.list_bundles(c, at, country="FR"),
    "videos of a bundle": lambda c, at: as_of.list_videos(c, at, bundle_id="bdl_000002"),
    "50 videos of a country": lambda c, at: as_of.list_videos(c, at, country="FR"),
    "videos that had failed": lambda c, at: as_of.list_videos(c, at, state="failed"),
    "videos given up: none": lambda c, at: as_of.list_videos(c, at, state="abandoned"),
    "videos being uploaded": lambda c, at: as_of.list_videos(c, at, state="uploading"),
}
SLOW = {"videos being uploaded"}
"""Everything has to be looked at: asked for once."""


class Replayed(NamedTuple):
    """Messages per second of the engine, when they came, and of the replay; megabytes that its two processes grew to,
    together."""

    engine: float
    replay: float
    memory: int


def _middle(connection: sa.Connection, at: Moment) -> str | None:
    """A cursor that goes on in the middle of the videos."""
    from orchestrator.api import cursors

    return cursors.encode("videos", [f"vid_{25_000:032x}"])


def prepare(url: str, events: int, aggregates: int) -> None:
    """A long log with its read models, and one bundle with a thousand events in it."""
    with closing(Database(url, connections=2, statement_timeout=600)) as database:
        write_log(database, _with_a_big_bundle(long_log(events, aggregates)))
        follower = Follower(database)
        while follower.step():
            pass
        if not database.is_sqlite:
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                # As the server does by itself once so much was inserted.
                connection.exec_driver_sql("VACUUM ANALYZE")


def _with_a_big_bundle(log: Iterator[StoredEvent]) -> Iterator[StoredEvent]:
    """Spread over the first million events, so that a tenth of them is in the first tenth."""
    version = 0
    for number, event in enumerate(log):
        yield event
        if number % 1_000 == 10 and version < 1_000:
            version += 1
            at = (BEGAN + timedelta(milliseconds=700 * number)).isoformat()
            common = {"timestamp": msgspec.json.decode(event.state)["timestamp"], "message_id": "msg_big"}
            if version == 1:
                state = {**common, "originator_topic": "Bundle", "bundle_id": BIG}
                yield StoredEvent(Bundle.key(BIG), version, "BundleRegistered", msgspec.json.encode(state))
                continue
            state = {
                **common,
                "occurred_at": at,
                "event_id": f"evt_big_{version}",
                "dialect": "2026-05-25",
                "bundle_id": BIG,
                "account": "acc_big",
                "country": "FR",
                "platform": "tiktok",
                "data": {"username": "big"},
            }
            topic = ("WarmingStarted", "WarmingCompleted", "TermVerified")[version % 3]
            yield StoredEvent(Bundle.key(BIG), version, topic, msgspec.json.encode(state))


def ask(url: str) -> dict[str, dict[float, float]]:
    """Milliseconds, the median of several: by question and moment, a share of the log."""
    found: dict[str, dict[float, float]] = {name: {} for name in QUESTIONS}
    with closing(Database(url, connections=1, statement_timeout=600)) as database, database.read() as connection:
        head = EventLog(database).head(connection)
        for name, question in QUESTIONS.items():
            for share in MOMENTS:
                moment = Moment(int(head * share), NOW)
                question(connection, moment)
                times = []
                for _ in range(1 if name in SLOW else TIMES):
                    began = time.monotonic()
                    question(connection, moment)
                    times.append(time.monotonic() - began)
                found[name][share] = statistics.median(times) * 1000
    return found


def again(url: str, messages: int) -> Replayed:
    """Takes so many messages, and runs them again, in a process of its own."""
    measure.fill(url, messages)
    _, rate = measure.engine_rate(url)
    command = [sys.executable, "-m", "bench.history", url]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    return Replayed(rate, **msgspec.json.decode(told))


def main(url: str) -> None:
    tune_collector()
    memory = 0

    def look(done: int, of: int) -> None:
        nonlocal memory
        if done % 10_000 < BATCH:
            memory = max(memory, sum(_megabytes(pid) for pid in (os.getpid(), *_children())))

    with closing(Database(url, connections=3)) as database:
        began = time.monotonic()
        report = replay(database, progress=look)
        seconds = time.monotonic() - began
    if report.count:
        raise SystemExit(f"history did not repeat itself: {report.differences[0]}")
    sys.stdout.buffer.write(msgspec.json.encode({"replay": report.messages / seconds, "memory": memory}))


def _children() -> list[int]:
    return [child.pid for child in active_children() if child.pid is not None]


def _megabytes(pid: int) -> int:
    """The most that the process ever had in memory. (`getrusage` counts what its parent had.)"""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main(sys.argv[1])
