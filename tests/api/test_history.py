from __future__ import annotations

import json
from typing import Any

from orchestrator.dialects import PUBLIC
from tests.api.house import House, stored, webhook


def public(id: str, type: str, at: str, **data: Any) -> Any:
    content = {"id": id, "type": type, "api_version": PUBLIC, "created_at": at, "data": data}
    return stored(json.dumps(content).encode(), PUBLIC)


def test_a_history_shows_the_facts_in_the_order_of_the_log(house: House) -> None:
    late = webhook("bundle.warming_started", 5, id="evt_warm", data={"mode": "niche"})
    early = webhook("bundle.created", 0.005, id="evt_born")
    house.tell(late, early)
    page = house.get("/api/bundles/bdl_1/history")
    assert page["items"] == [
        {
            "position": 2,
            "event": "WarmingStarted",
            "occurred_at": "2026-11-20T12:05:00Z",
            "recorded_at": "2026-11-20T12:30:00.250Z",
            "data": {"mode": "niche"},
            "cause": {"message_id": late.message_id, "event_id": "evt_warm"},
            "actor": {"kind": "vendor", "name": "tokportal"},
            "reason": None,
        },
        {
            "position": 3,
            "event": "BundleCreated",
            "occurred_at": "2026-11-20T12:00:00.300Z",
            "recorded_at": "2026-11-20T12:30:00.250Z",
            "data": {},
            "cause": {"message_id": early.message_id, "event_id": "evt_born"},
            "actor": {"kind": "vendor", "name": "tokportal"},
            "reason": None,
        },
    ]
    assert (page["next"], page["position"]) == (None, 3)


def test_a_video_has_a_history_and_its_bundle_none_of_it(house: House) -> None:
    house.tell(
        webhook("video.upload_started", 1, data={"video_id": "vid_1"}),
        webhook("video.posted", 2, data={"video_id": "vid_1", "url": "https://example.com/1"}),
    )
    items = house.walk("/api/videos/vid_1/history", 1)
    assert [item["event"] for item in items] == ["UploadStarted", "VideoPosted"]
    assert items[1]["data"]["url"] == "https://example.com/1"
    assert house.get("/api/bundles/bdl_1/history")["items"] == []


def test_a_bundle_hears_of_its_account_only_while_it_is_its_account(house: House) -> None:
    house.tell(
        public("e1", "bundle.created", "2026-11-20T08:00:00Z", bundle_id="bdl_1", saved_account_id="acc_1"),
        public("e2", "subscription.lapsed", "2026-11-20T09:00:00Z", saved_account_id="acc_1"),
        public("e3", "account.remade", "2026-11-20T10:00:00Z", bundle_id="bdl_1", saved_account_id="acc_2"),
        public("e4", "subscription.lapsed", "2026-11-20T11:00:00Z", saved_account_id="acc_1"),
        public("e5", "subscription.lapsed", "2026-11-20T11:30:00Z", saved_account_id="acc_2"),
        public("e6", "subscription.lapsed", "2026-11-20T09:30:00Z", saved_account_id="acc_2"),
        public("e7", "subscription.lapsed", "2026-11-20T09:45:00Z", saved_account_id="acc_3"),
    )
    items = house.walk("/api/bundles/bdl_1/history", 2)
    assert [(item["event"], item["cause"]["event_id"]) for item in items] == [
        ("BundleCreated", "e1"),
        ("CoverageLapsed", "e2"),
        ("AccountRemade", "e3"),
        ("CoverageLapsed", "e5"),
    ]
    assert [item["position"] for item in items] == sorted(item["position"] for item in items)


def test_the_log_shows_every_event(house: House) -> None:
    posted = webhook("video.posted", 2, id="evt_p", data={"video_id": "vid:1"})
    house.tell(posted)
    page = house.get("/api/events", params={"after": 0})
    assert [(item["position"], item["event"], item["version"]) for item in page["items"]] == [
        (1, "BundleRegistered", 1),
        (2, "BundleMentioned", 2),
        (3, "VideoRegistered", 1),
        (4, "VideoPosted", 2),
    ]
    born, mentioned, _, fact = page["items"]
    assert born["aggregate"] == {"kind": "bundle", "id": "bdl_1"}
    assert born["data"] == {"bundle_id": "bdl_1"}
    assert (born["occurred_at"], mentioned["occurred_at"]) == (None, None)
    assert mentioned["data"]["country"] == "US"
    assert fact == {
        "position": 4,
        "aggregate": {"kind": "video", "id": "vid:1"},
        "version": 2,
        "event": "VideoPosted",
        "occurred_at": "2026-11-20T12:02:00Z",
        "recorded_at": "2026-11-20T12:30:00.250Z",
        "data": {"video_id": "vid:1"},
        "cause": {"message_id": posted.message_id, "event_id": "evt_p"},
        "subject": {"bundle_id": "bdl_1", "saved_account_id": None, "country": "US", "platform": "tiktok"},
    }


def test_the_log_goes_on_after_a_position(house: House) -> None:
    house.tell(webhook("bundle.created", 1), webhook("bundle.ready", 2))
    page = house.get("/api/events?after=1&limit=1")
    assert ([item["position"] for item in page["items"]], page["next"], page["position"]) == ([2], "2", 3)
    assert house.get("/api/events?after=2&limit=1")["next"] is None
    assert house.get("/api/events?after=900") == {"items": [], "next": None, "position": 3}
    house.get("/api/events?after=1&cursor=1", 400)
    house.get("/api/events?after=x", 400)
