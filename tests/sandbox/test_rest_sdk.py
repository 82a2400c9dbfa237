"""The vendor's own SDK is the judge: every operation that is used, through its client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import IncompleteRead
from typing import Literal

import pytest
import uvicorn
from tokportal import TokPortal
from tokportal import TokPortalApiError as ApiError
from tokportal._generated import OPERATION_DEFINITIONS

from orchestrator.sandbox.hooks import Fault
from orchestrator.sandbox.model import Ban, WarmingSession
from orchestrator.sandbox.rest import create_app
from orchestrator.sandbox.rest.operations import operations
from orchestrator.sandbox.rest.quota import Quota
from orchestrator.sandbox.world import World
from tests.sandbox.house import KEY, House

_POLICIES = {"reject": "reject-sensitive-response"}


def test_operations_are_those_of_the_vendors_table() -> None:
    for operation in operations(Quota(World())):
        known = OPERATION_DEFINITIONS[operation.id]
        assert (operation.method, _PLACES.get(operation.path, operation.path)) == (known["method"], known["path"])
        assert _POLICIES.get(operation.keys, operation.keys) == known["idempotency_policy"], operation.id


# Names of path parameters are ours; `{id}` is what the vendor's table says almost everywhere.
_PLACES = {
    "/webhooks/{id}/deliveries/{delivery_id}/retry": OPERATION_DEFINITIONS["retryWebhookDelivery"]["path"],
}


def test_reference_and_money(house: House) -> None:
    sdk = house.sdk
    assert sdk.me()["data"]["id"]
    assert {"code": "USA", "name": "United States"} in sdk.countries()["data"]
    assert [row["code"] for row in sdk.platforms()["data"]] == ["tiktok", "instagram"]
    assert sdk.credit_costs()["data"]["costs"]["account_creation"] == 32
    assert sdk.credits.balance()["data"] == {"total_credits": 1_000_000, "expiring_within_7_days": 0}
    house.bundle(videos_quantity=2)
    history = sdk.credits.history(page=1, per_page=10, date_from="2026-12-01", date_to="2026-12-01")
    assert [row["amount"] for row in history["data"]] == [-36]
    assert history["pagination"] == {"page": 1, "per_page": 10, "total": 1, "total_pages": 1}
    assert sdk.credits.history(date_from="2026-12-02")["data"] == []


def test_a_bundle_from_order_to_publication(house: House) -> None:
    sdk = house.sdk
    order = {"bundle_type": "account_and_videos", "platform": "tiktok", "country": "US", "videos_quantity": 3}
    created = sdk.bundles.create({**order, "edits_quantity": 1, "external_ref": "deal-1"}, idempotency_key="k1")
    assert created["data"]["country"] == "USA"
    assert created["data"]["status"] == "pending_setup"
    assert created["cost_breakdown"] == {
        "account_creation": 32, "video_slots": 6, "edit_slots": 3, "advanced_warming": 0, "total": 41,
    }  # fmt: skip
    assert (created["credits_charged"], created["credits_remaining"]) == (41, 999_959)
    id = created["data"]["bundle_id"]
    assert [blocker["code"] for blocker in sdk.bundles.readiness(id)["data"]["blockers"]] == [
        "ACCOUNT_MISSING_FIELDS",
        "NO_VIDEOS_CONFIGURED",
    ]
    profile = {"username": "acme.fr", "visible_name": "Acme", "biography": "Things"}
    assert sdk.bundles.configure_account(id, profile)["data"]["status"] == "configured"
    assert sdk.bundles.get_account(id)["data"]["username"] == "acme.fr"
    slot = sdk.bundles.configure_video(id, 1, house.video(external_ref="v1", auto_publish=True))["data"]
    assert (slot["status"], slot["external_ref"]) == ("configured", "v1")
    assert (slot["target_publish_date"], slot["target_publish_end_date"]) == (house.day(5), house.day(6))
    assert sdk.bundles.readiness(id)["data"] == {"bundle_id": id, "ready": True, "blockers": []}
    assert sdk.bundles.publish(id)["data"]["status"] == "published"
    row = sdk.bundles.get(id)["data"]
    assert (row["is_published"], row["videos_quantity"], row["videos_configured_count"]) == (True, 3, 1)
    assert sdk.bundles.get_video(id, 1)["data"]["status"] == "published"
    assert sdk.bundles.unpublish(id)["data"]["status"] == "pending_setup"
    assert sdk.bundles.get_video(id, 1)["data"]["status"] == "configured"
    assert sdk.bundles.update(id, {"title": "Spring", "auto_finalize_videos": False})["data"]["title"] == "Spring"
    assert sdk.bundles.list(external_ref="deal-1", status="pending_setup")["data"][0]["id"] == id
    assert sdk.bundles.list(platform="instagram")["data"] == []
    assert sdk.bundles.list(account_status="configured")["pagination"]["total"] == 1


def test_bulk(house: House) -> None:
    order = {"platforms": ["tiktok", "instagram"], "country": "UK", "accounts_count": 2, "videos_per_account": 4}
    bought = house.sdk.bundles.bulk_create({**order, "upload_accounts_count": 1})
    assert bought["data"]["total"] == 4
    assert bought["credits_charged"] == 4 * 32 + 2 * 4 * 2
    kinds = [row["bundle_type"] for row in house.sdk.bundles.list()["data"]]
    assert kinds == ["account_and_videos", "account_only"] * 2


def test_slots_of_an_active_bundle(house: House) -> None:
    sdk, id = house.sdk, house.active()
    added = sdk.bundles.add_video_slots(id, 2, idempotency_key="add")
    assert (added["data"]["videos_quantity"], added["credits_charged"]) == (8, 4)
    assert sdk.bundles.add_edit_slots(id, 1)["credits_charged"] == 3
    batch = {
        "videos": [
            {"position": 1, **house.video(2, external_ref="v1")},
            {"position": 2, **house.video(0, external_ref="v2")},
            {"position": 99, **house.video(2)},
        ]
    }
    results = sdk.bundles.batch_configure_videos(id, batch)["data"]["results"]
    assert [result["success"] for result in results] == [True, False, False]
    assert [result["error"]["code"] for result in results[1:]] == ["INVALID_DATE", "VIDEO_NOT_FOUND"]
    patched = sdk.bundles.patch_video(id, 1, {"name": "Teaser", "target_publish_start_date": house.day(3)})["data"]
    assert (patched["name"], patched["target_publish_date"]) == ("Teaser", house.day(3))
    assert sdk.bundles.publish_video(id, 1)["data"]["status"] == "published"
    sdk.bundles.fix_video_download(id, 1, {"video_url": "https://cdn.example.com/2.mp4"})
    assert sdk.bundles.get_video(id, 1)["data"]["video_url"] == "https://cdn.example.com/2.mp4"
    assert sdk.bundles.unschedule_video(id, 1)["data"]["status"] == "pending"
    assert sdk.bundles.get_video(id, 1)["data"]["external_ref"] is None
    sdk.bundles.configure_video(id, 1, house.video(2))
    sdk.bundles.configure_video(id, 3, house.video(2))
    published = sdk.bundles.publish_all_videos(id)["data"]
    assert published["videos_published"] == 2
    assert sdk.bundles.reset_video(id, 3)["data"]["status"] == "pending"
    house.world.move_slot(house.slot(id), "in_review")
    assert sdk.bundles.request_video_corrections(id, 1, {"comment": "wrong sound"})["data"]["status"] == (
        "pending_corrections"
    )
    house.world.move_slot(house.slot(id), "in_review")
    assert sdk.bundles.finalize_video(id, 1)["data"]["status"] == "finalized"
    assert [row["status"] for row in sdk.bundles.list_videos(id)["data"]][:3] == ["finalized", "pending", "pending"]


def test_account_review(house: House) -> None:
    sdk, id = house.sdk, house.active()
    bundle = house.world.bundle(id)
    assert bundle is not None
    listing = house.world.listing_of(bundle)
    assert listing is not None
    house.world.move_listing(listing, "in_review")
    assert sdk.bundles.request_account_corrections(id, {"comment": "other picture"})["data"]["status"] == (
        "pending_corrections"
    )
    house.world.move_listing(listing, "in_review")
    assert sdk.bundles.finalize_account(id)["data"]["status"] == "finalized"


def test_accounts_and_bans(house: House) -> None:
    sdk, id = house.sdk, house.active()
    account = house.account_of(id)
    assert [row["id"] for row in sdk.accounts.list(platform="tiktok", country="FR", banned="false")["data"]] == [
        account.id
    ]
    assert sdk.accounts.list(banned="true")["data"] == []
    assert sdk.accounts.get(account.id)["data"]["profile_url"] == "https://www.tiktok.com/@acme"
    assert [row["id"] for row in sdk.accounts.bundles(account.id)["data"]] == [id]
    now = house.world.now()
    for number in range(3):
        house.world.put(
            Ban(
                id=f"ban{number}",
                saved_account_id=account.id,
                bundle_id=id,
                username="acme",
                platform="tiktok",
                status="no_appeal_banned" if number else "appeal_pending",
                updated_at=now + number * 1_000_000,
            )
        )

    def ids(**query: object) -> list[str]:
        answer = sdk.request_operation("listAccountBans", query=query)
        assert isinstance(answer, dict)
        return [row["id"] for row in answer["data"]]

    assert ids() == ["ban0", "ban1", "ban2"]
    assert ids(since="2026-12-01T09:00:01.000Z") == ["ban1", "ban2"]
    assert ids(status="appeal_pending", account_id=account.id) == ["ban0"]
    assert ids(resolution="remake") == []
    assert ids(page=2, per_page=2) == ["ban2"]


def test_coverage(house: House) -> None:
    sdk, id = house.sdk, house.active()
    account = house.account_of(id)
    assert sdk.accounts.coverage(account.id)["data"]["status"] == "included"
    cancelled = sdk.request_operation("cancelAccountManagedSubscription", {"id": account.id})
    assert isinstance(cancelled, dict)
    assert cancelled["data"]["status"] == "cancelled"
    sdk.bundles.configure_video(id, 1, house.video(1))
    house.clock.forward(days=31)
    with pytest.raises(ApiError) as blocked:
        sdk.bundles.configure_video(id, 2, house.video(2))
    assert blocked.value.code == "MANAGED_ACCOUNT_TASK_BLOCKED"
    quote = sdk.accounts.coverage(account.id)["data"]["reactivation_quote"]
    wanted = {
        "expected_credits": quote["credits"],
        "expected_current_period_end": quote["current_period_end"],
        "expected_lock_version": quote["lock_version"],
    }
    with pytest.raises(ApiError) as changed:
        sdk.accounts.reactivate_coverage(account.id, {**wanted, "expected_credits": 1})
    assert changed.value.details and changed.value.details["reactivation_quote"] == quote
    answer = sdk.accounts.reactivate_coverage(account.id, wanted)
    assert answer["credits_charged"] == 25
    assert answer["data"]["task_access"] is True
    # What could no longer be kept moves on.
    assert sdk.bundles.get_video(id, 1)["data"]["target_publish_date"] == house.day(1)


def test_warming(house: House) -> None:
    sdk = house.sdk
    id = house.active(wants_advanced_warming=True, advanced_warming_terms_count=3)
    account = house.account_of(id)
    terms = ["skin care", "make-up", "hair"]
    set_terms = sdk.request_operation("configureBundleWarmingTerms", {"id": id}, body={"advanced_warming_terms": terms})
    assert isinstance(set_terms, dict)
    assert set_terms["data"]["status"] == "active"
    sessions = sdk.request_operation("listAccountWarmingSessions", {"id": account.id})
    assert isinstance(sessions, dict)
    session = house.world.get(WarmingSession, sessions["data"][0]["id"])
    session.status = "completed"
    rewarm = sdk.request_operation("rewarmAccount", {"id": account.id}, body={"search_terms": terms})
    assert isinstance(rewarm, dict)
    assert rewarm["credits_charged"] == 15
    shown = sdk.request_operation("getWarmingSession", {"id": rewarm["data"]["id"]})
    assert isinstance(shown, dict)
    assert (shown["data"]["terms_total"], shown["data"]["terms_verified"]) == (3, 0)
    idea = {"text": "Natural skin care for sensitive skin", "platform": "tiktok", "count": 6}
    made = sdk.request_operation("generateWarmingTerms", body=idea)
    assert isinstance(made, dict)
    assert len(set(made["data"]["terms"])) == 6


def test_analytics(house: House) -> None:
    sdk, id = house.sdk, house.active()
    account = house.account_of(id)
    sdk.bundles.configure_video(id, 1, house.video(external_ref="v1"))
    slot = house.slot(id)

    def figures() -> dict[str, object]:
        answer = sdk.request_operation("getVideoAnalytics", {"id": slot.id})
        assert isinstance(answer, dict)
        return dict(answer["data"])

    assert "views" not in figures()
    slot.posted_at = house.world.now()
    slot.platform_url = "https://www.tiktok.com/@acme/video/7"
    house.world.move_slot(slot, "in_review")
    house.clock.forward(days=1)
    first = figures()
    assert int(str(first["views"])) > 0
    assert figures() == first
    house.clock.forward(days=6)
    assert int(str(figures()["views"])) > int(str(first["views"]))
    dashboard = sdk.request_operation("getAnalyticsDashboard", query={"account": [account.id]})
    assert isinstance(dashboard, dict)
    assert dashboard["data"]["totals"]["views"] == figures()["views"]
    assert sdk.request_operation("getAccountAnalytics", {"id": account.id})["data"]["posts"] == 1  # type: ignore[index]
    listed = sdk.request_operation("listAccountVideoAnalytics", {"id": account.id}, {"sort_by": "views"})
    assert [row["video_id"] for row in listed["data"]] == [slot.id]  # type: ignore[index]
    can = {"id": account.id}
    assert sdk.request_operation("canRefreshAccountAnalytics", can)["data"]["can_refresh"] is True  # type: ignore[index]
    sdk.request_operation("refreshAccountAnalytics", can, body={"includePosts": True})
    assert sdk.request_operation("canRefreshAccountAnalytics", can)["data"]["can_refresh"] is False  # type: ignore[index]
    with pytest.raises(ApiError) as again:
        sdk.request_operation("refreshAccountAnalytics", can, body={})
    assert again.value.retry_after_seconds == 48 * 3600


def test_webhooks(house: House) -> None:
    sdk = house.sdk
    events = sdk.webhooks.events()["data"]["events"]
    assert {"video.finalized", "account.banned"} <= {event["type"] for event in events}
    made = sdk.webhooks.create({"url": "https://hooks.example.com/t", "events": ["account.banned"]})["data"]
    assert len(made["signing_secret"]) == 64
    id = made["id"]
    assert "signing_secret" not in sdk.webhooks.get(id)["data"]
    assert [row["id"] for row in sdk.webhooks.list(enabled="true", event="account.banned")["data"]] == [id]
    assert sdk.webhooks.list(event="video.finalized")["data"] == []
    assert sdk.webhooks.update(id, {"enabled": False, "description": None})["data"]["enabled"] is False
    delivery = sdk.webhooks.test(id)["data"]
    assert (delivery["event_type"], delivery["success"], delivery["attempts"]) == ("webhook.test", False, 1)
    assert [row["id"] for row in sdk.webhooks.deliveries(id, success="false")["data"]] == [delivery["id"]]
    again = sdk.webhooks.retry_delivery(id, delivery["id"])["data"]
    assert (again["event_id"], again["attempts"]) == (delivery["event_id"], 2)
    sdk.webhooks.delete(id)
    with pytest.raises(ApiError) as gone:
        sdk.webhooks.get(id)
    assert gone.value.status == 404


class _Once:
    """One fault for one request."""

    def __init__(self, fault: Fault) -> None:
        self._fault: Fault | None = fault

    def on_request(self, method: str, path: str) -> Fault | None:
        fault, self._fault = self._fault, None
        return fault


@pytest.fixture
def live(house: House) -> Iterator[TokPortal]:
    """The SDK with its own transport, over a real connection."""
    server = uvicorn.Server(uvicorn.Config(create_app(house.world), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    started = threading.Event()
    startup = server.startup

    async def tell(*args: object, **more: object) -> None:
        await startup(*args, **more)  # type: ignore[arg-type]
        started.set()

    server.startup = tell  # type: ignore[method-assign]
    thread.start()
    assert started.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield TokPortal(KEY, f"http://127.0.0.1:{port}/api/ext")
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_over_a_real_connection(live: TokPortal, house: House) -> None:
    order = {"bundle_type": "account_only", "platform": "tiktok", "country": "FR"}
    id = live.bundles.create(order)["data"]["bundle_id"]
    assert live.bundles.get(id)["data"]["bundle_type"] == "account_only"
    with pytest.raises(ApiError) as error:
        live.bundles.get("nobody")
    assert (error.value.status, error.value.code) == (404, "BUNDLE_NOT_FOUND")
    assert error.value.request_id and error.value.request_id.startswith("req_")
    assert error.value.rate_limit and error.value.rate_limit["limit"] == 120


@pytest.mark.parametrize("kind", ["drop", "timeout"])
def test_a_lost_answer_leaves_its_effect(kind: Literal["drop", "timeout"], live: TokPortal, house: House) -> None:
    house.world.faults = _Once(Fault(kind=kind))
    order = {"bundle_type": "account_only", "platform": "tiktok", "country": "FR"}
    with pytest.raises(IncompleteRead):
        live.bundles.create(order, idempotency_key="order-1")
    assert live.bundles.list()["pagination"]["total"] == 1
    live.bundles.create(order, idempotency_key="order-1")
    assert live.bundles.list()["pagination"]["total"] == 1
    assert house.world.doubles() == []
