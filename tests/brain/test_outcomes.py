"""What became of commands, and what people may do with them."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.database.tables import outbox
from orchestrator.domain.decisions import HandoverRefused, HandoverStarted, SlotAnswered
from tests.brain.stage import Make, Stage, campaign


def placed(stage: Stage, *bundles: str, **options: Any) -> str:
    """A video that was placed on the first of these warm accounts."""
    stage.warm(*bundles)
    (video,) = stage.video_ids(stage.campaign(campaign(**options)))
    return video


def handover(stage: Stage, video: str) -> dict[str, Any]:
    return stage.commands(kind="configure_video", video_id=video)[-1]


def status(stage: Stage, name: str) -> tuple[str, str | None]:
    (row,) = stage.commands(command_id=name)
    return row["status"], row["reason"]


def asked(stage: Stage, *bundles: str) -> tuple[str, dict[str, Any]]:
    """A video that TokPortal went silent about, and the command that asks for its slot."""
    video = placed(stage, *bundles)
    stage.send_all()
    stage.wait(days=5)
    (look_up,) = stage.commands(kind="look_up_slot")
    return video, look_up


# What TokPortal took, refused, or nobody knows.


def test_what_tokportal_took_is_scheduled(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    assert stage.video(video).state == "planned"
    stage.result(command["command_id"], video_id="tp_1", position=1)

    assert status(stage, command["command_id"]) == ("done", None)
    assert stage.video(video).state == "scheduled"
    stage.public("video.finalized", video_id="tp_1", bundle_id="b1", platform_url="https://t.example/1")
    assert stage.video(video).state == "posted"


def test_what_tokportal_refused_it_does_not_have(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="COUNTRY_NOT_ENABLED", details={"country": "US"})

    assert status(stage, command["command_id"]) == ("dead", "COUNTRY_NOT_ENABLED")
    (refused,) = stage.events(HandoverRefused)
    assert (refused.data["code"], refused.reason) == ("COUNTRY_NOT_ENABLED", "COUNTRY_NOT_ENABLED")
    assert refused.data["details"] == {"country": "US"}
    assert "dead_command" in stage.alerts()
    # So it moves at once, with no question.
    assert stage.video(video).bundle_id == "b2"
    assert stage.commands(kind="look_up_slot") == []


def test_what_may_have_reached_tokportal_moves_only_after_a_question(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "unknown")

    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    assert stage.video(video).bundle_id == "b1"
    assert len(stage.commands(kind="look_up_slot")) == 1


def test_what_came_to_nothing_waits_where_it_was_judged_to(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    stage.order({"command": "bundle.pause", "bundle_id": "b1"})
    stage.result(command["command_id"], "again")

    assert status(stage, command["command_id"]) == ("held", "the account: paused")
    assert stage.video(video).state == "planned"
    assert "dead_command" not in stage.alerts()
    stage.order({"command": "bundle.resume", "bundle_id": "b1"})
    assert status(stage, command["command_id"])[0] == "pending"


def test_what_came_to_nothing_moves_at_once_when_its_account_is_banned(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "again")
    stage.article("bundle.banned", "b1")

    assert stage.video(video).bundle_id == "b2"
    assert status(stage, command["command_id"])[0] == "discarded"


def test_what_came_to_nothing_for_a_day_moves_on_to_another(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    first = command["body"]["target_day"]
    stage.wait(days=3)
    stage.result(command["command_id"], "again")

    assert status(stage, command["command_id"])[0] == "discarded"
    assert handover(stage, video)["body"]["target_day"] > first
    assert handover(stage, video)["status"] == "pending"


def test_a_report_that_comes_twice_counts_once(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()
    for outcome in ("done", "unknown", "refused", "again"):
        stage.result(command["command_id"], outcome)

    assert status(stage, command["command_id"]) == ("done", None)
    assert stage.events(HandoverRefused) == []


def test_an_answer_that_comes_after_all_counts(make: Make) -> None:
    """It was reported as unknown and looked up, and a person had given it up meanwhile."""
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "unknown")
    assert stage.order({"command": "command.discard", "command_id": command["command_id"]}) == ("applied", None)
    stage.result(command["command_id"], video_id="tp_1", position=1)

    assert status(stage, command["command_id"])[0] == "discarded"
    assert stage.video(video).state == "scheduled"


def test_a_report_about_nothing_is_refused(make: Make) -> None:
    stage = make()
    stage.result("cmd_none")

    assert stage.nothing_is_left()


def test_asked_twice_it_is_let_go_once(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()
    assert stage.dispatch() == []

    assert status(stage, command["command_id"]) == ("running", None)
    assert len(stage.events(HandoverStarted)) == 1


@pytest.mark.parametrize("outcome", ["refused", "dead", "unknown"])
def test_a_warming_that_was_not_begun_is_told(make: Make, outcome: str) -> None:
    stage = make()
    stage.article("bundle.ready", "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], outcome)

    assert status(stage, command["command_id"])[0] == {"unknown": "unknown"}.get(outcome, "dead")
    assert stage.alerts() == ["dead_command"]


# Questions.


@pytest.mark.parametrize("outcome", ["unknown", "refused", "dead"])
def test_a_question_without_an_answer_is_put_again_later(make: Make, outcome: str) -> None:
    stage = make()
    video, look_up = asked(stage, "b1", "b2")
    stage.dispatch()
    stage.result(look_up["command_id"], outcome)

    assert status(stage, look_up["command_id"])[0] == "dead"
    assert stage.video(video).bundle_id == "b1"
    assert "waiting" in stage.alerts()
    stage.wait(hours=7)
    assert len(stage.commands(kind="look_up_slot", status="pending")) == 1
    # The old question is nobody's any more.
    order = {"command": "command.retry", "command_id": look_up["command_id"]}
    assert stage.order(order) == ("refused", "the video went another way since: the command is no longer wanted")


def test_a_question_that_came_to_nothing_stays_open(make: Make) -> None:
    stage = make()
    _, look_up = asked(stage, "b1", "b2")
    stage.dispatch()
    stage.result(look_up["command_id"], "again")

    assert status(stage, look_up["command_id"])[0] == "pending"
    assert stage.events(SlotAnswered) == []


def test_a_question_that_a_person_discards_is_put_again_later(make: Make) -> None:
    """Else the video would wait for its answer for ever, and nobody would be told."""
    stage = make()
    _, look_up = asked(stage, "b1", "b2")
    assert stage.order({"command": "command.discard", "command_id": look_up["command_id"]}) == ("applied", None)
    stage.wait(hours=7)

    assert [row["status"] for row in stage.commands(kind="look_up_slot")] == ["discarded", "pending"]


def test_news_that_answers_the_question_makes_it_superfluous(make: Make) -> None:
    stage = make()
    video, look_up = asked(stage, "b1", "b2")
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    stage.dispatch()

    assert status(stage, look_up["command_id"]) == ("discarded", "no longer wanted")


# People.


def test_a_command_that_is_dead_is_tried_again(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "dead")
    order = {"command": "command.retry", "command_id": command["command_id"]}
    assert stage.order(order) == ("applied", None)
    assert status(stage, command["command_id"]) == ("pending", None)
    stage.send_all()

    assert stage.video(video).state == "scheduled"
    assert stage.order(order) == ("refused", "a command that is done cannot be tried again")


def test_a_command_whose_video_went_elsewhere_is_not_tried_again(make: Make) -> None:
    stage = make()
    placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "dead")
    stage.article("bundle.banned", "b1")

    order = {"command": "command.retry", "command_id": command["command_id"]}
    assert stage.order(order) == ("refused", "a command that is discarded cannot be tried again")


def test_what_is_to_be_unscheduled_stays_when_the_video_is_tried_again_there(make: Make) -> None:
    """Said late, it would take away what was handed over anew."""
    stage = make(policies="defaults: {reroute: {enabled: false}}")
    video = placed(stage, "b1")
    stage.send_all()
    stage.article("bundle.banned", "b1")
    assert stage.video(video).state == "abandoned"
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1"}) == ("applied", None)
    (unschedule,) = stage.commands(kind="unschedule_video")
    assert stage.order({"command": "video.retry", "video_id": video}) == ("applied", None)
    stage.dispatch()

    assert status(stage, unschedule["command_id"]) == ("discarded", "no longer wanted")
    assert handover(stage, video)["status"] == "running"


def test_what_seemed_to_have_come_to_nothing_and_was_taken_all_the_same_counts_as_handed_over(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "again")
    assert stage.video(video).state == "planned"
    stage.result(command["command_id"], "done")
    assert stage.video(video).state == "scheduled"
    # It may be posted there: TokPortal is asked before it goes anywhere else.
    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    assert [attempt.bundle_id for attempt in stage.video(video).attempts] == ["b1"]


def test_what_was_taken_all_the_same_after_the_video_left_is_given_up_and_holds_the_newer_attempt(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "again")
    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    stage.result(command["command_id"], "done")
    assert [row["bundle_id"] for row in stage.commands(kind="unschedule_video")] == ["b1"]
    assert stage.video(video).flags == ("held",)


def test_what_becomes_of_an_alert_leaves_no_trace_in_the_log(make: Make) -> None:
    """It is settled outside of the journal: another run of the journal would not know."""
    stage = make()
    stage.warm("b1")
    stage.article("bundle.banned", "b1")
    (alert,) = stage.told()
    before = len(stage.events())
    for what in ("retry", "discard"):
        assert stage.order({"command": f"command.{what}", "command_id": alert["command_id"]}) == ("applied", None)
    assert stage.order({"command": "command.approve", "command_id": alert["command_id"]})[0] == "refused"
    assert len(stage.events()) == before


def test_an_alert_that_nobody_got_is_tried_again_whatever_became_of_the_video(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "unknown")
    (alert,) = stage.told()
    with stage.database.write() as connection:
        wanted = outbox.c.command_id == alert["command_id"]
        connection.execute(outbox.update().where(wanted).values(status="dead", last_error="no route"))

    assert stage.order({"command": "command.retry", "command_id": alert["command_id"]}) == ("applied", None)
    assert status(stage, alert["command_id"]) == ("pending", None)


@pytest.mark.parametrize("what", ["retry", "discard", "approve"])
def test_nothing_is_done_with_a_command_that_nobody_knows(make: Make, what: str) -> None:
    stage = make()
    order = {"command": f"command.{what}", "command_id": "cmd_none"}
    assert stage.order(order) == ("refused", "there is no command 'cmd_none'")


def test_what_runs_is_neither_tried_again_nor_discarded(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()
    for what, done in (("retry", "tried again"), ("discard", "discarded"), ("approve", "approved")):
        order = {"command": f"command.{what}", "command_id": command["command_id"]}
        assert stage.order(order) == ("refused", f"a command that is running cannot be {done}")


# Money.


def warmings(stage: Stage) -> dict[str, tuple[str, str | None]]:
    return {row["bundle_id"]: (row["status"], row["reason"]) for row in stage.commands(kind="start_warming")}


BUDGET = "defaults: {warming: {terms: [a1, b2, c3]}, budget: {credits_per_day: 30, approve_above: 15}}"
OVER = "an admin's approval, or the next day: about 15 credits, and 30 of the day's 30 credits are spent"


def over_budget(make: Make) -> Stage:
    """Three accounts, and credits for two."""
    stage = make(policies=BUDGET)
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.ready", bundle, country={"b1": "US"}.get(bundle, "FR"))
    stage.dispatch()
    return stage


def test_what_exceeds_the_budget_of_the_day_waits_for_the_next(make: Make) -> None:
    stage = over_budget(make)
    assert warmings(stage) == {"b1": ("running", None), "b2": ("running", None), "b3": ("held", OVER)}
    assert "budget" in stage.alerts()
    stage.wait(hours=11)
    assert warmings(stage)["b3"] == ("held", OVER)

    stage.wait(hours=2)
    assert warmings(stage)["b3"] == ("pending", None)
    assert [row["bundle_id"] for row in stage.dispatch()] == ["b3"]


def test_what_exceeds_the_budget_is_let_go_by_an_admin(make: Make) -> None:
    stage = over_budget(make)
    (command,) = stage.commands(kind="start_warming", bundle_id="b3")
    assert stage.order({"command": "command.approve", "command_id": command["command_id"]}) == ("applied", None)

    assert [row["bundle_id"] for row in stage.dispatch()] == ["b3"]


@pytest.mark.parametrize(("outcome", "is_spent"), [("refused", False), ("again", False), ("unknown", True)])
def test_only_what_came_to_nothing_costs_nothing(make: Make, outcome: str, is_spent: bool) -> None:
    stage = over_budget(make)
    (command,) = stage.commands(kind="start_warming", bundle_id="b1")
    stage.result(command["command_id"], outcome)
    stage.article("bundle.ready", "b4")

    (fourth,) = stage.commands(kind="start_warming", bundle_id="b4")
    assert (fourth["status"] == "held") is is_spent


# What comes first.


def test_recovery_is_more_urgent_than_what_is_ordinary(make: Make) -> None:
    stage = make()
    placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    (look_up,) = stage.dispatch()
    stage.article("bundle.ready", "b9", country="FR")
    stage.result(look_up["command_id"], slot="free")

    urgencies = {(row["kind"], row["bundle_id"]): row["urgency"] for row in stage.commands()}
    assert urgencies["configure_video", "b1"] == 1
    assert urgencies["look_up_slot", "b1"] == 0
    assert urgencies["configure_video", "b2"] == 0
    assert urgencies["start_warming", "b9"] == 1


def test_to_take_a_slot_back_is_urgent(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    stage.send_all()
    stage.order({"command": "video.cancel", "video_id": video})

    assert [row["urgency"] for row in stage.commands(kind="unschedule_video")] == [0]
