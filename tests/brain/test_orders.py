"""What people order, what the rules forbid, and where that is shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.domain.decisions import (
    CommandRefused,
    CommandSettled,
    Merged,
    Reviewed,
    VideoRerouted,
    VideoRetried,
)
from tests.brain.stage import POLICIES, Make, Stage, campaign
from tests.brain.test_recovery import failed, placed, states


def test_a_failed_video_is_tried_again_on_the_same_account(make: Make) -> None:
    stage = make(policies=POLICIES + "  reroute: {enabled: false}\n")
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video)
    assert stage.video(video).state == "abandoned"
    assert stage.order({"command": "video.retry", "video_id": video, "reason": "once more"}) == ("applied", None)
    (retried,) = stage.events(VideoRetried)
    assert (retried.actor, retried.reason) == ({"kind": "person", "name": "ann"}, "once more")
    assert states(stage, video) == [("b1", "planned")]
    assert stage.video(video).attempts[0].tries == 2


def test_an_abandoned_video_is_moved_by_a_person(make: Make) -> None:
    stage = make(policies=POLICIES + "  reroute: {enabled: false}\n")
    video = placed(stage, "b1", "b2")
    failed(stage, video)
    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]
    (rerouted,) = stage.events(VideoRerouted)
    assert rerouted.actor == {"kind": "person", "name": "ann"}


def test_a_person_names_the_account(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2", "b3")
    assert stage.order({"command": "video.reroute", "video_id": video, "bundle_id": "b3"}) == ("applied", None)
    assert states(stage, video) == [("b1", "cancelled"), ("b3", "planned")]
    order = {"command": "video.reroute", "video_id": video, "bundle_id": "b1"}
    assert stage.order(order) == ("refused", "b1 does not qualify: had this video before")
    order = {"command": "video.reroute", "video_id": video, "bundle_id": "nobody"}
    assert stage.order(order) == ("refused", "nobody does not qualify: not known here")


def test_what_tokportal_still_tries_is_neither_tried_nor_moved_by_a_person_before_it_is_asked(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    failed(stage, video, will_retry=True)
    order = {"command": "video.retry", "video_id": video}
    assert stage.order(order) == ("refused", "TokPortal is still trying on b1 itself")
    assert stage.order({"command": "video.reroute", "video_id": video}) == ("applied", None)
    assert states(stage, video) == [("b1", "failed")]
    (look_up,) = stage.dispatch()
    assert look_up["kind"] == "look_up_slot"
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]


def test_content_that_was_rejected_is_not_moved_by_a_person_while_tokportal_still_tries(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    failed(stage, video, "content_violation", will_retry=True)
    order = {"command": "video.reroute", "video_id": video}
    assert stage.order(order) == ("refused", "the platform rejected this content: content_violation")


def test_what_is_handed_over_is_moved_only_after_tokportal_freed_its_slot(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    stage.send_all()
    assert stage.order({"command": "video.reroute", "video_id": video, "reason": "better there"}) == ("applied", None)
    assert states(stage, video) == [("b1", "scheduled")]
    again = stage.order({"command": "video.reroute", "video_id": video})
    assert again == ("refused", "TokPortal is being asked already whether the account can still post it")
    (look_up,) = stage.dispatch()
    stage.result(look_up["command_id"], slot="free")
    assert states(stage, video) == [("b1", "cancelled"), ("b2", "planned")]


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"command": "video.cancel", "video_id": "vid_none"}, "there is no video 'vid_none'"),
        ({"command": "bundle.resume", "bundle_id": "b1"}, "the bundle is not paused"),
        ({"command": "bundle.reviewed", "bundle_id": "b1"}, "nothing is to be reviewed"),
        ({"command": "bundle.reinstate", "bundle_id": "b1"}, "the bundle is not banned"),
        ({"command": "bundle.pause", "bundle_id": "nobody"}, "there is no bundle 'nobody'"),
        ({"command": "campaign.start", "campaign_id": "cmp_none"}, "there is no campaign 'cmp_none'"),
        ({"command": "market.resume", "country": "US", "platform": None}, "nothing is paused in US"),
        ({"command": "service.resume"}, "nothing is paused"),
        ({"command": "command.approve", "command_id": "cmd_none"}, "there is no command 'cmd_none'"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Make, order: dict[str, str], why: str) -> None:
    stage = make()
    stage.warm("b1")
    assert stage.order(order) == ("refused", why)


def test_what_was_refused_is_in_the_history_with_who_wanted_it_and_why_not(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.order({"command": "bundle.resume", "bundle_id": "b1"}, name="zoe")
    (refused,) = stage.events(CommandRefused)
    assert (refused.originator_id, refused.reason) == ("bundle:b1", "the bundle is not paused")
    assert refused.actor == {"kind": "person", "name": "zoe"}
    assert refused.data == {"command": "bundle.resume"}


def test_a_video_that_nobody_here_planned_is_not_ours_to_move(make: Make) -> None:
    stage = make()
    stage.article("video.post_failed", "b1", video_id="theirs", error_code="network_error", message="no")
    for what in ("reroute", "retry", "cancel", "release"):
        status, why = stage.order({"command": f"video.{what}", "video_id": "theirs"})
        assert (status, why) == ("refused", "no campaign planned this video: its content is unknown here")
    assert stage.events(Merged) == []


def test_a_reinstated_account_gets_videos_again_until_a_greater_ban(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.article("bundle.banned", "b1", at=stage.now - timedelta(hours=1))
    (video,) = stage.video_ids(stage.campaign(campaign()))
    assert stage.video(video).state == "waiting"
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1"}) == ("applied", None)
    assert stage.video(video).state == "planned"
    stage.article("bundle.banned", "b1", at=stage.now - timedelta(hours=2))
    assert stage.video(video).state == "planned"
    stage.article("bundle.banned", "b1")
    assert stage.video(video).state == "waiting"


def test_an_appeal_that_nobody_can_read_asks_for_a_review_which_a_person_answers(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.public("account.ban_appeal.submitted", bundle_id="b1")
    stage.wait(minutes=1)
    stage.public("account.ban_appeal.resolved", bundle_id="b1", outcome="perhaps")
    assert stage.bundle("b1").holds == ("needs_review", "suspended")
    assert stage.alerts()[-1] == "needs_review"
    assert stage.order({"command": "bundle.reviewed", "bundle_id": "b1"}) == ("applied", None)
    assert stage.bundle("b1").holds == ("suspended",)
    (reviewed,) = stage.events(Reviewed)
    assert reviewed.data["up_to"] is not None


def test_who_approved_what_costs_credits_is_in_the_history(make: Make) -> None:
    stage = make(policies="defaults: {warming: {terms: [a1, b2, c3]}}")
    stage.article("bundle.created", "b1")
    stage.article("bundle.ready", "b1")
    (command,) = stage.commands(kind="start_warming")
    order = {"command": "command.approve", "command_id": command["command_id"], "reason": "launch"}
    assert stage.order(order, name="zoe") == ("applied", None)
    (settled,) = stage.events(CommandSettled)
    assert (settled.originator_id, settled.reason) == ("bundle:b1", "launch")
    assert settled.actor == {"kind": "person", "name": "zoe"}
    assert settled.data == {
        "order": "approve",
        "command_id": command["command_id"],
        "what": "start_warming",
        "price": 15,
    }
    assert stage.order(order) == ("refused", "a command that is pending cannot be approved")
    assert [event.originator_id for event in stage.events(CommandRefused)] == ["bundle:b1"]


def test_the_global_pause_lets_nothing_go_and_goes_on_where_it_stopped(make: Make) -> None:
    stage = make()
    video = placed(stage, "b1", "b2")
    assert stage.order({"command": "service.pause", "reason": "audit"}) == ("applied", None)
    (command,) = stage.commands(kind="configure_video")
    assert (command["status"], command["reason"]) == ("held", "everything is paused by ann: audit")
    failed(stage, video)
    assert stage.dispatch() == []
    assert states(stage, video) == [("b1", "failed"), ("b2", "planned")]
    assert stage.order({"command": "service.resume"}) == ("applied", None)
    assert [row["bundle_id"] for row in stage.commands(kind="configure_video", status="pending")] == ["b2"]


def test_a_market_that_is_paused_places_nothing_and_what_waited_is_placed_afterwards(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    pause = {"command": "market.pause", "country": "US", "platform": "tiktok", "reason": "holidays"}
    assert stage.order(pause) == ("applied", None)
    (video,) = stage.video_ids(stage.campaign(campaign()))
    assert (stage.video(video).state, stage.video(video).reason) == (
        "waiting",
        "tiktok in US is paused by ann: holidays",
    )
    assert stage.order({"command": "market.resume", "country": "US", "platform": None}) == ("applied", None)
    assert stage.video(video).state == "planned"


def test_room_that_becomes_free_is_given_to_those_who_wait(make: Make) -> None:
    stage: Stage = make(policies=POLICIES + "  posting: {per_day: 1}\n")
    stage.warm("b1")
    more = "starts: 2026-11-25\nends: 2026-11-25"
    spec = stage.campaign(campaign(refs=["one", "two"], more=more))
    waiting = [name for name in stage.video_ids(spec) if stage.video(name).state == "waiting"]
    taken = [name for name in stage.video_ids(spec) if stage.video(name).state == "planned"]
    assert (len(waiting), len(taken)) == (1, 1)
    assert stage.order({"command": "video.cancel", "video_id": taken[0]}) == ("applied", None)
    assert stage.video(waiting[0]).state == "planned"
