"""The far end of the outbox: what reaches TokPortal, how often, and what the engine learns of it."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.commands import Dispatcher, Outcome, TryAgain, executor
from orchestrator.commands.executor import AT_ONCE, LONGEST_WAIT, MOST_ATTEMPTS, TURN
from orchestrator.database import Lease, LeaseLostError
from orchestrator.database.tables import outbox
from orchestrator.domain.decisions import HandoverRefused, HandoverStarted
from orchestrator.outbox import Command
from orchestrator.restored import Restored, mark, trust
from tests.brain.stage import Stage, campaign, microseconds


class Crash(BaseException):
    """The process is killed here."""


class Vendor:
    """TokPortal: it does a thing once for each key, and can be asked what it did."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.done: dict[str, str] = {}
        """What was done, by key."""
        self.answers: list[Outcome | BaseException] = []
        """Instead of doing what it is told, or of answering when asked."""
        self.after: BaseException | None = None
        """Happens when it has done it."""

    def room(self, urgency: int) -> int:
        return 100

    def execute_together(self, commands: Sequence[Command]) -> dict[str, Outcome]:
        self.calls.append(("together", " ".join(command.command_id for command in commands)))
        if self.answers:
            lost = self._answer()
            return {command.command_id: lost for command in commands}
        self.done |= {str(command.idempotency_key): command.command_id for command in commands}
        if self.after is not None:
            raise self.after
        return {command.command_id: Outcome("done") for command in commands}

    def execute(self, command: Command) -> Outcome:
        self.calls.append(("execute", command.command_id))
        if self.answers:
            return self._answer()
        self.done[str(command.idempotency_key)] = command.command_id
        if self.after is not None:
            raise self.after
        return Outcome("done")

    def look_up(self, command: Command) -> Outcome | None:
        self.calls.append(("look up", command.command_id))
        if self.answers:
            return self._answer()
        return Outcome("done") if command.command_id in self.done.values() else None

    def _answer(self) -> Outcome:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def told(self) -> list[str]:
        return [what for what, _ in self.calls]


class House:
    """A video that is to be handed over, a TokPortal, and the process between them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stage.warm("b1", "b2")
        (self.video,) = self.stage.video_ids(self.stage.campaign(campaign()))
        self.vendor = Vendor()
        self._dispatcher: Dispatcher | None = None
        self.start()

    def start(self, **options: Any) -> Dispatcher:
        """A process that knows nothing but what is stored."""
        self.close()
        options = {"executor": self.vendor, **options}
        self._dispatcher = Dispatcher(
            self.stage.database,
            lambda: microseconds(self.stage.now),
            **options,
        )
        return self._dispatcher

    @property
    def dispatcher(self) -> Dispatcher:
        assert self._dispatcher is not None
        return self._dispatcher

    def close(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.close()

    def step(self) -> None:
        self.dispatcher.step()
        self.stage.run()

    def let_go(self) -> None:
        """The engine lets the command go; it is not carried out yet."""
        self.step()
        assert self.command["status"] == "running"

    def crash(self, **how: Any) -> None:
        """The process is killed while it carries something out, and started again."""
        for name, value in how.items():
            setattr(self.vendor, name, value)
        with pytest.raises(Crash):
            self.dispatcher.step()
        self.vendor.answers, self.vendor.after = [], None
        self.start()

    @property
    def command(self) -> dict[str, Any]:
        return self.of(self.video)

    def of(self, video: str) -> dict[str, Any]:
        return self.stage.commands(kind="configure_video", video_id=video)[-1]

    def run(self, steps: int = 6) -> None:
        for _ in range(steps):
            self.step()


@pytest.fixture
def house(stage: Stage) -> Iterator[House]:
    with closing(House(stage)) as house:
        yield house


def test_a_command_is_let_go_sent_once_and_settled(house: House) -> None:
    house.run()

    assert house.vendor.calls == [("execute", house.command["command_id"])]
    assert (house.command["status"], house.command["attempts"]) == ("done", 1)
    assert house.stage.video(house.video).state == "scheduled"


def test_nothing_is_sent_that_the_engine_did_not_let_go(house: House) -> None:
    house.dispatcher.step()
    house.dispatcher.step()

    assert house.vendor.calls == []


def test_the_engine_is_asked_once_and_again_when_it_does_not_answer(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=lambda: clock.now))
    assert house.dispatcher.step() == 1
    assert house.dispatcher.step() == 0
    clock.now = executor.ASK_AGAIN
    assert house.dispatcher.step() == 1

    house.run()
    assert house.vendor.told == ["execute"]


# A crash at each point: nothing is lost, and nothing is blindly repeated.


def test_killed_before_the_attempt_was_counted_it_is_simply_sent(house: House) -> None:
    house.let_go()
    house.start()
    house.run()

    assert house.vendor.told == ["execute"]
    assert house.command["status"] == "done"


def test_killed_between_the_count_and_the_call_it_is_looked_up_and_then_sent(house: House) -> None:
    house.let_go()
    house.crash(answers=[Crash()])
    assert house.command["attempts"] == 1
    house.run()

    assert house.vendor.told == ["execute", "look up", "execute"]
    assert len(house.vendor.done) == 1
    assert house.command["status"] == "done"


def test_killed_between_the_call_and_the_report_it_is_looked_up_and_not_sent_again(house: House) -> None:
    house.let_go()
    house.crash(after=Crash())
    house.run()

    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "done"
    assert house.stage.video(house.video).state == "scheduled"


def test_killed_between_the_report_and_the_engine_it_is_not_sent_again(house: House) -> None:
    house.let_go()
    house.dispatcher.step()
    house.start().step()
    house.stage.run()
    house.run()

    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "done"
    assert len(house.stage.events(HandoverStarted)) == 1


def test_killed_while_the_lost_answer_was_looked_up_it_is_looked_up_again(house: House) -> None:
    house.let_go()
    house.crash(after=Crash())
    house.crash(answers=[Crash()])
    house.run()

    assert house.vendor.told == ["execute", "look up", "look up"]
    assert house.command["status"] == "done"


def test_killed_before_it_said_that_nothing_happened_it_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.let_go()

    def killed(messages: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(house.dispatcher._journal, "append", killed)
        house.crash(answers=[TryAgain("503")])
    house.run()
    assert house.vendor.told == ["execute"]

    house.stage.wait(minutes=1)
    house.run()

    assert house.vendor.told == ["execute", "execute"]
    assert house.command["status"] == "done"


def test_killed_among_several_only_what_was_begun_is_looked_up(house: House) -> None:
    targets = "[{country: US, platform: tiktok, bundles: [c1, c2]}]"
    house.stage.warm("c1", "c2")
    house.stage.campaign(campaign("second", targets=targets))
    house.let_go()
    house.crash(after=Crash())
    house.run()

    first = house.vendor.calls[0][1]
    assert house.vendor.told == ["execute", "look up", "execute", "execute"]
    assert [name for what, name in house.vendor.calls[:2]] == [first, first]
    assert {row["status"] for row in house.stage.commands(kind="configure_video")} == {"done"}


def test_one_who_was_frozen_and_lost_the_lease_sends_nothing(house: House) -> None:
    database = house.stage.database
    ours, theirs = Lease(database, "outside", "us"), Lease(database, "outside", "them")
    assert ours.acquire()
    house.start(lease=ours)
    house.let_go()
    ours.release()
    assert theirs.acquire()
    ours.token = 1

    with pytest.raises(LeaseLostError):
        house.dispatcher.step()
    assert house.vendor.calls == []
    assert house.command["attempts"] == 0


# What comes to nothing.


def test_what_came_to_nothing_is_judged_again_and_sent_after_a_while(house: House) -> None:
    house.let_go()
    house.vendor.answers = [TryAgain("503 Service Unavailable")]
    house.step()

    command = house.command
    assert (command["status"], command["attempts"], command["last_error"]) == ("pending", 1, "503 Service Unavailable")
    assert command["not_before"] > microseconds(house.stage.now)
    assert house.stage.video(house.video).state == "planned"
    (refused,) = house.stage.events(HandoverRefused)
    assert refused.reason == "503 Service Unavailable"
    house.run()
    assert house.vendor.told == ["execute"]

    house.stage.wait(seconds=10)
    house.run()
    # It is known that nothing happened: there is nothing to look up.
    assert house.vendor.told == ["execute", "execute"]
    assert house.command["status"] == "done"


def test_the_back_off_grows_is_jittered_and_can_be_told_beforehand(house: House) -> None:
    house.let_go()
    waits = []
    for attempt in range(1, MOST_ATTEMPTS):
        house.vendor.answers = [TryAgain("503")]
        began = microseconds(house.stage.now)
        while house.command["attempts"] < attempt:
            house.step()
        waits.append(house.command["not_before"] - began)
        house.stage.wait(hours=1)
    most = [min(2 * 2**attempt, LONGEST_WAIT.total_seconds()) for attempt in range(1, MOST_ATTEMPTS)]
    name = house.command["command_id"]
    seeded = [random.Random(f"{name}:{attempt}").random() for attempt in range(1, MOST_ATTEMPTS)]
    assert waits == [
        pytest.approx(share * longest * 1_000_000, abs=1) for share, longest in zip(seeded, most, strict=True)
    ]


def test_after_so_many_attempts_it_is_dead_and_people_are_told(house: House) -> None:
    house.vendor.answers = [TryAgain("503")] * MOST_ATTEMPTS
    for _ in range(2 * MOST_ATTEMPTS):
        house.run(2)
        house.stage.wait(hours=1)

    command = house.command
    assert (command["status"], command["attempts"]) == ("dead", MOST_ATTEMPTS)
    assert command["reason"] == f"{MOST_ATTEMPTS} attempts failed, the last one: 503"
    assert "dead_command" in house.stage.alerts()
    assert house.vendor.told == ["execute"] * MOST_ATTEMPTS


def test_a_dead_command_that_a_person_retries_is_looked_up_and_has_all_its_attempts_again(house: House) -> None:
    house.vendor.answers = [TryAgain("503")] * MOST_ATTEMPTS
    for _ in range(2 * MOST_ATTEMPTS):
        house.run(2)
        house.stage.wait(hours=1)
    command = house.command
    order = {"command": "command.retry", "command_id": command["command_id"]}
    assert house.stage.order(order) == ("applied", None)
    house.run(2)

    assert house.vendor.told[MOST_ATTEMPTS:] == ["look up", "execute"]
    assert house.command["status"] == "done"
    assert house.command["idempotency_key"] != command["idempotency_key"]


def test_what_tokportal_refuses_is_dead_at_once(house: House) -> None:
    """What follows from the code is another command, if any."""
    house.let_go()
    name = house.command["command_id"]
    house.vendor.answers = [Outcome("refused", "VIDEOS_PER_DAY_EXCEEDED", "three are dated that day")]
    house.step()

    (command,) = house.stage.commands(command_id=name)
    assert (command["status"], command["reason"], command["last_error"]) == (
        "dead",
        "three are dated that day",
        "three are dated that day",
    )
    house.run()
    assert [called for _, called in house.vendor.calls].count(name) == 1


# What nobody knows.


def unknown(house: House, *answers: Outcome | BaseException) -> None:
    house.let_go()
    house.vendor.answers = list(answers)
    house.step()
    assert house.command["status"] == "unknown"


def test_an_unknown_outcome_is_looked_up_by_itself_and_not_repeated(house: House) -> None:
    house.let_go()
    house.vendor.after = TimeoutError("no answer within 30 s")
    house.step()
    command = house.command
    assert (command["status"], command["reason"]) == ("unknown", "TimeoutError: no answer within 30 s")
    assert "dead_command" in house.stage.alerts()
    # TokPortal may have it: it counts as handed over.
    assert house.stage.order({"command": "video.retry", "video_id": house.video})[0] == "refused"

    house.stage.wait(seconds=10)
    house.run()
    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "done"
    assert house.stage.video(house.video).state == "scheduled"


def test_while_an_outcome_is_unknown_nothing_else_is_said_to_that_bundle(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    more = campaign("second", targets="[{country: US, platform: tiktok, bundles: [b1, b2]}]")
    here, elsewhere = house.stage.video_ids(house.stage.campaign(more))
    house.vendor.answers = [TryAgain("503")] * 100
    house.run(2)
    house.vendor.answers = []

    assert house.of(here)["attempts"] == 0
    assert house.of(elsewhere)["attempts"] > 0


def test_what_tokportal_has_nothing_of_is_judged_and_sent_again_with_the_same_key(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    key = house.command["idempotency_key"]
    house.stage.wait(seconds=10)
    house.step()
    assert house.vendor.told == ["execute", "look up"]
    assert (house.command["status"], house.command["last_error"]) == ("pending", "TokPortal has nothing of it")

    house.stage.wait(minutes=1)
    house.run()
    assert house.vendor.told == ["execute", "look up", "execute"]
    assert list(house.vendor.done) == [key]


def test_while_tokportal_cannot_be_asked_either_it_stays_unknown(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    house.vendor.answers = [TryAgain("503"), Outcome("unknown"), ValueError("what is this?")]
    for _ in range(3):
        house.stage.wait(minutes=1)
        house.run(3)
        assert house.command["status"] == "unknown"
    assert house.vendor.told == ["execute"] + ["look up"] * 3

    house.stage.wait(minutes=1)
    house.run(1)
    assert house.command["status"] == "pending"


def test_it_is_asked_ever_more_seldom_and_never_given_up(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    house.vendor.answers = [TryAgain("503")] * 60
    for _ in range(60):
        house.stage.wait(minutes=15)
        house.step()

    assert house.command["attempts"] == 61
    assert house.command["status"] == "unknown"
    assert house.command["not_before"] - microseconds(house.stage.now) <= 15 * 60 * 1_000_000


@pytest.mark.parametrize("has_it", [True, False])
def test_a_person_who_retries_what_is_unknown_repeats_nothing_blindly(house: House, has_it: bool) -> None:
    unknown(house, Outcome("unknown", message="502"))
    if has_it:
        house.vendor.done["the key"] = house.command["command_id"]
    order = {"command": "command.retry", "command_id": house.command["command_id"]}
    assert house.stage.order(order) == ("applied", None)
    house.run()

    assert house.vendor.told == ["execute", "look up"] + ([] if has_it else ["execute"])
    assert house.command["status"] == "done"
    assert len(house.stage.events(HandoverStarted)) == 1


def test_retried_while_the_gate_is_shut_it_stays_unknown_and_is_looked_up_all_the_same(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    assert house.stage.order({"command": "bundle.pause", "bundle_id": "b1"}) == ("applied", None)
    order = {"command": "command.retry", "command_id": house.command["command_id"]}
    assert house.stage.order(order) == ("applied", None)
    house.step()
    assert (house.command["status"], house.command["reason"]) == ("unknown", "the account: paused")
    house.stage.wait(minutes=1)
    house.step()
    # Nothing of it is there, so it can wait like anything else that was never handed over.
    assert house.vendor.told == ["execute", "look up"]
    assert (house.command["status"], house.command["reason"]) == ("held", "the account: paused")


def test_a_failure_that_nobody_foresaw_has_an_unknown_outcome(house: House) -> None:
    unknown(house, ZeroDivisionError("division by zero"))

    assert house.command["reason"] == "ZeroDivisionError: division by zero"


# Everything stops.


def test_what_was_let_go_and_not_begun_stops_when_everything_is_paused(house: House) -> None:
    house.let_go()
    assert house.stage.order({"command": "service.pause"}) == ("applied", None)
    house.run()
    assert house.vendor.calls == []
    assert (house.command["status"], house.command["reason"]) == ("held", "everything is paused by ann")
    assert house.command["attempts"] == 0

    assert house.stage.order({"command": "service.resume"}) == ("applied", None)
    house.stage.wait(seconds=10)
    house.run()
    assert house.vendor.told == ["execute"]
    assert house.command["status"] == "done"


def test_what_is_in_doubt_is_looked_up_while_everything_is_paused_and_not_sent(house: House) -> None:
    unknown(house, Outcome("unknown", message="502"))
    assert house.stage.order({"command": "service.pause"}) == ("applied", None)
    house.stage.wait(seconds=10)
    house.run()

    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "held"


def test_a_process_that_may_not_send_gives_back_what_another_mode_let_go(house: House) -> None:
    house.let_go()
    house.start(executor=None)
    assert house.stage.order({"command": "mode", "mode": "observe"}) == ("applied", None)
    house.run()

    assert (house.command["status"], house.command["reason"]) == ("held", "observe mode: nothing is sent to TokPortal")
    assert house.vendor.calls == []


def test_what_live_let_go_is_not_sent_in_observe_though_tokportal_can_be_read(house: House) -> None:
    house.let_go()
    assert house.stage.order({"command": "mode", "mode": "observe", "reads": True}) == ("applied", None)
    house.start()
    house.run()

    assert house.vendor.calls == []
    assert (house.command["status"], house.command["reason"]) == ("held", "observe mode: nothing is sent to TokPortal")


def test_a_process_that_observes_sends_nothing_before_the_engine_knows_it(house: House) -> None:
    house.let_go()
    house.start(sends=False)
    house.dispatcher.step()

    assert house.vendor.calls == []


def test_what_a_backup_holds_as_let_go_is_not_sent_until_the_restored_service_knows_better(house: House) -> None:
    house.let_go()
    with house.stage.database.write() as connection:
        mark(connection, Restored("r1", "2026-11-23", 1, 1))
    house.start()
    house.dispatcher.step()
    assert house.vendor.calls == []

    trust(house.stage.database)
    house.stage.wait(seconds=10)
    house.stage.run()
    house.run()
    # It may have been sent after the backup was made.
    assert house.vendor.told == ["look up", "execute"]


def test_what_was_sent_after_the_backup_was_made_is_not_sent_again(house: House) -> None:
    house.let_go()
    with house.stage.database.write() as connection:
        mark(connection, Restored("r1", "2026-11-23", 1, 1))
    house.vendor.done["sent before"] = house.command["command_id"]
    trust(house.stage.database)
    house.start()
    house.run()

    assert house.vendor.told == ["look up"]
    assert house.command["status"] == "done"


def test_a_question_is_put_in_observe(house: House) -> None:
    house.stage.send_all()
    house.stage.result(house.command["command_id"])
    house.stage.article("video.posted", "b1", video_id=house.video, url="https://t.example/1")
    assert house.stage.order({"command": "mode", "mode": "observe", "reads": True}) == ("applied", None)
    assert house.stage.order({"command": "video.refresh", "video_id": house.video}) == ("applied", None)
    house.start(sends=False)
    house.run()

    assert house.stage.commands(kind="read_metrics")[0]["status"] == "done"


def test_a_process_that_may_not_ask_leaves_in_doubt_what_was_begun(house: House) -> None:
    house.let_go()
    house.crash(after=Crash())
    house.start(executor=None)
    house.run()

    assert house.command["status"] == "unknown"
    assert house.stage.video(house.video).state == "planned"
    house.start()
    house.stage.wait(seconds=10)
    house.run()
    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "done"


def test_a_video_that_was_cancelled_meanwhile_is_not_sent_again(house: House) -> None:
    house.let_go()
    assert house.stage.order({"command": "video.cancel", "video_id": house.video}) == ("applied", None)
    house.vendor.answers = [TryAgain("503")]
    house.step()
    house.stage.wait(minutes=1)
    house.run()

    assert house.command["status"] == "discarded"
    assert [name for what, name in house.vendor.calls if name == house.command["command_id"]] == [
        house.command["command_id"]
    ]


# Fairness.


def make_urgent(house: House, command_id: str) -> None:
    with house.stage.database.write() as connection:
        connection.execute(outbox.update().where(outbox.c.command_id == command_id).values(urgency=0))


def test_a_slow_call_ends_the_step_and_what_waited_longest_is_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(executor, "time", SimpleNamespace(monotonic=lambda: clock.now))
    house.run()
    house.stage.warm("c1", "c2", "c3")
    for name in ("second", "third"):
        house.stage.campaign(campaign(name, targets="[{country: US, platform: tiktok, bundles: [c1, c2, c3]}]"))
    house.vendor.calls.clear()
    execute, together = house.vendor.execute, house.vendor.execute_together

    def slow(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(command: Any) -> Any:
            clock.now += TURN
            return call(command)

        return called

    monkeypatch.setattr(house.vendor, "execute", slow(execute))
    monkeypatch.setattr(house.vendor, "execute_together", slow(together))
    house.step()
    house.step()
    assert len(house.vendor.calls) == 1
    house.stage.campaign(campaign("fourth", targets="[{country: US, platform: tiktok, bundles: [c1]}]"))
    house.run(12)

    bundles = {row["command_id"]: row["bundle_id"] for row in house.stage.commands(kind="configure_video")}
    assert [bundles[names.split()[0]] for _, names in house.vendor.calls] == ["c1", "c2", "c3", "c1"]


def test_only_so_much_is_let_go_at_once(house: House) -> None:
    """What is not let go can still be held, moved or cancelled."""
    bundles = [f"c{number}" for number in range(AT_ONCE + 5)]
    house.stage.warm(*bundles)
    house.stage.campaign(
        campaign("many", targets=f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]")
    )
    house.step()

    assert len(house.stage.commands(status="running")) == AT_ONCE
    house.run(8)
    assert house.vendor.told.count("execute") == AT_ONCE + 6


def test_recovery_goes_before_everything_else(house: House) -> None:
    house.run()
    bundles = [f"c{number}" for number in range(9)]
    house.stage.warm(*bundles)
    targets = f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]"
    house.stage.campaign(campaign("many", targets=targets))
    urgent = house.stage.commands(status="pending", kind="configure_video")[-1]["command_id"]
    make_urgent(house, urgent)
    house.vendor.calls.clear()
    house.run(2)

    assert house.vendor.calls[0] == ("execute", urgent)


# What TokPortal grants.


def test_where_the_quota_has_no_room_nothing_is_let_go_and_recovery_is_last_to_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house.vendor, "room", lambda urgency: 1 if urgency == 0 else 0)
    house.run()
    assert house.vendor.calls == []
    assert house.command["status"] == "pending"

    make_urgent(house, house.command["command_id"])
    house.run()
    assert house.command["status"] == "done"


def test_videos_that_go_together_take_the_room_of_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.run()
    monkeypatch.setattr(house.vendor, "room", lambda urgency: 1)
    bundles = ["bdl_6", "bdl_7"]
    house.stage.warm(*bundles)
    targets = f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]"
    house.stage.campaign(campaign("many", refs=["one", "two", "three"], targets=targets))
    house.vendor.calls.clear()
    house.dispatcher.step()
    house.stage.run()
    running = house.stage.commands(status="running")
    assert len(running) == 3
    assert len({command["bundle_id"] for command in running}) == 1


def test_what_tokportal_turns_away_for_its_limits_is_no_attempt(house: House) -> None:
    house.let_go()
    house.vendor.answers = [TryAgain("429 RATE_LIMIT_EXCEEDED", after=30.0)]
    house.step()
    command = house.command
    assert (command["status"], command["attempts"]) == ("running", 0)
    assert command["last_error"] == "429 RATE_LIMIT_EXCEEDED"
    house.run()
    assert house.vendor.told == ["execute"]

    house.stage.wait(seconds=31)
    house.run()
    assert house.vendor.told == ["execute", "execute"]
    assert (house.command["status"], house.command["attempts"]) == ("done", 1)


def test_what_is_in_doubt_stays_so_while_the_quota_is_used_up(house: House) -> None:
    house.let_go()
    house.crash(after=Crash())
    house.vendor.answers = [TryAgain("429", after=30.0)]
    house.run()
    assert house.vendor.told == ["execute", "look up"]
    assert house.command["status"] == "running"

    house.stage.wait(seconds=31)
    house.run()
    assert house.vendor.told == ["execute", "look up", "look up"]
    assert house.command["status"] == "done"


# Videos that one bundle takes together.


def several(house: House) -> list[str]:
    """Four videos wait for one bundle."""
    house.run()
    house.vendor.calls.clear()
    house.stage.warm("c1")
    target = "[{country: US, platform: tiktok, bundles: [c1]}]"
    return house.stage.video_ids(house.stage.campaign(campaign("more", refs=["x", "y", "z", "w"], targets=target)))


def test_videos_for_one_bundle_are_handed_over_in_one_call(house: House) -> None:
    videos = several(house)
    house.run()

    assert house.vendor.told == ["together"]
    assert {house.of(video)["status"] for video in videos} == {"done"}
    assert {house.stage.video(video).state for video in videos} == {"scheduled"}


def test_of_a_call_for_several_each_has_its_own_outcome(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = several(house)
    together = house.vendor.execute_together

    def partly(commands: Sequence[Command]) -> dict[str, Outcome]:
        outcomes = together(commands)
        outcomes[commands[1].command_id] = Outcome("refused", "INVALID_MEDIA", "cannot be read")
        del outcomes[commands[2].command_id]
        return outcomes

    first = [house.of(video)["command_id"] for video in videos]
    monkeypatch.setattr(house.vendor, "execute_together", partly)
    house.run(2)

    statuses = [house.stage.commands(command_id=name)[0]["status"] for name in first]
    assert statuses == ["done", "dead", "unknown", "done"]


@pytest.mark.parametrize("is_killed", [True, False])
def test_where_the_answer_to_several_is_lost_each_is_looked_up_and_none_is_repeated(
    house: House, is_killed: bool
) -> None:
    videos = several(house)
    house.dispatcher.step()
    house.stage.run()
    if is_killed:
        house.crash(after=Crash())
    else:
        house.vendor.after = TimeoutError("no answer")
        house.step()
        house.vendor.after = None
    house.stage.wait(minutes=1)
    house.run(8)

    assert house.vendor.told == ["together"] + ["look up"] * 4
    assert {house.of(video)["status"] for video in videos} == {"done"}


def test_several_that_came_to_nothing_are_tried_again(house: House) -> None:
    videos = several(house)
    house.vendor.answers = [TryAgain("503")]
    house.run(2)
    assert {(house.of(video)["status"], house.of(video)["last_error"]) for video in videos} == {("pending", "503")}

    house.stage.wait(minutes=1)
    house.run()
    assert {house.of(video)["status"] for video in videos} == {"done"}


def test_several_that_are_turned_away_for_the_limits_were_no_attempt(house: House) -> None:
    videos = several(house)
    house.vendor.answers = [TryAgain("429", after=5.0)]
    house.run(2)
    assert {(house.of(video)["status"], house.of(video)["attempts"]) for video in videos} == {("running", 0)}

    house.stage.wait(seconds=6)
    house.run()
    assert {house.of(video)["status"] for video in videos} == {"done"}


# Several calls at a time.


def test_a_call_that_takes_long_holds_up_its_own_bundle_only(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    several(house)
    second = campaign("second", targets="[{country: US, platform: tiktok, bundles: [c1, b2]}]")
    here, elsewhere = house.stage.video_ids(house.stage.campaign(second))
    release = threading.Event()
    together = house.vendor.execute_together

    def slow(commands: Sequence[Command]) -> dict[str, Outcome]:
        assert release.wait(30)
        return together(commands)

    monkeypatch.setattr(house.vendor, "execute_together", slow)
    house.start(threads=2)
    while house.of(elsewhere)["status"] != "done":
        house.step()
    assert house.of(here)["status"] == "running"

    release.set()
    while house.of(here)["status"] != "done":
        house.step()
    assert house.vendor.told.count("together") == 1


def test_what_a_thread_could_not_store_is_raised_by_the_step(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.start(threads=2)
    house.let_go()

    def broken(*_: object) -> None:
        raise LeaseLostError("somebody else")

    monkeypatch.setattr(house.dispatcher, "_count", broken)
    with pytest.raises(LeaseLostError):
        for _ in range(100):
            house.dispatcher.step()
