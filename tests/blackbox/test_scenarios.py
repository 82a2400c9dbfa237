"""The vendor's scenarios from end to end: told over HTTP, read back in every way there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from tokportal import verify_webhook_signature

from tests.blackbox.fold import FACTS
from tests.blackbox.server import PUBLIC, SECRET, Server, Stream, encode, signature
from tests.blackbox.story import article, fresh, public
from tests.conftest import vectors

SCENARIOS = {scenario["name"]: scenario for scenario in vectors("scenarios")}


@dataclass
class Told:
    """All scenarios told to one service, each under names of its own; and what it shows of them."""

    server: Server
    numbers: dict[str, int]
    log: list[dict[str, Any]]
    streamed: list[dict[str, Any]]
    listed: dict[str, dict[str, Any]]
    printed: dict[str, dict[str, Any]]

    def named(self, scenario: str, value: Any) -> Any:
        """`value` with the names that this scenario has here."""
        return renamed(value, self.numbers[scenario])


def renamed(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {renamed(name, number): renamed(item, number) for name, item in value.items()}
    if isinstance(value, list):
        return [renamed(item, number) for item in value]
    if isinstance(value, str) and value.startswith(("evt_", "bdl_", "vid_")):
        return f"{value}_s{number}"
    return value


@pytest.fixture(scope="module")
def told(server: Server) -> Told:
    numbers = {name: number for number, name in enumerate(SCENARIOS)}
    server.wait_until_applied()
    before = server.api("/api/events", limit=1)["position"]
    with Stream(server, after=before) as stream:
        for name, scenario in SCENARIOS.items():
            for message in scenario["messages"]:
                answer = server.post_webhook(renamed(message, numbers[name]))
                assert answer.status_code == 200
        server.wait_until_applied()
        log = server.items("/api/events", after=before)
        streamed = list(stream.until(log[-1]["position"]))
    return Told(
        server,
        numbers,
        log,
        streamed,
        listed={kind: by_id(kind, server.items(f"/api/{kind}")) for kind in ("bundles", "videos")},
        printed={kind: by_id(kind, server.cli_items(kind, "list")) for kind in ("bundles", "videos")},
    )


def by_id(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {item[f"{kind.removesuffix('s')}_id"]: item for item in items}


@pytest.mark.parametrize("name", SCENARIOS)
def test_bundles_and_videos_end_as_the_scenario_says(told: Told, name: str) -> None:
    for kind in ("bundles", "videos"):
        for subject, state in told.named(name, SCENARIOS[name][kind]).items():
            item = told.server.api(f"/api/{kind}/{subject}")
            assert item["state"] == state
            assert told.listed[kind][subject] == item | {"position": told.listed[kind][subject]["position"]}
            assert told.printed[kind][subject] == item | {"position": told.printed[kind][subject]["position"]}
            assert subject in by_id(kind, told.server.items(f"/api/{kind}", state=state))


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_else_appears(told: Told, name: str) -> None:
    suffix = f"_s{told.numbers[name]}"
    for kind in ("bundles", "videos"):
        assert {subject for subject in told.listed[kind] if subject.endswith(suffix)} == set(
            told.named(name, SCENARIOS[name][kind])
        )


@pytest.mark.parametrize("name", SCENARIOS)
def test_histories_tell_each_fact_once_in_the_order_of_the_log(told: Told, name: str) -> None:
    arrived = list({message["id"]: message for message in SCENARIOS[name]["messages"]}.values())
    for kind in ("bundles", "videos"):
        for subject in told.named(name, SCENARIOS[name][kind]):
            items = told.server.items(f"/api/{kind}/{subject}/history")
            assert [(item["cause"]["event_id"], item["event"]) for item in items] == [
                (message["id"], FACTS[message["event"]])
                for message in told.named(name, arrived)
                if subject == (message["data"].get("video_id") or message["bundle_id"])
            ]
            assert [item["position"] for item in items] == sorted({item["position"] for item in items})
            for item in items:
                (message,) = told.server.journalled(item["cause"]["event_id"])
                body = json.loads(message["body"])
                assert item["cause"]["message_id"] == message["message_id"]
                assert item["position"] in message["events"]
                assert item["occurred_at"] == body["timestamp"]
                assert item["recorded_at"] >= message["received_at"]
                assert item["actor"]["kind"] == "vendor"
                assert item["data"].items() >= body["data"].items()


def test_a_video_shows_what_was_told_of_it(told: Told) -> None:
    posted = told.server.api("/api/videos/" + told.named("a video posts", "vid_1"))
    assert posted["post_url"] == "https://www.tiktok.com/@acme.us/video/1"
    assert posted["posted_at"] == "2026-11-20T17:08:00Z"
    assert (posted["country"], posted["platform"], posted["campaign_id"]) == ("US", "tiktok", None)
    assert [attempt | {"bundle_id": None} for attempt in posted["attempts"]] == [
        {"number": 1, "bundle_id": None, "state": "posted", "tries": 1, "target_day": None, "error": None}
    ]

    failed = told.server.api("/api/videos/" + told.named("a failure of a video nobody planned", "vid_2"))
    assert failed["attempts"][0]["error"] == {"code": "device_offline", "message": "The device went offline"}
    assert failed["video_id"] in by_id("videos", told.server.items("/api/videos", error_code="device_offline"))

    both = told.server.api("/api/videos/" + told.named("posted stays posted", "vid_1"))
    assert both["flags"] == ["failed_after_posted"]
    assert both["attempts"][0]["error"]["code"] == "x"

    measured = told.server.api("/api/videos/" + told.named("a video known by its metrics only", "vid_1"))
    assert measured["metrics"] == {
        "views": 1200,
        "likes": 85,
        "shares": 9,
        "comments": 4,
        "as_of": "2026-11-20T17:10:00Z",
    }


def test_a_bundle_shows_what_was_told_of_it(told: Told) -> None:
    warm = told.server.api("/api/bundles/" + told.named("a video posts", "bdl_us_1"))
    assert (warm["warmed"], warm["postable"], warm["username"]) == (True, True, "acme.us")
    assert (warm["country"], warm["platform"], warm["group"]) == ("US", "tiktok", "default")
    assert warm["state_since"] == "2026-11-20T17:03:00Z"
    assert warm["videos"] == {"posted": 1}

    again = told.server.api("/api/bundles/" + told.named("warming restarts after it failed", "bdl_1"))
    assert (again["warmed"], again["postable"]) == (False, False)
    assert again["last_error"] == {"code": "x", "message": "x"}

    banned = told.server.api("/api/bundles/" + told.named("banned stays banned", "bdl_1"))
    assert (banned["postable"], banned["state_since"]) == (False, "2026-11-20T17:01:00Z")


def test_every_event_is_told_once_however_often_it_was_delivered(told: Told) -> None:
    facts = [item["cause"]["event_id"] for item in told.log if item["event"] in FACTS.values()]
    sent = {message["id"] for name, scenario in SCENARIOS.items() for message in told.named(name, scenario["messages"])}
    assert sorted(facts) == sorted(sent)
    (message,) = told.server.journalled(told.named("the same, every delivery three times", "evt_a01"))
    assert message["deliveries"] == 3


def test_the_stream_tells_the_same_as_the_log(told: Told) -> None:
    assert told.streamed == told.log
    assert [item["position"] for item in told.log] == list(
        range(told.log[0]["position"], told.log[0]["position"] + len(told.log))
    )


def test_the_command_line_shows_items_and_histories_as_the_api_does(told: Told) -> None:
    bundle, video = told.named("a video posts", ["bdl_us_1", "vid_1"])
    assert told.server.cli_json("videos", "show", video) == told.server.api(f"/api/videos/{video}")
    assert told.server.cli_json("history", "bundle", bundle) == told.server.api(f"/api/bundles/{bundle}/history")


def test_any_order_and_any_repetition_gives_the_same(told: Told) -> None:
    names = ["a bundle warms up", "the same, backwards", "the same, every delivery three times"]
    seen = [told.server.api("/api/bundles/" + told.named(name, "bdl_us_1")) for name in names]
    of_arrival = {"bundle_id": "", "first_seen": "", "position": 0}
    assert seen[0] | of_arrival == seen[1] | of_arrival == seen[2] | of_arrival


def test_the_public_samples_as_the_vendors_own_verifier_would_take_them(server: Server) -> None:
    bundle, account, video = fresh("b"), fresh("s"), fresh("v")
    names = {"b-1": bundle, "s-1": account, "v-1": video}
    for sample in vectors("public-2026-05-25"):
        data = {name: names.get(value, value) for name, value in sample["data"].items()}
        body = encode(sample | {"id": fresh("evt"), "data": data})
        headers = signature(PUBLIC, body)
        assert verify_webhook_signature(body, headers["TokPortal-Signature"], SECRET)
        answer = server.send(body, headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "accepted")
    server.wait_until_applied()

    seen = server.api(f"/api/bundles/{bundle}")
    assert (seen["state"], seen["postable"], seen["saved_account_id"]) == ("banned", False, account)
    assert (seen["country"], seen["platform"], seen["username"]) == (None, "tiktok", "acme.us")
    assert seen["state_since"] == "2026-11-20T17:02:00Z"
    posted = server.api(f"/api/videos/{video}")
    assert (posted["state"], posted["post_url"]) == ("posted", "https://www.tiktok.com/@acme.us/video/1")
    assert [item["event"] for item in server.items(f"/api/bundles/{bundle}/history")] == [
        "BundlePublished",
        "BundleReady",
        "BundleBanned",
    ]
    assert [item["event"] for item in server.items(f"/api/videos/{video}/history")] == ["VideoPosted"]


def test_an_event_that_names_only_an_account_speaks_for_its_bundles(server: Server) -> None:
    """Told before it is known which bundles those are."""
    account, bundle = fresh("sav"), fresh("bdl")
    server.deliver(public("subscription.lapsed", 5, data={"saved_account_id": account}), PUBLIC)
    server.deliver(
        public("account.finalized", 1, data={"saved_account_id": account, "bundle_id": bundle, "platform": "tiktok"}),
        PUBLIC,
    )
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["holds"] == ["uncovered"]
    server.deliver(public("subscription.renewed", 6, data={"saved_account_id": account}), PUBLIC)
    server.wait_until_applied()
    assert server.api(f"/api/bundles/{bundle}")["holds"] == []
    assert [item["event"] for item in server.items(f"/api/bundles/{bundle}/history")] == [
        "CoverageLapsed",
        "BundleReady",
        "CoverageRenewed",
    ]


def test_what_the_vendor_calls_usa_and_uk(server: Server) -> None:
    bundles = {name: fresh("bdl") for name in ("USA", "UK")}
    for country, bundle in bundles.items():
        server.deliver(article("bundle.created", bundle, country=country))
    server.wait_until_applied()
    assert [server.api(f"/api/bundles/{bundle}")["country"] for bundle in bundles.values()] == ["US", "GB"]
    assert bundles["UK"] in by_id("bundles", server.items("/api/bundles", country="GB", platform="tiktok"))
    assert bundles["USA"] in by_id("bundles", server.items("/api/bundles", country="US"))
