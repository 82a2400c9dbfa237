"""Which video is meant: TokPortal speaks of it under its own names, and what they stand for may be learnt late."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from orchestrator.domain.decisions import FactsAdopted
from orchestrator.domain.video import Video
from tests.brain.stage import Make, Stage, campaign


def wanted(stage: Stage, *bundles: str, **options: Any) -> list[str]:
    """Videos of a campaign for these warm accounts, their commands on the way."""
    stage.warm(*bundles)
    targets = f"[{{country: US, platform: tiktok, bundles: [{', '.join(bundles)}]}}]"
    videos = stage.video_ids(stage.campaign(campaign(targets=targets, **options)))
    stage.dispatch()
    return videos


def answer(stage: Stage, video: str, **names: Any) -> None:
    """TokPortal took the video, and says how it calls it."""
    command = stage.commands(kind="configure_video", video_id=video)[-1]
    stage.result(command["command_id"], **names)


def merged(stage: Stage, vendor_id: str) -> str | None:
    """Whom those are answered who ask for this id of TokPortal's."""
    steps = stage._aggregate(Video.key(vendor_id)).steps
    found = [step.detail["video_id"] for step in steps if step.name == "Merged"]
    return found[-1] if found else None


def later(stage: Stage, minutes: float = 1) -> datetime:
    stage.wait(minutes=minutes)
    return stage.now


# One name, learnt before and after the news


def test_facts_under_the_id_that_tokportal_answered_are_about_ours(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    answer(stage, video, video_id="tp_1", position=1)
    stage.article("video.upload_started", "b1", at=later(stage), video_id="tp_1")
    assert stage.video(video).state == "uploading"
    assert "stranger" not in stage.alerts()


def test_news_that_overtakes_the_answer_is_not_taken_for_a_strangers(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.public("video.configured", video_id="tp_1", bundle_id="b1")
    assert "stranger" not in stage.alerts()
    answer(stage, video, video_id="tp_1", position=1)
    stage.public("video.configured", video_id="tp_2", bundle_id="b1")
    assert "stranger" in stage.alerts()


def test_facts_that_came_before_the_answer_are_adopted(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.article("video.upload_started", "b1", video_id="tp_1")
    stage.public("video.in_review", video_id="tp_1", bundle_id="b1", platform_url="https://t.example/1")
    assert stage.video(video).state == "planned"
    answer(stage, video, video_id="tp_1", position=1)
    assert (stage.video(video).state, stage.video(video).post_url) == ("posted", "https://t.example/1")
    assert merged(stage, "tp_1") == video


def test_who_asks_for_tokportals_id_is_answered_ours_even_if_nothing_was_told_under_it(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    answer(stage, video, video_id="tp_1", position=1)
    assert merged(stage, "tp_1") == video


def test_facts_that_still_arrive_under_a_merged_strangers_id_are_about_ours(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    began = stage.now
    stage.article("video.upload_started", "b1", at=began + timedelta(minutes=2), video_id="tp_1")
    answer(stage, video, video_id="tp_1")
    stage.article("video.upload_completed", "b1", at=began + timedelta(minutes=3), video_id="tp_1")
    stage.article("video.analytics_updated", "b1", at=began, video_id="tp_1", views=7)
    view = stage.video(video)
    assert view.state == "uploaded"
    assert view.metrics is not None
    assert view.metrics["views"] == 7


def test_a_failure_that_came_before_the_answer_moves_the_video_when_it_is_joined(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.warm("b2")
    stage.article("video.post_failed", "b1", video_id="tp_1", error_code="network_error", retry={"will_retry": False})
    answer(stage, video, video_id="tp_1")
    assert [(a.bundle_id, a.state) for a in stage.video(video).attempts] == [("b1", "failed"), ("b2", "planned")]


def test_adopted_news_is_told_like_any_other(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.public("video.pending_corrections", video_id="tp_1", bundle_id="b1")
    stage.public("video.in_review", video_id="tp_1", bundle_id="b9", platform_url="https://t.example/9")
    assert not {"corrections", "wrong_bundle"} & set(stage.alerts())
    answer(stage, video, video_id="tp_1")
    assert {"corrections", "wrong_bundle"} <= set(stage.alerts())
    assert stage.video(video).flags == ("pending_corrections", "wrong_bundle")


# By position


def test_facts_of_a_position_that_carries_ours_are_about_it_under_any_id(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    answer(stage, video, position=2)
    stage.public("video.published", at=later(stage), video_id="tp_1", bundle_id="b1", position=2)
    stage.article("video.upload_started", "b1", at=later(stage), video_id="tp_1")
    assert stage.video(video).state == "uploading"
    assert merged(stage, "tp_1") == video
    stage.public("video.published", video_id="tp_2", bundle_id="b1", position=1)
    assert merged(stage, "tp_2") is None


POSITIONS = ["answer", "placed", "uploading", "uploaded"]


@pytest.mark.parametrize("order", list(permutations(POSITIONS)), ids="-".join)
def test_what_a_position_teaches_counts_for_all_facts_of_the_id_in_every_order(
    make: Make, order: tuple[str, ...]
) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    at = stage.now
    happen = {
        "answer": lambda: answer(stage, video, position=1),
        "placed": lambda: stage.public("video.published", at=at, video_id="tp_1", bundle_id="b1", position=1),
        "uploading": lambda: stage.article("video.upload_started", "b1", at=at + timedelta(minutes=1), video_id="tp_1"),
        "uploaded": lambda: stage.article(
            "video.upload_completed", "b1", at=at + timedelta(minutes=2), video_id="tp_1"
        ),
    }
    for name in order:
        happen[name]()
    assert stage.video(video).state == "uploaded"
    assert merged(stage, "tp_1") == video


# By our own id


REFERENCES = ["referred", "early", "late"]


@pytest.mark.parametrize("order", list(permutations(REFERENCES)), ids="-".join)
def test_a_fact_with_both_ids_teaches_what_tokportals_means_in_every_order(make: Make, order: tuple[str, ...]) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    at = stage.now
    happen = {
        "referred": lambda: stage.public("video.published", at=at, video_id="tp_1", bundle_id="b1", external_ref=video),
        "early": lambda: stage.article("video.upload_started", "b1", at=at - timedelta(minutes=1), video_id="tp_1"),
        "late": lambda: stage.article("video.upload_completed", "b1", at=at + timedelta(minutes=1), video_id="tp_1"),
    }
    for name in order:
        happen[name]()
    assert stage.video(video).state == "uploaded"
    assert len(stage._aggregate(Video.key(video)).notes) == 3
    assert merged(stage, "tp_1") == video


def test_somebody_elses_reference_teaches_nothing(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.public("video.published", video_id="tp_1", bundle_id="b1", external_ref="order-7")
    assert merged(stage, "tp_1") is None
    assert stage.video(video).state == "planned"


def test_what_was_told_of_a_video_before_its_campaign_started_counts_when_it_does(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    spec = stage.campaign(campaign(), start=False)
    (video,) = stage.video_ids(spec)
    stage.public("video.published", video_id="tp_1", bundle_id="b1", external_ref=video)
    stage.article("video.upload_started", "b1", at=later(stage), video_id="tp_1")
    stage.article("video.analytics_updated", "b1", video_id=video, views=3)
    assert merged(stage, "tp_1") is None
    assert stage.order({"command": "campaign.start", "campaign_id": spec.campaign_id}) == ("applied", None)
    view = stage.video(video)
    assert (view.state, view.bundle_id) == ("uploading", "b1")
    assert view.metrics is not None
    assert merged(stage, "tp_1") == video


# Two of ours in one slot


def test_a_slot_speaks_for_the_one_that_it_carried_last_before_the_fact(make: Make) -> None:
    stage = make()
    first, second = wanted(stage, "b1", refs=("one", "two"))
    answer(stage, first, video_id="tp_1", position=1)
    between = later(stage)
    after = between + timedelta(minutes=1)
    stage.wait(minutes=1)
    answer(stage, second, video_id="tp_1", position=1)
    stage.article("video.upload_completed", "b1", at=after + timedelta(minutes=1), video_id="tp_1")
    stage.article("video.upload_started", "b1", at=between, video_id="tp_1")
    assert stage.video(first).state == "uploading"
    assert stage.video(second).state == "uploaded"
    assert merged(stage, "tp_1") == second


def test_what_was_taken_for_the_first_goes_to_the_second_once_tokportal_says_that_it_had_it_by_then(
    make: Make,
) -> None:
    stage = make()
    first, second = wanted(stage, "b1", refs=("one", "two"))
    answer(stage, first, video_id="tp_1", position=1)
    stage.wait(minutes=5)
    answered = stage.now
    stage.wait(minutes=5)
    stage.article("video.upload_started", "b1", video_id="tp_1")
    assert stage.video(first).state == "uploading"
    command = stage.commands(kind="configure_video", video_id=second)[-1]
    now, stage.now = stage.now, answered
    stage.result(command["command_id"], video_id="tp_1", position=1)
    stage.now = now
    assert (stage.video(first).state, stage.video(second).state) == ("scheduled", "uploading")


# Our own id under TokPortal's name, and places that never had it


def test_a_video_id_that_equals_ours_is_ours(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.article("video.upload_started", "b1", video_id=video)
    assert stage.video(video).state == "uploading"


def test_our_id_counts_more_than_tokportals(make: Make) -> None:
    stage = make()
    first, second = wanted(stage, "b1", refs=("one", "two"))
    answer(stage, first, video_id="tp_1", position=1)
    stage.public("video.published", at=later(stage), video_id="tp_1", bundle_id="b1", external_ref=second)
    stage.public(
        "video.in_review",
        at=later(stage),
        video_id="tp_1",
        bundle_id="b1",
        external_ref=second,
        platform_url="https://u",
    )
    assert (stage.video(first).state, stage.video(second).state) == ("scheduled", "posted")


@pytest.mark.parametrize("event", ["video.upload_started", "video.analytics_updated"])
def test_any_news_from_a_bundle_that_never_carried_it_is_flagged(make: Make, event: str) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.article(event, "b9", video_id=video, views=1)
    view = stage.video(video)
    assert (view.state, view.flags) == ("planned", ("wrong_bundle",))


def test_a_bundle_that_only_a_video_event_named_can_be_ordered_about(make: Make) -> None:
    stage = make()
    stage.public("video.published", video_id="tp_1", bundle_id="b1")
    assert stage.order({"command": "bundle.pause", "bundle_id": "b1"}) == ("applied", None)
    assert stage.bundle("b1").holds == ("paused",)


# What is recorded


def test_what_is_adopted_is_recorded_once(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.public("video.published", video_id="tp_1", bundle_id="b1", position=1)
    answer(stage, video, video_id="tp_1", position=1)
    stage.public("video.published", at=later(stage), video_id="tp_1", bundle_id="b1", position=1, external_ref=video)
    assert len(stage.events(FactsAdopted)) == 1


# TokPortal's answer and its news


def test_the_answer_has_no_place_among_the_vendors_facts(make: Make) -> None:
    """The answer may come after the news of what it answers, whatever the clocks say."""
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.warm("b2")
    stage.article(
        "video.post_failed", "b1", at=stage.now - timedelta(seconds=1), video_id=video, error_code="x", retry=None
    )
    command = stage.commands(kind="configure_video", video_id=video)[0]
    stage.result(command["command_id"])
    assert [(a.bundle_id, a.state) for a in stage.video(video).attempts] == [("b1", "failed"), ("b2", "planned")]


def test_an_upload_reported_before_the_answer_stays_an_upload(make: Make) -> None:
    stage = make()
    (video,) = wanted(stage, "b1")
    stage.article("video.upload_started", "b1", at=stage.now - timedelta(seconds=1), video_id=video)
    answer(stage, video)
    assert stage.video(video).state == "uploading"
