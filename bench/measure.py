"""The measurements, one function each."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import sqlalchemy as sa

from bench.stage import SECRET, Server
from orchestrator.briefing import brief
from orchestrator.clock import RealClock
from orchestrator.database import Database
from orchestrator.database.tables import inbox, journal, marks, projections
from orchestrator.dialects import ARTICLE, identify
from orchestrator.engine import Engine
from orchestrator.journal import Journal, Message, message_id_of
from orchestrator.log import EventLog
from orchestrator.simulate import Dialect, Figures, Prepared, World, drive, run, sign
from orchestrator.simulate.target import Target
from projections import Follower

CONNECTIONS = 64
CONFIG = Path(__file__).parent.parent / "config"


def requests(url: str, count: int, *, seed: int, bundles: int = 1000) -> list[Prepared]:
    """Signed webhooks of a plausible world, made before the clock starts."""
    start = datetime.now(UTC) - timedelta(milliseconds=count)
    world = World(Dialect.ARTICLE, start=start, bundles=bundles, seed=seed)
    target = Target.parse(url)
    prepared = []
    for _ in range(count):
        message = next(world)
        headers = sign(Dialect.ARTICLE, SECRET, message.body, time.time())
        prepared.append(Prepared(target.post(message.body, headers), message.event_id, message.type))
    return prepared


def acceptance(url: str, given: Sequence[Prepared]) -> Figures:
    """Sends all of `given` over 64 connections, each as fast as its answers come."""
    figures = run(drive(url, iter(given), CONNECTIONS))
    if figures.lost or set(figures.statuses) != {200}:
        raise RuntimeError(f"answers other than 200: {figures.as_dict()}")
    return figures


def drain(url: str) -> tuple[int, float]:
    """Waits until engine and projections have done all: how many messages were left, and the seconds it took."""
    database = Database(url, connections=1)
    try:
        left, began = None, time.monotonic()
        while True:
            with database.read() as connection:
                pending = connection.execute(sa.select(sa.func.count()).select_from(inbox)).scalar_one()
                head = EventLog(database).head(connection)
                position = connection.execute(sa.select(sa.func.min(projections.c.position))).scalar_one()
            if left is None:
                left = pending
            if pending == 0 and position == head:
                return left, time.monotonic() - began
            time.sleep(0.02)
    finally:
        database.close()


def fill(url: str, count: int, *, bundles: int = 1000) -> None:
    """Puts `count` messages into the journal, as the door would, after the policies that ship."""
    database = Database(url, connections=1)
    brief(database, "observe", CONFIG, RealClock(), {}.get, reads=False)
    store = Journal(database)
    start = datetime.now(UTC) - timedelta(milliseconds=count)
    world = World(Dialect.ARTICLE, start=start, bundles=bundles, seed=3)
    batch = []
    for number in range(count):
        body = next(world).body
        name = identify(ARTICLE, body)
        batch.append(
            Message(
                message_id_of(ARTICLE, name.event_id, name.digest),
                "webhook",
                "default",
                "live",
                ARTICLE,
                name.event_id,
                name.id_source,
                name.digest,
                body,
                "{}",
                "{}",
                time.time_ns() // 1000,
            )
        )
        if len(batch) == 500 or number == count - 1:
            store.append(batch)
            batch = []
    store.close()
    database.close()


def engine_rate(url: str) -> tuple[int, float]:
    """Messages taken until the inbox is empty, those that the engine left itself included, and messages per second."""
    database = Database(url, connections=2)
    engine = Engine(database)
    began = time.monotonic()
    while engine.step():
        pass
    seconds = time.monotonic() - began
    with database.read() as connection:
        taken: int = connection.execute(sa.select(sa.func.count()).select_from(marks)).scalar_one()
    database.close()
    return taken, taken / seconds


def projection_rate(url: str) -> tuple[int, float]:
    """Events followed from the start of the log to its head, and events per second."""
    database = Database(url, connections=2)
    follower = Follower(database)
    began, followed = time.monotonic(), 0
    while step := follower.step():
        followed += step
    seconds = time.monotonic() - began
    database.close()
    return followed, followed / seconds


def visibility(url: str, server: Server, *, rate: float, seconds: float) -> list[float]:
    """At `rate` webhooks per second: by webhook, the seconds from its being sent to its state being readable.

    A sampler notes when the read models reach which position; the journal tells each webhook's position.
    """
    given = requests(server.door, int(rate * seconds), seed=11)
    database = Database(url, connections=2)
    samples: list[tuple[int, float]] = []
    stop = Event()

    def sample() -> None:
        while not stop.is_set():
            with database.read() as connection:
                position = connection.execute(sa.select(sa.func.min(projections.c.position))).scalar_one()
            if not samples or samples[-1][0] != position:
                samples.append((position, time.time()))
            stop.wait(0.002)

    sampler = Thread(target=sample)
    sampler.start()
    sent: dict[str, float] = {}
    run(
        drive(
            server.door,
            iter(given),
            8,
            rate=rate,
            on_answer=lambda answer: sent.setdefault(answer.request.event_id, time.time() - answer.seconds),
        )
    )
    drain(url)
    stop.set()
    sampler.join()
    with database.read() as connection:
        rows = connection.execute(
            sa.select(journal.c.event_id, marks.c.first_position, marks.c.events).join_from(
                journal, marks, journal.c.seq == marks.c.seq
            )
        ).all()
    database.close()
    positions = [position for position, _ in samples]
    delays = []
    for event_id, first, events in rows:
        if event_id in sent and events:
            index = bisect_left(positions, first + events - 1)
            delays.append(samples[min(index, len(samples) - 1)][1] - sent[event_id])
    return sorted(delays)
