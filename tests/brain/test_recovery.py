"""A post fails, an account is banned, TokPortal goes silent: what becomes of the videos."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.domain.decisions import AttemptCancelled, VideoRerouted
from tests.brain.stage import POLICIES, Make, Stage, campaign


def placed(stage: Stage, *bundles: str, **options: object) -> str:
    """A video that was placed on the first of these warm accounts."""
    stage.warm(*bundles)
    (video,) = stage.video_ids(stage.campaign(campaign(**options)))  # type: ignore[arg-type]
    return video


def failed(stage: Stage, video: str, code: str = "network_error", **retry: object) -> None:
    bundle = stage.video(video).bundle_id
    assert bundle is not None
    stage.article(
        "video.post_failed", bundle, video_id=video, error_code=code, message="no", retry={"will_retry": False, **retry}
    )


def states(stage: Stage, video: str) -> list[tuple[str, str]]:
    return [(attempt.bundle_id, attempt.state) for attempt in stage.video(video).attempts]


def test_a_failed_post_moves_to_a_backup_at_once_and_says_why(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]
    (reroute,) = stage.events(VideoRerouted)
    assert reroute.reason == "network_error; b2 takes it on 2026-11-24: least loaded"
    assert reroute.data["candidates"]["own"] == [
        ["b2", "chosen: least loaded", 1],
        ["b1", "failed this video before", 0],
    ]
    assert reroute.answers is not None
    assert reroute.policy is not None


def test_a_code_that_says_retry_is_tried_again_with_back_off_and_then_moves(make: Make) -> None:
    stage = make(policies=POLICIES + '  failure: {codes: {"network_*": retry}, retries: 1, backoff: [5m]}\n')
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    attempt = stage.video(video).attempts[0]
    assert (attempt.state, attempt.tries, attempt.bundle_id) == ("planned", 2, "b1")
    again = stage.commands(kind="configure_video")[-1]
    assert again["not_before"] - again["created_at"] == 5 * 60 * 1_000_000
    stage.send_all()
    stage.wait(minutes=6)
    failed(stage, video)
    assert stage.decisions()[-1] == ("reroute", "network_error after 2 tries; b2 takes it on 2026-11-24: least loaded")


def test_while_tokportal_tries_itself_nothing_is_decided(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video, will_retry=True)
    assert states(stage, video) == [("b1", "failed")]
    stage.wait(hours=25)
    assert stage.decisions()[-1][0] == "wait"
    (look_up,) = stage.commands(kind="look_up_slot")
    stage.dispatch()
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]


def test_rejected_content_goes_nowhere_and_is_held_everywhere(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2", "b3")
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 3}]"))
    first, second, third = stage.video_ids(spec)
    stage.send_all()
    spec2 = stage.campaign(campaign("second", targets="[{country: US, platform: tiktok, accounts: 2}]"))
    other = stage.video_ids(spec2)[0]
    stage.article("video.upload_started", str(stage.video(second).bundle_id), video_id=second)
    failed(stage, first, "content_violation")
    assert stage.video(first).state == "abandoned"
    assert stage.decisions()[-1] == ("stop", "content_violation: the platform rejected this content")
    # Both others are with TokPortal already; nothing more can be held of this campaign, nothing of the other one is.
    assert stage.video(third).flags == ()
    assert stage.video(other).flags == ()
    assert "stopped" in stage.alerts()


def test_a_stop_holds_what_is_not_handed_over_until_a_person_releases_it(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 2}]"))
    first, second = stage.video_ids(spec)
    failed(stage, first, "content_violation")
    view = stage.video(second)
    assert (view.state, view.flags, view.reason) == (
        "planned",
        ("held",),
        "content_violation: the platform rejected this content",
    )
    (command,) = stage.commands(video_id=second, kind="configure_video")
    assert (command["status"], command["reason"]) == ("held", "the video is held")
    assert stage.dispatch() == []
    assert stage.order({"command": "video.reroute", "video_id": second})[0] == "refused"
    assert stage.order({"command": "video.release", "video_id": second, "reason": "checked"}) == ("applied", None)
    assert stage.video(second).flags == ()
    assert stage.commands(video_id=second, kind="configure_video")[0]["status"] == "pending"
    failed(stage, second)
    assert stage.video(second).state == "abandoned"


def test_a_ban_moves_everything_that_is_open(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2", "b3", "b4")
    targets = "[{country: US, platform: tiktok, bundles: [b1]}]"
    spec = stage.campaign(campaign(refs=[f"ref-{n}" for n in range(8)], targets=targets))
    stage.article("bundle.banned", "b1", reason="tos")
    for video in stage.video_ids(spec):
        assert stage.video(video).state == "planned"
        assert stage.video(video).bundle_id in {"b2", "b3", "b4"}
    loads = [sum(stage.video(v).bundle_id == b for v in stage.video_ids(spec)) for b in ("b2", "b3", "b4")]
    assert max(loads) - min(loads) <= 1
    assert "banned" in stage.alerts()


def test_a_policy_may_hold_the_videos_of_a_banned_account(make: Make) -> None:
    stage = make(policies=POLICIES + "  ban: {then: hold}\n")
    video = placed(stage, "b1", "b2")
    stage.article("bundle.banned", "b1")
    view = stage.video(video)
    assert (view.flags, view.bundle_id) == (("held",), "b1")
    assert view.reason == "the account is banned, and the policy holds its videos"
    # Released, it goes where the policies would have sent it: the account is still banned.
    assert stage.order({"command": "video.release", "video_id": video}) == ("applied", None)
    assert states(stage, video) == [("b1", "cancelled"), ("b2", "planned")]


def test_a_decision_names_the_webhook_that_it_answers_even_if_it_was_taken_in_a_later_message(make: Make) -> None:
    stage = make()
    placed(stage, "b1", "b2")
    message = stage.article("bundle.banned", "b1", event_id="evt_ban")
    (reroute,) = stage.events(VideoRerouted)
    assert reroute.message_id == message
    assert reroute.answers is not None
    assert reroute.answers[2] == "evt_ban"


def test_an_account_that_turns_out_to_be_warm_while_it_warms_again_is_postable_at_once(make: Make) -> None:
    stage = make()
    began = stage.now - timedelta(days=3)
    stage.article("bundle.created", "b1", at=began)
    stage.article("bundle.warming_started", "b1", at=began + timedelta(days=2))
    (video,) = stage.video_ids(stage.campaign(campaign()))
    assert stage.video(video).state == "waiting"
    # Late news: it was warm before. The state stays the same, and yet it can post now.
    stage.article("bundle.warming_completed", "b1", at=began + timedelta(days=1))
    assert stage.bundle("b1").state == "warming"
    assert stage.video(video).state == "planned"


def test_a_ban_counts_for_the_breaker_when_the_country_becomes_known(make: Make) -> None:
    stage = make()
    for bundle in ("b1", "b2", "b3"):
        stage.public("account.banned", bundle_id=bundle, platform="tiktok", banned_at=stage.now.isoformat())
    assert stage.decisions() == []
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.created", bundle, at=stage.now - timedelta(days=1))
    assert [kind for kind, _ in stage.decisions()] == ["breaker"]


def test_when_nobody_qualifies_it_waits_and_is_placed_as_soon_as_somebody_does(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    stage.article("bundle.created", "b2", at=stage.now - timedelta(days=2))
    stage.article("bundle.banned", "b1")
    view = stage.video(video)
    assert view.state == "waiting"
    assert view.reason == "the account is banned; nobody of 2 qualifies: 1 banned, 1 not postable: created"
    assert "waiting" in stage.alerts()
    stage.warm("b2", days_ago=1)
    assert states(stage, video) == [("b1", "cancelled"), ("b2", "planned")]


def test_what_waits_too_long_is_abandoned(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    stage.article("bundle.banned", "b1")
    stage.wait(days=7)
    assert stage.video(video).state == "waiting"
    stage.wait(days=3)
    assert stage.video(video).state == "abandoned"
    assert stage.decisions()[-1][0] == "stop"


def test_a_video_moves_only_so_often(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", "b3", "b4")
    for _ in range(3):
        failed(stage, video)
    view = stage.video(video)
    assert view.state == "abandoned"
    assert view.reason == "network_error; it was rerouted 2 times, which is all that the policy allows"


def test_silence_is_asked_about_before_the_video_moves(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    assert states(stage, video) == [("b1", "scheduled")]
    assert stage.decisions()[-1] == (
        "wait",
        "no news of the post that was due on 2026-11-24: TokPortal is asked whether the slot is free",
    )
    assert "missed" in stage.alerts()
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="unknown")
    assert states(stage, video) == [("b1", "scheduled")]
    stage.wait(hours=7)
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video)[-1][1] == "planned"
    assert states(stage, video)[0] == ("b1", "cancelled")


def test_content_that_was_rejected_is_not_moved_when_tokportal_stops_trying(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video, "content_violation", will_retry=True)
    assert stage.video(video).state == "failed"
    stage.wait(hours=25)
    assert stage.decisions()[-1] == ("stop", "content_violation: the platform rejected this content")
    # It may still be posted there: TokPortal is told that it is not wanted any more.
    assert [row["bundle_id"] for row in stage.commands(kind="unschedule_video")] == ["b1"]


def test_what_the_look_up_finds_posted_is_posted(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="posted", url="https://t.example/1")
    assert stage.video(video).state == "posted"
    assert stage.video(video).post_url == "https://t.example/1"


def test_a_stuck_upload_is_asked_about(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.article("video.upload_started", "b1", video_id=video)
    stage.wait(minutes=59)
    assert stage.commands(kind="look_up_slot") == []
    stage.wait(minutes=2)
    assert len(stage.commands(kind="look_up_slot")) == 1
    assert "stuck" in stage.alerts()


def test_late_news_ends_the_newer_attempt(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    assert stage.video(video).state == "posted"
    assert states(stage, video) == [("b1", "posted"), ("b2", "cancelled")]
    (command,) = stage.commands(bundle_id="b2", kind="configure_video")
    assert command["status"] == "discarded"
    assert "late_news" in stage.alerts()


def test_posted_twice_is_told(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    stage.send_all()
    stage.article("video.posted", "b2", video_id=video, url="https://t.example/2")
    stage.article("video.posted", "b1", video_id=video, url="https://t.example/1")
    assert "double_posted" in stage.video(video).flags
    assert "double_posted" in stage.alerts()


def test_signs_of_life_on_the_old_account_hold_the_new_attempt(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    stage.wait(minutes=1)
    stage.article("video.upload_started", "b1", video_id=video)
    view = stage.video(video)
    assert view.flags == ("held",)
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]
    assert "late_news" in stage.alerts()


def test_signs_of_life_hold_a_video_that_waits_for_another_account(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1")
    stage.send_all()
    failed(stage, video)
    assert stage.video(video).state == "waiting"
    stage.wait(minutes=1)
    stage.article("video.upload_started", "b1", video_id=video)
    assert stage.video(video).flags == ("held",)
    stage.warm("b2")
    assert stage.video(video).state == "waiting"
    assert stage.order({"command": "video.release", "video_id": video}) == ("applied", None)
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]


def test_a_failure_after_which_tokportal_tries_again_is_a_sign_of_life_too(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    stage.wait(minutes=1)
    about = {"video_id": video, "error_code": "network_error", "message": "no"}
    stage.article("video.post_failed", "b1", **about, retry={"will_retry": False})
    assert stage.video(video).flags == ()
    stage.wait(minutes=1)
    stage.article("video.post_failed", "b1", **about, retry={"will_retry": True})
    assert stage.video(video).flags == ("held",)


def test_metrics_from_an_account_that_never_had_it_are_told_too(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.article("video.analytics_updated", "b9", video_id=video, views=1, likes=0, shares=0, comments=0)
    assert stage.video(video).flags == ("wrong_bundle",)
    assert "wrong_bundle" in stage.alerts()


def test_an_upload_after_the_ban_is_a_sign_of_life_however_soon_the_ban_was_answered(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    banned_at = stage.now
    stage.wait(hours=1)
    stage.article("bundle.banned", "b1", at=banned_at)
    stage.article("video.upload_started", "b1", at=banned_at + timedelta(minutes=30), video_id=video)
    assert states(stage, video) == [("b1", "cancelled"), ("b2", "planned")]
    assert stage.video(video).flags == ("held",)


def test_news_from_an_account_that_never_had_it_is_flagged_and_a_post_still_counts(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.article("video.posted", "b9", video_id=video, url="https://t.example/9")
    view = stage.video(video)
    assert (view.state, view.flags, view.bundle_id) == ("posted", ("wrong_bundle",), "b9")
    assert "wrong_bundle" in stage.alerts()


def test_an_appeal_stops_placing_and_keeps_what_is_scheduled_until_its_day(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    more = "starts: 2026-12-01\nends: 2026-12-05"
    (video,) = stage.video_ids(stage.campaign(campaign(more=more)))
    stage.send_all()
    stage.public("account.ban_appeal.submitted", bundle_id="b1")
    assert states(stage, video) == [("b1", "scheduled")]
    stage.at(stage.now + timedelta(days=7))
    assert states(stage, video) == [("b1", "scheduled")]
    stage.wait(days=1.5)
    (look_up,) = stage.dispatch()
    assert look_up["kind"] == "look_up_slot"
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video)[0] == ("b1", "cancelled")
    assert states(stage, video)[1][0] == "b2"


def test_many_bans_open_the_breaker_until_a_person_resumes(make: Make) -> None:
    stage = make()
    stage.warm(*(f"b{n}" for n in range(1, 6)))
    targets = "[{country: US, platform: tiktok, bundles: [b1, b2, b3]}]"
    videos = stage.video_ids(stage.campaign(campaign(targets=targets)))
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.banned", bundle)
    assert ("breaker", "the breaker of tiktok in US is open: 3 accounts were banned within 1d") in (stage.decisions())
    third = stage.video(videos[2])
    assert third.state == "waiting"
    assert third.reason is not None
    assert "the breaker of tiktok in US is open" in third.reason
    assert stage.dispatch() == []
    order = {"command": "market.resume", "country": "US", "platform": None, "reason": "seen"}
    assert stage.order(order) == ("applied", None)
    # The content went to b4 and b5 already: nobody is left who does not have it.
    assert stage.video(videos[2]).state == "waiting"
    assert stage.order(order) == ("refused", "nothing is paused in US")


@pytest.mark.parametrize("hold", ["paused", "needs_review"])
def test_what_is_with_a_held_account_is_not_handed_over(make: Make, hold: str) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", more="starts: 2026-12-01")
    command = {"paused": "bundle.pause", "needs_review": "bundle.review"}[hold]
    assert stage.order({"command": command, "bundle_id": "b1"}) == ("applied", None)
    (row,) = stage.commands(kind="configure_video", bundle_id="b1")
    assert row["status"] == "held"
    lift = {"paused": "bundle.resume", "needs_review": "bundle.reviewed"}[hold]
    assert stage.order({"command": lift, "bundle_id": "b1"}) == ("applied", None)
    (row,) = stage.commands(kind="configure_video", bundle_id="b1")
    assert row["status"] == "pending"
    assert stage.video(video).state == "planned"


def test_every_attempt_that_is_left_says_so(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    failed(stage, video)
    (left,) = stage.events(AttemptCancelled)
    assert (left.data["number"], left.data["bundle_id"], left.reason) == (1, "b1", "network_error")


def test_a_post_that_is_found_was_posted_when_tokportal_says(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="posted", url="https://t.example/1", posted_at="2026-11-24T20:00:00Z")

    assert stage.video(video).posted_at == datetime(2026, 11, 24, 20, tzinfo=UTC)


def test_a_post_that_is_found_without_its_time_has_that_of_the_webhook_once_it_comes(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    stage.wait(days=5)
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="posted", url="https://t.example/1", posted_at="soon")
    assert stage.video(video).posted_at == stage.now
    told = datetime(2026, 11, 25, 8, tzinfo=UTC)
    stage.article("video.posted", "b1", video_id=video, at=told, url="https://t.example/1")

    assert stage.video(video).posted_at == told
    assert stage.video(video).flags == ()
