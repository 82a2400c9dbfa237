from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from orchestrator.domain.facts import ARTICLE, KINDS, Note
from orchestrator.domain.video import Attempt, Video, VideoView, remember, video_view

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def fact(name: str, minute: float, bundle: str = "bdl_1", *, id: str = "", **detail: Any) -> Note:
    return Note(name, at(minute), id or f"evt_{name}_{minute}", ARTICLE, bundle_id=bundle, detail=detail)


def failure(minute: float, bundle: str = "bdl_1", *, code: str = "device_offline", will_retry: bool = False) -> Note:
    retry = {"attempt": 1, "max_attempts": 3, "will_retry": will_retry}
    return fact("PostFailed", minute, bundle, error_code=code, message=f"{code}!", retry=retry)


def metrics(minute: float, bundle: str = "bdl_1", *, id: str = "", **counts: int) -> Note:
    return fact("MetricsUpdated", minute, bundle, id=id, **counts)


def view(*facts: Note) -> VideoView:
    """The video with these facts, as its aggregate remembers them; no order of arrival changes it."""
    seen = video_view(remembered(facts))
    assert video_view(remembered(facts[::-1])) == seen
    return seen


def remembered(facts: tuple[Note, ...]) -> list[Note]:
    notes: list[Note] = []
    for one in facts:
        remember(notes, one)
    return notes


def states(seen: VideoView) -> list[tuple[int, str, str]]:
    return [(attempt.number, attempt.bundle_id, attempt.state) for attempt in seen.attempts]


# The state


def test_video_without_facts_is_unknown() -> None:
    assert view() == VideoView(
        state="unknown", bundle_id=None, post_url=None, posted_at=None, flags=(), attempts=(), metrics=None
    )


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("VideoScheduled", "scheduled"),
        ("VideoHandedOver", "scheduled"),
        ("UploadStarted", "uploading"),
        ("UploadCompleted", "uploaded"),
        ("VideoPosted", "posted"),
        ("PostFailed", "failed"),
    ],
)
def test_one_fact_is_enough_for_a_state(name: str, state: str) -> None:
    seen = view(fact(name, 0))
    assert (seen.state, seen.bundle_id) == (state, "bdl_1")
    assert states(seen) == [(1, "bdl_1", state)]


def test_state_is_that_of_the_greatest_fact_whatever_arrived_last() -> None:
    facts = [fact("VideoScheduled", 0), fact("UploadStarted", 1), failure(2), fact("UploadStarted", 3)]
    for arrival in permutations(facts):
        assert video_view(arrival).state == "uploading"


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [
        ("VideoScheduled", "UploadStarted", "uploading"),
        ("VideoHandedOver", "UploadStarted", "uploading"),
        ("UploadStarted", "UploadCompleted", "uploaded"),
        ("UploadCompleted", "VideoPosted", "posted"),
        ("UploadCompleted", "PostFailed", "failed"),
    ],
)
def test_facts_of_one_instant_follow_the_lifecycle(first: str, second: str, state: str) -> None:
    # The event ids say the opposite: they come last.
    assert view(fact(first, 0, id="evt_9"), fact(second, 0, id="evt_1")).state == state


def test_video_known_by_its_metrics_only_is_unknown() -> None:
    seen = view(metrics(1, views=10))
    assert (seen.state, seen.bundle_id, seen.attempts) == ("unknown", "bdl_1", ())
    assert seen.metrics == {"views": 10, "likes": None, "shares": None, "comments": None, "as_of": at(1)}


def test_metrics_change_no_state_even_when_they_are_newest() -> None:
    seen = view(fact("UploadStarted", 1), metrics(2, views=10))
    assert seen.state == "uploading"
    assert states(seen) == [(1, "bdl_1", "uploading")]


# Attempts


def test_attempts_are_numbered_by_their_smallest_facts() -> None:
    facts = [fact("UploadStarted", 2, "bdl_b"), fact("UploadStarted", 1, "bdl_a"), fact("UploadCompleted", 3, "bdl_b")]
    assert states(view(*facts)) == [(1, "bdl_a", "cancelled"), (2, "bdl_b", "uploaded")]
    late = fact("VideoScheduled", 0, "bdl_b")
    assert states(view(*facts, late)) == [(1, "bdl_b", "uploaded"), (2, "bdl_a", "cancelled")]


def test_attempts_that_begin_in_one_instant_are_numbered_by_key() -> None:
    facts = [fact("UploadStarted", 1, "bdl_a", id="evt_2"), fact("UploadStarted", 1, "bdl_b", id="evt_1")]
    assert states(view(*facts)) == [(1, "bdl_b", "cancelled"), (2, "bdl_a", "uploading")]


def test_only_the_attempt_with_the_greatest_fact_is_live() -> None:
    facts = [fact("UploadStarted", 1, "bdl_a"), fact("UploadStarted", 2, "bdl_b")]
    seen = view(*facts)
    assert (seen.state, seen.bundle_id) == ("uploading", "bdl_b")
    seen = view(*facts, fact("UploadCompleted", 3, "bdl_a"))
    assert (seen.state, seen.bundle_id) == ("uploaded", "bdl_a")
    assert states(seen) == [(1, "bdl_a", "uploaded"), (2, "bdl_b", "cancelled")]


def test_attempt_left_behind_is_failed_where_the_vendor_said_so() -> None:
    seen = view(failure(1, "bdl_a", code="banned"), fact("UploadStarted", 2, "bdl_b"))
    assert states(seen) == [(1, "bdl_a", "failed"), (2, "bdl_b", "uploading")]
    assert seen.attempts[0].error == {"code": "banned", "message": "banned!"}


def test_metrics_of_another_bundle_make_no_attempt() -> None:
    seen = view(fact("UploadStarted", 1, "bdl_a"), metrics(2, "bdl_b", views=1))
    assert states(seen) == [(1, "bdl_a", "uploading")]
    assert seen.bundle_id == "bdl_a"


def test_attempts_that_we_did_not_plan_have_one_try_and_no_day() -> None:
    assert view(fact("UploadStarted", 1)).attempts == (
        Attempt(number=1, bundle_id="bdl_1", state="uploading", tries=1, target_day=None, error=None),
    )


# Failures


def test_failed_attempt_names_its_newest_failure() -> None:
    seen = view(failure(1, code="first"), failure(2, code="second"))
    assert seen.state == "failed"
    assert seen.attempts[0].error == {"code": "second", "message": "second!"}


def test_failure_that_was_overcome_is_no_error() -> None:
    seen = view(failure(1), fact("UploadStarted", 2))
    assert (seen.state, seen.attempts[0].error) == ("uploading", None)


def test_failure_that_the_vendor_will_retry_is_a_live_attempt_that_goes_on() -> None:
    seen = view(failure(1, will_retry=True))
    assert states(seen) == [(1, "bdl_1", "failed")]
    assert view(failure(1, will_retry=True), fact("VideoPosted", 2)).state == "posted"


# Posted


def test_posted_is_absorbing_for_the_attempt_and_the_video() -> None:
    posted = fact("VideoPosted", 5, url="https://t.example/1")
    for name in ("VideoScheduled", "UploadStarted", "UploadCompleted"):
        seen = view(posted, fact(name, 9))
        assert (seen.state, states(seen)) == ("posted", [(1, "bdl_1", "posted")])
        assert (seen.flags, seen.attempts[0].error) == ((), None)


@pytest.mark.parametrize("minute", [5, 9])
def test_failure_of_equal_or_later_key_is_kept_as_error_and_flag(minute: float) -> None:
    seen = view(fact("VideoPosted", 5), failure(minute, code="taken_down"))
    assert (seen.state, seen.flags) == ("posted", ("failed_after_posted",))
    assert seen.attempts[0].error == {"code": "taken_down", "message": "taken_down!"}


def test_failure_before_the_post_was_overcome() -> None:
    seen = view(failure(4), fact("VideoPosted", 5))
    assert (seen.state, seen.flags, seen.attempts[0].error) == ("posted", (), None)


def test_confirmation_of_a_post_does_not_take_the_flag_back() -> None:
    seen = view(fact("VideoPosted", 5), failure(6), fact("VideoPosted", 7))
    assert (seen.state, seen.flags) == ("posted", ("failed_after_posted",))


def test_newest_failure_after_the_post_is_the_error() -> None:
    seen = view(fact("VideoPosted", 5), failure(6, code="one"), failure(7, code="two"))
    assert seen.attempts[0].error == {"code": "two", "message": "two!"}


def test_post_of_an_attempt_left_behind_makes_the_video_posted() -> None:
    posted = fact("VideoPosted", 5, "bdl_a", url="https://t.example/a")
    seen = view(fact("UploadStarted", 1, "bdl_a"), fact("UploadStarted", 9, "bdl_b"), posted)
    assert (seen.state, seen.bundle_id, seen.post_url) == ("posted", "bdl_a", "https://t.example/a")
    assert seen.attempts[0].state == "posted"


def test_newer_attempt_is_cancelled_by_the_later_post_of_an_older_one() -> None:
    seen = view(fact("UploadStarted", 1, "bdl_a"), fact("UploadStarted", 2, "bdl_b"), fact("VideoPosted", 5, "bdl_a"))
    assert states(seen) == [(1, "bdl_a", "posted"), (2, "bdl_b", "cancelled")]


def test_failure_elsewhere_is_no_failure_after_the_post() -> None:
    seen = view(fact("VideoPosted", 5, "bdl_a"), failure(9, "bdl_b"))
    assert (seen.state, seen.bundle_id, seen.flags) == ("posted", "bdl_a", ())


def test_posts_on_two_bundles_are_flagged() -> None:
    seen = view(
        fact("VideoPosted", 5, "bdl_a", url="https://t.example/a"),
        fact("VideoPosted", 6, "bdl_b", url="https://t.example/b"),
    )
    assert (seen.state, seen.flags) == ("posted", ("double_posted",))
    assert states(seen) == [(1, "bdl_a", "posted"), (2, "bdl_b", "posted")]
    assert (seen.bundle_id, seen.post_url, seen.posted_at) == ("bdl_a", "https://t.example/a", at(5))


def test_two_reports_of_one_post_are_no_double_post() -> None:
    seen = view(fact("VideoPosted", 5, url="https://t.example/1"), fact("VideoPosted", 9, url="https://t.example/1"))
    assert (seen.flags, seen.posted_at) == ((), at(5))


def test_post_url_is_the_newest_that_was_told() -> None:
    first = fact("VideoPosted", 5, url="https://t.example/old")
    assert view(first, fact("VideoPosted", 6, url=None)).post_url == "https://t.example/old"
    assert view(first, fact("VideoPosted", 6, url="https://t.example/new")).post_url == "https://t.example/new"
    assert view(fact("VideoPosted", 5)).post_url is None


# Metrics and flags


def test_metrics_of_the_greatest_key_are_current_whatever_arrived_last() -> None:
    facts = (metrics(1, views=100), metrics(3, views=300, likes=3), metrics(2, views=200))
    for arrival in permutations(facts):
        assert video_view(remembered(arrival)).metrics == {
            "views": 300,
            "likes": 3,
            "shares": None,
            "comments": None,
            "as_of": at(3),
        }


def test_metrics_of_one_instant_follow_their_event_ids() -> None:
    seen = view(metrics(1, id="evt_1", views=1), metrics(1, id="evt_2", views=2))
    assert seen.metrics is not None
    assert seen.metrics["views"] == 2


def test_of_many_metrics_only_the_current_ones_are_remembered() -> None:
    facts = (metrics(2, views=2), fact("UploadStarted", 0), metrics(1, views=1), metrics(3, views=3))
    assert [(note.name, note.occurred_at) for note in remembered(facts)] == [
        ("MetricsUpdated", at(3)),
        ("UploadStarted", at(0)),
    ]


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("CorrectionsRequested", "pending_corrections"),
        ("NotRecommended", "not_recommended"),
        ("AiLabeled", "ai_labeled"),
        ("SoundRestricted", "sound_restricted"),
    ],
)
def test_notices_are_flags_and_change_no_state(name: str, flag: str) -> None:
    seen = view(fact("UploadCompleted", 1), fact(name, 2))
    assert (seen.state, seen.flags) == ("uploaded", (flag,))
    alone = view(fact(name, 2))
    assert (alone.state, alone.flags, alone.attempts) == ("unknown", (flag,), ())


# The aggregate


def test_aggregate_remembers_its_facts_and_not_its_birth() -> None:
    video = Video.register("vid_1", message_id="msg_1", now=NOON)
    common: dict[str, Any] = {
        "timestamp": NOON,
        "message_id": "msg_1",
        "dialect": ARTICLE,
        "bundle_id": "bdl_1",
        "account": None,
        "country": "US",
        "platform": "tiktok",
    }
    video.record(KINDS["VideoPosted"], occurred_at=at(1), event_id="e1", data={"url": "u", "more": 1}, **common)
    video.record(KINDS["MetricsUpdated"], occurred_at=at(3), event_id="e3", data={"views": 3}, **common)
    video.record(KINDS["MetricsUpdated"], occurred_at=at(2), event_id="e2", data={"views": 2}, **common)
    events: list[Any] = list(video.collect_events())
    assert [type(event).__name__ for event in events] == [
        "VideoRegistered",
        "VideoPosted",
        "MetricsUpdated",
        "MetricsUpdated",
    ], "every fact is in the log, remembered or not"
    assert [(note.name, dict(note.detail)) for note in video.notes] == [
        ("VideoPosted", {"url": "u"}),
        ("MetricsUpdated", {"views": 3}),
    ]
    assert video.id == Video.key("vid_1")
