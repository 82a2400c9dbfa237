"""Verdicts are recorded once where many decisions share them, and shown with each of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.api.queries.decisions import list_decisions
from orchestrator.domain.decisions import CandidatesJudged, VideoPlanned, VideoRerouted, VideoWaiting
from orchestrator.engine.reactions import placing
from projections import Follower
from tests.brain.stage import POLICIES, Make, Stage, campaign

RULES = (
    POLICIES + "  ban: {breaker: {bans: 100, within: 1h}}\n  posting: {per_day: 2}\n"
    "countries: {US: {reroute: {backups: [b4, b5, b6], reserve: true, max: 5}}}\ngroups: {acme: [b6]}\n"
)


def banned(stage: Stage) -> None:
    """Two videos of b1 have to move. b2 is paused, b3 warms up, b4 and b5 may help out, b6 is of another group."""
    stage.warm("b1", "b2", "b4", "b5", "b6")
    stage.article("bundle.created", "b3")
    stage.article("bundle.warming_started", "b3")
    stage.order({"command": "bundle.pause", "bundle_id": "b2"})
    stage.campaign(campaign(refs=("r1", "r2"), targets="[{country: US, platform: tiktok, bundles: [b1]}]"))
    stage.article("bundle.banned", "b1")


def follow(stage: Stage) -> None:
    follower = Follower(stage.database)
    while follower.step():
        pass


def told(stage: Stage, kind: str) -> list[dict[str, str]]:
    """The candidates of decisions, the newest first, as the API shows them."""
    follow(stage)
    with stage.database.read() as connection:
        items = list_decisions(connection, kind=kind)["items"]
    return [{candidate["bundle_id"]: candidate["why"] for candidate in item["candidates"]} for item in items]


def test_a_reroute_shows_every_bundle_of_its_market_with_its_verdict(make: Make) -> None:
    stage = make(policies=RULES)
    banned(stage)
    verdicts = {
        "b1": "banned",
        "b2": "paused",
        "b3": "not postable: warming",
        "b4": "eligible, but more loaded",
        "b5": "eligible, but more loaded",
        "b6": "other group",
    }
    chosen = "chosen: least loaded"
    assert told(stage, "reroute") == [{**verdicts, "b5": chosen}, {**verdicts, "b4": chosen}]
    (first, second) = stage.events(VideoRerouted)
    assert first.data["candidates"]["counts"] == {
        "banned": 1,
        "eligible, but more loaded": 1,
        "not postable: warming": 1,
        "other group": 1,
        "paused": 1,
    }
    assert second.data["candidates"]["judged"] == first.data["candidates"]["judged"]


def test_verdicts_that_many_share_are_recorded_once_and_anew_when_they_change(make: Make) -> None:
    stage = make(policies=RULES)
    banned(stage)
    (judged,) = stage.events(CandidatesJudged)
    assert judged.data["why"] == {"banned": ["b1"], "paused": ["b2"], "not postable: warming": ["b3"]}
    for video in (event.originator_id.removeprefix("video:") for event in stage.events(VideoRerouted)):
        bundle = stage.video(video).bundle_id
        assert bundle is not None
        stage.article("video.post_failed", bundle, video_id=video, error_code="x", retry={"will_retry": False})
    assert len(stage.events(CandidatesJudged)) == 1
    assert [verdicts["b4"] for verdicts in told(stage, "reroute")[:1]] == ["chosen: least loaded"]
    stage.article("bundle.warming_started", "b5")
    stage.article("bundle.warming_failed", "b5")
    stage.article("bundle.banned", "b4")
    assert stage.events(CandidatesJudged)[1].data["why"] == {
        "banned": ["b1", "b4"],
        "paused": ["b2"],
        "not postable: warming": ["b3"],
        "not postable: failed": ["b5"],
    }


def test_where_nobody_qualifies_everybody_is_shown_and_the_day_is_tried_again(make: Make) -> None:
    stage = make(policies=RULES)
    stage.warm("b1")
    stage.article("bundle.created", "b4", at=stage.now - timedelta(days=2))
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, bundles: [b1]}]"))
    (video,) = stage.video_ids(spec)
    stage.article("bundle.banned", "b1")
    (waits,) = stage.events(VideoWaiting)
    assert waits.reason == "the account is banned; nobody of 2 qualifies: 1 banned, 1 not postable: created"
    assert told(stage, "wait") == [{"b1": "banned", "b4": "not postable: created"}]
    assert "waiting" in stage.alerts()
    stage.warm("b4", days_ago=1)
    assert stage.video(video).bundle_id == "b4"
    assert stage.decisions()[-1] == ("reroute", "an account qualifies now; b4 takes it on 2026-11-24: least loaded")


def test_a_first_place_after_waiting_shows_everybody_once(make: Make) -> None:
    stage = make(policies=RULES)
    stage.warm("b2")
    stage.order({"command": "bundle.pause", "bundle_id": "b2"})
    stage.campaign(campaign())
    stage.warm("b1", "b4")
    own = [["b1", "chosen: least loaded", 1], ["b2", "paused", 0], ["b4", "reserved", 0]]
    assert stage.events(VideoPlanned)[0].data["candidates"]["own"] == own
    follow(stage)
    with stage.database.read() as connection:
        (shown,) = list_decisions(connection, kind="place")["items"]
    assert [(item["bundle_id"], item["why"]) for item in shown["candidates"]] == [(name, why) for name, why, _ in own]


def test_a_video_keeps_its_day_where_somebody_has_room_then(make: Make) -> None:
    stage = make(policies=POLICIES + "  posting: {per_day: 1}\n")
    stage.warm("b1", "b2", "b3")
    day = "2026-11-30"
    more = f"starts: {day}\nends: {day}"
    stage.campaign(campaign("one", targets="[{country: US, platform: tiktok, bundles: [b2]}]", more=more))
    stage.campaign(campaign("busy", refs=("x", "y"), targets="[{country: US, platform: tiktok, bundles: [b3]}]"))
    stage.campaign(campaign("two", targets="[{country: US, platform: tiktok, bundles: [b1]}]", more=more))
    stage.article("bundle.banned", "b1")
    (moved,) = stage.events(VideoRerouted)
    assert (moved.data["bundle_id"], moved.data["target_day"]) == ("b3", day)
    assert ["b2", f"cap 1/1 on {day}", 0] in moved.data["candidates"]["own"]


def test_at_most_so_many_verdicts_are_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "OF_A_REROUTE", 2)
    stage = make(policies=RULES)
    banned(stage)
    (judged,) = stage.events(CandidatesJudged)
    assert judged.data["why"] == {"banned": ["b1"], "paused": ["b2"]}
    first = stage.events(VideoRerouted)[0].data["candidates"]
    assert len(first["own"]) == 2
    assert sum(first["counts"].values()) == 5


def test_many_that_wait_are_placed_slice_by_slice(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "SLICE", 2)
    stage = make()
    stage.article("bundle.created", "b1", at=stage.now - timedelta(days=2))
    spec = stage.campaign(campaign(refs=[f"r{n}" for n in range(5)]))
    stage.warm("b1", days_ago=1)
    days = sorted(stage.video(video).attempts[0].target_day or "" for video in stage.video_ids(spec))
    assert days == [f"2026-11-{day}" for day in range(24, 29)]


def test_an_account_that_reported_the_content_from_nowhere_gets_it_no_second_time(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.article("bundle.created", "b2", at=stage.now - timedelta(days=2))
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 2}]"))
    first, second = sorted(stage.video_ids(spec)[:2], key=lambda name: stage.video(name).state)
    assert (stage.video(first).state, stage.video(second).state) == ("planned", "waiting")
    stage.article("video.upload_started", "b2", video_id=first)
    stage.warm("b2", days_ago=1)
    assert stage.video(second).state == "waiting"


def test_the_account_that_had_the_content_before_a_remake_gets_it_no_second_time(make: Make) -> None:
    stage = make()
    stage.warm("b1")
    stage.public("account.finalized", bundle_id="b1", saved_account_id="acc_1", at=stage.now - timedelta(days=9))
    stage.article("bundle.created", "b2", at=stage.now - timedelta(days=2))
    spec = stage.campaign(campaign(targets="[{country: US, platform: tiktok, accounts: 2}]"))
    first, second = sorted(stage.video_ids(spec)[:2], key=lambda name: stage.video(name).state)
    assert stage.video(first).bundle_id == "b1"
    stage.public("account.remade", bundle_id="b1", saved_account_id="acc_9")
    stage.public("account.finalized", bundle_id="b2", saved_account_id="acc_1", at=stage.now - timedelta(days=1))
    stage.warm("b2", days_ago=1)
    assert stage.bundle("b2").postable
    assert stage.video(second).state == "waiting"


def test_people_are_told_where_two_bundles_turn_out_to_be_one_account_with_the_same_content(make: Make) -> None:
    stage = make()
    stage.warm("b1", "b2")
    both = "[{country: US, platform: tiktok, bundles: [b1, b2]}]"
    first, second = stage.video_ids(stage.campaign(campaign(targets=both)))
    stage.send_all()
    for bundle in ("b1", "b2"):
        stage.public("account.finalized", bundle_id=bundle, saved_account_id="acc_1", at=stage.now)

    (told,) = [row["body"]["text"] for row in stage.told() if row["body"]["alert"] == "contradiction"]
    assert told == (
        f"teaser-1 is on one account more than once: {second} on b2 and {first} on b1 turn out to share acc_1"
    )
