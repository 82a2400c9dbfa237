"""The audit: what the chain costs the engine, and how fast a log is verified."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from bench import measure
from bench.stage import BACKENDS, Databases
from orchestrator.audit.keys import SigningKey
from orchestrator.audit.verify import verify
from orchestrator.database import Database
from orchestrator.log import Chain
from orchestrator.secrets import Secret

EVENTS = 1_000_000
EVENTS_PER_AGGREGATE = 20


def run(sources: dict[str, Databases], rounds: int, messages: int) -> None:
    print(
        f"\nAudit: {EVENTS:,} events with as many messages; the chain's share of the engine, median of {rounds} turns"
    )
    print(f"{'':14}{'verified/s':>12}{'chained/s':>12}{'memory MB':>11}{'engine msg/s':>14}{'of it chain':>13}")
    for backend in BACKENDS:
        chained, verified, memory = verify_rate(sources[backend].new(), EVENTS)
        turns = [chain_cost(sources[backend].new(), messages) for _ in range(rounds)]
        rate, share = (statistics.median(figures) for figures in zip(*turns, strict=True))
        line = f"{backend:14}{verified:>12,.0f}{chained:>12,.0f}{memory:>11,.0f}{rate:>14,.0f}{share:>13.1%}"
        print(line, flush=True)


def chain_cost(url: str, messages: int) -> tuple[float, float]:
    """The engine's messages per second, and the share of its time that it spent on the chain."""
    spent = 0.0
    append = Chain.append

    def timed(self: Chain, *arguments: Any) -> None:
        nonlocal spent
        began = time.perf_counter()
        append(self, *arguments)
        spent += time.perf_counter() - began

    measure.fill(url, messages)
    Chain.append = timed  # type: ignore[method-assign]
    try:
        taken, rate = measure.engine_rate(url)
    finally:
        Chain.append = append  # type: ignore[method-assign]
    return rate, spent * rate / taken


def verify_rate(url: str, events: int) -> tuple[float, float, float]:
    """Of a log with as many messages as events: events per second that are chained afterwards, events per second that
    are verified, and the megabytes of memory that this took at most, in which the database's own are not counted."""
    database = Database(url, connections=1, statement_timeout=0)
    try:
        write_log(database, events)
        chain = Chain(database)
        began = time.monotonic()
        while True:
            with database.read() as connection:
                if not chain.is_behind(connection, events, events):
                    break
            with database.write() as connection:
                chain.catch_up(connection)
        chained = events / (time.monotonic() - began)
        gc.collect()
        began = time.monotonic()
        report = verify(database, [SigningKey(Secret("5a" * 32)).public])
        verified = events / (time.monotonic() - began)
        if not report.is_clean or report.events != events:
            raise RuntimeError(f"the log is not what was written: {report.findings}")
        return chained, verified, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    finally:
        database.close()


def write_log(database: Database, events: int) -> None:
    """Rows as the engine would have written them, past the engine: a million of its own takes minutes."""
    body = msgspec.json.encode(
        {
            "id": "evt_0123456789abcdef",
            "event": "video.analytics_updated",
            "timestamp": "2026-11-20T12:00:00Z",
            "bundle_id": "bdl_00000",
            "platform": "tiktok",
            "country": "US",
            "data": {"video_id": "vid_0123456789", "views": 123456, "likes": 2345, "shares": 34, "comments": 56},
        }
    )
    state = msgspec.json.encode(
        {
            "timestamp": "2026-11-20T12:00:01.123456Z",
            "message_id": "msg_0123456789abcdef0123456789abcdef",
            "occurred_at": "2026-11-20T12:00:00Z",
            "event_id": "evt_0123456789abcdef",
            "dialect": "article",
            "bundle_id": "bdl_00000",
            "account": None,
            "country": "US",
            "platform": "tiktok",
            "data": {"video_id": "vid_0123456789", "views": 123456, "likes": 2345, "shares": 34, "comments": 56},
        }
    )

    def rows() -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]]:
        for n in range(1, events + 1):
            key = f"video:vid_{n % (events // EVENTS_PER_AGGREGATE or 1):08}"
            message_id = n.to_bytes(16, "big")
            yield (
                (n, key, n, "MetricsUpdated", state),
                (
                    n,
                    message_id,
                    "webhook",
                    "",
                    "live",
                    "article",
                    f"evt_{n}",
                    "given",
                    "0" * 64,
                    body,
                    "{}",
                    "{}",
                    n,
                    1,
                ),
                (n, n, "applied", None, n, 1, "article", f"evt_{n}", 0),
            )

    tables = {
        "events": "notification_id, originator_id, originator_version, topic, state",
        "journal": "seq, message_id, kind, endpoint, mode, dialect, event_id, id_source, digest, body, headers, "
        "actor, received_at, deliveries",
        "marks": "seq, applied_seq, status, reason, first_position, events, dialect, event_id, claim",
    }
    for index, (name, columns) in enumerate(tables.items()):
        with database.write() as connection:
            cursor: Any = connection.connection.cursor()
            values = (row[index] for row in rows())
            if database.is_sqlite:
                marks = ", ".join("?" * len(columns.split(",")))
                cursor.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", values)
            else:
                with cursor.copy(f"COPY {name} ({columns}) FROM STDIN") as copy:
                    for value in values:
                        copy.write_row(value)
            cursor.close()
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
