"""Paths that are walked seldom."""

from __future__ import annotations

import pytest

from orchestrator.sandbox.model import Ban, Bundle, Coverage
from tests.sandbox.house import House


def test_a_pause_is_taken_back_for_nothing_while_its_period_runs(house: House) -> None:
    id = house.active()
    account = house.account_of(id)
    path = f"/accounts/{account.id}/managed-subscription"
    for distance in (1, 4):
        house.ask("PUT", f"/bundles/{id}/videos/{distance}", house.video(distance))
    house.ask("POST", f"{path}/cancel")
    # A second pause changes nothing: no new version, no event.
    assert house.ask("POST", f"{path}/cancel").data["lock_version"] == 2
    house.clock.forward(days=3)
    quote = house.ask("GET", path).data["reactivation_quote"]
    assert quote["credits"] == 0
    answer = house.ask(
        "POST",
        f"{path}/reactivate",
        {
            "expected_credits": 0,
            "expected_current_period_end": quote["current_period_end"],
            "expected_lock_version": quote["lock_version"],
        },
    )
    assert (answer.json["credits_charged"], answer.data["status"]) == (0, "active")
    # The cadence is kept: what missed its day moves, and with it what comes three days later.
    days = [house.slot(id, position).target_publish_date for position in (1, 4)]
    assert days == [house.day(1), house.day(4)]
    quiet = house.ask("GET", path).data
    assert (quiet["reactivation_quote"], quiet["lock_version"]) == (None, 3)


def test_an_ended_subscription_stays_ended(house: House) -> None:
    account = house.account_of(house.active())
    coverage = house.world.get(Coverage, account.id)
    coverage.recorded_status = "ended"
    assert house.ask("POST", f"/accounts/{account.id}/managed-subscription/cancel").code == "MANAGED_SUBSCRIPTION_ENDED"
    house.world.remove(coverage)
    # A 404 says nothing about being grandfathered.
    assert house.ask("GET", f"/accounts/{account.id}/managed-subscription").status == 404


def test_slots_bring_a_completed_bundle_back(house: House) -> None:
    id = house.active()
    house.world.move_bundle(house.world.get(Bundle, id), "completed")
    house.ask("POST", f"/bundles/{id}/add-video-slots", {"quantity": 1})
    assert house.ask("GET", f"/bundles/{id}").data["status"] == "accepted"


def test_no_warming_with_a_bundle_for_an_account_that_exists(house: House) -> None:
    account = house.account_of(house.active(platform="instagram"))
    order = {"bundle_type": "videos_only", "account_id": account.id, "videos_quantity": 1}
    assert house.ask("POST", "/bundles", {**order, "wants_advanced_warming": True}).code == "VALIDATION_ERROR"
    assert house.ask("GET", f"/accounts/{account.id}").data["profile_url"] == "https://www.instagram.com/acme/"


def test_a_batch_entry_without_a_position(house: House) -> None:
    id = house.active()
    data = house.ask("PUT", f"/bundles/{id}/videos/batch", {"videos": [house.video(), {"position": True}]}).data
    assert [result["error"]["code"] for result in data["results"]] == ["VALIDATION_ERROR"] * 2


def test_the_dashboard_is_filtered(house: House) -> None:
    id, other = house.active(), house.active(platform="instagram", country="UK")
    for number, bundle_id in enumerate((id, other)):
        slot = house.slot(bundle_id)
        slot.posted_at = house.world.now() + number * 86_400_000_000
        house.world.move_slot(slot, "in_review")
    house.clock.forward(days=3)
    account = house.account_of(id).id

    def posts(query: str) -> int:
        return int(house.ask("GET", f"/analytics?{query}").data["posts"])

    assert [posts(query) for query in ("", "platform=tiktok", "country=GB", f"account={account}", "account=no")] == [
        2, 1, 1, 1, 0,
    ]  # fmt: skip
    assert [posts(query) for query in ("from=2026-12-02", "to=2026-12-01T12:00:00Z", "from=2027-01-01")] == [1, 1, 0]
    assert house.ask("GET", "/analytics?from=soon").code == "VALIDATION_ERROR"


def test_dry_runs_at_webhooks_send_nothing(house: House) -> None:
    made = house.ask("POST", "/webhooks", {"url": "https://hooks.example.com"}, dry="true")
    assert made.json["dry_run"] is True
    id = house.ask("POST", "/webhooks", {"url": "https://hooks.example.com"}).data["id"]
    assert house.ask("POST", f"/webhooks/{id}/test", dry="true").data["event_type"] == "webhook.test"
    assert house.ask("GET", f"/webhooks/{id}/deliveries").data == []
    assert house.ask("PATCH", f"/webhooks/{id}", {"events": ["no.such"]}).code == "VALIDATION_ERROR"
    other = house.ask("POST", "/webhooks", {"url": "https://other.example.com"}).data["id"]
    delivery = house.ask("POST", f"/webhooks/{id}/test").data["id"]
    assert house.ask("POST", f"/webhooks/{other}/deliveries/{delivery}/retry").code == "WEBHOOK_DELIVERY_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/warming/generate-terms", {"text": "x", "platform": "myspace"}),
        ("GET", "/credits/history?date_from=then", None),
        ("POST", "/upload/video", None),
    ],
)
def test_what_is_refused(house: House, method: str, path: str, body: object) -> None:
    reply = house.ask(method, path, body)
    assert reply.code == ("NOT_IN_SANDBOX" if path == "/upload/video" else "VALIDATION_ERROR")


def test_corrections_of_an_account_say_something(house: House) -> None:
    assert house.ask("POST", f"/bundles/{house.active()}/account/corrections", {}).code == "VALIDATION_ERROR"


def test_bans_with_screenshots(house: House) -> None:
    account = house.account_of(house.active())
    ban = Ban(
        id="ban",
        saved_account_id=account.id,
        bundle_id=None,
        username="acme",
        platform="tiktok",
        status="appeal_pending",
    )
    house.world.put(ban)
    row = house.ask("GET", "/account-bans?include_screenshots=true").data[0]
    assert (row["screenshots"], row["account_id"], row["resolution"]["resolution"]) == ([], account.id, "pending")
    assert house.world.bans_of(account.id) == [ban]
