"""What the service decides and what people order, as the API shows it: every field, every refusal."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from jsonschema_rs import validator_for

from tests.blackbox.conftest import NewServer, empty_database
from tests.blackbox.server import PATIENCE, SECRET, Server, wait_for
from tests.blackbox.story import article, fresh, from_now
from tests.blackbox.wire import head_of, receive
from tests.conftest import BACKENDS

CANARY = "canary-4711-of-the-channel"
POLICIES = """
version: 1
defaults:
  warming: {start: manual, terms: [a1, b2, c3]}
  ban: {breaker: {bans: 50, within: 24h}}
  reroute: {max: 5}
channels:
  ops: {url: "env:OPS_ALERT_URL"}
"""
KINDS = {"warm", "place", "retry", "reroute", "wait", "stop", "hold", "cancel", "breaker", "review"}
on_sqlite = pytest.mark.parametrize("brain", ["sqlite"], indirect=True)


def thinking(server: Server) -> Server:
    (server.folder / "config" / "policies.yaml").write_text(POLICIES)
    return server


@pytest.fixture(scope="module", params=BACKENDS)
def brain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with policies, which sends nothing."""
    folder = tmp_path_factory.mktemp(f"brain-{request.param}")
    with empty_database(request, request.param, folder) as url:
        server = thinking(Server(folder, url, OPS_ALERT_URL=f"json://{CANARY}.example.com"))
        try:
            yield server.start()
            assert server.errors() == []
            assert server.stop() == 0
        finally:
            server.close()


# Short stories


def warm(server: Server, number: int, country: str = "US", platform: str = "tiktok") -> list[str]:
    """So many accounts that may post."""
    found = [fresh("bdl") for _ in range(number)]
    for bundle in found:
        for day, event in enumerate(("created", "warming_started", "warming_completed")):
            home = {"country": country, "platform": platform, "timestamp": from_now(days=day - 20)}
            server.deliver(article(f"bundle.{event}", bundle, **home))
    server.wait_until_applied()
    return found


def wanted(bundles: list[str], refs: int = 1, **members: Any) -> dict[str, Any]:
    """A campaign that wants each of its videos once, on one of these accounts."""
    return {
        "name": fresh("spring"),
        "videos": [{"ref": f"t{n}", "media": f"https://cdn.example.com/{n}.mp4"} for n in range(refs)],
        "targets": [{"country": "US", "platform": "tiktok", "bundles": bundles}],
        "spread": "one_account",
        "disclose_as_ads": True,
        "ai_content_disclaimer": False,
        **members,
    }


def draft(server: Server, campaign: dict[str, Any]) -> dict[str, Any]:
    answer = server.command("/api/campaigns", campaign)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def order(server: Server, path: str, body: Any = None, expect: int = 200) -> Any:
    """The answer to an order, once it was applied or refused."""
    answer = server.command(path, body, Prefer="wait=20")
    assert answer.status_code == expect, answer.text
    if expect != 200:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def start(server: Server, campaign: dict[str, Any]) -> list[dict[str, Any]]:
    """The campaign's videos, once all are placed."""
    plan = draft(server, campaign)
    order(server, f"/api/campaigns/{plan['campaign_id']}/start", {"reason": "off we go"})
    server.wait_until_applied()
    return server.items("/api/videos", campaign_id=plan["campaign_id"])


def video_of(server: Server, bundles: list[str]) -> dict[str, Any]:
    (video,) = start(server, wanted(bundles))
    return video


# Campaigns


def test_a_plan_shows_the_calendar_and_keeps_nothing(brain: Server) -> None:
    (bundle,) = warm(brain, 1)
    campaign = wanted([bundle], refs=12, ends=from_now(days=2)[:10])
    answer = brain.command("/api/campaigns?dry_run=true", campaign)
    assert answer.status_code == 200
    plan = answer.json()
    assert {"campaign_id", "status", "plan", "unmet", "position"} <= plan.keys()
    assert (plan["status"], plan["position"]) == ("draft", brain.api("/api/events", limit=1)["position"])
    for item in plan["plan"]:
        assert item.keys() == {"video_id", "ref", "bundle_id", "country", "platform", "target_day"}
        assert (item["bundle_id"], item["country"], item["platform"]) == (bundle, "US", "tiktok")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", item["target_day"])
    assert plan["unmet"]
    for item in plan["unmet"]:
        assert {"ref", "country", "platform", "reason"} <= item.keys()
        assert item["reason"]
    assert len(plan["plan"]) + len(plan["unmet"]) == 12
    assert brain.command("/api/campaigns?dry_run=true", campaign).json()["plan"] == plan["plan"]
    brain.api(f"/api/campaigns/{plan['campaign_id']}", 404)


def test_a_dry_run_of_what_runs_shows_how_it_stands(brain: Server) -> None:
    campaign = wanted(warm(brain, 1), refs=2)
    started = start(brain, campaign)
    answer = brain.command("/api/campaigns?dry_run=true", campaign)
    assert (answer.status_code, answer.json()["status"], answer.json()["unmet"]) == (200, "running", [])
    assert sorted(item["video_id"] for item in answer.json()["plan"]) == sorted(item["video_id"] for item in started)


def test_a_draft_is_there_when_it_is_answered_and_known_by_its_name(brain: Server) -> None:
    campaign = wanted(warm(brain, 1), refs=2)
    answer = brain.command("/api/campaigns", campaign)
    plan = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/campaigns/{plan['campaign_id']}")
    shown = brain.api(answer.headers["location"])
    assert (shown["status"], shown["plan"], shown["unmet"]) == ("draft", plan["plan"], plan["unmet"])
    assert (shown["name"], shown["videos"]) == (campaign["name"], 2)

    again = brain.command("/api/campaigns", dict(reversed(campaign.items())))
    assert (again.status_code, again.json()["campaign_id"]) == (200, plan["campaign_id"])
    assert again.json()["plan"] == plan["plan"]
    other = brain.command("/api/campaigns", campaign | {"disclose_as_ads": False})
    assert (other.status_code, other.headers["content-type"]) == (409, "application/problem+json")
    assert brain.api(answer.headers["location"])["plan"] == plan["plan"]


def test_two_who_draft_the_same_campaign_at_once_draft_one(brain: Server) -> None:
    campaign = wanted(warm(brain, 1))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: brain.command("/api/campaigns", campaign), range(6)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.json()["campaign_id"] for answer in answers}) == 1
    history = brain.api(f"/api/campaigns/{answers[0].json()['campaign_id']}/history")["items"]
    assert [item["event"] for item in history] == ["CampaignDrafted"]


def test_of_two_who_want_one_name_for_different_campaigns_one_gets_it(brain: Server) -> None:
    campaign = wanted(warm(brain, 1))
    both = [campaign, campaign | {"ai_content_disclaimer": True}]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda one: brain.command("/api/campaigns", one), both))
    assert sorted(answer.status_code for answer in answers) == [201, 409]


def test_yaml_json_and_csv_say_the_same(brain: Server) -> None:
    (bundle,) = warm(brain, 1)
    name = fresh("spring")
    yaml = (
        f"name: {name}\nvideos:\n  - {{ref: t0, media: 'https://cdn.example.com/0.mp4'}}\n"
        f"targets:\n  - {{country: US, platform: tiktok, bundles: [{bundle}]}}\n"
        "disclose_as_ads: true\nai_content_disclaimer: false\n"
    )
    by_yaml = brain.client().post("/api/campaigns?dry_run=true", content=yaml.encode()).json()
    campaign = wanted([bundle], name=name, spread="every_account")
    assert brain.command("/api/campaigns?dry_run=true", campaign).json()["plan"] == by_yaml["plan"]
    by_csv = brain.client().post(
        "/api/campaigns",
        params={"dry_run": "true", "name": name, "disclose_as_ads": "true", "ai_content_disclaimer": "false"},
        content=f"ref,media,bundle_id\nt0,https://cdn.example.com/0.mp4,{bundle}\n".encode(),
        headers={"Content-Type": "text/csv; charset=utf-8"},
    )
    assert (by_csv.status_code, len(by_csv.json()["plan"])) == (200, 1)


def test_what_is_wrong_with_a_campaign_is_told_all_at_once(brain: Server) -> None:
    wrong = wanted(["b"], starts="2026-02-30", targets=[{"country": "Narnia", "platform": "myspace"}])
    del wrong["disclose_as_ads"]
    answer = brain.command("/api/campaigns", wrong)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    keys = {error["key"] for error in answer.json()["errors"]}
    assert {"starts", "targets[0].country", "targets[0].platform", "disclose_as_ads"} <= keys
    csv = brain.client().post("/api/campaigns", content=b"ref,media\n", headers={"Content-Type": "text/csv"})
    assert (csv.status_code, csv.headers["content-type"]) == (422, "application/problem+json")


def test_a_campaign_runs_pauses_and_ends(brain: Server) -> None:
    plan = draft(brain, wanted(warm(brain, 1), refs=2))
    path = f"/api/campaigns/{plan['campaign_id']}"
    message = order(brain, f"{path}/start", {"reason": "off we go"})
    assert (message["kind"], message["status"]) == ("command", "applied")
    assert brain.api(path)["status"] == "running"
    brain.wait_until_applied()
    item = brain.api(path)
    assert item["progress"]["by_state"] == {"planned": 2}
    assert item["progress"]["by_country"] == {"US": 2}
    assert sum(item["progress"]["by_day"].values()) == 2
    assert [p["video_id"] for p in item["plan"]] == [p["video_id"] for p in plan["plan"]]

    for verb, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        order(brain, f"{path}/{verb}", {"reason": f"to {verb}"})
        assert brain.api(path)["status"] == status
    refused = order(brain, f"{path}/resume", {"reason": "after all"}, expect=409)
    brain.wait_until_applied()
    assert brain.api(path)["progress"]["by_state"] == {"cancelled": 2}
    history = brain.api(f"{path}/history")["items"]
    told = [(item["event"], item["reason"]) for item in history if item["event"] != "CampaignPlaced"]
    assert told == [
        ("CampaignDrafted", None),
        ("CampaignStarted", "off we go"),
        ("CampaignPaused", "to pause"),
        ("CampaignResumed", "to resume"),
        ("CampaignCancelled", "to cancel"),
        ("CommandRefused", refused["detail"]),
    ]
    assert all(item["actor"]["kind"] == "person" for item in history if item["event"] != "CampaignPlaced")


def test_what_waits_is_unmet_until_an_account_can_take_it(brain: Server) -> None:
    bundle = fresh("bdl")
    home = {"timestamp": from_now(days=-20)}
    brain.deliver(article("bundle.created", bundle, **home))
    brain.wait_until_applied()
    (video,) = start(brain, wanted([bundle]))
    assert (video["state"], video["attempts"]) == ("waiting", [])
    assert video["reason"]
    path = f"/api/campaigns/{video['campaign_id']}"
    (unmet,) = brain.api(path)["unmet"]
    assert (unmet["video_id"], unmet["reason"]) == (video["video_id"], video["reason"])
    assert brain.api(path)["plan"] == []
    brain.deliver(article("bundle.warming_completed", bundle, **home))
    found = brain.api(f"/api/videos/{video['video_id']}", until="planned", wait=20)
    assert (found["state"], found["bundle_id"], found["reason"]) == ("planned", bundle, None)
    brain.wait_until_applied()
    item = brain.api(path)
    assert ([planned["bundle_id"] for planned in item["plan"]], item["unmet"]) == ([bundle], [])


def test_a_campaign_is_completed_when_everything_is_posted(brain: Server) -> None:
    video = video_of(brain, warm(brain, 1))
    name, bundle = video["video_id"], video["bundle_id"]
    posted = {"video_id": name, "url": "https://x.example/1"}
    brain.deliver(article("video.posted", bundle, data=posted, timestamp=from_now(seconds=-1)))
    numbers = {"video_id": name, "views": 7, "likes": 2}
    brain.deliver(article("video.analytics_updated", bundle, data=numbers, timestamp=from_now(seconds=-1)))
    item = brain.api(f"/api/videos/{name}", until="posted", wait=20)
    assert (item["state"], item["post_url"], item["attempts"][0]["state"]) == (
        *("posted", "https://x.example/1"),
        "posted",
    )
    brain.wait_until_applied()
    item = brain.api(f"/api/videos/{name}")
    assert item["posted_at"].endswith("Z")
    assert item["metrics"].keys() == {"views", "likes", "shares", "comments", "as_of"}
    assert (item["metrics"]["views"], item["metrics"]["shares"]) == (7, None)
    campaign = brain.api(f"/api/campaigns/{video['campaign_id']}")
    assert (campaign["status"], campaign["progress"]["by_state"]) == ("completed", {"posted": 1})
    assert brain.api(f"/api/bundles/{bundle}")["videos"] == {"posted": 1}
    for verb in ("cancel", "reroute", "retry"):
        order(brain, f"/api/videos/{name}/{verb}", {}, expect=409)


# Decisions


def test_content_that_was_rejected_is_held_elsewhere_until_a_person_releases_it(brain: Server) -> None:
    first, second = warm(brain, 2)
    videos = start(brain, wanted([first, second], spread="every_account"))
    failed, held = (next(v for v in videos if v["bundle_id"] == bundle) for bundle in (first, second))
    rejected = {
        "video_id": failed["video_id"],
        "error_code": "content_policy",
        "message": "not this one",
        "retry": {"attempt": 1, "max_attempts": 1, "will_retry": False},
    }
    brain.deliver(article("video.post_failed", first, data=rejected, timestamp=from_now(seconds=-1)))
    stopped = brain.api(f"/api/videos/{failed['video_id']}", until="abandoned", wait=20)
    assert stopped["state"] == "abandoned"
    assert "content_policy" in stopped["reason"]
    assert stopped["attempts"][0]["error"] == {"code": "content_policy", "message": "not this one"}
    brain.wait_until_applied()
    item = brain.api(f"/api/videos/{held['video_id']}")
    assert (item["state"], item["bundle_id"], item["flags"]) == ("planned", second, ["held"])
    assert "content_policy" in item["reason"]
    kinds = {d["kind"] for v in (failed, held) for d in brain.items("/api/decisions", video_id=v["video_id"])}
    assert kinds == {"place", "stop", "hold"}
    found = brain.items("/api/videos", error_code="content_policy", campaign_id=failed["campaign_id"])
    assert [video["video_id"] for video in found] == [failed["video_id"]]
    path = f"/api/videos/{held['video_id']}"
    order(brain, f"{path}/reroute", {}, expect=409)
    order(brain, f"{path}/release", {"reason": "it is fine"})
    assert brain.api(path)["flags"] == []
    order(brain, f"{path}/release", {}, expect=409)


def test_a_decision_explains_itself(brain: Server) -> None:
    first, second = warm(brain, 2)
    video = video_of(brain, [first])
    ban = article("bundle.banned", first, timestamp=from_now(minutes=-1), data={"reason": "spam"})
    message_id = brain.deliver(ban)
    wait_for(
        lambda: brain.api(f"/api/videos/{video['video_id']}")["bundle_id"] != first, what="an account to move it to"
    )
    brain.wait_until_applied()
    (moved,) = brain.api("/api/decisions", video_id=video["video_id"], kind="reroute")["items"]
    assert {
        *("position", "kind", "video_id", "from_bundle", "to_bundle", "reason", "cause", "policy", "candidates", "at")
    } <= moved.keys()
    now = brain.api(f"/api/videos/{video['video_id']}")
    assert (moved["kind"], moved["from_bundle"], moved["to_bundle"]) == ("reroute", first, now["bundle_id"])
    assert (moved["cause"]["message_id"], moved["cause"]["event_id"]) == (message_id, ban["id"])
    assert moved["policy"] == brain.api("/api/policies")["version"]
    assert moved["reason"]
    for candidate in moved["candidates"]:
        assert candidate.keys() == {"bundle_id", "chosen", "why"}
        assert candidate["why"]
    assert [c["bundle_id"] for c in moved["candidates"] if c["chosen"]] == [now["bundle_id"]]
    why = {c["bundle_id"]: c["why"] for c in moved["candidates"]}
    assert "banned" in why[first]
    assert second in why

    log = {item["position"]: item for item in brain.items("/api/events")}
    assert (log[moved["position"]]["event"], log[moved["position"]]["recorded_at"]) == ("VideoRerouted", moved["at"])
    for bundle in (first, now["bundle_id"]):
        kinds = {d["kind"] for d in brain.items("/api/decisions", bundle_id=bundle) if d["video_id"] == now["video_id"]}
        assert "reroute" in kinds
    assert {d["kind"] for d in brain.items("/api/decisions")} <= KINDS
    for kind in KINDS:
        assert {d["kind"] for d in brain.items("/api/decisions", kind=kind)} <= {kind}
    brain.api("/api/decisions", 400, kind="guess")


def test_what_is_decided_is_in_the_outbox_with_what_it_waits_for(brain: Server) -> None:
    video = video_of(brain, warm(brain, 1))
    (command,) = brain.api("/api/commands", video_id=video["video_id"])["items"]
    assert (command["kind"], command["status"], command["attempts"]) == ("configure_video", "held", 0)
    assert "observe" in command["reason"]
    assert command["bundle_id"] == video["bundle_id"]
    assert brain.api(f"/api/commands/{command['command_id']}") == command
    path = f"/api/commands/{command['command_id']}"
    order(brain, f"{path}/retry", {"reason": "again"}, expect=409)
    order(brain, f"{path}/approve", {"reason": "yes"}, expect=409)
    order(brain, f"{path}/discard", {"reason": "no"})
    assert brain.api(path)["status"] == "discarded"
    order(brain, f"{path}/discard", {"reason": "no"}, expect=409)
    assert command["command_id"] not in [c["command_id"] for c in brain.items("/api/commands", status="held")]


def test_what_cannot_be_understood_is_alerted(brain: Server) -> None:
    for kind, message in {
        "quarantined": article("bundle.created", fresh("bdl"), country="Atlantis"),
        "unrecognised": article("bundle.teleported", fresh("bdl")),
    }.items():
        message_id = brain.deliver(message)
        assert brain.judged(message_id)["status"] == kind

        def told(kind: str = kind, message_id: str = message_id) -> bool:
            alerts = brain.items("/api/commands", kind="alert")
            return (kind, message_id) in [(alert["body"]["alert"], alert["message_id"]) for alert in alerts]

        wait_for(told, what=f"an alert of {kind}")
    statuses = ("pending", "held", "running", "done", "unknown", "dead", "discarded")
    by_status = [item["command_id"] for status in statuses for item in brain.items("/api/commands", status=status)]
    assert sorted(by_status) == sorted(item["command_id"] for item in brain.items("/api/commands"))


# Orders


def test_a_bundle_is_what_it_was_ordered_to_be_once_that_is_answered(brain: Server) -> None:
    (bundle,) = warm(brain, 1)
    path = f"/api/bundles/{bundle}"
    for verb, holds in (("pause", ["paused"]), ("resume", []), ("review", ["needs_review"]), ("reviewed", [])):
        order(brain, f"{path}/{verb}", {"reason": f"to {verb}"})
        item = brain.api(path)
        assert (item["holds"], item["postable"]) == (holds, not holds)
        order(brain, f"{path}/{verb}", {}, expect=409)
    brain.deliver(article("bundle.banned", bundle, timestamp=from_now(minutes=-1)))
    brain.wait_until_applied()
    order(brain, f"{path}/reinstate", {"reason": "appeal won"})
    assert brain.api(path)["state"] == "completed"
    history = brain.items(f"{path}/history")
    assert [(item["event"], item["reason"]) for item in history if item["actor"]["kind"] == "person"] == [
        ("BundlePaused", "to pause"),
        *[("CommandRefused", item["reason"]) for item in history if item["data"] == {"command": "bundle.pause"}],
        ("BundleResumed", "to resume"),
        *[("CommandRefused", item["reason"]) for item in history if item["data"] == {"command": "bundle.resume"}],
        ("ReviewRequested", "to review"),
        *[("CommandRefused", item["reason"]) for item in history if item["data"] == {"command": "bundle.review"}],
        ("Reviewed", "to reviewed"),
        *[("CommandRefused", item["reason"]) for item in history if item["data"] == {"command": "bundle.reviewed"}],
        ("Reinstated", "appeal won"),
    ]
    assert all(item["reason"] for item in history if item["event"] == "CommandRefused")


def test_what_a_person_wants_warmed_waits_for_whoever_pays(brain: Server) -> None:
    bundle = fresh("bdl")
    for event in ("created", "ready"):
        brain.deliver(article(f"bundle.{event}", bundle, timestamp=from_now(hours=-1)))
    brain.wait_until_applied()
    order(brain, f"/api/bundles/{bundle}/warm", {"reason": "in a hurry"})
    brain.wait_until_applied()
    (decision,) = brain.api("/api/decisions", bundle_id=bundle)["items"]
    assert (decision["kind"], decision["reason"], decision["actor"]["kind"]) == ("warm", "in a hurry", "person")
    (command,) = brain.api("/api/commands", bundle_id=bundle, kind="start_warming")["items"]
    assert command["status"] == "held"
    assert command["price"] > 0
    order(brain, f"/api/commands/{command['command_id']}/approve", {"reason": "worth it"})


def test_a_video_goes_where_a_person_says(brain: Server) -> None:
    first, second = warm(brain, 2)
    video = video_of(brain, [first])
    path = f"/api/videos/{video['video_id']}"
    order(brain, f"{path}/reroute", {"bundle_id": first}, expect=409)
    order(brain, f"{path}/reroute", {"bundle_id": fresh("bdl")}, expect=409)
    order(brain, f"{path}/reroute", {"bundle_id": second, "reason": "looks better there"})
    item = brain.api(path)
    assert (item["bundle_id"], [a["bundle_id"] for a in item["attempts"]]) == (second, [first, second])
    assert [a["state"] for a in item["attempts"]] == ["cancelled", "planned"]
    order(brain, f"{path}/retry", {}, expect=409)
    order(brain, f"{path}/release", {}, expect=409)
    order(brain, f"{path}/cancel", {"reason": "not needed"})
    item = brain.api(path)
    assert (item["state"], item["reason"]) == ("cancelled", "not needed")
    order(brain, f"{path}/cancel", {}, expect=409)
    mine = [item for item in brain.items(f"{path}/history") if item["actor"]["kind"] == "person"]
    assert {"VideoRerouted", "VideoCancelled", "CommandRefused"} <= {item["event"] for item in mine}


def test_orders_are_answered_before_they_are_applied_unless_told_to_wait(brain: Server) -> None:
    (bundle,) = warm(brain, 1)
    answer = brain.command(f"/api/bundles/{bundle}/pause", {"reason": "soon"})
    assert (answer.status_code, answer.json().keys()) == (202, {"message_id"})
    assert answer.headers["location"] == f"/api/messages/{answer.json()['message_id']}"
    message = brain.judged(answer.json()["message_id"])
    assert (message["kind"], message["status"], message["dialect"], message["event_id"]) == (
        *("command", "applied"),
        *(None, None),
    )
    (position,) = message["events"]
    (event,) = brain.api("/api/events", after=position - 1, limit=1)["items"]
    assert (event["event"], event["cause"]["message_id"]) == ("BundlePaused", message["message_id"])
    refused = brain.command(f"/api/bundles/{bundle}/pause", {"reason": "soon"})
    assert refused.status_code == 202
    assert brain.judged(refused.json()["message_id"])["status"] == "refused"


def test_an_order_can_follow_the_news_at_once(brain: Server) -> None:
    """What TokPortal just told of can be ordered about before the read models show it."""
    bundle = fresh("bdl")
    brain.judged(brain.deliver(article("bundle.created", bundle)))
    order(brain, f"/api/bundles/{bundle}/pause", {"reason": "at once"})


def test_a_paused_country_shows_until_it_is_resumed(brain: Server) -> None:
    warm(brain, 1, country="NZ")

    def market() -> dict[str, Any]:
        return next(item for item in brain.items("/api/countries") if (item["country"], item["platform"]) == place)

    place = ("NZ", "tiktok")
    assert (market()["breaker"], market()["paused"], market()["postable"]) == ("closed", False, 1)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in market()["spare"])
    order(brain, "/api/countries/nz/pause?platform=tiktok", {"reason": "election"})
    assert market()["paused"] is True
    order(brain, "/api/countries/NZ/pause?platform=tiktok", {}, expect=409)
    order(brain, "/api/countries/NZ/resume", {})
    assert market()["paused"] is False
    for path in ("/api/countries/Atlantis/pause", "/api/countries/XX/resume"):
        order(brain, path, {}, expect=422)
    order(brain, "/api/countries/NZ/pause?platform=myspace", {}, expect=422)


def test_while_everything_is_paused_webhooks_go_on(brain: Server) -> None:
    order(brain, "/api/pause", {"reason": "fire drill"})
    try:
        order(brain, "/api/pause", {}, expect=409)
        assert brain.judged(brain.deliver(article("bundle.created", fresh("bdl"))))["status"] == "applied"
        video = video_of(brain, warm(brain, 1))
        (command,) = brain.api("/api/commands", video_id=video["video_id"])["items"]
        assert command["status"] == "held"
    finally:
        order(brain, "/api/resume", {"reason": "over"})
    order(brain, "/api/resume", {}, expect=409)


def test_many_are_told_at_once(brain: Server) -> None:
    videos = start(brain, wanted(warm(brain, 2), refs=3))
    (campaign_id,) = {video["campaign_id"] for video in videos}
    body = {"action": "cancel", "filter": {"campaign_id": campaign_id, "country": "usa"}}
    dry = brain.command("/api/videos/bulk", body | {"dry_run": True})
    assert (dry.status_code, dry.json()["count"], sorted(dry.json()["sample"])) == (
        *(200, 3),
        sorted(video["video_id"] for video in videos),
    )
    assert {v["state"] for v in brain.items("/api/videos", campaign_id=campaign_id)} == {"planned"}
    done = brain.command("/api/videos/bulk", body | {"reason": "all of them"})
    assert (done.status_code, done.json()["count"]) == (202, 3)
    messages = [brain.judged(message_id) for message_id in done.json()["message_ids"]]
    assert {json.loads(message["body"])["video_id"] for message in messages} == {v["video_id"] for v in videos}
    assert {message["status"] for message in messages} == {"applied"}
    brain.wait_until_applied()
    cancelled = brain.items("/api/videos", campaign_id=campaign_id)
    assert {(v["state"], v["reason"]) for v in cancelled} == {("cancelled", "all of them")}
    held = {"action": "discard", "filter": {"video_id": videos[0]["video_id"]}}
    assert brain.command("/api/commands/bulk", held | {"dry_run": True}).json()["count"] == 1
    for what, action in (("messages", "retry"), ("commands", "approve"), ("videos", "reroute")):
        nothing = {"action": action, "filter": {{"messages": "event_id"}.get(what, "video_id"): "x"}}
        if what == "videos":
            nothing["filter"] = {"ref": "no such ref"}
        assert brain.command(f"/api/{what}/bulk", nothing).json()["count"] == 0


@on_sqlite
def test_what_is_no_order_for_many_is_not_journalled(brain: Server) -> None:
    before = brain.api("/api/messages", limit=1)["items"][0]["message_id"]
    for body in (
        *([], "x", None, {}),
        {"action": "cancel"},
        {"action": "cancel", "filter": {}},
        {"action": "sell", "filter": {"state": "planned"}},
        {"action": ["cancel"], "filter": {"state": "planned"}},
        {"action": "cancel", "filter": {"state": "sold"}},
        {"action": "cancel", "filter": {"state": 1}},
        {"action": "cancel", "filter": {"state": ""}},
        {"action": "cancel", "filter": {"stat": "planned"}},
        {"action": "cancel", "filter": {"country": "12"}},
        {"action": "cancel", "filter": {"state": "planned"}, "dry_run": "yes"},
        {"action": "cancel", "filter": {"state": "planned"}, "reason": 5},
        {"action": "cancel", "filter": {"state": "planned"}, "limit": 5},
    ):
        answer = brain.client().post("/api/videos/bulk", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), body
    assert brain.command("/api/bundles/bulk", {}).status_code == 405
    assert brain.api("/api/messages", limit=1)["items"][0]["message_id"] == before


HOSTILE = {
    "no JSON": b"{",
    "no object": b"[]",
    "null": b"null",
    "a reason that is none": b'{"reason": 5}',
    "a key twice": b'{"reason": "a", "reason": "b"}',
    "an unknown member": b'{"raeson": "x"}',
    "NaN": b'{"reason": NaN}',
    "a number beyond all": b'{"reason": ' + b"9" * 5_000 + b"}",
    "nested without end": b"[" * 60_000,
    "a NUL": b'{"reason": "a\\u0000b"}',
    "half a pair": b'{"reason": "\\ud800"}',
    "no UTF-8": b'{"reason": "\xff"}',
    "UTF-16": '{"reason": "x"}'.encode("utf-16"),
    "a reason without end": b'{"reason": "' + b"x" * 3_000 + b'"}',
}


@on_sqlite
def test_no_order_takes_a_hostile_body(brain: Server) -> None:
    (bundle,) = warm(brain, 1)
    video = video_of(brain, [bundle])
    (command,) = brain.api("/api/commands", video_id=video["video_id"])["items"]
    message = brain.api("/api/messages", limit=1)["items"][0]["message_id"]
    ids = {
        "bundles": bundle,
        "videos": video["video_id"],
        "campaigns": video["campaign_id"],
        "commands": command["command_id"],
        "messages": message,
    }
    described = brain.api("/openapi.json")["paths"]
    orders = [
        path for path, methods in described.items() if "post" in methods and "202" in methods["post"]["responses"]
    ]
    assert len(orders) >= 25
    for path in orders:
        address = path.replace("{country}", "US").replace("{id}", ids.get(path.split("/")[2], ""))
        for name, body in HOSTILE.items():
            answer = brain.client().post(address, content=body, headers={"Content-Type": "text/plain"})
            assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), (
                path,
                name,
            )
        large = brain.client().post(address, content=b'{"reason": "' + b"x" * 70_000 + b'"}')
        assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json"), path
        if "{id}" in path:
            needed = b'{"comment": "no"}' if path.endswith("/corrections") else None
            unknown = brain.client().post(path.replace("{id}", "none%2Fsuch"), content=needed)
            assert unknown.status_code == 404, path
        assert brain.client().request("PUT", address).status_code == 405
    assert brain.api("/api/messages", limit=1)["items"][0]["message_id"] == message


@on_sqlite
def test_no_document_is_too_strange_to_be_answered(brain: Server) -> None:
    strange = {
        **HOSTILE,
        "nested YAML": b"- " * 100_000,
        "aliases": b"a: &a [x, x]\nb: [*a, *a]\n",
        "a tag": b'!!python/object/apply:os.system ["true"]',
        "binary": bytes(range(256)),
    }
    for name, body in strange.items():
        campaign = brain.client().post("/api/campaigns", content=body)
        assert (campaign.status_code, campaign.headers["content-type"]) == (422, "application/problem+json"), name
        policies = brain.client().post("/api/policies/check", content=body)
        assert policies.status_code in (200, 422), name
        assert policies.status_code == 422 or policies.json().keys() >= {"valid", "errors", "warnings"}, name
    large = brain.client().post("/api/campaigns", content=b"x" * (17 << 20))
    assert (large.status_code, large.headers["content-type"]) == (413, "application/problem+json")


@on_sqlite
def test_policies_are_shown_and_checked(brain: Server) -> None:
    shown = brain.api("/api/policies")
    assert (shown["text"], shown["version"]) == (POLICIES, shown["sha256"])
    assert shown["since"]["position"] <= shown["position"]
    wrong = brain.client().post("/api/policies/check", content=b"defaults:\n  posting: {per_dya: 2}\n").json()
    assert wrong["valid"] is False
    assert [(error["line"], error["key"]) for error in wrong["errors"]] == [(2, "defaults.posting.per_dya")]
    assert "per_day" in wrong["errors"][0]["message"]
    right = brain.command("/api/policies/check", {"defaults": {"posting": {"per_day": 2}}}).json()
    assert (right["valid"], right["errors"]) == (True, [])
    assert brain.api("/api/policies")["version"] == shown["version"]


# Everything that can be read


def times(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, member in value.items():
            yield from times(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from times(member, name)
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        yield name, value


LISTS = ("bundles", "videos", "countries", "campaigns", "decisions", "commands", "messages", "projections", "events")


def test_every_answer_keeps_to_its_description(brain: Server) -> None:
    first, _ = warm(brain, 2)
    video = video_of(brain, [first])
    name = video["video_id"]
    brain.deliver(article("video.post_failed", first, data={"video_id": name, "error_code": "x", "message": "y"}))
    brain.deliver(article("video.analytics_updated", first, data={"video_id": name, "views": 5}))
    brain.deliver(article("bundle.banned", first, timestamp=from_now(minutes=-1), data={"reason": "spam"}))
    brain.wait_until_applied()
    document = brain.api("/openapi.json")

    def check(described: str, address: str) -> Any:
        answer = brain.api(address)
        schema = document["paths"][described]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        validator_for({**schema, "components": document["components"]}).validate(answer)
        if described.startswith("/api/"):
            assert isinstance(answer["position"], int)
        assert CANARY not in json.dumps(answer)
        assert SECRET not in json.dumps(answer)
        for key, value in times(answer):
            assert value.endswith("Z"), (address, key, value)
        return answer

    for path in LISTS:
        page = check(f"/api/{path}", f"/api/{path}?limit=500")
        assert page.keys() == {"items", "next", "position"}
        assert page["items"]
        assert all(isinstance(item["position"], int) for item in page["items"])
    items = {
        "bundles": first,
        "videos": name,
        "campaigns": video["campaign_id"],
        "commands": brain.api("/api/commands")["items"][0]["command_id"],
        "messages": brain.api("/api/messages")["items"][0]["message_id"],
    }
    for kind, one in items.items():
        check(f"/api/{kind}/{{id}}", f"/api/{kind}/{one}")
    for kind in ("bundles", "videos", "campaigns"):
        page = check(f"/api/{kind}/{{id}}/history", f"/api/{kind}/{items[kind]}/history")
        positions = [item["position"] for item in page["items"]]
        assert positions == sorted(positions)
        for item in page["items"]:
            assert item.keys() == {
                *("position", "event", "occurred_at", "recorded_at", "data", "cause", "actor", "reason")
            }
            assert item["cause"].keys() == {"message_id", "event_id"}
            assert item["actor"].keys() == {"kind", "name"}
    check("/api/policies", "/api/policies")


def test_cursors_hold_while_things_change(brain: Server) -> None:
    for _ in range(6):
        video_of(brain, warm(brain, 1))
    names = {
        "bundles": "bundle_id",
        "videos": "video_id",
        "campaigns": "campaign_id",
        "decisions": "position",
        "commands": "command_id",
        "messages": "message_id",
    }
    before = {path: [item[name] for item in brain.items(f"/api/{path}")] for path, name in names.items()}
    stopped = threading.Event()

    def change() -> None:
        while not stopped.is_set():
            brain.deliver(article("bundle.created", fresh("bdl"), country="Atlantis"))
            brain.deliver(article("bundle.created", fresh("bdl")))

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        try:
            for path, name in names.items():
                found: list[Any] = []
                cursor: str | None = ""
                while cursor is not None:
                    page = brain.api(f"/api/{path}", limit=7, **({"cursor": cursor} if cursor else {}))
                    found += [item[name] for item in page["items"]]
                    cursor = page["next"]
                assert len(set(found)) == len(found), path
                kept = set(before[path])
                assert [one for one in found if one in kept] == before[path], path
        finally:
            stopped.set()
        changing.result()


# Much, and slowly


@on_sqlite
def test_webhooks_are_answered_while_a_huge_campaign_is_read(brain: Server) -> None:
    bundles = warm(brain, 3)
    campaign = wanted(bundles, refs=10_000, ends=from_now(days=30)[:10])
    for video in campaign["videos"]:
        video["caption"] = "x" * 300
    slowest = 0.0
    with ThreadPoolExecutor(1) as pool:
        drafting = pool.submit(lambda: brain.client("127.0.0.3").post("/api/campaigns", json=campaign, timeout=60))
        while not drafting.done():
            asked = time.monotonic()
            brain.deliver(article("bundle.created", fresh("bdl")))
            slowest = max(slowest, time.monotonic() - asked)
        answer = drafting.result()
    assert answer.status_code == 201, answer.text[:500]
    assert len(answer.json()["plan"]) + len(answer.json()["unmet"]) == 10_000
    assert slowest < 2


@on_sqlite
def test_a_campaign_may_arrive_slowly(brain: Server) -> None:
    body = json.dumps(wanted(["b"], targets=[])).encode()
    with brain.connection() as connection:
        began = time.monotonic()
        connection.sendall(head_of(len(body)).replace(b"/webhooks/tokportal", b"/api/campaigns"))
        sent = 0
        while time.monotonic() - began < 4:
            assert brain.answers("/health/live")
            if sent < len(body) - 1:
                connection.sendall(body[sent : sent + 1])
                sent += 1
        connection.sendall(body[sent:])
        assert receive(connection).status == 422


# Who may


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_address_asks_who_calls(database_url: str, new_server: NewServer) -> None:
    tokens = {role: f"{role}-canary-0815" for role in ("viewer", "operator", "admin")}
    server = thinking(new_server(database_url, tokens=tokens)).start()
    described = server.api("/openapi.json")["paths"]
    roles = list(tokens)
    for path, methods in described.items():
        for method, operation in methods.items():
            needed = operation.get("x-role")
            address = path.replace("{id}", "none").replace("{country}", "XX")
            address += "?after=999999" if path == "/api/stream" else ""
            stranger = server.client().request(method, address)
            assert stranger.status_code == 401 if needed else stranger.status_code in (200, 503), path
            for role in roles:
                answer = server.client().request(method, address, headers=server.bearer(role))
                forbidden = needed is not None and roles.index(role) < roles.index(needed)
                assert (answer.status_code == 403) == forbidden, (path, role)
                assert "canary-0815" not in answer.text
    approve = {"action": "approve", "filter": {"status": "held"}}
    assert server.command("/api/commands/bulk", approve).status_code == 403
    assert server.command("/api/commands/bulk", approve, role="admin").status_code == 202
    given = server.command("/api/pause", {"reason": "drill"}, role="admin", Prefer=f"wait={PATIENCE:.0f}")
    assert given.json()["actor"] == {"kind": "person", "name": "admin"}
    server.command("/api/resume", {}, role="admin")
