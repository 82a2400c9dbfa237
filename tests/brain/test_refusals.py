"""What TokPortal's refusals mean, by their codes: for the video, for its account, for the day."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.decisions import HandoverRefused, VideoRescheduled, VideoRetried
from orchestrator.domain.facts import BundleArchived, BundleCancelled, CoverageLapsed
from tests.brain.stage import POLICIES, Make, Stage, campaign

RETRY = 'defaults: {failure: {codes: {"busy_*": retry, "content_*": stop, "*": reroute}, retries: 2, backoff: [5m]}}'


def placed(stage: Stage, *bundles: str, **options: Any) -> str:
    """A video that was placed on the first of these warm accounts."""
    stage.warm(*bundles)
    (video,) = stage.video_ids(stage.campaign(campaign(**options)))
    return video


def refuse(stage: Stage, code: str, **data: Any) -> dict[str, Any]:
    """What is pending is sent, and TokPortal refuses it; the command."""
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code=code, **data)
    return command


def handovers(stage: Stage, video: str) -> list[tuple[str, str, str | None]]:
    rows = stage.commands(kind="configure_video", video_id=video)
    return [(row["body"]["target_day"], row["status"], row["reason"]) for row in rows]


def where(stage: Stage, video: str) -> tuple[str | None, str | None, int]:
    attempt = stage.video(video).attempts[-1]
    return stage.video(video).bundle_id, attempt.target_day, attempt.tries


# The day.


def test_a_day_that_is_full_there_moves_the_video_to_the_next(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    refuse(stage, "VIDEOS_PER_DAY_EXCEEDED", details={"date": "2026-11-24", "current_count": 3})

    assert where(stage, video) == ("b1", "2026-11-25", 1)
    (moved,) = stage.events(VideoRescheduled)
    assert moved.reason == "TokPortal takes no further video for 2026-11-24 on b1: 2026-11-25 instead"
    assert stage.alerts() == []
    assert handovers(stage, video) == [
        ("2026-11-24", "dead", "VIDEOS_PER_DAY_EXCEEDED"),
        ("2026-11-25", "pending", None),
    ]


def test_nobody_else_is_placed_on_a_day_that_is_full_there(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    refuse(stage, "VIDEOS_PER_DAY_EXCEEDED", details={"date": "2026-11-24", "current_count": 3})
    one = "[{country: US, platform: tiktok, bundles: [b1]}]"
    (other,) = stage.video_ids(stage.campaign(campaign("other", refs=["x"], targets=one)))

    # The emptiest day after it: the first video is on the 25th now.
    assert where(stage, other) == ("b1", "2026-11-26", 1)
    assert stage.bundle("b1").full_days == ("2026-11-24",)


def test_where_every_day_is_full_there_the_video_moves_to_another_account(make: Make) -> None:
    stage = make(policies="defaults: {posting: {blackout: [2026-11-25..2026-12-31]}}")
    video = placed(stage, "b1", "b2")
    refuse(stage, "VIDEOS_PER_DAY_EXCEEDED", details={"date": "2026-11-24", "current_count": 3})

    assert where(stage, video) == ("b2", "2026-11-24", 1)


def test_where_no_account_has_a_day_the_video_waits(make: Make) -> None:
    stage = make(policies="defaults: {posting: {blackout: [2026-11-25..2026-12-31]}}")
    video = placed(stage, "b1")
    refuse(stage, "VIDEOS_PER_DAY_EXCEEDED")

    view = stage.video(video)
    assert view.state == "waiting"
    assert view.reason is not None
    assert view.reason.startswith("TokPortal takes no further video for 2026-11-24 on b1")


@pytest.mark.parametrize(
    ("details", "day"),
    [
        ({"earliest_allowed": "2026-11-27"}, "2026-11-27"),
        ({"earliest_allowed": "2026-11-27T00:00:00Z"}, "2026-11-27"),
        ({"earliest_allowed": "2026-11-24"}, "2026-11-25"),
        ({"earliest_allowed": "soon"}, "2026-11-25"),
        ({}, "2026-11-25"),
    ],
)
def test_a_day_that_is_too_soon_moves_to_the_earliest_that_is_allowed(
    make: Make, details: dict[str, Any], day: str
) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    refuse(stage, "INVALID_DATE", details=details)

    assert where(stage, video) == ("b1", day, 1)
    assert handovers(stage, video)[-1] == (day, "pending", None)


def test_one_account_does_not_refuse_for_ever(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    for _ in range(5):
        refuse(stage, "INVALID_DATE")
        assert stage.video(video).bundle_id == "b1"
    refuse(stage, "INVALID_DATE")

    assert stage.video(video).bundle_id == "b2"
    assert len({row["command_id"] for row in stage.commands(kind="configure_video")}) == 7


# The bundle.


@pytest.mark.parametrize(
    ("code", "details", "fact"),
    [
        ("BUNDLE_INVALID_STATUS", {"current_status": "cancelled"}, BundleCancelled),
        ("BUNDLE_INVALID_STATUS", {"current_status": "archived"}, BundleArchived),
        ("BUNDLE_NOT_FOUND", {}, BundleCancelled),
        ("BUNDLE_NOT_OWNED", {}, BundleCancelled),
    ],
)
def test_a_bundle_that_is_gone_is_closed_and_its_videos_move(
    make: Make, code: str, details: dict[str, Any], fact: type[Any]
) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    asked_at = "2026-11-23T11:59:58Z"
    command = refuse(stage, code, details=details, asked_at=asked_at)

    (closed,) = stage.events(fact)
    assert (closed.event_id, closed.dialect) == (command["command_id"], "api")
    assert closed.occurred_at.isoformat() == "2026-11-23T11:59:58+00:00"
    assert stage.bundle("b1").holds == ("closed",)
    assert stage.video(video).bundle_id == "b2"
    # As with every closed bundle, TokPortal's word that it is open again lifts that.
    stage.public("bundle.published", bundle_id="b1")
    assert stage.bundle("b1").holds == ()


def test_what_is_known_to_be_closed_is_no_news(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    both = "[{country: US, platform: tiktok, bundles: [b1]}]"
    stage.campaign(campaign(refs=["one", "two"], targets=both))
    for command in stage.dispatch():
        stage.result(command["command_id"], "refused", code="BUNDLE_NOT_FOUND")

    assert len(stage.events(BundleCancelled)) == 1


def test_an_answer_from_the_future_is_none(make: Make) -> None:
    stage = make()
    placed(stage, "b1")
    refuse(stage, "BUNDLE_NOT_FOUND", asked_at="2027-01-01T00:00:00Z")

    (closed,) = stage.events(BundleCancelled)
    assert closed.occurred_at == stage.now


def test_a_bundle_in_another_status_takes_no_videos_until_it_is_counted_again(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    refuse(stage, "BUNDLE_INVALID_STATUS", details={"current_status": "pending_setup"})

    assert stage.bundle("b1").holds == ()
    slots = stage.bundle("b1").slots
    assert slots is not None
    assert (slots.total, slots.free) == (None, 0)
    assert stage.video(video).bundle_id == "b2"
    assert "dead_command" in stage.alerts()


def test_where_coverage_lapsed_the_account_is_uncovered_and_its_video_waits_for_its_day(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", more="starts: 2026-12-01")
    refuse(stage, "MANAGED_ACCOUNT_TASK_BLOCKED")

    assert len(stage.events(CoverageLapsed)) == 1
    assert stage.bundle("b1").holds == ("uncovered",)
    assert handovers(stage, video)[-1] == ("2026-12-01", "held", "the account: uncovered")
    stage.wait(hours=1)
    stage.public("subscription.reactivated", bundle_id="b1")
    assert handovers(stage, video)[-1] == ("2026-12-01", "pending", None)


def test_where_coverage_stays_lapsed_the_video_moves_in_time(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", more="starts: 2026-12-01")
    refuse(stage, "MANAGED_ACCOUNT_TASK_BLOCKED")
    stage.wait(days=7)

    assert where(stage, video) == ("b2", "2026-12-01", 1)


# Any other code: as the policy says of failures.


def test_a_code_that_says_retry_is_tried_again_on_the_same_account_with_another_key(make: Make) -> None:
    stage = make(policies=RETRY)
    video = placed(stage, "b1", "b2")
    first = refuse(stage, "busy_now")

    (retried,) = stage.events(VideoRetried)
    assert (retried.reason, retried.data["not_before"]) == ("busy_now: try 2 of 3", "2026-11-23T12:05:00Z")
    second = stage.commands(kind="configure_video", video_id=video)[-1]
    assert second["idempotency_key"] != first["idempotency_key"]
    assert second["urgency"] == 0
    assert where(stage, video) == ("b1", "2026-11-24", 2)
    stage.wait(minutes=6)
    refuse(stage, "busy_now")
    stage.wait(minutes=6)
    refuse(stage, "busy_now")
    assert where(stage, video)[0] == "b2"


def test_a_code_that_says_stop_ends_the_video_and_holds_its_content(make: Make) -> None:
    stage = make(policies=RETRY)
    stage.warm("b1", "b2")
    both = "[{country: US, platform: tiktok, bundles: [b1, b2]}]"
    first, second = stage.video_ids(stage.campaign(campaign(targets=both)))
    (command,) = [row for row in stage.dispatch() if row["video_id"] == first]
    stage.result(stage.commands(video_id=second)[-1]["command_id"], "again")
    stage.result(command["command_id"], "refused", code="content_violence")

    view = stage.video(first)
    assert (view.state, view.reason) == ("abandoned", "content_violence: the platform rejected this content")
    assert "held" in stage.video(second).flags
    assert "stopped" in stage.alerts()


def test_any_other_code_moves_the_video_at_once_with_no_question(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    refuse(stage, "VIDEO_TYPE_UNKNOWN")

    assert where(stage, video) == ("b2", "2026-11-24", 1)
    assert stage.commands(kind="look_up_slot") == []
    assert stage.commands(kind="unschedule_video") == []


def test_a_refusal_of_what_tokportal_reports_to_have_is_asked_about_first(make: Make) -> None:
    """It took an earlier try, whatever it says of this one: it may still be posted there."""
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.public("video.configured", video_id="tp_1", bundle_id="b1", external_ref=video)
    stage.result(command["command_id"], "refused", code="VIDEO_TYPE_UNKNOWN")

    assert stage.video(video).bundle_id == "b1"
    assert len(stage.commands(kind="look_up_slot")) == 1


def test_what_came_to_nothing_otherwise_is_no_refusal(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "dead")

    (refused,) = stage.events(HandoverRefused)
    assert "details" not in refused.data
    assert where(stage, video) == ("b1", "2026-11-24", 1)
    stage.wait(days=1)
    assert handovers(stage, video)[-1] == ("2026-11-25", "pending", None)


def test_a_held_video_stays_and_moves_once_it_is_released(make: Make) -> None:
    stage = make(policies=POLICIES)
    video = placed(stage, "b1", "b2")
    (command,) = stage.dispatch()
    stage.order({"command": "campaign.pause", "campaign_id": stage.commands(video_id=video)[0]["campaign_id"]})
    stage.result(command["command_id"], "refused", code="NO_FREE_SLOT")
    assert stage.video(video).bundle_id == "b2"
    assert handovers(stage, video)[-1][1:] == ("held", "the campaign spring is paused")
