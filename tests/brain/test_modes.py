"""What may be sent: the modes, and the pauses."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.decisions import ModeChanged, VideoRescheduled
from tests.brain.stage import Make, Stage, campaign

OBSERVE = "observe mode: nothing is sent to TokPortal"


def mode(stage: Stage, name: str) -> None:
    assert stage.order({"command": "mode", "mode": name}) == ("applied", None)


def placed(stage: Stage, *bundles: str, **options: Any) -> list[str]:
    stage.warm(*bundles)
    return stage.video_ids(stage.campaign(campaign(**options)))


def commands(stage: Stage, **where: Any) -> list[tuple[str, str, str | None]]:
    """What TokPortal is to be told; that accounts are to be warmed which are warm since is left out."""
    told = [row for row in stage.commands(**where) if row["kind"] != "alert"]
    rows = [(row["kind"], row["status"], row["reason"]) for row in told]
    return [row for row in rows if row != ("start_warming", "discarded", "the account is warming")]


def test_observing_everything_is_decided_and_nothing_is_sent(make: Make) -> None:
    stage = make(mode="observe")
    (video,) = placed(stage, "b1", "b2")
    stage.article("bundle.ready", "b3")

    assert commands(stage) == [("configure_video", "held", OBSERVE), ("start_warming", "held", OBSERVE)]
    assert stage.video(video).state == "planned"
    assert stage.dispatch() == []


def test_alerts_go_out_while_observing(make: Make) -> None:
    stage = make(mode="observe")
    placed(stage, "b1")
    stage.article("bundle.banned", "b1")

    assert {row["status"] for row in stage.commands(kind="alert")} == {"pending"}


def test_a_video_that_fails_is_moved_while_observing(make: Make) -> None:
    stage = make(mode="observe")
    (video,) = placed(stage, "b1", "b2")
    stage.article("bundle.banned", "b1")

    assert stage.video(video).bundle_id == "b2"
    assert [status for _, status, _ in commands(stage)] == ["discarded", "held"]


@pytest.mark.parametrize("sending", ["live", "sandbox"])
def test_on_the_switch_what_is_still_wanted_is_pending_and_the_rest_discarded(make: Make, sending: str) -> None:
    stage = make(mode="observe")
    stage.warm("b1", "b2", "b3")
    first, second = stage.video_ids(
        stage.campaign(campaign(targets="[{country: US, platform: tiktok, bundles: [b1, b2]}]"))
    )
    stage.order({"command": "video.cancel", "video_id": second})
    stage.article("bundle.ready", "b4")
    mode(stage, sending)

    assert commands(stage, video_id=first) == [("configure_video", "pending", None)]
    assert [status for _, status, _ in commands(stage, video_id=second)] == ["discarded"]
    assert commands(stage, bundle_id="b4") == [("start_warming", "pending", None)]


def test_days_that_passed_while_observing_move_on_and_do_not_count_as_silence(make: Make) -> None:
    stage = make(mode="observe")
    (video,) = placed(stage, "b1", "b2")
    (before,) = stage.video(video).attempts
    stage.wait(days=20)
    assert stage.video(video).attempts == (before,)
    assert stage.alerts() == []

    mode(stage, "sandbox")
    (after,) = stage.video(video).attempts
    assert (after.bundle_id, after.number, after.tries) == ("b1", 1, 1)
    assert after.target_day is not None
    assert after.target_day > stage.now.date().isoformat()
    (moved,) = stage.events(VideoRescheduled)
    assert moved.reason == f"2026-11-24 passed while it had to wait: {after.target_day} instead"
    assert [status for _, status, _ in commands(stage)] == ["discarded", "pending"]
    assert stage.alerts() == []
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_back_to_observing_what_was_not_sent_is_held_and_what_was_goes_on(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    videos = stage.video_ids(
        stage.campaign(campaign(refs=["one", "two"], targets="[{country: US, platform: tiktok, bundles: [b1]}]"))
    )
    running, *_ = stage.commands(kind="configure_video", video_id=videos[0])
    names = [running["command_id"]]
    stage._tell("dispatch", {"command_ids": names})
    mode(stage, "observe")

    assert commands(stage, video_id=videos[0]) == [("configure_video", "running", None)]
    assert commands(stage, video_id=videos[1]) == [("configure_video", "held", OBSERVE)]
    stage.result(names[0])
    assert stage.video(videos[0]).state == "scheduled"


def test_what_came_to_nothing_after_the_switch_to_observing_is_held(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()
    mode(stage, "observe")
    stage.result(command["command_id"], "again")

    assert commands(stage) == [("configure_video", "held", OBSERVE)]


def test_a_question_waits_while_observing_and_is_asked_afterwards(make: Make) -> None:
    stage = make()
    placed(stage, "b1", "b2")
    stage.send_all()
    mode(stage, "observe")
    stage.wait(days=5)
    assert commands(stage, kind="look_up_slot") == [("look_up_slot", "held", OBSERVE)]

    mode(stage, "sandbox")
    assert commands(stage, kind="look_up_slot") == [("look_up_slot", "pending", None)]


def test_live_everything_is_sent(make: Make) -> None:
    stage = make(mode="live")
    (video,) = placed(stage, "b1")

    assert commands(stage) == [("configure_video", "pending", None)]
    stage.send_all()
    assert stage.video(video).state == "scheduled"


def test_whether_tokportal_can_be_read_is_told_with_the_mode(make: Make) -> None:
    stage = make(mode="observe", reads=True)
    assert stage.order({"command": "mode", "mode": "observe", "reads": False}) == ("applied", None)
    before = len(stage.events())
    assert stage.order({"command": "mode", "mode": "observe"}) == ("applied", None)

    assert [event.data["reads"] for event in stage.events(ModeChanged)] == [True, False]
    assert len(stage.events()) == before


def test_the_same_mode_again_changes_nothing(make: Make) -> None:
    stage = make()
    before = len(stage.events())
    mode(stage, "sandbox")

    assert len(stage.events()) == before


@pytest.mark.parametrize("moment", ["before it is let go", "after it came to nothing"])
def test_everything_paused_waits_and_goes_on_where_it_stopped(make: Make, moment: str) -> None:
    stage = make()
    placed(stage, "b1")
    if moment == "after it came to nothing":
        (command,) = stage.dispatch()
        stage.result(command["command_id"], "again")
    assert stage.order({"command": "service.pause", "reason": "storm"}) == ("applied", None)
    assert commands(stage) == [("configure_video", "held", "everything is paused by ann: storm")]
    stage.wait(days=4)
    assert stage.order({"command": "service.resume"}) == ("applied", None)

    assert [status for _, status, _ in commands(stage)] == ["discarded", "pending"]
    assert [alert for alert in stage.alerts() if alert in ("missed", "stuck")] == []


def test_hundreds_of_commands_are_judged_again_page_by_page(make: Make) -> None:
    stage = make(mode="observe")
    bundles = [f"b{number:03}" for number in range(90)]
    stage.warm(*bundles)
    targets = f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]"
    stage.campaign(campaign(refs=["one", "two", "three"], targets=targets))
    assert len(stage.commands(status="held")) == 270
    mode(stage, "sandbox")

    assert len(stage.commands(status="pending", kind="configure_video")) == 270
