"""How posts do: TokPortal is asked one, three and seven days after a post, and when a person wants to know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.domain.facts import MetricsUpdated
from tests.brain.stage import Make, Stage, campaign

DAY = timedelta(days=1)


def posted(stage: Stage) -> str:
    """A video that was posted just now."""
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    (command,) = stage.dispatch()
    stage.result(command["command_id"], video_id="tp_1", position=2)
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    return video


def reads(stage: Stage) -> list[dict[str, Any]]:
    return stage.commands(kind="read_metrics")


def answer(stage: Stage, outcome: str = "done", **data: Any) -> None:
    (command,) = [row for row in stage.dispatch() if row["kind"] == "read_metrics"]
    stage.result(command["command_id"], outcome, **data)


def test_a_post_is_measured_after_one_three_and_seven_days(make: Make) -> None:
    stage = make(reads=True)
    video = posted(stage)
    at = stage.now
    seen = []
    for _ in range(10):
        stage.wait(days=1)
        seen.append(len(reads(stage)))

    assert seen == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    first = reads(stage)[0]
    assert first["body"] == {"bundle_id": "b1", "external_ref": video, "vendor_id": "tp_1", "position": 2}
    assert (first["urgency"], first["country"], first["status"]) == (2, "US", "pending")
    assert stage.now == at + 10 * DAY


def test_without_a_key_nothing_is_asked(make: Make) -> None:
    stage = make()
    video = posted(stage)
    stage.wait(days=8)

    assert reads(stage) == []
    why = "there is no key with which TokPortal can be read"
    assert stage.order({"command": "video.refresh", "video_id": video}) == ("refused", why)


def test_it_is_asked_while_observing_too(make: Make) -> None:
    stage = make(mode="observe", reads=True)
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.article("video.posted", "b1", video_id=video)
    stage.wait(days=1)

    assert [row["status"] for row in reads(stage)] == ["pending"]
    assert [row["kind"] for row in stage.dispatch()] == ["read_metrics"]


def test_a_post_that_is_learnt_late_is_measured_from_there_on(make: Make) -> None:
    stage = make(reads=True)
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    stage.wait(days=3)
    stage.article("video.posted", "b1", video_id=video, at=stage.now - 2 * DAY)

    assert sorted(name for name in stage.timers() if name.startswith("metrics:")) == [
        f"metrics:{video}:3",
        f"metrics:{video}:7",
    ]


def test_what_is_told_is_the_current_metrics(make: Make) -> None:
    stage = make(reads=True)
    video = posted(stage)
    stage.wait(days=1)
    as_of = (stage.now - timedelta(hours=3)).isoformat()
    answer(stage, views=100, likes=7, shares=0, comments=2, as_of=as_of)

    (told,) = stage.events(MetricsUpdated)
    assert (told.dialect, told.bundle_id, told.occurred_at) == ("api", "b1", stage.now - timedelta(hours=3))
    assert told.data == {"views": 100, "likes": 7, "shares": 0, "comments": 2}
    metrics = stage.video(video).metrics
    assert metrics is not None
    assert (metrics["views"], metrics["comments"]) == (100, 2)
    assert stage.video(video).state == "posted"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"views": "many", "likes": True, "shares": -1},
        {"views": 100, "likes": 7},
        {"views": 5, "as_of": "2026-11-20T00:00:00Z"},
    ],
)
def test_what_does_not_differ_or_is_no_number_or_is_older_is_no_fact(make: Make, data: dict[str, Any]) -> None:
    stage = make(reads=True)
    video = posted(stage)
    stage.article("video.analytics_updated", "b1", video_id=video, views=100, likes=7, shares=0, comments=2)
    stage.wait(days=1)
    answer(stage, **data)

    assert len(stage.events(MetricsUpdated)) == 1


@pytest.mark.parametrize("as_of", ["yesterday", "2026-11-24T12:00:00", None, "2027-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_is_that_of_the_question(make: Make, as_of: str | None) -> None:
    stage = make(reads=True)
    posted(stage)
    stage.wait(days=1)
    answer(stage, views=100, as_of=as_of)

    (told,) = stage.events(MetricsUpdated)
    assert told.occurred_at == stage.now


@pytest.mark.parametrize("outcome", ["refused", "dead", "unknown"])
def test_metrics_that_could_not_be_read_are_no_trouble(make: Make, outcome: str) -> None:
    stage = make(reads=True)
    posted(stage)
    stage.wait(days=1)
    answer(stage, outcome, code="VIDEO_NOT_FOUND")

    assert [row["status"] for row in reads(stage)] == ["dead"]
    assert stage.alerts() == []


def test_a_person_has_them_read_at_once_and_again(make: Make) -> None:
    stage = make(reads=True)
    video = posted(stage)
    for number in (1, 2):
        assert stage.order({"command": "video.refresh", "video_id": video}) == ("applied", None)
        answer(stage, views=number)
        stage.wait(minutes=1)

    assert [event.data for event in stage.events(MetricsUpdated)] == [{"views": 1}, {"views": 2}]


def test_those_of_a_video_that_nobody_planned_can_be_read_too(make: Make) -> None:
    stage = make(reads=True)
    stage.warm("b1")
    stage.public("video.finalized", video_id="tp_9", bundle_id="b1", position=3, platform_url="https://t.example/9")
    assert stage.order({"command": "video.refresh", "video_id": "tp_9"}) == ("applied", None)

    (command,) = reads(stage)
    assert command["body"] == {"bundle_id": "b1", "external_ref": None, "vendor_id": "tp_9", "position": 3}
    answer(stage, views=3)
    metrics = stage.video("tp_9").metrics
    assert metrics is not None
    assert metrics["views"] == 3


def test_what_is_not_posted_has_none(make: Make) -> None:
    stage = make(reads=True)
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))

    assert stage.order({"command": "video.refresh", "video_id": video}) == ("refused", "the video is not posted")
