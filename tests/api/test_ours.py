"""What the API shows of videos that a campaign wanted, and of what was decided about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from projections import Follower
from tests.api.house import House, micros
from tests.brain.stage import MONDAY, Stage, campaign


@pytest.fixture
def stage(house: House) -> Iterator[Stage]:
    house.clock.now = MONDAY
    with closing(Stage(house.database)) as stage:
        stage.warm("b1", "b2", saved_account_id=None)
        yield stage


def follow(house: House) -> None:
    follower = Follower(house.database)
    while follower.step():
        pass


def wanted(stage: Stage, **options: Any) -> str:
    (name,) = stage.video_ids(stage.campaign(campaign(**options)))
    return name


def events(house: House, path: str) -> list[tuple[str, str]]:
    return [(item["event"], item["actor"]["kind"]) for item in house.walk(f"/api/{path}/history", 3)]


def merged(stage: Stage) -> str:
    """A video that TokPortal reported by a name of its own before it told which of ours it is."""
    name = wanted(stage)
    (sent,) = stage.dispatch()
    stage.article("video.posted", "b1", video_id="tp_1", url="https://example.com/1")
    stage.result(sent["command_id"], video_id="tp_1", position=1)
    return name


def test_a_video_of_a_campaign_shows_what_was_wanted(house: House, stage: Stage) -> None:
    name = wanted(stage)
    follow(house)
    item = house.get(f"/api/videos/{name}")
    assert item["campaign_id"].startswith("cmp_")
    assert (item["ref"], item["country"], item["platform"], item["group"]) == ("teaser-1", "US", "tiktok", "default")
    assert (item["state"], item["bundle_id"], item["reason"]) == ("planned", "b1", None)
    (attempt,) = item["attempts"]
    assert (attempt["bundle_id"], attempt["target_day"], attempt["tries"]) == ("b1", "2026-11-24", 1)


def test_a_video_that_waits_is_where_it_was_wanted(house: House, stage: Stage) -> None:
    name = wanted(stage, targets="[{country: FR, platform: instagram, accounts: 1}]")
    follow(house)
    item = house.get(f"/api/videos/{name}")
    assert (item["state"], item["bundle_id"], item["country"], item["platform"]) == (
        *("waiting", None, "FR"),
        "instagram",
    )
    assert item["reason"]
    assert [v["video_id"] for v in house.get("/api/videos?country=FR&platform=instagram")["items"]] == [name]
    assert house.get("/api/videos?country=US")["items"] == []


def test_videos_of_a_campaign_are_found_by_it(house: House, stage: Stage) -> None:
    name = wanted(stage)
    stage.article("video.posted", "b2", video_id="tp_9", url="https://example.com/9")
    follow(house)
    mine = house.get(f"/api/videos/{name}")
    for query in ({"campaign_id": mine["campaign_id"]}, {"ref": "teaser-1"}, {"ref": "teaser-1", "state": "planned"}):
        assert [item["video_id"] for item in house.get("/api/videos", params=query)["items"]] == [name]
    assert house.get("/api/videos?ref=teaser-2")["items"] == []


def test_a_stranger_that_turned_out_to_be_ours_answers_as_ours(house: House, stage: Stage) -> None:
    name = merged(stage)
    follow(house)
    ours = house.get(f"/api/videos/{name}")
    assert (ours["state"], ours["post_url"]) == ("posted", "https://example.com/1")
    assert house.get("/api/videos/tp_1") == ours
    assert [item["video_id"] for item in house.get("/api/videos")["items"]] == [name]
    assert house.get("/api/bundles/b1")["videos"] == {"posted": 1}
    assert house.walk("/api/videos/tp_1/history", 2) == house.walk(f"/api/videos/{name}/history", 500)


def test_a_history_shows_decisions_and_facts_in_the_order_of_the_log(house: House, stage: Stage) -> None:
    name = merged(stage)
    assert events(house, f"videos/{name}") == [
        ("VideoRequested", "person"),
        ("VideoPlanned", "policy"),
        ("HandoverStarted", "policy"),
        ("VideoPosted", "vendor"),
        ("SlotJoined", "policy"),
        ("Merged", "policy"),
        ("VideoScheduled", "vendor"),
    ]


def test_a_decision_in_a_history_names_its_cause_and_who_wanted_it(house: House, stage: Stage) -> None:
    name = wanted(stage)
    stage.send_all()
    failure = stage.article(
        "video.post_failed", "b1", event_id="evt_no", video_id=name, error_code="network_error", retry=None
    )
    items = house.get(f"/api/videos/{name}/history")["items"]
    moved = next(item for item in items if item["event"] == "VideoRerouted")
    assert moved["cause"] == {"message_id": failure, "event_id": "evt_no"}
    assert moved["actor"] == {"kind": "policy", "name": "policies"}
    assert moved["reason"].startswith("network_error; b2 takes it")
    assert moved["occurred_at"] == moved["recorded_at"]
    assert (moved["data"]["from_bundle"], moved["data"]["bundle_id"]) == ("b1", "b2")
    assert "candidates" not in moved["data"]


def test_a_reinstated_bundle_shows_who_lifted_the_ban(house: House, stage: Stage) -> None:
    stage.article("bundle.banned", "b1", event_id="evt_ban")
    assert stage.order({"command": "bundle.reinstate", "bundle_id": "b1", "reason": "appeal won"})[0] == "applied"
    last = house.get("/api/bundles/b1/history")["items"][-1]
    assert (last["event"], last["reason"], last["cause"]["event_id"]) == ("Reinstated", "appeal won", "evt_ban")
    assert last["actor"] == {"kind": "person", "name": "ann"}
    assert last["occurred_at"] == last["recorded_at"]


def test_a_refused_order_is_in_the_history(house: House, stage: Stage) -> None:
    stage.order({"command": "bundle.resume", "bundle_id": "b1", "reason": None})
    last = house.get("/api/bundles/b1/history")["items"][-1]
    assert (last["event"], last["data"]) == ("CommandRefused", {"command": "bundle.resume"})
    assert last["reason"]


def test_the_log_shows_what_is_ours_with_its_policy(house: House, stage: Stage) -> None:
    name = wanted(stage)
    items = house.get("/api/events", params={"limit": 500})["items"]
    planned = next(item for item in items if item["event"] == "VideoPlanned")
    assert planned["aggregate"] == {"kind": "video", "id": name}
    assert (planned["occurred_at"], planned["ours"]["actor"]["kind"]) == (None, "policy")
    assert len(planned["ours"]["policy"]) == 64
    assert planned["data"]["candidates"]["own"]


def days(house: House, country: str = "US", platform: str = "tiktok") -> dict[str, int]:
    items = house.get("/api/countries")["items"]
    found: dict[str, int] = next(i for i in items if (i["country"], i["platform"]) == (country, platform))["spare"]
    return found


def test_spare_capacity_is_what_policies_allow_less_what_is_booked(house: House, stage: Stage) -> None:
    wanted(stage)
    follow(house)
    assert days(house) == {"2026-11-24": 5} | {f"2026-11-{day}": 6 for day in range(25, 31)}


def test_spare_capacity_follows_the_policies_in_force(house: House, stage: Stage) -> None:
    stage.warm("b3", days_ago=0)
    stage.policies(
        "defaults: {posting: {per_day: 2, ramp: [1, 1], days: [mon, tue, wed, thu, fri], blackout: [2026-11-27], "
        "lead_days: {new: 3, existing: 2}}}"
    )
    follow(house)
    assert days(house) == {
        "2026-11-25": 5,
        "2026-11-26": 6,
        "2026-11-27": 0,
        "2026-11-28": 0,
        "2026-11-29": 0,
        "2026-11-30": 6,
        "2026-12-01": 6,
    }


def test_bundles_of_one_account_have_one_calendar(house: House, stage: Stage) -> None:
    for number, bundle in enumerate(("f1", "f2")):
        stage.warm(bundle, country="FR")
        stage.public("account.configured", bundle_id=bundle, saved_account_id="s1", event_id=f"evt_s{number}")
    follow(house)
    assert set(days(house, "FR").values()) == {3}


def test_an_account_that_is_not_postable_has_no_room(house: House, stage: Stage) -> None:
    stage.article("bundle.banned", "b1")
    follow(house)
    assert set(days(house).values()) == {3}


def test_days_are_those_of_the_country(house: House, stage: Stage) -> None:
    stage.warm("j1", country="JP")
    follow(house)
    house.clock.now = MONDAY.replace(hour=20)
    assert micros(house.clock.now) == house.services.clock.microseconds()
    assert min(days(house, "JP")) == "2026-11-25"
    assert min(days(house, "US")) == "2026-11-24"


def test_an_open_breaker_shows_at_its_country(house: House, stage: Stage) -> None:
    stage.warm("b3")
    for bundle in ("b1", "b2", "b3"):
        stage.article("bundle.banned", bundle)
    follow(house)
    assert [item["breaker"] for item in house.get("/api/countries")["items"]] == ["open"]
    stage.order({"command": "market.resume", "country": "US", "platform": "tiktok", "reason": None})
    follow(house)
    assert [item["breaker"] for item in house.get("/api/countries")["items"]] == ["closed"]


def test_shared_verdicts_are_shown_with_every_decision_that_met_them(house: House, stage: Stage) -> None:
    stage.article("bundle.banned", "b9")
    name = wanted(stage)
    stage.article("bundle.banned", "b1")
    follow(house)
    items = house.get("/api/decisions", params={"video_id": name, "kind": "reroute"})["items"]
    (moved,) = items
    assert moved["candidates"][0] == {"bundle_id": "b2", "chosen": True, "why": "chosen: least loaded"}
    why = {c["bundle_id"]: c["why"] for c in moved["candidates"]}
    assert (why["b9"], why["b1"]) == ("banned", "banned")


def test_a_decision_that_answers_no_fact_names_the_news_that_it_came_with(house: House, stage: Stage) -> None:
    news = stage.article("bundle.created", "b7", event_id="evt_new")
    follow(house)
    (item,) = house.get("/api/decisions?bundle_id=b7")["items"]
    assert (item["kind"], item["cause"]["message_id"], item["cause"]["event_id"]) == ("warm", news, "evt_new")
    last = house.get("/api/bundles/b7/history")["items"][-1]
    assert last["cause"] == {"message_id": news, "event_id": "evt_new"}
    assert house.get("/api/events", params={"limit": 500})["items"][-1]["cause"] == last["cause"]
    stage.order({"command": "bundle.pause", "bundle_id": "b7", "reason": None})
    assert house.get("/api/bundles/b7/history")["items"][-1]["cause"]["event_id"] is None


def test_a_campaign_shows_where_its_videos_are_and_which_of_them_wait(house: House, stage: Stage) -> None:
    places = "[{country: US, platform: tiktok, accounts: 1}, {country: FR, platform: tiktok, accounts: 1}]"
    spec = stage.campaign(campaign(targets=places))
    follow(house)
    item = house.get(f"/api/campaigns/{spec.campaign_id}")
    (planned,), (unmet,) = item["plan"], item["unmet"]
    assert (planned["bundle_id"], planned["target_day"], planned["state"]) == ("b1", "2026-11-24", "planned")
    assert (unmet["country"], unmet["platform"], unmet["ref"]) == ("FR", "tiktok", "teaser-1")
    assert unmet["reason"]
    assert item["progress"]["by_state"] == {"planned": 1, "waiting": 1}
    for bundle in ("b1", "b2"):
        stage.article("bundle.banned", bundle)
    follow(house)
    item = house.get(f"/api/campaigns/{spec.campaign_id}")
    assert (item["plan"], {unmet["country"] for unmet in item["unmet"]}) == ([], {"US", "FR"})


def test_times_that_decisions_name_are_told_like_all_others(house: House, stage: Stage) -> None:
    name = wanted(stage)
    for bundle in ("b2", "b1"):
        stage.article("bundle.banned", bundle)
    follow(house)
    waiting = house.get(f"/api/videos/{name}/history")["items"][-1]
    assert waiting["event"] == "VideoWaiting"
    assert waiting["data"]["deadline"].endswith("Z")
    (decision,) = house.get("/api/decisions", params={"video_id": name, "kind": "wait"})["items"]
    assert decision["cause"]["answers"][0].endswith("Z")


def test_campaigns_are_listed_with_their_own_progress(house: House, stage: Stage) -> None:
    stage.campaign(campaign("one", refs=["a", "b"]))
    stage.campaign(campaign("two", refs=["a"]), start=False)
    stage.campaign(campaign("three", refs=["a"]))
    follow(house)
    found = {item["name"]: item["progress"]["by_state"] for item in house.walk("/api/campaigns", 2)}
    assert found == {"one": {"planned": 2}, "three": {"planned": 1}, "two": {}}
    assert [item["name"] for item in house.get("/api/campaigns?status=draft")["items"]] == ["two"]
