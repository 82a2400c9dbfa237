"""One test per rule of TokPortal's documentation, and per error code."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.sandbox.errors import Refusal
from orchestrator.sandbox.model import DAY, Bundle, Coverage, Delivery, Endpoint, Listing
from orchestrator.sandbox.parameters import Parameters
from orchestrator.sandbox.world import World
from tests.sandbox.house import House, Reply, StandingClock

_ORDER = {"bundle_type": "account_and_videos", "platform": "tiktok", "country": "FR", "videos_quantity": 3}
_TERMS = ["one term", "two terms", "three terms"]
_WARM: dict[str, Any] = {"wants_advanced_warming": True}


def _other(**parameters: Any) -> House:
    clock = StandingClock()
    return House(World(clock, parameters=Parameters(**parameters)), clock)


def _order(house: House, **members: Any) -> Reply:
    return house.ask("POST", "/bundles", {**_ORDER, **members})


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"platform": "youtube"}, 400, "YOUTUBE_DELAYED"),
        ({"platform": "myspace"}, 400, "VALIDATION_ERROR"),
        ({"country": "XX"}, 400, "COUNTRY_NOT_ENABLED"),
        ({"country": None}, 400, "VALIDATION_ERROR"),
        ({"bundle_type": "everything"}, 400, "VALIDATION_ERROR"),
        ({"videos_quantity": 501}, 400, "VALIDATION_ERROR"),
        ({"videos_quantity": "3"}, 400, "VALIDATION_ERROR"),
        ({"videos_quantity": 0}, 400, "VALIDATION_ERROR"),
        ({"bundle_type": "account_only"}, 400, "VALIDATION_ERROR"),
        ({"bundle_type": "videos_only"}, 400, "VALIDATION_ERROR"),
        ({"account_id": "someone"}, 400, "VALIDATION_ERROR"),
        ({"bundle_type": "videos_only", "account_id": "nobody"}, 404, "SAVED_ACCOUNT_NOT_FOUND"),
        ({"colour": "blue"}, 400, "VALIDATION_ERROR"),
        ({"wants_deep_warming": True}, 400, "DEEP_WARMING_DEPRECATED"),
        ({"advanced_warming_terms": _TERMS}, 400, "ADVANCED_WARMING_FLAG_REQUIRED"),
        ({"advanced_warming_terms_count": 3}, 400, "ADVANCED_WARMING_FLAG_REQUIRED"),
        ({**_WARM}, 400, "ADVANCED_WARMING_TERMS"),
        ({**_WARM, "advanced_warming_terms_count": 4}, 400, "ADVANCED_WARMING_TERMS"),
        ({**_WARM, "advanced_warming_terms_count": 33}, 400, "ADVANCED_WARMING_TERMS"),
        ({**_WARM, "advanced_warming_terms": ["x", *_TERMS[1:]]}, 400, "ADVANCED_WARMING_TERMS"),
        ({**_WARM, "advanced_warming_terms": ["x" * 51, *_TERMS[1:]]}, 400, "ADVANCED_WARMING_TERMS"),
        ({**_WARM, "advanced_warming_terms": ["ONE term", *_TERMS[:2]]}, 400, "ADVANCED_WARMING_TERMS"),
        (
            {**_WARM, "advanced_warming_terms": _TERMS, "advanced_warming_terms_count": 6},
            400,
            "ADVANCED_WARMING_COUNT_MISMATCH",
        ),
    ],
)
def test_orders_that_are_refused(house: House, members: dict[str, Any], status: int, code: str) -> None:
    reply = _order(house, **members)
    assert (reply.status, reply.code) == (status, code)
    assert house.world.credits == 1_000_000
    assert list(house.world.all(Bundle)) == []


def test_warming_that_a_platform_or_the_vendor_does_not_want() -> None:
    house = _other(warming_platforms=("instagram",), rejected_terms=("casino",))
    assert _order(house, **_WARM, advanced_warming_terms=_TERMS).code == "ADVANCED_WARMING_PLATFORM"
    reply = _order(house, platform="instagram", **_WARM, advanced_warming_terms=["Casino night", *_TERMS[1:]])
    assert reply.code == "ADVANCED_WARMING_TERMS_REJECTED"
    assert reply.details["rejected_terms"] == ["Casino night"]


def test_a_country_that_makes_no_accounts() -> None:
    house = _other(videos_only_countries=["FR"])
    assert _order(house).code == "COUNTRY_NOT_ENABLED"
    countries = house.ask("GET", "/countries").json
    assert countries["videos_only_countries"] == ["FR"]
    assert "FR" not in [row["code"] for row in countries["data"]]


def test_credits_run_out() -> None:
    house = _other(credits=40)
    reply = _order(house, videos_quantity=6)
    assert (reply.status, reply.code) == (402, "INSUFFICIENT_CREDITS")
    assert {name: reply.details[name] for name in ("required", "available", "missing")} == {
        "required": 44,
        "available": 40,
        "missing": 4,
    }
    assert reply.details["breakdown"]["video_slots"] == 12
    id = house.bundle(videos_quantity=3)
    reply = house.ask("POST", f"/bundles/{id}/add-video-slots", {"quantity": 2})
    assert (reply.status, reply.details["missing"]) == (402, 2)
    assert house.ask("GET", f"/bundles/{id}").data["videos_quantity"] == 3


def test_a_reference_is_taken_once(house: House) -> None:
    id = house.bundle(external_ref="deal-1")
    reply = _order(house, external_ref="deal-1")
    assert (reply.status, reply.code) == (409, "DUPLICATE_ACCOUNT_BUNDLE")
    assert reply.details == {"existing_bundle_id": id}
    bulk = {"platforms": ["tiktok"], "country": "FR", "accounts_count": 1, "external_ref": "deal-1"}
    assert house.ask("POST", "/bundles/bulk", bulk).code == "DUPLICATE_ACCOUNT_BUNDLE"


@pytest.mark.parametrize(
    "members",
    [
        {"accounts_count": 0},
        {"accounts_count": 101},
        {"upload_accounts_count": 3},
        {"videos_per_account": 501},
        {"platforms": []},
        {"platforms": ["tiktok", "tiktok"]},
        {"platforms": ["youtube"]},
    ],
)
def test_bulk_is_all_or_nothing(house: House, members: dict[str, Any]) -> None:
    body = {"platforms": ["tiktok"], "country": "FR", "accounts_count": 2, "videos_per_account": 1, **members}
    assert house.ask("POST", "/bundles/bulk", body).status == 400
    assert house.ask("GET", "/bundles").json["pagination"]["total"] == 0


def test_a_bundle_for_an_account_that_exists(house: House) -> None:
    account = house.account_of(house.active(platform="instagram"))
    bought = house.ask(
        "POST", "/bundles", {"bundle_type": "videos_only", "account_id": account.id, "videos_quantity": 2}
    )
    assert (bought.data["platform"], bought.data["country"], bought.json["credits_charged"]) == ("instagram", "FR", 4)
    id = bought.data["bundle_id"]
    assert house.ask("GET", f"/bundles/{id}/account").code == "ACCOUNT_NOT_FOUND"
    assert house.ask("POST", f"/bundles/{id}/publish").data["status"] == "published"
    assert [row["id"] for row in house.ask("GET", f"/accounts/{account.id}/bundles").data][-1] == id


def test_unknown_things(house: House) -> None:
    id = house.bundle()
    assert (house.ask("GET", "/bundles/nobody").status, house.ask("GET", "/bundles/nobody").code) == (
        404,
        "BUNDLE_NOT_FOUND",
    )
    assert house.ask("GET", f"/bundles/{id}/videos/7").code == "VIDEO_NOT_FOUND"
    assert house.ask("GET", f"/bundles/{id}/videos/0").code == "VALIDATION_ERROR"
    assert house.ask("GET", f"/bundles/{id}/videos/%C2%B2").code == "VALIDATION_ERROR"
    assert house.ask("GET", "/accounts/nobody").code == "SAVED_ACCOUNT_NOT_FOUND"
    assert house.ask("GET", "/warming-sessions/nobody").code == "WARMING_SESSION_NOT_FOUND"
    assert house.ask("GET", "/videos/nobody/analytics").code == "VIDEO_NOT_FOUND"
    assert house.ask("GET", "/webhooks/nobody").code == "WEBHOOK_ENDPOINT_NOT_FOUND"
    assert (house.ask("GET", "/nothing").status, house.ask("GET", "/nothing").code) == (404, "NOT_FOUND")
    assert house.ask("DELETE", f"/bundles/{id}").status == 405


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "per_page=101", "per_page=0", "per_page=%C2%B2", "page=99999999999"]
)
def test_pages_that_do_not_exist(house: House, query: str) -> None:
    assert house.ask("GET", f"/bundles?{query}").code == "VALIDATION_ERROR"


def test_pages(house: House) -> None:
    ids = [house.bundle() for _ in range(27)]
    first, second = house.ask("GET", "/bundles"), house.ask("GET", "/bundles?page=2")
    assert [row["id"] for row in first.data + second.data] == ids
    assert second.json["pagination"] == {"page": 2, "per_page": 25, "total": 27, "total_pages": 2}
    assert house.ask("GET", "/bundles?page=3").data == []


def test_a_target_day_needs_lead_time(house: House) -> None:
    fresh, active = house.bundle(), house.active()
    for id, lead in ((fresh, 3), (active, 1)):
        reply = house.ask("PUT", f"/bundles/{id}/videos/1", house.video(lead - 1))
        assert (reply.status, reply.code) == (400, "INVALID_DATE")
        assert reply.details == {"earliest_allowed": house.day(lead)}
        assert house.ask("PUT", f"/bundles/{id}/videos/1", house.video(lead)).status == 200
    reply = house.ask("PATCH", f"/bundles/{active}/videos/1", {"target_publish_date": house.day(0)})
    assert reply.details == {"earliest_allowed": house.day(1)}


@pytest.mark.parametrize("day", ["2026-13-01", "20261210", "tomorrow", "2026-12-10T00:00:00Z", "2026-W50-1"])
def test_a_target_day_is_a_day(house: House, day: str) -> None:
    reply = house.ask("PUT", f"/bundles/{house.active()}/videos/1", {**house.video(), "target_publish_date": day})
    assert reply.code == "INVALID_DATE"


def test_days_are_counted_in_a_zone() -> None:
    house = _other(publish_zone="Pacific/Auckland")  # where it is ten in the evening
    house.clock.forward(hours=4)
    assert house.ask("PUT", f"/bundles/{house.active()}/videos/1", house.video(0)).details == {
        "earliest_allowed": "2026-12-03"
    }


def test_three_videos_a_day(house: House) -> None:
    id = house.active()
    for position in (1, 2, 3):
        assert house.ask("PUT", f"/bundles/{id}/videos/{position}", house.video(2)).status == 200
    reply = house.ask("PUT", f"/bundles/{id}/videos/4", house.video(2))
    assert (reply.status, reply.code) == (409, "VIDEOS_PER_DAY_EXCEEDED")
    assert reply.details == {"date": house.day(2), "current_count": 3}
    # A slot does not count against itself, nor does one that is empty or cancelled.
    assert house.ask("PUT", f"/bundles/{id}/videos/3", house.video(2, name="again")).status == 200
    house.ask("POST", f"/bundles/{id}/videos/1/unschedule")
    assert house.ask("PUT", f"/bundles/{id}/videos/4", house.video(2)).status == 200
    house.slot(id, 2).status = "cancelled"
    assert house.ask("PUT", f"/bundles/{id}/videos/5", house.video(2)).status == 200
    assert house.ask("PUT", f"/bundles/{id}/videos/6", house.video(2)).code == "VIDEOS_PER_DAY_EXCEEDED"
    house.ask("PUT", f"/bundles/{id}/videos/6", house.video(3))
    reply = house.ask("PATCH", f"/bundles/{id}/videos/6", {"target_publish_date": house.day(2)})
    assert reply.code == "VIDEOS_PER_DAY_EXCEEDED"


def test_a_batch_keeps_the_daily_cap(house: House) -> None:
    id = house.active()
    videos = [{"position": position, **house.video(2)} for position in range(1, 5)]
    data = house.ask("PUT", f"/bundles/{id}/videos/batch", {"videos": videos, "auto_publish": True}).data
    assert (data["configured"], data["failed"]) == (3, 1)
    assert data["results"][3]["error"]["code"] == "VIDEOS_PER_DAY_EXCEEDED"
    assert house.slot(id, 1).status == "published"


_CAROUSEL = {"video_type": "carousel", "video_url": None, "carousel_images": ["a.jpg"]}


@pytest.mark.parametrize(
    ("platform", "members", "right"),
    [
        ("tiktok", {}, True),
        ("tiktok", {"video_url": None}, False),
        ("tiktok", {"volume_original_sound": 101}, False),
        ("tiktok", {"video_type": "film"}, False),
        ("tiktok", {"position": 1}, False),
        ("tiktok", {"free": {}}, False),
        ("tiktok", {"instagram_something": 1}, True),
        ("tiktok", _CAROUSEL, False),
        ("tiktok", {**_CAROUSEL, "tiktok_sound_url": "https://www.tiktok.com/music/1"}, True),
        ("tiktok", {**_CAROUSEL, "carousel_images": ["a.jpg"] * 21, "tiktok_sound_url": "x"}, False),
        ("instagram", {}, False),
        ("instagram", {"instagram_content_type": "film"}, False),
        ("instagram", {"instagram_content_type": "reel"}, True),
        ("instagram", {**_CAROUSEL, "instagram_content_type": "post"}, True),
        ("instagram", {"video_type": "story", "video_url": None}, False),
        ("instagram", {"video_type": "story", "video_url": None, "story_image_url": "a.jpg"}, True),
        ("instagram", {"video_type": "story", "story_image_url": "a.jpg", "description": "x"}, False),
    ],
)
def test_what_a_slot_takes(house: House, platform: str, members: dict[str, Any], right: bool) -> None:
    id = house.active(platform=platform)
    body = {name: value for name, value in {**house.video(), **members}.items() if value is not None}
    reply = house.ask("PUT", f"/bundles/{id}/videos/1", body)
    assert reply.status == (200 if right else 400), reply.content
    assert right or reply.code == "VALIDATION_ERROR"


def test_a_configuration_replaces_the_whole(house: House) -> None:
    id = house.active()
    house.ask("PUT", f"/bundles/{id}/videos/1", house.video(description="one", external_ref="v1", disclose_as_ads=True))
    shown = house.ask("PUT", f"/bundles/{id}/videos/1", house.video(external_ref="v2")).data
    assert (shown["description"], shown["external_ref"], "disclose_as_ads" in shown) == (None, "v2", False)
    assert house.world.live_slots("v1") == []


def test_sounds_cost_once(house: House) -> None:
    id = house.active()
    body = house.video(volume_original_sound=50)
    charged = [house.ask("PUT", f"/bundles/{id}/videos/1", body).json["credits_charged"] for _ in range(2)]
    assert charged == [1, 0]


def test_publishing_a_bundle_needs_an_account_and_a_video(house: House) -> None:
    id = house.bundle()
    reply = house.ask("POST", f"/bundles/{id}/publish")
    assert (reply.status, reply.code, reply.details["fields"]) == (
        409, "ACCOUNT_NOT_CONFIGURED", ["username", "visible_name"],
    )  # fmt: skip
    profile = {"username": "acme", "visible_name": "Acme"}
    house.ask("PUT", f"/bundles/{id}/account", profile)
    assert house.ask("POST", f"/bundles/{id}/publish").code == "NO_VIDEOS_CONFIGURED"
    house.ask("PUT", f"/bundles/{id}/videos/1", house.video())
    assert house.ask("POST", f"/bundles/{id}/publish").status == 200
    reply = house.ask("POST", f"/bundles/{id}/publish")
    assert (reply.status, reply.code) == (409, "BUNDLE_ALREADY_PUBLISHED")
    assert house.ask("PUT", f"/bundles/{id}/account", profile).code == "ACCOUNT_INVALID_STATUS"


def test_a_bundle_that_was_accepted_stays_published(house: House) -> None:
    reply = house.ask("POST", f"/bundles/{house.active()}/unpublish")
    assert (reply.status, reply.code) == (409, "BUNDLE_INVALID_STATUS")
    assert reply.details == {"current_status": "accepted", "reason": "already_accepted"}


@pytest.mark.parametrize("status", ["cancelled", "archived"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "publish", None),
        ("POST", "add-video-slots", {"quantity": 1}),
        ("POST", "add-edit-slots", {"quantity": 1}),
        ("PUT", "videos/1", {}),
        ("PUT", "videos/batch", {"videos": [{}]}),
        ("PATCH", "videos/1", {}),
        ("POST", "videos/1/publish", None),
        ("POST", "videos/publish-all", None),
        ("PUT", "account", {}),
        ("PUT", "warming-terms", {"advanced_warming_terms": _TERMS}),
    ],
)
def test_a_closed_bundle_takes_nothing(house: House, status: str, method: str, path: str, body: Any) -> None:
    id = house.active()
    house.world.move_bundle(house.world.get(Bundle, id), status)
    reply = house.ask(method, f"/bundles/{id}/{path}", body)
    assert (reply.status, reply.code) == (409, "BUNDLE_INVALID_STATUS")
    assert reply.details["current_status"] == status


@pytest.mark.parametrize("username", ["", "a" * 25, "with blank", "émile"])
def test_usernames(house: House, username: str) -> None:
    assert house.ask("PUT", f"/bundles/{house.bundle()}/account", {"username": username}).code == "VALIDATION_ERROR"


@pytest.mark.parametrize("members", [{"visible_name": "a" * 31}, {"biography": "a" * 81}, {"link_in_bio": "https://x"}])
def test_profiles(house: House, members: dict[str, str]) -> None:
    assert house.ask("PUT", f"/bundles/{house.bundle()}/account", members).code == "VALIDATION_ERROR"


def test_a_video_is_reviewed_within_72_hours(house: House) -> None:
    id = house.active()
    path = f"/bundles/{id}/videos/1"
    reply = house.ask("POST", f"{path}/finalize")
    assert (reply.status, reply.code) == (409, "INVALID_STATUS_TRANSITION")
    assert reply.details == {"current_status": "pending", "position": 1}
    house.ask("PUT", path, house.video(auto_publish=True))
    house.world.move_slot(house.slot(id), "in_review")
    assert house.ask("POST", f"{path}/corrections", {}).code == "VALIDATION_ERROR"
    house.clock.forward(hours=72)
    assert house.ask("POST", f"{path}/corrections", {"comment": "late"}).code == "INVALID_STATUS_TRANSITION"
    assert house.ask("POST", f"{path}/finalize").data["status"] == "finalized"
    for again in ("finalize", "reset", "unschedule", "publish"):
        assert house.ask("POST", f"{path}/{again}").code == "INVALID_STATUS_TRANSITION"
    assert house.ask("PUT", path, house.video()).code == "INVALID_STATUS_TRANSITION"


def test_an_account_is_reviewed_within_72_hours(house: House) -> None:
    id = house.active()
    listing = house.world.get(Listing, house.world.get(Bundle, id).account_id or "")
    assert house.ask("POST", f"/bundles/{id}/account/finalize").code == "ACCOUNT_INVALID_STATUS"
    house.world.move_listing(listing, "in_review")
    house.clock.forward(hours=72)
    reply = house.ask("POST", f"/bundles/{id}/account/corrections", {"comment": "late"})
    assert (reply.status, reply.code, reply.details) == (409, "ACCOUNT_INVALID_STATUS", {"current_status": "in_review"})


@pytest.mark.parametrize("target", ["pending", "configured", "cancelled"])
def test_what_unscheduling_leaves_is_a_parameter(target: str) -> None:
    house = _other(unschedule_to=target)
    id = house.active()
    house.ask("PUT", f"/bundles/{id}/videos/1", house.video(external_ref="v1", auto_publish=True))
    assert house.ask("POST", f"/bundles/{id}/videos/1/unschedule").data["status"] == target
    shown = house.ask("GET", f"/bundles/{id}/videos/1").data
    assert shown["external_ref"] == (None if target == "pending" else "v1")
    assert (shown["target_publish_date"] is None) == (target != "cancelled")
    assert bool(house.world.live_slots("v1")) == (target == "configured")


def test_tasks_are_blocked_without_coverage(house: House) -> None:
    id = house.active()
    account = house.account_of(id)
    house.clock.forward(days=30)
    # The period is over: the write renews it first, and says so in its price.
    reply = house.ask("PUT", f"/bundles/{id}/videos/1", house.video())
    assert reply.json["credits_charged"] == 25
    coverage = house.world.get(Coverage, account.id)
    assert coverage.current_period_end == house.world.now() + 30 * DAY
    coverage.auto_renew = False
    house.clock.forward(days=30)
    reply = house.ask("PUT", f"/bundles/{id}/videos/1", house.video())
    assert (reply.status, reply.code) == (409, "MANAGED_ACCOUNT_TASK_BLOCKED")
    assert reply.details == {"saved_account_id": account.id, "reason": "lapsed"}
    coverage.auto_renew = True
    account.banned = True
    assert house.ask("PUT", f"/bundles/{id}/videos/1", house.video()).details["reason"] == "banned"
    coverage.recorded_status = "ended"
    account.banned = False
    assert house.ask("POST", f"/bundles/{id}/videos/publish-all").details["reason"] == "ended"
    reply = house.ask(
        "POST",
        f"/accounts/{account.id}/managed-subscription/reactivate",
        {"expected_credits": 25, "expected_current_period_end": "", "expected_lock_version": 1},
    )
    assert reply.code == "MANAGED_SUBSCRIPTION_ENDED"


def test_warming_terms_are_set_once_and_in_full(house: House) -> None:
    id = house.bundle(wants_advanced_warming=True, advanced_warming_terms_count=6)
    path, body = f"/bundles/{id}/warming-terms", {"advanced_warming_terms": _TERMS}
    reply = house.ask("PUT", path, body)
    assert (reply.code, reply.details) == ("ADVANCED_WARMING_COUNT_MISMATCH", {"expected": 6, "received": 3})
    six = {"advanced_warming_terms": [*_TERMS, "four", "five", "six"]}
    assert house.ask("PUT", path, six).data["status"] == "pending"
    assert house.ask("PUT", path, six).code == "WARMING_TERMS_ALREADY_SET"
    assert house.ask("PUT", f"/bundles/{house.bundle()}/warming-terms", body).code == "WARMING_CONFLICT"


def test_warming_again(house: House) -> None:
    id = house.active()
    account = house.account_of(id)
    path, body = f"/accounts/{account.id}/rewarm", {"search_terms": _TERMS}
    assert house.ask("POST", path, {"search_terms": ["one"]}).code == "ADVANCED_WARMING_TERMS"
    assert house.ask("POST", path, body).json["credits_charged"] == 15
    reply = house.ask("POST", path, body)
    assert (reply.status, reply.code) == (409, "REWARM_ALREADY_ACTIVE")
    other = house.active()
    account = house.account_of(other)
    house.world.move_bundle(house.world.get(Bundle, other), "cancelled")
    assert house.ask("POST", f"/accounts/{account.id}/rewarm", body).code == "REWARM_NO_ACTIVE_ORDER"


@pytest.mark.parametrize("path", ["reveal-credentials", "verification-code"])
def test_credentials_are_never_revealed(house: House, path: str) -> None:
    account = house.account_of(house.active())
    body = {"acknowledge_support_forfeit": True, "policy_version": "sandbox-never"}
    reply = house.ask("POST", f"/accounts/{account.id}/{path}", body)
    assert reply.status == 428
    assert reply.details["policy_version"]
    assert [violation.code for violation in house.world.violations] == ["SENSITIVE_OPERATION"]


def test_a_video_on_two_live_slots_is_a_violation(house: House) -> None:
    first, second = house.active(), house.active()
    house.ask("PUT", f"/bundles/{first}/videos/1", house.video(external_ref="v1"))
    house.ask("PUT", f"/bundles/{first}/videos/1", house.video(external_ref="v1"))
    house.world.move_bundle(house.world.get(Bundle, first), "cancelled")
    house.ask("PUT", f"/bundles/{second}/videos/1", house.video(external_ref="v1"))
    assert house.world.violations == []
    house.ask("PUT", f"/bundles/{second}/videos/2", house.video(external_ref="v1"))
    assert [violation.code for violation in house.world.violations] == ["VIDEO_ON_TWO_SLOTS"]


def test_webhook_endpoints(house: House) -> None:
    assert house.ask("POST", "/webhooks", {"url": "https://x.example", "events": ["no.such"]}).details["unknown"] == [
        "no.such"
    ]
    assert house.ask("POST", "/webhooks", {}).code == "VALIDATION_ERROR"
    too_long = {"url": "https://x.example", "description": "a" * 501}
    assert house.ask("POST", "/webhooks", too_long).code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    "query", ["since=yesterday", "status=banned", "resolution=none", "since=2026-12-01T00:00:00 00:00"]
)
def test_filters_that_say_nothing(house: House, query: str) -> None:
    assert house.ask("GET", f"/account-bans?{query}").code == "VALIDATION_ERROR"


def test_a_closed_bundle_may_keep_its_slots() -> None:
    for releases, status in ((True, 200), (False, 409)):
        house = _other(release_in_closed_bundles=releases)
        id = house.active()
        house.ask("PUT", f"/bundles/{id}/videos/1", house.video())
        house.world.move_bundle(house.world.get(Bundle, id), "cancelled")
        assert house.ask("POST", f"/bundles/{id}/videos/1/unschedule").status == status


def test_the_end_of_a_window(house: House) -> None:
    id = house.active()
    path = f"/bundles/{id}/videos/1"
    assert house.ask("PATCH", path, {"target_publish_date": house.day(2)}).code == "INVALID_STATUS_TRANSITION"
    house.ask("PUT", path, house.video(2))
    assert house.ask("PATCH", path, {"target_publish_end_date": house.day(4)}).code == "VALIDATION_ERROR"
    both = {"target_publish_start_date": house.day(3), "target_publish_end_date": house.day(5)}
    shown = house.ask("PATCH", path, both).data
    assert (shown["target_publish_start_date"], shown["target_publish_end_date"]) == (house.day(3), house.day(5))
    assert house.ask("PATCH", path, {**both, "target_publish_end_date": house.day(2)}).code == "INVALID_DATE"
    assert house.ask("PATCH", path, {**both, "target_publish_date": house.day(4)}).code == "VALIDATION_ERROR"


def test_other_media(house: House) -> None:
    id = house.active()
    path = f"/bundles/{id}/videos/1"
    media = {"video_url": "https://cdn.example.com/2.mp4"}
    assert house.ask("POST", f"{path}/fix-download", media).code == "INVALID_STATUS_TRANSITION"
    house.ask("PUT", path, house.video())
    assert house.ask("POST", f"{path}/fix-download", {}).code == "VALIDATION_ERROR"
    assert house.ask("POST", f"{path}/fix-download", {"carousel_images": ["a.jpg"]}).code == "VALIDATION_ERROR"
    assert house.ask("POST", f"{path}/fix-download", media).status == 200


def test_images(house: House) -> None:
    id = house.active()
    image = {"url": "https://cdn.example.com/1.jpg", "bundle_id": id, "purpose": "carousel"}
    kept = house.sdk.request_operation("uploadImageFromUrl", body=image, idempotency_key="k")
    assert isinstance(kept, dict)
    assert kept["data"]["storage_path"].startswith(f"{id}/carousel/")
    assert (
        house.ask("POST", "/upload/image/from-url", {**image, "url": "file:///etc/passwd"}).code == "VALIDATION_ERROR"
    )
    assert house.ask("POST", "/upload/image/from-url", {**image, "bundle_id": "no"}).code == "BUNDLE_NOT_FOUND"


def test_bought_warming_shows_on_the_account_before_its_terms_are_set(house: House) -> None:
    account = house.account_of(house.active(wants_advanced_warming=True, advanced_warming_terms_count=3))
    session = house.ask("GET", f"/accounts/{account.id}/warming-sessions").data[0]
    assert [session[name] for name in ("status", "terms_total", "terms_configured")] == ["pending", 3, 0]
    assert house.ask("POST", f"/accounts/{account.id}/rewarm", {"search_terms": _TERMS}).code == "REWARM_ALREADY_ACTIVE"


def test_an_endpoint_that_moves_is_asked_first(house: House) -> None:
    class Wary:
        """A sender that takes one address only."""

        async def register(self, endpoint: Endpoint) -> None:
            if endpoint.url != "https://good.example":
                raise Refusal(400, "WEBHOOK_URL_NOT_ALLOWED", f"{endpoint.url} does not answer.")

        async def test(self, endpoint: Endpoint) -> Delivery:
            raise NotImplementedError

        async def retry(self, delivery: Delivery) -> Delivery:
            raise NotImplementedError

    house.world.sender = Wary()
    assert house.ask("POST", "/webhooks", {"url": "https://bad.example"}).code == "WEBHOOK_URL_NOT_ALLOWED"
    assert house.ask("GET", "/webhooks").data == []
    id = house.ask("POST", "/webhooks", {"url": "https://good.example"}).data["id"]
    assert house.ask("PATCH", f"/webhooks/{id}", {"url": "https://bad.example"}).code == "WEBHOOK_URL_NOT_ALLOWED"
    assert house.ask("GET", f"/webhooks/{id}").data["url"] == "https://good.example"
    assert house.ask("DELETE", f"/webhooks/{id}").status == 204
