"""From the outbox to people: what is told, what becomes of the rows, and what a crash leaves behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.alerts import Alerts
from orchestrator.alerts.alerts import AT_ONCE
from orchestrator.alerts.channels import NotSentError
from orchestrator.alerts.delivery import BURST, FEW, LONGEST_WAIT
from orchestrator.alerts.groups import MINUTE, QUIET, WINDOWS
from orchestrator.alerts.messages import Text
from orchestrator.database import Database, Lease, LeaseLostError
from orchestrator.database.tables import alert_groups, desk, outbox
from orchestrator.desk import ServiceEntry
from orchestrator.outbox import Command, Outbox

NOON = 20_000 * 24 * 60 * MINUTE + 12 * 60 * MINUTE
SECOND = 1_000_000
POLICIES = """
version: 1
channels: {ops: {url: "env:OPS"}, mail: {url: "env:MAIL"}}
"""


class Crash(BaseException):
    """The process is killed here."""


class Chat:
    """A channel that does as it is told."""

    shown = "chat://***"

    def __init__(self) -> None:
        self.heard: list[Text] = []
        self.problem: BaseException | None = None
        self.killed_after = False

    def send(self, text: Text) -> None:
        if self.problem is not None:
            raise self.problem
        self.heard.append(text)
        if self.killed_after:
            raise Crash

    @property
    def said(self) -> list[str]:
        return [text.body.partition("\n/api")[0] for text in self.heard]


class House:
    """An outbox, two channels, and the process between them. Time stands still unless it is moved."""

    def __init__(self, database: Database) -> None:
        import msgspec

        self.database = database
        self.now = NOON
        self.chats: dict[str, Chat | None] = {"ops": Chat(), "mail": Chat()}
        self.references: dict[str, str | None] = {}
        self.jobs: list[Callable[[], None]] | None = None
        """Messages that are being sent, where that takes time."""
        self.number = 0
        with database.write() as connection:
            entry = msgspec.json.encode(ServiceEntry(policies=POLICIES))
            connection.execute(desk.insert().values(kind="service", name="service", body=entry))
        self.start()

    def start(self, lease: Lease | None = None) -> None:
        """A process that knows nothing but what is stored."""
        self.alerts = Alerts(self.database, self, lease=lease, clock=lambda: self.now, run=self.run_job)

    def run_job(self, job: Callable[[], None]) -> None:
        if self.jobs is None:
            job()
        else:
            self.jobs.append(job)

    def open(self, name: str, reference: str | None) -> Chat | None:
        self.references[name] = reference
        return self.chats.get(name)

    @property
    def ops(self) -> Chat:
        chat = self.chats["ops"]
        assert chat is not None
        return chat

    @property
    def mail(self) -> Chat:
        chat = self.chats["mail"]
        assert chat is not None
        return chat

    def alert(
        self,
        text: str = "b1 is banned",
        *,
        cause: str | None = "banned:US:tiktok",
        subject: str = "b1",
        kind: str = "banned",
        channels: tuple[str, ...] = ("ops",),
        resolves: bool = False,
    ) -> str:
        return self.many([text], cause=cause, subject=subject, kind=kind, channels=channels, resolves=resolves)[0]

    def many(self, texts: list[str], **how: Any) -> list[str]:
        commands = []
        for text in texts:
            self.number += 1
            body = {"alert": how.get("kind", "banned"), "text": text, "channels": list(how.get("channels", ("ops",)))}
            if how.get("resolves"):
                body |= {"resolves": True, "subject": how["subject"]}
            else:
                cause = how.get("cause", "banned:US:tiktok")
                body |= {"cause": cause(self.number) if callable(cause) else cause, "subject": how.get("subject", "b1")}
            commands.append(
                Command(
                    command_id=f"cmd_{self.number:05}",
                    kind="alert",
                    bundle_id="b1",
                    video_id=None,
                    campaign_id=None,
                    country="US",
                    platform="tiktok",
                    body=body,
                    idempotency_key=None,
                    price=None,
                    status="pending",
                    reason=None,
                    not_before=0,
                    created_at=0,
                    message_id="msg_1",
                )
            )
        with self.database.write() as connection:
            Outbox(self.database).add(connection, commands)
        return [command.command_id for command in commands]

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.alerts.step()

    def settle(self) -> int:
        """Steps until there is nothing to do; how many steps that took."""
        steps = 0
        while self.alerts.step():
            steps += 1
            assert steps < 5_000
        return steps

    def wait(self, time: int, every: int = MINUTE) -> None:
        until = self.now + time
        while self.now < until:
            self.now += every
            self.settle()

    def row(self, command_id: str) -> dict[str, Any]:
        with self.database.read() as connection:
            query = sa.select(outbox).where(outbox.c.command_id == command_id)
            return dict(connection.execute(query).mappings().one())

    def statuses(self) -> dict[str, int]:
        with self.database.read() as connection:
            query = sa.select(outbox.c.status, sa.func.count()).group_by(outbox.c.status)
            return {row[0]: row[1] for row in connection.execute(query)}

    def causes(self) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(sa.select(alert_groups)).mappings()]


@pytest.fixture
def house(migrated_url: str) -> Iterator[House]:
    with closing(Database(migrated_url, connections=3)) as database:
        yield House(database)


def test_an_alert_is_told_in_one_step_and_settled_in_the_next(house: House) -> None:
    name = house.alert()
    house.step()
    assert house.ops.said == ["b1 is banned"]
    assert house.references["ops"] == "env:OPS"

    house.step()
    row = house.row(name)
    assert (row["status"], row["reason"], row["attempts"], row["last_error"]) == ("done", "told to ops", 1, None)
    assert house.alerts.step() == 0
    assert house.ops.said == ["b1 is banned"]


def test_ten_thousand_of_one_cause_are_one_message_and_one_more(house: House) -> None:
    house.many([f"video {n} failed" for n in range(10_000)])
    steps = house.settle()
    assert steps <= 10_000 // AT_ONCE + 3
    assert len(house.ops.heard) == 1
    assert house.statuses() == {"done": 10_000}
    assert house.row("cmd_00001")["reason"] == "told to ops"
    assert house.row("cmd_07777")["reason"] == "grouped under cmd_00001"

    house.wait(WINDOWS[0])
    assert house.ops.said == [
        "video 999 failed\n…and 999 more like it since 12:00 UTC",
        "video 9999 failed\n…and 8999 more like it since 12:00 UTC (10000 in all)",
    ]
    (cause,) = house.causes()
    assert (cause["cause"], cause["count"], cause["told"]) == ("banned:US:tiktok", 10_000, 10_000)


def test_causes_do_not_wait_for_each_other(house: House) -> None:
    house.alert(cause="a", text="one")
    house.alert(cause="b", text="two")
    house.settle()
    assert house.ops.said == ["one", "two"]


def test_the_end_of_a_cause_is_told_and_its_row_says_so(house: House) -> None:
    first = house.alert()
    house.settle()
    end = house.alert("b1 is back", resolves=True)
    house.settle()

    assert [text.title for text in house.ops.heard] == ["Banned · US tiktok", "Resolved: banned · US tiktok"]
    assert house.row(end)["reason"] == f"ends what {first} told"


def test_the_end_of_what_nobody_was_told_of_is_no_message(house: House) -> None:
    end = house.alert("b1 is back", resolves=True)
    house.settle()
    assert house.ops.heard == []
    assert (house.row(end)["status"], house.row(end)["reason"]) == ("done", "nothing of it was told")


def test_flaps_of_a_whole_day_are_a_bounded_number_of_messages(house: House) -> None:
    for _ in range(120):
        house.alert()
        house.settle()
        house.alert("b1 is back", resolves=True)
        house.settle()
        house.now += 24 * 60 * MINUTE // 120
    assert 4 <= len(house.ops.heard) <= 20
    assert house.statuses() == {"done": 240}


# Channels that do not work.


def test_a_channel_that_does_not_work_keeps_no_other_waiting_and_is_seen(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.ops.problem = NotSentError("chat://***: error 500")
    name = house.alert(channels=("ops", "mail"))
    house.settle()

    assert house.mail.said == ["b1 is banned"]
    row = house.row(name)
    assert (row["status"], row["last_error"]) == ("pending", "ops: chat://***: error 500")
    assert "the alert channel ops does not take messages" in caplog.text


def test_it_is_tried_again_with_pauses_that_grow_and_told_once_it_works(house: House) -> None:
    house.ops.problem = NotSentError("chat://***: error 500")
    name = house.alert()
    house.settle()
    house.wait(60 * MINUTE, every=20 * SECOND)
    tried = house.row(name)["attempts"]
    assert 6 <= tried <= 16

    house.ops.problem = None
    house.wait(LONGEST_WAIT)
    assert house.ops.said == ["b1 is banned"]
    row = house.row(name)
    assert (row["status"], row["attempts"], row["last_error"]) == ("done", tried + 1, None)


def test_a_message_that_is_never_taken_holds_up_no_other(house: House) -> None:
    class Picky(Chat):
        def send(self, text: Text) -> None:
            if "poison" in text.body:
                raise NotSentError("chat://***: error 400")
            super().send(text)

    house.chats["ops"] = Picky()
    house.alert("poison", cause="p")
    house.settle()
    house.alert("good", cause="g")
    house.wait(MINUTE, every=SECOND)
    assert house.ops.said == ["good"]


def test_after_a_day_it_is_given_up_and_the_alert_is_dead(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.ops.problem = NotSentError("chat://***: error 500")
    name = house.alert()
    house.wait(QUIET + LONGEST_WAIT)
    row = house.row(name)
    assert (row["status"], row["last_error"]) == ("dead", "ops: did not take it for a day")
    assert house.causes() == []
    assert "ops was not told of banned:US:tiktok" in caplog.text

    house.ops.problem = None
    with house.database.write() as connection:
        connection.execute(outbox.update().values(status="pending", not_before=0, last_error=None))
    house.wait(LONGEST_WAIT)
    assert house.ops.said == ["b1 is banned"]
    assert house.row(name)["status"] == "done"


def test_an_error_that_nobody_expected_is_a_problem_of_the_channel_without_its_words(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.ops.problem = ValueError("canary7d1e5c")
    name = house.alert()
    house.settle()
    assert house.row(name)["last_error"] == "ops: chat://***: ValueError"
    assert "canary7d1e5c" not in caplog.text


def test_what_takes_long_holds_up_no_other_channel_and_no_alert(house: House) -> None:
    house.jobs = []
    house.alert(channels=("ops", "mail"))
    house.settle()
    assert len(house.jobs) == 2

    house.jobs[0]()
    house.settle()
    assert len(house.mail.heard) + len(house.ops.heard) == 1
    later = house.alert("another", cause="other", channels=("mail", "ops"))
    house.settle()
    assert len(house.jobs) == 3
    house.jobs[2]()
    house.settle()
    assert house.row(later)["status"] == "pending"


def test_a_channel_that_nobody_hears_is_left_out_and_the_log_has_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.chats["ops"] = None
    name = house.alert("b1 is banned\nALERT forged")
    house.settle()
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "ALERT Banned · US tiktok: b1 is banned ALERT forged"
    ]
    row = house.row(name)
    assert (row["status"], row["reason"]) == ("done", "written to the log")


def test_the_log_has_what_channels_are_told_too(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.alert(channels=())
    house.alert("elsewhere", cause="other")
    house.settle()
    assert [r.getMessage() for r in caplog.records if "ALERT" in r.getMessage()] == [
        "ALERT Banned · US tiktok: b1 is banned",
        "ALERT Banned · US tiktok: elsewhere",
    ]
    assert house.ops.said == ["elsewhere"]


def test_what_a_person_discarded_is_not_told_any_more(house: House) -> None:
    house.ops.problem = NotSentError("chat://***: error 500")
    name = house.alert()
    house.settle()
    with house.database.write() as connection:
        connection.execute(outbox.update().values(status="discarded"))
    house.ops.problem = None
    house.wait(LONGEST_WAIT)
    assert house.ops.heard == []
    assert house.row(name)["status"] == "discarded"


# Many causes.


def test_many_causes_at_once_are_a_digest(house: House) -> None:
    house.many([f"text {n}" for n in range(150)], cause=lambda n: f"cause:{n}", kind="contradiction")
    house.settle()
    (text,) = house.ops.heard
    assert text.title == "150 causes, 150 alerts"
    assert house.statuses() == {"done": 150}


def test_causes_that_keep_coming_do_not_flood_a_channel(house: House) -> None:
    for number in range(3 * 60):
        house.alert(cause=f"cause:{number}")
        house.now += MINUTE // 3
        house.settle()
    assert len(house.ops.heard) <= BURST + 60
    house.wait(5 * MINUTE)
    assert house.statuses() == {"done": 180}


def test_few_causes_are_told_one_by_one(house: House) -> None:
    house.many([f"text {n}" for n in range(FEW)], cause=lambda n: f"cause:{n}")
    house.settle()
    assert len(house.ops.heard) == FEW


# Crashes.


def test_killed_before_it_was_sent_it_is_sent_by_the_next_process(house: House) -> None:
    house.jobs = []
    name = house.alert()
    house.step()
    house.jobs = None
    house.start()
    house.settle()
    assert house.ops.said == ["b1 is banned"]
    assert house.row(name)["status"] == "done"


def test_killed_after_it_was_sent_and_before_that_was_noted_it_is_sent_again(house: House) -> None:
    house.ops.killed_after = True
    house.alert()
    with pytest.raises(Crash):
        house.step()
    house.ops.killed_after = False
    house.start()
    house.settle()
    assert house.ops.said == ["b1 is banned", "b1 is banned"]


def test_killed_anywhere_nothing_is_counted_twice_and_nothing_is_lost(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each commit of the story in turn, just before it and just after."""
    for when in range(24):
        house.many([f"{when}"] * 3, cause=f"cause:{when}")
        commits = 0
        real = house.database.write

        def write(when: int = when, real: Any = real) -> Any:
            from contextlib import contextmanager

            @contextmanager
            def killing() -> Iterator[Any]:
                nonlocal commits
                commits += 1
                with real() as connection:
                    yield connection
                    if commits * 2 == when:
                        raise Crash
                if commits * 2 + 1 == when:
                    raise Crash

            return killing()

        monkeypatch.setattr(house.database, "write", write)
        try:
            house.settle()
        except Crash:
            house.start()
        monkeypatch.setattr(house.database, "write", real)
        house.settle()
        house.now += MINUTE
    assert house.statuses() == {"done": 72}
    assert {(row["count"], row["told"]) for row in house.causes()} == {(3, 3)}
    heard = [text.body.partition("\n")[0] for text in house.ops.heard]
    assert set(heard) == {str(when) for when in range(24)}
    assert all(heard.count(text) <= 2 for text in heard)


def test_a_step_that_failed_is_forgotten_and_done_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.alert()
    house.settle()
    house.alert()

    def fail() -> Any:
        raise sa.exc.OperationalError("x", None, Exception("the disk is full"))

    with monkeypatch.context() as context:
        context.setattr(house.database, "write", fail)
        with pytest.raises(sa.exc.OperationalError):
            house.step()
    house.settle()
    assert house.causes()[0]["count"] == 2


def test_who_lost_the_lease_sends_and_notes_nothing(house: House) -> None:
    lease = Lease(house.database, "outside", "us")
    assert lease.acquire()
    house.start(lease)
    house.alert()
    lease.release()
    assert Lease(house.database, "outside", "them").acquire()
    lease.token = 1

    with pytest.raises(LeaseLostError):
        house.step()
    assert house.ops.heard == []
    assert house.statuses() == {"pending": 1}


# Over.


def test_a_cause_is_closed_a_day_after_the_last_of_it(house: House) -> None:
    house.alert()
    house.settle()
    house.wait(QUIET - 30 * MINUTE, every=30 * MINUTE)
    assert len(house.causes()) == 1
    house.wait(30 * MINUTE)
    assert house.causes() == []
    assert len(house.ops.heard) == 1

    house.alert()
    house.settle()
    assert house.ops.said == ["b1 is banned", "b1 is banned"]


def test_where_more_were_told_the_close_is_told_too(house: House) -> None:
    house.alert()
    house.alert("b2 is banned")
    house.settle()
    house.alert("b3 is banned")
    house.wait(QUIET + WINDOWS[0], every=15 * MINUTE)
    assert [text.title for text in house.ops.heard] == [
        "Banned · US tiktok",
        "Banned · US tiktok",
        "Quiet again: banned · US tiktok",
    ]
    assert house.causes() == []


def test_an_alert_of_an_earlier_version_without_a_cause_has_its_market_for_one(house: House) -> None:
    house.alert(cause=None)
    house.settle()
    assert house.causes()[0]["cause"] == "banned:US:tiktok"
    assert json.loads(house.causes()[0]["body"])["head"] == "cmd_00001"


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
def test_what_was_settled_long_ago_is_not_read(house: House) -> None:
    from orchestrator.alerts import store

    asked: list[str] = []
    given: list[Any] = []
    with house.database.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", lambda *a: (asked.append(a[2]), given.append(a[3])))
        store.pending(connection, 10)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked[0]}", tuple(given[0])).all()
    assert any("USING INDEX outbox_status" in row[3] for row in plan), plan


def test_the_log_says_how_many_more_there_were(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.many(["b1 is banned"] * 5)
    house.settle()
    assert "ALERT Banned · US tiktok: b1 is banned …and 4 more like it since 12:00 UTC" in caplog.text
