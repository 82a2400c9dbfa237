"""When TokPortal has no credits left, and when there may be some again; and what else it says to warming."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.decisions import CreditsAssumed, CreditsRanOut
from tests.brain.stage import POLICIES, Make, Stage, campaign

WHY = "TokPortal has no credits left, 15 are missing: what costs credits waits, and is tried again every hour"
MISSING = {"details": {"required": 15, "available": 0, "missing": 15}}


def broke(make: Make) -> tuple[Stage, dict[str, Any]]:
    """TokPortal has no credits for the warming of one account; another one is ready, too."""
    stage = make()
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="INSUFFICIENT_CREDITS", **MISSING)
    stage.article("bundle.ready", "b2")
    return stage, command


def warmings(stage: Stage) -> list[tuple[str, str | None]]:
    return [(row["status"], row["reason"]) for row in stage.commands(kind="start_warming")]


def test_without_credits_everything_that_costs_some_waits(make: Make) -> None:
    stage, _ = broke(make)

    assert warmings(stage) == [("held", WHY), ("held", WHY)]
    assert stage.alerts() == ["budget"]
    (told,) = stage.events(CreditsRanOut)
    assert told.data["details"] == MISSING["details"]
    assert stage.dispatch() == []


def test_it_is_tried_again_every_hour_with_another_key(make: Make) -> None:
    stage, command = broke(make)
    stage.wait(minutes=59)
    assert stage.dispatch() == []
    stage.wait(minutes=2)
    first, second = stage.dispatch()

    assert (first["command_id"], second["bundle_id"]) == (command["command_id"], "b2")
    assert first["idempotency_key"] != command["idempotency_key"]
    (assumed,) = stage.events(CreditsAssumed)
    assert assumed.reason == "an hour has passed"
    for row in (first, second):
        stage.result(row["command_id"], "refused", code="INSUFFICIENT_CREDITS", **MISSING)
    assert warmings(stage) == [("held", WHY), ("held", WHY)]
    assert stage.alerts() == ["budget"]  # Once on a day.
    stage.wait(hours=2)
    stage.send_all()
    assert warmings(stage) == [("done", None), ("done", None)]
    (over,) = [row["body"] for row in stage.commands(kind="alert") if row["body"].get("subject") == "credits"][1:]
    assert (over["resolves"], over["text"]) == (True, "TokPortal has credits again")
    assert "credits" not in stage.timers()


def test_restored_credits_are_used_at_once(make: Make) -> None:
    stage, _ = broke(make)
    stage.public("credits.restored", bundle_id="b9")

    assert warmings(stage) == [("pending", None), ("pending", None)]


@pytest.mark.parametrize("how", ["approve", "resume"])
def test_a_person_may_say_that_there_are_credits(make: Make, how: str) -> None:
    stage, command = broke(make)
    order = {"command": "command.approve", "command_id": command["command_id"]}
    assert stage.order(order if how == "approve" else {"command": "service.resume"}) == ("applied", None)

    assert warmings(stage) == [("pending", None), ("pending", None)]
    assert stage.order({"command": "service.resume"}) == ("refused", "nothing is paused")


def test_what_came_to_nothing_for_want_of_credits_costs_nothing(make: Make) -> None:
    stage = make(policies=POLICIES.replace("credits_per_day: 1000", "credits_per_day: 15"))
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="INSUFFICIENT_CREDITS", **MISSING)
    stage.wait(hours=1)

    assert [row["status"] for row in stage.dispatch()] == ["running"]


def test_a_video_that_was_refused_for_it_waits_where_it_is_and_others_go_on(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    both = "[{country: US, platform: tiktok, bundles: [b1, b2]}]"
    first, second = stage.video_ids(stage.campaign(campaign(targets=both)))
    commands = {row["video_id"]: row["command_id"] for row in stage.dispatch()}
    stage.result(commands[first], "refused", code="INSUFFICIENT_CREDITS", **MISSING)
    stage.result(commands[second])

    (_, again) = stage.commands(kind="configure_video", video_id=first)
    assert (again["status"], again["reason"]) == ("held", WHY)
    assert stage.video(first).bundle_id == "b1"
    assert stage.video(second).state == "scheduled"
    for _ in range(10):
        stage.wait(hours=1)
        (command,) = stage.dispatch()
        stage.result(command["command_id"], "refused", code="INSUFFICIENT_CREDITS", **MISSING)
    assert stage.video(first).bundle_id == "b1"
    stage.wait(hours=1)
    stage.send_all()
    assert stage.video(first).state == "scheduled"


# Warming.


@pytest.mark.parametrize("code", ["REWARM_ALREADY_ACTIVE", "WARMING_TERMS_ALREADY_SET"])
def test_what_is_so_already_is_done_and_costs_nothing(make: Make, code: str) -> None:
    stage = make(policies=POLICIES.replace("credits_per_day: 1000", "credits_per_day: 15"))
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code=code)
    stage.article("bundle.ready", "b2")

    assert [status for status, _ in warmings(stage)] == ["done", "pending"]
    assert stage.alerts() == []


@pytest.mark.parametrize("code", ["REWARM_NO_ACTIVE_ORDER", "ADVANCED_WARMING_TERMS_REJECTED"])
def test_what_only_people_can_set_right_is_to_be_reviewed(make: Make, code: str) -> None:
    stage = make()
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code=code)

    assert warmings(stage) == [("dead", code)]
    assert stage.bundle("b1").holds == ("needs_review",)
    assert ("review", f"TokPortal does not warm it: {code}") in stage.decisions()


def test_any_other_refusal_is_told(make: Make) -> None:
    stage = make()
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="WARMING_CONFLICT")

    assert warmings(stage) == [("dead", "WARMING_CONFLICT")]
    assert stage.bundle("b1").holds == ()
    assert stage.alerts() == ["dead_command"]


def test_what_costs_nothing_since_it_is_there_already_says_nothing_of_credits(make: Make) -> None:
    stage, _ = broke(make)
    stage.wait(hours=2)
    stage.result(stage.dispatch()[0]["command_id"], "refused", code="REWARM_ALREADY_ACTIVE")
    resolved = [row for row in stage.commands(kind="alert") if row["body"].get("resolves")]
    assert [row["body"]["alert"] for row in resolved] == []
