"""What may still be posted at TokPortal although nothing is known of its having been sent, or taken back: it goes to no
second account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.brain.stage import POLICIES, Make, Stage, campaign
from tests.brain.test_found import fact, found, slot


def handed_over(stage: Stage) -> str:
    """A video that b1 has, of the warm accounts b1 and b2."""
    stage.warm("b1", "b2")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.send_all()
    return video


@pytest.fixture
def stage(make: Make) -> Stage:
    """A house that was restored from a backup, and only reads."""
    return make(mode="observe", reads=True)


@pytest.fixture
def video(stage: Stage) -> str:
    """It was sent to b1 after the backup was made: TokPortal shows it there."""
    stage.warm("b1", "b2")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    found(stage, "GET /bundles/b1/videos", slot("VideoScheduled", video))
    return video


def asked(stage: Stage) -> list[str]:
    return [row["bundle_id"] for row in stage.commands(kind="look_up_slot")]


# Found, and not known to have been sent.


def test_a_slot_that_was_found_is_recorded_once(stage: Stage, video: str) -> None:
    before = len(stage.events())
    found(stage, "GET /bundles/b1/videos", slot("VideoScheduled", video), asked_at=stage.now + timedelta(seconds=1))
    assert len(stage.events()) == before


def test_what_was_found_on_an_account_stays_there_while_it_is_suspended(stage: Stage, video: str) -> None:
    found(stage, "GET /account-bans", fact("AppealSubmitted", at=stage.now, data={"id": "ban_1"}))
    assert stage.bundle("b1").holds == ("suspended",)
    stage.wait(days=2)
    assert stage.video(video).bundle_id == "b1"
    assert asked(stage) == ["b1"]


def test_what_was_found_on_an_account_that_is_closed_is_asked_for(stage: Stage, video: str) -> None:
    stage.public("bundle.cancelled", bundle_id="b1")
    assert stage.video(video).bundle_id == "b1"
    assert asked(stage) == ["b1"]


def test_what_was_found_is_taken_back_when_it_is_cancelled(stage: Stage, video: str) -> None:
    assert stage.order({"command": "video.cancel", "video_id": video}) == ("applied", None)
    assert [row["bundle_id"] for row in stage.commands(kind="unschedule_video")] == ["b1"]


def test_what_was_found_is_asked_for_before_a_person_has_it_moved(stage: Stage, video: str) -> None:
    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    assert stage.video(video).bundle_id == "b1"
    assert asked(stage) == ["b1"]


def test_what_was_found_is_not_left_for_want_of_another_day(make: Make) -> None:
    stage = make(mode="observe", reads=True, policies=POLICIES + "  posting: {blackout: [2026-11-25..2027-12-31]}\n")
    stage.warm("b1", "b2")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    found(stage, "GET /bundles/b1/videos", slot("VideoScheduled", video))
    stage.wait(days=40)
    assert stage.video(video).bundle_id == "b1"
    assert set(asked(stage)) == {"b1"}


@pytest.mark.parametrize("name", ["VideoScheduled", "VideoHandedOver", "UploadStarted"])
def test_what_was_found_on_another_account_is_not_handed_to_this_one(stage: Stage, name: str) -> None:
    stage.warm("b1", "b2")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    found(stage, "GET /bundles/b2/videos", slot(name, video, bundle="b2"))
    assert stage.order({"command": "mode", "mode": "live", "reads": True}) == ("applied", None)

    assert stage.dispatch() == []
    view = stage.video(video)
    assert (view.state, view.flags) == ("planned", ("held", "wrong_bundle"))
    assert view.reason == "TokPortal has it on b2: it may still be posted there"


def test_what_was_found_where_it_was_only_planned_before_keeps_it_from_going_elsewhere(stage: Stage) -> None:
    stage.warm("b1", "b2")
    (video,) = stage.video_ids(stage.campaign(campaign()))
    stage.public("bundle.cancelled", bundle_id="b1")
    assert stage.video(video).bundle_id == "b2"
    stage.wait(minutes=1)
    found(stage, "GET /bundles/b1/videos", slot("VideoScheduled", video))
    assert stage.order({"command": "mode", "mode": "live", "reads": True}) == ("applied", None)

    assert stage.dispatch() == []
    assert stage.video(video).flags == ("held",)


# An earlier try that nobody called failed.


def test_an_earlier_try_that_may_be_posted_is_asked_for_where_no_day_is_left(make: Make) -> None:
    more = "  reroute: {enabled: false}\n  posting: {blackout: [2026-11-25..2026-12-31]}\n"
    stage = make(policies=POLICIES + more)
    video = handed_over(stage)
    stage.article("bundle.banned", "b1")
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1"}) == ("applied", None)
    assert stage.order({"command": "video.retry", "video_id": video}) == ("applied", None)
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "refused", code="VIDEOS_PER_DAY_EXCEEDED")

    assert stage.video(video).bundle_id == "b1"
    assert asked(stage) == ["b1"]
    (question,) = stage.commands(kind="look_up_slot")
    stage.dispatch()
    stage.result(question["command_id"], slot="busy")
    assert asked(stage) == ["b1"]
    stage.wait(hours=7)
    assert asked(stage) == ["b1", "b1"]


# What was to be taken back.


def taken_back(stage: Stage, **said: Any) -> str:
    """A video that a person cancelled, and what TokPortal said of its slot."""
    video = handed_over(stage)
    assert stage.order({"command": "video.cancel", "video_id": video}) == ("applied", None)
    (command,) = stage.dispatch()
    stage.result(command["command_id"], **said)
    return video


def test_what_was_posted_before_it_could_be_taken_back_is_posted(make: Make) -> None:
    stage = make()
    video = taken_back(stage, slot="posted", url="https://t.example/1", posted_at="2026-11-23T11:00:00Z")
    view = stage.video(video)
    assert (view.state, view.post_url) == ("posted", "https://t.example/1")


@pytest.mark.parametrize("slot_", ["busy", "unknown"])
def test_people_are_told_of_what_could_not_be_taken_back(make: Make, slot_: str) -> None:
    stage = make()
    video = taken_back(stage, slot=slot_)
    (told,) = [row["body"]["text"] for row in stage.told() if row["body"]["alert"] == "late_news"]
    assert told == f"video {video} may still be posted on b1: TokPortal did not take it back"


@pytest.mark.parametrize("said", [{}, {"slot": "free"}])
def test_nobody_is_told_of_what_was_taken_back(make: Make, said: dict[str, Any]) -> None:
    stage = make()
    taken_back(stage, **said)
    assert "late_news" not in stage.alerts()
