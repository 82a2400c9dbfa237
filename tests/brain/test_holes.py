"""Where a video could have gone to two accounts, rejected content to another one, or a video nowhere for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestrator.domain.decisions import HandoverStarted, VideoWaiting
from orchestrator.journal.commands import order
from orchestrator.journal.journal import DISPATCH
from tests.brain.stage import POLICIES, Make, Stage, campaign, microseconds
from tests.brain.test_recovery import failed, placed, states

TWO = "[{country: US, platform: tiktok, accounts: 2}]"


def handed_over(stage: Stage) -> list[str]:
    return [event.data["bundle_id"] for event in stage.events(HandoverStarted)]


# Rejected content.


def test_a_rejection_that_is_told_late_stops_the_newer_attempt(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    posted_at = stage.now
    stage.wait(hours=1)
    stage.article("bundle.banned", "b1")
    assert states(stage, video)[-1] == ("b2", "planned")
    stage.article(
        "video.post_failed",
        "b1",
        at=posted_at + timedelta(minutes=30),
        video_id=video,
        error_code="content_violation",
        message="no",
        retry={"will_retry": False},
    )
    assert stage.video(video).flags == ("held",)
    stage.send_all()
    assert handed_over(stage) == ["b1"]
    assert "stopped" in stage.alerts()


def test_rejected_content_that_comes_back_from_tokportal_is_held(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    first, second = stage.video_ids(stage.campaign(campaign(targets=TWO)))
    stage.dispatch()
    (command,) = stage.commands(video_id=second, kind="configure_video")
    failed(stage, first, "content_violation")
    stage.result(command["command_id"], "again")
    assert stage.video(second).flags == ("held",)
    assert stage.dispatch() == []


def test_a_further_try_of_rejected_content_is_held(make: Make) -> None:
    codes = '  failure: {codes: {"content_*": stop, "network_*": retry}, retries: 1, backoff: [5m]}\n'
    stage = make(policies=POLICIES + codes)
    stage.warm("b1", "b2")
    first, second = stage.video_ids(stage.campaign(campaign(targets=TWO)))
    stage.send_all()
    failed(stage, first, "content_violation")
    failed(stage, second)
    assert (states(stage, second), stage.video(second).flags) == ([("b2", "planned")], ("held",))


def test_nothing_of_rejected_content_goes_out_while_the_rest_is_being_held(make: Make) -> None:
    stage = make()
    stage.warm(*(f"b{number:03}" for number in range(70)))
    videos = stage.video_ids(stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 70}]")))
    commands = [row["command_id"] for row in stage.commands(kind="configure_video") if row["video_id"] != videos[0]]
    stage.article(
        "video.post_failed",
        str(stage.video(videos[0]).bundle_id),
        video_id=videos[0],
        error_code="content_violation",
        message="no",
        retry={"will_retry": False},
        run=False,
    )
    asked = order({"command_ids": commands}, endpoint="test", name="executor", received_at=microseconds(stage.now))
    stage.append(replace(asked, kind=DISPATCH))
    stage.run()
    assert handed_over(stage) == []


def test_a_video_of_rejected_content_that_waits_is_placed_once_a_person_releases_it(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.article("bundle.created", "b2", at=stage.now - timedelta(days=2))
    first, second = sorted(
        stage.video_ids(stage.campaign(campaign(targets=TWO))), key=lambda name: stage.video(name).state
    )
    failed(stage, first, "content_violation")
    assert (stage.video(second).state, stage.video(second).flags) == ("waiting", ("held",))
    assert stage.order({"command": "video.release", "video_id": second}) == ("applied", None)
    assert stage.video(second).state == "waiting"
    stage.warm("b2", days_ago=1)
    assert states(stage, second) == [("b2", "planned")]
    assert stage.commands(video_id=second, kind="configure_video")[0]["status"] == "pending"


# What was given up may still be alive.


def test_a_reinstated_account_may_still_post_what_was_taken_from_it(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.article("bundle.banned", "b1")
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1"}) == ("applied", None)
    assert stage.video(video).flags == ("held",)
    assert [row["bundle_id"] for row in stage.commands(kind="unschedule_video")] == ["b1"]
    stage.send_all()
    assert handed_over(stage) == ["b1"]


def test_signs_of_life_keep_an_abandoned_video_from_going_elsewhere(make: Make) -> None:
    stage = make(policies=POLICIES + "  reroute: {enabled: false}\n")
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    stage.wait(minutes=5)
    stage.article("video.upload_started", "b1", video_id=video)
    assert (stage.video(video).state, stage.video(video).flags) == ("abandoned", ("held",))
    order_ = {"command": "video.reroute", "video_id": video}
    assert stage.order(order_) == ("refused", "the video is held: release it first")


def test_the_slot_answers_the_person_who_asked(make: Make) -> None:
    stage = make(policies=POLICIES + "  reroute: {enabled: false}\n")
    video = placed(stage, "b1", "b2", "b3")
    stage.send_all()
    order_ = {"command": "video.reroute", "video_id": video, "bundle_id": "b3"}
    assert stage.order(order_) == ("applied", None)
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video) == [("b1", "cancelled"), ("b3", "planned")]


def test_a_slot_that_is_free_does_not_move_a_video_that_is_held(make: Make) -> None:
    stage = make(policies=POLICIES + "  ban: {then: hold}\n")
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    stage.article("bundle.banned", "b1")
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="free")
    assert (states(stage, video), stage.video(video).flags) == ([("b1", "scheduled")], ("held",))


# Nothing stays where it is for ever.


def test_what_waits_for_room_is_placed_when_a_day_has_some(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n")
    stage.warm("b1")
    videos = stage.video_ids(stage.campaign(campaign(refs=[f"r{number}" for number in range(63)])))
    waiting = [name for name in videos if stage.video(name).state == "waiting"]
    assert waiting
    stage.send_all()
    stage.wait(days=2)
    assert len([name for name in videos if stage.video(name).state == "waiting"]) < len(waiting)


def test_a_planned_video_whose_account_starts_over_moves_before_its_day(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", more="starts: 2026-12-01")
    stage.public("account.remade", bundle_id="b1", saved_account_id="acc_2")
    assert states(stage, video) == [("b1", "planned")]
    stage.wait(days=8)
    assert states(stage, video)[-1][0] == "b2"
    why = "its day comes, and the account is not postable: created"
    assert ("reroute", f"{why}; b2 takes it on 2026-12-01: least loaded") in stage.decisions()


def test_what_never_reached_tokportal_is_tried_for_another_day(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    (command,) = stage.dispatch()
    stage.result(command["command_id"], "dead")
    stage.wait(days=1)
    assert stage.commands(kind="configure_video", video_id=video)[-1]["status"] == "pending"
    assert stage.video(video).attempts[0].target_day == "2026-11-25"


def test_a_video_that_finds_no_day_at_the_last_moment_waits_and_is_seen_to_wait(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n  reroute: {deadline: 1d}\n")
    stage.warm("b1")
    more = "starts: 2026-11-24\nends: 2026-11-27"
    videos = stage.video_ids(stage.campaign(campaign(refs=[f"r{number}" for number in range(4)], more=more)))
    stage.now += timedelta(days=2)
    stage.dispatch()
    assert stage.events(VideoWaiting)
    waiting = [name for name in videos if stage.video(name).state == "waiting"]
    stage.warm("b2")
    assert any(stage.video(name).state == "planned" for name in waiting)


def test_a_campaign_whose_last_video_is_posted_while_it_is_paused_is_completed_afterwards(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    spec = stage.campaign(campaign())
    (video,) = stage.video_ids(spec)
    stage.send_all()
    stage.order({"command": "campaign.pause", "campaign_id": spec.campaign_id})
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    stage.order({"command": "campaign.resume", "campaign_id": spec.campaign_id})
    entry = stage.engine._desk.campaign(spec.campaign_id)
    assert entry is not None
    assert entry.status == "completed"


def test_a_person_puts_nothing_on_a_day_that_is_full(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n  reroute: {enabled: false}\n")
    more = "starts: 2026-11-24\nends: 2026-11-24"
    video = placed(stage, "b1", more=more)
    stage.article("bundle.banned", "b1")
    assert stage.video(video).state == "abandoned"
    stage.order({"command": "bundle.reinstate", "bundle_id": "b1"})
    (other,) = stage.video_ids(stage.campaign(campaign("other", more=more)))
    assert stage.video(other).state == "planned"
    order_ = {"command": "video.retry", "video_id": video}
    assert stage.order(order_) == ("refused", "b1 has no room for it on 2026-11-24")


def test_room_that_becomes_free_many_times_has_those_who_wait_tried_once(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n")
    stage.warm("b1")
    more = "starts: 2026-11-24\nends: 2026-11-28"
    spec = stage.campaign(campaign(refs=[f"r{number}" for number in range(12)], more=more))
    planned = [name for name in stage.video_ids(spec) if stage.video(name).state == "planned"]
    for name in planned:
        stage.order({"command": "video.cancel", "video_id": name}, run=False)
    with stage.database.read() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM journal WHERE kind = 'work'").scalar_one()
    stage.run()
    with stage.database.read() as connection:
        after = connection.exec_driver_sql("SELECT count(*) FROM journal WHERE kind = 'work'").scalar_one()
    assert after - before == 1


def test_trouble_with_the_database_costs_no_message(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make()
    placed(stage, "b1")
    (command,) = stage.dispatch()

    def fails(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT", {}, Exception("the server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(stage.engine._outbox, "find", fails)
        with pytest.raises(sa.exc.OperationalError):
            stage.result(command["command_id"])
    stage.run()
    (done,) = stage.commands(kind="configure_video")
    assert done["status"] == "done"
