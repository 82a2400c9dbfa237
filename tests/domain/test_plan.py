"""The way of a video that a campaign wanted: our decisions and the vendor's facts together."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from orchestrator.domain.decisions import Step, write_key
from orchestrator.domain.facts import API, ARTICLE, Note
from orchestrator.domain.video import Video, VideoView, video_view
from tests.domain.test_video import NOON, at, fact, failure, metrics, states

WISH = {"campaign_id": "cmp_1", "target": 0, "ref": "r", "country": "US", "platform": "tiktok", "group": "default"}


def step(name: str, **detail: Any) -> Step:
    return Step(name, NOON, detail)


def planned(*bundles: str) -> list[Step]:
    """Wanted, and taken from each of these bundles to the next."""
    steps = [step("VideoRequested", **WISH)]
    for number, bundle in enumerate(bundles, start=1):
        if number > 1:
            steps.append(step("AttemptCancelled", number=number - 1, bundle_id=bundles[number - 2]))
        kind = "VideoPlanned" if number == 1 else "VideoRerouted"
        steps.append(step(kind, number=number, bundle_id=bundle, account=bundle, target_day="2026-11-24"))
    return steps


def sent(bundle: str = "bdl_1", *, number: int = 1, command: str = "cmd_1") -> Step:
    return step("HandoverStarted", number=number, bundle_id=bundle, command_id=command)


def accepted(minute: float, bundle: str = "bdl_1", *, command: str = "cmd_1") -> Note:
    """TokPortal's answer to a command."""
    return Note("VideoScheduled", at(minute), command, API, bundle_id=bundle)


def retried(since: Note | None, *, tries: int = 2) -> Step:
    key = write_key(since.key) if since is not None else None
    return step("VideoRetried", number=1, bundle_id="bdl_1", tries=tries, since=key)


def view(steps: list[Step], *facts: Note) -> VideoView:
    """The video by these steps and facts; no order of arrival of the facts changes it."""
    seen = video_view(facts, steps)
    for arrival in permutations(facts):
        assert video_view(arrival, steps) == seen
    return seen


# Planned, accepted, under way


def test_it_waits_until_it_is_placed() -> None:
    assert view(planned()).state == "waiting"


def test_it_is_planned_until_tokportal_accepts_it() -> None:
    steps = planned("bdl_1")
    assert (view(steps).state, states(view(steps))) == ("planned", [(1, "bdl_1", "planned")])
    assert view([*steps, sent()]).state == "planned"
    assert view([*steps, sent()], accepted(1)).state == "scheduled"


@pytest.mark.parametrize(
    ("last", "state"), [(fact("UploadStarted", 1), "uploading"), (failure(1), "failed"), (failure(9), "failed")]
)
def test_acceptance_has_no_place_in_the_order_of_the_vendors_facts(last: Note, state: str) -> None:
    assert view([*planned("bdl_1"), sent()], accepted(5), last).state == state


def test_acceptance_of_another_command_than_the_last_says_nothing() -> None:
    steps = [*planned("bdl_1"), sent(), retried(failure(2))]
    assert view(steps, accepted(1), failure(2)).state == "planned"
    assert view([*steps, sent(command="cmd_2")], accepted(1), failure(2)).state == "planned"
    assert view([*steps, sent(command="cmd_2")], accepted(1, command="cmd_2"), failure(2)).state == "scheduled"


def test_the_vendors_own_word_that_it_is_configured_is_a_fact_like_any_other() -> None:
    configured = fact("VideoScheduled", 5)
    assert configured.dialect == ARTICLE
    assert view(planned("bdl_1"), fact("UploadStarted", 1), configured).state == "scheduled"


# Retries


def test_a_retry_counts_from_the_failure_that_it_answers() -> None:
    first = failure(5)
    steps = [*planned("bdl_1"), retried(first)]
    for name in ("VideoScheduled", "UploadStarted", "UploadCompleted"):
        assert view(steps, first, fact(name, 4)).state == "planned"
    seen = view(steps, first, fact("UploadStarted", 6))
    assert (seen.state, seen.attempts[0].tries, seen.attempts[0].error) == ("uploading", 2, None)


def test_what_comes_up_to_the_failure_speaks_no_longer_even_if_it_comes_late() -> None:
    late = failure(4, code="older")
    assert view([*planned("bdl_1"), retried(failure(5))], failure(5), late).state == "planned"


def test_a_post_and_metrics_from_before_the_failure_still_speak() -> None:
    steps = [*planned("bdl_1"), retried(failure(5))]
    seen = view(steps, failure(5), fact("VideoPosted", 4, url="https://t.example/1"), metrics(3, views=3))
    assert (seen.state, seen.post_url, seen.posted_at) == ("posted", "https://t.example/1", at(4))
    assert seen.metrics is not None
    assert seen.metrics["views"] == 3


def test_a_retry_without_a_failure_counts_from_the_greatest_fact_known_then() -> None:
    steps = [*planned("bdl_1"), retried(fact("UploadStarted", 3))]
    assert view(steps, fact("UploadStarted", 3)).state == "planned"
    assert view(steps, fact("UploadStarted", 3), fact("UploadCompleted", 4)).state == "uploaded"
    assert view([*planned("bdl_1"), retried(None)]).state == "planned"


# Left behind


@pytest.mark.parametrize("late", ["VideoScheduled", "UploadStarted", "UploadCompleted"])
def test_an_attempt_left_behind_stays_cancelled_whatever_arrives(late: str) -> None:
    seen = view(planned("bdl_1", "bdl_2"), fact(late, 9))
    assert states(seen) == [(1, "bdl_1", "cancelled"), (2, "bdl_2", "planned")]
    assert (seen.state, seen.bundle_id) == ("planned", "bdl_2")


def test_it_is_failed_where_tokportal_said_so_and_stays_that() -> None:
    seen = view(planned("bdl_1", "bdl_2"), failure(1), fact("UploadStarted", 9))
    assert states(seen) == [(1, "bdl_1", "failed"), (2, "bdl_2", "planned")]
    assert seen.attempts[0].error == {"code": "device_offline", "message": "device_offline!"}


def test_a_post_of_an_attempt_left_behind_counts_and_ends_the_newer_one() -> None:
    seen = view(planned("bdl_1", "bdl_2"), failure(1), fact("VideoPosted", 9), fact("UploadStarted", 9, "bdl_2"))
    assert (seen.state, seen.bundle_id) == ("posted", "bdl_1")
    assert states(seen) == [(1, "bdl_1", "posted"), (2, "bdl_2", "cancelled")]


def test_posts_of_both_are_flagged() -> None:
    seen = view(planned("bdl_1", "bdl_2"), fact("VideoPosted", 9), fact("VideoPosted", 8, "bdl_2"))
    assert (seen.state, seen.bundle_id, seen.flags) == ("posted", "bdl_2", ("double_posted",))
    assert states(seen) == [(1, "bdl_1", "posted"), (2, "bdl_2", "posted")]


@pytest.mark.parametrize("minute", [5, 9])
def test_a_failure_at_or_after_the_post_is_kept_as_error_and_flag(minute: float) -> None:
    seen = view(planned("bdl_1"), fact("VideoPosted", 5), failure(minute, code="taken_down"))
    assert (seen.state, seen.flags) == ("posted", ("failed_after_posted",))
    assert seen.attempts[0].error == {"code": "taken_down", "message": "taken_down!"}
    assert view(planned("bdl_1"), fact("VideoPosted", 5), failure(4)).flags == ()


# Elsewhere


@pytest.mark.parametrize("name", ["UploadStarted", "PostFailed", "MetricsUpdated", "NotRecommended"])
def test_news_from_a_bundle_that_never_carried_it_is_flagged_and_moves_nothing(name: str) -> None:
    seen = view(planned("bdl_1"), fact(name, 1, "bdl_9"))
    assert (seen.state, seen.bundle_id) == ("planned", "bdl_1")
    assert "wrong_bundle" in seen.flags


def test_a_post_there_counts() -> None:
    seen = view(planned("bdl_1"), fact("VideoPosted", 1, "bdl_9", url="https://t.example/9"))
    assert (seen.state, seen.bundle_id, seen.post_url) == ("posted", "bdl_9", "https://t.example/9")
    assert (seen.flags, states(seen)) == (("wrong_bundle",), [(1, "bdl_1", "cancelled")])


# Ends


@pytest.mark.parametrize(
    ("end", "state"), [("VideoWaiting", "waiting"), ("VideoAbandoned", "abandoned"), ("VideoCancelled", "cancelled")]
)
def test_a_decision_ends_it_with_its_reason(end: str, state: str) -> None:
    left = step("AttemptCancelled", number=1, bundle_id="bdl_1")
    seen = view([*planned("bdl_1"), left, step(end, reason="why")])
    assert (seen.state, seen.reason, states(seen)) == (state, "why", [(1, "bdl_1", "cancelled")])
    posted = view([*planned("bdl_1"), left, step(end, reason="why")], fact("VideoPosted", 1))
    assert (posted.state, posted.reason) == ("posted", None)


# Whom facts came for


def test_facts_that_name_this_very_video_are_nobody_elses() -> None:
    video = Video.register("vid_1", message_id="msg", now=NOON)
    video.hear(fact("UploadStarted", 1), "vid_1")
    video.hear(fact("UploadStarted", 2, external_ref="vid_1"), "tp_1")
    video.hear(fact("UploadStarted", 3), "tp_1")
    assert [note.occurred_at for note in video.heard_as("tp_1")] == [at(3)]
    video.release({fact("UploadStarted", 3).key})
    assert [note.occurred_at for note in video.notes] == [at(1), at(2)]
