from __future__ import annotations

from typing import Any

import pytest

from orchestrator.database.tables import bundles, countries, videos
from tests.api.house import House, bundle_row, check_problem, country_row, video_row, webhook

LISTS = ("bundles", "videos", "countries", "projections", "messages", "events", "bundles/bdl_1/history")


@pytest.fixture
def full(house: House) -> House:
    """A house with a few of everything, read models two and three events behind."""
    facts = ["bundle.created", "bundle.ready", "bundle.warming_started", "bundle.warming_completed"]
    house.tell(*(webhook(fact, minute) for minute, fact in enumerate(facts)), webhook("bundle.created", bundle="bdl_2"))
    house.projected(bundles=5, videos=4, countries=3)
    house.insert(
        bundles,
        bundle_row("bdl_1", username="acme.us"),
        bundle_row("bdl_2", country="FR", platform="instagram", state="warming", warmed=False, postable=False),
        bundle_row("bdl_3", country=None, platform=None, group="acme", holds='["suspended"]', state="banned"),
        bundle_row("bdl/4 ?ü", last_error='{"code":"banned","message":null}'),
    )
    house.insert(
        videos,
        video_row("vid_1"),
        video_row("vid_2", state="failed", error_code="content_policy"),
        video_row("vid_3", bundle_id="bdl_2"),
        video_row("vid_4", bundle_id=None, state="unknown"),
        video_row("vid_5", bundle_id="bdl_3", state="scheduled"),
    )
    house.insert(
        countries,
        country_row("US", "tiktok", "bundles", "completed", 2),
        country_row("US", "tiktok", "postable", "", 2),
        country_row("US", "tiktok", "videos", "posted", 1),
        country_row("FR", "instagram", "bundles", "warming", 1),
        country_row("FR", "instagram", "bundles", "created", 0),
        country_row("DE", "", "bundles", "created", 1),
        country_row("IT", "tiktok", "bundles", "created", 0),
        country_row("", "", "bundles", "banned", 1),
    )
    return house


def test_walking_a_list_by_its_cursors_meets_everything_once(full: House) -> None:
    for name in LISTS:
        whole = full.get(f"/api/{name}")
        assert whole["next"] is None
        assert len(whole["items"]) >= 2
        assert all("position" in item for item in whole["items"])
        for limit in (1, 2, 500):
            assert full.walk(f"/api/{name}", limit) == whole["items"]


def test_a_limit_is_from_1_to_500(full: House) -> None:
    for name in LISTS:
        for limit in ("0", "501", "-1", "ten", "1e2", "٣", "99999999999999999999"):
            assert "limit" in full.get(f"/api/{name}", 400, params={"limit": limit})["detail"]


def test_a_cursor_that_is_none_is_told_so(full: House) -> None:
    for name in LISTS:
        for cursor in ("nonsense", "!", "W10", "WyJ4Il0", "WyJidW5kbGVzIiwgNV0", "\0", "é", "[" * 3000):
            assert "cursor" in full.get(f"/api/{name}", 400, params={"cursor": cursor})["detail"]


def test_a_cursor_of_another_list_is_none(full: House) -> None:
    cursor = full.get("/api/bundles", params={"limit": 1})["next"]
    full.get("/api/videos", 400, params={"cursor": cursor})


def test_an_unknown_parameter_is_refused_with_its_neighbours(full: House) -> None:
    for name in LISTS:
        assert "Did you mean limit?" in full.get(f"/api/{name}", 400, params={"limits": "5"})["detail"]


def test_the_same_parameter_twice_is_refused(full: House) -> None:
    assert "twice" in full.get("/api/bundles?state=ready&state=banned", 400)["detail"]


def test_a_wrong_choice_is_told_the_right_ones(full: House) -> None:
    detail = full.get("/api/bundles", 400, params={"state": "warmng"})["detail"]
    assert "completed" in detail
    assert detail.endswith("did you mean warming?")


def test_bundles_by_filter(full: House) -> None:
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["bdl/4 ?ü", "bdl_1", "bdl_2", "bdl_3"]),
        ({"country": "US"}, ["bdl/4 ?ü", "bdl_1"]),
        ({"country": "usa", "username": "acme.us"}, ["bdl_1"]),
        ({"country": "JP"}, []),
        ({"platform": "instagram"}, ["bdl_2"]),
        ({"state": "banned"}, ["bdl_3"]),
        ({"postable": "false"}, ["bdl_2"]),
        ({"postable": "true", "group": "acme"}, ["bdl_3"]),
        ({"state": ""}, ["bdl/4 ?ü", "bdl_1", "bdl_2", "bdl_3"]),
    ]
    for query, expected in cases:
        items = full.get("/api/bundles", params=query)["items"]
        assert [item["bundle_id"] for item in items] == expected


def test_videos_by_filter(full: House) -> None:
    cases: list[tuple[dict[str, str], list[str]]] = [
        ({}, ["vid_1", "vid_2", "vid_3", "vid_4", "vid_5"]),
        ({"country": "FR"}, ["vid_3"]),
        ({"platform": "tiktok", "state": "posted"}, ["vid_1"]),
        ({"bundle_id": "bdl_1"}, ["vid_1", "vid_2"]),
        ({"error_code": "content_policy"}, ["vid_2"]),
        ({"campaign_id": "spring"}, []),
        ({"ref": "teaser-1"}, []),
    ]
    for query, expected in cases:
        items = full.get("/api/videos", params=query)["items"]
        assert [item["video_id"] for item in items] == expected


def test_a_nul_in_a_filter_is_no_error_of_ours(full: House) -> None:
    full.get("/api/bundles?username=%00", 400)
    full.get("/api/bundles/%00", 404)
    full.get("/api/videos/%00/history", 404)
    full.get("/api/messages/%00", 404)


def test_a_bundle(full: House) -> None:
    assert full.get("/api/bundles/bdl_1") == {
        "bundle_id": "bdl_1",
        "platform": "tiktok",
        "country": "US",
        "group": "default",
        "state": "completed",
        "state_since": None,
        "warmed": True,
        "postable": True,
        "holds": [],
        "flags": [],
        "username": "acme.us",
        "saved_account_id": None,
        "slots": None,
        "last_error": None,
        "videos": {"failed": 1, "posted": 1},
        "first_seen": "2026-11-20T12:00:00Z",
        "last_event_at": None,
        "position": 4,
    }
    assert full.get("/api/bundles/bdl_3")["holds"] == ["suspended"]
    assert full.get("/api/bundles")["position"] == 4


def test_an_id_may_hold_anything(full: House) -> None:
    item = full.get("/api/bundles/bdl%2F4%20%3F%C3%BC")
    assert item["bundle_id"] == "bdl/4 ?ü"
    assert item["last_error"] == {"code": "banned", "message": None}
    full.get("/api/bundles/bdl%2F4%20%3F%C3%BC/history", 404)
    full.get("/api/bundles/bdl/4", 404)


def test_a_video(full: House) -> None:
    full.insert(
        videos,
        video_row(
            "vid_9",
            bundle_id="bdl_3",
            post_url="https://example.com/9",
            posted_at="2026-11-20T12:00:00Z",
            flags='["ai_labeled"]',
            attempts='[{"number":1,"bundle_id":"bdl_3","state":"posted","tries":1,"target_day":null,"error":null}]',
            metrics='{"views":1,"likes":null,"shares":null,"comments":0,"as_of":"2026-11-20T12:00:00Z"}',
        ),
    )
    assert full.get("/api/videos/vid_9") == {
        "video_id": "vid_9",
        "campaign_id": None,
        "ref": None,
        "platform": None,
        "country": None,
        "group": "acme",
        "state": "posted",
        "reason": None,
        "bundle_id": "bdl_3",
        "post_url": "https://example.com/9",
        "posted_at": "2026-11-20T12:00:00Z",
        "flags": ["ai_labeled"],
        "attempts": [
            {"number": 1, "bundle_id": "bdl_3", "state": "posted", "tries": 1, "target_day": None, "error": None}
        ],
        "metrics": {"views": 1, "likes": None, "shares": None, "comments": 0, "as_of": "2026-11-20T12:00:00Z"},
        "position": 4,
    }
    assert full.get("/api/videos/vid_4")["group"] == "default"


def test_countries(full: House) -> None:
    items = full.get("/api/countries")["items"]
    assert [(item["country"], item["platform"]) for item in items] == [
        ("DE", None),
        ("FR", "instagram"),
        ("US", "tiktok"),
    ]
    assert items[1]["bundles"] == {"warming": 1}
    assert items[2] == {
        "country": "US",
        "platform": "tiktok",
        "bundles": {"completed": 2},
        "postable": 2,
        "spare": {f"2026-11-{day}": 6 for day in range(21, 28)},
        "videos": {"posted": 1},
        "breaker": "closed",
        "paused": False,
        "position": 3,
    }


def test_projections(full: House) -> None:
    head = full.get("/api/events", params={"limit": 500})["position"]
    assert full.get("/api/projections")["items"] == [
        {
            "name": name,
            "position": at,
            "head": head,
            "lag": head - at,
            "state": "live",
            "progress": None,
            "version": 1 if at else None,
            "failure": None,
            "rebuild": None,
        }
        for name, at in (("bundles", 5), ("campaigns", 0), ("countries", 3), ("decisions", 0), ("videos", 4))
    ]


def test_an_empty_house_answers_with_nothing(house: House) -> None:
    for name in ("bundles", "videos", "countries", "messages", "events"):
        assert house.get(f"/api/{name}") == {"items": [], "next": None, "position": 0}
    assert [item["position"] for item in house.get("/api/projections")["items"]] == [0] * 5


def test_what_there_is_not(house: House) -> None:
    for path in ("bundles/no", "videos/no", "messages/no", "bundles/no/history", "videos/no/history"):
        house.get(f"/api/{path}", 404)


def test_an_address_without_anything(house: House) -> None:
    for path in ("/api", "/api/", "/api/campaign", "/api/bundles/", "/nothing", "/docs/"):
        house.get(path, 404)


def test_a_wrong_method_is_told_the_right_ones(house: House) -> None:
    for method, path, allowed in (
        ("POST", "/api/bundles", "GET, HEAD"),
        ("GET", "/api/messages/x/retry", "POST"),
        ("DELETE", "/health/live", "GET, HEAD"),
    ):
        answer = house.client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        check_problem(answer)


def test_a_head_request_has_the_headers_of_the_answer(house: House) -> None:
    answer: Any = house.client.head("/api/bundles")
    assert (answer.status_code, answer.content) == (200, b"")
