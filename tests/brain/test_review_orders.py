"""A person ends the review of a post, or asks for corrections, while TokPortal allows it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.decisions import CommandRefused, ReviewActed, ReviewOrdered
from orchestrator.domain.facts import VideoPosted
from orchestrator.domain.times import iso
from tests.brain.stage import Make, Stage, campaign

URL = "https://t.example/1"


def in_review(stage: Stage) -> str:
    """A video whose post TokPortal shows now."""
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    (command,) = stage.dispatch()
    stage.result(command["command_id"], video_id="tp_1", position=1)
    stage.public("video.in_review", video_id="tp_1", bundle_id="b1", platform_url=URL)
    return video


def finalize(stage: Stage, video: str) -> tuple[str, str | None]:
    return stage.order({"command": "video.finalize", "video_id": video, "reason": "fine"})


def correct(stage: Stage, video: str, **more: Any) -> tuple[str, str | None]:
    order = {"command": "video.corrections", "video_id": video, "comment": "the caption has a typo"}
    return stage.order({**order, **more})


def commands(stage: Stage, kind: str) -> list[dict[str, Any]]:
    return stage.commands(kind=kind)


def test_a_post_is_finalized(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    assert finalize(stage, video) == ("applied", None)

    (command,) = commands(stage, "finalize_video")
    assert command["body"] == {"bundle_id": "b1", "external_ref": video, "vendor_id": "tp_1", "position": 1}
    assert (command["status"], command["price"]) == ("pending", None)
    stage.send_all()
    (acted,) = stage.events(ReviewActed)
    assert (acted.data["order"], acted.data["outcome"]) == ("finalize", "done")
    # The webhook tells that it is final, and nobody is told any more that the review closes.
    assert len(stage.events(VideoPosted)) == 1
    stage.wait(days=4)
    assert stage.alerts() == []


def test_where_the_answer_says_so_the_post_is_final(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    finalize(stage, video)
    (command,) = stage.dispatch()
    stage.result(command["command_id"], status="finalized")

    _, final = stage.events(VideoPosted)
    assert (final.dialect, final.event_id, final.data) == (
        "api",
        command["command_id"],
        {"url": URL, "review": "final", "as_of": iso(stage.now)},
    )
    assert stage.video(video).post_url == URL
    assert stage.video(video).flags == ()


def test_corrections_are_asked_for_with_a_comment_and_fields(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    assert correct(stage, video, fields={"description": "New drop"}) == ("applied", None)

    (command,) = commands(stage, "request_corrections")
    told = {"comment": "the caption has a typo", "fields": {"description": "New drop"}}
    assert command["body"].items() >= told.items()
    (ordered,) = stage.events(ReviewOrdered)
    assert ordered.data.items() >= told.items()
    assert ordered.actor == {"kind": "person", "name": "ann"}
    stage.send_all()
    stage.public("video.pending_corrections", video_id="tp_1", bundle_id="b1")
    assert stage.video(video).flags == ("pending_corrections",)


def test_a_video_that_nobody_planned_may_be_finalized_too(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.public("video.in_review", video_id="tp_9", bundle_id="b1", position=4, platform_url=URL)
    assert finalize(stage, "tp_9") == ("applied", None)

    (command,) = commands(stage, "finalize_video")
    assert command["body"] == {"bundle_id": "b1", "external_ref": None, "vendor_id": "tp_9", "position": 4}
    (command,) = stage.dispatch()
    stage.result(command["command_id"], status="finalized")
    assert stage.video("tp_9").state == "posted"


def test_after_72_hours_it_is_too_late(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    stage.wait(hours=72)
    why = "the review of the post is over since 2026-11-26 12:00 UTC"

    assert finalize(stage, video) == ("refused", why)
    assert correct(stage, video) == ("refused", why)
    assert [event.reason for event in stage.events(CommandRefused)] == [why, why]
    assert commands(stage, "finalize_video") == []


def test_what_is_not_posted_has_no_review(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))

    assert finalize(stage, video) == ("refused", "the video is not posted")
    assert finalize(stage, "tp_none") == ("refused", "there is no video 'tp_none'")


@pytest.mark.parametrize("how", ["final", "no review", "finalized before"])
def test_where_no_review_is_open_none_is_ended(make: Make, how: str) -> None:
    stage = make()
    if how == "no review":
        stage.warm("b1")
        (video,) = stage.video_ids(stage.campaign(campaign()))
        stage.article("video.posted", "b1", video_id=video, url=URL)
    else:
        video = in_review(stage)
    if how == "final":
        stage.public("video.finalized", video_id="tp_1", bundle_id="b1", platform_url=URL)
    elif how == "finalized before":
        finalize(stage, video)
        stage.send_all()

    assert finalize(stage, video) == ("refused", "no review of the post is open")


def test_what_is_under_way_is_not_ordered_twice_and_what_failed_may_be_ordered_again(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    finalize(stage, video)
    assert finalize(stage, video) == ("refused", "TokPortal is to be told that already")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="INVALID_STATUS_TRANSITION")
    assert "dead_command" in stage.alerts()
    assert finalize(stage, video) == ("applied", None)

    assert [row["status"] for row in commands(stage, "finalize_video")] == ["dead", "pending"]


def test_while_observing_the_order_waits(make: Make) -> None:
    stage = make(mode="observe")
    stage.warm("b1")
    stage.public("video.in_review", video_id="tp_9", bundle_id="b1", platform_url=URL)
    finalize(stage, "tp_9")
    (command,) = commands(stage, "finalize_video")
    assert (command["status"], command["reason"]) == ("held", "observe mode: nothing is sent to TokPortal")
    stage.order({"command": "mode", "mode": "live"})

    (command,) = commands(stage, "finalize_video")
    assert command["status"] == "pending"
