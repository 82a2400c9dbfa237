"""From a webhook to a message at a receiver: the engine, the outbox, the library, all real."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from orchestrator import logs
from orchestrator.alerts import Alerts, Channels
from orchestrator.alerts.delivery import Job, in_thread
from orchestrator.database import Database
from orchestrator.database.tables import alert_groups, events, outbox
from orchestrator.secrets import Secret
from tests.alerts.receiver import Receiver, receiving
from tests.brain.stage import POLICIES, Stage

CANARY = "canary7d1e5c"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that this process logs, at the most talkative level."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure("text", stream=stream, level=logging.DEBUG)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stage(migrated_url: str) -> Iterator[Stage]:
    with closing(Database(migrated_url, connections=3)) as database, closing(Stage(database)) as stage:
        yield stage


def run(alerts: Alerts) -> None:
    while alerts.step():
        pass


def started(stage: Stage, url: str | None) -> Alerts:
    variables = {"OPS_ALERT_URL": Secret(url)} if url is not None else {}
    channels = Channels(variables.get, allow_private=True)
    return Alerts(stage.database, channels, public_url="https://ops.example.com", run=lambda job: job())


def test_in_the_service_each_message_has_a_thread_of_its_own(stage: Stage, receiver: Receiver) -> None:
    threads: list[threading.Thread] = []

    def remembered(job: Job) -> None:
        threads.append(in_thread(job))

    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    channels = Channels({"OPS_ALERT_URL": Secret(receiver.url())}.get, allow_private=True)
    alerts = Alerts(stage.database, channels, run=remembered)
    receiver.gate.clear()
    run(alerts)
    assert [thread.is_alive() for thread in threads] == [True]
    receiver.gate.set()
    threads[0].join(5)
    run(alerts)
    assert receiver.titles == ["Banned · US tiktok"]
    assert {row["status"] for row in stage.commands(kind="alert") if row["body"]["alert"] == "banned"} == {"done"}


def test_a_wave_of_bans_is_one_message_with_links_and_its_end_another(
    stage: Stage, receiver: Receiver, log: io.StringIO
) -> None:
    names = [f"b{number}" for number in range(40)]
    stage.policies(POLICIES.replace("warming:", "ban: {breaker: {bans: 1000, within: 24h}}\n  warming:"))
    stage.warm(*names)
    for name in names:
        stage.article("bundle.banned", name, run=False)
    stage.run()
    alerts = started(stage, receiver.url(CANARY))
    run(alerts)

    (_, body), *others = receiver.requests
    assert others == []
    assert body["title"] == "Banned · US tiktok"
    assert "…and 39 more like it since" in body["message"]
    assert "https://ops.example.com/api/decisions?bundle_id=b39" in body["message"]
    for name in names:
        stage.order({"command": "bundle.reinstate", "bundle_id": name}, run=False)
    stage.run()
    run(alerts)
    assert receiver.titles[1] == "Resolved: banned · US tiktok"

    rows = [row for row in stage.commands(kind="alert") if row["body"]["alert"] == "banned"]
    assert {row["status"] for row in rows} == {"done"}
    with stage.database.read() as connection:
        stored = [
            json.dumps(list(map(str, row)))
            for table in (outbox, alert_groups, events)
            for row in connection.execute(sa.select(table))
        ]
    assert not any(CANARY in text for text in stored)
    assert "ALERT Banned" in log.getvalue()
    assert CANARY not in log.getvalue()


def test_what_a_receiver_answers_shows_no_secret_anywhere(stage: Stage, receiver: Receiver, log: io.StringIO) -> None:
    receiver.status = 500
    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    alerts = started(stage, receiver.url(f"{CANARY}?+Authorization={CANARY}"))
    run(alerts)

    (row,) = [row for row in stage.commands(kind="alert") if row["body"]["alert"] == "banned"]
    assert row["status"] == "pending"
    assert row["last_error"].startswith("ops: json://***: ") and "500" in row["last_error"]
    assert CANARY not in json.dumps(row) + log.getvalue()


def test_with_no_channel_set_the_log_has_it(stage: Stage, log: io.StringIO) -> None:
    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    alerts = started(stage, None)
    run(alerts)
    assert "the alert channel ops is not heard: OPS_ALERT_URL is not set" in log.getvalue()
    assert "ALERT Banned · US tiktok: b1 is banned" in log.getvalue()
    (row,) = [row for row in stage.commands(kind="alert") if row["body"]["alert"] == "banned"]
    assert (row["status"], row["reason"]) == ("done", "written to the log")
