"""TokPortal shows an account or a post, and finalizes it after 72 hours: people are told while there is time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.brain.stage import Make, Stage, campaign

CLOSES = "closes at 2026-11-26 12:00 UTC: ask for corrections before, if there are any"


def in_review(stage: Stage, *, url: str | None = "https://t.example/1") -> str:
    """A video whose post TokPortal shows now."""
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    stage.public("video.in_review", video_id=video, bundle_id="b1", platform_url=url)
    return video


def reviews(stage: Stage) -> list[str]:
    return [row["body"]["text"] for row in stage.commands(kind="alert") if "review" in row["body"]["text"]]


def is_watched(stage: Stage, video: str) -> bool:
    return f"video:{video}" in stage.timers()


def test_the_review_of_a_post_is_told_a_day_before_it_closes(make: Make) -> None:
    stage = make()
    video = in_review(stage)
    assert stage.video(video).state == "posted"
    stage.wait(hours=47)
    assert reviews(stage) == []
    stage.wait(hours=1)

    assert reviews(stage) == [f"the review of video {video} on b1 {CLOSES}"]
    stage.wait(days=10)
    assert len(reviews(stage)) == 1
    assert not is_watched(stage, video)


@pytest.mark.parametrize("first", [True, False])
def test_what_is_final_needs_no_review(make: Make, first: bool) -> None:
    """In whatever order the two webhooks come."""
    stage = make()
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    webhooks = [("video.in_review", timedelta(0)), ("video.finalized", timedelta(seconds=1))]
    stage.wait(seconds=1)
    for type_, later in webhooks if first else webhooks[::-1]:
        at = stage.now - timedelta(seconds=1) + later
        stage.public(type_, video_id=video, bundle_id="b1", platform_url="https://t.example/1", at=at)

    assert not is_watched(stage, video)
    stage.wait(days=4)
    assert reviews(stage) == []


def test_news_of_a_review_that_is_over_already_is_told_to_nobody(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    at = stage.now
    stage.now += timedelta(hours=72)
    stage.public("video.in_review", video_id=video, bundle_id="b1", platform_url="https://t.example/1", at=at)
    stage.wait(days=1)

    assert reviews(stage) == []


def test_after_downtime_it_is_told_late_and_still_in_time(make: Make) -> None:
    stage = make()
    in_review(stage)
    stage.now += timedelta(hours=60)
    stage.wait(minutes=1)

    assert len(reviews(stage)) == 1


def test_a_post_of_the_other_dialect_has_no_review(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")

    assert not is_watched(stage, video)


def test_the_review_of_an_account_is_told_a_day_before_it_closes(make: Make) -> None:
    stage = make()
    stage.public("account.in_review", bundle_id="b1", saved_account_id="acc_1", country="US", platform="tiktok")
    stage.wait(hours=48)

    assert reviews(stage) == [f"the review of the account of b1 {CLOSES}"]
    stage.wait(days=10)
    assert len(reviews(stage)) == 1


@pytest.mark.parametrize("end", ["account.finalized", "account.remade", "account.banned"])
def test_the_review_of_an_account_ends_with_the_account_or_its_acceptance(make: Make, end: str) -> None:
    stage = make()
    about = {"bundle_id": "b1", "country": "US", "platform": "tiktok"}
    stage.public("account.in_review", saved_account_id="acc_1", **about)
    stage.wait(hours=1)
    stage.public(end, **about)
    stage.wait(days=4)

    assert reviews(stage) == []
